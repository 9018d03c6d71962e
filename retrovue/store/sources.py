"""Sources in the catalogue: add, look up, list."""

import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Struct

from retrovue.core.model import Secret, Source
from retrovue.store.references import look_up, new_external_id
from retrovue.store.secrets import kept_secret, loaded_secret
from retrovue.store.statements import Row, Session, text

_SOURCE = (
    "source.id, source.external_id, source.name, source.type, source.config, source.credentials, source.grace_s,"
    " source.sweep_every_s, source.full_every_s"
)


class SourceListing(Struct, frozen=True):
    """A source, with the numbers of its collections and assets."""

    source: Source
    collections_count: int
    enabled_count: int
    """The number of enabled collections."""
    assets_count: int
    """The number of assets without deleted ones."""


def _source(row: Row) -> Source:
    return Source(
        id=row.id,
        external_id=row.external_id,
        name=row.name,
        type=row.type,
        config=row.config,
        credentials={name: loaded_secret(value) for name, value in row.credentials.items()},
        grace_s=row.grace_s,
        sweep_every_s=row.sweep_every_s,
        full_every_s=row.full_every_s,
    )


def new_source(type_name: str, name: str, config: Mapping[str, Any], credentials: Mapping[str, Secret]) -> Source:
    """Return a new source with new ids. It isn't stored."""
    return Source(
        id=uuid.uuid4(),
        external_id=new_external_id(type_name),
        name=name,
        type=type_name,
        config=config,
        credentials=credentials,
    )


async def lock_sources(session: Session) -> None:
    """Prevent other transactions from adding or changing a source until this one ends."""
    await session.execute(text("LOCK TABLE source IN SHARE ROW EXCLUSIVE MODE"))


async def insert_source(session: Session, source: Source) -> None:
    """Insert a source."""
    await session.execute(
        text(
            "INSERT INTO source (id, external_id, name, type, config, credentials)"
            " VALUES (:id, :external_id, :name, :type, cast(:config AS jsonb), cast(:credentials AS jsonb))"
        ),
        _columns(source),
    )


def _columns(source: Source) -> dict[str, Any]:
    credentials = {name: kept_secret(secret) for name, secret in source.credentials.items()}
    return {
        "id": source.id,
        "external_id": source.external_id,
        "name": source.name,
        "type": source.type,
        "config": orjson.dumps(dict(source.config)).decode(),
        "credentials": orjson.dumps(credentials).decode(),
    }


async def save_source(session: Session, source: Source) -> None:
    """Update the name, configuration and credentials of a stored source."""
    await session.execute(
        text(
            "UPDATE source SET name = :name, config = cast(:config AS jsonb),"
            " credentials = cast(:credentials AS jsonb), grace_s = :grace_s, sweep_every_s = :sweep_every_s,"
            " full_every_s = :full_every_s, updated_at = now() WHERE id = :id"
        ),
        {
            **_columns(source),
            "grace_s": source.grace_s,
            "sweep_every_s": source.sweep_every_s,
            "full_every_s": source.full_every_s,
        },
    )


async def delete_source(session: Session, source: Source) -> None:
    """Delete a source with its collections and their audit trail. Its collections must have no assets."""
    await session.execute(text("DELETE FROM source WHERE id = :id"), {"id": source.id})


async def find_source(session: Session, reference: str) -> Source:
    """Return the source that a reference names. Raises NotFound or Ambiguous."""
    hint = "Use one of these ids instead of the name."
    return _source(await look_up(session, "source", _SOURCE, reference, hint=hint))


async def get_source(session: Session, source_id: uuid.UUID) -> Source:
    """Return the source with an id, such as the ``source_id`` of a stored collection. It must exist."""
    result = await session.execute(text(f"SELECT {_SOURCE} FROM source WHERE id = :id"), {"id": source_id})
    return _source(result.one())


async def list_sources(session: Session) -> list[SourceListing]:
    """List all sources by name, external id and id."""
    result = await session.execute(
        text(
            f"SELECT {_SOURCE},"
            " (SELECT count(*) FROM collection c WHERE c.source_id = source.id) AS collections_count,"
            " (SELECT count(*) FROM collection c WHERE c.source_id = source.id AND c.sync_enabled) AS enabled_count,"
            # In two indexes: see collections.KEPT_ASSETS.
            " (SELECT count(*) FROM asset a JOIN collection c ON c.id = a.collection_uuid"
            "   WHERE c.source_id = source.id)"
            " - (SELECT count(*) FROM asset a JOIN collection c ON c.id = a.collection_uuid"
            "   WHERE c.source_id = source.id AND a.deleted_at IS NOT NULL) AS assets_count"
            " FROM source ORDER BY source.name, source.external_id, source.id"
        )
    )
    return [SourceListing(_source(row), row.collections_count, row.enabled_count, row.assets_count) for row in result]
