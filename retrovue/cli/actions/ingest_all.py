"""Ingest all sources, one after the other: each is discovered, then its enabled collections are ingested."""

from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from msgspec import Struct, field

from retrovue.cli import ingest_report as reports
from retrovue.cli.actions.ingest import Report, ingest_options
from retrovue.cli.actions.sources import change_lines
from retrovue.cli.errors import FAILED, OK, PARTIAL, UNREACHABLE, explain
from retrovue.cli.invocation import Invocation, opened
from retrovue.core.errors import Problem, RequestError, RetrovueError
from retrovue.core.model import Source
from retrovue.ingest import orchestrator
from retrovue.ingest.documents import failed_ingest_document, source_identity
from retrovue.ingest.options import IngestOptions
from retrovue.operations import catalogue, discovery
from retrovue.operations.catalogue import Store
from retrovue.operations.documents import all_sources_document, changes_document

_RANK = (OK, PARTIAL, UNREACHABLE, FAILED)
"""The exit statuses of sources from best to worst. The command has the worst one."""
_NOTHING_TO_DO = frozenset({"no_collections", "no_enabled_collections"})
"""A source without enabled collections is no failure when all sources are ingested."""


def failed_document(problems: Sequence[Problem], *, dry_run: bool, strict: bool) -> Mapping[str, Any]:
    """Build the document of a command that failed before the first source."""
    return all_sources_document([], problems, status="error", dry_run=dry_run, strict=strict)


async def ingest_all(call: Invocation, **options: Any) -> int:
    """Ingest the enabled collections of every source; ``options`` are those of ``ingest_source``.

    A source that fails doesn't stop the others.
    """
    settings = ingest_options(call, **options)
    async with opened(call, connections=max(settings.concurrency, 2), reading=True) as store:
        sources = [listing.source for listing in await catalogue.list_sources(store)]
        if not sources:
            raise RequestError("There is no source yet.", code="no_sources")
        return await _All(call, store, settings).ingest(sources)


class _All(Struct):
    """The ingest of all sources, and its results so far."""

    call: Invocation
    store: Store
    settings: IngestOptions
    entries: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """For each source that has begun, its part of the document."""
    statuses: list[int] = field(default_factory=list[int])
    """The exit status of each source that has ended."""
    began: float = field(default_factory=perf_counter)

    async def ingest(self, sources: Sequence[Source]) -> int:
        self.call.report_interruption = partial(self._print, interrupted=True)
        for source in sources:
            entry = {"source": source_identity(source), "discovered": None, "skipped": None, "ingest": None}
            self.entries.append(entry)
            self.statuses.append(await self._one(source, entry))
            self.call.report_interruption = partial(self._print, interrupted=True)
        self.call.report_interruption = None
        self._print()
        return self.call.answered(self._worst())

    async def _one(self, source: Source, entry: dict[str, Any]) -> int:
        found_problem = await self._discover(source, entry)
        documents: list[dict[str, Any]] = []
        report = Report(self.call, documents=documents, then=partial(self._end, entry, documents))
        try:
            status = await report.follow(lambda: orchestrator.ingest_source(self.store, str(source.id), self.settings))
        except RetrovueError as exc:
            return self._failed(source, entry, explain(exc), unreachable=exc.unreachable)
        entry["ingest"] = documents[0]
        if found_problem is not None and status == OK:
            self.call.output.complain(found_problem)
            return FAILED
        return status

    async def _discover(self, source: Source, entry: dict[str, Any]) -> Problem | None:
        """Store the collections of a source and print what is new; return the problem if that failed."""
        try:
            found = await discovery.discover(self.store, str(source.id), dry_run=self.call.dry_run)
        except RetrovueError as exc:
            # The ingest that follows meets the same error, and writes it to the audit trail.
            return explain(exc)
        entry["discovered"] = changes_document(found)
        if not self.call.output.as_json and (changes := change_lines(found)):
            self.call.output.lines([*reports.heading(source), *changes, ""])
        return None

    def _failed(self, source: Source, entry: dict[str, Any], problem: Problem, *, unreachable: bool) -> int:
        """Note a source whose ingest didn't begin."""
        output = self.call.output
        if problem.code in _NOTHING_TO_DO:
            entry["skipped"] = {"code": problem.code, "reason": problem.message}
            output.lines([] if output.as_json else [*reports.heading(source), f"Skipped: {problem.message}", ""])
            return OK
        settings = self.settings
        entry["ingest"] = failed_ingest_document(
            source.name,
            [problem],
            source=source,
            dry_run=settings.dry_run,
            strict=settings.strict,
            atomic=settings.atomic,
        )
        if not output.as_json:
            output.lines([*reports.heading(source), *reports.not_eligible(problem), ""])
        output.complain(problem)
        return UNREACHABLE if unreachable else FAILED

    def _end(self, entry: dict[str, Any], documents: Sequence[dict[str, Any]]) -> None:
        """Report the interruption of the command."""
        entry["ingest"] = documents[0]
        self._print(interrupted=True)

    def _worst(self) -> int:
        return max(self.statuses, key=_RANK.index, default=OK)

    def _print(self, *, interrupted: bool = False) -> None:
        output = self.call.output
        done = sum(status == OK for status in self.statuses)
        failed = len(self.statuses) - done
        if output.as_json:
            output.document(
                all_sources_document(
                    self.entries,
                    [self.call.interrupted()] if interrupted else [],
                    status=self._status(interrupted=interrupted),
                    dry_run=self.settings.dry_run,
                    strict=self.settings.strict,
                    duration=round(perf_counter() - self.began, 3),
                )
            )
            return
        end = "interrupted" if interrupted else "complete"
        noun = "source" if len(self.entries) == 1 else "sources"
        output.lines(["", f"Ingest {end}: {len(self.entries)} {noun} ({done} success, {failed} not)"])

    def _status(self, *, interrupted: bool) -> str:
        if not interrupted and self._worst() == OK:
            return "ok"
        written = any(entry["ingest"] is not None and entry["ingest"]["status"] != "error" for entry in self.entries)
        return "partial" if written else "error"
