"""JSON objects of the content of the catalogue, as ``--json`` prints them. Their schemas are in docs/reference/json."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from retrovue.core.errors import Problem
from retrovue.core.model import AttachedEnricher, Collection, Enricher, Source
from retrovue.core.pages import Rejection
from retrovue.core.text import redact
from retrovue.core.verdicts import ADDED_COUNTS
from retrovue.ingest.documents import DURATIONS, TOTALS, collection_identity, source_identity
from retrovue.operations.catalogue import (
    AssetDetails,
    CollectionDetails,
    EnricherListing,
    LogEntry,
    LoggedRun,
    RunDetails,
    SourceListing,
)
from retrovue.operations.changes import Change
from retrovue.operations.discovery import Discovered
from retrovue.operations.listening import Listening
from retrovue.operations.reports import CollectionStatistics, Statistics
from retrovue.operations.schedules import ScheduleListing, ScheduleRun
from retrovue.operations.sync_times import SyncTimes


def source_document(source: Source) -> dict[str, Any]:
    """Build the object of a source. It lists the names of the credentials, not their values."""
    secrets = {
        name: {"kept": kind, "place": place}
        for name, (kind, place) in sorted((name, secret.kept) for name, secret in source.credentials.items())
    }
    config = {key: redact(value) if isinstance(value, str) else value for key, value in source.config.items()}
    return {**source_identity(source), "config": config, "credentials": sorted(source.credentials), "secrets": secrets}


def sync_times_document(times: SyncTimes) -> dict[str, Any]:
    """Build the object of the sync times of a source."""
    return {
        "grace_s": int(times.grace.total_seconds()),
        "sweep_every_s": int(times.sweep_every.total_seconds()),
        "full_every_s": int(times.full_every.total_seconds()),
        "tells_changes": times.tells_changes,
        "collections": [
            {
                **collection_identity(collection.collection),
                "swept_at": collection.swept_at,
                "full_at": collection.full_at,
                "next_sweep_at": collection.next_sweep_at,
                "next_full_at": collection.next_full_at,
            }
            for collection in times.collections
        ],
    }


def listening_document(listening: Listening) -> dict[str, Any]:
    """Build the object of the listening state of a source."""
    listener = listening.listener
    problem = (
        None
        if listener is None or listener.problem is None
        else {"code": listener.problem_code, "message": listener.problem}
    )
    heard_at = None if listener is None else listener.heard_at
    heard = None if listener is None else {"collection": listener.heard_library, "items": listener.heard_items}
    return {
        "offered": listening.offered,
        "active": listener is not None and listener.active,
        "host": None if listener is None else listener.host,
        "since": None if listener is None else listener.since,
        "problem": problem,
        "heard_at": heard_at,
        "heard": None if heard_at is None else heard,
    }


def source_listing_document(listing: SourceListing) -> dict[str, Any]:
    """Build the object of a source in a list."""
    return {
        **source_document(listing.source),
        "collections_count": listing.collections_count,
        "enabled_count": listing.enabled_count,
        "assets_count": listing.assets_count,
    }


def collection_document(collection: Collection) -> dict[str, Any]:
    """Build the object of a collection."""
    return {
        "id": str(collection.id),
        "external_id": collection.external_id,
        "name": collection.name,
        "kind": collection.kind,
        "source_id": str(collection.source_id),
        "sync_enabled": collection.sync_enabled,
        "ingestible": collection.ingestible,
        "not_ingestible_reason": collection.not_ingestible_reason,
        "locations": list(collection.locations),
        "path_mappings": [asdict(mapping) for mapping in collection.path_mappings],
        "assets_count": collection.assets_count,
        "last_ingest_at": collection.last_ingest_at,
        "check_files": collection.check_files,
        "keep_approval": collection.keep_approval,
        "source_name": collection.source_name,
    }


def collection_details_document(details: CollectionDetails) -> dict[str, Any]:
    """Build the object of a collection with its enrichers."""
    attached = [attached_enricher_document(enricher) for enricher in details.enrichers]
    return {**collection_document(details.collection), "enrichers": attached}


def discovery_document(discovered: Discovered) -> dict[str, Any]:
    """Build the part of a discovery's object that doesn't describe the source."""
    return {
        "total": len(discovered.collections),
        "collections": [collection_document(collection) for collection in discovered.collections],
        "added": list(discovered.added),
        "updated": list(discovered.updated),
        "gone": list(discovered.gone),
        "unsupported": discovered.unsupported,
        "renamed": [{"before": before, "now": now} for before, now in discovered.renamed],
        "remade": [
            {"collection": str(found.before.id), "before": found.before.external_id, "now": found.external_id}
            for found in discovered.remade
        ],
        "unidentified": list(discovered.unidentified),
        "locations_hidden": list(discovered.locations_hidden),
    }


def all_sources_document(
    sources: Sequence[Mapping[str, Any]],
    problems: Sequence[Problem] = (),
    *,
    status: str,
    dry_run: bool,
    strict: bool,
    duration: float = 0.0,
) -> dict[str, Any]:
    """Build the object of an ingest of all sources.

    ``sources`` hold ``source``, ``discovered``, ``skipped`` and ``ingest``, the object of the source's ingest.
    ``problems`` are problems that don't belong to a source.
    """
    ingests = [entry["ingest"] for entry in sources if entry["ingest"] is not None]
    return {
        "status": status,
        "total": len(sources),
        "collections_processed": sum(ingest["collections_processed"] for ingest in ingests),
        **{key: sum(ingest[key] for ingest in ingests) for key in TOTALS},
        "sources": list(sources),
        "errors": [problem.document() for problem in problems],
        "dry_run": dry_run,
        "strict": strict,
        "duration_seconds": duration,
    }


def changes_document(discovered: Discovered) -> dict[str, Any]:
    """Build the part of the object of an ingest of all sources that describes a source's discovery."""
    document = discovery_document(discovered)
    return {key: document[key] for key in ("added", "updated", "renamed", "gone", "unsupported")}


