"""One enumeration of one library: which listings it takes, and what becomes of their rows."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import ClassVar

from anyio.abc import TaskGroup

from retrovue.core.errors import CollectionGone, RequestError
from retrovue.core.model import Collection, Outline, Page, Scope
from retrovue.importers import titles
from retrovue.importers.http.client import HttpClient, Refusal
from retrovue.importers.http.enumeration import PagedEnumeration
from retrovue.importers.http.reading import Budget
from retrovue.importers.jellyfin import scope as scopes
from retrovue.importers.jellyfin.libraries import KINDS, Libraries
from retrovue.importers.jellyfin.listing import ITEM_FIELDS, SERIES_FIELDS, ItemsQuery
from retrovue.importers.jellyfin.parse import DraftMaker, Parts, Series, in_parts, series_of, source_problem
from retrovue.importers.jellyfin.rows import BadRow, Listing, Row, Source, decode_listing


class Enumeration(PagedEnumeration[Listing]):
    """Reads a library of a Jellyfin server."""

    hint: ClassVar[str] = "Try again when Jellyfin is not scanning."

    def __init__(
        self,
        client: HttpClient,
        collection: Collection,
        scope: Scope,
        *,
        server_id: str,
        libraries: Callable[[], Awaitable[Libraries]],
        page_size: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
    ) -> None:
        if collection.kind not in KINDS:
            raise RequestError(
                f"A Jellyfin library of kind {collection.kind!r} can't be ingested.",
                code="unsupported_kind",
                context={"kind": collection.kind},
            )
        super().__init__(client, collection, scope, page_size=page_size, budget=budget, tasks=tasks)
        self._kind = KINDS[collection.kind]
        self._server_id = server_id
        self._libraries = libraries
        self._user: dict[str, str] = {}

    async def _read(self) -> AsyncGenerator[Page | Outline, None]:
        # Asked for the items of a library that is gone, Jellyfin lists those of the whole server (LibraryManager
        # drops a parent that it doesn't find). Before and after, the library has to be there.
        await self._find_library()
        async with aclosing(self._full() if self._scope.is_full else self._scoped()) as pages:
            async for page in pages:
                yield page
        await self._find_library()

    async def _find_library(self) -> None:
        libraries = await self._libraries()
        self._user = {} if libraries.user_id is None else {"UserId": libraries.user_id}
        if libraries.get(self._collection.external_id) is None:
            raise self._gone()

    def _gone(self) -> CollectionGone:
        return CollectionGone(
            f"The Jellyfin server has no library with the id {self._collection.external_id}.",
            hint="Discover the source's collections again.",
            context={"library": self._collection.external_id},
        )

    async def _full(self) -> AsyncGenerator[Page | Outline, None]:
        series: dict[bytes, Series] = {}
        if self._kind.has_series:
            # Episodes don't carry the genres, tags and studios of their series.
            async with aclosing(self._walk(self._query("Series", SERIES_FIELDS))) as windows:
                async for window in windows:
                    series.update(series_of(window.listing, window.skip))
        make = DraftMaker(self._server_id, series)

        async def page(listing: Listing, skip: int) -> Page:
            return make.page(listing, skip, await self._parts(listing, skip))

        query = self._query(self._kind.item_types, ITEM_FIELDS)
        async with aclosing(self._outlined(query, page, make.outline)) as pages:
            async for one in pages:
                yield one

    async def _scoped(self) -> AsyncGenerator[Page | Outline, None]:
        scope = self._scope
        if self._kind.has_series:
            found, about = await self._find_series()
            if found is not None:
                yield await self._episodes(found, about)
                return
        if scope.season is not None or self._collection.kind == "show":
            raise self._not_found("title" if self._kind.has_series else "season")
        for title, year in titles.title_guesses(scope.title or ""):
            page = await self._titled(title, year)
            if page.source_items:
                yield page
                return
        raise self._not_found("title")

    async def _find_series(self) -> tuple[titles.Candidate | None, dict[bytes, Series]]:
        for title, year in titles.title_guesses(self._scope.title or ""):
            found: list[titles.Candidate] = []
            about: dict[bytes, Series] = {}
            test = scopes.has_title(title, year)
            async with aclosing(self._walk(self._query("Series", SERIES_FIELDS, SearchTerm=title))) as windows:
                async for window in windows:
                    matching = scopes.select(window.listing, window.skip, test)
                    found += scopes.candidates(matching)
                    about |= series_of(matching)
            if found:
                return titles.the_only(found, self._collection, self._scope, "shows"), about
        return None, {}

    async def _episodes(self, series: titles.Candidate, about: dict[bytes, Series]) -> Page:
        scope = self._scope
        make = DraftMaker(self._server_id, about)
        key = bytes.fromhex(str(series.key))
        of_season = scopes.in_season(key, scope.season, None)
        of_scope = scopes.in_season(key, scope.season, scope.episode)
        page, seen = Page([], [], 0), 0
        season = {} if scope.season is None else {"ParentIndexNumber": str(scope.season)}
        query = self._query("Episode", ITEM_FIELDS, **season, ParentId=key.hex())
        async with aclosing(self._walk(query)) as windows:
            async for window in windows:
                episodes = scopes.select(window.listing, window.skip, of_season)
                seen += len(episodes.keys)
                await self._add(page, make, scopes.select(episodes, 0, of_scope))
        if scope.season is not None and not page.source_items:
            raise self._not_found("episode" if seen else "season")
        return page

    async def _titled(self, title: str, year: int | None) -> Page:
        # One title is a few items that match: they make one page.
        page, found = Page([], [], 0), list[titles.Candidate]()
        make = DraftMaker(self._server_id)
        item_types = ",".join(one for one in self._kind.item_types.split(",") if one != "Episode")
        test = scopes.has_title(title, year)
        async with aclosing(self._walk(self._query(item_types, ITEM_FIELDS, SearchTerm=title))) as windows:
            async for window in windows:
                matching = scopes.select(window.listing, window.skip, test)
                found += scopes.candidates(matching)
                await self._add(page, make, matching)
        if found and self._collection.kind in {"movie", "mixed"}:
            titles.the_only(found, self._collection, self._scope, "films")
        return page

    async def _add(self, whole: Page, make: DraftMaker, listing: Listing) -> None:
        page = make.page(listing, 0, await self._parts(listing, 0))
        whole.drafts += page.drafts
        whole.rejected += page.rejected
        whole.source_items += page.source_items

    async def _parts(self, listing: Listing, skip: int) -> Parts:
        """Ask for the further files of the items that have any: they are rare, and no listing holds them."""
        expected = {
            key: row.part_count
            for row, key in zip(listing.rows, listing.keys, strict=True)
            if isinstance(row, Row) and row.part_count
        }
        return {key: await self._parts_of(key, (expected[key] or 0) - 1) for key in in_parts(listing, skip)}

    async def _parts_of(self, key: bytes, count: int) -> list[Source] | None:
        try:
            answer = await self._client.get(f"/Videos/{key.hex()}/AdditionalParts", self._user)
        except Refusal:
            return None
        sources = [_own_source(row) for row in decode_listing(answer.body).rows]
        found = [source for source in sources if source is not None and source_problem(source) is None]
        return found if len(found) == count == len(sources) else None

    def _not_found(self, part: str) -> Exception:
        return titles.not_found(self._collection, self._scope, part, server="Jellyfin", seasons=self._kind.has_series)

    def _query(self, item_types: str, fields: str, **more: str) -> ItemsQuery:
        params = {"ParentId": self._collection.external_id, "IncludeItemTypes": item_types, **self._user, **more}
        return ItemsQuery(self._client, params, fields, gone=self._gone)


def _own_source(row: Row | BadRow) -> Source | None:
    if isinstance(row, BadRow):
        return None
    own = [source for source in row.media_sources or () if source.id == row.id]
    return next(iter(own or row.media_sources or ()), None)
