"""Enrichments in the catalogue: the owed ones of each asset, and the results of those that were tried.

An attached enricher owes an enrichment to each asset that is ``enriching`` and for which it has no result, or a failed
one.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from msgspec import Struct, field

from retrovue.core.model import AttachedEnricher, Collection
from retrovue.core.verdicts import REFRESHED
from retrovue.store.changes import NewChange, record_changes
from retrovue.store.drafts import UNSEEN
from retrovue.store.statements import Row, Session, text

_FIELDS = (
    "title", "show_title", "season_number", "episode_number", "year", "originally_aired", "runtime_ms", "edition",
    "studio", "content_rating", "rating", "container", "video_codec", "audio_codec", "audio_channels",
    "video_resolution", "width", "height", "bitrate_kbps", "provider_ids", "tags", "chapters", "markers", "streams",
    "show_year", "show_provider_ids", "artist", "album", "disc_number", "track_number",
)  # fmt: skip
"""The columns that an enricher may fill."""


class Part(Struct, frozen=True):
    """The assets of a collection whose ids are above ``after`` and not above ``upto``; None means no bound."""

    after: UUID | None = None
    upto: UUID | None = None


class OwedAsset(Struct, frozen=True):
    """An asset with owed enrichments, and the data that enrichers need."""

    uuid: UUID
    source_uri: str
    type: str
    values: Mapping[str, Any]
    """The values of the columns, by name."""
    files: tuple[tuple[str, int | None, int | None], ...]
    """The local path, size in bytes and duration in ms of each file, in playing order."""
    owed: frozenset[UUID]
    """The ids of the enrichers that owe an enrichment."""
    fingerprints: Mapping[UUID, Mapping[str, Any]]
    """The fingerprint of the last success, by the enricher's id."""
    provenance: Mapping[str, str]
    """The external id of the enricher that filled a column, by the column's name."""
    again: Mapping[UUID, Mapping[str, Sequence[Any]]]
    """The enrichments that are owed again since a sidecar has changed: by the enricher's id, for each column that the
    enricher filled, the source's value and the external id of the page enricher that gave it.
    """
    sidecar_stamp: str | None
    """The marks of its sidecars at the last comparison; `UNSEEN` if its file couldn't be seen, None if there was none
    yet.
    """

    @property
    def has_sidecars(self) -> bool:
        """Whether it had sidecars at the last comparison."""
        return self.sidecar_stamp not in (None, "", UNSEEN)


class Result(Struct, frozen=True):
    """The result of one enricher for one asset."""

    asset: UUID
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """New values by the names of the columns; None clears a column."""
    given_back: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """The changed columns that have the source's value again, with the page enricher that gave it."""
    told: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    """The values before and after, for the feed of changes; empty for the first enrichment of an asset."""
    code: str | None = None
    """The code of a failure; None for a success."""
    message: str | None = None
    fingerprint: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    sidecar_stamp: str | None = None
    """The marks of the sidecars from before they were read, or `UNSEEN`. Set for an asset that has no marks yet."""


_PAGE = text(
    f"""
    SELECT uuid, source_uri, type, provenance, sidecar_stamp, {", ".join(_FIELDS)},
        (SELECT jsonb_agg(jsonb_build_array(local_path, size_bytes, duration_ms) ORDER BY position)
            FROM asset_file WHERE asset_file.asset_uuid = asset.uuid) AS files,
        (SELECT jsonb_agg(jsonb_build_array(enricher_id, status, fingerprint, run_id, again))
            FROM asset_enrichment e WHERE e.asset_uuid = asset.uuid) AS known, state = 'ready' AS approved
    FROM (
        (SELECT * FROM asset WHERE collection_uuid = :collection AND state = 'enriching' AND deleted_at IS NULL
            AND (cast(:after AS uuid) IS NULL OR uuid > :after)
            AND (cast(:upto AS uuid) IS NULL OR uuid <= :upto) ORDER BY uuid LIMIT :limit)
        UNION ALL
        (SELECT approved.*
            FROM (SELECT DISTINCT asset_uuid FROM asset_enrichment WHERE again IS NOT NULL
                AND (cast(:after AS uuid) IS NULL OR asset_uuid > :after)
                AND (cast(:upto AS uuid) IS NULL OR asset_uuid <= :upto)) AS owed
            CROSS JOIN LATERAL (SELECT * FROM asset WHERE uuid = owed.asset_uuid AND collection_uuid = :collection
                AND state = 'ready' AND deleted_at IS NULL OFFSET 0) AS approved
            ORDER BY uuid LIMIT :limit)
    ) AS asset
    ORDER BY uuid LIMIT :limit
    """
)


