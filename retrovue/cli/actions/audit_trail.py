"""The audit trail: list runs, and show one."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from retrovue.cli.asking import confirm
from retrovue.cli.ingest_report import duration
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import line_width, table, words
from retrovue.cli.text import local_time
from retrovue.core.pages import Rejection
from retrovue.core.text import redact
from retrovue.core.verdicts import HEADINGS
from retrovue.operations import catalogue, retention
from retrovue.operations.catalogue import LogEntry, LoggedRun
from retrovue.operations.documents import (
    entry_durations,
    entry_traceback,
    log_entry_document,
    logged_run_document,
    run_details_document,
)
from retrovue.operations.retention import PrunedDetails

_HEADS = ("Collection", "Status", *HEADINGS.values())
_RUN_COUNTS = ("created", "skipped", "rejected")
_RUN_HEADS = ("Source", "Run", "Started", "Took", "Collections", *(HEADINGS[count] for count in _RUN_COUNTS))
_INDENT = "  "


async def show_log(call: Invocation, *, limit: int, run: str | None, **filters: Any) -> int:
    """List the audit trail; ``filters`` are those of ``list_log``, of which None means all."""
    async with opened(call, reading=True) as store:
        filters["run"] = None if run is None else await catalogue.find_run(store, run)
        listing = await catalogue.list_log(store, limit=limit, **filters)
    entries = listing.entries
    lines: list[str] = []
    for _, group in groupby(entries, key=lambda entry: entry.run_id):
        lines += [*_run_lines(list(group)), ""]
    documents = [log_entry_document(entry) for entry in entries]
    lines.append(f"{len(entries):,} of {listing.total:,} entries")
    if not listing.total:
        lines = [_nothing(filters)]
    return call.answer({"total": listing.total, "limit": limit, "entries": documents}, lines)


async def show_runs(call: Invocation, *, limit: int, run: str | None, **filters: Any) -> int:
    """List the runs; ``filters`` are those of ``list_runs``, of which None means all."""
    async with opened(call, reading=True) as store:
        filters["run"] = None if run is None else await catalogue.find_run(store, run)
        listing = await catalogue.list_runs(store, limit=limit, **filters)
        short = await catalogue.short_run_ids(store, [run.run_id for run in listing.runs])
    rows = [_run_row(run, short[run.run_id]) for run in listing.runs]
    lines = table(_RUN_HEADS, rows, numbers=(3, 5, 6, 7)) if rows else []
    lines.append(f"{len(rows):,} of {listing.total:,} runs")
    if not listing.total:
        lines = [_nothing(filters)]
    documents = [logged_run_document(run) for run in listing.runs]
    return call.answer({"total": listing.total, "limit": limit, "runs": documents}, lines)


def _run_row(run: LoggedRun, short: str) -> tuple[object, ...]:
    took = None if run.ended_at is None else duration((run.ended_at - run.started_at).total_seconds())
    statuses = ", ".join(f"{number} {status}" for status, number in run.statuses.items())
    started = local_time(run.started_at, "minutes")
    return (run.source_name, short, started, took, statuses, *(run.counts[count] for count in _RUN_COUNTS))


def _nothing(filters: Mapping[str, Any]) -> str:
    filtered = any(value is not None for value in filters.values())
    return "No ingest matches." if filtered else "Nothing has been ingested yet."


def _run_lines(entries: Sequence[LogEntry]) -> Iterator[str]:
    first = entries[0]
    started = min(entry.started_at for entry in entries)
    unit = ", one unit of work" if first.atomic else ""
    yield f"Run {first.run_id}"
    yield f"{local_time(started)}, {first.source_name}, {_trigger(first)}{unit}"
    yield from table(_HEADS, [_row(entry) for entry in entries], numbers=range(2, len(_HEADS)))
    yield from (f"{_INDENT}{entry.collection_name}: {entry.code}" for entry in entries if entry.code is not None)


def _row(entry: LogEntry) -> tuple[object, ...]:
    # A failure has counts only if all drafts were rejected.
    counted = entry.status == "ingested" or entry.counts["discovered"]
    return (
        entry.collection_name,
        entry.status,
        *(entry.counts[count] if counted else None for count in HEADINGS),
    )


def _trigger(entry: LogEntry) -> str:
    scope = [f"title '{entry.scope['title']}'"] if entry.scope.get("title") is not None else []
    scope += [f"{part} {entry.scope[part]}" for part in ("season", "episode") if entry.scope.get(part) is not None]
    return ", ".join(["in bulk" if entry.trigger == "source" else "by hand", *scope])


async def show_run(call: Invocation, reference: str, collection: str | None, *, traceback: bool) -> int:
    """Show one run: the one with an id, or ``latest``."""
    async with opened(call, reading=True) as store:
        run = None if reference == "latest" else await catalogue.find_run(store, reference)
        details = await catalogue.get_run(store, run, collection)
    entries = details.entries
    lines = [*_run_lines(entries), "", f"RetroVue {entries[0].version}, started by {entries[0].started_by}"]
    for entry in entries:
        lines += ["", *_details(entry, details.rejections.get(entry.collection_id, ()), traceback=traceback)]
    return call.answer(run_details_document(details), lines)


def _details(entry: LogEntry, rejected: Sequence[Rejection], *, traceback: bool) -> Iterator[str]:
    ended = "not ended" if entry.ended_at is None else f"ended {local_time(entry.ended_at)}"
    yield f"{entry.collection_name}: {entry.status}"
    yield f"{_INDENT}Started {local_time(entry.started_at)}, {ended}"
    if entry.message is not None:
        yield f"{_INDENT}{redact(entry.message)} [{entry.code}]"
    if entry.hint is not None:
        yield f"{_INDENT}{redact(entry.hint)}"
    reading = entry.details.get("reading")
    if entry.mode == "sync" and reading:
        yield from _wrapped(f"Read: {entry.read}: {reading['reason']}")
    counts = [f"{_count_name(name)} {number:,}" for name, number in entry.counts.items() if number]
    if counts:
        yield from _wrapped(f"Counts: {', '.join(counts)}")
    durations = [f"{name.replace('_', ' ')} {seconds:.3f} s" for name, seconds in entry_durations(entry).items()]
    if durations:
        yield from _wrapped(f"Durations: {', '.join(durations)}")
    warnings = [f"{name} {number}" for name, number in sorted((entry.details.get("warnings") or {}).items())]
    if warnings:
        yield from _wrapped(f"Warnings: {', '.join(warnings)}")
    if entry.enrichment is not None:
        yield from _enrichment(entry.enrichment)
    if rejected:
        yield f"{_INDENT}Rejected ({len(rejected)}):"
        yield from (f"{_INDENT * 2}{item.title or item.source_uri or 'untitled'}: {item.reason}" for item in rejected)
    text = entry_traceback(entry)
    if traceback and text is not None:
        yield f"{_INDENT}Traceback:"
        yield from (f"{_INDENT * 2}{line}" for line in text.splitlines())


def _count_name(count: str) -> str:
    """Return a count's heading where it isn't its name, as for known items, which JSON calls skipped."""
    return HEADINGS[count].lower() if count == "skipped" else count.replace("_", " ")


def _enrichment(enriched: Mapping[str, Any]) -> Iterator[str]:
    numbers = [f"{name} {enriched[name]}" for name in ("succeeded", "failed", "owed") if enriched[name] is not None]
    yield f"{_INDENT}Enrichment: {enriched['status']}, {', '.join(numbers)}"
    if enriched.get("problem"):
        yield f"{_INDENT * 2}{redact(enriched['problem'])}"
    for failure in enriched.get("failures") or ():
        yield f"{_INDENT * 2}{failure['asset']}: {failure['enricher']}: {failure['cause']}"


def _wrapped(text: str) -> Iterator[str]:
    for number, line in enumerate(words(text, line_width() - 2 * len(_INDENT))):
        yield f"{_INDENT * (2 if number else 1)}{line}"


async def prune_details(call: Invocation, older_than: dt.timedelta, *, yes: bool) -> int:
    """Remove the details of old runs, after confirmation."""

    def confirm_removal(found: PrunedDetails) -> None:
        confirm(call, _pruned_lines(found), yes=yes, context={"rejections": found.rejections})

    async with opened(call) as store:
        pruned = await retention.prune_details(store, older_than, confirm=confirm_removal, dry_run=call.dry_run)
    head = "Dry run: nothing was written. This would be removed:" if call.dry_run else "Removed:"
    document = {
        "dry_run": call.dry_run,
        "before": pruned.before,
        "outcomes": pruned.outcomes,
        "rejections": pruned.rejections,
        "enrichments": pruned.enrichments,
        "kept_listings": pruned.kept_listings,
    }
    return call.answer(document, [head, *_pruned_lines(pruned)])


def _pruned_lines(pruned: PrunedDetails) -> list[str]:
    lines = [
        f"Of runs that ended before {local_time(pruned.before)}; their outcomes stay:",
        f"  {pruned.rejections:,} rejected items",
        f"  the details of {pruned.outcomes:,} ingests and {pruned.enrichments:,} enrichments",
    ]
    if pruned.kept_listings:
        lines.append(f"  the kept listings of {pruned.kept_listings:,} collections")
    return lines
