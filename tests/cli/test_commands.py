"""The main job and its surroundings, against a real catalogue and a simulated Plex over HTTP."""

import gc
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.core.model import Source
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from retrovue.store.addresses import database_url as parsed
from retrovue.store.session import Store
from tests.cli.conftest import TOKEN, Cli, Plex, Serve, add
from tests.cli.test_documents import KEYS
from tests.support.library import execute

SHOWS = "/library/sections/2/all"


@pytest.mark.usefixtures("ready")
class TestSourceIngest:
    def test_creates_and_then_skips(self, run_cli: Cli, ready: Source) -> None:
        done = run_cli("source", "ingest", "My Plex", "--json")
        document = done.document
        assert (done.status, done.err) == (0, "")
        assert list(document) == KEYS
        assert document["status"] == "ok"
        assert document["source"] == {
            "id": str(ready.id),
            "external_id": ready.external_id,
            "name": "My Plex",
            "type": "plex",
        }
        assert document["collections_processed"] == 2
        assert [(result["name"], result["status"]) for result in document["collection_results"]] == [
            ("Home Videos", "skipped"),
            ("Movies", "ingested"),
            ("TV Shows", "ingested"),
        ]
        assert document["total_source_items"] == 60
        created = document["total_created_assets"]
        assert created > 50
        again = run_cli.ok("source", "ingest", ready.external_id)
        assert (again["total_created_assets"], again["total_skipped_assets"]) == (0, created)

    def test_tells_people(self, run_cli: Cli) -> None:
        done = run_cli("source", "ingest", "My Plex")
        lines = done.out.splitlines()
        assert (done.status, done.err) == (0, "")  # no progress where nobody watches
        assert lines[1] == "Enabled collections: 2 of 3"
        assert lines[-2:] == ["Success", "Source ingest complete: 2 collections processed (2 success, 0 failed)"]
        assert "  Home Videos: it is not enabled for ingest" in lines
        assert "\x1b" not in done.out

    def test_dry_run_writes_nothing(self, run_cli: Cli) -> None:
        document = run_cli.ok("source", "ingest", "My Plex", "--dry-run")
        assert document["dry_run"] is True
        assert document["total_created_assets"] > 50
        assert len(document["collection_results"][1]["created_titles"]) == 20
        assert run_cli.ok("asset", "list")["total"] == 0
        done = run_cli("source", "ingest", "My Plex", "--dry-run")
        assert "Dry run: nothing is written." in done.out
        assert done.out.splitlines()[-2] == "Success (dry run)"

    def test_one_failed_collection_is_partial_success(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.lie_about_total(1), path=SHOWS))
        done = run_cli("source", "ingest", "My Plex", "--json")
        assert (done.status, done.document["status"]) == (2, "partial")
        [error] = done.document["errors"]
        assert (error["code"], error["collection"]["name"]) == ("incomplete_enumeration", "TV Shows")
        assert done.err.startswith("Error: 1 of 2 collections failed")
        plex.server.faults.clear()
        retried = run_cli.ok("source", "ingest", "My Plex", "--retry-failed")
        assert retried["collections_processed"] == 1
        assert retried["total_created_assets"] > 0
        done = run_cli("source", "ingest", "My Plex", "--retry-failed")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines()[-2] == "Success: nothing to retry"

    def test_all_failed_is_an_error(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.lie_about_total(1), path="/library/sections/*/all"))
        done = run_cli("source", "ingest", "My Plex")
        assert done.status == 1
        assert done.out.splitlines()[-2:] == [
            "Error: all 2 collections failed",
            "Source ingest complete: 2 collections processed (0 success, 2 failed)",
        ]
        assert done.err.startswith("Error: ")

    def test_a_refused_token_is_1(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.status(401), path="/library/sections"))
        done = run_cli("source", "ingest", "My Plex", "--json")
        assert done.status == 1
        assert {error["code"] for error in done.document["errors"]} == {"auth"}

    def test_an_unreadable_collection_is_skipped_with_a_warning(self, run_cli: Cli, media: Path) -> None:
        run_cli.ok("collection", "update", "TV Shows", "--map", f"/data/tv={media / 'tv'}")
        done = run_cli("source", "ingest", "My Plex", "--json")
        assert done.status == 0
        assert "Warning: Collection 'TV Shows' of source 'My Plex' is enabled but was skipped" in done.err
        assert done.document["collection_results"][2]["code"] == "missing_directory"
        assert run_cli("source", "ingest", "My Plex", "--strict").status == 2

    def test_keeps_the_garbage_collector_away_from_the_imports_for_the_run_alone(
        self, run_cli: Cli, plex: Plex
    ) -> None:
        during: dict[bool, list[int]] = {True: [], False: []}
        plex.server.on_request = lambda request: during[request.path.endswith("/all")].append(gc.get_freeze_count())
        run_cli.ok("source", "ingest", "My Plex")
        assert min(during[True]) > 0
        # The pre-flight imports the last modules.
        assert during[False][0] == 0
        assert gc.get_freeze_count() == 0


