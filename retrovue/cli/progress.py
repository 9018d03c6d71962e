"""Progress of an ingest: a line for a person who watches, or events for a program that reads."""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self
from uuid import UUID

from retrovue.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from retrovue.collector import IngestRun
    from retrovue.events import Event
    from retrovue.model import Collection
    from retrovue.results import CollectionOutcome

EVENT_SECONDS = 0.25
"""Progress is told no more often than this; outcomes are told at once."""


class Progress:
    """Follows a run: collections done, items read, items per second and the time that is left.

    On the standard error for a person, who has to be at a terminal; with ``--jsonl`` as events on the standard
    output; else nowhere.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._line: _Line | None = None
        self._read: dict[UUID, int] = {}
        self._expected: int | None = None
        self._targeted: frozenset[UUID] = frozenset()
        self._began = time.monotonic()
        self._told = float("-inf")

    def __enter__(self) -> Self:
        dumb = os.environ.get("TERM") == "dumb"  # it can't move its cursor
        if self._output.watched and not (self._output.quiet or self._output.as_events or dumb):
            self._line = _Line()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.close()

    def begin(self, run: "IngestRun") -> None:
        """Say which collections there are to do."""
        self._targeted = frozenset(collection.id for collection in run.targeted)
        self._expected = expected_items(run.targeted)
        if self._line is not None:
            self._line.expect(len(run.targeted))
        if self._output.as_events:
            from retrovue.cli.ingest_document import collection_identity, source_identity

            self._output.event(
                "started",
                {
                    "run_id": str(run.id),
                    "source": source_identity(run.source),
                    "collections": [collection_identity(collection) for collection in run.targeted],
                    "items_expected": self._expected,
                },
            )

    def show(self, event: "Event") -> None:
        """Show what has happened."""
        from retrovue.events import CollectionFinished
        from retrovue.events import Progress as Reading

        if isinstance(event, CollectionFinished):
            self._collection_done(event.outcome)
        elif isinstance(event, Reading):
            self._items(event.collection, event.discovered)

    def _collection_done(self, outcome: "CollectionOutcome") -> None:
        if self._line is not None and outcome.collection.id in self._targeted:
            self._line.advance()
        if self._output.as_events:
            from retrovue.cli.ingest_document import result

            self._output.event("outcome", result(outcome))

    def _items(self, collection: "Collection", read: int) -> None:
        self._read[collection.id] = read
        if self._line is None and not self._output.as_events:
            return
        items = sum(self._read.values())
        now = time.monotonic()
        rate = items / (now - self._began) if now > self._began else 0.0
        left = seconds_left(items, self._expected, rate)
        if self._line is not None:
            self._line.show(items, rate, left)
        elif now - self._told >= EVENT_SECONDS:
            self._told = now
            self._output.event(
                "progress",
                {
                    "collection": {"id": str(collection.id), "name": collection.name},
                    "items": items,
                    "items_per_second": round(rate, 1),
                    "seconds_left": None if left is None else round(left, 1),
                },
            )


def expected_items(collections: "Sequence[Collection]") -> int | None:
    """Estimate how many items there are to read: as many as last time; None where one has never been ingested."""
    counts = [collection.assets_count for collection in collections]
    return sum(counts) if counts and all(counts) else None


def seconds_left(items: int, expected: int | None, rate: float) -> float | None:
    """Estimate how long the rest takes; None if that isn't known, or if there is more than was expected."""
    if expected is None or rate <= 0 or items > expected:
        return None
    return (expected - items) / rate


class _Line:
    """The line that a terminal shows and redraws."""

    def __init__(self) -> None:
        self._bar, self._task = _start()

    def expect(self, collections: int) -> None:
        self._bar.update(self._task, total=max(collections, 1))

    def advance(self) -> None:
        self._bar.advance(self._task)

    def show(self, items: int, rate: float, left: float | None) -> None:
        about = "" if left is None else f"  about {int(left) // 60}:{int(left) % 60:02} left"
        self._bar.update(self._task, items=items, rate=rate, left=about)

    def close(self) -> None:
        self._bar.stop()


def _start() -> "tuple[Bar, TaskID]":
    from rich.console import Console  # slow, and needed on a terminal only
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("collections  {task.fields[items]:,} items  {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=5,
    )
    task = bar.add_task("", total=None, items=0, rate=0.0, left="")
    bar.start()
    return bar, task
