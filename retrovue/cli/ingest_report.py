"""The report of an ingest for people."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from retrovue.cli.table import table
from retrovue.cli.text import Style, Styled
from retrovue.core.errors import Problem
from retrovue.core.results import CHANGED_AT_SOURCE, FAR_SMALLER, Failed, Ingested, Named
from retrovue.core.text import item_key
from retrovue.core.verdicts import HEADINGS, LISTED_ABSENCES, LISTS, Entries

if TYPE_CHECKING:
    from retrovue.core.model import Source
    from retrovue.core.pages import Rejection
    from retrovue.core.results import IngestSummary, Skipped
    from retrovue.core.runs import Scope

_SHOWN = 5
"""How many entries of a list are shown; --json has more."""
_BLOCKS = 20
"""How many lists a report shows."""
_NAMED = 5
"""How many collections with the same reason are named. Up to this many skipped ones have a line each."""
_HEADS = ("Collection", "Status", *HEADINGS.values(), "Time")


def report(
    summary: "IngestSummary", more: Sequence[Problem] = (), *, what: str = "Source", scope: "Scope | None" = None
) -> list[str]:
    """Return the lines of a run's report. The last line is the summary line, the one before it the label."""
    return [
        *heading(summary.source, scope),
        *_enabled(summary, what),
        *(["Dry run: nothing is written."] if summary.dry_run else []),
        *_results(summary),
        *_readings(summary),
        *_all_details(summary),
        *_skipped(summary.skipped),
        *_failures(summary),
        *(line for problem in more for line in _problem(problem)),
        *_to_sync(summary),
        "",
        Styled(label(summary, more), _style(summary, more)),
        Styled(summary_line(summary, what), "strong"),
    ]


def heading(source: "Source", scope: "Scope | None" = None) -> list[str]:
    """Return the lines that name the source and the scope."""
    lines: list[str] = [f"Source: {source.name} ({source.external_id}, type {source.type})"]
    if scope is not None and not scope.is_full:
        parts = [f"title '{scope.title}'"]
        parts += [] if scope.season is None else [f"season {scope.season}"]
        parts += [] if scope.episode is None else [f"episode {scope.episode}"]
        lines.append(f"Scope: {', '.join(parts)}")
    return lines


def not_eligible(problem: Problem) -> list[str]:
    """List the collections that an error names as not eligible, each with its reason."""
    collections = problem.context.get("collections")
    entries = collections if isinstance(collections, list) else []
    lines = [f"  {entry.get('name')}: {entry.get('reason')}" for entry in entries]
    return ["Skipped collections:", *lines] if lines else []


def label(summary: "IngestSummary", more: Sequence[Problem] = ()) -> str:
    """Return the label: Success, Partial success or Error, and the reason."""
    if summary.status == "error":
        return f"Error: {_why(summary)}"
    if more:
        return f"Error: {more[0].message}"
    if not summary.processed and any(outcome.code == "not_failed" for outcome in summary.skipped):
        return "Success: nothing to retry"
    success = "Success" if summary.status == "ok" else "Partial success"
    if summary.interrupted:
        return f"{success} (interrupted)"
    return f"{success} (dry run)" if summary.dry_run else success


def _style(summary: "IngestSummary", more: Sequence[Problem]) -> Style:
    if summary.status == "error" or more:
        return "bad"
    return "good" if summary.status == "ok" else "warning"


def _why(summary: "IngestSummary") -> str:
    if summary.interrupted:
        return "interrupted before any collection was ingested"
    if len(summary.failed) == 1:
        return summary.failed[0].message
    return f"all {len(summary.failed)} collections failed"


def summary_line(summary: "IngestSummary", what: str = "Source") -> str:
    """Return the summary line, which scripts look for."""
    interrupted = sum(outcome.interrupted for outcome in summary.failed)
    numbers = [f"{len(summary.ingested)} success", f"{len(summary.failed) - interrupted} failed"]
    numbers += [f"{interrupted} interrupted"] if interrupted else []
    count = summary.processed
    noun = "collection" if count == 1 else "collections"
    end = "interrupted" if summary.interrupted else "complete"
    return f"{what} {summary.mode} {end}: {count} {noun} processed ({', '.join(numbers)})"


def warnings(outcome: Ingested, *, shown: bool) -> Iterator[str]:
    """Yield the warnings about an ingested collection; ``shown`` says whether the report is on the same screen."""
    name = outcome.collection.display_name
    if fewer := outcome.listed.warnings.get(FAR_SMALLER):
        yield (
            f"Collection {name} has {fewer} items fewer than at its last ingest, more than half of them:"
            " is a disk missing at its source? Nothing is removed from the catalogue."
        )
    if changed := outcome.listed.warnings.get(CHANGED_AT_SOURCE):
        assets = "asset has" if changed == 1 else "assets have"
        yield (
            f"Collection {name}: the files of {changed:,} known {assets} another size or modification time than the"
            " catalogue knows. Enrichers that read files read those again."
        )
    if not shown and outcome.enriched is not None and outcome.enriched.problem is not None:
        yield f"Collection {name}: {outcome.enriched.problem.message}"


