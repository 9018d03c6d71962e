"""The program that opens media files with PyAV, in its own process because the native library may crash.

It imports nothing of RetroVue. Each line of its standard input is a path as a JSON string. For each path it prints one
line, a JSON object with the file's properties or ``{"error": ...}``. It prints the answer before it opens the next
file, so that the reader knows which file crashed or hung it.
"""

import json
import os
import sys
from typing import Any

TYPES = {"video", "audio", "subtitle"}
FLAGS = {"default": 0x0001, "forced": 0x0040, "hearing_impaired": 0x0080, "attached_picture": 0x0400}
"""libavformat's AV_DISPOSITION_ bits."""


def look_into(path: str) -> dict[str, Any]:
    """Describe a media file's container, streams and chapters, in ffprobe's terms."""
    import av  # noqa: PLC0415 - only this process loads the native library

    av.logging.set_level(av.logging.PANIC)
    # A file may be a playlist; the files that it names aren't opened.
    with av.open(path, metadata_errors="replace", options={"protocol_whitelist": "file"}) as container:
        return {
            "duration_ms": None if container.duration is None else max(0, round(container.duration / 1000)),
            "bitrate": container.bit_rate or None,
            "format": container.format.name,
            "streams": [_stream(stream) for stream in container.streams if stream.type in TYPES],
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
        # Not the decoder's own name: libdav1d decodes av1, mp3float mp3.
        "codec": getattr(getattr(context, "codec", None), "canonical_name", None) or getattr(context, "name", None),
        "language": stream.metadata.get("language"),
        "title": stream.metadata.get("title"),
        "width": getattr(context, "width", None) if stream.type == "video" else None,
        "height": getattr(context, "height", None) if stream.type == "video" else None,
        "frame_rate": float(rate) if stream.type == "video" and rate else None,
        "channels": getattr(context, "channels", None) if stream.type == "audio" else None,
        "sample_rate": getattr(context, "sample_rate", None) if stream.type == "audio" else None,
        "bitrate": getattr(context, "bit_rate", None) or None,
        **{name: True for name, bit in FLAGS.items() if disposition & bit},
    }


def main() -> None:
    """Answer each line of standard input until it ends."""
    for line in sys.stdin.buffer:
        try:
            answer = look_into(os.fsdecode(json.loads(line).encode("utf-8", "surrogateescape")))
        except Exception as exc:  # noqa: BLE001 - whatever the library raises concerns this file alone
            answer = {"error": getattr(exc, "strerror", None) or str(exc) or type(exc).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
