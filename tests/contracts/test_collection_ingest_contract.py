"""Collection ingest: CI-1 to CI-17 of docs/contract/collection-ingest.md."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from retrovue.simulator import faults, movie
from tests.support.plex import series
from tests.support.world import (
    ASSETS,
    KEYS,
    MOVIES,
    SHOWS,
    VIDEOS,
    Catalogue,
    Commands,
    World,
    comparable,
    fates,
)

BIG_BANG = "The Big Bang Theory"


def second_source(world: World) -> uuid.UUID:
    """Add another source, with a collection of the same name and key."""
    other = uuid.uuid4()
    world.catalogue.rows(
        "INSERT INTO source (id, external_id, name, type, config, credentials)"
        " SELECT $1, 'plex-00000000', 'Other', type, config, credentials FROM source",
        other,
    )
    world.catalogue.rows(
        "INSERT INTO collection (id, source_id, external_id, name, kind, sync_enabled, locations)"
        " SELECT gen_random_uuid(), $1, external_id, name, kind, true, locations FROM collection WHERE name = 'Movies'",
        other,
    )
    return other


@pytest.mark.rule("CI-1")
class TestCI1:
    """CI-1: it requires a collection: its id, external id or exact name, optionally within a source."""

    def test_without_one_it_is_refused(self, offline: Commands) -> None:
        human, machine = offline("collection", "ingest"), offline("collection", "ingest", "--json")
        assert (human.status, machine.status) == (1, 1)
        assert "Error: Missing argument 'COLLECTION'.\n" in human.err
        assert machine.document["errors"][0]["code"] == "usage"

    def test_id_external_id_and_name_are_the_same_collection(self, world: World) -> None:
        for reference in (world.id("Movies"), "1", "Movies"):
            document = world.cli.ok("collection", "ingest", reference)
            assert document["collection"] == {
                "id": world.id("Movies"),
                "external_id": "1",
                "name": "Movies",
                "kind": "movie",
            }
            assert document["source"]["external_id"] == world.source.external_id

    def test_within_its_source(self, world: World) -> None:
        for source in (str(world.source.id), world.source.external_id, world.source.name):
            assert world.collection("Movies", "--source", source).status == 0

    def test_within_another_source_it_is_not(self, world: World) -> None:
        second_source(world)
        world.both("collection", "ingest", "TV Shows", "--source", "Other", status=1, code="collection_not_found")
        world.both("collection", "ingest", "TV Shows", "--source", "None", status=1, code="source_not_found")

    def test_an_external_id_or_a_name_is_enough_and_an_id_goes_before_both(self, world: World) -> None:
        assert world.cli.ok("collection", "ingest", "1")["collection"]["name"] == "Movies"
        world.catalogue.rows("UPDATE collection SET name = '1' WHERE name = 'TV Shows'")
        movies = world.id("Movies")
        world.catalogue.rows("UPDATE collection SET external_id = $1 WHERE name = '1'", movies)
        assert world.cli.ok("collection", "ingest", movies)["collection"]["name"] == "Movies"

    def test_it_says_what_it_ingested(self, world: World) -> None:
        document = world.cli.ok("collection", "ingest", "TV Shows", "--title", "Firefly", "--season", "1")
        assert list(document)[:4] == ["status", "source", "collection", "scope"]
        assert [key for key in document if key in KEYS] == KEYS
        assert document["scope"] == {"title": "Firefly", "season": 1, "episode": None}
        lines = world.collection("TV Shows", "--title", "Firefly", "--season", "1").out.splitlines()
        assert lines[1] == "Scope: title 'Firefly', season 1"
        assert lines[-2:] == ["Success", "Collection ingest complete: 1 collection processed (1 success, 0 failed)"]


@pytest.mark.rule("CI-2")
class TestCI2:
    """CI-2: an unknown collection is refused with 1, an ambiguous one too, with the candidates' ids."""

    @pytest.mark.parametrize("almost", ["movies", "Movie", "Movies ", "", "17", str(uuid.UUID(int=7))])
    def test_unknown(self, world: World, almost: str) -> None:
        human, document = world.both("collection", "ingest", almost, status=1, code="collection_not_found")
        assert f"There is no collection '{almost}'." in human.err
        assert document["status"] == "error"
        assert not world.asked()

    @pytest.mark.parametrize("reference", ["Movies", "1"])
    def test_ambiguous(self, world: World, reference: str) -> None:
        second_source(world)
        ids = [str(found) for found in world.catalogue.column("SELECT id FROM collection WHERE name = 'Movies'")]
        sources = world.catalogue.rows("SELECT name, external_id FROM source")
        human, document = world.both("collection", "ingest", reference, status=1, code="ambiguous_collection")
        assert all(found in human.err for found in ids)
        assert all(f"(Movies of {name}, {key})" in human.err for name, key in sources)
        assert sorted(document["errors"][0]["context"]["candidates"]) == sorted(ids)
        assert not world.asked()
        assert world.collection(reference, "--source", world.source.external_id).status == 0
        assert world.catalogue.value("SELECT count(DISTINCT collection_uuid) FROM asset") == 1

    def test_the_external_id_of_one_and_the_name_of_another(self, world: World) -> None:
        second_source(world)
        world.catalogue.rows(
            "UPDATE collection SET external_id = 'Movies', name = 'Films' WHERE source_id <> $1", world.source.id
        )
        for command in (("collection", "ingest"), ("collection", "wipe", "--yes")):
            world.both(*command, "Movies", status=1, code="ambiguous_collection")
        assert not world.asked()


