"""Read assets from the catalogue."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct

from retrovue.core.errors import NotFound
from retrovue.core.model import Collection
from retrovue.store.changes import Change, latest_changes
from retrovue.store.enrichments import AssetEnrichment, asset_values, enrichments_of
from retrovue.store.statements import Row, Session, text

LISTED = 100
"""How many assets of a large set are in a list, or in the context of an error."""
_NAMED = 10
"""How many assets a message names."""


class Asset(Struct, frozen=True):
    """A playable unit of the catalogue: a film, an episode, a track."""

    uuid: UUID
    collection_uuid: UUID
    type: str
    title: str
    show_title: str | None
    """The title of an episode's show, or the artist of a track's album."""
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
    """The hash of the canonical key, in hexadecimal: the asset's identity within its collection."""
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
    """For each field that an enricher gave, the enricher's external id. All other fields came from the source."""
    state: str
    approved_for_broadcast: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    deleted_at: dt.datetime | None
    show_key: str | None
    """The source's own id of the show, or of the artist of a track's album. It distinguishes shows with the same title.
    """
    show_year: int | None
    """The year in which the show began."""
    show_provider_ids: dict[str, str] | None
    artist: str | None
    """The artist of the track. ``show_title`` is the artist of its album."""
    album: str | None
    disc_number: int | None
    track_number: int | None
    availability: str
    """``present``; ``missing``: not listed at the latest reading; ``gone``: not listed for longer than the grace."""
    unavailable_since: dt.datetime | None
    unavailable_reason: str | None
    """``not_listed``, or ``trashed`` if it is in the source's trash. None while it is present."""


class AssetFile(Struct, frozen=True):
    """One file of an asset, in playing order."""

    position: int
    local_path: str
    size_bytes: int | None
    duration_ms: int | None


class AssetAlias(Struct, frozen=True):
    """Another item of the source with the same file, such as the second episode in it."""

    source_uri: str
    title: str
    season_number: int | None
    episode_number: int | None


class AssetDecision(Struct, frozen=True):
    """A decision about an asset, in the feed of changes."""

    what: str
    """``approved``, ``retired`` or ``unretired``; ``withdrawn`` if a sync withdrew the approval."""
    by: str | None
    """``user@host`` of the person who decided; None for a sync."""
    at: dt.datetime
    before: str | None
    """The state before the decision."""
    after: str | None
    """The state after the decision."""


class FormerIdentity(Struct, frozen=True):
    """An item of the source that the asset belonged to before it was relinked."""

    source_uri: str
    until: dt.datetime
    rule: str
    """What both items have in common: ``guid``, ``external_id``, ``file``, ``episode`` or ``place``; ``chosen`` if a
    person chose the assets.
    """
    run_id: UUID | None
    """The run that relinked it; None if a person did."""


class AssetDetails(Struct, frozen=True):
    """An asset with all its files, aliases, enrichments, decisions, changes and former identities."""

    asset: Asset
    files: tuple[AssetFile, ...]
    aliases: tuple[AssetAlias, ...]
    enrichments: tuple[AssetEnrichment, ...]
    decisions: tuple[AssetDecision, ...]
    """The oldest first, as far as the feed of changes is kept."""
    changes: tuple[Change, ...]
    """The latest 100 changes, the oldest first."""
    identities: tuple[FormerIdentity, ...]
    """The latest first."""


_FIELDS = tuple(Asset.__struct_fields__)


def asset_of(row: Row) -> Asset:
    """Return the asset in a row of the table."""
    values = asset_values(row, _FIELDS)
    values["canonical_hash"] = row.canonical_hash.hex()
    return Asset(**values)


async def sample_files(session: Session, collection: Collection, limit: int) -> list[str]:
    """Return up to ``limit`` local paths of assets of a collection that its source lists, evenly spread."""
    result = await session.execute(
        text(
            "SELECT canonical_uri FROM asset WHERE collection_uuid = :collection AND deleted_at IS NULL"
            " AND availability = 'present' ORDER BY canonical_hash LIMIT :limit"
        ),
        {"collection": collection.id, "limit": limit},
    )
    return list(result.scalars())


async def get_asset(session: Session, uuid: UUID) -> AssetDetails:
    """Return an asset with its files, aliases, enrichments and decisions. Raises NotFound."""
    row = (await session.execute(text("SELECT * FROM asset WHERE uuid = :uuid"), {"uuid": uuid})).one_or_none()
    if row is None:
        raise unknown_assets([uuid])
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
    decisions = await session.execute(
        text(
            "SELECT what, by, at, fields -> 'state' ->> 0, fields -> 'state' ->> 1 FROM asset_change"
            " WHERE asset_uuid = :uuid AND what IN ('approved', 'retired', 'unretired', 'withdrawn') ORDER BY position"
        ),
        {"uuid": uuid},
    )
    identities = await session.execute(
        text(
            "SELECT source_uri, until, rule, run_id FROM asset_identity WHERE asset_uuid = :uuid"
            " ORDER BY until DESC, source_uri"
        ),
        {"uuid": uuid},
    )
    return AssetDetails(
        asset=asset_of(row),
        files=tuple(AssetFile(*file) for file in files),
        aliases=tuple(AssetAlias(*alias) for alias in aliases),
        enrichments=tuple(await enrichments_of(session, uuid)),
        decisions=tuple(AssetDecision(*decision) for decision in decisions),
        changes=tuple(await latest_changes(session, uuid, LISTED)),
        identities=tuple(FormerIdentity(*identity) for identity in identities),
    )


def unknown_assets(uuids: Sequence[UUID]) -> NotFound:
    """Make the error for ids of assets that don't exist."""
    ids = [str(uuid) for uuid in uuids]
    return NotFound(
        f"There is no asset {several(ids)}.",
        code="asset_not_found",
        hint="`retrovue asset list` shows the assets and their ids.",
        context={"assets": ids[:LISTED]},
    )


def several(names: Sequence[str]) -> str:
    """Join the first of some names for a message."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
