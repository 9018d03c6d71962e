"""The JSON documents of an ingest: the summary of a run, and what the commands that ingest add to it.

Their schemas are in docs/reference/json. They hold only strings, numbers, booleans, None, lists and dictionaries.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict, fields

from retrovue.core.errors import Problem
from retrovue.core.guide import advice
from retrovue.core.model import Collection, Source
from retrovue.core.pages import Rejection
from retrovue.core.results import (
    CollectionOutcome,
    Counts,
    Durations,
    Enriched,
    Failed,
    HeldBack,
    Ingested,
    IngestSummary,
    Listed,
    Named,
    Read,
    Reading,
    Skipped,
)
from retrovue.core.runs import Mode, Scope
from retrovue.core.verdicts import ADDED, ADDED_COUNTS, COUNTS, VERDICTS, Entries

TOTALS = {
    "total_discovered": "discovered",
    **{verdict.total: verdict.count for verdict in VERDICTS if verdict.total is not None and not verdict.added},
    "total_failed_enrichments": "failed_enrichments",
    "total_source_items": "source_items",
}
"""The key of each total of a run, and the count that it sums over the collections."""
ADDED_TOTALS = {kind.total: kind.count for kind in ADDED if kind.total is not None}
"""Further totals, which come last."""
FIRST_TOTALS = ("total_created_assets", "total_skipped_assets", "total_duplicates")
"""The totals that come before the results, as the contract says; the others come after the results."""
DURATIONS = tuple(duration.name for duration in fields(Durations))
"""The keys of the durations of a collection."""


def summary_document(summary: IngestSummary, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    """Build the JSON object of a summary, as ``retrovue source ingest --json`` prints it.

    ``problems`` are problems that don't belong to a collection.
    """
    status = "partial" if summary.ingested else "error"
    lost = summary.lost if summary.strict else ()
    return _run_document(
        status=status if problems else summary.status,
        source=source_identity(summary.source),
        processed=summary.processed,
        totals={key: summary.total(count) for key, count in (TOTALS | ADDED_TOTALS).items()},
        results=[outcome_document(outcome) for outcome in summary.outcomes],
        errors=[
            *(_failure(outcome) for outcome in summary.failed),
            *(removals_held_back(outcome) for outcome in summary.held_back),
            *interruptions(summary),
            *(_loss(outcome) for outcome in lost),
            *problems,
        ],
        run={"run_id": str(summary.run_id), "dry_run": summary.dry_run, "strict": summary.strict},
        duration=round(summary.duration, 3),
        mode=summary.mode,
        atomic=summary.atomic,
    )


def collection_ingest_document(
    summary: IngestSummary, collection: Collection, scope: Scope, problems: Sequence[Problem] = ()
) -> dict[str, Any]:
    """Build the object of a collection ingest: that of the summary, with the collection and the scope."""
    document = summary_document(summary, problems)
    return {
        "status": document.pop("status"),
        "source": document.pop("source"),
        "collection": {**collection_identity(collection), "kind": collection.kind},
        "scope": asdict(scope),
        **document,
    }


def failed_ingest_document(
    reference: str | None,
    problems: Sequence[Problem],
    *,
    source: Source | None = None,
    dry_run: bool = False,
    strict: bool = False,
    mode: Mode = "ingest",
    atomic: bool = False,
) -> dict[str, Any]:
    """Build the object of a source ingest that didn't begin. The collections that ``problems`` name count as skipped.

    ``reference`` is the reference that was given for the source. It replaces the name of a source that wasn't found.
    """
    unknown = {"id": None, "external_id": None, "name": reference, "type": None}
    return _run_document(
        status="error",
        source=unknown if source is None else source_identity(source),
        processed=0,
        totals=dict.fromkeys(TOTALS | ADDED_TOTALS, 0),
        results=[
            {**{key: entry.get(key) for key in ("id", "external_id", "name", "kind")}, **_skipped(entry)}
            for problem in problems
            for entry in _not_eligible(problem)
        ],
        errors=problems,
        run={"run_id": None, "dry_run": dry_run, "strict": strict},
        duration=0.0,
        mode=mode,
        atomic=atomic,
    )


def _not_eligible(problem: Problem) -> list[Mapping[str, Any]]:
    collections = problem.context.get("collections")
    return collections if isinstance(collections, list) else []


def _run_document(
    *,
    status: str,
    source: Mapping[str, Any],
    processed: int,
    totals: Mapping[str, int],
    results: Sequence[Mapping[str, Any]],
    errors: Sequence[Problem],
    run: Mapping[str, Any],
    duration: float,
    mode: Mode,
    atomic: bool,
) -> dict[str, Any]:
    # The keys and their order are the same for every run.
    return {
        "status": status,
        "source": source,
        "collections_processed": processed,
        **{key: totals[key] for key in FIRST_TOTALS},
        "collection_results": results,
        "errors": [problem.document() for problem in errors],
        **run,
        **{key: totals[key] for key in TOTALS if key not in FIRST_TOTALS},
        "duration_seconds": duration,
        "mode": mode,
        **{key: totals[key] for key in ADDED_TOTALS},
        "atomic": atomic,
    }


def source_identity(source: Source) -> dict[str, Any]:
    """Build the keys that identify a source."""
    return {"id": str(source.id), "external_id": source.external_id, "name": source.name, "type": source.type}


def collection_identity(collection: Collection) -> dict[str, Any]:
    """Build the keys that identify a collection."""
    return {"id": str(collection.id), "external_id": collection.external_id, "name": collection.name}


def outcome_document(outcome: CollectionOutcome) -> dict[str, Any]:
    """Build the JSON object of a collection's outcome. The keys are the same for every outcome."""
    collection = outcome.collection
    identity = {**collection_identity(collection), "kind": collection.kind}
    read: Read | None
    match outcome:
        case Skipped():
            return {**identity, **_skipped({"code": outcome.code, "reason": outcome.reason})}
        case Ingested():
            status, enriched = _status("ingested"), outcome.enriched
            read, held_back, reading = outcome.read, outcome.held_back, outcome.reading
        case Failed():
            enriched, read, held_back, reading = None, None, None, None
            status = _status(
                "interrupted" if outcome.interrupted else "failed",
                code=outcome.code,
                message=outcome.message,
                hint=outcome.hint,
            )
    return {
        **identity,
        **status,
        **_numbers(outcome.counts, outcome.listed, outcome.durations, enriched),
        **_sync(outcome.counts, outcome.listed, read, held_back, reading),
    }


