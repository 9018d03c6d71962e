"""Assets in the catalogue: read, approve and retire them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import NotFound, RequestError
from retrovue.core.model import AssetState, Collection
from retrovue.store.enrichments import AssetEnrichment, asset_values, enrichments_of


@dataclass(frozen=True, slots=True)
class Asset:
    """A playable unit of the catalogue: a film, an episode, a track."""

    uuid: UUID
    collection_uuid: UUID
    type: str
    title: str
    show_title: str | None
    """Of an episode the title of its show, of a track the artist of its album."""
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
    """The address of the item in its source, unchanged."""
    canonical_uri: str
    """The local path of the first file."""
    canonical_key: str
    canonical_hash: str
    """The hash of the canonical key, hexadecimal: the identity of the asset in its collection."""
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
    streams: list[dict[str, Any]] | None
    """Video, audio and subtitle streams, with external subtitle files. None if unknown."""
    provenance: dict[str, str] | None
    """The external id of the enricher that gave a field, by field. All other fields came from the source."""
    state: str
    approved_for_broadcast: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    deleted_at: dt.datetime | None
    show_key: str | None
    """The source's own id of the show, or of the artist of a track's album. Shows of one title differ by it."""
    show_year: int | None
    """The year in which the show began."""
    show_provider_ids: dict[str, str] | None
    artist: str | None
    """A track's own artist. That of its album is ``show_title``."""
    album: str | None
    disc_number: int | None
    track_number: int | None


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file of an asset, in playing order."""

    position: int
    local_path: str
    size_bytes: int | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class AssetAlias:
    """Another item of the source that plays the same file, such as the second episode in it."""

    source_uri: str
    title: str
    season_number: int | None
    episode_number: int | None


@dataclass(frozen=True, slots=True)
class AssetDetails:
    """An asset with all its files, aliases and enrichments."""

    asset: Asset
    files: tuple[AssetFile, ...]
    aliases: tuple[AssetAlias, ...]
    enrichments: tuple[AssetEnrichment, ...]


_FIELDS = tuple(Asset.__dataclass_fields__)


def asset_of(row: Row[Any]) -> Asset:
    """Return the asset of a row of the table."""
    values = asset_values(row, _FIELDS)
    values["canonical_hash"] = row.canonical_hash.hex()
    return Asset(**values)


async def sample_files(session: AsyncSession, collection: Collection, limit: int) -> list[str]:
    """Return up to ``limit`` local paths of a collection, spread evenly over it."""
    result = await session.execute(
        text(
            "SELECT canonical_uri FROM asset WHERE collection_uuid = :collection AND deleted_at IS NULL"
            " ORDER BY canonical_hash LIMIT :limit"
        ),
        {"collection": collection.id, "limit": limit},
    )
    return list(result.scalars())


async def get_asset(session: AsyncSession, uuid: UUID) -> AssetDetails:
    """Return an asset with its files, aliases and enrichments. Raises NotFound."""
    row = (await session.execute(text("SELECT * FROM asset WHERE uuid = :uuid"), {"uuid": uuid})).one_or_none()
    if row is None:
        raise _unknown([uuid])
    files = await session.execute(
        text(
            "SELECT position, local_path, size_bytes, duration_ms FROM asset_file"
            " WHERE asset_uuid = :uuid ORDER BY position"
        ),
        {"uuid": uuid},
    )
    aliases = await session.execute(
        text(
            "SELECT source_uri, title, season_number, episode_number FROM asset_alias"
            " WHERE asset_uuid = :uuid ORDER BY season_number, episode_number, source_uri"
        ),
        {"uuid": uuid},
    )
    return AssetDetails(
        asset=asset_of(row),
        files=tuple(AssetFile(*file) for file in files),
        aliases=tuple(AssetAlias(*alias) for alias in aliases),
        enrichments=tuple(await enrichments_of(session, uuid)),
    )


@dataclass(frozen=True, slots=True)
class StateChange:
    """An asset, and its state before and after a change. Both are equal if nothing had to change."""

    uuid: UUID
    title: str
    before: str
    after: str


async def approve_assets(
    session: AsyncSession, uuids: Sequence[UUID], *, despite_enrichment: bool = False, dry_run: bool = False
) -> list[StateChange]:
    """Approve assets for broadcast (state ``ready``), all or none. Approved ones stay as they are.

    Raises NotFound, and RequestError unless all others are new and not deleted; with ``despite_enrichment`` they may be
    enriching as well. The errors name every such asset. A dry-run checks the same and writes nothing.
    """
    rows = await _read_states(session, uuids, lock=not dry_run)
    changing = [row for row in rows.values() if row.state != "ready"]
    _require_new(changing, ("new", "enriching") if despite_enrichment else ("new",))
    return await _set_state(session, rows, uuids, "ready", dry_run=dry_run)


async def retire_assets(session: AsyncSession, uuids: Sequence[UUID], *, dry_run: bool = False) -> list[StateChange]:
    """Retire assets, all or none, whatever their state. Raises NotFound. A dry-run writes nothing."""
    rows = await _read_states(session, uuids, lock=not dry_run)
    return await _set_state(session, rows, uuids, "retired", dry_run=dry_run)


async def _read_states(session: AsyncSession, uuids: Sequence[UUID], *, lock: bool) -> dict[UUID, Row[Any]]:
    result = await session.execute(
        text(
            "SELECT uuid, title, state, deleted_at FROM asset WHERE uuid = ANY(:uuids) ORDER BY uuid"
            f" {'FOR UPDATE' if lock else ''}"
        ),
        {"uuids": list(uuids)},
    )
    rows = {row.uuid: row for row in result}
    if unknown := [uuid for uuid in uuids if uuid not in rows]:
        raise _unknown(unknown)
    return rows


async def _set_state(
    session: AsyncSession, rows: dict[UUID, Row[Any]], uuids: Sequence[UUID], state: AssetState, *, dry_run: bool
) -> list[StateChange]:
    changing = [row.uuid for row in rows.values() if row.state != state]
    if changing and not dry_run:
        await session.execute(
            text(
                "UPDATE asset SET state = :state, approved_for_broadcast = :approved, updated_at = now()"
                " WHERE uuid = ANY(:uuids)"
            ),
            {"uuids": changing, "state": state, "approved": state == "ready"},
        )
    return [StateChange(uuid, rows[uuid].title, rows[uuid].state, state) for uuid in dict.fromkeys(uuids)]


def _unknown(uuids: Sequence[UUID]) -> NotFound:
    ids = [str(uuid) for uuid in uuids]
    return NotFound(
        f"There is no asset {', '.join(ids)}.",
        code="asset_not_found",
        hint="`retrovue asset list` shows the assets and their ids.",
        context={"assets": ids},
    )


def _require_new(rows: Sequence[Row[Any]], allowed: Sequence[str]) -> None:
    states = {
        str(row.uuid): "deleted" if row.deleted_at is not None else str(row.state)
        for row in rows
        if row.state not in allowed or row.deleted_at is not None
    }
    if states:
        which = ", ".join(f"{uuid} is {state}" for uuid, state in states.items())
        raise RequestError(
            f"Only new assets can be approved: {which}.",
            code="bad_lifecycle_step",
            hint="Nothing was changed. An asset that is enriching becomes new when `retrovue collection enrich` has"
            " done what is owed to it, or when the enricher is detached; --despite-enrichment approves it as it is.",
            context={"assets": states},
        )
