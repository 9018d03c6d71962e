"""What source ingest does to data: D-1 to D-15 of docs/contract/source-ingest.md, with its data effects."""

import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import anyio
import asyncpg
import orjson
import pytest

from retrovue.simulator import Fault, Request, faults, media, movie, part
from tests.support import contract_importers as importers
from tests.support.world import (
    ASSETS,
    AUDIT,
    KEYS,
    MOVIES,
    NAME,
    SHOWS,
    VIDEOS,
    Catalogue,
    World,
    comparable,
    fates,
    named,
)

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no room'; END $$
"""


def refuse_late(world: World, title: str) -> None:
    """Let the database fail at the end of the transaction that writes this title: after all its rows are written."""
    world.catalogue.rows(REFUSE)
    world.catalogue.rows(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON asset DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        f" WHEN (NEW.title = '{title}') EXECUTE FUNCTION refuse()"
    )


def writers(world: World, table: str, name: str, column: str = "collection_uuid") -> set[str]:
    """The transactions that wrote a collection's rows."""
    return set(
        world.catalogue.column(f"SELECT t.xmin::text FROM {table} t WHERE {column} = $1", uuid.UUID(world.id(name)))
    )


@pytest.mark.rule("D-1")
class TestD1:
    """D-1: each collection is ingested in a transaction of its own."""

    def test_one_transaction_wrote_all_of_a_collection_and_no_other(self, world: World) -> None:
        world.enable("Home Videos")
        world.section("Movies").add(
            movie(110, "Parts", Media=[media(9, part(1, "/data/movies/a"), part(2, "/data/movies/b"))])
        )
        world.document()
        by_collection = {
            name: writers(world, "asset", name)
            | writers(world, "asset_alias", name)
            | writers(world, "ingest_outcome", name, "collection_id")
            | writers(world, "ingest_rejection", name, "collection_id")
            for name in ("Movies", "TV Shows", "Home Videos")
        }
        assert [len(found) for found in by_collection.values()] == [1, 1, 1]
        assert len(set.union(*by_collection.values())) == 3
        assert set(world.catalogue.column("SELECT xmin::text FROM asset_part")) == by_collection["Movies"]

    def test_a_collection_is_committed_while_the_next_one_is_read(self, world: World) -> None:
        seen: list[Any] = []

        async def look() -> None:
            seen.extend(await world.catalogue.ask("SELECT count(*) FROM asset"))
            seen.extend(await world.catalogue.ask("SELECT status FROM ingest_outcome"))

        world.when(SHOWS, look)
        world.document("--concurrency", "1")
        assert seen == [(3,), ("ingested",)]

    def test_no_transaction_is_open_while_the_source_is_read(self, world: World) -> None:
        seen: list[Any] = []

        async def look() -> None:
            seen.extend(
                await world.catalogue.ask(
                    "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'retrovue' AND state LIKE '%transaction%'"
                )
            )

        world.when(MOVIES, look)
        world.document("--concurrency", "1")
        assert seen == []

    def test_collections_are_ingested_at_once_within_bounds(self, world: World) -> None:
        world.enable("Home Videos")
        arrived: list[str] = []
        all_there = world.portal.call(anyio.Event)

        async def wait_for_each_other(request: Request) -> None:
            if request.path in (MOVIES, SHOWS, VIDEOS) and request.path not in arrived:
                arrived.append(request.path)
                if len(arrived) == 3:
                    all_there.set()
                with anyio.fail_after(20):
                    await all_there.wait()

        world.plex.on_request = wait_for_each_other
        assert world.document("--concurrency", "3")["collections_processed"] == 3


