"""Assets that moved to another collection: SY-34 and SY-35 of docs/contract/sync.md."""

import copy
from typing import Any

import pytest

from retrovue.simulator import movie
from tests.contracts.test_sync_contract import approve, asset, changes, sync
from tests.support.world import World

VIDEOS = "Home Videos"


def move(world: World, key: int, title: str, **file: Any) -> None:
    """Move a film to another library, as Plex does: a new item with the same guid, and the same file elsewhere."""
    section = world.section("Movies")
    row = section.item(str(key))
    assert row is not None
    section.remove(key)
    media = copy.deepcopy(row["Media"])
    media[0]["Part"][0] |= {"file": f"/data/videos/{title}.mkv", **file}
    world.section(VIDEOS).add(movie(key + 300, title, guid=row["guid"], Media=media))


def moved(world: World) -> tuple[Any, Any]:
    """Let an approved film move; returns the asset before and the new one, after a sync."""
    world.enable(VIDEOS)
    world.ingest()
    approve(world, "Brazil")
    before = asset(world, "Brazil")
    move(world, 102, "Brazil")
    sync(world)
    [(new,)] = world.catalogue.rows("SELECT uuid FROM asset WHERE title = 'Brazil' AND availability = 'present'")
    return before, world.cli.ok("asset", "show", str(new))["asset"]


@pytest.mark.rule("SY-34")
class TestSY34:
    """SY-34: lost assets whose item is in another collection are named with both ends, what is ambiguous apart."""

    def test_the_report_and_the_list_name_both_ends(self, world: World) -> None:
        world.enable(VIDEOS)
        world.ingest()
        move(world, 102, "Brazil")
        done = world.cli("source", "sync", "My Plex")
        assert "Moved to another collection: 1" in done.out
        assert "Brazil: missing in Movies, new in Home Videos" in done.out
        assert f"retrovue asset relink --source {world.source.external_id}" in done.out
        before = world.catalogue.bytes()
        listed = world.cli.ok("asset", "relink")
        [found] = listed["moves"]
        assert (listed["total"], listed["relinked_assets"], found["rule"], found["same_file"]) == (1, 0, "guid", True)
        assert found["lost"]["source_uri"].endswith("/102?media=102")
        assert found["listed"]["collection"]["id"] == world.id(VIDEOS)
        human = world.cli("asset", "relink", "--collection", "Movies")
        assert "missing in Movies, new" in human.out
        assert world.cli.ok("asset", "relink", "--collection", VIDEOS)["total"] == 0
        assert world.catalogue.bytes() == before

    def test_what_is_ambiguous_or_was_there_before_is_left_alone(self, world: World) -> None:
        world.enable(VIDEOS)
        world.ingest()
        # A copy, which the old item is seen beside.
        world.section(VIDEOS).add(movie(403, "Casablanca", guid=f"plex://movie/{103:024x}", file="/data/videos/c.mkv"))
        sync(world)
        move(world, 102, "Brazil")
        world.section("Movies").remove(103)
        world.section(VIDEOS).add(movie(502, "Brazil Too", guid=f"plex://movie/{102:024x}", file="/data/videos/b2.mkv"))
        sync(world)
        before = world.catalogue.bytes("asset")
        listed = world.cli.ok("asset", "relink", "--all", "--yes")
        assert (listed["relinked_assets"], listed["total"], listed["ambiguous_total"]) == (0, 0, 1)
        assert [found["lost"]["title"] for found in listed["ambiguous"]] == ["Brazil"]
        assert world.catalogue.bytes("asset") == before


