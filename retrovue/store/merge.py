"""The merge: a plan gives each staged draft its verdict, and one transaction carries the plan out.

The plan is the same SQL for a run and for a dry-run. A run reads the staging table. A dry-run may not make temporary
tables, and reads the keys from one packed parameter.

The verdicts of the plan (`retrovue.core.verdicts`):

* ``skipped``: the collection has an asset of this source item, with the same canonical identity;
* ``soft_deleted``: it has, but the asset is marked as deleted (also counted as skipped);
* ``relocated``: it has, but the canonical identity is another; the asset gets it (also counted as skipped);
* ``duplicate``: another asset has the same canonical identity, or has it after this merge;
* ``created``: none of these.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.results import Listed, Named, failed_enrichment
from retrovue.core.verdicts import LISTED, LISTS, PLANNED
from retrovue.store.audit import Run
from retrovue.store.known import begin_listing, forget_listing, listing_holds
from retrovue.store.staging import CARRIED, Staging

# Look-ups in the catalogue are scalar subqueries in unique indexes, and nested loops are switched off for the rest:
# the planner can't know the size of a staging table or a CTE; where it guesses "few rows", a merge takes minutes.
NO_GUESSING = text("SET LOCAL enable_nestloop = off")

# The merge itself computes which pages are known after it; this keeps the triggers from forgetting all of them.
_MERGING = text("SET LOCAL retrovue.merging = 'on'")

# An asset that moves frees its place for another one, so that files may swap their names. A move is stuck if its
# target is kept by an asset that stays, or is claimed by an earlier draft. A move that waits for a stuck one is stuck
# too. Chains of them are walked through one array of numbers, as each step of a recursive join would read all moves.
# The result goes through an array as well: the planner expects so many rows of a recursion that it would hash to files.
PLAN = """
    keys AS MATERIALIZED (
        SELECT seq, canonical_hash,
            (SELECT uuid FROM asset WHERE asset.collection_uuid = :collection
                AND asset.source_hash = staged.source_hash) AS own,
            (SELECT uuid FROM asset WHERE asset.collection_uuid = :collection
                AND asset.canonical_hash = staged.canonical_hash) AS standing
        FROM staged
    ),
    known AS MATERIALIZED (
        SELECT seq, canonical_hash, own, standing,
            (SELECT asset.canonical_hash FROM asset WHERE asset.uuid = own) AS held_hash,
            (SELECT deleted_at IS NOT NULL FROM asset WHERE asset.uuid = own) AS deleted
        FROM keys WHERE own IS NOT NULL
    ),
    moving AS MATERIALIZED (
        SELECT seq, canonical_hash, own, standing, row_number() OVER (ORDER BY seq) AS number,
            row_number() OVER (PARTITION BY canonical_hash ORDER BY seq) AS claim
        FROM known WHERE held_hash <> canonical_hash AND NOT deleted
    ),
    waiting AS MATERIALIZED (
        SELECT moving.number, moving.claim, moving.standing, leaving.number AS waits_for
        FROM moving LEFT JOIN moving AS leaving ON leaving.own = moving.standing
    ),
    follower AS (
        SELECT array_agg(cast(coalesce(waiting.number, 0) AS integer) ORDER BY moving.number) AS numbers
        FROM moving LEFT JOIN waiting ON waiting.waits_for = moving.number AND waiting.claim = 1
    ),
    stuck AS (
        SELECT cast(number AS integer) AS number FROM waiting
        WHERE claim > 1 OR (standing IS NOT NULL AND waits_for IS NULL)
        UNION
        SELECT number FROM (SELECT (SELECT numbers FROM follower)[stuck.number] AS number FROM stuck) AS next
        WHERE number <> 0
    ),
    staying AS MATERIALIZED (
        SELECT own FROM moving JOIN (SELECT unnest(array_agg(number)) AS number FROM stuck) AS stuck USING (number)
    ),
    moved AS MATERIALIZED (
        SELECT seq, canonical_hash, own FROM moving
        WHERE NOT EXISTS (SELECT FROM staying WHERE staying.own = moving.own)
    ),
    placed AS (
        SELECT keys.seq, keys.canonical_hash, keys.own,
            coalesce(arriving.own, CASE WHEN leaving.own IS NULL THEN keys.standing END) AS holder
        FROM keys
            LEFT JOIN moved AS leaving ON leaving.own = keys.standing
            LEFT JOIN moved AS arriving ON arriving.canonical_hash = keys.canonical_hash
    ),
    plan AS (
        SELECT seq, CASE WHEN holder IS NULL AND first_seq = seq THEN 'created' ELSE 'duplicate' END AS verdict,
            holder AS asset_uuid, CASE WHEN holder IS NULL THEN first_seq END AS first_seq
        FROM (
            SELECT seq, holder, min(seq) OVER (PARTITION BY canonical_hash) AS first_seq
            FROM placed WHERE own IS NULL
        ) AS fresh
        UNION ALL
        SELECT seq,
            CASE WHEN deleted THEN 'soft_deleted' WHEN held_hash = known.canonical_hash THEN 'skipped'
                WHEN moved.own IS NOT NULL THEN 'relocated' ELSE 'duplicate' END,
            CASE WHEN deleted OR held_hash = known.canonical_hash OR moved.own IS NOT NULL THEN known.own
                ELSE holder END,
            NULL
        FROM known JOIN placed USING (seq) LEFT JOIN moved USING (seq)
    )