def _enabled(summary: "IngestSummary", what: str) -> list[str]:
    if what != "Source":
        return []
    enabled = sum(outcome.collection.sync_enabled for outcome in summary.outcomes)
    return [f"Enabled collections: {enabled} of {len(summary.outcomes)}"]


def _results(summary: "IngestSummary") -> list[str]:
    ingested = "would be ingested" if summary.dry_run else "ingested"
    rows = [_row(outcome, ingested) for outcome in summary.outcomes if isinstance(outcome, Ingested | Failed)]
    if not rows:
        return []
    total = ("Total", "", *(summary.total(count) for count in HEADINGS), duration(summary.duration))
    many = len(rows) > 1
    styles: list[Style | None] = ["bad" if row[1] != ingested else None for row in rows]
    return [
        "",
        *table(_HEADS, [*rows, total] if many else rows, numbers=range(2, len(_HEADS)), foot=many, styles=styles),
    ]


def _row(outcome: "Ingested | Failed", ingested: str) -> tuple[object, ...]:
    name, time = outcome.collection.name, duration(outcome.durations.total)
    if isinstance(outcome, Ingested):
        return (name, ingested, *(getattr(outcome.counts, count) for count in HEADINGS), time)
    if outcome.counts.discovered:
        return (name, "failed", *(getattr(outcome.counts, count) for count in HEADINGS), time)
    status = "interrupted" if outcome.interrupted else "failed"
    return (name, status, *("-" for _ in HEADINGS), time if outcome.durations.total else "-")


