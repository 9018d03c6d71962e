"""The listing of a media server: request it, decode an answer, and keep its rows.

An answer is decoded as a whole. Only if it doesn't fit its type, its rows are decoded one by one, and in rows that
don't fit the values that do: an invalid value only costs itself, and an invalid row one item.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from random import randrange
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from retrovue.core.bounds import LONGEST_PATH, LONGEST_TEXT
from retrovue.core.errors import MalformedAnswer
from retrovue.core.pages import Page, PageText, Rejection
from retrovue.importers.http.cleaning import clean_json, is_repaired, may_hold_nul
from retrovue.importers.http.lenient import LenientBudget, TooMalformed, decode_leniently

LARGE_ANSWER: Final = 8 * 1024 * 1024
MANY_OBJECTS: Final = 100_000
"""Of answers with more bytes or objects than this, only one is in memory at a time, over all collections. A page of
1,000 films has 3 MB and 10,000 to 60,000 objects.
"""
MOST_OBJECTS: Final = 1_000_000
MOST_VALUES: Final = 3_000_000
"""The most objects and values of one answer: 1,000 films have 60,000 and 300,000. In a record an object takes up to 300
bytes, however small it is in the answer.
"""
_FEWEST_BYTES: Final = 3
"""The least bytes of an object and its comma: a smaller answer can't contain that many objects, nor three times as many
values.
"""
_STRIDE = 31
"""Of so many bytes of an answer one is looked at to estimate its objects."""
_ROWS_AT_ONCE = 50
"""The rows that are decoded before drafts are made of them: their records stay in the processor's cache."""

Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
"""A name, title or tag. A longer one is left out like a value that doesn't fit."""
FilePath = Annotated[str, msgspec.Meta(max_length=LONGEST_PATH)]
Number = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

RowT = TypeVar("RowT")
KeyT = TypeVar("KeyT", bound=int | str | bytes)
OutlineT = TypeVar("OutlineT")


class BadRow(msgspec.Struct, gc=False):
    """A row that doesn't fit the API: the reason, and what could be read of it."""

    reason: str
    title: str | None = None
    year: None = None


class ListedRow(msgspec.Struct, Generic[RowT, KeyT], gc=False):
    """A row of a listing with its key."""

    key: KeyT
    """The id of the item; for a row without a usable id, a hash of its text."""
    row: RowT
    has_key: bool = True
    incomplete: bool = False
    """Whether values were left out because they don't fit their types."""
    repaired: bool = False
    """Whether the text of the row had to be repaired, so that it may contain NUL or replacement characters."""


class Taker(Protocol):
    """Makes a page of the rows of an answer while the answer is decoded."""

    page: Page
    """The page of the rows so far."""

    def take(self, rows: list[ListedRow[Any, Any]], /) -> bool:
        """Take the next rows; return False if a page can't be made of single rows, but of the whole listing."""
        ...


class Listing(msgspec.Struct, Generic[RowT, KeyT], gc=False):
    """One answer of a listing, decoded."""

    keys: list[KeyT]
    """The key of each row."""
    rows: list[ListedRow[RowT, KeyT]]
    """Empty if they were taken."""
    size: int | None = None
    """How many rows the answer has according to itself, if it tells."""
    total: int | None = None
    """How many rows the whole listing has; None in an answer that isn't paged."""
    offset: int | None = None
    """The number of its first row, if the answer tells it."""
    digest: bytes | None = None
    """The stamp of its page (`PageStamps.of`), if it was asked for."""
    text: PageText | None = None
    """How its page is recognised in a later run; None if it can't be, or wasn't asked for."""
    page: Page | None = None
    """The page of its rows without those that it shares with the listing before it, where that was made."""

    def without(self, shared: int) -> None:
        """Remove the rows that it shares with the listing before it."""
        del self.keys[:shared]
        del self.rows[:shared]


class OutlineRows(msgspec.Struct, array_like=True, gc=False):
    """What the rows of an outline tell: see `Outline`."""

    source_uris: list[str] = []
    source_paths: list[tuple[str, ...]] = []
    rejected: list[Rejection] = []
    ends: list[tuple[int, int]] = []
    """As `OutlineItems.ends`."""


class OutlineListing(Listing[RowT, KeyT], Generic[RowT, KeyT], gc=False):
    """One answer of a listing, of which only the identity of items and their exclusion was decoded."""

    content: OutlineRows = msgspec.field(default_factory=OutlineRows)
    """What its rows tell, without those that it shares with the listing before it; empty while it has rows."""
    show_keys: list[KeyT | None] | None = None
    """The show that each of these rows names; None if no show is known."""


class RecognisedListing(OutlineListing[OutlineT, KeyT], Generic[OutlineT, KeyT], gc=False):
    """One answer of a listing that was recognised by the text of its rows, of which none was decoded.

    Its content has rejections only.
    """


class Contents(NamedTuple, Generic[RowT]):
    """The rows of an answer, and what it tells about the listing; see Listing."""

    rows: Sequence[RowT]
    size: int | None
    total: int | None
    offset: int | None


