"""One enumeration of one library: which listings it takes, and what happens if they move meanwhile."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from types import TracebackType
from typing import Any
from urllib.parse import quote

import anyio
from anyio.abc import TaskGroup

from retrovue.errors import IncompleteEnumeration, RequestError, SourceUnreachable
from retrovue.importers.plex import scope as scopes
from retrovue.importers.plex.client import PlexClient
from retrovue.importers.plex.listing import Budget, ListingMoved, Reader, Window, walk
from retrovue.importers.plex.parse import WITHOUT_FILE, DraftMaker, Show, shows_of
from retrovue.model import Collection, Outline, Page, Scope

ITEM_TYPES = {"movie": "1", "show": "4", "artist": "10"}
"""What is playable in a library of each kind, by PMS's number: movies (home videos are listed as movies,
too), episodes, tracks."""

_SHOWS = "2"


class Enumeration:
    """Reads a library, once more if it changes while it is read, and then gives up."""

    def __init__(
        self,
        client: PlexClient,
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
        self._client = client
        self._collection = collection
        self._scope = scope
        self._machine_identifier = machine_identifier
        self._page_size = page_size
        self._budget = budget
        self._tasks = tasks
        self._moved: ListingMoved | None = None
        """Found by somebody who read an outline; the walk ends with it when it goes on."""

    async def pages(self) -> AsyncGenerator[Page | Outline, None]:
        """Generate the pages.

        Raises IncompleteEnumeration if the listing moves or doesn't add up twice, and SourceUnreachable if the pages
        of the collection take longer than its deadline allows.
        """
        self._deadline = anyio.current_time() + self._client.policy.collection_deadline_s
        moved = None
        for _ in range(2):
            if moved is not None:
                yield Page([], [], 0, restart=True)
            moved = None
            async with aclosing(self._full() if self._scope.is_full else self._scoped()) as one_pass:
                try:
                    async for page in one_pass:
                        yield page
                except ListingMoved as exc:
                    moved = exc
            if moved is None:
                return
        if moved is not None:
            name = self._collection.name
            raise IncompleteEnumeration(
                f"The listing of {name!r} {moved.problem}: what was read isn't proven to be all of it.",
                hint="Try again when Plex is not scanning; if it stays so, repair the server's database.",
                context={"expected": moved.expected, "received": moved.received, "collection": name},
            ) from moved

    async def _full(self) -> AsyncGenerator[Page | Outline, None]:
        kind, self._moved = self._collection.kind, None
        shows: dict[int, Show] = {}
        if kind == "show":
            # Episodes don't carry the genres, labels and studio of their show.
            async with aclosing(self._walk({"type": _SHOWS})) as windows:
                async for window in windows:
                    shows.update(shows_of(window.listing, window.skip))
        make = DraftMaker(self._machine_identifier, shows)
        reader = self._reader({"type": ITEM_TYPES[kind], "includeGuids": "1"})
        # Where the collection has assets, most pages hold nothing new: they are looked over, and read if need be.
        reader.short = self._collection.assets_count > 0
        again = _ReadAgain(reader, make, self._note_move)
        async with aclosing(self._windows(reader)) as windows:
            async for window in windows:
                if window.listing.sketches is None:
                    yield make.page(window.listing, window.skip)
                    continue
                outline = make.outline(window.listing, window.skip, partial(again.page, window))
                # What wasn't asked for isn't missing; what is missing may be there when it is asked for.
                if any(rejection.code in WITHOUT_FILE for rejection in outline.rejected):
                    yield await again.page(window)
                else:
                    yield outline
                again.after(window)
                if self._moved is not None:
                    raise self._moved

    def _note_move(self, moved: ListingMoved) -> None:
        self._moved = moved

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
            async with aclosing(self._walk({"type": _SHOWS, "title": title})) as windows:
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
        async with aclosing(self._walk(params)) as windows:
            async for window in windows:
                matching = scopes.select(window.listing, window.skip, test)
                if found is not None:
                    found += scopes.candidates(matching)
                page = make.page(matching)
                whole.drafts += page.drafts
                whole.rejected += page.rejected
                whole.source_items += page.source_items
        return whole

    def _too_slow(self) -> SourceUnreachable:
        seconds = self._client.policy.collection_deadline_s
        return SourceUnreachable(
            f"Reading {self._collection.name!r} takes longer than {seconds:g} seconds.",
            hint="Check that the server isn't overloaded, or give its http settings a longer collection_deadline_s.",
        )

    def _walk(self, params: dict[str, str]) -> AsyncGenerator[Window, None]:
        return self._windows(self._reader(params))

    def _reader(self, params: dict[str, str]) -> Reader:
        section = quote(self._collection.external_id, safe="")
        return Reader(self._client, section, params, page_size=self._page_size, budget=self._budget, tasks=self._tasks)

    async def _windows(self, reader: Reader) -> AsyncGenerator[Window, None]:
        try:
            async with aclosing(walk(reader)) as windows:
                async for window in windows:
                    yield window
                    # One request has a deadline of its own, so that this one is found out in time.
                    if anyio.current_time() > self._deadline:
                        raise self._too_slow()
        finally:
            reader.close()


class _ReadAgain:
    """Reads windows in full that were asked for in short; where that happens often, all others are from the start."""

    def __init__(self, reader: Reader, make: DraftMaker, moved: Callable[[ListingMoved], None]) -> None:
        self._reader = reader
        self._make = make
        self._moved = moved
        self._in_a_row = 0
        self._last: Window | None = None

    async def page(self, window: Window) -> Page:
        """Read a window in full; an empty page if its rows are others now, which the walk is told."""
        listing = await self._reader.read_whole(window.start, window.size)
        if listing.keys != window.listing.keys:
            self._moved(ListingMoved("changed between two requests", len(window.listing), len(listing)))
            return Page([], [], 0)
        self._last = window
        return self._make.page(listing, window.skip)

    def after(self, window: Window) -> None:
        """Note whether the window had to be read in full."""
        self._in_a_row = self._in_a_row + 1 if self._last is window else 0
        if self._in_a_row == 2:
            self._reader.short = False


class ReadingAhead(AbstractAsyncContextManager[AsyncIterator[Page | Outline]]):
    """Owns the tasks that read ahead for a generator of pages, so that no group is open around a yield.

    Leaving it cancels them. What the body raises, a cancellation included, leaves as it is and not in a group.
    """

    def __init__(self, make: Callable[[TaskGroup], AsyncGenerator[Page | Outline, None]]) -> None:
        self._make = make
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> AsyncIterator[Page | Outline]:
        await self._tasks.__aenter__()
        self._pages = self._make(self._tasks)
        return self._pages

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._pages.aclose()
        finally:
            self._tasks.cancel_scope.cancel()
            # The group has to see a cancellation, and would wrap anything else; whatever it answers, Python
            # raises the body's exception on, as nothing is returned here.
            cancelled = isinstance(exc, anyio.get_cancelled_exc_class())
            details: tuple[Any, Any, Any] = (exc_type, exc, traceback) if cancelled else (None, None, None)
            await self._tasks.__aexit__(*details)
