"""Write the progress of a run to the catalogue, for the web page and other programs, and read requests to stop the run.

One statement a second is executed for the whole run, and none in the first second, so that a short run has no extra
cost. A failed write is logged and doesn't affect the run.
"""

from collections.abc import Callable
from uuid import UUID

import anyio

from retrovue.core.errors import StoreError
from retrovue.core.logs import logger
from retrovue.ingest.collector import Collector
from retrovue.ingest.events import CollectionFinished, Enriching, Event, Progress, RunStarted
from retrovue.store.progress import CollectionProgress, forget_progress, write_progress
from retrovue.store.session import Store

PAUSE_SECONDS = 1.0
_END_SECONDS = 0.5
"""How much longer the end of an interrupted run may take because of it, in seconds."""

_log = logger(__name__)


class ProgressWriter:
    """Writes the progress of one run. Run `tell()` in a task beside the run, and call `end()` after it."""

    def __init__(self, store: Store, run_id: UUID, collector: Collector, stop: Callable[[], None]) -> None:
        """``stop`` is called when somebody asks the run to stop."""
        self._store, self._run_id, self._stop = store, run_id, stop
        self._events = collector.feed.reader()
        self._rows: dict[UUID, CollectionProgress] = {}
        self._changed: set[UUID] = set()
        self._told = False

    async def tell(self) -> None:
        """Write the progress every second, until the run is over or the task is cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow)
            while True:
                await anyio.sleep(PAUSE_SECONDS)
                rows = [self._rows[key] for key in self._changed]
                self._changed.clear()
                try:
                    self._told = True
                    asked_by = await write_progress(self._store, self._run_id, rows)
                except StoreError as exc:
                    self._changed.update(row.collection_id for row in rows)
                    _log.debug("The progress couldn't be written: %s", exc.code)
                    continue
                if asked_by is not None:
                    _log.info("%s has asked the run to stop", asked_by)
                    self._stop()

    async def end(self) -> None:
        """Remove the progress, if any was written. A cancellation doesn't stop it: it takes half a second at most."""
        if not self._told:
            return
        with anyio.move_on_after(_END_SECONDS, shield=True):
            try:
                await forget_progress(self._store, self._run_id, self._rows)
            except StoreError as exc:
                _log.debug("The progress couldn't be removed: %s", exc.code)

    async def _follow(self) -> None:
        async for event in self._events:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                for collection in event.collections:
                    self._put(CollectionProgress(self._run_id, collection.id, "waiting"))
            case Progress():
                self._put(
                    CollectionProgress(
                        self._run_id,
                        event.collection.id,
                        event.phase,
                        event.source_items,
                        event.source_total,
                        event.discovered,
                        event.rejected,
                        seconds=event.seconds,
                    )
                )
            case CollectionFinished():
                self._put(CollectionProgress(self._run_id, event.outcome.collection.id, "ended"))
            case Enriching():
                self._put(
                    CollectionProgress(
                        self._run_id,
                        event.collection.id,
                        "ended" if event.ended else "enriching",
                        enriched=event.succeeded,
                        enrichments_failed=event.failed,
                        enrichments_owed=event.total,
                        seconds=event.seconds,
                    )
                )
            case _:
                pass

    def _put(self, row: CollectionProgress) -> None:
        self._rows[row.collection_id] = row
        self._changed.add(row.collection_id)
