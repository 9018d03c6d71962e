"""The walk through a paged listing, proven to be complete.

PMS pages by offset over a live query, so that an item added or removed while it is read shifts all that
follow. The walk asks for rows in the order of their ids and lets each page begin with the last row of the one
before: any shift shows at the next boundary. What it ends with is as many different items as the listing says
it holds, or an error.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from retrovue.errors import CollectionGone, MalformedAnswer, SourceError
from retrovue.importers.plex.client import Answer, PlexClient, Refusal
from retrovue.importers.plex.ids import IdSet
from retrovue.importers.plex.rows import Listing, decode_listing, sketch_listing
from retrovue.importers.waiting import read_ahead, waiting_for_source

WINDOW = 4
"""Pages asked for ahead of the one that is used: enough to hide 50 ms of latency."""

SORTS: tuple[str | None, ...] = ("id", "addedAt:asc", None)
"""Orders to ask for, the next where the server answers 400. ``id`` works but isn't advertised
(python-plexapi uses it, too); ``addedAt`` is, and puts what is new behind what was read; the last is the
server's own order. Ties and shifts in any of them are found by the proof, not excluded by the order."""

SMALL_PAGE = 100
"""Tried where a server answers 400, which it may mean for the order or for the size of the page (PMS has
announced it for pages that are too large, and plex.tv does it): the page that python-plexapi asks for."""

SHORT = {
    "excludeElements": "Actor,Collection,Country,Director,Genre,Label,Mood,Producer,Role,Similar,Writer",
    "excludeFields": "summary,tagline",
    "includeGuids": "0",
}
"""Asks for rows without what nothing is recognised by. Plex documents both as requests that a server need not
grant (Response Customization); the names are those that PMS has been seen to grant (WebTools-NG issue 71)."""

_ROW_BYTES = 3500
"""What a row takes before the first page has told."""


class ListingMoved(Exception):
    """The listing isn't what it was when the walk began, or never was what it says."""

    def __init__(self, problem: str, expected: int | None, received: int) -> None:
        super().__init__(problem)
        self.problem, self.expected, self.received = problem, expected, received


class Budget:
    """Bytes that all pages read ahead may take together; shared by the enumerations of one importer.

    A page that is being waited for is always allowed, so that nobody waits for somebody else's bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes more stay within the limit."""
        return self.held + size <= self.limit


@dataclass(slots=True, eq=False)
class _Fetch:
    """A window on its way, or waiting as bytes until it is used."""

    start: int
    size: int
    reserved: int
    short: bool
    scope: anyio.CancelScope
    done: anyio.Event
    answer: Answer | None = None
    error: Exception | None = None


