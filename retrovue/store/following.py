"""Let assets follow their source: they take the current values of their item, and the feed of changes gets the changes.

An ingest only changes the paths of files. Values that an enricher gave stay, unless they were read from a file that was
replaced.
"""

from collections.abc import Sequence
from uuid import UUID

import orjson

from retrovue.core.model import Enricher
from retrovue.core.verdicts import ChangeKind
from retrovue.store.audit import Run
from retrovue.store.changes import tell
from retrovue.store.comparing import ADDED, CONTENT, DESCRIPTION, SourceValues, compare, held_assets
from retrovue.store.plan import NO_GUESSING, label_of
from retrovue.store.relinking import Pair, relinks_json
from retrovue.store.staging import Staging
from retrovue.store.statements import Session, text

FOLLOWERS: tuple[ChangeKind, ...] = ("refreshed", "replaced", "restored", "relocated", "relinked")
"""The verdicts for which an asset follows its item."""
_BATCH = 1000
"""The number of relinked assets that are compared at the same time."""

# Values from another file are useless, and so are results that an enricher read from it: `kept` is what stays.
_FIND_FOLLOWING = """
    INSERT INTO following
    SELECT plan.seq, asset.uuid, {label}, plan.verdict, staged.difference = 2,
        asset.canonical_hash <> staged.canonical_hash,
        staged.difference = 2 AND asset.state = 'ready'
            AND NOT (SELECT keep_approval FROM collection WHERE id = :collection),
        {refined} CASE WHEN staged.difference <> 2 OR asset.provenance IS NULL THEN asset.provenance ELSE (
            SELECT jsonb_object_agg(given.key, given.value) FROM jsonb_each_text(asset.provenance) AS given
            WHERE given.value NOT IN (SELECT external_id FROM enricher WHERE id = ANY({ids[reading_files]}))
                AND (given.key NOT IN ({content})
                    OR given.value IN (SELECT external_id FROM enricher WHERE id = ANY({ids[refined_by]})))
        ) END,
        coalesce(staged.fields, CASE WHEN asset.canonical_hash <> staged.canonical_hash
            THEN jsonb_build_object('canonical_key', jsonb_build_array(asset.canonical_key, staged.canonical_key))
            ELSE '{{}}' END) || CASE WHEN asset.source_hash <> staged.source_hash
            THEN jsonb_build_object('source_uri', jsonb_build_array(asset.source_uri, staged.source_uri))
            ELSE '{{}}' END
    FROM plan JOIN staged USING (seq) JOIN asset ON asset.uuid = plan.asset_uuid {join}
    WHERE plan.verdict IN ({followers})
"""
_WITH_REFINEMENTS = {
    "refined": "CASE WHEN plan.verdict = 'relinked' THEN coalesce(refined.provenance, '{}') ELSE '{}' END ||",
    "join": "LEFT JOIN staged_refinement AS refined USING (seq)",
}
_KEPT = "(asset.provenance ? '{0}' AND following.kept ? '{0}')"
_DESCRIBE = ", ".join(
    f"{column} = CASE WHEN {_KEPT.format(column)} THEN asset.{column} ELSE staged.{column} END"
    for column in DESCRIPTION
)
_REPLACE = ", ".join(
    f"{column} = CASE WHEN {_KEPT.format(column)} THEN asset.{column} WHEN following.replaced THEN staged.{column}"
    f" ELSE coalesce(staged.{column}, asset.{column}) END"
    for column in CONTENT
)
_FOLLOW = text(
    f"""
    UPDATE asset SET source_hash = staged.source_hash, source_uri = staged.source_uri,
        canonical_uri = staged.canonical_uri, canonical_key = staged.canonical_key,
        canonical_hash = staged.canonical_hash, part_count = staged.part_count, stamp = staged.stamp,
        file_stamp = coalesce(staged.file_stamp, CASE WHEN NOT following.replaced THEN asset.file_stamp END),
        sidecar_stamp = coalesce(staged.sidecar_stamp, asset.sidecar_stamp),
        {_DESCRIBE}, {_REPLACE},
        streams = CASE WHEN following.replaced AND NOT {_KEPT.format("streams")} THEN NULL ELSE asset.streams END,
        provenance = nullif(following.kept, '{{}}'),
        availability = 'present', unavailable_since = NULL, unavailable_run = NULL, unavailable_reason = NULL,
        state = CASE WHEN following.withdrawn THEN 'new' ELSE asset.state END,
        approved_for_broadcast = asset.approved_for_broadcast AND NOT following.withdrawn, updated_at = now()
    FROM following JOIN staged USING (seq) WHERE asset.uuid = following.asset_uuid
    """
)
_RELOCATE = text(
    """
    UPDATE asset SET canonical_uri = staged.canonical_uri, canonical_key = staged.canonical_key,
        canonical_hash = staged.canonical_hash, part_count = staged.part_count, size_bytes = staged.size_bytes,
        updated_at = now()
    FROM following JOIN staged USING (seq) WHERE asset.uuid = following.asset_uuid
    """
)
_DROP_PARTS = text("DELETE FROM asset_part USING following WHERE asset_part.asset_uuid = following.asset_uuid")
_KEEP_IDENTITIES = text(
    """
    INSERT INTO asset_identity (asset_uuid, collection_uuid, source_hash, source_uri, run_id, rule)
    SELECT asset.uuid, asset.collection_uuid, asset.source_hash, asset.source_uri, :run, relink.rule
    FROM jsonb_to_recordset(cast(:relinks AS jsonb)) AS relink (asset uuid, rule text)
        JOIN asset ON asset.uuid = relink.asset
    ON CONFLICT (asset_uuid, source_hash) DO UPDATE
        SET until = excluded.until, run_id = excluded.run_id, rule = excluded.rule
    """
)
# An identity that the asset has again isn't a former identity any more.
_DROP_IDENTITIES = text(
    "DELETE FROM asset_identity USING asset, following WHERE asset.uuid = following.asset_uuid"
    " AND asset_identity.asset_uuid = asset.uuid AND asset_identity.source_hash = asset.source_hash"
)
# The fingerprint stays, so that an enricher that finds the same file needn't read it again.
_OWE_AGAIN = text(
    """
    UPDATE asset_enrichment SET status = 'failed', updated_at = clock_timestamp(),
        code = CASE WHEN following.replaced THEN 'replaced' ELSE 'relocated' END,
        message = CASE WHEN following.replaced THEN 'The file was replaced since.' ELSE 'The file has moved since.' END
    FROM following JOIN asset ON asset.uuid = following.asset_uuid
    WHERE asset_enrichment.asset_uuid = following.asset_uuid AND asset_enrichment.status = 'succeeded'
        AND asset_enrichment.enricher_id = ANY(:reading_files)
        AND (following.replaced OR (following.moved AND asset.state IN ('new', 'enriching')))
    """
)
_BEGIN_ENRICHING = text(
    """
    UPDATE asset SET state = 'enriching', updated_at = now() FROM following
    WHERE asset.uuid = following.asset_uuid AND asset.state = 'new'
        AND (following.replaced OR following.moved OR following.withdrawn)
        AND EXISTS (
            SELECT FROM collection_enricher AS attached WHERE attached.collection_id = :collection AND NOT EXISTS (
                SELECT FROM asset_enrichment AS done WHERE done.asset_uuid = asset.uuid
                    AND done.enricher_id = attached.enricher_id AND done.status = 'succeeded'
            )
        )
    """
)
# No visible field differs: only the stamp is stored, for the next runs.
_STORE_ANEW = ", ".join(f"{column} = coalesce(asset.{column}, staged.{column})" for column in ADDED)
_STAMP = text(
    f"""
    UPDATE asset SET stamp = staged.stamp, file_stamp = coalesce(staged.file_stamp, asset.file_stamp),
        sidecar_stamp = coalesce(staged.sidecar_stamp, asset.sidecar_stamp), {_STORE_ANEW},
        year = CASE WHEN asset.stamp IS NULL AND asset.type = 'episode' AND asset.year = staged.show_year
            THEN staged.year ELSE asset.year END,
        show_title = CASE WHEN asset.type = 'track' THEN coalesce(asset.show_title, staged.show_title)
            ELSE asset.show_title END,
        tags = CASE WHEN asset.stamp IS NULL AND asset.type = 'track' THEN asset.tags - 'artist' - 'album'
            ELSE asset.tags END
    FROM plan JOIN staged USING (seq) WHERE plan.verdict = 'skipped' AND asset.uuid = plan.own
        AND (asset.stamp, asset.file_stamp, asset.sidecar_stamp)
            IS DISTINCT FROM (staged.stamp, coalesce(staged.file_stamp, asset.file_stamp),
                coalesce(staged.sidecar_stamp, asset.sidecar_stamp))
    """
)
# An approved asset keeps its approval. An enricher that was never tried for it owes nothing.
_OWE_SIDECARS = text(
    """
    UPDATE asset_enrichment SET status = 'failed', code = 'sidecar_changed', updated_at = clock_timestamp(),
        message = 'A sidecar has changed since.', again = coalesce(staged.again -> enricher.external_id, '{}')
    FROM plan JOIN staged USING (seq) JOIN asset ON asset.uuid = plan.asset_uuid, enricher
    WHERE staged.again IS NOT NULL AND plan.verdict <> 'soft_deleted' AND asset.state <> 'retired'
        AND asset_enrichment.asset_uuid = asset.uuid AND asset_enrichment.enricher_id = enricher.id
        AND enricher.id = ANY(cast(string_to_array(:readers, ',') AS uuid[]))
    """
)
_BEGIN_ENRICHING_AGAIN = text(
    """
    UPDATE asset SET state = 'enriching', updated_at = now() FROM plan JOIN staged USING (seq)
    WHERE staged.again IS NOT NULL AND asset.uuid = plan.asset_uuid AND asset.state = 'new'
        AND EXISTS (SELECT FROM asset_enrichment AS owed WHERE owed.asset_uuid = asset.uuid AND owed.again IS NOT NULL)
    """
)
_CHANGES = """
    SELECT asset_uuid, cast(:collection AS uuid), title, told.what, cast(:run AS uuid), cast(NULL AS text),
        told.fields
    FROM following CROSS JOIN LATERAL (
        VALUES (1, following.what, following.fields), (2, 'withdrawn', '{"state": ["ready", "new"]}')
    ) AS told (number, what, fields) WHERE told.number = 1 OR following.withdrawn
    ORDER BY seq, told.number
"""
_STAGED = text(
    f"SELECT seq, canonical_key, sidecar_stamp, parts, {', '.join((*DESCRIPTION, *CONTENT))} FROM staged"
    " WHERE seq = ANY(cast(string_to_array(:seqs, ',') AS integer[]))"
)
_SET_DIFFERENCES = text(
    "UPDATE staged SET difference = item.difference, fields = item.fields, again = item.again"
    " FROM jsonb_to_recordset(cast(:items AS jsonb)) AS item"
    " (seq integer, difference integer, fields jsonb, again jsonb) WHERE staged.seq = item.seq"
)


