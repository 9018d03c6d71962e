"""The details of Plex items that listings leave out: streams, external subtitles, chapters and markers."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from retrovue.core.bounds import MOST_SPANS
from retrovue.core.errors import MalformedAnswer
from retrovue.importers.http.lenient import LenientBudget, decode_leniently
from retrovue.importers.http.listing import FilePath, Text, check_size
from retrovue.importers.plex.parse import spans
from retrovue.importers.plex.rows import Spans, rating_key_number

PARAMETERS: Mapping[str, str] = {"includeChapters": "1", "includeMarkers": "1", "skipRefresh": "1"}
"""``skipRefresh`` prevents that the server analyses files for the answer."""
_TYPES = {1: "video", 2: "audio", 3: "subtitle"}


class _Stream(msgspec.Struct, gc=False, rename="camel"):
    stream_type: int | None = None
    index: int | None = None
    codec: Text | None = None
    language: Text | None = None
    language_code: Text | None = None
    title: Text | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    channels: int | None = None
    sampling_rate: int | None = None
    bitrate: int | None = None
    default: bool | None = None
    forced: bool | None = None
    hearing_impaired: bool | None = None
    key: Text | None = None
    file: FilePath | None = None


class _Part(msgspec.Struct, gc=False):
    streams: Annotated[list[_Stream], msgspec.Meta(max_length=MOST_SPANS)] | None = msgspec.field(
        default=None, name="Stream"
    )


class _Media(msgspec.Struct, gc=False):
    id: int | None = None
    parts: list[_Part] | None = msgspec.field(default=None, name="Part")


class _Row(msgspec.Struct, gc=False, rename="camel"):
    rating_key: Text | int | None = None
    media: list[_Media] | None = msgspec.field(default=None, name="Media")
    chapters: Spans | None = msgspec.field(default=None, name="Chapter")
    markers: Spans | None = msgspec.field(default=None, name="Marker")


class _Container(msgspec.Struct, gc=False):
    rows: list[msgspec.Raw] | None = msgspec.field(default=None, name="Metadata")


class _Answer(msgspec.Struct, gc=False):
    container: _Container = msgspec.field(name="MediaContainer")


class Detail(msgspec.Struct, frozen=True):
    """The details of one item, with the names and units of the catalogue."""

    streams: Mapping[int, list[dict[str, Any]]]
    """The streams of all parts of each version, by the version's id."""
    chapters: list[dict[str, Any]]
    markers: list[dict[str, Any]]
    warnings: list[str]
    """The codes of the values that were left out."""


def decode_details(body: bytes | bytearray) -> dict[int, Detail | str]:
    """Decode an answer about several items, by rating key. For a malformed item the value is a text that says why.

    Raises MalformedAnswer if the answer as a whole is malformed or holds too many values.
    """
    check_size(body)
    try:
        rows = msgspec.json.decode(body, type=_Answer).container.rows or []
    except (ValueError, RecursionError) as exc:
        raise MalformedAnswer(f"The details are not what Plex promises: {type(exc).__name__}.") from exc
    found: dict[int, Detail | str] = {}
    budget = LenientBudget()
    for raw in rows:
        try:
            row, dropped = decode_leniently(bytes(raw), _Row, budget)
        except (ValueError, RecursionError) as exc:
            key = _key_of(raw)
            if key is not None:
                found[key] = f"The item's details are malformed: {exc}."
            continue
        key = rating_key_number(row.rating_key)
        if key is not None:
            found[key] = _detail(row, ["bad_value"] if dropped else [])
    return found


class _Key(msgspec.Struct, rename="camel"):
    rating_key: Text | int | None = None


def _key_of(raw: msgspec.Raw) -> int | None:
    try:
        return rating_key_number(msgspec.json.decode(raw, type=_Key).rating_key)
    except (ValueError, RecursionError):
        return None


def _detail(row: _Row, warnings: list[str]) -> Detail:
    streams = {
        media.id: [_stream(stream) for part in media.parts or () for stream in part.streams or ()]
        for media in row.media or ()
        if media.id is not None
    }
    chapters = spans(row.chapters or (), "tag", "title", warnings)
    markers = spans(row.markers or (), "type", "type", warnings)
    return Detail(streams, chapters, markers, list(dict.fromkeys(warnings)))


def _stream(stream: _Stream) -> dict[str, Any]:
    values: dict[str, Any] = {
        "type": _TYPES.get(stream.stream_type or 0, "other"),
        "index": stream.index,
        "codec": stream.codec,
        "language": stream.language_code or stream.language,
        "title": stream.title,
        "width": stream.width,
        "height": stream.height,
        "frame_rate": stream.frame_rate,
        "channels": stream.channels,
        "sample_rate": stream.sampling_rate,
        "bitrate": None if stream.bitrate is None else stream.bitrate * 1000,  # Plex gives kbit/s
        "default": stream.default or None,
        "forced": stream.forced or None,
        "hearing_impaired": stream.hearing_impaired or None,
        # A stream with its own address is a file beside the media file.
        "external": True if stream.key else None,
        "path": stream.file if stream.key else None,
    }
    return {name: value for name, value in values.items() if value is not None}
