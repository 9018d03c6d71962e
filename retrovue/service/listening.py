"""Listen to sources that report changes, and sync what their events name.

An event is only a hint of where to look. What a sync finds and removes follows the usual rules of a sync. Lost hints
are made up for by the sync after each connection and by scheduled syncs.
"""

import random
from uuid import UUID

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct, field

from retrovue.core.errors import RetrovueError, SourceUnreachable, StoreError
from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.operations.listening import list_enabled, tells_events
from retrovue.service.hinted import HintedSyncs
from retrovue.service.hints import ListeningTimes
from retrovue.store import listeners
from retrovue.store.locks import Locks
from retrovue.store.session import Store

_STEADY_S = 60.0
"""A connection that lasted this many seconds was a good one: the next pause is the first one again."""

_log = logger(__name__)


async def listen(store: Store, name: str, times: ListeningTimes | None = None) -> None:
    """Listen to the sources of the catalogue until the task is cancelled, each on one host at a time.

    These are the sources that have enabled collections and an importer that can listen. While the database can't be
    reached, nothing is listened to. ``name`` is the name of the host for people.
    """
    times = times or ListeningTimes()
    pauses = Pauses(times)
    while True:
        pauses.began()
        try:
            async with listeners.opened(store) as locks:
                await _Host(store, name, times, locks).run()
        except StoreError as exc:
            _log.warning("Sources can't be listened to now: %s", exc.message)
        await anyio.sleep(pauses.next())


class Pauses(Struct):
    """Growing pauses between attempts. Their length is random, so that many hosts don't reconnect at the same time."""

    times: ListeningTimes
    _failures: int = 0
    _began: float = 0.0

    def began(self) -> None:
        """Note the beginning of an attempt."""
        self._began = anyio.current_time()

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        if anyio.current_time() - self._began > _STEADY_S:
            self._failures = 0
        longest: float = min(self.times.first_pause_s * 2 ** min(self._failures, 30), self.times.longest_pause_s)
        self._failures += 1
        return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret


class ListenedSource(Struct, frozen=True):
    """A source that is listened to."""

    source: Source
    collections: tuple[Collection, ...]
    """The enabled collections."""


class _Host(Struct):
    """The listeners of a host while it reaches the database."""

    store: Store
    name: str
    times: ListeningTimes
    locks: Locks
    _listening: dict[UUID, tuple[object, anyio.CancelScope]] = field(
        default_factory=dict[UUID, tuple[object, anyio.CancelScope]]
    )
    """For each source the settings with which it is listened to, and the scope that ends that."""

    async def run(self) -> None:
        """Listen until the database is lost; then raise StoreError."""
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
        """Start to listen to new sources and to those with other settings, and stop with those that are gone."""
        enabled = await list_enabled(self.store)
        wanted = {
            source.id: ListenedSource(source, collections) for source, collections in enabled if tells_events(source)
        }
        for source_id, (settings, scope) in list(self._listening.items()):
            if source_id not in wanted or _settings(wanted[source_id]) != settings:
                scope.cancel()
                del self._listening[source_id]
        for source_id, listened in wanted.items():
            if source_id not in self._listening and await listeners.claim(self.locks, listened.source):
                scope = anyio.CancelScope()
                self._listening[source_id] = _settings(listened), scope
                group.start_soon(self._listen, listened, scope)

    async def _listen(self, listened: ListenedSource, scope: anyio.CancelScope) -> None:
        with scope:
            await _Listener(self.store, self.name, listened, self.times).run()


class _Listener:
    """Listens to one source, and stores its state in the catalogue."""

    def __init__(self, store: Store, name: str, listened: ListenedSource, times: ListeningTimes) -> None:
        self._store, self._name, self._listened, self._times = store, name, listened, times
        self._source = listened.source
        self._syncs = HintedSyncs(store, listened.source, times)
        self._told: str | None = None
        """The message of the last problem. The same message isn't logged again."""

    async def run(self) -> None:
        await self._note(connected=False)
        async with anyio.create_task_group() as group:
            group.start_soon(self._hear)
            await self._syncs.run()

    async def _hear(self) -> None:
        source, pauses, hints = self._source, Pauses(self._times), self._syncs.hints
        problem: RetrovueError
        while True:
            pauses.began()
            try:
                opened = open_importer(source.type, source.config, source.credentials)
                async with (
                    GuardedImporter(opened) as importer,
                    importer.change_hints(self._listened.collections) as told,
                ):
                    _log.info("Listens to %s", source.name)
                    self._told = None
                    await self._note(connected=True)
                    hints.all()
                    async for hint in told:
                        hints.add(hint)
                problem = SourceUnreachable(f"{source.name} has ended its events.", hint="It is connected to again.")
            except RetrovueError as exc:
                problem = exc
            await self._tell(problem)
            await anyio.sleep(pauses.next())

    async def _tell(self, problem: RetrovueError) -> None:
        if problem.message == self._told:
            return
        self._told = problem.message
        _log.warning("%s isn't listened to now: %s", self._source.name, problem.message, extra={"code": problem.code})
        await self._note(connected=False, problem=problem)

    async def _note(self, *, connected: bool, problem: RetrovueError | None = None) -> None:
        try:
            async with self._store.transaction() as session:
                await listeners.note(session, self._source, self._name, connected=connected, problem=problem)
        except StoreError as exc:
            # If the database is lost, the host notices it and starts again.
            _log.warning("The listening state of %s can't be stored: %s", self._source.name, exc.message)


def _settings(listened: ListenedSource) -> object:
    source = listened.source
    secrets = {name: secret.kept for name, secret in source.credentials.items()}
    return (
        source.name,
        source.config,
        secrets,
        [(collection.id, collection.external_id, collection.locations) for collection in listened.collections],
    )
