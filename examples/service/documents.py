"""Events and summaries as JSON."""

import json
from typing import Any

from retrovue import (
    Collection,
    CollectionFinished,
    CollectionOutcome,
    CollectionStarted,
    Event,
    Failed,
    Ingested,
    IngestSummary,
    Progress,
    RunFinished,
    RunStarted,
)


def written(event: Event) -> str:
    """Write an event as the event stream wants it: its kind, and its data as one line."""
    kind, data = event_document(event)
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def event_document(event: Event) -> tuple[str, dict[str, Any]]:
    """Name an event and show it as JSON."""
    match event:
        case RunStarted():
            return "run_started", {"id": str(event.run_id), "collections": [_known(one) for one in event.collections]}
        case CollectionStarted():
            return "collection_started", _known(event.collection)
        case Progress():
            counts = {"read": event.discovered, "rejected": event.rejected, "rate": round(event.rate)}
            return "progress", {**_known(event.collection), **counts}
        case CollectionFinished():
            return "collection_finished", outcome_document(event.outcome)
        case RunFinished():
            return "run_finished", summary_document(event.summary)


def summary_document(summary: IngestSummary) -> dict[str, Any]:
    """Show a run as JSON."""
    outcomes = [outcome_document(outcome) for outcome in summary.outcomes]
    return {"id": str(summary.run_id), "status": summary.status, "collections": outcomes}


def outcome_document(outcome: CollectionOutcome) -> dict[str, Any]:
    """Show what a collection came to as JSON."""
    known = _known(outcome.collection)
    match outcome:
        case Ingested(counts=counts):
            return {**known, "outcome": "ingested", "created": counts.created, "skipped": counts.skipped}
        case Failed(code=code, message=message):
            return {**known, "outcome": "failed", "code": code, "message": message}
        case _:
            return {**known, "outcome": "skipped", "code": outcome.code, "message": outcome.reason}


def _known(collection: Collection) -> dict[str, Any]:
    return {"collection": collection.name, "collection_id": str(collection.id)}
