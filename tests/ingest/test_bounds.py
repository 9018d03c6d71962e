"""The bound of everything that may wait in memory: none knows how large the library is, or how slow the database."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import anyio
import pytest
from sqlalchemy import text

from retrovue import PathMapping, Secret, add_source, discover, ingest_source, update_collection
from retrovue.core.pages import Page, Rejection
from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import FULL
from retrovue.core.verdicts import CREATED_SHOWN, LISTED
from retrovue.importers.http.paging import WINDOW
from retrovue.importers.plex.library import SectionQuery
from retrovue.importers.plex.rows import RatingKeySet
from retrovue.simulator import GeneratedSection, SimulatedPlex
from retrovue.simulator.faults import Action, Fault
from retrovue.simulator.request import Request
from retrovue.store.drafts import MappedDraft, MappedPage, draft_keys
from retrovue.store.preview import Preview
from retrovue.store.session import Store
from tests.conftest import Packages
from tests.support.library import Library, ScriptedImporter, at, draft, execute, failure, page, until
from tests.support.plex import TOKEN, collection, plex

pytestmark = pytest.mark.anyio

PAGES, ROWS = 60, 50
BACKENDS_WAITING = (
    "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND application_name = 'retrovue'"
)


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


class Tags(dict[str, list[str]]):
    """The tags of a draft, of which it can be told whether anybody still holds them."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Reason(str):
    """The reason of a rejection, likewise."""

    __slots__ = ("__weakref__",)


class Listing(Sequence[Page]):
    """Pages that are made when they are asked for, and how many of their rows were alive at the most."""

    def __init__(self, row: Callable[[int, "WeakSet[Any]"], Any]) -> None:
        self._row = row
        self._alive = WeakSet[Any]()
        self.peak = 0

    def __len__(self) -> int:
        return PAGES

    def __getitem__(self, number: Any) -> Any:
        if number >= PAGES:
            raise IndexError
        made = page(*(self._row(number * ROWS + row, self._alive) for row in range(ROWS)))
        self.peak = max(self.peak, len(self._alive))
        return made

    @property
    def left(self) -> int:
        return len(self._alive)


def film(number: int, alive: "WeakSet[Any]", *files: str) -> Any:
    tags = Tags(genre=["Drama"])
    alive.add(tags)
    return draft(f"f{number}", *files, tags=tags)


def same_file(number: int, alive: "WeakSet[Any]") -> Any:
    return film(number, alive, "one.mkv")


def refusal(number: int, alive: "WeakSet[Any]") -> Any:
    reason = Reason(f"number {number} has no media")
    alive.add(reason)
    return Rejection("no_media", reason)


class ThreadedImporter(ScriptedImporter):
    """A third party's importer as most are: it runs in a thread of its own."""

    shares_loop: ClassVar[bool] = False


class TestPages:
    """Of a collection no more is held than the page that is being taken in, and the one that was just made."""

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_drafts(self, library: Library, dry_run: bool) -> None:
        listing = Listing(film)
        summary = await library.ingest({"Movies": listing}, dry_run=dry_run)
        assert summary.total("created") == PAGES * ROWS
        assert ROWS <= listing.peak <= 2 * ROWS
        again = Listing(film)
        assert (await library.ingest({"Movies": again})).status == "ok"
        assert again.peak <= 2 * ROWS

    async def test_drafts_of_an_importer_in_a_thread(self, store: Store, packages: Packages) -> None:
        packages.install("threaded", scripted="tests.ingest.test_bounds:ThreadedImporter")
        library = await Library.make(store, "Movies")
        listing = Listing(film)
        assert (await library.ingest({"Movies": listing})).total("created") == PAGES * ROWS
        assert ROWS <= listing.peak <= 3 * ROWS

    async def test_collections_at_once(self, library: Library) -> None:
        several = await Library.make(library.store, "A", "B", "C")
        listings = {name: Listing(film) for name in "ABC"}
        assert (await several.ingest(listings, concurrency=3)).status == "ok"
        assert max(listing.peak for listing in listings.values()) <= 2 * ROWS


