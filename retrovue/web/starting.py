"""Runs that the page starts: tasks of the server, never of a request."""

import datetime as dt
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import Problem, RetrovueError
from retrovue.core.logs import logger
from retrovue.core.results import IngestSummary
from retrovue.core.text import redacted_traceback
from retrovue.ingest.collector import IngestRun

Opened = Callable[[], AbstractAsyncContextManager[IngestRun]]

_KEPT = 100
_PATIENCE_S = 2.0
"""How long a request waits for a run to begin, so that it can lead to it."""
_log = logger(__name__)


@dataclass(slots=True)
class StartedRun:
    """A run that the page has started, from the moment that it was asked for."""

    id: uuid.UUID
    """Not that of the run, which has none until its pre-flight is over."""
    title: str
    source_id: uuid.UUID
    dry_run: bool
    by_workers: bool
    """Whether workers work it, so that it doesn't end with this server."""
    asked_at: dt.datetime
    run: IngestRun | None = None
    problem: Problem | None = None
    """Why it didn't begin, or failed as a whole."""
    began: anyio.Event = field(default_factory=anyio.Event)
    """Set when it has begun, or won't."""
    over: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def summary(self) -> IngestSummary | None:
        """What it has done so far; None before it has begun."""
        return None if self.run is None else self.run.summary


class StartedRuns:
    """The runs that the page has started, the latest ones only."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._runs: OrderedDict[uuid.UUID, StartedRun] = OrderedDict()

    async def start(
        self, title: str, source_id: uuid.UUID, opened: Opened, *, dry_run: bool = False, by_workers: bool = False
    ) -> StartedRun:
        """Start a run; returns when it has begun or failed to, or after two seconds."""
        started = StartedRun(uuid.uuid4(), title, source_id, dry_run, by_workers, dt.datetime.now(dt.UTC))
        self._runs[started.id] = started
        for old in [one for one in self._runs.values() if one.over][: max(len(self._runs) - _KEPT, 0)]:
            del self._runs[old.id]
        self._group.start_soon(self._run, started, opened)
        with anyio.move_on_after(_PATIENCE_S):
            await started.began.wait()
        return started

    def find(self, started_id: uuid.UUID) -> StartedRun | None:
        """Return a run by its id here."""
        return self._runs.get(started_id)

    def of_run(self, run_id: uuid.UUID) -> StartedRun | None:
        """Return a run by its id in the audit trail."""
        return next((one for one in self._runs.values() if one.run is not None and one.run.id == run_id), None)

    def under_way(self, source_id: uuid.UUID | None = None) -> list[StartedRun]:
        """Return the runs that aren't over, of all sources or of one."""
        return [one for one in self._runs.values() if not one.over and source_id in {None, one.source_id}]

    async def _run(self, started: StartedRun, opened: Opened) -> None:
        try:
            with started.scope:
                async with opened() as run:
                    started.run = run
                    started.began.set()
        except RetrovueError as exc:
            started.problem = Problem(exc.code, exc.message, exc.hint, exc.context)
        except Exception as exc:  # noqa: BLE001 - a fault of one run must not end the server
            _log.error("A run that the page started failed:\n%s", redacted_traceback(exc))
            started.problem = Problem("internal", f"The run failed: {type(exc).__name__}. The log has more.")
        finally:
            started.over = True
            started.began.set()
