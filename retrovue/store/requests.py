"""Requests for runs by workers on any host, and the workers.

A request has the collections that it targets. Each of them has one outcome, which is shared by all requests that were
made before the run began. The worker of a collection holds its lock, so what another worker had begun is then invalid.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from retrovue.core.errors import NotFound
from retrovue.core.model import Collection, Source
from retrovue.core.runs import Trigger
from retrovue.store.locks import lock_key
from retrovue.store.statements import Session, text

Asked = Literal["ingest", "enrich"]
"""What is requested: an ingest or a sync, as the options say, or the owed enrichments."""
CHANNEL = "retrovue_requests"
"""The channel of PostgreSQL's NOTIFY that announces new requests and outcomes. Its messages have no content."""
KEPT_FOR = dt.timedelta(days=7)
"""How long a request that has ended is kept. The audit trail keeps its runs."""
GONE_FOR = dt.timedelta(hours=1)
"""How long a worker that is gone is remembered: jobs in its own queue are given to other workers."""

_NOTIFY = text(f"NOTIFY {CHANNEL}")
ALIVE = "beaten_at > clock_timestamp() - cast(:stale AS double precision) * interval '1 second'"
"""The condition that a worker had its last heartbeat less than ``:stale`` seconds ago."""


class Request(Struct, frozen=True):
    """A run that was requested from workers."""

    id: UUID
    """The id of the request and of its run."""
    source_id: UUID
    what: Asked
    scope: Trigger
    options: str
    """The options of the run, as JSON."""
    skipped: str
    """The outcomes of collections that aren't targeted, as JSON."""
    requested_by: str


class Target(Struct, frozen=True):
    """A collection that a request targets."""

    collection_id: UUID
    run_id: UUID | None
    """The run that works it, or has worked it; None before the first one."""
    outcome: str | None
    """The outcome as JSON; None until it has ended."""
    host: str | None
    """The name of the worker that works it now."""


class JobPart(Struct, frozen=True):
    """A collection of a request, before its outcome is known."""

    request_id: UUID
    what: Asked
    scope: Trigger
    options: str
    run_id: UUID | None
    attempts: int


class UnworkedCollection(Struct, frozen=True):
    """A requested collection that no living worker is working on."""

    collection_id: UUID
    source_id: UUID
    enriching: bool
    """Whether only its enrichment is owed."""
    batches: int
    """The number of batches of enrichment that haven't ended."""


class JobHost(Struct, frozen=True):
    """A process that works jobs."""

    id: UUID
    name: str
    sources: tuple[UUID, ...] | None
    """The sources whose jobs it works; None means all."""


class JobRefusal(Struct, frozen=True):
    """Why a worker can't work a collection."""

    host: str
    code: str
    reason: str


async def add_request(session: Session, request: Request, targets: Iterable[Collection]) -> None:
    """Store a request and the collections that it targets."""
    await session.execute(
        text(
            "INSERT INTO run_request (id, source_id, what, scope, options, skipped, requested_by)"
            " VALUES (:id, :source, :what, :scope, cast(:options AS json), cast(:skipped AS json), :by)"
        ),
        {
            "id": request.id, "source": request.source_id, "what": request.what, "scope": request.scope,
            "options": request.options, "skipped": request.skipped, "by": request.requested_by,
        },
    )  # fmt: skip
    rows = [{"request": request.id, "collection": target.id} for target in targets]
    if rows:
        await session.execute(
            text("INSERT INTO requested_collection (request_id, collection_id) VALUES (:request, :collection)"), rows
        )
    await session.execute(_NOTIFY)


async def find_request(session: Session, id_: UUID) -> Request:
    """Return a request. Raises NotFound."""
    row = (
        await session.execute(
            text(
                "SELECT id, source_id, what, scope, options::text, skipped::text, requested_by"
                " FROM run_request WHERE id = :id"
            ),
            {"id": id_},
        )
    ).first()
    if row is None:
        raise NotFound(
            f"There is no request {id_}: it was removed with its source, or some days after its end.",
            code="request_not_found",
            context={"request": str(id_)},
        )
    return Request(*row)


async def targets_of(session: Session, request: UUID) -> list[Target]:
    """List the collections that a request targets. Deleted ones are missing."""
    rows = await session.execute(
        text(
            "SELECT collection_id, run_id, CASE WHEN ended_at IS NOT NULL THEN outcome::text END, job_host.name"
            " FROM requested_collection LEFT JOIN job_host ON job_host.id = host_id"
            " WHERE request_id = :id ORDER BY collection_id"
        ),
        {"id": request},
    )
    return [Target(*row) for row in rows]


