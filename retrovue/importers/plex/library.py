"""Reads a library of a Plex server: which listings are asked for, how, and which part of them is in scope."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from retrovue.core.errors import CollectionGone
from retrovue.core.pages import Page
from retrovue.importers.http.answers import Answer, IsKnown, unknown
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.drafts import Show
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.listing import BadRow, KeySet, ListingFormat
from retrovue.importers.http.query import Query
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.plex.parse import PlexDraftMaker, shows_of
from retrovue.importers.plex.rows import OutlineRow, PlexFormat, RatingKeySet, Row, rating_key_number

ITEM_TYPES = {"movie": "1", "show": "4", "artist": "10", "photo": "12"}
"""The number that PMS gives to the playable items of each kind of library: movies (which home videos are listed as,
too), episodes, tracks, and the clips among photos."""

SHOWS = {"type": "2", "includeGuids": "1"}
EPISODES = {"type": ITEM_TYPES["show"], "includeGuids": "1"}

SORTS: tuple[str | None, ...] = ("id", "addedAt:asc", None)
"""Orders to ask for; each replaces the one before it if the server answers 400. ``id`` works but isn't documented
(python-plexapi uses it, too). ``addedAt`` is, and puts new items behind what has been read. None is the server's own
order. The proof finds ties and shifts in any of them."""

SMALL_PAGE = 100
"""The page size to try if a server answers 400, which may be about the order or about the size: PMS has announced it
for pages that are too large, and plex.tv does so. python-plexapi asks for as many."""

LEAN = {
    "excludeElements": "Actor,Country,Director,Image,Mood,Producer,Role,Similar,UltraBlurColors,Writer",
    "excludeFields": "summary,tagline,thumb,art,theme,parentThumb,grandparentThumb,grandparentArt,grandparentTheme,"
    "viewCount,viewOffset,lastViewedAt,skipCount,lastRatedAt,userRating",
}
"""Leaves out what no asset holds: plot and cast, a third of a film's row, and what watching and rating a film changes,
so that the row of an item that hasn't changed stays the same to the byte. Plex documents both parameters as requests
that a server need not grant (Response Customization). PMS grants the names of the plot and the cast (WebTools-NG issue
71); of the others it isn't known."""


class SectionQuery(Query[Row, OutlineRow, int | str]):
    """A listing of one library section, with the filters of PMS as parameters."""

    form: ClassVar[ListingFormat[Any, Any, Any]] = PlexFormat()
    row_bytes: ClassVar[int] = 3500
    seen: ClassVar[type[KeySet]] = RatingKeySet

    def __init__(self, client: HttpClient, section: str, params: Mapping[str, str], *, page_size: int) -> None:
        super().__init__(client)
        self._section = quote(section, safe="")
        self._params = dict(params)
        # The ways to ask, best first. After a refusal the next one is tried.
        sizes = [size for size in (page_size, SMALL_PAGE) if size <= page_size]
        self._ways = [(fields, sort, size) for fields in (LEAN, {}) for sort in SORTS for size in sizes]
        self.way = 0

    async def get(self, start: int, size: int, *, most: int | None = None, is_known: IsKnown = unknown) -> Answer:
        """Ask for a window in the best way that the server accepts."""
        while True:
            fields, sort, cap = self._ways[self.way]
            params = {
                **self._params,
                **fields,
                **({} if sort is None else {"sort": sort}),
                "X-Plex-Container-Start": str(start),
                "X-Plex-Container-Size": str(min(size, cap)),
            }
            try:
                return await self.client.get(
                    f"/library/sections/{self._section}/all", params, most=most, is_known=is_known
                )
            except Refusal as exc:
                if exc.status == 404:
                    raise self._gone() from exc
                # Only the first window may change the way: later ones must match it.
                if exc.status != 400 or start != 0 or self.way + 1 == len(self._ways):
                    raise
                self.way += 1

    async def total(self) -> int | None:
        """Ask how many items there are, without any; None if the server doesn't say. Raises Refusal."""
        params = {**self._params, "X-Plex-Container-Start": "0", "X-Plex-Container-Size": "0"}
        try:
            answer = await self.client.get(f"/library/sections/{self._section}/all", params)
        except Refusal as exc:
            if exc.status == 404:
                raise self._gone() from exc
            raise
        stated = self.form.decode(answer.body).total
        return answer.total if stated is None else stated

    def _gone(self) -> CollectionGone:
        return CollectionGone(
            f"The Plex server has no library with the key {self._section} (HTTP 404).",
            hint="Discover the source's collections again.",
            context={"section": self._section},
        )


