"""A unit of work: all collections are staged at the same time, then one transaction merges all of them or none."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.errors import CommitUnknown, RetrovueError, StoreUnavailable
from retrovue.core.model import Collection
from retrovue.core.results import Failed, Ingested
from retrovue.enrichers.pages import PageEnrichers
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest import telemetry
from retrovue.ingest.extent import Extents
from retrovue.ingest.guards import Guards, Removal
from retrovue.ingest.pipeline import (
    Intake,
    Keep,
    begin,
    bug,
    failed,
    merge,
    nothing_written,
    stage,
    write_unchanged,
)
from retrovue.ingest.reading import OnProgress
from retrovue.store import audit
from retrovue.store.audit import Run
from retrovue.store.changes import tell_kept
from retrovue.store.kept import KeptListing
from retrovue.store.locks import Locks
from retrovue.store.session import CONFLICTS, Store, retry_conflicts, translated
from retrovue.store.shared import SharedSession, open_shared_session
from retrovue.store.staging import Staging


def rolled_back(collection: Collection, by: Failed) -> Failed:
    """Make the outcome of a collection that isn't written because ``by`` failed."""
    return Failed(
        collection,
        code="rolled_back",
        message=(
            f"Nothing of {collection.display_name} was written, because {by.collection.display_name} failed and the"
            " run is one unit of work."
        ),
        hint=f"Resolve the failure of {by.collection.display_name}, then run the command again; or leave out --atomic.",
        context={
            "failed": {
                "id": str(by.collection.id),
                "external_id": by.collection.external_id,
                "name": by.collection.name,
                "code": by.code,
            }
        },
    )


class CollectionFailed(Exception):
    """A collection can't be merged, so none is."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _StagedCollection(Struct, frozen=True):
    intake: Intake
    guards: Guards
    progress: OnProgress


class UnitOfWork:
    """The collections of a run that are merged together.

    Call `stage()` for each, at the same time, then `merge()` once.
    """

    def __init__(
        self,
        store: Store,
        shared: SharedSession,
        importer: GuardedImporter,
        run: Run,
        locks: Locks,
        removals: Removal,
    ) -> None:
        self._store = store
        self._shared = shared
        self._importer = importer
        self._run = run
        self._locks = locks
        self._removals = removals
        self._begun = 0
        self._staged: list[_StagedCollection] = []
        self._unchanged: list[tuple[Collection, Extents]] = []

    async def stage(
        self,
        collection: Collection,
        enrichers: PageEnrichers,
        progress: OnProgress,
        extents: Extents,
        keep: Keep | None,
    ) -> None:
        """Read a collection, as much as ``extents`` says, to its own tables; ``keep`` is as for `ingest_collection`.

        Raises SourceError or StoreError.
        """
        if extents.extent.read == "unchanged":
            self._unchanged.append((collection, extents))
            return
        self._begun += 1
        session, suffix, run = self._shared.session, f"_{self._begun}", self._run

        def make(full: bool, changes: bool) -> Staging:
            return Staging(
                self._shared, session, collection, enrichers,
                mode=run.mode, full=full, changes=changes, suffix=suffix,
            )  # fmt: skip

        guards = await begin(self._importer, collection, run, self._removals, extents)
        kept = None if keep is None else KeptListing(self._shared, session, collection, run, *keep)
        intake = await stage(self._importer, make, collection, run, enrichers, progress, extents, kept)
        self._staged.append(_StagedCollection(intake, guards, progress))

    async def merge(self, report: Callable[[Ingested], None]) -> None:
        """Merge all staged collections in one transaction, and report their outcomes with its commit.

        Raises CollectionFailed for a collection that failed, and StoreError or SourceError for failures that concern
        all of them. Then no row of any collection was changed, unless the error is CommitUnknown.
        """
        outcomes: list[Ingested] = []

        def committed() -> None:
            for outcome in outcomes:
                report(outcome)

        if not self._staged and not self._unchanged:
            return
        # The order of the merges doesn't depend on which collection was read first.
        staged = sorted(
            self._staged, key=lambda staged_collection: staged_collection.intake.staging.collection.external_id
        )
        intakes = [await self._with_policy(staged_collection) for staged_collection in staged]
        if staged:
            # Hours may have passed, and another server at the same address would have other items under the same keys.
            await self._importer.check_reachable()
        await self._locks.verify()

        async def transact() -> None:
            outcomes.clear()
            async with self._shared.transaction(on_commit=committed, long=True) as session:
                outcomes.extend([await _merged(intake) for intake in intakes])
                for collection, extents in self._unchanged:
                    outcomes.append(await write_unchanged(session, self._run, collection, extents))
                await tell_kept(session)

        try:
            with telemetry.span("merge"):
                await retry_conflicts(transact)
        except CommitUnknown as exc:
            # One transaction writes the outcome rows of all collections, so one row tells whether it was committed.
            done = await audit.committed(self._store, self._run, outcomes[0].collection) if outcomes else None
            if done is None:
                raise
            if not done:
                raise await nothing_written() from exc
            committed()

    async def _with_policy(self, staged_collection: _StagedCollection) -> Intake:
        staging = staged_collection.intake.staging
        try:
            intake = replace(
                staged_collection.intake,
                policy=await staged_collection.guards.policy(staged_collection.intake.tally, staging),
            )
        except RetrovueError as exc:
            raise CollectionFailed(failed(staging.collection, exc)) from exc
        staged_collection.progress(intake.merging())
        return intake


async def _merged(intake: Intake) -> Ingested:
    """Merge one of the collections; raises CollectionFailed for a failure of this collection."""
    collection = intake.staging.collection
    try:
        with translated():
            outcome = await merge(intake)
    except StoreUnavailable:
        raise
    except RetrovueError as exc:
        if exc.code in CONFLICTS:
            raise
        raise CollectionFailed(failed(collection, exc)) from exc
    except Exception as exc:
        raise CollectionFailed(bug(collection, exc)) from exc
    if isinstance(outcome, Failed):
        raise CollectionFailed(outcome)
    return outcome


@asynccontextmanager
async def open_unit(
    store: Store, importer: GuardedImporter, run: Run, locks: Locks, removals: Removal
) -> AsyncIterator[UnitOfWork]:
    """Open the connection of a unit of work. The staged drafts are dropped at the end of the block."""
    async with open_shared_session(store, f"retrovue-unit-{run.id}") as shared:
        yield UnitOfWork(store, shared, importer, run, locks, removals)
