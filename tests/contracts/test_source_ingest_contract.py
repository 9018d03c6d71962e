"""The behaviour of source ingest: B-1 to B-12 of docs/contract/source-ingest.md, with safety, output and exit codes."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrovue.core.model import Secret
from retrovue.simulator import Fault, ListSection, Request, SimulatedPlex, faults, movie
from retrovue.store.addresses import database_url as parsed
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support import contract_importers as importers
from tests.support.world import (
    KEYS,
    MOVIES,
    NAME,
    SHOWS,
    TOKEN,
    VIDEOS,
    Catalogue,
    Commands,
    World,
    comparable,
    fates,
    named,
    prepare,
)

B4 = (
    "Per-title/season/episode ingest is only supported at the collection level. Use: retrovue collection ingest"
    " <collection_id> [--title ... --season ... --episode ...]"
)


def add_source(world: World, name: str, **columns: object) -> uuid.UUID:
    """Add another source, without collections, behind everybody's back."""
    source = new_source("plex", name, {"base_url": world.url}, {"token": Secret(TOKEN)})

    async def insert() -> None:
        async with Store(parsed(world.catalogue.url), connections=1) as store, store.transaction() as session:
            await insert_source(session, source)

    world.portal.call(insert)
    for column, value in columns.items():
        world.catalogue.rows(f"UPDATE source SET {column} = $1 WHERE id = $2", value, source.id)
    return source.id


@pytest.mark.rule("B-1")
class TestB1:
    """B-1: the command requires a source: its id, external id or exact name, as the one positional argument."""

    def test_without_a_source_it_is_refused(self, offline: Commands) -> None:
        human, machine = offline("source", "ingest"), offline("source", "ingest", "--json")
        assert (human.status, machine.status) == (1, 1)
        assert human.err.endswith("Error: Missing argument 'SOURCE'.\n  Try `retrovue source ingest --help`.\n")
        assert human.out == ""
        assert machine.document["errors"][0]["message"] == "Missing argument 'SOURCE'."
        assert list(machine.document)[:8] == KEYS

    def test_two_sources_are_refused(self, offline: Commands) -> None:
        done = offline("source", "ingest", "One", "Two", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "usage")

    def test_id_external_id_and_name_are_the_same_source(self, world: World) -> None:
        expected = {
            "id": str(world.source.id),
            "external_id": world.source.external_id,
            "name": NAME,
            "type": "plex",
        }
        for reference in (str(world.source.id), str(world.source.id).upper(), world.source.external_id, NAME):
            document = world.cli.ok("source", "ingest", reference)
            assert document["source"] == expected
            assert document["collections_processed"] == 2
        human = world.cli("source", "ingest", world.source.external_id).out
        assert human.splitlines()[0] == f"Source: {NAME} ({world.source.external_id}, type plex)"

    @pytest.mark.parametrize("almost", ["My", "my plex", "My Plex ", "plex", "My%", "", str(uuid.UUID(int=7))])
    def test_the_name_has_to_be_exact(self, world: World, almost: str) -> None:
        human, document = world.both("source", "ingest", almost, status=1, code="source_not_found")
        assert human.err.startswith(f"Error: There is no source '{almost}'.\n")
        assert human.out == ""
        assert document["source"]["name"] == almost
        assert (document["status"], document["collections_processed"]) == ("error", 0)
        assert not world.asked()

    def test_a_name_that_fits_several_is_refused_with_their_ids(self, world: World) -> None:
        other = add_source(world, NAME)
        ids = world.catalogue.column("SELECT external_id FROM source ORDER BY external_id")
        human, document = world.both("source", "ingest", NAME, status=1, code="ambiguous_source")
        assert all(external_id in human.err for external_id in ids)
        assert document["errors"][0]["context"]["candidates"] == ids
        assert not world.asked()
        assert world.cli("source", "ingest", str(other)).status == 1  # it has no collections: not ambiguous any more
        assert world.cli.ok("source", "ingest", str(world.source.id))["collections_processed"] == 2

    def test_an_id_goes_before_an_external_id_before_a_name(self, world: World) -> None:
        add_source(world, world.source.external_id)
        assert world.cli.ok("source", "ingest", world.source.external_id)["source"]["id"] == str(world.source.id)
        add_source(world, str(world.source.id))
        assert world.cli.ok("source", "ingest", str(world.source.id))["source"]["id"] == str(world.source.id)

    def test_the_source_is_reached_before_any_collection_is(self, world: World) -> None:
        world.fault(faults.status(503), "/library/sections")
        before = world.catalogue.bytes("asset", "collection")
        human, document = world.both("source", "ingest", NAME, status=3, code="source_unreachable")
        assert fates(document) == {
            "Home Videos": "sync_disabled",
            "Movies": "source_unreachable",
            "TV Shows": "source_unreachable",
        }
        assert not world.narrowing()
        assert world.catalogue.bytes("asset", "collection") == before
        assert human.out.splitlines()[-2:] == [
            "Error: all 2 collections failed",
            "Source ingest complete: 2 collections processed (0 success, 2 failed)",
        ]

    @pytest.mark.fault(19)
    def test_a_source_that_nobody_answers_for_is_3(self, world: World) -> None:
        world.catalogue.rows('UPDATE source SET config = config || \'{"base_url": "http://127.0.0.1:1"}\'')
        human, document = world.both("source", "ingest", NAME, status=3, code="source_unreachable")
        assert document["status"] == "error"
        assert "Error: " in human.out

    @pytest.mark.fault(23)
    def test_another_server_at_the_address_is_refused(self, world: World) -> None:
        world.plex.machine_identifier = "another"
        before = world.catalogue.bytes("asset", "collection")
        world.both("source", "ingest", NAME, status=1, code="wrong_identity")
        assert not [request for request in world.asked() if request.token_from]
        assert world.catalogue.bytes("asset", "collection") == before


