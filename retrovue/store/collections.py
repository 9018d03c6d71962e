"""Collections in the catalogue: what discovery found, what the operator decided, what the check said."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import Ambiguous, NotFound
from retrovue.core.model import Collection, DiscoveredCollection, Ingestibility, PathMapping, Source
from retrovue.core.text import storable
from retrovue.store.references import as_uuid, meant

GONE = "gone_from_source: the source no longer lists this collection"

_COLLECTIONS = """
    SELECT collection.*,
        (SELECT count(*) FROM asset WHERE collection_uuid = collection.id AND deleted_at IS NULL) AS assets_count,
        (SELECT max(ingest_outcome.ended_at) FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)
            WHERE ingest_start.collection_id = collection.id AND ingest_outcome.status = 'ingested') AS last_ingest_at,
        (SELECT array_agg(ARRAY[source_prefix, local_path] ORDER BY source_prefix) FROM path_mapping
            WHERE path_mapping.collection_id = collection.id) AS path_mappings
    FROM collection
"""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a discovery changed: collections by name, in the source's order."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    gone: tuple[str, ...]
    total: int


def _collection(row: Row[Any]) -> Collection:
    return Collection(
        id=row.id,
        source_id=row.source_id,
        external_id=row.external_id,
        name=row.name,
        kind=row.kind,
        sync_enabled=row.sync_enabled,
        ingestible=row.ingestible,
        not_ingestible_reason=row.not_ingestible_reason,
        locations=tuple(row.locations),
        path_mappings=tuple(PathMapping(prefix, local) for prefix, local in row.path_mappings or ()),
        assets_count=row.assets_count,
        last_ingest_at=row.last_ingest_at,
    )


async def list_collections(session: AsyncSession, source: Source | None = None) -> list[Collection]:
    """List collections, of one source or of all, by name, external id, id."""
    where = "" if source is None else "WHERE collection.source_id = :source"
    result = await session.execute(
        text(f"{_COLLECTIONS} {where} ORDER BY collection.name, collection.external_id, collection.id"),
        {} if source is None else {"source": source.id},
    )
    return [_collection(row) for row in result]


async def find_collection(session: AsyncSession, reference: str, source: Source | None = None) -> Collection:
    """Look a collection up by UUID, then external id, then exact name, within a source or all of them.

    Raises NotFound, or Ambiguous with the candidates.
    """
    result = await session.execute(
        text(
            f"{_COLLECTIONS} WHERE (collection.id = :id OR collection.external_id = :reference"
            " OR collection.name = :reference) AND (cast(:source AS uuid) IS NULL OR source_id = :source)"
            " ORDER BY collection.name, collection.external_id, collection.id"
        ),
        {"id": as_uuid(reference), "reference": reference, "source": None if source is None else source.id},
    )
    candidates = meant(reference, [_collection(row) for row in result])
    if not candidates:
        within = "" if source is None else f" in source {source.name!r}"
        raise NotFound(
            f"There is no collection {reference!r}{within}.",
            code="collection_not_found",
            hint="`retrovue collection list` shows the collections and their ids;"
            " `retrovue source discover` finds new ones.",
            context={"collection": reference},
        )
    if len(candidates) > 1:
        ids = [str(collection.id) for collection in candidates]
        raise Ambiguous(
            f"{len(candidates)} collections fit {reference!r}: {', '.join(ids)}.",
            code="ambiguous_collection",
            hint="Use one of these ids, or name the source with --source.",
            context={"collection": reference, "candidates": ids},
        )
    return candidates[0]


async def record_discovery(
    session: AsyncSession, source: Source, discovered: Sequence[DiscoveredCollection], *, dry_run: bool = False
) -> Discovery:
    """Store what the source lists now: new collections disabled, known ones refreshed, lost ones marked.

    Never enables, disables or deletes a collection. For a dry-run it only tells what it would do.
    """
    known = {collection.external_id: collection for collection in await list_collections(session, source)}
    discovered = [_storable(found) for found in discovered]
    added = [found for found in discovered if found.external_id not in known]
    updated = [
        found
        for found in discovered
        if (old := known.get(found.external_id)) is not None
        and (old.name, old.kind, old.locations) != (found.name, found.kind, found.locations)
    ]
    listed = {found.external_id for found in discovered}
    gone = [collection for key, collection in known.items() if key not in listed]
    back = [
        collection for key, collection in known.items() if key in listed and collection.not_ingestible_reason == GONE
    ]
    changes = Discovery(
        added=tuple(found.name for found in added),
        updated=tuple(found.name for found in updated),
        gone=tuple(collection.name for collection in gone),
        total=len(discovered),
    )
    if dry_run:
        return changes
    if added:
        await session.execute(
            text(
                "INSERT INTO collection (id, source_id, external_id, name, kind, locations)"
                " VALUES (:id, :source, :external_id, :name, :kind, :locations)"
            ),
            [{"id": uuid.uuid4(), "source": source.id, **_columns(found)} for found in added],
        )
    if updated:
        await session.execute(
            text(
                "UPDATE collection SET name = :name, kind = :kind, locations = :locations, updated_at = now()"
                " WHERE source_id = :source AND external_id = :external_id"
            ),
            [{"source": source.id, **_columns(found)} for found in updated],
        )
    await _set_ingestible(
        session,
        [
            *({"id": collection.id, "ingestible": False, "reason": GONE} for collection in gone),
            *({"id": collection.id, "ingestible": None, "reason": None} for collection in back),
        ],
    )
    return changes


def _storable(found: DiscoveredCollection) -> DiscoveredCollection:
    """Mend the text of a collection: one odd name must not keep all the others from being discovered."""
    return DiscoveredCollection(
        storable(found.external_id), storable(found.name), storable(found.kind), tuple(map(storable, found.locations))
    )


def _columns(found: DiscoveredCollection) -> dict[str, Any]:
    return {
        "external_id": found.external_id,
        "name": found.name,
        "kind": found.kind,
        "locations": list(found.locations),
    }


async def record_ingestibility(session: AsyncSession, answers: Iterable[tuple[Collection, Ingestibility]]) -> None:
    """Store what the importer's checks said; nothing is written of a collection of which it said so before."""
    rows: list[dict[str, Any]] = []
    for collection, answer in answers:
        said = [storable(text_) for text_ in (answer.code, answer.reason) if text_] or ["the importer gives no reason"]
        reason = None if answer.ingestible else ": ".join(said)
        rows.append({"id": collection.id, "ingestible": answer.ingestible, "reason": reason})
    await _set_ingestible(session, rows)


