"""The rows of a Jellyfin listing, decoded: only the fields that are used.

A page is decoded in one go; only if a row doesn't fit are the rows looked at one by one, so that a bad row is
one rejected item and not a lost page.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from retrovue.core.model import Big, Natural
from retrovue.importers.http.mending import NUL
from retrovue.importers.http.rows import Number, all_known, decode_container, decode_rows, reason

_GUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")


class Named(msgspec.Struct, gc=False, rename="pascal"):
    """A studio of an item."""

    name: str = ""


class Stream(msgspec.Struct, gc=False, rename="pascal"):
    """One stream of a file: ``Video``, ``Audio``, ``Subtitle``, ``EmbeddedImage``, ….

    A subtitle that lies beside the file is a stream, too.
    """

    type: str | None = None
    index: Number | None = None
    codec: str | None = None
    width: Natural | None = None
    height: Natural | None = None
    channels: Natural | None = None
    is_default: bool = False


class Source(msgspec.Struct, gc=False, rename="pascal"):
    """One version of an item. Ticks are 100 ns, bit rates bits a second."""

    id: str | None = None
    path: str | None = None
    protocol: str | None = None
    type: str | None = None
    name: str | None = None
    container: str | None = None
    size: Big | None = None
    is_remote: bool = False
    video_type: str | None = None
    run_time_ticks: int | float | None = None
    bitrate: Natural | None = None
    default_audio_stream_index: Number | None = None
    media_streams: list[Stream] | None = None


class Chapter(msgspec.Struct, gc=False, rename="pascal"):
    """Where a chapter begins; it ends where the next one does."""

    start_position_ticks: int | float | None = None
    name: str | None = None


class Row(msgspec.Struct, gc=False, rename="pascal"):
    """One item of a listing."""

    id: str | None = None
    type: str | None = None
    name: str | None = None
    series_id: str | None = None
    series_name: str | None = None
    official_rating: str | None = None
    community_rating: float | None = None
    critic_rating: float | None = None
    production_year: int | None = None
    premiere_date: str | None = None
    run_time_ticks: int | float | None = None
    index_number: Number | None = None
    index_number_end: Number | None = None
    parent_index_number: Number | None = None
    location_type: str | None = None
    is_place_holder: bool | None = None
    part_count: Natural | None = None
    album: str | None = None
    album_artist: str | None = None
    artists: list[str] | None = None
    genres: list[str] | None = None
    tags: list[str] | None = None
    studios: list[Named] | None = None
    provider_ids: dict[str, str | None] | None = None
    media_sources: list[Source] | None = None
    chapters: list[Chapter] | None = None


class SketchSource(msgspec.Struct, gc=False, rename="pascal"):
    """One version of an item: what it is recognised by, and what rules it out."""

    id: str | None = None
    path: str | None = None
    protocol: str | None = None
    type: str | None = None
    is_remote: bool = False
    video_type: str | None = None


class SketchRow(msgspec.Struct, gc=False, rename="pascal"):
    """One item of a listing, reduced to what it is recognised by."""

    id: str | None = None
    type: str | None = None
    name: str | None = None
    location_type: str | None = None
    is_place_holder: bool | None = None
    index_number: Number | None = None
    index_number_end: Number | None = None
    part_count: Natural | None = None
    media_sources: list[SketchSource] | None = None


class BadRow(msgspec.Struct, gc=False):
    """A row that isn't what the API promises; what could still be read of it, and why it is bad."""

    reason: str
    name: str | None = None
    has_id: bool = False


class Listing(msgspec.Struct, gc=False):
    """One answer of a listing."""

    rows: list[Row | BadRow]
    keys: list[bytes]
    """The id of each row, 16 bytes; of a row without a usable one, a hash of all it says."""
    total: int
    offset: int | None
    size: int | None = None
    """Jellyfin doesn't say how many entries an answer holds."""
    mended: frozenset[int] = frozenset()
    """The places of rows whose text was not clean and may hold NUL or replacement characters."""
    sketches: "list[SketchRow] | None" = None
    """In place of the rows, where the answer was only looked over."""


_RowT = TypeVar("_RowT")


class _Answer(msgspec.Struct, Generic[_RowT], gc=False, rename="pascal"):
    items: list[_RowT]
    total_record_count: Big
    start_index: Big | None = None


class _Glimpse(msgspec.Struct, gc=False, rename="pascal"):
    id: str | None = None
    name: str | None = None


_page = msgspec.json.Decoder(_Answer[Row])
_sketch_page = msgspec.json.Decoder(_Answer[SketchRow])
_raw_page = msgspec.json.Decoder(_Answer[msgspec.Raw])
_row = msgspec.json.Decoder(Row)
_glimpse = msgspec.json.Decoder(_Glimpse)


def guid_bytes(text: str | None) -> bytes | None:
    """Read an id of 32 hexadecimal digits, with dashes or without, as its 16 bytes; None for anything else."""
    if text is None or _GUID.fullmatch(text) is None:
        return None
    return bytes.fromhex(text.replace("-", ""))


def decode_listing(body: bytes | bytearray) -> Listing:
    """Decode one answer of a listing.

    Raises MalformedAnswer with code ``bad_json`` if it isn't JSON, ``no_container`` if it isn't a listing.
    """
    if NUL not in body:
        try:
            answer = _page.decode(body)
        except (ValueError, RecursionError):
            pass  # Below it is found out whether this is one row's fault or the whole page's.
        else:
            keys = _keys(answer.items)
            if keys is not None:
                return Listing([*answer.items], keys, answer.total_record_count, answer.start_index)
    return _decode_by_rows(body)


def sketch_listing(body: bytes | bytearray) -> Listing | None:
    """Look an answer over for what its items are recognised by; None if it needs to be read in full.

    So it does for an item of several parts, whose files aren't in the listing.
    """
    if NUL in body:
        return None
    try:
        answer = _sketch_page.decode(body)
    except (ValueError, RecursionError):
        return None
    keys = _keys(answer.items)
    if keys is None or any(row.part_count for row in answer.items):
        return None
    return Listing([], keys, answer.total_record_count, answer.start_index, sketches=answer.items)


def _keys(rows: Sequence[Row] | Sequence[SketchRow]) -> list[bytes] | None:
    return all_known([guid_bytes(row.id) for row in rows])


def _decode_by_rows(body: bytes | bytearray) -> Listing:
    raw, changed = decode_container(body, _raw_page.decode, expected="is no listing", product="Jellyfin")
    rows, keys, mended = decode_rows(raw.items, _decode_row, changed=changed)
    return Listing(rows, keys, raw.total_record_count, raw.start_index, mended=mended)


def _decode_row(text: bytes) -> tuple[Row | BadRow, bytes]:
    try:
        row = _row.decode(text)
    except (ValueError, RecursionError) as exc:
        return _glimpse_of(text, reason(exc))
    return row, guid_bytes(row.id) or _hash(text)


def _glimpse_of(text: bytes, why: str) -> tuple[BadRow, bytes]:
    try:
        seen = _glimpse.decode(text)
    except (ValueError, RecursionError):
        return BadRow(why), _hash(text)
    guid = guid_bytes(seen.id)
    return BadRow(why, seen.name, guid is not None), guid or _hash(text)


def _hash(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()
