"""The events of a run, for any number of readers at their own speed.

Every reader gets every outcome, and no writer waits for a reader. Of the progress of a collection and of its
enrichment, a reader gets only the newest. So the feed is bounded for any speed of its readers: two events for the run,
and four for each collection.
"""

from typing import Literal, Self
from uuid import UUID

import anyio
from msgspec import Struct

from retrovue.core.model import Collection, Source
from retrovue.core.results import CollectionOutcome, IngestSummary

Phase = Literal["reading", "merging"]


class RunStarted(Struct, frozen=True):
    """The pre-flight has ended. The first event of each run."""

    run_id: UUID
    source: Source
    collections: tuple[Collection, ...]
    """The collections that the run will try."""

    @property
    def items_expected(self) -> int | None:
        """The estimated number of assets of the collections; None if one of the collections has no assets yet."""
        counts = [collection.assets_count for collection in self.collections]
        return sum(counts) if counts and all(counts) else None


class CollectionStarted(Struct, frozen=True):
    """The ingest of a collection has begun. Sent once, before its progress; not sent for a skipped collection."""

    collection: Collection


class Progress(Struct, frozen=True):
    """How much of a collection has been read, and whether it is being merged.

    If its listing changes meanwhile, the collection is read again from the beginning, and the numbers start again at 0.
    """

    collection: Collection
    source_items: int
    """Distinct source items so far."""
    discovered: int
    """Versions so far, including rejected ones."""
    rejected: int
    seconds: float
    """Seconds of wall time since reading began."""
    source_total: int | None = None
    """The total number of items according to the source; None if it doesn't tell."""
    phase: Phase = "reading"
    """``reading``, or ``merging``: that is sent once, with the final numbers, when the transaction of the merge begins.
    """

    @property
    def seconds_left(self) -> float | None:
        """Estimate the seconds until all is read, at the rate so far; None if the total isn't known."""
        if self.source_total is None or not self.source_items or self.source_items > self.source_total:
            return None
        return (self.source_total - self.source_items) * self.seconds / self.source_items

    @property
    def rate(self) -> float:
        """Versions per second since the reading began."""
        return self.discovered / self.seconds if self.seconds > 0 else 0.0


class CollectionFinished(Struct, frozen=True):
    """A collection has its outcome. The last event of the collection, apart from those of its enrichment."""

    outcome: CollectionOutcome


class Enriching(Struct, frozen=True):
    """The progress of a collection's enrichment, which begins after its outcome. The numbers count enrichments.

    An enrichment is one enricher for one asset. The event is sent at the beginning, after each batch and at the end.
    """

    collection: Collection
    succeeded: int
    failed: int
    total: int | None
    """How many enrichments were owed at the beginning; None if they couldn't be counted in time."""
    seconds: float
    """Seconds of wall time since it began."""
    ended: bool = False
    """Whether it has ended; enrichments that weren't tried stay owed."""


class RunFinished(Struct, frozen=True):
    """Every collection has its outcome. The last event of each run."""

    summary: IngestSummary


Event = RunStarted | CollectionStarted | Progress | CollectionFinished | Enriching | RunFinished


class Feed:
    """The events of one run. Adding an event never waits. Every reader gets all of them, from the first one on."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._progress: dict[tuple[type[Progress | Enriching], UUID], tuple[int, Progress | Enriching]] = {}
        """The newest progress of each collection, with its number in the order of arrival."""
        self._number = 0
        self._changed = anyio.Event()
        self.ended = False

    def add(self, event: RunStarted | CollectionStarted | CollectionFinished | RunFinished) -> None:
        """Add an event that every reader gets."""
        if isinstance(event, CollectionFinished):
            self._progress.pop((Progress, event.outcome.collection.id), None)
        self._events.append(event)
        self.ended = isinstance(event, RunFinished)
        if self.ended:
            self._progress.clear()
        self._wake()

    def progress(self, progress: Progress | Enriching) -> None:
        """Replace the progress of a collection, or of its enrichment."""
        self._number += 1
        self._progress[type(progress), progress.collection.id] = (self._number, progress)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def reader(self) -> "Reader":
        """Return a reader that begins with the first event."""
        return Reader(self)

    def after(self, position: int, number: int) -> tuple[Event, int, int] | None:
        """Return the event after the first ``position`` events and the progress with ``number``; None if there is none.

        The new values of both come with it.
        """
        if position < len(self._events):
            return self._events[position], position + 1, number
        newer = [slot for slot in self._progress.values() if slot[0] > number]
        if not newer:
            return None
        following, progress = min(newer, key=lambda slot: slot[0])
        return progress, position, following

    async def change(self) -> None:
        """Wait for the next event."""
        await self._changed.wait()


class Reader:
    """A reader of a feed. It ends with the run and needs no closing.

    Reading may go on after the run's block was left.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._position = self._number = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (following := self._feed.after(self._position, self._number)) is None:
            if self._feed.ended:
                raise StopAsyncIteration
            await self._feed.change()
        event, self._position, self._number = following
        return event


class Outcomes:
    """The outcomes among the events of a feed."""

    def __init__(self, feed: Feed) -> None:
        self._events = feed.reader()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CollectionOutcome:
        async for event in self._events:
            if isinstance(event, CollectionFinished):
                return event.outcome
        raise StopAsyncIteration
