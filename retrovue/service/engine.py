"""The job engine, procrastinate. No other module imports it.

A job only wakes a worker; the work is described by tables of the catalogue. So a job always succeeds, whatever it
finds, and a job that is lost, late or worked twice does no harm.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct, field

from retrovue.core.errors import SchemaMismatch, StoreUnavailable
from retrovue.core.extras import needing
from retrovue.core.text import redact
from retrovue.store.addresses import libpq
from retrovue.store.jobs import ENGINE, SCHEMA, engine_version
from retrovue.store.session import Store

with needing("procrastinate", "to work jobs"):
    from procrastinate import App, PsycopgConnector
    from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, ProcrastinateException
    from procrastinate.jobs import Job, Status
    from procrastinate.manager import JobManager
    from procrastinate.schema import SchemaManager
    from procrastinate.types import TimeDeltaParams
    from procrastinate.worker import Worker
with needing("psycopg", "to work jobs"):
    from psycopg import AsyncConnection, Error
    from psycopg.errors import RaiseException
with needing("psycopg_pool", "to work jobs"):
    from psycopg_pool import PoolTimeout

TASK = "retrovue"
"""The name of the only task. The work of a job is in its arguments."""
UPKEEP = "upkeep"
"""The queue of the engine's own work, which all workers work."""
KEPT_HOURS = 24
"""How long jobs that failed or were cancelled are kept, in hours."""
POOL = 4
"""The most connections of the engine, in addition to the one that listens."""
CONNECT_SECONDS = 10.0

Work = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Works a job, given its arguments."""
_LOST = (ConnectorException, PoolTimeout, Error, OSError)

# Without a handler, the engine's warnings would be written to the standard error of a command.
for _name in ("procrastinate", "psycopg"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class EngineTimes(Struct, frozen=True):
    """The times that the engine waits, in seconds."""

    heartbeat_s: float = 10.0
    """The time between two heartbeats of a worker."""
    stalled_s: float = 30.0
    """The time without a heartbeat after which the jobs of a worker are given to another one."""
    poll_s: float = 5.0
    """The time between two looks for jobs without a notification."""


class Engine:
    """The engine on one catalogue."""

    def __init__(self, app: App, manager: "_Manager") -> None:
        self._app = app
        self._manager = manager

    async def wake(self, queue: str, key: str, arguments: Mapping[str, Any], *, after_s: float = 0) -> bool:
        """Put a job into a queue; return False if a job with the same key is waiting already.

        Of each key one job is worked at a time and one waits; the database enforces it. The job isn't worked before
        ``after_s`` seconds have passed.
        """
        after: TimeDeltaParams | None = {"milliseconds": int(after_s * 1000)} if after_s > 0 else None
        try:
            with _translated():
                deferrer = self._app.configure_task(TASK, queue=queue, lock=key, queueing_lock=key, schedule_in=after)
                await deferrer.defer_async(**arguments)
        except AlreadyEnqueued:
            return False
        return True

    async def revive(self, stalled_s: float) -> list[Mapping[str, Any]]:
        """Delete the jobs of workers without a heartbeat for ``stalled_s`` seconds; return their arguments."""
        with _translated():
            manager = self._app.job_manager
            stalled = [job for job in await manager.get_stalled_jobs(seconds_since_heartbeat=stalled_s) if job.id]
            for job in stalled:
                await manager.finish_job(job, Status.FAILED, delete_job=True)
            return [dict(job.task_kwargs) for job in stalled]

    async def clear(self, queue: str) -> list[Mapping[str, Any]]:
        """Delete the waiting jobs of a queue; return their arguments."""
        with _translated():
            manager = self._app.job_manager
            waiting = list(await manager.list_jobs_async(queue=queue, status=Status.TODO.value))
            return [
                dict(job.task_kwargs)
                for job in waiting
                if job.id and await manager.cancel_job_by_id_async(job.id, delete_job=True)
            ]

    async def prune(self, hours: int) -> None:
        """Delete the jobs that failed or were cancelled at least ``hours`` ago.

        Other jobs are deleted when they end.
        """
        with _translated():
            await self._app.job_manager.delete_old_jobs(
                nb_hours=hours, include_failed=True, include_cancelled=True, include_aborted=True
            )

    async def work(self, queues: list[str], concurrency: int, times: EngineTimes, work: Work) -> None:
        """Work jobs until the task is cancelled; raises StoreUnavailable if the database is lost.

        The jobs at work are then cancelled. ``queues`` may change meanwhile: the worker reads it before each fetch.
        """

        async def task(**arguments: Any) -> None:
            job = _Job(work, arguments)
            jobs.start_soon(job.run)
            await job.wait()

        async def tidy(timestamp: int) -> None:  # noqa: ARG001 - the engine passes it
            await self.prune(KEPT_HOURS)

        self._app.task(name=TASK)(task)
        # Without a periodic task the engine wouldn't notice that a heartbeat has failed: it watches its tasks only
        # until the first one ends, and the task of periodic jobs ends at once if there are none.
        self._app.periodic(cron="17 * * * *")(self._app.task(name=f"{TASK} tidy", queue=UPKEEP)(tidy))
        worker = Worker(
            self._app,
            queues=queues,
            name="retrovue",
            concurrency=concurrency,
            fetch_job_polling_interval=times.poll_s,
            abort_job_polling_interval=max(times.poll_s, times.stalled_s),
            shutdown_graceful_timeout=0,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=times.heartbeat_s,
            # A worker that starts deletes the rows of workers that are gone. One that was alive after all can't fetch
            # jobs then.
            stalled_worker_timeout=KEPT_HOURS * 3600.0,
        )
        self._manager.on_failure = worker.stop
        failure: BaseException | None = None
        jobs: TaskGroup

        async def run() -> None:
            nonlocal failure, jobs
            # If the engine were cancelled, it would leave its jobs marked as at work; told to stop, it ends them.
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as jobs:
                    try:
                        await worker.run()  # type: ignore[no-untyped-call]
                    except _LOST as exc:
                        failure = exc
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            try:
                await anyio.sleep_forever()
            finally:
                worker.stop()  # type: ignore[no-untyped-call]
        raise StoreUnavailable("The job engine has lost the database.") from failure


class _Manager(JobManager):
    """Ends jobs that another worker may have ended before."""

    def __init__(self, connector: PsycopgConnector) -> None:
        super().__init__(connector)
        self.on_failure: Callable[[], None] | None = None
        """Called if the end of a job couldn't be stored: the job then belongs to this worker until the worker registers
        again.
        """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Store the end of a job."""
        try:
            await super().finish_job(job, status, delete_job)
        except ConnectorException as exc:
            if isinstance(exc.__cause__, RaiseException):
                return  # This worker was considered gone, and another one has the job now.
            if self.on_failure is not None:
                self.on_failure()


