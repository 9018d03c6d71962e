"""Ingest a source or a collection: start the run, follow it, report its outcomes."""

import datetime as dt
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any

from msgspec import Struct

from retrovue.cli import ingest_report as reports
from retrovue.cli.errors import FAILED, OK, PARTIAL, SCOPE_NOT_FOUND, UNREACHABLE, InputError, explain
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.process import return_large_blocks
from retrovue.cli.progress import Progress
from retrovue.core.errors import NothingEligible, Problem, RetrovueError, ScopeNotFound
from retrovue.core.model import Collection
from retrovue.core.results import IngestSummary
from retrovue.core.runs import FULL, Scope
from retrovue.ingest import orchestrator
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.documents import (
    collection_ingest_document,
    failed_ingest_document,
    interruptions,
    lost_reason,
    summary_document,
)
from retrovue.ingest.options import IngestOptions
from retrovue.operations import catalogue
from retrovue.operations.catalogue import Store
from retrovue.operations.relinking import list_moves

Start = Callable[[], AbstractAsyncContextManager[IngestRun]]
"""Starts a run."""
_OBJECTS_BETWEEN = 10_000
"""Objects that are allocated between two runs of the garbage collector: those of some pages."""


_MOVES_NAMED = 10
"""How many assets that have moved to another collection the report lists."""


def summary_status(summary: IngestSummary) -> int:
    """Return the exit status of a run."""
    codes = {outcome.code for outcome in summary.failed}
    if "internal" in codes:
        return FAILED
    if summary.status != "error":
        return OK if summary.status == "ok" else PARTIAL
    if codes == {ScopeNotFound.default_code}:
        return SCOPE_NOT_FOUND
    return UNREACHABLE if summary.all_unreachable else FAILED


async def ingest_source(call: Invocation, reference: str, **options: Any) -> int:
    """Ingest the collections of a source; ``options`` are fields of IngestOptions, of which None means the default."""
    settings = ingest_options(call, **options)
    async with opened(call, connections=max(settings.concurrency, 2), reading=True) as store:
        source = await catalogue.find_source(store, reference)
        call.error_document = partial(
            failed_ingest_document,
            reference,
            source=source,
            dry_run=call.dry_run,
            strict=settings.strict,
            mode=settings.mode,
            atomic=settings.atomic,
        )
        try:
            return await Report(call, closing=partial(moved_lines, call, store)).follow(
                lambda: orchestrator.ingest_source(store, str(source.id), settings)
            )
        except NothingEligible as exc:
            if not call.output.as_json:
                call.output.lines([*reports.heading(source), *reports.not_eligible(explain(exc))])
            raise


async def ingest_collection(
    call: Invocation,
    reference: str,
    *,
    source: str | None,
    title: str | None,
    season: int | None,
    episode: int | None,
    **options: Any,
) -> int:
    """Ingest one collection, or only a title, season or episode; ``options`` are fields of IngestOptions."""
    scope = _scope(title, season, episode)
    settings = ingest_options(call, concurrency=1, **options)
    async with opened(call, connections=2, reading=True) as store:
        owner, collection = await catalogue.find_target(store, reference, source)
        try:
            return await Report(call, collection, scope, closing=partial(moved_lines, call, store)).follow(
                lambda: orchestrator.ingest_one(store, str(collection.id), scope, settings)
            )
        except NothingEligible:
            if not call.output.as_json:
                call.output.lines(reports.heading(owner, scope))
            raise


def ingest_options(
    call: Invocation, *, keep_details: int | None = None, keep_changes: int | None = None, **options: Any
) -> IngestOptions:
    """Make the options of a run; None means the default."""
    if keep_details is not None:
        options["keep_details"] = dt.timedelta(days=keep_details)
    if keep_changes is not None:
        options["keep_changes"] = dt.timedelta(days=keep_changes)
    if "confirm_removals" in options:
        options["confirm_removals"] = frozenset(options["confirm_removals"])
    return IngestOptions(dry_run=call.dry_run, **{name: value for name, value in options.items() if value is not None})


def _scope(title: str | None, season: int | None, episode: int | None) -> Scope:
    if title is not None and not title.strip():
        raise InputError("--title needs the title of a movie or a show.")
    if season is not None and title is None:
        raise InputError("--season needs --title.", hint="Name the show with --title.")
    if episode is not None and season is None:
        raise InputError("--episode needs --title and --season.", hint="Name the show and the season as well.")
    return Scope(title=title, season=season, episode=episode)


