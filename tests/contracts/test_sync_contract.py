"""Sync: SY-1 to SY-31 of docs/contract/sync.md; SY-34 and SY-35 are in test_relink_contract."""

from datetime import datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest

from retrovue.core.verdicts import COUNTS
from retrovue.simulator import Fault, ListSection, faults, movie, part
from tests.support.world import AUDIT, MOVIES, NAME, World

ALL = ("--max-removals", "100%")


def sync(world: World, *arguments: str, status: int = 0) -> Any:
    """Sync the source and return what --json says."""
    done = world.cli("source", "sync", NAME, "--json", *arguments)
    assert done.status == status, done
    return done.document


def result(document: Any, name: str = "Movies") -> Any:
    [found] = [entry for entry in document["collection_results"] if entry["name"] == name]
    return found


def asset(world: World, title: str) -> Any:
    [(uuid,)] = world.catalogue.rows("SELECT uuid FROM asset WHERE title = $1", title)
    return world.cli.ok("asset", "show", str(uuid))["asset"]


def availability(world: World) -> dict[str, str]:
    return dict(world.catalogue.rows("SELECT title, availability FROM asset ORDER BY title"))


def films(world: World, number: int) -> None:
    """Give the movies so many films more, so that a few missing ones are no flood."""
    section = world.section("Movies")
    section.add(*(movie(500 + index, f"Film {index}") for index in range(number)))


def changes(world: World) -> list[tuple[str, str]]:
    """What the feed tells: what, and of which asset."""
    return [(row["what"], row["asset"]["title"]) for row in world.cli.ok("asset", "changes")["changes"]]


def no_grace(world: World) -> None:
    world.cli.ok("source", "update", NAME, "--grace", "0")


def approve(world: World, title: str) -> None:
    world.cli.ok("asset", "approve", asset(world, title)["uuid"])


@pytest.mark.rule("SY-1")
class TestSY1:
    """SY-1: it syncs what source ingest would ingest, each collection for itself, with the same outcomes."""

    def test_the_enabled_collections_and_no_others(self, world: World) -> None:
        document = sync(world)
        assert document["mode"] == "sync"
        statuses = {entry["name"]: entry["status"] for entry in document["collection_results"]}
        assert statuses == {"Movies": "ingested", "TV Shows": "ingested", "Home Videos": "skipped"}
        assert document["total_created_assets"] == 11

    def test_one_that_fails_leaves_its_siblings_alone(self, world: World) -> None:
        world.ingest()
        world.section("TV Shows").edit(1101, title="Another Title")
        world.break_listing(MOVIES)
        document = sync(world, "--full", status=2)
        assert {entry["name"]: entry["status"] for entry in document["collection_results"]} == {
            "Movies": "failed",
            "TV Shows": "ingested",
            "Home Videos": "skipped",
        }
        assert document["total_refreshed"] == 1

    def test_unknown_sources_and_narrowing_are_refused(self, world: World) -> None:
        world.both("source", "sync", "Nothing", status=1, code="source_not_found")
        world.both("source", "sync", NAME, "--title", "Alien", status=1, code="narrowing_forbidden")

    def test_a_source_that_can_not_be_reached(self, world: World) -> None:
        world.fault(faults.disconnect())
        assert sync(world, status=3)["status"] == "error"


