"""The tasks of a run: one for each collection, in a task group, each with its own session and transaction."""

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from retrovue.core import logs
from retrovue.core.errors import RetrovueError, SourceError, SourceRefused, StoreError, WrongIdentity
from retrovue.core.guide import advice
from retrovue.core.model import AttachedEnricher, Collection, Source
from retrovue.core.results import Enriched, Failed, Ingested
from retrovue.enrichers.pages import open_pages
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest import enrichment, telemetry
from retrovue.ingest.collector import Collector, interrupted
from retrovue.ingest.enrichment import EnrichmentWork, owed_by
from retrovue.ingest.extent import Extents, Intervals
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.pipeline import Keep, bug, failed, ingest_collection, leave_unchanged, preview_collection
from retrovue.ingest.preflight import Targets, not_ingestible, read_again
from retrovue.ingest.unit import CollectionFailed, UnitOfWork, open_unit, rolled_back
from retrovue.store import audit
from retrovue.store.audit import Run
from retrovue.store.changes import prune_changes
from retrovue.store.collections import record_ingestibility
from retrovue.store.enrichers import attached_to
from retrovue.store.kept import KEPT_FOR, kept_of, prune_kept
from retrovue.store.locks import Locks
from retrovue.store.retention import prune_details
from retrovue.store.session import Store

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

_log = logs.logger(__name__)


def _largest_first(collection: Collection) -> tuple[bool, int]:
    # If the largest collection began last, the run would have to wait for it alone. One without assets may be the
    # largest.
    return (collection.assets_count > 0, -collection.assets_count)


