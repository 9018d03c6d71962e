"""Request runs from workers, and follow them.

The summary is computed from the outcomes that the workers have stored.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import anyio
from msgspec import Struct

from retrovue.core.errors import RequestError, StoreError, StoreUnavailable, changed_meanwhile
from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.results import Skipped
from retrovue.core.runs import Trigger
from retrovue.ingest.collector import Collector, IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import enabled_of
from retrovue.ingest.outcomes import decoded, decoded_all, decoded_options, encoded_all, encoded_options
from retrovue.ingest.pipeline import failed
from retrovue.ingest.preflight import none_ingestible
from retrovue.service import engine as engines
from retrovue.service.engine import Engine
from retrovue.service.jobs import JobTimes, wake
from retrovue.store import requests
from retrovue.store.audit import started_by
from retrovue.store.collections import find_target, list_collections
from retrovue.store.enrichers import attached_to
from retrovue.store.notifications import notifications
from retrovue.store.open_jobs import OpenJob, open_jobs
from retrovue.store.outages import Outage
from retrovue.store.requests import CHANNEL, Asked, JobHost, Request
from retrovue.store.session import Store
from retrovue.store.sources import find_source, get_source

LOOK_SECONDS = 5.0
"""The longest pause between two looks for outcomes, in seconds: poolers pass no notifications on."""

_log = logger(__name__)


class RequestedRun(Struct, frozen=True):
    """A run that was requested from workers."""

    id: UUID
    """The id of the request, and of its run."""
    source: Source
    targeted: tuple[Collection, ...]
    """The collections that are ingested if they are ingestible."""
    skipped: tuple[Skipped, ...]
    """The outcomes of the other collections."""
    workers: tuple[str, ...]
    """The names of the workers that take jobs of this source now."""


async def request_run(store: Store, reference: str, options: IngestOptions | None = None) -> RequestedRun:
    """Request that workers ingest or sync all enabled collections of a source, each as a job.

    ``reference`` is the source's UUID, external id or exact name. ``options`` are as for `ingest_source`;
    ``concurrency`` is the number of collections of the source that are worked at the same time, over all hosts.
    Requests for a collection wait while it is worked; then one further run serves all requests with the same options.

    Raises NotFound, Ambiguous or NothingEligible. Raises RequestError for a dry-run, for ``atomic``, which jobs can't
    share, and if the extra ``service`` isn't installed.
    """
    async with engines.opened(store) as engine:
        return await request_by(engine, store, reference, options)


async def request_by(
    engine: Engine, store: Store, reference: str, options: IngestOptions | None = None
) -> RequestedRun:
    """Request a run as `request_run` does, by an engine that is open."""
    options = options or IngestOptions()
    if options.dry_run:
        raise RequestError("Workers do no dry-runs.", code="bad_request", hint="Run it here: leave out --enqueue.")
    if options.atomic:
        raise RequestError(
            "Jobs can't share one transaction.", code="bad_request", hint="Leave out --atomic or --enqueue."
        )
    if options.items:
        raise RequestError("Single items are those of one collection.", code="bad_items", hint="Sync the collection.")
    async with store.reading() as session:
        source = await find_source(session, reference)
        enabled, skipped = await enabled_of(session, source, options)
    return await _request(engine, store, source, "ingest", "source", options, enabled, skipped)


async def request_enrichment(store: Store, reference: str, source_reference: str | None = None) -> RequestedRun:
    """Request that workers do the owed enrichments of a collection, in batches. Raises what `enrich_one` raises."""
    async with store.reading() as session:
        source, collection = await find_target(session, reference, source_reference)
        attached = await attached_to(session, [collection])
    if collection.id not in attached:
        raise RequestError(
            f"Collection {collection.display_name} has no enricher.",
            code="no_enrichers",
            hint="Attach one with `retrovue collection attach-enricher`.",
            context={"collection": str(collection.id)},
        )
    async with engines.opened(store) as engine:
        return await _request(engine, store, source, "enrich", "collection", IngestOptions(), [collection], [])


async def _request(
    engine: Engine,
    store: Store,
    source: Source,
    what: Asked,
    scope: Trigger,
    options: IngestOptions,
    targeted: Sequence[Collection],
    skipped: Sequence[Skipped],
) -> RequestedRun:
    request = Request(
        uuid.uuid4(), source.id, what, scope, encoded_options(options), encoded_all(skipped), started_by()
    )
    async with store.transaction() as session:
        await requests.add_request(session, request, targeted)
        living = await requests.living(session, JobTimes().gone_s, source.id)
    try:
        for collection in targeted:
            await wake(engine, source.id, collection.id)
    except StoreUnavailable as exc:
        # The request is committed, so a worker finds it when it looks for abandoned work.
        _log.warning("The workers weren't woken: %s", exc.message)
    names = tuple(host.name for host in living)
    return RequestedRun(request.id, source, tuple(targeted), tuple(skipped), names)


async def list_jobs(store: Store) -> list[OpenJob]:
    """List the requested collections that haven't ended, the oldest request first."""
    async with store.reading() as session:
        return await open_jobs(session, JobTimes().gone_s)