def duration(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``2:05`` (minutes and seconds), ``1:02:03``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _readings(summary: "IngestSummary") -> Iterator[str]:
    """Return lines that say how much of each collection a sync has read, and why."""
    outcomes = [
        outcome for outcome in summary.ingested if outcome.reading is not None and outcome.reading.code != "scope"
    ]
    if summary.mode != "sync" or not outcomes:
        return
    yield ""
    for outcome in outcomes[:_SHOWN]:
        reading = outcome.reading
        if reading is not None:
            took = [] if outcome.read == "unchanged" else [_number(reading.items, "item")]
            took += [] if not reading.requests else [_number(reading.requests, "request")]
            done = f"{outcome.read} ({', '.join(took)})" if took else outcome.read
            due = "" if reading.sweep_in_s is None else f"; next sweep in {_span(reading.sweep_in_s)}"
            yield f"{outcome.collection.name}: read {done}: {reading.reason}{due}"
    if len(outcomes) > _SHOWN:
        yield f"... and {len(outcomes) - _SHOWN} more collections, shown by --json"


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _span(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{round(minutes / 60)} h" if minutes < 72 * 60 else f"{round(minutes / 1440)} days"


def _all_details(summary: "IngestSummary") -> Iterator[str]:
    blocks = 0
    left_out = 0
    for outcome in summary.ingested:
        lines = list(_details(outcome, dry_run=summary.dry_run))
        if lines and blocks >= _BLOCKS:
            left_out += 1
            continue
        blocks += lines.count("")
        yield from lines
    if left_out:
        seen = "by --json" if summary.dry_run else f"by `retrovue ingest show {summary.run_id}`"
        yield from ("", f"... and as much of {left_out} more collections, shown {seen}")


def _details(outcome: Ingested, *, dry_run: bool) -> Iterator[str]:
    listed, counts, name = outcome.listed, outcome.counts, outcome.collection.name
    if counts.resumed:
        read = counts.source_items - counts.resumed
        yield from ("", f"{name}: {counts.resumed:,} items had been read by an interrupted run, {read:,} were read now")
    for verdict, entries in (*LISTS, *LISTED_ABSENCES):
        if entries.label is not None and (dry_run or not entries.only_dry_run):
            found: Sequence[Named | Rejection] = getattr(listed, verdict.count)
            titles = Counter(entry.title for entry in found)
            lines = [_entry(entries, entry, alike=titles[entry.title] > 1) for entry in found]
            shown = entries.most if entries.only_dry_run else _SHOWN
            yield from _block(f"{name}: {entries.label}", lines, getattr(counts, verdict.count), shown)
    ambiguous = [entry.title for entry in listed.ambiguous_relinks]
    yield from _block(f"{name}: may be one of several new items, left alone", ambiguous, len(ambiguous))
    yield from _held_back(outcome)
    failures = [
        f"{failure['asset']}: {failure['enricher']}: {failure['cause']}" for failure in listed.failed_enrichments
    ]
    yield from _block(f"{name}: failed enrichments", failures, counts.failed_enrichments)
    told = {FAR_SMALLER, CHANGED_AT_SOURCE}  # warnings() reports these in sentences.
    if kinds := [f"{kind} {number:,}" for kind, number in sorted(listed.warnings.items()) if kind not in told]:
        yield from ("", f"{name}: warnings: {', '.join(kinds)}")
    enriched = outcome.enriched
    if enriched is not None and (enriched.owed or enriched.problem or enriched.interrupted):
        owed = "an unknown number" if enriched.owed is None else enriched.owed
        line = f"{name}: enrichments that {'would be' if dry_run else 'are still'} owed: {owed}"
        yield from ("", f"{line} (interrupted)" if enriched.interrupted and not dry_run else line)
        if enriched.problem is not None:
            yield f"  {enriched.problem.message}"


def _entry(entries: Entries, entry: "Named | Rejection", *, alike: bool) -> str:
    """Return an entry as text.

    Entries that look ``alike`` get the key that distinguishes them, as --title accepts it.
    """
    title = entry.title or entry.source_uri or "untitled"
    if alike and entry.title and entry.source_uri:
        title = f"{title} (key {item_key(entry.source_uri)})"
    if not isinstance(entry, Named):
        return f"{title}: {entry.reason}"
    return title if entry.detail is None else entries.text.format(title=title, detail=entry.detail)


def _block(title: str, lines: Sequence[str], total: int, shown: int = _SHOWN) -> Iterator[str]:
    if not total:
        return
    yield ""
    yield f"{title} ({total:,}):"
    yield from (f"  {line}" for line in lines[:shown])
    if total > min(len(lines), shown):
        yield f"  ... and {total - min(len(lines), shown):,} more"


def _held_back(outcome: Ingested) -> Iterator[str]:
    held_back, name = outcome.held_back, outcome.collection.name
    if held_back is None:
        return
    titles = [f"{entry.title} ({entry.detail})" if entry.detail else entry.title for entry in held_back.items]
    yield from _block(f"{name}: removals held back", titles, held_back.number)
    yield from (f"  {guard.reason}" for guard in held_back.guards)
    if held_back.token is not None:
        yield f"  If these assets were really removed, run the command again with --confirm-removals {held_back.token}"


def _to_sync(summary: "IngestSummary") -> Iterator[str]:
    """Return lines that say, after an ingest, what a sync would change."""
    changed, absent = summary.total("changed"), summary.total("absent")
    if summary.mode != "ingest" or not changed + absent:
        return
    told = [f"{changed:,} known {'item has' if changed == 1 else 'items have'} changed"] if changed else []
    told += [f"{absent:,} {'is' if absent == 1 else 'are'} absent at the source"] if absent else []
    yield ""
    yield f"{' and '.join(told)}; `retrovue source sync {shlex.quote(summary.source.external_id)}` takes that over"


def _skipped(outcomes: "Sequence[Skipped]") -> list[str]:
    shared: dict[str, list[str]] = {}
    for outcome in outcomes:
        shared.setdefault(outcome.reason, []).append(outcome.collection.name)
    lines: list[str] = []
    for outcome in outcomes:
        names = shared[outcome.reason]
        if len(names) <= _NAMED:
            lines.append(f"  {outcome.collection.name}: {outcome.reason}")
        elif outcome.collection.name == names[0]:
            lines.append(f"  {_several(names)}: {outcome.reason}")
    return ["", f"Skipped collections ({len(outcomes)}):", *dict.fromkeys(lines)] if lines else []


def _failures(summary: "IngestSummary") -> list[str]:
    shared: dict[tuple[str, str, str | None], list[str]] = {}
    for outcome in summary.failed:
        word = "Interrupted" if outcome.interrupted else "Failed"
        in_label = summary.status == "error" and len(summary.failed) == 1 and not summary.interrupted
        message = "" if in_label else f": {outcome.message}"
        shared.setdefault((word, f"{message} [{outcome.code}]", outcome.hint), []).append(outcome.collection.name)
    lines: list[str] = []
    for (word, message, hint), names in shared.items():
        lines.append(Styled(f"{word}: {_several(names)}{message}", "bad"))
        lines += [f"  {hint}"] if hint else []
    return ["", *lines] if lines else []


def _several(names: Sequence[str]) -> str:
    named = ", ".join(names[:_NAMED])
    return named if len(names) <= _NAMED else f"{named} and {len(names) - _NAMED} more"


def _problem(problem: Problem) -> list[str]:
    return [f"Error: {problem.message}", *([f"  {problem.hint}"] if problem.hint else [])]
