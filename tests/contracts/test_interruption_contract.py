"""Interrupted runs: RS-1 to RS-8 of docs/contract/interrupted-runs.md."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import Scope
from retrovue.importers.http.library import HttpLibrary
from retrovue.ingest.documents import summary_document
from retrovue.ingest.orchestrator import ingest_one
from retrovue.simulator import Fault, Request, faults
from retrovue.store import kept
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from tests.support.library import Library, cancelled_at, codes, draft, execute, page, raise_on, rows
from tests.support.syncing import PAGE, JellyfinSource, PlexSource, Synced, set_scanning

pytestmark = pytest.mark.anyio

FILMS = 70
"""Five windows: 16 rows, then 15 more each, and 9."""
WINDOWS = 5
LISTING = "/library/sections/1/all"
TABLES = "SELECT relname FROM pg_class WHERE relname LIKE 'kept_page_%' AND relkind = 'r'"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings of any size have bookmarks, and each page is written at once."""
    monkeypatch.setattr(HttpLibrary, "bookmarks_from", 1)
    monkeypatch.setattr(kept, "BUFFERED_BYTES", 1)


@pytest.fixture
async def store(shared_store: Store) -> AsyncIterator[Store]:
    yield shared_store
    await execute(shared_store, "DELETE FROM kept_listing")
    assert await Plex.tables(shared_store) == []


class Plex:
    """A Plex library, and runs on it that are interrupted."""

    def __init__(self, store: Store, source: PlexSource, synced: Synced) -> None:
        self.store, self.source, self.synced = store, source, synced

    @staticmethod
    async def tables(store: Store) -> list[Any]:
        """The tables of pages."""
        return [name for (name,) in await rows(store, TABLES)]

    @property
    def starts(self) -> list[int]:
        """The rows where the windows began that were asked for since the last call, in their order."""
        asked = [dict(request.params) for request in self.source.plex.requests if request.path == LISTING]
        self.source.plex.requests.clear()
        return [int(params["X-Plex-Container-Start"]) for params in asked]

    async def interrupt(self, window: int, mode: str = "ingest", **options: Any) -> None:
        """Run, and cancel it when this window is asked for, counted from 0; all before it are kept."""
        scope, before = anyio.CancelScope(), await self.pages()

        async def stop(request: Request) -> None:
            if _start(request) < window * (PAGE - 1):
                return
            with anyio.fail_after(30):
                while len(await self.pages()) < max(window, len(before)):  # noqa: ASYNC110 - rows have no event
                    await anyio.sleep(0.005)
            scope.cancel()
            await anyio.sleep_forever()

        self.source.plex.on_request = stop
        with scope:
            await self.synced.run(mode, **options)
        self.source.plex.on_request = None
        _ = self.starts

    async def fail_to_merge(self) -> None:
        """Run, and let the database refuse what is to be merged."""
        await raise_on(self.store, "asset", "true")
        assert isinstance(await self.synced.run("ingest"), Failed)
        await execute(self.store, "DROP TRIGGER refuse ON asset")

    def quietly(self, change: Callable[[], object]) -> None:
        """Change the library so that no stamp of it moves."""
        stamp = self.source.section.content_changed_at
        change()
        self.source.section.content_changed_at = stamp

    async def resumes(self, mode: str = "sync", **options: Any) -> int:
        """Run, which has to succeed; returns how many items weren't read again."""
        return (await self.synced.sync(mode=mode, **options)).counts.resumed

    async def pages(self) -> list[int]:
        """The numbers of the pages that are kept."""
        names = await self.tables(self.store)
        return [
            row[0] for name in names for row in await self.synced.rows(f"SELECT number FROM {name} WHERE piece = 0")
        ]

    async def titles(self) -> list[tuple[Any, ...]]:
        return await self.synced.rows("SELECT source_uri, title, canonical_uri FROM asset ORDER BY source_uri")

    async def assets(self) -> list[tuple[Any, ...]]:
        return await self.synced.rows("SELECT title, source_uri, canonical_uri, stamp FROM asset ORDER BY source_uri")


@pytest.fixture
async def plex(store: Store, media: Path) -> AsyncIterator[Plex]:
    source = PlexSource(media)
    for number in range(1, FILMS + 1):
        source.add(number)
    async with source.serve():
        yield Plex(store, source, await Synced.make(store, source))


