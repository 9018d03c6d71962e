"""The walk through a paged listing, proven to be complete.

Media servers page by offset over a live query, so that an item added or removed while it is read shifts all that
follow. Each page begins with the last row of the one before: any shift shows at the next boundary. What the walk
ends with is as many different items as the listing says it holds, or an error.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from retrovue.errors import IncompleteEnumeration, MalformedAnswer, SourceError
from retrovue.importers.http.client import Answer, HttpClient
from retrovue.importers.http.guids import GuidSet
from retrovue.importers.waiting import read_ahead, waiting_for_source
from retrovue.model import Outline, Page

WINDOW = 4
"""Pages asked for ahead of the one that is used: enough to hide 50 ms of latency."""


class Listing(Protocol):
    """One answer of a listing, decoded."""

    @property
    def keys(self) -> Sequence[bytes]:
        """The id of each row, 16 bytes; of a row without a usable one, a hash of all it says."""
        ...

    @property
    def total(self) -> int:
        """How many rows the whole listing holds."""
        ...

    @property
    def offset(self) -> int | None:
        """At which row the answer says that it begins."""
        ...


ListingT = TypeVar("ListingT", bound=Listing)


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

    reserved: int
    scope: anyio.CancelScope
    done: anyio.Event
    answer: Answer | None = None
    error: Exception | None = None


class Reader(Generic[ListingT]):
    """Reads windows of one listing, the next ones ahead in tasks of the group if there is one."""

    def __init__(
        self,
        client: HttpClient,
        ask: Callable[[int, int], Awaitable[Answer]],
        decode: Callable[[bytes | bytearray], ListingT],
        *,
        page_size: int,
        row_bytes: int,
        budget: Budget,
        tasks: TaskGroup | None = None,
    ) -> None:
        """``ask`` asks for a start and a size; ``row_bytes`` is what a row takes before the first page has told."""
        self._client = client
        self._ask = ask
        self._decode = decode
        self.page_size = page_size
        self._budget = budget
        self._tasks = tasks
        self._window = WINDOW if tasks is not None else 1
        self._fetches: dict[tuple[int, int], _Fetch] = {}
        self._typical = page_size * row_bytes

    async def read(self, plan: Sequence[int], size: int) -> tuple[ListingT, bytes | bytearray]:
        """Read the window at the first start of the plan, decoded and as sent; those behind it are asked for ahead.

        Windows asked for earlier that are no longer in the plan are given up.
        """
        plan = plan[: self._window]
        wanted = {(start, size) for start in plan}
        for key in [key for key in self._fetches if key not in wanted]:
            self._give_up(self._fetches.pop(key))
        if self._tasks is None:
            answer = await self._ask(plan[0], size)
        else:
            for start in plan:
                if (start, size) in self._fetches:
                    continue
                if self._fetches and not self._budget.has_room_for(self._typical):
                    break
                self._fetches[start, size] = self._start(self._tasks, start, size)
            answer = await self._arrived(self._fetches.pop((plan[0], size)))
        return await self._decoded(answer, plan[0], size)

    def close(self) -> None:
        """Give up everything that was asked for ahead."""
        while self._fetches:
            self._give_up(self._fetches.popitem()[1])

    def _start(self, tasks: TaskGroup, start: int, size: int) -> _Fetch:
        fetch = _Fetch(self._typical, anyio.CancelScope(), anyio.Event())
        self._budget.held += fetch.reserved
        tasks.start_soon(self._run, fetch, start, size)
        return fetch

    async def _run(self, fetch: _Fetch, start: int, size: int) -> None:
        read_ahead()
        with fetch.scope:
            try:
                fetch.answer = await self._ask(start, size)
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

    async def _decoded(self, answer: Answer, start: int, size: int) -> tuple[ListingT, bytes | bytearray]:
        again = {"bad_json": self._client.policy.attempts - 1, "no_container": 1}
        tries = 0
        while True:
            tries += 1
            try:
                return self._decode(answer.body), answer.body
            except MalformedAnswer as exc:
                if tries > again.get(exc.code, 0):
                    raise
            await self._client.pause(tries)
            answer = await self._ask(start, size)


async def walk(reader: Reader[ListingT]) -> AsyncGenerator[tuple[ListingT, int, bytes | bytearray], None]:
    """Generate the answers of a whole listing, each with the number of rows at its start to leave out, and as sent.

    All rows that aren't left out are different items. Raises ListingMoved unless they are as many as the
    listing holds.
    """
    proof = _Proof(reader.page_size)
    try:
        while not proof.complete:
            start, size = proof.start, proof.size
            listing, body = await reader.read(proof.plan(), size)
            skip = proof.take(listing, start)
            if listing.keys:
                yield listing, skip, body
    finally:
        reader.close()


async def settled(
    read: Callable[[], AsyncGenerator[Page | Outline, None]], name: str, hint: str
) -> AsyncGenerator[Page | Outline, None]:
    """Generate the pages of a collection, once more if its listing moves, and then raise IncompleteEnumeration."""
    moved = None
    for _ in range(2):
        if moved is not None:
            yield Page([], [], 0, restart=True)
        moved = None
        async with aclosing(read()) as one_pass:
            try:
                async for page in one_pass:
                    yield page
            except ListingMoved as exc:
                moved = exc
        if moved is None:
            return
    if moved is not None:
        raise IncompleteEnumeration(
            f"The listing of {name!r} {moved.problem}: what was read isn't proven to be all of it.",
            hint=hint,
            context={"expected": moved.expected, "received": moved.received, "collection": name},
        ) from moved


class _Proof:
    """What the walk knows so far: where it is, and which items it has seen."""

    def __init__(self, page_size: int) -> None:
        self.size = page_size
        self._total: int | None = None
        self._received = 0
        self._pages = 0
        self._last_key = b""
        self._seen = GuidSet()

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

    def take(self, listing: Listing, start: int) -> int:
        """Check an answer and count its rows; returns how many at its start are known already."""
        skip = self._overlap
        rows = len(listing.keys)
        total = self._check_place(listing, start)
        if skip and rows and listing.keys[0] != self._last_key:
            raise self._moved("shifted between two pages")
        expected = min(self.size, total - start)
        if rows <= skip and expected > skip:
            raise self._moved("ends before its end")
        if start + rows > total:
            raise self._moved("holds more than it says")
        if not all(map(self._seen.add, islice(listing.keys, skip, None))):
            raise self._moved("lists an item twice")
        if rows < expected:
            # The server caps its pages: what is under way was asked for in steps that are too large.
            self.size = rows
        self._received = start + rows
        if rows:
            self._last_key = listing.keys[-1]
        return skip

    def _check_place(self, listing: Listing, start: int) -> int:
        if listing.offset is not None and listing.offset != start:
            raise self._moved(f"was asked for row {start} and answered from row {listing.offset}")
        if self._total is None:
            self._total = listing.total
        elif listing.total != self._total:
            raise self._moved(f"held {self._total} items and now {listing.total}")
        self._pages += 1
        # Pages of fewer than five rows on the average are no way to list a library.
        if self._pages > 100 + self._total // 5:
            raise self._moved(f"takes more than {self._pages - 1} pages")
        return self._total

    def _moved(self, problem: str) -> ListingMoved:
        return ListingMoved(problem, self._total, len(self._seen))