def _status(
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


def _skipped(entry: Mapping[str, Any]) -> dict[str, Any]:
    code = entry.get("code")
    status = _status("skipped", code=code, reason=entry.get("reason"), hint=None if code is None else advice(code))
    return {
        **status,
        **_numbers(Counts(), Listed(), Durations(), None),
        **_sync(Counts(), Listed(), None, None, None),
    }


def _numbers(counts: Counts, listed: Listed, durations: Durations, enriched: Enriched | None) -> dict[str, Any]:
    spent = {name: round(getattr(durations, name), 3) for name in DURATIONS}
    numbers = {count: getattr(counts, count) for count in COUNTS if count not in ADDED_COUNTS}
    return {**numbers, **_lists(listed), "durations": spent, "enrichment": enrichment_document(enriched)}


def _sync(
    counts: Counts, listed: Listed, read: Read | None, held_back: HeldBack | None, reading: Reading | None
) -> dict[str, Any]:
    """Build the keys that were added for syncs; they come after the others."""
    return {
        **{count: getattr(counts, count) for count in ADDED_COUNTS},
        **{
            kind.entries.key: [_entry(kind.entries, entry) for entry in getattr(listed, kind.count)]
            for kind in ADDED
            if kind.entries is not None
        },
        "ambiguous_relink_items": [_named(entry) for entry in listed.ambiguous_relinks],
        "read": read,
        "held_back": None if held_back is None else _held_back(held_back),
        "reading": None if reading is None else reading.document(),
    }


def _held_back(held_back: HeldBack) -> dict[str, Any]:
    return {
        "guards": [{"code": guard.code, "reason": guard.reason} for guard in held_back.guards],
        "number": held_back.number,
        "items": [_named(entry) for entry in held_back.items],
        "token": held_back.token,
    }


def removals_held_back(outcome: Ingested) -> Problem:
    """Make the problem of a collection with removals that guards held back: the reason, and how to confirm them."""
    held_back, collection = outcome.held_back, outcome.collection
    if held_back is None:
        raise AssertionError("nothing was held back")
    reasons = " ".join(guard.reason for guard in held_back.guards)
    confirm = f"confirm them with --confirm-removals {held_back.token}"
    return Problem(
        "removals_held_back",
        f"{held_back.number} removals of {collection.display_name} were held back: {reasons}",
        f"Check the list. If these assets were really removed, {confirm}." if held_back.token else None,
        {"number": held_back.number, "guards": [guard.code for guard in held_back.guards], "token": held_back.token},
        collection_identity(collection),
    )


def enrichment_document(enriched: Enriched | None) -> dict[str, Any] | None:
    """Build the object of a collection's enrichment; None if the collection has no enricher."""
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
        if verdict.entries is not None and not verdict.added
    }
    return {
        **lists,
        "failed_enrichment_items": [dict(failure) for failure in listed.failed_enrichments],
        "warning_counts": dict(sorted(listed.warnings.items())),
    }


