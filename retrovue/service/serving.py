"""Works the schedules of the catalogue: one process of several, on as many hosts as there are.

Nothing here decides what a run may do: the locks of collections do, as for runs that people start. A run that begins
twice, because a host was cut off from the database, does no harm.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from retrovue.core.errors import AlreadyRunning, RetrovueError, StoreError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.core.text import redacted_traceback
from retrovue.ingest.enrichment import enrich_one
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.ingest.sync import sync_source
from retrovue.operations.catalogue import list_collections
from retrovue.service import listening
from retrovue.service.hints import ListeningTimes
from retrovue.service.webhooks import Webhooks
from retrovue.store import schedules
from retrovue.store.notifications import notifications
from retrovue.store.outages import Outage
from retrovue.store.schedules import CHANNEL, Claim, Host, RunResult, Schedule
from retrovue.store.session import Store

LOOK_SECONDS = 15.0
"""The longest pause before a host looks for due times again, without a notification: poolers pass none on."""
_WAITS = (1.0, 2.0, 5.0, 15.0, 30.0, *(60.0,) * 10)
"""Seconds before a run is tried again whose collections others are at work on."""
_NOTHING_TO_DO = frozenset({"no_enrichers", AlreadyRunning.default_code})
"""Errors of a collection without enrichers, and of one whose run enriches it anyway."""

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """A scheduled run that has ended."""

    schedule: Schedule
    due_at: dt.datetime
    status: RunResult
    run_id: UUID | None = None
    """Of the run in the audit trail; None for an enrichment, and if there was none."""
    message: str | None = None
    """What went wrong."""
    refused: bool = False
    """Whether all that went wrong is that others are at work on collections."""


OnEnded = Callable[[Ended], None]


@dataclass(slots=True)
class HostStatus:
    """What a host that serves does now, for whoever watches it."""

    name: str
    works: bool = False
    """Whether it works the schedules: not before it has reached the database, nor while that is lost."""


async def serve(
    store: Store,
    name: str,
    *,
    on_ended: OnEnded | None = None,
    listen: bool = True,
    times: ListeningTimes | None = None,
    status: HostStatus | None = None,
    webhooks: Webhooks | None = None,
    jobs: int = 0,
) -> None:
    """Work the schedules of the catalogue until the task is cancelled. A service can run it in its own task group.

    ``name`` is that of the host, for people. Each due time is worked once over all hosts that serve, a missed one is
    caught up once, and a schedule has one run at a time. ``on_ended`` is called after each run, and must not wait. A
    cancellation stops the runs: their collections get an ``interrupted`` outcome, and the runs are owed again, to the
    next host that looks. While the database can't be reached, the host stops its runs and tries again with growing
    pauses. It touches no signal handlers. ``store`` needs as many connections as collections may be at work.

    With ``listen`` it also listens to the sources that tell what has changed, each on one host at a time, and syncs
    what they name. ``times`` says how long it waits for that. ``status`` is kept up to date meanwhile. What
    ``webhooks`` name is synced, too. As many ``jobs`` are worked at the same time as by a worker of its own.
    """
    status = status or HostStatus(name)
    error: Exception | None = None
    async with anyio.create_task_group() as group:
        if listen:
            group.start_soon(listening.listen, store, name, times)
        if jobs:
            group.start_soon(_work_jobs, store, name, jobs)
        if webhooks is not None:
            group.start_soon(webhooks.run)
        try:
            await _work(store, name, on_ended, status)
        except Exception as exc:  # noqa: BLE001 - raised again outside of the group, which would wrap it
            error = exc
            group.cancel_scope.cancel()
    if error is not None:
        raise error


async def _work_jobs(store: Store, name: str, concurrency: int) -> None:
    """Work jobs; if that is impossible the schedules are worked all the same."""
    from retrovue.service.worker import work_jobs  # noqa: PLC0415 - needs the extra

    try:
        await work_jobs(store, name, concurrency=concurrency)
    except RetrovueError as exc:
        _log.error("Jobs aren't worked: %s", exc.message, extra={"code": exc.code})


async def _work(store: Store, name: str, on_ended: OnEnded | None, status: HostStatus) -> None:
    outage = Outage()

    def joined() -> None:
        outage.over()
        status.works = True

    while True:
        try:
            await HostWork(store, name, on_ended, joined=joined).run()
        except StoreUnavailable as exc:
            _log.warning("The schedules can't be worked now: %s", exc.message)
        finally:
            status.works = False
        await outage.wait()


@dataclass(slots=True)
class HostWork:
    """The work of a host for as long as it reaches the database."""

    store: Store
    name: str
    on_ended: OnEnded | None
    joined: Callable[[], None]
    failure: StoreError | None = None
    """How the database was lost."""

    async def run(self) -> None:
        """Work until the database is lost; raises StoreUnavailable then."""
        async with (
            notifications(self.store, CHANNEL, "retrovue-serve-listen") as notified,
            schedules.joined(self.store, self.name) as host,
        ):
            _log.info("%s works the schedules", self.name)
            self.joined()
            async with anyio.create_task_group() as group:
                try:
                    while self.failure is None:
                        awaited = notified()
                        pause = await self._look(host, group)
                        with anyio.move_on_after(pause):
                            await awaited.wait()
                except StoreError as exc:
                    self.failure = exc
                group.cancel_scope.cancel()
        if self.failure is not None:
            raise StoreUnavailable(self.failure.message, code=self.failure.code) from self.failure

    async def _look(self, host: Host, group: TaskGroup) -> float:
        """Begin what is due; return the seconds until something may be due again."""
        await host.locks.verify()
        async with self.store.transaction() as session:
            now = await schedules.now_of(session)
            claims = await schedules.claim(session, host, now)
            following = [one.times.next_after(now) for one in await schedules.list_schedules(session) if one.enabled]
        for claim in claims:
            group.start_soon(self._work, host, claim, group)
        until = min(following, default=now + dt.timedelta(seconds=LOOK_SECONDS))
        return min((until - now).total_seconds(), LOOK_SECONDS)

    async def _work(self, host: Host, claim: Claim, group: TaskGroup) -> None:
        schedule = claim.schedule
        _log.info("Schedule %s begins, due at %s", schedule.name, claim.due_at.isoformat())
        try:
            ended = await self._try(host, claim)
            async with self.store.transaction() as session:
                await schedules.end_run(
                    session, host, claim, ended.status, run_id=ended.run_id, message=ended.message
                )  # fmt: skip
        except StoreError as exc:
            self.failure = exc
            group.cancel_scope.cancel()
            return
        _log.info("Schedule %s ended: %s", schedule.name, ended.status, extra={"run_id": str(ended.run_id)})
        if self.on_ended is not None:
            self.on_ended(ended)

    async def _try(self, host: Host, claim: Claim) -> Ended:
        """Run a schedule; raises StoreUnavailable if the database is lost."""
        try:
            ended = await _run(self.store, claim)
            for pause in _WAITS:
                if not ended.refused:
                    break
                _log.info("Schedule %s waits: %s", claim.schedule.name, ended.message)
                await anyio.sleep(pause)
                ended = await _run(self.store, claim)
        except RetrovueError as exc:
            # A run may lack connections, or its server be restarted: only the host's own lock says that it is lost.
            await host.locks.verify()
            return Ended(claim.schedule, claim.due_at, "error", message=exc.message)
        except Exception as exc:  # noqa: BLE001 - a fault of one run must not end the others
            _log.error("Schedule %s failed:\n%s", claim.schedule.name, redacted_traceback(exc))
            return Ended(claim.schedule, claim.due_at, "error", message=f"{type(exc).__name__}; see the log.")
        return ended


async def _run(store: Store, claim: Claim) -> Ended:
    schedule = claim.schedule
    if schedule.what == "enrich":
        return await _enrich(store, claim)
    options = IngestOptions(concurrency=min(store.connections, IngestOptions().concurrency))
    if schedule.what == "ingest":
        running = ingest_source(store, str(schedule.source_id), options)
    else:
        options = IngestOptions(concurrency=options.concurrency, full=schedule.what == "full-sync")
        running = sync_source(store, str(schedule.source_id), options)
    async with running as run:
        pass
    summary = run.summary
    refused = {failure.code for failure in summary.failed} == {AlreadyRunning.default_code}
    message = summary.failed[0].message if summary.failed else None
    return Ended(schedule, claim.due_at, summary.status, run.id, message, refused)


async def _enrich(store: Store, claim: Claim) -> Ended:
    """Let the enrichers of all collections do what they owe. A collection that is worked on is left to its run."""
    schedule = claim.schedule
    failed: list[str] = []
    done = 0
    for collection in await list_collections(store, str(schedule.source_id)):
        try:
            async with enrich_one(store, str(collection.id)) as work:
                await work.run()
        except StoreUnavailable:
            raise
        except RetrovueError as exc:
            if exc.code not in _NOTHING_TO_DO:
                failed.append(exc.message)
            continue
        if work.result.problem is not None:
            failed.append(work.result.problem.message)
        else:
            done += 1
    status: RunResult = "ok" if not failed else "partial" if done else "error"
    return Ended(schedule, claim.due_at, status, message=failed[0] if failed else None)
