"""Source discover: SD-1 to SD-9 of docs/contract/source-discover.md."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from retrovue.simulator import ListSection, faults
from retrovue.simulator.model import Location
from tests.conftest import Packages
from tests.support import contract_importers as importers
from tests.support.world import NAME, Catalogue, Commands, World

ANIME = "Anime"


def anime() -> ListSection:
    return ListSection("4", ANIME, "show", locations=["/data/anime", "/data/more"])


def stored(world: World) -> dict[str, dict[str, Any]]:
    columns = "name, external_id, kind, sync_enabled, ingestible, not_ingestible_reason, locations"
    names = columns.split(", ")
    rows = world.catalogue.rows(f"SELECT {columns} FROM collection ORDER BY name")
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


@pytest.mark.rule("SD-1")
class TestSD1:
    """SD-1: it requires a source: its id, external id or exact name; unknown and ambiguous ones are 1."""

    def test_without_one_it_is_refused(self, offline: Commands) -> None:
        human, machine = offline("source", "discover"), offline("source", "discover", "--json")
        assert (human.status, machine.status) == (1, 1)
        assert "Error: Missing argument 'SOURCE'.\n" in human.err
        assert machine.document["errors"][0]["code"] == "usage"

    def test_id_external_id_and_name_are_the_same_source(self, world: World) -> None:
        for reference in (str(world.source.id), world.source.external_id, NAME):
            document = world.cli.ok("source", "discover", reference)
            assert document["source"]["id"] == str(world.source.id)
            assert [collection["name"] for collection in document["collections"]] == [
                "Home Videos",
                "Movies",
                "TV Shows",
            ]

    @pytest.mark.parametrize("almost", ["My", "my plex", "", str(uuid.UUID(int=7))])
    def test_unknown(self, world: World, almost: str) -> None:
        human, _ = world.both("source", "discover", almost, status=1, code="source_not_found")
        assert human.err.startswith(f"Error: There is no source '{almost}'.\n")
        assert not world.asked()

    def test_ambiguous(self, world: World) -> None:
        world.catalogue.rows(
            "INSERT INTO source (id, external_id, name, type, config, credentials)"
            " SELECT gen_random_uuid(), 'plex-00000000', name, type, config, credentials FROM source"
        )
        human, document = world.both("source", "discover", NAME, status=1, code="ambiguous_source")
        assert sorted(document["errors"][0]["context"]["candidates"]) == sorted(
            ["plex-00000000", world.source.external_id]
        )
        assert "plex-00000000" in human.err
        assert not world.asked()


@pytest.mark.rule("SD-2")
class TestSD2:
    """SD-2: a new collection is stored, and not enabled."""

    def test_it_is_stored_as_the_source_lists_it(self, world: World) -> None:
        world.plex.sections.append(anime())
        document = world.cli.ok("source", "discover", NAME)
        assert document["added"] == [ANIME]
        assert stored(world)[ANIME] == {
            "name": ANIME,
            "external_id": "4",
            "kind": "show",
            "sync_enabled": False,
            "ingestible": None,
            "not_ingestible_reason": None,
            "locations": ["/data/anime", "/data/more"],
        }
        assert world.counts()[ANIME] == 0

    def test_people_are_told(self, world: World) -> None:
        world.plex.sections.append(anime())
        lines = world.discover().out.splitlines()
        assert lines[:2] == [f"Source: {NAME} ({world.source.external_id}, type plex)", f"Added: {ANIME}"]
        [row] = [line for line in lines if line.startswith(ANIME)]
        assert row.split()[1:] == ["show", world.source.external_id, "4", "no", "not", "checked", "0"]

    def test_kinds_that_can_not_be_ingested_are_stored_too(self, world: World) -> None:
        world.plex.sections.append(ListSection("5", "Photos", "photo"))
        assert world.cli.ok("source", "discover", NAME)["added"] == ["Photos"]

    def test_it_is_not_ingested(self, world: World) -> None:
        world.plex.sections.append(anime())
        world.discover()
        [result] = [result for result in world.document()["collection_results"] if result["name"] == ANIME]
        assert result["code"] == "sync_disabled"


@pytest.mark.rule("SD-3")
class TestSD3:
    """SD-3: a second discovery of an unchanged source changes no row."""

    def test_to_the_byte(self, world: World) -> None:
        world.plex.sections.append(anime())
        world.discover()
        before = world.catalogue.bytes()
        document = world.cli.ok("source", "discover", NAME)
        assert (document["added"], document["updated"], document["gone"]) == ([], [], [])
        assert "Nothing has changed." in world.discover().out
        assert world.catalogue.bytes() == before

    def test_after_an_ingest(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes()
        world.discover()
        assert world.catalogue.bytes() == before

    def test_with_one_that_is_gone(self, world: World) -> None:
        world.plex.sections.remove(world.section("Movies"))
        world.discover()
        before = world.catalogue.bytes()
        world.discover()
        assert world.catalogue.bytes() == before


@pytest.mark.rule("SD-4")
class TestSD4:
    """SD-4: discovery never enables, disables or deletes a collection."""

    def test_whatever_changes(self, world: World) -> None:
        before = {name: row["sync_enabled"] for name, row in stored(world).items()}
        ids = set(world.catalogue.column("SELECT id FROM collection"))
        world.section("TV Shows").locations[0] = Location(201, "/data/elsewhere")
        world.plex.sections.remove(world.section("Movies"))
        world.plex.sections.append(anime())
        world.discover()
        after = {name: row["sync_enabled"] for name, row in stored(world).items()}
        assert after == before | {ANIME: False}
        assert ids < set(world.catalogue.column("SELECT id FROM collection"))

    def test_path_mappings_stay(self, world: World) -> None:
        before = world.catalogue.bytes("path_mapping")
        world.section("TV Shows").title = "Series"
        world.plex.sections.remove(world.section("Movies"))
        world.discover()
        assert world.catalogue.bytes("path_mapping") == before

    def test_assets_stay(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes("asset", "asset_alias")
        world.plex.sections.remove(world.section("Movies"))
        world.discover()
        assert world.catalogue.bytes("asset", "asset_alias") == before


@pytest.mark.rule("SD-5")
class TestSD5:
    """SD-5: names and locations of known collections are refreshed; they are known by their external id."""

    def test_a_new_name(self, world: World) -> None:
        shows = world.id("TV Shows")
        world.section("TV Shows").title = "Series"
        assert world.cli.ok("source", "discover", NAME)["updated"] == ["Series"]
        assert world.id("Series") == shows
        assert stored(world)["Series"]["sync_enabled"] is True
        assert "TV Shows" not in stored(world)

    def test_new_locations(self, world: World) -> None:
        world.section("TV Shows").locations.append(Location(299, "/data/tv2"))
        assert "Updated: TV Shows" in world.discover().out
        assert stored(world)["TV Shows"]["locations"] == ["/data/tv", "/data/tv2"]

    @pytest.mark.fault(26)
    def test_text_that_no_database_takes_is_repaired(self, world: World) -> None:
        section = world.section("TV Shows")
        section.title = "Ser\0ies"
        section.locations.append(Location(299, "/data/\0tv2"))
        assert world.cli.ok("source", "discover", NAME)["updated"] == ["Ser\ufffdies"]
        assert stored(world)["Ser\ufffdies"]["locations"] == ["/data/tv"]
        assert world.cli.ok("source", "discover", NAME)["updated"] == []

    def test_another_library_of_a_known_name_is_another_collection(self, world: World) -> None:
        world.plex.sections.append(ListSection("9", "Movies", "movie", locations=["/data/movies"]))
        assert world.cli.ok("source", "discover", NAME)["added"] == ["Movies"]
        found = world.catalogue.rows(
            "SELECT external_id, sync_enabled FROM collection WHERE name = 'Movies' ORDER BY 1"
        )
        assert found == [("1", True), ("9", False)]

    def test_the_others_are_not_touched(self, world: World) -> None:
        query = "SELECT xmin::text, c::text FROM collection c WHERE name <> 'Series' AND name <> 'TV Shows' ORDER BY id"
        before = world.catalogue.rows(query)
        world.section("TV Shows").title = "Series"
        world.discover()
        assert world.catalogue.rows(query) == before

    def test_renamed_it_is_still_the_one_that_was_ingested(self, world: World) -> None:
        world.document()
        world.section("TV Shows").title = "Series"
        world.discover()
        assert world.document()["total_created_assets"] == 0


@pytest.mark.rule("SD-6")
class TestSD6:
    """SD-6: a failure changes nothing; exit code 1, or 3 if the source can't be reached."""

    @pytest.mark.parametrize(
        ("action", "path", "status", "code"),
        [
            (faults.disconnect(), "*", 3, "source_unreachable"),
            (faults.status(503), "/library/sections", 3, "source_unreachable"),
            (faults.status(401), "/library/sections", 1, "auth"),
            (faults.html_page(), "/library/sections", 1, "not_plex"),
            (faults.html_page(), "/identity", 1, "not_plex"),
            (faults.no_container(), "/library/sections", 1, "malformed_answer"),
        ],
        ids=lambda value: str(value) if not isinstance(value, faults.Action) else value.label,
    )
    def test_nothing_changes(self, world: World, action: faults.Action, path: str, status: int, code: str) -> None:
        world.plex.sections.append(anime())
        before = world.catalogue.bytes()
        world.fault(action, path)
        human, document = world.both("source", "discover", NAME, status=status, code=code)
        assert human.out == ""
        assert document["status"] == "error"
        assert world.catalogue.bytes() == before

    def test_another_server(self, world: World) -> None:
        before = world.catalogue.bytes()
        world.plex.machine_identifier = "another"
        world.both("source", "discover", NAME, status=1, code="wrong_identity")
        assert world.catalogue.bytes() == before

    def test_an_importer_that_does_not_comply(self, world: World, packages: Packages) -> None:
        packages.install("thirdparty", thirdparty="tests.support.contract_importers:Incomplete")
        world.catalogue.rows("UPDATE source SET type = 'thirdparty', external_id = 'thirdparty-00000000'")
        before = world.catalogue.bytes()
        importers.RAN.clear()
        world.both("source", "discover", NAME, status=1, code="importer_not_compliant")
        assert importers.RAN == []
        assert world.catalogue.bytes() == before

    def test_a_database_that_refuses_a_part_keeps_none(self, world: World) -> None:
        world.plex.sections.append(anime())
        world.section("TV Shows").title = "Forbidden"
        world.catalogue.rows("ALTER TABLE collection ADD CONSTRAINT no CHECK (name <> 'Forbidden')")
        before = world.catalogue.bytes()
        _, document = world.both("source", "discover", NAME, status=1, code="database_error")
        assert world.catalogue.bytes() == before
        assert document["errors"][0]["message"]

    def test_the_test_database_is_kept_apart(self, world: World, clone: Callable[[Catalogue], Catalogue]) -> None:
        copy = clone(world.catalogue)
        copy.rows("UPDATE catalogue_role SET role = 'test'")
        world.cli.environment["RETROVUE_TEST_DATABASE_URL"] = copy.url
        world.plex.sections.append(anime())
        before = world.catalogue.bytes()
        assert world.cli.ok("source", "discover", NAME, "--test-db")["added"] == [ANIME]
        assert world.catalogue.bytes() == before


