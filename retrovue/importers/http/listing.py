"""The listing of a media server: how it is asked for, how an answer is decoded, and how its rows are kept.

An answer is decoded as a whole. Only if it doesn't fit are its rows decoded one by one, so that a bad row costs one
item and not the page.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from retrovue.core.errors import MalformedAnswer
from retrovue.importers.http.client import Answer, HttpClient
from retrovue.importers.http.mending import NUL, REPLACEMENT, clean_json

Number = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

RowT = TypeVar("RowT")
KeyT = TypeVar("KeyT", bound=int | str | bytes)
DecodedT = TypeVar("DecodedT")
OutlineT = TypeVar("OutlineT")


class BadRow(msgspec.Struct, gc=False):
    """A row that doesn't fit the API: why, and what could still be read of it."""

    reason: str
    title: str | None = None
    has_key: bool = False
    year: None = None


class ListedRow(msgspec.Struct, Generic[RowT, KeyT], gc=False):
    """A row of a listing with its key."""

    key: KeyT
    """The id of the item; for a row without a usable id, a hash of its text."""
    row: RowT
    mended: bool = False
    """Whether the text of the row was not clean, so that it may hold NUL or replacement characters."""


class Listing(msgspec.Struct, Generic[RowT, KeyT], gc=False):
    """One answer of a listing, decoded."""

    rows: list[ListedRow[RowT, KeyT]]
    size: int | None = None
    """How many rows the answer claims to hold, if it does."""
    total: int | None = None
    """How many rows the whole listing holds; None in an answer that isn't paged."""
    offset: int | None = None
    """The number of its first row, if the answer gives it."""

    @property
    def keys(self) -> list[KeyT]:
        """The key of each row."""
        return [listed.key for listed in self.rows]


class OutlineListing(Listing[RowT, KeyT], Generic[RowT, KeyT], gc=False):
    """One answer of a listing, decoded in short form: only what identifies its items and what excludes them."""


class Contents(NamedTuple, Generic[RowT]):
    """The rows of an answer, and its claims about the listing; see Listing."""

    rows: Sequence[RowT]
    size: int | None
    total: int | None
    offset: int | None


class ListingFormat(ABC, Generic[RowT, OutlineT, KeyT]):
    """How one kind of server writes a listing. Subclasses give the decoders and find the parts of an answer."""

    product: ClassVar[str]
    expected: ClassVar[str]
    """Says what an answer is not, if its container doesn't fit."""
    full: ClassVar[msgspec.json.Decoder[Any]]
    """Decodes an answer with all rows."""
    outline: ClassVar[msgspec.json.Decoder[Any]]
    """Decodes an answer with all rows in short form."""
    raw: ClassVar[msgspec.json.Decoder[Any]]
    """Decodes an answer but for its rows."""

    @abstractmethod
    def contents(self, answer: Any) -> Contents[Any]:
        """Find the parts of a decoded answer; raises MalformedAnswer if it isn't a listing."""

    @abstractmethod
    def keys(self, rows: Sequence[Any]) -> list[Any]:
        """Return the key of each row, or None for a row without a usable id."""

    @abstractmethod
    def decode_row(self, text: bytes) -> tuple[RowT | BadRow, KeyT]:
        """Decode the text of one row."""

    def decode(self, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT]:
        """Decode one answer of a listing.

        Raises MalformedAnswer with code ``bad_json`` if it isn't JSON, ``no_container`` if it isn't a listing.
        """
        if NUL not in body:
            try:
                answer = self.full.decode(body)
            except (ValueError, RecursionError):
                pass  # The rows, one by one, show whether a single one or the whole answer is malformed.
            else:
                contents = self.contents(answer)
                keys = self.keys(contents.rows)
                if None not in keys:
                    return Listing(list(map(ListedRow, keys, contents.rows)), *contents[1:])
        return self._decode_by_row(body)

    def decode_outline(self, body: bytes | bytearray) -> OutlineListing[OutlineT, KeyT] | None:
        """Decode one answer in short form; None if it has to be read in full."""
        if NUL in body:
            return None
        try:
            contents = self.contents(self.outline.decode(body))
        except (ValueError, RecursionError, MalformedAnswer):
            return None
        keys = self.keys(contents.rows)
        if None in keys:
            return None
        return OutlineListing(list(map(ListedRow, keys, contents.rows)), *contents[1:])

    def _decode_by_row(self, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT]:
        cleaned, changed = clean_json(body)
        contents = self.contents(_decode_container(cleaned, self))
        rows: list[ListedRow[RowT | BadRow, KeyT]] = []
        for raw in contents.rows:
            text = bytes(raw)
            row, key = self.decode_row(text)
            rows.append(ListedRow(key, row, NUL in text or (changed and REPLACEMENT in text)))
        return Listing(rows, *contents[1:])


def _decode_container(body: bytes | bytearray, form: ListingFormat[Any, Any, Any]) -> Any:
    product = form.product
    try:
        return form.raw.decode(body)
    except RecursionError as exc:
        raise MalformedAnswer("The answer is nested too deeply to be a listing.", code="bad_json") from exc
    except msgspec.ValidationError as exc:
        raise MalformedAnswer(
            f"The answer {form.expected} as {product} sends it: {exc}.",
            code="no_container",
            hint=f"Check that the source's address is that of a {product} server and not of something in front of it.",
        ) from exc
    except ValueError as exc:
        raise MalformedAnswer(f"The answer is not whole JSON: {exc}.", code="bad_json") from exc


def row_problem(error: Exception) -> str:
    """Say why a row can't be decoded."""
    return f"{error}" if isinstance(error, msgspec.ValidationError) else type(error).__name__


class ListingMoved(Exception):
    """The listing changed while it was read, or isn't what it claims to be."""

    def __init__(self, problem: str, expected: int | None, received: int) -> None:
        super().__init__(problem)
        self.problem, self.expected, self.received = problem, expected, received


class Seen(Protocol):
    """The keys of a listing that have been read, in little memory."""

    def add(self, key: Any, /) -> bool:
        """Add a key; returns whether it is new."""
        ...

    def __len__(self) -> int: ...


class Query(ABC, Generic[RowT, OutlineT, KeyT]):
    """One listing as it is asked for."""

    form: ClassVar[ListingFormat[Any, Any, Any]]
    row_bytes: ClassVar[int]
    """The size of a row, before the first page has been read."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self.outline = False
        """Whether to ask for the short form. The query sets it back where the server refuses that."""

    @abstractmethod
    async def get(self, start: int, size: int, *, outline: bool) -> Answer:
        """Ask for ``size`` rows from row ``start``; raises CollectionGone if the library isn't there any more."""

    @abstractmethod
    def seen(self) -> Seen:
        """Make an empty set for the keys of the listing."""

    def decode(self, body: bytes | bytearray) -> Listing[RowT | BadRow, KeyT]:
        """Decode an answer; raises MalformedAnswer."""
        return self.form.decode(body)

    def decode_outline(self, body: bytes | bytearray) -> OutlineListing[OutlineT, KeyT] | None:
        """Decode an answer in short form; None if it has to be read in full."""
        return self.form.decode_outline(body)