@pytest.mark.rule("CI-3")
class TestCI3:
    """CI-3: without flags all of it is ingested, and only while it is enabled."""

    def test_all_of_it(self, world: World) -> None:
        document = world.cli.ok("collection", "ingest", "TV Shows")
        assert document["total_created_assets"] == 8
        assert document["scope"] == {"title": None, "season": None, "episode": None}
        assert world.counts() == {"Home Videos": 0, "Movies": 0, "TV Shows": 8}
        assert not world.asked(MOVIES)

    def test_not_while_it_is_not_enabled(self, world: World) -> None:
        before = world.catalogue.bytes()
        human, document = world.both("collection", "ingest", "Home Videos", status=1, code="no_enabled_collections")
        assert human.err.startswith("Error: Collection 'Home Videos' of source 'My Plex' is not enabled.\n")
        assert "--enable" in document["errors"][0]["hint"]
        assert world.catalogue.bytes() == before
        assert not world.asked()

    def test_nor_in_a_dry_run(self, world: World) -> None:
        world.both("collection", "ingest", "Home Videos", "--dry-run", status=1, code="no_enabled_collections")


@pytest.mark.rule("CI-4")
class TestCI4:
    """CI-4: without flags it is refused unless the importer's check, asked live, says that it is ingestible."""

    def test_what_was_lost_since(self, world: World) -> None:
        assert world.collection("TV Shows").status == 0
        world.lose("TV Shows")
        before = world.catalogue.bytes(*ASSETS)
        human, document = world.both("collection", "ingest", "TV Shows", status=1, code="no_ingestible_collections")
        for text in (human.err, document["errors"][0]["message"]):
            assert (
                f"Collection 'TV Shows' of source 'My Plex' can't be ingested: The directory {world.local('TV Shows')}"
                in text
            )
        assert world.catalogue.bytes(*ASSETS) == before
        assert world.catalogue.value("SELECT ingestible FROM collection WHERE name = 'TV Shows'") is False
        assert len(world.asked(SHOWS)) == 2  # those of the first ingest

    def test_what_came_back(self, world: World) -> None:
        world.lose("TV Shows")
        assert world.collection("TV Shows").status == 1
        world.local("TV Shows").mkdir()
        assert world.collection("TV Shows").status == 0
        assert world.catalogue.value("SELECT ingestible FROM collection WHERE name = 'TV Shows'") is True

    def test_what_is_gone(self, world: World) -> None:
        world.plex.sections.remove(world.section("TV Shows"))
        human, _ = world.both("collection", "ingest", "TV Shows", status=1, code="no_ingestible_collections")
        assert "no longer lists" in human.err


@pytest.mark.rule("CI-5")
class TestCI5:
    """CI-5: a surgical ingest is allowed while the collection is not enabled, never while it is not ingestible."""

    def test_while_it_is_not_enabled(self, world: World) -> None:
        document = world.cli.ok("collection", "ingest", "Home Videos", "--title", "Clip 301")
        assert document["total_created_assets"] == 1
        assert world.counts()["Home Videos"] == 1
        assert world.catalogue.value("SELECT sync_enabled FROM collection WHERE name = 'Home Videos'") is False

    @pytest.mark.parametrize("name", ["Movies", "Home Videos"])
    def test_not_while_it_is_not_ingestible(self, world: World, name: str) -> None:
        world.lose(name)
        human, document = world.both(
            "collection", "ingest", name, "--title", "Alien", status=1, code="no_ingestible_collections"
        )
        for text in (human.err, document["errors"][0]["message"]):
            assert (
                f"Collection '{name}' of source 'My Plex' can't be ingested: The directory {world.local(name)}" in text
            )
        assert world.counts()[name] == 0
        assert not world.asked(MOVIES)
        assert not world.asked(VIDEOS)


