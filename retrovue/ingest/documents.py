"""What an ingest tells, as JSON documents: its events while it is under way, and its summary."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from retrovue.core.errors import Problem
from retrovue.core.guide import advice
from retrovue.core.model import Collection, Rejection, Source
from retrovue.core.results import (
    CollectionOutcome,
    Counts,
    Durations,
    Enriched,
    Failed,
    Ingested,
    IngestSummary,
    Listed,
    Named,
    Skipped,
)
from retrovue.core.verdicts import VERDICTS, Entries
from retrovue.ingest.events import CollectionFinished, CollectionStarted, Event, Progress, RunFinished, RunStarted

TOTALS = {
    "total_discovered": "discovered",
    **{verdict.total: verdict.count for verdict in VERDICTS if verdict.total is not None},
    "total_failed_enrichments": "failed_enrichments",
    "total_source_items": "source_items",
}
"""The key of each total of a run, and the count of its collections that is added up."""
FIRST_TOTALS = ("total_created_assets", "total_skipped_assets", "total_duplicates")
"""The totals of the contract, which come before the results; the others come after them."""
DURATIONS = ("total", "waiting_for_source", "reading", "enriching", "staging", "merging")
"""Where a collection's time went."""


def event_document(event: Event) -> dict[str, Any]:
    """Build the JSON object of an event, as ``--jsonl`` prints it: ``type`` says which one it is.

    ``started``, ``collection_started``, ``progress``, ``outcome`` for each collection, and ``summary``, the last.
    docs/reference/json has the schema. It holds strings, numbers, booleans, None, lists and dictionaries only.
    """
    match event:
        case RunStarted():
            return {
                "type": "started",
                "run_id": str(event.run_id),
                "source": source_identity(event.source),
                "collections": [collection_identity(collection) for collection in event.collections],
                "items_expected": event.items_expected,
            }
        case CollectionStarted():
            return {"type": "collection_started", "collection": collection_identity(event.collection)}
        case Progress():
            return {
                "type": "progress",
                "collection": collection_identity(event.collection),
                "source_items": event.source_items,
                "discovered": event.discovered,
                "rejected": event.rejected,
                "seconds": round(event.seconds, 3),
                "items_per_second": round(event.rate, 1),
            }
        case CollectionFinished():
            return {"type": "outcome", **outcome_document(event.outcome)}
        case RunFinished():
            return {"type": "summary", **summary_document(event.summary)}


def summary_document(summary: IngestSummary) -> dict[str, Any]:
    """Build the JSON object of a summary, as ``retrovue source ingest --json`` prints it."""
    lost = summary.lost if summary.strict else ()
    return run_document(
        status=summary.status,
        source=source_identity(summary.source),
        processed=summary.processed,
        totals={key: summary.total(count) for key, count in TOTALS.items()},
        results=[outcome_document(outcome) for outcome in summary.outcomes],
        errors=[
            *(_failure(outcome) for outcome in summary.failed),
            *interruptions(summary),
            *(_loss(outcome) for outcome in lost),
        ],
        run={
            "run_id": str(summary.run_id),
            "dry_run": summary.dry_run,
            "strict": summary.strict,
        },
        duration=round(summary.duration, 3),
    )


def run_document(
    *,
    status: str,
    source: Mapping[str, Any],
    processed: int,
    totals: Mapping[str, int],
    results: Sequence[Mapping[str, Any]],
    errors: Sequence[Problem],
    run: Mapping[str, Any],
    duration: float,
) -> dict[str, Any]:
    """Put the document of a run together: all have the same keys, in this order."""
    return {
        "status": status,
        "source": source,
        "collections_processed": processed,
        **{key: totals[key] for key in FIRST_TOTALS},
        "collection_results": results,
        "errors": [problem.document() for problem in errors],
        **run,
        **{key: total for key, total in totals.items() if key not in FIRST_TOTALS},
        "duration_seconds": duration,
    }


def source_identity(source: Source) -> dict[str, Any]:
    """Identify a source."""
    return {"id": str(source.id), "external_id": source.external_id, "name": source.name, "type": source.type}


def collection_identity(collection: Collection) -> dict[str, Any]:
    """Identify a collection."""
    return {"id": str(collection.id), "external_id": collection.external_id, "name": collection.name}


