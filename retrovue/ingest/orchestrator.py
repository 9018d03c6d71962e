"""The orchestrator: runs the pre-flight, then a task for each collection in the task group of the run.

Each collection has its own session, transaction and outcome, so its failure doesn't affect other collections.
"""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anyio

from retrovue.core.errors import NothingEligible, RequestError
from retrovue.core.model import Collection, Source
from retrovue.core.results import NOT_FAILED, Skipped
from retrovue.core.runs import FULL, Scope, Trigger
from retrovue.core.text import quoted
from retrovue.core.version import own_version
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import importer_class, open_importer
from retrovue.ingest.collector import Collector, IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.preflight import Targets, none_ingestible, pre_flight, split_enabled
from retrovue.ingest.progress_writer import ProgressWriter
from retrovue.ingest.tasks import RunTasks
from retrovue.store import audit
from retrovue.store.audit import Run
from retrovue.store.collections import find_target, list_collections
from retrovue.store.locks import Locks, open_locks
from retrovue.store.reading import ReadingStore
from retrovue.store.server import require_capacity
from retrovue.store.session import Store
from retrovue.store.sources import find_source
from retrovue.store.statements import Session
from retrovue.store.temporary import StagingTables

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport


@asynccontextmanager
async def ingest_source(
    store: Store, reference: str, options: IngestOptions | None = None, *, transport: "Transport | None" = None
) -> AsyncIterator[IngestRun]:
    """Ingest all enabled, ingestible collections of a source, several at the same time.

    ``reference`` is the source's UUID, external id or exact name. Entering the block runs the pre-flight. Before
    anything is written it raises RequestError (unknown or ambiguous source, importer that isn't compliant, nothing
    eligible) or StoreError. If the source can't be reached, every collection gets a Failed outcome instead. Leaving the
    block waits for the collections. An exception or a cancellation in the block stops them: they get an ``interrupted``
    outcome.

    ``transport``, an ``httpx.AsyncBaseTransport``, carries the requests of the importer and of enrichers; the caller
    closes it. A store may be used by several runs at the same time. A collection that another run is working on gets a
    Failed outcome with the code ``already_running``.
    """
    options = options or IngestOptions()
    if options.items:
        raise RequestError("Single items are those of one collection.", code="bad_items", hint="Sync the collection.")
    run = _new_run("source", FULL, options)
    async with store.reading() as session:
        source = await find_source(session, reference)
        enabled, skipped = await enabled_of(session, source, options)
    async with _running(store, source, run, enabled, skipped, options, transport) as running:
        yield running


async def enabled_of(
    session: Session, source: Source, options: IngestOptions
) -> tuple[list[Collection], list[Skipped]]:
    """Return the collections of a source that a run targets if they are ingestible, and the outcomes of the others.

    Raises NothingEligible if none is enabled, and RequestError if the source's importer can't be used.
    """
    importer_class(source.type)
    enabled, skipped = split_enabled(source, await list_collections(session, source))
    if options.retry_failed:
        failed_ids = await audit.failed_last_time(session, enabled)
        reason = "its latest full ingest succeeded, or it was never tried"
        skipped += [Skipped(fine, NOT_FAILED, reason) for fine in enabled if fine.id not in failed_ids]
        enabled = [collection for collection in enabled if collection.id in failed_ids]
    return enabled, skipped


@asynccontextmanager
async def ingest_one(
    store: Store,
    reference: str,
    scope: Scope = FULL,
    options: IngestOptions | None = None,
    *,
    source_reference: str | None = None,
    transport: "Transport | None" = None,
) -> AsyncIterator[IngestRun]:
    """Ingest one collection, or the part of it in ``scope``; otherwise as `ingest_source`.

    Raises NothingEligible for a collection that isn't ingestible, and without a scope also for one that isn't enabled.
    """
    options = options or IngestOptions()
    run = _new_run("collection", scope, options)
    async with store.reading() as session:
        source, collection = await find_target(session, reference, source_reference, statistics=True)
        importer_class(source.type)
    if scope.is_full and not collection.sync_enabled:
        raise NothingEligible(
            f"Collection {collection.display_name} is not enabled.",
            code="no_enabled_collections",
            hint=f"Enable it with `retrovue collection update {collection.id} --enable`, or name a --title.",
            context={"collection": str(collection.id)},
        )
    async with _running(store, source, run, [collection], [], options, transport) as running:
        yield running


