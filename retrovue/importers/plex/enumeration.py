"""One enumeration of one library: which listings it takes, and what becomes of their rows."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

from anyio.abc import TaskGroup

from retrovue.core.errors import RequestError
from retrovue.core.model import Collection, Outline, Page, Scope
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.enumeration import PagedEnumeration
from retrovue.importers.http.reading import Budget
from retrovue.importers.plex import scope as scopes
from retrovue.importers.plex.listing import SectionQuery
from retrovue.importers.plex.parse import DraftMaker, Show, shows_of
from retrovue.importers.plex.rows import Listing

ITEM_TYPES = {"movie": "1", "show": "4", "artist": "10"}
"""What is playable in a library of each kind, by PMS's number: movies (home videos are listed as movies,
too), episodes, tracks."""

_SHOWS = "2"


class Enumeration(PagedEnumeration[Listing]):
    """Reads a library of a Plex server."""

    hint: ClassVar[str] = "Try again when Plex is not scanning; if it stays so, repair the server's database."

    def __init__(
        self,
        client: HttpClient,
        collection: Collection,
        scope: Scope,
        *,
        machine_identifier: str,
        page_size: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
    ) -> None:
        if collection.kind not in ITEM_TYPES:
            raise RequestError(
                f"A Plex library of kind {collection.kind!r} can't be ingested.",
                code="unsupported_kind",
                context={"kind": collection.kind},
            )
        super().__init__(client, collection, scope, page_size=page_size, budget=budget, tasks=tasks)
        self._machine_identifier = machine_identifier

    def _read(self) -> AsyncGenerator[Page | Outline, None]:
        return self._full() if self._scope.is_full else self._scoped()

    async def _full(self) -> AsyncGenerator[Page | Outline, None]:
        kind = self._collection.kind
        shows: dict[int, Show] = {}
        if kind == "show":
            # Episodes don't carry the genres, labels and studio of their show.
            async with aclosing(self._walk(self._query({"type": _SHOWS}))) as windows:
                async for window in windows:
                    shows.update(shows_of(window.listing, window.skip))
        make = DraftMaker(self._machine_identifier, shows)

        async def page(listing: Listing, skip: int) -> Page:
            return make.page(listing, skip)

        query = self._query({"type": ITEM_TYPES[kind], "includeGuids": "1"})
        async with aclosing(self._outlined(query, page, make.outline)) as pages:
            async for one in pages:
                yield one

    async def _scoped(self) -> AsyncGenerator[Page | Outline, None]:
        collection, scope = self._collection, self._scope
        if collection.kind == "show":
            show, about = await self._find_show()
            make = DraftMaker(self._machine_identifier, about)
            page = await self._episodes(make, show, scope.season, scope.episode)
            if not page.source_items and scope.episode is not None:
                season = await self._episodes(make, show, scope.season, None)
                raise scopes.not_found(collection, scope, "episode" if season.source_items else "season")
            if not page.source_items and scope.season is not None:
                raise scopes.not_found(collection, scope, "season")
            yield page
            return
        if scope.season is not None:
            raise scopes.not_found(collection, scope, "season")
        make = DraftMaker(self._machine_identifier)
        for title, year in scopes.title_guesses(scope.title or ""):
            params = {"type": ITEM_TYPES[collection.kind], "includeGuids": "1", "title": title}
            found: list[scopes.Candidate] = []
            page = await self._matching(make, params, scopes.has_title(title, year), found)
            if page.source_items:
                if collection.kind == "movie" and found:
                    scopes.the_only(found, collection, scope)
                yield page
                return
        raise scopes.not_found(collection, scope, "title")

    async def _find_show(self) -> tuple[int, dict[int, Show]]:
        collection, scope = self._collection, self._scope
        for title, year in scopes.title_guesses(scope.title or ""):
            found: list[scopes.Candidate] = []
            about: dict[int, Show] = {}
            test = scopes.has_title(title, year)
            async with aclosing(self._walk(self._query({"type": _SHOWS, "title": title}))) as windows:
                async for window in windows:
                    matching = scopes.select(window.listing, window.skip, test)
                    found += scopes.candidates(matching)
                    about |= shows_of(matching)
            if found:
                return scopes.the_only(found, collection, scope).key, about
        raise scopes.not_found(collection, scope, "title")

    async def _episodes(self, make: DraftMaker, show: int, season: int | None, episode: int | None) -> Page:
        params = {**scopes.episode_params(show, season, episode), "includeGuids": "1"}
        return await self._matching(make, params, scopes.in_season(season, episode))

    async def _matching(
        self,
        make: DraftMaker,
        params: dict[str, str],
        test: scopes.RowTest,
        found: list[scopes.Candidate] | None = None,
    ) -> Page:
        # One title is a few hundred items at most that match: they make one page.
        whole = Page([], [], 0)
        async with aclosing(self._walk(self._query(params))) as windows:
            async for window in windows:
                matching = scopes.select(window.listing, window.skip, test)
                if found is not None:
                    found += scopes.candidates(matching)
                page = make.page(matching)
                whole.drafts += page.drafts
                whole.rejected += page.rejected
                whole.source_items += page.source_items
        return whole

    def _query(self, params: dict[str, str]) -> SectionQuery:
        return SectionQuery(self._client, self._collection.external_id, params, page_size=self._page_size)
