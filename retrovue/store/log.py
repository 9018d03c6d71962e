"""Read the audit trail: what each run did to each collection, and which runs are at work."""

import datetime as dt
from typing import Any, TypedDict, Unpack
from uuid import UUID

from msgspec import Struct

from retrovue.core.bounds import LARGEST
from retrovue.core.errors import NotFound, RequestError, require_within
from retrovue.core.model import Collection
from retrovue.core.pages import Rejection
from retrovue.core.results import Read
from retrovue.core.runs import Mode
from retrovue.core.verdicts import COUNTS
from retrovue.store.collections import find_collection
from retrovue.store.sources import find_source
from retrovue.store.statements import Row, Session, text

# An outcome row never changes; a failure after the commit is in a separate row.
_SUMS = {"failed_enrichments": "ingest_outcome.failed_enrichments + coalesce(enriched.failed, 0) AS failed_enrichments"}
_COUNTS = ", ".join(_SUMS.get(name, f"ingest_outcome.{name}") for name in COUNTS)

# A run without an outcome row is at work as long as the connection that holds its locks exists. Otherwise it was
# killed, or lost its database.
_STATUS = """
    coalesce(ingest_outcome.status, CASE WHEN EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'retrovue-ingest-' || ingest_start.run_id
    ) THEN 'running' ELSE 'interrupted' END)
"""
_TABLES = """
    FROM ingest_start
        JOIN collection ON collection.id = ingest_start.collection_id
        JOIN source ON source.id = collection.source_id
        LEFT JOIN ingest_outcome USING (run_id, collection_id)
        LEFT JOIN enrichment_outcome AS enriched USING (run_id, collection_id)
"""
_ENTRIES = f"""
    SELECT ingest_start.run_id, ingest_start.collection_id, collection.name AS collection_name,
        source.id AS source_id, source.name AS source_name, ingest_start.trigger, ingest_start.scope,
        ingest_start.mode, ingest_start.atomic, ingest_outcome.read, ingest_start.version, ingest_start.started_by,
        ingest_start.started_at, ingest_outcome.ended_at, ingest_outcome.code, ingest_outcome.message,
        ingest_outcome.hint, ingest_outcome.details, {_COUNTS},
        CASE WHEN enriched.status IS NOT NULL THEN jsonb_build_object('status', enriched.status,
            'succeeded', enriched.succeeded, 'failed', enriched.failed, 'owed', enriched.owed,
            'failures', enriched.details -> 'failures', 'problem', enriched.details -> 'problem') END AS enrichment,
        {_STATUS} AS state
    {_TABLES}
"""


_TOTALS = ", ".join(f"coalesce(sum(entry.{name}), 0) AS {name}" for name in COUNTS)
_RUNS = f"""
    SELECT run_id, source_id, source_name, trigger, scope, mode, atomic, version, started_by,
        min(started_at) AS started_at, CASE WHEN bool_and(ended_at IS NOT NULL) THEN max(ended_at) END AS ended_at,
        count(*) AS collections, array_agg(state) AS states, {_TOTALS}
    FROM ({_ENTRIES} WHERE ingest_start.run_id IN (
        SELECT ingest_start.run_id {_TABLES} {{condition}}
        GROUP BY ingest_start.run_id ORDER BY min(ingest_start.started_at) DESC, ingest_start.run_id LIMIT :limit
    )) AS entry
    GROUP BY run_id, source_id, source_name, trigger, scope, mode, atomic, version, started_by
    ORDER BY min(started_at) DESC, run_id
"""


class LogFilters(TypedDict, total=False):
    """Filters of the entries of the audit trail. An entry has to match all given filters."""

    source: str | None
    """The UUID, external id or exact name of a source."""
    collection: str | None
    """The UUID, external id or exact name of a collection."""
    run: UUID | None
    """The id of a run."""
    status: str | None
    """``running``, ``ingested``, ``skipped``, ``failed``, ``interrupted`` or ``unknown``."""
    since: dt.datetime | None
    """A time with its zone: the run started at that time or later."""
    until: dt.datetime | None
    """A time with its zone: the run started before that time."""


class LogEntry(Struct, frozen=True):
    """An entry of the audit trail: one collection of one run."""

    run_id: UUID
    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    trigger: str
    """``source`` for a source ingest, ``collection`` for a collection ingest."""
    scope: dict[str, Any]
    """Empty for the whole collection."""
    version: str
    started_by: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    status: str
    """``running``, ``ingested``, ``skipped``, ``failed``, ``interrupted`` or ``unknown``."""
    code: str | None
    message: str | None
    hint: str | None
    counts: dict[str, int]
    details: dict[str, Any]
    """Durations in seconds, context, traceback."""
    enrichment: dict[str, Any] | None
    """The enrichment after the commit: status, succeeded, failed, owed, the first failures; None if nothing was tried.
    """
    mode: Mode
    read: Read | None
    """None without an outcome, or after a failure."""
    atomic: bool
    """Whether one transaction merged all collections of the run."""


def _entry(row: Row) -> LogEntry:
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
        mode=row.mode,
        read=row.read,
        atomic=row.atomic,
    )


class LogListing(Struct, frozen=True):
    """A list of entries of the audit trail."""

    total: int
    """The number of matching entries, including those beyond the limit."""
    entries: tuple[LogEntry, ...]


