"""The whole job with a Jellyfin server: every command that a source of any type is used by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retrovue.simulator import Fault, faults
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, audio, episode, movie, part, series, source
from tests.cli.conftest import Cli, Serve

TOKEN = "c0ffee5e1f0000000000000000000000"
NAME = "My Jellyfin"


@dataclass(frozen=True, slots=True)
class Home:
    """A running server, and the catalogue's commands."""

    server: SimulatedJellyfin
    url: str
    cli: Cli

    def results(self, *arguments: str) -> Any:
        return self.cli.ok("source", "ingest", NAME, *arguments)


def _libraries() -> list[JellyfinLibrary]:
    films = JellyfinLibrary("Movies", "movies", [movie(number) for number in range(1, 31)])
    films.change(3, MediaSources=[source(3, "/data/movies/3.mkv"), source(300, "/data/movies/3 4k.mkv")])
    films.change(4, IsPlaceHolder=True)
    films.add_parts(5, part(500, movie(5), "/data/movies/Movie 5 cd2.mkv"))
    top = series(1000, "Lost", Genres=["Drama"])
    rows = [episode(1000 + number, top, 1, number) for number in range(1, 11)]
    shows = JellyfinLibrary("Shows", "tvshows", [top, *rows])
    shows.change(1010, IndexNumberEnd=11)
    music = JellyfinLibrary("Music", "music", [audio(2000 + number) for number in range(1, 6)])
    return [films, shows, music, JellyfinLibrary("Books", "books")]


@pytest.fixture
def home(serve: Serve, run_cli: Cli, tmp_path: Path, media: Path) -> Iterator[Home]:
    """A source that was added, discovered, mapped and enabled by commands."""
    server = SimulatedJellyfin(_libraries(), token=TOKEN)
    token = tmp_path / "token.txt"
    token.write_text(f"{TOKEN}\n")
    with serve(server) as url:
        arguments = ("--type", "jellyfin", "--name", NAME, "--base-url", url, "--token-file", str(token))
        added = run_cli.ok("source", "add", *arguments)
        assert added["source"]["type"] == "jellyfin"
        assert added["source"]["external_id"].startswith("jellyfin-")
        assert added["source"]["config"]["machine_identifier"] == server.server_id
        found = run_cli.ok("source", "discover", NAME)
        assert [(one["name"], one["kind"]) for one in found["collections"]] == [
            ("Books", "books"),
            ("Movies", "movie"),
            ("Music", "artist"),
            ("Shows", "show"),
        ]
        for name, place in (("Movies", "movies"), ("Shows", "shows"), ("Music", "music")):
            maps = [f"/data/{place}={media}"] + ([f"/data/tv={media}"] if name == "Shows" else [])
            run_cli.ok(
                "collection",
                "update",
                name,
                *(word for one in maps for word in ("--map", one)),
                "--no-check-files",
                "--enable",
            )
        yield Home(server, url, run_cli)