def outcome_document(outcome: CollectionOutcome) -> dict[str, Any]:
    """Build the JSON object of what one collection came to; all have the same keys."""
    collection = outcome.collection
    who = {**collection_identity(collection), "kind": collection.kind}
    match outcome:
        case Skipped():
            return {**who, **skipped_document(outcome.code, outcome.reason)}
        case Ingested():
            fate, enriched = _fate("ingested"), outcome.enriched
        case Failed():
            enriched = None
            fate = _fate(
                "interrupted" if outcome.interrupted else "failed",
                code=outcome.code,
                message=outcome.message,
                hint=outcome.hint,
            )
    return {**who, **fate, **_numbers(outcome.counts, outcome.listed, outcome.durations, enriched)}


def _fate(
    status: str,
    *,
    code: str | None = None,
    reason: str | None = None,
    message: str | None = None,
    hint: str | None = None,
) -> dict[str, Any]:
    return {
        "status": status,
        "targeted": status != "skipped",
        "code": code,
        "reason": reason,
        "message": message,
        "hint": hint,
    }


def skipped_document(code: str | None, reason: str | None) -> dict[str, Any]:
    """Build what the object of a collection says that was skipped, but for which one it is."""
    fate = _fate("skipped", code=code, reason=reason, hint=None if code is None else advice(code))
    return {**fate, **_numbers(Counts(), Listed(), Durations(), None)}


def _numbers(counts: Counts, listed: Listed, durations: Durations, enriched: Enriched | None) -> dict[str, Any]:
    spent = {name: round(getattr(durations, name), 3) for name in DURATIONS}
    return {**asdict(counts), **_lists(listed), "durations": spent, "enrichment": enrichment(enriched)}


def enrichment(enriched: Enriched | None) -> dict[str, Any] | None:
    """Build the object that says what the enrichment of a collection came to; None where it has no enricher."""
    if enriched is None:
        return None
    return {
        "succeeded": enriched.succeeded,
        "failed": enriched.failed,
        "owed": enriched.owed,
        "interrupted": enriched.interrupted,
        "problem": None if enriched.problem is None else enriched.problem.message,
        "duration": round(enriched.duration, 3),
    }


def _lists(listed: Listed) -> dict[str, Any]:
    lists = {
        verdict.entries.key: [_entry(verdict.entries, entry) for entry in getattr(listed, verdict.count)]
        for verdict in VERDICTS
        if verdict.entries is not None
    }
    return {
        **lists,
        "failed_enrichment_items": [dict(failure) for failure in listed.failed_enrichments],
        "warning_counts": dict(sorted(listed.warnings.items())),
    }


def _entry(entries: Entries, entry: Named | Rejection) -> str | dict[str, Any]:
    if isinstance(entry, Rejection):
        names = ("title", "source_uri", "code", "reason")
        return {name: getattr(entry, name) for name in names}
    if entries.detail is None:
        return entry.title
    return {"title": entry.title, "source_uri": entry.source_uri, entries.detail: entry.detail}


def _failure(outcome: Failed) -> Problem:
    return Problem(
        outcome.code, outcome.message, outcome.hint, outcome.context, collection_identity(outcome.collection)
    )


def interruptions(summary: IngestSummary) -> list[Problem]:
    """Say which enrichments an interruption ended."""
    if not summary.interrupted:
        return []
    return [
        enrichment_interrupted(outcome.collection, outcome.enriched)
        for outcome in summary.ingested
        if outcome.enriched is not None and outcome.enriched.interrupted
    ]


def enrichment_interrupted(collection: Collection, enriched: Enriched) -> Problem:
    """Say that the enrichment of a collection was interrupted, and what is owed now."""
    owed = "an unknown number" if enriched.owed is None else f"{enriched.owed}"
    return Problem(
        "enrichment_interrupted",
        f"The enrichment of {collection.name!r} was interrupted: {owed} are still owed.",
        context={"owed": enriched.owed},
        collection=collection_identity(collection),
    )


def lost_reason(outcome: Skipped) -> str:
    """Say why a collection that is enabled was skipped."""
    return f"Collection {outcome.collection.name!r} is enabled but was skipped: {outcome.reason}"


def _loss(outcome: Skipped) -> Problem:
    return Problem(outcome.code, lost_reason(outcome), collection=collection_identity(outcome.collection))
