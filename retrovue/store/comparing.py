"""Compare an asset with its source's current description: which fields differ, and whether the content differs.

Values that an enricher gave aren't compared, because the source didn't give them.
"""

import datetime as dt
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from retrovue.core.model import Enricher
from retrovue.core.pages import AssetDraft, spans
from retrovue.store.drafts import UNSEEN, MappedDraft, MappedPage, file_stamp, total_size
from retrovue.store.known import Other
from retrovue.store.statements import Session, text

CONTENT = (
    "size_bytes", "runtime_ms", "container", "video_codec", "audio_codec", "audio_channels", "video_resolution",
    "width", "height", "bitrate_kbps",
)  # fmt: skip
"""The columns that identify the file: other values mean another file. A value that the source doesn't tell any more is
kept.
"""

DESCRIPTION = tuple(
    name
    for name in AssetDraft.__struct_fields__
    if name not in {"source_uri", "parts", "warnings", "sidecar_stamp", *CONTENT}
)
"""The columns that always follow the source, also to unknown values."""

ADDED = ("show_key", "show_year", "show_provider_ids", "artist", "album", "disc_number", "track_number")
"""The columns that assets without a stamp, from earlier versions, don't have yet."""
_WERE_TAGS = ("artist", "album")
"""The tags in which earlier versions stored values that tracks now have columns for."""

NOTHING, OTHER_DESCRIPTION, OTHER_CONTENT = range(3)
"""How an asset differs from its source, as the staging table stores it."""

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
"""The values of an asset that are needed to compare it."""


class Difference(NamedTuple):
    """How an asset differs from its source."""

    kind: int
    """`NOTHING`, `OTHER_DESCRIPTION` or `OTHER_CONTENT`."""
    fields: Mapping[str, tuple[Any, Any]]
    """The values before and after, by field, in the form of JSON."""
    again: Mapping[str, Mapping[str, Sequence[Any]]] | None = None
    """The enrichments that are owed again because a sidecar has changed: by the external id of each enricher that reads
    sidecars, for each field that it gave, the source's value and the page enricher that gave it. None if nothing is
    owed again.
    """


ALIKE = Difference(NOTHING, {})
"""The difference for drafts of items that have no asset, which aren't compared."""


class SourceValues(NamedTuple):
    """The source's description of an asset."""

    canonical_key: str
    values: Mapping[str, Any]
    """The values by column."""
    file_stamp: str | None
    parts: Sequence[Sequence[int | None]]
    """The size in bytes and the duration in ms of each part."""
    sidecar_stamp: str | None
    refined: Mapping[str, Any]
    """The values after the page enrichers, by column."""
    refined_by: Mapping[str, str]
    """The external id of the page enricher that gave a value, by column."""


def source_values(mapped: MappedDraft, canonical_key: str) -> SourceValues:
    """Return the source's description in a draft."""
    draft = mapped.as_told
    values = _values(draft)
    parts = [[part.size_bytes, part.duration_ms] for part in draft.parts]
    values["size_bytes"] = total_size(draft.parts)
    refined = values if mapped.told is None else _values(mapped.draft)
    by = {} if mapped.refinement is None else mapped.refinement.provenance
    return SourceValues(canonical_key, values, file_stamp(draft.parts), parts, draft.sidecar_stamp, refined, by)


def _values(draft: AssetDraft) -> dict[str, Any]:
    values = {column: getattr(draft, column) for column in _COLUMNS if column != "size_bytes"}
    values["chapters"], values["markers"] = spans(draft.chapters), spans(draft.markers)
    return values


async def held_assets(session: Session, assets: Sequence[UUID]) -> dict[UUID, Any]:
    """Read the values that are needed to compare assets, by their ids."""
    if not assets:
        return {}
    result = await session.execute(HELD, {"assets": ",".join(map(str, assets))})
    return {row.uuid: row for row in result}


async def differences_of(
    session: Session, page: MappedPage, others: Sequence[Other], reading_sidecars: Sequence[Enricher] = ()
) -> dict[int, Difference]:
    """Compare the drafts of a page with their assets; return the differences by position, without `ALIKE`.

    Drafts without an asset, or with an asset that is marked as deleted, aren't compared.
    """
    known = [other for other in others if other.uuid is not None and not other.deleted]
    held = await held_assets(session, [other.uuid for other in known if other.uuid is not None])
    return {
        other.position: compare(
            held[other.uuid],
            source_values(page.drafts[other.position], page.keys[other.position].canonical_key),
            reading_sidecars,
        )
        for other in known
        if other.uuid in held
    }


