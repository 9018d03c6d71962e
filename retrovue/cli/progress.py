"""The progress of a run or an enrichment: lines on a terminal, or events for a program."""

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self
from uuid import UUID

from retrovue.cli.output import Output
from retrovue.cli.text import printable
from retrovue.core.model import Collection
from retrovue.ingest.event_documents import event_document
from retrovue.ingest.events import CollectionFinished, CollectionStarted, Enriching, Event, RunStarted
from retrovue.ingest.events import Progress as Reading

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

EVENT_SECONDS = 0.25
"""The shortest time between two progress events of a collection. All other events are printed immediately."""
_NAME = 24
"""The width of a collection's name, in cells."""


class Progress:
    """Shows for the run and each collection at work: items read, items expected, items per second, time left.

    Without ``of_run`` there is no line for the run, as for an enrichment alone. The output is on standard error if that
    is a terminal; with ``--jsonl`` it is events on standard output; else there is none.
    """

    def __init__(self, output: Output, *, of_run: bool = True) -> None:
        self._output = output
        self._of_run = of_run
        self._lines: _Lines | None = None
        self._run = RunProgress(())
        self._began = time.monotonic()
        self._printed: dict[tuple[type[Reading | Enriching], UUID], float] = {}

    def __enter__(self) -> Self:
        dumb = os.environ.get("TERM") == "dumb"  # Such a terminal can't move its cursor.
        if self._output.watched and not (self._output.quiet or self._output.as_events or dumb):
            self._lines = _Lines(of_run=self._of_run)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()

    def show(self, event: Event) -> None:
        """Show an event. The caller prints the summary."""
        match event:
            case RunStarted():
                self._run = RunProgress(event.collections)
                if self._lines is not None:
                    self._lines.run(self._run, 0.0)
                self._print(event)
            case CollectionStarted():
                if self._lines is not None:
                    self._lines.begin(event.collection)
                self._print(event)
            case CollectionFinished():
                self._run.finish(event.outcome.collection)
                if self._lines is not None:
                    self._lines.end(event.outcome.collection)
                    self._lines.run(self._run, self._rate())
                self._print(event)
            case Reading():
                self._reading(event)
            case Enriching():
                self._enriching(event)

    def _enriching(self, event: Enriching) -> None:
        if self._lines is not None:
            self._lines.enrichment(event)
        elif event.ended or self._due(event):
            self._print(event)

    def _due(self, event: Reading | Enriching) -> bool:
        """Return whether enough time has passed since the last such event of the collection."""
        now, key = time.monotonic(), (type(event), event.collection.id)
        due = now - self._printed.get(key, float("-inf")) >= EVENT_SECONDS
        if due:
            self._printed[key] = now
        return due

    def _reading(self, event: Reading) -> None:
        if self._lines is None and not self._output.as_events:
            return
        self._run.read(event)
        rate = self._rate()
        if self._lines is not None:
            self._lines.run(self._run, rate)
            self._lines.collection(event)
        elif event.phase == "merging" or self._due(event):
            left = seconds_left(self._run.items, self._run.expected, rate)
            run = {
                "items": self._run.items,
                "items_per_second": round(rate, 1),
                "seconds_left": None if left is None else round(left, 1),
                "items_expected": self._run.expected,
            }
            self._print(event, run=run)

    def _rate(self) -> float:
        elapsed = time.monotonic() - self._began
        return self._run.items / elapsed if elapsed > 0 else 0.0

    def _print(self, event: Event, **more: object) -> None:
        if self._output.as_events:
            self._output.event({**event_document(event), **more})


