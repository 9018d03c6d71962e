"""Enrichers in the catalogue: the configured instances, and the collections that they are attached to."""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import Ambiguous, NotFound
from retrovue.core.model import AttachedEnricher, Collection, Enricher
from retrovue.store.audit import ANY_OF_COLLECTIONS, id_list
from retrovue.store.references import as_uuid, meant

_ENRICHER = "enricher.id, enricher.external_id, enricher.name, enricher.type, enricher.config"


@dataclass(frozen=True, slots=True)
class EnricherListing:
    """An enricher with what a list shows of it."""

    enricher: Enricher
    collections: tuple[tuple[uuid.UUID, str, int], ...]
    """The collections it is attached to: id, name, priority."""
    succeeded: int
    failed: int
    """Assets of which it failed the last time."""


def _enricher(row: Row[Any]) -> Enricher:
    return Enricher(row.id, row.external_id, row.name, row.type, row.config)


def new_enricher(type_name: str, name: str, config: Mapping[str, Any]) -> Enricher:
    """Make an enricher that isn't in the catalogue yet, with ids of its own."""
    return Enricher(uuid.uuid4(), f"{type_name}-{secrets.token_hex(4)}", name, type_name, config)


def _columns(enricher: Enricher) -> dict[str, Any]:
    return {
        "id": enricher.id,
        "external_id": enricher.external_id,
        "name": enricher.name,
        "type": enricher.type,
        "config": orjson.dumps(dict(enricher.config)).decode(),
    }


async def insert_enricher(session: AsyncSession, enricher: Enricher) -> None:
    """Insert an enricher."""
    await session.execute(
        text(
            "INSERT INTO enricher (id, external_id, name, type, config)"
            " VALUES (:id, :external_id, :name, :type, cast(:config AS jsonb))"
        ),
        _columns(enricher),
    )


async def save_enricher(session: AsyncSession, enricher: Enricher) -> None:
    """Store an enricher's name and parameters as they are now."""
    await session.execute(
        text(
            "UPDATE enricher SET name = :name, config = cast(:config AS jsonb), updated_at = now() WHERE id = :id"
            " AND (name, config) IS DISTINCT FROM (cast(:name AS text), cast(:config AS jsonb))"
        ),
        _columns(enricher),
    )


async def delete_enricher(session: AsyncSession, enricher: Enricher) -> None:
    """Delete an enricher with its attachments and the record of its enrichments; what it gave to assets stays."""
    await session.execute(text("DELETE FROM enricher WHERE id = :id"), {"id": enricher.id})


async def find_enricher(session: AsyncSession, reference: str) -> Enricher:
    """Look an enricher up by UUID, then external id, then exact name.

    Raises NotFound, or Ambiguous with the candidates if several enrichers have the name.
    """
    result = await session.execute(
        text(
            f"SELECT {_ENRICHER} FROM enricher WHERE id = :id OR external_id = :reference OR name = :reference"
            " ORDER BY external_id, id"
        ),
        {"id": as_uuid(reference), "reference": reference},
    )
    candidates = meant(reference, [_enricher(row) for row in result])
    if not candidates:
        raise NotFound(
            f"There is no enricher {reference!r}.",
            code="enricher_not_found",
            hint="`retrovue enricher list` shows the enrichers and their ids.",
            context={"enricher": reference},
        )
    if len(candidates) > 1:
        ids = [enricher.external_id for enricher in candidates]
        raise Ambiguous(
            f"{len(candidates)} enrichers are named {reference!r}: {', '.join(ids)}.",
            code="ambiguous_enricher",
            hint="Use one of these ids instead of the name.",
            context={"enricher": reference, "candidates": ids},
        )
    return candidates[0]