async def waiting_for(session: Session, collection: UUID) -> list[JobPart]:
    """List the requests for a collection that have no outcome yet, the oldest first."""
    rows = await session.execute(
        text(
            "SELECT request_id, what, scope, options::text, run_id, attempts"
            " FROM requested_collection JOIN run_request ON run_request.id = request_id"
            " WHERE collection_id = :collection AND ended_at IS NULL AND outcome IS NULL"
            " ORDER BY requested_at, request_id"
        ),
        {"collection": collection},
    )
    return [JobPart(*row) for row in rows]


async def at_work(session: Session, source: Source, beside: Collection, stale: float) -> tuple[int, float]:
    """Count the other collections of a source that living workers are working on, and sum up their shares of requests.

    Workers that begin a collection of the same source wait for each other until the transaction ends. A worker without
    a heartbeat for ``stale`` seconds isn't counted.
    """
    # Every transaction takes the lock before it reads, so that it sees what another one has begun.
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(source.id)})
    row = (
        await session.execute(
            text(
                "SELECT count(*), coalesce(sum(share), 0) FROM ("
                " SELECT DISTINCT collection_id, share FROM requested_collection"
                "  JOIN collection ON collection.id = collection_id JOIN job_host ON job_host.id = host_id"
                f" WHERE source_id = :source AND collection_id <> :beside AND ended_at IS NULL AND {ALIVE}) AS working"
            ),
            {"source": source.id, "beside": beside.id, "stale": stale},
        )
    ).one()
    return row[0], row[1]


async def begin(
    session: Session, collection: UUID, waiting: Sequence[JobPart], run: UUID, host: UUID, share: float
) -> None:
    """Note that a worker works a collection for these requests, in one run."""
    await session.execute(
        text(
            "UPDATE requested_collection SET run_id = :run, host_id = :host, share = :share, attempts = attempts + 1"
            " WHERE collection_id = :collection AND request_id = ANY(cast(:requests AS uuid[])) AND ended_at IS NULL"
        ),
        {
            "run": run, "host": host, "share": share, "collection": collection,
            "requests": [part.request_id for part in waiting],
        },
    )  # fmt: skip


async def release(session: Session, collection: UUID, run: UUID) -> None:
    """Note that a run has ended without a usable outcome: its requests wait again."""
    await session.execute(
        text(
            "UPDATE requested_collection SET host_id = NULL, share = 0"
            " WHERE collection_id = :collection AND run_id = :run AND ended_at IS NULL"
        ),
        {"collection": collection, "run": run},
    )


async def end(session: Session, collection: UUID, run: UUID, outcome: str, *, ended: bool = True) -> None:
    """Store the outcome of a run for all requests that it serves; without ``ended`` its enrichment is still owed.

    An outcome is stored once: that of a run whose work another one has taken over is ignored.
    """
    await session.execute(
        text(
            "UPDATE requested_collection SET outcome = cast(:outcome AS json), host_id = NULL, share = 0,"
            " ended_at = CASE WHEN :ended THEN clock_timestamp() END"
            " WHERE collection_id = :collection AND run_id = :run AND ended_at IS NULL"
        ),
        {"collection": collection, "run": run, "outcome": outcome, "ended": ended},
    )
    await session.execute(text("DELETE FROM job_refusal WHERE collection_id = :id"), {"id": collection})
    await session.execute(_NOTIFY)


async def not_begun(session: Session, request: UUID) -> list[UUID]:
    """Return the ids of the collections of a request that no worker has begun, and lock their rows."""
    rows = await session.execute(
        text(
            "SELECT collection_id FROM requested_collection WHERE request_id = :request AND ended_at IS NULL"
            " AND outcome IS NULL AND host_id IS NULL ORDER BY collection_id FOR UPDATE"
        ),
        {"request": request},
    )
    return list(rows.scalars())


async def give_up(session: Session, request: UUID, collection: UUID, outcome: str) -> None:
    """Store the outcome of a collection that isn't worked for this request."""
    await session.execute(
        text(
            "UPDATE requested_collection SET outcome = cast(:outcome AS json), ended_at = clock_timestamp()"
            " WHERE request_id = :request AND collection_id = :collection"
        ),
        {"request": request, "collection": collection, "outcome": outcome},
    )
    await session.execute(_NOTIFY)


