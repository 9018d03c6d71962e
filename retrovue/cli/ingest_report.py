"""What an ingest says to people."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from retrovue.cli.errors import Problem
from retrovue.cli.table import table
from retrovue.cli.text import without_passwords
from retrovue.results import Failed, Ingested

if TYPE_CHECKING:
    from retrovue.model import Scope, Source
    from retrovue.results import CollectionOutcome, IngestSummary, Skipped

_SHOWN = 5
"""How many of the items behind a number are shown; --json has more."""
_HEADS = ("Collection", "Status", "Created", "Skipped", "Duplicates", "Rejected", "Failed enr.")
_COUNTS = ("created", "skipped", "duplicates", "rejected", "failed_enrichments")


def report(
    summary: "IngestSummary", more: Sequence[Problem] = (), *, what: str = "Source", scope: "Scope | None" = None
) -> list[str]:
    """Write the report of a run; the last line is the summary, the line before it the label."""
    return [
        *heading(summary.source, scope),
        *_enabled(summary, what),
        *(["Dry run: nothing is written."] if summary.dry_run else []),
        *_results(summary),
        *(line for outcome in summary.ingested for line in _details(outcome, dry_run=summary.dry_run)),
        *_skipped(summary.skipped),
        *_failures(summary),
        *(line for problem in more for line in _problem(problem)),
        "",
        label(summary, more),
        summary_line(summary, what),
    ]


def heading(source: "Source", scope: "Scope | None" = None) -> list[str]:
    """Say which source it is, and what of it."""
    lines = [f"Source: {source.name} ({source.external_id}, type {source.type})"]
    if scope is not None and not scope.is_full:
        parts = [f"title {scope.title!r}"]
        parts += [] if scope.season is None else [f"season {scope.season}"]
        parts += [] if scope.episode is None else [f"episode {scope.episode}"]
        lines.append(f"Scope: {', '.join(parts)}")
    return lines


def not_eligible(problem: Problem) -> list[str]:
    """List the collections that an error names as not eligible, each with its reason."""
    found = problem.context.get("collections")
    entries = found if isinstance(found, list) else []
    lines = [f"  {entry.get('name')}: {entry.get('reason')}" for entry in entries]
    return ["Skipped collections:", *lines] if lines else []


def label(summary: "IngestSummary", more: Sequence[Problem] = ()) -> str:
    """Say how it went."""
    if summary.status == "error":
        return f"Error: {_why(summary)}"
    if more:
        return f"Error: {more[0].message}"
    if not summary.processed and any(outcome.code == "not_failed" for outcome in summary.skipped):
        return "Success: nothing to retry"
    said = "Success" if summary.status == "ok" else "Partial success"
    if summary.interrupted:
        return f"{said} (interrupted)"
    return f"{said} (dry run)" if summary.dry_run else said


def _why(summary: "IngestSummary") -> str:
    if summary.interrupted:
        return "interrupted before any collection was ingested"
    if len(summary.failed) == 1:
        return without_passwords(summary.failed[0].message)
    return f"all {len(summary.failed)} collections failed"


def summary_line(summary: "IngestSummary", what: str = "Source") -> str:
    """Write the line that scripts look for."""
    interrupted = sum(outcome.interrupted for outcome in summary.failed)
    numbers = [f"{len(summary.ingested)} success", f"{len(summary.failed) - interrupted} failed"]
    numbers += [f"{interrupted} interrupted"] if interrupted else []
    count = summary.processed
    noun = "collection" if count == 1 else "collections"
    end = "interrupted" if summary.interrupted else "complete"
    return f"{what} ingest {end}: {count} {noun} processed ({', '.join(numbers)})"


def _enabled(summary: "IngestSummary", what: str) -> list[str]:
    if what != "Source":
        return []
    enabled = sum(outcome.collection.sync_enabled for outcome in summary.outcomes)
    return [f"Enabled collections: {enabled} of {len(summary.outcomes)}"]


def _results(summary: "IngestSummary") -> list[str]:
    rows = [_row(outcome) for outcome in summary.outcomes if isinstance(outcome, Ingested | Failed)]
    if not rows:
        return []
    total: tuple[object, ...] = ("Total", "", *(summary.total(count) for count in _COUNTS))
    many = len(rows) > 1
    return ["", *table(_HEADS, [*rows, total] if many else rows, numbers=range(2, len(_HEADS)), foot=many)]


def _row(outcome: "CollectionOutcome") -> tuple[object, ...]:
    name = outcome.collection.name
    if isinstance(outcome, Ingested):
        return (name, "ingested", *(getattr(outcome.counts, count) for count in _COUNTS))
    if isinstance(outcome, Failed) and outcome.counts.discovered:
        return (name, "failed", *(getattr(outcome.counts, count) for count in _COUNTS))
    interrupted = isinstance(outcome, Failed) and outcome.interrupted
    return (name, "interrupted" if interrupted else "failed", *("-" for _ in _COUNTS))


def _details(outcome: Ingested, *, dry_run: bool) -> Iterator[str]:
    listed, counts, name = outcome.listed, outcome.counts, outcome.collection.name
    if dry_run:
        titles = [named.title for named in listed.created]
        yield from _block(f"{name}: would be created", titles, counts.created, len(titles))
    duplicates = [f"{one.title} (same file as {one.detail})" if one.detail else one.title for one in listed.duplicates]
    yield from _block(f"{name}: duplicate candidates", duplicates, counts.duplicates)
    relocated = [f"{one.title} -> {one.detail}" if one.detail else one.title for one in listed.relocated]
    yield from _block(f"{name}: relocated", relocated, counts.relocated)
    rejected = [f"{one.title or one.source_uri or 'untitled'}: {one.reason}" for one in listed.rejected]
    yield from _block(f"{name}: rejected", rejected, counts.rejected)
    failures = [f"{one['asset']}: {one['enricher']}: {one['cause']}" for one in listed.failed_enrichments]
    yield from _block(f"{name}: failed enrichments", failures, counts.failed_enrichments)
    enriched = outcome.enriched
    if enriched is not None and (enriched.owed or enriched.problem or enriched.interrupted):
        owed = "an unknown number" if enriched.owed is None else enriched.owed
        said = f"{name}: enrichments that {'would be' if dry_run else 'are still'} owed: {owed}"
        yield from ("", f"{said} (interrupted)" if enriched.interrupted and not dry_run else said)
        if enriched.problem is not None:
            yield f"  {without_passwords(enriched.problem)}"


def _block(title: str, lines: Sequence[str], total: int, shown: int = _SHOWN) -> Iterator[str]:
    if not total:
        return
    yield ""
    yield f"{title} ({total}):"
    yield from (f"  {line}" for line in lines[:shown])
    if total > min(len(lines), shown):
        yield f"  ... and {total - min(len(lines), shown)} more"


def _skipped(outcomes: "Sequence[Skipped]") -> list[str]:
    lines = [f"  {outcome.collection.name}: {outcome.reason}" for outcome in outcomes]
    return ["", f"Skipped collections ({len(lines)}):", *lines] if lines else []


def _failures(summary: "IngestSummary") -> list[str]:
    lines: list[str] = []
    for outcome in summary.failed:
        word = "Interrupted" if outcome.interrupted else "Failed"
        lines.append(f"{word}: {outcome.collection.name}: {without_passwords(outcome.message)} [{outcome.code}]")
        lines += [f"  {outcome.hint}"] if outcome.hint else []
    return ["", *lines] if lines else []


def _problem(problem: Problem) -> list[str]:
    return [f"Error: {problem.message}", *([f"  {problem.hint}"] if problem.hint else [])]
