"""Creating assets: rows of assets, and of their parts, from staged drafts.

In a collection that holds nothing yet each draft becomes an asset of its own, unless an earlier one has the same files.
The plan then has rows for these duplicates only, of which there are few, and every other draft is created.
"""

from collections.abc import Sequence
from typing import Literal

from retrovue.core.verdicts import CREATED_SHOWN
from retrovue.store.plan import MAKE_PLAN, NO_GUESSING, label_of
from retrovue.store.staged import CARRIED
from retrovue.store.staging import Staging
from retrovue.store.statements import OWN, Row, Session, Statement, text

Planned = Literal["all", "some", "nothing"]
"""Which drafts have rows in the plan. Those without one are created."""

_CARRIED = ", ".join(CARRIED)
_AS_CREATED = f"'created' AS verdict, {label_of('staged')} AS label, source_uri, cast(NULL AS text) AS holder"
# Also lists the first drafts, and does what NO_GUESSING does: a small collection has one round trip instead of three.
_LOOK = text(
    f"""
    WITH look AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM asset WHERE collection_uuid = :collection) AS held,
            (SELECT count(*) > count(DISTINCT canonical_hash) FROM staged) AS repeated,
            set_config('enable_nestloop', 'off', true) AS joins
    )
    SELECT held, repeated, {_AS_CREATED}
    FROM look CROSS JOIN (SELECT * FROM staged WHERE seq < {CREATED_SHOWN} LIMIT {CREATED_SHOWN}) AS staged
    ORDER BY seq
    """
)
_PLAN_DUPLICATES = text(
    """
    INSERT INTO plan (seq, verdict, first_seq)
    SELECT seq, 'duplicate', first_seq
    FROM (SELECT seq, min(seq) OVER (PARTITION BY canonical_hash) AS first_seq FROM staged) AS numbered
    WHERE seq <> first_seq
    """
)
_UNPLANNED = "NOT EXISTS (SELECT FROM plan WHERE plan.seq = staged.seq)"
# The inner limit ends the search behind the first drafts, which were staged first.
_FIRST = text(
    f"""
    SELECT {_AS_CREATED}
    FROM (SELECT * FROM staged WHERE seq < cast(:among AS integer) LIMIT :among) AS staged
    WHERE {_UNPLANNED} ORDER BY seq LIMIT {CREATED_SHOWN}
    """
)
# Version 7 UUIDs which rise with the number of the draft. Their time is that of the statement, in steps of 1/4096 ms;
# each asset takes 16 steps, which pass while its row is written. The random rest is drawn once: a server without
# OpenSSL, such as the embedded one, opens /dev/urandom for each UUID, which was a fifth of what an asset costs.
_BASE = """
    WITH base AS MATERIALIZED (
        SELECT cast(extract(epoch FROM clock_timestamp()) * 4096000 AS bigint) AS steps,
            right(cast(gen_random_uuid() AS text), 17) AS rest
    )
"""
_OWN = "CROSS JOIN LATERAL (SELECT (SELECT steps FROM base) + staged.seq * 16 AS steps) AS own"
_STEPS = "int8send((own.steps >> 12 << 16) | 28672 | (own.steps & 4095))"
_UUID = f"cast(encode({_STEPS}, 'hex') || (SELECT rest FROM base) AS uuid)"


def _create(rows: str, created: str) -> Statement:
    return text(
        f"""
        {_BASE} INSERT INTO asset (uuid, collection_uuid, {_CARRIED})
        SELECT {_UUID}, :collection, {_CARRIED} FROM {rows} {_OWN} WHERE {created}
        """
    )


# For a collection with enrichers: a new asset with an owed enrichment starts as 'enriching'.
def _create_enriched(rows: str, created: str) -> Statement:
    return text(
        f"""
        {_BASE} INSERT INTO asset (uuid, collection_uuid, {_CARRIED}, state, provenance)
        SELECT {_UUID}, :collection, {_CARRIED},
            CASE WHEN :owing OR staged_refinement.failures IS NOT NULL THEN 'enriching' ELSE 'new' END,
            nullif(staged_refinement.provenance, '{{}}')
        FROM {rows} LEFT JOIN staged_refinement USING (seq) {_OWN} WHERE {created}
        """
    )


def _create_parts(rows: str, created: str) -> Statement:
    return text(
        f"""
        INSERT INTO asset_part (asset_uuid, position, local_path, size_bytes, duration_ms)
        SELECT (SELECT uuid FROM asset WHERE collection_uuid = {OWN} AND asset.source_hash = staged.source_hash),
            part.position, part.local_path, part.size_bytes, part.duration_ms
        FROM {rows}
            CROSS JOIN ROWS FROM (
                jsonb_to_recordset(staged.parts) AS (local_path text, size_bytes bigint, duration_ms bigint)
            ) WITH ORDINALITY AS part (local_path, size_bytes, duration_ms, position)
        WHERE staged.parts IS NOT NULL AND ({created})
        """
    )


_ALL = ("staged JOIN plan USING (seq)", "plan.verdict = 'created'")
_FOLLOWED = "staged.seq IN (SELECT following.seq FROM following)"
_OTHERS = ("staged", _UNPLANNED)

# By whether all drafts are planned.
_CREATE = {True: _create(*_ALL), False: _create(*_OTHERS)}
_CREATE_ENRICHED = {True: _create_enriched(*_ALL), False: _create_enriched(*_OTHERS)}
_CREATE_PARTS = {True: _create_parts(_ALL[0], f"{_ALL[1]} OR {_FOLLOWED}"), False: _create_parts(*_OTHERS)}


async def plan(session: Session, staging: Staging) -> tuple[Planned, Sequence[Row]]:
    """Plan the verdicts of the staged drafts; return which have one and, if none has, the first ones for the list.

    There is at least one draft. Page enrichers tell about the planned drafts what they have changed, so they need a
    plan of all. From here to the end of the transaction nested loops are switched off.
    """
    bind = {"collection": staging.collection.id}
    if not staging.comparison.anything_known and not staging.enrichers.refined_by:
        first = (await session.execute(_LOOK, bind)).all()
        if not first[0].held:
            if not first[0].repeated:
                return "nothing", first
            await session.execute(_PLAN_DUPLICATES)
            return "some", ()
    else:
        await session.execute(NO_GUESSING)
    await session.execute(MAKE_PLAN, {**bind, "syncing": staging.comparison.mode == "sync"})
    return "all", ()


async def first_created(session: Session, planned: int) -> Sequence[Row]:
    """Return the first drafts without a row in the plan, which has ``planned``, as the list of the plan would."""
    return (await session.execute(_FIRST, {"among": CREATED_SHOWN + planned})).all()


async def create_assets(session: Session, staging: Staging, planned: Planned) -> None:
    """Create the assets of the drafts with the verdict ``created``, and of those without a row in the plan."""
    bind = {"collection": staging.collection.id}
    if staging.enriched:
        await session.execute(_CREATE_ENRICHED[planned == "all"], {**bind, "owing": staging.enrichers.owing})
    else:
        await session.execute(_CREATE[planned == "all"], bind)


async def create_parts(session: Session, staging: Staging, planned: Planned) -> None:
    """Write the parts of created assets with several files, and of assets that have followed their item."""
    await session.execute(_CREATE_PARTS[planned == "all"], {"collection": staging.collection.id})
