"""Comparing an asset with what its source says now: what differs, and whether that is the content or the description.

Values that an enricher gave aren't compared: they are the enricher's.
"""

import datetime as dt
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import Enricher
from retrovue.core.pages import AssetDraft
from retrovue.store.drafts import MappedDraft, MappedPage, file_stamp, total_size
from retrovue.store.known import Other

CONTENT = (
    "size_bytes", "runtime_ms", "container", "video_codec", "audio_codec", "audio_channels", "video_resolution",
    "width", "height", "bitrate_kbps",
)  # fmt: skip
"""The columns that say which file it is: other values mean another file. What the source no longer tells stays."""

DESCRIPTION = tuple(
    name
    for name in AssetDraft.__struct_fields__
    if name not in {"source_uri", "parts", "warnings", "sidecar_stamp", *CONTENT}
)
"""The columns that follow the source in every case, to unknown values as well."""

ADDED = ("show_key", "show_year", "show_provider_ids", "artist", "album", "disc_number", "track_number")
"""The columns that assets without a stamp, of earlier versions, don't have yet."""
_WERE_TAGS = ("artist", "album")
"""The tags in which earlier versions kept what tracks have columns for."""

NOTHING, OTHER_DESCRIPTION, OTHER_CONTENT = range(3)
"""How an asset differs from what its source says, as the staging table has it."""

_COLUMNS = (*DESCRIPTION, *CONTENT)

HELD = text(
    f"""
    SELECT uuid, stamp, canonical_key, part_count, file_stamp, sidecar_stamp, provenance, {", ".join(_COLUMNS)},
        CASE WHEN part_count > 1 THEN (
            SELECT jsonb_agg(jsonb_build_array(size_bytes, duration_ms) ORDER BY position)
            FROM asset_part WHERE asset_uuid = uuid
        ) END AS parts
    FROM asset WHERE uuid = ANY(cast(string_to_array(:assets, ',') AS uuid[]))
    """
)
"""What an asset has to be compared by."""


class Difference(NamedTuple):
    """How an asset differs from what its source says."""

    kind: int
    """`NOTHING`, `OTHER_DESCRIPTION` or `OTHER_CONTENT`."""
    fields: Mapping[str, tuple[Any, Any]]
    """The values before and after, by field, as JSON has them."""
    again: Mapping[str, Mapping[str, Sequence[Any]]] | None = None
    """What is owed again, as a sidecar has changed: by the external id of each enricher that reads sidecars, for each
    field that it gave, the source's value and the page enricher that gave it. None where nothing is owed again."""


ALIKE = Difference(NOTHING, {})
"""The difference of what isn't compared: drafts of items that have no asset."""


class Said(NamedTuple):
    """What the source says of an asset."""

    canonical_key: str
    values: Mapping[str, Any]
    """By column."""
    file_stamp: str | None
    parts: Sequence[Sequence[int | None]]
    """Size in bytes and duration in ms of each part."""
    sidecar_stamp: str | None
    refined: Mapping[str, Any]
    """The values after the page enrichers, by column."""
    refined_by: Mapping[str, str]
    """The external id of the page enricher that gave a value, by column."""


def said_by(mapped: MappedDraft, canonical_key: str) -> Said:
    """Return what the source says by a draft."""
    draft = mapped.as_told
    values = {column: getattr(draft, column) for column in _COLUMNS if column != "size_bytes"}
    parts = [[part.size_bytes, part.duration_ms] for part in draft.parts]
    values["size_bytes"] = total_size(draft.parts)
    refined = values if mapped.told is None else {column: getattr(mapped.draft, column, None) for column in _COLUMNS}
    by = {} if mapped.refinement is None else mapped.refinement.provenance
    return Said(canonical_key, values, file_stamp(draft.parts), parts, draft.sidecar_stamp, refined, by)


async def held_assets(session: AsyncSession, assets: Sequence[UUID]) -> dict[UUID, Any]:
    """Read what assets have to be compared by, by their ids."""
    if not assets:
        return {}
    result = await session.execute(HELD, {"assets": ",".join(map(str, assets))})
    return {row.uuid: row for row in result}


