"""Collections in the catalogue: as discovered, with the operator's settings, and whether they are ingestible."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.answers import DiscoveredCollection, Ingestibility
from retrovue.core.model import Collection, PathMapping, Source
from retrovue.core.text import quoted, storable
from retrovue.store.references import look_up
from retrovue.store.sources import find_source, get_source
from retrovue.store.statements import Row, Session, text

GONE = "gone_from_source: the source no longer lists this collection"

_COLUMNS = """
    collection.*, (SELECT name FROM source WHERE source.id = collection.source_id) AS source_name,
    (SELECT array_agg(ARRAY[source_prefix, local_path] ORDER BY source_prefix) FROM path_mapping
        WHERE path_mapping.collection_id = collection.id) AS path_mappings
"""
_LABEL = """
    (SELECT format('%s (%s of %s, %s)', collection.id, collection.name, source.name, source.external_id)
        FROM source WHERE source.id = collection.source_id) AS label
"""
KEPT_ASSETS = (
    "((SELECT count(*) FROM asset WHERE collection_uuid = {collection})"
    " - (SELECT count(*) FROM asset WHERE collection_uuid = {collection} AND deleted_at IS NOT NULL))"
)
"""The number of a collection's assets that aren't marked as deleted, counted in two indexes.

A condition on ``deleted_at`` would read the row of each asset. New rows are read all the same until vacuum has seen
them.
"""
_LAST_INGEST = """
    (SELECT max(ingest_outcome.ended_at) FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)
        WHERE ingest_start.collection_id = collection.id AND ingest_outcome.status = 'ingested') AS last_ingest_at
"""
# Reads an index entry of each asset, and all audit rows of the collection.
_STATISTICS = f"""
    {KEPT_ASSETS.format(collection="collection.id")} AS assets_count,
    {_LAST_INGEST}
"""
# All at once: where the table has to be read, one count for each collection would read it for each large one.
_COUNTED = """
    LEFT JOIN (SELECT collection_uuid, count(*) AS number FROM asset
        WHERE collection_uuid IN (SELECT id FROM collection {where}) GROUP BY collection_uuid
    ) AS held ON held.collection_uuid = collection.id
    LEFT JOIN (SELECT collection_uuid, count(*) AS number FROM asset
        WHERE deleted_at IS NOT NULL AND collection_uuid IN (SELECT id FROM collection {where}) GROUP BY collection_uuid
    ) AS marked ON marked.collection_uuid = collection.id
"""


class Discovery(Struct, frozen=True):
    """The changes made by a discovery. Collections are given by name, in the order of the source."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    gone: tuple[str, ...]
    total: int
    renamed: tuple[tuple[str, str], ...] = ()
    """The updated collections whose name changed: the old name and the new one."""


def _collection(row: Row) -> Collection:
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
        assets_count=getattr(row, "assets_count", 0),
        last_ingest_at=getattr(row, "last_ingest_at", None),
        keep_approval=row.keep_approval,
        check_files=row.check_files,
        library_uuid=row.library_uuid,
        source_name=row.source_name,
    )


async def list_collections(session: Session, source: Source | None = None, *, counted: bool = True) -> list[Collection]:
    """List the collections of a source, or all, by name, external id and id; with statistics if ``counted``."""
    where = "" if source is None else "WHERE collection.source_id = :source"
    kept = "coalesce(held.number, 0) - coalesce(marked.number, 0) AS assets_count"
    statistics = f", {kept}, {_LAST_INGEST}" if counted else ""
    joined = _COUNTED.format(where=where) if counted else ""
    result = await session.execute(
        text(
            f"SELECT {_COLUMNS}{statistics} FROM collection {joined} {where}"
            " ORDER BY collection.name, collection.external_id, collection.id"
        ),
        {} if source is None else {"source": source.id},
    )
    return [_collection(row) for row in result]


async def enabled_collections(session: Session) -> list[Collection]:
    """List the enabled collections of all sources, without statistics."""
    result = await session.execute(
        text(f"SELECT {_COLUMNS} FROM collection WHERE sync_enabled ORDER BY source_id, external_id")
    )
    return [_collection(row) for row in result]


async def ids_within(session: Session, source: str | None, collection: str | None) -> list[uuid.UUID] | None:
    """Return the ids of the collections that the references select; None for all. Raises NotFound or Ambiguous."""
    owner = None if source is None else await find_source(session, source)
    if collection is not None:
        return [(await find_collection(session, collection, owner)).id]
    if owner is None:
        return None
    result = await session.execute(text("SELECT id FROM collection WHERE source_id = :source"), {"source": owner.id})
    return list(result.scalars())