class TestNothingToIngest:
    def test_no_such_source(self, run_cli: Cli) -> None:
        done = run_cli("source", "ingest", "My Plex", "--json")
        assert done.status == 1
        assert list(done.document) == KEYS
        assert done.document["source"] == {"id": None, "external_id": None, "name": "My Plex", "type": None}
        assert done.document["errors"][0]["code"] == "source_not_found"

    def test_none_enabled(self, run_cli: Cli, added: Source) -> None:
        done = run_cli("source", "ingest", "My Plex", "--json")
        assert (done.status, done.document["collections_processed"]) == (1, 0)
        assert done.document["source"]["id"] == str(added.id)
        assert done.document["errors"][0]["code"] == "no_enabled_collections"
        assert [result["status"] for result in done.document["collection_results"]] == ["skipped"] * 3
        done = run_cli("source", "ingest", "My Plex")
        assert done.status == 1
        assert "  Home Videos: it is not enabled for ingest" in done.out
        assert done.err.startswith("Error: Source 'My Plex' has no enabled collections.")

    @pytest.mark.fault(19)
    def test_a_source_that_is_gone_is_3(self, run_cli: Cli, serve: Serve, media: Path) -> None:
        section = ListSection("1", "Movies", "movie", [movie(1, "One")])
        section_path = section.locations[0].path
        with serve(SimulatedPlex([section], token=TOKEN)) as url:
            command = ("source", "add", "--type", "plex", "--name", "Gone", "--base-url", url, "--discover")
            assert run_cli(*command, env={"RETROVUE_TOKEN": TOKEN}).status == 0
            run_cli.ok(
                "collection", "update", "Movies", "--map", f"{section_path}={media}", "--no-check-files", "--enable"
            )
        done = run_cli("source", "ingest", "Gone", "--json")
        assert (done.status, done.document["status"]) == (3, "error")
        assert done.document["errors"][0]["code"] == "source_unreachable"
        assert run_cli("source", "discover", "Gone").status == 3
        assert run_cli("collection", "ingest", "Movies").status == 3


@pytest.mark.fault(70)
class TestNames:
    def test_of_an_attacker_reach_no_terminal(self, run_cli: Cli, serve: Serve, media: Path) -> None:
        evil = "Movies\x1b]0;owned\x07\u202e"
        section = ListSection("1", evil, "movie", [movie(1, evil, file="/data/movies/one.mkv")])
        with serve(SimulatedPlex([section], token=TOKEN)) as url:
            command = ("source", "add", "--type", "plex", "--name", "Evil", "--base-url", url, "--discover")
            printed = run_cli(*command, env={"RETROVUE_TOKEN": TOKEN}).out
            location = section.locations[0].path
            printed += run_cli(
                "collection", "update", "1", "--map", f"{location}={media}", "--no-check-files", "--enable"
            ).out
            printed += run_cli("source", "ingest", "Evil", "--dry-run").out
            printed += run_cli("source", "ingest", "Evil").out
            printed += run_cli("collection", "show", "1").out
            printed += run_cli("asset", "list").out
        assert "\\x1b]0;owned\\x07\\u202e" in printed
        assert not {"\x1b", "\x07", "\u202e"} & set(printed)