class Reader:
    """Reads windows of one listing, the next ones ahead in tasks of the group if there is one."""

    def __init__(
        self,
        client: PlexClient,
        section: str,
        params: Mapping[str, str],
        *,
        page_size: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
        short: bool = False,
    ) -> None:
        """With ``short`` only what items are recognised by is asked for and looked at, where that is possible."""
        self.short = short
        self._client = client
        self._section = section
        self._path = f"/library/sections/{section}/all"
        self._params = dict(params)
        self.page_size = page_size
        self._budget = budget
        self._tasks = tasks
        self._window = WINDOW if tasks is not None else 1
        # How to ask, best first; what is refused is dropped.
        self._ways = [(sort, size) for sort in SORTS for size in (page_size, SMALL_PAGE) if size <= page_size]
        self._fetches: dict[tuple[int, int], _Fetch] = {}
        self._typical = page_size * _ROW_BYTES

    async def read(self, plan: Sequence[int], size: int) -> tuple[Listing, Answer]:
        """Read the window at the first start of the plan, as a sketch if may be; those behind it are asked for ahead.

        Windows asked for earlier that are no longer in the plan are given up.
        """
        plan = plan[: self._window]
        wanted = {(start, size) for start in plan}
        for key in [key for key in self._fetches if key not in wanted]:
            self._give_up(self._fetches.pop(key))
        if self._tasks is None:
            short = self.short
            answer = await self._get(plan[0], size, short=short)
        else:
            for start in plan:
                if (start, size) in self._fetches:
                    continue
                if self._fetches and not self._budget.has_room_for(self._typical):
                    break
                self._fetches[start, size] = self._start(self._tasks, start, size)
            fetch = self._fetches.pop((plan[0], size))
            short = fetch.short
            answer = await self._arrived(fetch)
        if short:
            sketch = sketch_listing(answer.body)
            if sketch is not None:
                return sketch, answer
            answer = await self._get(plan[0], size, short=False)
        return await self._decoded(answer, plan[0], size)

    async def read_whole(self, start: int, size: int) -> Listing:
        """Read a window once more, in full."""
        listing, _ = await self._decoded(await self._get(start, size, short=False), start, size)
        return listing

    def close(self) -> None:
        """Give up everything that was asked for ahead."""
        while self._fetches:
            self._give_up(self._fetches.popitem()[1])

    def _start(self, tasks: TaskGroup, start: int, size: int) -> _Fetch:
        fetch = _Fetch(start, size, self._typical, self.short, anyio.CancelScope(), anyio.Event())
        self._budget.held += fetch.reserved
        tasks.start_soon(self._run, fetch)
        return fetch

    async def _run(self, fetch: _Fetch) -> None:
        read_ahead()
        with fetch.scope:
            try:
                fetch.answer = await self._get(fetch.start, fetch.size, short=fetch.short)
            except Exception as exc:  # noqa: BLE001 - raised where the page is awaited, not as a group's error
                fetch.error = exc
            else:
                actual = len(fetch.answer.body)
                if fetch.reserved:
                    self._budget.held += actual - fetch.reserved
                    fetch.reserved = actual
                self._typical = actual
            finally:
                fetch.done.set()

    async def _arrived(self, fetch: _Fetch) -> Answer:
        try:
            with waiting_for_source():
                await fetch.done.wait()
        finally:
            self._give_up(fetch)
        if fetch.error is not None:
            raise fetch.error
        if fetch.answer is None:
            raise SourceError("A page of the listing was given up before it arrived.", code="closed")
        return fetch.answer

    def _give_up(self, fetch: _Fetch) -> None:
        fetch.scope.cancel()
        self._budget.held -= fetch.reserved
        fetch.reserved = 0

    async def _get(self, start: int, size: int, *, short: bool) -> Answer:
        while True:
            sort, cap = self._ways[0]
            params = {
                **self._params,
                **(SHORT if short else {}),
                **({} if sort is None else {"sort": sort}),
                "X-Plex-Container-Start": str(start),
                "X-Plex-Container-Size": str(min(size, cap)),
            }
            try:
                return await self._client.get(self._path, params)
            except Refusal as exc:
                if exc.status == 404:
                    raise CollectionGone(
                        f"The Plex server has no library with the key {self._section} (HTTP 404).",
                        hint="Discover the source's collections again.",
                        context={"section": self._section},
                    ) from exc
                # Only the first window may change how it is asked: later ones must agree with it.
                if exc.status != 400 or start != 0 or (not short and len(self._ways) == 1):
                    raise
                if short:
                    short = self.short = False
                else:
                    del self._ways[0]

    async def _decoded(self, answer: Answer, start: int, size: int) -> tuple[Listing, Answer]:
        again = {"bad_json": self._client.policy.attempts - 1, "no_container": 1}
        tries = 0
        while True:
            tries += 1
            try:
                return decode_listing(answer.body), answer
            except MalformedAnswer as exc:
                if tries > again.get(exc.code, 0):
                    raise
            await self._client.pause(tries)
            answer = await self._get(start, size, short=False)


class Window(NamedTuple):
    """One answer of a listing, and where it belongs."""

    listing: Listing
    skip: int
    """How many rows at its beginning are known from the window before."""
    start: int
    size: int