@pytest.mark.rule("RS-1")
@pytest.mark.usefixtures("scripted")
class TestRS1:
    """RS-1: each collection is as before the run or as after it, and --retry-failed takes exactly the others."""

    @pytest.mark.parametrize("how", ["interrupted", "killed"])
    async def test_within_the_second_of_three(self, store: Store, how: str) -> None:
        library = await Library.make(store, "A", "B", "C")
        arrived = anyio.Event()

        async def wait() -> None:
            arrived.set()
            await anyio.sleep_forever()

        library.script.listings["A"] = library.script.listings["C"] = [page(draft("x"))]
        library.script.listings["B"] = [page(draft("y")), wait]
        summary = await cancelled_at(library, arrived.wait, concurrency=1)
        assert codes(summary) == {"A": "ingested", "B": "interrupted", "C": "interrupted"}
        if how == "killed":  # nobody has written their outcomes
            await execute(store, "DELETE FROM ingest_outcome WHERE status = 'interrupted'")
        assert await library.rows(
            "SELECT name, count(*) FROM asset JOIN collection ON id = collection_uuid GROUP BY 1"
        ) == [("A", 1)]
        library.script.listings["B"] = library.script.listings["A"]
        again = await library.ingest(retry_failed=True)
        assert codes(again) == {"A": "not_failed", "B": "ingested", "C": "ingested"}


@pytest.mark.rule("RS-2")
@pytest.mark.fault(155)
class TestRS2:
    """RS-2: an interrupted run within a large collection is gone on with, by an ingest or a sync."""

    async def test_at_every_window_the_next_run_reads_the_rest(self, plex: Plex) -> None:
        whole = await plex.synced.ingest()
        assets = await plex.assets()
        assert (whole.counts.created, whole.counts.resumed) == (FILMS, 0)
        for window in range(1, WINDOWS):
            await execute(plex.store, "TRUNCATE asset CASCADE")
            await plex.interrupt(window)
            assert await plex.assets() == []
            outcome = await plex.synced.ingest()
            read_before = 1 + window * (PAGE - 1)
            assert (outcome.counts.created, outcome.counts.resumed) == (FILMS, read_before)
            assert outcome.counts.source_items == FILMS
            # The first and the last kept window are looked at again, and then only what comes after them is read.
            again = [0] if window == 1 else [0, (window - 1) * (PAGE - 1)]
            assert plex.starts == [*again, *(number * (PAGE - 1) for number in range(window, WINDOWS))]
            assert await plex.assets() == assets
            assert await plex.tables(plex.store) == []
            assert (await plex.synced.rows("SELECT resumed FROM ingest_outcome ORDER BY ended_at DESC LIMIT 1")) == [
                (read_before,)
            ]

    async def test_interrupted_again_and_again(self, plex: Plex) -> None:
        for window in range(1, WINDOWS):
            await plex.interrupt(window)
            assert sorted(await plex.pages()) == list(range(window))
        outcome = await plex.synced.ingest()
        assert (outcome.counts.created, outcome.counts.resumed, plex.starts) == (FILMS, 61, [0, 45, 60])

    async def test_what_was_read_whole_is_merged_without_being_read_again(self, plex: Plex) -> None:
        await plex.fail_to_merge()
        assert plex.starts == [0, 15, 30, 45, 60]
        outcome = await plex.synced.ingest()
        assert (outcome.counts.created, outcome.counts.resumed, plex.starts) == (FILMS, FILMS, [0, 60])

    async def test_a_source_that_fails_midway_is_gone_on_with(self, plex: Plex) -> None:
        plex.source.plex.faults.add(Fault(faults.status(503), lambda request: _start(request) >= 30))
        assert isinstance(await plex.synced.run("ingest"), Failed)
        plex.source.plex.faults.clear()
        _ = plex.starts
        outcome = await plex.synced.ingest()
        assert (outcome.counts.created, outcome.counts.resumed, plex.starts) == (FILMS, 31, [0, 15, 30, 45, 60])

    async def test_a_sync_goes_on_with_an_ingest(self, plex: Plex) -> None:
        await plex.synced.ingest()
        for number in (3, 40, 69):
            plex.source.edit(number)
        plex.source.remove(50)
        await plex.interrupt(3)
        outcome = await plex.synced.sync()
        counts = outcome.counts
        assert (counts.resumed, counts.skipped, counts.refreshed, counts.missing) == (46, FILMS - 1, 3, 1)
        assert await plex.titles() == sorted(
            [(film.uri, film.title, film.path) for film in plex.source.films().values()]
            + [row for row in await plex.titles() if row[1] == "Film 50"]
        )

    @pytest.mark.parametrize("atomic", [(True, True), (True, False), (False, True)], ids=["both", "then", "now"])
    async def test_one_unit_of_work(self, plex: Plex, atomic: tuple[bool, bool]) -> None:
        await plex.interrupt(2, atomic=atomic[0])
        outcome = await plex.synced.ingest(atomic=atomic[1])
        assert (outcome.counts.created, outcome.counts.resumed) == (FILMS, 31)

    async def test_a_run_that_was_overtaken_writes_no_more_pages(self, plex: Plex) -> None:
        async def overtake(request: Request) -> None:
            if _start(request) == 60:
                # Its locks are lost, and another run goes on with the listing.
                await execute(plex.store, "UPDATE kept_listing SET run_id = gen_random_uuid()")

        plex.source.plex.on_request = overtake
        await raise_on(plex.store, "asset", "true")
        assert isinstance(await plex.synced.run("ingest"), Failed)
        await execute(plex.store, "DROP TRIGGER refuse ON asset")
        plex.source.plex.on_request = None
        kept_pages = sorted(await plex.pages())
        assert kept_pages == list(range(len(kept_pages)))
        assert len(kept_pages) < WINDOWS
        assert await plex.resumes("ingest") == 1 + len(kept_pages) * (PAGE - 1)

    async def test_other_path_mappings(self, plex: Plex) -> None:
        await plex.interrupt(2)
        (plex.source.local / "there").mkdir()
        await execute(plex.store, "UPDATE path_mapping SET local_path = local_path || '/there'")
        assert await plex.resumes("ingest") == 31
        ((paths,),) = await plex.synced.rows("SELECT count(*) FROM asset WHERE canonical_uri LIKE '%/there/%'")
        assert paths == FILMS

    async def test_known_pages_that_are_known_no_longer(self, plex: Plex) -> None:
        await plex.synced.ingest()
        await plex.interrupt(3)
        await execute(plex.store, "TRUNCATE asset CASCADE")
        assert await plex.resumes("ingest") == 0
        assert await plex.synced.rows("SELECT count(*) FROM asset") == [(FILMS,)]