def _entry(entries: Entries, entry: Named | Rejection) -> str | dict[str, Any]:
    if isinstance(entry, Rejection):
        return {key: getattr(entry, key) for key in ("title", "source_uri", "code", "reason")}
    if entries.detail is None:
        return entry.title
    return {"title": entry.title, "source_uri": entry.source_uri, entries.detail: entry.detail}


def _named(entry: Named) -> dict[str, Any]:
    return {"title": entry.title, "source_uri": entry.source_uri, "detail": entry.detail}


def _failure(outcome: Failed) -> Problem:
    return Problem(
        outcome.code, outcome.message, outcome.hint, outcome.context, collection_identity(outcome.collection)
    )


def interruptions(summary: IngestSummary) -> list[Problem]:
    """List a problem for each enrichment that was interrupted."""
    if not summary.interrupted:
        return []
    return [
        enrichment_interrupted(outcome.collection, outcome.enriched)
        for outcome in summary.ingested
        if outcome.enriched is not None and outcome.enriched.interrupted
    ]


def enrichment_interrupted(collection: Collection, enriched: Enriched) -> Problem:
    """Make the problem of an interrupted enrichment; it says how many enrichments are owed."""
    owed = "an unknown number" if enriched.owed is None else f"{enriched.owed}"
    return Problem(
        "enrichment_interrupted",
        f"The enrichment of {collection.display_name} was interrupted: {owed} are still owed.",
        context={"owed": enriched.owed},
        collection=collection_identity(collection),
    )


def enrichments_failed(collection: Collection, enriched: Enriched) -> Problem:
    """Make the problem of an enrichment that ran and failed for some assets."""
    tried = enriched.failed + enriched.succeeded
    return Problem(
        "enrichments_failed",
        f"{enriched.failed} of {tried} enrichments of {collection.display_name} failed.",
        context={"failed": enriched.failed, "succeeded": enriched.succeeded},
        collection=collection_identity(collection),
    )


def lost_reason(outcome: Skipped) -> str:
    """Return why an enabled collection was skipped."""
    return f"Collection {outcome.collection.display_name} is enabled but was skipped: {outcome.reason}"


def _loss(outcome: Skipped) -> Problem:
    return Problem(outcome.code, lost_reason(outcome), collection=collection_identity(outcome.collection))
