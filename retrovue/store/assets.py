"""Assets in the catalogue, as an operator or a scheduler reads them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.model import Collection, Source


@dataclass(frozen=True, slots=True)
class Asset:
    """One playable unit of the catalogue."""

    uuid: UUID
    collection_uuid: UUID
    type: str
    title: str
    show_title: str | None
    season_number: int | None
    episode_number: int | None
    year: int | None
    originally_aired: dt.date | None
    runtime_ms: int | None
    edition: str | None
    studio: str | None
    content_rating: str | None
    rating: float | None
    source_uri: str
    """Verbatim, native to the source."""
    canonical_uri: str
    """The local path; of several parts the first."""
    canonical_key: str
    canonical_hash: str
    """Hexadecimal, of the canonical key: the identity inside the collection."""
    part_count: int
    size_bytes: int | None
    container: str | None
    video_codec: str | None
    audio_codec: str | None
    audio_channels: int | None
    video_resolution: str | None
    width: int | None
    height: int | None
    bitrate_kbps: int | None
    provider_ids: dict[str, str]
    tags: dict[str, list[str]]
    chapters: list[dict[str, Any]] | None
    markers: list[dict[str, Any]] | None
    state: str
    approved_for_broadcast: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    deleted_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class AssetListing:
    """Some assets, and how many there are."""

    total: int
    assets: tuple[Asset, ...]


_FIELDS = tuple(Asset.__dataclass_fields__)


def _asset(row: Row[Any]) -> Asset:
    values = {name: getattr(row, name) for name in _FIELDS}
    values["canonical_hash"] = row.canonical_hash.hex()
    return Asset(**values)


async def list_assets(
    session: AsyncSession,
    *,
    collection: Collection | None = None,
    source: Source | None = None,
    limit: int = 50,
) -> AssetListing:
    """List assets that aren't deleted, of a collection, a source or all, in the order of title and numbers."""
    where = ["deleted_at IS NULL"]
    bind: dict[str, Any] = {}
    if collection is not None:
        where.append("collection_uuid = :collection")
        bind["collection"] = collection.id
    if source is not None:
        where.append("collection_uuid IN (SELECT id FROM collection WHERE source_id = :source)")
        bind["source"] = source.id
    condition = " AND ".join(where)
    total = (await session.execute(text(f"SELECT count(*) FROM asset WHERE {condition}"), bind)).scalar_one()
    rows: Sequence[Row[Any]] = (
        await session.execute(
            text(
                f"SELECT * FROM asset WHERE {condition} ORDER BY coalesce(show_title, title), season_number,"
                " episode_number, title, uuid LIMIT :limit"
            ),
            {**bind, "limit": limit},
        )
    ).all()
    return AssetListing(total=total, assets=tuple(_asset(row) for row in rows))
