"""The campaign by size: each list, text, number and depth of each answer is made large, one at a time, and ingested.

``make sizes`` looks for work that isn't linear. An ingest may not take much more processor time for each byte of a
large answer than for each byte of one a tenth as large, nor hold more memory for each byte than a bound. Processor time
and peak memory are those of this process, the simulated server included; they depend on the machine, so this is a
program and not a test. ``ARGS="--only 'plex /library/sections/1/all'"`` tries part of it.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import orjson

from retrovue.core.model import PathMapping, Secret, Source
from retrovue.operations.discovery import discover
from retrovue.simulator import Fault, GeneratedSection, SimulatedPlex, faults
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, movie
from retrovue.simulator.request import Request
from retrovue.store.addresses import database_url
from retrovue.store.collections import list_collections, set_check_files, set_enabled, set_path_mappings
from retrovue.store.embedded import embedded_server
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.faults.fuzz import ingest
from tests.support.library import execute
from tests.support.plex import IMPATIENT

Json = Any


@dataclass(frozen=True)
class _Digits:
    """A number of so many digits, which Python itself would refuse to write."""

    digits: int


Place = tuple[str | int, ...]
"""The keys and positions that lead to a value of a document."""

SIZES = (1_000, 10_000, 100_000, 1_000_000)
LARGEST_BODY = 48 << 20
"""Bytes. Larger answers are refused, which is another test's business."""
NOTICEABLE_S = 0.5
"""Processor time below which nothing is said about growth: starting an ingest costs as much."""
GROWTH = 3.0
"""How much more processor time a byte of an answer may take than a byte of one a tenth as large."""
HELD_PER_BYTE = 12.0
"""Bytes of memory at the peak for each byte of the answer: the body, its text, its rows and what is staged of them."""
HELD_ANYWAY = 96 << 20
"""Bytes that an ingest may hold besides."""
OUT_OF_PATIENCE_S = 20.0
"""Processor time after which an ingest isn't tried with a larger answer."""


class Growth(NamedTuple):
    """A way to make a value large."""

    name: str
    fits: Callable[[Json], bool]
    grow: Callable[[Json, int], Json]
    """Takes the value and how large it is to be."""


def _several(value: Json, count: int) -> Json:
    """Repeat the first element, with ids of its own each time."""
    return [_renumbered(value[0], number) for number in range(count)]


def _renumbered(element: Json, number: int) -> Json:
    if not isinstance(element, dict):
        return element
    changed = dict(element)
    for name in ("id", "ratingKey", "key", "Id", "ItemId"):
        if name in changed:
            kind = type(changed[name])
            changed[name] = 900_000_000 + number if kind is int else f"{900_000_000 + number}"
    return changed


def _nested(value: Json, depth: int) -> Json:
    for _ in range(min(depth, 100_000)):
        value = [value]
    return value


GROWTHS = (
    Growth("text", lambda value: isinstance(value, str), lambda _, size: "x" * size),
    Growth("backslashes", lambda value: isinstance(value, str), lambda _, size: "\\" * size),
    Growth("slashes", lambda value: isinstance(value, str), lambda _, size: "/" * size),
    Growth("surrogates", lambda value: isinstance(value, str), lambda _, size: "\ud800" * size),
    Growth(
        "digits", lambda value: isinstance(value, int) and not isinstance(value, bool), lambda _, size: _Digits(size)
    ),
    Growth("list", lambda value: isinstance(value, list) and bool(value), _several),
    Growth("depth", lambda value: isinstance(value, (dict, list)), _nested),
)


def places(document: Json, place: Place = ()) -> Iterator[tuple[Place, Json]]:
    """List all values of a document; of a list the first element stands for all."""
    yield place, document
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*place, key))
    elif isinstance(document, list) and document:
        yield from places(document[0], (*place, 0))


def put(document: Json, place: Place, value: Json) -> Json:
    """Return a copy of the document with another value at a place."""
    if not place:
        return value
    changed = copy.copy(document)
    changed[place[0]] = put(document[place[0]], place[1:], value)
    return changed