def compare(held: Any, source: SourceValues, reading_sidecars: Sequence[Enricher] = ()) -> Difference:
    """Compare an asset, a row of `HELD`, with its source's description.

    ``reading_sidecars`` are the enrichers whose enrichments are owed again if a sidecar has changed.
    """
    given = held.provenance or {}
    description: dict[str, tuple[Any, Any]] = {}
    content: dict[str, tuple[Any, Any]] = {}
    learnt: dict[str, tuple[Any, Any]] = {}
    for column in _COLUMNS:
        if column in given:
            continue
        before, after = getattr(held, column), source.values[column]
        if before == after or _plain(before) == _plain(after):
            continue
        if held.stamp is None and _is_newly_stored(held, source, column):
            continue
        if column in DESCRIPTION:
            description[column] = (_plain(before), _plain(after))
        elif before is None:
            learnt[column] = (None, _plain(after))
        elif after is not None:
            content[column] = (_plain(before), _plain(after))
    content |= _files(held, source)
    fields = description | content | learnt
    kind = OTHER_CONTENT if content else OTHER_DESCRIPTION if fields else NOTHING
    if held.canonical_key != source.canonical_key:
        fields["canonical_key"] = (held.canonical_key, source.canonical_key)
    if not reading_sidecars or kind == OTHER_CONTENT or not _has_other_sidecars(held, source):
        return Difference(kind, fields)
    again = {
        enricher.external_id: {
            column: [_plain(source.refined.get(column)), source.refined_by.get(column)]
            for column, by in given.items()
            if by == enricher.external_id
        }
        for enricher in reading_sidecars
    }
    return Difference(kind, fields, again)


def _has_other_sidecars(held: Any, source: SourceValues) -> bool:
    """Return whether a sidecar has changed since it was read. False if a mark isn't known."""
    if None in (held.sidecar_stamp, source.sidecar_stamp):
        return False
    # The sidecars of a file that couldn't be seen were not read.
    read = "" if held.sidecar_stamp == UNSEEN else held.sidecar_stamp
    return bool(read != source.sidecar_stamp)


def _is_newly_stored(held: Any, source: SourceValues, column: str) -> bool:
    """Return whether an asset differs only because an earlier version stored the value elsewhere, or not at all.

    Such an asset takes the value with its first stamp.
    """
    before, after = getattr(held, column), source.values[column]
    if column in ADDED:
        return before is None
    match held.type, column:
        case "episode", "year":  # Earlier versions gave an episode in a directory the year of its show.
            return after is None and bool(before == source.values["show_year"])
        case "track", "show_title":
            return before is None
        case "track", "tags":
            return bool({kind: tags for kind, tags in before.items() if kind not in _WERE_TAGS} == _plain(after))
        case _:
            return False


def _files(held: Any, source: SourceValues) -> dict[str, tuple[Any, Any]]:
    """Compare the files."""
    if held.part_count != len(source.parts):
        return {"part_count": (held.part_count, len(source.parts))}
    if held.file_stamp is not None and source.file_stamp is not None and held.file_stamp != source.file_stamp:
        return {"file_stamp": (held.file_stamp, source.file_stamp)}
    if held.part_count > 1 and _others(held.parts, source.parts):
        return {"parts": (held.parts, [list(part) for part in source.parts])}
    return {}


def _others(held: Sequence[Sequence[int | None]] | None, listed: Sequence[Sequence[int | None]]) -> bool:
    """Return whether a part has another size or duration; an unknown value doesn't differ."""
    return any(
        before is not None and after is not None and before != after
        for was, now in zip(held or (), listed, strict=False)
        for before, after in zip(was, now, strict=True)
    )


def _plain(value: Any) -> Any:
    """Return a value in the form that JSON and PostgreSQL return: a rating has single precision."""
    match value:
        case float():
            return round(struct.unpack("f", struct.pack("f", value))[0], 2)
        case dt.date():
            return value.isoformat()
        case Mapping() | list() | tuple():
            return orjson.loads(orjson.dumps(value))
        case _:
            return value
