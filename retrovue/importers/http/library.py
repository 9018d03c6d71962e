"""Read one library once: its pages, as outlines if they are known, and again if the library changes meanwhile."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Generic

import anyio
import msgspec
import xxhash
from anyio.abc import TaskGroup

from retrovue.core.answers import ChangeState, SourceState
from retrovue.core.errors import IncompleteEnumeration, RequestError, ScopeNotFound, SourceUnreachable
from retrovue.core.logs import logger
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, OutlineItems, Page, Recall, Summarize
from retrovue.core.runs import Scope
from retrovue.core.text import quoted
from retrovue.importers import titles
from retrovue.importers.http import bookmarks
from retrovue.importers.http.ahead import Budget
from retrovue.importers.http.bookmarks import Bookmark
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.http.decoding import Decoding, DecodingAhead
from retrovue.importers.http.drafts import DraftMaker
from retrovue.importers.http.listing import (
    BadRow,
    KeyT,
    ListedRow,
    Listing,
    ListingMoved,
    OutlineListing,
    OutlineT,
    RecognisedListing,
    RowT,
)
from retrovue.importers.http.query import Query
from retrovue.importers.http.reader import ListingReader, Window
from retrovue.importers.titles import Candidate

_log = logger(__name__)


class HttpLibrary(ABC, Generic[RowT, OutlineT, KeyT]):
    """Reads a library of a media server once. Subclasses define the requests and make drafts of the rows."""

    product: ClassVar[str]
    kinds: ClassVar[Mapping[str, object]]
    """The kinds of library that can be ingested."""
    make: DraftMaker[RowT, OutlineT, KeyT]
    """Set by ``start`` and ``in_scope``."""
    hint: ClassVar[str]
    """The hint if the library changes during each reading."""
    bookmarks_from: ClassVar[int] = bookmarks.BOOKMARKS_FROM
    """The number of items from which a listing has bookmarks, if they are requested."""
    checks_afterwards: ClassVar[bool] = False
    """Whether ``check_library`` asks the server."""

    def __init__(
        self,
        client: HttpClient,
        collection: Collection,
        scope: Scope,
        *,
        identify: Callable[[], Awaitable[str]],
        fetch_libraries: Callable[[], Awaitable[Any]],
        fetch_state: Callable[[], Awaitable[SourceState]],
        page_size: int,
        budget: Budget,
        decoding: Decoding,
        tasks: TaskGroup | None = None,
        go_on: Sequence[bytes] | None = None,
        recall: Recall | None = None,
        summarize: Summarize | None = None,
    ) -> None:
        """``tasks`` takes the requests that read ahead; without it nothing is read ahead.

        If ``go_on`` isn't None, the pages have bookmarks. It has the bookmarks of the pages that an earlier run has
        read. ``recall`` finds known pages; without it none are recognised by their text. Pages of a listing have
        summaries in place of drafts where ``summarize`` makes them.
        """
        self.client = client
        self.collection = collection
        self.scope = scope
        self._identify = identify
        self.fetch_libraries = fetch_libraries
        self.page_size = page_size
        self._budget = budget
        self._decoding = decoding
        self._tasks = tasks
        self._recall = recall
        self.fetch_state = fetch_state
        self._summarize = summarize
        self._has_bookmarks = go_on is not None
        self._read_before = bookmarks.decode(go_on or ())

    async def begin(self) -> str:
        """Start the time in which the library has to be read; return the identifier of the server."""
        server_id = await self._identify()
        self._deadline = anyio.current_time() + self.client.policy.collection_deadline_s
        return server_id

    async def check_library(self) -> None:
        """Called before and after each reading; raises CollectionGone if the library doesn't exist any more."""

    @abstractmethod
    async def start(self, server_id: str) -> Query[RowT, OutlineT, KeyT]:
        """Read what the drafts need first, such as the shows; return the query for the items."""

    @abstractmethod
    async def in_scope(self, server_id: str) -> Page:
        """Read the part of the library that is in scope; raises ScopeNotFound."""

    async def page(self, rows: list[ListedRow[RowT | BadRow, KeyT]]) -> Page:
        """Make the drafts of rows."""
        return self.make.page(rows)

    async def pages(self) -> AsyncGenerator[Page | Outline, None]:
        """Generate the pages.

        A reading that can't continue where an earlier run stopped starts again, and so does one whose listing changes.
        Raises IncompleteEnumeration if the listing changes or doesn't add up twice, and SourceUnreachable if reading
        the library takes longer than ``collection_deadline_s``.
        """
        if self.collection.kind not in self.kinds:
            raise RequestError(
                f"A {self.product} library of kind {quoted(self.collection.kind)} can't be ingested.",
                code="unsupported_kind",
                context={"kind": self.collection.kind},
            )
        server_id = await self.begin()
        attempts: Sequence[Sequence[Bookmark]] = (self._read_before, (), ()) if self._read_before else ((), ())
        for number, read_before in enumerate(attempts):
            if number:
                yield Page([], [], 0, restart=True)
            try:
                await self.check_library()
                if not self.scope.is_full:
                    yield await self.in_scope(server_id)
                else:
                    reader = await self._begin(server_id, read_before)
                    if reader is None:
                        continue
                    async with aclosing(self._read(reader, read_before)) as pages:
                        async for page in pages:
                            yield page
                            del page  # It isn't needed while the next one is made.
                await self.check_library()
            except ListingMoved as exc:
                if number + 1 == len(attempts):
                    raise self._incomplete(exc) from exc
            else:
                return

    async def _begin(
        self, server_id: str, read_before: Sequence[Bookmark]
    ) -> ListingReader[RowT, OutlineT, KeyT] | None:
        """Prepare a reader; None if it was to continue an earlier reading and the library may have changed."""
        mark = read_before[0].mark if read_before else None
        same = mark is None or await self.is_unchanged(mark, read_before[0].total)
        if same:
            query = await self.start(server_id)
            reader = self._items_reader(query)
            if not read_before:
                return reader
            if self._shows_digest() == read_before[0].shows and await reader.go_on(read_before):
                return reader
        _log.info("The listing of %s may have changed: it is read from its beginning", self.collection.display_name)
        return None

    async def _read(
        self, reader: ListingReader[RowT, OutlineT, KeyT], read_before: Sequence[Bookmark]
    ) -> AsyncGenerator[Page | Outline, None]:
        marked = self._has_bookmarks
        first = not read_before
        async with aclosing(reader.windows()) as windows:
            async for window in windows:
                page = await self._page_or_outline(reader, window)
                page.source_total = total = window.total
                page.last = window.last and not self.checks_afterwards
                bookmark = window.bookmark
                del window  # The rows aren't needed while their page is used.
                if first and marked:
                    # The first window is read again before a later run continues, so only changes after it count.
                    large = (total or 0) >= self.bookmarks_from
                    mark = await self.mark() if large else None
                    marked = mark is not None
                    if bookmark is not None:
                        bookmark = msgspec.structs.replace(bookmark, mark=mark, shows=self._shows_digest())
                first = False
                if marked and bookmark is not None:
                    page.bookmark = bookmarks.encode(bookmark)
                yield page
                del page  # It isn't needed while the next one is made.

    async def mark(self) -> str | None:
        """Request a mark that later tells whether the library has changed; None if there is none, or it is changing."""
        state = self.own_state(await self.fetch_state())
        return None if state is None or state.refreshing or state.stamp is None else f"{state.uuid} {state.stamp}"

    def own_state(self, state: SourceState) -> ChangeState | None:
        """Return the server's state of the library; None if it doesn't tell it."""
        return state.libraries.get(self.collection.external_id)

    async def is_unchanged(self, mark: str, total: int) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether the library, with ``total`` items, hasn't changed since a mark was made."""
        return await self.mark() == mark

    def _shows_digest(self) -> bytes:
        return xxhash.xxh3_128_digest(msgspec.msgpack.encode(list(self.make.shows.items())))

    def stamp(self, listing: Listing[Any, KeyT]) -> bytes | None:
        """Return the stamp of a page, the hash of its rows and shows; None if its drafts depend on other data."""
        return listing.digest

    @abstractmethod
    def parse_key(self, text: str) -> KeyT | None:
        """Parse a key in a text; None if it can't be one of this server's."""

    def reader(self, query: Query[RowT, OutlineT, KeyT], **options: Any) -> ListingReader[RowT, OutlineT, KeyT]:
        """Make a reader for a listing of the library; ``options`` are those of ListingReader."""
        return ListingReader(
            query,
            page_size=self.page_size,
            budget=self._budget,
            tasks=self._tasks,
            check_deadline=self._check_deadline,
            **options,
        )

    def _items_reader(self, query: Query[RowT, OutlineT, KeyT]) -> ListingReader[RowT, OutlineT, KeyT]:
        self._decoder = PageDecoder(query.form, self.make, self._summarize)
        # A collection with assets changes little, so most of its pages contain nothing new.
        outline = self.collection.assets_count > 0 and self._summarize is None
        ahead = DecodingAhead(self._decoding, self._decoder, outline=outline)
        recall = self._recall if outline else None
        return self.reader(query, decoder=self._decoder, outline=outline, ahead=ahead, recall=recall)

    async def read_all(
        self, query: Query[RowT, OutlineT, KeyT], take: Callable[[list[ListedRow[RowT | BadRow, KeyT]]], None]
    ) -> None:
        """Read a whole listing in full, and pass the rows of each page to ``take``."""
        async with aclosing(self.reader(query).windows()) as windows:
            async for window in windows:
                if not isinstance(window.listing, OutlineListing):
                    take(window.listing.rows)

    async def rows(
        self, query: Query[RowT, OutlineT, KeyT], test: Callable[[RowT | BadRow], bool]
    ) -> list[ListedRow[RowT | BadRow, KeyT]]:
        """Read a whole listing and return the rows that match a test: at most a few hundred."""
        found: list[ListedRow[RowT | BadRow, KeyT]] = []
        await self.read_all(query, lambda rows: found.extend(listed for listed in rows if test(listed.row)))
        return found

    async def find_titled(
        self,
        by_title: Callable[[str], Query[RowT, OutlineT, KeyT]],
        by_key: Callable[[str], Query[RowT, OutlineT, KeyT]],
    ) -> list[ListedRow[RowT | BadRow, KeyT]]:
        """Find the rows with the title of the scope, or its key, by a query for a title and one for a key."""
        for reading in titles.readings(self.scope.title or ""):
            found: dict[KeyT, ListedRow[RowT | BadRow, KeyT]] = {}
            if reading.key is not None:
                found = {listed.key: listed for listed in await self.find_key(reading.key, by_key)}
            else:
                for title in titles.spellings(reading.title):
                    rows = await self.rows(by_title(title), titles.has_title(reading))
                    found |= {listed.key: listed for listed in rows}
            if found:
                return list(found.values())
        return []

    async def find_keyed(
        self, by_key: Callable[[str], Query[RowT, OutlineT, KeyT]]
    ) -> list[ListedRow[RowT | BadRow, KeyT]]:
        """Find the row whose key is given in the scope instead of a title."""
        keys = [reading.key for reading in titles.readings(self.scope.title or "") if reading.key is not None]
        for key in keys:
            if rows := await self.find_key(key, by_key):
                return rows
        return []

    async def find_key(
        self, text: str, by_key: Callable[[str], Query[RowT, OutlineT, KeyT]]
    ) -> list[ListedRow[RowT | BadRow, KeyT]]:
        """Find the row of a key. A server that doesn't know the filter lists all rows, of which one is kept."""
        key, found = self.parse_key(text), list[ListedRow[RowT | BadRow, KeyT]]()
        if key is not None:
            await self.read_all(by_key(text), lambda rows: found.extend(row for row in rows if row.key == key))
        return found

    def the_only(self, rows: list[ListedRow[RowT | BadRow, KeyT]], what: str) -> Candidate | None:
        """Return the only candidate among the rows (``what``: shows, films), or None if there is none.

        Raises RequestError with code ``ambiguous_title`` if there are several.
        """
        candidates: list[Candidate] = []
        for listed in rows:
            key, row = listed.key, listed.row
            if listed.has_key and not isinstance(row, BadRow):
                candidates.append(titles.candidate(key.hex() if isinstance(key, bytes) else key, row))
        return titles.the_only(candidates, self.collection, self.scope, what) if candidates else None

    def not_found(self, part: str, *, seasons: bool) -> ScopeNotFound:
        """Make the error for a scope whose ``title``, ``season`` or ``episode`` doesn't exist."""
        return titles.not_found(self.collection, self.scope, part, server=self.product, seasons=seasons)

    async def _page_or_outline(
        self, reader: ListingReader[RowT, OutlineT, KeyT], window: Window[RowT, OutlineT, KeyT]
    ) -> Page | Outline:
        listing, stamp = window.listing, self.stamp(window.listing)
        text = None if stamp is None else listing.text
        if not isinstance(listing, OutlineListing):
            return await self._stamped(listing, stamp)
        found, show_keys = listing.content, listing.show_keys

        def read_in_full() -> Awaitable[Page]:
            return self._stamped(reader.decode_in_full(window), stamp)

        if isinstance(listing, RecognisedListing):
            rejected, items = found.rejected, len(listing.keys)
            return Outline([], [], rejected, items, read_in_full, stamp, text=text, recognised=True)
        texts: list[Sequence[msgspec.Raw]] = []

        def stamps() -> list[bytes]:
            texts.append(reader.row_texts(window))
            made = self._decoder.stamps.of_rows(texts[0], show_keys)
            return made if len(made) == len(found.ends) else []

        async def read(positions: Sequence[int]) -> Page:
            return await self.page(reader.decode_some(window, texts[0], positions))

        return Outline(
            found.source_uris,
            found.source_paths,
            found.rejected,
            len(found.ends),
            read_in_full,
            stamp,
            items=None if stamp is None else OutlineItems(found.ends, stamps, read),
            text=text,
        )

    async def _stamped(self, listing: Listing[RowT | BadRow, KeyT], stamp: bytes | None) -> Page:
        page = await self.page(listing.rows) if listing.page is None else listing.page
        page.stamp, page.text = stamp, None if stamp is None else listing.text
        return page

    def _check_deadline(self) -> None:
        # Each request has its own deadline, so this is noticed in time.
        if anyio.current_time() > self._deadline:
            seconds = self.client.policy.collection_deadline_s
            raise SourceUnreachable(
                f"Reading {self.collection.display_name} takes longer than {seconds:g} seconds.",
                hint="Check that the server isn't overloaded, or allow more time:"
                " `retrovue source update SOURCE --collection-deadline SECONDS`.",
            )

    def _incomplete(self, moved: ListingMoved) -> IncompleteEnumeration:
        short = moved.expected is not None and moved.received < moved.expected
        numbers = f" ({moved.received:,} of {moved.expected:,} items)" if short else ""
        return IncompleteEnumeration(
            f"The listing of {self.collection.display_name} {moved.problem}{numbers}:"
            " what was read isn't proven to be all of it.",
            hint=self.hint,
            context={"expected": moved.expected, "received": moved.received, "collection": self.collection.name},
        )
