"""The commands on enrichers, from adding one to what an ingest and the audit trail say of it."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.enrichers.base import Enrichment, Failure
from retrovue.store.addresses import database_url as parsed
from retrovue.store.migrations import wanted_revision
from retrovue.store.session import Store
from tests.cli.conftest import Cli
from tests.conftest import Packages
from tests.support.library import Library, draft, execute, page
from tests.support.scripted_enrichers import DEEDS, Deeds


@pytest.fixture
def deeds(packages: Packages) -> Deeds:
    packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
    packages.install(
        "more",
        "retrovue.enrichers",
        scripted="tests.support.scripted_enrichers:ScriptedEnricher",
        waiting="tests.support.scripted_enrichers:WaitingEnricher",
    )
    DEEDS["cli"] = Deeds()
    return DEEDS["cli"]


@pytest.fixture
def library(database_url: str, deeds: Deeds, portal: BlockingPortal) -> Library:
    async def make() -> Library:
        async with Store(parsed(database_url), connections=2) as store:
            return await Library.make(store, "Movies")

    library = portal.call(make)
    library.script.listings["Movies"] = [page(draft("a"), draft("b"))]
    return library


def added(run_cli: Cli, *arguments: str) -> Any:
    return run_cli.ok("enricher", "add", "--type", "scripted", "--name", "One", "--script", "cli", *arguments)


@pytest.mark.usefixtures("deeds")
class TestEnricher:
    def test_types(self, run_cli: Cli) -> None:
        types = {one["type"]: one for one in run_cli.ok("enricher", "list-types")["types"]}
        assert [field["name"] for field in types["scripted"]["parameters"]] == ["script", "overwrite"]
        assert "scripted" in run_cli("enricher", "list-types").out

    def test_add_show_update_remove(self, run_cli: Cli) -> None:
        assert added(run_cli, "--dry-run")["dry_run"] is True
        assert run_cli.ok("enricher", "list")["total"] == 0
        enricher = added(run_cli)["enricher"]
        assert enricher["external_id"].startswith("scripted-")
        assert run_cli.ok("enricher", "show", "One")["enricher"]["parameters"] == {"script": "cli"}
        other = run_cli.ok("enricher", "add", "--type", "scripted", "--name", "Other", "--script", "cli")["enricher"][
            "id"
        ]
        changed = run_cli.ok("enricher", "update", enricher["id"], "--name", "Two", "--overwrite", "true")
        assert changed["changed"] == ["name", "overwrite"]
        for again in (
            ("add", "--type", "scripted", "--name", "TWO", "--script", "cli"),
            ("update", other, "--name", "two"),
        ):
            refused = run_cli("enricher", *again, "--json").document["errors"][0]
            assert (refused["code"], refused["context"]) == ("name_taken", {"enricher": enricher["external_id"]})
        assert run_cli.ok("enricher", "update", "Two", "--unset", "overwrite")["changed"] == ["overwrite"]
        for parameter in ("nosuch", "overwrite"):
            unset = run_cli("enricher", "update", "Two", "--unset", parameter, "--json").document["errors"][0]
            assert unset["code"] == "unknown_setting"
            assert unset["message"] == f"Enricher 'Two' has no parameter {parameter} that could be removed."
        assert "Error: An enricher needs a name.\n" in run_cli("enricher", "update", "Two", "--name", "").err
        assert "Two" in run_cli("enricher", "list").out
        assert run_cli("enricher", "remove", "Two").status == 1
        assert run_cli.ok("enricher", "remove", "Two", "--yes")["enricher"]["name"] == "Two"
        assert run_cli("enricher", "show", "Two").status == 1

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("--type", "betamax", "--name", "x"), "unsupported_enricher"),
            (("--type", "scripted", "--name", "x"), "usage"),
            (("--type", "scripted", "--name", "x", "--script", "cli", "--overwrite", "perhaps"), "bad_config"),
            (("--type", "scripted", "--name", " ", "--script", "cli"), "bad_name"),
        ],
    )
    def test_refused(self, run_cli: Cli, arguments: tuple[str, ...], code: str) -> None:
        done = run_cli("enricher", "add", *arguments, "--json")
        assert done.status == 1
        assert done.document["errors"][0]["code"] == code


@pytest.mark.usefixtures("library")
class TestWithACollection:
    def test_from_attaching_to_the_audit_trail(self, run_cli: Cli, deeds: Deeds) -> None:
        enricher = added(run_cli)["enricher"]["external_id"]
        dry = run_cli.ok("collection", "attach-enricher", "Movies", "One", "--dry-run")
        assert dry["enrichers"][0]["external_id"] == enricher
        assert run_cli.ok("collection", "show", "Movies")["collection"]["enrichers"] == []
        attached = run_cli.ok("collection", "attach-enricher", "Movies", "One", "--priority", "7")
        assert (attached["changed"], attached["enrichers"][0]["priority"]) == (True, 7)
        assert enricher in run_cli("collection", "show", "Movies").out

        preview = run_cli.ok("source", "ingest", "A source", "--dry-run")["collection_results"][0]
        assert preview["enrichment"]["owed"] == 2
        deeds.by_title["B"] = Failure("no_file", "There is no file.")
        document = run_cli.ok("source", "ingest", "A source")
        (result,) = document["collection_results"]
        assert (document["status"], document["total_failed_enrichments"]) == ("ok", 1)
        assert result["failed_enrichment_items"] == [
            {"asset": "B", "enricher": enricher, "code": "no_file", "cause": "There is no file."}
        ]
        assert (result["enrichment"]["succeeded"], result["enrichment"]["owed"]) == (1, 1)
        log = run_cli.ok("ingest", "log")["entries"][0]
        assert log["failed_enrichments"] == 1
        rows = [line.split() for line in run_cli("ingest", "log").out.splitlines()]
        assert ["Movies", "ingested", "2", "0", "0", "0", "1"] in rows
        shown = run_cli.ok("ingest", "show", document["run_id"])["collections"][0]["enrichment"]
        assert (shown["status"], shown["failed"], shown["failures"][0]["asset"]) == ("done", 1, "B")
        assert "There is no file." in run_cli("ingest", "show", document["run_id"]).out

        owing = next(one for one in run_cli.ok("asset", "list")["assets"] if one["title"] == "B")
        details = run_cli.ok("asset", "show", owing["uuid"])["asset"]
        assert (details["state"], details["enrichments"][0]["code"]) == ("enriching", "no_file")
        assert "enrichments (1):" in run_cli("asset", "show", owing["uuid"]).out
        refused = run_cli("asset", "approve", owing["uuid"])
        assert refused.status == 1
        assert "collection enrich" in refused.err

        by_hand = run_cli("collection", "enrich", "Movies", "--retry-failed", "--json")
        assert by_hand.status == 2
        assert (by_hand.document["status"], by_hand.document["errors"][0]["code"]) == ("partial", "enrichments_failed")
        assert "1 of 1 enrichments of 'Movies' of source 'A source' failed." in by_hand.err

        human = run_cli("source", "ingest", "A source")
        assert human.status == 0
        assert "Movies: failed enrichments (1):" in human.out
        assert "Movies: enrichments that are still owed: 1" in human.out

        assert run_cli.ok("collection", "enrich", "Movies", "--dry-run")["owed"] == 1
        approved = run_cli.ok("asset", "approve", owing["uuid"], "--despite-enrichment", "--dry-run")
        assert approved["assets"][0]["state_before"] == "enriching"
        deeds.by_title["B"] = Enrichment(fields={"studio": "Late"})
        done = run_cli.ok("collection", "enrich", "Movies", "--retry-failed")
        assert (done["status"], done["succeeded"], done["failed"], done["owed"]) == ("ok", 1, 0, 0)
        provenance = run_cli.ok("asset", "show", owing["uuid"])["asset"]["provenance"]
        assert provenance == {"studio": enricher}
        assert "Enrichment complete: Movies of A source: 0 succeeded" in run_cli("collection", "enrich", "Movies").out
        detached = run_cli.ok("collection", "detach-enricher", "Movies", "One")
        assert (detached["changed"], detached["enrichers"]) == (True, [])
        assert run_cli("collection", "enrich", "Movies").status == 1

    def test_an_asset_that_nothing_can_enrich_is_approved_as_it_is(self, run_cli: Cli, deeds: Deeds) -> None:
        added(run_cli)
        run_cli.ok("collection", "attach-enricher", "Movies", "One")
        deeds.by_title["B"] = Failure("no_file", "There is no file.")
        run_cli.ok("source", "ingest", "A source")
        enriching = run_cli.ok("asset", "list", "--state", "enriching")["assets"][0]["uuid"]
        assert run_cli("asset", "approve", enriching).status == 1
        run_cli.ok("asset", "approve", enriching, "--despite-enrichment")
        run_cli.ok("source", "ingest", "A source")
        assert run_cli.ok("asset", "show", enriching)["asset"]["state"] == "ready"

    def test_a_signal_leaves_the_rest_owed(self, run_cli: Cli, tmp_path: Path) -> None:
        run_cli.ok("source", "ingest", "A source")
        asked = tmp_path / "asked"
        run_cli.ok("enricher", "add", "--type", "waiting", "--name", "W", "--file", str(asked))
        run_cli.ok("collection", "attach-enricher", "Movies", "W")
        child = Cli(run_cli.environment | {"PYTHONPATH": os.pathsep.join(sys.path)})
        process = child.start("collection", "enrich", "Movies", "--json")
        while not asked.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        document = orjson.loads(out)
        assert (document["status"], document["interrupted"], document["owed"]) == ("partial", True, 2)
        (error,) = document["errors"]
        assert error["code"] == "enrichment_interrupted"
        assert error["message"] == "The enrichment of 'Movies' of source 'A source' was interrupted: 2 are still owed."
        assert f"Error: {error['message']}" in err.decode()
        assert {asset["state"] for asset in run_cli.ok("asset", "list")["assets"]} == {"enriching"}

    def test_an_outdated_schema_is_refused_before_the_source_is_asked(
        self, run_cli: Cli, library: Library, database_url: str, portal: BlockingPortal
    ) -> None:
        async def set_revision(revision: str) -> None:
            async with Store(parsed(database_url), connections=1) as store:
                await execute(store, f"UPDATE alembic_version SET version_num = '{revision}'")

        library.script.asked.clear()
        portal.call(set_revision, "0001")
        try:
            done = run_cli("source", "ingest", "A source", "--json")
        finally:
            portal.call(set_revision, wanted_revision())
        assert done.status == 1
        assert done.document["errors"][0]["code"] == "schema_outdated"
        assert library.script.asked == []