def written(document: Json) -> bytes:
    """Write a document as JSON, with half surrogate pairs as escapes and numbers of any length."""
    parts: list[str] = []
    _write(document, parts)
    return "".join(parts).encode()


def _write(value: Json, parts: list[str]) -> None:
    depth = 0
    while isinstance(value, list) and len(value) == 1:
        value, depth = value[0], depth + 1
    parts.append("[" * depth)
    if isinstance(value, _Digits):
        parts.append("7" * value.digits)
    elif isinstance(value, str):
        parts.append(_text(value))
    elif isinstance(value, dict):
        parts.append("{")
        for number, (key, inner) in enumerate(value.items()):
            parts.append(f"{',' if number else ''}{_text(key)}:")
            _write(inner, parts)
        parts.append("}")
    elif isinstance(value, list):
        parts.append("[")
        for number, inner in enumerate(value):
            parts.append("," if number else "")
            _write(inner, parts)
        parts.append("]")
    else:
        parts.append(orjson.dumps(value).decode())
    parts.append("]" * depth)


def _text(value: str) -> str:
    if value[:1] == "\ud800":
        return '"' + "\\ud800" * len(value) + '"'
    return orjson.dumps(value).decode()


class Sample(NamedTuple):
    """What one ingest with one large answer took."""

    size: int
    body: int
    """Bytes of the answer."""
    seconds: float
    """Processor time."""
    held: int
    """Bytes of memory at the peak, beyond what was held before."""


def problem(samples: Sequence[Sample]) -> str | None:
    """Say what isn't linear about a series of ever larger answers; None if nothing is."""
    last = samples[-1]
    if last.held > HELD_ANYWAY + HELD_PER_BYTE * last.body:
        return f"{last.held >> 20} MiB held for an answer of {last.body >> 10} KiB ({last.size})"
    if len(samples) < 3 or last.seconds < NOTICEABLE_S:
        return None
    # The time that an ingest takes with a small answer, the first of three, is taken off both.
    least = samples[0].seconds
    earlier = max(samples[-2].seconds - least, 0.02)
    growth = ((last.seconds - least) / last.body) / (earlier / samples[-2].body)
    if growth > GROWTH:
        return f"{last.seconds:.1f} s for {last.body >> 10} KiB, {growth:.1f} × as much a byte as at {samples[-2].size}"
    return None


@dataclass
class Report:
    """What was tried, and what wasn't linear."""

    tried: int = 0
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list[str])


class Target(NamedTuple):
    """A simulated server with a source that reads from it."""

    name: str
    server: SimulatedPlex | SimulatedJellyfin
    source: Source


async def _measured(store: Store, target: Target) -> tuple[float, int]:
    before = _memory("VmRSS")
    _forget_peak()
    begun = time.process_time()
    await ingest(store, target.source)
    return time.process_time() - begun, max(0, _memory("VmHWM") - before)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"the kernel says nothing of {name}")


async def campaign(
    store: Store, target: Target, *, sizes: Sequence[int] = SIZES, chosen: Callable[[str], bool] = lambda _: True
) -> Report:
    """Make each value of each answer large, one at a time, and ingest; ``chosen`` picks among what could be tried."""
    report = Report()
    documents = await _answers(store, target)
    for path, document in documents.items():
        for place, value in places(document):
            for growth in GROWTHS:
                what = f"{target.name} {path} {'.'.join(map(str, place)) or '(whole)'} {growth.name}"
                if growth.fits(value) and chosen(what):
                    report.tried += 1
                    await _series(store, target, path, what, sizes, report, _grower(document, place, value, growth))
    return report


def _grower(document: Json, place: Place, value: Json, growth: Growth) -> Callable[[int], bytes]:
    return lambda size: written(put(document, place, growth.grow(value, size)))