class _Job(Struct):
    """The work of a job, in its own task.

    The engine cancels its tasks by asyncio, and anyio's shields don't protect clean-up from that.
    """

    work: Work
    arguments: Mapping[str, Any]
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _done: anyio.Event = field(default_factory=anyio.Event)
    _failure: Exception | None = None

    async def run(self) -> None:
        try:
            with self._scope:
                await self.work(self.arguments)
        except Exception as exc:  # noqa: BLE001 - raised again in the engine's task
            self._failure = exc
        finally:
            self._done.set()

    async def wait(self) -> None:
        """Wait for the end of the work. A cancellation cancels the work and waits for it."""
        try:
            await self._done.wait()
        except anyio.get_cancelled_exc_class():
            self._scope.cancel()
            await self._done.wait()
            raise
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Engine]:
    """Connect the engine to a catalogue's database.

    Raises StoreUnavailable, and SchemaMismatch if its tables are of another version than the installed engine.
    """
    await require_engine(store)

    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        await connection.execute(f"SET search_path TO {SCHEMA}")

    connector = PsycopgConnector(
        conninfo=libpq(store.url, "retrovue-jobs"),
        min_size=1,
        max_size=POOL,
        timeout=CONNECT_SECONDS,
        configure=configure,
    )
    app = App(connector=connector)
    manager = app.job_manager = _Manager(connector)
    with _translated():
        await app.open_async()
    try:
        yield Engine(app, manager)
    finally:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1), _translated():
            await app.close_async()


async def require_engine(store: Store) -> None:
    """Raise SchemaMismatch if the engine's tables are of another version than the installed engine."""
    found = await engine_version(store)
    wanted = f"{ENGINE} {wanted_version()}"
    if found != wanted:
        raise SchemaMismatch(
            f"The tables of the job engine are those of {found or 'no version'}; the installed one needs {wanted}.",
            code="job_engine_version",
            hint="Reinstall RetroVue with its extra 'service', and run `retrovue db upgrade`.",
            context={"current": found, "wanted": wanted},
        )


def wanted_version() -> str:
    """Return the version of the tables that the installed engine needs: that of its newest migration."""
    scripts = Path(SchemaManager.get_migrations_path()).glob("*.sql")
    return max(script.name.partition("_")[0] for script in scripts)


class _translated:  # noqa: N801 - named like a function, as it is used in a with statement
    """Translate the engine's errors within the block to StoreUnavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, AlreadyEnqueued) or not isinstance(exc, (*_LOST, ProcrastinateException)):
            return
        why = redact(str(exc.__cause__ or exc).partition("\n")[0]) or type(exc).__name__
        raise StoreUnavailable(f"The job engine can't work with the database: {why}.") from exc