async def collections_by_id(session: Session, collections: Iterable[Collection]) -> dict[uuid.UUID, Collection]:
    """Read collections again by id, without statistics; deleted ones are missing in the result."""
    ids = "cast(string_to_array(:ids, ',') AS uuid[])"  # As text: for an array asyncpg would first query its type.
    result = await session.execute(
        text(f"SELECT {_COLUMNS} FROM collection WHERE collection.id = ANY({ids})"),
        {"ids": ",".join(str(collection.id) for collection in collections)},
    )
    return {row.id: _collection(row) for row in result}


async def find_collection(
    session: Session, reference: str, source: Source | None = None, *, statistics: bool = False
) -> Collection:
    """Return the collection that a reference names, in one source or in all.

    Its statistics, the number of assets and the last ingest, are read only with ``statistics``, because their cost
    grows with the collection. Raises NotFound or Ambiguous.
    """
    row = await look_up(
        session,
        "collection",
        f"{_COLUMNS}, {_LABEL}, {_STATISTICS}" if statistics else f"{_COLUMNS}, {_LABEL}",
        reference,
        hint="Use one of these ids, or name the source with --source.",
        source=None if source is None else source.id,
        within="" if source is None else f" in source {quoted(source.name)}",
    )
    return _collection(row)


async def find_target(
    session: Session, reference: str, source_reference: str | None = None, *, statistics: bool = False
) -> tuple[Source, Collection]:
    """Return the collection that a reference names, and its source. ``statistics`` as in ``find_collection``.

    ``source_reference`` limits the look-up to one source. Raises NotFound or Ambiguous.
    """
    source = None if source_reference is None else await find_source(session, source_reference)
    collection = await find_collection(session, reference, source, statistics=statistics)
    return source or await get_source(session, collection.source_id), collection