@pytest.mark.rule("SY-2")
class TestSY2:
    """SY-2: collection sync syncs one collection, or only what is in scope."""

    def test_one_collection(self, world: World) -> None:
        world.ingest()
        world.section("Movies").edit(101, title="Alien (1979)")
        world.section("TV Shows").edit(1101, title="Another Title")
        document = world.cli.ok("collection", "sync", "Movies")
        assert (document["total_refreshed"], document["mode"]) == (1, "sync")
        assert asset(world, "Alien (1979)")

    def test_only_what_is_in_scope(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.edit(101, studio="Brandywine")
        section.edit(102, studio="Embassy")
        document = world.cli.ok("collection", "sync", "Movies", "--title", "Brazil")
        assert (document["total_discovered"], document["total_refreshed"]) == (1, 1)
        assert result(document)["read"] == "scoped"
        assert asset(world, "Brazil")["studio"] == "Embassy"
        assert asset(world, "Alien")["studio"] != "Brandywine"

    def test_the_scope_is_checked_as_in_an_ingest(self, world: World) -> None:
        world.both("collection", "sync", "Movies", "--season", "1", status=1)
        world.both("collection", "sync", "Movies", "--title", "Nothing", status=2, code="scope_not_found")


@pytest.mark.rule("SY-3")
class TestSY3:
    """SY-3: discovered is created, skipped, duplicates and rejected; the new verdicts are part of skipped."""

    def test_the_counts_add_up(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.edit(101, title="Alien (1979)")
        section.replace_file(102)
        section.change_file(103, "/data/movies/elsewhere/Casablanca.mkv")
        section.add(movie(106, "Dune"))
        document = sync(world)
        movies = result(document)
        assert [movies[count] for count in ("refreshed", "replaced", "relocated", "created")] == [1, 1, 1, 1]
        parts = ("created", "skipped", "duplicates", "rejected")
        assert movies["discovered"] == sum(movies[count] for count in parts)
        assert document["total_discovered"] == sum(
            document[key]
            for key in ("total_created_assets", "total_skipped_assets", "total_duplicates", "total_rejected")
        )


@pytest.mark.rule("SY-4")
class TestSY4:
    """SY-4: a sync that finds nothing to do writes only its own rows in the audit trail, and what it has proved."""

    @pytest.mark.parametrize(("first", "how"), [("ingest", ("--full",)), ("sync", ("--full",)), ("sync", ())])
    def test_not_one_row_is_written(self, world: World, first: str, how: tuple[str, ...]) -> None:
        world.cli.ok("source", first, NAME)
        before = world.catalogue.bytes()
        document = sync(world, *how)
        after = world.catalogue.bytes()
        changed = {table for table in after if after[table] != before[table]}
        assert changed <= {*AUDIT, *(["collection_reading"] if how else [])}
        assert document["total_skipped_assets"] == (11 if how else 0)
        assert all(document[key] == 0 for key in ("total_refreshed", "total_replaced", "total_missing", "total_gone"))


@pytest.mark.rule("SY-5")
class TestSY5:
    """SY-5: an item whose description differs is refreshed, and an approval stays."""

    def test_the_fields_follow_and_the_approval_stays(self, world: World) -> None:
        world.ingest()
        approve(world, "Alien")
        before = asset(world, "Alien")
        world.section("Movies").edit(101, title="Alien (1979)", year=1979, Genre=[{"tag": "Horror"}])
        movies = result(sync(world))
        [entry] = movies["refreshed_items"]
        assert entry["title"] == "Alien (1979)"
        after = asset(world, "Alien (1979)")
        assert (after["uuid"], after["state"], after["year"]) == (before["uuid"], "ready", 1979)
        assert after["tags"]["genre"] == ["Horror"]
        assert changes(world)[-1][0] == "refreshed"

    def test_a_value_that_the_source_takes_back_is_taken_back(self, world: World) -> None:
        world.section("Movies").edit(101, studio="Brandywine")
        world.ingest()
        world.section("Movies").edit(101, studio=None)
        sync(world)
        assert asset(world, "Alien")["studio"] is None


@pytest.mark.rule("SY-6")
class TestSY6:
    """SY-6: a field that an enricher gave stays; a sidecar that has changed is read again, and an approval stays."""

    def test_its_value_stays_and_the_others_follow(self, world: World) -> None:
        world.ingest()
        world.catalogue.rows(
            "UPDATE asset SET title = 'By Hand', provenance = '{\"title\": \"nfo-00000001\"}' WHERE title = 'Alien'"
        )
        world.section("Movies").edit(101, title="Alien (1979)", studio="Brandywine")
        sync(world)
        after = asset(world, "By Hand")
        assert (after["studio"], after["provenance"]) == ("Brandywine", {"title": "nfo-00000001"})

    def test_a_sidecar_that_has_changed_is_read_again(self, world: World, tmp_path: Path) -> None:
        sidecar = tmp_path / "Films" / "Heat.nfo"
        sidecar.parent.mkdir()
        sidecar.with_suffix(".mkv").write_bytes(b"x")
        sidecar.write_text("<movie><studio>First</studio></movie>")
        world.cli.ok("source", "add", "--type", "filesystem", "--name", "Disk", "--path", str(tmp_path), "--discover")
        world.cli.ok("collection", "update", "Films", "--enable")
        world.cli.ok("enricher", "add", "--type", "nfo", "--name", "nfo")
        world.cli.ok("collection", "attach-enricher", "Films", "nfo")
        world.cli.ok("source", "ingest", "Disk")
        approve(world, "Heat")
        sidecar.write_text("<movie><studio>Another</studio></movie>")
        world.cli.ok("source", "sync", "Disk")
        assert (asset(world, "Heat")["studio"], asset(world, "Heat")["state"]) == ("Another", "ready")

    def test_as_is_one_beside_a_file_that_a_server_lists(self, world: World) -> None:
        file = world.local("Movies") / "Alien.mkv"
        file.write_bytes(b"x")
        sidecar = file.with_suffix(".nfo")
        sidecar.write_text("<movie><studio>First</studio></movie>")
        world.cli.ok("enricher", "add", "--type", "nfo", "--name", "nfo")
        world.cli.ok("collection", "attach-enricher", "Movies", "nfo")
        world.ingest()
        approve(world, "Alien")
        sidecar.write_text("<movie><studio>Another</studio></movie>")
        sync(world, "--full")
        assert (asset(world, "Alien")["studio"], asset(world, "Alien")["state"]) == ("Another", "ready")
        sidecar.unlink()
        file.unlink()
        sync(world, "--full")
        assert (asset(world, "Alien")["studio"], asset(world, "Alien")["state"]) == ("Another", "ready")


@pytest.mark.rule("SY-7")
class TestSY7:
    """SY-7: an item whose content differs is replaced; its approval is withdrawn unless the collection keeps it."""

    def test_an_approval_is_withdrawn(self, world: World) -> None:
        world.ingest()
        approve(world, "Alien")
        before = asset(world, "Alien")
        world.section("Movies").replace_file(101, size=999)
        movies = result(sync(world))
        assert (movies["replaced"], movies["refreshed"]) == (1, 0)
        after = asset(world, "Alien")
        assert (after["uuid"], after["size_bytes"], after["state"]) == (before["uuid"], 999, "new")
        assert not after["approved_for_broadcast"]
        assert {what for what, _ in changes(world)} >= {"replaced", "withdrawn"}

    def test_a_new_stamp_is_enough(self, world: World) -> None:
        world.ingest()
        size = asset(world, "Alien")["size_bytes"]
        world.section("Movies").replace_file(101, size=size)
        assert result(sync(world))["replaced"] == 1

    def test_a_collection_may_keep_approvals(self, world: World) -> None:
        world.ingest()
        approve(world, "Alien")
        world.cli.ok("collection", "update", "Movies", "--keep-approval")
        world.section("Movies").replace_file(101, size=999)
        sync(world)
        after = asset(world, "Alien")
        assert (after["size_bytes"], after["state"]) == (999, "ready")


@pytest.mark.rule("SY-8")
class TestSY8:
    """SY-8: a missing or gone asset that is listed again is restored; one that an operator deleted isn't."""

    @pytest.mark.parametrize("was", ["missing", "gone"])
    def test_missing_and_gone(self, world: World, was: str) -> None:
        films(world, 3)
        world.ingest()
        if was == "gone":
            no_grace(world)
        approve(world, "Brazil")
        section = world.section("Movies")
        row = row_of(section, "102")
        assert row is not None
        section.remove(102)
        sync(world)
        assert availability(world)["Brazil"] == was
        section.add(row)
        movies = result(sync(world))
        assert (movies["restored"], movies["created"]) == (1, 0)
        after = asset(world, "Brazil")
        assert (after["availability"], after["state"]) == ("present", "ready")

    def test_what_an_operator_has_deleted_stays_deleted(self, world: World) -> None:
        world.ingest()
        world.catalogue.rows("UPDATE asset SET deleted_at = now() WHERE title = 'Brazil'")
        assert result(sync(world))["soft_deleted"] == 1
        assert world.catalogue.value("SELECT deleted_at IS NOT NULL FROM asset WHERE title = 'Brazil'")


@pytest.mark.rule("SY-9")
class TestSY9:
    """SY-9: missing at the first absence, gone when absent again after the grace or without one; approvals stay."""

    def test_missing_then_gone(self, world: World) -> None:
        world.ingest()
        approve(world, "Brazil")
        world.section("Movies").remove(102)
        movies = result(sync(world))
        assert (movies["missing"], movies["gone"], movies["absent"]) == (1, 0, 1)
        assert [entry["title"] for entry in movies["missing_items"]] == ["Brazil"]
        assert sync(world)["total_gone"] == 0, "the grace of a day hasn't passed"
        world.catalogue.rows("UPDATE asset SET unavailable_since = now() - interval '25 hours' WHERE title = 'Brazil'")
        assert result(sync(world))["gone"] == 1
        after = asset(world, "Brazil")
        assert (after["availability"], after["state"]) == ("gone", "ready")
        assert [what for what, _ in changes(world)][-2:] == ["missing", "gone"]

    def test_the_grace_can_be_set(self, world: World) -> None:
        no_grace(world)
        world.ingest()
        world.section("Movies").remove(102)
        movies = result(sync(world))
        assert (movies["missing"], movies["gone"]) == (0, 1)
        assert availability(world)["Brazil"] == "gone"


@pytest.mark.rule("SY-10")
class TestSY10:
    """SY-10: an absence counts only in a complete reading of the whole collection."""

    def test_not_in_a_scope(self, world: World) -> None:
        world.ingest()
        world.section("Movies").remove(102)
        world.cli.ok("collection", "sync", "Movies", "--title", "Alien")
        assert set(availability(world).values()) == {"present"}

    def test_not_if_the_listing_fails(self, world: World) -> None:
        world.ingest()
        world.section("Movies").remove(102)
        world.break_listing(MOVIES)
        sync(world, status=2)
        assert set(availability(world).values()) == {"present"}

    def test_a_rejected_item_is_listed(self, world: World) -> None:
        world.ingest()
        world.section("Movies").change(102, Media=None)
        assert result(sync(world))["absent"] == 0
        assert set(availability(world).values()) == {"present"}

    def test_what_is_in_the_trash_is_absent(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.trash(102)
        [entry] = result(sync(world))["missing_items"]
        assert (entry["title"], entry["detail"]) == ("Brazil", "trashed")
        section.restore(102)
        sync(world)
        assert set(availability(world).values()) == {"present"}


@pytest.mark.rule("SY-11")
class TestSY11:
    """SY-11: guards hold removals back, and nothing else."""

    def test_more_than_the_limit(self, world: World) -> None:
        films(world, 60)
        world.ingest()
        section = world.section("Movies")
        section.remove(*range(500, 530))
        section.edit(101, title="Alien (1979)")
        section.add(movie(106, "Dune"))
        movies = result(sync(world, status=2))
        assert (movies["refreshed"], movies["created"]) == (1, 1)
        assert (movies["missing"], movies["removals_held_back"], movies["held_back"]["number"]) == (0, 30, 30)
        assert set(availability(world).values()) == {"present"}
        assert "30 removals are held back until confirmed, of: Movies." in world.cli("source", "sync", NAME).err
        assert result(sync(world, "--max-removals", "30"))["missing"] == 30

    def test_an_emptied_library(self, world: World) -> None:
        world.ingest()
        world.section("Movies").clear()
        document = sync(world, status=2)
        assert result(document)["removals_held_back"] == 3
        assert (document["status"], result(document)["status"]) == ("partial", "ingested")
        assert set(availability(world).values()) == {"present"}

    def test_a_directory_that_is_empty(self, world: World) -> None:
        film = world.local("Movies") / "Alien.mkv"
        film.touch()
        world.cli.ok("collection", "update", "Movies", "--check-files")
        world.ingest()
        world.section("Movies").remove(102)
        film.unlink()
        assert result(sync(world))["code"] == "location_empty"
        assert set(availability(world).values()) == {"present"}

    def test_a_source_that_is_scanning(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.remove(102)
        section.refreshing = True
        movies = result(sync(world, status=2))
        assert movies["removals_held_back"] == 1
        section.refreshing = False
        assert result(sync(world))["missing"] == 1


@pytest.mark.rule("SY-12")
class TestSY12:
    """SY-12: what was held back is reported with a token, which confirms exactly that."""

    def held_back(self, world: World) -> Any:
        films(world, 60)
        world.ingest()
        world.section("Movies").remove(*range(500, 530))
        return result(sync(world, status=2))["held_back"]

    def test_the_token_confirms_exactly_the_reported_assets(self, world: World) -> None:
        held_back = self.held_back(world)
        assert [entry["title"] for entry in held_back["items"]][:2] == ["Film 0", "Film 1"]
        document = sync(world, "--confirm-removals", held_back["token"])
        assert result(document)["missing"] == 30

    def test_another_set_is_refused_and_shown_anew(self, world: World) -> None:
        held_back = self.held_back(world)
        world.section("Movies").remove(540)
        again = result(sync(world, "--confirm-removals", held_back["token"], status=2))
        assert (again["missing"], again["removals_held_back"]) == (0, 31)
        assert again["held_back"]["token"] != held_back["token"]

    def test_people_are_told_what_to_do(self, world: World) -> None:
        held_back = self.held_back(world)
        done = world.cli("source", "sync", NAME)
        assert done.status == 2
        assert f"--confirm-removals {held_back['token']}" in done.out
        assert "30" in done.out


@pytest.mark.rule("SY-13")
class TestSY13:
    """SY-13: a new item that is an absent asset under another identity is relinked to it."""

    def test_a_rebuilt_database(self, world: World) -> None:
        world.ingest()
        approve(world, "Brazil")
        before = asset(world, "Brazil")
        renamed = world.section("Movies").rebuild(9000)
        movies = result(sync(world))
        assert (movies["relinked"], movies["created"], movies["missing"]) == (3, 0, 0)
        after = asset(world, "Brazil")
        assert (after["uuid"], after["state"]) == (before["uuid"], "ready")
        assert f"/{renamed['102']}?" in after["source_uri"]
        old = world.cli.ok("asset", "show", before["source_uri"])["asset"]
        assert old["uuid"] == before["uuid"]
        assert set(availability(world).values()) == {"present"}


@pytest.mark.rule("SY-14")
class TestSY14:
    """SY-14: what could be relinked to several assets is left alone and listed."""

    def test_two_items_of_one_guid(self, world: World) -> None:
        section = world.section("Movies")
        guid = "plex://movie/5d776825880197001ec967c6"
        section.add(movie(201, "Twin", guid=guid, file="/data/movies/one.mkv"))
        section.add(movie(202, "Twin", guid=guid, file="/data/movies/two.mkv"))
        world.ingest()
        section.remove(201, 202)
        section.add(movie(301, "Twin", guid=guid, file="/data/movies/three.mkv"))
        movies = result(sync(world, *ALL))
        assert (movies["relinked"], movies["created"], movies["missing"]) == (0, 1, 2)
        assert [entry["title"] for entry in movies["ambiguous_relink_items"]] == ["Twin", "Twin"]


@pytest.mark.rule("SY-15")
class TestSY15:
    """SY-15: adopt moves the assets of a library to the one that took its place."""

    def test_a_library_that_was_made_again(self, world: World) -> None:
        world.ingest()
        approve(world, "Brazil")
        before = asset(world, "Brazil")
        old = world.section("Movies")
        world.plex.sections.remove(old)
        world.plex.sections.append(old.recreated("9", 9000))
        for options in (("--dry-run",), ()):
            [found] = world.cli.ok("source", "discover", NAME, *options)["remade"]
            assert (found["before"], found["now"]) == ("1", "9")
        printed = world.cli("source", "discover", NAME).out
        assert "Created again: Movies (9) has the directories of Movies (1)" in printed
        assert "retrovue collection adopt 1 9 --source plex-" in printed
        document = world.cli.ok("collection", "adopt", "1", "9", "--yes")
        assert world.cli.ok("source", "discover", NAME)["remade"] == []
        assert document["kept"] == 3
        after = asset(world, "Brazil")
        assert (after["uuid"], after["state"]) == (before["uuid"], "ready")
        assert world.catalogue.column("SELECT external_id FROM collection WHERE name = 'Movies'") == ["9"]
        assert result(sync(world))["skipped"] == 3

    def test_another_library_is_refused(self, world: World) -> None:
        world.ingest()
        world.both("collection", "adopt", "Movies", "Home Videos", "--yes", status=1)
        assert world.counts()["Movies"] == 3


@pytest.mark.rule("SY-16")
class TestSY16:
    """SY-16: schedulable_asset shows exactly the approved assets that are present."""

    def test_the_view_and_the_list(self, world: World) -> None:
        world.ingest()
        for title in ("Alien", "Brazil"):
            approve(world, title)
        world.section("Movies").remove(102)
        sync(world)
        assert world.catalogue.column("SELECT title FROM schedulable_asset") == ["Alien"]
        listed = world.cli.ok("asset", "list", "--availability", "present", "--state", "ready")
        assert [found["title"] for found in listed["assets"]] == ["Alien"]


@pytest.mark.rule("SY-17")
class TestSY17:
    """SY-17: each change has one row in the feed, in its own transaction."""

    def test_one_row_each(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.edit(101, title="Alien (1979)")
        section.remove(102)
        section.change_file(103, "/data/movies/elsewhere/Casablanca.mkv")
        sync(world)
        approve(world, "Casablanca")
        found = changes(world)
        assert sorted(found) == [
            ("approved", "Casablanca"),
            ("missing", "Brazil"),
            ("refreshed", "Alien"),
            ("relocated", "Casablanca"),
        ]
        sync(world)
        assert changes(world) == found

    def test_what_is_rolled_back_has_none(self, world: World) -> None:
        world.ingest()
        world.section("Movies").edit(101, title="Alien (1979)")
        world.catalogue.rows(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$"
        )
        world.catalogue.rows(
            "CREATE TRIGGER refuse BEFORE INSERT ON ingest_outcome FOR EACH ROW WHEN (NEW.status = 'ingested')"
            " EXECUTE FUNCTION refuse()"
        )
        sync(world, status=1)
        assert changes(world) == []


@pytest.mark.rule("SY-18")
class TestSY18:
    """SY-18: a reader that follows the cursor gets every change once."""

    def test_a_writer_that_commits_late_is_not_missed(self, world: World) -> None:
        world.ingest()
        world.section("Movies").edit(101, title="Alien (1979)")
        read: list[str] = []
        cursor = "0"

        def poll() -> None:
            nonlocal cursor
            page = world.cli.ok("asset", "changes", "--after", cursor)
            read.extend(change["asset"]["title"] for change in page["changes"])
            cursor = str(page["next_cursor"])

        sync(world)
        poll()
        world.section("TV Shows").edit(1101, title="Another")
        sync(world)
        poll()
        poll()
        assert len(read) == 2


@pytest.mark.rule("SY-19")
class TestSY19:
    """SY-19: source ingest stays create-only, and says how many items have changed and how many are absent."""

    def test_it_says_so_and_writes_nothing(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.edit(101, title="Alien (1979)")
        section.replace_file(103)
        section.remove(102)
        before = world.catalogue.bytes("asset", "asset_change")
        document = world.document()
        assert (document["total_changed"], document["total_absent"]) == (2, 1)
        assert world.catalogue.bytes("asset", "asset_change") == before
        done = world.ingest()
        assert "2 known items have changed and 1 is absent at the source" in done.out
        assert "retrovue source sync" in done.out

    def test_nothing_is_said_where_nothing_has_changed(self, world: World) -> None:
        world.ingest()
        assert "have changed" not in world.ingest().out


@pytest.mark.rule("SY-20")
class TestSY20:
    """SY-20: a dry-run writes nothing, and its outcome is that of the real run."""

    def test_the_outcomes_are_the_same(self, world: World) -> None:
        films(world, 20)
        world.ingest()
        section = world.section("Movies")
        section.edit(101, title="Alien (1979)")
        section.replace_file(103)
        section.remove(102, 501)
        section.add(movie(106, "Dune"))
        before = world.catalogue.bytes()
        dry = sync(world, "--dry-run")
        assert world.catalogue.bytes() == before
        real = sync(world)
        counts = [key for key in real if key.startswith("total_")]
        assert {key: dry[key] for key in counts} == {key: real[key] for key in counts}
        for key in ("missing_items", "refreshed_items", "replaced_items"):
            assert [entry["title"] for entry in result(dry)[key]] == [entry["title"] for entry in result(real)[key]]

    def test_guards_included(self, world: World) -> None:
        films(world, 60)
        world.ingest()
        world.section("Movies").remove(*range(500, 530))
        dry, real = sync(world, "--dry-run", status=2), sync(world, status=2)
        assert result(dry)["held_back"] == result(real)["held_back"]


@pytest.mark.rule("SY-21")
class TestSY21:
    """SY-21: a sync that fails leaves each collection as before it or as after it."""

    def test_a_failure_in_the_merge(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.edit(101, title="Alien (1979)")
        section.remove(102)
        before = world.catalogue.bytes("asset")
        world.catalogue.rows(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$"
        )
        world.catalogue.rows(
            "CREATE TRIGGER refuse BEFORE INSERT ON asset_change FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        document = sync(world, status=2)
        assert result(document)["status"] == "failed"
        assert world.catalogue.bytes("asset") == before


@pytest.mark.rule("SY-22")
class TestSY22:
    """SY-22: only asset purge deletes for good; it asks, and takes only what is gone."""

    def test_only_what_is_gone(self, world: World) -> None:
        world.ingest()
        section = world.section("Movies")
        section.remove(102)
        sync(world)
        world.catalogue.rows("UPDATE asset SET unavailable_since = now() - interval '2 days' WHERE title = 'Brazil'")
        section.remove(103)
        sync(world)
        assert world.counts()["Movies"] == 3
        refused = world.cli("asset", "purge", "--json")
        assert (refused.status, refused.document["errors"][0]["code"]) == (1, "confirmation_needed")
        assert world.cli.ok("asset", "purge", "--dry-run")["destroyed"]["assets"] == 1
        assert world.cli.ok("asset", "purge", "--yes")["destroyed"]["assets"] == 1
        assert availability(world)["Casablanca"] == "missing"
        assert "Brazil" not in availability(world)
        assert changes(world)[-1] == ("purged", "Brazil")


@pytest.mark.rule("SY-23")
class TestSY23:
    """SY-23: the first sync of a catalogue of an earlier version reports only what really differs."""

    def test_assets_without_a_stamp(self, world: World) -> None:
        world.ingest()
        shows = world.catalogue.rows("SELECT uuid, show_key, show_year, show_provider_ids FROM asset ORDER BY 1")
        world.catalogue.rows("UPDATE asset SET stamp = NULL, file_stamp = NULL")
        world.catalogue.rows("UPDATE asset SET show_key = NULL, show_year = NULL, show_provider_ids = NULL")
        world.catalogue.rows("DELETE FROM known_page")
        world.catalogue.rows("DELETE FROM collection_reading")
        world.section("Movies").edit(101, title="Alien (1979)")
        document = sync(world)
        assert (document["total_refreshed"], document["total_replaced"]) == (1, 0)
        assert world.catalogue.value("SELECT count(*) FROM asset WHERE stamp IS NULL") == 0
        # What that version didn't store is there now.
        assert shows == world.catalogue.rows(
            "SELECT uuid, show_key, show_year, show_provider_ids FROM asset ORDER BY 1"
        )
        assert sync(world)["total_refreshed"] == 0


def reading(world: World, *arguments: str, name: str = "Movies", status: int = 0) -> tuple[str, str]:
    """Sync; return what was read of a collection, and why."""
    found = result(sync(world, *arguments, status=status), name)
    return found["read"], found["reading"]["code"]


def row_of(section: ListSection, key: str) -> dict[str, Any]:
    row = section.item(key)
    assert row is not None
    return row


def at_work(world: World, name: str = "Movies") -> ListSection:
    """Read all once; from now on the section's times move with its changes."""
    sync(world)
    section = world.section(name)
    section.clock = time
    return section


def unlist(world: World, *fields: str, section: str = "/library/sections") -> None:
    """Let the server leave fields of its libraries out."""

    def without(container: dict[str, Any]) -> dict[str, Any]:
        for entry in container["Directory"]:
            for field in fields:
                entry.pop(field, None)
        return container

    world.plex.faults.add(Fault(faults.Action(label="without", alter=without), section))


@pytest.mark.rule("SY-24")
class TestSY24:
    """SY-24: an equal stamp leaves a collection alone; a source in which nothing has changed takes two requests."""

    @pytest.mark.parametrize("first", ["ingest", "sync"])
    def test_two_requests(self, world: World, first: str) -> None:
        world.cli.ok("source", first, NAME)
        world.plex.reset_counters()
        document = sync(world)
        assert [request.path for request in world.asked()] == ["/identity", "/library/sections"]
        assert [result(document, name)["read"] for name in ("Movies", "TV Shows")] == ["unchanged", "unchanged"]
        assert document["status"] == "ok"

    def test_one_collection(self, world: World) -> None:
        at_work(world).edit(101, title="Alien (1979)")
        world.plex.reset_counters()
        assert world.cli.ok("collection", "sync", "TV Shows")["collection_results"][0]["read"] == "unchanged"
        assert len(world.asked()) == 2

    def test_not_while_the_source_scans(self, world: World) -> None:
        section = at_work(world)
        section.refreshing = True
        assert reading(world) == ("changes", "scanning")

    def test_not_with_other_mappings(self, world: World) -> None:
        sync(world)
        world.cli.ok("collection", "update", "Movies", "--map", f"/data/movies={world.local('TV Shows')}")
        world.catalogue.rows(
            "UPDATE path_mapping SET source_prefix = source_prefix || '/.' WHERE local_path LIKE '%movies%'"
        )
        assert reading(world) == ("full", "first")

    def test_not_after_a_wipe(self, world: World) -> None:
        sync(world)
        world.cli.ok("collection", "wipe", "Movies", "--yes")
        assert reading(world) == ("full", "first")
        assert world.counts()["Movies"] == 3

    def test_a_dry_run_says_the_same(self, world: World) -> None:
        sync(world)
        assert reading(world, "--dry-run") == reading(world) == ("unchanged", "stamp_equal")

    @pytest.mark.fault(303)
    def test_not_while_none_of_its_files_is_on_this_machine(self, world: World) -> None:
        film = world.local("Movies") / "Alien.mkv"
        film.touch()
        world.cli.ok("collection", "update", "Movies", "--check-files")
        sync(world)
        assert reading(world) == ("unchanged", "stamp_equal")
        film.rename(film.with_name("of another disk.mkv"))
        for arguments in ((), ("--dry-run",)):
            failed = result(sync(world, *arguments, status=2))
            assert (failed["status"], failed["code"]) == ("failed", "files_not_found")
        film.touch()
        assert reading(world) == ("unchanged", "stamp_equal")


@pytest.mark.rule("SY-25")
class TestSY25:
    """SY-25: a stamp is kept from before a reading that ended complete, and compared for being equal only."""

    def test_zero_is_a_stamp(self, world: World) -> None:
        section = world.section("Movies")
        section.content_changed_at = 0
        sync(world)
        assert reading(world) == ("unchanged", "stamp_equal")

    def test_not_after_a_failure(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        world.break_listing(MOVIES)
        sync(world, status=2)
        world.plex.faults.clear()
        assert reading(world)[0] == "changes"
        assert asset(world, "Alien (1979)")

    def test_not_while_scanning(self, world: World) -> None:
        section = world.section("Movies")
        section.refreshing = True
        sync(world)
        section.refreshing = False
        assert reading(world) == ("full", "first")

    def test_not_if_removals_were_held_back(self, world: World) -> None:
        films(world, 60)
        section = at_work(world)
        section.remove(*range(500, 560))
        assert reading(world, status=2)[0] == "sweep"
        assert reading(world, status=2) == ("sweep", "incomplete")
        assert sync(world, *ALL)["total_missing"] == 60
        assert reading(world)[0] == "unchanged"

    def test_not_from_an_ingest_that_left_something_undone(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        world.ingest()
        assert reading(world)[0] == "changes"
        assert asset(world, "Alien (1979)")

    def test_one_that_moves_while_it_is_read(self, world: World) -> None:
        section = world.section("Movies")
        section.clock = time
        world.when(MOVIES, lambda: section.edit(103, title="Casablanca (1942)"))
        sync(world)
        assert reading(world)[0] != "unchanged"
        assert asset(world, "Casablanca (1942)")


@pytest.mark.rule("SY-26")
class TestSY26:
    """SY-26: changes are asked for by filters that have proved to work on this server, by its own clock."""

    def test_what_has_changed(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        section.arrive(movie(106, "Dune"))
        world.plex.reset_counters()
        document = sync(world)
        movies = result(document)
        assert (movies["read"], movies["discovered"], movies["created"], movies["refreshed"]) == ("changes", 2, 1, 1)
        assert len(world.asked()) == 8
        assert len(world.asked(MOVIES)) == movies["reading"]["requests"] == 5
        section.edit(102, title="Brazil (1985)")
        world.plex.reset_counters()
        assert reading(world) == ("changes", "stamp_moved")
        assert len(world.asked(MOVIES)) == 3, "the filters have proved to work"

    def test_the_clock_is_the_sources(self, world: World) -> None:
        world.plex.clock = lambda: 1_760_000_000.0
        section = at_work(world)
        section.clock = lambda: 1_759_999_800.0
        section.edit(101, title="Alien (1979)")
        assert reading(world) == ("changes", "stamp_moved")

    @pytest.mark.parametrize("name", ["updatedAt>>", "addedAt>>"])
    def test_a_filter_that_is_ignored_without_a_word(self, world: World, name: str) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        world.plex.library.ignored_filters.add(name)
        assert reading(world) == ("sweep", "changes_unknown")
        assert asset(world, "Alien (1979)")

    def test_a_filter_that_is_refused_is_tried_again_with_another_version(self, world: World) -> None:
        section = at_work(world)
        world.plex.library.refused_filters.add("addedAt>>")
        section.edit(101, title="Alien (1979)")
        assert reading(world) == ("sweep", "changes_unknown")
        world.plex.library.refused_filters.clear()
        section.edit(101, title="Alien (again)")
        assert reading(world) == ("sweep", "changes_unknown")
        world.plex.library.version = "1.50.0"
        section.edit(101, title="Alien (1979)")
        assert reading(world) == ("changes", "stamp_moved")

    @pytest.mark.parametrize("missing", ["stamp", "clock"])
    def test_a_server_that_tells_less(self, world: World, missing: str) -> None:
        if missing == "stamp":
            unlist(world, "contentChangedAt")
        else:
            world.plex.clock = None
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        assert reading(world) == (("changes", "no_stamp") if missing == "stamp" else ("sweep", "no_changes"))
        assert asset(world, "Alien (1979)")


@pytest.mark.rule("SY-27")
class TestSY27:
    """SY-27: changes are merged only if the items add up, or else all is read before anything is merged."""

    def test_a_removal_beside_a_change(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        section.remove(102)
        assert reading(world) == ("sweep", "count_differs")
        assert availability(world)["Brazil"] == "missing"

    def test_a_newcomer_with_an_old_time(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        section.add(movie(106, "Dune"))
        assert reading(world) == ("sweep", "count_differs")
        assert asset(world, "Dune")

    def test_what_comes_under_another_key_keeps_its_asset(self, world: World) -> None:
        section = at_work(world)
        uuid = asset(world, "Brazil")["uuid"]
        row = row_of(section, "102")
        section.remove(102)
        section.arrive({**row, "ratingKey": "902", "key": "/library/metadata/902"})
        assert reading(world) == ("sweep", "count_differs")
        assert asset(world, "Brazil")["uuid"] == uuid

    def test_what_comes_back_under_another_key_keeps_its_asset(self, world: World) -> None:
        section = at_work(world)
        uuid = asset(world, "Brazil")["uuid"]
        row = row_of(section, "102")
        section.remove(102)
        sync(world)
        section.arrive({**row, "ratingKey": "902", "key": "/library/metadata/902"})
        assert reading(world) == ("changes", "stamp_moved")
        found = asset(world, "Brazil")
        assert (found["uuid"], found["availability"]) == (uuid, "present")

    def test_what_comes_back_is_restored(self, world: World) -> None:
        section = at_work(world)
        row = row_of(section, "102")
        section.remove(102)
        sync(world)
        section.arrive(row)
        assert reading(world) == ("changes", "stamp_moved")
        assert availability(world)["Brazil"] == "present"

    def test_duplicates_and_rejected_items_are_accounted_for(self, world: World) -> None:
        section = at_work(world)
        section.edit(104, title="Alien Once More")
        section.edit(105, title="Lost Reel II")
        section.edit(101, title="Alien (1979)")
        assert reading(world) == ("changes", "stamp_moved")

    def test_what_was_merged_during_a_scan_hides_no_removal(self, world: World) -> None:
        section = at_work(world)
        section.refreshing = True
        section.arrive(movie(106, "Dune"))
        assert reading(world) == ("changes", "scanning")
        section.refreshing = False
        section.remove(102)
        section.edit(101, title="Alien (1979)")
        assert reading(world)[0] == "sweep"
        assert availability(world)["Brazil"] == "missing"

    def test_an_item_that_can_not_be_used_any_more(self, world: World) -> None:
        section = at_work(world)
        section.edit(102, deletedAt=1_765_000_000)
        assert reading(world) == ("sweep", "doubtful")
        assert availability(world)["Brazil"] == "missing"

    def test_another_version_of_a_known_item(self, world: World) -> None:
        section = at_work(world)
        [media] = row_of(section, "102")["Media"]
        section.edit(102, Media=[media, {**media, "id": 777, "Part": [part(777, "/data/movies/Brazil 4K.mkv")]}])
        assert reading(world) == ("sweep", "doubtful")
        assert world.counts()["Movies"] == 4

    @pytest.mark.parametrize("first", [("collection", "ingest", "Movies", "--title", "Dune"),
        ("collection", "sync", "Movies", "--title", "Dune"), ("source", "ingest", NAME)])  # fmt: skip
    def test_what_another_run_has_added_hides_no_removal(self, world: World, first: tuple[str, ...]) -> None:
        section = at_work(world)
        section.remove(102)
        section.arrive(movie(106, "Dune"))
        world.cli.ok(*first)
        section.edit(101, title="Alien (1979)")
        assert reading(world)[0] == "sweep"
        assert (availability(world)["Brazil"], availability(world)["Dune"]) == ("missing", "present")

    def test_a_dry_run_says_the_same(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        section.arrive(movie(106, "Dune"))
        dry, real = sync(world, "--dry-run"), sync(world)
        for name in ("Movies", "TV Shows"):
            planned, done = result(dry, name), result(real, name)
            assert {key: planned[key] for key in ("read", *COUNTS)} == {key: done[key] for key in ("read", *COUNTS)}


@pytest.mark.rule("SY-28")
class TestSY28:
    """SY-28: changes make no asset missing."""

    def test_all_others_stay(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        document = sync(world)
        assert result(document)["read"] == "changes"
        assert (document["total_absent"], document["total_missing"]) == (0, 0)
        assert set(availability(world).values()) == {"present"}


@pytest.mark.rule("SY-29")
class TestSY29:
    """SY-29: all is read at least each --sweep-every, and each item compared at least each --full-every."""

    def test_when_it_is_due(self, world: World) -> None:
        sync(world)
        assert reading(world, "--sweep-every", "0") == ("sweep", "sweep_due")
        assert reading(world, "--full-every", "0") == ("full", "full_due")
        assert reading(world, "--full") == ("full", "asked")
        world.catalogue.rows("UPDATE collection_reading SET swept_at = swept_at - interval '25 hours'")
        assert reading(world) == ("sweep", "sweep_due")
        world.catalogue.rows("UPDATE collection_reading SET full_at = full_at - interval '8 days'")
        assert reading(world) == ("full", "full_due")
        assert reading(world) == ("unchanged", "stamp_equal")

    def test_a_sources_own_intervals(self, world: World) -> None:
        sync(world)
        world.cli.ok("source", "update", NAME, "--sweep-every", "0")
        assert reading(world) == ("sweep", "sweep_due")
        world.cli.ok("source", "update", NAME, "--full-every", "0")
        assert reading(world) == ("full", "full_due")
        world.both("source", "update", NAME, "--sweep-every", "999999w", status=1, code="bad_interval")

    def test_changes_put_off_no_sweep(self, world: World) -> None:
        section = at_work(world)
        world.catalogue.rows("UPDATE collection_reading SET swept_at = swept_at - interval '23 hours'")
        section.edit(101, title="Alien (1979)")
        assert reading(world)[0] == "changes"
        assert reading(world, "--sweep-every", "12h") == ("sweep", "sweep_due")

    def test_a_full_reading_trusts_no_page(self, world: World) -> None:
        sync(world)
        world.catalogue.rows("UPDATE asset SET title = 'Broken', stamp = NULL WHERE show_title = 'Firefly'")
        assert reading(world, "--sweep-every", "0", name="TV Shows") == ("sweep", "sweep_due")
        assert "Broken" in availability(world)
        assert reading(world, "--full", name="TV Shows") == ("full", "asked")
        assert "Broken" not in availability(world)


@pytest.mark.rule("SY-30")
class TestSY30:
    """SY-30: the outcome, the audit trail and the report say what was read and why."""

    def test_everywhere(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        done = world.cli("source", "sync", NAME)
        assert "Movies: read changes (1 item, 5 requests): the source's stamp of the library has changed" in done.out
        assert "TV Shows: read unchanged: the source's stamp of the library is that of the last reading" in done.out
        assert "; next sweep in 24 h" in done.out
        shown = world.cli.ok("ingest", "show", "latest")
        [movies] = [entry for entry in shown["collections"] if entry["collection"]["name"] == "Movies"]
        assert movies["read"] == "changes"
        assert movies["reading"]["code"] == "stamp_moved"
        assert (movies["reading"]["items"], movies["reading"]["requests"]) == (1, 5)
        assert 86_000 < movies["reading"]["sweep_in_seconds"] <= 86_400
        assert "Read: changes" in world.cli("ingest", "show", "latest").out

    def test_the_source_shows_when_all_is_read_next(self, world: World) -> None:
        at_work(world)
        times = world.cli.ok("source", "show", NAME)["sync"]["collections"]
        assert [one["name"] for one in times] == ["Movies", "TV Shows"]
        for one in times:
            swept, due = (datetime.fromisoformat(one[key]) for key in ("swept_at", "next_sweep_at"))
            full, full_due = (datetime.fromisoformat(one[key]) for key in ("full_at", "next_full_at"))
            assert (due - swept, full_due - full) == (timedelta(days=1), timedelta(days=7))
        assert "  Movies: read on " in world.cli("source", "show", NAME).out
        # With other settings all is read anew.
        world.cli.ok("collection", "update", "Movies", "--map", "/data/elsewhere=/mnt/elsewhere")
        movies = world.cli.ok("source", "show", NAME)["sync"]["collections"][0]
        assert {movies[key] for key in ("swept_at", "full_at", "next_sweep_at", "next_full_at")} == {None}
        assert "  Movies: the next sync reads all" in world.cli("source", "show", NAME).out

    def test_rejected_items_are_those_of_the_latest_reading_of_all(self, world: World) -> None:
        section = at_work(world)
        for change in ({}, {"title": "Lost Reel II"}):
            if change:
                section.edit(105, **change)
                section.edit(101, title="Alien (1979)")
            assert reading(world)[0] == ("changes" if change else "unchanged")
            listed = world.cli.ok("ingest", "rejected", "--latest")
            assert [item["title"] for item in listed["items"]] == ["Lost Reel"]


@pytest.mark.rule("SY-31")
class TestSY31:
    """SY-31: what a sync can't see by stamps and filters it finds at the next sweep, or at once where it can tell."""

    def test_a_replaced_file_that_moves_the_stamp_alone(self, world: World) -> None:
        at_work(world).replace_file(102)
        assert reading(world) == ("sweep", "unexplained")
        assert world.counts()["Movies"] == 3

    def test_a_replaced_file_beside_an_edit(self, world: World) -> None:
        section = at_work(world)
        section.replace_file(102)
        section.edit(101, title="Alien (1979)")
        assert result(sync(world))["replaced"] == 0
        assert result(sync(world, "--sweep-every", "0"))["replaced"] == 1

    def test_an_item_that_says_again_what_a_known_page_has_said(self, world: World) -> None:
        for key in (104, 105):  # a page with a duplicate isn't known
            world.section("Movies").remove(key)
        section = at_work(world)
        before = dict(row_of(section, "101"))
        section.edit(101, title="Alien (1979)")
        assert reading(world)[0] == "changes"
        assert asset(world, "Alien (1979)")
        row_of(section, "101").update(before)
        sync(world, "--sweep-every", "0")
        assert asset(world, "Alien")

    def test_a_rating_that_moves_nothing(self, world: World) -> None:
        section = at_work(world)
        stamp = section.content_changed_at
        section.change(102, rating=9.5)
        section.content_changed_at = stamp
        assert reading(world) == ("unchanged", "stamp_equal")
        assert result(sync(world, "--sweep-every", "0"))["refreshed"] == 1

    def test_rows_without_a_time(self, world: World) -> None:
        section = at_work(world)
        section.change(102, title="Brazil (1985)", updatedAt=None)
        assert reading(world) == ("sweep", "unexplained")
        assert asset(world, "Brazil (1985)")

    def test_a_removal_hidden_by_an_addition(self, world: World) -> None:
        section = at_work(world)
        section.remove(102)
        section.add(movie(106, "Dune"))
        assert reading(world) == ("sweep", "unexplained")
        assert availability(world)["Brazil"] == "missing"

    def test_a_removal_hidden_by_an_addition_and_a_change(self, world: World) -> None:
        section = at_work(world)
        section.remove(102)
        section.add(movie(106, "Dune"))
        section.edit(101, title="Alien (1979)")
        assert reading(world)[0] == "changes"
        assert availability(world)["Brazil"] == "present"
        sync(world, "--sweep-every", "0")
        assert availability(world)["Brazil"] == "missing"

    def test_a_clock_that_goes_backwards(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        world.plex.clock = lambda: 1_000_000_000.0
        assert reading(world) == ("sweep", "went_back")

    def test_a_server_restored_from_a_backup(self, world: World) -> None:
        section = at_work(world)
        section.edit(101, title="Alien (1979)")
        sync(world)
        section.change(101, title="Alien", updatedAt=1_700_000_000)
        section.content_changed_at = 1
        assert reading(world) == ("sweep", "went_back")
        assert asset(world, "Alien")

    def test_a_grace_that_is_over(self, world: World) -> None:
        at_work(world).remove(102)
        sync(world)
        world.catalogue.rows("UPDATE asset SET unavailable_since = now() - interval '2 days' WHERE title = 'Brazil'")
        assert reading(world) == ("sweep", "absences_due")
        assert availability(world)["Brazil"] == "gone"
        assert reading(world)[0] == "unchanged"
