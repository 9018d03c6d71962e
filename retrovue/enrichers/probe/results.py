"""Convert the results of the probe to fields of an asset. Does no I/O.

An invalid value is left out, with a warning in the enrichment's data; only the duration is required.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from retrovue.core.bounds import LARGEST
from retrovue.enrichers.base import Enrichment, Failure
from retrovue.enrichers.probe.worker import FLAGS, TYPES

Result = dict[str, Any]
"""The properties of one file, with the keys that the worker prints."""
LONGEST_MS = 366 * 24 * 3600 * 1000
"""The longest duration of a file, in milliseconds; more than a year is invalid."""
LONGEST_TEXT = 1000
"""The longest language or title, in characters."""
MOST = 1000
"""The most streams or chapters that are kept of a file."""
# FFmpeg's name for the flag that FLAGS calls attached_picture.
_FFPROBE_FLAGS = {"attached_picture": "attached_pic"}
_NUMBERS = ("index", "width", "height", "channels", "sample_rate", "bitrate")
_PICTURES = ("image2", "_pipe", "gif", "apng")
"""Parts of FFmpeg's names of formats of still or short pictures."""


def describe(results: Sequence[Result | Failure], fingerprint: dict[str, Any]) -> Enrichment | Failure:
    """Describe an asset by the results of its files, in playing order.

    A file without a duration, or one that is a picture, is a Failure with code ``no_duration``.
    """
    files: list[Result] = []
    warnings: dict[str, None] = {}
    for result in results:
        if isinstance(result, Failure):
            return result
        file = _valid(result, warnings)
        if file["duration_ms"] is None or any(word in str(file["format"]) for word in _PICTURES):
            what = "no duration can be found in the file" if file["duration_ms"] is None else "the file is a picture"
            return Failure("no_duration", f"It can't be scheduled: {what} (format {file['format']}).")
        files.append(file)
    first = files[0]
    streams = first["streams"]
    video: dict[str, Any] = next((s for s in streams if s["type"] == "video" and not s.get("attached_picture")), {})
    audio: dict[str, Any] = next((s for s in streams if s["type"] == "audio"), {})
    fields = {
        "runtime_ms": sum(file["duration_ms"] for file in files),
        "container": str(first["format"] or "").partition(",")[0],
        "video_codec": video.get("codec"),
        "audio_codec": audio.get("codec"),
        "audio_channels": audio.get("channels"),
        "width": video.get("width"),
        "height": video.get("height"),
        "bitrate_kbps": first["bitrate"] // 1000 if first["bitrate"] else None,
        "streams": streams,
        "chapters": _chapters(files),
    }
    data = {"files": files} | ({"warnings": list(warnings)} if warnings else {})
    return Enrichment(fields=fields, fingerprint=fingerprint, data=data)


def _chapters(files: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the chapters of all parts, with times from the start of the first part."""
    chapters: list[dict[str, Any]] = []
    offset = 0
    for file in files:
        chapters += [
            {**chapter, "start_ms": chapter["start_ms"] + offset, "end_ms": chapter["end_ms"] + offset}
            for chapter in file["chapters"]
        ]
        offset += file["duration_ms"]
    return chapters[:MOST]


def _valid(result: Result, warnings: dict[str, None]) -> Result:
    """Return a result without its invalid values."""

    def number(value: object, largest: int = LARGEST) -> int | None:
        if isinstance(value, int) and 0 <= value <= largest:
            return value
        return warnings.setdefault("bad_number") if value is not None else None

    def text(value: object) -> str | None:
        if value is None or (isinstance(value, str) and len(value) <= LONGEST_TEXT):
            return value or None
        return warnings.setdefault("bad_text")

    def stream(found: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(found)
        values |= {name: number(values.get(name)) for name in _NUMBERS}
        # No picture is 0 pixels wide: the stream hasn't been decoded so far.
        values |= {name: values[name] or None for name in ("width", "height", "channels", "sample_rate", "bitrate")}
        values |= {name: text(values.get(name)) for name in ("codec", "language", "title")}
        return {name: value for name, value in values.items() if value is not None}

    def chapter(found: Mapping[str, Any]) -> dict[str, Any] | None:
        start, end = number(found["start_ms"], LONGEST_MS), number(found["end_ms"], LONGEST_MS)
        if start is None or end is None or end < start:
            return warnings.setdefault("bad_span") if found["start_ms"] is not None else None
        return {"title": text(found["title"]), "start_ms": start, "end_ms": end}

    return {
        "duration_ms": number(result["duration_ms"], LONGEST_MS) or None,
        "bitrate": number(result["bitrate"], 2**63 - 1),
        "format": result["format"],
        "streams": [stream(found) for found in result["streams"][:MOST]],
        "chapters": [kept for found in result["chapters"][:MOST] if (kept := chapter(found)) is not None],
    }


def ffprobe_result(answer: Mapping[str, Any]) -> Result:
    """Convert ffprobe's answer to the worker's form: its numbers are texts, and ``N/A`` if there is none."""
    container = answer.get("format") or {}
    return {
        "duration_ms": _milliseconds(container.get("duration")),
        "bitrate": _whole(container.get("bit_rate")),
        "format": container.get("format_name"),
        "streams": [
            _ffprobe_stream(stream) for stream in answer.get("streams") or () if stream.get("codec_type") in TYPES
        ],
        "chapters": [
            {
                "title": (chapter.get("tags") or {}).get("title"),
                "start_ms": _milliseconds(chapter.get("start_time")),
                "end_ms": _milliseconds(chapter.get("end_time")),
            }
            for chapter in answer.get("chapters") or ()
        ],
    }


def _ffprobe_stream(stream: Mapping[str, Any]) -> dict[str, Any]:
    tags, disposition = stream.get("tags") or {}, stream.get("disposition") or {}
    video = stream["codec_type"] == "video"
    return {
        "index": stream.get("index"),
        "type": stream["codec_type"],
        "codec": stream.get("codec_name"),
        "language": tags.get("language"),
        "title": tags.get("title"),
        "width": stream.get("width") if video else None,
        "height": stream.get("height") if video else None,
        "frame_rate": _rate(stream.get("avg_frame_rate")) if video else None,
        "channels": stream.get("channels"),
        "sample_rate": _whole(stream.get("sample_rate")),
        "bitrate": _whole(stream.get("bit_rate")),
        **{name: True for name in FLAGS if disposition.get(_FFPROBE_FLAGS.get(name, name))},
    }


def _rate(value: object) -> float | None:
    try:
        above, _, below = str(value).partition("/")
        return int(above) / int(below or 1) or None
    except (ValueError, ZeroDivisionError):
        return None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else None


def _milliseconds(value: object) -> int | None:
    try:
        return max(0, round(float(str(value)) * 1000))
    except (ValueError, OverflowError):
        return None
