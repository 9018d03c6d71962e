"""Removals that the latest sync of a collection held back, and that a person has to confirm."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from retrovue.core.results import Guard
from retrovue.store.statements import Session, text


class RemovalsHeldBack(Struct, frozen=True):
    """The removals that the latest sync of a collection held back."""

    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    run_id: UUID
    at: dt.datetime
    """When that sync ended."""
    number: int
    """The number of assets that would have become missing or gone."""
    guards: tuple[Guard, ...]
    """Why they were held back."""
    token: str | None
    """A token that confirms exactly this set of assets at the next sync; None if it can't be confirmed."""


# The latest sync that compared assets: one that read nothing found nothing out. The index gives it for each collection.
_LATEST = text(
    """
    SELECT source.id, source.name, collection.id, collection.name, latest.run_id, latest.ended_at, latest.held_back
    FROM collection JOIN source ON source.id = collection.source_id CROSS JOIN LATERAL (
        SELECT run_id, ended_at, ingest_outcome.details -> 'held_back' AS held_back
        FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)
        WHERE ingest_start.collection_id = collection.id AND ingest_start.mode = 'sync' AND ingest_start.scope = '{}'
            AND ingest_outcome.status = 'ingested' AND ingest_outcome.read IN ('sweep', 'full')
        ORDER BY ingest_start.started_at DESC LIMIT 1
    ) AS latest
    WHERE latest.held_back IS NOT NULL AND latest.held_back <> 'null'
    ORDER BY source.name, collection.name, collection.id
    """
)


async def list_held_back(session: Session) -> list[RemovalsHeldBack]:
    """List the removals that a person has to confirm, by source and collection."""
    rows = await session.execute(_LATEST)
    return [RemovalsHeldBack(*identity, **_held_back(details)) for *identity, details in rows]


def _held_back(details: Mapping[str, Any]) -> dict[str, Any]:
    guards = tuple(Guard(guard["code"], guard["reason"]) for guard in details["guards"])
    return {"number": details["number"], "guards": guards, "token": details["token"]}