async def record_discovery(
    session: Session, source: Source, discovered: Sequence[DiscoveredCollection], *, dry_run: bool = False
) -> Discovery:
    """Store the collections that a source lists now.

    New collections are disabled. Known ones get their current name, kind and locations. Those that the source doesn't
    list any more aren't ingestible until it lists them again. No collection is enabled, disabled or deleted. A dry-run
    returns the same and writes nothing.
    """
    known = {collection.external_id: collection for collection in await list_collections(session, source)}
    unidentified = {found.name for found in discovered if not found.external_id}
    discovered = [_storable(_completed(found, known)) for found in discovered if found.external_id]
    added = [found for found in discovered if found.external_id not in known]
    updated = [
        found
        for found in discovered
        if (old := known.get(found.external_id)) is not None
        and (old.name, old.kind, old.locations) != (found.name, found.kind, found.locations)
    ]
    listed = {found.external_id for found in discovered}
    gone = [
        collection
        for key, collection in known.items()
        if key not in listed and not unidentified & {collection.name, ""}
    ]
    back = [
        collection for key, collection in known.items() if key in listed and collection.not_ingestible_reason == GONE
    ]
    changes = Discovery(
        added=tuple(found.name for found in added),
        updated=tuple(found.name for found in updated),
        gone=tuple(collection.name for collection in gone),
        total=len(discovered),
        renamed=tuple(
            (known[found.external_id].name, found.name)
            for found in updated
            if known[found.external_id].name != found.name
        ),
    )
    if dry_run:
        return changes
    if added:
        await session.execute(
            text(
                "INSERT INTO collection (id, source_id, external_id, name, kind, locations, library_uuid)"
                " VALUES (:id, :source, :external_id, :name, :kind, :locations, :library_uuid)"
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
    for found in discovered:
        # An id that differs from the stored one isn't stored: first a sync has to decide about the assets.
        if found.uuid is not None and (old := known.get(found.external_id)) is not None and old.library_uuid is None:
            await keep_library(session, old, found.uuid)
    await _set_ingestible(
        session,
        [
            *({"id": collection.id, "ingestible": False, "reason": GONE} for collection in gone),
            *({"id": collection.id, "ingestible": None, "reason": None} for collection in back),
        ],
    )
    return changes


def _storable(found: DiscoveredCollection) -> DiscoveredCollection:
    """Make the texts of a collection storable: one invalid name must not stop the discovery of the others."""
    return DiscoveredCollection(
        storable(found.external_id),
        storable(found.name),
        storable(found.kind),
        tuple(map(storable, found.locations)),
        uuid=None if found.uuid is None else storable(found.uuid)[:200],
    )


def _columns(found: DiscoveredCollection) -> dict[str, Any]:
    return {
        "external_id": found.external_id,
        "name": found.name,
        "kind": found.kind,
        "locations": list(found.locations),
        "library_uuid": found.uuid,
    }


async def keep_library(session: Session, collection: Collection, library_uuid: str) -> None:
    """Store the id of the library that the assets of a collection came from."""
    await session.execute(
        text("UPDATE collection SET library_uuid = :library_uuid WHERE id = :id"),
        {"id": collection.id, "library_uuid": storable(library_uuid)[:200]},
    )


async def record_ingestibility(session: Session, answers: Iterable[tuple[Collection, Ingestibility]]) -> None:
    """Store whether collections are ingestible, according to the importer. An unchanged result isn't written."""
    rows: list[dict[str, Any]] = []
    for collection, answer in answers:
        words = [storable(word) for word in (answer.code, answer.reason) if word] or ["the importer gives no reason"]
        reason = None if answer.ingestible else ": ".join(words)
        rows.append({"id": collection.id, "ingestible": answer.ingestible, "reason": reason})
    await _set_ingestible(session, rows)


def _completed(found: DiscoveredCollection, known: Mapping[str, Collection]) -> DiscoveredCollection:
    """Return the collection with the stored locations if the source hides them, and with a name."""
    stored = known.get(found.external_id)
    locations = found.locations if found.locations_known or stored is None else stored.locations
    return replace(found, name=found.name_or(None if stored is None else stored.name), locations=locations)


async def _set_ingestible(session: Session, rows: list[dict[str, Any]]) -> None:
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


async def set_enabled(session: Session, collection: Collection, *, enabled: bool) -> None:
    """Enable or disable a collection for source ingests."""
    await session.execute(
        text(
            "UPDATE collection SET sync_enabled = :enabled, updated_at = now()"
            " WHERE id = :id AND sync_enabled <> :enabled"
        ),
        {"id": collection.id, "enabled": enabled},
    )


async def set_keep_approval(session: Session, collection: Collection, *, keep_approval: bool) -> None:
    """Set whether assets of a collection stay approved when their files are replaced."""
    await session.execute(
        text(
            "UPDATE collection SET keep_approval = :keep_approval, updated_at = now()"
            " WHERE id = :id AND keep_approval <> :keep_approval"
        ),
        {"id": collection.id, "keep_approval": keep_approval},
    )


async def set_check_files(session: Session, collection: Collection, *, check_files: bool) -> None:
    """Set whether an ingest looks for the collection's files on this machine."""
    await session.execute(
        text(
            "UPDATE collection SET check_files = :check_files, updated_at = now()"
            " WHERE id = :id AND check_files <> :check_files"
        ),
        {"id": collection.id, "check_files": check_files},
    )


async def set_path_mappings(session: Session, collection: Collection, mappings: Iterable[PathMapping]) -> None:
    """Replace the path mappings of a collection."""
    await session.execute(text("DELETE FROM path_mapping WHERE collection_id = :id"), {"id": collection.id})
    rows = [{"id": collection.id, "prefix": mapping.source_prefix, "local": mapping.local_path} for mapping in mappings]
    if rows:
        await session.execute(
            text("INSERT INTO path_mapping (collection_id, source_prefix, local_path) VALUES (:id, :prefix, :local)"),
            rows,
        )


class Contents(Struct, frozen=True):
    """What collections contain, and lose when they are wiped or deleted."""

    collections: int
    assets: int
    """The number of assets, including deleted ones."""
    approved_assets: int
    """Assets approved for broadcast."""


async def adopt_identity(session: Session, replacement: Collection, after: Collection) -> None:
    """Delete the collection ``replacement`` and give its key, name and directories to another collection.

    ``after`` is that other collection with its new values.
    """
    await session.execute(text("DELETE FROM collection WHERE id = :id"), {"id": replacement.id})
    await session.execute(
        text(
            "UPDATE collection SET external_id = :external_id, name = :name, locations = :locations, ingestible = true,"
            " library_uuid = :library_uuid, not_ingestible_reason = NULL, ingestible_checked_at = now(),"
            " updated_at = now() WHERE id = :id"
        ),
        {
            "id": after.id,
            "external_id": after.external_id,
            "name": after.name,
            "locations": list(after.locations),
            "library_uuid": replacement.library_uuid,
        },
    )
    await set_path_mappings(session, after, after.path_mappings)


async def count_contents(session: Session, collections: Sequence[Collection]) -> Contents:
    """Count the contents of collections."""
    result = await session.execute(
        text(
            "SELECT count(*) AS assets, count(*) FILTER (WHERE approved_for_broadcast) AS approved"
            " FROM asset WHERE collection_uuid = ANY(:ids)"
        ),
        {"ids": [collection.id for collection in collections]},
    )
    row = result.one()
    return Contents(collections=len(collections), assets=row.assets, approved_assets=row.approved)


async def wipe_collections(session: Session, collections: Sequence[Collection]) -> None:
    """Delete all assets of collections, with their parts and aliases, and their kept listings.

    The collections and their audit trail stay.
    """
    ids = {"ids": [collection.id for collection in collections]}
    await session.execute(text("DELETE FROM kept_listing WHERE collection_uuid = ANY(:ids)"), ids)
    await session.execute(text("DELETE FROM asset_alias WHERE collection_uuid = ANY(:ids)"), ids)
    await session.execute(text("DELETE FROM asset WHERE collection_uuid = ANY(:ids)"), ids)
