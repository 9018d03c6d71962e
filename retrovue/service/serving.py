"""Work the schedules of the catalogue, in one or several processes on any number of hosts.

What a run may do is decided by the locks of collections, as for runs that people start. A run that begins twice,
because a host was cut off from the database, does no harm.
"""

import datetime as dt
from collections.abc import Callable
from uuid import UUID

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

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
"""The longest pause between two looks for due times, in seconds: poolers pass no notifications on."""
_WAITS = (1.0, 2.0, 5.0, 15.0, 30.0, *(60.0,) * 10)
"""The pause before a scheduled run is tried again whose collections other programs are working on, in seconds."""
_NOTHING_TO_DO = frozenset({"no_enrichers", AlreadyRunning.default_code})
"""The codes of enrichments that a schedule passes over: the collection has no enrichers, or a run enriches it already.
"""

_log = logger(__name__)


class Ended(Struct, frozen=True):
    """A scheduled run that has ended."""

    schedule: Schedule
    due_at: dt.datetime
    status: RunResult
    run_id: UUID | None = None
    """The id of the run in the audit trail; None for an enrichment, and if no run began."""
    message: str | None = None
    """What went wrong; None if nothing did."""
    refused: bool = False
    """Whether the only problem is that other programs are working on collections."""


OnEnded = Callable[[Ended], None]


class HostStatus(Struct):
    """The state of a host that serves, for whoever monitors it."""

    name: str
    works: bool = False
    """Whether the host works the schedules. False until it has reached the database, and while the database is lost."""


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

    ``name`` is the name of the host for people. Each due time is worked once over all hosts that serve, a missed one is
    caught up once, and a schedule has one run at a time. ``on_ended`` is called after each run, and must not wait. A
    cancellation stops the runs: their collections get an ``interrupted`` outcome, and the next host that looks repeats
    the runs. While the database can't be reached, the host stops its runs and tries again with growing pauses. It
    installs no signal handlers. ``store`` needs as many connections as collections may be ingested at the same time.

    With ``listen`` it also listens to the sources that report changes, each on one host at a time, and syncs what they
    name; ``times`` are the times that it waits for that. What ``webhooks`` name is synced as well. ``status`` is kept
    up to date. With ``jobs`` the host is also a worker that works so many jobs at the same time.
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
    """Work jobs. If that isn't possible, the schedules still run."""
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


class HostWork(Struct):
    """The work of a host while it reaches the database."""

    store: Store
    name: str
    on_ended: OnEnded | None
    joined: Callable[[], None]
    failure: StoreError | None = None
    """The error with which the database was lost."""

    async def run(self) -> None:
        """Work until the database is lost; then raise StoreUnavailable."""
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
        """Begin the runs that are due; return the seconds until the next one may be due."""
        await host.locks.verify()
        async with self.store.transaction() as session:
            now = await schedules.now_of(session)
            claims = await schedules.claim(session, host, now)
            following = [
                schedule.times.next_after(now)
                for schedule in await schedules.list_schedules(session)
                if schedule.enabled
            ]
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
            # A run may fail for lack of connections, or a restart of its server. Only the host's own lock tells that
            # the database is lost.
            await host.locks.verify()
            return Ended(claim.schedule, claim.due_at, "error", message=exc.message)
        except Exception as exc:  # noqa: BLE001 - an error of one run must not end the others
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
    """Do the owed enrichments of all collections. A collection that is being ingested is left to its run."""
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