"""

MAKE_PLAN = text(
    f"INSERT INTO plan (seq, verdict, asset_uuid, first_seq) WITH RECURSIVE {PLAN}"
    " SELECT seq, verdict, asset_uuid, first_seq FROM plan"
)

_COUNT = text("SELECT verdict, count(*) AS total FROM plan GROUP BY verdict")


def label_of(row: str) -> str:
    """Return the SQL that does what ``core.results.label`` does, for an asset or a staged draft."""
    season, episode, track = (
        f"to_char({row}.{number}, 'FM9999999900')" for number in ("season_number", "episode_number", "track_number")
    )
    return (
        f"concat_ws(' ', {row}.show_title, {row}.album, nullif(concat('S' || {season}, 'E' || {episode}), ''),"
        f" nullif(concat_ws('-', nullif({row}.disc_number, 0), {track}), ''), {row}.title, '[' || {row}.edition || ']')"
    )


_FIRST_OF_EACH = " UNION ALL ".join(
    f"(SELECT * FROM plan WHERE verdict = '{verdict.name}' ORDER BY seq LIMIT {entries.most})"
    for verdict, entries in LISTS
    if verdict.planned
)
_LIST = text(
    f"""
    SELECT shown.verdict, {label_of("staged")} AS label, staged.source_uri, staged.canonical_uri,
        coalesce((SELECT {label_of("asset")} FROM asset WHERE uuid = shown.asset_uuid), {label_of("first")}) AS holder
    FROM ({_FIRST_OF_EACH}) AS shown JOIN staged USING (seq) LEFT JOIN staged AS first ON first.seq = shown.first_seq
    ORDER BY shown.seq
    """
)

_RELOCATE = text(
    """
    UPDATE asset SET canonical_uri = staged.canonical_uri, canonical_key = staged.canonical_key,
        canonical_hash = staged.canonical_hash, part_count = staged.part_count, size_bytes = staged.size_bytes,
        updated_at = now()
    FROM plan JOIN staged USING (seq) WHERE plan.verdict = 'relocated' AND asset.uuid = plan.asset_uuid
    """
)
_DROP_RELOCATED_PARTS = text(
    "DELETE FROM asset_part USING plan WHERE plan.verdict = 'relocated' AND asset_part.asset_uuid = plan.asset_uuid"
)
OWED_AGAIN = """
    plan.verdict = 'relocated' AND asset.state IN ('new', 'enriching')
    AND asset_enrichment.asset_uuid = plan.asset_uuid AND asset_enrichment.status = 'succeeded'
    AND asset_enrichment.enricher_id = ANY(:reading_files)