@pytest.mark.rule("SD-7")
class TestSD7:
    """SD-7: a source without collections is exit code 0, and that is said."""

    def test_people_and_programs_are_told(self, world: World) -> None:
        world.catalogue.rows("DELETE FROM collection")
        world.plex.sections.clear()
        human, document = world.both("source", "discover", NAME, status=0)
        assert (human.out, human.err) == (f"No collections found for source '{NAME}'\n", "")
        assert (document["status"], document["total"], document["collections"]) == ("ok", 0, [])

    @pytest.mark.fault(21, 22)
    def test_none_where_there_were_some_is_not_believed(self, world: World) -> None:
        world.plex.sections.clear()
        before = world.catalogue.bytes()
        world.both("source", "discover", NAME, status=1, code="suspicious_empty")
        assert world.catalogue.bytes() == before

    def test_an_importer_that_can_not_discover_says_so(self, world: World, packages: Packages) -> None:
        packages.install("thirdparty", thirdparty="tests.support.contract_importers:Undiscovering")
        world.catalogue.rows("UPDATE source SET type = 'thirdparty', external_id = 'thirdparty-00000000'")
        before = world.catalogue.bytes()
        human, document = world.both("source", "discover", NAME, status=0)
        assert human.out == f"Collections of source '{NAME}' can't be discovered: they are written by hand\n"
        assert (document["status"], document["unsupported"]) == ("ok", "they are written by hand")
        assert world.catalogue.bytes() == before


