"""The fuzzer: pages changed at random from a seed, through decoder, parser, pipeline and PostgreSQL.

``make fuzz ARGS="--seed 7 --pages 100000"``, or ``--page N`` to see what becomes of one page of a seed.
"""

import argparse
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import anyio
import msgspec
import orjson

from retrovue.core.model import PathMapping, Source
from retrovue.core.pages import AssetDraft, Page, PartDraft
from retrovue.core.paths import PathMapper, UnmappedPath
from retrovue.core.results import Failed, Ingested
from retrovue.errors import MalformedAnswer, RetrovueError
from retrovue.importers.drafts import draft_problem
from retrovue.importers.http.answers import Answer
from retrovue.importers.http.decoder import PageDecoder, pack, unpack
from retrovue.importers.http.listing import Listing, ListingMoved
from retrovue.importers.http.paging import Proof
from retrovue.importers.plex.parse import PlexDraftMaker, shows_of
from retrovue.importers.plex.rows import PlexFormat, PlexListing, RatingKeySet, Row, decode_listing, decode_outline
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.operations.discovery import discover
from retrovue.simulator import Fault, GeneratedSection, SimulatedPlex, Sort, faults
from retrovue.store.addresses import database_url
from retrovue.store.collections import list_collections, set_check_files, set_enabled, set_path_mappings
from retrovue.store.embedded import embedded_server
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.conftest import Packages
from tests.support.faults.mutations import Mutator
from tests.support.library import Library, empty, execute, rows
from tests.support.plex import IMPATIENT

RECORDED = Path(__file__).parents[1] / "data" / "plex"
ROWS = 4
"""Rows of a page: as many as neighbours need, as few as make 100,000 pages quick."""
BATCH = 2000
"""Pages that are written to PostgreSQL in one ingest."""
ROOT = "/srv/mapped"
_MAPPER = PathMapper([PathMapping(prefix, ROOT) for prefix in ("/", "C:\\", "M:\\", "\\\\nas\\films")])

Decode = Callable[[bytes], PlexListing]


@dataclass(frozen=True)
class Finding:
    """A page that did what no page may do."""

    number: int
    problem: str


@dataclass
class Report:
    """What became of the pages."""

    seed: int
    pages: int = 0
    drafts: int = 0
    rejected: int = 0
    stored: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    findings: list[Finding] = field(default_factory=list[Finding])

    def lines(self) -> Iterator[str]:
        """Say it to people."""
        yield f"seed {self.seed}: {self.pages} pages, {self.drafts} drafts, {self.rejected} rejected items"
        yield f"  {self.stored} drafts of whole pages stored"
        yield "  " + ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common())
        yield from (f"  page {one.number}: {one.problem}" for one in self.findings)
        yield f"{len(self.findings)} findings"


def originals() -> list[bytes]:
    """The pages that are changed: recorded answers, and pages of the simulated server; a few rows of each."""
    containers: list[dict[str, Any]] = []
    for path in sorted(RECORDED.glob("*.json")):
        document = orjson.loads(path.read_bytes())
        if isinstance(document, dict) and isinstance(document.get("response"), dict):
            document = document["response"].get("body")
        container = document.get("MediaContainer") if isinstance(document, dict) else None
        if isinstance(container, dict) and container.get("Metadata"):
            containers.append(container)
    for section, item_type in _generated():
        for start in range(0, 12, ROWS):
            containers.append({"size": ROWS, "Metadata": section.rows(item_type, start, ROWS, Sort("id"))})  # noqa: PERF401
    pages: list[bytes] = []
    for container in containers:
        rows = container["Metadata"][:ROWS]
        shown = container | {"size": len(rows), "totalSize": len(rows), "offset": 0, "Metadata": rows}
        pages.append(orjson.dumps({"MediaContainer": shown}))
    return pages


def _generated() -> Iterator[tuple[GeneratedSection, int]]:
    yield GeneratedSection("1", "Movies", "movie", 20, seed=1), 1
    shows = GeneratedSection("2", "TV", "show", 20, seed=2)
    yield from ((shows, 2), (shows, 4))
    yield GeneratedSection("3", "Videos", "clip", 20, seed=3), 1
    yield GeneratedSection("4", "Music", "artist", 20, seed=4), 10