async def _answers(store: Store, target: Target) -> dict[str, Json]:
    """Return one answer of each path that an ingest asks for: the first, which is the largest."""
    seen: dict[str, Json] = {}
    paths: list[str] = []

    def remember(body: bytes) -> bytes:
        # A refusal is a line of text.
        if body[:1] == b"{":
            seen.setdefault(paths[-1], orjson.loads(body))
        return body

    def noted(request: Request) -> bool:
        paths.append(request.path)
        return True

    target.server.faults.add(Fault(faults.transform(remember), path=noted))
    await execute(store, "TRUNCATE asset, known_page CASCADE")
    await ingest(store, target.source)
    target.server.faults.clear()
    return seen


def _instead(body: bytes, _: bytes) -> bytes:
    return body


async def _series(
    store: Store,
    target: Target,
    path: str,
    what: str,
    sizes: Sequence[int],
    report: Report,
    grown: Callable[[int], bytes],
) -> None:
    samples: list[Sample] = []
    for size in sizes:
        body = grown(size)
        if len(body) > LARGEST_BODY:
            return
        target.server.faults.add(Fault(faults.transform(partial(_instead, body)), path=path))
        await execute(store, "TRUNCATE asset, known_page, ingest_start, ingest_outcome, ingest_rejection CASCADE")
        seconds, held = await _measured(store, target)
        target.server.faults.clear()
        samples.append(Sample(size, len(body), seconds, held))
        report.slowest = max(report.slowest, seconds)
        if (found := problem(samples)) is not None:
            report.findings.append(f"{what}: {found}")
            print(report.findings[-1], file=sys.stderr, flush=True)  # noqa: T201
            return
        if seconds > OUT_OF_PATIENCE_S:
            return


@asynccontextmanager
async def targets(store: Store, media: Path) -> AsyncIterator[list[Target]]:
    """Serve a small Plex server and a small Jellyfin server, and add a source for each."""
    sections = [
        GeneratedSection("1", "Films", "movie", 2, seed=1),
        GeneratedSection("2", "Shows", "show", 2, seed=2),
        GeneratedSection("3", "Music", "artist", 2, seed=3),
    ]
    plex = SimulatedPlex(sections, token="size")
    library = JellyfinLibrary("Films", "movies", [movie(1, Name="Heat"), movie(2, Name="Alien")])
    jellyfin = SimulatedJellyfin([library], token="size")
    async with AsyncExitStack() as stack:
        made: list[Target] = []
        for name, server in (("plex", plex), ("jellyfin", jellyfin)):
            url = await stack.enter_async_context(server.serve())
            source = new_source(name, name, {"base_url": url, **IMPATIENT}, {"token": Secret("size")})
            async with store.transaction() as session:
                await insert_source(session, source)
            await discover(store, str(source.id))
            async with store.transaction() as session:
                for collection in await list_collections(session, source):
                    mappings = [PathMapping(place, str(media)) for place in collection.locations]
                    await set_path_mappings(session, collection, mappings)
                    await set_enabled(session, collection, enabled=True)
                    await set_check_files(session, collection, check_files=False)
            made.append(Target(name, server, source))
        yield made


async def _run(arguments: argparse.Namespace, home: Path) -> list[Report]:
    async with embedded_server(home / "postgres", durable=False) as server:
        await server.ensure_database("sizes")
        async with Store(database_url(server.url("sizes"))) as store:
            await upgrade(store, "test")
            async with targets(store, home) as made:
                sizes = [size for size in SIZES if size <= arguments.largest]
                return [
                    await campaign(store, target, sizes=sizes, chosen=lambda what: arguments.only in what)
                    for target in made
                ]


def main() -> None:
    """Run the campaign, and say what isn't linear; exits with 1 if anything isn't."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.sizes", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="elements or characters (default: %(default)s)")
    parser.add_argument("--only", default="", help="what holds this text, such as 'plex' or 'Media list'")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        reports = anyio.run(_run, arguments, Path(home))
    for report in reports:
        print(f"{report.tried} values made large, slowest ingest {report.slowest:.1f} s")  # noqa: T201
        print(f"{len(report.findings)} findings", *report.findings, sep="\n  ")  # noqa: T201
    sys.exit(any(report.findings for report in reports))


if __name__ == "__main__":
    main()
