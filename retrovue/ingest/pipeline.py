"""The pipeline of one collection: `stage` reads it to the staging tables, `merge` writes it in one transaction.

Source ingest and collection ingest use the same pipeline, for a whole collection and for a narrower scope. A dry-run
has another sink. The next page is read when the last one has been staged: a slow database slows the reading of the
source, and memory doesn't depend on the size of the library.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeVar
from uuid import UUID

import anyio.lowlevel
from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.errors import ChangesUnknown, CommitUnknown, RetrovueError, StoreUnavailable
from retrovue.core.model import Collection, Source
from retrovue.core.pages import Rejection
from retrovue.core.results import Counts, Durations, Enriched, Failed, Ingested, Listed
from retrovue.core.text import redacted_traceback
from retrovue.enrichers.pages import PageEnrichers
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest import telemetry
from retrovue.ingest.events import Progress
from retrovue.ingest.extent import Extents
from retrovue.ingest.guards import NO_REMOVAL, Guards, Removal
from retrovue.ingest.reading import OnProgress, Reader
from retrovue.ingest.sink import Sink
from retrovue.ingest.tally import Tally
from retrovue.store import audit
from retrovue.store.audit import Run
from retrovue.store.kept import KeptListing, listing_key
from retrovue.store.listed import TRASHED
from retrovue.store.locks import Locks
from retrovue.store.merge import keep_refinements, merge_staged
from retrovue.store.plan import MergeResult
from retrovue.store.preview import Preview
from retrovue.store.removals import NO_POLICY, RemovalPolicy
from retrovue.store.retention import keep_rejections
from retrovue.store.session import Store, retry_conflicts
from retrovue.store.staging import Staging
from retrovue.store.statements import Session

NO_ENRICHERS = PageEnrichers()

SinkT = TypeVar("SinkT", Staging, Preview)

Report = Callable[[Ingested | Failed], None]
"""Takes the collection's outcome. It is called with the commit of the outcome, before a cancellation can take effect.
"""


class Keep(NamedTuple):
    """How the listing of a collection is kept for a later run."""

    key: bytes
    """The key of the listing: `store.kept.listing_key`."""
    found: bool
    """Whether an earlier run may have left a kept listing."""

    @classmethod
    def of(
        cls, collection: Collection, source: Source, importer: GuardedImporter, run: Run, found: AbstractSet[UUID]
    ) -> "Keep | None":
        """Return how a run keeps a listing; None if it doesn't. ``found`` are the collections that have one."""
        if not run.scope.is_full or not importer.resumes_listings:
            return None
        return cls(listing_key(source, collection, run.version, importer.type_version), collection.id in found)


class Intake(Struct, frozen=True):
    """What a run has staged of a collection and not yet merged."""

    run: Run
    staging: Staging
    tally: Tally
    policy: RemovalPolicy = NO_POLICY
    """What a sync may remove."""
    kept: KeptListing | None = None
    """The pages that are kept until the merge."""
    extents: Extents | None = None
    """How much was read; None: the scope of the run."""

    def merging(self) -> Progress:
        """Make the event that the merge begins."""
        return self.tally.progress(self.staging.collection, self.staging.comparison.rejected, "merging")


async def stage(
    importer: GuardedImporter,
    make_staging: Callable[[bool, bool], Staging],
    collection: Collection,
    run: Run,
    enrichers: PageEnrichers,
    progress: OnProgress,
    extents: Extents | None = None,
    kept: KeptListing | None = None,
) -> Intake:
    """Read a collection, as much as ``extents`` and the run's scope say, to its staging tables.

    With ``kept`` the pages are kept for another run, and the pages of an earlier run aren't read again. No transaction
    is open while the source is waited for. Raises SourceError or StoreError; then nothing was written to the catalogue.
    """
    try:
        staging, tally = await _read(importer, make_staging, collection, run, enrichers, progress, extents, kept)
    except CommitUnknown as exc:
        # Only temporary tables, which the server drops with the connection, and kept pages were committed.
        raise await nothing_written() from exc
    return Intake(run, staging, tally, extents=extents, kept=kept)


async def _read(
    importer: GuardedImporter,
    make_sink: Callable[[bool, bool], SinkT],
    collection: Collection,
    run: Run,
    enrichers: PageEnrichers,
    progress: OnProgress,
    extents: Extents | None,
    kept: KeptListing | None = None,
) -> tuple[SinkT, Tally]:
    """Read to a sink, which is made by the first function for the whole collection, by the second one for changes."""
    while extents is not None and extents.reads_some:
        sink = make_sink(False, True)
        reader = Reader(importer, collection, sink, enrichers, progress, atomic=run.atomic)
        try:
            items = extents.items
            tally = await (reader.read_items(items) if items else reader.read_changes(extents.since))
        except ChangesUnknown as exc:
            extents.learn(exc.filters)
            extents.read_more("changes_unknown", exc.message)
        else:
            if sink.additions is not None and extents.prove(sink.additions, tally):
                return sink, tally
        # An item that the changes don't explain may be an asset that has lost its item, so nothing is merged before
        # that.
        await sink.reset()
    sink = make_sink(run.scope.is_full, False)
    reader = Reader(importer, collection, sink, enrichers, progress, kept, atomic=run.atomic)
    return sink, await reader.read(run.scope, in_full=extents is not None and extents.in_full)


