"""Reading the windows of a listing, the next ones ahead as undecoded bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import MalformedAnswer, SourceError
from retrovue.importers.http.client import Answer, Refusal
from retrovue.importers.http.listing import ListingMoved, ListingT, Query, Window
from retrovue.importers.waiting import read_ahead, waiting_for_source

WINDOW = 4
"""Pages asked for ahead of the one that is used: enough to hide 50 ms of latency."""


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


class Reader(Generic[ListingT]):
    """Reads windows of one listing, the next ones ahead in tasks of the group if there is one."""

    def __init__(
        self, query: Query[ListingT], *, page_size: int, budget: Budget, tasks: TaskGroup | None = None
    ) -> None:
        self.query = query
        self.page_size = page_size
        self.moved: ListingMoved | None = None
        """Found when a window was read again; the walk ends with it when it goes on."""
        self._budget = budget
        self._tasks = tasks
        self._window = WINDOW if tasks is not None else 1
        self._fetches: dict[tuple[int, int], _Fetch] = {}
        self._typical = page_size * query.row_bytes
        self._number = 0
        """How many windows have been read."""
        self._last_whole = -1
        """The number of the last one that had to be read in full."""

    async def read(self, plan: Sequence[int], size: int) -> tuple[ListingT, Answer]:
        """Read the window at the first start of the plan, as a sketch if may be; those behind it are asked for ahead.

        Windows asked for earlier that are no longer in the plan are given up.
        """
        self._number += 1
        plan = plan[: self._window]
        wanted = {(start, size) for start in plan}
        for key in [key for key in self._fetches if key not in wanted]:
            self._give_up(self._fetches.pop(key))
        if self._tasks is None:
            short = self.query.short
            answer = await self.query.get(plan[0], size, short=short)
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
            sketch = self.query.sketch(answer.body)
            return (sketch, answer) if sketch is not None else await self._read_whole(plan[0], size)
        return await self._decoded(answer, plan[0], size)

    async def read_again(self, window: Window[ListingT]) -> ListingT | None:
        """Read a window in full that was looked over; None if its rows are others now, which ends the walk."""
        listing, _ = await self._read_whole(window.start, window.size)
        if listing.keys == window.listing.keys:
            return listing
        self.moved = ListingMoved("changed between two requests", len(window.listing.keys), len(listing.keys))
        return None

    async def read_beyond(self, end: int) -> ListingT | None:
        """Read one row from where the listing is said to end; None if the server doesn't answer that."""
        try:
            listing, _ = await self.read([end], 1)
        except Refusal:
            return None
        return listing

    def close(self) -> None:
        """Give up everything that was asked for ahead."""
        while self._fetches:
            self._give_up(self._fetches.popitem()[1])

    async def _read_whole(self, start: int, size: int) -> tuple[ListingT, Answer]:
        if self._last_whole == self._number - 1:
            # Two in a row: so much is new that asking in short saves nothing.
            self.query.short = False
        self._last_whole = self._number
        return await self._decoded(await self.query.get(start, size, short=False), start, size)

    def _start(self, tasks: TaskGroup, start: int, size: int) -> _Fetch:
        fetch = _Fetch(start, size, self._typical, self.query.short, anyio.CancelScope(), anyio.Event())
        self._budget.held += fetch.reserved
        tasks.start_soon(self._run, fetch)
        return fetch

    async def _run(self, fetch: _Fetch) -> None:
        read_ahead()
        with fetch.scope:
            try:
                fetch.answer = await self.query.get(fetch.start, fetch.size, short=fetch.short)
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

    async def _decoded(self, answer: Answer, start: int, size: int) -> tuple[ListingT, Answer]:
        client = self.query.client
        again = {"bad_json": client.policy.attempts - 1, "no_container": 1}
        tries = 0
        while True:
            tries += 1
            try:
                return self.query.decode(answer.body), answer
            except MalformedAnswer as exc:
                if tries > again.get(exc.code, 0):
                    raise
            await client.pause(tries)
            answer = await self.query.get(start, size, short=False)
