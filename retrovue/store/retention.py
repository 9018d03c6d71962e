"""The details of the audit trail: how rejected items are stored, and how long details are kept.

An item that successive ingests of a whole collection reject is stored once, with the first run that rejected it and the
first one that didn't. The view ``run_rejection`` has the items of each run. Outcomes stay for good; their details, such
as durations and tracebacks, and the rejected items of old runs can be removed.
"""

import datetime as dt

from msgspec import Struct

from retrovue.core.bounds import OLDEST_DETAILS_DAYS
from retrovue.core.errors import require_within
from retrovue.core.model import Collection
from retrovue.store.audit import Run
from retrovue.store.kept import prune_kept
from retrovue.store.statements import Session, text

_NO_GUESSING = text("SET LOCAL enable_nestloop = off")  # The planner can't know how many rows are staged.
_KEEP_OF_RUN = text(
    "INSERT INTO ingest_rejection (run_id, collection_id, position, code, reason, source_uri, title)"
    " SELECT :run, :collection, position, code, reason, source_uri, title FROM staged_rejection ORDER BY position"
)
# Items that look alike are distinguished by how many of them came before.
_KEEP_LASTING = text(
    """
    WITH fresh AS MATERIALIZED (
        SELECT *, decode(md5(CAST(ROW(code, reason, source_uri, title, row_number() OVER (
            PARTITION BY code, reason, source_uri, title ORDER BY position
        )) AS text)), 'hex') AS content FROM staged_rejection
    ), open AS MATERIALIZED (
        SELECT run_id, position, content FROM ingest_rejection
        WHERE collection_id = :collection AND content IS NOT NULL AND ended_number IS NULL
    ), own AS (
        SELECT number FROM ingest_start WHERE run_id = :run AND collection_id = :collection
    ), ended AS (
        UPDATE ingest_rejection SET ended_number = own.number, ended_at = now() FROM own, (
            SELECT open.run_id, open.position FROM open
            WHERE NOT EXISTS (SELECT FROM fresh WHERE fresh.content = open.content)
        ) AS vanished
        WHERE ingest_rejection.run_id = vanished.run_id AND ingest_rejection.position = vanished.position
            AND ingest_rejection.collection_id = :collection
    )
    INSERT INTO ingest_rejection
        (run_id, collection_id, position, code, reason, source_uri, title, content, first_number)
    SELECT :run, :collection, position, code, reason, source_uri, title, content, own.number FROM fresh CROSS JOIN own
    WHERE NOT EXISTS (SELECT FROM open WHERE open.content = fresh.content)
    ORDER BY position
    """
)

_OLD_OUTCOMES = "FROM ingest_outcome WHERE ended_at < :before AND details <> '{}'"
_OLD_ENRICHMENTS = "enrichment_outcome WHERE ended_at < :before AND details <> '{}'"
_PRUNE = text(
    f"""
    WITH old AS MATERIALIZED (
        SELECT run_id, collection_id {_OLD_OUTCOMES}
    ), outcomes AS (
        UPDATE ingest_outcome SET details = '{{}}' FROM old
        WHERE (ingest_outcome.run_id, ingest_outcome.collection_id) = (old.run_id, old.collection_id) RETURNING 1
    ), own AS (
        DELETE FROM ingest_rejection USING old WHERE content IS NULL
            AND (ingest_rejection.run_id, ingest_rejection.collection_id) = (old.run_id, old.collection_id) RETURNING 1
    ), ended AS (
        DELETE FROM ingest_rejection WHERE ended_at < :before RETURNING 1
    ), enrichments AS (
        UPDATE enrichment_outcome SET details = '{{}}' WHERE ended_at < :before AND details <> '{{}}' RETURNING 1
    )
    SELECT (SELECT count(*) FROM outcomes), (SELECT count(*) FROM own) + (SELECT count(*) FROM ended),
        (SELECT count(*) FROM enrichments)
    """
)
_COUNT = text(
    f"""
    SELECT (SELECT count(*) {_OLD_OUTCOMES}),
        (SELECT count(*) FROM ingest_rejection JOIN ingest_outcome USING (run_id, collection_id)
            WHERE content IS NULL AND ingest_outcome.ended_at < :before AND details <> '{{}}')
        + (SELECT count(*) FROM ingest_rejection WHERE ended_at < :before),
        (SELECT count(*) FROM {_OLD_ENRICHMENTS})
    """
)


class PrunedDetails(Struct, frozen=True):
    """What was removed from the audit trail, or would be for a dry-run."""

    before: dt.datetime
    """The details of what ended before this time are removed."""
    outcomes: int
    """The number of outcomes of ingests that lost their details."""
    rejections: int
    """The number of rejected items that were deleted."""
    enrichments: int
    """The number of outcomes of enrichments that lost their details."""
    kept_listings: int = 0
    """The number of kept listings that were dropped, because they were begun before that time or can't be used any
    more.
    """


def require_age(age: dt.timedelta) -> None:
    """Raise RequestError unless an age is from 0 to 36,500 days."""
    require_within("The age of details in days", age.days, 0, OLDEST_DETAILS_DAYS, code="bad_age")


async def keep_rejections(session: Session, run: Run, collection: Collection, *, whole: bool) -> None:
    """Move the staged rejections to the audit trail, in the transaction of the outcome.

    With ``whole`` the whole collection was read: rejections that are stored already stay unchanged, and those that
    aren't repeated end.
    """
    bind = {"run": run.id, "collection": collection.id}
    if not whole:
        await session.execute(_KEEP_OF_RUN, bind)
        return
    await session.execute(_NO_GUESSING)
    await session.execute(_KEEP_LASTING, bind)


async def prune_details(session: Session, before: dt.datetime, *, dry_run: bool = False) -> PrunedDetails:
    """Remove the details of what ended before a time. Outcomes and their counts stay.

    An item that is still rejected stays, however old it is. Kept listings are dropped if they were begun before that
    time or can't be used any more.
    """
    result = await session.execute(_COUNT if dry_run else _PRUNE, {"before": before})
    outcomes, rejections, enrichments = result.one()
    kept = await prune_kept(session, before, dry_run=dry_run)
    return PrunedDetails(before, outcomes, rejections, enrichments, kept)