def enricher_document(enricher: Enricher) -> dict[str, Any]:
    """Build the object of an enricher."""
    return {
        "id": str(enricher.id),
        "external_id": enricher.external_id,
        "name": enricher.name,
        "type": enricher.type,
        "parameters": dict(enricher.config),
    }


def attached_enricher_document(attached: AttachedEnricher) -> dict[str, Any]:
    """Build the object of an enricher of a collection."""
    return {**enricher_document(attached.enricher), "priority": attached.priority}


def enricher_listing_document(listing: EnricherListing) -> dict[str, Any]:
    """Build the object of an enricher with its collections and results."""
    return {
        **enricher_document(listing.enricher),
        "collections": [
            {"id": str(key), "name": name, "priority": priority} for key, name, priority in listing.collections
        ],
        "succeeded": listing.succeeded,
        "failed": listing.failed,
    }


def statistics_document(numbers: Statistics) -> dict[str, Any]:
    """Build the keys of statistics: the totals by type and state, and each collection."""
    return {
        "total": len(numbers.collections),
        "source": None if numbers.source is None else source_identity(numbers.source),
        "totals": _totals(numbers.collections),
        "groups": [asdict(group) for group in numbers.groups],
        "collections": [
            {
                "id": str(collection.collection.id),
                "name": collection.collection.name,
                "kind": collection.collection.kind,
                "source": {"id": str(collection.collection.source_id), "name": collection.collection.source_name},
                "sync_enabled": collection.collection.sync_enabled,
                **_totals([collection]),
                "groups": [asdict(group) for group in collection.groups],
                "last_run": None if collection.last_run is None else asdict(collection.last_run),
                "last_ingest_at": collection.collection.last_ingest_at,
            }
            for collection in numbers.collections
        ],
    }


def _totals(collections: Sequence[CollectionStatistics]) -> dict[str, Any]:
    runtime_ms = sum(collection.runtime_ms for collection in collections)
    return {
        "assets": sum(collection.assets for collection in collections),
        "hours": round(runtime_ms / 3_600_000, 3),
        "size_bytes": sum(collection.size_bytes for collection in collections),
        "failed_enrichments": sum(collection.failed_enrichments for collection in collections),
    }


def asset_document(details: AssetDetails) -> dict[str, Any]:
    """Build the object of an asset with its files, aliases, enrichments and decisions."""
    return {
        **asdict(details.asset),
        "files": [asdict(file) for file in details.files],
        "aliases": [asdict(alias) for alias in details.aliases],
        "enrichments": [asdict(enrichment) for enrichment in details.enrichments],
        "decisions": [asdict(decision) for decision in details.decisions],
        "changes": [change_document(change) for change in details.changes],
        "identities": [asdict(identity) for identity in details.identities],
    }