async def merge(intake: Intake) -> Ingested | Failed:
    """Merge the staged drafts and write the outcome's row, inside a transaction of the staging's session.

    May be called again if the transaction was rolled back. The outcome is valid once the transaction is committed.
    """
    async with intake.staging.merging():
        return await _merge(intake)


async def _merge(intake: Intake) -> Ingested | Failed:
    run, staging, tally, policy = intake.run, intake.staging, intake.tally, intake.policy
    session, collection = staging.session, staging.collection
    with tally.phase("merging", restart=True):
        if intake.kept is not None:
            await intake.kept.drop(session)
        if staging.comparison.rejected or (staging.comparison.rejecting and staging.full):
            await keep_rejections(session, run, collection, whole=staging.full)
        if _all_are_rejected(staging, tally):
            failure = _all_rejected(collection, staging.comparison.first_rejections, tally)
            await audit.reject_all(session, run, failure)
            return failure
        result = await merge_staged(session, staging, run, policy=policy)
    outcome = _ingested(collection, staging, tally, result, run)
    if result.counts["created"] and staging.enrichers.refined_by:
        number, entries = await keep_refinements(session, run, staging)
        counts = replace(outcome.counts, failed_enrichments=number)
        outcome = replace(outcome, counts=counts, listed=replace(outcome.listed, failed_enrichments=entries))
    if intake.extents is not None:
        outcome = intake.extents.describe(outcome, tally.requests)
        await intake.extents.keep(session, outcome, staging.comparison)
    await audit.succeed(session, run, outcome)
    return outcome


async def ingest_collection(
    store: Store,
    importer: GuardedImporter,
    collection: Collection,
    run: Run,
    *,
    locks: Locks,
    report: Report,
    progress: OnProgress,
    enrichers: PageEnrichers = NO_ENRICHERS,
    removals: Removal = NO_REMOVAL,
    extents: Extents | None = None,
    first: Callable[[Session], Awaitable[None]] | None = None,
    keep: Keep | None = None,
) -> None:
    """Stage one collection and merge it in a transaction. Reports one outcome, or raises an error and reports none.

    ``extents``, after its `begin()`, says how much is read; without it the run's scope does. ``first`` is executed
    first in that transaction. With ``keep`` the pages of a large listing are kept until the merge.

    Raises SourceError or StoreError; then the collection's rows are unchanged.
    """
    async with store.session() as session:

        def make(full: bool, changes: bool) -> Staging:
            return Staging(store, session, collection, enrichers, mode=run.mode, full=full, changes=changes)

        guards = await begin(importer, collection, run, removals, extents)
        kept = None if keep is None else KeptListing(store, session, collection, run, *keep)
        intake = await stage(importer, make, collection, run, enrichers, progress, extents, kept)
        intake = replace(intake, policy=await guards.policy(intake.tally, intake.staging))
        # Hours may have passed, and another server at the same address would have other items under the same keys.
        await intake.tally.identity.passed()
        await locks.verify()
        progress(intake.merging())

        async def write() -> Ingested | Failed:
            if first is not None:
                await first(session)
            return await merge(intake)

        await _commit(store, session, collection, run, report, write)


async def leave_unchanged(
    store: Store, collection: Collection, run: Run, extents: Extents, *, locks: Locks, report: Report
) -> None:
    """Write and report the outcome of a collection that isn't read because nothing in it has changed."""
    async with store.session() as session:
        await locks.verify()

        async def write() -> Ingested | Failed:
            return await write_unchanged(session, run, collection, extents)

        await _commit(store, session, collection, run, report, write)


async def write_unchanged(session: Session, run: Run, collection: Collection, extents: Extents) -> Ingested:
    """Write the outcome's row of such a collection, inside the caller's transaction."""
    left = extents.describe(Ingested(collection, Counts()), 0)
    await audit.succeed(session, run, left)
    return left


async def begin(
    importer: GuardedImporter, collection: Collection, run: Run, removals: Removal, extents: Extents | None
) -> Guards:
    """Make the guards, and get the state of the source before it is read."""
    state = None if extents is None else extents.library
    guards = Guards(importer, collection, run, removals, state=state)
    await guards.begin()
    return guards


async def _commit(
    store: Store,
    session: Session,
    collection: Collection,
    run: Run,
    report: Report,
    write: Callable[[], Awaitable[Ingested | Failed]],
) -> None:
    """Write in one transaction, which may be repeated, and report the outcome with its commit."""
    outcome: Ingested | Failed | None = None

    def committed() -> None:
        if outcome is not None:
            report(outcome)

    async def transact() -> None:
        nonlocal outcome
        async with store.transaction(session, on_commit=committed, long=True):
            outcome = await write()

    try:
        with telemetry.span("merge"):
            await retry_conflicts(transact)
    except CommitUnknown as exc:
        done = None if outcome is None else await audit.committed(store, run, collection)
        if outcome is None or done is None:
            raise
        if not done:
            raise await nothing_written() from exc
        report(outcome)