@pytest.mark.fault(69)
def test_sql_in_names_is_text(run_cli: Cli, serve: Serve, media: Path) -> None:
    evil = """Robert'); DROP TABLE asset; -- " $$ \\ %s :name {} ?"""
    rows = [movie(number, f"{evil} {number}", file=f"/data/{evil}/{number}.mkv", studio=evil) for number in (1, 2)]
    section = ListSection("1'; --", evil, "movie", rows, locations=["/data"])
    with serve(SimulatedPlex([section], token=TOKEN)) as url:
        add(run_cli, url, evil)
        run_cli.ok("collection", "update", evil, "--map", f"/data={media}", "--no-check-files", "--enable")
        assert run_cli.ok("source", "ingest", evil)["total_created_assets"] == 2
        assert run_cli.ok("collection", "ingest", evil, "--title", f"{evil} 1")["total_skipped_assets"] == 1
    assert {asset["title"] for asset in run_cli.ok("asset", "list")["assets"]} == {f"{evil} 1", f"{evil} 2"}


@pytest.mark.usefixtures("ready")
class TestCollectionIngest:
    def test_whole(self, run_cli: Cli) -> None:
        document = run_cli.ok("collection", "ingest", "Movies")
        assert list(document)[:4] == ["status", "source", "collection", "scope"]
        assert document["collection"]["name"] == "Movies"
        assert document["collections_processed"] == 1
        done = run_cli("collection", "ingest", "Movies", "--source", "My Plex")
        assert done.out.splitlines()[-1] == "Collection ingest complete: 1 collection processed (1 success, 0 failed)"

    def test_a_title(self, run_cli: Cli) -> None:
        preview = run_cli.ok("collection", "ingest", "Movies", "--dry-run")
        title = preview["collection_results"][0]["created_titles"][0]
        document = run_cli.ok("collection", "ingest", "Movies", "--title", title)
        assert document["scope"]["title"] == title
        assert 1 <= document["total_created_assets"] < 30

    def test_a_title_that_is_not_there_is_2(self, run_cli: Cli) -> None:
        done = run_cli("collection", "ingest", "Movies", "--title", "No Such Film", "--json")
        assert (done.status, done.document["status"]) == (2, "error")
        assert done.document["errors"][0]["code"] == "scope_not_found"

    def test_one_that_is_not_enabled(self, run_cli: Cli) -> None:
        done = run_cli("collection", "ingest", "Home Videos")
        assert done.status == 1
        assert "is not enabled" in done.err