async def walk(reader: Reader) -> AsyncGenerator[Window, None]:
    """Generate the windows of a whole listing.

    All rows that aren't left out are different items. Raises ListingMoved unless they are as many as the
    listing holds.
    """
    proof = _Proof(reader.page_size)
    while not proof.complete:
        start, size = proof.start, proof.size
        listing, answer = await reader.read(proof.plan(), size)
        skip = proof.take(listing, answer, start)
        if len(listing):
            yield Window(listing, skip, start, size)


class _Proof:
    """What the walk knows so far: where it is, and which items it has seen."""

    def __init__(self, page_size: int) -> None:
        self.size = page_size
        self._total: int | None = None
        self._received = 0
        self._pages = 0
        self._last_key: int | str | None = None
        self._ids = IdSet()
        self._odd: set[str] = set()
        """Keys of rows without a usable rating key: rare, and each of them is a rejected item."""

    @property
    def complete(self) -> bool:
        return self._total is not None and self._received == self._total

    @property
    def _overlap(self) -> int:
        # A server that gives single rows leaves no room for one that is known already.
        return 1 if self._received and self.size > 1 else 0

    @property
    def start(self) -> int:
        return self._received - self._overlap

    def plan(self) -> list[int]:
        """Say where the next windows start."""
        if self._total is None:
            return [0]
        overlap = self._overlap
        return list(islice(range(self.start, self._total - overlap, self.size - overlap), WINDOW))

    def take(self, listing: Listing, answer: Answer, start: int) -> int:
        """Check an answer and count its rows; returns how many at its start are known already."""
        skip = self._overlap
        rows = len(listing)
        self._check_place(listing, answer, start, rows)
        total = self._check_total(listing, answer, rows)
        self._pages += 1
        # Pages of fewer than five rows on the average are no way to list a library.
        if self._pages > 100 + total // 5:
            raise self._moved(f"takes more than {self._pages - 1} pages")
        if skip and rows and listing.keys[0] != self._last_key:
            raise self._moved("shifted between two pages")
        expected = min(self.size, total - start)
        if rows <= skip and expected > skip:
            raise self._moved("ends before its end")
        if start + rows > total:
            raise self._moved("holds more than it says")
        for key in islice(listing.keys, skip, None):
            if not (self._ids.add(key) if isinstance(key, int) else self._add_odd(key)):
                raise self._moved("lists an item twice")
        if rows < expected:
            # The server caps its pages: what is under way was asked for in steps that are too large.
            self.size = rows
        self._received = start + rows
        if rows:
            self._last_key = listing.keys[-1]
        if self.complete and len(self._ids) + len(self._odd) != total:
            raise self._moved("holds another number of different items than it says")
        return skip

    def _check_place(self, listing: Listing, answer: Answer, start: int, rows: int) -> None:
        for offset in (listing.offset, answer.offset):
            if offset is not None and offset != start:
                raise self._moved(f"was asked for row {start} and answered from row {offset}")
        if listing.size is not None and listing.size != rows:
            # ``size`` counts every entry, also those that are no items.
            raise self._moved(f"has an answer of {rows} items that claims {listing.size}")

    def _check_total(self, listing: Listing, answer: Answer, rows: int) -> int:
        stated = {total for total in (listing.total, answer.total) if total is not None}
        if len(stated) > 1:
            raise self._moved(f"states two totals, {min(stated)} and {max(stated)}")
        if self._total is None:
            if not stated and rows == self.size:
                raise self._moved("fills a page without saying whether that is all")
            # An answer that isn't paged holds all there is, and says no total.
            self._total = stated.pop() if stated else rows
        elif stated != {self._total}:
            raise self._moved(f"held {self._total} items and now {max(stated, default=0)}")
        return self._total

    def _add_odd(self, key: str) -> bool:
        if key in self._odd:
            return False
        self._odd.add(key)
        return True

    def _moved(self, problem: str) -> ListingMoved:
        return ListingMoved(problem, self._total, len(self._ids) + len(self._odd))