class Parser:
    """Decodes and parses one page after the other, and holds each against what is promised."""

    def __init__(self, decode: Decode = decode_listing) -> None:
        self._decode = decode
        [body] = [page for page in originals() if b'"type":"episode"' in page][-1:]
        self._episodes = decode_listing(body)

    def parse(self, number: int, body: bytes, report: Report) -> Page | None:
        """Make the drafts of a page as the importer does; whatever else it does is a finding."""
        report.pages += 1
        try:
            found, page = self._parse(number, body)
            problem = None if page is None else _page_problem(page)
        except Exception as exc:  # noqa: BLE001 - that any other exception comes is what is looked for
            found, page, problem = "crash", None, f"{type(exc).__name__}: {exc}"[:300]
        report.outcomes[found] += 1
        if problem is not None:
            report.findings.append(Finding(number, problem))
            return None
        if page is not None:
            report.drafts += len(page.drafts)
            report.rejected += len(page.rejected)
        # A listing that moved is never handed on.
        return page if found == "whole" else None

    def _parse(self, number: int, body: bytes) -> tuple[str, Page | None]:
        outline = decode_outline(body)
        try:
            listing = self._decode(body)
        except MalformedAnswer as exc:
            return exc.code, None
        found = "whole"
        try:
            Proof(1000, RatingKeySet()).take(listing, Answer(body, None, None), 0)
        except ListingMoved:
            found = "moved"
        make = PlexDraftMaker(f"page-{number}")
        page = make.page(listing.rows)
        if page.source_items != len(listing.rows):
            raise AssertionError(f"{len(listing.rows)} rows became {page.source_items} items")
        if outline is not None:
            if outline.keys != listing.keys:
                raise AssertionError("the outline of the page has other keys than the page")
            make.outline(outline.rows)
        decoder = PageDecoder(PlexFormat(), make)
        taken = decoder.decode(body, 0)
        if taken.keys != listing.keys or (taken.page is not None and taken.page != page):
            raise AssertionError("the page of the rows that were taken is another than that of all rows")
        if packed := pack(decoder, body, 0):
            unpacked = unpack(packed)
            if (unpacked.keys, unpacked.page) != (listing.keys, page):
                raise AssertionError("the page of a second process is another than that of this one")
        self._recognise(decoder, body, taken, page)
        self._inherit(number, listing, page)
        return found, page

    def _recognise(
        self, decoder: PageDecoder[Any, Any, Any], body: bytes, taken: Listing[Any, Any], page: Page
    ) -> None:
        if taken.text is None:
            return
        known = decoder.recognise(body, taken.text, 0)
        if known is None or _about(known) != _about(taken) or known.content.rejected != page.rejected:
            raise AssertionError("the page is recognised as another one")

    def _inherit(self, number: int, listing: PlexListing, page: Page) -> None:
        """Let episodes that are whole inherit from the page's shows."""
        shows = list(shows_of(listing.rows).values())
        if not shows or all(listed.row.type != "show" for listed in listing.rows if isinstance(listed.row, Row)):
            return
        keys = [int(getattr(listed.row, "grandparent_rating_key", 0) or 0) for listed in self._episodes.rows]
        heirs = PlexDraftMaker(f"heirs-{number}", dict(zip(keys, shows * len(keys), strict=False))).page(
            self._episodes.rows
        )
        page.drafts += heirs.drafts
        page.source_items += heirs.source_items


def _about(listing: Listing[Any, Any]) -> tuple[object, ...]:
    return listing.keys, listing.size, listing.total, listing.offset, listing.digest


def _page_problem(page: Page) -> str | None:
    if len(page.drafts) + len(page.rejected) < page.source_items:
        return "an item is neither draft nor rejected"
    for draft in page.drafts:
        problem = draft_problem(draft) or _holds_nul(draft)
        if problem is not None:
            return f"{draft.source_uri}: {problem}"
        for part in draft.parts:
            place = _place(part.source_path)
            if place is not None and (not place.startswith(f"{ROOT}/") or ".." in place.split("/") or "\0" in place):
                return f"{part.source_path!r} leads to {place!r}"
    return None


def _place(path: str) -> str | None:
    try:
        return _MAPPER.file(path)
    except UnmappedPath:
        return None


def _holds_nul(draft: AssetDraft) -> str | None:
    found = [name for name in draft.__struct_fields__ if name != "parts" and _nul_in(getattr(draft, name))]
    return f"NUL in {', '.join(found)}" if found else None


