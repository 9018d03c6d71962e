"""Runs that were started on the web page."""

import datetime as dt
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from anyio.abc import TaskGroup

from retrovue.core.results import IngestSummary
from retrovue.ingest.collector import IngestRun
from retrovue.web.tasks import StartedTask

Opened = Callable[[], AbstractAsyncContextManager[IngestRun]]

_KEPT = 100


class StartedRun(StartedTask):
    """A run that was started on the page, from the time of the request."""

    id: uuid.UUID
    """Its own id: the id in the audit trail isn't known before the pre-flight has ended."""
    title: str
    source_id: uuid.UUID
    dry_run: bool
    by_workers: bool
    """Whether workers work the run, so that it doesn't end with this server."""
    asked_at: dt.datetime
    run: IngestRun | None = None

    @property
    def summary(self) -> IngestSummary | None:
        """The summary of the run so far; None before it has begun."""
        return None if self.run is None else self.run.summary


class StartedRuns:
    """The latest runs that were started on the page."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._runs: OrderedDict[uuid.UUID, StartedRun] = OrderedDict()

    async def start(
        self, title: str, source_id: uuid.UUID, opened: Opened, *, dry_run: bool = False, by_workers: bool = False
    ) -> StartedRun:
        """Start a run; returns when it has begun or failed, or after two seconds."""
        started = StartedRun(uuid.uuid4(), title, source_id, dry_run, by_workers, dt.datetime.now(dt.UTC))
        self._runs[started.id] = started
        for old in [run for run in self._runs.values() if run.over][: max(len(self._runs) - _KEPT, 0)]:
            del self._runs[old.id]

        async def work() -> None:
            async with opened() as run:
                started.run = run
                started.began.set()

        await started.start(self._group, work, "run")
        return started

    def find(self, started_id: uuid.UUID) -> StartedRun | None:
        """Return a run by its id on the page; None if it isn't kept any more."""
        return self._runs.get(started_id)

    def of_run(self, run_id: uuid.UUID) -> StartedRun | None:
        """Return a run by its id in the audit trail; None if it wasn't started here."""
        return next(
            (started for started in self._runs.values() if started.run is not None and started.run.id == run_id), None
        )

    def under_way(self, source_id: uuid.UUID | None = None) -> list[StartedRun]:
        """Return the runs that haven't ended, of all sources or of one."""
        return [
            started for started in self._runs.values() if not started.over and source_id in {None, started.source_id}
        ]
