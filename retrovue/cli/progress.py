"""Progress of an ingest, for a person who watches; a pipe or a file gets none."""

from typing import TYPE_CHECKING, Self

from retrovue.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from retrovue.model import Collection


class Progress:
    """Collections done, items read and items per second, on the standard error."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Bar | None = None
        self._task: TaskID | None = None

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

    def collection_done(self) -> None:
        """Count a collection."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def items(self, _collection: "Collection", count: int) -> None:
        """Count the items that a page brought."""
        if self._bar is None or self._task is None:
            return
        task = self._bar.tasks[0]
        items = task.fields["items"] + count
        rate = items / task.elapsed if task.elapsed else 0.0
        self._bar.update(self._task, items=items, rate=rate)


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