@pytest.mark.rule("SY-35")
class TestSY35:
    """SY-35: relinking lets two assets exchange their items; the old one keeps its id and approval, none is deleted."""

    def test_the_old_asset_has_the_item_in_its_new_collection(self, world: World) -> None:
        before, new = moved(world)
        refused = world.cli("asset", "relink", before["uuid"], new["uuid"], "--json")
        assert (refused.status, refused.document["errors"][0]["code"]) == (1, "confirmation_needed")
        rows = world.catalogue.bytes("asset")
        assert world.cli.ok("asset", "relink", "--all", "--dry-run")["relinked_assets"] == 1
        assert world.catalogue.bytes("asset") == rows
        assert world.cli.ok("asset", "relink", "--all", "--yes")["relinked_assets"] == 1
        after = world.cli.ok("asset", "show", before["uuid"])
        assert after["collection"]["name"] == VIDEOS
        asset_now, item = after["asset"], new
        for key in ("source_uri", "canonical_uri", "canonical_hash", "files"):
            assert asset_now[key] == item[key]
        assert (asset_now["state"], asset_now["availability"]) == ("ready", "present")
        left = world.cli.ok("asset", "show", new["uuid"])["asset"]
        assert (left["source_uri"], left["state"], left["availability"]) == (before["source_uri"], "new", "missing")
        # Both addresses lead to the asset that is there.
        for address in (before["source_uri"], item["source_uri"]):
            assert world.cli.ok("asset", "show", address)["asset"]["uuid"] == before["uuid"]
        assert changes(world)[-2:] == [("relinked", "Brazil"), ("missing", "Brazil")]
        assert sorted(world.catalogue.column("SELECT uuid::text FROM schedulable_asset")) == [before["uuid"]]

    def test_the_next_syncs_change_nothing_and_what_comes_back_is_restored(self, world: World) -> None:
        before, new = moved(world)
        world.cli.ok("asset", "relink", before["uuid"], new["uuid"], "--yes")
        rows = world.catalogue.bytes("asset", "asset_enrichment", "asset_identity")
        document = sync(world, "--full")
        assert [document[f"total_{count}"] for count in ("created_assets", "refreshed", "replaced", "missing")] == [
            0
        ] * 4
        assert world.catalogue.bytes("asset", "asset_enrichment", "asset_identity") == rows
        world.section("Movies").add(movie(102, "Brazil"))
        assert sync(world)["total_restored"] == 1
        found = world.cli.ok("asset", "show", before["source_uri"])["asset"]
        assert (found["uuid"], found["state"]) == (new["uuid"], "new")

    def test_another_file_withdraws_the_approval_and_the_other_way_round_undoes_it(self, world: World) -> None:
        world.enable(VIDEOS)
        world.ingest()
        approve(world, "Brazil")
        old = asset(world, "Brazil")["uuid"]
        move(world, 102, "Brazil", size=700_000_000)
        sync(world)
        [found] = world.cli.ok("asset", "relink")["moves"]
        new = found["listed"]["uuid"]
        assert not found["same_file"]
        world.cli.ok("asset", "relink", old, new, "--yes")
        assert world.cli.ok("asset", "show", old)["asset"]["state"] == "new"
        assert ("withdrawn", "Brazil") in changes(world)
        world.cli.ok("asset", "relink", new, old, "--yes")
        states = [world.cli.ok("asset", "show", uuid)["asset"]["availability"] for uuid in (old, new)]
        assert states == ["missing", "present"]

    def test_what_is_no_pair_is_refused(self, world: World) -> None:
        before, new = moved(world)
        rows = world.catalogue.bytes("asset")
        episode = world.catalogue.column("SELECT uuid::text FROM asset WHERE type = 'episode' LIMIT 1")[0]
        old, alien = before["uuid"], asset(world, "Alien")["uuid"]
        for pair in ((new["uuid"], old), (old, old), (old, episode), (alien, new["uuid"])):
            world.both("asset", "relink", *pair, "--yes", status=1, code="bad_relink")
        world.both("asset", "relink", before["uuid"], status=1, code="usage")
        with world.held("Movies"):
            world.both("asset", "relink", "--all", "--yes", status=1, code="already_running")
        assert world.catalogue.bytes("asset") == rows
