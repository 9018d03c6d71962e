"""The rows of a Jellyfin listing: only the fields that are used."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec

from retrovue.core.bounds import MOST_SPANS, MOST_TAGS
from retrovue.core.pages import Big, Natural
from retrovue.importers.http.listing import (
    BadRow,
    Contents,
    FilePath,
    Listing,
    ListingFormat,
    Number,
    OutlineListing,
    Text,
)

_GUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_DIGITS = 32
_RESOLUTIONS = (
    (854, 480, "sd"),
    (960, 544, "540"),
    (1024, 576, "576"),
    (1280, 962, "720"),
    (2560, 1440, "1080"),
    (4096, 3072, "4k"),
    (8192, 6144, "8k"),
)
"""The largest width and height of each resolution (MediaStream.cs), with Plex's names."""


Words = Annotated[list[Text], msgspec.Meta(max_length=MOST_TAGS)]


class NamedRow(msgspec.Struct, gc=False, rename="pascal"):
    """A studio of an item, or an artist of its album."""

    name: Text = ""
    id: Text | None = None


class Stream(msgspec.Struct, gc=False, rename="pascal"):
    """One stream of a file (``Video``, ``Audio``, ``Subtitle``, ``EmbeddedImage``, …), or a subtitle file beside it."""

    type: Text | None = None
    index: Number | None = None
    codec: Text | None = None
    width: Natural | None = None
    height: Natural | None = None
    channels: Natural | None = None
    is_default: bool = False


class MediaSource(msgspec.Struct, gc=False, rename="pascal"):
    """One version of an item. Ticks are 100 ns, bit rates bits a second."""

    id: Text | None = None
    path: FilePath | None = None
    protocol: Text | None = None
    type: Text | None = None
    container: Text | None = None
    size: Big | None = None
    is_remote: bool = False
    video_type: Text | None = None
    run_time_ticks: int | float | None = None
    bitrate: Natural | None = None
    default_audio_stream_index: Number | None = None
    media_streams: Annotated[list[Stream], msgspec.Meta(max_length=MOST_SPANS)] | None = None


class Chapter(msgspec.Struct, gc=False, rename="pascal"):
    """Where a chapter begins; it ends where the next one does."""

    start_position_ticks: int | float | None = None
    name: Text | None = None


class Row(msgspec.Struct, gc=False, rename="pascal"):
    """One item of a listing."""

    id: Text | None = None
    type: Text | None = None
    title: Text | None = msgspec.field(default=None, name="Name")
    series_id: Text | None = None
    series_name: Text | None = None
    official_rating: Text | None = None
    community_rating: float | None = None
    critic_rating: float | None = None
    year: int | None = msgspec.field(default=None, name="ProductionYear")
    premiere_date: Text | None = None
    run_time_ticks: int | float | None = None
    index_number: Number | None = None
    index_number_end: Number | None = None
    parent_index_number: Number | None = None
    location_type: Text | None = None
    is_place_holder: bool | None = None
    part_count: Natural | None = None
    album: Text | None = None
    album_artist: Text | None = None
    album_artists: Annotated[list[NamedRow], msgspec.Meta(max_length=MOST_TAGS)] | None = None
    artists: Words | None = None
    genres: Words | None = None
    tags: Words | None = None
    studios: Annotated[list[NamedRow], msgspec.Meta(max_length=MOST_TAGS)] | None = None
    provider_ids: Annotated[dict[Text, Text | None], msgspec.Meta(max_length=MOST_TAGS)] | None = None
    versions: list[MediaSource] | None = msgspec.field(default=None, name="MediaSources")
    chapters: Annotated[list[Chapter], msgspec.Meta(max_length=MOST_SPANS)] | None = None


class OutlineSource(msgspec.Struct, gc=False, rename="pascal"):
    """One version of an item: what identifies it and what excludes it."""

    id: Text | None = None
    path: FilePath | None = None
    protocol: Text | None = None
    type: Text | None = None
    is_remote: bool = False
    video_type: Text | None = None


class OutlineRow(msgspec.Struct, gc=False, rename="pascal"):
    """One item of a listing in short form."""

    id: Text | None = None
    type: Text | None = None
    title: Text | None = msgspec.field(default=None, name="Name")
    series_id: Text | None = None
    location_type: Text | None = None
    is_place_holder: bool | None = None
    index_number: Number | None = None
    index_number_end: Number | None = None
    part_count: Natural | None = None
    versions: list[OutlineSource] | None = msgspec.field(default=None, name="MediaSources")


JellyfinListing = Listing[Row | BadRow, bytes]
JellyfinOutline = OutlineListing[OutlineRow, bytes]

_RowT = TypeVar("_RowT")


class _Answer(msgspec.Struct, Generic[_RowT], gc=False, rename="pascal"):
    items: list[_RowT]
    total_record_count: Big
    start_index: Big | None = None


class _RowKey(msgspec.Struct, gc=False, rename="pascal"):
    id: Text | None = None
    title: Text | None = msgspec.field(default=None, name="Name")


class JellyfinFormat(ListingFormat[Row, OutlineRow, bytes]):
    """How a Jellyfin server writes a listing."""

    product: ClassVar[str] = "Jellyfin"
    rows_name: ClassVar[bytes] = b'"Items"'
    expected: ClassVar[str] = "is no listing"
    answer: ClassVar[Any] = _Answer
    row: ClassVar[Any] = Row
    outline: ClassVar[Any] = OutlineRow
    row_key: ClassVar[Any] = _RowKey

    def contents(self, answer: _Answer[Any]) -> Contents[Any]:
        """Find the parts of a decoded answer. Jellyfin doesn't say how many rows an answer holds."""
        return Contents(answer.items, None, answer.total_record_count, answer.start_index)

    def keys(self, rows: Sequence[Row] | Sequence[OutlineRow]) -> list[bytes | None]:
        """Return the id of each row as 16 bytes, or None."""
        return [guid_bytes(row.id) for row in rows]

    def hashed(self, digest: bytes) -> bytes:
        """Make the key of a row without a usable id."""
        return digest

    def decode_outline(self, body: bytes | bytearray) -> JellyfinOutline | None:
        """Decode an answer's outline; None if it holds an item of several parts, whose files no listing has."""
        listing = super().decode_outline(body)
        return None if listing is None or any(listed.row.part_count for listed in listing.rows) else listing


def guid_bytes(text: str | None) -> bytes | None:
    """Read an id of 32 hexadecimal digits, with dashes or without, as its 16 bytes; None for anything else."""
    if text is not None and len(text) == _DIGITS:
        # The usual form. The pattern takes three times as long.
        try:
            key = bytes.fromhex(text)
        except ValueError:
            return None
        return key if 2 * len(key) == _DIGITS else None  # blanks between digits are skipped
    if text is None or _GUID.fullmatch(text) is None:
        return None
    return bytes.fromhex(text.replace("-", ""))


@lru_cache(maxsize=1024)
def resolution(width: int | None, height: int | None) -> str | None:
    """Return the name of a picture's resolution."""
    if not width or not height:
        return None
    return next((name for widest, highest, name in _RESOLUTIONS if width <= widest and height <= highest), None)


decode_listing = JellyfinFormat().decode
decode_outline = JellyfinFormat().decode_outline