@pytest.mark.rule("B-2")
class TestB2:
    """B-2: it iterates over all collections that are enabled and ingestible, of this source and no other."""

    def test_all_of_them_and_only_them(self, world: World) -> None:
        document = world.document()
        assert fates(document) == {"Home Videos": "sync_disabled", "Movies": "ingested", "TV Shows": "ingested"}
        assert world.counts() == {"Home Videos": 0, "Movies": 3, "TV Shows": 8}
        assert not world.asked(VIDEOS)

    def test_one_more_that_is_enabled(self, world: World) -> None:
        world.enable("Home Videos")
        assert world.document()["collections_processed"] == 3
        assert world.counts()["Home Videos"] == 2

    def test_enabled_but_not_ingestible(self, world: World) -> None:
        world.lose("TV Shows")
        document = world.document()
        assert fates(document)["TV Shows"] == "missing_directory"
        assert (document["status"], document["collections_processed"]) == ("ok", 1)
        assert not world.asked(SHOWS)

    def test_what_is_stored_never_blocks_what_is_ingestible_now(self, world: World) -> None:
        world.catalogue.rows(
            "UPDATE collection SET ingestible = false, not_ingestible_reason = 'x', ingestible_checked_at = now()"
        )
        assert world.document()["collections_processed"] == 2
        assert world.catalogue.column("SELECT ingestible FROM collection ORDER BY name") == [False, True, True]

    def test_the_collections_of_other_sources_are_let_alone(self, world: World, tmp_path: Path) -> None:
        plex = SimulatedPlex(
            [ListSection("9", "Others", "movie", [movie(1)], locations=["/data/movies"])],
            token=TOKEN,
            machine_identifier="o",
        )
        media = tmp_path / "others"
        media.mkdir()
        with world.portal.wrap_async_context_manager(plex.serve()) as url:
            other = world.portal.call(prepare, world.catalogue.url, url, media, ["Others"], "o")
            world.catalogue.rows("UPDATE source SET name = 'Other' WHERE id = $1", other.id)
            plex.reset_counters()
            assert set(fates(world.document())) == {"Home Videos", "Movies", "TV Shows"}
            assert not plex.requests
            assert world.counts()["Others"] == 0
            assert fates(world.cli.ok("source", "ingest", "Other")) == {"Others": "ingested"}

    def test_without_collections_it_is_refused(self, world: World) -> None:
        add_source(world, "Empty")
        human, document = world.both("source", "ingest", "Empty", status=1, code="no_collections")
        assert "discover" in document["errors"][0]["hint"]
        assert "discover" in human.err
        assert (document["collections_processed"], document["collection_results"]) == (0, [])
        assert not world.asked()

    def test_without_enabled_ones_it_is_refused(self, world: World) -> None:
        for name in ("Movies", "TV Shows"):
            world.enable(name, enabled=False)
        before = world.catalogue.bytes()
        human, document = world.both("source", "ingest", NAME, status=1, code="no_enabled_collections")
        assert human.err.startswith(f"Error: Source '{NAME}' has no enabled collections.\n")
        assert document["collections_processed"] == 0
        assert {result["reason"] for result in document["collection_results"]} == {"it is not enabled for ingest"}
        assert [line.strip() for line in human.out.splitlines() if "not enabled" in line] == [
            f"{name}: it is not enabled for ingest" for name in ("Home Videos", "Movies", "TV Shows")
        ]
        assert world.catalogue.bytes() == before
        assert not world.asked()

    def test_without_ingestible_ones_it_is_refused_with_every_reason(self, world: World) -> None:
        world.lose("Movies")
        world.catalogue.rows("DELETE FROM path_mapping WHERE collection_id = $1", uuid.UUID(world.id("TV Shows")))
        human, document = world.both("source", "ingest", NAME, status=1, code="no_ingestible_collections")
        assert document["collections_processed"] == 0
        assert fates(document) == {
            "Home Videos": "sync_disabled",
            "Movies": "missing_directory",
            "TV Shows": "unmapped_location",
        }
        for text in (human.err, document["errors"][0]["message"]):
            assert "Movies: The directory " in text
            assert "TV Shows: No path mapping covers /data/tv." in text
        assert "--map" in document["errors"][0]["hint"]


