"""Reads a library of a Jellyfin server: which listings are asked for, how, and which part of them is in scope."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from msgspec import Struct

from retrovue.core.answers import DiscoveredCollection, SourceState
from retrovue.core.errors import CollectionGone
from retrovue.core.pages import Page
from retrovue.importers import titles
from retrovue.importers.http.answers import Answer, IsKnown, unknown
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.drafts import Show
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.listing import BadRow, KeySet, ListedRow, Listing, ListingFormat, OutlineListing
from retrovue.importers.http.query import Query
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.jellyfin.parse import (
    JellyfinDraftMaker,
    JellyfinRows,
    part_counts,
    series_of,
)
from retrovue.importers.jellyfin.rows import JellyfinFormat, MediaSource, OutlineRow, Row, decode_listing, guid_bytes
from retrovue.importers.seen import GuidSet

SERIES_FIELDS = "ProviderIds,Genres,Tags,Studios"
ITEM_FIELDS = "Path,MediaSources,ProviderIds,Genres,Tags,Studios,Chapters"

SAVED_SINCE = "MinDateLastSavedForUser"
"""The filter by the time when an item was saved last. ``minDateLastSaved`` means the same and is broken in 10.10."""
EVER_S = 86_400
"""A time before which nothing was saved, in seconds since 1970."""

_ALWAYS = {
    "Recursive": "true",
    # Jellyfin can't sort by id. In this order new items come behind what has been read, and names break ties. The proof
    # finds the other ties, and shifts.
    "SortBy": "DateCreated,SortName",
    "SortOrder": "Ascending",
    "EnableTotalRecordCount": "true",
    # A user may have set that collections hide their films, which would be missing from the listing.
    "CollapseBoxSetItems": "false",
    "EnableImages": "false",
    "EnableUserData": "false",
}


class LibraryKind(Struct, frozen=True):
    """What is playable in a library of some kind."""

    item_types: str
    """Jellyfin's names, comma-separated."""
    has_series: bool = False
    """Whether its episodes belong to series, from which they inherit."""


KINDS = {
    "movie": LibraryKind("Movie"),
    "show": LibraryKind("Episode", has_series=True),
    "artist": LibraryKind("Audio"),
    "homevideos": LibraryKind("Video"),
    "photos": LibraryKind("Video"),
    "musicvideos": LibraryKind("MusicVideo"),
    "mixed": LibraryKind("Movie,Episode,Video", has_series=True),
}
"""The kinds of library that can be ingested. Photos in a library of home videos aren't listed."""


class Libraries(Struct, frozen=True):
    """The libraries of a server that a token may see."""

    collections: tuple[DiscoveredCollection, ...]
    """In the server's order, also of kinds that can't be ingested."""
    user_id: str | None
    """The user of the token; None for an API key, which belongs to no user."""
    folders_known: bool
    """Whether the token may see the libraries' folders."""
    state: SourceState | None = None
    """What the answer says besides; None if the token may not see the folders."""

    def get(self, external_id: str) -> DiscoveredCollection | None:
        """Return the library with this id."""
        return next((library for library in self.collections if library.external_id == external_id), None)


class ItemsQuery(Query[Row, OutlineRow, bytes]):
    """A listing of items below a library or a series."""

    form: ClassVar[ListingFormat[Any, Any, Any]] = JellyfinFormat()
    row_bytes: ClassVar[int] = 7000
    seen: ClassVar[type[KeySet]] = GuidSet

    def __init__(
        self, client: HttpClient, params: Mapping[str, str], fields: str, *, gone: Callable[[], CollectionGone]
    ) -> None:
        """``gone`` makes the error if the server has no such library."""
        super().__init__(client)
        self._params = {**_ALWAYS, **params}
        self._fields = fields
        self._gone = gone

    async def get(self, start: int, size: int, *, most: int | None = None, is_known: IsKnown = unknown) -> Answer:
        """Ask for a window."""
        window = {
            "Fields": self._fields,
            "StartIndex": str(start),
            "Limit": str(size),
        }
        try:
            return await self.client.get("/Items", {**self._params, **window}, most=most, is_known=is_known)
        except Refusal as exc:
            if exc.status != 404:
                raise
            raise self._gone() from exc

    async def total(self) -> int | None:
        """Ask how many items there are, with one of them: a limit of 0 is an error to some versions."""
        return self.form.decode((await self.get(0, 1)).body).total


