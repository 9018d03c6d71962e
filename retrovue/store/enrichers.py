"""Enrichers in the catalogue, and the collections to which they are attached."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from retrovue.core.model import AttachedEnricher, Collection, Enricher, Source
from retrovue.store.audit import ANY_OF_COLLECTIONS, id_list
from retrovue.store.collections import find_target
from retrovue.store.references import look_up, new_external_id
from retrovue.store.statements import Row, Session, text

_ENRICHER = "enricher.id, enricher.external_id, enricher.name, enricher.type, enricher.config"


class EnricherListing(Struct, frozen=True):
    """An enricher, its collections and its results."""

    enricher: Enricher
    collections: tuple[tuple[uuid.UUID, str, int], ...]
    """The collections to which it is attached: id, name, priority."""
    succeeded: int
    """The number of assets that it has enriched."""
    failed: int
    """The number of assets for which its latest attempt failed."""


def _enricher(row: Row) -> Enricher:
    return Enricher(row.id, row.external_id, row.name, row.type, row.config)


def new_enricher(type_name: str, name: str, config: Mapping[str, Any]) -> Enricher:
    """Return a new enricher with new ids. It isn't stored."""
    return Enricher(uuid.uuid4(), new_external_id(type_name), name, type_name, config)


def _columns(enricher: Enricher) -> dict[str, Any]:
    return {
        "id": enricher.id,
        "external_id": enricher.external_id,
        "name": enricher.name,
        "type": enricher.type,
        "config": orjson.dumps(dict(enricher.config)).decode(),
    }


async def lock_enrichers(session: Session) -> None:
    """Prevent other transactions from adding, changing, attaching or removing enrichers until this one ends."""
    await session.execute(text("LOCK TABLE enricher IN SHARE ROW EXCLUSIVE MODE"))


async def insert_enricher(session: Session, enricher: Enricher) -> None:
    """Insert an enricher."""
    await session.execute(
        text(
            "INSERT INTO enricher (id, external_id, name, type, config)"
            " VALUES (:id, :external_id, :name, :type, cast(:config AS jsonb))"
        ),
        _columns(enricher),
    )


async def save_enricher(session: Session, enricher: Enricher) -> None:
    """Update the name and parameters of a stored enricher."""
    await session.execute(
        text(
            "UPDATE enricher SET name = :name, config = cast(:config AS jsonb), updated_at = now() WHERE id = :id"
            " AND (name, config) IS DISTINCT FROM (cast(:name AS text), cast(:config AS jsonb))"
        ),
        _columns(enricher),
    )


async def remove_enricher(session: Session, enricher: Enricher) -> None:
    """Delete an enricher, its attachments and its results. Values that it gave to assets stay."""
    await session.execute(text("DELETE FROM enricher WHERE id = :id"), {"id": enricher.id})


async def find_enricher(session: Session, reference: str) -> Enricher:
    """Return the enricher that a reference names. Raises NotFound or Ambiguous."""
    hint = "Use one of these ids instead of the name."
    return _enricher(await look_up(session, "enricher", _ENRICHER, reference, hint=hint))


async def list_enrichers(session: Session, enricher: Enricher | None = None) -> list[EnricherListing]:
    """List all enrichers, or one of them, by name, external id and id."""
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
    session: Session, collections: Sequence[Collection]
) -> dict[uuid.UUID, tuple[AttachedEnricher, ...]]:
    """Return the enrichers of each collection that has any, by the collection's id, in the order in which they run."""
    result = await session.execute(
        text(
            f"SELECT ce.collection_id, ce.priority, {_ENRICHER} FROM collection_enricher ce"
            f" JOIN enricher ON enricher.id = ce.enricher_id WHERE ce.collection_id = {ANY_OF_COLLECTIONS}"
            " ORDER BY ce.priority, enricher.external_id"
        ),
        {"collections": id_list(collections)},
    )
    by_collection: dict[uuid.UUID, list[AttachedEnricher]] = {}
    for row in result:
        by_collection.setdefault(row.collection_id, []).append(AttachedEnricher(_enricher(row), row.priority))
    return {key: tuple(attached) for key, attached in by_collection.items()}


class AttachmentState(Struct, frozen=True):
    """A collection and an enricher, and the attached enrichers of the collection."""

    source: Source
    collection: Collection
    enricher: Enricher
    others: tuple[AttachedEnricher, ...]
    """The collection's other enrichers."""
    priority: int | None
    """The enricher's priority there; None if it isn't attached."""


async def attachment_state(
    session: Session, collection_reference: str, enricher_reference: str, source_reference: str | None = None
) -> AttachmentState:
    """Look up a collection, an enricher and the attached enrichers. Raises NotFound or Ambiguous."""
    source, collection = await find_target(session, collection_reference, source_reference)
    enricher = await find_enricher(session, enricher_reference)
    attached = (await attached_to(session, [collection])).get(collection.id, ())
    others = tuple(other for other in attached if other.enricher.id != enricher.id)
    priority = next((own.priority for own in attached if own.enricher.id == enricher.id), None)
    return AttachmentState(source, collection, enricher, others, priority)


# Only new assets: an operator approved or retired the others, and attaching an enricher must not undo that.
_OWE = text(
    """
    UPDATE asset SET state = 'enriching', updated_at = now()
    WHERE collection_uuid = :collection AND state = 'new' AND deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM asset_enrichment e
        WHERE e.asset_uuid = asset.uuid AND e.enricher_id = :enricher AND e.status = 'succeeded'
    )
    """
)
# Deleted assets too: no enricher works on them, and a detached enricher owes them nothing.
_RELEASE = text(
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


async def attach(session: Session, collection: Collection, enricher: Enricher, priority: int) -> int:
    """Attach an enricher to a collection, or change its priority there.

    New assets that it hasn't enriched become ``enriching``. Returns their number.
    """
    await session.execute(
        text(
            "INSERT INTO collection_enricher (collection_id, enricher_id, priority)"
            " VALUES (:collection, :enricher, :priority) ON CONFLICT (collection_id, enricher_id)"
            " DO UPDATE SET priority = excluded.priority WHERE collection_enricher.priority <> excluded.priority"
        ),
        {"collection": collection.id, "enricher": enricher.id, "priority": priority},
    )
    return await session.change(_OWE, {"collection": collection.id, "enricher": enricher.id})


async def detach(session: Session, collection: Collection, enricher: Enricher) -> int:
    """Detach an enricher from a collection.

    Assets with no other owed enrichments become ``new`` again. Returns their number. Values that it gave and its
    results stay: attached again, it owes only the assets that it hasn't enriched.
    """
    await session.execute(
        text("DELETE FROM collection_enricher WHERE collection_id = :collection AND enricher_id = :enricher"),
        {"collection": collection.id, "enricher": enricher.id},
    )
    return await session.change(_RELEASE, {"collection": collection.id})
