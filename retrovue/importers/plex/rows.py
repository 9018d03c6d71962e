"""The rows of a Plex listing, decoded: only the fields that are used, with the types that were seen.

PMS answers with more than a hundred fields an item; decoding just these is three times cheaper than making
dictionaries of all. A page is decoded in one go; only if a row doesn't fit are the rows looked at one by one,
so that a bad row is one rejected item and not a lost page.
"""

import hashlib
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from retrovue.core.errors import MalformedAnswer
from retrovue.core.model import Big, Natural
from retrovue.importers.http.mending import NUL
from retrovue.importers.http.rows import Number, all_known, decode_container, decode_rows, reason
from retrovue.importers.plex.ids import rating_key_number


class Tag(msgspec.Struct, gc=False):
    """A genre, label or collection of an item."""

    tag: str = ""


class Guid(msgspec.Struct, gc=False):
    """An id at another provider, such as ``imdb://tt0133093``."""

    id: str = ""


class Span(msgspec.Struct, gc=False, rename="camel"):
    """A chapter (with a ``tag``) or a marker (with a ``type``); offsets in milliseconds."""

    type: str | None = None
    tag: str | None = None
    start_time_offset: int | float | None = None
    end_time_offset: int | float | None = None


class Part(msgspec.Struct, gc=False):
    """One file of a version."""

    file: str | None = None
    size: Big | None = None
    duration: int | float | None = None


class Media(msgspec.Struct, gc=False, rename="camel"):
    """One version of an item; a file that PMS has not analysed has no codecs."""

    id: Big | None = None
    duration: int | float | None = None
    bitrate: Natural | None = None
    width: Natural | None = None
    height: Natural | None = None
    audio_channels: Natural | None = None
    audio_codec: str | None = None
    video_codec: str | None = None
    video_resolution: str | None = None
    container: str | None = None
    proxy_type: int | None = None
    target: str | None = None
    parts: list[Part] | None = msgspec.field(default=None, name="Part")


class Row(msgspec.Struct, gc=False, rename="camel"):
    """One item of a listing. ``guid`` and ``Guid``, ``rating`` and ``Rating`` are different fields."""

    rating_key: str | int | None = None
    type: str | None = None
    subtype: str | None = None
    title: str | None = None
    guid: str | None = None
    studio: str | None = None
    content_rating: str | None = None
    edition_title: str | None = None
    year: int | None = None
    originally_available_at: str | None = None
    duration: int | float | None = None
    rating: float | None = None
    audience_rating: float | None = None
    index: Number | None = None
    parent_index: Number | None = None
    parent_title: str | None = None
    grandparent_title: str | None = None
    grandparent_rating_key: str | int | None = None
    media: list[Media] | None = msgspec.field(default=None, name="Media")
    guids: list[Guid] | None = msgspec.field(default=None, name="Guid")
    genres: list[Tag] | None = msgspec.field(default=None, name="Genre")
    labels: list[Tag] | None = msgspec.field(default=None, name="Label")
    collections: list[Tag] | None = msgspec.field(default=None, name="Collection")
    chapters: list[Span] | None = msgspec.field(default=None, name="Chapter")
    markers: list[Span] | None = msgspec.field(default=None, name="Marker")


class SketchPart(msgspec.Struct, gc=False):
    """One file of a version, by name only."""

    file: str | None = None


class SketchMedia(msgspec.Struct, gc=False, rename="camel"):
    """One version of an item: what it is recognised by, and what rules it out."""

    id: Big | None = None
    proxy_type: int | None = None
    target: str | None = None
    parts: list[SketchPart] | None = msgspec.field(default=None, name="Part")


class SketchRow(msgspec.Struct, gc=False, rename="camel"):
    """One item of a listing, reduced to what it is recognised by."""

    rating_key: str | None = None
    type: str | None = None
    title: str | None = None
    media: list[SketchMedia] | None = msgspec.field(default=None, name="Media")


class BadRow(msgspec.Struct, gc=False):
    """A row that isn't what the API promises; what could still be read of it, and why it is bad."""

    reason: str
    title: str | None = None