@pytest.mark.rule("B-3")
class TestB3:
    """B-3: narrowing flags are neither accepted nor forwarded."""

    def test_help_names_none(self, cli: Commands) -> None:
        text = cli("source", "ingest", "--help").out
        assert "--dry-run" in text
        assert not [flag for flag in ("--title", "--season", "--episode") if flag in text]

    @pytest.mark.parametrize("flag", ["--title", "--season", "--episode"])
    @pytest.mark.parametrize("more", [[], ["--dry-run"], ["--test-db"], ["--strict"], ["--retry-failed"]], ids=" ".join)
    def test_none_is_accepted_with_whatever_else(self, offline: Commands, flag: str, more: list[str]) -> None:
        for arguments in ([NAME, flag, "1", *more], [*more, flag, "1", NAME]):
            done = offline("source", "ingest", *arguments)
            assert (done.status, done.out) == (1, "")
            assert B4 in done.err

    @pytest.mark.parametrize("flag", ["--titl", "--seasons", "--episod=1", "--collection", "--library"])
    def test_nothing_like_them_is_accepted(self, offline: Commands, flag: str) -> None:
        assert offline("source", "ingest", NAME, flag).status == 1

    def test_nothing_is_asked_and_nothing_written(self, world: World) -> None:
        before = world.catalogue.bytes()
        world.both("source", "ingest", NAME, "--title", "Alien", status=1, code="narrowing_forbidden")
        assert world.catalogue.bytes() == before
        assert not world.asked()

    def test_the_source_is_asked_for_whole_collections(self, world: World) -> None:
        world.document()
        asked = [{**params, "of": ""} for params in world.narrowing()]
        assert sorted(params["type"] for params in asked) == ["1", "2", "4"]
        assert all(set(params) == {"type", "of"} for params in asked)

    def test_after_two_dashes_a_flag_is_a_name(self, world: World) -> None:
        done = world.cli("source", "ingest", "--json", "--", "--title")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "source_not_found")
        assert done.document["source"]["name"] == "--title"


NARROWED = [
    ["--title", "The Big Bang Theory"],
    ["--title=X"],
    ["--title="],
    ["--title"],
    ["--season", "1"],
    ["--season="],
    ["--episode", "6"],
    ["--episode=6"],
    ["--title", "X", "--season", "1", "--episode", "6"],
]


@pytest.mark.rule("B-4")
class TestB4:
    """B-4: with a narrowing flag it refuses to run, exits with 1 and says exactly what to use instead."""

    @pytest.mark.parametrize("flags", NARROWED, ids=" ".join)
    def test_people_are_told_on_one_line(self, offline: Commands, flags: list[str]) -> None:
        done = offline("source", "ingest", NAME, *flags)
        assert (done.status, done.out, done.err) == (1, "", f"Error: {B4}\n")

    @pytest.mark.parametrize("flags", NARROWED, ids=" ".join)
    def test_programs_are_told_verbatim(self, offline: Commands, flags: list[str]) -> None:
        done = offline("source", "ingest", NAME, *flags, "--json")
        assert done.status == 1
        assert list(done.document)[:8] == KEYS
        assert (done.document["status"], done.document["collections_processed"]) == ("error", 0)
        [error] = done.document["errors"]
        assert (error["code"], error["message"]) == ("narrowing_forbidden", B4)

    def test_before_anything_else_that_is_wrong(self, offline: Commands) -> None:
        done = offline("source", "ingest", "--nonsense", "--concurrency", "many", "--season", "1")
        assert (done.status, done.err) == (1, f"Error: {B4}\n")

    def test_the_exit_status_is_the_process_s(self, offline: Commands) -> None:
        done = offline.as_process("source", "ingest", NAME, "--title=")
        assert (done.status, done.out, done.err) == (1, "", f"Error: {B4}\n")


@pytest.mark.rule("B-5")
class TestB5:
    """B-5: it says which collections were targeted, which were skipped and why; partial failure is exit code 2."""

    def test_people_see_it_all(self, world: World) -> None:
        world.lose("TV Shows")
        done = world.ingest()
        lines = done.out.splitlines()
        assert done.status == 0
        assert lines[:2] == [f"Source: {NAME} ({world.source.external_id}, type plex)", "Enabled collections: 2 of 3"]
        assert lines[3].split() == ["Dupli-", "Re-", "Failed"]
        heads = ["Collection", "Status", "Created", "Known", "cates", "jected", "enrich.", "Time"]
        assert lines[4].split() == heads
        assert lines[6].split()[:7] == ["Movies", "ingested", "3", "0", "1", "1", "0"]
        skipped = lines.index("Skipped collections (2):")
        assert lines[skipped + 1] == "  Home Videos: it is not enabled for ingest"
        assert lines[skipped + 2].startswith(f"  TV Shows: The directory {world.local('TV Shows')}, which stands for")
        assert lines[-2:] == ["Success", "Source ingest complete: 1 collection processed (1 success, 0 failed)"]

    def test_people_see_the_totals_of_several(self, world: World) -> None:
        lines = world.ingest().out.splitlines()
        [total] = [line for line in lines if line.startswith("Total")]
        assert total.split()[:6] == ["Total", "11", "0", "1", "1", "0"]
        assert "  Alien Again (same file as Alien)" in lines
        assert "  Lost Reel: The item has no media." in lines
        assert lines[-2:] == ["Success", "Source ingest complete: 2 collections processed (2 success, 0 failed)"]

    def test_programs_see_it_all(self, world: World) -> None:
        world.lose("TV Shows")
        results = named(world.document())
        assert [(name, result["targeted"], result["code"]) for name, result in results.items()] == [
            ("Home Videos", False, "sync_disabled"),
            ("Movies", True, None),
            ("TV Shows", False, "missing_directory"),
        ]
        assert results["Home Videos"]["reason"] == "it is not enabled for ingest"
        assert str(world.local("TV Shows")) in results["TV Shows"]["reason"]

    def test_a_lost_mount_is_warned_about(self, world: World) -> None:
        world.lose("TV Shows")
        for more in ([], ["--json"]):
            err = world.ingest(*more).err
            assert err.startswith(
                "Warning: Collection 'TV Shows' of source 'My Plex' is enabled but was skipped: The directory "
            )
        assert "Home Videos" not in err

    def test_strict_makes_a_lost_mount_partial(self, world: World) -> None:
        world.lose("TV Shows")
        human, machine = world.ingest("--strict"), world.ingest("--strict", "--json")
        assert (human.status, machine.status) == (2, 2)
        assert human.out.splitlines()[-2] == "Partial success"
        assert "--strict" in human.err
        assert (machine.document["status"], machine.document["strict"]) == ("partial", True)
        [error] = machine.document["errors"]
        assert (error["code"], error["collection"]["name"]) == ("missing_directory", "TV Shows")
        assert error["message"].startswith(
            "Collection 'TV Shows' of source 'My Plex' is enabled but was skipped: The directory "
        )

    def test_strict_changes_nothing_else(self, world: World) -> None:
        assert world.document("--strict")["status"] == "ok"
        assert world.document("--strict", "--retry-failed")["status"] == "ok"

    def test_one_failed_is_2(self, world: World) -> None:
        world.break_listing(SHOWS)
        human, document = world.both("source", "ingest", NAME, status=2, code="incomplete_enumeration")
        assert document["status"] == "partial"
        [error] = document["errors"]
        assert error["collection"]["name"] == "TV Shows"
        assert named(document)["TV Shows"]["status"] == "failed"
        assert named(document)["TV Shows"]["message"] == error["message"]
        lines = human.out.splitlines()
        assert [line.split()[:3] for line in lines if line.startswith("TV Shows")] == [["TV", "Shows", "failed"]]
        assert any(line.startswith("Failed: TV Shows: The listing of 'TV Shows' of source 'My Plex'") for line in lines)
        assert lines[-2:] == [
            "Partial success",
            "Source ingest complete: 2 collections processed (1 success, 1 failed)",
        ]
        assert human.err.startswith(
            "Error: 1 of 2 collections failed; the first: The listing of 'TV Shows' of source 'My Plex'"
        )

    def test_duplicates_and_rejections_change_no_status(self, world: World) -> None:
        document = world.document()
        assert (document["total_duplicates"], document["total_rejected"]) == (1, 1)
        assert (document["status"], document["errors"]) == ("ok", [])

    def test_nothing_to_retry(self, world: World) -> None:
        for _ in range(2):
            done = world.ingest("--retry-failed")
            assert (done.status, done.err) == (0, "")
            assert done.out.splitlines()[-2] == "Success: nothing to retry"
            document = world.document("--retry-failed")
            assert (document["status"], document["collections_processed"]) == ("ok", 0)
            assert fates(document)["Movies"] == "not_failed"
            world.document()


