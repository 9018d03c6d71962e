"""Looking at assets, approving and retiring them."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.simulator import ListSection, SimulatedPlex, episode, media, movie, part, season, show
from tests.cli.conftest import TOKEN, Cli, add
from tests.conftest import Databases
from tests.support.world import bare_environment


@pytest.fixture(scope="module")
def filled(
    portal: BlockingPortal, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A database with assets of all sorts: of one file, of two, and one that holds two episodes; and where they are."""
    programme = show(100, "The Show")
    first = season(101, programme, 1)
    double = "/data/tv/The Show - S01E01-E02.mkv"
    two_parts = [media(21, part(211, "/data/movies/two-1.mkv"), part(212, "/data/movies/two-2.mkv"))]
    films = [movie(1, "One"), movie(2, "Two", Media=two_parts), movie(3, "Three")]
    episodes = [
        episode(110 + number, first, number, title, file=double) for number, title in ((1, "First"), (2, "Second"))
    ]
    sections = [
        ListSection("1", "Movies", "movie", films, locations=["/data/movies"]),
        ListSection("2", "Shows", "show", [programme, first, *episodes], locations=["/data/tv"]),
    ]
    where, url = tmp_path_factory.mktemp("media"), databases.create()
    cli = Cli(bare_environment(where / "no-home") | {"RETROVUE_DATABASE_URL": url})
    with portal.wrap_async_context_manager(SimulatedPlex(sections, token=TOKEN).serve()) as address:
        add(cli, address, "My Plex")
        for section in sections:
            local = where / section.key
            local.mkdir()
            maps = [f"--map={location.path}={local}" for location in section.locations]
            cli.ok("collection", "update", section.key, *maps, "--no-check-files", "--enable")
        cli.ok("source", "ingest", "My Plex")
    yield url, where
    databases.drop(url)


@pytest.fixture
def where(filled: tuple[str, Path]) -> Path:
    """The directory of the collections' directories."""
    return filled[1]


@pytest.fixture
def database_url(databases: Databases, filled: tuple[str, Path]) -> Iterator[str]:
    """The URL of a copy of the filled database."""
    url = databases.copy(filled[0])
    yield url
    databases.drop(url)


def assets(cli: Cli) -> dict[str, dict[str, Any]]:
    return {asset["title"]: asset for asset in cli.ok("asset", "list")["assets"]}


def states(cli: Cli) -> dict[str, tuple[str, bool]]:
    return {title: (asset["state"], asset["approved_for_broadcast"]) for title, asset in assets(cli).items()}


