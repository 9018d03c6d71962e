"""Creating assets: rows of assets, and of their parts, from staged drafts.

Most often a collection that holds nothing yet lists nothing twice. All of its drafts then become assets of their own:
there is nothing to plan, and the statements read the staged drafts alone.
"""

from collections.abc import Sequence

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import TextClause

from retrovue.core.verdicts import CREATED_SHOWN
from retrovue.store.plan import label_of
from retrovue.store.staging import CARRIED, Staging

_CARRIED = ", ".join(CARRIED)
_PLANNED = "staged JOIN plan USING (seq)"
# One row of constants, which the planner puts into the rest of the statement.
_ALL_CREATED = "staged CROSS JOIN LATERAL (SELECT cast('created' AS text) AS verdict) AS plan"
_NOTHING_TO_PLAN = text(
    """
    SELECT NOT EXISTS (SELECT FROM asset WHERE collection_uuid = :collection)
        AND (SELECT count(*) = count(DISTINCT canonical_hash) FROM staged)
    """
)
# The limit ends the search behind the first drafts, which were staged first.
_FIRST = text(
    f"""
    SELECT 'created' AS verdict, {label_of("staged")} AS label, source_uri, cast(NULL AS text) AS holder
    FROM (SELECT * FROM staged WHERE seq < {CREATED_SHOWN} LIMIT {CREATED_SHOWN}) AS staged ORDER BY seq
    """
)
# Version 7 UUIDs which rise with the number of the draft. Their time is that of the statement, in steps of 1/4096 ms;
# each asset takes 16 steps, which pass while its row is written. The random rest is drawn once: a server without
# OpenSSL, such as the embedded one, opens /dev/urandom for each UUID, which was a fifth of what an asset costs.
_BASE = """
    CROSS JOIN (
        SELECT cast(extract(epoch FROM clock_timestamp()) * 4096000 AS bigint) AS steps,
            right(cast(gen_random_uuid() AS text), 17) AS rest OFFSET 0
    ) AS base CROSS JOIN LATERAL (SELECT base.steps + staged.seq * 16 AS steps) AS own
"""
_UUID = "cast(encode(int8send((own.steps >> 12 << 16) | 28672 | (own.steps & 4095)), 'hex') || base.rest AS uuid)"


def _create(rows: str) -> TextClause:
    return text(
        f"""
        INSERT INTO asset (uuid, collection_uuid, {_CARRIED})
        SELECT {_UUID}, :collection, {_CARRIED} FROM {rows} {_BASE} WHERE plan.verdict = 'created'
        """
    )


# For a collection with enrichers: a new asset with an owed enrichment starts as 'enriching'.
def _create_enriched(rows: str) -> TextClause:
    return text(
        f"""
        INSERT INTO asset (uuid, collection_uuid, {_CARRIED}, state, provenance)
        SELECT {_UUID}, :collection, {_CARRIED},
            CASE WHEN :owing OR staged_refinement.failures IS NOT NULL THEN 'enriching' ELSE 'new' END,
            nullif(staged_refinement.provenance, '{{}}')
        FROM {rows} LEFT JOIN staged_refinement USING (seq) {_BASE} WHERE plan.verdict = 'created'
        """
    )


def _create_parts(rows: str) -> TextClause:
    return text(
        f"""
        INSERT INTO asset_part (asset_uuid, position, local_path, size_bytes, duration_ms)
        SELECT (SELECT uuid FROM asset WHERE collection_uuid = :collection AND asset.source_hash = staged.source_hash),
            part.position, part.local_path, part.size_bytes, part.duration_ms
        FROM {rows}
            CROSS JOIN ROWS FROM (
                jsonb_to_recordset(staged.parts) AS (local_path text, size_bytes bigint, duration_ms bigint)
            ) WITH ORDINALITY AS part (local_path, size_bytes, duration_ms, position)
        WHERE staged.parts IS NOT NULL
            AND (plan.verdict = 'created' OR staged.seq IN (SELECT following.seq FROM following))
        """
    )


# By whether there is a plan.
_CREATE = {True: _create(_PLANNED), False: _create(_ALL_CREATED)}
_CREATE_ENRICHED = {True: _create_enriched(_PLANNED), False: _create_enriched(_ALL_CREATED)}
_CREATE_PARTS = {True: _create_parts(_PLANNED), False: _create_parts(_ALL_CREATED)}


async def needs_plan(session: AsyncSession, staging: Staging) -> bool:
    """Return whether the verdicts of the staged drafts have to be planned: False if each is sure to be ``created``.

    Page enrichers tell about the planned drafts what they have changed, so these need a plan.
    """
    if staging.comparison.anything_known or staging.enrichers.refined_by:
        return True
    return not (await session.execute(_NOTHING_TO_PLAN, {"collection": staging.collection.id})).scalar_one()


async def first_created(session: AsyncSession) -> Sequence[Row[tuple[str, str, str, None]]]:
    """Return the first drafts where all become assets, as the list of the plan has them."""
    return (await session.execute(_FIRST)).all()


async def create_assets(session: AsyncSession, staging: Staging, *, planned: bool) -> None:
    """Create the assets of the drafts with the verdict ``created``; without a plan those of all drafts."""
    bind = {"collection": staging.collection.id}
    if staging.enriched:
        await session.execute(_CREATE_ENRICHED[planned], {**bind, "owing": staging.enrichers.owing})
    else:
        await session.execute(_CREATE[planned], bind)


async def create_parts(session: AsyncSession, staging: Staging, *, planned: bool) -> None:
    """Write the parts of created assets with several files, and of assets that have followed their item."""
    await session.execute(_CREATE_PARTS[planned], {"collection": staging.collection.id})
