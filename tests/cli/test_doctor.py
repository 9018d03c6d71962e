"""The doctor: what it finds, and its exit status."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.text import width
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from retrovue.store.addresses import database_url as parsed
from retrovue.store.session import Store
from tests.cli.conftest import PASSWORD, TOKEN, Cli, Plex, Serve, add
from tests.conftest import Databases
from tests.support.library import execute


def findings(document: Any) -> list[tuple[str, str, str]]:
    return [(one["check"], one["subject"], one["verdict"]) for one in document["findings"]]


class TestDoctor:
    def test_of_a_new_catalogue(self, run_cli: Cli) -> None:
        document = run_cli.ok("doctor")
        assert list(document) == ["status", "findings", "problems", "warnings"]
        assert (document["problems"], document["warnings"]) == (0, 1)
        assert findings(document) == [
            ("database", "database", "ok"),
            ("schema", "schema", "ok"),
            ("source", "sources", "warning"),
        ]
        done = run_cli("doctor")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines()[0].split() == ["Verdict", "Check", "Finding"]
        assert max(map(len, done.out.splitlines())) <= 80
        assert f"{' ' * 21}Add one with `retrovue source add`.\n" in done.out
        assert done.out.endswith("\n\n0 problems, 1 warning\n")

    @pytest.mark.usefixtures("ready")
    def test_a_library_that_never_was_enabled_is_no_warning(self, run_cli: Cli) -> None:
        run_cli.ok("source", "ingest", "My Plex")
        for asset in run_cli.ok("asset", "list", "--limit", "1000")["assets"]:
            for file in run_cli.ok("asset", "show", asset["uuid"])["asset"]["files"] if asset["part_count"] > 1 else ():
                Path(file["local_path"]).parent.mkdir(parents=True, exist_ok=True)
                Path(file["local_path"]).touch()
            Path(asset["canonical_uri"]).parent.mkdir(parents=True, exist_ok=True)
            Path(asset["canonical_uri"]).touch()
        document = run_cli.ok("doctor")
        assert findings(document)[2:] == [
            ("source", "My Plex", "ok"),
            ("collection", "Home Videos of My Plex", "ok"),
            ("collection", "Movies of My Plex", "ok"),
            ("collection", "TV Shows of My Plex", "ok"),
            ("files", "Movies of My Plex", "ok"),
            ("files", "TV Shows of My Plex", "ok"),
        ]

    @pytest.mark.usefixtures("ready")
    def test_files_that_are_not_there_are_1(self, run_cli: Cli) -> None:
        run_cli.ok("collection", "ingest", "Movies")
        run_cli.ok("collection", "update", "Movies", "--check-files")
        done = run_cli("doctor")
        assert done.status == 1
        assert done.err.startswith("Error: 2 problems; the first: Movies of My Plex: ")
        assert "\nproblem  files       Movies of My Plex: " in done.out
        assert "Is a disk not mounted, or a path mapping wrong?" in done.out
        for line in done.out.splitlines():
            # What can't be broken is a path, or a command to copy.
            assert width(line) <= 80 or " " not in line.strip() or line.strip().startswith("`retrovue ")

    @pytest.mark.usefixtures("ready")
    def test_a_refused_token_is_1(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.status(401)))
        done = run_cli("doctor", "--json")
        assert (done.status, done.document["status"], done.document["problems"]) == (1, "error", 1)
        assert findings(done.document)[2] == ("source", "My Plex", "problem")
        assert done.document["findings"][2]["unreachable"] is False
        assert done.document["findings"][2]["hint"]
        assert TOKEN not in done.out + done.err

    def test_sources_that_can_not_be_reached_are_3_and_other_problems_1(
        self, run_cli: Cli, serve: Serve, portal: BlockingPortal, database_url: str
    ) -> None:
        with serve(SimulatedPlex([ListSection("1", "Movies", "movie", [movie(1)])], token=TOKEN)) as url:
            add(run_cli, url, "Gone")

        async def rename() -> None:
            # Earlier versions took such a name.
            async with Store(parsed(database_url)) as store:
                await execute(store, "UPDATE source SET name = 'Gone\u202e'")

        portal.call(rename)
        done = run_cli("doctor", "--json")
        assert (done.status, done.document["status"]) == (3, "error")
        assert Counter(one["verdict"] for one in done.document["findings"]) == {"ok": 2, "problem": 1}
        other = SimulatedPlex(token=TOKEN, machine_identifier="0" * 40)
        with serve(other) as url:
            add(run_cli, url, "Other")
            other._token = "another"
            done = run_cli("doctor")
        assert done.status == 1
        assert done.err.startswith("Error: 2 problems; the first: Gone\\u202e: ")
        assert "\u202e" not in done.out
        assert done.out.endswith("\n2 problems, 1 warning\n")

    def test_a_database_that_is_not_there(self, offline_cli: Cli) -> None:
        done = offline_cli("doctor", "--json")
        assert done.status == 1
        [finding] = done.document["findings"]
        assert (finding["check"], finding["verdict"]) == ("database", "problem")
        assert "RETROVUE_DATABASE_URL" in finding["hint"]
        assert PASSWORD not in done.out + done.err
        done = offline_cli("doctor", "--test-db")
        assert done.status == 1
        assert "RETROVUE_TEST_DATABASE_URL" in done.out

    def test_a_database_without_a_schema(self, run_cli: Cli, databases: Databases) -> None:
        url = databases.create(migrated=False)
        done = run_cli("doctor", "--json", "--database-url", url)
        databases.drop(url)
        assert done.status == 1
        database, schema = done.document["findings"]
        assert (database["check"], database["verdict"]) == ("database", "ok")
        assert (schema["check"], schema["hint"]) == ("schema", "Run `retrovue db upgrade` once.")

    def test_the_wrong_database(self, run_cli: Cli, test_database_url: str) -> None:
        done = run_cli("doctor", "--json", "--database-url", test_database_url)
        assert done.status == 1
        assert "marked as the test database" in done.document["findings"][-1]["message"]
        run_cli.environment["RETROVUE_TEST_DATABASE_URL"] = test_database_url
        assert run_cli.ok("doctor", "--test-db")["problems"] == 0