@pytest.mark.rule("RS-3")
@pytest.mark.fault(155)
class TestRS3:
    """RS-3: only if the source proves that it lists the same."""

    @pytest.mark.parametrize(
        "change",
        [
            "edit the first",
            "replace the last",
            "add",
            "remove",
            "remove and add",
            "rebuild",
            "edit between, with a stamp",
        ],
    )
    async def test_it_has_changed(self, plex: Plex, change: str) -> None:
        await plex.interrupt(3)

        def act() -> None:
            source = plex.source
            match change:
                case "edit the first":
                    source.edit(1)
                case "replace the last":
                    source.replace(46)
                case "add":
                    source.add(FILMS + 1)
                case "remove":
                    source.remove(20)
                case "remove and add":
                    source.remove(20)
                    source.add(FILMS + 1)
                case "rebuild":
                    source.rebuild()
                case _:
                    source.edit(20)

        plex.quietly(act)
        if "stamp" in change:
            plex.source.section.content_changed_at += 1
        outcome = await plex.synced.ingest()
        assert outcome.counts.resumed == 0
        assert await plex.titles() == sorted((film.uri, film.title, film.path) for film in plex.source.films().values())

    async def test_what_moves_no_stamp_is_seen_by_the_next_reading_of_all(self, plex: Plex) -> None:
        await plex.interrupt(3)
        plex.quietly(lambda: plex.source.edit(20))
        assert await plex.resumes("ingest") == 46
        assert (await plex.synced.sync(full=True)).counts.refreshed == 1

    @pytest.mark.parametrize("moment", ["then", "now"])
    async def test_the_server_scans(self, plex: Plex, moment: str) -> None:
        set_scanning(plex.source, scanning=moment == "then")
        await plex.interrupt(0 if moment == "then" else 2)
        set_scanning(plex.source, scanning=moment == "now")
        assert await plex.resumes("ingest") == 0

    async def test_the_server_has_no_stamp(self, plex: Plex) -> None:
        plex.source.section.content_changed_at = None  # type: ignore[assignment]
        await plex.interrupt(0)
        assert await plex.resumes("ingest") == 0

    async def test_the_library_was_made_anew(self, plex: Plex) -> None:
        await plex.interrupt(2)
        plex.source.section.uuid = "another"
        assert await plex.resumes("ingest") == 0

    async def test_a_stamp_of_nought_is_one(self, plex: Plex) -> None:
        plex.source.section.content_changed_at = 0
        await plex.interrupt(2)
        assert await plex.resumes("ingest") == 31

    async def test_what_is_behind_may_change_while_it_is_read(self, plex: Plex) -> None:
        await plex.interrupt(3)
        waiting = [True]

        async def shift(request: Request) -> None:
            if waiting and _start(request) == 45:
                waiting.clear()
                plex.source.remove(60)
                plex.source.add(FILMS + 1)
                plex.source.remove(1)
                plex.source.add(FILMS + 2)

        plex.source.plex.on_request = shift
        outcome = await plex.synced.ingest()
        assert (outcome.counts.created, outcome.counts.resumed) == (FILMS, 0)
        assert await plex.titles() == sorted((film.uri, film.title, film.path) for film in plex.source.films().values())

    @pytest.mark.parametrize("change", [None, "edit", "remove and add", "scan", "clock", "unknown filter"])
    async def test_jellyfin_by_what_was_saved_since(self, store: Store, media: Path, change: str | None) -> None:
        source = JellyfinSource(media)
        library, server, now = source.library, source.jellyfin, [1_800_000_000]
        for number in range(1, FILMS + 1):
            source.add(number)
        library.clock = server.clock = lambda: now[0]
        fail = Fault(faults.status(503), lambda request: request.path == "/Items" and (request.start or 0) >= 45)
        async with source.serve():
            synced = await Synced.make(store, source)
            server.faults.add(fail)
            assert isinstance(await synced.run("ingest"), Failed)
            server.faults.clear()
            server.requests.clear()
            now[0] += 60
            match change:
                case "edit":
                    source.edit(20)
                case "remove and add":
                    source.remove(20)
                    source.add(FILMS + 1)
                case "scan":
                    set_scanning(source, scanning=True)
                case "clock":
                    now[0] -= 3600
                case "unknown filter":
                    server.ignored_filters.add("mindatelastsavedforuser")
                case _:
                    pass
            outcome = await synced.ingest()
            assert outcome.counts.resumed == (46 if change is None else 0)
            assert sorted(await synced.rows("SELECT source_uri, title, canonical_uri FROM asset")) == sorted(
                (film.uri, film.title, film.path) for film in source.films().values()
            )