class Report(Struct, frozen=True):
    """The report of a run. It is printed once: at the end, or when the command is interrupted.

    If the run is one of several, ``then`` reports the interruption of all.
    """

    call: Invocation
    collection: Collection | None = None
    """The collection that the command ingests; None for a source."""
    scope: Scope = FULL
    documents: list[dict[str, Any]] | None = None
    """Receives the JSON document instead of the output, if the run is one of several."""
    then: Callable[[], None] | None = None
    """Called after the report of an interrupted run."""
    elsewhere: bool = False
    """Whether workers work the run, so that interrupting the command doesn't stop it."""
    closing: Callable[[IngestSummary], Awaitable[list[str]]] | None = None
    """Returns the lines at the end of the report for people."""

    async def follow(self, start: Start) -> int:
        """Start the run, show its progress and print its report; return the exit status."""
        call = self.call
        run: IngestRun | None = None
        problem: Problem | None = None
        return_large_blocks(growing=call.dry_run)
        with Progress(call.output) as progress:
            try:
                async with start() as run:
                    call.report_interruption = partial(self.interrupted, run)
                    with garbage_collected():
                        async for event in run.events():
                            progress.show(event)
            except Exception as exc:
                # Once the run has begun, the outcomes of its collections are reported even after an error.
                if run is None:
                    raise
                problem = explain(exc)
                call.show_traceback(exc)
        closing = [] if self.closing is None or call.output.as_json else await self.closing(run.summary)
        call.report_interruption = None
        return self._print(run.summary, problem, closing)

    def interrupted(self, run: IngestRun) -> None:
        """Print the report of a run that was interrupted."""
        if self.elsewhere:
            self.call.fail(goes_on(str(run.id)))
            return
        summary = run.summary
        self._print(summary, None)
        if summary.interrupted:
            self.call.status = None  # the exit status of the signal
        if self.then is not None:
            self.then()

    def _print(self, summary: IngestSummary, problem: Problem | None, closing: Sequence[str] = ()) -> int:
        output = self.call.output
        more = [] if problem is None else [problem]
        for outcome in summary.lost:
            output.warn(lost_reason(outcome), always=outcome.collection.last_ingest_at is not None)
        for ingested in summary.ingested:
            for message in reports.warnings(ingested, shown=not output.as_json and _on_terminal()):
                output.warn(message)
        status = summary_status(summary) if problem is None else FAILED
        if status != OK and (output.as_json or output.quiet or not _on_terminal()):
            output.notes([_error_line(summary, more)])
        if self.documents is not None:
            self.documents.append(summary_document(summary, more))
        elif output.as_json:
            output.document(
                summary_document(summary, more)
                if self.collection is None
                else collection_ingest_document(summary, self.collection, self.scope, more)
            )
        if not output.as_json:
            what = "Source" if self.collection is None else "Collection"
            output.lines([*reports.report(summary, more, what=what, scope=self.scope), *closing])
        return self.call.answered(status) if self.documents is None else status


async def moved_lines(call: Invocation, store: Store, summary: IngestSummary) -> list[str]:
    """List, in lines, assets that a run marked as missing or gone and whose item has moved to another collection."""
    if summary.mode != "sync" or summary.dry_run or not summary.total("missing") + summary.total("gone"):
        return []
    try:
        moves = await list_moves(store, source=str(summary.source.id), limit=_MOVES_NAMED)
        names = {found.id: found.name for found in await catalogue.list_collections(store)}
    except RetrovueError as exc:
        call.output.warn(f"Can't find out which of the missing assets have moved to another collection: {exc.message}")
        return []
    if not moves.total + moves.ambiguous_total:
        return []
    lines = [
        f"  {move.lost.title}: {move.lost.availability} in {names[move.lost.collection_uuid]}, new in"
        f" {names[move.listed.collection_uuid]}"
        for move in moves.moves
    ]
    more = moves.total - len(moves.moves)
    lines += [f"  ... and {more:,} more"] if more else []
    unclear = f", {moves.ambiguous_total:,} ambiguous" if moves.ambiguous_total else ""
    return [
        "",
        f"Moved to another collection: {moves.total:,}{unclear}",
        *lines,
        f"`retrovue asset relink --source {summary.source.external_id}` lists them; --all lets them keep their ids.",
    ]


def goes_on(run: str) -> Problem:
    """Make the problem of a command that was interrupted while it followed a run of workers."""
    return Problem("interrupted", f"The command was interrupted; the run {run} goes on.", context={"run_id": run})


@contextmanager
def garbage_collected() -> Iterator[None]:
    """Collect garbage while a run goes on, except among the objects of imports.

    Each request leaves some objects in cycles. The pre-flight imports the last modules.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _on_terminal() -> bool:
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def _error_line(summary: IngestSummary, more: list[Problem]) -> str:
    """Return one line that says why the exit status isn't 0."""
    if more:
        return f"Error: {more[0].message}"
    if summary.interrupted:
        owing = [problem.message for problem in interruptions(summary)[:1]]
        return " ".join([f"Error: {reports.summary_line(summary)}", *owing])
    if not summary.failed and summary.held_back:
        number = sum(outcome.held_back.number for outcome in summary.held_back if outcome.held_back is not None)
        names = ", ".join(outcome.collection.name for outcome in summary.held_back)
        return f"Error: {number:,} removal{' is' if number == 1 else 's are'} held back until confirmed, of: {names}."
    if not summary.failed:
        return "Error: some enabled collections can't be ingested, which --strict doesn't allow."
    first = summary.failed[0]
    return f"Error: {len(summary.failed)} of {summary.processed} collections failed; the first: {first.message}"