@pytest.mark.rule("CI-6")
class TestCI6:
    """CI-6: --season needs --title, and --episode needs both."""

    @pytest.mark.parametrize(
        ("flags", "needs"),
        [
            (("--season", "1"), "--season needs --title."),
            (("--season", "1", "--episode", "1"), "--season needs --title."),
            (("--episode", "1"), "--episode needs --title and --season."),
            (("--title", BIG_BANG, "--episode", "1"), "--episode needs --title and --season."),
        ],
        ids=str,
    )
    def test_else_it_is_refused(self, offline: Commands, flags: tuple[str, ...], needs: str) -> None:
        human, machine = (offline("collection", "ingest", "TV Shows", *flags, *more) for more in ((), ("--json",)))
        assert (human.status, machine.status) == (1, 1)
        assert human.err.startswith(f"Error: {needs}\n")
        assert machine.document["errors"][0]["message"] == needs

    @pytest.mark.parametrize("title", ["", "  "])
    def test_an_empty_title_is_none(self, offline: Commands, title: str) -> None:
        done = offline("collection", "ingest", "TV Shows", "--title", title)
        assert (done.status, done.out) == (1, "")
        assert "--title needs the title" in done.err

    def test_all_three_are_taken(self, world: World) -> None:
        flags = ("--title", BIG_BANG, "--season", "2", "--episode", "3")
        assert world.cli.ok("collection", "ingest", "TV Shows", *flags)["total_created_assets"] == 1


@pytest.mark.rule("CI-7")
class TestCI7:
    """CI-7: --season and --episode are integers that are not negative."""

    @pytest.mark.parametrize("value", ["-1", "one", "1.0", "", "0x1", "1e3"])
    @pytest.mark.parametrize("flags", [("--season",), ("--season", "1", "--episode")], ids=["season", "episode"])
    def test_else_it_is_refused(self, offline: Commands, flags: tuple[str, ...], value: str) -> None:
        command = ("collection", "ingest", "TV Shows", "--title", BIG_BANG, *flags, value)
        human, machine = offline(*command), offline(*command, "--json")
        assert (human.status, machine.status) == (1, 1)
        assert f"Error: Invalid value for '{flags[-1]}'" in human.err
        assert machine.document["errors"][0]["code"] == "usage"
        assert "Invalid value" in machine.document["errors"][0]["message"]

    def test_0_is_the_specials(self, world: World) -> None:
        world.section("TV Shows").add(*specials())
        flags = ("--title", "Specials", "--season", "0", "--episode", "0")
        assert world.cli.ok("collection", "ingest", "TV Shows", *flags)["total_created_assets"] == 1
        found = world.catalogue.rows("SELECT season_number, episode_number FROM asset")
        assert found == [(0, 0)]


def specials() -> list[dict[str, Any]]:
    top, season, *_ = series(7000, "Specials", 1, 1)
    season |= {"index": 0}
    episode = series(7000, "Specials", 1, 1)[2] | {"index": 0, "parentIndex": 0}
    return [top, season, episode]