@asynccontextmanager
async def ingest_part(
    store: Store,
    source: Source,
    collection: Collection,
    options: IngestOptions,
    *,
    run: uuid.UUID,
    trigger: Trigger,
    locks: Locks,
    transport: "Transport | None" = None,
) -> AsyncIterator[IngestRun]:
    """Ingest one collection as a part of a run whose other collections are worked by other workers.

    The caller holds the collection's lock by ``locks``. Otherwise as `ingest_source`, except that a collection that
    isn't ingestible gives an outcome instead of an error.
    """
    part = _new_run(trigger, FULL, options, run)
    async with _running(
        store, source, part, [collection], [], options, transport, locks=locks, required=False
    ) as running:
        yield running


def _new_run(trigger: Trigger, scope: Scope, options: IngestOptions, id_: uuid.UUID | None = None) -> Run:
    return Run(id_ or uuid.uuid4(), trigger, scope, own_version(), options.mode, options.atomic)


def _configured(source: Source, options: IngestOptions) -> Mapping[str, Any]:
    if options.max_rps is None:
        return source.config
    setting: str | None = getattr(importer_class(source.type), "rate_setting", None)
    if setting is None:
        raise RequestError(
            f"Sources of type {quoted(source.type)} can't be asked at a given rate.",
            code="no_rate_limit",
            hint="Leave out --max-rps.",
        )
    return {**source.config, setting: options.max_rps}


@asynccontextmanager
async def _running(
    store: Store,
    source: Source,
    run: Run,
    enabled: Sequence[Collection],
    skipped: Sequence[Skipped],
    options: IngestOptions,
    transport: "Transport | None",
    *,
    locks: Locks | None = None,
    required: bool = True,
) -> AsyncIterator[IngestRun]:
    await require_capacity(store, options.concurrency, writing=not options.dry_run)
    async with AsyncExitStack() as stack:
        opened = open_importer(source.type, _configured(source, options), source.credentials, transport=transport)
        importer = GuardedImporter(opened, patience=options.patience)
        ready = _getting_ready(store, options, len(enabled))
        targets = await pre_flight(store, importer, enabled, stack, dry_run=options.dry_run, getting_ready=ready)
        if isinstance(store, ReadingStore):
            await store.keep_open(min(options.concurrency, len(targets.eligible)))
        if not options.dry_run:
            await audit.skip(store, run, targets.skipped)
        targets.skipped += skipped
        if required and not targets.eligible and not targets.failures and enabled:
            raise none_ingestible(source, run.trigger, targets.skipped, enabled)
        if locks is None and targets.eligible and not options.dry_run:
            locks = await stack.enter_async_context(open_locks(store, run.lock_holder))
        # From here to the task group nothing may fail, because `finish` has to end the collector's feed.
        expected = [*targets.eligible, *(failure.collection for failure in targets.failures)]
        about: dict[str, Any] = {
            "dry_run": options.dry_run, "strict": options.strict, "mode": options.mode, "atomic": options.atomic
        }  # fmt: skip
        collector = Collector(run.id, source, expected, targets.skipped, **about)
        tasks = RunTasks(store, source, importer, run, collector, options, locks, transport)
        error: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_work, tasks, targets, collector, store, run, options.dry_run)
                try:
                    yield IngestRun(run.id, source, collector, targets.eligible)
                except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - raised again outside of the group
                    error = exc
                    group.cancel_scope.cancel()
        finally:
            await tasks.finish()
        if error is not None:
            raise error


def _getting_ready(store: Store, options: IngestOptions, collections: int) -> AbstractAsyncContextManager[None]:
    """Prepare the sessions of a run's collections in a block, with the temporary tables that each of them needs."""
    if not isinstance(store, ReadingStore):
        return nullcontext()

    async def make(session: Session) -> None:
        # A dry-run has no tables, and a sync reads most collections only if they have changed.
        if not options.dry_run and options.mode == "ingest" and not options.atomic:
            await StagingTables(refinements=False, syncing=False).make(session)

    return store.getting_ready(0 if options.atomic else min(options.concurrency, collections), make)


async def _work(tasks: RunTasks, targets: Targets, collector: Collector, store: Store, run: Run, dry_run: bool) -> None:
    """Do the work of a run, and write its progress. A dry-run writes nothing, so it has no progress there."""
    if dry_run:
        await tasks.run(targets)
        return
    scope = anyio.CancelScope()
    writer = ProgressWriter(store, run.id, collector, scope.cancel)
    try:
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(writer.tell)
                await tasks.run(targets)
                group.cancel_scope.cancel()
    finally:
        await writer.end()
    # The run may have been stopped from elsewhere: then readers of the events must not wait for more.
    await tasks.finish()
