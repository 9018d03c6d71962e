"""python -m benchmarks.probe: looks into the same small files with PyAV and with ffprobe, as the enricher does.

The files are generated, and in the system's cache. Both are given the batches that an ingest gives, as many at a time;
processor time is that of this process and of all that it starts. Prints medians for each file, and what the two do
not agree about.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from benchmarks.machine import describe
from benchmarks.media import make_media
from retrovue.enrichers.base import AssetView, Enrichment, MediaFile
from retrovue.enrichers.probe import ProbeEnricher
from retrovue.ingest.enrichment import DEFAULT_CONCURRENCY

_KINDS = (("mkv", True), ("mkv", False), ("mp4", True), ("mov", False), ("avi", False), ("ts", False))
"""Container, and whether it has a chapter."""
_NAMES = {"pyav": "PyAV in a worker", "ffprobe": "ffprobe"}


class ProbeFailed(Exception):
    """A file could not be looked into, so nothing was measured."""


@dataclass(slots=True)
class Measured:
    """What a program took, in milliseconds for each file, once a round; and what it found, by path."""

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    found: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=256, metavar="N", help="files of each round (default: 256)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each program runs (default: 3)")
    options = parser.parse_args(arguments)
    if find_spec("av") is None:
        sys.stderr.write("PyAV isn't installed, and it makes the files: pip install 'retrovue[probe]'.\n")
        return 1
    programs = ["pyav"]
    if shutil.which("ffprobe") is None:
        print("Skipped: ffprobe isn't installed (your system's ffmpeg package has it), so PyAV is measured alone.")
    else:
        programs.append("ffprobe")
    with tempfile.TemporaryDirectory(prefix="retrovue-probe-") as scratch:
        files = make_files(Path(scratch), max(1, options.files))
        try:
            measured = anyio.run(measure, programs, files, max(1, options.rounds))
        except* ProbeFailed as failures:
            sys.stderr.write("".join(f"{failure}\n" for failure in failures.exceptions))
            sys.exit(1)
    _report(measured, len(files), max(1, options.rounds))
    return 0


def make_files(directory: Path, count: int) -> list[Path]:
    """Make so many media files of a second: one of each kind, and copies of these."""
    made: list[Path] = []
    for number in range(count):
        suffix, chapters = _KINDS[number % len(_KINDS)]
        path = directory / f"{number:05}.{suffix}"
        made.append(
            make_media(path, chapters=chapters)
            if number < len(_KINDS)
            else Path(shutil.copyfile(made[number - len(_KINDS)], path))
        )
    return made


async def measure(programs: Sequence[str], files: Sequence[Path], rounds: int) -> dict[str, Measured]:
    """Let the programs take turns; the first turn of each isn't counted, as it reads the program from the disk."""
    results = {name: Measured() for name in programs}
    for number in range(rounds + 1):
        for name, result in results.items():
            began, spent = time.perf_counter(), _cpu()
            result.found = await _probe(name, files)
            if number:
                result.wall.append((time.perf_counter() - began) * 1000 / len(files))
                result.cpu.append((_cpu() - spent) * 1000 / len(files))
    return results


async def _probe(program: str, files: Sequence[Path]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    limiter = anyio.CapacityLimiter(DEFAULT_CONCURRENCY)
    async with ProbeEnricher({"program": program}) as enricher, anyio.create_task_group() as group:

        async def batch(paths: Sequence[str]) -> None:
            views = [
                AssetView(source_uri=path, files=(MediaFile(path),), type="movie", title="A film") for path in paths
            ]
            async with limiter:
                answers = await enricher.enrich(views)
            for path, answer in zip(paths, answers, strict=True):
                if not isinstance(answer, Enrichment):
                    raise ProbeFailed(f"{program}: {answer.message}")
                found[path] = answer.fields

        for first in range(0, len(files), ProbeEnricher.batch_size):
            group.start_soon(batch, [str(path) for path in files[first : first + ProbeEnricher.batch_size]])
    return found


def differences(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the fields that differ between two programs' findings, each with the kinds of file where it does."""
    found: dict[str, set[str]] = {}
    for path, fields in one.items():
        for name in sorted(fields.keys() | other[path].keys()):
            if fields.get(name) != other[path].get(name):
                found.setdefault(name, set()).add(Path(path).suffix.removeprefix("."))
    return {name: sorted(kinds) for name, kinds in sorted(found.items())}


def _cpu() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _report(measured: Mapping[str, Measured], files: int, rounds: int) -> None:
    machine = describe()
    print(f"{files:,} files, medians of {rounds} rounds, {machine['cores']} cores ({machine['processor']})")
    for name, result in measured.items():
        wall, cpu = median(result.wall), median(result.cpu)
        print(f"{_NAMES[name]:>16}: {cpu:6.2f} ms of CPU, {wall:6.2f} ms of wall time a file")
    if len(measured) > 1:
        differ = differences(measured["pyav"].found, measured["ffprobe"].found)
        listed = "; ".join(f"{name} ({', '.join(kinds)})" for name, kinds in differ.items())
        print(f"They differ in: {listed}" if differ else "Both have found the same in every file.")


if __name__ == "__main__":
    sys.exit(main())