async def compare_relinked(session: Session, relinks: Sequence[Pair], readers: Sequence[Enricher]) -> bool:
    """Compare relinked assets with their new items, and stage the differences.

    Returns whether enrichers that read sidecars, ``readers``, owe anything again.
    """
    owes_again = False
    many = len(relinks) > _BATCH
    if many:
        # Each batch reads the whole table, and if a library was built anew every item is relinked.
        await session.execute(text("CREATE INDEX staged_number ON staged (seq)"))
        await session.execute(text("ANALYZE staged"))
        await session.execute(text("SET LOCAL enable_nestloop = on"))
    for start in range(0, len(relinks), _BATCH):
        batch = relinks[start : start + _BATCH]
        held = await held_assets(session, [pair.asset for pair in batch])
        rows = await session.execute(_STAGED, {"seqs": ",".join(str(pair.seq) for pair in batch)})
        staged = {row.seq: row for row in rows}
        items: list[dict[str, object]] = []
        for pair in batch:
            row = staged[pair.seq]
            files = row.parts or [{"size_bytes": row.size_bytes, "duration_ms": None}]
            parts = [[file["size_bytes"], file["duration_ms"]] for file in files]
            values = {column: getattr(row, column) for column in (*DESCRIPTION, *CONTENT)}
            # Without the stamp of the file, which is made from the server's ids and is new with the item.
            source = SourceValues(row.canonical_key, values, None, parts, row.sidecar_stamp, values, {})
            difference = compare(held[pair.asset], source, readers)
            owes_again |= difference.again is not None
            kind, fields, again = difference
            items.append({"seq": pair.seq, "difference": kind, "fields": fields, "again": again})
        await session.execute(_SET_DIFFERENCES, {"items": orjson.dumps(items).decode()})
    if many:
        await session.execute(text("DROP INDEX staged_number"))
        await session.execute(NO_GUESSING)
    return owes_again


