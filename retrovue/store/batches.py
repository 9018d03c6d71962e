"""Batches of enrichment: the parts of a collection that workers enrich at the same time."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from retrovue.core.model import Collection
from retrovue.store.enrichments import Part
from retrovue.store.statements import Session, text

BATCH = 500
"""Assets in a batch. It takes some seconds, after which jobs of other collections get their turn."""

_SPLIT = text(
    """
    INSERT INTO enrichment_batch (run_id, collection_id, number, after_uuid, upto_uuid)
    WITH listed AS (
        SELECT uuid, row_number() OVER (ORDER BY uuid) AS place FROM asset
        WHERE collection_uuid = :collection AND state = 'enriching' AND deleted_at IS NULL
    ), cut AS (
        SELECT uuid, place / :size AS number FROM listed WHERE place % :size = 0
        UNION ALL SELECT NULL, (SELECT count(*) FROM listed) / :size + 1
    )
    SELECT :run, :collection, number, lag(uuid) OVER (ORDER BY number), uuid FROM cut
    """
)
"""The last batch has no upper bound, so that the batches together cover every asset of the collection."""


class Batch(Struct, frozen=True):
    """A part of a collection to enrich."""

    run_id: UUID
    collection_id: UUID
    number: int
    part: Part


async def split(session: Session, collection: Collection, run: UUID, *, size: int = BATCH) -> None:
    """Store the batches of a collection that a run enriches."""
    await session.execute(_SPLIT, {"collection": collection.id, "run": run, "size": size})


async def open_batches(session: Session, collection: UUID) -> list[Batch]:
    """List the batches of a collection that haven't ended, grouped by run."""
    rows = await session.execute(
        text(
            "SELECT run_id, collection_id, number, after_uuid, upto_uuid FROM enrichment_batch"
            " WHERE collection_id = :collection AND ended_at IS NULL ORDER BY run_id, number"
        ),
        {"collection": collection},
    )
    return [Batch(row[0], row[1], row[2], Part(_plain(row[3]), _plain(row[4]))) for row in rows]


async def is_open(session: Session, batch: Batch) -> bool:
    """Return whether a batch hasn't ended."""
    result = await session.execute(
        text(
            "SELECT EXISTS (SELECT FROM enrichment_batch WHERE run_id = :run AND collection_id = :collection"
            " AND number = :number AND ended_at IS NULL)"
        ),
        {"run": batch.run_id, "collection": batch.collection_id, "number": batch.number},
    )
    return bool(result.scalar_one())


async def end_batch(session: Session, batch: Batch, host: str, result: str) -> bool:
    """Store the result of a batch, as JSON; return whether it was the last batch of its run."""
    # If two batches end at the same time, the second transaction sees the end of the first.
    await session.execute(
        text("SELECT FROM requested_collection WHERE collection_id = :collection AND run_id = :run FOR UPDATE"),
        {"run": batch.run_id, "collection": batch.collection_id},
    )
    ended = await session.execute(
        text(
            "UPDATE enrichment_batch SET host = :host, result = cast(:result AS json), ended_at = clock_timestamp()"
            " WHERE run_id = :run AND collection_id = :collection AND number = :number AND ended_at IS NULL"
            " RETURNING NOT EXISTS (SELECT FROM enrichment_batch AS other WHERE other.run_id = :run"
            "  AND other.collection_id = :collection AND other.number <> :number AND other.ended_at IS NULL)"
        ),
        {
            "host": host, "result": result,
            "run": batch.run_id, "collection": batch.collection_id, "number": batch.number,
        },
    )  # fmt: skip
    return bool(ended.scalar_one_or_none())


async def results_of(session: Session, batch: Batch) -> tuple[list[str], int, int, float]:
    """Return the results of all batches of a run, the numbers of successes and failures, and their total seconds."""
    about = {"run": batch.run_id, "collection": batch.collection_id}
    rows = await session.execute(
        text(
            "SELECT result::text, extract(epoch FROM ended_at), cast(result ->> 'duration' AS double precision)"
            " FROM enrichment_batch WHERE run_id = :run AND collection_id = :collection ORDER BY number"
        ),
        about,
    )
    ended = [(row[0], float(row[1]), float(row[2])) for row in rows]
    # Counted by asset: a batch that was interrupted and repeated reports only the rest of its assets.
    counted = await session.execute(
        text(
            "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed')"
            " FROM asset_enrichment JOIN asset ON asset.uuid = asset_uuid"
            " WHERE collection_uuid = :collection AND run_id = :run"
        ),
        about,
    )
    succeeded, failed = counted.one()
    spent = max(end for _, end, _ in ended) - min(end - duration for _, end, duration in ended)
    return [result for result, _, _ in ended], succeeded, failed, spent


async def forget(session: Session, batch: Batch) -> None:
    """Delete the batches of a run after their results were combined in its outcome."""
    await session.execute(
        text("DELETE FROM enrichment_batch WHERE run_id = :run AND collection_id = :collection"),
        {"run": batch.run_id, "collection": batch.collection_id},
    )


async def outcomes_of(session: Session, batch: Batch) -> Sequence[str]:
    """Return the outcomes that wait for a run's enrichment, as JSON."""
    rows = await session.execute(
        text(
            "SELECT outcome::text FROM requested_collection WHERE collection_id = :collection AND run_id = :run"
            " AND ended_at IS NULL"
        ),
        {"run": batch.run_id, "collection": batch.collection_id},
    )
    return list(rows.scalars())


def _plain(value: UUID | None) -> UUID | None:
    return None if value is None else UUID(bytes=value.bytes)  # The driver's own type isn't a uuid.UUID.