class TestOutcomes:
    """What an outcome keeps of its collection is a few lists of fixed length."""

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_rejections(self, library: Library, dry_run: bool) -> None:
        listing = Listing(refusal)
        (outcome,) = (await library.ingest({"Movies": listing}, dry_run=dry_run)).outcomes
        assert isinstance(outcome, Failed)
        assert outcome.counts.rejected == PAGES * ROWS
        assert len(outcome.listed.rejected) == LISTED
        assert ROWS <= listing.peak <= LISTED + 2 * ROWS
        assert listing.left <= LISTED + ROWS

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_lists(self, library: Library, dry_run: bool) -> None:
        (outcome,) = (await library.ingest({"Movies": Listing(same_file)}, dry_run=dry_run)).outcomes
        assert isinstance(outcome, Ingested)
        assert (outcome.counts.created, outcome.counts.duplicates) == (1, PAGES * ROWS - 1)
        assert len(outcome.listed.duplicates) == LISTED
        (outcome,) = (await library.ingest({"Movies": Listing(film)}, dry_run=True)).outcomes
        assert isinstance(outcome, Ingested)
        assert len(outcome.listed.created) == CREATED_SHOWN


class TestDryRun:
    async def test_it_remembers_keys_and_titles(self, library: Library) -> None:
        """Some 30 bytes for each draft of a collection without assets: nothing else of it stays."""
        movies = await library.collection("Movies")
        async with library.store.session() as session:
            seen = Preview(library.store, session, movies)
            await seen.open()

            async def take(first: int, last: int) -> None:
                for at in range(first, last, 100):
                    drafts = [draft(f"a film with a title of some length {at + row}") for row in range(100)]
                    mapped = [MappedDraft(one, (one.parts[0].source_path,)) for one in drafts]
                    await seen.add(MappedPage(mapped, draft_keys(mapped), []))

            await take(0, 1_000)
            with traced() as held:
                await take(1_000, 11_000)
                assert 10_000 * 16 < held() < 10_000 * 60

    async def test_stamps_are_made_where_there_is_an_asset_to_compare(self, library: Library) -> None:
        movies = await library.collection("Movies")
        needed: list[bool] = []
        for _ in range(2):
            async with library.store.session() as session:
                preview = Preview(library.store, session, movies)
                await preview.open()
                needed.append(preview.needs_stamps)
            await library.ingest({"Movies": [page(draft("a"))]})
        assert needed == [False, True]

    async def test_what_another_run_ingests_meanwhile_is_skipped(self, library: Library) -> None:
        movies = await library.collection("Movies")
        mapped = [MappedDraft(draft(one), (at(f"{one}.mkv"),)) for one in ("a", "b")]
        async with library.store.session() as session:
            preview = Preview(library.store, session, movies)
            await preview.open()
            await preview.add(MappedPage(mapped, draft_keys(mapped), []))
            await library.ingest_one(page(draft("a")))
            planned = await preview.plan()
        assert (planned.counts["skipped"], planned.counts["created"], planned.counts["duplicates"]) == (1, 1, 0)
        assert [named.title for named in planned.listed.created] == ["B"]


class TestGarbage:
    async def test_a_page_leaves_none_to_the_collector(self, library: Library) -> None:
        """Which comes round seldom, as most that an ingest makes dies by its reference counts."""

        async def left(pages: int) -> int:
            gc.collect()
            gc.disable()
            try:
                await library.ingest({"Movies": [page(draft(f"{pages}-{number}")) for number in range(pages)]})
                return gc.collect()
            finally:
                gc.enable()

        await left(2)
        few, many = await left(10), await left(110)
        # A task that is cancelled leaves some fifty objects. OpenTelemetry's spans, of a test before this one that has
        # set it up, leave ten; without it there are none.
        assert many - few < 100 * 20


class TestCompleteness:
    def test_ids_take_a_few_bytes_each(self) -> None:
        with traced() as held:
            seen = RatingKeySet()
            for number in range(100_000):
                seen.add(1_000_000 + number * 10)
            assert len(seen) == 100_000
            assert held() < 100_000 * 8