def _numbers(document: Any) -> Any:
    """What a dry-run promises: the counts, the titles, and what is skipped and why."""
    totals = {key: value for key, value in document.items() if key.startswith("total_")}
    keys = ("status", "code", "source_items", "discovered", "created", "skipped", "duplicates", "rejected", "relocated",
            "soft_deleted", "warnings", "created_titles")  # fmt: skip
    return totals, [{key: result[key] for key in keys} for result in document["collection_results"]]


@pytest.mark.rule("B-6")
class TestB6:
    """B-6: a dry-run tells what would be ingested and calls nothing that changes data."""

    def test_nothing_at_all_is_written(self, world: World) -> None:
        before, sequences = world.catalogue.bytes(), world.catalogue.sequences()
        for _ in range(2):
            done = world.ingest("--dry-run")
            assert done.status == 0
            assert world.document("--dry-run")["total_created_assets"] == 11
        assert world.catalogue.bytes() == before
        assert world.catalogue.sequences() == sequences
        assert world.catalogue.rows("SELECT relname FROM pg_class WHERE relpersistence = 't'") == []

    def test_nothing_is_written_where_everything_is_there_already(self, world: World) -> None:
        world.document()
        world.section("Movies").change_file(102, "/data/movies/Brazil (1985).mkv")
        before = world.catalogue.bytes()
        document = world.document("--dry-run")
        assert (document["total_created_assets"], document["total_relocated"]) == (0, 1)
        assert world.catalogue.bytes() == before

    def test_its_counts_are_those_of_the_real_run(self, world: World) -> None:
        preview = world.document("--dry-run")
        real = world.document()
        assert preview["dry_run"] is True
        assert real["dry_run"] is False
        assert _numbers(preview) == _numbers(real)
        again = world.document("--dry-run")
        assert (again["total_created_assets"], again["total_skipped_assets"]) == (0, 11)
        assert _numbers(again) == _numbers(world.document())

    def test_people_see_counts_and_twenty_titles(self, world: World) -> None:
        world.section("Movies").add(*(movie(number, f"Film {number}") for number in range(200, 230)))
        done = world.ingest("--dry-run")
        lines = done.out.splitlines()
        assert "Dry run: nothing is written." in lines
        start = lines.index("Movies: would be created (33):")
        shown = lines[start + 1 : lines.index("  ... and 13 more")]
        assert len(shown) == 20
        assert shown[:4] == ["  Alien", "  Brazil", "  Casablanca", "  Film 200"]
        assert lines[-2] == "Success (dry run)"
        titles = named(world.document("--dry-run"))["Movies"]["created_titles"]
        assert [f"  {title}" for title in titles] == shown

    def test_it_reads_the_source_as_the_real_run_does(self, world: World) -> None:
        world.document("--dry-run", "--concurrency", "1")
        preview = [(request.path, request.params) for request in world.asked()]
        world.plex.reset_counters()
        world.document("--concurrency", "1")
        assert [(request.path, request.params) for request in world.asked()] == preview

    def test_a_change_of_ingestibility_is_not_stored(self, world: World) -> None:
        world.document()
        world.lose("TV Shows")
        before = world.catalogue.bytes()
        assert fates(world.document("--dry-run"))["TV Shows"] == "missing_directory"
        assert world.catalogue.bytes() == before

    def test_nor_one_that_shows_in_the_middle(self, world: World) -> None:
        before = world.catalogue.bytes()
        world.when(MOVIES, lambda: world.lose("TV Shows"))
        document = world.document("--dry-run", "--concurrency", "1")
        assert (fates(document)["Movies"], fates(document)["TV Shows"]) == ("ingested", "missing_directory")
        assert world.catalogue.bytes() == before

    def test_it_exits_as_the_real_run_does(self, world: World) -> None:
        before = world.catalogue.bytes()
        world.break_listing(SHOWS)
        world.both("source", "ingest", NAME, "--dry-run", status=2, code="incomplete_enumeration")
        world.break_listing(MOVIES)
        world.both("source", "ingest", NAME, "--dry-run", status=1, code="incomplete_enumeration")
        world.fault(faults.status(503), "/library/sections")
        world.both("source", "ingest", NAME, "--dry-run", status=3, code="source_unreachable")
        assert world.catalogue.bytes() == before

    def test_it_takes_no_lock(self, world: World) -> None:
        with world.held("Movies"):
            assert world.document("--dry-run")["collections_processed"] == 2

    @pytest.mark.leaves("unended")
    def test_it_reaps_nothing(self, world: World) -> None:
        _leave_behind(world, "Movies")
        before = world.catalogue.bytes()
        world.document("--dry-run")
        assert world.catalogue.bytes() == before

    @pytest.mark.fault(51)
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ("DROP TABLE alembic_version", "schema_missing"),
            ("UPDATE alembic_version SET version_num = 'unheard-of'", "schema_newer"),
        ],
        ids=["missing", "newer"],
    )
    def test_a_schema_that_does_not_fit_is_1(self, world: World, change: str, code: str) -> None:
        world.catalogue.rows(change)
        before = world.catalogue.bytes()
        for more in ((), ("--dry-run",)):
            _, document = world.both("source", "ingest", NAME, *more, status=1, code=code)
            assert document["errors"][0]["hint"]
        assert world.catalogue.bytes() == before
        assert not world.asked()