@pytest.mark.rule("CI-8")
class TestCI8:
    """CI-8: a scope that doesn't exist is exit code 2, and which part of it was not found is said."""

    @pytest.mark.parametrize(
        ("flags", "missing", "said"),
        [
            (("--title", "Lost"), "title", "There is no title 'Lost' in 'TV Shows' of source 'My Plex'."),
            (("--title", "Big Bang"), "title", "There is no title 'Big Bang' in 'TV Shows' of source 'My Plex'."),
            (
                ("--title", BIG_BANG, "--season", "9"),
                "season",
                f"'{BIG_BANG}' has no season 9 in 'TV Shows' of source 'My Plex'.",
            ),
            (
                ("--title", BIG_BANG, "--season", "9", "--episode", "1"),
                "season",
                f"'{BIG_BANG}' has no season 9 in 'TV Shows' of source 'My Plex'.",
            ),
            (
                ("--title", BIG_BANG, "--season", "2", "--episode", "9"),
                "episode",
                f"Season 2 of '{BIG_BANG}' has no episode 9 in 'TV Shows' of source 'My Plex'.",
            ),
        ],
        ids=str,
    )
    def test_what_was_not_found(self, world: World, flags: tuple[str, ...], missing: str, said: str) -> None:
        before = world.catalogue.bytes(*ASSETS)
        human, document = world.both("collection", "ingest", "TV Shows", *flags, status=2, code="scope_not_found")
        [error] = document["errors"]
        assert (error["message"], error["context"]["missing"]) == (said, missing)
        assert human.err.endswith(f"{said}\n")
        assert human.out.splitlines()[-2] == f"Error: {said}"
        assert document["status"] == "error"
        assert world.catalogue.bytes(*ASSETS) == before

    def test_a_film(self, world: World) -> None:
        _, document = world.both("collection", "ingest", "Movies", "--title", "Al", status=2, code="scope_not_found")
        assert document["errors"][0]["context"]["missing"] == "title"

    def test_films_have_no_seasons(self, world: World) -> None:
        flags = ("--title", "Alien", "--season", "1")
        human, document = world.both("collection", "ingest", "Movies", *flags, status=2, code="scope_not_found")
        assert "its titles have no seasons" in human.err
        assert document["errors"][0]["context"]["missing"] == "season"

    def test_nor_does_a_dry_run_find_it(self, world: World) -> None:
        world.both("collection", "ingest", "Movies", "--title", "Al", "--dry-run", status=2, code="scope_not_found")

    def test_the_process_exits_with_it(self, world: World) -> None:
        assert world.cli.as_process("collection", "ingest", "Movies", "--title", "Al").status == 2


@pytest.mark.rule("CI-9")
class TestCI9:
    """CI-9: a surgical ingest asks the source only for what is in scope."""

    @pytest.mark.parametrize(
        ("flags", "asked", "created"),
        [
            (("--title", BIG_BANG), {"show.id": "1000"}, 6),
            (("--title", BIG_BANG, "--season", "2"), {"show.id": "1000", "season.index": "2"}, 3),
            (
                ("--title", BIG_BANG, "--season", "2", "--episode", "1"),
                {"show.id": "1000", "season.index": "2", "episode.index": "1"},
                1,
            ),
        ],
        ids=["title", "season", "episode"],
    )
    def test_of_a_show(self, world: World, flags: tuple[str, ...], asked: dict[str, str], created: int) -> None:
        document = world.cli.ok("collection", "ingest", "TV Shows", *flags)
        assert world.narrowing() == [{"type": "2", "title": BIG_BANG}, {"type": "4", **asked}]
        assert not world.asked(MOVIES)
        assert document["total_created_assets"] == created
        assert document["total_source_items"] == created
        wrong = "SELECT count(*) FROM asset WHERE show_title <> $1"
        assert world.catalogue.value(wrong, BIG_BANG) == 0

    def test_of_films(self, world: World) -> None:
        document = world.cli.ok("collection", "ingest", "Movies", "--title", "alien")
        assert world.narrowing() == [{"type": "1", "title": "alien"}]
        # The server finds "Alien Again" as well; it is not what was asked for.
        assert document["total_discovered"] == 1
        assert world.catalogue.column("SELECT title FROM asset") == ["Alien"]

    def test_what_is_there_already_is_skipped(self, world: World) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS)
        document = world.cli.ok("collection", "ingest", "TV Shows", "--title", "Firefly")
        assert (document["total_created_assets"], document["total_skipped_assets"]) == (0, 2)
        assert world.catalogue.bytes(*ASSETS) == before


