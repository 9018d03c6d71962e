"""The enricher that looks into the media files themselves: durations, streams, codecs and chapters.

PyAV in a worker process, or ffprobe where PyAV isn't installed. A file on which the native library crashes or hangs
takes the worker down and nothing else; the files behind it are given to another one.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import anyio
import anyio.to_thread
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from retrovue.core.errors import EnrichmentError, RequestError
from retrovue.core.model import ConfigField, Source
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure, parameters
from retrovue.enrichers.probe import ffprobe
from retrovue.enrichers.processes import program

BATCH_DEADLINE_S = 600.0
"""For a batch of files: none of them can have longer."""
ANSWER_CAP = 1024 * 1024
"""Bytes that the worker may print for one file."""
_GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)
# By its path: as a module it would first import this package, which takes longer than a batch of files.
_WORKER = (sys.executable, "-P", str(Path(__file__).with_name("worker.py")))


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a probe."""

    program: Literal["auto", "pyav", "ffprobe"] = "auto"
    file_deadline_s: Annotated[float, msgspec.Meta(gt=0, le=BATCH_DEADLINE_S)] = 20.0
    """Seconds that one file may take."""


class ProbeEnricher(BaseEnricher):
    """Looks into the files of assets."""

    type_name: ClassVar[str] = "probe"
    batch_size: ClassVar[int] = 64
    deadline_s: ClassVar[float] = BATCH_DEADLINE_S
    reads_files: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        super().__init__(config, source)
        chosen: Parameters = parameters(config, Parameters)
        self._deadline = chosen.file_deadline_s
        self._ffprobe = None if chosen.program == "pyav" else shutil.which("ffprobe")
        self._pyav = chosen.program != "ffprobe" and find_spec("av") is not None
        if not self._pyav and self._ffprobe is None:
            raise RequestError(
                "Neither PyAV nor ffprobe is installed.",
                code="no_probe",
                hint="Install one of them: pip install 'retrovue[probe]', or your system's ffmpeg package.",
            )

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Say which parameters an instance takes."""
        return (
            ConfigField("program", "What looks into the files: auto (the default), pyav or ffprobe", required=False),
            ConfigField("file_deadline_s", "Seconds that one file may take, at most 600; default: 20", required=False),
        )

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Look into the files of these assets; one whose size and modification time are known is left alone."""
        marks = await anyio.to_thread.run_sync(_marks, list(assets), abandon_on_cancel=True)
        due = [
            (place, file.local_path)
            for place, (asset, mark) in enumerate(zip(assets, marks, strict=True))
            if not isinstance(mark, Failure) and asset.fingerprint != mark
            for file in asset.files
        ]
        found = await (self._with_pyav if self._pyav else self._with_ffprobe)([path for _, path in due])
        by_asset: dict[int, list[dict[str, Any] | Failure]] = {}
        for (place, _), one in zip(due, found, strict=True):
            by_asset.setdefault(place, []).append(one)
        return [
            mark
            if isinstance(mark, Failure)
            else Enrichment(unchanged=True)
            if place not in by_asset
            else _answer(by_asset[place], mark)
            for place, mark in enumerate(marks)
        ]

    async def _with_ffprobe(self, paths: Sequence[str]) -> list[dict[str, Any] | Failure]:
        found: list[dict[str, Any] | Failure] = []
        for path in paths:
            try:
                found.append(await ffprobe.look_into(self._ffprobe or "ffprobe", path, deadline_s=self._deadline))
            except EnrichmentError as exc:
                found.append(Failure(exc.code, exc.message))
        return found

    async def _with_pyav(self, paths: Sequence[str]) -> list[dict[str, Any] | Failure]:
        found: list[dict[str, Any] | Failure] = []
        while len(found) < len(paths):
            before = len(found)
            failure = await self._ask_worker(paths[before:], found)
            if failure is not None:
                found.append(failure)
        return found

    async def _ask_worker(self, paths: Sequence[str], found: list[dict[str, Any] | Failure]) -> Failure | None:
        """Give files to a worker until it has done all, or one of them has been too much for it."""
        async with program(_WORKER) as process:
            if process.stdin is None or process.stdout is None:
                raise AssertionError("the worker was started without pipes")
            answers = BufferedByteReceiveStream(process.stdout)
            for path in paths:
                with anyio.move_on_after(self._deadline) as scope:
                    try:
                        await process.stdin.send(json.dumps(path).encode() + b"\n")
                        line = await answers.receive_until(b"\n", ANSWER_CAP)
                    except _GONE:
                        return Failure("probe_crashed", f"Looking into {_name(path)} ended the probe's worker.")
                    except anyio.DelimiterNotFound:
                        return Failure("output_too_large", f"What there is in {_name(path)} is too much to be told.")
                if scope.cancelled_caught:
                    return Failure("probe_timeout", f"Looking into {_name(path)} took more than {self._deadline:g} s.")
                answer: dict[str, Any] = msgspec.json.decode(line)
                error = answer.get("error")
                found.append(
                    answer if error is None else Failure("not_media", f"{_name(path)} can't be read: {error}"[:500])
                )
        return None


def _name(path: str) -> str:
    return os.path.basename(path).encode("utf-8", "replace").decode()  # noqa: PTH119 - the text of a path


def _marks(assets: Sequence[AssetView]) -> list[dict[str, Any] | Failure]:
    """Tell each asset's files apart from other versions of them: size and modification time."""
    marks: list[dict[str, Any] | Failure] = []
    for asset in assets:
        try:
            stats = [os.stat(file.local_path) for file in asset.files]  # noqa: PTH116 - thousands of them
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "its path can't be used"
            marks.append(Failure("no_file", f"The file can't be found: {why}."))
        else:
            marks.append({"files": [[stat.st_size, stat.st_mtime_ns] for stat in stats]})
    return marks


def _answer(found: Sequence[dict[str, Any] | Failure], mark: dict[str, Any]) -> Enrichment | Failure:
    for one in found:
        if isinstance(one, Failure):
            return one
    files = [one for one in found if not isinstance(one, Failure)]
    first = files[0]
    streams = [{name: value for name, value in stream.items() if value is not None} for stream in first["streams"]]
    video = next((one for one in streams if one["type"] == "video" and not one.get("attached_picture")), {})
    audio = next((one for one in streams if one["type"] == "audio"), {})
    durations = [one["duration_ms"] for one in files]
    fields = {
        "runtime_ms": sum(durations) if all(durations) else None,
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
    return Enrichment(fields=fields, fingerprint=mark, data={"files": files})


def _chapters(files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chapters of all files, those of each part behind the end of the part before it."""
    chapters: list[dict[str, Any]] = []
    offset = 0
    for one in files:
        chapters += [
            {**chapter, "start_ms": chapter["start_ms"] + offset, "end_ms": chapter["end_ms"] + offset}
            for chapter in one["chapters"]
            if chapter["start_ms"] is not None and chapter["end_ms"] is not None
        ]
        if one["duration_ms"] is None:
            break
        offset += one["duration_ms"]
    return chapters