class TestCollections:
    def test_list(self, run_cli: Cli, ready: Source) -> None:
        document = run_cli.ok("collection", "list", "--source", "My Plex")
        assert document["total"] == 3
        assert list(document["collections"][1]) == [
            "id",
            "external_id",
            "name",
            "kind",
            "source_id",
            "sync_enabled",
            "ingestible",
            "not_ingestible_reason",
            "locations",
            "path_mappings",
            "assets_count",
            "last_ingest_at",
            "check_files",
            "keep_approval",
            "source_name",
        ]
        assert document["collections"][1]["sync_enabled"] is True
        assert document["collections"][1]["source_id"] == str(ready.id)
        assert run_cli("collection", "list").out.splitlines()[0].split() == [
            *("Collection", "Kind", "Source", "Key", "Enabled", "Ingestible", "Assets")
        ]

    @pytest.mark.usefixtures("added")
    def test_update(self, run_cli: Cli, media: Path) -> None:
        done = run_cli("collection", "update", "Movies", "--no-check-files", "--enable", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "unmapped_location")
        mapping = f"/data/movies={media}"
        preview = run_cli.ok(
            "collection", "update", "Movies", "--map", mapping, "--no-check-files", "--enable", "--dry-run"
        )
        assert preview["dry_run"] is True
        assert run_cli.ok("collection", "show", "Movies")["collection"]["sync_enabled"] is False
        run_cli.ok("collection", "update", "Movies", "--map", mapping, "--no-check-files", "--enable")
        shown = run_cli.ok("collection", "show", "1")["collection"]
        assert shown["sync_enabled"] is True
        assert shown["path_mappings"] == [{"source_prefix": "/data/movies", "local_path": str(media)}]
        done = run_cli("collection", "update", "Movies", "--unmap", "/data/movies", "--disable")
        assert done.status == 0
        assert done.err.startswith("Warning: ")
        assert (
            done.out.splitlines()[0]
            == "Collection Movies of My Plex: enabled no, ingestible no, its files aren't looked for"
        )


class TestSources:
    def test_types(self, run_cli: Cli) -> None:
        [plex] = [one for one in run_cli.ok("source", "list-types")["types"] if one["type"] == "plex"]
        options = [setting["option"] for setting in plex["settings"]]
        assert options[:5] == ["--base-url", "--token-file", "--max-requests-per-second", "--ca-file", "--verify-tls"]
        assert {"--page-size", "--collection-deadline", "--mount-timeout"} < set(options)

    def test_list_and_show(self, run_cli: Cli, added: Source) -> None:
        [listed] = run_cli.ok("source", "list")["sources"]
        assert (listed["id"], listed["collections_count"]) == (str(added.id), 3)
        shown = run_cli.ok("source", "show", "My Plex")
        assert len(shown["collections"]) == 3
        nothing = {"since": None, "problem": None, "heard_at": None, "heard": None}
        assert shown["listening"] == {"offered": True, "active": False, "host": None, **nothing}
        intervals = {"grace_s": 86_400, "sweep_every_s": 86_400, "full_every_s": 604_800, "tells_changes": True}
        assert shown["sync"] == {**intervals, "collections": []}
        text = run_cli("source", "show", "My Plex").out
        assert added.external_id in text
        assert "Sync: an asset is gone when it has been missing for 24 h; all is read every 24 h" in text
        assert "Live events: no host listens; start `retrovue serve`\n" in text

    @pytest.mark.usefixtures("added")
    def test_a_name_that_fits_two(self, run_cli: Cli, plex: Plex, portal: BlockingPortal, database_url: str) -> None:
        add(run_cli, plex.url, "Other", "--again")

        async def rename() -> None:
            async with Store(parsed(database_url)) as store:
                await execute(store, "UPDATE source SET name = 'My Plex'")

        portal.call(rename)
        done = run_cli("source", "ingest", "My Plex", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "ambiguous_source")
        assert len(done.document["errors"][0]["context"]["candidates"]) == 2
        messages = [finding["message"] for finding in run_cli("doctor", "--json").document["findings"]]
        assert any("has the same name as plex-" in message for message in messages)

    def test_the_same_server_twice(self, run_cli: Cli, plex: Plex, added: Source) -> None:
        def refusal(*more: str, name: str = "Other") -> Any:
            command = ("source", "add", "--type", "plex", "--name", name, "--base-url", plex.url, "--json", *more)
            done = run_cli(*command, env={"RETROVUE_TOKEN": TOKEN})
            assert done.status == 1
            assert run_cli.ok("source", "list")["total"] == 1
            return done.document["errors"][0]

        for more in ((), ("--dry-run",), ("--discover",)):
            error = refusal(*more)
            assert (error["code"], error["context"]) == ("already_added", {"source": added.external_id})
            assert added.external_id in error["message"]
            assert "--again" in error["hint"]
        for more in ((), ("--dry-run",)):
            for name in ("My Plex", "my plex", "MY PLEX"):
                assert refusal("--again", *more, name=name)["code"] == "name_taken"
        for name in (" My Plex", "My Plex ", "My\u200bPlex", "My\u00a0Plex", "a\nb", "  "):
            assert refusal("--again", name=name)["code"] == "bad_name"
        other = add(run_cli, plex.url, "Other", "--again")
        messages = [finding["message"] for finding in run_cli("doctor", "--json").document["findings"]]
        assert sum("is the same server as" in message for message in messages) == 1
        done = run_cli("source", "update", other["external_id"], "--name", "My Plex", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "name_taken")
        assert run_cli("source", "update", "Other", "--name", "Other").status == 0

    def test_discover(self, run_cli: Cli, serve: Serve) -> None:
        server = SimulatedPlex(token=TOKEN)
        with serve(server) as url:
            command = ("source", "add", "--type", "plex", "--name", "Empty", "--base-url", url)
            assert run_cli(*command, env={"RETROVUE_TOKEN": TOKEN}).status == 0
            done = run_cli("source", "discover", "Empty")
            assert (done.status, done.out) == (0, "No collections found for source 'Empty'\n")
            server.sections.append(ListSection("1", "Movies", "movie", []))
            assert run_cli.ok("source", "discover", "Empty", "--dry-run")["added"] == ["Movies"]
            assert run_cli.ok("source", "discover", "Empty")["added"] == ["Movies"]
            assert run_cli.ok("source", "discover", "Empty")["added"] == []

    def test_add_dry_run(self, run_cli: Cli, plex: Plex) -> None:
        command = ("source", "add", "--type", "plex", "--name", "My Plex", "--base-url", plex.url, "--dry-run")
        assert run_cli(*command, env={"RETROVUE_TOKEN": TOKEN}).status == 0
        assert run_cli.ok("source", "list")["total"] == 0


