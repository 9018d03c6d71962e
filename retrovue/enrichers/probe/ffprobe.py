"""Looking into media files with ffprobe, one process for each file."""

from typing import Any

import msgspec

from retrovue.core.errors import EnrichmentError
from retrovue.enrichers.processes import output_of

OUTPUT_CAP = 4 * 1024 * 1024
_ARGUMENTS = (
    "-v", "quiet", "-print_format", "json", "-show_format", "-show_streams", "-show_chapters",
    "-protocol_whitelist", "file", "-i",
)  # fmt: skip
_TYPES = {"video", "audio", "subtitle"}
_FLAGS = {
    "default": "default",
    "forced": "forced",
    "hearing_impaired": "hearing_impaired",
    "attached_pic": "attached_picture",
}


async def look_into(program: str, path: str, *, deadline_s: float) -> dict[str, Any]:
    """Describe a media file as the worker does; raises EnrichmentError."""
    status, printed = await output_of([program, *_ARGUMENTS, f"file:{path}"], deadline_s=deadline_s, cap=OUTPUT_CAP)
    if status != 0:
        raise EnrichmentError(f"ffprobe can't read {path!r} (status {status}).", code="not_media")
    try:
        return _read(msgspec.json.decode(printed))
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        raise EnrichmentError(f"ffprobe's answer makes no sense: {type(exc).__name__}.", code="not_media") from exc


def _read(answer: dict[str, Any]) -> dict[str, Any]:
    about = answer.get("format") or {}
    return {
        "duration_ms": _milliseconds(about.get("duration")),
        "bitrate": _number(about.get("bit_rate")),
        "format": about.get("format_name"),
        "streams": [_stream(stream) for stream in answer.get("streams") or () if stream.get("codec_type") in _TYPES],
        "chapters": [
            {
                "title": (chapter.get("tags") or {}).get("title"),
                "start_ms": _milliseconds(chapter.get("start_time")),
                "end_ms": _milliseconds(chapter.get("end_time")),
            }
            for chapter in answer.get("chapters") or ()
        ],
    }


def _stream(stream: dict[str, Any]) -> dict[str, Any]:
    tags, disposition = stream.get("tags") or {}, stream.get("disposition") or {}
    rate, _, per = str(stream.get("avg_frame_rate") or "0/1").partition("/")
    video = stream["codec_type"] == "video"
    return {
        "index": stream.get("index"),
        "type": stream["codec_type"],
        "codec": stream.get("codec_name"),
        "language": tags.get("language"),
        "title": tags.get("title"),
        "width": stream.get("width") if video else None,
        "height": stream.get("height") if video else None,
        "frame_rate": int(rate) / int(per or 1) if video and int(rate) and int(per or 1) else None,
        "channels": stream.get("channels"),
        "sample_rate": _number(stream.get("sample_rate")),
        "bitrate": _number(stream.get("bit_rate")),
        **{name: True for key, name in _FLAGS.items() if disposition.get(key)},
    }


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isdigit() else None


def _milliseconds(value: object) -> int | None:
    return None if value is None else max(0, round(float(str(value)) * 1000))