class TestShow:
    def test_in_a_pipe_each_asset_is_a_line(self, run_cli: Cli, portal: BlockingPortal, database_url: str) -> None:
        title = "A title of many words " * 10 + "and an end"

        async def rename() -> None:
            connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
            try:
                await connection.execute("UPDATE asset SET title = $1 WHERE title = 'One'", title)
            finally:
                await connection.close()

        portal.call(rename)
        assert title in run_cli("asset", "list").out

    def test_all_fields(self, run_cli: Cli) -> None:
        listed = assets(run_cli)["One"]
        document = run_cli.ok("asset", "show", listed["uuid"])
        assert list(document) == ["status", "source", "collection", "asset"]
        assert (document["source"]["name"], document["collection"]["name"]) == ("My Plex", "Movies")
        asset = document["asset"]
        assert {key: asset[key] for key in listed} == listed
        [file] = asset["files"]
        assert file["local_path"] == asset["canonical_uri"]
        assert asset["aliases"] == []

    def test_parts(self, run_cli: Cli, where: Path) -> None:
        two = assets(run_cli)["Two"]["uuid"]
        files = run_cli.ok("asset", "show", two)["asset"]["files"]
        paths = [str(where / "1" / f"two-{number}.mkv") for number in (1, 2)]
        assert [(file["position"], file["local_path"]) for file in files] == [(1, paths[0]), (2, paths[1])]
        lines = run_cli("asset", "show", two).out.splitlines()
        start = lines.index("files (2):")
        assert [line.split(",")[0] for line in lines[start + 1 : start + 3]] == [
            f"  1. {paths[0]}",
            f"  2. {paths[1]}",
        ]

    def test_aliases(self, run_cli: Cli) -> None:
        double = assets(run_cli)["First"]["uuid"]
        [alias] = run_cli.ok("asset", "show", double)["asset"]["aliases"]
        assert (alias["title"], alias["season_number"], alias["episode_number"]) == ("Second", 1, 2)
        printed = run_cli("asset", "show", double).out
        assert printed.startswith("The Show - S01E01 - First\nof collection Shows of source My Plex (plex-")
        assert "aliases (1):\n  S01E02 Second (plex://" in printed

    def test_every_field_is_shown_to_people(self, run_cli: Cli) -> None:
        one = assets(run_cli)["One"]
        printed = run_cli("asset", "show", one["uuid"]).out
        for name in one:
            assert f"\n{name}:" in printed or f"\n{name} (" in printed
        assert f"state:{' ' * 18}new\n" in printed
        assert "approved_for_broadcast: no\n" in printed

    def test_none(self, run_cli: Cli) -> None:
        done = run_cli("asset", "show", str(uuid.uuid4()), "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "asset_not_found")


class TestList:
    def test_a_page_names_the_cursor_of_the_next(self, run_cli: Cli) -> None:
        whole = run_cli.ok("asset", "list")
        assert list(whole) == ["status", "total", "limit", "assets", "next_cursor"]
        assert (whole["total"], whole["next_cursor"]) == (4, None)
        first = run_cli.ok("asset", "list", "--limit", "3")
        second = run_cli.ok("asset", "list", "--limit", "3", "--after", first["next_cursor"])
        assert first["assets"] + second["assets"] == whole["assets"]
        printed = run_cli("asset", "list", "--limit", "3").out.splitlines()
        assert printed[-2:] == ["3 of 4 assets", f"The next page: --after {first['next_cursor']}"]

    def test_all_are_the_same_in_every_form(self, run_cli: Cli) -> None:
        whole = run_cli.ok("asset", "list")
        everything = run_cli.ok("asset", "list", "--all")
        assert everything == {**whole, "limit": None}
        assert (
            run_cli("asset", "list", "--all", "--json").out
            == json.dumps(everything, indent=2, ensure_ascii=False) + "\n"
        )
        for words in (("list", "--all", "--jsonl"), ("list", "--jsonl"), ("export",)):
            lines = run_cli("asset", *words).out.splitlines()
            assert [json.loads(line) for line in lines] == whole["assets"]
        rows = list(csv.DictReader(io.StringIO(run_cli("asset", "export", "--csv").out)))
        assert list(rows[0]) == list(whole["assets"][0])
        assert [(row["title"], row["year"]) for row in rows] == [
            (asset["title"], str(asset["year"] or "")) for asset in whole["assets"]
        ]
        assert json.loads(rows[0]["provider_ids"]) == whole["assets"][0]["provider_ids"]
        assert run_cli("asset", "list", "--all").out.count("\n") == 6

    def test_of_none_too(self, run_cli: Cli) -> None:
        none = run_cli.ok("asset", "list", "--all", "--state", "ready")
        assert (none["total"], none["assets"], none["next_cursor"]) == (0, [], None)
        assert run_cli("asset", "export", "--state", "ready").out == ""
        assert run_cli("asset", "list", "--state", "ready").out == "0 of 0 assets\n"

    def test_filters(self, run_cli: Cli, where: Path) -> None:
        def titles(*options: str) -> list[str]:
            return [asset["title"] for asset in run_cli.ok("asset", "list", *options)["assets"]]

        assert titles("--show", "the show", "--season", "1") == ["First"]
        assert titles("--title", "w") == ["Two"]
        movies = ("--type", "movie", "--path", str(where / "1"))
        assert titles(*movies) == titles(*movies, "--order", "added") == ["Three", "Two", "One"]
        assert titles(*movies, "--order", "name") == ["One", "Three", "Two"]
        assert titles("--created-since", "2000-01-01", "--collection", "Shows", "--source", "My Plex") == ["First"]
        assert titles("--changed-since", "2999-01-01T00:00+01:00") == []
        done = run_cli("asset", "list", "--created-since", "soon", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "usage")

    def test_columns(self, run_cli: Cli) -> None:
        exported = run_cli("asset", "export", "--csv", "--columns", "title, state", "--order", "name").out
        assert exported.splitlines()[:2] == ["title,state", "One,new"]
        assert run_cli("asset", "list", "--columns", "title,type").out.splitlines()[0].split() == ["title", "type"]
        named = ("asset", "list", "--columns", "collection,source,show,season,path", "--order", "name")
        heads = ["collection", "source", "show_title", "season_number", "canonical_uri"]
        assert run_cli(*named).out.splitlines()[0].split() == heads
        lines = run_cli(*named, "--csv").out.splitlines()[1:]
        assert {tuple(line.split(",")[:2]) for line in lines} == {("Movies", "My Plex"), ("Shows", "My Plex")}
        assert run_cli("asset", "export", "--csv", "--columns", "approved_for_broadcast").out.splitlines()[1] == "false"
        refused = run_cli("asset", "list", "--columns", "title,size")
        assert (refused.status, refused.err.splitlines()[0]) == (1, "Error: An asset has no field 'size'.")
        done = run_cli("asset", "list", "--columns", "title", "--json")
        assert done.document["errors"][0]["message"] == "--columns and --json can't be given together."

    @pytest.mark.fault(208)
    def test_where_titles_are_alike_their_collections_and_keys_are_shown(
        self, run_cli: Cli, portal: BlockingPortal, database_url: str
    ) -> None:
        assert "Collection" not in run_cli("asset", "list").out.splitlines()[0]

        async def rename() -> None:
            connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
            await connection.execute("UPDATE asset SET title = 'Same', year = NULL, show_title = NULL, edition = 'Cut'")
            await connection.close()

        portal.call(rename)
        head, _, *rows, _ = run_cli("asset", "list").out.splitlines()
        assert head.split() == ["Title", "Collection", "Key", "Type", "Min", "State", "Id"]
        assert sorted(row.split()[2:4] for row in rows) == [
            ["Movies", "1"],
            ["Movies", "2"],
            ["Movies", "3"],
            ["Shows", "111"],
        ]
        assert {tuple(row.split()[:2]) for row in rows} == {("Same", "[Cut]")}

    def test_a_cursor_of_something_else_is_refused(self, run_cli: Cli) -> None:
        done = run_cli("asset", "list", "--after", "x", "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "bad_cursor")


class TestLifecycle:
    def test_approve(self, run_cli: Cli) -> None:
        found = assets(run_cli)
        one, two = found["One"]["uuid"], found["Two"]["uuid"]
        preview = run_cli.ok("asset", "approve", one, two, "--dry-run")
        assert (preview["dry_run"], preview["changed"]) == (True, 2)
        assert set(states(run_cli).values()) == {("new", False)}
        document = run_cli.ok("asset", "approve", two, one, two)
        assert list(document) == ["status", "dry_run", "total", "changed", "assets", "left_out"]
        assert (document["total"], document["changed"]) == (2, 2)
        assert document["assets"] == [
            {"uuid": two, "title": "Two", "state_before": "new", "state": "ready"},
            {"uuid": one, "title": "One", "state_before": "new", "state": "ready"},
        ]
        assert states(run_cli) == {
            "One": ("ready", True),
            "Two": ("ready", True),
            "Three": ("new", False),
            "First": ("new", False),
        }
        done = run_cli("asset", "approve", one, found["Three"]["uuid"])
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines()[-1] == "Assets approved: 1 of 2"

    def test_retire(self, run_cli: Cli) -> None:
        found = assets(run_cli)
        one, two = found["One"]["uuid"], found["Two"]["uuid"]
        run_cli.ok("asset", "approve", one)
        preview = run_cli("asset", "retire", one, two, "--dry-run")
        assert preview.out.splitlines()[-1] == "Dry run: nothing was written. Would be retired: 2 of 2"
        assert states(run_cli)["One"] == ("ready", True)
        document = run_cli.ok("asset", "retire", one, two)
        assert [step["state_before"] for step in document["assets"]] == ["ready", "new"]
        after = states(run_cli)
        assert (after["One"], after["Two"]) == (("retired", False), ("retired", False))
        assert run_cli.ok("asset", "retire", one)["changed"] == 0

    def test_only_new_assets_are_approved_and_all_or_none(self, run_cli: Cli) -> None:
        found = assets(run_cli)
        one, two = found["One"]["uuid"], found["Two"]["uuid"]
        run_cli.ok("asset", "retire", two)
        for more in ([], ["--dry-run"]):
            done = run_cli("asset", "approve", one, two, "--json", *more)
            [error] = done.document["errors"]
            assert (done.status, error["code"]) == (1, "bad_lifecycle_step")
            assert error["context"] == {"assets": {two: "retired"}}
        done = run_cli("asset", "approve", one, str(uuid.uuid4()), "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "asset_not_found")
        assert states(run_cli)["One"] == ("new", False)

    @pytest.mark.parametrize(
        ("change", "why"), [("state = 'enriching'", "enriching"), ("deleted_at = now()", "deleted")]
    )
    def test_what_can_not_be_approved_can_be_retired(
        self, run_cli: Cli, portal: BlockingPortal, database_url: str, change: str, why: str
    ) -> None:
        one = assets(run_cli)["One"]["uuid"]

        async def set_so() -> None:
            connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
            await connection.execute(f"UPDATE asset SET {change} WHERE uuid = $1", uuid.UUID(one))
            await connection.close()

        portal.call(set_so)
        done = run_cli("asset", "approve", one)
        assert done.status == 1
        assert f"Error: Only new assets can be approved: {one} is {why}.\n" in done.err
        assert run_cli("asset", "retire", one).status == 0
        assert run_cli.ok("asset", "show", one)["asset"]["state"] == "retired"


@pytest.mark.usefixtures("catalogue")
class TestInBulk:
    def test_filters_ask_first(self, run_cli: Cli) -> None:
        done = run_cli("asset", "approve", "--collection", "Movies")
        assert done.status == 1
        assert done.err.startswith("Approve 3 assets. 3 match: 3 new.\nError: This concerns 3 assets, and there is no")
        assert "--yes" in done.err
        assert set(states(run_cli).values()) == {("new", False)}
        preview = run_cli.ok("asset", "approve", "--collection", "Movies", "--dry-run")
        assert (preview["total"], preview["changed"], len(preview["assets"]), preview["left_out"]) == (3, 3, 3, 0)
        done = run_cli("asset", "approve", "--collection", "Movies", "--yes")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines()[-1] == "Assets approved: 3 of 3"
        assert run_cli.ok("asset", "retire", "--all", "--yes")["changed"] == 4
        assert run_cli.ok("asset", "unretire", "--type", "movie", "--yes")["changed"] == 3
        assert states(run_cli)["One"] == ("ready", True)
        one = assets(run_cli)["One"]["uuid"]
        assert [each["what"] for each in run_cli.ok("asset", "show", one)["asset"]["decisions"]] == [
            "approved",
            "retired",
            "unretired",
        ]
        assert "\ndecisions (3):\n  approved 2" in run_cli("asset", "show", one).out

    @pytest.mark.parametrize("words", [(), ("--all", "--year", "2000"), ("0199c0de", "--year", "2000")], ids=str)
    def test_it_has_to_be_clear_which_ones(self, run_cli: Cli, words: tuple[str, ...]) -> None:
        done = run_cli("asset", "retire", *words, "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (1, "usage")
        assert set(states(run_cli).values()) == {("new", False)}

    def test_ids_on_the_standard_input(self, run_cli: Cli) -> None:
        found = assets(run_cli)
        given = f"{found['One']['uuid']}\n\n  {found['Two']['uuid']}  \n"
        done = run_cli("asset", "approve", "-", "--json", stdin=given)
        assert (done.status, done.document["total"], done.document["changed"]) == (0, 2, 2)
        for exported in (("--jsonl",), ("--csv",), ("--csv", "--columns", "uuid,title")):
            lines = run_cli("asset", "list", "--all", "--collection", "Movies", *exported).out
            assert run_cli("asset", "retire", "-", "--json", stdin=lines).document["total"] == 3
        assert run_cli("asset", "unretire", "-", "--json", stdin=found["Three"]["uuid"]).document["changed"] == 1

    @pytest.mark.parametrize("line", ['{"title": "One"}', "{", "[]", "----  ----", "Title  Type", "2 of 4 assets"])
    def test_a_line_without_an_id_is_named(self, run_cli: Cli, line: str) -> None:
        one = assets(run_cli)["One"]["uuid"]
        done = run_cli("asset", "approve", "-", "--json", stdin=f"{one[:8]}\n{line}\n")
        (error,) = done.document["errors"]
        assert done.status == 1
        assert error["message"] == "Line 2 of the standard input has no id of an asset."
        assert states(run_cli)["One"] == ("new", False)

    def test_ids_are_short_in_tables_and_enough(self, run_cli: Cli) -> None:
        (row,) = (line for line in run_cli("asset", "list").out.splitlines() if line.startswith("One "))
        short, whole = row.split()[-1], assets(run_cli)["One"]["uuid"]
        assert whole.startswith(short)
        assert len(short) < len(whole)
        assert run_cli.ok("asset", "show", short)["asset"]["uuid"] == whole
        assert run_cli.ok("asset", "approve", short)["assets"][0]["uuid"] == whole
        run = run_cli.ok("ingest", "log")["entries"][0]["run_id"]
        assert run_cli.ok("ingest", "show", run[:8])["run_id"] == run
        assert run_cli.ok("ingest", "log", "--run", run[:8])["total"] == 2
