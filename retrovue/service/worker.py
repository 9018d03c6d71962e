"""A worker: works jobs, beside workers on other hosts."""

import uuid
from collections.abc import Callable, Sequence
from uuid import UUID

import anyio
from msgspec import Struct, field

from retrovue.core.errors import StoreError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.service import engine as engines
from retrovue.service.engine import UPKEEP, Engine
from retrovue.service.jobs import Jobs, JobTimes, OnWorked, queue_for, queue_of, wake_again
from retrovue.store import requests
from retrovue.store.outages import Outage
from retrovue.store.requests import JobHost
from retrovue.store.session import Store
from retrovue.store.sources import find_source, list_sources

_log = logger(__name__)


async def work_jobs(
    store: Store,
    name: str,
    *,
    concurrency: int = 4,
    sources: Sequence[str] | None = None,
    times: JobTimes | None = None,
    on_worked: OnWorked | None = None,
    on_joined: Callable[[], None] | None = None,
) -> None:
    """Work jobs until the task is cancelled. A service can run it in its own task group.

    ``name`` is the name of the host for people. ``concurrency`` is the number of jobs that are worked at the same time;
    ``store`` needs as many connections. ``sources`` are the ids or names of the sources whose jobs are worked; None
    means all. ``on_worked`` is called after each collection, and ``on_joined`` when the worker is registered; neither
    may wait. A cancellation stops the jobs, which other workers repeat. While the database can't be reached, the worker
    tries again with growing pauses. It installs no signal handlers.

    Raises RequestError for sources that don't exist, and SchemaMismatch if the tables of the job engine have another
    version than the installed engine needs.
    """
    only: tuple[UUID, ...] | None = None
    if sources is not None:
        async with store.reading() as session:
            only = tuple([(await find_source(session, source)).id for source in sources])
    await engines.require_engine(store)
    outage = Outage()

    def joined() -> None:
        outage.over()
        if on_joined is not None:
            on_joined()

    while True:
        host = JobHost(uuid.uuid4(), name, only)
        try:
            async with engines.opened(store) as engine:
                await _Host(store, engine, host, concurrency, times or JobTimes(), on_worked).run(joined)
        except StoreUnavailable as exc:
            _log.warning("Jobs can't be worked now: %s", exc.message)
        await outage.wait()


class _Host(Struct):
    """A worker while it reaches the database."""

    store: Store
    engine: Engine
    host: JobHost
    concurrency: int
    times: JobTimes
    on_worked: OnWorked | None
    _queues: list[str] = field(default_factory=list[str])

    async def run(self, joined: Callable[[], None]) -> None:
        """Work until the database is lost; then raise StoreUnavailable."""
        jobs = Jobs(self.store, self.engine, self.host, self.times, self.on_worked)
        failure: StoreError | None = None
        await self._look(jobs)
        _log.info("%s works jobs", self.host.name)
        joined()
        try:
            async with anyio.create_task_group() as group:

                async def work() -> None:
                    nonlocal failure
                    try:
                        await self.engine.work(self._queues, self.concurrency, self.times.engine, jobs.work)
                    except StoreError as exc:
                        failure = exc
                    group.cancel_scope.cancel()

                group.start_soon(work)
                try:
                    while True:
                        await anyio.sleep(self.times.look_s)
                        await self._look(jobs)
                except StoreError as exc:
                    failure = exc
                group.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(0.5, shield=True):
                try:
                    async with self.store.transaction() as session:
                        await requests.leave(session, self.host, self.times.gone_s)
                except StoreError as exc:
                    _log.info("%s couldn't be deregistered: %s", self.host.name, exc.message)
        if failure is not None:
            raise StoreUnavailable(failure.message, code=failure.code) from failure

    async def _look(self, jobs: Jobs) -> None:
        """Store a heartbeat of this worker, and take over abandoned work."""
        async with self.store.transaction() as session:
            await requests.join(session, self.host)
            gone = await requests.gone(session, self.times.gone_s)
            await requests.prune(session)
        async with self.store.reading() as session:
            known = [listing.source.id for listing in await list_sources(session)]
        served = known if self.host.sources is None else self.host.sources
        self._queues[:] = [UPKEEP, queue_for(self.host.id), *map(queue_of, served)]
        lost = list(await self.engine.revive(self.times.engine.stalled_s))
        for host in gone:
            lost += await self.engine.clear(queue_for(host.id))
        for arguments in lost:
            await wake_again(self.engine, arguments)
        await jobs.wake_left()
