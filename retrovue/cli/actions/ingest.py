"""The main job: source ingest, and the collection ingest that is a part of it."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial

from retrovue.cli import ingest_document as documents
from retrovue.cli import ingest_report as reports
from retrovue.cli.errors import FAILED, OK, PARTIAL, SCOPE_NOT_FOUND, UNREACHABLE, InputError, explain
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.progress import Progress
from retrovue.core.errors import NothingEligible, Problem, ScopeNotFound
from retrovue.core.model import FULL, Collection, Scope
from retrovue.core.results import IngestSummary
from retrovue.importers.guard import PATIENCE
from retrovue.ingest import orchestrator
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.documents import interruptions, lost_reason
from retrovue.ingest.enrichment import DEFAULT_CONCURRENCY as DEFAULT_ENRICHMENT_CONCURRENCY
from retrovue.ingest.orchestrator import DEFAULT_CONCURRENCY, IngestOptions
from retrovue.store.collections import find_collection
from retrovue.store.sources import find_source, get_source

Start = Callable[[], AbstractAsyncContextManager[IngestRun]]


def summary_status(summary: IngestSummary) -> int:
    """Look up the exit status of a run."""
    codes = {outcome.code for outcome in summary.failed}
    if "internal" in codes:
        return FAILED
    if summary.status != "error":
        return OK if summary.status == "ok" else PARTIAL
    if codes == {ScopeNotFound.default_code}:
        return SCOPE_NOT_FOUND
    return UNREACHABLE if summary.all_unreachable else FAILED


async def ingest_source(
    call: Invocation,
    reference: str,
    *,
    concurrency: int | None,
    max_rps: float | None,
    patience: float | None,
    enrichment_concurrency: int | None,
    strict: bool,
    retry_failed: bool,
) -> int:
    """Ingest the collections of a source and tell the outcome."""
    options = IngestOptions(
        concurrency=concurrency or DEFAULT_CONCURRENCY,
        dry_run=call.dry_run,
        strict=strict,
        retry_failed=retry_failed,
        max_rps=max_rps,
        patience=PATIENCE if patience is None else patience,
        enrichment_concurrency=enrichment_concurrency or DEFAULT_ENRICHMENT_CONCURRENCY,
    )
    async with opened(call, connections=max(options.concurrency, 2)) as store:
        async with store.transaction() as session:
            source = await find_source(session, reference)
        call.error_document = partial(
            documents.failed_source_ingest, reference, source=source, dry_run=call.dry_run, strict=strict
        )
        try:
            return await _Telling(call).follow(lambda: orchestrator.ingest_source(store, str(source.id), options))
        except NothingEligible as exc:
            if not call.output.as_json:
                call.output.lines([*reports.heading(source), *reports.not_eligible(explain(exc))])
            raise


async def ingest_collection(
    call: Invocation,
    reference: str,
    source_reference: str | None,
    *,
    title: str | None,
    season: int | None,
    episode: int | None,
    patience: float | None,
) -> int:
    """Ingest one collection, or what is in scope, and tell the outcome."""
    scope = _scope(title, season, episode)
    options = IngestOptions(concurrency=1, dry_run=call.dry_run, patience=PATIENCE if patience is None else patience)
    async with opened(call) as store:
        async with store.transaction() as session:
            within = None if source_reference is None else await find_source(session, source_reference)
            collection = await find_collection(session, reference, within)
            source = await get_source(session, collection.source_id)
        try:
            return await _Telling(call, collection, scope).follow(
                lambda: orchestrator.ingest_one(store, str(collection.id), scope, options)
            )
        except NothingEligible:
            if not call.output.as_json:
                call.output.lines(reports.heading(source, scope))
            raise


def _scope(title: str | None, season: int | None, episode: int | None) -> Scope:
    if title is not None and not title.strip():
        raise InputError("--title needs the title of a movie or a show.")
    if season is not None and title is None:
        raise InputError("--season needs --title.", hint="Name the show with --title.")
    if episode is not None and season is None:
        raise InputError("--episode needs --title and --season.", hint="Name the show and the season as well.")
    return Scope(title=title, season=season, episode=episode)


class _Telling:
    """Follows a run and tells its outcome once: at the end, or when it is interrupted."""

    def __init__(self, call: Invocation, collection: Collection | None = None, scope: Scope = FULL) -> None:
        self._call = call
        self._collection = collection
        self._scope = scope

    async def follow(self, start: Start) -> int:
        """Start the run, wait for its end, and print; returns the exit status."""
        call = self._call
        run: IngestRun | None = None
        problem: Problem | None = None
        with _imports_set_aside(), Progress(self._call.output) as progress:
            try:
                async with start() as run:
                    call.report_interruption = partial(self._last_words, run)
                    async for event in run.events():
                        progress.show(event)
            except Exception as exc:
                # Once collections have been ingested, what they came to is told whatever happens.
                if run is None:
                    raise
                problem = explain(exc)
                call.show_traceback(exc)
        call.report_interruption = None
        return self._tell(run.summary, problem)

    def _last_words(self, run: IngestRun) -> None:
        summary = run.summary
        status = self._tell(summary, None)
        if summary.interrupted:
            self._call.status = None  # the signal's
        else:
            self._call.status = status

    def _tell(self, summary: IngestSummary, problem: Problem | None) -> int:
        output = self._call.output
        more = [] if problem is None else [problem]
        for outcome in summary.lost:
            output.warn(lost_reason(outcome))
        for ingested in summary.ingested:
            for message in reports.warnings(ingested, shown=not output.as_json and _on_terminal()):
                output.warn(message)
        status = summary_status(summary) if problem is None else FAILED
        if status != OK and (output.as_json or output.quiet or not _on_terminal()):
            output.notes([_short(summary, more)])
        if output.as_json:
            output.document(
                documents.source_ingest(summary, more)
                if self._collection is None
                else documents.collection_ingest(summary, self._collection, self._scope, more)
            )
        else:
            what = "Source" if self._collection is None else "Collection"
            output.lines(reports.report(summary, more, what=what, scope=self._scope))
        return self._call.answered(status)


@contextmanager
def _imports_set_aside() -> Iterator[None]:
    """Keep the garbage collector away from what the imports left, for the run alone."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _on_terminal() -> bool:
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def _short(summary: IngestSummary, more: list[Problem]) -> str:
    """Say in one line why the exit status isn't 0."""
    if more:
        return f"Error: {more[0].message}"
    if summary.interrupted:
        owing = [problem.message for problem in interruptions(summary)[:1]]
        return " ".join([f"Error: {reports.summary_line(summary)}", *owing])
    if not summary.failed:
        return "Error: some enabled collections can't be ingested, which --strict doesn't allow."
    first = summary.failed[0]
    return f"Error: {len(summary.failed)} of {summary.processed} collections failed; the first: {first.message}"
