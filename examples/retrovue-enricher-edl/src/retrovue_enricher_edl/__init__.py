"""An enricher that reads edit decision lists: commercial breaks, cuts and scenes.

The format is Kodi's (kodi.wiki, "Edit decision list"): a line has a start, an end and an action, the times in seconds
or as ``hours:minutes:seconds``. The file has the media file's name with the ending ``.edl``.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import anyio.to_thread

from retrovue import AssetView, BaseEnricher, ConfigField, Enrichment, Failure, Source
from retrovue.errors import EnrichmentError, RequestError

MOST_BYTES = 1024 * 1024
"""The largest file that is read."""
MARKERS = {"0": "cut", "3": "commercial"}
SCENE = "2"
MUTE = "1"


class EdlEnricher(BaseEnricher):
    """Reads the lists beside the files of an asset. An asset without a list has no breaks."""

    type_name: ClassVar[str] = "edl"
    batch_size: ClassVar[int] = 100
    deadline_s: ClassVar[float] = 60.0
    reads_files: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        """Raise RequestError for parameters that can't be used. Files are opened by ``enrich`` only."""
        super().__init__(config, source)
        self._suffix = str(config.get("suffix", ".edl"))
        if not self._suffix.startswith(".") or "/" in self._suffix:
            raise RequestError(f"The suffix {self._suffix!r} is none, such as '.edl'.", code="bad_config")

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Return the parameters; they become options of ``retrovue enricher add``."""
        return (ConfigField("suffix", "How the lists' names end; default: .edl", required=False),)

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Read the lists of these assets, in a thread: a slow disk must not block the event loop."""
        return await anyio.to_thread.run_sync(lambda: [self._enrich(asset) for asset in assets], abandon_on_cancel=True)

    def _enrich(self, asset: AssetView) -> Enrichment | Failure:
        lists = [Path(file.local_path).with_suffix(self._suffix) for file in asset.files]
        try:
            mark = {"lists": [_mark(path) for path in lists]}
            if asset.fingerprint == mark:
                return Enrichment(unchanged=True)
            return Enrichment(fields=_fields(asset, lists), fingerprint=mark)
        except EnrichmentError as exc:
            return Failure(exc.code, exc.message)
        except (OSError, ValueError) as exc:
            return Failure("bad_edl", f"The list can't be read: {exc}")


def _mark(path: Path) -> list[int] | None:
    """Return the size and modification time of a list; None if there is no file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    if stat.st_size > MOST_BYTES:
        raise EnrichmentError(f"{path.name} has {stat.st_size:,} bytes.", code="bad_edl")
    return [stat.st_size, stat.st_mtime_ns]


def _fields(asset: AssetView, lists: Sequence[Path]) -> dict[str, Any]:
    """Join the lists of all parts. The times of a part count from the end of the part before."""
    markers: list[dict[str, Any]] = []
    scenes: list[int] = []
    offset: int | None = 0
    for file, path in zip(asset.files, lists, strict=True):
        if path.exists():
            if offset is None:
                raise EnrichmentError(f"It isn't known when the part of {path.name} begins.", code="no_duration")
            for start, end, action in _lines(path):
                if action in MARKERS:
                    markers.append({"type": MARKERS[action], "start_ms": start + offset, "end_ms": end + offset})
                elif action == SCENE:
                    scenes.append(start + offset)
        offset = None if offset is None or file.duration_ms is None else offset + file.duration_ms
    markers.sort(key=lambda marker: marker["start_ms"])
    return {"markers": markers, "chapters": _chapters(scenes, asset.runtime_ms)}


def _chapters(scenes: Sequence[int], runtime_ms: int | None) -> list[dict[str, Any]]:
    """Make a chapter of each scene. The last one ends with the film, if its runtime is known."""
    if not scenes:
        return []
    begins = sorted({0, *scenes})
    ends = [*begins[1:], runtime_ms]
    return [
        {"title": f"Scene {number}", "start_ms": start, "end_ms": end}
        for number, (start, end) in enumerate(zip(begins, ends, strict=True), 1)
        if end is not None and end > start
    ]


def _lines(path: Path) -> list[tuple[int, int, str]]:
    entries: list[tuple[int, int, str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        words = line.partition("##")[0].split()
        if not words or words[0] == "#":
            continue
        try:
            start, end, action = _milliseconds(words[0]), _milliseconds(words[1]), words[2]
        except (IndexError, ValueError, OverflowError):
            raise EnrichmentError(f"{path.name}, line {number} isn't start, end and action.", code="bad_edl") from None
        if not 0 <= start <= end or action not in {*MARKERS, SCENE, MUTE}:
            raise EnrichmentError(f"{path.name}, line {number} makes no sense: {line[:80]!r}.", code="bad_edl")
        entries.append((start, end, action))
    return entries


def _milliseconds(text: str) -> int:
    seconds = 0.0
    for word in text.split(":"):
        seconds = seconds * 60 + float(word)
    if not math.isfinite(seconds):
        raise ValueError(text)
    return round(seconds * 1000)
