"""List what has changed in a library of a media server, by the server's time filters or by given keys.

A server silently ignores a filter that it doesn't know, and lists everything. So a filter is used only if two requests,
one for all times and one for the latest time, had different answers. A change that affects no time is found by the
total number of items, which proves that no other item has come or gone, and by the next reading of the whole library.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic

from retrovue.core.answers import ChangesRead, Since
from retrovue.core.errors import ChangesUnknown
from retrovue.core.pages import Page
from retrovue.core.text import quoted
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.listing import BadRow, KeyT, ListedRow, ListingMoved, OutlineListing, OutlineT, RowT
from retrovue.importers.http.query import Query
from retrovue.importers.http.refusals import Refusal

MOST_CHANGES = 10_000
"""The most items that are read as changes, because they are in memory together."""
MOST_SHOWS = 100
"""The most changed shows whose episodes are read, and the most shows in one request."""


class HttpChanges(ABC, Generic[RowT, OutlineT, KeyT]):
    """Reads the changes of a library. Call `pages()` once. Subclasses define the requests."""

    def __init__(self, library: HttpLibrary[RowT, OutlineT, KeyT], since: Since) -> None:
        self.library = library
        self.since = since
        self._learnt: dict[str, bool] = {}

    @abstractmethod
    def all_items(self) -> Query[RowT, OutlineT, KeyT]:
        """Make the query for all items of the library, as its full listing requests them."""

    @abstractmethod
    def filters(self) -> Sequence[str]:
        """Return the names of the filters that are needed."""

    @abstractmethod
    async def find(self, total: int, server_id: str) -> Mapping[KeyT, ListedRow[RowT | BadRow, KeyT]]:
        """Find the items that have changed, in a library of ``total`` items, and set the maker of their drafts."""

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Yield the pages, and at the end an empty one with `Page.changes`. Raises ChangesUnknown."""
        library = self.library
        if library.collection.kind not in library.kinds:
            raise ChangesUnknown(f"A library of kind {quoted(library.collection.kind)} has no changes.")
        for name in self.filters():
            if self.since.filters.get(name) is False:
                raise self._refused(name)
        server_id = await library.begin()
        try:
            total = await self.all_items().total()
            if total is None:
                raise self.unknown("The server doesn't say how many items the library has.")
            found = list((await self.find(total, server_id)).values())
        except ListingMoved as exc:
            raise self.unknown(f"The listing of changes {exc.problem}.") from exc
        except Refusal as exc:
            raise self.unknown(exc.message) from exc
        for first in range(0, len(found), library.page_size):
            page = await library.page(found[first : first + library.page_size])
            page.source_total = len(found)
            yield page
        yield Page([], [], 0, changes=ChangesRead(total, self._learnt))

    async def changed(
        self,
        name: str,
        latest: Query[RowT, OutlineT, KeyT],
        ever: Query[RowT, OutlineT, KeyT],
        total: int | None,
    ) -> dict[KeyT, ListedRow[RowT | BadRow, KeyT]]:
        """Read what a filter lists, and prove that the filter works unless that is known.

        ``latest`` and ``ever`` are the requests with the filter for the time since which changes are listed, and for
        all times; ``total`` is the number of all items, of which the filter should list fewer.
        """
        wide = await self._wide_answer(name, ever)

        def check(narrow: int, _: object) -> None:
            if total is not None and narrow >= total:
                raise self.unknown(f"By the filter {name} the server lists all {narrow} items.")

        found = await self.read(latest, check)
        if wide is not None:
            if wide == len(found):
                raise self.unknown(f"The filter {name} isn't proven to work: it lists {wide} items for any time.")
            self._learnt[name] = True
        return found

    async def _wide_answer(self, name: str, ever: Query[RowT, OutlineT, KeyT]) -> int | None:
        if self.since.filters.get(name):
            return None
        try:
            return await ever.total() or 0
        except Refusal as exc:
            self._learnt[name] = False
            raise self._refused(name) from exc

    def _refused(self, name: str) -> ChangesUnknown:
        return self.unknown(f"The server doesn't accept the filter {name}.")

    async def read(
        self, query: Query[RowT, OutlineT, KeyT], check: Callable[[int, Sequence[ListedRow[RowT | BadRow, KeyT]]], None]
    ) -> dict[KeyT, ListedRow[RowT | BadRow, KeyT]]:
        """Read a listing that should be short; ``check`` gets its length and the rows of each page."""
        found: dict[KeyT, ListedRow[RowT | BadRow, KeyT]] = {}
        async with aclosing(self.library.reader(query).windows()) as windows:
            async for window in windows:
                if isinstance(window.listing, OutlineListing):
                    continue
                number, rows = window.total or 0, window.listing.rows
                check(number, rows)
                if number > MOST_CHANGES:
                    raise self.unknown(f"More than {MOST_CHANGES:,} items have changed.")
                found |= {listed.key: listed for listed in rows}
        return found

    async def by_keys(
        self, keys: Iterable[KeyT], query: Callable[[Sequence[KeyT]], Query[RowT, OutlineT, KeyT]]
    ) -> dict[KeyT, ListedRow[RowT | BadRow, KeyT]]:
        """Read the rows of some keys. Raises ChangesUnknown if the server lists others as well."""
        wanted: list[Any] = sorted(keys)
        found: dict[KeyT, ListedRow[RowT | BadRow, KeyT]] = {}
        for first in range(0, len(wanted), MOST_SHOWS):
            some = wanted[first : first + MOST_SHOWS]

            def check(
                number: int,
                rows: Sequence[ListedRow[RowT | BadRow, KeyT]],
                asked: frozenset[KeyT] = frozenset(some),
            ) -> None:
                if number > len(asked) or not asked.issuperset(listed.key for listed in rows):
                    raise self.unknown("The server doesn't list items by their keys alone.")

            found |= await self.read(query(some), check)
        return found

    def parsed(self, keys: Iterable[str]) -> set[KeyT]:
        """Parse keys that are given as text. Raises ChangesUnknown for one that can't be the server's."""
        found = {key: self.library.parse_key(key) for key in keys}
        if bad := [key for key, value in found.items() if value is None]:
            raise self.unknown(f"{quoted(bad[0])} isn't the key of an item.")
        return {value for value in found.values() if value is not None}

    def unlisted(self, keys: Iterable[KeyT]) -> ChangesUnknown:
        """Make the error for keys that the library doesn't list: their items are gone, or belong to another library."""
        number = len(list(keys))
        what = "1 item that was asked for isn't" if number == 1 else f"{number:,} items that were asked for aren't"
        return self.unknown(f"{what} listed.")

    async def read_shows(
        self,
        keys: Iterable[KeyT],
        by_keys: Callable[[Sequence[KeyT]], Query[RowT, OutlineT, KeyT]],
        every: Query[RowT, OutlineT, KeyT],
    ) -> list[ListedRow[RowT | BadRow, KeyT]]:
        """Read some shows; ``every`` is the query for all shows, which are read if the server ignores the keys."""
        wanted: list[Any] = sorted(keys)
        shows: dict[KeyT, ListedRow[RowT | BadRow, KeyT]] = {}
        for first in range(0, len(wanted), MOST_SHOWS):
            some = wanted[first : first + MOST_SHOWS]
            rows = await self.library.rows(by_keys(some), lambda _: True)
            shows |= {listed.key: listed for listed in rows}
            if {listed.key for listed in rows} != set(some):
                return await self.library.rows(every, lambda _: True)
        return list(shows.values())

    def unknown(self, message: str) -> ChangesUnknown:
        """Make the error that ends the enumeration, with what was found out about filters."""
        return ChangesUnknown(message, filters=self._learnt)
