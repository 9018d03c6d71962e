"""Reading the audit trail: what happened to each collection in each run, and what is happening now."""

import datetime as dt
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.bounds import LARGEST
from retrovue.core.errors import NotFound, require_within
from retrovue.core.model import Collection, Rejection, Source
from retrovue.core.results import Counts

COUNTS = tuple(Counts.__dataclass_fields__)

# An outcome is never changed: what failed after the commit stands in a row of its own.
_SUMS = {"failed_enrichments": "ingest_outcome.failed_enrichments + coalesce(enriched.failed, 0) AS failed_enrichments"}
_COUNTS = ", ".join(_SUMS.get(name, f"ingest_outcome.{name}") for name in COUNTS)

# A start row without an outcome row is at work as long as the connection that holds the run's locks lives;
# else the run was killed, or lost its database.
_ENTRIES = f"""
    SELECT ingest_start.run_id, ingest_start.collection_id, collection.name AS collection_name,
        source.id AS source_id, source.name AS source_name, ingest_start.trigger, ingest_start.scope,
        ingest_start.version, ingest_start.started_by, ingest_start.started_at, ingest_outcome.ended_at,
        ingest_outcome.code, ingest_outcome.message, ingest_outcome.hint, ingest_outcome.details, {_COUNTS},
        CASE WHEN enriched.status IS NOT NULL THEN jsonb_build_object('status', enriched.status,
            'succeeded', enriched.succeeded, 'failed', enriched.failed, 'owed', enriched.owed,
            'failures', enriched.details -> 'failures', 'problem', enriched.details -> 'problem') END AS enrichment,
        coalesce(ingest_outcome.status, CASE WHEN EXISTS (
            SELECT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'retrovue-ingest-' || ingest_start.run_id
        ) THEN 'running' ELSE 'interrupted' END) AS state
    FROM ingest_start
        JOIN collection ON collection.id = ingest_start.collection_id
        JOIN source ON source.id = collection.source_id
        LEFT JOIN ingest_outcome USING (run_id, collection_id)
        LEFT JOIN enrichment_outcome AS enriched USING (run_id, collection_id)
"""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One collection of one run."""

    run_id: UUID
    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    trigger: str
    """``source`` for a bulk ingest, ``collection`` for one by hand."""
    scope: dict[str, Any]
    """Empty for the whole collection."""
    version: str
    started_by: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    status: str
    """``running``, ``ingested``, ``failed``, ``interrupted`` or ``unknown``."""
    code: str | None
    message: str | None
    hint: str | None
    counts: dict[str, int]
    details: dict[str, Any]
    """Durations in seconds, context, traceback."""
    enrichment: dict[str, Any] | None
    """What came after the commit: status, succeeded, failed, owed, the first failures; None if nothing was tried."""


def _entry(row: Row[Any]) -> LogEntry:
    return LogEntry(
        run_id=row.run_id,
        source_id=row.source_id,
        source_name=row.source_name,
        collection_id=row.collection_id,
        collection_name=row.collection_name,
        trigger=row.trigger,
        scope=row.scope,
        version=row.version,
        started_by=row.started_by,
        started_at=row.started_at,
        ended_at=row.ended_at,
        status=row.state,
        code=row.code,
        message=row.message,
        hint=row.hint,
        counts={name: getattr(row, name) or 0 for name in COUNTS},
        details=row.details or {},
        enrichment=row.enrichment,
    )


@dataclass(frozen=True, slots=True)
class LogListing:
    """Some entries of the audit trail, and how many there are."""

    total: int
    entries: tuple[LogEntry, ...]


async def list_log(
    session: AsyncSession,
    *,
    source: Source | None = None,
    collection: Collection | None = None,
    run: UUID | None = None,
    limit: int | None = 50,
) -> LogListing:
    """List what was ingested: the latest run first, its collections by name; one that vanished is interrupted.

    Raises NotFound for a run that there isn't, and RequestError for a limit that isn't from 0 to 2,147,483,647.
    """
    if limit is not None:
        require_within("The limit", limit, 0, LARGEST, code="bad_limit")
    where: list[str] = []
    bind: dict[str, Any] = {}
    if source is not None:
        where.append("collection.source_id = :source")
        bind["source"] = source.id
    if collection is not None:
        where.append("ingest_start.collection_id = :collection")
        bind["collection"] = collection.id
    if run is not None:
        where.append("ingest_start.run_id = :run")
        bind["run"] = run
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    total = (
        await session.execute(
            text(f"SELECT count(*) FROM ingest_start JOIN collection ON collection.id = collection_id {condition}"),
            bind,
        )
    ).scalar_one()
    if run is not None and not total:
        raise NotFound(
            f"There is no run {run} in the audit trail.",
            code="run_not_found",
            hint="`retrovue ingest log` shows the latest runs.",
            context={"run": str(run)},
        )
    rows = await session.execute(
        text(
            f"{_ENTRIES} {condition}"
            " ORDER BY min(ingest_start.started_at) OVER (PARTITION BY ingest_start.run_id) DESC, ingest_start.run_id,"
            " collection.name, collection.external_id, collection.id LIMIT :limit"
        ),
        {**bind, "limit": limit},
    )
    return LogListing(total=total, entries=tuple(_entry(row) for row in rows))


async def list_rejections(
    session: AsyncSession, run: UUID, *, collection: Collection | None = None, limit: int | None = None
) -> list[tuple[UUID, Rejection]]:
    """List the items that a run rejected, each with its collection's id, in the order of the source."""
    result = await session.execute(
        text(
            "SELECT collection_id, code, reason, source_uri, title FROM ingest_rejection WHERE run_id = :run"
            " AND (cast(:collection AS uuid) IS NULL OR collection_id = :collection)"
            " ORDER BY collection_id, position LIMIT :limit"
        ),
        {"run": run, "collection": None if collection is None else collection.id, "limit": limit},
    )
    return [(row.collection_id, Rejection(row.code, row.reason, row.source_uri, row.title)) for row in result]