"""
"""The enrichments that are owed again because the file has moved. Approved and retired assets stay as they are."""
# The fingerprint stays, so that an enricher that finds the same file needn't read it again.
_OWE_AGAIN = text(
    f"""
    WITH again AS (
        UPDATE asset_enrichment SET status = 'failed', code = 'relocated', message = 'The file has moved since.',
            updated_at = clock_timestamp()
        FROM plan JOIN asset ON asset.uuid = plan.asset_uuid
        WHERE {OWED_AGAIN}
        RETURNING asset_enrichment.asset_uuid
    )
    UPDATE asset SET state = 'enriching', updated_at = now()
    FROM again WHERE asset.uuid = again.asset_uuid AND asset.state = 'new'
    """
)
_CREATE = text(
    f"""
    INSERT INTO asset (collection_uuid, {", ".join(CARRIED)})
    SELECT :collection, {", ".join(CARRIED)} FROM staged JOIN plan USING (seq) WHERE plan.verdict = 'created'
    """
)
# For a collection with enrichers: a new asset to which something is owed begins as 'enriching'.
_CREATE_ENRICHED = text(
    f"""
    INSERT INTO asset (collection_uuid, {", ".join(CARRIED)}, state, provenance)
    SELECT :collection, {", ".join(CARRIED)},
        CASE WHEN :owing OR staged_refinement.failures IS NOT NULL THEN 'enriching' ELSE 'new' END,
        nullif(staged_refinement.provenance, '{{}}')
    FROM staged JOIN plan USING (seq) LEFT JOIN staged_refinement USING (seq) WHERE plan.verdict = 'created'
    """
)
_KEEP_REFINEMENTS = text(
    """
    INSERT INTO asset_enrichment (asset_uuid, enricher_id, status, code, message, run_id)
    SELECT (SELECT uuid FROM asset WHERE collection_uuid = :collection AND asset.source_hash = staged.source_hash),
        refining.id, CASE WHEN said.failures ? cast(refining.id AS text) THEN 'failed' ELSE 'succeeded' END,
        said.failures -> cast(refining.id AS text) ->> 'code', said.failures -> cast(refining.id AS text) ->> 'message',
        :run
    FROM plan JOIN staged USING (seq) CROSS JOIN unnest(cast(:refined_by AS uuid[])) AS refining (id)
        LEFT JOIN staged_refinement AS said USING (seq)
    WHERE plan.verdict = 'created'
    """
)
_FAILED_REFINEMENTS = text(
    f"""
    SELECT {label_of("staged")} AS label, enricher.external_id, failure.value ->> 'code' AS code,
        failure.value ->> 'message' AS message, count(*) OVER () AS total
    FROM plan JOIN staged USING (seq) JOIN staged_refinement USING (seq)
        CROSS JOIN jsonb_each(staged_refinement.failures) AS failure
        JOIN enricher ON cast(enricher.id AS text) = failure.key
    WHERE plan.verdict = 'created' ORDER BY seq, enricher.external_id LIMIT :listed
    """
)
_CREATE_PARTS = text(
    """
    INSERT INTO asset_part (asset_uuid, position, local_path, size_bytes, duration_ms)
    SELECT (SELECT uuid FROM asset WHERE collection_uuid = :collection AND asset.source_hash = staged.source_hash),
        part.position, part.local_path, part.size_bytes, part.duration_ms
    FROM plan JOIN staged USING (seq)
        CROSS JOIN ROWS FROM (
            jsonb_to_recordset(staged.parts) AS (local_path text, size_bytes bigint, duration_ms bigint)
        ) WITH ORDINALITY AS part (local_path, size_bytes, duration_ms, position)
    WHERE staged.parts IS NOT NULL AND plan.verdict IN ('created', 'relocated')
    """
)
_ADD_ALIASES = text(
    """
    INSERT INTO asset_alias (collection_uuid, source_hash, asset_uuid, source_uri, title, season_number, episode_number)
    SELECT :collection, staged.source_hash,
        coalesce(plan.asset_uuid, (
            SELECT uuid FROM asset WHERE collection_uuid = :collection AND asset.source_hash = first.source_hash
        )),
        staged.source_uri, staged.title, staged.season_number, staged.episode_number
    FROM plan JOIN staged USING (seq) LEFT JOIN staged AS first ON first.seq = plan.first_seq
    WHERE plan.verdict = 'duplicate'
    ON CONFLICT (collection_uuid, source_hash) DO UPDATE SET asset_uuid = excluded.asset_uuid,
        source_uri = excluded.source_uri, title = excluded.title, season_number = excluded.season_number,
        episode_number = excluded.episode_number
    WHERE (asset_alias.asset_uuid, asset_alias.source_uri, asset_alias.title, asset_alias.season_number,
            asset_alias.episode_number)
        IS DISTINCT FROM (excluded.asset_uuid, excluded.source_uri, excluded.title, excluded.season_number,
            excluded.episode_number)
    """
)
# An item with an asset of its own is no alias.
_DROP_ALIASES = text(
    """
    DELETE FROM asset_alias USING plan JOIN staged USING (seq)
    WHERE plan.verdict <> 'duplicate' AND asset_alias.collection_uuid = :collection
        AND asset_alias.source_hash = staged.source_hash
    """
)


class MergeResult(NamedTuple):
    """The verdicts of the staged drafts: how many, and the first of each."""

    counts: Mapping[str, int]
    """The number of drafts by `Verdict.count`. A verdict that is part of another is included in both."""
    listed: Listed


def merge_result(totals: Mapping[str, int], entries: Mapping[str, Sequence[Named]]) -> MergeResult:
    """Make the result from the number of drafts and the first entries, by `Verdict.name`."""
    counts = {verdict.count: totals.get(verdict.name, 0) for verdict in PLANNED}
    for verdict in PLANNED:
        if verdict.part_of is not None:
            counts[verdict.part_of] += totals.get(verdict.name, 0)
    lists: dict[str, Any] = {
        verdict.count: tuple(entries.get(verdict.name, ())[: form.most]) for verdict, form in LISTS if verdict.planned
    }
    return MergeResult(counts, Listed(**lists))


async def merge_staged(session: AsyncSession, staging: Staging, *, full: bool) -> MergeResult:
    """Plan and carry out the merge of what is staged, inside the caller's transaction.

    ``full``: the whole collection was read, so that its known pages are stored.
    """
    held = full and await listing_holds(session, staging.collection)
    result = await _merge(session, staging) if staging.staged else merge_result({}, {})
    counts = result.counts
    if held:
        await staging.keep_pages(session, all_staged=not counts["duplicates"] and not counts["soft_deleted"])
    elif full:
        await begin_listing(session, staging.collection)
    elif counts["relocated"] or counts["duplicates"]:
        await forget_listing(session, staging.collection)
    return result


async def _merge(session: AsyncSession, staging: Staging) -> MergeResult:
    bind = {"collection": staging.collection.id}
    await session.execute(NO_GUESSING)
    await session.execute(MAKE_PLAN, bind)
    totals = {row.verdict: row.total for row in await session.execute(_COUNT)}
    entries = _entries((await session.execute(_LIST)).all())
    if "relocated" in totals:
        await session.execute(_MERGING)
        await session.execute(_DROP_RELOCATED_PARTS)
        await session.execute(_RELOCATE)
        if staging.enrichers.reading_files:
            await session.execute(_OWE_AGAIN, {"reading_files": list(staging.enrichers.reading_files)})
    if "created" in totals:
        if staging.enriched:
            await session.execute(_CREATE_ENRICHED, {**bind, "owing": staging.enrichers.owing})
        else:
            await session.execute(_CREATE, bind)
    if staging.several_parts and totals.keys() & {"created", "relocated"}:
        await session.execute(_CREATE_PARTS, bind)
    if staging.comparison.anything_known:
        await session.execute(_DROP_ALIASES, bind)
    if "duplicate" in totals:
        await session.execute(_ADD_ALIASES, bind)
    return merge_result(totals, entries)


async def keep_refinements(
    session: AsyncSession, run: Run, staging: Staging
) -> tuple[int, tuple[Mapping[str, str], ...]]:
    """Store what page enrichers did to the new assets; return the number of failures, and the first ones."""
    bind = {"collection": staging.collection.id, "run": run.id, "refined_by": list(staging.enrichers.refined_by)}
    await session.execute(_KEEP_REFINEMENTS, bind)
    failed = (await session.execute(_FAILED_REFINEMENTS, {"listed": LISTED})).all()
    listed = tuple(failed_enrichment(row.label, row.external_id, row.code, row.message) for row in failed)
    return (failed[0].total if failed else 0, listed)


def _entries(rows: Sequence[Row[Any]]) -> Mapping[str, Sequence[Named]]:
    columns = {verdict.name: form.column for verdict, form in LISTS}
    entries: dict[str, list[Named]] = {}
    for row in rows:
        column = columns[row.verdict]
        detail = None if column is None else getattr(row, column)
        entries.setdefault(row.verdict, []).append(Named(row.label, row.source_uri, detail))
    return entries
