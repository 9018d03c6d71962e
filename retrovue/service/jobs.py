"""Work jobs. A job is a requested collection, or a batch of its enrichment.

The catalogue says what there is to do. The worker holds the collection's lock from the first look until the outcome is
stored. So a job may be worked twice, also by a host that was considered gone: the second worker finds nothing to do.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from retrovue.core.answers import Ingestibility
from retrovue.core.bounds import SLOWEST_RATE
from retrovue.core.errors import AlreadyRunning, NotFound, Problem, RetrovueError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.results import (
    NO_COUNTS,
    CollectionOutcome,
    Enriched,
    Failed,
    Ingested,
    Skipped,
    with_enrichment,
)
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import importer_class, open_importer
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_part
from retrovue.ingest.outcomes import decoded_options, encoded, work_of
from retrovue.ingest.pipeline import bug, failed
from retrovue.service.batches import work_batch
from retrovue.service.engine import Engine, EngineTimes
from retrovue.store import batches, requests
from retrovue.store.collections import find_target, list_collections
from retrovue.store.enrichers import attached_to
from retrovue.store.enrichments import count_owed
from retrovue.store.locks import Locks, open_locks
from retrovue.store.requests import JobHost, JobPart, JobRefusal
from retrovue.store.session import CLEANUP_SECONDS, Store

LANES = 8
"""The most batches of one collection that are enriched at the same time, over all hosts."""
MOST_ATTEMPTS = 10
"""After this many runs without a usable outcome, the outcome of the last run is stored whatever it is."""
OF_HOST = frozenset({
    "missing_directory", "unreadable_directory", "directory_timeout", "location_empty", "unreadable_location",
})  # fmt: skip
"""Codes of collections whose files can't be read on this host, although another host may read them."""
_AGAIN = frozenset({
    "locks_lost", "commit_unknown", AlreadyRunning.default_code, StoreUnavailable.default_code,
})  # fmt: skip
"""Codes of failures that don't concern the collection, so that the run is repeated. A run that a person stopped isn't.
"""

_log = logger(__name__)


class JobTimes(Struct, frozen=True):
    """The times that a worker waits, in seconds."""

    engine: EngineTimes = field(default_factory=EngineTimes)
    look_s: float = 10.0
    """The time between two looks for abandoned work: jobs of workers that are gone, and requests without a job."""
    gone_s: float = 35.0
    """The time without a heartbeat after which a worker counts as gone."""
    busy_s: float = 15.0
    """The pause before a collection is tried again that another program is working on."""
    lease_s: float = 60.0
    """The time without an answer from the host after which the database releases its lock of a collection."""


def queue_of(source: UUID) -> str:
    """Return the queue of a source's jobs.

    Its name is short: the engine makes a channel name of at most 63 bytes from it.
    """
    return f"source-{source.hex}"


def queue_for(host: UUID) -> str:
    """Return the queue of jobs that only one worker may take."""
    return f"host-{host.hex}"


async def wake(engine: Engine, source: UUID, collection: UUID, *, host: UUID | None = None, after_s: float = 0) -> None:
    """Wake a worker, or the one on ``host``, for what is requested of a collection."""
    queue = queue_of(source) if host is None else queue_for(host)
    arguments = {"collection": str(collection), "source": str(source)}
    await engine.wake(queue, str(collection), arguments, after_s=after_s)


async def wake_lane(
    engine: Engine,
    source: UUID,
    collection: UUID,
    lane: int,
    *,
    host: UUID | None = None,
    after_s: float = 0,
) -> None:
    """Wake a worker for a batch of a collection. Each lane has one worker at a time."""
    queue = queue_of(source) if host is None else queue_for(host)
    arguments = {"collection": str(collection), "source": str(source), "lane": lane}
    await engine.wake(queue, f"{collection}/{lane}", arguments, after_s=after_s)


async def wake_again(engine: Engine, arguments: Mapping[str, Any]) -> None:
    """Put a job back that was lost."""
    source, collection = UUID(arguments["source"]), UUID(arguments["collection"])
    if "lane" in arguments:
        await wake_lane(engine, source, collection, arguments["lane"])
    else:
        await wake(engine, source, collection)


class JobResult(Struct, frozen=True):
    """A collection that a worker has worked."""

    collection: Collection
    run_id: UUID
    outcome: CollectionOutcome


OnWorked = Callable[[JobResult], None]