@pytest.mark.rule("D-2")
class TestD2:
    """D-2: a fatal error rolls its collection back, all of it, and no sibling."""

    def test_an_error_at_the_very_end_leaves_nothing_of_the_collection(self, world: World) -> None:
        before = world.catalogue.bytes(*ASSETS, "ingest_rejection")
        refuse_late(world, "Casablanca")
        for name in ("TV Shows",):
            world.enable(name, enabled=False)
        document = world.document(status=1)
        assert "no room" in document["errors"][0]["message"]
        assert world.catalogue.bytes(*ASSETS, "ingest_rejection") == before
        assert world.audit() == [("Movies", "failed", "database_error")]

    def test_siblings_are_kept(self, world: World) -> None:
        refuse_late(world, "Casablanca")
        document = world.document(status=2)
        assert fates(document) == {
            "Home Videos": "sync_disabled",
            "Movies": "database_error",
            "TV Shows": "ingested",
        }
        assert world.counts() == {"Home Videos": 0, "Movies": 0, "TV Shows": 8}
        assert named(document)["Movies"]["created"] == 0

    def test_what_was_there_before_stays_to_the_byte(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        refuse_late(world, "Dune")
        world.section("Movies").add(movie(110, "Dune"))
        world.section("Movies").change_file(102, "/data/movies/Moved.mkv")
        world.document(status=2)
        assert world.catalogue.bytes(*ASSETS) == before

    def test_a_listing_that_breaks_off_leaves_nothing(self, world: World) -> None:
        world.catalogue.rows("UPDATE source SET config = config || '{\"page_size\": 2}'")
        world.fault(faults.status(418), MOVIES, page=1)
        world.document(status=2)
        assert world.counts() == {"Home Videos": 0, "Movies": 0, "TV Shows": 8}
        world.plex.faults.clear()
        assert world.document()["total_created_assets"] == 3

    def test_nothing_is_left_half_done(self, world: World) -> None:
        refuse_late(world, "Casablanca")
        world.section("Movies").add(
            movie(110, "Parts", Media=[media(9, part(1, "/data/movies/a"), part(2, "/data/movies/b"))])
        )
        world.document(status=2)
        orphans = "SELECT count(*) FROM asset_part WHERE asset_uuid NOT IN (SELECT uuid FROM asset)"
        assert world.catalogue.value(orphans) == 0
        assert world.catalogue.value("SELECT count(*) FROM asset_part") == 0
        assert world.catalogue.value("SELECT count(*) FROM asset_alias") == 0
        started = "SELECT count(*) FROM ingest_start LEFT JOIN ingest_outcome o USING (run_id, collection_id)"
        assert world.catalogue.value(f"{started} WHERE o.run_id IS NULL") == 0
        assert world.catalogue.rows("SELECT relname FROM pg_class WHERE relpersistence = 't'") == []


@pytest.mark.rule("D-3")
class TestD3:
    """D-3: if any collection failed the run is a partial success, exit code 2."""

    @pytest.mark.parametrize("path", [MOVIES, SHOWS])
    def test_whichever_failed(self, world: World, path: str) -> None:
        world.break_listing(path)
        human, document = world.both("source", "ingest", NAME, status=2)
        assert document["status"] == "partial"
        assert human.out.splitlines()[-2] == "Partial success"

    def test_two_of_three(self, world: World) -> None:
        world.enable("Home Videos")
        world.break_listing(MOVIES, SHOWS)
        human, document = world.both("source", "ingest", NAME, status=2)
        assert human.out.splitlines()[-1] == "Source ingest complete: 3 collections processed (1 success, 2 failed)"
        assert len(document["errors"]) == 2

    def test_a_rollback_counts(self, world: World) -> None:
        refuse_late(world, "Casablanca")
        assert world.ingest().status == 2

    def test_the_process_exits_with_it(self, world: World) -> None:
        world.break_listing(SHOWS)
        done = world.cli.as_process("source", "ingest", NAME, "--json")
        assert (done.status, done.document["status"]) == (2, "partial")

    def test_none_failed_is_0(self, world: World) -> None:
        done = world.cli.as_process("source", "ingest", NAME)
        assert (done.status, done.err) == (0, "")


def trail(world: World) -> list[dict[str, Any]]:
    """The audit trail with its details, oldest first."""
    rows = world.catalogue.rows(
        "SELECT to_jsonb(s) || coalesce(to_jsonb(o), '{}') || jsonb_build_object('name', name)"
        " FROM ingest_start s JOIN collection ON collection.id = collection_id"
        " LEFT JOIN ingest_outcome o USING (run_id, collection_id) ORDER BY started_at, name"
    )
    return [orjson.loads(row) for (row,) in rows]


@contextmanager
def stuck(world: World, path: str) -> Iterator[threading.Event]:
    """Never answer requests for a path; the event says that one has come."""
    arrived = threading.Event()
    release = world.portal.call(anyio.Event)

    def notice(request: Request) -> None:
        if request.path == path:
            arrived.set()

    world.plex.on_request = notice
    world.plex.faults.add(Fault(faults.hang(release), path=path))
    try:
        yield arrived
    finally:
        world.portal.call(release.set)
        world.plex.faults.clear()


@pytest.mark.rule("D-4")
class TestD4:
    """D-4: each collection's ingest is in the audit trail, with enough to recover and to retry."""

    def test_a_success(self, world: World) -> None:
        document = world.document()
        rows = {row["name"]: row for row in trail(world)}
        assert set(rows) == {"Movies", "TV Shows"}
        movies = rows["Movies"]
        counts = ("source_items", "discovered", "created", "skipped", "duplicates", "rejected", "failed_enrichments")
        assert {count: movies[count] for count in counts} == {
            count: named(document)["Movies"][count] for count in counts
        }
        assert (movies["created"], movies["duplicates"], movies["rejected"]) == (3, 1, 1)
        assert (movies["run_id"], movies["collection_id"]) == (document["run_id"], world.id("Movies"))
        assert (movies["trigger"], movies["scope"], movies["status"], movies["code"]) == (
            "source",
            {},
            "ingested",
            None,
        )
        assert movies["version"] == version("retrovue")
        assert "@" in movies["started_by"]
        assert movies["started_at"] <= movies["ended_at"]

    def test_a_failure(self, world: World) -> None:
        world.break_listing(SHOWS)
        document = world.document(status=2)
        [failed] = [row for row in trail(world) if row["name"] == "TV Shows"]
        error = document["errors"][0]
        assert (failed["status"], failed["code"], failed["message"], failed["hint"]) == (
            "failed",
            error["code"],
            error["message"],
            error["hint"],
        )
        assert failed["details"]["context"] == error["context"]
        assert failed["details"]["unreachable"] is False
        assert "Traceback" in failed["details"]["traceback"]
        assert failed["started_at"] <= failed["ended_at"]

    def test_all_rejected_items(self, world: World) -> None:
        world.section("Movies").add(*(movie(number, f"Reel {number}", Media=None) for number in range(500, 650)))
        document = world.document()
        assert len(named(document)["Movies"]["rejected_items"]) == 100
        rows = world.catalogue.rows("SELECT code, reason, title FROM ingest_rejection ORDER BY position")
        assert len(rows) == named(document)["Movies"]["rejected"] == 151
        assert rows[:2] == [("no_media", "The item has no media.", title) for title in ("Lost Reel", "Reel 500")]

    def test_rejected_items_of_a_collection_that_failed_for_them(self, world: World) -> None:
        world.section("Movies").clear()
        world.section("Movies").add(*(movie(number, Media=None) for number in range(1, 4)))
        world.document(status=2)
        assert world.catalogue.value("SELECT count(*) FROM ingest_rejection") == 3
        [row] = [row for row in trail(world) if row["name"] == "Movies"]
        assert (row["code"], row["discovered"], row["rejected"]) == ("all_rejected", 3, 3)

    def test_the_start_is_there_while_the_source_is_read(self, world: World) -> None:
        seen: list[Any] = []

        async def look() -> None:
            seen.extend(await world.catalogue.ask("SELECT trigger FROM ingest_start"))
            seen.extend(await world.catalogue.ask("SELECT status FROM ingest_outcome"))

        world.when(MOVIES, look)
        world.document("--concurrency", "1")
        assert seen == [("source",), ("source",)]

    def test_skipped_collections_have_no_row(self, world: World) -> None:
        world.lose("TV Shows")
        world.document()
        assert world.audit() == [("Movies", "ingested", None)]

    def test_an_unreachable_source_has_a_row_for_each_enabled_collection(self, world: World) -> None:
        world.fault(faults.status(503), "/library/sections")
        world.document(status=3)
        assert sorted(world.audit()) == [
            ("Movies", "failed", "source_unreachable"),
            ("TV Shows", "failed", "source_unreachable"),
        ]
        assert all(row["details"]["unreachable"] for row in trail(world))
        world.plex.faults.clear()
        assert world.document("--retry-failed")["collections_processed"] == 2

    def test_what_failed_can_be_retried_and_nothing_else(self, world: World) -> None:
        world.break_listing(SHOWS)
        world.document(status=2)
        world.plex.faults.clear()
        world.plex.reset_counters()
        document = world.document("--retry-failed")
        assert fates(document) == {"Home Videos": "sync_disabled", "Movies": "not_failed", "TV Shows": "ingested"}
        assert not world.asked(MOVIES)
        assert fates(world.document("--retry-failed"))["TV Shows"] == "not_failed"

    def test_a_retry_that_fails_can_be_retried(self, world: World) -> None:
        world.break_listing(SHOWS)
        world.document(status=2)
        for _ in range(2):
            _, document = world.both("source", "ingest", NAME, "--retry-failed", status=1)
            assert document["collections_processed"] == 1

    def test_a_surgical_success_is_no_retry(self, world: World) -> None:
        world.break_listing(SHOWS)
        world.document(status=2)
        world.plex.faults.clear()
        assert world.collection("TV Shows", "--title", "Firefly").status == 0
        assert world.document("--retry-failed")["collections_processed"] == 1

    def test_being_locked_out_does_not_replace_what_happened(self, world: World) -> None:
        world.document()
        with world.held("Movies", "TV Shows"):
            world.document(status=1)
        assert [status for _, status, code in world.audit() if code == "already_running"] == ["failed", "failed"]
        assert world.document("--retry-failed")["collections_processed"] == 0

    @pytest.mark.fault(57)
    def test_a_run_that_is_killed_shows_and_can_be_retried(self, world: World) -> None:
        with stuck(world, SHOWS) as arrived:
            process = world.cli.as_process.start("source", "ingest", NAME, "--concurrency", "1")
            assert arrived.wait(60)
            process.kill()
            process.communicate(timeout=60)
        assert sorted(world.audit(), key=str) == [("Movies", "ingested", None), ("TV Shows", None, None)]
        with anyio.from_thread.start_blocking_portal() as portal:  # its locks end with its connection
            portal.call(_until_gone, world.catalogue)
        document = world.document("--retry-failed")
        assert fates(document)["TV Shows"] == "ingested"
        assert fates(document)["Movies"] == "not_failed"
        assert ("TV Shows", "interrupted", "interrupted") in world.audit()

    @pytest.mark.parametrize(
        ("path", "number", "status", "said", "interrupted"),
        [(SHOWS, signal.SIGTERM, 143, "partial", 1), (MOVIES, signal.SIGINT, 130, "error", 2)],
        ids=["something done", "nothing done"],
    )
    def test_an_interruption_is_noted(
        self, world: World, path: str, number: signal.Signals, status: int, said: str, interrupted: int
    ) -> None:
        with stuck(world, path) as arrived:
            process = world.cli.as_process.start("source", "ingest", NAME, "--concurrency", "1", "--json")
            assert arrived.wait(60)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert process.returncode == status
        assert err.startswith(b"Error: ")
        document = orjson.loads(out)
        assert list(document)[:8] == KEYS
        assert (document["status"], document["collections_processed"]) == (said, 2)
        assert list(fates(document).values()).count("interrupted") == interrupted
        assert {error["code"] for error in document["errors"]} == {"interrupted"}
        assert [name for name, status, _ in world.audit() if status == "interrupted"].count("TV Shows") == 1
        assert world.document("--retry-failed")["collections_processed"] == interrupted


async def _until_gone(catalogue: Catalogue) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'retrovue%'"
    )
    with anyio.fail_after(30):
        while await catalogue.ask(query) != [(0,)]:  # noqa: ASYNC110 - PostgreSQL has no event for it
            await anyio.sleep(0.01)


