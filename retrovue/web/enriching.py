"""Enrichments that the page starts: tasks of the server, never of a request."""

from dataclasses import dataclass, field
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import Problem, RetrovueError
from retrovue.core.logs import logger
from retrovue.core.text import redacted_traceback
from retrovue.ingest.enrichment import enrich_one
from retrovue.ingest.events import Enriching
from retrovue.operations.catalogue import Store

_PATIENCE_S = 2.0
"""How long a request waits for an enrichment to begin, so that it can say why it doesn't."""
_log = logger(__name__)


@dataclass(slots=True)
class StartedEnrichment:
    """The enrichment of a collection that the page has started, from the moment that it was asked for."""

    progress: Enriching | None = None
    """How far it is; None before it has begun."""
    problem: Problem | None = None
    """Why it didn't begin, or ended early."""
    began: anyio.Event = field(default_factory=anyio.Event)
    """Set when it has begun, or won't."""
    over: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class StartedEnrichments:
    """The enrichments that the page has started: the latest one of each collection."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._of: dict[UUID, StartedEnrichment] = {}

    def of(self, collection_id: UUID) -> StartedEnrichment | None:
        """Return the latest enrichment of a collection that was started here."""
        return self._of.get(collection_id)

    async def start(self, store: Store, collection_id: UUID, *, only_failed: bool) -> StartedEnrichment:
        """Start what enrichers owe to a collection; returns when it has begun or failed to, or after two seconds."""
        started = self._of[collection_id] = StartedEnrichment()
        self._group.start_soon(self._run, store, collection_id, only_failed, started)
        with anyio.move_on_after(_PATIENCE_S):
            await started.began.wait()
        return started

    async def _run(self, store: Store, collection_id: UUID, only_failed: bool, started: StartedEnrichment) -> None:
        def progress(told: Enriching) -> None:
            started.progress = told
            started.began.set()

        try:
            with started.scope:
                async with enrich_one(store, str(collection_id), only_failed=only_failed, progress=progress) as work:
                    await work.run()
                    started.problem = work.result.problem
        except RetrovueError as exc:
            started.problem = Problem(exc.code, exc.message, exc.hint, exc.context)
        except Exception as exc:  # noqa: BLE001 - a fault of one enrichment must not end the server
            _log.error("An enrichment that the page started failed:\n%s", redacted_traceback(exc))
            started.problem = Problem("internal", f"It failed: {type(exc).__name__}. The log has more.")
        finally:
            started.over = True
            started.began.set()