def _nul_in(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, bytes):  # JSON
        return _nul_in(orjson.loads(value))
    if isinstance(value, dict):
        return any(_nul_in(key) or _nul_in(one) for key, one in value.items())
    return isinstance(value, list | tuple) and any(_nul_in(one) for one in value)


def apart(number: int, page: Page) -> Page:
    """Give the page's drafts files of their own, so that none is taken for a duplicate of another page's."""

    def moved(part: PartDraft) -> PartDraft:
        return msgspec.structs.replace(part, source_path=f"/data/{number}/{part.source_path.lstrip('/')}")

    drafts = [msgspec.structs.replace(draft, parts=tuple(moved(part) for part in draft.parts)) for draft in page.drafts]
    return Page(drafts, page.rejected, page.source_items)


def parsed(mutator: Mutator, numbers: range, report: Report, parser: Parser) -> list[tuple[int, Page]]:
    """Make and parse pages."""
    found = ((number, parser.parse(number, mutator.page(number), report)) for number in numbers)
    return [(number, apart(number, page)) for number, page in found if page is not None and page.source_items]


async def stored(library: Library, pages: Sequence[tuple[int, Page]], report: Report) -> None:
    """Ingest pages as they are, through the pipeline; the ones that PostgreSQL refuses are findings."""
    await execute(library.store, "TRUNCATE asset, ingest_start, ingest_outcome, ingest_rejection CASCADE")
    (outcome,) = (await library.ingest({"Movies": [page for _, page in pages]})).outcomes
    if isinstance(outcome, Ingested):
        report.stored += outcome.counts.created
        return
    if isinstance(outcome, Failed) and outcome.code == "all_rejected":
        return
    if len(pages) > 1:
        half = len(pages) // 2
        await stored(library, pages[:half], report)
        await stored(library, pages[half:], report)
    elif isinstance(outcome, Failed):
        report.findings.append(Finding(pages[0][0], f"not stored: {outcome.code}: {outcome.message}"))


async def fuzz(store: Store, seed: int, pages: int, *, decode: Decode = decode_listing) -> Report:
    """Decode, parse and store so many changed pages."""
    report, parser, mutator = Report(seed), Parser(decode), Mutator(seed, originals())
    library = await Library.make(store, "Movies")
    for first in range(0, pages, BATCH):
        await stored(library, parsed(mutator, range(first, min(first + BATCH, pages)), report, parser), report)
    return report


class Wire:
    """Changes what a simulated server answers, the same for the same answer in the same round."""

    def __init__(self, mutator: Mutator) -> None:
        self._mutator = mutator
        self.round = 0

    def change(self, body: bytes) -> bytes:
        """Change a body, or in one of three cases leave it alone."""
        random = Random(f"{self._mutator.seed}/{self.round}/{zlib.crc32(body)}")
        return self._mutator.change(random, body) if random.random() < 0.67 else body


ALLOWED = {
    "all_rejected", "answer_too_large", "bad_json", "gone_from_source", "incomplete_enumeration", "malformed_answer",
    "no_container", "not_ingestible", "not_plex", "source_unreachable", "suspicious_empty", "truncated_answer",
    "wrong_identity", "no_ingestible_collections",
}  # fmt: skip
"""What a run may say of an answer that isn't what it should be."""


async def served(store: Store, seed: int, rounds: int, media: Path) -> Report:
    """Ingest over HTTP, round by round, a library whose answers are changed, beside one whose answers aren't."""
    report, wire = Report(seed), Wire(Mutator(seed, originals()))
    good = GeneratedSection("1", "Good", "movie", 8, seed=seed)
    odd = [
        GeneratedSection("2", "Odd films", "movie", 10, seed=seed),
        GeneratedSection("3", "Odd shows", "show", 9, seed=seed),
    ]
    server = SimulatedPlex([good, *odd], token=None)
    async with server.serve() as url:
        source = await _source(store, url, media)
        await ingest(store, source)
        for report.pages in range(1, rounds + 1):
            wire.round = report.pages
            before = await _held(store)
            if wire.round % 3 == 0:
                await execute(
                    store, "DELETE FROM asset USING collection c WHERE c.id = collection_uuid AND c.name <> 'Good'"
                )
                before = await _held(store)
            everything = wire.round % 10 == 0  # that is wrong with the list of libraries is everybody's problem
            path = "/library/sections" if everything else "/library/sections/[23]/all"
            server.faults.add(Fault(faults.transform(wire.change), path=path))
            outcomes = await ingest(store, source)
            server.faults.clear()
            report.outcomes.update(outcomes.values())
            for problem in _served_problems(outcomes, before, await _held(store), everything=everything):
                report.findings.append(Finding(wire.round, problem))
    return report


