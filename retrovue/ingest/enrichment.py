"""Enrichment: after a collection's ingest was committed, its attached enrichers do the owed enrichments of its assets.

Assets are read in pages, so memory doesn't depend on their number. The results of each batch are committed in a small
transaction. If the enrichment is stopped, committed results stay, and the other enrichments are still owed.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
from msgspec.structs import replace

from retrovue.core.errors import Problem, RequestError, StoreError
from retrovue.core.model import AttachedEnricher, Collection, Source
from retrovue.core.results import Enriched, failed_enrichment
from retrovue.core.text import redacted_traceback, storable
from retrovue.core.verdicts import LISTED
from retrovue.enrichers.base import Failure
from retrovue.enrichers.guard import GuardedEnricher
from retrovue.enrichers.pages import make_marks
from retrovue.ingest.answers import Current, result_of, view_of
from retrovue.ingest.events import Enriching
from retrovue.store.collections import find_target
from retrovue.store.drafts import UNSEEN
from retrovue.store.enrichers import attached_to
from retrovue.store.enrichments import (
    EnrichmentOutcome,
    OwedAsset,
    Part,
    Result,
    count_owed,
    owed_page,
    record,
    write_outcome,
)
from retrovue.store.locks import open_locks
from retrovue.store.session import CLEANUP_SECONDS, Store, retry_conflicts

if TYPE_CHECKING:
    from retrovue.enrichers.sidecar_marks import SidecarMarks
    from retrovue.importers.http.client import Transport

PAGE = 500
"""The most assets in memory at the same time; each takes a few kilobytes."""
DEFAULT_CONCURRENCY = 4
"""The most batches at the same time, over all collections of a run."""
RETRIES = 2
"""How often the transaction of a batch is repeated after a conflict. After that its enrichments stay owed."""
CONNECTIONS = 2
"""Connections for the transactions of batches. The collections at work hold the connections of the run's own store."""
COUNT_SECONDS = 60.0
COUNT_SECONDS_AT_THE_END = 0.5
COUNT_SECONDS_AT_THE_START = 5.0
"""How long counting the owed enrichments may take, in seconds; the second value applies after a cancellation."""
_BAD = frozenset({"bad_value", "database_error"})
"""Errors that one value of a batch can cause. The results of the batch are then written one by one."""


