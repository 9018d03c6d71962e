"""Enrichments in the catalogue: what is owed to which asset, and what became of it.

Owed is what an attached enricher hasn't done yet for an asset that is ``enriching``: there is no row of it, or one
that says that it failed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import AttachedEnricher, Collection

_FIELDS = (
    "title", "show_title", "season_number", "episode_number", "year", "originally_aired", "runtime_ms", "edition",
    "studio", "content_rating", "rating", "container", "video_codec", "audio_codec", "audio_channels",
    "video_resolution", "width", "height", "bitrate_kbps", "provider_ids", "tags", "chapters", "markers", "streams",
)  # fmt: skip
"""The columns that an enricher may fill."""


@dataclass(frozen=True, slots=True)
class OwedAsset:
    """An asset to which something is owed, with what enrichers need to know of it."""

    uuid: UUID
    source_uri: str
    type: str
    values: Mapping[str, Any]
    """By the names of the columns."""
    files: tuple[tuple[str, int | None, int | None], ...]
    """Local path, size in bytes and duration in ms of each, in playing order."""
    owed: frozenset[UUID]
    """The ids of the enrichers."""
    fingerprints: Mapping[UUID, Mapping[str, Any]]
    """By the enricher's id, what it gave the last time that it succeeded."""
    provenance: Mapping[str, str]
    """Which enricher gave a column, by its external id."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one asset with one enricher."""

    asset: UUID
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """New values by the names of the columns; None for what is taken back."""
    code: str | None = None
    """Of a failure; None for a success."""
    message: str | None = None
    fingerprint: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None


_PAGE = text(
    f"""
    SELECT uuid, source_uri, type, provenance, {", ".join(_FIELDS)},
        (SELECT jsonb_agg(jsonb_build_array(local_path, size_bytes, duration_ms) ORDER BY position)
            FROM asset_file WHERE asset_file.asset_uuid = asset.uuid) AS files,
        (SELECT jsonb_agg(jsonb_build_array(enricher_id, status, fingerprint, run_id))
            FROM asset_enrichment e WHERE e.asset_uuid = asset.uuid) AS known
    FROM asset WHERE collection_uuid = :collection AND state = 'enriching' AND deleted_at IS NULL
        AND (cast(:after AS uuid) IS NULL OR uuid > :after)
    ORDER BY uuid LIMIT :limit
    """
)


async def owed_page(
    session: AsyncSession,
    collection: Collection,
    attached: Sequence[AttachedEnricher],
    *,
    after: UUID | None,
    limit: int,
    run: UUID,
    only_failed: bool = False,
) -> list[OwedAsset]:
    """Read the next assets that are enriching, in the order of their ids, from the one after ``after``.

    With ``only_failed`` just what failed the last time counts as owed. What was tried in this run is not owed again
    within it. Assets that are owed nothing are among them.
    """
    result = await session.execute(_PAGE, {"collection": collection.id, "after": after, "limit": limit})
    wanted = {one.enricher.id for one in attached}
    return [_owed(row, wanted, str(run), only_failed=only_failed) for row in result]


def _owed(row: Row[Any], wanted: set[UUID], run: str, *, only_failed: bool) -> OwedAsset:
    known = {UUID(key): (status, fingerprint, tried_in) for key, status, fingerprint, tried_in in row.known or ()}
    done = {key for key, (status, _, tried_in) in known.items() if status == "succeeded" or tried_in == run}
    owed = {key for key in wanted - done if key in known} if only_failed else wanted - done
    return OwedAsset(
        uuid=UUID(bytes=row.uuid.bytes),  # the driver's own kind of UUID isn't one to everybody
        source_uri=row.source_uri,
        type=row.type,
        values={name: getattr(row, name) for name in _FIELDS},
        files=tuple((path, size, duration) for path, size, duration in row.files or ()),
        owed=frozenset(owed),
        fingerprints={key: fingerprint for key, (_, fingerprint, _) in known.items() if fingerprint is not None},
        provenance=row.provenance or {},
    )


async def count_owed(
    session: AsyncSession, collection: Collection, attached: Sequence[AttachedEnricher], *, only_failed: bool = False
) -> int:
    """Count what is owed: each pair of an enriching asset and an enricher that hasn't done its part."""
    result = await session.execute(
        text(
            "SELECT count(*) FROM asset CROSS JOIN unnest(cast(:enrichers AS uuid[])) AS wanted (id)"
            " WHERE asset.collection_uuid = :collection AND asset.state = 'enriching' AND asset.deleted_at IS NULL"
            " AND NOT EXISTS (SELECT FROM asset_enrichment e WHERE e.asset_uuid = asset.uuid"
            "  AND e.enricher_id = wanted.id AND e.status = 'succeeded')"
            " AND (NOT cast(:only_failed AS boolean) OR EXISTS (SELECT FROM asset_enrichment e"
            "  WHERE e.asset_uuid = asset.uuid AND e.enricher_id = wanted.id AND e.status = 'failed'))"
        ),
        {"only_failed": only_failed, "collection": collection.id, "enrichers": [one.enricher.id for one in attached]},
    )
    return int(result.scalar_one())