def _leave_behind(world: World, name: str) -> None:
    """Leave the start row of a run that was killed."""
    world.catalogue.rows(
        "INSERT INTO ingest_start (run_id, collection_id, trigger, scope, version, started_by)"
        " VALUES ($1, $2, 'source', '{}', '0', 'nobody')",
        uuid.uuid4(),
        uuid.UUID(world.id(name)),
    )


@pytest.mark.rule("B-7")
class TestB7:
    """B-7: --json prints one object whose keys are always there and in order, with a status and explicit results."""

    def shape(self, document: Any) -> tuple[Any, ...]:
        return list(document), list(document["source"]), [list(result) for result in document["collection_results"]]

    def test_keys_and_their_order(self, world: World) -> None:
        done = world.ingest("--json")
        assert (done.err, done.out.count("\n{")) == ("", 0)
        document = done.document
        assert list(document)[:8] == KEYS
        assert list(document["source"]) == ["id", "external_id", "name", "type"]
        keys, _, (one, *others) = self.shape(document)
        assert all(other == one for other in others)
        assert len(others) == 2
        assert {"id", "external_id", "name", "status", "targeted", "reason", "created", "skipped", "duplicates"} <= set(
            one
        )
        assert {"failed_enrichments", "failed_enrichment_items", "rejected", "rejected_items"} <= set(one)
        assert {"total_discovered", "total_rejected", "total_failed_enrichments", "run_id", "dry_run"} <= set(keys)

    def test_the_shape_is_the_same_whatever_comes(self, world: World) -> None:
        ok = self.shape(world.document())
        assert self.shape(world.document("--dry-run")) == ok
        world.break_listing(SHOWS)
        assert self.shape(world.document(status=2)) == ok
        world.break_listing(MOVIES)
        assert self.shape(world.document(status=1)) == ok
        for name in ("Movies", "TV Shows"):
            world.enable(name, enabled=False)
        assert self.shape(world.document(status=1)) == ok
        unknown = world.cli("source", "ingest", "nobody", "--json").document
        usage = world.cli("source", "ingest", "--json", "--nonsense").document
        narrowed = world.ingest("--json", "--title", "X").document
        assert [list(document) for document in (unknown, usage, narrowed)] == [ok[0]] * 3

    @pytest.mark.parametrize(
        ("broken", "status", "said"), [((), 0, "ok"), ((SHOWS,), 2, "partial"), ((SHOWS, MOVIES), 1, "error")]
    )
    def test_status(self, world: World, broken: tuple[str, ...], status: int, said: str) -> None:
        world.break_listing(*broken)
        document = world.document(status=status)
        assert document["status"] == said
        assert len(document["errors"]) == len(broken)

    def test_results_hold_every_collection_in_name_order(self, world: World) -> None:
        world.plex.sections.append(ListSection("4", "Anime", "show", locations=["/data/anime"]))
        assert world.discover().status == 0
        world.catalogue.rows("UPDATE collection SET name = 'movies' WHERE name = 'Home Videos'")
        names = [result["name"] for result in world.document("--concurrency", "1")["collection_results"]]
        assert names == ["Anime", "Movies", "TV Shows", "movies"]

    def test_totals_are_the_sums_of_the_results(self, world: World) -> None:
        for _ in range(2):
            document = world.document()
            results = document["collection_results"]
            for total, count in (
                ("total_created_assets", "created"),
                ("total_skipped_assets", "skipped"),
                ("total_duplicates", "duplicates"),
                ("total_discovered", "discovered"),
                ("total_rejected", "rejected"),
                ("total_source_items", "source_items"),
                ("total_failed_enrichments", "failed_enrichments"),
            ):
                assert document[total] == sum(result[count] for result in results)
            for result in results:
                assert result["discovered"] == sum(
                    result[count] for count in ("created", "skipped", "duplicates", "rejected")
                )

    def test_whatever_people_see_is_in_it(self, world: World) -> None:
        movies = named(world.document())["Movies"]
        assert movies["created_titles"] == ["Alien", "Brazil", "Casablanca"]
        [duplicate] = movies["duplicate_candidates"]
        assert (duplicate["title"], duplicate["duplicate_of"]) == ("Alien Again", "Alien")
        [rejected] = movies["rejected_items"]
        assert (rejected["title"], rejected["code"]) == ("Lost Reel", "no_media")

    def test_two_runs_alike_say_the_same(self, world: World, clone: Callable[[Catalogue], Catalogue]) -> None:
        copy = clone(world.catalogue)
        world.break_listing(SHOWS)
        first = world.document(status=2)
        second = world.cli("source", "ingest", NAME, "--json", env={"RETROVUE_DATABASE_URL": copy.url}).document
        assert comparable(first) == comparable(second)

    def test_the_data_are_on_the_output_and_nothing_else_is(self, world: World) -> None:
        world.lose("TV Shows")
        done = world.ingest("--json")
        assert done.document["status"] == "ok"
        assert done.err.startswith("Warning: ")

    @pytest.mark.fault(68)
    def test_no_secret_is_shown(self, world: World) -> None:
        world.fault(faults.status(401), "/library/sections")
        for more in ([], ["--json"]):
            done = world.ingest(*more)
            assert done.status == 1
            assert TOKEN not in done.out + done.err