async def owed_page(
    session: Session,
    collection: Collection,
    attached: Sequence[AttachedEnricher],
    *,
    after: UUID | None,
    upto: UUID | None = None,
    limit: int,
    run: UUID,
    only_failed: bool = False,
) -> list[OwedAsset]:
    """Read up to ``limit`` assets that may have owed enrichments, by id, from ``after`` to ``upto``.

    These are assets that are enriching, and approved ones whose sidecar has changed. Some of them may have no owed
    enrichment. Enrichments that this run has tried don't count as owed. With ``only_failed`` only those that failed
    before count as owed.
    """
    result = await session.execute(_PAGE, {"collection": collection.id, "after": after, "upto": upto, "limit": limit})
    wanted = {enricher.enricher.id for enricher in attached}
    return [_owed(row, wanted, str(run), only_failed=only_failed) for row in result]


def asset_values(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """Return the values of an asset's columns. A rating has single precision: 6.1 is returned as 6.099999904632568."""
    values = {name: getattr(row, name) for name in columns}
    if values["rating"] is not None:
        values["rating"] = round(values["rating"], 2)
    return values


def _owed(row: Row, wanted: set[UUID], run: str, *, only_failed: bool) -> OwedAsset:
    known = {
        UUID(key): (status, fingerprint, tried_in, again)
        for key, status, fingerprint, tried_in, again in row.known or ()
    }
    done = {key for key, (status, _, tried_in, _) in known.items() if status == "succeeded" or tried_in == run}
    if row.approved:
        wanted = {key for key in wanted if key in known and known[key][3] is not None}
    owed = {key for key in wanted - done if key in known} if only_failed else wanted - done
    return OwedAsset(
        uuid=UUID(bytes=row.uuid.bytes),  # The driver's own type isn't a uuid.UUID.
        source_uri=row.source_uri,
        type=row.type,
        values=asset_values(row, _FIELDS),
        files=tuple((path, size, duration) for path, size, duration in row.files or ()),
        owed=frozenset(owed),
        fingerprints={key: fingerprint for key, (_, fingerprint, _, _) in known.items() if fingerprint is not None},
        provenance=row.provenance or {},
        again={key: again for key, (*_, again) in known.items() if again is not None},
        sidecar_stamp=row.sidecar_stamp,
    )


async def count_owed(
    session: Session, collection: Collection, attached: Sequence[AttachedEnricher], *, only_failed: bool = False
) -> int:
    """Count the owed enrichments: pairs of an asset and an attached enricher."""
    result = await session.execute(
        text(
            "WITH owing AS ("
            " SELECT asset.uuid, wanted.id FROM asset CROSS JOIN unnest(cast(:enrichers AS uuid[])) AS wanted (id)"
            "  WHERE collection_uuid = :collection AND state = 'enriching' AND deleted_at IS NULL"
            " UNION ALL"
            " SELECT approved.uuid, changed.enricher_id FROM asset_enrichment AS changed CROSS JOIN LATERAL ("
            "   SELECT uuid FROM asset WHERE uuid = changed.asset_uuid AND collection_uuid = :collection"
            "    AND state = 'ready' AND deleted_at IS NULL OFFSET 0) AS approved"
            "  WHERE changed.again IS NOT NULL AND changed.enricher_id = ANY(cast(:enrichers AS uuid[]))"
            ") SELECT count(*) FROM owing"
            " WHERE NOT EXISTS (SELECT FROM asset_enrichment e WHERE e.asset_uuid = owing.uuid"
            "  AND e.enricher_id = owing.id AND e.status = 'succeeded')"
            " AND (NOT cast(:only_failed AS boolean) OR EXISTS (SELECT FROM asset_enrichment e"
            "  WHERE e.asset_uuid = owing.uuid AND e.enricher_id = owing.id AND e.status = 'failed'))"
        ),
        {
            "only_failed": only_failed,
            "collection": collection.id,
            "enrichers": [enricher.enricher.id for enricher in attached],
        },
    )
    return int(result.scalar_one())


# jsonb_populate_record keeps the row's value for each missing key.
_CHANGE = text(
    f"""
    UPDATE asset SET ({", ".join(_FIELDS)}) = (
            SELECT {", ".join(f"after.{name}" for name in _FIELDS)}
            FROM jsonb_populate_record(asset, item.changes) AS after
        ),
        provenance = nullif(jsonb_strip_nulls(coalesce(asset.provenance, '{{}}') || item.provenance), '{{}}'),
        updated_at = now()
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
        again = CASE WHEN excluded.status = 'failed' THEN asset_enrichment.again END,
        message = excluded.message, attempts = asset_enrichment.attempts + 1, run_id = excluded.run_id,
        fingerprint = coalesce(excluded.fingerprint, asset_enrichment.fingerprint),
        data = coalesce(excluded.data, asset_enrichment.data), updated_at = clock_timestamp()
    """
)
# For an asset that is older than its first marks: a later sync can then see that a sidecar was edited.
_MARK = text(
    "UPDATE asset SET sidecar_stamp = item.sidecar_stamp"
    " FROM jsonb_to_recordset(cast(:items AS jsonb)) AS item (uuid uuid, sidecar_stamp text)"
    f" WHERE asset.uuid = item.uuid AND coalesce(asset.sidecar_stamp, '{UNSEEN}') = '{UNSEEN}'"
)
_END_ENRICHING = text(
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


async def record(
    session: Session, run: UUID, collection: Collection, by: AttachedEnricher, results: Sequence[Result]
) -> None:
    """Store the results of an enricher. Assets with no more owed enrichments change from ``enriching`` to ``new``."""
    name = by.enricher.external_id
    changed = [
        {
            "uuid": result.asset,
            "changes": result.changes,
            "provenance": {
                column: result.given_back.get(column, None if value is None else name)
                for column, value in result.changes.items()
            },
        }
        for result in results
        if result.changes
    ]
    if changed:
        await session.execute(_CHANGE, {"items": _json(changed)})
    items = [
        {"uuid": result.asset, **_fields_of(result, "code", "message", "fingerprint", "data")} for result in results
    ]
    await session.execute(_RECORD, {"items": _json(items), "run": run, "enricher": by.enricher.id})
    if marked := [result for result in results if result.sidecar_stamp is not None and result.code is None]:
        await session.execute(
            _MARK, {"items": _json([_fields_of(result, "sidecar_stamp") | {"uuid": result.asset} for result in marked])}
        )
    if done := [result.asset for result in results if result.code is None]:
        await session.execute(_END_ENRICHING, {"assets": done})
    told = [
        NewChange(
            asset_uuid=result.asset,
            collection_uuid=collection.id,
            title=result.title,
            what=REFRESHED,
            fields=result.told,
            run_id=run,
        )
        for result in results
        if result.told
    ]
    await record_changes(session, told)


class EnrichmentOutcome(Struct, frozen=True):
    """The outcome of a collection's enrichment in the audit trail."""

    run: UUID
    collection: UUID
    status: str
    """``done``, ``interrupted`` or ``failed``."""
    succeeded: int
    failed: int
    owed: int | None
    """The number of enrichments that are still owed; None if they couldn't be counted."""
    details: Mapping[str, Any]
    duration: float
    """Seconds from the start until now."""


async def write_outcome(session: Session, outcome: EnrichmentOutcome) -> None:
    """Write the outcome of an enrichment to the audit trail."""
    await session.execute(
        text(
            "INSERT INTO enrichment_outcome (run_id, collection_id, status, succeeded, failed, owed, details,"
            " started_at) VALUES (:run, :collection, :status, :succeeded, :failed, :owed, cast(:details AS jsonb),"
            " clock_timestamp() - cast(:duration AS double precision) * interval '1 second') ON CONFLICT DO NOTHING"
        ),
        {**_fields_of(outcome, *EnrichmentOutcome.__struct_fields__), "details": _json(outcome.details)},
    )


class AssetEnrichment(Struct, frozen=True):
    """The latest result of one enricher for an asset."""

    enricher: str
    """The enricher's external id."""
    name: str
    status: str
    """``succeeded``, ``failed``, or ``owed`` if it hasn't been tried."""
    attempts: int
    code: str | None
    message: str | None
    updated_at: dt.datetime | None


async def enrichments_of(session: Session, asset: UUID) -> list[AssetEnrichment]:
    """List the results of all enrichers for an asset, and its owed enrichments."""
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


def _fields_of(record: object, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