# jsonb_populate_record keeps what the row holds for every key that isn't there.
_CHANGE = text(
    f"""
    UPDATE asset SET ({", ".join(_FIELDS)}) = (
            SELECT {", ".join(f"after.{name}" for name in _FIELDS)}
            FROM jsonb_populate_record(asset, item.changes) AS after
        ),
        provenance = jsonb_strip_nulls(coalesce(asset.provenance, '{{}}') || item.provenance), updated_at = now()
    FROM jsonb_to_recordset(cast(:items AS jsonb)) AS item (uuid uuid, changes jsonb, provenance jsonb)
    WHERE asset.uuid = item.uuid
    """
)
_RECORD = text(
    """
    INSERT INTO asset_enrichment (asset_uuid, enricher_id, status, code, message, fingerprint, data, run_id)
    SELECT item.uuid, :enricher, CASE WHEN item.code IS NULL THEN 'succeeded' ELSE 'failed' END, item.code,
        item.message, item.fingerprint, item.data, :run
    FROM jsonb_to_recordset(cast(:items AS jsonb))
        AS item (uuid uuid, code text, message text, fingerprint jsonb, data jsonb)
        JOIN asset ON asset.uuid = item.uuid
    ON CONFLICT (asset_uuid, enricher_id) DO UPDATE SET status = excluded.status, code = excluded.code,
        message = excluded.message, attempts = asset_enrichment.attempts + 1, run_id = excluded.run_id,
        fingerprint = coalesce(excluded.fingerprint, asset_enrichment.fingerprint),
        data = coalesce(excluded.data, asset_enrichment.data), updated_at = clock_timestamp()
    """
)
_SETTLE = text(
    """
    UPDATE asset SET state = 'new', updated_at = now()
    WHERE uuid = ANY(:assets) AND state = 'enriching' AND NOT EXISTS (
        SELECT FROM collection_enricher ce WHERE ce.collection_id = asset.collection_uuid AND NOT EXISTS (
            SELECT FROM asset_enrichment e
            WHERE e.asset_uuid = asset.uuid AND e.enricher_id = ce.enricher_id AND e.status = 'succeeded'
        )
    )
    """
)


async def record(session: AsyncSession, run: UUID, by: AttachedEnricher, results: Sequence[Result]) -> None:
    """Store what an enricher came to with some assets; those to which nothing more is owed become new."""
    changed = [
        {
            "uuid": one.asset,
            "changes": one.changes,
            "provenance": {
                name: None if value is None else by.enricher.external_id for name, value in one.changes.items()
            },
        }
        for one in results
        if one.changes
    ]
    if changed:
        await session.execute(_CHANGE, {"items": _json(changed)})
    items = [
        {
            "uuid": one.asset,
            "code": one.code,
            "message": one.message,
            "fingerprint": one.fingerprint,
            "data": one.data,
        }
        for one in results
    ]
    await session.execute(_RECORD, {"items": _json(items), "run": run, "enricher": by.enricher.id})
    if done := [one.asset for one in results if one.code is None]:
        await session.execute(_SETTLE, {"assets": done})


@dataclass(frozen=True, slots=True)
class EnrichmentOutcome:
    """The end of one collection's enrichment, as the audit trail keeps it."""

    run: UUID
    collection: UUID
    status: str
    """``done``, ``interrupted`` or ``failed``."""
    succeeded: int
    failed: int
    owed: int | None
    """What is still owed; None if it couldn't be found out."""
    details: Mapping[str, Any]
    duration: float
    """Seconds until now."""


async def write_outcome(session: AsyncSession, outcome: EnrichmentOutcome) -> None:
    """Write the row that says how an enrichment ended."""
    await session.execute(
        text(
            "INSERT INTO enrichment_outcome (run_id, collection_id, status, succeeded, failed, owed, details,"
            " started_at) VALUES (:run, :collection, :status, :succeeded, :failed, :owed, cast(:details AS jsonb),"
            " clock_timestamp() - cast(:duration AS double precision) * interval '1 second') ON CONFLICT DO NOTHING"
        ),
        {
            "run": outcome.run,
            "collection": outcome.collection,
            "status": outcome.status,
            "succeeded": outcome.succeeded,
            "failed": outcome.failed,
            "owed": outcome.owed,
            "details": _json(outcome.details),
            "duration": outcome.duration,
        },
    )


@dataclass(frozen=True, slots=True)
class AssetEnrichment:
    """What one enricher came to with an asset."""

    enricher: str
    """Its external id."""
    name: str
    status: str
    """``succeeded``, ``failed``, or ``owed`` where it hasn't been tried."""
    attempts: int
    code: str | None
    message: str | None
    updated_at: dt.datetime | None


async def enrichments_of(session: AsyncSession, asset: UUID) -> list[AssetEnrichment]:
    """List what every enricher came to with an asset, and what attached ones still owe to it while it is enriching."""
    result = await session.execute(
        text(
            "SELECT enricher.external_id, enricher.name, coalesce(e.status, 'owed'), coalesce(e.attempts, 0), e.code,"
            " e.message, e.updated_at FROM asset CROSS JOIN enricher"
            " LEFT JOIN asset_enrichment e ON e.asset_uuid = asset.uuid AND e.enricher_id = enricher.id"
            " LEFT JOIN collection_enricher ce"
            "  ON ce.collection_id = asset.collection_uuid AND ce.enricher_id = enricher.id"
            " WHERE asset.uuid = :asset"
            " AND (e.status IS NOT NULL OR (ce.priority IS NOT NULL AND asset.state = 'enriching'))"
            " ORDER BY ce.priority NULLS LAST, enricher.external_id"
        ),
        {"asset": asset},
    )
    return [AssetEnrichment(*row) for row in result]


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