class EnrichmentWork:
    """The enrichment of one collection. Call `run()` or `count()` once; ``result`` is valid at any time."""

    def __init__(
        self,
        store: Store,
        source: Source,
        collection: Collection,
        attached: Sequence[AttachedEnricher],
        run: UUID,
        *,
        limiter: anyio.CapacityLimiter,
        only_failed: bool = False,
        part: Part | None = None,
        transport: "Transport | None" = None,
        progress: Callable[[Enriching], None] | None = None,
    ) -> None:
        """``progress`` receives the progress. For a ``part`` nothing is counted and no audit row is written."""
        self.collection = collection
        self.run_id = run
        self._store = store
        self.source = source
        self._attached = tuple(attached)
        self._limiter = limiter
        self._only_failed = only_failed
        self._part = part
        self._transport = transport
        self._progress = progress
        self._marks: SidecarMarks | None = None
        self._total: int | None = None
        self._began = perf_counter()
        self._ended: float | None = None
        self._succeeded = self._failed = 0
        self._owed: int | None = None
        self._failures: list[Mapping[str, str]] = []
        self._problem: Problem | None = None
        self._unreachable = False
        self._traceback: str | None = None
        self._error: StoreError | None = None
        self._finished = False

    @property
    def result(self) -> Enriched:
        """The result so far; an enrichment that hasn't ended counts as interrupted."""
        return Enriched(
            succeeded=self._succeeded,
            failed=self._failed,
            owed=self._owed,
            interrupted=not self._finished,
            problem=self._problem,
            unreachable=self._unreachable,
            failures=tuple(self._failures),
            duration=(perf_counter() if self._ended is None else self._ended) - self._began,
        )

    async def run(self) -> None:
        """Do all owed enrichments. Raises only cancellation; any error is in the result."""
        self._began = perf_counter()
        try:
            await self._begin()
            await self._work()
        except StoreError as exc:
            self._problem, self._unreachable = Problem(exc.code, exc.message, exc.hint), False
            self._finished = True
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a bug of RetroVue: the enrichments stay owed
            message = f"RetroVue has a bug: {type(exc).__name__} while enriching {self.collection.display_name}."
            self._problem, self._unreachable = Problem("internal", message), False
            self._traceback = redacted_traceback(exc)
            self._finished = True
        else:
            self._finished = True
        finally:
            patience = anyio.current_time() + (2 * COUNT_SECONDS if self._finished else CLEANUP_SECONDS)
            with anyio.CancelScope(shield=True, deadline=patience):
                await self._end()
            self._ended = perf_counter()
            self._tell(ended=True)

    async def count(self) -> None:
        """Count the owed enrichments without doing any."""
        async with self._store.reading() as session:
            self._owed = await count_owed(session, self.collection, self._attached, only_failed=self._only_failed)
        self._finished = True

    async def _begin(self) -> None:
        """Report how many enrichments there are, if they can be counted in time."""
        if self._progress is not None:
            with anyio.move_on_after(COUNT_SECONDS_AT_THE_START):
                async with self._store.reading() as session:
                    self._total = await count_owed(session, self.collection, self._attached)
            self._tell()

    def _tell(self, *, ended: bool = False) -> None:
        if self._progress is not None:
            seconds = perf_counter() - self._began
            self._progress(Enriching(self.collection, self._succeeded, self._failed, self._total, seconds, ended=ended))

    async def _work(self) -> None:
        after = None if self._part is None else self._part.after
        async with AsyncExitStack() as stack:
            opened: dict[UUID, GuardedEnricher] = {}
            while page := await self._next(after):
                after = page[-1].uuid
                current = [Current(owed, dict(owed.values)) for owed in page]
                # One after the other in the order of their priorities: each enricher gets the values of those before
                # it.
                for attached in self._attached:
                    key = attached.enricher.id
                    due = [asset for asset in current if key in asset.owed.owed]
                    if not due:
                        continue
                    if key not in opened:
                        guarded = GuardedEnricher(attached, self.source, transport=self._transport)
                        opened[key] = await stack.enter_async_context(guarded)
                    enricher = opened[key]
                    await self._enrich(enricher, due)
                    if self._problem is None:
                        self._problem, self._unreachable = _given_up(enricher), enricher.unreachable

    async def _next(self, after: UUID | None) -> list[OwedAsset]:
        async with self._store.reading() as session:
            return await owed_page(
                session,
                self.collection,
                self._attached,
                after=after,
                upto=None if self._part is None else self._part.upto,
                limit=PAGE,
                run=self.run_id,
                only_failed=self._only_failed,
            )

    async def _enrich(self, enricher: GuardedEnricher, due: Sequence[Current]) -> None:
        async with anyio.create_task_group() as group:

            async def limited(batch: Sequence[Current]) -> None:
                async with self._limiter:
                    try:
                        await self._batch(enricher, batch)
                    except StoreError as exc:
                        self._error = exc
                        group.cancel_scope.cancel()

            for batch in _batches(due, enricher.batch_size):
                group.start_soon(limited, batch)
        if self._error is not None:
            raise self._error

    async def _batch(self, enricher: GuardedEnricher, batch: Sequence[Current]) -> None:
        marks = await self._marks_of(batch) if enricher.reads_sidecars else {}
        # If the disk isn't mounted, a sidecar that isn't found may still exist, so that its values stay.
        lost = [asset for asset in batch if asset.owed.has_sidecars and marks.get(asset.owed.uuid) == UNSEEN]
        ids = {asset.owed.uuid for asset in lost}
        asked = [asset for asset in batch if asset.owed.uuid not in ids]
        views = [view_of(asset, enricher) for asset in asked]
        answers = await enricher.enrich(views) if asked else []
        results: list[tuple[Current, Result]] = []
        for asset, view, answer in zip(asked, views, answers, strict=True):
            if answer is not None:
                result = result_of(asset, view, answer, enricher)
                stamp = None if asset.owed.has_sidecars else marks.get(asset.owed.uuid)
                results.append((asset, replace(result, sidecar_stamp=stamp)))
        for asset in lost:
            failure = Failure("no_file", f"The file and its NFO files can't be found: {asset.file}")
            results.append((asset, result_of(asset, view_of(asset, enricher), failure, enricher)))
        if results:
            await self._record(enricher, results)

    async def _marks_of(self, batch: Sequence[Current]) -> Mapping[UUID, str]:
        """Return the marks of assets' sidecars from before these are read, except for assets known to have none."""
        due = [asset for asset in batch if asset.owed.sidecar_stamp != "" and asset.owed.files]
        if not due:
            return {}
        if self._marks is None:
            self._marks = make_marks()
        looked = await self._marks.of([asset.file for asset in due])
        return {
            asset.owed.uuid: UNSEEN if marks is None else marks.text(is_episode=asset.owed.type == "episode")
            for asset, marks in zip(due, looked.marks, strict=True)
        }

    async def _record(self, enricher: GuardedEnricher, results: Sequence[tuple[Current, Result]]) -> None:
        """Commit the results of a batch. A value that the database refuses becomes a failure of its asset."""

        def committed() -> None:
            for asset, result in results:
                self._count(enricher, asset, result)
            self._tell()

        async def transact() -> None:
            async with self._store.transaction(on_commit=committed) as session:
                found = [result for _, result in results]
                await record(session, self.run_id, self.collection, enricher.attached, found)

        try:
            await retry_conflicts(transact, retries=RETRIES)
        except StoreError as exc:
            if exc.code not in _BAD:
                raise
            await self._record_each(enricher, results, exc)

    async def _record_each(
        self, enricher: GuardedEnricher, results: Sequence[tuple[Current, Result]], error: StoreError
    ) -> None:
        if len(results) > 1:
            for result in results:
                await self._record(enricher, [result])
            return
        asset, refused = results[0]
        if refused.code is not None:
            raise error
        failure = Result(asset.owed.uuid, refused.title, code="bad_value", message=error.message)
        await self._record(enricher, [(asset, failure)])

    def _count(self, enricher: GuardedEnricher, asset: Current, result: Result) -> None:
        if result.code is None:
            self._succeeded += 1
            asset.values.update(result.changes)
            return
        self._failed += 1
        if len(self._failures) < LISTED:
            cause = storable(result.message) or result.code
            self._failures.append(failed_enrichment(result.title, enricher.name, result.code, cause))

    async def _end(self) -> None:
        """Count what is still owed, and write the audit row if anything was tried."""
        if self._part is not None:
            self._owed = None
            return
        status = "failed" if self._problem else "done" if self._finished else "interrupted"
        try:
            # When the process is ending there may be too little time to count a large collection, and the row matters
            # more.
            with anyio.move_on_after(COUNT_SECONDS if self._finished else COUNT_SECONDS_AT_THE_END):
                async with self._store.reading() as session:
                    self._owed = await count_owed(session, self.collection, self._attached)
            if self._succeeded or self._failed or self._problem or not self._finished:
                async with self._store.transaction() as session:
                    await write_outcome(session, self._outcome(status))
        except StoreError as exc:
            # The owed enrichments can be found from the assets; the result reports that the audit row is missing.
            message = f"The audit trail of the enrichment was not written: {exc.message}"
            self._problem = self._problem or Problem(exc.code, message, exc.hint)

    def _outcome(self, status: str) -> EnrichmentOutcome:
        return EnrichmentOutcome(
            run=self.run_id,
            collection=self.collection.id,
            status=status,
            succeeded=self._succeeded,
            failed=self._failed,
            owed=self._owed,
            details={
                "failures": self._failures,
                "problem": None if self._problem is None else storable(self._problem.message),
                "traceback": storable(self._traceback),
            },
            duration=perf_counter() - self._began,
        )


