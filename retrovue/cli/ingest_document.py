"""The JSON documents of source ingest and collection ingest."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from retrovue.cli.errors import Problem
from retrovue.cli.session import problem_fields
from retrovue.cli.text import without_passwords

if TYPE_CHECKING:
    from retrovue.model import Collection, Rejection, Scope, Source
    from retrovue.results import CollectionOutcome, Enriched, Failed, Ingested, IngestSummary, Named, Skipped

TOTALS = {
    "total_created_assets": "created",
    "total_skipped_assets": "skipped",
    "total_duplicates": "duplicates",
    "total_discovered": "discovered",
    "total_rejected": "rejected",
    "total_relocated": "relocated",
    "total_failed_enrichments": "failed_enrichments",
    "total_source_items": "source_items",
}
"""The key of each total, and the count of a collection that it adds up."""
_FIRST_TOTALS = ("total_created_assets", "total_skipped_assets", "total_duplicates")
_COUNTS = (
    "source_items",
    "discovered",
    "created",
    "skipped",
    "duplicates",
    "rejected",
    "relocated",
    "soft_deleted",
    "warnings",
    "failed_enrichments",
)
_NOT_INGESTED: dict[str, Any] = {
    **dict.fromkeys(_COUNTS, 0),
    "created_titles": [],
    "duplicate_candidates": [],
    "rejected_items": [],
    "relocated_items": [],
    "soft_deleted_items": [],
    "failed_enrichment_items": [],
    "warning_counts": {},
    "durations": {"total": 0.0, "waiting_for_source": 0.0, "staging": 0.0, "merging": 0.0},
    "enrichment": None,
}


def source_ingest(summary: "IngestSummary", more: Sequence[Problem] = ()) -> dict[str, Any]:
    """Build the document of a source ingest that came to a summary; ``more`` went wrong besides the collections."""
    lost = summary.lost if summary.strict else ()
    errors = [*(_failure(outcome) for outcome in summary.failed), *(_loss(outcome) for outcome in lost), *more]
    return _document(
        status=status_of(summary, more),
        source=source_identity(summary.source),
        processed=summary.processed,
        totals={key: summary.total(count) for key, count in TOTALS.items()},
        results=[result(outcome) for outcome in summary.outcomes],
        errors=errors,
        run={
            "run_id": str(summary.run_id),
            "dry_run": summary.dry_run,
            "strict": summary.strict,
        },
        duration=round(summary.duration, 3),
    )


def collection_ingest(
    summary: "IngestSummary", collection: "Collection", scope: "Scope", more: Sequence[Problem] = ()
) -> dict[str, Any]:
    """Build the document of a collection ingest: that of a source ingest, with the collection and the scope."""
    document = source_ingest(summary, more)
    asked = {
        "status": document.pop("status"),
        "source": document.pop("source"),
        "collection": {**collection_identity(collection), "kind": collection.kind},
        "scope": {"title": scope.title, "season": scope.season, "episode": scope.episode},
    }
    return asked | document


def status_of(summary: "IngestSummary", more: Sequence[Problem] = ()) -> str:
    """Say how the run went, counting in what went wrong besides the collections."""
    if not more or summary.status == "error":
        return summary.status
    return "partial" if summary.ingested else "error"


def failed_source_ingest(
    asked: str | None,
    problems: Sequence[Problem],
    *,
    source: "Source | None" = None,
    dry_run: bool = False,
    strict: bool = False,
) -> dict[str, Any]:
    """Build the document of a source ingest that came to nothing; the collections it names count as skipped."""
    skipped = [entry for problem in problems for entry in _skipped(problem)]
    unknown = {"id": None, "external_id": None, "name": asked, "type": None}
    return _document(
        status="error",
        source=unknown if source is None else source_identity(source),
        processed=0,
        totals=dict.fromkeys(TOTALS, 0),
        results=skipped,
        errors=problems,
        run={"run_id": None, "dry_run": dry_run, "strict": strict},
        duration=0.0,
    )


def _document(
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
    return {
        "status": status,
        "source": source,
        "collections_processed": processed,
        **{key: totals[key] for key in _FIRST_TOTALS},
        "collection_results": results,
        "errors": [problem_fields(problem) for problem in errors],
        **run,
        **{key: total for key, total in totals.items() if key not in _FIRST_TOTALS},
        "duration_seconds": duration,
    }


def source_identity(source: "Source") -> dict[str, Any]:
    """Identify a source."""
    return {"id": str(source.id), "external_id": source.external_id, "name": source.name, "type": source.type}


def collection_identity(collection: "Collection") -> dict[str, Any]:
    """Identify a collection."""
    return {"id": str(collection.id), "external_id": collection.external_id, "name": collection.name}


def result(outcome: "CollectionOutcome") -> dict[str, Any]:
    """Build the object of one collection; all have the same keys."""
    from retrovue.results import Failed, Ingested

    collection = outcome.collection
    who = {**collection_identity(collection), "kind": collection.kind}
    if isinstance(outcome, Ingested):
        return {**who, **_fate("ingested"), **_numbers(outcome), "enrichment": enrichment(outcome.enriched)}
    if isinstance(outcome, Failed):
        fate = _fate(
            "interrupted" if outcome.interrupted else "failed",
            code=outcome.code,
            message=without_passwords(outcome.message),
            hint=outcome.hint,
        )
        return {**who, **fate, **_numbers(outcome), "enrichment": None}
    return {**who, **_skip(outcome.code, outcome.reason), **_NOT_INGESTED}


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


def _skip(code: str | None, reason: str | None) -> dict[str, Any]:
    return _fate("skipped", code=code, reason=reason)


def _skipped(problem: Problem) -> list[dict[str, Any]]:
    """Build the objects of the collections that an error names as not eligible."""
    found = problem.context.get("collections")
    return [
        {
            "id": entry.get("id"),
            "external_id": entry.get("external_id"),
            "name": entry.get("name"),
            "kind": entry.get("kind"),
            **_skip(entry.get("code"), entry.get("reason")),
            **_NOT_INGESTED,
        }
        for entry in (found if isinstance(found, list) else [])
    ]


def _numbers(outcome: "Ingested | Failed") -> dict[str, Any]:
    return {
        **{count: getattr(outcome.counts, count) for count in _COUNTS},
        **_lists(outcome),
        "durations": _durations(outcome),
    }


def enrichment(enriched: "Enriched | None") -> dict[str, Any] | None:
    """Build the object that says what the enrichment of a collection came to; None where it has no enricher."""
    if enriched is None:
        return None
    return {
        "succeeded": enriched.succeeded,
        "failed": enriched.failed,
        "owed": enriched.owed,
        "interrupted": enriched.interrupted,
        "problem": None if enriched.problem is None else without_passwords(enriched.problem),
        "duration": round(enriched.duration, 3),
    }


def _lists(outcome: "Ingested | Failed") -> dict[str, Any]:
    listed = outcome.listed
    return {
        "created_titles": [named.title for named in listed.created],
        "duplicate_candidates": [_named(named, "duplicate_of") for named in listed.duplicates],
        "rejected_items": [_rejection(rejection) for rejection in listed.rejected],
        "relocated_items": [_named(named, "now_at") for named in listed.relocated],
        "soft_deleted_items": [_named(named, "detail") for named in listed.soft_deleted],
        "failed_enrichment_items": [dict(failure) for failure in listed.failed_enrichments],
        "warning_counts": dict(sorted(listed.warnings.items())),
    }


def _named(named: "Named", detail: str) -> dict[str, Any]:
    return {"title": named.title, "source_uri": named.source_uri, detail: named.detail}


def _rejection(rejection: "Rejection") -> dict[str, Any]:
    return {
        "title": rejection.title,
        "source_uri": rejection.source_uri,
        "code": rejection.code,
        "reason": rejection.reason,
    }


def _durations(outcome: "Ingested | Failed") -> dict[str, float]:
    spent = outcome.durations
    return {
        "total": round(spent.total, 3),
        "waiting_for_source": round(spent.waiting_for_source, 3),
        "staging": round(spent.staging, 3),
        "merging": round(spent.merging, 3),
    }


def _failure(outcome: "Failed") -> Problem:
    return Problem(
        outcome.code,
        without_passwords(outcome.message),
        outcome.hint,
        outcome.context,
        collection_identity(outcome.collection),
    )


def lost_reasons(outcomes: Sequence["Skipped"]) -> list[str]:
    """Say of each enabled collection that was skipped because it can't be ingested now, why."""
    return [
        _lost_reason(outcome)
        for outcome in outcomes
        if outcome.collection.sync_enabled and outcome.code != "not_failed"
    ]


def _lost_reason(outcome: "Skipped") -> str:
    return f"Collection {outcome.collection.name!r} is enabled but was skipped: {outcome.reason}"


def _loss(outcome: "Skipped") -> Problem:
    return Problem(outcome.code, _lost_reason(outcome), collection=collection_identity(outcome.collection))