async def _set_ingestible(session: AsyncSession, rows: list[dict[str, Any]]) -> None:
    if rows:
        await session.execute(
            text(
                "UPDATE collection SET ingestible = :ingestible, not_ingestible_reason = :reason,"
                " ingestible_checked_at = CASE WHEN cast(:ingestible AS boolean) IS NULL THEN NULL ELSE now() END,"
                " updated_at = now() WHERE id = :id"
                " AND (ingestible, not_ingestible_reason) IS DISTINCT FROM"
                " (cast(:ingestible AS boolean), cast(:reason AS text))"
            ),
            rows,
        )


async def set_enabled(session: AsyncSession, collection: Collection, *, enabled: bool) -> None:
    """Enable or disable the collection for ingest."""
    await session.execute(
        text(
            "UPDATE collection SET sync_enabled = :enabled, updated_at = now()"
            " WHERE id = :id AND sync_enabled <> :enabled"
        ),
        {"id": collection.id, "enabled": enabled},
    )


async def set_path_mappings(session: AsyncSession, collection: Collection, mappings: Iterable[PathMapping]) -> None:
    """Replace the collection's path mappings by these."""
    await session.execute(text("DELETE FROM path_mapping WHERE collection_id = :id"), {"id": collection.id})
    rows = [{"id": collection.id, "prefix": mapping.source_prefix, "local": mapping.local_path} for mapping in mappings]
    if rows:
        await session.execute(
            text("INSERT INTO path_mapping (collection_id, source_prefix, local_path) VALUES (:id, :prefix, :local)"),
            rows,
        )


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What wiping or deleting destroys, or would destroy."""

    collections: int
    assets: int
    approved_assets: int
    """Of the assets: those that are ready for broadcast."""


async def count_assets(session: AsyncSession, collections: Sequence[Collection]) -> Destroyed:
    """Count what would go with these collections."""
    result = await session.execute(
        text(
            "SELECT count(*) AS assets, count(*) FILTER (WHERE approved_for_broadcast) AS approved"
            " FROM asset WHERE collection_uuid = ANY(:ids)"
        ),
        {"ids": [collection.id for collection in collections]},
    )
    row = result.one()
    return Destroyed(collections=len(collections), assets=row.assets, approved_assets=row.approved)


async def wipe(session: AsyncSession, collections: Sequence[Collection]) -> None:
    """Delete all assets of these collections, with parts and aliases; collections and audit trail stay."""
    ids = {"ids": [collection.id for collection in collections]}
    await session.execute(text("DELETE FROM asset_alias WHERE collection_uuid = ANY(:ids)"), ids)
    await session.execute(text("DELETE FROM asset WHERE collection_uuid = ANY(:ids)"), ids)