class ListingFormat(ABC, Generic[RowT, OutlineT, KeyT]):
    """How one kind of server writes a listing. Subclasses give the decoders and find the parts of an answer."""

    product: ClassVar[str]
    rows_name: ClassVar[bytes]
    """The name of the list of rows in an answer, with quotes."""
    expected: ClassVar[str]
    """The end of a message about an answer whose container doesn't fit."""
    answer: ClassVar[Any]
    """The type of an answer, generic over its rows."""
    row: ClassVar[Any]
    outline: ClassVar[Any]
    row_key: ClassVar[Any]
    """The type of a row of which only id and title are read."""
    numbers_as_text: ClassVar[bool] = False
    """Whether some answers write numbers as strings."""

    def __init__(self) -> None:
        self._full = msgspec.json.Decoder(self.answer[self.row])
        self._outline = msgspec.json.Decoder(self.answer[self.outline])
        self._raw = msgspec.json.Decoder(self.answer[msgspec.Raw], strict=not self.numbers_as_text)
        self._row = msgspec.json.Decoder(self.row)
        self._row_key = msgspec.json.Decoder(self.row_key)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the decoders, which can't be pickled."""
        return type(self), ()

    @abstractmethod
    def contents(self, answer: Any) -> Contents[Any]:
        """Find the parts of a decoded answer; raises MalformedAnswer if it isn't a listing."""

    @abstractmethod
    def keys(self, rows: Sequence[Any]) -> list[Any]:
        """Return the key of each row, or None for a row without a usable id."""

    @abstractmethod
    def hashed(self, digest: bytes) -> KeyT:
        """Make the key of a row without a usable id from the hash of its text."""

    def decode(self, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT]:
        """Decode one answer of a listing.

        Raises MalformedAnswer with code ``bad_json`` if it isn't JSON, ``no_container`` if it isn't a listing,
        ``answer_too_large`` if it has too many values.
        """
        check_size(body)
        if not may_hold_nul(body):
            try:
                listing = self._decode_whole(body)
                if listing is not None:
                    return listing
            except (ValueError, RecursionError):
                pass  # Decoding the rows one by one shows whether a single one or the whole answer is malformed.
        return self._decode_by_row(body)

    def decode_usual(self, body: bytes | bytearray, taker: Taker) -> Listing[RowT | BadRow, KeyT] | None:
        """Decode an answer and pass its rows to ``taker``, a few at a time. The listing has the taker's page.

        Returns None if a row is unusual or the answer isn't a listing. The taker's page is then invalid.
        """
        try:
            check_size(body)
            return None if may_hold_nul(body) else self._decode_to(taker, body)
        except (ValueError, RecursionError, MalformedAnswer):
            return None

    def _decode_whole(self, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT] | None:
        """Decode an answer; None if a row has no usable id."""
        contents = self.contents(self._full.decode(body))
        keys = self.keys(contents.rows)
        return None if None in keys else Listing(keys, list(map(ListedRow, keys, contents.rows)), *contents[1:])

    def _decode_to(self, taker: Taker, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT] | None:
        """Decode an answer, a few rows at a time; None if a row has no usable id, or the taker can't take one."""
        contents = self.contents(self._raw.decode(body))
        keys: list[Any] = []
        for first in range(0, len(contents.rows), _ROWS_AT_ONCE):
            rows = [self._row.decode(text) for text in contents.rows[first : first + _ROWS_AT_ONCE]]
            found = self.keys(rows)
            if None in found or not taker.take(list(map(ListedRow, found, rows))):
                return None
            keys += found
        return Listing(keys, [], *contents[1:], page=taker.page)

    def decode_outline(self, body: bytes | bytearray) -> OutlineListing[OutlineT, KeyT] | None:
        """Decode only what is needed to recognise the items of an answer; None if it has to be decoded in full."""
        check_size(body)
        if may_hold_nul(body):
            return None
        try:
            contents = self.contents(self._outline.decode(body))
        except (ValueError, RecursionError, MalformedAnswer):
            return None
        keys = self.keys(contents.rows)
        if None in keys:
            return None
        return OutlineListing(keys, list(map(ListedRow, keys, contents.rows)), *contents[1:])

    def rows_text(self, body: bytes | bytearray) -> memoryview:
        """Return the text of the rows of an answer, as it came. What is around it changes with the size of the library.

        It is the whole answer if that names no rows.
        """
        return memoryview(body)[slice(*self._place_of_rows(body))]

    def around_rows(self, body: bytes | bytearray) -> tuple[int | None, int | None, int | None] | None:
        """Read ``size``, ``total`` and ``offset`` of a `Listing` from what is around the text of its rows.

        Returns None if that isn't a listing.
        """
        start, end = self._place_of_rows(body)
        try:
            found = self.contents(self._raw.decode(b"".join([body[:start], self.rows_name, b":[]", body[end:]])))
        except (ValueError, RecursionError, MalformedAnswer):
            return None
        return found.size, found.total, found.offset

    def _place_of_rows(self, body: bytes | bytearray) -> tuple[int, int]:
        start, end = body.find(self.rows_name), body.rfind(b"]")
        return max(start, 0), end + 1 or len(body)

    def raw_rows(self, body: bytes | bytearray) -> Sequence[msgspec.Raw]:
        """Return the text of each row of an answer that `decode_outline` has decoded."""
        rows: Sequence[msgspec.Raw] = self.contents(self._raw.decode(body)).rows
        return rows

    def decode_rows(self, texts: Sequence[msgspec.Raw]) -> list[ListedRow[RowT | BadRow, KeyT]] | None:
        """Decode rows; None if one of them doesn't fit, so that its whole answer has to be decoded."""
        try:
            rows = [self._row.decode(text) for text in texts]
        except (ValueError, RecursionError):
            return None
        keys = self.keys(rows)
        return None if None in keys else list(map(ListedRow, keys, rows))

    def _decode_by_row(self, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT]:
        cleaned, changed = clean_json(body)
        contents = self.contents(self._decode_container(cleaned))
        rows: list[ListedRow[RowT | BadRow, KeyT]] = []
        budget = LenientBudget()
        for raw in contents.rows:
            text = bytes(raw)
            row: RowT | BadRow
            try:
                row, incomplete = self._decode_row(text, budget)
                identified: Any = row
            except (ValueError, RecursionError) as exc:
                problem = f"{exc}" if isinstance(exc, msgspec.ValidationError | TooMalformed) else type(exc).__name__
                identified, incomplete = self._decode_key(text), False
                row = BadRow(problem, None if identified is None else identified.title)
            key: Any = None if identified is None else self.keys([identified])[0]
            has_key = key is not None
            if not has_key:
                key = self.hashed(hashlib.blake2b(text, digest_size=16).digest())
            rows.append(ListedRow(key, row, has_key, incomplete, is_repaired(text, changed)))
        return Listing([listed.key for listed in rows], rows, *contents[1:])

    def _decode_container(self, body: bytes | bytearray) -> Any:
        product = self.product
        try:
            return self._raw.decode(body)
        except RecursionError as exc:
            raise MalformedAnswer("The answer is nested too deeply to be a listing.", code="bad_json") from exc
        except msgspec.ValidationError as exc:
            raise MalformedAnswer(
                f"The answer {self.expected} as {product} sends it: {exc}.",
                code="no_container",
                hint=f"Check that the source's address is that of a {product} server"
                " and not of something in front of it.",
            ) from exc
        except ValueError as exc:
            raise MalformedAnswer(f"The answer is not whole JSON: {exc}.", code="bad_json") from exc

    def _decode_row(self, text: bytes, budget: LenientBudget) -> tuple[Any, bool]:
        """Decode a row; also return whether values were left out."""
        try:
            return self._row.decode(text), False
        except msgspec.ValidationError:
            row, dropped = decode_leniently(text, self.row, budget)
            return row, bool(dropped)

    def _decode_key(self, text: bytes) -> Any:
        try:
            return self._row_key.decode(text)
        except (ValueError, RecursionError):
            return None