@pytest.mark.rule("CI-10")
class TestCI10:
    """CI-10: a title that fits several shows or films is refused with 1, listing them."""

    def test_of_shows(self, world: World) -> None:
        world.section("TV Shows").add(*series(3000, "Firefly", 1, 1, year=2030))
        human, document = world.both(
            "collection", "ingest", "TV Shows", "--title", "Firefly", status=1, code="ambiguous_title"
        )
        found = document["errors"][0]["context"]["candidates"]
        assert sorted(candidate["key"] for candidate in found) == [2000, 3000]
        assert "key 2000" in human.err
        assert "2030" in human.err
        assert world.counts()["TV Shows"] == 0
        year = ("--title", "Firefly (2030)")
        assert world.cli.ok("collection", "ingest", "TV Shows", *year)["total_created_assets"] == 1

    def test_of_films(self, world: World) -> None:
        world.section("Movies").add(movie(120, "Brazil", year=1944, file="/data/movies/Brazil (1944).mkv"))
        human, document = world.both(
            "collection", "ingest", "Movies", "--title", "Brazil", status=1, code="ambiguous_title"
        )
        assert sorted(found["key"] for found in document["errors"][0]["context"]["candidates"]) == [102, 120]
        assert "1944" in human.err
        assert world.counts()["Movies"] == 0
        year = ("--title", "Brazil (1944)")
        assert world.cli.ok("collection", "ingest", "Movies", *year)["total_created_assets"] == 1


@pytest.mark.rule("CI-11")
class TestCI11:
    """CI-11: a source that can't be reached is exit code 3, and nothing is changed."""

    @pytest.mark.parametrize("path", ["*", "/library/sections", SHOWS])
    @pytest.mark.parametrize("flags", [(), ("--title", "Firefly")], ids=["full", "surgical"])
    def test_it_is_3(self, world: World, path: str, flags: tuple[str, ...]) -> None:
        world.document()
        before = world.catalogue.bytes(*ASSETS, "collection", "source", "path_mapping")
        world.fault(faults.disconnect(), path)
        human, document = world.both("collection", "ingest", "TV Shows", *flags, status=3, code="source_unreachable")
        assert document["status"] == "error"
        assert human.out.splitlines()[-1] == "Collection ingest complete: 1 collection processed (0 success, 1 failed)"
        assert world.catalogue.bytes(*ASSETS, "collection", "source", "path_mapping") == before

    def test_a_refused_token_is_1(self, world: World) -> None:
        world.fault(faults.status(401), SHOWS)
        world.both("collection", "ingest", "TV Shows", status=1, code="auth")

    def test_another_server_is_1(self, world: World) -> None:
        world.plex.machine_identifier = "another"
        world.both("collection", "ingest", "TV Shows", status=1, code="wrong_identity")


@pytest.mark.rule("CI-12")
class TestCI12:
    """CI-12: the pipeline is that of source ingest: the same transaction, identities, counts and states."""

    def test_the_same_assets_and_counts(self, world: World, clone: Callable[[Catalogue], Catalogue]) -> None:
        copy = clone(world.catalogue)
        by_hand = world.cli.ok("collection", "ingest", "Movies")
        bulk = world.cli(
            "source", "ingest", world.source.name, "--json", env={"RETROVUE_DATABASE_URL": copy.url}
        ).document
        [result] = [result for result in bulk["collection_results"] if result["name"] == "Movies"]
        assert comparable(by_hand["collection_results"]) == [comparable(result)]
        columns = "source_hash, canonical_hash, title, source_uri, canonical_uri, state, approved_for_broadcast"
        query = f"SELECT {columns} FROM asset WHERE type = 'movie' ORDER BY source_uri"
        assert world.catalogue.rows(query) == copy.rows(query)
        assert len(world.catalogue.rows(query)) == 3

    def test_one_transaction(self, world: World) -> None:
        assert world.collection("Movies").status == 0
        writers = "SELECT xmin::text FROM {}"
        assert (
            len(
                {
                    row
                    for table in ("asset", "asset_alias", "ingest_outcome")
                    for row in world.catalogue.column(writers.format(table))
                }
            )
            == 1
        )

    def test_a_failure_leaves_nothing(self, world: World) -> None:
        world.catalogue.rows("ALTER TABLE asset ADD CONSTRAINT no CHECK (title <> 'Casablanca')")
        done = world.collection("Movies", "--json")
        assert (done.status, fates(done.document)) == (1, {"Movies": "database_error"})
        assert world.counts()["Movies"] == 0
        assert world.audit() == [("Movies", "failed", "database_error")]

    def test_what_is_ingested_by_hand_is_known_to_the_bulk(self, world: World) -> None:
        assert world.collection("TV Shows", "--title", "Firefly").status == 0
        document = world.document()
        assert (document["total_created_assets"], document["total_skipped_assets"]) == (9, 2)

    def test_it_takes_the_same_lock(self, world: World) -> None:
        with world.held("Movies"):
            for flags in ((), ("--title", "Alien")):
                world.both("collection", "ingest", "Movies", *flags, status=1, code="already_running")

    def test_new_and_not_approved(self, world: World) -> None:
        assert world.collection("Movies", "--title", "Alien").status == 0
        assert world.catalogue.rows("SELECT state, approved_for_broadcast FROM asset") == [("new", False)]

    def test_an_incomplete_listing_is_refused(self, world: World) -> None:
        world.break_listing(SHOWS)
        for flags in ((), ("--title", "Firefly")):
            world.both("collection", "ingest", "TV Shows", *flags, status=1, code="incomplete_enumeration")
        assert world.counts()["TV Shows"] == 0


