"""Listens to sources that tell what has changed, and syncs what they name.

What a source tells is never more than a hint of where to look: what a sync finds, and what it removes, follows its own
rules. Hints that are lost are found by the sync that follows each connecting, and by those of schedules.
"""

import random
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import AlreadyRunning, RetrovueError, StoreError
from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.results import Failed
from retrovue.importers.base import ChangeHint, TellsEvents
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import importer_class, open_importer
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.sync import sync_items, sync_one, sync_source
from retrovue.operations.catalogue import list_collections, list_sources
from retrovue.service.hints import Hints, ListeningTimes
from retrovue.store import listeners
from retrovue.store.locks import Locks
from retrovue.store.session import Store

_STEADY_S = 60.0
"""A connection that has lived so long was a good one: the next pause is the first one again."""
_MOST_FAILURES = 8
"""Attempts in a row to sync what was named: the pauses between them add up to 45 minutes."""

_log = logger(__name__)


async def listen(store: Store, times: ListeningTimes | None = None) -> None:
    """Listen to the sources of the catalogue until the task is cancelled, each on one host at a time.

    Those are listened to whose importer can, and that have enabled collections. While the database can't be reached,
    nothing is listened to.
    """
    times = times or ListeningTimes()
    pauses = _Pauses(times)
    while True:
        pauses.began()
        try:
            async with listeners.opened(store) as locks:
                await _Host(store, times, locks).run()
        except StoreError as exc:
            _log.warning("Sources can't be listened to now: %s", exc.message)
        await pauses.wait()


@dataclass(slots=True)
class _Pauses:
    """Growing pauses between attempts, of a random length: hosts mustn't come back all at once."""

    times: ListeningTimes
    _failures: int = 0
    _began: float = 0.0

    def began(self) -> None:
        self._began = anyio.current_time()

    async def wait(self) -> None:
        if anyio.current_time() - self._began > _STEADY_S:
            self._failures = 0
        longest = min(self.times.first_pause_s * 2 ** min(self._failures, 30), self.times.longest_pause_s)
        self._failures += 1
        await anyio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 - no secret


@dataclass(slots=True)
class _Host:
    """What a host listens to for as long as it reaches the database."""

    store: Store
    times: ListeningTimes
    locks: Locks
    _listening: dict[UUID, tuple[object, anyio.CancelScope]] = field(
        default_factory=dict[UUID, tuple[object, anyio.CancelScope]]
    )
    """The settings with which a source is listened to, and what ends that."""

    async def run(self) -> None:
        """Listen until the database is lost; raises StoreError then."""
        failure: StoreError | None = None
        async with anyio.create_task_group() as group:
            try:
                while True:
                    await self.locks.verify()
                    await self._look(group)
                    await anyio.sleep(self.times.look_s)
            except StoreError as exc:
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _look(self, group: TaskGroup) -> None:
        """Begin with sources that are new or have other settings, and end with those that are gone."""
        found = {listing.source.id: listing.source for listing in await list_sources(self.store)}
        enabled = {one.source_id for one in await list_collections(self.store) if one.sync_enabled}
        wanted = {id_: source for id_, source in found.items() if id_ in enabled and _tells_events(source)}
        for source_id, (settings, scope) in list(self._listening.items()):
            if source_id not in wanted or _settings(wanted[source_id]) != settings:
                scope.cancel()
                del self._listening[source_id]
        for source_id, source in wanted.items():
            if source_id not in self._listening and await listeners.claim(self.locks, source):
                scope = anyio.CancelScope()
                self._listening[source_id] = _settings(source), scope
                group.start_soon(self._listen, source, scope)

    async def _listen(self, source: Source, scope: anyio.CancelScope) -> None:
        with scope:
            await _Listener(self.store, source, self.times).run()


class _Listener:
    """Listens to one source, and syncs what it names, one sync after the other."""

    def __init__(self, store: Store, source: Source, times: ListeningTimes) -> None:
        self._store, self._source, self._times = store, source, times
        self._hints = Hints(times)
        self._failures: dict[str | None, int] = {}
        """Attempts in a row that have failed, by library; None for the whole source."""

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._hear)
            await self._work(group)

    async def _hear(self) -> None:
        source, pauses = self._source, _Pauses(self._times)
        while True:
            pauses.began()
            try:
                opened = open_importer(source.type, source.config, source.credentials)
                async with GuardedImporter(opened) as importer, importer.change_hints() as hints:
                    _log.info("Listens to %s", source.name)
                    self._hints.all()
                    async for hint in hints:
                        self._hints.add(hint)
                _log.info("%s has ended its events", source.name)
            except RetrovueError as exc:
                _log.warning("%s can't be listened to now: %s", source.name, exc.message, extra={"code": exc.code})
            await pauses.wait()

    async def _work(self, group: TaskGroup) -> None:
        while True:
            await self._hints.wait()
            if self._hints.take_everything():
                await self._sync_all(group)
                continue
            taken = self._hints.take()
            try:
                collections = await list_collections(self._store, str(self._source.id))
            except RetrovueError as exc:
                # The database is lost, and all is listened to anew; or the source is gone, and the next look sees it.
                self._try_later(group, None, exc)
                continue
            enabled = {collection.external_id: collection for collection in collections if collection.sync_enabled}
            for library, keys in taken.items():
                if library in enabled:
                    await self._sync(group, enabled[library], keys)

    async def _sync_all(self, group: TaskGroup) -> None:
        options = IngestOptions(concurrency=min(self._store.connections, IngestOptions().concurrency))
        try:
            failed = await self._run(sync_source(self._store, str(self._source.id), options))
        except RetrovueError as exc:
            self._try_later(group, None, exc)
            return
        self._failures.pop(None, None)
        for one in failed:
            self._try_later(group, ChangeHint(one.collection.external_id, None), one)

    async def _sync(self, group: TaskGroup, collection: Collection, keys: set[str] | None) -> None:
        options, reference, library = IngestOptions(concurrency=1), str(collection.id), collection.external_id
        if keys is None:
            running = sync_one(self._store, reference, options=options)
        else:
            self._hints.ignore(library, keys, float("inf"))
            running = sync_items(self._store, reference, keys, options)
        failed: RetrovueError | Failed | None = None
        try:
            failed = next(iter(await self._run(running)), None)
        except RetrovueError as exc:
            failed = exc
        if keys is not None:
            self._hints.ignore(library, keys, self._times.echo_s if failed is None else 0)
        if failed is None:
            self._failures.pop(library, None)
        else:
            self._try_later(group, ChangeHint(library, None if keys is None else tuple(keys)), failed)

    async def _run(self, running: AbstractAsyncContextManager[IngestRun]) -> tuple[Failed, ...]:
        """Run a sync; returns the collections that have to be synced again."""
        async with running as run:
            pass
        _log.info("%s was synced after its events: %s", self._source.name, run.summary.status,
                  extra={"run_id": str(run.id)})  # fmt: skip
        return tuple(run.summary.failed)

    def _try_later(self, group: TaskGroup, hint: ChangeHint | None, failed: RetrovueError | Failed) -> None:
        """Sync again what has failed, after a pause that grows; None for the whole source.

        What still fails after some attempts is left to the next hint and to schedules. A run that others hold up isn't
        given up.
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
                self._hints.all()
            else:
                self._hints.add(hint)

        group.start_soon(later)


def _tells_events(source: Source) -> bool:
    try:
        return issubclass(importer_class(source.type), TellsEvents)
    except RetrovueError:
        return False


def _settings(source: Source) -> object:
    return source.name, source.config, {name: secret.kept for name, secret in source.credentials.items()}
