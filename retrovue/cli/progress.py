"""The progress of an ingest: a line on a terminal, or events for a program."""

import os
import time
from typing import TYPE_CHECKING, Self
from uuid import UUID

from retrovue.cli.output import Output
from retrovue.ingest.documents import event_document
from retrovue.ingest.events import CollectionFinished, CollectionStarted, Event, RunStarted
from retrovue.ingest.events import Progress as Reading

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

EVENT_SECONDS = 0.25
"""The least time between two progress events of a collection. All other events are printed at once."""


class Progress:
    """Shows collections done, items read, items per second and the time left.

    On the standard error if it is a terminal; with ``--jsonl`` as events on the standard output; else nowhere.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._line: _Line | None = None
        self._read: dict[UUID, int] = {}
        self._expected: int | None = None
        self._targeted: frozenset[UUID] = frozenset()
        self._began = time.monotonic()
        self._printed: dict[UUID, float] = {}

    def __enter__(self) -> Self:
        dumb = os.environ.get("TERM") == "dumb"  # it can't move its cursor
        if self._output.watched and not (self._output.quiet or self._output.as_events or dumb):
            self._line = _Line()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.close()

    def show(self, event: Event) -> None:
        """Show an event. The caller prints the summary."""
        match event:
            case RunStarted():
                self._targeted = frozenset(collection.id for collection in event.collections)
                self._expected = event.items_expected
                if self._line is not None:
                    self._line.expect(len(event.collections))
                self._print(event)
            case CollectionStarted():
                self._print(event)
            case CollectionFinished():
                if self._line is not None and event.outcome.collection.id in self._targeted:
                    self._line.advance()
                self._print(event)
            case Reading():
                self._reading(event)

    def _reading(self, event: Reading) -> None:
        if self._line is None and not self._output.as_events:
            return
        self._read[event.collection.id] = event.discovered
        items = sum(self._read.values())
        now = time.monotonic()
        rate = items / (now - self._began) if now > self._began else 0.0
        left = seconds_left(items, self._expected, rate)
        if self._line is not None:
            self._line.show(items, rate, left)
        elif now - self._printed.get(event.collection.id, float("-inf")) >= EVENT_SECONDS:
            self._printed[event.collection.id] = now
            left = None if left is None else round(left, 1)
            self._print(event, run={"items": items, "items_per_second": round(rate, 1), "seconds_left": left})

    def _print(self, event: Event, **more: object) -> None:
        if self._output.as_events:
            self._output.event({**event_document(event), **more})


def seconds_left(items: int, expected: int | None, rate: float) -> float | None:
    """Estimate the seconds until the end; None if unknown, or if there is more than expected."""
    if expected is None or rate <= 0 or items > expected:
        return None
    return (expected - items) / rate


class _Line:
    """The progress line of a terminal."""

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
