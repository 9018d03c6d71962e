"""List the requested collections that workers haven't ended."""

import datetime as dt
from uuid import UUID

from msgspec import Struct

from retrovue.store.requests import ALIVE, Asked, JobRefusal, refusals_of
from retrovue.store.statements import Session, text


class OpenJob(Struct, frozen=True):
    """A collection of a request that hasn't ended."""

    request_id: UUID
    """The id of the request and of its run; `stop_run` takes it."""
    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    what: Asked
    requested_by: str
    """``user@host`` of the person who made the request."""
    requested_at: dt.datetime
    host: str | None
    """The name of the living worker that works it now; None if it waits."""
    run_id: UUID | None
    """The run that works it, or tried last; None before the first one."""
    attempts: int
    refusals: tuple[JobRefusal, ...]
    """Why workers can't work it."""


async def open_jobs(session: Session, stale: float) -> list[OpenJob]:
    """List the requested collections that haven't ended, the oldest request first.

    A worker counts as gone after ``stale`` seconds without a heartbeat.
    """
    rows = await session.execute(
        text(
            "SELECT request_id, source.id AS source_id, source.name AS source_name, collection_id,"
            " collection.name AS collection_name, what, requested_by, requested_at,"
            " job_host.name AS host, run_id, attempts"
            " FROM requested_collection JOIN run_request ON run_request.id = request_id"
            " JOIN collection ON collection.id = collection_id JOIN source ON source.id = collection.source_id"
            f" LEFT JOIN job_host ON job_host.id = host_id AND {ALIVE}"
            " WHERE ended_at IS NULL ORDER BY requested_at, request_id, collection.name"
        ),
        {"stale": stale},
    )
    found = rows.all()
    refusals = {
        collection_id: tuple((await refusals_of(session, collection_id)).values())
        for collection_id in {row.collection_id for row in found}
    }
    return [OpenJob(**row._asdict(), refusals=refusals[row.collection_id]) for row in found]