class PlexLibrary(HttpLibrary[Row, OutlineRow, int | str]):
    """Reads a library of a Plex server."""

    product: ClassVar[str] = "Plex"
    kinds: ClassVar[Mapping[str, object]] = ITEM_TYPES
    hint: ClassVar[str] = "Try again when Plex is not scanning; if it stays so, repair the server's database."

    async def start(self, server_id: str) -> SectionQuery:
        """Read the shows, whose genres, labels and studio the episodes don't carry; returns the query for the items."""
        kind = self.collection.kind
        shows: dict[int | str, Show] = {}
        if kind == "show":
            await self.read_all(self.query(SHOWS), lambda rows: shows.update(shows_of(rows)))
        self.make = PlexDraftMaker(server_id, shows)
        return self.query({"type": ITEM_TYPES[kind], "includeGuids": "1"})

    async def in_scope(self, server_id: str) -> Page:
        """Read the part of the library that the scope names; raises ScopeNotFound."""
        kind, scope = self.collection.kind, self.scope
        if kind == "show":
            return await self._in_shows(server_id)
        if scope.season is not None:
            raise self._missing("season")
        self.make = PlexDraftMaker(server_id)
        # The filter "id" is undocumented, too.
        item_type = {"type": ITEM_TYPES[kind], "includeGuids": "1"}
        rows = await self.find_titled(
            lambda title: self.query({**item_type, "title": title}), lambda key: self.query({**item_type, "id": key})
        )
        if not rows:
            raise self._missing("title")
        if kind == "movie":
            self.the_only(rows, "films")
        return self.make.page(rows)

    def parse_key(self, text: str) -> int | None:
        """Return the rating key that a text spells."""
        return rating_key_number(text)

    async def _in_shows(self, server_id: str) -> Page:
        scope = self.scope
        rows = await self.find_titled(
            lambda title: self.query({**SHOWS, "title": title}), lambda key: self.query({**SHOWS, "id": key})
        )
        show = self.the_only(rows, "shows")
        if show is None:
            return await self._episode_of_key(server_id)
        self.make = PlexDraftMaker(server_id, shows_of(rows))
        page = await self._episodes(show.key, scope.season, scope.episode)
        if not page.source_items and scope.episode is not None:
            season = await self._episodes(show.key, scope.season, None)
            raise self._missing("episode" if season.source_items else "season")
        if not page.source_items and scope.season is not None:
            raise self._missing("season")
        return page

    async def _episode_of_key(self, server_id: str) -> Page:
        """Read the episode whose key the scope gives in place of a show's title; raises ScopeNotFound."""
        rows = await self.find_keyed(lambda key: self.query({**EPISODES, "id": key}))
        if not rows:
            raise self._missing("title")
        if not any(map(_in_season(self.scope.season, self.scope.episode), (listed.row for listed in rows))):
            raise self._missing("season")
        keys = [str(listed.row.grandparent_rating_key) for listed in rows if isinstance(listed.row, Row)]
        shows = [show for key in keys for show in await self.find_key(key, lambda k: self.query({**SHOWS, "id": k}))]
        self.make = PlexDraftMaker(server_id, shows_of(shows))
        return self.make.page(rows)

    async def _episodes(self, show: int | str, season: int | None, episode: int | None) -> Page:
        # These filters are undocumented; python-plexapi's tests use them, too.
        params = {**EPISODES, "show.id": str(show)}
        if season is not None:
            params["season.index"] = str(season)
        if episode is not None:
            params["episode.index"] = str(episode)
        return self.make.page(await self.rows(self.query(params), _in_season(season, episode)))

    def _missing(self, part: str) -> Exception:
        return self.not_found(part, seasons=self.collection.kind == "show")

    def query(self, params: Mapping[str, str]) -> SectionQuery:
        """Make a query for the items of the library that meet the filters."""
        return SectionQuery(self.client, self.collection.external_id, params, page_size=self.page_size)


def _in_season(season: int | None, episode: int | None) -> Callable[[Row | BadRow], bool]:
    """Make a test for episodes of a season, and of a number in it."""

    def test(row: Row | BadRow) -> bool:
        if isinstance(row, BadRow):
            # The server says that it is in scope, and its numbers can't be read.
            return True
        return (season is None or row.parent_index == season) and (episode is None or row.index == episode)

    return test