@pytest.mark.rule("RS-4")
@pytest.mark.fault(155)
class TestRS4:
    """RS-4: only with the same configuration and version, for 24 hours, and if it is whole."""

    @pytest.mark.parametrize(
        "change",
        [
            """UPDATE source SET config = config || '{"page_size": 15}'""",
            "UPDATE kept_listing SET key = sha256(key)::bytea",
            "UPDATE kept_listing SET began_at = began_at - interval '25 hours'",
        ],
        ids=["another configuration", "another version", "too old"],
    )
    async def test_of_no_use(self, plex: Plex, change: str) -> None:
        await plex.interrupt(2)
        await execute(plex.store, change.replace("sha256(key)::bytea", "substring(sha256(key) FROM 1 FOR 16)"))
        assert await plex.resumes("ingest") == 0

    async def test_a_crash_of_the_database_empties_the_table(self, plex: Plex) -> None:
        await plex.interrupt(2)
        await execute(plex.store, f"TRUNCATE {(await plex.tables(plex.store))[0]}")
        assert await plex.resumes("ingest") == 0

    async def test_what_cannot_be_decoded(self, plex: Plex) -> None:
        await plex.interrupt(3)
        await execute(plex.store, f"UPDATE {(await plex.tables(plex.store))[0]} SET content = 'x' WHERE number = 1")
        assert await plex.resumes("ingest") == 0
        assert await plex.synced.rows("SELECT count(*) FROM asset") == [(FILMS,)]