@pytest.mark.fault(54)
@pytest.mark.rule("B-8")
class TestB8:
    """B-8: with --test-db nothing of the production database changes; it is refused where it could be meant."""

    def test_production_stays_as_it_is(self, world: World, test_catalogue: Catalogue) -> None:
        before = world.catalogue.bytes()
        document = world.document("--test-db")
        assert document["total_created_assets"] == 11
        assert world.ingest("--test-db").status == 0
        assert world.catalogue.bytes() == before
        assert test_catalogue.value("SELECT count(*) FROM asset") == 11
        assert set(test_catalogue.column("SELECT status FROM ingest_outcome")) == {"ingested"}

    def test_and_the_other_way_round(self, world: World, test_catalogue: Catalogue) -> None:
        before = test_catalogue.bytes()
        world.document()
        assert test_catalogue.bytes() == before

    def test_a_dry_run_writes_nowhere_and_reads_the_test_database(
        self, world: World, test_catalogue: Catalogue
    ) -> None:
        world.document("--test-db")
        before = world.catalogue.bytes(), test_catalogue.bytes()
        document = world.document("--test-db", "--dry-run")
        assert (document["total_created_assets"], document["total_skipped_assets"]) == (0, 11)
        assert (world.catalogue.bytes(), test_catalogue.bytes()) == before

    def test_failures_are_noted_in_the_test_database(self, world: World, test_catalogue: Catalogue) -> None:
        before = world.catalogue.bytes()
        world.fault(faults.status(503), "/library/sections")
        world.document("--test-db", status=3)
        assert world.catalogue.bytes() == before
        assert test_catalogue.value("SELECT count(*) FROM ingest_outcome") == 2

    def test_without_a_test_database_it_is_refused(self, world: World) -> None:
        before = world.catalogue.bytes()
        human, document = world.both("source", "ingest", NAME, "--test-db", status=1, code="no_test_database")
        assert "RETROVUE_TEST_DATABASE_URL" in human.err
        assert list(document)[:8] == KEYS
        assert world.catalogue.bytes() == before

    def test_the_production_database_is_refused(self, world: World) -> None:
        url = world.catalogue.url
        for same in (url, url.replace("+asyncpg", ""), f"{url}&application_name=x"):
            world.cli.environment["RETROVUE_TEST_DATABASE_URL"] = same
            world.both("source", "ingest", NAME, "--test-db", status=1, code="test_database_is_production")
        assert not world.asked()

    def test_a_database_that_is_marked_otherwise_is_refused(self, world: World, test_catalogue: Catalogue) -> None:
        world.cli.environment |= {
            "RETROVUE_DATABASE_URL": test_catalogue.url,
            "RETROVUE_TEST_DATABASE_URL": world.catalogue.url,
        }
        before = world.catalogue.bytes(), test_catalogue.bytes()
        world.both("source", "ingest", NAME, "--test-db", status=1, code="wrong_database_role")
        world.both("source", "ingest", NAME, status=1, code="wrong_database_role")
        assert (world.catalogue.bytes(), test_catalogue.bytes()) == before
        assert not world.asked()