class RunProgress:
    """The progress of all collections of a run together."""

    def __init__(self, collections: Iterable[Collection]) -> None:
        self._expected: dict[UUID, int | None] = {
            collection.id: collection.assets_count or None for collection in collections
        }
        """The total of each collection according to its source, before that the number in the catalogue."""
        self._read: dict[UUID, int] = {}
        self.finished = 0
        """Collections that have an outcome."""

    @property
    def collections(self) -> int:
        """The number of collections that the run tries."""
        return len(self._expected)

    @property
    def items(self) -> int:
        """The number of items that have been read."""
        return sum(self._read.values())

    @property
    def expected(self) -> int | None:
        """The number of items; None while it isn't known for one of the collections."""
        numbers = [number for number in self._expected.values() if number is not None]
        return sum(numbers) if numbers and len(numbers) == len(self._expected) else None

    def read(self, progress: Reading) -> None:
        """Take the progress of a collection."""
        self._read[progress.collection.id] = progress.source_items
        if progress.source_total is not None:
            self._expected[progress.collection.id] = progress.source_total

    def finish(self, collection: Collection) -> None:
        """Count a collection that the run has tried; the items that were read are its total."""
        if collection.id in self._expected:
            self.finished += 1
            self._expected[collection.id] = self._read.get(collection.id, 0)


def seconds_left(items: int, expected: int | None, rate: float) -> float | None:
    """Estimate the seconds until the end; None if unknown, or if more was read than expected."""
    if expected is None or rate <= 0 or items > expected:
        return None
    return (expected - items) / rate


class _Lines:
    """The progress on a terminal: a line for the run if there is one, and one for each collection at work."""

    def __init__(self, *, of_run: bool) -> None:
        self._bar = _bar()
        # The bar moves immediately, because nothing is known before the source has answered.
        self._run = self._bar.add_task("asking the source", total=None, items="", rate="", left="") if of_run else None
        self._tasks: dict[UUID, TaskID] = {}
        self._enrichments: dict[UUID, TaskID] = {}
        self._bar.start()

    def run(self, run: RunProgress, rate: float) -> None:
        done = f"{run.finished}/{run.collections} collections"
        if self._run is None:
            return
        left = seconds_left(run.items, run.expected, rate)
        self._show(self._run, run.items, run.expected, rate, left, description=done)

    def begin(self, collection: Collection) -> None:
        self._tasks[collection.id] = self._begin(collection)

    def _begin(self, collection: Collection) -> "TaskID":
        name = printable(collection.name)
        name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        return self._bar.add_task(f"  {name}", total=None, items="", rate="", left="")

    def collection(self, event: Reading) -> None:
        task = self._tasks.get(event.collection.id)
        if task is not None:
            rate = event.source_items / event.seconds if event.seconds > 0 else 0.0
            self._show(task, event.source_items, event.source_total, rate, event.seconds_left)
            if event.phase == "merging":
                # The progress of a merge can't be counted, so the bar only moves, and the clock goes on.
                self._bar.update(task, total=None, rate="", left="merging")

    def enrichment(self, event: Enriching) -> None:
        task = self._enrichments.get(event.collection.id)
        if event.ended:
            if task is not None:
                self._bar.remove_task(self._enrichments.pop(event.collection.id))
            return
        if task is None:
            task = self._enrichments[event.collection.id] = self._begin(event.collection)
        done = event.succeeded + event.failed
        of = "" if event.total is None else f" of {event.total:,}"
        rate = done / event.seconds if event.seconds > 0 else 0.0
        left = seconds_left(done, event.total, rate)
        self._bar.update(
            task, completed=done, total=event.total, items=f"{done:,}{of} enriched", rate=_rate(rate), left=_left(left)
        )

    def end(self, collection: Collection) -> None:
        task = self._tasks.pop(collection.id, None)
        if task is not None:
            self._bar.remove_task(task)

    def close(self) -> None:
        self._bar.stop()

    def _show(
        self,
        task: "TaskID",
        items: int,
        expected: int | None,
        rate: float,
        left: float | None,
        *,
        description: str | None = None,
    ) -> None:
        read = f"{items:,} items" if expected is None or items > expected else f"{items:,} of {expected:,} items"
        self._bar.update(
            task,
            completed=items,
            total=expected,
            description=description,
            items=read,
            rate=_rate(rate),
            left=_left(left),
        )


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate else ""


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"about {int(seconds) // 60}:{int(seconds) % 60:02} left"


def _bar() -> "Bar":
    from rich.console import Console  # imported here because it is slow, and needed on a terminal only
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    return Bar(
        *(TextColumn("{task.description}", markup=False), BarColumn(bar_width=10)),
        *(TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("items", "rate")),
        *(TimeElapsedColumn(), TextColumn("{task.fields[left]}", markup=False)),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=5,
    )