async def differences_of(
    session: AsyncSession, page: MappedPage, others: Sequence[Other], reading_sidecars: Sequence[Enricher] = ()
) -> dict[int, Difference]:
    """Compare the drafts of a page with their assets; returns the differences by position, `ALIKE` never among them.

    Drafts without an asset, or whose asset is marked as deleted, aren't compared.
    """
    known = [other for other in others if other.uuid is not None and not other.deleted]
    held = await held_assets(session, [other.uuid for other in known if other.uuid is not None])
    return {
        other.position: compare(
            held[other.uuid],
            said_by(page.drafts[other.position], page.keys[other.position].canonical_key),
            reading_sidecars,
        )
        for other in known
        if other.uuid in held
    }


def compare(held: Any, said: Said, reading_sidecars: Sequence[Enricher] = ()) -> Difference:
    """Compare an asset, a row of `HELD`, with what its source says.

    ``reading_sidecars`` are the enrichers that owe something again if a sidecar has changed.
    """
    given = held.provenance or {}
    description: dict[str, tuple[Any, Any]] = {}
    content: dict[str, tuple[Any, Any]] = {}
    learnt: dict[str, tuple[Any, Any]] = {}
    for column in _COLUMNS:
        if column in given:
            continue
        before, after = getattr(held, column), said.values[column]
        if before == after or _plain(before) == _plain(after):
            continue
        if held.stamp is None and _is_stored_anew(held, said, column):
            continue
        if column in DESCRIPTION:
            description[column] = (_plain(before), _plain(after))
        elif before is None:
            learnt[column] = (None, _plain(after))
        elif after is not None:
            content[column] = (_plain(before), _plain(after))
    content |= _files(held, said)
    fields = description | content | learnt
    kind = OTHER_CONTENT if content else OTHER_DESCRIPTION if fields else NOTHING
    if held.canonical_key != said.canonical_key:
        fields["canonical_key"] = (held.canonical_key, said.canonical_key)
    changed = None not in (held.sidecar_stamp, said.sidecar_stamp) and held.sidecar_stamp != said.sidecar_stamp
    if not changed or not reading_sidecars or kind == OTHER_CONTENT:
        return Difference(kind, fields)
    again = {
        enricher.external_id: {
            column: [_plain(said.refined.get(column)), said.refined_by.get(column)]
            for column, by in given.items()
            if by == enricher.external_id
        }
        for enricher in reading_sidecars
    }
    return Difference(kind, fields, again)


def _is_stored_anew(held: Any, said: Said, column: str) -> bool:
    """Return whether an asset of an earlier version differs because that one stored the value elsewhere, or not at all.

    The asset takes these values with its first stamp.
    """
    before, after = getattr(held, column), said.values[column]
    if column in ADDED:
        return before is None
    match held.type, column:
        case "episode", "year":  # directories gave an episode the year of its show
            return after is None and bool(before == said.values["show_year"])
        case "track", "show_title":
            return before is None
        case "track", "tags":
            return bool({kind: tags for kind, tags in before.items() if kind not in _WERE_TAGS} == _plain(after))
        case _:
            return False


def _files(held: Any, said: Said) -> dict[str, tuple[Any, Any]]:
    """Compare the files."""
    if held.part_count != len(said.parts):
        return {"part_count": (held.part_count, len(said.parts))}
    if held.file_stamp is not None and said.file_stamp is not None and held.file_stamp != said.file_stamp:
        return {"file_stamp": (held.file_stamp, said.file_stamp)}
    if held.part_count > 1 and _others(held.parts, said.parts):
        return {"parts": (held.parts, [list(part) for part in said.parts])}
    return {}


def _others(held: Sequence[Sequence[int | None]] | None, said: Sequence[Sequence[int | None]]) -> bool:
    """Return whether a part has another size or duration; what isn't known of one can't differ."""
    return any(
        before is not None and after is not None and before != after
        for was, now in zip(held or (), said, strict=False)
        for before, after in zip(was, now, strict=True)
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON and PostgreSQL give it back: a rating is of single precision."""
    match value:
        case float():
            return round(struct.unpack("f", struct.pack("f", value))[0], 2)
        case dt.date():
            return value.isoformat()
        case Mapping() | list() | tuple():
            return orjson.loads(orjson.dumps(value))
        case _:
            return value