class Held:
    """Holds one page of each collection up, until the database is made slow."""

    FIRST = 90
    """The row at which it begins."""

    def __init__(self, server: SimulatedPlex) -> None:
        self._missing = len(server.sections)
        self.all_here, self.release = anyio.Event(), anyio.Event()
        for section in server.sections:
            path = f"/library/sections/{section.key}/all"
            server.faults.add(Fault(Action(label="hold", hold=self._hold), path=self._chosen(path), times=1))

    def _chosen(self, path: str) -> Callable[[Request], bool]:
        return lambda request: request.path == path and (request.start or 0) >= self.FIRST

    async def _hold(self, _: Request) -> None:
        self._missing -= 1
        if not self._missing:
            self.all_here.set()
        await self.release.wait()


class TestPlex:
    async def test_reading_stops_while_the_database_does(self, store: Store, tmp_path: Path) -> None:
        """At so many pages ahead of the one that the database works on, of each collection."""
        sections = [GeneratedSection(key, f"Movies {key}", "movie", count=600) for key in "12"]
        server = SimulatedPlex(sections, token=TOKEN, max_page_size=10)
        async with server.serve() as url:
            await add_source(store, "plex", "Plex", {"base_url": url}, {"token": Secret(TOKEN)})
            for known in (await discover(store, "Plex")).collections:
                mapping = [PathMapping(location, str(tmp_path)) for location in known.locations]
                await update_collection(store, str(known.id), map=mapping, enabled=True, check_files=False)
            async with ingest_source(store, "Plex") as first:
                pass
            assert (first.summary.status, first.summary.total("source_items")) == ("ok", 1200)
            # Else whole pages would be recognised without a look at the assets.
            await execute(store, "DELETE FROM known_listing")
            held = Held(server)
            server.requests.clear()
            async with store.unpooled("test lock") as lock, ingest_source(store, "Plex") as again:
                await held.all_here.wait()
                await lock.execute(text("LOCK TABLE asset IN ACCESS EXCLUSIVE MODE"))
                held.release.set()
                await until(store, f"(SELECT count(*) {BACKENDS_WAITING}) = 2")
                await anyio.wait_all_tasks_blocked()
                for key in "12":
                    asked = [request.start or 0 for request in server.requests if f"/{key}/all" in request.path]
                    assert held.FIRST < max(asked) <= held.FIRST + (1 + WINDOW) * 10
                await lock.rollback()
        assert again.summary.total("skipped") == first.summary.total("created")

    async def test_bytes_ahead(self) -> None:
        """Whatever the number of collections, the bodies that wait undecoded stay below the budget."""
        section = GeneratedSection("1", "Movies", "movie", count=300)
        async with plex(section, config={"page_size": 10}) as (server, importer):
            budget = importer._budget
            # Room for two or three pages of ten.
            budget.limit = 16 * SectionQuery.row_bytes
            most = 0
            async with importer.enumerate(collection(), FULL) as pages:
                async for _ in pages:
                    await anyio.wait_all_tasks_blocked()
                    most = max(most, budget.held)
            assert 0 < most <= budget.limit
            assert budget.held == 0
            assert 1 < server.max_concurrency < WINDOW


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Tell by how many bytes memory has grown since the block began."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.fault(148)
async def test_temporary_tables_have_a_limit(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrovue.store.staging.STAGED_BETWEEN", 50)
    monkeypatch.setattr("retrovue.store.staging.MOST_STAGED_BYTES", 200_000)
    pages = [page(*(draft(f"{number}-{item}") for item in range(20))) for number in range(200)]
    asked: list[int] = []

    async def count() -> None:
        asked.append(len(asked))

    listing = [step for one in pages for step in (count, one)]
    failed = failure(await library.ingest({"Movies": listing}), "Movies")
    assert failed.code == "staging_too_large"
    assert len(asked) < 100
    assert await library.assets() == {}
    monkeypatch.undo()
    assert (await library.ingest_one(*pages)).counts.created == 4000