def _given_up(enricher: GuardedEnricher) -> Problem | None:
    """Make the problem of an enricher that isn't called any more. All its assets stay owed, so it is reported once."""
    if enricher.outage is not None:
        message = f"The enricher {enricher.name} can't ask its source: {enricher.outage.message}"
        return Problem(enricher.outage.code, message)
    if enricher.given_up is not None:
        message = f"The enricher {enricher.name} {enricher.given_up}: what it owes is tried another time."
        return Problem("enricher_given_up", message)
    return None


def _batches(due: Sequence[Current], size: int) -> Iterator[Sequence[Current]]:
    return (due[start : start + size] for start in range(0, len(due), size))


@asynccontextmanager
async def enrich_one(
    store: Store,
    reference: str,
    *,
    source_reference: str | None = None,
    only_failed: bool = False,
    concurrency: int = DEFAULT_CONCURRENCY,
    dry_run: bool = False,
    transport: "Transport | None" = None,
    progress: Callable[[Enriching], None] | None = None,
) -> AsyncIterator[EnrichmentWork]:
    """Prepare the enrichment of one collection without an ingest. The caller calls ``run()`` or ``count()``.

    ``reference`` and ``source_reference`` are UUIDs, external ids or exact names. ``only_failed`` takes only
    enrichments that have failed, and not those that were never tried. ``concurrency`` is the number of batches at the
    same time. ``transport``, an ``httpx.AsyncBaseTransport``, carries the requests of enrichers that use HTTP.
    ``progress`` is called at the beginning, after each batch and at the end; it must not wait.

    Holds the collection's lock, except for a dry-run. Raises AlreadyRunning while the collection is being ingested, and
    RequestError for an unknown or ambiguous reference and for a collection without an enricher.
    """
    if concurrency < 1:
        raise RequestError("The concurrency must be at least 1.", code="bad_concurrency")
    async with store.reading() as session:
        source, collection = await find_target(session, reference, source_reference)
    run = uuid.uuid4()
    async with AsyncExitStack() as stack:
        if not dry_run:
            locks = await stack.enter_async_context(open_locks(store, f"retrovue-enrich-{run}"))
            for refusal in (await locks.take([collection])).values():
                raise refusal
        async with store.reading() as session:
            # Read again under the lock, because both may have been changed or deleted.
            source, collection = await find_target(session, str(collection.id))
            attached = (await attached_to(session, [collection])).get(collection.id, ())
        if not attached:
            raise RequestError(
                f"Collection {collection.display_name} has no enricher.",
                code="no_enrichers",
                hint="Attach one with `retrovue collection attach-enricher`.",
                context={"collection": str(collection.id)},
            )
        limiter = anyio.CapacityLimiter(concurrency)
        yield EnrichmentWork(
            store,
            source,
            collection,
            attached,
            run,
            limiter=limiter,
            only_failed=only_failed,
            transport=transport,
            progress=progress,
        )


async def owed_by(store: Store, collection: Collection, attached: Sequence[AttachedEnricher]) -> int:
    """Count the owed enrichments of a collection's assets."""
    async with store.reading() as session:
        return await count_owed(session, collection, attached)