class Jobs(Struct):
    """Works the jobs of one worker."""

    store: Store
    engine: Engine
    host: JobHost
    times: JobTimes
    on_worked: OnWorked | None = None

    async def work(self, arguments: Mapping[str, Any]) -> None:
        """Work a job. Raises StoreError if the database is lost."""
        try:
            async with self.store.reading() as session:
                source, collection = await find_target(session, arguments["collection"], statistics=True)
        except NotFound:
            return  # What was requested of it was deleted as well.
        lane: int | None = arguments.get("lane")
        try:
            await self._work(source, collection, lane)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(CLEANUP_SECONDS / 2, shield=True):
                await self._again(source, collection, lane)
            raise

    async def _again(
        self, source: Source, collection: Collection, lane: int | None, *, host: UUID | None = None, after_s: float = 0
    ) -> None:
        if lane is None:
            await wake(self.engine, source.id, collection.id, host=host, after_s=after_s)
        else:
            await wake_lane(self.engine, source.id, collection.id, lane, host=host, after_s=after_s)

    async def _work(self, source: Source, collection: Collection, lane: int | None) -> None:
        async with self.store.reading() as session:
            if lane is None:
                asked: Sequence[object] = await requests.waiting_for(session, collection.id)
            else:
                asked = await batches.open_batches(session, collection.id)
        if not asked:
            return
        problem, other = await self._left_to(source, collection, always=lane is not None)
        if other is not None:
            await self._again(source, collection, lane, host=other)
            return
        holder = f"retrovue-job on {self.host.name}"[:63]
        async with open_locks(self.store, holder, lease_s=self.times.lease_s) as locks:
            if await locks.take([collection], shared=lane is not None):
                pause: float | None = self.times.busy_s
            elif lane is None:
                pause = await self._work_collection(source, collection, locks)
            else:
                pause = await work_batch(
                    self.store, source, collection, self.host.name, locks, problem, busy_s=self.times.busy_s
                )
        if pause is not None:
            await self._again(source, collection, lane, after_s=pause)

    async def _left_to(
        self, source: Source, collection: Collection, *, always: bool
    ) -> tuple[Problem | None, UUID | None]:
        """Find out whether a collection's files can be read here; return why not, and the worker to ask.

        If there is no other worker, the check is made only with ``always``: the run makes it anyway.
        """
        async with self.store.reading() as session:
            living = await requests.living(session, self.times.gone_s, source.id)
        if len(living) < 2 and not always:
            return None, None
        answer = await unreadable(source, collection)
        if answer is None:
            return None, None
        code, reason = answer.code or "not_ingestible", answer.reason or "it can't be read"
        async with self.store.transaction() as session:
            await requests.refuse(session, self.host, collection.id, code, reason)
            refused = await requests.refusals_of(session, collection.id)
        others = [host.id for host in living if host.id not in refused]
        if others:
            _log.warning("%s leaves %s to another host: %s", self.host.name, collection.display_name, reason)
        return Problem(code, _reasons(refused, reason)), next(iter(others), None)

    async def _work_collection(self, source: Source, collection: Collection, locks: Locks) -> float | None:
        """Work what is requested of a locked collection; return the seconds after which to look again, or None."""
        claim = await self._claim(source, collection)
        if claim is None:
            return None
        outcome: CollectionOutcome | None = None
        try:
            if claim.waiting[0].what == "enrich":
                outcome = Ingested(collection, NO_COUNTS)
            else:
                outcome = await self._run(source, collection, claim, locks)
        finally:
            if outcome is None:
                with anyio.move_on_after(CLEANUP_SECONDS / 2, shield=True):
                    async with self.store.transaction() as session:
                        await requests.release(session, collection.id, claim.run)
        if outcome is None:
            return self.times.busy_s
        await self._end(source, collection, claim, outcome)
        return None

    async def _claim(self, source: Source, collection: Collection) -> "_Claim | None":
        """Begin a run for all requests with the same options as the oldest one.

        None if none waits or the source is busy.
        """
        async with self.store.transaction() as session:
            working, taken = await requests.at_work(session, source, collection, self.times.gone_s)
            waiting = await requests.waiting_for(session, collection.id)
            if not waiting:
                return None
            first = waiting[0]
            options = decoded_options(first.options)
            share = 0.0
            if first.what == "ingest":
                enabled = sum(collection.sync_enabled for collection in await list_collections(session, source))
                at_once = max(1, min(options.concurrency, enabled))
                if rate_of(source, options) is not None:
                    share = 1 / at_once
                if working >= at_once or taken + share > 1.0001:
                    # It is woken when another collection of the source ends.
                    return None
            same = [part for part in waiting if _asks_same(part, first)]
            # An earlier attempt has rows in the audit trail, and its run has ended.
            run = first.request_id if first.attempts == 0 else uuid.uuid4()
            await requests.begin(session, collection.id, same, run, self.host.id, share)
        return _Claim(run, same, options, share)

    async def _run(
        self, source: Source, collection: Collection, claim: "_Claim", locks: Locks
    ) -> CollectionOutcome | None:
        """Ingest a collection; None if the failure doesn't concern the collection and the run has to be repeated."""
        rate = rate_of(source, claim.options)
        options = replace(
            claim.options,
            concurrency=1,
            enrich=False,
            max_rps=claim.options.max_rps if rate is None else max(rate * claim.share, SLOWEST_RATE),
        )
        outcome: CollectionOutcome | None = None
        async with locks.held():
            try:
                async with ingest_part(
                    self.store,
                    source,
                    collection,
                    options,
                    run=claim.run,
                    trigger=claim.waiting[0].scope,
                    locks=locks,
                ) as run:
                    pass
                (outcome,) = run.summary.outcomes
            except RetrovueError as exc:
                outcome = failed(collection, exc)
            except Exception as exc:  # noqa: BLE001 - a bug fails this collection, not the worker
                outcome = bug(collection, exc)
        if isinstance(outcome, Failed) and outcome.code in _AGAIN and not claim.last:
            _log.warning("%s is worked again: %s", collection.display_name, outcome.message)
            return None
        return outcome

    async def _end(self, source: Source, collection: Collection, claim: "_Claim", outcome: CollectionOutcome) -> None:
        """Store an outcome, or first the batches of owed enrichments; then wake what was waiting for the source."""
        async with self.store.transaction(long=True) as session:
            owed = 0
            if isinstance(outcome, Ingested):
                attached = (await attached_to(session, [collection])).get(collection.id, ())
                if attached:
                    owed = await count_owed(session, collection, attached)
                    if owed:
                        await batches.split(session, collection, claim.run)
                    else:
                        outcome = with_enrichment(outcome, Enriched())
            elif isinstance(outcome, Skipped) and outcome.code in OF_HOST:
                refused = await requests.refusals_of(session, collection.id)
                outcome = replace(outcome, reason=_reasons(refused, outcome.reason))
            await requests.end(session, collection.id, claim.run, encoded(outcome), ended=owed == 0)
        if self.on_worked is not None:
            self.on_worked(JobResult(collection, claim.run, outcome))
        await self.wake_left(source.id)

    async def wake_left(self, source: UUID | None = None) -> None:
        """Wake workers for requested collections that nobody works, of one source or of all."""
        async with self.store.reading() as session:
            found = await requests.unfinished(session, self.times.gone_s)
        for left in found:
            if source not in {None, left.source_id}:
                continue
            if not left.enriching:
                await wake(self.engine, left.source_id, left.collection_id)
                continue
            for lane in range(min(LANES, left.batches)):
                await wake_lane(self.engine, left.source_id, left.collection_id, lane)