def _served_problems(
    outcomes: dict[str, str], before: dict[str, str], after: dict[str, str], *, everything: bool
) -> Iterator[str]:
    """Say what is not as it must be: an odd outcome, or rows that changed though their collection failed."""
    for name, outcome in outcomes.items():
        if outcome not in ALLOWED | {"ingested"}:
            yield f"{name}: {outcome}"
        if outcome != "ingested" and before.get(name) != after.get(name):
            yield f"{name} failed ({outcome}) and has changed"
    if before["Good"] != after["Good"]:
        yield "the good sibling has changed"
    if not everything and outcomes.get("Good") != "ingested":
        yield f"the good sibling came to {outcomes.get('Good', outcomes)}"


async def ingest(store: Store, source: Source) -> dict[str, str]:
    """Ingest the source; returns what became of each collection, or of the run as a whole."""
    try:
        async with ingest_source(store, str(source.id), IngestOptions()) as run:
            pass
    except RetrovueError as exc:
        return {"": exc.code}
    return {
        one.collection.name: "ingested"
        if isinstance(one, Ingested)
        else one.code
        if isinstance(one, Failed)
        else "not_ingestible"
        for one in run.summary.outcomes
    }


async def _source(store: Store, url: str, media: Path) -> Source:
    source = new_source("plex", "Plex", {"base_url": url, "page_size": 3, **IMPATIENT}, {})
    async with store.transaction() as session:
        await insert_source(session, source)
    await discover(store, str(source.id))
    async with store.transaction() as session:
        for collection in await list_collections(session, source):
            await set_path_mappings(
                session, collection, [PathMapping(place, str(media)) for place in collection.locations]
            )
            await set_enabled(session, collection, enabled=True)
            await set_check_files(session, collection, check_files=False)
    return source


async def _held(store: Store) -> dict[str, str]:
    """What the catalogue holds of each collection, to the byte."""
    found = await rows(
        store,
        "SELECT c.name, md5(coalesce(string_agg(a::text, '' ORDER BY a.uuid), '')) FROM collection c"
        " LEFT JOIN asset a ON a.collection_uuid = c.id GROUP BY c.name",
    )
    return dict(found)


async def _run(arguments: argparse.Namespace, home: Path) -> list[Report]:
    packages = home / "packages"
    packages.mkdir()
    Packages(packages).install("scripted", scripted="tests.support.library:ScriptedImporter")
    sys.path.append(str(packages))
    async with embedded_server(home / "postgres", durable=False) as server:
        await server.ensure_database("fuzz")
        async with Store(database_url(server.url("fuzz"))) as store:
            await upgrade(store, "test")
            reports = [await fuzz(store, arguments.seed, arguments.pages)]
            await empty(store)
            return [*reports, await served(store, arguments.seed, arguments.rounds, home)]


def main() -> None:
    """Fuzz, and say what was found; exits with 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random_seed(), help="of all that is random; another one each time")
    parser.add_argument("--pages", type=int, default=20_000, help="to decode, parse and store (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=200, help="of ingests over HTTP (default: %(default)s)")
    parser.add_argument("--page", type=int, help="show one page of the seed, and what becomes of it")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)  # noqa: T201
    if arguments.page is not None:
        body, report = Mutator(arguments.seed, originals()).page(arguments.page), Report(arguments.seed)
        sys.stdout.buffer.write(body + b"\n")
        page = Parser().parse(arguments.page, body, report)
        print("\n".join(report.lines()), page, sep="\n")  # noqa: T201
        sys.exit(bool(report.findings))
    with tempfile.TemporaryDirectory() as home:
        reports = anyio.run(_run, arguments, Path(home))
    print("\n".join(line for report in reports for line in report.lines()))  # noqa: T201
    sys.exit(any(report.findings for report in reports))


def random_seed() -> int:
    """Draw a seed that is easy to type again."""
    return SystemRandom().randrange(1_000_000)


if __name__ == "__main__":
    main()
