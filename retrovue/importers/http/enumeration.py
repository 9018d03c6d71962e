"""One enumeration of one library that is listed in pages: again if it moves, in short if it is known, in time."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import ClassVar, Final, Generic

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import IncompleteEnumeration, SourceUnreachable
from retrovue.core.model import Collection, Outline, Page, Scope
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.listing import ListingMoved, ListingT, Query, Window
from retrovue.importers.http.paging import walk
from retrovue.importers.http.reading import Budget, Reader

WITHOUT_FILE: Final = frozenset({"no_media", "no_media_id", "no_file"})
"""The codes of what is rejected for something that it lacks."""


class PagedEnumeration(ABC, Generic[ListingT]):
    """Reads a library, once more if it changes while it is read, and then gives up."""

    hint: ClassVar[str]
    """What may help against a library that doesn't rest."""

    def __init__(
        self,
        client: HttpClient,
        collection: Collection,
        scope: Scope,
        *,
        page_size: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
    ) -> None:
        self._client = client
        self._collection = collection
        self._scope = scope
        self._page_size = page_size
        self._budget = budget
        self._tasks = tasks

    async def pages(self) -> AsyncGenerator[Page | Outline, None]:
        """Generate the pages.

        Raises IncompleteEnumeration if the listing moves or doesn't add up twice, and SourceUnreachable if the pages
        of the collection take longer than its deadline allows.
        """
        self._deadline = anyio.current_time() + self._client.policy.collection_deadline_s
        for again in (False, True):
            if again:
                yield Page([], [], 0, restart=True)
            moved = None
            async with aclosing(self._read()) as one_pass:
                try:
                    async for page in one_pass:
                        yield page
                except ListingMoved as exc:
                    moved = exc
            if moved is None:
                return
            if again:
                raise self._incomplete(moved) from moved

    @abstractmethod
    def _read(self) -> AsyncGenerator[Page | Outline, None]:
        """Generate the pages of one pass; raises ListingMoved."""

    def _walk(self, query: Query[ListingT]) -> AsyncGenerator[Window[ListingT], None]:
        return self._windows(self._reader(query))

    async def _outlined(
        self,
        query: Query[ListingT],
        page: Callable[[ListingT, int], Awaitable[Page]],
        outline: Callable[[ListingT, int, Callable[[], Awaitable[Page]]], Outline],
    ) -> AsyncGenerator[Page | Outline, None]:
        """Generate a whole listing: in outline what could be looked over, the rest as pages.

        ``page`` and ``outline`` make one of a listing without so many rows at its start.
        """
        # Where the collection has assets, most pages hold nothing new: they are looked over, and read if need be.
        query.short = self._collection.assets_count > 0
        reader = self._reader(query)
        async with aclosing(self._windows(reader)) as windows:
            async for window in windows:
                if window.listing.sketches is None:
                    yield await page(window.listing, window.skip)
                    continue
                read = partial(_read_again, reader, window, page)
                outlined = outline(window.listing, window.skip, read)
                # What wasn't asked for isn't missing; what is missing may be there when it is asked for.
                lacking = any(rejection.code in WITHOUT_FILE for rejection in outlined.rejected)
                yield await read() if lacking else outlined

    def _reader(self, query: Query[ListingT]) -> Reader[ListingT]:
        return Reader(query, page_size=self._page_size, budget=self._budget, tasks=self._tasks)

    async def _windows(self, reader: Reader[ListingT]) -> AsyncGenerator[Window[ListingT], None]:
        async with aclosing(walk(reader)) as windows:
            async for window in windows:
                yield window
                # One request has a deadline of its own, so that this one is found out in time.
                if anyio.current_time() > self._deadline:
                    raise self._too_slow()

    def _incomplete(self, moved: ListingMoved) -> IncompleteEnumeration:
        name = self._collection.name
        return IncompleteEnumeration(
            f"The listing of {name!r} {moved.problem}: what was read isn't proven to be all of it.",
            hint=self.hint,
            context={"expected": moved.expected, "received": moved.received, "collection": name},
        )

    def _too_slow(self) -> SourceUnreachable:
        seconds = self._client.policy.collection_deadline_s
        return SourceUnreachable(
            f"Reading {self._collection.name!r} takes longer than {seconds:g} seconds.",
            hint="Check that the server isn't overloaded, or give its http settings a longer collection_deadline_s.",
        )


async def _read_again(
    reader: Reader[ListingT], window: Window[ListingT], page: Callable[[ListingT, int], Awaitable[Page]]
) -> Page:
    """Read a window in full; an empty page if its rows are others now, with which the walk ends."""
    listing = await reader.read_again(window)
    return Page([], [], 0) if listing is None else await page(listing, window.skip)
