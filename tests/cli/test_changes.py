"""Changing a source, and the commands that destroy."""

import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.core.model import Source
from retrovue.simulator import ListSection, SimulatedPlex, movie
from tests.cli.conftest import PASSWORD, TOKEN, Cli, Plex, Serve, add, answer, held, stuck
from tests.conftest import Packages

AUTHORITY = Path(__file__).parents[1] / "data" / "tls" / "ca.crt"
OTHER = "0000000000000000000000000000000000000002"
"""The identifier of another server."""


def collections(cli: Cli) -> dict[str, dict[str, Any]]:
    return {collection["name"]: collection for collection in cli.ok("collection", "list")["collections"]}


@pytest.mark.usefixtures("added")
class TestUpdate:
    def test_name(self, run_cli: Cli, plex: Plex, added: Source) -> None:
        plex.server.requests.clear()
        document = run_cli.ok("source", "update", "My Plex", "--name", "Upstairs")
        assert list(document) == ["status", "dry_run", "source", "changed", "warnings"]
        assert (document["source"]["name"], document["changed"]) == ("Upstairs", ["name"])
        assert not plex.server.requests  # a name is none of the server's business
        done = run_cli("source", "update", added.external_id, "--name", "Upstairs")
        assert (done.status, done.err) == (0, "")
        assert done.out == f"Source: Upstairs ({added.external_id}, type plex)\nNothing has changed.\n"
        done = run_cli("source", "update", "Upstairs", "--name", added.external_id, "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_name")

    def test_an_optional_setting_is_forgotten(self, run_cli: Cli) -> None:
        rate = "max_requests_per_second"
        assert run_cli.ok("source", "update", "My Plex", "--max-requests-per-second", "9")["changed"] == [rate]
        update = ("source", "update", "My Plex", "--unset", "max-requests-per-second")
        assert run_cli.ok(*update, "--dry-run")["changed"] == [rate]
        document = run_cli.ok(*update)
        assert document["changed"] == [rate]
        assert rate not in document["source"]["config"]
        again = run_cli(*update, "--json")
        assert (again.status, again.document["errors"][0]["code"]) == (1, "unknown_setting")

    @pytest.mark.parametrize(
        ("options", "setting", "stored"),
        [
            (("--no-verify-tls",), "verify_tls", False),
            (("--gzip",), "gzip", True),
            (("--page-size", "20"), "page_size", "20"),
            (("--collection-deadline", "60"), "collection_deadline_s", "60"),
            (("--mount-timeout", "2.5"), "mount_timeout_s", "2.5"),
            (("--ca-file", os.path.relpath(AUTHORITY)), "ca_file", str(AUTHORITY)),
        ],
    )
    def test_each_setting_has_an_option(
        self, run_cli: Cli, options: tuple[str, ...], setting: str, stored: object
    ) -> None:
        document = run_cli.ok("source", "update", "My Plex", *options)
        assert (document["changed"], document["source"]["config"][setting]) == ([setting], stored)
        unset = options[0].replace("--no-", "--")
        assert run_cli.ok("source", "update", "My Plex", "--unset", unset)["changed"] == [setting]

    @pytest.mark.parametrize(("option", "value"), [("--page-size", "0"), ("--read-timeout", "soon")])
    def test_a_setting_that_does_not_fit(self, run_cli: Cli, option: str, value: str) -> None:
        done = run_cli("source", "update", "My Plex", option, value, "--json")
        (error,) = done.document["errors"]
        assert (done.status, error["code"]) == (1, "bad_config")
        assert f"can't be '{value}'" in error["message"]

    def test_a_certificate_file_that_is_not_there(self, run_cli: Cli) -> None:
        """Also where it isn't needed yet, as the address begins with http."""
        done = run_cli("source", "update", "My Plex", "--ca-file", "absent.pem", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_ca_file")

    @pytest.mark.parametrize(
        ("setting", "code"),
        [("base-url", "missing_setting"), ("token", "missing_setting"), ("machine_identifier", "unknown_setting")],
    )
    def test_a_required_setting_is_not(self, run_cli: Cli, setting: str, code: str) -> None:
        before = run_cli.ok("source", "show", "My Plex")["source"]
        done = run_cli("source", "update", "My Plex", "--unset", setting, "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, code)
        assert run_cli.ok("source", "show", "My Plex")["source"] == before

    def test_token_from_a_file(self, run_cli: Cli, plex: Plex, tmp_path: Path) -> None:
        plex.server._token = "canary-token-new"
        assert run_cli("source", "discover", "My Plex").status == 1
        file = tmp_path / "token"
        file.write_text("canary-token-new\n")
        update = ("source", "update", "My Plex", "--token-file", str(file))
        preview = run_cli.ok(*update, "--dry-run")
        assert (preview["dry_run"], preview["changed"]) == (True, ["token"])
        assert run_cli("source", "discover", "My Plex").status == 1
        done = run_cli(*update)
        assert (done.status, done.err) == (0, "")
        assert done.out.endswith("\nChanged: token\n")
        assert run_cli("source", "discover", "My Plex").status == 0

    def test_token_from_the_standard_input(self, run_cli: Cli, plex: Plex) -> None:
        plex.server._token = "canary-token-new"
        done = run_cli("source", "update", "My Plex", "--token-file", "-", "--json", stdin="canary-token-new\n")
        assert (done.status, done.document["changed"]) == (0, ["token"])
        assert "canary" not in done.out + done.err

    def test_token_that_is_refused_changes_nothing(self, run_cli: Cli) -> None:
        done = run_cli("source", "update", "My Plex", "--token", "canary-wrong", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "auth")
        assert "canary-wrong" not in done.out + done.err.replace("--token shows", "")
        assert run_cli("source", "discover", "My Plex").status == 0

    def test_the_environment_s_token_is_for_new_sources(self, run_cli: Cli) -> None:
        done = run_cli("source", "update", "My Plex", "--name", "Other", env={"RETROVUE_TOKEN": "wrong"})
        assert done.status == 0
        assert run_cli("source", "discover", "Other").status == 0

    def test_address(self, run_cli: Cli, plex: Plex) -> None:
        url = plex.url.replace("127.0.0.1", "localhost").replace("http://", f"http://me:{PASSWORD}@")
        done = run_cli("source", "update", "My Plex", "--base-url", url.replace(f"me:{PASSWORD}@", ""), "--json")
        assert (done.status, done.document["changed"]) == (0, ["base_url"])
        assert "localhost" in done.document["source"]["config"]["base_url"]
        done = run_cli("source", "update", "My Plex", "--base-url", url)
        assert PASSWORD not in done.out + done.err

    def test_address_where_nobody_answers(self, run_cli: Cli, plex: Plex) -> None:
        done = run_cli("source", "update", "My Plex", "--base-url", "http://127.0.0.1:9", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (3, "source_unreachable")
        assert run_cli.ok("source", "show", "My Plex")["source"]["config"]["base_url"] == plex.url

    def test_another_server_only_if_it_is_meant(self, run_cli: Cli, serve: Serve) -> None:
        with serve(SimulatedPlex(token=TOKEN, machine_identifier=OTHER)) as url:
            update = ("source", "update", "My Plex", "--base-url", url)
            done = run_cli(*update, "--json")
            assert done.status == 1
            [error] = done.document["errors"]
            assert error["code"] == "wrong_identity"
            assert "--accept-new-identity" in error["hint"]
            preview = run_cli(*update, "--accept-new-identity", "--dry-run")
            assert "Dry run: nothing was written. Would change: base_url, machine_identifier" in preview.out
            assert run_cli(*update).status == 1
            document = run_cli.ok(*update, "--accept-new-identity")
        assert document["changed"] == ["base_url", "machine_identifier"]
        assert document["source"]["config"]["machine_identifier"] == OTHER
        assert "source discover" in document["warnings"][0]

    def test_another_server_at_the_same_address(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.library.machine_identifier = OTHER
        assert run_cli("source", "discover", "My Plex").status == 1
        done = run_cli("source", "update", "My Plex", "--accept-new-identity")
        assert done.status == 0
        assert done.err.startswith("Warning: The source has another server now")
        assert run_cli("source", "discover", "My Plex").status == 0

    def test_while_it_is_ingested(self, run_cli: Cli, portal: BlockingPortal, database_url: str) -> None:
        movies = collections(run_cli)["Movies"]["id"]
        with held(portal, database_url, movies):
            done = run_cli("source", "update", "My Plex", "--name", "Other", "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "already_running")
            assert done.document["errors"][0]["context"]["holder"] == "retrovue-ingest-elsewhere"
        assert run_cli.ok("source", "list")["sources"][0]["name"] == "My Plex"

    def test_a_change_that_another_one_overtook_is_refused(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal
    ) -> None:
        with stuck(portal, plex, "/identity") as arrived:
            process = run_cli.start("source", "update", "My Plex", "--token", TOKEN, "--accept-new-identity", "--json")
            assert arrived.wait(60)
            run_cli.ok("source", "update", "My Plex", "--name", "Upstairs")
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, orjson.loads(out)["errors"][0]["code"]) == (1, "conflict")
        assert run_cli.ok("source", "list")["sources"][0]["name"] == "Upstairs"

    def test_no_such_source(self, run_cli: Cli) -> None:
        done = run_cli("source", "update", "Elsewhere", "--name", "X", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "source_not_found")

    def test_a_setting_of_another_type(self, run_cli: Cli, packages: Packages) -> None:
        packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
        done = run_cli("source", "update", "My Plex", "--script", "X", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "unknown_setting")


@pytest.fixture
def ingested(run_cli: Cli, ready: Source) -> Source:
    """A source with assets, one of them approved."""
    run_cli.ok("source", "ingest", "My Plex")
    [asset] = run_cli.ok("asset", "list", "--collection", "Movies", "--limit", "1")["assets"]
    run_cli.ok("asset", "approve", asset["uuid"])
    return ready


@pytest.mark.usefixtures("ingested")
class TestWipe:
    def test_shows_and_then_destroys(self, run_cli: Cli) -> None:
        before = collections(run_cli)
        assets = before["Movies"]["assets_count"]
        preview = run_cli.ok("collection", "wipe", "Movies", "--dry-run")
        doomed = {"collections": 0, "assets": assets, "approved_assets": 1}
        assert (preview["dry_run"], preview["destroyed"]) == (True, doomed)
        assert collections(run_cli) == before
        document = run_cli.ok("collection", "wipe", "Movies", "--source", "My Plex", "--yes")
        assert list(document) == ["status", "dry_run", "source", "collection", "destroyed"]
        assert document["destroyed"] == doomed
        after = collections(run_cli)
        assert after["Movies"]["assets_count"] == 0
        assert after["Movies"]["path_mappings"] == before["Movies"]["path_mappings"]
        assert after["TV Shows"] == before["TV Shows"]
        assert run_cli.ok("ingest", "log", "--collection", "Movies")["total"] == 1
        assert run_cli.ok("source", "ingest", "My Plex")["total_created_assets"] == assets

    def test_without_a_terminal_needs_yes(self, run_cli: Cli) -> None:
        before = collections(run_cli)
        done = run_cli("collection", "wipe", "Movies", stdin="y\n")
        assert (done.status, done.out) == (1, "")
        assert ", which itself stays,\nof source My Plex (plex-" in done.err
        assert f"  assets: {before['Movies']['assets_count']}, of which 1 approved for broadcast" in done.err
        assert "--yes" in done.err
        done = run_cli("collection", "wipe", "Movies", "--json")
        [error] = done.document["errors"]
        assert (done.status, error["code"]) == (1, "confirmation_needed")
        assert error["context"]["approved_assets"] == 1
        assert collections(run_cli) == before

    def test_asks_on_a_terminal(self, run_cli: Cli) -> None:
        before = collections(run_cli)
        done = answer(run_cli, "\n", "collection", "wipe", "Movies", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "not_confirmed")
        assert "approved for broadcast" in done.err
        assert collections(run_cli) == before
        done = answer(run_cli, "y\n", "collection", "wipe", "Movies")
        assert (done.status, done.out.splitlines()[0]) == (0, "Destroyed:")
        assert collections(run_cli)["Movies"]["assets_count"] == 0

    def test_can_be_interrupted_while_it_asks(self, run_cli: Cli) -> None:
        before = collections(run_cli)
        done = answer(run_cli, signal.SIGINT, "collection", "wipe", "Movies")
        assert (done.status, done.out) == (130, "")
        assert done.err.endswith("[y/N] \nError: Interrupted by SIGINT.\n")
        assert collections(run_cli) == before

    def test_while_it_is_ingested(self, run_cli: Cli, portal: BlockingPortal, database_url: str) -> None:
        before = collections(run_cli)
        with held(portal, database_url, before["Movies"]["id"]):
            done = run_cli("collection", "wipe", "Movies", "--yes", "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "already_running")
            assert run_cli("collection", "wipe", "TV Shows", "--yes").status == 0
        assert collections(run_cli)["Movies"] == before["Movies"]

    def test_no_such_collection(self, run_cli: Cli) -> None:
        done = run_cli("collection", "wipe", "Nothing", "--yes", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "collection_not_found")


@pytest.mark.usefixtures("ingested")
class TestDelete:
    def test_shows_and_then_destroys(self, run_cli: Cli, plex: Plex) -> None:
        add(run_cli, plex.url, "Other", "--again")
        total = run_cli.ok("asset", "list", "--limit", "0")["total"]
        preview = run_cli.ok("source", "delete", "My Plex", "--dry-run")
        assert preview["destroyed"] == {"collections": 3, "assets": total, "approved_assets": 1}
        assert run_cli.ok("source", "list")["total"] == 2
        done = run_cli("source", "delete", "My Plex", "--yes")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines()[-1] == f"  assets:       {total}, of which 1 approved for broadcast"
        [left] = run_cli.ok("source", "list")["sources"]
        assert (left["name"], left["collections_count"]) == ("Other", 3)
        assert run_cli.ok("collection", "list")["total"] == 3
        assert run_cli.ok("asset", "list")["total"] == 0
        assert run_cli.ok("ingest", "log")["total"] == 0

    def test_without_a_terminal_needs_yes(self, run_cli: Cli) -> None:
        done = run_cli("source", "delete", "My Plex", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "confirmation_needed")
        assert run_cli.ok("source", "list")["total"] == 1

    def test_asks_on_a_terminal(self, run_cli: Cli) -> None:
        done = answer(run_cli, "no, yes\n", "source", "delete", "My Plex")
        assert (done.status, done.out) == (1, "")
        assert done.err.endswith(
            "Error: Not confirmed; nothing was changed.\n  Run the command again and answer y, or give --yes.\n"
        )
        assert run_cli.ok("source", "list")["total"] == 1

    def test_while_one_collection_is_ingested(self, run_cli: Cli, portal: BlockingPortal, database_url: str) -> None:
        before = collections(run_cli)
        with held(portal, database_url, before["TV Shows"]["id"]):
            done = run_cli("source", "delete", "My Plex", "--yes", "--json")
            assert (done.status, done.document["errors"][0]["code"]) == (1, "already_running")
        assert collections(run_cli) == before


@pytest.mark.fault(70)
def test_names_of_an_attacker_reach_no_terminal(run_cli: Cli, serve: Serve) -> None:
    evil = "Movies\x1b]0;owned\x07\u202e"
    with serve(SimulatedPlex([ListSection("1", evil, "movie", [movie(1)])], token=TOKEN)) as url:
        add(run_cli, url, "Evil")
        done = run_cli("collection", "wipe", "1", "--dry-run")
    assert "\\x1b]0;owned\\x07\\u202e" in done.out
    assert not {"\x1b", "\x07", "\u202e"} & set(done.out)