def change_document(change: Change) -> dict[str, Any]:
    """Build the object of a change of an asset."""
    return {
        "cursor": change.position,
        "at": change.at,
        "what": change.what,
        "asset": {"uuid": str(change.asset_uuid), "title": change.title},
        "collection": {"id": str(change.collection_uuid)},
        "run_id": None if change.run_id is None else str(change.run_id),
        "by": change.by,
        "fields": {name: {"before": before, "after": after} for name, (before, after) in change.fields.items()},
    }


def log_entry_document(entry: LogEntry) -> dict[str, Any]:
    """Build the object of an entry of the audit trail, with its run."""
    return {**_run_document(entry), **_outcome_document(entry), **_sync_document(entry)}


def logged_run_document(run: LoggedRun) -> dict[str, Any]:
    """Build the object of a run with its totals."""
    return {
        **_run_document(run),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "collections": run.collections,
        "statuses": run.statuses,
        **{count: number for count, number in run.counts.items() if count not in ADDED_COUNTS},
        "mode": run.mode,
        **{count: run.counts[count] for count in ADDED_COUNTS},
        "atomic": run.atomic,
    }


def run_details_document(details: RunDetails) -> dict[str, Any]:
    """Build the object of a run, with the details of each of its collections."""
    outcomes = [
        {
            **_outcome_document(entry),
            "durations": entry_durations(entry),
            "warning_counts": entry.details.get("warnings") or {},
            "context": entry.details.get("context") or {},
            "traceback": entry_traceback(entry),
            "enrichment": entry.enrichment,
            "rejected_items": [
                _rejection_document(rejection) for rejection in details.rejections.get(entry.collection_id, ())
            ],
            **_sync_document(entry),
        }
        for entry in details.entries
    ]
    return {**_run_document(details.entries[0]), "collections": outcomes}


def entry_durations(entry: LogEntry) -> dict[str, float]:
    """Return the seconds of each phase of an ingest."""
    durations = entry.details.get("durations") or {}
    return {name: round(durations[name], 3) for name in DURATIONS if name in durations}


def entry_traceback(entry: LogEntry) -> str | None:
    """Return the traceback of a failure, without passwords."""
    text: str | None = entry.details.get("traceback")
    return None if text is None else redact(text)


def _run_document(entry: LogEntry | LoggedRun) -> dict[str, Any]:
    return {
        "run_id": str(entry.run_id),
        "source": {"id": str(entry.source_id), "name": entry.source_name},
        "trigger": entry.trigger,
        "scope": {part: entry.scope.get(part) for part in ("title", "season", "episode")},
        "version": entry.version,
        "started_by": entry.started_by,
    }


def _outcome_document(entry: LogEntry) -> dict[str, Any]:
    return {
        "collection": {"id": str(entry.collection_id), "name": entry.collection_name},
        "status": entry.status,
        "started_at": entry.started_at,
        "ended_at": entry.ended_at,
        "code": entry.code,
        "message": None if entry.message is None else redact(entry.message),
        "hint": None if entry.hint is None else redact(entry.hint),
        **{count: number for count, number in entry.counts.items() if count not in ADDED_COUNTS},
    }


def _sync_document(entry: LogEntry) -> dict[str, Any]:
    """Build the keys that were added for syncs; they come after the others."""
    return {
        "mode": entry.mode,
        "read": entry.read,
        **{count: entry.counts[count] for count in ADDED_COUNTS},
        "held_back": entry.details.get("held_back"),
        "atomic": entry.atomic,
        "reading": entry.details.get("reading"),
    }


def _rejection_document(rejection: Rejection) -> dict[str, Any]:
    return {
        "title": rejection.title,
        "source_uri": rejection.source_uri,
        "code": rejection.code,
        "reason": rejection.reason,
    }


def schedule_document(listing: ScheduleListing) -> dict[str, Any]:
    """Build the object of a schedule."""
    schedule = listing.schedule
    return {
        "id": schedule.id,
        "name": schedule.name,
        "source": {"id": schedule.source_id, "name": schedule.source_name},
        "what": schedule.what,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "enabled": schedule.enabled,
        "next_due_at": listing.next_due_at,
        "asked_at": schedule.asked_at,
        "runs": [schedule_run_document(run) for run in listing.runs],
    }


def schedule_run_document(run: ScheduleRun) -> dict[str, Any]:
    """Build the object of a run of a schedule."""
    return {
        "due_at": run.due_at,
        "host": run.host,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "status": run.status,
        "run_id": run.run_id,
        "message": run.message,
    }
