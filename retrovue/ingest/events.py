"""What a run tells while it is under way: typed events, for any number of readers, each at its own pace.

An outcome is never lost and never waits for a reader; progress is only ever the newest. What the feed holds is bounded
by construction: two events for the run, two and one progress for each collection, however slow the readers are.
"""

from dataclasses import dataclass
from typing import Self
from uuid import UUID

import anyio

from retrovue.core.model import Collection, Source
from retrovue.core.results import CollectionOutcome, IngestSummary


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The pre-flight is over; the first event of every run."""

    run_id: UUID
    source: Source
    collections: tuple[Collection, ...]
    """The collections that this run is to ingest."""

    @property
    def items_expected(self) -> int | None:
        """About how many items there are to read: as many as last time; None where one has never been ingested."""
        counts = [collection.assets_count for collection in self.collections]
        return sum(counts) if counts and all(counts) else None


@dataclass(frozen=True, slots=True)
class CollectionStarted:
    """A collection's turn has come; told once, before its progress."""

    collection: Collection


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reading of a collection is. A reader that is slow gets the newest one only.

    If the source's listing moves, it is read from the beginning: the numbers then go back to 0.
    """

    collection: Collection
    source_items: int
    """Distinct items of the source that were read so far."""
    discovered: int
    """Versions that were read so far, rejected ones included."""
    rejected: int
    seconds: float
    """Wall time since the reading began."""

    @property
    def rate(self) -> float:
        """Versions per second since the reading began."""
        return self.discovered / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class CollectionFinished:
    """A collection's one outcome; the last that is told of it. One that is skipped was never started."""

    outcome: CollectionOutcome


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Every collection has its outcome; the last event of every run."""

    summary: IngestSummary


Event = RunStarted | CollectionStarted | Progress | CollectionFinished | RunFinished


class Feed:
    """The events of one run. Telling never waits; every reader gets all of them, from the first one on."""

    def __init__(self) -> None:
        self._told: list[Event] = []
        self._progress: dict[UUID, tuple[int, Progress]] = {}
        """By collection, the newest, with its number: progress is numbered as it comes."""
        self._number = 0
        self._changed = anyio.Event()
        self.ended = False

    def tell(self, event: RunStarted | CollectionStarted | CollectionFinished | RunFinished) -> None:
        """Add an event that every reader gets."""
        if isinstance(event, CollectionFinished):
            self._progress.pop(event.outcome.collection.id, None)
        self._told.append(event)
        self.ended = isinstance(event, RunFinished)
        self._wake()

    def progress(self, progress: Progress) -> None:
        """Take the newest progress of a collection in the place of the one before."""
        self._number += 1
        self._progress[progress.collection.id] = (self._number, progress)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def reader(self) -> "Reader":
        """Begin to read, from the first event on."""
        return Reader(self)

    def after(self, told: int, number: int) -> tuple[Event, int, int] | None:
        """Find the event that follows for who has read so many, with what has been read then."""
        if told < len(self._told):
            return self._told[told], told + 1, number
        newer = [slot for slot in self._progress.values() if slot[0] > number]
        if not newer:
            return None
        following, progress = min(newer, key=lambda slot: slot[0])
        return progress, told, following

    async def change(self) -> None:
        """Wait until something more is told."""
        await self._changed.wait()


class Reader:
    """One reader of a feed; ends with the run. Needs no closing, and may go on after the run was left."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._told = self._number = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (found := self._feed.after(self._told, self._number)) is None:
            if self._feed.ended:
                raise StopAsyncIteration
            await self._feed.change()
        event, self._told, self._number = found
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
