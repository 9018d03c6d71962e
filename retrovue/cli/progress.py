"""Progress of an ingest, for a person who watches; a pipe or a file gets none."""

from typing import TYPE_CHECKING, Self
from uuid import UUID

from retrovue.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from retrovue.events import Event


class Progress:
    """Collections done, items read and items per second, on the standard error."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._items: dict[UUID, int] = {}

    def __enter__(self) -> Self:
        if self._output.watched:
            self._bar, self._task = _start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, collections: int) -> None:
        """Say how many collections there are to do."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=max(collections, 1))

    def show(self, event: "Event") -> None:
        """Show what has happened."""
        from retrovue.events import CollectionFinished
        from retrovue.events import Progress as Reading

        if self._bar is None or self._task is None:
            return
        if isinstance(event, CollectionFinished):
            self._bar.advance(self._task)
        elif isinstance(event, Reading):
            self._items[event.collection.id] = event.discovered
            items, elapsed = sum(self._items.values()), self._bar.tasks[0].elapsed
            self._bar.update(self._task, items=items, rate=items / elapsed if elapsed else 0.0)


def _start() -> "tuple[Bar, TaskID]":
    from rich.console import Console  # slow, and needed on a terminal only
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("collections  {task.fields[items]:,} items  {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=5,
    )
    task = bar.add_task("", total=None, items=0, rate=0.0)
    bar.start()
    return bar, task
