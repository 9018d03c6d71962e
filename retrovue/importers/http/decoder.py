"""Decode an answer of a listing to its page and its stamp: without I/O, so that another process can do it."""

from struct import Struct as StructFormat
from typing import Any, Generic

from msgspec import MsgspecError, Raw, Struct, msgpack

from retrovue.core.pages import AssetDraft, Page, PageText, Rejection, Summarize
from retrovue.importers.http.drafts import DraftMaker, PageTaker
from retrovue.importers.http.listing import (
    LARGE_ANSWER,
    BadRow,
    KeyT,
    Listing,
    ListingFormat,
    OutlineListing,
    OutlineRows,
    OutlineT,
    RecognisedListing,
    RowT,
)
from retrovue.importers.http.stamps import PageStamps


class _KnownRows(Struct, array_like=True, gc=False):
    """What is kept of the rows of a page, as `PageText.rows`."""

    stamp: bytes
    """The stamp of the page, with its shows as they were."""
    shared: int
    """How many of the rows belong to the page before."""
    keys: list[Any]
    shows: list[Any] | None
    """The shows that the rows name, each once; None if no show of the library was known."""
    rejected: list[Rejection]


_MOST_REJECTED = 100
"""The most rejections of a page that is recognised by its text."""
_rows_encoder = msgpack.Encoder()
_rows_decoder = msgpack.Decoder(_KnownRows)


class PageDecoder(Generic[RowT, OutlineT, KeyT]):
    """Decodes the answers of the listing of one library. It can be pickled."""

    def __init__(
        self,
        form: ListingFormat[RowT, OutlineT, KeyT],
        make: DraftMaker[RowT, OutlineT, KeyT],
        summarize: Summarize | None = None,
    ) -> None:
        """With ``summarize`` pages have summaries in place of drafts, where it makes them."""
        self.form = form
        self.make = make
        self.summarize = summarize
        self.stamps = PageStamps(make.shows, make.uri)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the decoders of msgspec, which can't be pickled."""
        return PageDecoder, (self.form, self.make, self.summarize)

    def decode(self, body: bytes | bytearray, shared: int | None) -> Listing[RowT | BadRow, KeyT]:
        """Decode an answer with its digest; raises MalformedAnswer.

        Its page is made of the rows after the ``shared`` first ones, unless one of them is unusual. With None no page
        is made.
        """
        listing = None if shared is None else self.decode_usual(body, shared)
        if listing is None:
            listing = self.form.decode(body)
            listing.digest = self.stamps.of(self.text_digest(body), self._show_keys(listing))
        return listing

    def decode_usual(self, body: bytes | bytearray, shared: int) -> Listing[RowT | BadRow, KeyT] | None:
        """Decode an answer to its page, as `decode`; None if one of its rows is unusual."""
        taker = PageTaker(self.make, shared, None if self.summarize is None else self.summarize())
        listing: Listing[RowT | BadRow, KeyT] | None = self.form.decode_usual(body, taker)
        if listing is not None:
            if taker.summary is None:
                self._mark(listing, body, taker.show_keys, shared, taker.page.rejected)
            else:
                taker.page.summary = taker.summary.encoded(taker.page.rejected)
        return listing

    def decode_outline(self, body: bytes | bytearray, shared: int) -> OutlineListing[OutlineT, KeyT] | None:
        """Decode only what is needed to recognise the items of an answer, with its digest.

        Its content is that of the rows after the ``shared`` first ones. Returns None if it has to be decoded in full.
        """
        listing: OutlineListing[OutlineT, KeyT] | None = self.form.decode_outline(body)
        if listing is None:
            return None
        show_keys = self._show_keys(listing)
        rows, listing.rows = listing.rows[shared:], []
        listing.content = self.make.outline(rows)
        self._mark(listing, body, show_keys, shared, listing.content.rejected)
        if self.make.shows:
            listing.show_keys = [self.make.show_key_of(listed) for listed in rows]
        return listing

    def text_digest(self, body: bytes | bytearray) -> bytes:
        """Return the hash of the text of the rows of an answer, by which its page is recognised."""
        return self.stamps.of_text(self.form.rows_text(body))

    def recognise(
        self, body: bytes | bytearray, text: PageText, shared: int
    ) -> RecognisedListing[OutlineT, KeyT] | None:
        """Return the listing of an answer whose rows have the text of a known page; no row is decoded.

        Returns None if the page would be another one, because a show has changed or it shares other rows with the page
        before.
        """
        try:
            known = _rows_decoder.decode(text.rows)
        except MsgspecError:
            return None
        shows_are_known = known.shows is not None
        around = self.form.around_rows(body)
        if around is None or known.shared != shared or shows_are_known != bool(self.make.shows):
            return None
        if self.stamps.of(text.digest, known.shows) != known.stamp:
            return None
        content = OutlineRows(rejected=known.rejected)
        return RecognisedListing(known.keys, [], *around, digest=known.stamp, text=text, content=content)

    def _mark(
        self,
        listing: Listing[Any, KeyT],
        body: bytes | bytearray,
        show_keys: list[KeyT | None] | None,
        shared: int,
        rejected: list[Rejection],
    ) -> None:
        """Give a listing the stamp of its page, and what the page is recognised by."""
        digest = self.text_digest(body)
        listing.digest = self.stamps.of(digest, show_keys)
        # Versions of an item share its title in memory, but not in what is kept.
        if len(rejected) > _MOST_REJECTED:
            return
        if self.form.around_rows(body) == (listing.size, listing.total, listing.offset):
            rows = _KnownRows(listing.digest, shared, listing.keys, show_keys, rejected)
            listing.text = PageText(digest, _rows_encoder.encode(rows))

    def _show_keys(self, listing: Listing[Any, KeyT]) -> list[KeyT | None] | None:
        return self.make.show_keys(listing.rows) if self.make.shows else None