class Listing(msgspec.Struct, gc=False):
    """One answer of a listing."""

    rows: list[Row | BadRow]
    keys: list[int | str]
    """The rating key of each row; a string where it isn't a whole number or can't be read at all."""
    size: int | None
    """How many entries the answer claims to hold."""
    total: int | None
    """How many the listing holds; None in an answer that isn't paged."""
    offset: int | None
    mended: frozenset[int]
    """The places of rows whose text was not clean and may hold NUL or replacement characters."""
    sketches: "list[SketchRow] | None" = None
    """In place of the rows, where the answer was only looked over."""

    def __len__(self) -> int:
        return len(self.keys)


_RowT = TypeVar("_RowT")


class _Container(msgspec.Struct, Generic[_RowT], gc=False, rename="camel"):
    size: Big | None = None
    total_size: Big | None = None
    offset: Big | None = None
    rows: list[_RowT] | None = msgspec.field(default=None, name="Metadata")


class _Answer(msgspec.Struct, Generic[_RowT], gc=False):
    container: _Container[_RowT] = msgspec.field(name="MediaContainer")


class _Glimpse(msgspec.Struct, gc=False, rename="camel"):
    rating_key: str | int | None = None
    title: str | None = None


_page = msgspec.json.Decoder(_Answer[Row])
_sketch_page = msgspec.json.Decoder(_Answer[SketchRow])
# PMS writes some numbers as strings ("1"), most of all in containers: the second look accepts them.
_raw_page = msgspec.json.Decoder(_Answer[msgspec.Raw], strict=False)
_row = msgspec.json.Decoder(Row)
_lenient_row = msgspec.json.Decoder(Row, strict=False)
_glimpse = msgspec.json.Decoder(_Glimpse)


def decode_listing(body: bytes | bytearray) -> Listing:
    """Decode one answer of a listing.

    Raises MalformedAnswer with code ``bad_json`` if it isn't JSON, ``no_container`` if it isn't a listing.
    """
    if NUL not in body:
        try:
            container = _page.decode(body).container
        except (ValueError, RecursionError):
            pass  # Below it is found out whether this is one row's fault or the whole page's.
        else:
            rows = container.rows or []
            keys = _keys(rows)
            if keys is not None:
                return _listing(container, [*rows], [*keys])
    return _decode_by_rows(body)


def sketch_listing(body: bytes | bytearray) -> Listing | None:
    """Look an answer of a listing over for what its items are recognised by; None if it needs to be read in full."""
    if NUL in body:
        return None
    try:
        container = _sketch_page.decode(body).container
    except (ValueError, RecursionError):
        return None
    sketches = container.rows or []
    keys = _keys(sketches)
    if keys is None or (not keys and container.size is None):
        return None
    return Listing([], [*keys], container.size, container.total_size, container.offset, frozenset(), sketches)


def _keys(rows: Sequence[Row] | Sequence[SketchRow]) -> list[int] | None:
    return all_known([rating_key_number(row.rating_key) for row in rows])


def _decode_by_rows(body: bytes | bytearray) -> Listing:
    answer, changed = decode_container(body, _raw_page.decode, expected="has no media container", product="Plex")
    raw = answer.container
    return _listing(raw, *decode_rows(raw.rows or (), _decode_row, changed=changed))


def _decode_row(text: bytes) -> tuple[Row | BadRow, int | str]:
    try:
        try:
            row = _row.decode(text)
        except msgspec.ValidationError:
            row = _lenient_row.decode(text)
    except (ValueError, RecursionError) as exc:
        return _glimpse_of(text, reason(exc))
    return row, _key(row.rating_key, text)


def _glimpse_of(text: bytes, why: str) -> tuple[BadRow, int | str]:
    try:
        seen = _glimpse.decode(text)
    except (ValueError, RecursionError):
        return BadRow(why), _key(None, text)
    return BadRow(why, seen.title), _key(seen.rating_key, text)


def _listing(
    container: "_Container[Row] | _Container[msgspec.Raw]",
    rows: list[Row | BadRow],
    keys: list[int | str],
    mended: frozenset[int] = frozenset(),
) -> Listing:
    if container.rows is None and container.size is None and container.total_size is None:
        raise MalformedAnswer(
            "The answer's media container says neither what it holds nor how much.", code="no_container"
        )
    return Listing(rows, keys, container.size, container.total_size, container.offset, mended)


def _key(value: str | int | None, text: bytes) -> int | str:
    # A row without a usable rating key is told from others by what it says.
    number = rating_key_number(value)
    return f"row:{hashlib.blake2b(text, digest_size=16).hexdigest()}" if number is None else number
