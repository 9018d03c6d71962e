"""Removing the details of old runs from the audit trail, and old changes from the feed."""

import pytest

from retrovue.core.config import KEEP_CHANGES, KEEP_DETAILS
from tests.support.world import World


def old(world: World) -> None:
    """Let the runs so far have ended a year ago."""
    world.catalogue.rows("UPDATE ingest_outcome SET ended_at = ended_at - interval '1 year'")


def test_it_asks_and_says_what_goes_and_the_outcomes_stay(world: World) -> None:
    run = world.document()["run_id"]
    world.section("Movies").remove(105)
    old(world)
    world.document("--keep-details", "400")
    done = world.cli("ingest", "prune", "--older-than", "90d")
    assert done.status == 1
    assert "Error: This destroys what can't be brought back, and there is no terminal to ask on." in done.err
    preview = world.cli.ok("ingest", "prune", "--older-than", "90d", "--dry-run")
    assert (preview["dry_run"], preview["outcomes"], preview["rejections"]) == (True, 2, 0)
    done = world.cli("ingest", "prune", "--older-than", "90d", "--yes")
    assert done.status == 0
    assert done.out.startswith("Removed:\nOf runs that ended before ")
    assert "  the details of 2 ingests and 0 enrichments\n" in done.out
    shown = world.cli.ok("ingest", "show", run)["collections"]
    assert [(one["status"], one["durations"]) for one in shown] == [("ingested", {})] * 2
    assert world.cli.ok("ingest", "prune", "--older-than", "90d", "--yes")["outcomes"] == 0


def test_an_ingest_removes_what_is_older_than_it_keeps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.document()["run_id"]
    old(world)
    monkeypatch.setitem(world.cli.environment, KEEP_DETAILS, "400")
    world.document()
    assert world.cli.ok("ingest", "show", run)["collections"][0]["durations"]
    assert world.collection("Movies", "--keep-details", "300").status == 0
    assert not world.cli.ok("ingest", "show", run)["collections"][0]["durations"]


def test_old_changes_are_removed_and_readers_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ingest()
    for found in world.cli.ok("asset", "list")["assets"][:2]:
        world.cli.ok("asset", "approve", found["uuid"])
    [first, last] = [change["cursor"] for change in world.cli.ok("asset", "changes")["changes"]]
    world.catalogue.rows("UPDATE asset_change SET at = at - interval '1 year' WHERE position = $1", first)
    prune = ("asset", "prune-changes", "--older-than", "90d")
    done = world.cli(*prune)
    assert done.status == 1
    assert "  1 changes of assets that were made before " in done.err
    assert world.cli.ok(*prune, "--dry-run")["changes"] == 1
    assert world.cli("asset", "changes", "--after", "0").status == 0
    monkeypatch.setitem(world.cli.environment, KEEP_CHANGES, "400")
    world.document()
    assert len(world.cli.ok("asset", "changes")["changes"]) == 2
    assert world.collection("Movies", "--keep-changes", "300").status == 0
    assert [change["cursor"] for change in world.cli.ok("asset", "changes")["changes"]] == [last]
    world.both("asset", "changes", "--after", "0", status=1, code="cursor_expired")
    assert world.cli.ok(*prune, "--yes")["changes"] == 0
    world.catalogue.rows("UPDATE asset_change SET at = at - interval '1 year'")
    assert world.cli.ok(*prune, "--yes")["changes"] == 1


@pytest.mark.parametrize("span", ["soon", "-1d", "40000d"])
def test_a_span_that_can_not_be(world: World, span: str) -> None:
    assert world.cli("ingest", "prune", "--older-than", span, "--yes", "--json").status == 1
    assert world.cli("asset", "prune-changes", "--older-than", span, "--yes", "--json").status == 1