class TestSourceIngest:
    def test_dry_run_then_ingest_then_nothing_new(self, home: Home) -> None:
        planned = home.results("--dry-run")
        assert home.cli.ok("asset", "list")["total"] == 0
        done = home.results()
        counts = (
            "total_created_assets",
            "total_skipped_assets",
            "total_duplicates",
            "total_rejected",
            "total_discovered",
        )
        # 30 films: one has two versions, one is a placeholder; 10 episodes, one of them with two numbers; 5 tracks.
        assert [done[name] for name in counts] == [45, 0, 1, 1, 47]
        assert [planned[name] for name in counts] == [done[name] for name in counts]
        again = home.results()
        assert [again[name] for name in counts] == [0, 45, 1, 1, 47]
        assert [(one["name"], one["status"]) for one in done["collection_results"]] == [
            ("Books", "skipped"),
            ("Movies", "ingested"),
            ("Music", "ingested"),
            ("Shows", "ingested"),
        ]

    def test_what_is_kept(self, home: Home) -> None:
        home.results()
        assets = home.cli.ok("asset", "list", "--collection", "Movies", "--limit", "100")["assets"]
        (asset,) = [one for one in assets if one["title"] == "Movie 5"]
        shown = home.cli.ok("asset", "show", asset["uuid"])["asset"]
        assert shown["source_uri"].startswith(f"jellyfin://{home.server.server_id}/items/")
        assert len(shown["files"]) == 2
        assert (shown["content_rating"], shown["runtime_ms"], shown["state"]) == ("PG-13", 10_800_000, "new")
        assert shown["provider_ids"] == {"tmdb": "5"}

    def test_a_file_with_two_episodes_is_one_asset_and_a_duplicate(self, home: Home) -> None:
        done = home.results()
        (shows,) = [one for one in done["collection_results"] if one["name"] == "Shows"]
        assert shows["created"] == 10
        (duplicate,) = shows["duplicate_candidates"]
        assert duplicate["source_uri"].endswith("&episode=11")

    def test_one_library_that_lies_costs_itself_alone(self, home: Home) -> None:
        shows = home.server.libraries[1]
        home.server.faults.add(Fault(faults.lie_about_total(1), path="/Items", section=shows.id, kinds="Episode"))
        done = home.cli("source", "ingest", NAME, "--json")
        assert (done.status, done.document["status"]) == (2, "partial")
        (error,) = done.document["errors"]
        assert (error["code"], error["collection"]["name"]) == ("incomplete_enumeration", "Shows")
        home.server.faults.clear()
        retried = home.results("--retry-failed")
        assert (retried["collections_processed"], retried["total_created_assets"]) == (1, 10)

    def test_a_library_that_is_suddenly_empty_loses_nothing(self, home: Home) -> None:
        home.results()
        home.server.libraries[0].clear()
        done = home.cli("source", "ingest", NAME, "--json")
        assert done.status == 2
        assert [error["code"] for error in done.document["errors"]] == ["suspicious_empty"]
        assert home.cli.ok("asset", "list")["total"] == 45

    def test_another_server_is_refused(self, home: Home) -> None:
        home.server.server_id = "f" * 32
        done = home.cli("source", "ingest", NAME, "--json")
        assert done.status == 1
        assert {error["code"] for error in done.document["errors"]} == {"wrong_identity"}
        assert home.cli.ok("asset", "list")["total"] == 0

    def test_a_token_that_is_withdrawn(self, home: Home) -> None:
        home.server.faults.add(Fault(faults.status(401), path="/Items"))
        done = home.cli("source", "ingest", NAME, "--json")
        assert (done.status, {error["code"] for error in done.document["errors"]}) == (1, {"auth"})
        assert TOKEN not in done.out + done.err

    def test_a_server_that_is_down(self, home: Home) -> None:
        home.server.faults.add(Fault(faults.status(501)))
        assert home.cli("source", "ingest", NAME, "--json").status == 3


class TestCollectionIngest:
    def test_scopes(self, home: Home) -> None:
        one = home.cli.ok("collection", "ingest", "Shows", "--title", "Lost", "--season", "1", "--episode", "2")
        assert one["collection_results"][0]["created"] == 1
        assert home.cli.ok("asset", "list")["total"] == 1
        home.cli.ok("collection", "ingest", "Movies", "--title", "Movie 7")
        assert home.cli.ok("asset", "list")["total"] == 2
        done = home.cli("collection", "ingest", "Shows", "--title", "Lost", "--season", "4", "--json")
        assert done.status == 2
        assert done.document["errors"][0]["code"] == "scope_not_found"


class TestOtherCommands:
    def test_list_types(self, run_cli: Cli) -> None:
        types = {one["type"]: one for one in run_cli.ok("source", "list-types")["types"]}
        options = {setting["option"] for setting in types["jellyfin"]["settings"]}
        assert options >= {"--base-url", "--token-file", "--max-requests-per-second", "--ca-file", "--verify-tls"}

    def test_doctor(self, home: Home) -> None:
        done = home.cli("doctor", "--json")
        checks = [(one["check"], one["subject"], one["verdict"]) for one in done.document["findings"]]
        assert ("source", NAME, "ok") in checks
        assert [one for one in checks if one[0] == "collection"] == [
            ("collection", f"Books of {NAME}", "ok"),
            ("collection", f"Movies of {NAME}", "ok"),
            ("collection", f"Music of {NAME}", "ok"),
            ("collection", f"Shows of {NAME}", "ok"),
        ]
        assert TOKEN not in done.out + done.err

    def test_a_users_token_is_enough_where_mappings_say_where_files_are(self, home: Home) -> None:
        home.server.standing = "user"
        found = home.cli.ok("source", "discover", NAME)
        kept = {collection["name"]: collection["locations"] for collection in found["collections"]}
        assert kept["Music"] == ["/data/music"]
        assert home.results()["total_created_assets"] == 45
        home.cli.ok("collection", "update", "Music", "--unmap", "/data/music")
        (music,) = [one for one in home.results()["collection_results"] if one["name"] == "Music"]
        assert (music["status"], music["code"]) == ("skipped", "unknown_location")
        assert "API key" in music["reason"]