async def unfinished(session: Session, stale: float) -> list[UnworkedCollection]:
    """List the requested collections that no living worker is working on."""
    rows = await session.execute(
        text(
            "SELECT collection_id, source_id, enriching, (SELECT count(*) FROM enrichment_batch AS batch"
            "  WHERE batch.collection_id = open.collection_id AND ended_at IS NULL)"
            " FROM (SELECT DISTINCT collection_id, outcome IS NOT NULL AS enriching FROM requested_collection"
            f"  LEFT JOIN job_host ON job_host.id = host_id AND {ALIVE}"
            "  WHERE ended_at IS NULL AND job_host.id IS NULL) AS open"
            " JOIN collection ON collection.id = collection_id"
        ),
        {"stale": stale},
    )
    return [UnworkedCollection(*row) for row in rows]


async def prune(session: Session) -> None:
    """Delete requests that ended long ago."""
    await session.execute(
        text(
            "DELETE FROM run_request WHERE requested_at < clock_timestamp() - cast(:age AS interval)"
            " AND NOT EXISTS (SELECT FROM requested_collection WHERE request_id = run_request.id"
            "  AND (ended_at IS NULL OR ended_at > clock_timestamp() - cast(:age AS interval)))"
        ),
        {"age": KEPT_FOR},
    )


async def join(session: Session, host: JobHost) -> None:
    """Store a heartbeat of a worker, and register it if it is new."""
    await session.execute(
        text(
            "INSERT INTO job_host (id, name, sources) VALUES (:id, :name, cast(:sources AS uuid[]))"
            " ON CONFLICT (id) DO UPDATE SET beaten_at = clock_timestamp()"
        ),
        {"id": host.id, "name": host.name, "sources": None if host.sources is None else list(host.sources)},
    )


async def leave(session: Session, host: JobHost, stale: float) -> None:
    """Store that a worker has left. Its row stays for a while, because others may just have put jobs into its queue."""
    await session.execute(
        text(
            "UPDATE job_host SET beaten_at = clock_timestamp()"
            " - cast(:stale AS double precision) * interval '2 seconds' WHERE id = :id"
        ),
        {"id": host.id, "stale": stale},
    )


async def gone(session: Session, stale: float) -> list[JobHost]:
    """Return the workers that left in the last hour, and delete older rows."""
    await session.execute(
        text("DELETE FROM job_host WHERE beaten_at < clock_timestamp() - cast(:age AS interval)"), {"age": GONE_FOR}
    )
    rows = await session.execute(text(f"SELECT id, name, sources FROM job_host WHERE NOT {ALIVE}"), {"stale": stale})
    return [_host(row) for row in rows]


async def living(session: Session, stale: float, source: UUID | None = None) -> list[JobHost]:
    """List the living workers by name; for a source only those that work its jobs.

    A worker counts as gone after ``stale`` seconds without a heartbeat.
    """
    rows = await session.execute(
        text(
            f"SELECT id, name, sources FROM job_host WHERE {ALIVE} AND (cast(:source AS uuid) IS NULL"
            " OR sources IS NULL OR :source = ANY(sources)) ORDER BY name, id"
        ),
        {"stale": stale, "source": source},
    )
    return [_host(row) for row in rows]


async def refuse(session: Session, host: JobHost, collection: UUID, code: str, reason: str) -> None:
    """Store that a worker can't work a collection."""
    await session.execute(
        text(
            "INSERT INTO job_refusal (collection_id, host_id, host, code, reason)"
            " VALUES (:collection, :host, :name, :code, :reason) ON CONFLICT (collection_id, host_id)"
            " DO UPDATE SET code = excluded.code, reason = excluded.reason, refused_at = clock_timestamp()"
        ),
        {"collection": collection, "host": host.id, "name": host.name, "code": code, "reason": reason},
    )


async def refusals_of(session: Session, collection: UUID) -> dict[UUID, JobRefusal]:
    """Return why workers can't work a collection, by the workers' ids, in the order of their reports."""
    rows = await session.execute(
        text("SELECT host_id, host, code, reason FROM job_refusal WHERE collection_id = :id ORDER BY refused_at, host"),
        {"id": collection},
    )
    return {row[0]: JobRefusal(row[1], row[2], row[3]) for row in rows}


def _host(row: Any) -> JobHost:
    return JobHost(row[0], row[1], None if row[2] is None else tuple(row[2]))