def check_size(body: bytes | bytearray) -> None:
    """Raise MalformedAnswer for an answer with so many values that their records would fill the memory."""
    if len(body) <= _FEWEST_BYTES * MOST_OBJECTS:
        return  # The usual case: counting would take a third of the time of decoding.
    # Each value except the first has a comma or a brace before it. Texts contain some more, so the true number is
    # lower.
    objects = body.count(b"{")
    if objects > MOST_OBJECTS or objects + body.count(b",") > MOST_VALUES:
        raise MalformedAnswer(
            f"The answer holds more than {MOST_OBJECTS:,} objects or {MOST_VALUES:,} values.",
            code="answer_too_large",
            hint="Lower the source's page_size if its items are that large.",
        )


def has_many_objects(body: bytes | bytearray) -> bool:
    """Return whether an answer has more than about `MANY_OBJECTS` objects."""
    # A sample of the bytes is enough, and takes an eighth of the time. No server knows which bytes.
    sample = body[randrange(_STRIDE) :: _STRIDE]  # noqa: S311 - not for cryptography
    return sample.count(b"{") * _STRIDE > MANY_OBJECTS


class ListingMoved(Exception):
    """The listing changed while it was read, or doesn't have the rows that it claims."""

    def __init__(self, problem: str, expected: int | None, received: int) -> None:
        super().__init__(problem)
        self.problem, self.expected, self.received = problem, expected, received


class KeySet(Protocol):
    """The keys of a listing that have been read, in little memory."""

    def add(self, key: Any, /) -> bool:
        """Add a key; return whether it is new."""
        ...

    def add_all(self, keys: Iterable[Any], /) -> bool:
        """Add keys; return whether all of them are new. Those after the first one that isn't may not be added."""
        ...

    def __len__(self) -> int: ...
