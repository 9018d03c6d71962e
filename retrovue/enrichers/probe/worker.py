"""The program that looks into media files with PyAV: it may crash on one without harm to anybody else.

It imports nothing of RetroVue. It reads one JSON string, a path, from each line of its standard input.
For each it prints one JSON object on a line: what it found, or ``{"error": ...}``. The answer to a file comes before
the next one is opened, so that whoever listens knows on which it crashed or hung.
"""

import json
import os
import sys
from typing import Any

_TYPES = {"video", "audio", "subtitle"}
_FLAGS = {"default": 0x0001, "forced": 0x0040, "hearing_impaired": 0x0080, "attached_picture": 0x0400}
"""libavformat's AV_DISPOSITION_ bits."""


def look_into(path: str) -> dict[str, Any]:
    """Open a media file and describe its container, streams and chapters, in the words of ffprobe."""
    import av  # noqa: PLC0415 - whoever starts this program has made sure that it is there

    av.logging.set_level(av.logging.PANIC)
    # A playlist must not make it fetch what it names.
    with av.open(path, metadata_errors="replace", options={"protocol_whitelist": "file"}) as container:
        return {
            "duration_ms": None if container.duration is None else max(0, round(container.duration / 1000)),
            "bitrate": container.bit_rate or None,
            "format": container.format.name,
            "streams": [_stream(stream) for stream in container.streams if stream.type in _TYPES],
            "chapters": [
                {
                    "title": chapter["metadata"].get("title"),
                    "start_ms": round(chapter["start"] * (chapter["time_base"] or 0) * 1000),
                    "end_ms": round(chapter["end"] * (chapter["time_base"] or 0) * 1000),
                }
                for chapter in container.chapters()
            ],
        }


def _stream(stream: Any) -> dict[str, Any]:
    disposition = int(getattr(stream, "disposition", 0) or 0)
    context = getattr(stream, "codec_context", None)
    rate = getattr(stream, "average_rate", None)
    return {
        "index": stream.index,
        "type": stream.type,
        "codec": getattr(context, "name", None),
        "language": stream.metadata.get("language"),
        "title": stream.metadata.get("title"),
        "width": getattr(context, "width", None) if stream.type == "video" else None,
        "height": getattr(context, "height", None) if stream.type == "video" else None,
        "frame_rate": float(rate) if stream.type == "video" and rate else None,
        "channels": getattr(context, "channels", None) if stream.type == "audio" else None,
        "sample_rate": getattr(context, "sample_rate", None) if stream.type == "audio" else None,
        "bitrate": getattr(context, "bit_rate", None) or None,
        **{name: True for name, bit in _FLAGS.items() if disposition & bit},
    }


def main() -> None:
    """Answer until the standard input ends."""
    for line in sys.stdin.buffer:
        try:
            answer = look_into(os.fsdecode(json.loads(line).encode("utf-8", "surrogateescape")))
        except Exception as exc:  # noqa: BLE001 - whatever the library makes of a file is told of that file
            answer = {"error": f"{type(exc).__name__}: {getattr(exc, 'strerror', None) or exc}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