class _Claim(Struct, frozen=True):
    """The work that a worker has begun: one run for all requests with the same options."""

    run: UUID
    waiting: Sequence[JobPart]
    options: IngestOptions
    share: float

    @property
    def last(self) -> bool:
        """Whether the outcome of this run is stored whatever it is."""
        return max(part.attempts for part in self.waiting) + 1 >= MOST_ATTEMPTS


def rate_of(source: Source, options: IngestOptions) -> float | None:
    """Return the most requests a second to a source, over all hosts; None means no limit except the server's pace."""
    if options.max_rps is not None:
        return options.max_rps
    try:
        setting: str | None = getattr(importer_class(source.type), "rate_setting", None)
    except RetrovueError:
        return None  # The run reports what is wrong with the importer.
    value = None if setting is None else source.config.get(setting)
    return None if value is None else float(value)


async def unreadable(source: Source, collection: Collection) -> Ingestibility | None:
    """Return why a collection's files can't be read here, though maybe on another host; None if they can."""
    try:
        async with GuardedImporter(open_importer(source.type, source.config, source.credentials)) as importer:
            answer = await importer.check_ingestible(collection)
    except RetrovueError:
        return None  # The source can't be reached; the run reports it.
    return answer if not answer.ingestible and answer.code in OF_HOST else None


def _reasons(refused: Mapping[UUID, JobRefusal], reason: str) -> str:
    """Join the reasons of all hosts to one problem."""
    return " ".join(f"On {refusal.host}: {refusal.reason}" for refusal in refused.values()) or reason


def _asks_same(part: JobPart, other: JobPart) -> bool:
    options = (work_of(decoded_options(each.options)) for each in (part, other))
    return part.what == other.what and next(options) == next(options)
