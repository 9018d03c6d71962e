"""Sync what the hints of a source name: one sync at a time, by the usual rules, repeated after a failure."""

from contextlib import AbstractAsyncContextManager

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import AlreadyRunning, RetrovueError, StoreError
from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.results import Failed
from retrovue.core.text import redacted_traceback
from retrovue.importers.base import ChangeHint
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.sync import sync_items, sync_one, sync_source
from retrovue.operations.listening import list_enabled, paths_are_local
from retrovue.service.hints import Hints, ListeningTimes
from retrovue.store import listeners
from retrovue.store.session import Store

_MOST_FAILURES = 8
"""The most attempts in a row to sync the same hints. The pauses between them add up to 45 minutes."""

_log = logger(__name__)


class HintedSyncs:
    """Syncs what the hints of one source name, and stores in the catalogue which hints came."""

    def __init__(self, store: Store, source: Source, times: ListeningTimes) -> None:
        self.hints = Hints(times, echoes=not paths_are_local(source))
        self._store, self._source, self._times = store, source, times
        self._failures: dict[str | None, int] = {}
        """The number of failed attempts in a row, by library; the key None means the whole source."""

    async def run(self) -> None:
        """Sync what hints name until the task is cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                await self.hints.wait()
                try:
                    await self._work(group)
                except Exception as exc:  # noqa: BLE001 - an error of one sync must not end the others
                    _log.error("%s wasn't synced after its events:\n%s", self._source.name, redacted_traceback(exc))

    async def _work(self, group: TaskGroup) -> None:
        hinted = None in self.hints.libraries
        if self.hints.take_everything():
            if hinted:
                await self._note(None, None)
            await self._sync_all(group)
        else:
            await self._sync_named(group)

    async def _note(self, library: str | None, items: int | None) -> None:
        """Store the library and the number of items that are synced next; None means all."""
        try:
            async with self._store.transaction() as session:
                await listeners.heard(session, self._source, library, items)
        except StoreError as exc:
            _log.warning("The hints of %s can't be stored: %s", self._source.name, exc.message)

    async def _sync_named(self, group: TaskGroup) -> None:
        taken = self.hints.take()
        try:
            found = await list_enabled(self._store)
        except RetrovueError as exc:
            # If the database is lost, the host starts listening again.
            self._try_later(group, None, exc)
            return
        ours = (collections for source, collections in found if source.id == self._source.id)
        enabled = {collection.external_id: collection for collections in ours for collection in collections}
        for library, keys in taken.items():
            if library in enabled:
                await self._note(library, None if keys is None else len(keys))
                await self._sync(group, enabled[library], keys)

    async def _sync_all(self, group: TaskGroup) -> None:
        options = IngestOptions(concurrency=min(self._store.connections, IngestOptions().concurrency))
        try:
            failed = await self._run(sync_source(self._store, str(self._source.id), options))
        except RetrovueError as exc:
            self._try_later(group, None, exc)
            return
        self._failures.pop(None, None)
        for failure in failed:
            self._try_later(group, ChangeHint(failure.collection.external_id, None), failure)

    async def _sync(self, group: TaskGroup, collection: Collection, keys: set[str] | None) -> None:
        options, reference, library = IngestOptions(concurrency=1), str(collection.id), collection.external_id
        if keys is None:
            running = sync_one(self._store, reference, options=options)
        else:
            self.hints.ignore(library, keys, float("inf"))
            running = sync_items(self._store, reference, keys, options)
        failed: RetrovueError | Failed | None = None
        try:
            failed = next(iter(await self._run(running)), None)
        except RetrovueError as exc:
            failed = exc
        if keys is not None:
            self.hints.ignore(library, keys, self._times.echo_s if failed is None else 0)
        if failed is None:
            self._failures.pop(library, None)
        else:
            self._try_later(group, ChangeHint(library, None if keys is None else tuple(keys)), failed)

    async def _run(self, running: AbstractAsyncContextManager[IngestRun]) -> tuple[Failed, ...]:
        """Run a sync; return the collections that have to be synced again."""
        async with running as run:
            pass
        _log.info("%s was synced after its events: %s", self._source.name, run.summary.status,
                  extra={"run_id": str(run.id)})  # fmt: skip
        return tuple(run.summary.failed)

    def _try_later(self, group: TaskGroup, hint: ChangeHint | None, failed: RetrovueError | Failed) -> None:
        """Sync a failed library again after a growing pause; None means the whole source.

        After `ATTEMPTS` failures in a row it is left to the next hint and to schedules. A run that has to wait for
        another one doesn't count as a failure.
        """
        library = None if hint is None else hint.library
        failures = self._failures.get(library, 0)
        name = self._source.name if library is None else f"Collection {library} of {self._source.name}"
        if failures >= _MOST_FAILURES and failed.code != AlreadyRunning.default_code:
            _log.warning("%s isn't synced after its events: %s", name, failed.message, extra={"code": failed.code})
            del self._failures[library]
            return
        self._failures[library] = failures + 1
        pause = min(self._times.quiet_s * 2 ** min(failures, 30), self._times.most_s)
        _log.info("%s is synced again in %.0f s: %s", name, pause, failed.message, extra={"code": failed.code})

        async def later() -> None:
            await anyio.sleep(pause)
            if hint is None:
                self.hints.all()
            else:
                self.hints.add(hint)

        group.start_soon(later)
