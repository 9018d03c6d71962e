"""What the last complete reading of each collection proved, and which filters of each source work."""

import datetime as dt
from collections.abc import Mapping
from hashlib import blake2b
from uuid import UUID

import orjson
from msgspec import Struct

from retrovue.core.model import Collection, Source
from retrovue.core.version import own_version
from retrovue.store.statements import Session, text

_LAST = text(
    "SELECT now() AS now, basis, stamp, clock_s, items, swept_at, full_at, explained"
    " FROM (SELECT) AS always LEFT JOIN collection_reading ON collection_uuid = :collection"
)
_OF_SOURCE = text(
    "SELECT collection_uuid, basis, stamp, clock_s, items, swept_at, full_at, explained FROM collection_reading"
    " JOIN collection ON collection.id = collection_uuid WHERE source_id = :source"
)
_KEEP = text(
    """
    INSERT INTO collection_reading (collection_uuid, basis, stamp, clock_s, items, swept_at, full_at, explained)
    VALUES (:collection, :basis, :stamp, :clock_s, :items, :swept_at, :full_at, :explained)
    ON CONFLICT (collection_uuid) DO UPDATE SET basis = excluded.basis, stamp = excluded.stamp,
        clock_s = excluded.clock_s, items = excluded.items, swept_at = excluded.swept_at, full_at = excluded.full_at,
        explained = excluded.explained
    """
)


class LastReading(Struct, frozen=True):
    """The last complete reading of a collection. It proved that the catalogue had what the source listed then."""

    basis: bytes
    """The result of `basis_of()` at that time."""
    stamp: str | None
    """The source's stamp of the library before the reading."""
    clock_s: int | None
    """The source's own time before the reading."""
    items: int
    """The number of items at the source."""
    swept_at: dt.datetime | None
    """When all of it was last read; None if that reading left something undone, because removals were held back."""
    full_at: dt.datetime | None
    """When all of it was last read in full, without relying on known pages."""
    explained: bool = False
    """Whether single items that were read since then differed, so that the stamp may have changed because of them."""


def basis_of(source: Source, collection: Collection) -> bytes:
    """Return a hash, 16 bytes, of what the drafts of a collection depend on besides its source."""
    mappings = sorted((mapping.source_prefix, mapping.local_path) for mapping in collection.path_mappings)
    about = [own_version(), source.type, dict(source.config), collection.external_id, collection.kind, mappings]
    return blake2b(orjson.dumps(about, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


async def last_reading(session: Session, collection: Collection) -> tuple[LastReading | None, dt.datetime]:
    """Return the last complete reading of a collection, and the database's time."""
    now, *row = (await session.execute(_LAST, {"collection": collection.id})).one()
    return (None if row[0] is None else LastReading(*row)), now


async def readings_of(session: Session, source: Source) -> dict[UUID, LastReading]:
    """Return the last complete readings of a source, by collection; collections without one are left out."""
    rows = await session.execute(_OF_SOURCE, {"source": source.id})
    return {collection: LastReading(*fields) for collection, *fields in rows}


async def absences_are_due(session: Session, source: Source, collection: Collection) -> bool:
    """Return whether a collection has missing assets whose grace has passed, so that the next sweep makes them gone."""
    result = await session.execute(
        text(
            "SELECT EXISTS (SELECT FROM asset WHERE collection_uuid = :collection AND availability <> 'present'"
            " AND availability = 'missing' AND deleted_at IS NULL"
            " AND unavailable_since + make_interval(secs => :grace) < now())"
        ),
        {"collection": collection.id, "grace": source.grace_s},
    )
    return bool(result.scalar_one())


async def keep_reading(session: Session, collection: Collection, reading: LastReading) -> None:
    """Store what a complete reading proved, in the transaction of its merge."""
    await session.execute(
        _KEEP,
        {
            "collection": collection.id,
            "basis": reading.basis,
            "stamp": reading.stamp,
            "clock_s": reading.clock_s,
            "items": reading.items,
            "swept_at": reading.swept_at,
            "full_at": reading.full_at,
            "explained": reading.explained,
        },
    )


async def mark_incomplete(session: Session, collection: Collection) -> None:
    """Note that a reading left something undone, so that the next sync reads all of the collection."""
    await session.execute(
        text(
            "UPDATE collection_reading SET swept_at = NULL WHERE collection_uuid = :collection AND swept_at IS NOT NULL"
        ),
        {"collection": collection.id},
    )


async def forget_readings(session: Session, source: Source) -> None:
    """Delete what was proved for the collections of a source, so that the next sync reads all of them."""
    await session.execute(
        text(
            "DELETE FROM collection_reading"
            " WHERE collection_uuid IN (SELECT id FROM collection WHERE source_id = :source)"
        ),
        {"source": source.id},
    )


async def known_filters(session: Session, source: UUID, server: str) -> dict[str, bool]:
    """Return which filters of a source are known to work with this version of its server."""
    rows = await session.execute(
        text("SELECT name, works FROM source_filter WHERE source_id = :source AND version = :server"),
        {"source": source, "server": server},
    )
    return {row.name: row.works for row in rows}


async def keep_filters(session: Session, source: UUID, server: str, filters: Mapping[str, bool]) -> None:
    """Store what was found out about filters."""
    if filters:
        await session.execute(
            text(
                "INSERT INTO source_filter (source_id, name, version, works) VALUES (:source, :name, :server, :works)"
                " ON CONFLICT (source_id, name) DO UPDATE SET version = excluded.version, works = excluded.works"
            ),
            [
                {"source": source, "name": name, "server": server, "works": works}
                for name, works in sorted(filters.items())
            ],
        )
