"""The audit trail: which runs there were, and all that is known of one."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import COLUMNS, table, words
from retrovue.core.errors import NotFound
from retrovue.core.model import Collection, Rejection
from retrovue.core.text import redact
from retrovue.core.verdicts import HEADINGS
from retrovue.ingest.documents import DURATIONS
from retrovue.store.collections import find_collection
from retrovue.store.log import LogEntry, list_log, list_rejections
from retrovue.store.sources import find_source, get_source

_HEADS = ("Collection", "Status", *HEADINGS.values())
_INDENT = "  "

Rejections = Mapping[UUID, Sequence[Rejection]]
"""Of each collection, by its id."""


async def show_log(call: Invocation, source: str | None, collection: str | None, run: UUID | None, limit: int) -> int:
    """List the audit trail of a source, a collection, a run or all."""
    async with opened(call) as store, store.transaction() as session:
        within = None if source is None else await find_source(session, source)
        of = None if collection is None else await find_collection(session, collection, within)
        listing = await list_log(session, source=within, collection=of, run=run, limit=limit)
    entries = listing.entries
    if call.output.as_json:
        fields = [{**_run_fields(entry), **_entry_fields(entry)} for entry in entries]
        call.output.document({"status": "ok", "total": listing.total, "limit": limit, "entries": fields})
        return 0
    if not listing.total:
        call.output.lines(["Nothing has been ingested yet."])
        return 0
    lines: list[str] = []
    for _, group in groupby(entries, key=lambda entry: entry.run_id):
        lines += [*_run_lines(list(group)), ""]
    call.output.lines([*lines, f"{len(entries)} of {listing.total} entries"])
    return 0


def _run_lines(entries: Sequence[LogEntry]) -> Iterator[str]:
    first = entries[0]
    started = min(entry.started_at for entry in entries)
    yield f"Run {first.run_id}"
    yield f"{_time(started)}, {first.source_name}, {_trigger(first)}"
    yield from table(_HEADS, [_row(entry) for entry in entries], numbers=range(2, len(_HEADS)))
    yield from (f"{_INDENT}{entry.collection_name}: {entry.code}" for entry in entries if entry.code is not None)


def _row(entry: LogEntry) -> tuple[object, ...]:
    # A failure brings counts where nothing could be used, else it has none.
    counted = entry.status == "ingested" or entry.counts["discovered"]
    return (
        entry.collection_name,
        entry.status,
        *(entry.counts[count] if counted else None for count in HEADINGS),
    )


def _time(moment: dt.datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")


def _trigger(entry: LogEntry) -> str:
    scope = [
        f"{part} {entry.scope[part]!r}" for part in ("title", "season", "episode") if entry.scope.get(part) is not None
    ]
    return ", ".join(["in bulk" if entry.trigger == "source" else "by hand", *scope])


async def show_run(call: Invocation, run: UUID, collection: str | None, *, traceback: bool) -> int:
    """Show one run."""
    async with opened(call) as store, store.transaction() as session:
        entries = (await list_log(session, run=run, limit=None)).entries
        of = None
        if collection is not None:
            of = await find_collection(session, collection, await get_source(session, entries[0].source_id))
            entries = _only(entries, of)
        rejections: dict[UUID, list[Rejection]] = {}
        for where, rejection in await list_rejections(session, run, collection=of):
            rejections.setdefault(where, []).append(rejection)
    if call.output.as_json:
        fields = [_details_fields(entry, rejections.get(entry.collection_id, [])) for entry in entries]
        call.output.document({"status": "ok", **_run_fields(entries[0]), "collections": fields})
        return 0
    lines = [*_run_lines(entries), "", f"RetroVue {entries[0].version}, started by {entries[0].started_by}"]
    for entry in entries:
        lines += ["", *_details(entry, rejections.get(entry.collection_id, []), traceback=traceback)]
    call.output.lines(lines)
    return 0


def _only(entries: Sequence[LogEntry], collection: Collection) -> tuple[LogEntry, ...]:
    found = tuple(entry for entry in entries if entry.collection_id == collection.id)
    if not found:
        raise NotFound(
            f"Run {entries[0].run_id} didn't ingest collection {collection.name!r}.",
            code="collection_not_in_run",
            hint="Leave out --collection to see which ones it did.",
            context={"run": str(entries[0].run_id), "collection": str(collection.id)},
        )
    return found


def _details(entry: LogEntry, rejected: Sequence[Rejection], *, traceback: bool) -> Iterator[str]:
    ended = "not ended" if entry.ended_at is None else f"ended {_time(entry.ended_at)}"
    yield f"{entry.collection_name}: {entry.status}"
    yield f"{_INDENT}Started {_time(entry.started_at)}, {ended}"
    if entry.message is not None:
        yield f"{_INDENT}{redact(entry.message)} [{entry.code}]"
    if entry.hint is not None:
        yield f"{_INDENT}{redact(entry.hint)}"
    counts = [f"{name.replace('_', ' ')} {number}" for name, number in entry.counts.items() if number]
    if counts:
        yield from _wrapped(f"Counts: {', '.join(counts)}")
    durations = [f"{name.replace('_', ' ')} {seconds:.3f} s" for name, seconds in _durations(entry).items()]
    if durations:
        yield from _wrapped(f"Durations: {', '.join(durations)}")
    warnings = [f"{name} {number}" for name, number in sorted((entry.details.get("warnings") or {}).items())]
    if warnings:
        yield from _wrapped(f"Warnings: {', '.join(warnings)}")
    if entry.enrichment is not None:
        yield from _enrichment(entry.enrichment)
    if rejected:
        yield f"{_INDENT}Rejected ({len(rejected)}):"
        yield from (f"{_INDENT * 2}{one.title or one.source_uri or 'untitled'}: {one.reason}" for one in rejected)
    text = _traceback(entry)
    if traceback and text is not None:
        yield f"{_INDENT}Traceback:"
        yield from (f"{_INDENT * 2}{line}" for line in text.splitlines())


def _enrichment(enriched: Mapping[str, Any]) -> Iterator[str]:
    numbers = [f"{name} {enriched[name]}" for name in ("succeeded", "failed", "owed") if enriched[name] is not None]
    yield f"{_INDENT}Enrichment: {enriched['status']}, {', '.join(numbers)}"
    if enriched.get("problem"):
        yield f"{_INDENT * 2}{redact(enriched['problem'])}"
    for one in enriched.get("failures") or ():
        yield f"{_INDENT * 2}{one['asset']}: {one['enricher']}: {one['cause']}"


def _wrapped(text: str) -> Iterator[str]:
    for number, line in enumerate(words(text, COLUMNS - 2 * len(_INDENT))):
        yield f"{_INDENT * (2 if number else 1)}{line}"


def _durations(entry: LogEntry) -> dict[str, float]:
    spent = entry.details.get("durations") or {}
    return {name: round(spent[name], 3) for name in DURATIONS if name in spent}


def _traceback(entry: LogEntry) -> str | None:
    text: str | None = entry.details.get("traceback")
    return None if text is None else redact(text)


def _run_fields(entry: LogEntry) -> dict[str, Any]:
    return {
        "run_id": str(entry.run_id),
        "source": {"id": str(entry.source_id), "name": entry.source_name},
        "trigger": entry.trigger,
        "scope": {part: entry.scope.get(part) for part in ("title", "season", "episode")},
        "version": entry.version,
        "started_by": entry.started_by,
    }


def _entry_fields(entry: LogEntry) -> dict[str, Any]:
    return {
        "collection": {"id": str(entry.collection_id), "name": entry.collection_name},
        "status": entry.status,
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "code": entry.code,
        "message": None if entry.message is None else redact(entry.message),
        "hint": None if entry.hint is None else redact(entry.hint),
        **entry.counts,
    }


def _details_fields(entry: LogEntry, rejected: Sequence[Rejection]) -> dict[str, Any]:
    return {
        **_entry_fields(entry),
        "durations": _durations(entry),
        "warning_counts": entry.details.get("warnings") or {},
        "context": entry.details.get("context") or {},
        "traceback": _traceback(entry),
        "enrichment": entry.enrichment,
        "rejected_items": [
            {"title": one.title, "source_uri": one.source_uri, "code": one.code, "reason": one.reason}
            for one in rejected
        ],
    }