class TestDatabase:
    def test_status_and_upgrade(self, run_cli: Cli) -> None:
        status = run_cli.ok("db", "status")
        assert (status["up_to_date"], status["role"]) == (True, "production")
        assert run_cli.ok("db", "upgrade")["changed"] is False
        assert "up to date" in run_cli("db", "upgrade", "--dry-run").out

    def test_the_search_index_comes_and_goes(self, run_cli: Cli) -> None:
        planned = run_cli.ok("db", "index", "--dry-run")
        assert (planned["search_index"], planned["changed"], planned["dry_run"]) == (True, False, True)
        assert run_cli.ok("db", "index")["changed"] is True
        assert "there already" in run_cli("db", "index").out
        assert "would be removed" in run_cli("db", "index", "--drop", "--dry-run").out
        assert run_cli.ok("db", "index", "--drop")["changed"] is True
        assert "not there" in run_cli("db", "index", "--drop").out

    def test_the_test_database_is_another(self, run_cli: Cli, plex: Plex, test_database_url: str) -> None:
        assert run_cli("source", "list", "--test-db").status == 1
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = test_database_url
        command = ("source", "add", "--type", "plex", "--name", "Test", "--base-url", plex.url, "--test-db")
        assert run_cli(*command, env={"RETROVUE_TOKEN": TOKEN}).status == 0
        assert run_cli.ok("source", "list", "--test-db")["total"] == 1
        assert run_cli.ok("source", "list")["total"] == 0
        assert run_cli.ok("db", "status", "--test-db")["role"] == "test"

    def test_by_option(self, run_cli: Cli, database_url: str) -> None:
        del run_cli.environment["RETROVUE_DATABASE_URL"]
        assert run_cli.ok("db", "status", "--database-url", database_url)["up_to_date"] is True
        assert run_cli("--database-url", database_url, "db", "status").status == 0