class RunTasks:
    """The tasks of a run, one for each collection. Call `run()`, then always `finish()`."""

    def __init__(
        self,
        store: Store,
        source: Source,
        importer: GuardedImporter,
        run: Run,
        collector: Collector,
        options: IngestOptions,
        locks: Locks | None,
        transport: "Transport | None",
    ) -> None:
        self.locks = locks
        self._open_pages = partial(open_pages, transport=transport)
        self._store = store
        self._source = source
        self._attached: Mapping[uuid.UUID, tuple[AttachedEnricher, ...]] = {}
        self._kept: set[uuid.UUID] = set()
        """The collections of which an earlier run has left a kept listing."""
        at_once = anyio.CapacityLimiter(options.enrichment_concurrency)
        self._enrichment = partial(EnrichmentWork, limiter=at_once, transport=transport)
        self._importer = importer
        self._run = run
        self._collector = collector
        self._options = options
        self._limiter = anyio.CapacityLimiter(options.concurrency)
        self._source_error: SourceError | None = None
        """The error after which no other collection is tried: the token was refused, another server answers, or none
        does.
        """
        self._group_scope = anyio.CancelScope()
        self._unit: UnitOfWork | None = None
        """The unit of work of all collections, if one transaction merges them."""
        self._previewed: list[Ingested] = []
        """The outcomes of a dry-run of such a unit of work, until all collections have one."""
        self._failure: Failed | None = None
        """The first failure of a collection."""

    async def run(self, targets: Targets) -> None:
        """Ingest all eligible collections. When this returns, every targeted collection has an outcome."""
        run = {"run_id": str(self._run.id), "source_id": str(self._source.id)}
        with logs.log_context(run_id=self._run.id), telemetry.span("run", **run):
            await self._run_targets(targets)

    async def _run_targets(self, targets: Targets) -> None:
        try:
            for failure in targets.failures:
                await self._fail(failure)
            eligible = await self._lock(targets.eligible)
            # It has its own store, because the collections at work hold the connections of the run's store.
            async with (
                self._store.beside(enrichment.CONNECTIONS) as beside,
                anyio.create_task_group() as enrichments,
            ):
                enrich = partial(self._enrich, beside=beside, enrichments=enrichments)
                async with AsyncExitStack() as stack:
                    await self._open_unit(stack, eligible)
                    with self._group_scope:
                        async with anyio.create_task_group() as group:
                            for collection in sorted(eligible, key=_largest_first):
                                group.start_soon(self._run_collection, collection, enrich)
                    if self._options.atomic and self._failure is None and self._source_error is None:
                        await self._merge_unit()
                        for collection in eligible:
                            enrich(collection)
                await self._end()
            await self._prune()
        finally:
            self._collector.end()

    async def _prune(self) -> None:
        """Remove old details of the audit trail, old changes and kept pages.

        If that fails, the next run tries again.
        """
        options = self._options
        removing = (
            (options.keep_details, prune_details),
            (options.keep_changes, prune_changes),
            (KEPT_FOR, prune_kept),
        )
        for age, prune in removing:
            if self.locks is None or age is None:
                continue
            try:
                async with self._store.transaction(long=True) as session:
                    await prune(session, dt.datetime.now(dt.UTC) - age)
            except StoreError as exc:
                _log.warning("What is older than %s couldn't be removed: %s", age, exc.code)

    async def _lock(self, eligible: Sequence[Collection]) -> list[Collection]:
        try:
            refused = {} if self.locks is None else await self.locks.take(eligible)
            ours = [collection for collection in eligible if collection.id not in refused]
            if self.locks is not None:
                await audit.reap(self._store, self._run, ours)
                now = await read_again(self._store, self._source, ours)
                ours = now.eligible
                for outcome in now.skipped:
                    self._collector.report(outcome)
                for failure in now.failures:
                    await self._fail(failure)
                # All of them at once: if the run is killed, collections that hadn't begun count as interrupted as well.
                await audit.start(self._store, self._run, ours)
            if ours:
                # Read under the locks: until the run ends no enricher is attached to these collections.
                async with self._store.reading() as session:
                    self._attached = await attached_to(session, ours)
                    if self.locks is not None:
                        self._kept = await kept_of(session, ours)
        except RetrovueError as exc:
            for collection in self._collector.unfinished:
                await self._fail(failed(collection, exc))
            return []
        for collection in eligible:
            if collection.id in refused:
                await self._fail(failed(collection, refused[collection.id]))
        return ours

    async def _open_unit(self, stack: AsyncExitStack, eligible: Sequence[Collection]) -> None:
        """Open the connection of the unit of work if one transaction merges the collections; ``stack`` closes it."""
        if not self._options.atomic or self.locks is None or not eligible or self._failure is not None:
            return
        unit = open_unit(self._store, self._importer, self._run, self.locks, self._options.removal)
        try:
            self._unit = await stack.enter_async_context(unit)
        except StoreError as exc:
            for collection in self._collector.unfinished:
                await self._fail(failed(collection, exc))

    async def _merge_unit(self) -> None:
        """Merge all collections, or report which one failed; for a dry-run report all outcomes."""
        for outcome in self._previewed:
            self._collector.report(outcome)
        if self._unit is None:
            return
        try:
            await self._unit.merge(self._collector.report)
        except CollectionFailed as exc:
            await self._fail(exc.failure)
        except RetrovueError as exc:
            for collection in self._collector.unfinished:
                await self._fail(failed(collection, exc))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a bug: the audit trail has the traceback
            for collection in self._collector.unfinished:
                await self._fail(bug(collection, exc))
        self._collector.publish()

    async def _run_collection(self, collection: Collection, enrich: Callable[[Collection], None]) -> None:
        about = {"collection_id": str(collection.id), "collection": collection.name}
        with logs.log_context(collection_id=collection.id):
            async with self._limiter, self._store.places:
                with telemetry.span("collection", **about) as span:
                    try:
                        await self._try(collection)
                    finally:
                        telemetry.describe(span, self._collector.outcome_of(collection))
                        self._collector.publish()
            enrich(collection)

    def _enrich(self, collection: Collection, *, beside: Store, enrichments: TaskGroup) -> None:
        """Begin the enrichment of a collection that was ingested, if it has enrichers."""
        attached = self._attached.get(collection.id, ())
        if attached and self._options.enrich and self.locks is not None and self._collector.was_ingested(collection):
            work = self._enrichment(
                beside, self._source, collection, attached, self._run.id, progress=self._collector.progress
            )
            self._collector.enriching(collection, lambda: work.result)
            # In its own task group: it must not delay other collections, nor end when the source fails.
            enrichments.start_soon(work.run)

    async def _try(self, collection: Collection) -> None:
        try:
            if self._source_error is not None:
                await self._fail(failed(collection, self._source_error))
            else:
                await self._ingest(collection)
        except RetrovueError as exc:
            await self._check_source(exc)
            await self._fail(failed(collection, exc))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a bug: the audit trail has the traceback
            await self._fail(bug(collection, exc))

    async def _ingest(self, collection: Collection) -> None:
        self._collector.started(collection)
        answer = await self._importer.check_ingestible(collection)
        if not answer.ingestible:
            # The pre-flight stored that it was ingestible.
            lost = not_ingestible(collection, answer)
            if not self._options.dry_run:
                async with self._store.transaction() as session:
                    await record_ingestibility(session, [(collection, answer)])
                await audit.skip(self._store, self._run, [lost], started=True)
            self._collector.report(lost)
            return
        options = self._options
        intervals = Intervals(options.full, options.sweep_every, options.full_every)
        about_extent = (self._store, self._importer, self._source, collection, self._run)
        extents = Extents(*about_extent, intervals, options.items)
        extent = await extents.begin()
        about = (self._store, self._importer, collection, self._run)
        async with self._open_pages(self._attached.get(collection.id, ()), self._source) as enrichers:
            if self.locks is None:
                outcome = await preview_collection(
                    *about,
                    progress=self._collector.progress,
                    enrichers=enrichers,
                    removals=self._options.removal,
                    extents=extents,
                )
                await self._take_preview(await self._with_owed(outcome))
                return
            keep = Keep.of(collection, self._source, self._importer, self._run, self._kept)
            if self._unit is not None:
                await self._unit.stage(collection, enrichers, self._collector.progress, extents, keep)
                return
            if extent.read == "unchanged":
                report = self._collector.report
                await leave_unchanged(self._store, collection, self._run, extents, locks=self.locks, report=report)
                return
            await ingest_collection(
                *about,
                locks=self.locks,
                report=self._collector.report,
                progress=self._collector.progress,
                enrichers=enrichers,
                removals=self._options.removal,
                keep=keep,
                extents=extents,
            )

    async def _take_preview(self, outcome: Ingested | Failed) -> None:
        """Report the outcome of a dry-run. In a unit of work it depends on all other outcomes."""
        if isinstance(outcome, Failed):
            await self._fail(outcome)
        elif self._options.atomic:
            self._previewed.append(outcome)
        else:
            self._collector.report(outcome)

    async def _with_owed(self, outcome: Ingested | Failed) -> Ingested | Failed:
        """Add the enrichments that are owed already to those that would be owed after a dry-run."""
        if isinstance(outcome, Failed) or outcome.enriched is None:
            return outcome
        owed = await owed_by(self._store, outcome.collection, self._attached[outcome.collection.id])
        return replace(outcome, enriched=Enriched(owed=owed + (outcome.enriched.owed or 0)))

    async def _check_source(self, error: RetrovueError) -> None:
        """If the error concerns the whole source, end the run: other collections aren't tried."""
        if self._source_error is not None or not isinstance(error, SourceError):
            return
        if isinstance(error, SourceRefused):
            self._source_error = error
        elif error.unreachable or isinstance(error, WrongIdentity):
            try:
                await self._importer.check_reachable()
            except RetrovueError as exc:
                self._source_error = exc if isinstance(exc, SourceError) else error
                self._group_scope.cancel()

    async def _fail(self, failure: Failed) -> None:
        """Write a failure to the audit trail and report it. Its context says so if it couldn't be written.

        In a unit of work this ends the run.
        """
        self._failure = self._failure or failure
        if not self._options.dry_run:
            try:
                await audit.fail(self._store, self._run, [failure])
            except StoreError as exc:
                failure = replace(failure, context={**failure.context, "audit": f"not written: {exc.message}"})
        self._collector.report(failure)
        if self._options.atomic:
            self._group_scope.cancel()

    async def _end(self) -> None:
        """Report a failure for each collection whose task gave no outcome."""
        for collection in self._collector.unfinished:
            if self._source_error is not None:
                await self._fail(failed(collection, self._source_error))
            elif self._options.atomic and self._failure is not None:
                await self._fail(rolled_back(collection, self._failure))
            else:
                message = f"The ingest of {collection.display_name} ended without an outcome."
                await self._fail(Failed(collection, code="internal", message=message, hint=advice("internal")))

    async def finish(self) -> None:
        """Report collections without an outcome as interrupted, also in the audit trail, and end the feed of events."""
        late = [interrupted(collection) for collection in self._collector.unfinished]
        for outcome in late:
            self._collector.report(outcome)
        try:
            if not self._options.dry_run:
                # A start row without an outcome row becomes "interrupted" at the next run.
                with suppress(StoreError):
                    await audit.fail(self._store, self._run, late)
        finally:
            # After the audit trail, so that the trail is complete when the last event is read.
            self._collector.end()