async def follow(session: Session, staging: Staging, run: Run, relinks: Sequence[Pair] = ()) -> None:
    """Let the assets of the plan follow their items: all values in a sync, only the paths of files in an ingest."""
    syncing = staging.comparison.mode == "sync"
    reading, refining = list(staging.enrichers.reading_files), list(staging.enrichers.refined_by)
    bind = {"collection": staging.collection.id}
    # These may be few rows of a large table, or all rows. The planner can choose only if it knows the numbers.
    await session.execute(text("SET LOCAL enable_nestloop = on"))
    await session.execute(text("ANALYZE plan, staged"))
    find = _FIND_FOLLOWING.format(
        label=label_of("asset"),
        followers=", ".join(f"'{verdict}'" for verdict in FOLLOWERS),
        content=", ".join(f"'{column}'" for column in (*CONTENT, "streams")),
        ids={name: f"cast(string_to_array(:{name}, ',') AS uuid[])" for name in ("reading_files", "refined_by")},
        **(_WITH_REFINEMENTS if staging.enriched else {"refined": "", "join": ""}),
    )
    enrichers = {"reading_files": ",".join(map(str, reading)), "refined_by": ",".join(map(str, refining))}
    await session.execute(text(find), {**bind, **enrichers})
    await session.execute(text("ANALYZE following"))
    if relinks:
        await session.execute(_KEEP_IDENTITIES, {"run": run.id, "relinks": relinks_json(relinks)})
    await session.execute(_DROP_PARTS)
    await session.execute(_FOLLOW if syncing else _RELOCATE)
    if relinks:
        await session.execute(_DROP_IDENTITIES)
    if reading:
        await session.execute(_OWE_AGAIN, {"reading_files": reading})
    await session.execute(_BEGIN_ENRICHING, bind)


async def stamp(session: Session) -> None:
    """Store the stamps of the assets of the plan that have no other difference."""
    await session.execute(text("ANALYZE plan, staged"))
    await session.execute(_STAMP)


async def owe_sidecars(session: Session, readers: Sequence[Enricher]) -> None:
    """Owe the enrichments of these enrichers again for the assets of the plan whose sidecar has changed."""
    await session.execute(_OWE_SIDECARS, {"readers": ",".join(str(enricher.id) for enricher in readers)})
    await session.execute(_BEGIN_ENRICHING_AGAIN)


async def tell_followed(session: Session, collection: UUID, run: Run, *, later: bool) -> None:
    """Add the changes of assets to the feed, with ``later`` together with those of other collections."""
    await tell(session, _CHANGES, {"collection": collection, "run": run.id}, later=later)