class _Packed(Struct, array_like=True, gc=False):
    """A decoded answer on its way from one process to another, in full or its outline."""

    keys: list[Any]
    size: int | None
    total: int | None
    offset: int | None
    digest: bytes | None
    text: PageText | None = None
    drafts: Raw = Raw(b"\xc0")
    """A list of drafts; nil in MessagePack for an outline."""
    rejected: list[Rejection] = []
    source_items: int = 0
    summary: bytes | None = None
    outline: OutlineRows | None = None
    show_keys: list[Any] | None = None


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder(_Packed)
_drafts_decoder = msgpack.Decoder(list[AssetDraft])
_ARRAY = StructFormat(">BI")
"""The head of an array in MessagePack, and its number."""
_ARRAY_32 = 0xDD
_SMALL_RESULT = 64 << 10
"""A result of up to so many bytes may be longer than twice its answer."""


def pack(decoder: PageDecoder[Any, Any, Any], body: bytes | bytearray, shared: int, *, outline: bool = False) -> bytes:
    """Decode an answer to its page, or its outline, as `PageDecoder` does, and encode the result for `unpack`.

    The result is empty if one of its rows is unusual: it has to be decoded where its rows are needed. It is empty, too,
    if it would be longer than `LARGE_ANSWER` or twice the answer, as it waits in place of it: drafts may share their
    texts in memory, but not in the result.
    """
    most = min(LARGE_ANSWER, max(2 * len(body), _SMALL_RESULT))
    listing = decoder.decode_outline(body, shared) if outline else decoder.decode_usual(body, shared)
    if listing is None:
        return b""
    packed = _Packed(listing.keys, listing.size, listing.total, listing.offset, listing.digest, listing.text)
    if isinstance(listing, OutlineListing):
        packed.outline, packed.show_keys = listing.content, listing.show_keys
    elif listing.page is not None:
        page = listing.page
        drafts = bytearray(_ARRAY.pack(_ARRAY_32, len(page.drafts)))
        for draft in page.drafts:
            _encoder.encode_into(draft, drafts, -1)
            if len(drafts) > most:
                return b""
        packed.drafts, packed.rejected, packed.source_items = Raw(drafts), page.rejected, page.source_items
        packed.summary = page.summary
    encoded = _encoder.encode(packed)
    return encoded if len(encoded) <= most else b""


def unpack(packed: bytes) -> Listing[Any, Any]:
    """Return the listing that `pack` has encoded; raises msgspec.MsgspecError if it hasn't."""
    found = _decoder.decode(packed)
    numbers = found.size, found.total, found.offset, found.digest, found.text
    if found.outline is not None:
        return OutlineListing(found.keys, [], *numbers, content=found.outline, show_keys=found.show_keys)
    drafts = _drafts_decoder.decode(found.drafts)
    page = Page(drafts, found.rejected, found.source_items, summary=found.summary)
    return Listing(found.keys, [], *numbers, page)
