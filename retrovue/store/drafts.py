"""Drafts on their way into a collection: their local paths, and the identity by which the catalogue knows them."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import AssetDraft, Collection


class Refinement(NamedTuple):
    """What page enrichers did to a draft."""

    provenance: Mapping[str, str]
    """The enricher that gave a field, by the field."""
    failures: Mapping[str, Mapping[str, str]]
    """Code and message, by the id of the enricher that failed."""


class MappedDraft(NamedTuple):
    """A draft with the local path of each of its parts, in order."""

    draft: AssetDraft
    local_paths: tuple[str, ...]
    refinement: Refinement | None = None
    """None where page enrichers changed nothing and none of them failed."""


class ItemKey(NamedTuple):
    """The identity of a draft: its source's, and the canonical one that its local paths give it."""

    source_hash: bytes
    canonical_key: str
    canonical_hash: bytes


def canonical_key(local_paths: Sequence[str]) -> str:
    """Make a draft's identity inside its collection: its path, or for several parts their paths as a JSON list.

    Local paths are absolute, so that a path is never equal to a JSON list.
    """
    return local_paths[0] if len(local_paths) == 1 else orjson.dumps(local_paths).decode()


def identity_hash(key: str) -> bytes:
    """Condense an identity to the 16 bytes by which the catalogue compares it (BLAKE2b)."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def item_keys(source_uris: Iterable[str], local_paths: Iterable[Sequence[str]]) -> list[ItemKey]:
    """Make the keys of drafts from their source URIs and the local paths of each one's parts."""
    return [
        ItemKey(identity_hash(uri), key := canonical_key(paths), identity_hash(key))
        for uri, paths in zip(source_uris, local_paths, strict=True)
    ]


# The keys come as one packed parameter, source hash and canonical hash, 32 bytes a draft: for arrays asyncpg would
# first look their type up, 16 ms on each connection.
PACKED_KEYS = """
    SELECT number AS seq, substring(keys.packed FROM number * 32 + 1 FOR 16) AS source_hash,
        substring(keys.packed FROM number * 32 + 17 FOR 16) AS canonical_hash
    FROM (SELECT cast(:keys AS bytea) AS packed) AS keys, generate_series(0, length(keys.packed) / 32 - 1) AS number
"""

# A scalar subquery, so that each draft is one look-up in the unique index: as an anti-join the planner, which knows
# little of a table that has just been filled, reads the whole collection for every page.
_UNKNOWN = text(
    f"""
    SELECT item.seq FROM ({PACKED_KEYS}) AS item
    WHERE item.canonical_hash IS DISTINCT FROM (
        SELECT asset.canonical_hash FROM asset WHERE asset.collection_uuid = :collection
            AND asset.source_hash = item.source_hash AND asset.deleted_at IS NULL
            -- An asset whose file was taken when it moved is an alias as well; back at its place it is none any more.
            AND NOT EXISTS (
                SELECT FROM asset_alias
                WHERE asset_alias.collection_uuid = :collection AND asset_alias.source_hash = item.source_hash
            )
    ) ORDER BY item.seq
    """
)


async def unknown_among(session: AsyncSession, collection: Collection, keys: Sequence[ItemKey]) -> list[int]:
    """Return the positions of the drafts that the collection doesn't hold exactly as they are, by one query."""
    packed = b"".join([part for key in keys for part in (key.source_hash, key.canonical_hash)])
    result = await session.execute(_UNKNOWN, {"keys": packed, "collection": collection.id})
    return list(result.scalars())