class LoggedRun(Struct, frozen=True):
    """One run with the totals of its collections."""

    run_id: UUID
    source_id: UUID
    source_name: str
    trigger: str
    """``source`` for a source ingest, ``collection`` for a collection ingest."""
    scope: dict[str, Any]
    """Empty for whole collections."""
    mode: Mode
    atomic: bool
    """Whether one transaction merged all collections."""
    version: str
    started_by: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    """When the last collection ended; None while one is at work."""
    collections: int
    statuses: dict[str, int]
    """The number of collections with each status of `LogEntry`; statuses without collections are left out."""
    counts: dict[str, int]
    """The sums over its collections."""


class RunListing(Struct, frozen=True):
    """A list of runs of the audit trail."""

    total: int
    """The number of matching runs, including those beyond the limit."""
    runs: tuple[LoggedRun, ...]


async def list_log(session: Session, *, limit: int | None = 50, **filters: Unpack[LogFilters]) -> LogListing:
    """List the entries of the audit trail that match all filters: the latest run first, its collections by name.

    Raises NotFound, Ambiguous, or RequestError for a limit that isn't from 0 to 2,147,483,647 or a time without a zone.
    """
    run = filters.get("run")
    condition, bind = await _where(session, filters, limit)
    total = (await session.execute(text(f"SELECT count(*) {_TABLES} {condition}"), bind)).scalar_one()
    if run is not None and not total:
        raise _unknown(run)
    rows = await session.execute(
        text(
            f"{_ENTRIES} {condition}"
            " ORDER BY min(ingest_start.started_at) OVER (PARTITION BY ingest_start.run_id) DESC, ingest_start.run_id,"
            " collection.name, collection.external_id, collection.id LIMIT :limit"
        ),
        {**bind, "limit": limit},
    )
    return LogListing(total=total, entries=tuple(_entry(row) for row in rows))


async def _where(session: Session, filters: LogFilters, limit: int | None) -> tuple[str, dict[str, Any]]:
    """Return the SQL condition of the entries that match all filters, and its parameters."""
    if limit is not None:
        require_within("The limit", limit, 0, LARGEST, code="bad_limit")
    since, until = filters.get("since"), filters.get("until")
    for time in (since, until):
        if time is not None and time.tzinfo is None:
            raise RequestError(f"{time} has no time zone.", code="bad_filter")
    named, within = filters.get("source"), filters.get("collection")
    source = None if named is None else await find_source(session, named)
    collection = None if within is None else await find_collection(session, within, source)
    conditions = {
        "collection.source_id = :source": None if source is None else source.id,
        "ingest_start.collection_id = :collection": None if collection is None else collection.id,
        "ingest_start.run_id = :run": filters.get("run"),
        f"{_STATUS} = :status": filters.get("status"),
        "ingest_start.started_at >= :since": since,
        "ingest_start.started_at < :until": until,
    }
    where = [condition for condition, value in conditions.items() if value is not None]
    bind = {condition.rpartition(":")[2]: value for condition, value in conditions.items() if value is not None}
    return f"WHERE {' AND '.join(where)}" if where else "", bind


def _unknown(run: UUID) -> NotFound:
    return NotFound(
        f"There is no run {run} in the audit trail.",
        code="run_not_found",
        hint="`retrovue ingest log` shows the latest runs.",
        context={"run": str(run)},
    )


async def list_runs(session: Session, *, limit: int | None = 50, **filters: Unpack[LogFilters]) -> RunListing:
    """List the runs with an entry that matches all filters, the latest first, each with all its collections.

    Raises what `list_log` raises.
    """
    run = filters.get("run")
    condition, bind = await _where(session, filters, limit)
    total = (
        await session.execute(text(f"SELECT count(DISTINCT ingest_start.run_id) {_TABLES} {condition}"), bind)
    ).scalar_one()
    if run is not None and not total:
        raise _unknown(run)
    rows = await session.execute(text(_RUNS.format(condition=condition)), {**bind, "limit": limit})
    return RunListing(total=total, runs=tuple(_logged_run(row) for row in rows))


def _logged_run(row: Row) -> LoggedRun:
    return LoggedRun(
        run_id=row.run_id,
        source_id=row.source_id,
        source_name=row.source_name,
        trigger=row.trigger,
        scope=row.scope,
        mode=row.mode,
        atomic=row.atomic,
        version=row.version,
        started_by=row.started_by,
        started_at=row.started_at,
        ended_at=row.ended_at,
        collections=row.collections,
        statuses={status: row.states.count(status) for status in sorted(set(row.states))},
        counts={name: int(getattr(row, name)) for name in COUNTS},
    )


async def latest_run(session: Session) -> UUID:
    """Return the id of the run that started last. Raises NotFound if there is none."""
    result = await session.execute(text("SELECT run_id FROM ingest_start ORDER BY started_at DESC, run_id LIMIT 1"))
    run: UUID | None = result.scalar_one_or_none()
    if run is None:
        raise NotFound("Nothing has been ingested yet.", code="run_not_found", hint="Run `retrovue source ingest`.")
    return run


async def list_rejections(
    session: Session, run: UUID, *, collection: Collection | None = None, limit: int | None = None
) -> list[tuple[UUID, Rejection]]:
    """List the rejected items of a run, each with the id of its collection, in the order of the source."""
    result = await session.execute(
        text(
            "SELECT collection_id, code, reason, source_uri, title FROM run_rejection WHERE run_id = :run"
            " AND (cast(:collection AS uuid) IS NULL OR collection_id = :collection)"
            " ORDER BY collection_id, position LIMIT :limit"
        ),
        {"run": run, "collection": None if collection is None else collection.id, "limit": limit},
    )
    return [(row.collection_id, Rejection(row.code, row.reason, row.source_uri, row.title)) for row in result]
