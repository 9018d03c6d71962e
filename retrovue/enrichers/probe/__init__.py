"""The enricher that opens media files: it reads duration, streams, codecs and chapters.

It uses PyAV in a worker process, or ffprobe if PyAV isn't installed. If a file crashes or hangs the native library,
that worker ends, and the remaining files go to a new one.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import anyio
import anyio.to_thread
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from retrovue.core.errors import EnrichmentError, RequestError
from retrovue.core.model import ConfigField, Source
from retrovue.core.text import quoted
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure, parameters
from retrovue.enrichers.probe.results import Result, describe, ffprobe_result
from retrovue.enrichers.processes import output_of, program
from retrovue.importers.locations import other_spelling

BATCH_DEADLINE_S = 600.0
"""Seconds for a batch of files, and therefore the most for one file."""
ANSWER_CAP = 1024 * 1024
"""The most bytes that the worker may print for one file."""
FFPROBE_CAP = 4 * 1024 * 1024
"""The most bytes that ffprobe may print for one file."""
_WORKER_ENDED = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)
# Started by its path: as a module it would first import this package, which takes longer than a batch of files.
_WORKER = (sys.executable, "-P", str(Path(__file__).with_name("worker.py")))
_FFPROBE_ARGUMENTS = (
    "-v", "quiet", "-print_format", "json", "-show_format", "-show_streams", "-show_chapters",
    "-protocol_whitelist", "file", "-i",
)  # fmt: skip


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a probe enricher."""

    program: Literal["auto", "pyav", "ffprobe"] = "auto"
    file_deadline_s: Annotated[float, msgspec.Meta(gt=0, le=BATCH_DEADLINE_S)] = 20.0
    """Seconds for one file."""


class ProbeEnricher(BaseEnricher):
    """Opens the files of assets and reads their properties."""

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
        """Return the parameters of an attached enricher."""
        return (
            ConfigField("program", "Program that opens the files: auto (the default), pyav or ffprobe", required=False),
            ConfigField("file_deadline_s", "Longest time for a file, at most 600 seconds; default: 20", required=False),
        )

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Open the files of assets, except files with the same size and modification time as the last time."""
        fingerprints = await anyio.to_thread.run_sync(_fingerprints, list(assets), abandon_on_cancel=True)
        due = {
            position: [file.local_path for file in asset.files]
            for position, (asset, fingerprint) in enumerate(zip(assets, fingerprints, strict=True))
            if not isinstance(fingerprint, Failure) and asset.fingerprint != fingerprint
        }
        probe = self._with_pyav if self._pyav else self._with_ffprobe
        results = iter(await probe([path for paths in due.values() for path in paths]))
        return [
            fingerprint
            if isinstance(fingerprint, Failure)
            else describe(list(islice(results, len(due[position]))), fingerprint)
            if position in due
            else Enrichment(unchanged=True)
            for position, fingerprint in enumerate(fingerprints)
        ]

    async def _with_ffprobe(self, paths: Sequence[str]) -> list[Result | Failure]:
        return [await _run_ffprobe(self._ffprobe or "ffprobe", path, self._deadline) for path in paths]

    async def _with_pyav(self, paths: Sequence[str]) -> list[Result | Failure]:
        results: list[Result | Failure] = []
        while len(results) < len(paths):
            await self._ask_worker(paths[len(results) :], results)
        return results

    async def _ask_worker(self, paths: Sequence[str], results: list[Result | Failure]) -> None:
        """Add the results of files in order, up to the last file or to one that crashes the worker or times out."""
        async with program(_WORKER) as process:
            if process.stdin is None or process.stdout is None:
                raise AssertionError("the worker was started without pipes")
            answers = BufferedByteReceiveStream(process.stdout)
            for path in paths:
                failure: Failure | None = Failure(
                    "probe_timeout", f"Looking into {_name(path)} took more than {self._deadline:g} s."
                )
                with anyio.move_on_after(self._deadline):
                    try:
                        await process.stdin.send(json.dumps(path).encode() + b"\n")
                        answer: Result = msgspec.json.decode(await answers.receive_until(b"\n", ANSWER_CAP))
                    except _WORKER_ENDED:
                        failure = Failure("probe_crashed", f"Looking into {_name(path)} ended the probe's worker.")
                    except anyio.DelimiterNotFound:
                        failure = Failure("output_too_large", f"The description of {_name(path)} is too large.")
                    else:
                        failure = None
                if failure is not None:
                    results.append(failure)
                    return
                error = answer.get("error")
                message = f"{_name(path)} can't be read: {error}"[:500]
                results.append(answer if error is None else Failure("not_media", message))


def _name(path: str) -> str:
    return os.path.basename(path).encode("utf-8", "replace").decode()  # noqa: PTH119 - the text of a path


def _fingerprints(assets: Sequence[AssetView]) -> list[dict[str, Any] | Failure]:
    """Return the sizes and modification times of each asset's files."""
    fingerprints: list[dict[str, Any] | Failure] = []
    for asset in assets:
        try:
            stats = [os.stat(file.local_path) for file in asset.files]  # noqa: PTH116 - thousands of them
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "its path can't be used"
            other = next((path for file in asset.files if (path := other_spelling(file.local_path)) is not None), None)
            hint = "" if other is None else f" {quoted(other)} is there: only its form of Unicode differs."
            fingerprints.append(Failure("no_file", f"The file can't be found: {why}.{hint}"))
        else:
            fingerprints.append({"files": [[stat.st_size, stat.st_mtime_ns] for stat in stats]})
    return fingerprints


async def _run_ffprobe(executable: str, path: str, deadline_s: float) -> Result | Failure:
    arguments = [executable, *_FFPROBE_ARGUMENTS, f"file:{path}"]
    try:
        status, output = await output_of(arguments, deadline_s=deadline_s, cap=FFPROBE_CAP)
        if status == 0:
            return ffprobe_result(msgspec.json.decode(output))
    except EnrichmentError as exc:
        return Failure(exc.code, exc.message)
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        return Failure("not_media", f"ffprobe's answer makes no sense: {type(exc).__name__}.")
    return Failure("not_media", f"ffprobe can't read {quoted(path)} (status {status}).")