@pytest.mark.rule("CI-13")
class TestCI13:
    """CI-13: the audit trail tells it from a bulk ingest, and has its scope."""

    def test_trigger_and_scope(self, world: World) -> None:
        world.document()
        flags = ("--title", BIG_BANG, "--season", "2", "--episode", "1")
        for end in (0, 2, 4, 6):
            assert world.collection("TV Shows", *flags[:end]).status == 0
        found = world.catalogue.rows(
            "SELECT trigger, scope->>'title', (scope->>'season')::int, (scope->>'episode')::int FROM ingest_start"
            " WHERE collection_id = $1 ORDER BY started_at",
            uuid.UUID(world.id("TV Shows")),
        )
        assert found == [
            ("source", None, None, None),
            ("collection", None, None, None),
            ("collection", BIG_BANG, None, None),
            ("collection", BIG_BANG, 2, None),
            ("collection", BIG_BANG, 2, 1),
        ]

    def test_of_a_failure_as_well(self, world: World) -> None:
        assert world.collection("TV Shows", "--title", "Lost").status == 2
        found = world.catalogue.rows(
            "SELECT trigger, scope->>'title', status, code FROM ingest_start JOIN ingest_outcome USING (run_id)"
        )
        assert found == [("collection", "Lost", "failed", "scope_not_found")]

    def test_it_is_the_run_of_the_document(self, world: World) -> None:
        document = world.cli.ok("collection", "ingest", "Movies")
        assert [str(run) for run in world.catalogue.column("SELECT run_id FROM ingest_start")] == [document["run_id"]]


@pytest.mark.rule("CI-14")
class TestCI14:
    """CI-14: a dry-run writes nothing, and its counts are those of the real run."""

    @pytest.mark.parametrize("flags", [(), ("--title", BIG_BANG), ("--title", BIG_BANG, "--season", "1")], ids=str)
    def test_nothing_is_written_and_the_counts_are_right(self, world: World, flags: tuple[str, ...]) -> None:
        before = world.catalogue.bytes()
        assert world.collection("TV Shows", *flags, "--dry-run").status == 0
        preview = comparable(world.cli.ok("collection", "ingest", "TV Shows", *flags, "--dry-run"))
        assert world.catalogue.bytes() == before
        real = comparable(world.cli.ok("collection", "ingest", "TV Shows", *flags))
        assert (preview.pop("dry_run"), real.pop("dry_run")) == (True, False)
        assert preview == real
        assert real["total_created_assets"] > 0

    def test_titles_are_shown(self, world: World) -> None:
        done = world.collection("Movies", "--dry-run")
        lines = done.out.splitlines()
        start = lines.index("Movies: would be created (3):")
        assert lines[start + 1 : start + 4] == ["  Alien", "  Brazil", "  Casablanca"]
        assert lines[-2] == "Success (dry run)"

    def test_a_change_of_ingestibility_is_not_stored(self, world: World) -> None:
        world.document()
        world.lose("Movies")
        before = world.catalogue.bytes()
        world.both("collection", "ingest", "Movies", "--dry-run", status=1, code="no_ingestible_collections")
        assert world.catalogue.bytes() == before


def on_disk(world: World, *files: str) -> None:
    """Let ingests look for the files of Movies, and put some of these there."""
    world.cli.ok("collection", "update", "Movies", "--check-files")
    for file in files:
        (world.local("Movies") / file).touch()