@pytest.mark.fault(22)
@pytest.mark.rule("SD-8")
class TestSD8:
    """SD-8: a collection that the source no longer lists is kept, and stored as not ingestible."""

    def test_it_is_kept_and_marked(self, world: World) -> None:
        movies = world.id("Movies")
        world.plex.sections.remove(world.section("Movies"))
        document = world.cli.ok("source", "discover", NAME)
        assert document["gone"] == ["Movies"]
        assert world.id("Movies") == movies
        row = stored(world)["Movies"]
        assert (row["sync_enabled"], row["ingestible"]) == (True, False)
        assert str(row["not_ingestible_reason"]).startswith("gone_from_source: ")
        assert stored(world)["TV Shows"]["ingestible"] is None

    def test_people_are_told(self, world: World) -> None:
        world.plex.sections.remove(world.section("Movies"))
        assert "Gone: Movies" in world.discover().out

    def test_it_is_skipped_by_an_ingest(self, world: World) -> None:
        world.plex.sections.remove(world.section("Movies"))
        world.discover()
        [result] = [result for result in world.document()["collection_results"] if result["name"] == "Movies"]
        assert (result["status"], result["code"]) == ("skipped", "gone_from_source")

    def test_when_it_comes_back_it_can_be_ingested(self, world: World) -> None:
        movies = world.section("Movies")
        world.plex.sections.remove(movies)
        world.discover()
        world.plex.sections.append(movies)
        world.discover()
        row = stored(world)["Movies"]
        assert (row["ingestible"], row["not_ingestible_reason"]) == (None, None)
        assert world.document()["total_created_assets"] == 11


@pytest.mark.rule("SD-9")
class TestSD9:
    """SD-9: a dry-run writes nothing, and says what would be."""

    def test_to_the_byte(self, world: World) -> None:
        world.plex.sections.append(anime())
        world.plex.sections.remove(world.section("Movies"))
        world.section("TV Shows").title = "Series"
        before = world.catalogue.bytes()
        human, document = world.both("source", "discover", NAME, "--dry-run", status=0)
        assert document["dry_run"] is True
        assert (document["added"], document["updated"], document["gone"]) == ([ANIME], ["Series"], ["Movies"])
        assert human.out.splitlines()[0] == "Dry run: nothing was written. The result would be:"
        assert "Added: Anime" in human.out
        assert world.catalogue.bytes() == before
        real = world.cli.ok("source", "discover", NAME)
        assert [real[key] for key in ("added", "updated", "gone")] == [
            document[key] for key in ("added", "updated", "gone")
        ]

    def test_it_fails_as_the_real_one_does(self, world: World) -> None:
        world.fault(faults.disconnect())
        before = world.catalogue.bytes()
        world.both("source", "discover", NAME, "--dry-run", status=3, code="source_unreachable")
        assert world.catalogue.bytes() == before