async def preview_collection(
    store: Store,
    importer: GuardedImporter,
    collection: Collection,
    run: Run,
    *,
    progress: OnProgress,
    enrichers: PageEnrichers = NO_ENRICHERS,
    removals: Removal = NO_REMOVAL,
    extents: Extents | None = None,
) -> Ingested | Failed:
    """Return the outcome that an ingest would have, by the same plan in read-only transactions.

    Takes some 25 bytes of memory for each draft if the collection has no assets. Else it takes some 45 for each draft
    that would be created or changed.
    """
    if extents is not None and extents.extent.read == "unchanged":
        return extents.describe(Ingested(collection, Counts()), 0)
    async with store.session() as session:

        def make(full: bool, changes: bool) -> Preview:
            readers = enrichers.reading_files, enrichers.reading_sidecars
            return Preview(store, session, collection, *readers, mode=run.mode, full=full, changes=changes)

        guards = await begin(importer, collection, run, removals, extents)
        preview, tally = await _read(importer, make, collection, run, enrichers, progress, extents)
        await tally.identity.passed()  # as for an ingest
        if _all_are_rejected(preview, tally):
            return _all_rejected(collection, preview.comparison.first_rejections, tally)
        progress(tally.progress(collection, preview.comparison.rejected, "merging"))
        with tally.phase("merging"):
            result = await preview.plan(await guards.policy(tally, preview))
        outcome = _ingested(collection, preview, tally, result, run)
        if extents is not None:
            outcome = extents.describe(outcome, tally.requests)
        if not enrichers:
            return outcome
        owed = len(enrichers.deferred) * result.counts["created"] + preview.owed_again
        return replace(outcome, enriched=Enriched(owed=owed))


def failed(collection: Collection, error: RetrovueError, *, durations: Durations | None = None) -> Failed:
    """Make the outcome of a collection that failed with an expected error."""
    return Failed(
        collection=collection,
        code=error.code,
        message=error.message,
        hint=error.hint,
        unreachable=error.unreachable,
        context=error.context,
        # A bug of an importer may be the cause, and its authors need the traceback.
        traceback=None if error.__cause__ is None else redacted_traceback(error),
        durations=durations or Durations(),
    )


def bug(collection: Collection, exc: BaseException) -> Failed:
    """Make the outcome of a collection that failed by a bug of RetroVue."""
    return Failed(
        collection,
        code="internal",
        message=f"RetroVue has a bug: {type(exc).__name__} while ingesting {collection.display_name}.",
        hint="Nothing of this collection was written. Report it with the traceback in the audit trail.",
        traceback=redacted_traceback(exc),
    )


def _ingested(collection: Collection, sink: Sink, tally: Tally, result: MergeResult, run: Run) -> Ingested:
    rejected = tuple(sink.comparison.first_rejections)
    listed = replace(result.listed, rejected=rejected, warnings=dict(sorted(tally.warnings.items())))
    return Ingested(
        collection,
        tally.counts(sink.comparison, result.counts),
        listed,
        tally.durations(),
        read="full" if run.scope.is_full else "scoped",
        held_back=result.held_back,
    )


def _all_are_rejected(sink: Sink, tally: Tally) -> bool:
    """Return whether all drafts were rejected.

    In a sync of a collection with assets the guards hold removals back instead.
    """
    if sink.comparison.mode == "sync" and sink.comparison.anything_known:
        return False
    return bool(tally.discovered) and sink.comparison.rejected == tally.discovered


def _all_rejected(collection: Collection, rejections: Sequence[Rejection], tally: Tally) -> Failed:
    codes = Counter(rejection.code for rejection in rejections)
    first = max(rejections, key=lambda rejection: codes[rejection.code])  # the first of the most frequent reason
    items = "The only item" if tally.discovered == 1 else f"None of the {tally.discovered} items"
    can = "can't be used" if tally.discovered == 1 else "can be used; for example"
    return Failed(
        collection=collection,
        code="all_rejected",
        message=f"{items} of {collection.display_name} {can}: {first.reason}",
        hint=(
            "Check the disks of the source. If the files are gone for good, empty its trash."
            if first.code == TRASHED
            else "Look at the path mappings and at the reasons of the rejected items."
        ),
        context={"rejected": tally.discovered, "first_code": first.code},
        durations=tally.durations(),
        counts=Counts(source_items=tally.source_items, discovered=tally.discovered, rejected=tally.discovered),
        listed=Listed(rejected=tuple(rejections)),
    )


async def nothing_written() -> StoreUnavailable:
    """Make the error of a transaction whose commit wasn't answered and, as was found out, wasn't done."""
    await anyio.lowlevel.checkpoint_if_cancelled()  # An interruption isn't a failure.
    message = "The connection broke while the commit was under way; nothing was written."
    return StoreUnavailable(message, hint="Run the command again.")