@pytest.mark.rule("B-9")
class TestB9:
    """B-9: a collection's failure doesn't stop the others; only if all fail is the run an error."""

    @pytest.mark.parametrize(
        ("action", "code"),
        [
            (faults.lie_about_total(1), "incomplete_enumeration"),
            (faults.status(404), "gone_from_source"),
            (faults.status(418), "request_refused"),
            (faults.no_container(), "no_container"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_the_others_go_on(self, world: World, action: faults.Action, code: str) -> None:
        world.fault(action, MOVIES)
        document = world.document("--concurrency", "1", status=2)
        assert fates(document) == {"Home Videos": "sync_disabled", "Movies": code, "TV Shows": "ingested"}
        assert world.counts() == {"Home Videos": 0, "Movies": 0, "TV Shows": 8}

    def test_all_failed_is_an_error(self, world: World) -> None:
        world.break_listing(MOVIES, SHOWS)
        human, document = world.both("source", "ingest", NAME, status=1, code="incomplete_enumeration")
        assert (document["status"], document["collections_processed"]) == ("error", 2)
        assert human.out.splitlines()[-2:] == [
            "Error: all 2 collections failed",
            "Source ingest complete: 2 collections processed (0 success, 2 failed)",
        ]

    def test_all_unreachable_is_3(self, world: World) -> None:
        world.fault(faults.status(503), "/library/sections/*")
        _, document = world.both("source", "ingest", NAME, status=3, code="source_unreachable")
        assert document["status"] == "error"
        assert {"ingested"} & set(fates(document).values()) == set()

    def test_unreachable_and_something_else_is_1(self, world: World) -> None:
        world.fault(faults.status(503), SHOWS)
        world.break_listing(MOVIES)
        _, document = world.both("source", "ingest", NAME, status=1)
        assert fates(document) == {
            "Home Videos": "sync_disabled",
            "Movies": "incomplete_enumeration",
            "TV Shows": "source_unreachable",
        }

    def test_unreachable_in_the_middle_is_2_and_what_is_in_stays(self, world: World) -> None:
        world.enable("Home Videos")
        dead = Fault(faults.status(503))
        world.when(SHOWS, lambda: world.plex.faults.add(dead))
        document = world.document("--concurrency", "1", status=2)
        results = list(fates(document).values())
        assert results == ["ingested", "ingested", "source_unreachable"]
        assert world.counts() == {"Home Videos": 2, "Movies": 3, "TV Shows": 0}
        probes = [request.path for request in world.asked()][-4:]
        assert set(probes) == {"/identity"}

    def test_what_is_unfinished_when_the_source_dies_is_unreachable_unasked(self, world: World) -> None:
        world.enable("Home Videos")
        dead = Fault(faults.disconnect())
        world.when(MOVIES, lambda: world.plex.faults.add(dead))
        document = world.document("--concurrency", "1", status=2)
        assert list(fates(document).values()) == ["ingested", "source_unreachable", "source_unreachable"]
        assert not world.asked(SHOWS)

    def test_a_hiccup_is_none(self, world: World) -> None:
        world.fault(faults.status(503), MOVIES, times=2)
        world.fault(faults.reset(), SHOWS, times=1)
        assert world.document()["status"] == "ok"

    @pytest.mark.fault(6)
    def test_a_token_refused_in_the_middle_fails_the_rest_unasked(self, world: World) -> None:
        world.enable("Home Videos")
        world.fault(faults.status(401), MOVIES)
        human = world.ingest("--concurrency", "1", "--dry-run")
        assert human.status == 2
        assert human.err.count("refused the token") == 1
        document = world.document("--concurrency", "1", status=2)
        assert list(fates(document).values()) == ["ingested", "auth", "auth"]
        assert not world.asked(SHOWS)
        world.fault(faults.status(401), VIDEOS)
        world.both("source", "ingest", NAME, "--concurrency", "1", status=1, code="auth")

    @pytest.mark.fault(50)
    def test_one_that_another_ingest_holds(self, world: World) -> None:
        with world.held("Movies"):
            _, document = world.both("source", "ingest", NAME, status=2, code="already_running")
            assert fates(document) == {
                "Home Videos": "sync_disabled",
                "Movies": "already_running",
                "TV Shows": "ingested",
            }
            assert "somebody-else" in document["errors"][0]["message"]
            assert document["errors"][0]["context"]["holder"] == "somebody-else"
            assert not world.asked(MOVIES)
            world.both("collection", "update", "Movies", "--disable", status=1, code="already_running")
            with world.held("TV Shows"):
                world.both("source", "ingest", NAME, status=1, code="already_running")
        assert world.document()["status"] == "ok"

    @pytest.mark.fault(21)
    def test_an_empty_listing_of_what_was_not_empty_fails(self, world: World) -> None:
        world.document()
        world.section("Movies").clear()
        _, document = world.both("source", "ingest", NAME, status=2, code="suspicious_empty")
        assert fates(document)["TV Shows"] == "ingested"
        assert world.counts()["Movies"] == 3

    def test_an_empty_library_succeeds(self, world: World) -> None:
        world.section("Movies").clear()
        assert world.document()["status"] == "ok"

    def test_a_collection_of_which_nothing_can_be_used_fails(self, world: World) -> None:
        movies = world.section("Movies")
        movies.clear()
        movies.add(*(movie(number, Media=None) for number in range(1, 4)))
        _, document = world.both("source", "ingest", NAME, status=2, code="all_rejected")
        assert "no media" in document["errors"][0]["message"]
        assert [item["code"] for item in named(document)["Movies"]["rejected_items"]] == ["no_media"] * 3

    def test_a_bug_of_ours_is_1_and_the_siblings_are_in(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Wild")
        _, document = world.both("source", "ingest", NAME, status=1, code="internal")
        assert document["status"] == "partial"
        assert fates(document)["TV Shows"] == "ingested"
        assert world.catalogue.value("SELECT details->>'traceback' FROM ingest_outcome WHERE code = 'internal' LIMIT 1")


NOT_COMPLIANT = {
    "tests.support.contract_importers:Incomplete": "discover_collections is missing",
    "tests.support.contract_importers:NotAsync": "check_ingestible is not a coroutine function",
    "tests.support.contract_importers:Abstract": "pages is not implemented",
    "tests.support.contract_importers:NOT_A_CLASS": "is not a class",
    "tests.support.contract_importers:Nothing": "can't be loaded",
    "tests.contracts.nowhere:Importer": "can't be loaded",
}


@pytest.mark.rule("B-10")
class TestB10:
    """B-10: the importer must implement ImporterInterface, else exit code 1; subclasses of BaseImporter do."""

    @pytest.mark.parametrize("target", NOT_COMPLIANT)
    def test_one_that_does_not_is_1(self, world: World, third_party: Callable[[str], None], target: str) -> None:
        third_party(target)
        before = world.catalogue.bytes()
        human, document = world.both("source", "ingest", NAME, status=1, code="importer_not_compliant")
        assert NOT_COMPLIANT[target] in human.err
        assert NOT_COMPLIANT[target] in document["errors"][0]["message"]
        assert document["collections_processed"] == 0
        assert world.catalogue.bytes() == before

    @pytest.mark.parametrize("name", ["Subclass", "Lookalike"])
    def test_one_that_does_is_used(self, world: World, third_party: Callable[[str], None], name: str) -> None:
        third_party(name)
        document = world.document()
        assert document["total_created_assets"] == 4
        assert document["source"]["type"] == "thirdparty"

    def test_plex_s_own_is(self, world: World) -> None:
        [plex] = [known for known in world.cli.ok("source", "list-types")["types"] if known["type"] == "plex"]
        assert plex["problem"] is None

    def test_one_that_is_not_installed_is_1(self, world: World) -> None:
        world.catalogue.rows("UPDATE source SET type = 'nonesuch', external_id = 'nonesuch-00000000'")
        _, document = world.both("source", "ingest", NAME, status=1, code="unsupported_importer")
        assert "'nonesuch'" in document["errors"][0]["message"]


@pytest.mark.rule("B-11")
class TestB11:
    """B-11: each eligible collection is enumerated by the importer before it is ingested."""

    def test_each_is_enumerated_in_full(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Subclass")
        world.document("--concurrency", "1")
        assert [asked for asked in importers.RAN if asked.startswith("enumerate")] == [
            "enumerate Movies None None None",
            "enumerate TV Shows None None None",
        ]

    def test_before_any_of_it_is_ingested(self, world: World) -> None:
        world.catalogue.rows("UPDATE source SET config = config || '{\"page_size\": 2}'")
        seen: list[int] = []

        async def look(request: Request) -> None:
            if request.path == SHOWS:
                [(count,)] = await world.catalogue.ask("SELECT count(*) FROM asset")
                seen.append(count)

        world.plex.on_request = look
        world.enable("Movies", enabled=False)
        world.document()
        assert seen == [0] * len(world.asked(SHOWS))
        # Four pages of shows and of episodes, the last ones full: each time it is asked what comes behind them.
        assert len(seen) == 10
        assert world.counts()["TV Shows"] == 8

    def test_what_is_ingested_is_what_was_enumerated(self, world: World) -> None:
        document = world.document()
        items = {"Movies": 5, "TV Shows": 8}
        assert {name: named(document)[name]["source_items"] for name in items} == items
        assert (len(world.asked(MOVIES)), len(world.asked(SHOWS))) == (1, 2)

    def test_an_enumeration_that_fails_leaves_nothing(self, world: World) -> None:
        world.catalogue.rows("UPDATE source SET config = config || '{\"page_size\": 2}'")
        world.fault(faults.status(418), MOVIES, page=1)
        world.document(status=2)
        assert world.counts()["Movies"] == 0

    def test_a_dry_run_enumerates_too(self, world: World) -> None:
        world.document("--dry-run")
        assert (len(world.asked(MOVIES)), len(world.asked(SHOWS))) == (1, 2)


@pytest.mark.rule("B-12")
class TestB12:
    """B-12: compliance is verified before the ingest is attempted: nothing of a non-compliant importer runs."""

    @pytest.mark.parametrize("name", ["Incomplete", "NotAsync", "Abstract"])
    @pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=str)
    def test_nothing_of_it_is_made_or_asked(
        self, world: World, third_party: Callable[[str], None], name: str, more: list[str]
    ) -> None:
        third_party(name)
        world.both("source", "ingest", NAME, *more, status=1, code="importer_not_compliant")
        assert importers.RAN == []
        assert not world.asked()

    def test_before_it_is_looked_whether_anything_is_enabled(
        self, world: World, third_party: Callable[[str], None]
    ) -> None:
        third_party("Incomplete")
        world.catalogue.rows("UPDATE collection SET sync_enabled = false")
        world.both("source", "ingest", NAME, status=1, code="importer_not_compliant")
        world.catalogue.rows("DELETE FROM collection")
        world.both("source", "ingest", NAME, status=1, code="importer_not_compliant")

    def test_after_the_source_was_found(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Incomplete")
        world.both("source", "ingest", "Another", status=1, code="source_not_found")

    def test_no_audit_row_says_that_it_was_tried(self, world: World, third_party: Callable[[str], None]) -> None:
        third_party("Incomplete")
        world.ingest()
        assert world.audit() == []
