"""The collection pipeline: importer → path mapping → staging → one transaction that merges and says so.

The same pipeline serves source ingest and collection ingest, in full and in surgical scope, and the dry-run.
Data is pulled: the next page is asked for when the last one has been staged, so a slow database slows the
reading of the source, and memory doesn't depend on the size of the library.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

import anyio.lowlevel

from retrovue.core.errors import CommitUnknown, IncompleteEnumeration, RetrovueError, StoreError, StoreUnavailable
from retrovue.core.model import ASSET_TYPES, AssetDraft, Collection, Outline, Page, PathMapping, Rejection, Scope
from retrovue.core.paths import PathMapper, UnmappedPath
from retrovue.core.results import FAR_SMALLER, Counts, Durations, Enriched, Failed, Ingested, Listed
from retrovue.core.text import redacted_traceback
from retrovue.enrichers.pages import PageChain
from retrovue.importers.guard import GuardedImporter, GuardedPages
from retrovue.ingest import telemetry
from retrovue.ingest.events import Progress
from retrovue.store import audit, merge
from retrovue.store.audit import Run
from retrovue.store.known import Fingerprints
from retrovue.store.locks import Locks
from retrovue.store.preview import Preview
from retrovue.store.session import Store
from retrovue.store.staging import MappedDraft, Refinement, Staging

TRANSACTION_RETRIES = 3
"""How often a transaction is run again that the server undid in favour of another one."""
CONFLICTS = frozenset({"deadlock", "serialization_failure"})
"""What the server ends a transaction with that would succeed if it were run again."""

FAR_FEWER = 10
"""How many items fewer are never suspicious."""

HERE = PathMapping("/", "/")
"""The mapping that is implied where the source's paths are this machine's own; any other is longer, and wins."""
NO_ENRICHERS = PageChain()

Report = Callable[[Ingested | Failed], None]
"""Takes the collection's one outcome; called in the same breath as the commit that makes it true."""
Watch = Callable[[Progress], None]
"""Takes how far a collection is, after each page."""


def failed(collection: Collection, error: RetrovueError, *, durations: Durations | None = None) -> Failed:
    """Turn an expected error into the collection's outcome."""
    return Failed(
        collection=collection,
        code=error.code,
        message=error.message,
        hint=error.hint,
        unreachable=error.unreachable,
        context=error.context,
        # What it was made of may be a bug, of an importer for example: its authors need to know where.
        traceback=None if error.__cause__ is None else redacted_traceback(error),
        durations=durations or Durations(),
    )


@dataclass(slots=True)
class _Tally:
    """What has been read so far of one collection."""

    started: float = field(default_factory=perf_counter)
    source_items: int = 0
    discovered: int = 0
    warned: int = 0
    warnings: Counter[str] = field(default_factory=Counter[str])
    waiting: float = 0.0
    reading: float = 0.0
    enriching: float = 0.0
    staging: float = 0.0
    merging: float = 0.0

    def reset(self) -> None:
        self.source_items = self.discovered = self.warned = 0
        self.warnings.clear()

    def recognise(self, outline: Outline) -> None:
        self.source_items += outline.source_items
        self.discovered += len(outline.source_uris) + len(outline.rejected)

    def count(self, page: Page) -> None:
        self.source_items += page.source_items
        self.discovered += len(page.drafts) + len(page.rejected)
        for draft in page.drafts:
            if draft.warnings:
                self.warned += 1
                self.warnings.update(draft.warnings)

    def progress(self, collection: Collection, rejected: int) -> Progress:
        seconds = perf_counter() - self.started
        return Progress(collection, self.source_items, self.discovered, rejected, seconds)

    def durations(self) -> Durations:
        return Durations(
            total=perf_counter() - self.started,
            waiting_for_source=self.waiting,
            reading=self.reading,
            enriching=self.enriching,
            staging=self.staging,
            merging=self.merging,
        )

    def ingested(self, collection: Collection, sink: Staging | Preview, merged: merge.MergeResult) -> Ingested:
        """Account for every draft; a number that doesn't add up is a bug and stops the collection."""
        counts = Counts(
            **{**merged.counts, "skipped": merged.counts["skipped"] + sink.known},
            source_items=self.source_items,
            discovered=self.discovered,
            rejected=sink.rejected,
            warnings=self.warned,
        )
        rejected = tuple(sink.first_rejections)
        listed = replace(merged.listed, rejected=rejected, warnings=dict(sorted(self.warnings.items())))
        return Ingested(collection, counts, listed, self.durations())