@pytest.mark.rule("D-5")
class TestD5:
    """D-5: a collection that is not enabled, or not ingestible, is not ingested, whatever else holds."""

    @pytest.mark.parametrize("ingestible", [True, False, None])
    def test_not_enabled(self, world: World, ingestible: bool | None) -> None:
        world.document()
        world.catalogue.rows(
            "UPDATE collection SET ingestible = $1,"
            " not_ingestible_reason = CASE WHEN $1 THEN NULL WHEN NOT $1 THEN 'x' END,"
            " ingestible_checked_at = CASE WHEN $1 IS NULL THEN NULL ELSE now() END WHERE name = 'Home Videos'",
            ingestible,
        )
        before = world.catalogue.rows("SELECT * FROM collection WHERE name = 'Home Videos'")
        document = world.document()
        assert (fates(document)["Home Videos"], world.counts()["Home Videos"]) == ("sync_disabled", 0)
        assert world.catalogue.rows("SELECT * FROM collection WHERE name = 'Home Videos'") == before
        assert not world.asked(VIDEOS)
        assert "Home Videos" not in {name for name, _, _ in world.audit()}

    def test_enabled_and_not_ingestible(self, world: World) -> None:
        world.lose("Movies")
        assert fates(world.document())["Movies"] == "missing_directory"
        assert world.counts() == {"Home Videos": 0, "Movies": 0, "TV Shows": 8}
        assert not world.asked(MOVIES)
        assert "Movies" not in {name for name, _, _ in world.audit()}

    def test_disabled_since(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        world.enable("Movies", enabled=False)
        world.section("Movies").add(movie(110, "Dune"))
        assert fates(world.document())["Movies"] == "sync_disabled"
        assert world.catalogue.bytes(*ASSETS) == before

    def test_nor_is_it_when_retried(self, world: World) -> None:
        world.break_listing(SHOWS)
        world.document(status=2)
        world.plex.faults.clear()
        world.enable("TV Shows", enabled=False)
        assert world.document("--retry-failed")["collections_processed"] == 0
        assert world.counts()["TV Shows"] == 0

    def test_strict_ingests_no_more(self, world: World) -> None:
        world.lose("Movies")
        world.document("--strict", status=2)
        assert world.counts()["Movies"] == 0


_ASSETS = (
    "SELECT to_jsonb(t) - 'uuid' - 'collection_uuid' - 'asset_uuid' - 'created_at' - 'updated_at' FROM {} t ORDER BY 1"
)


def contents(catalogue: Catalogue) -> dict[str, list[Any]]:
    """What was ingested, without ids and times."""
    return {table: catalogue.column(_ASSETS.format(table)) for table in ASSETS}


@pytest.mark.rule("D-6")
class TestD6:
    """D-6: source ingest runs the pipeline of collection ingest, in full scope."""

    def test_both_come_to_the_same(self, world: World, clone: Callable[[Catalogue], Catalogue]) -> None:
        copy = clone(world.catalogue)
        bulk = world.document("--concurrency", "1")
        asked = [(request.path, request.params) for request in world.asked() if request.path.endswith("/all")]
        world.plex.reset_counters()
        by_hand = [
            world.cli("collection", "ingest", name, "--json", env={"RETROVUE_DATABASE_URL": copy.url}).document
            for name in ("Movies", "TV Shows")
        ]
        assert contents(world.catalogue) == contents(copy)
        assert len(contents(copy)["asset"]) == 11
        assert [(request.path, request.params) for request in world.asked() if request.path.endswith("/all")] == asked
        results = [result for result in comparable(bulk)["collection_results"] if result["targeted"]]
        assert [comparable(document)["collection_results"][0] for document in by_hand] == results
        said = "SELECT name, status, scope::text, source_items, discovered, created, skipped, duplicates, rejected, {}"
        said = said.format("warnings FROM ingest_outcome JOIN ingest_start USING (run_id, collection_id)")
        said += " JOIN collection ON collection.id = collection_id ORDER BY name"
        assert world.catalogue.rows(said) == copy.rows(said)

    def test_one_after_the_other_finds_nothing_new(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        for name in ("Movies", "TV Shows"):
            assert world.collection(name).status == 0
        assert world.catalogue.bytes(*ASSETS) == before
        assert world.document()["total_created_assets"] == 0
        assert world.catalogue.bytes(*ASSETS) == before

    def test_both_fail_alike(self, world: World) -> None:
        world.break_listing(SHOWS)
        bulk = named(world.document(status=2))["TV Shows"]
        done = world.collection("TV Shows", "--json")
        assert done.status == 1
        assert comparable(done.document["collection_results"][0]) == comparable(bulk)

    def test_a_full_scope_only(self, world: World) -> None:
        world.document()
        assert sorted(map(str, world.narrowing())) == ["{'type': '1'}", "{'type': '2'}", "{'type': '4'}"]
        assert world.catalogue.column("SELECT scope::text FROM ingest_start") == ["{}", "{}"]


@pytest.mark.rule("D-7")
class TestD7:
    """D-7: each collection has its own trail, in which bulk and manual ingests can be told apart."""

    def test_one_row_a_collection(self, world: World) -> None:
        document = world.document()
        rows = world.catalogue.rows("SELECT name, run_id::text, trigger FROM ingest_start JOIN collection"
                                    " ON collection.id = collection_id ORDER BY name")  # fmt: skip
        assert rows == [(name, document["run_id"], "source") for name in ("Movies", "TV Shows")]
        assert world.catalogue.value("SELECT count(*) FROM ingest_outcome") == 2

    def test_bulk_full_and_surgical_are_told_apart(self, world: World) -> None:
        world.document()
        assert world.collection("TV Shows").status == 0
        assert world.collection("TV Shows", "--title", "Firefly", "--season", "1", "--episode", "2").status == 0
        said = [(row["trigger"], row["scope"]) for row in trail(world) if row["name"] == "TV Shows"]
        assert said == [
            ("source", {}),
            ("collection", {}),
            ("collection", {"title": "Firefly", "season": 1, "episode": 2}),
        ]

    def test_failures_are_told_apart_as_well(self, world: World) -> None:
        world.break_listing(SHOWS)
        world.document(status=2)
        assert world.collection("TV Shows").status == 1
        assert [row["trigger"] for row in trail(world) if row["status"] == "failed"] == ["source", "collection"]

    def test_runs_have_ids_of_their_own(self, world: World) -> None:
        ids = [world.document()["run_id"] for _ in range(2)]
        assert sorted(map(str, set(world.catalogue.column("SELECT run_id FROM ingest_start")))) == sorted(ids)
        assert ids[0] != ids[1]

    def test_rows_are_added_and_never_changed(self, world: World) -> None:
        world.break_listing(SHOWS)
        world.document(status=2)
        before = world.catalogue.bytes(*AUDIT)
        world.plex.faults.clear()
        world.document("--retry-failed")
        after = world.catalogue.bytes(*AUDIT)
        assert all(set(before[table]) <= set(after[table]) for table in AUDIT)


def keys(world: World) -> dict[str, str]:
    """The items that have an asset of their own, and their place."""
    return {
        uri.rpartition("/")[2]: place
        for uri, place in world.catalogue.rows("SELECT source_uri, canonical_uri FROM asset WHERE type = 'movie'")
    }


def aliases(world: World) -> list[tuple[str, str]]:
    return world.catalogue.rows(
        "SELECT asset_alias.title, asset.title FROM asset_alias JOIN asset ON asset.uuid = asset_uuid ORDER BY 1"
    )


@pytest.mark.rule("D-8")
class TestD8:
    """D-8: no collection ever has two assets of the same item or of the same file."""

    def test_an_item_of_the_same_file_is_a_duplicate_candidate(self, world: World) -> None:
        result = named(world.document())["Movies"]
        assert (result["created"], result["duplicates"]) == (3, 1)
        [candidate] = result["duplicate_candidates"]
        assert (candidate["title"], candidate["duplicate_of"]) == ("Alien Again", "Alien")
        assert candidate["source_uri"].endswith("/library/metadata/104?media=104")
        assert aliases(world) == [("Alien Again", "Alien")]

    def test_a_second_ingest_changes_no_byte(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS, "source", "collection", "path_mapping")
        for _ in range(2):
            document = world.document()
            assert (document["total_created_assets"], document["total_skipped_assets"]) == (0, 11)
            assert document["total_duplicates"] == 1
        assert world.catalogue.bytes(*ASSETS, "source", "collection", "path_mapping") == before

    def test_the_same_file_under_a_new_key_leaves_the_stored_row(self, world: World) -> None:
        world.document()
        movies = world.section("Movies")
        movies.remove(102)
        movies.add(movie(202, "Brazil", file="/data/movies/Brazil.mkv"))
        before = world.catalogue.bytes("asset")
        result = named(world.document())["Movies"]
        assert (result["created"], result["duplicates"]) == (0, 2)
        assert world.catalogue.bytes("asset") == before

    def test_two_new_items_of_one_new_file(self, world: World) -> None:
        world.document()
        world.section("Movies").add(
            movie(301, "Sideways", file="/data/movies/Sideways.mkv"),
            movie(302, "Sideways Again", file="/data/movies/Sideways.mkv"),
        )
        result = named(world.document())["Movies"]
        assert (result["created"], result["duplicates"]) == (1, 2)
        assert aliases(world) == [("Alien Again", "Alien"), ("Sideways Again", "Sideways")]

    def test_versions(self, world: World) -> None:
        world.document()
        versions = [
            media(102, part(1, "/data/movies/Brazil.mkv")),
            media(902, part(2, "/data/movies/Brazil-4k.mkv")),
            media(903, part(3, "/data/movies/Brazil.mkv")),
        ]
        world.section("Movies").change(102, Media=versions)
        result = named(world.document())["Movies"]
        assert (result["created"], result["skipped"], result["duplicates"]) == (1, 3, 2)
        assert {item for item in keys(world) if item.startswith("102")} == {"102?media=102", "102?media=902"}
        assert result["source_items"] == 5
        assert result["discovered"] == 7

    def test_the_parts_of_a_version_are_one_asset(self, world: World) -> None:
        halves = [part(1, "/data/movies/a"), part(2, "/data/movies/b")]
        world.section("Movies").add(
            movie(110, "Parts", Media=[media(9, *halves)]), movie(111, "Turned", Media=[media(10, *reversed(halves))])
        )
        result = named(world.document())["Movies"]
        assert result["created"] == 5
        assert world.catalogue.value("SELECT count(*) FROM asset_part") == 4

    def test_optimized_versions_are_rejected(self, world: World) -> None:
        versions = [
            media(102, part(1, "/data/movies/Brazil.mkv")),
            media(902, part(2, "/data/movies/Plex Versions/Brazil.mp4"), proxyType=42),
        ]
        world.section("Movies").change(102, Media=versions)
        result = named(world.document())["Movies"]
        assert (result["created"], result["rejected"]) == (3, 2)
        assert "optimized_version" in {item["code"] for item in result["rejected_items"]}

    def test_a_file_that_moved_is_followed(self, world: World) -> None:
        world.document()
        world.section("Movies").change_file(102, "/data/movies/Brazil (1985).mkv")
        result = named(world.document())["Movies"]
        assert (result["created"], result["skipped"], result["relocated"]) == (0, 3, 1)
        assert result["relocated_items"][0]["title"] == "Brazil"
        assert keys(world)["102?media=102"] == str(world.local("Movies") / "Brazil (1985).mkv")

    def test_a_move_onto_another_s_file_is_a_duplicate(self, world: World) -> None:
        world.document()
        world.section("Movies").change_file(102, "/data/movies/Casablanca.mkv")
        before = world.catalogue.bytes("asset")
        result = named(world.document())["Movies"]
        assert (result["duplicates"], result["relocated"]) == (2, 0)
        assert world.catalogue.bytes("asset") == before

    def test_a_mapping_that_changed_is_followed(self, world: World) -> None:
        world.document()
        elsewhere = world.media / "elsewhere"
        elsewhere.mkdir()
        world.catalogue.rows(
            "UPDATE path_mapping SET local_path = $1 WHERE source_prefix = '/data/movies'", str(elsewhere)
        )
        result = named(world.document())["Movies"]
        assert (result["created"], result["relocated"], result["duplicates"]) == (0, 3, 1)
        assert set(keys(world).values()) == {
            str(elsewhere / f"{title}.mkv") for title in ("Alien", "Brazil", "Casablanca")
        }

    def test_what_was_deleted_is_not_made_again(self, world: World) -> None:
        world.document()
        world.catalogue.rows("UPDATE asset SET deleted_at = now() WHERE title = 'Brazil'")
        before = world.catalogue.bytes("asset")
        result = named(world.document())["Movies"]
        assert (result["created"], result["skipped"], result["soft_deleted"]) == (0, 3, 1)
        assert world.catalogue.bytes("asset") == before

    def test_collections_do_not_know_of_each_other(self, world: World) -> None:
        world.enable("Home Videos")
        world.section("Home Videos").add(movie(401, "Alien", file="/data/videos/Alien.mkv"))
        assert named(world.document())["Home Videos"]["created"] == 3

    def test_what_moves_to_another_library_is_made_there_and_stays_here(self, world: World) -> None:
        world.enable("Home Videos")
        world.document()
        world.section("Movies").remove(102)
        world.section("Home Videos").add(movie(102, "Brazil", file="/data/videos/Brazil.mkv"))
        assert named(world.document())["Home Videos"]["created"] == 1
        assert world.catalogue.value("SELECT count(*) FROM asset WHERE title = 'Brazil'") == 2

    def test_the_database_refuses_it_as_well(self, world: World) -> None:
        world.document()
        columns = "collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri, canonical_key"
        for changed in ("source_hash", "canonical_hash"):
            values = (
                columns.replace(changed, f"sha256({changed})::bytea")
                .replace("sha256(", "substring(sha256(")
                .replace(")::bytea", ") FROM 1 FOR 16)")
            )
            with pytest.raises(asyncpg.UniqueViolationError):
                world.catalogue.rows(f"INSERT INTO asset ({columns}) SELECT {values} FROM asset")


@pytest.mark.rule("D-9")
class TestD9:
    """D-9: every new asset is new or enriching, never ready, and never approved for broadcast."""

    def test_all_are_new_and_none_is_approved(self, world: World) -> None:
        world.document()
        found = world.catalogue.rows("SELECT state, approved_for_broadcast, count(*) FROM asset GROUP BY 1, 2")
        assert found == [("new", False, 11)]

    def test_by_hand_as_well(self, world: World) -> None:
        assert world.collection("Home Videos", "--title", "Clip 301").status == 0
        assert world.catalogue.rows("SELECT state, approved_for_broadcast FROM asset") == [("new", False)]

    @pytest.mark.parametrize(("type_name", "state"), [("probe", "enriching"), ("nfo", "new")])
    def test_enriching_exactly_while_an_enrichment_is_owed(self, world: World, type_name: str, state: str) -> None:
        # There is no file to look into, which the one takes for a failure and the other for nothing to say.
        assert world.cli("enricher", "add", "--type", type_name, "--name", "E").status == 0
        assert world.cli("collection", "attach-enricher", "Movies", "E").status == 0
        failed = world.document()["total_failed_enrichments"]
        found = world.catalogue.rows(
            "SELECT state, approved_for_broadcast, count(*) FROM asset JOIN collection ON id = collection_uuid"
            " WHERE name = 'Movies' GROUP BY 1, 2"
        )
        ((_, _, films),) = found
        assert found == [(state, False, films)]
        assert failed == (films if state == "enriching" else 0)

    @pytest.mark.parametrize("state", ["ready", "retired"])
    def test_the_database_refuses_to_begin_otherwise(self, world: World, state: str) -> None:
        world.document()
        columns = "collection_uuid, type, title, source_uri, canonical_uri, canonical_key"
        hashes = "substring(sha256(source_hash) FROM 1 FOR 16), substring(sha256(canonical_hash) FROM 1 FOR 16)"
        with pytest.raises(asyncpg.CheckViolationError, match="begins its life"):
            world.catalogue.rows(
                f"INSERT INTO asset ({columns}, source_hash, canonical_hash, state, approved_for_broadcast)"
                f" SELECT {columns}, {hashes}, $1, $1 = 'ready' FROM asset LIMIT 1",
                state,
            )

    def test_ready_if_and_only_if_approved(self, world: World) -> None:
        world.document()
        for change in ("state = 'ready'", "approved_for_broadcast = true"):
            with pytest.raises(asyncpg.CheckViolationError, match="asset_ready_iff_approved"):
                world.catalogue.rows(f"UPDATE asset SET {change}")

    def test_what_a_person_approved_stays_approved(self, world: World) -> None:
        world.document()
        world.catalogue.rows("UPDATE asset SET state = 'ready', approved_for_broadcast = true WHERE title = 'Alien'")
        world.catalogue.rows("UPDATE asset SET state = 'retired' WHERE title = 'Brazil'")
        before = world.catalogue.bytes("asset")
        world.document()
        assert world.catalogue.bytes("asset") == before


@pytest.mark.rule("D-10")
class TestD10:
    """D-10: the importer's compliance is verified before anything is ingested."""

    @pytest.mark.parametrize("name", ["Incomplete", "NotAsync", "Abstract"])
    def test_no_row_changes(self, world: World, third_party: Callable[[str], None], name: str) -> None:
        third_party(name)
        before = world.catalogue.bytes()
        world.both("source", "ingest", NAME, status=1, code="importer_not_compliant")
        assert world.catalogue.bytes() == before
        assert importers.RAN == []

    def test_by_hand_as_well(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Incomplete")
        before = world.catalogue.bytes()
        for more in ((), ("--title", "Alien")):
            world.both("collection", "ingest", "Movies", *more, status=1, code="importer_not_compliant")
        assert world.catalogue.bytes() == before
        assert importers.RAN == []

    def test_a_compliant_one_is_asked_only_after_it(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Subclass")
        world.document("--concurrency", "1")
        assert importers.RAN[0] == "reachable"
        assert importers.RAN[-2:] == ["enumerate TV Shows None None None", "reachable"]


@pytest.mark.rule("D-11")
class TestD11:
    """D-11: the assets of a collection are what the importer enumerates, in full and complete, or none."""

    def test_the_importer_is_asked_for_the_full_collection(
        self, world: World, third_party: Callable[[str], None]
    ) -> None:
        third_party("Subclass")
        world.document()
        assert sorted(ask for ask in importers.RAN if ask.startswith("enumerate")) == [
            "enumerate Movies None None None",
            "enumerate TV Shows None None None",
        ]
        assert set(world.catalogue.column("SELECT title FROM asset")) == {"One", "Two"}

    def test_plex_is_asked_for_all_of_each_kind(self, world: World) -> None:
        world.document()
        assert sorted(map(str, world.narrowing())) == ["{'type': '1'}", "{'type': '2'}", "{'type': '4'}"]

    @pytest.mark.parametrize("page_size", [1, 2, 3, 5, 1000])
    def test_every_item_whatever_the_paging(self, world: World, page_size: int) -> None:
        world.catalogue.rows(f"UPDATE source SET config = config || '{{\"page_size\": {page_size}}}'")
        document = world.document()
        assert (document["total_source_items"], document["total_created_assets"]) == (13, 11)

    @pytest.mark.fault(12)
    @pytest.mark.parametrize(
        "action",
        [faults.lie_about_total(1), faults.lie_about_total(-1), faults.short_page(), faults.duplicate_rows()],
        ids=["too many", "too few", "short", "twice"],
    )
    def test_what_is_not_proven_complete_is_not_ingested(self, world: World, action: faults.Action) -> None:
        world.fault(action, MOVIES)
        document = world.document(status=2)
        assert fates(document)["Movies"] == "incomplete_enumeration"
        assert world.counts()["Movies"] == 0

    def test_a_library_that_changes_meanwhile_is_read_again(self, world: World) -> None:
        world.catalogue.rows("UPDATE source SET config = config || '{\"page_size\": 3}'")
        requests: list[str] = []

        def change(request: Request) -> None:
            requests.append(request.path)
            if request.path == MOVIES and requests.count(MOVIES) == 2:
                world.section("Movies").remove(101)

        world.plex.on_request = change
        result = named(world.document())["Movies"]
        assert (result["source_items"], result["created"], result["duplicates"]) == (4, 3, 0)
        assert "Alien Again" in result["created_titles"]

    @pytest.mark.fault(21)
    def test_an_emptied_listing_of_a_known_collection_is_not_believed(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        world.fault(faults.empty(), MOVIES)
        assert fates(world.document(status=2))["Movies"] == "suspicious_empty"
        assert world.catalogue.bytes(*ASSETS) == before

    @pytest.mark.fault(7)
    def test_a_library_that_is_gone_fails_and_its_assets_stay(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        world.fault(faults.status(404), MOVIES)
        assert fates(world.document(status=2))["Movies"] == "gone_from_source"
        assert world.catalogue.bytes(*ASSETS) == before

    @pytest.mark.fault(21)
    def test_what_went_from_the_library_stays_in_the_catalogue(self, world: World) -> None:
        world.document()
        world.section("Movies").remove(103)
        assert world.document()["total_skipped_assets"] == 10
        assert world.counts()["Movies"] == 3


def ingestible(world: World) -> dict[str, tuple[Any, Any]]:
    return {
        name: (answer, reason)
        for name, answer, reason in world.catalogue.rows(
            "SELECT name, ingestible, not_ingestible_reason FROM collection"
        )
    }


@pytest.mark.rule("D-12")
class TestD12:
    """D-12: the importer's check, asked live before each ingest, decides and is stored."""

    def test_what_was_lost_since_discovery_is_skipped_and_stored(self, world: World) -> None:
        world.document()
        assert ingestible(world)["TV Shows"] == (True, None)
        world.lose("TV Shows")
        result = named(world.document())["TV Shows"]
        assert (result["status"], result["code"]) == ("skipped", "missing_directory")
        assert ingestible(world)["TV Shows"] == (False, f"missing_directory: {result['reason']}")
        assert ingestible(world)["Movies"] == (True, None)

    def test_what_came_back_is_ingested_and_stored(self, world: World) -> None:
        world.lose("TV Shows")
        world.document()
        world.local("TV Shows").mkdir()
        assert fates(world.document())["TV Shows"] == "ingested"
        assert ingestible(world)["TV Shows"] == (True, None)

    def test_a_library_that_is_gone_is_skipped(self, world: World) -> None:
        world.plex.sections.remove(world.section("TV Shows"))
        assert fates(world.document())["TV Shows"] == "gone_from_source"
        assert str(ingestible(world)["TV Shows"][1]).startswith("gone_from_source: ")

    def test_a_location_that_is_not_mapped_is_skipped(self, world: World) -> None:
        world.catalogue.rows("UPDATE path_mapping SET source_prefix = '/data/t' WHERE source_prefix = '/data/tv'")
        result = named(world.document())["TV Shows"]
        assert (result["status"], result["code"]) == ("skipped", "unmapped_location")

    def test_it_is_asked_again_right_before_each_collection(self, world: World) -> None:
        world.when(MOVIES, lambda: world.lose("TV Shows"))
        document = world.document("--concurrency", "1")
        assert fates(document)["TV Shows"] == "missing_directory"
        assert ingestible(world)["TV Shows"][0] is False
        assert not world.asked(SHOWS)
        # The start rows of a run are written together, so that it has an outcome of each.
        assert world.audit() == [("Movies", "ingested", None), ("TV Shows", "skipped", "missing_directory")]

    def test_a_check_that_errors_is_a_failure_and_stores_nothing(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes("collection")
        world.plex.reset_counters()
        # One list of libraries proves the token and answers the checks.
        world.fault(faults.no_container(), "/library/sections", attempt=range(1, 99))
        _, document = world.both("source", "ingest", NAME, status=1)
        assert {result["status"] for result in document["collection_results"]} == {"skipped", "failed"}
        assert world.catalogue.bytes("collection") == before

    def test_an_answer_like_the_stored_one_writes_nothing(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes("collection")
        world.document()
        assert world.catalogue.bytes("collection") == before

    def test_each_enabled_collection_is_asked_about(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Subclass")
        world.document("--concurrency", "1")
        before = importers.RAN[: importers.RAN.index("enumerate Movies None None None")]
        assert sorted(set(before)) == ["ingestible Movies", "ingestible TV Shows", "reachable"]


@pytest.mark.rule("D-13")
class TestD13:
    """D-13: what is not ingestible is no part of a bulk ingest, even if it is enabled."""

    def test_it_is_not_targeted_not_asked_and_not_written(self, world: World) -> None:
        world.lose("TV Shows")
        result = named(world.document())["TV Shows"]
        assert (result["targeted"], result["status"], result["discovered"]) == (False, "skipped", 0)
        assert world.catalogue.value("SELECT sync_enabled FROM collection WHERE name = 'TV Shows'") is True
        assert not world.asked(SHOWS)
        assert world.counts()["TV Shows"] == 0
        assert world.audit() == [("Movies", "ingested", None)]

    def test_it_is_not_counted_as_processed(self, world: World) -> None:
        world.lose("TV Shows")
        assert world.document()["collections_processed"] == 1
        assert world.ingest().out.splitlines()[-1].startswith("Source ingest complete: 1 collection processed")

    def test_its_assets_stay(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        world.lose("TV Shows")
        world.document()
        assert world.catalogue.bytes(*ASSETS) == before

    def test_nor_of_a_dry_run(self, world: World) -> None:
        world.lose("TV Shows")
        document = world.document("--dry-run")
        assert fates(document)["TV Shows"] == "missing_directory"
        assert not world.asked(SHOWS)


@pytest.mark.rule("D-14")
class TestD14:
    """D-14: with --test-db everything is kept apart from the production database's storage, tables and triggers."""

    @pytest.mark.usefixtures("test_catalogue")
    def test_no_production_trigger_runs(self, world: World) -> None:
        world.catalogue.rows(REFUSE)
        for table in (*ASSETS, *AUDIT, "collection", "source"):
            world.catalogue.rows(
                f"CREATE TRIGGER no BEFORE INSERT OR UPDATE OR DELETE ON {table} EXECUTE FUNCTION refuse()"
            )
        assert world.document("--test-db")["total_created_assets"] == 11
        world.document(status=1)  # there it does

    @pytest.mark.usefixtures("test_catalogue")
    def test_the_production_database_need_not_be_there(self, world: World) -> None:
        world.cli.environment["RETROVUE_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
        assert world.document("--test-db")["total_created_assets"] == 11
        assert world.cli.ok("collection", "ingest", "Movies", "--test-db")["total_skipped_assets"] == 3
        assert world.cli.ok("source", "discover", NAME, "--test-db")["added"] == []

    def test_every_command_that_writes_keeps_apart(self, world: World, test_catalogue: Catalogue) -> None:
        before = world.catalogue.bytes()
        world.plex.sections.append(world.plex.sections.pop())
        assert world.discover("--test-db").status == 0
        assert world.cli("collection", "update", "Home Videos", "--enable", "--test-db").status == 0
        assert world.collection("Home Videos", "--test-db").status == 0
        assert world.collection("TV Shows", "--title", "Firefly", "--test-db").status == 0
        assert world.catalogue.bytes() == before
        assert test_catalogue.value("SELECT count(*) FROM asset") == 4

    @pytest.mark.usefixtures("test_catalogue")
    def test_locks_keep_apart(self, world: World) -> None:
        with world.held("Movies"):
            assert world.document("--test-db")["status"] == "ok"

    def test_no_command_falls_back_to_production(self, world: World) -> None:
        before = world.catalogue.bytes()
        for command in (("source", "ingest", NAME), ("collection", "ingest", "Movies"), ("source", "discover", NAME)):
            world.both(*command, "--test-db", status=1, code="no_test_database")
        assert world.catalogue.bytes() == before
        assert not world.asked()

    @pytest.mark.fault(54)
    def test_a_database_marked_as_production_is_refused(
        self, world: World, clone: Callable[[Catalogue], Catalogue]
    ) -> None:
        copy = clone(world.catalogue)
        world.cli.environment["RETROVUE_TEST_DATABASE_URL"] = copy.url
        before = copy.bytes()
        for command in (("source", "ingest", NAME), ("collection", "ingest", "Movies"), ("source", "discover", NAME)):
            world.both(*command, "--test-db", status=1, code="wrong_database_role")
        assert copy.bytes() == before

    def test_a_database_that_is_not_marked_is_refused(self, world: World, test_catalogue: Catalogue) -> None:
        test_catalogue.rows("DELETE FROM catalogue_role")
        world.both("source", "ingest", NAME, "--test-db", status=1, code="wrong_database_role")


@pytest.mark.rule("D-15")
class TestD15:
    """D-15: source ingest makes no record of the source; all that it stores belongs to a collection."""

    @pytest.mark.parametrize("broken", [(), (SHOWS,), (MOVIES, SHOWS)], ids=["ok", "partial", "error"])
    def test_the_source_s_row_stays_as_it_is(self, world: World, broken: tuple[str, ...]) -> None:
        world.break_listing(*broken)
        kept = ("source", "path_mapping", "catalogue_role", "alembic_version")
        before = world.catalogue.bytes(*kept)
        world.ingest()
        assert world.catalogue.bytes(*kept) == before

    def test_every_row_that_is_made_belongs_to_a_collection(self, world: World) -> None:
        before = {table: len(rows) for table, rows in world.catalogue.bytes().items()}
        world.document()
        grown = {table for table, rows in world.catalogue.bytes().items() if len(rows) > before[table]}
        assert grown == {"asset", "asset_alias", "collection_reading", "known_page", *AUDIT}
        for table in grown:
            column = "collection_id" if table in AUDIT else "collection_uuid"
            owners = world.catalogue.column(f"SELECT DISTINCT name FROM {table} JOIN collection ON id = {column}")
            assert set(owners) <= {"Movies", "TV Shows"}
            assert world.catalogue.value(f"SELECT count(*) FROM {table} WHERE {column} IS NULL") == 0

    def test_nothing_eligible_leaves_no_record(self, world: World) -> None:
        for name in ("Movies", "TV Shows"):
            world.enable(name, enabled=False)
        before = world.catalogue.bytes()
        world.both("source", "ingest", NAME, status=1, code="no_enabled_collections")
        assert world.catalogue.bytes() == before

    def test_an_unreachable_source_leaves_rows_of_its_collections_only(self, world: World) -> None:
        world.fault(faults.disconnect())
        before = world.catalogue.bytes()
        world.document(status=3)
        changed = {table for table, rows in world.catalogue.bytes().items() if rows != before[table]}
        assert changed == {"ingest_start", "ingest_outcome"}
        assert world.catalogue.value("SELECT count(*) FROM ingest_start") == 2