class JellyfinLibrary(HttpLibrary[Row, OutlineRow, bytes]):
    """Reads a library of a Jellyfin server."""

    product: ClassVar[str] = "Jellyfin"
    kinds: ClassVar[Mapping[str, object]] = KINDS
    hint: ClassVar[str] = "Try again when Jellyfin is not scanning; if it stays so, scan the library there."
    make: JellyfinDraftMaker
    checks_afterwards = True

    async def check_library(self) -> None:
        """Find the library; raises CollectionGone.

        Asked for the items of a library that is gone, Jellyfin lists those of the whole server, because LibraryManager
        ignores a parent that it doesn't find.
        """
        libraries: Libraries = await self.fetch_libraries()
        self._user = {} if libraries.user_id is None else {"UserId": libraries.user_id}
        if libraries.get(self.collection.external_id) is None:
            raise self._gone()

    async def start(self, server_id: str) -> ItemsQuery:
        """Read the series, whose genres, tags and studios the episodes don't carry; returns the query for the items."""
        series: dict[bytes, Show] = {}
        if self._kind.has_series:
            await self.read_all(self.query("Series", SERIES_FIELDS), lambda rows: series.update(series_of(rows)))
        self.make = JellyfinDraftMaker(server_id, series)
        return self.query(self._kind.item_types, ITEM_FIELDS)

    async def in_scope(self, server_id: str) -> Page:
        """Read the part of the library that the scope names; raises ScopeNotFound."""
        kind, library_kind = self._kind, self.collection.kind
        if kind.has_series:
            rows = await self._find("Series", SERIES_FIELDS)
            series = self.the_only(rows, "shows")
            if series is not None:
                self.make = JellyfinDraftMaker(server_id, series_of(rows))
                return await self._episodes(bytes.fromhex(str(series.key)), series.title)
            if (page := await self._episode_of_key(server_id)) is not None:
                return page
        if self.scope.season is not None or library_kind == "show":
            raise self._missing("title" if kind.has_series else "season")
        self.make = JellyfinDraftMaker(server_id)
        rows = await self._find(",".join(name for name in kind.item_types.split(",") if name != "Episode"), ITEM_FIELDS)
        if not rows:
            raise self._missing("title")
        if library_kind in {"movie", "mixed"}:
            self.the_only(rows, "films")
        return await self.page(rows)

    def saved_since(self, item_types: str, fields: str, clock_s: int) -> ItemsQuery:
        """Make the query for the items that were saved since a time, in seconds since 1970."""
        since = datetime.fromtimestamp(clock_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.query(item_types, fields, **{SAVED_SINCE: since})

    async def mark(self) -> str | None:
        """Ask for the server's time; None if it doesn't tell it, or if it is scanning the library."""
        clock_s = await self._time_at_rest()
        return None if clock_s is None else str(clock_s)

    async def is_unchanged(self, mark: str, total: int) -> bool:
        """Return whether no item was saved since a mark was made. Whether one was removed is found by their number."""
        since, now = int(mark), await self._time_at_rest()
        # A server that ignores the filter counts all items, and one that doesn't understand the time may count none.
        return now is not None and now >= since and await self._count(since) == 0 and await self._count(EVER_S) == total

    async def _time_at_rest(self) -> int | None:
        state = await self.fetch_state()
        own = self.own_state(state)
        return None if own is None or own.refreshing else state.clock_s

    async def _count(self, since_s: int) -> int | None:
        query = self.saved_since(self._kind.item_types, "", since_s)
        return query.form.decode((await query.get(0, 1)).body).total

    def stamp(self, listing: Listing[Any, bytes]) -> bytes | None:
        """Return the stamp of a page; None for one with items of several files, which no listing holds."""
        # An outline has no such items.
        several = not isinstance(listing, OutlineListing) and part_counts(listing.rows)  # none where they were taken
        return None if several else listing.digest

    def parse_key(self, text: str) -> bytes | None:
        """Return the id that a text spells."""
        return guid_bytes(text)

    async def _find(self, item_types: str, fields: str) -> list[ListedRow[Row | BadRow, bytes]]:
        return await self.find_titled(
            lambda title: self.query(item_types, fields, SearchTerm=title), self._by_id(item_types, fields)
        )

    def _by_id(self, item_types: str, fields: str) -> Callable[[str], ItemsQuery]:
        return lambda key: self.query(item_types, fields, Ids=key)

    async def _episode_of_key(self, server_id: str) -> Page | None:
        """Read the episode whose id the scope gives in place of a series' title; None if there is none."""
        rows = await self.find_keyed(self._by_id("Episode", ITEM_FIELDS))
        if not rows:
            return None
        series: list[ListedRow[Row | BadRow, bytes]] = []
        for listed in rows:
            if isinstance(listed.row, Row) and listed.row.series_id:
                series += await self.find_key(listed.row.series_id, self._by_id("Series", SERIES_FIELDS))
        self.make = JellyfinDraftMaker(server_id, series_of(series))
        return await self.page(rows)

    async def page(self, rows: JellyfinRows) -> Page:
        """Make the drafts of rows. Asks for the further files of items that have several: no listing holds them."""
        self.make.parts = {key: await self._parts_of(key, count - 1) for key, count in part_counts(rows).items()}
        return self.make.page(rows)

    async def _episodes(self, series: bytes, title: str) -> Page:
        # Jellyfin filters by season, but not by the number of an episode.
        scope = self.scope
        season = {} if scope.season is None else {"ParentIndexNumber": str(scope.season)}
        query = self.query("Episode", ITEM_FIELDS, **season, ParentId=series.hex())
        of_season = await self.rows(query, _in_season(series, title, scope.season, None))
        of_scope = _in_season(series, title, scope.season, scope.episode)
        page = await self.page([listed for listed in of_season if of_scope(listed.row)])
        if scope.season is not None and not page.source_items:
            raise self._missing("episode" if of_season else "season")
        return page

    async def _parts_of(self, key: bytes, count: int) -> list[MediaSource] | None:
        """Ask for the further parts of an item; None unless the server names as many as ``count``."""
        try:
            answer = await self.client.get(f"/Videos/{key.hex()}/AdditionalParts", self._user)
        except Refusal:
            return None
        sources = [_own_source(listed.row) for listed in decode_listing(answer.body).rows]
        usable = [source for source in sources if source is not None and self.make.version_problem(source) is None]
        return usable if len(usable) == count == len(sources) else None

    @property
    def _kind(self) -> LibraryKind:
        return KINDS[self.collection.kind]

    def _gone(self) -> CollectionGone:
        return CollectionGone(
            f"The Jellyfin server has no library with the id {self.collection.external_id}.",
            hint="Discover the source's collections again.",
            context={"library": self.collection.external_id},
        )

    def _missing(self, part: str) -> Exception:
        return self.not_found(part, seasons=self._kind.has_series)

    def query(self, item_types: str, fields: str, **more: str) -> ItemsQuery:
        """Make a query for items of some types below the library, with further parameters."""
        params = {"ParentId": self.collection.external_id, "IncludeItemTypes": item_types, **self._user, **more}
        return ItemsQuery(self.client, params, fields, gone=self._gone)


def _own_source(row: Row | BadRow) -> MediaSource | None:
    if isinstance(row, BadRow):
        return None
    own = [source for source in row.versions or () if source.id == row.id]
    return next(iter(own or row.versions or ()), None)


def _in_season(series: bytes, title: str, season: int | None, episode: int | None) -> Callable[[Row | BadRow], bool]:
    """Make a test for episodes of a series, of a season, and of a number in it, also within a file's range.

    Jellyfin may merge series of several directories; asked for one of them it lists the episodes of all, which have
    several ids of one title (Series.cs). Asked for one that was removed meanwhile it lists those of the whole server.
    """
    name = titles.folded(title)

    def test(row: Row | BadRow) -> bool:
        if isinstance(row, BadRow):
            # The server says that it is in scope, and its numbers can't be read.
            return True
        of_series = guid_bytes(row.series_id) == series or titles.folded(row.series_name or "") == name
        if not of_series or (season is not None and row.parent_index_number != season):
            return False
        if episode is None:
            return True
        first = row.index_number
        return first is not None and first <= episode <= max(first, row.index_number_end or first)

    return test