class Locator:
    """Finds each draft's place on this machine; a draft whose files can't be placed is rejected."""

    def __init__(self, collection: Collection, *, local: bool = False) -> None:
        mappings = (*collection.path_mappings, HERE) if local else collection.path_mappings
        self._map = PathMapper(mappings).file

    def locate(self, page: Page) -> tuple[list[MappedDraft], list[Rejection]]:
        """Map the paths of a page's drafts."""
        located: list[MappedDraft] = []
        rejected = list(page.rejected)
        for draft in page.drafts:
            try:
                located.append(MappedDraft(draft, self._paths(draft)))
            except UnmappedPath as exc:
                rejected.append(Rejection(exc.code, exc.reason, draft.source_uri, draft.title))
        return located, rejected

    def outlined(self, outline: Outline) -> list[tuple[str, ...]] | None:
        """Map the paths of an outline's drafts; None if one of them can't be placed."""
        try:
            return [tuple([self._map(path) for path in paths]) for paths in outline.source_paths]
        except UnmappedPath:
            return None

    def _paths(self, draft: AssetDraft) -> tuple[str, ...]:
        if not draft.parts or draft.type not in ASSET_TYPES:
            problem = "it has no part" if not draft.parts else f"its type is {draft.type!r}"
            raise UnmappedPath("bad_draft", f"the importer gave an unusable draft: {problem}")
        return tuple([self._map(part.source_path) for part in draft.parts])


async def _refined(chain: PageChain, located: list[MappedDraft]) -> list[MappedDraft]:
    """Let the enrichers of pages refine the drafts of a page; without any nothing is done."""
    if not chain.refining or not located:
        return located
    refined = await chain.refine([one.draft for one in located], [one.local_paths for one in located])
    return [
        MappedDraft(
            new.draft,
            old.local_paths,
            Refinement(
                new.provenance,
                {str(key): {"code": one.code, "message": one.message} for key, one in new.failures.items()},
            )
            if new.provenance or new.failures
            else None,
        )
        for old, new in zip(located, refined, strict=True)
    ]


async def _next_page(pages: GuardedPages, tally: _Tally) -> Page | Outline | None:
    with telemetry.span("read_page"), _asking(pages, tally):
        return await anext(pages, None)


@contextmanager
def _asking(pages: GuardedPages, tally: _Tally) -> Iterator[None]:
    """Account for the time in which the importer is asked: what it didn't wait for its source, it worked."""
    asked = perf_counter()
    try:
        yield
    finally:
        elapsed = perf_counter() - asked
        waited = pages.stopwatch.share_of(elapsed)
        tally.waiting += waited
        tally.reading += elapsed - waited


async def _read(
    importer: GuardedImporter,
    collection: Collection,
    scope: Scope,
    sink: Staging | Preview,
    chain: PageChain,
    progress: Watch,
) -> _Tally:
    """Read all that is in scope into the sink, which has taken all of it and nothing else when this returns."""
    tally = _Tally()
    locator = Locator(collection, local=importer.paths_are_local)
    fingerprints = Fingerprints(collection)
    await sink.open()
    async with importer.enumerate(collection, scope) as pages:
        while (page := await _next_page(pages, tally)) is not None:
            began = perf_counter()
            if isinstance(page, Outline):
                recognised = await _recognise(page, sink, locator, fingerprints)
                tally.staging += perf_counter() - began
                if recognised:
                    tally.recognise(page)
                    progress(tally.progress(collection, sink.rejected))
                    continue
                with _asking(pages, tally):
                    page = await pages.read(page)
                began = perf_counter()
            if page.restart:
                tally.reset()
                await sink.reset()
            tally.count(page)
            located, rejected = locator.locate(page)
            to_keep = sink.keeps_pages and len(located) == len(page.drafts)
            fingerprint = fingerprints.of_page(page) if to_keep else None
            asked = perf_counter()
            located = await _refined(chain, located)
            refining = perf_counter() - asked
            await sink.add(located, rejected, fingerprint)
            tally.enriching += refining
            tally.staging += perf_counter() - began - refining
            progress(tally.progress(collection, sink.rejected))
    if scope.is_full and tally.discovered == 0 and sink.anything_known:
        raise IncompleteEnumeration(
            f"The source says that {collection.name!r} is empty, but the catalogue has assets of it.",
            code="suspicious_empty",
            hint="Look at the library at its source: is a disk missing? Nothing was changed in the catalogue.",
            context={"source_items": 0},
        )
    # Nothing is removed for it, but it is suspicious.
    fewer = sink.last_discovered - tally.discovered
    if scope.is_full and fewer >= FAR_FEWER and fewer > tally.discovered:
        tally.warnings[FAR_SMALLER] = fewer
    return tally


async def _recognise(outline: Outline, sink: Staging | Preview, locator: Locator, fingerprints: Fingerprints) -> bool:
    """Take an outline in if the catalogue holds all of it; else it has to be read."""
    fingerprint = fingerprints.of(outline.source_uris, outline.source_paths)
    if not sink.know_page(fingerprint, len(outline.source_uris)):
        paths = locator.outlined(outline)
        if paths is None or not await sink.recognise(outline.source_uris, paths, fingerprint):
            return False
    if outline.rejected:
        await sink.add([], outline.rejected)
    return True