@pytest.mark.rule("RS-5")
class TestRS5:
    """RS-5: nothing is kept of a dry-run, of a scope, or of a small collection."""

    async def test_nothing_of_a_dry_run_is_kept(self, plex: Plex) -> None:
        await plex.interrupt(0, dry_run=True)
        assert await plex.pages() == []

    async def test_a_narrower_scope_neither_uses_nor_drops_it(self, plex: Plex) -> None:
        await plex.interrupt(2)
        collection, scope = str(plex.synced.collection.id), Scope("Film 1")
        async with ingest_one(plex.store, collection, scope) as run:
            pass
        (outcome,) = run.summary.outcomes
        assert isinstance(outcome, Ingested)
        assert (outcome.counts.created, outcome.counts.resumed, len(await plex.pages())) == (1, 0, 2)
        assert await plex.resumes("ingest") == 31

    async def test_a_dry_run_neither_uses_nor_drops_it(self, plex: Plex) -> None:
        await plex.interrupt(3)
        tried = await plex.synced.ingest(dry_run=True)
        assert (tried.counts.created, tried.counts.resumed, len(await plex.pages())) == (FILMS, 0, 3)
        outcome = await plex.synced.ingest()
        assert (outcome.counts.created, outcome.counts.resumed) == (FILMS, 46)

    async def test_small_listings_cost_nothing(self, plex: Plex, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(HttpLibrary, "bookmarks_from", FILMS + 1)
        plex.source.plex.requests.clear()
        await plex.fail_to_merge()
        sections = [request for request in plex.source.plex.requests if request.path == "/library/sections"]
        assert len(sections) == 1
        assert await plex.pages() == []


@pytest.mark.rule("RS-6")
class TestRS6:
    """RS-6: the outcome, its documents and the audit trail tell how many items had been read before."""

    @pytest.mark.parametrize("mode", ["ingest", "sync"])
    async def test_they_are_counted(self, plex: Plex, mode: str) -> None:
        await plex.interrupt(2)
        summary = await plex.synced.runs(mode)
        document = summary_document(summary)
        (collection,) = document["collection_results"]
        assert (document["total_resumed"], collection["resumed"], collection["source_items"]) == (31, 31, FILMS)
        assert await plex.synced.rows(
            "SELECT mode, resumed, source_items FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)"
            " WHERE status = 'ingested'"
        ) == [(mode, 31, FILMS)]


@pytest.mark.rule("RS-7")
class TestRS7:
    """RS-7: what is kept is bounded, and dropped."""

    @pytest.mark.parametrize("fails", [False, True])
    async def test_the_merge_drops_it(self, plex: Plex, fails: bool) -> None:
        await plex.interrupt(2)
        if fails:
            await plex.fail_to_merge()
            assert len(await plex.pages()) == WINDOWS
        await plex.synced.ingest()
        assert await plex.tables(plex.store) == []
        assert await plex.synced.rows("SELECT 1 FROM kept_listing") == []

    async def test_no_more_than_the_bound_is_kept(self, plex: Plex, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kept, "MOST_KEPT_BYTES", 1)
        await plex.fail_to_merge()
        assert await plex.pages() == [0]
        assert await plex.resumes("ingest") == 16

    async def test_the_next_run_drops_what_is_old(self, plex: Plex, tmp_path: Path) -> None:
        await plex.interrupt(2)
        other = PlexSource(tmp_path)
        async with other.serve():
            synced = await Synced.make(plex.store, other)
            await synced.ingest()
            assert len(await plex.pages()) == 2
            await execute(plex.store, "UPDATE kept_listing SET began_at = began_at - interval '25 hours'")
            async with open_locks(plex.store, "somebody else") as locks:
                await locks.take([plex.synced.collection])
                await synced.ingest()
            assert len(await plex.pages()) == 2, "a run is at work on it"
            await synced.ingest()
        assert await plex.pages() == []


@pytest.mark.rule("RS-8")
class TestRS8:
    """RS-8: a role that may not make tables ingests as before."""

    async def test_a_role_that_may_not_make_tables(self, plex: Plex) -> None:
        role = f"only_rows_{plex.synced.source.id.hex}"
        await execute(
            plex.store,
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            f"CREATE ROLE {role} LOGIN",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        )
        try:
            engine = create_async_engine(
                plex.store.url.render_as_string(hide_password=False), connect_args={"server_settings": {"role": role}}
            )
            async with Store.from_engine(engine) as limited:
                synced = Synced(limited, plex.synced.source, plex.synced.collection)
                outcome = await synced.ingest()
            assert (outcome.counts.created, plex.starts) == (FILMS, [0, 15, 30, 45, 60])
        finally:
            await execute(plex.store, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def _start(request: Request) -> int:
    return int(dict(request.params).get("X-Plex-Container-Start", -1)) if request.path == LISTING else -1
