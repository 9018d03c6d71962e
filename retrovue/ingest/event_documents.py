"""The JSON objects of events, as ``--jsonl`` prints them."""

from typing import Any

from retrovue.core.model import Collection
from retrovue.ingest.documents import collection_identity, outcome_document, source_identity, summary_document
from retrovue.ingest.events import (
    CollectionFinished,
    CollectionStarted,
    Enriching,
    Event,
    Progress,
    RunFinished,
    RunStarted,
)


def event_document(event: Event) -> dict[str, Any]:
    """Build the JSON object of an event, as ``--jsonl`` prints it.

    Its ``type`` is ``started``, ``collection_started``, ``progress``, ``outcome`` (one for each collection),
    ``enriching`` or ``summary`` (the last).
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
            return {
                "type": "collection_started",
                "collection": collection_identity(event.collection),
                "source": _owner(event.collection),
            }
        case Progress():
            return {
                "type": "progress",
                "collection": collection_identity(event.collection),
                "source_items": event.source_items,
                "discovered": event.discovered,
                "rejected": event.rejected,
                "seconds": round(event.seconds, 3),
                "items_per_second": round(event.rate, 1),
                "source": _owner(event.collection),
                "source_total": event.source_total,
                "seconds_left": None if event.seconds_left is None else round(event.seconds_left, 1),
                "phase": event.phase,
            }
        case Enriching():
            return {
                "type": "enriching",
                "collection": collection_identity(event.collection),
                "source": _owner(event.collection),
                "succeeded": event.succeeded,
                "failed": event.failed,
                "total": event.total,
                "seconds": round(event.seconds, 3),
                "ended": event.ended,
            }
        case CollectionFinished():
            return {
                "type": "outcome",
                **outcome_document(event.outcome),
                "source": _owner(event.outcome.collection),
            }
        case RunFinished():
            return {"type": "summary", **summary_document(event.summary)}


def _owner(collection: Collection) -> dict[str, Any]:
    """Build the keys that identify the source of a collection."""
    return {"id": str(collection.source_id), "name": collection.source_name}