def _all_rejected(collection: Collection, rejections: Sequence[Rejection], tally: _Tally) -> Failed:
    first = rejections[0]
    return Failed(
        collection=collection,
        code="all_rejected",
        message=f"None of the {tally.discovered} items of {collection.name!r} can be used; the first: {first.reason}",
        hint="Look at the path mappings and at the reasons of the rejected items.",
        context={"rejected": tally.discovered, "first_code": first.code},
        durations=tally.durations(),
        counts=Counts(source_items=tally.source_items, discovered=tally.discovered, rejected=tally.discovered),
        listed=Listed(rejected=tuple(rejections)),
    )


async def _again_after_conflicts(transact: Callable[[], Awaitable[None]]) -> None:
    """Run a transaction, as a whole again if the server undid it in favour of another one, but not for ever."""
    for _ in range(TRANSACTION_RETRIES):
        try:
            return await transact()
        except StoreError as exc:
            if exc.code not in CONFLICTS:
                raise
    return await transact()


async def _nothing_written() -> StoreUnavailable:
    await anyio.lowlevel.checkpoint_if_cancelled()  # then it was interrupted, and didn't fail
    message = "The connection broke while the commit was under way; nothing was written."
    return StoreUnavailable(message, hint="Run the command again.")


async def ingest_collection(
    store: Store,
    importer: GuardedImporter,
    collection: Collection,
    run: Run,
    *,
    locks: Locks,
    report: Report,
    progress: Watch,
    chain: PageChain = NO_ENRICHERS,
) -> None:
    """Ingest one collection within the run's scope; reports exactly one outcome, or raises and reports none.

    Everything is staged first, with no transaction open while the source is waited for; when the enumeration
    has proven complete, one transaction merges it and writes the success row. Raises SourceError and StoreError
    for what is expected to go wrong; the collection's rows are then as they were.
    """
    outcome: Ingested | Failed | None = None

    def commit_seen() -> None:
        if outcome is not None:
            report(outcome)

    async with store.session() as session:
        refined_by = tuple(enricher.id for enricher in chain.refining)
        staged = Staging(
            store,
            session,
            collection,
            refined_by=refined_by,
            owing=chain.owing,
            reading_files=chain.reading_files,
        )
        try:
            tally = await _read(importer, collection, run.scope, staged, chain, progress)
        except CommitUnknown as exc:
            # What reading commits is in temporary tables, which went with the connection: there is nothing to find out.
            raise await _nothing_written() from exc
        await locks.verify()

        async def merge_and_commit() -> None:
            nonlocal outcome
            async with store.transaction(session, on_commit=commit_seen):
                outcome = await _merged(run, staged, tally)
                await staged.clear(session)

        try:
            with telemetry.span("merge"):
                await _again_after_conflicts(merge_and_commit)
        except CommitUnknown as exc:
            done = None if outcome is None else await audit.committed(store, run, collection)
            if outcome is None or done is None:
                raise
            if not done:
                raise await _nothing_written() from exc
            report(outcome)


async def _merged(run: Run, staged: Staging, tally: _Tally) -> Ingested | Failed:
    """Merge what is staged and write the outcome's row, inside the caller's transaction."""
    began = perf_counter()
    session, collection = staged.session, staged.collection
    if staged.rejected:
        await merge.keep_rejections(session, run, collection)
    if tally.discovered and staged.rejected == tally.discovered:
        failure = _all_rejected(collection, staged.first_rejections, tally)
        await audit.reject_all(session, run, failure)
        return failure
    merged = await merge.merge(session, staged, full=run.scope.is_full)
    tally.merging = perf_counter() - began
    outcome = tally.ingested(collection, staged, merged)
    if merged.counts["created"] and staged.refined_by:
        failed_ones, listed = await merge.keep_refinements(session, run, staged)
        outcome = _with_failures(outcome, failed_ones, listed)
    await audit.succeed(session, run, outcome)
    return outcome


def _with_failures(outcome: Ingested, failed_ones: int, listed: tuple[Mapping[str, str], ...]) -> Ingested:
    return replace(
        outcome,
        counts=replace(outcome.counts, failed_enrichments=failed_ones),
        listed=replace(outcome.listed, failed_enrichments=listed),
    )


async def preview_collection(
    store: Store,
    importer: GuardedImporter,
    collection: Collection,
    run: Run,
    *,
    progress: Watch,
    chain: PageChain = NO_ENRICHERS,
) -> Ingested | Failed:
    """Find out what an ingest would do, with the same planner, in read-only transactions that the server enforces.

    Holds about 100 bytes for each draft that the catalogue doesn't know yet.
    """
    async with store.session() as session:
        seen = Preview(store, session, collection, reading_files=chain.reading_files)
        tally = await _read(importer, collection, run.scope, seen, chain, progress)
        if tally.discovered and seen.rejected == tally.discovered:
            return _all_rejected(collection, seen.first_rejections, tally)
        began = perf_counter()
        merged = await seen.plan()
        tally.merging = perf_counter() - began
        outcome = tally.ingested(collection, seen, merged)
        if not chain:
            return outcome
        return replace(
            outcome, enriched=Enriched(owed=len(chain.deferred) * merged.counts["created"] + seen.owed_again)
        )