async def list_workers(store: Store) -> list[JobHost]:
    """List the workers that are running, by name."""
    async with store.reading() as session:
        return await requests.living(session, JobTimes().gone_s)


@asynccontextmanager
async def follow_run(store: Store, request: UUID) -> AsyncIterator[IngestRun]:
    """Follow a run that was requested from workers, to its end. It has the summary and events of a run in this process.

    Leaving the block early doesn't stop the run. While the database can't be reached, it tries again with growing
    pauses. Raises NotFound for an unknown request, and NothingEligible at the end if no collection was ingestible.
    """
    async with store.reading() as session:
        found = await requests.find_request(session, request)
        source = await get_source(session, found.source_id)
        wanted = {target.collection_id for target in await requests.targets_of(session, request)}
        targeted = [collection for collection in await list_collections(session, source) if collection.id in wanted]
    options = decoded_options(found.options)
    skipped = decoded_all(found.skipped)
    collector = Collector(
        request, source, targeted, skipped, dry_run=False, strict=options.strict, mode=options.mode, counted=False
    )
    run = IngestRun(request, source, collector, targeted)
    error: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_follow, store, request, collector)
        try:
            yield run
            async for _ in run:
                pass
        except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - raised below: the group would wrap it
            error = exc
        group.cancel_scope.cancel()
    if error is not None:
        raise error
    if targeted and not run.summary.processed:
        lost = [outcome for outcome in run.summary.skipped if outcome not in skipped]
        raise none_ingestible(source, "source", [*lost, *skipped], targeted)


async def _follow(store: Store, request: UUID, collector: Collector) -> None:
    outage, started = Outage(), set[UUID]()
    while collector.unfinished:
        try:
            async with notifications(store, CHANNEL, "retrovue-wait") as notified:
                while True:
                    awaited = notified()
                    await _take(store, request, collector, started)
                    outage.over()
                    if not collector.unfinished:
                        break
                    with anyio.move_on_after(LOOK_SECONDS):
                        await awaited.wait()
        except StoreError as exc:
            _log.warning("The run can't be followed now: %s", exc.message)
            await outage.wait()
    collector.end()


async def _take(store: Store, request: UUID, collector: Collector, started: set[UUID]) -> None:
    """Take the outcomes that have come since the last look. Deleted collections are removed from the run."""
    async with store.reading() as session:
        targets = {target.collection_id: target for target in await requests.targets_of(session, request)}
    for collection in collector.unfinished:
        target = targets.get(collection.id)
        if target is None:
            collector.report(failed(collection, changed_meanwhile(f"Collection {collection.display_name}")))
        elif target.outcome is not None:
            collector.report(decoded(target.outcome))
        elif target.host is not None and collection.id not in started:
            started.add(collection.id)
            collector.started(collection)
    collector.publish()
