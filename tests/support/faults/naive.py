"""The control: an ingest as one would write it in an afternoon, which the harnesses must find wrong.

It commits page by page, upserts without a lock, takes what a listing doesn't show for deleted, and writes the outcome
down once the data is in.
"""

import uuid
from collections.abc import Sequence
from typing import Any, cast

import asyncpg

from retrovue.core.pages import AssetDraft, Page
from retrovue.store.drafts import identity_hash
from tests.support.faults.scenarios import Listings
from tests.support.faults.state import Report, Told
from tests.support.library import Step

LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_UPSERT = """
    INSERT INTO asset
        (collection_uuid, source_hash, canonical_hash, source_uri, canonical_uri, canonical_key, type, title)
    SELECT $1, $2, $3, $4, $5, $5, $6, $7
    WHERE NOT EXISTS (
        SELECT FROM asset WHERE collection_uuid = $1 AND canonical_hash = $3 AND source_hash <> $2
    )
    ON CONFLICT (collection_uuid, source_hash) DO UPDATE SET title = excluded.title,
        canonical_hash = excluded.canonical_hash, canonical_key = excluded.canonical_key
    RETURNING xmax = 0
"""

_START = """
    INSERT INTO ingest_start (run_id, collection_id, trigger, scope, version, started_by)
    SELECT $1, id, 'source', '{}', 'naive', 'me' FROM collection WHERE name = $2 ON CONFLICT DO NOTHING
"""
_FAILURE = """
    INSERT INTO ingest_outcome (run_id, collection_id, status, code)
    SELECT $1, id, 'failed', 'failed' FROM collection WHERE name = $2 ON CONFLICT DO NOTHING
"""
_SUCCESS = """
    INSERT INTO ingest_outcome (run_id, collection_id, status, discovered, created) VALUES ($1, $2, 'ingested', $3, $3)
"""


async def ingest(url: str, listings: Listings) -> Report:
    """Ingest each collection; a failure is that collection's."""
    report: dict[str, Told] = {}
    run = uuid.uuid4()
    connection: Any = None
    for name, pages in listings.items():
        try:
            if connection is None or connection.is_closed():
                connection = await asyncpg.connect(url)
            collection = await connection.fetchval("SELECT id FROM collection WHERE name = $1", name)
            await connection.execute(_START, run, name)
            created = await _ingest(connection, collection, pages)
            await connection.execute(_SUCCESS, run, collection, created)
            report[name] = Told("ingested", created)
        except LOST:
            report[name] = Told("failed")
            connection = await asyncpg.connect(url)
            await connection.execute(_START, run, name)
            await connection.execute(_FAILURE, run, name)
    await connection.close()
    return report


async def _ingest(connection: Any, collection: uuid.UUID, pages: Sequence[Step]) -> int:
    created = 0
    seen: list[str] = []
    for page in cast("Sequence[Page]", pages):
        async with connection.transaction():
            for draft in page.drafts:
                seen.append(draft.source_uri)
                created += bool(await _upsert(connection, collection, draft))
    async with connection.transaction():
        await connection.execute(
            "UPDATE asset SET deleted_at = now() WHERE collection_uuid = $1 AND source_uri <> ALL($2::text[])",
            collection,
            seen,
        )
    return created


async def _upsert(connection: Any, collection: uuid.UUID, draft: AssetDraft) -> bool:
    file = draft.parts[0].source_path
    return bool(
        await connection.fetchval(
            _UPSERT, collection, identity_hash(draft.source_uri), identity_hash(file), draft.source_uri, file,
            draft.type, draft.title,
        )
    )  # fmt: skip