@pytest.mark.fault(303)
@pytest.mark.rule("CI-15")
class TestCI15:
    """CI-15: none of a sample of the listed files is here: it fails and changes nothing, unless switched off."""

    def test_no_listed_file_is_here(self, world: World) -> None:
        on_disk(world, "Another.mkv")
        before = world.catalogue.bytes(*ASSETS)
        _, document = world.both("collection", "ingest", "Movies", status=1, code="files_not_found")
        assert "Alien.mkv" in document["errors"][0]["message"]
        assert "--no-check-files" in document["errors"][0]["hint"]
        assert world.catalogue.bytes(*ASSETS) == before
        document = world.document(status=2)
        assert fates(document) == {
            "Home Videos": "sync_disabled",
            "Movies": "files_not_found",
            "TV Shows": "ingested",
        }

    def test_some_are_here(self, world: World) -> None:
        on_disk(world, "Brazil.mkv")
        assert world.cli.ok("collection", "ingest", "Movies")["total_created_assets"] == 3

    def test_they_are_elsewhere(self, world: World) -> None:
        on_disk(world, "Another.mkv")
        shown = world.cli.ok("collection", "update", "Movies", "--no-check-files")["collection"]
        assert shown["check_files"] is False
        assert "Check files: no\n" in world.cli("collection", "show", "Movies").out
        assert world.cli.ok("collection", "ingest", "Movies")["total_created_assets"] == 3
        assert "Movies of My Plex: They aren't looked for" in world.cli("doctor").out


@pytest.mark.fault(303)
@pytest.mark.rule("CI-16")
class TestCI16:
    """CI-16: a directory that is empty while the source lists files in it isn't ingestible."""

    def test_it_is_refused_before_anything_is_read(self, world: World) -> None:
        on_disk(world)
        for name in ("Movies", "TV Shows"):
            assert world.collection(name, "--dry-run").status == (1 if name == "Movies" else 0)
        human, document = world.both("collection", "ingest", "Movies", status=1, code="no_ingestible_collections")
        assert document["errors"][0]["context"]["collections"][0]["code"] == "location_empty"
        assert str(world.local("Movies")) in human.err
        assert fates(world.document())["Movies"] == "location_empty"

    def test_it_can_be_empty_if_the_library_is(self, world: World) -> None:
        on_disk(world)
        world.section("Movies").remove(*range(101, 106))
        assert world.cli.ok("collection", "ingest", "Movies")["total_discovered"] == 0

    def test_it_can_not_be_enabled(self, world: World) -> None:
        on_disk(world)
        world.enable("Movies", enabled=False)
        world.both("collection", "update", "Movies", "--enable", status=1, code="location_empty")


@pytest.mark.fault(303)
@pytest.mark.rule("CI-17")
class TestCI17:
    """CI-17: an enabled collection that was ingested and is skipped now is in the audit trail, and always a warning."""

    @pytest.mark.parametrize(
        "arguments", [("source", "ingest", "My Plex"), ("collection", "ingest", "Movies")], ids=str
    )
    def test_a_lost_mount_has_a_row_and_is_told_quietly_too(self, world: World, arguments: tuple[str, ...]) -> None:
        world.document()
        world.lose("Movies")
        one = arguments[0] == "collection"
        done = world.cli(*arguments, "--quiet")
        assert done.status == (1 if one else 0)
        assert done.out == ""
        assert str(world.local("Movies")) in done.err
        assert one or done.err.startswith(
            "Warning: Collection 'Movies' of source 'My Plex' is enabled but was skipped:"
        )
        [entry] = world.cli.ok("ingest", "log", "--status", "skipped")["entries"]
        assert (entry["collection"]["name"], entry["code"]) == ("Movies", "missing_directory")
        assert str(world.local("Movies")) in entry["message"]
        assert entry["ended_at"]

    def test_it_is_a_failure_only_for_strict(self, world: World) -> None:
        world.document()
        world.lose("Movies")
        assert world.ingest().status == 0
        assert world.ingest("--strict").status == 2

    def test_a_dry_run_writes_no_row(self, world: World) -> None:
        world.document()
        world.lose("Movies")
        world.document("--dry-run")
        assert ("Movies", "skipped", "missing_directory") not in world.audit()

    def test_one_that_never_was_ingested_has_none(self, world: World) -> None:
        world.lose("Movies")
        done = world.ingest("--quiet")
        assert (done.status, done.err) == (0, "")
        assert ("Movies", "skipped", "missing_directory") not in world.audit()

    def test_retry_failed_takes_it_again(self, world: World) -> None:
        world.document()
        world.lose("Movies")
        world.document()
        world.local("Movies").mkdir()
        assert fates(world.document("--retry-failed"))["Movies"] == "ingested"