async def list_enrichers(session: AsyncSession, enricher: Enricher | None = None) -> list[EnricherListing]:
    """List all enrichers, or one of them, by name, external id, id."""
    result = await session.execute(
        text(
            f"SELECT {_ENRICHER},"
            " (SELECT jsonb_agg(jsonb_build_array(c.id, c.name, ce.priority) ORDER BY c.name, c.external_id, c.id)"
            "   FROM collection_enricher ce JOIN collection c ON c.id = ce.collection_id"
            "   WHERE ce.enricher_id = enricher.id) AS collections,"
            " (SELECT count(*) FROM asset_enrichment e WHERE e.enricher_id = enricher.id AND e.status = 'succeeded')"
            "   AS succeeded,"
            " (SELECT count(*) FROM asset_enrichment e WHERE e.enricher_id = enricher.id AND e.status = 'failed')"
            "   AS failed"
            " FROM enricher WHERE cast(:only AS uuid) IS NULL OR enricher.id = :only"
            " ORDER BY enricher.name, enricher.external_id, enricher.id"
        ),
        {"only": None if enricher is None else enricher.id},
    )
    return [
        EnricherListing(
            _enricher(row),
            tuple((uuid.UUID(key), name, priority) for key, name, priority in row.collections or ()),
            row.succeeded,
            row.failed,
        )
        for row in result
    ]


async def attached_to(
    session: AsyncSession, collections: Sequence[Collection]
) -> dict[uuid.UUID, tuple[AttachedEnricher, ...]]:
    """Read which enrichers these collections have, each in the order in which they run; those without are left out."""
    result = await session.execute(
        text(
            f"SELECT ce.collection_id, ce.priority, {_ENRICHER} FROM collection_enricher ce"
            f" JOIN enricher ON enricher.id = ce.enricher_id WHERE ce.collection_id = {ANY_OF_COLLECTIONS}"
            " ORDER BY ce.priority, enricher.external_id"
        ),
        {"collections": id_list(collections)},
    )
    found: dict[uuid.UUID, list[AttachedEnricher]] = {}
    for row in result:
        found.setdefault(row.collection_id, []).append(AttachedEnricher(_enricher(row), row.priority))
    return {key: tuple(attached) for key, attached in found.items()}


# An approved or retired asset is somebody's decision, which no attachment undoes.
_OWE = text(
    """
    UPDATE asset SET state = 'enriching', updated_at = now()
    WHERE collection_uuid = :collection AND state = 'new' AND deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM asset_enrichment e
        WHERE e.asset_uuid = asset.uuid AND e.enricher_id = :enricher AND e.status = 'succeeded'
    )
    """
)
# Also a deleted one: nobody works on it any more, and nothing is owed to it that isn't attached.
_SETTLE = text(
    """
    UPDATE asset SET state = 'new', updated_at = now()
    WHERE collection_uuid = :collection AND state = 'enriching' AND NOT EXISTS (
        SELECT FROM collection_enricher ce WHERE ce.collection_id = asset.collection_uuid AND NOT EXISTS (
            SELECT FROM asset_enrichment e
            WHERE e.asset_uuid = asset.uuid AND e.enricher_id = ce.enricher_id AND e.status = 'succeeded'
        )
    )
    """
)


async def attach(session: AsyncSession, collection: Collection, enricher: Enricher, priority: int) -> int:
    """Attach an enricher, or change its priority; new assets that it owes become enriching, and are counted."""
    await session.execute(
        text(
            "INSERT INTO collection_enricher (collection_id, enricher_id, priority)"
            " VALUES (:collection, :enricher, :priority) ON CONFLICT (collection_id, enricher_id)"
            " DO UPDATE SET priority = excluded.priority WHERE collection_enricher.priority <> excluded.priority"
        ),
        {"collection": collection.id, "enricher": enricher.id, "priority": priority},
    )
    changed: Any = await session.execute(_OWE, {"collection": collection.id, "enricher": enricher.id})
    return int(changed.rowcount)


async def detach(session: AsyncSession, collection: Collection, enricher: Enricher) -> int:
    """Detach an enricher; assets to which nothing else is owed become new again, and are counted.

    What it gave and what is known of its enrichments stays: attached again, it owes only what it hadn't done.
    """
    await session.execute(
        text("DELETE FROM collection_enricher WHERE collection_id = :collection AND enricher_id = :enricher"),
        {"collection": collection.id, "enricher": enricher.id},
    )
    changed: Any = await session.execute(_SETTLE, {"collection": collection.id})
    return int(changed.rowcount)
