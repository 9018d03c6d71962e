"""Rejected items and duplicates over all runs, and what the catalogue holds in numbers."""

import csv
import io
from typing import Any

import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue import Rejection
from retrovue.store.addresses import database_url as parsed
from retrovue.store.session import Store
from tests.cli.conftest import Cli
from tests.conftest import Packages
from tests.support.library import Library, draft, page


@pytest.fixture
def runs(packages: Packages, database_url: str, portal: BlockingPortal) -> None:
    """Two runs: the first rejects three items and finds a duplicate, the second rejects one of them again."""
    packages.install("scripted", scripted="tests.support.library:ScriptedImporter")
    odd = [Rejection("no_file", f"It has no file {number}.", f"x:{number}", f"Odd {number}") for number in range(2)]
    lost = Rejection("unmapped_path", "It isn't mapped.", "x:9", "Lost")

    async def ingest() -> None:
        async with Store(parsed(database_url)) as store:
            library = await Library.make(store, "Movies")
            await library.ingest_one(page(draft("a"), draft("b", "a.mkv"), *odd, lost))
            await library.ingest_one(page(draft("a"), draft("b", "a.mkv"), odd[1]))

    portal.call(ingest)


@pytest.mark.usefixtures("runs")
class TestRejected:
    def listed(self, cli: Cli, *options: str) -> list[str]:
        return [item["title"] for item in cli.ok("ingest", "rejected", *options)["items"]]

    def test_all_runs_the_latest_first_with_their_reasons(self, run_cli: Cli) -> None:
        document = run_cli.ok("ingest", "rejected")
        assert [item["title"] for item in document["items"]] == ["Odd 1", "Odd 0", "Odd 1", "Lost"]
        assert (document["total"], document["reasons"]) == (4, {"no_file": 3, "unmapped_path": 1})
        assert {item["collection_name"] for item in document["items"]} == {"Movies"}
        assert {item["source_name"] for item in document["items"]} == {"A source"}

    @pytest.mark.parametrize(
        ("options", "titles"),
        [
            (("--reason", "unmapped_path"), ["Lost"]),
            (("--latest",), ["Odd 1"]),
            (("--collection", "Movies", "--limit", "1"), ["Odd 1"]),
            (("--since", "2100-01-01"), []),
            (("--until", "2000-01-01"), []),
        ],
    )
    def test_filters(self, run_cli: Cli, options: tuple[str, ...], titles: list[str]) -> None:
        assert self.listed(run_cli, *options) == titles

    def test_pages_neither_skip_nor_repeat(self, run_cli: Cli) -> None:
        titles: list[str] = []
        more: tuple[str, ...] = ()
        for _ in range(4):
            document = run_cli.ok("ingest", "rejected", "--limit", "1", *more)
            titles += [item["title"] for item in document["items"]]
            more = ("--after", document["next_cursor"] or "none")
        assert (titles, document["next_cursor"]) == (["Odd 1", "Odd 0", "Odd 1", "Lost"], None)

    def test_whole_lists_as_lines_and_as_csv(self, run_cli: Cli) -> None:
        lines = [orjson.loads(line) for line in run_cli("ingest", "rejected", "--jsonl").out.splitlines()]
        assert lines == run_cli.ok("ingest", "rejected", "--all")["items"]
        rows = list(csv.DictReader(io.StringIO(run_cli("ingest", "rejected", "--csv").out)))
        assert [row["title"] for row in rows] == [line["title"] for line in lines]

    def test_for_people(self, run_cli: Cli) -> None:
        done = run_cli("ingest", "rejected", "--limit", "2")
        assert "Odd 1: It has no file 1." in done.out
        assert "Movies of A source" in done.out
        assert "2 of 4 rejected items\n" in done.out
        assert done.out.endswith("By reason: no_file 3, unmapped_path 1\n")
        assert run_cli("ingest", "rejected", "--reason", "none").out == "No rejected items.\n"

    @pytest.mark.parametrize(
        ("options", "code"),
        [(("--after", "x"), "bad_cursor"), (("--all", "--after", "x"), "usage")],
    )
    def test_what_does_not_fit(self, run_cli: Cli, options: tuple[str, ...], code: str) -> None:
        done = run_cli("ingest", "rejected", "--json", *options)
        assert (done.status, done.document["errors"][0]["code"]) == (1, code)

    def test_one_form_at_a_time(self, run_cli: Cli) -> None:
        done = run_cli("ingest", "rejected", "--jsonl", "--csv")
        assert (done.status, "can't be given together" in done.err) == (1, True)


@pytest.mark.usefixtures("runs")
class TestDuplicates:
    def test_each_once_with_its_asset(self, run_cli: Cli) -> None:
        document = run_cli.ok("ingest", "duplicates")
        (item,) = document["items"]
        assert (document["total"], item["title"], item["asset_title"], item["source_name"]) == (1, "B", "A", "A source")
        assert run_cli.ok("ingest", "duplicates", "--source", "A source", "--limit", "0")["items"] == []
        assert "B (same file as A)" in run_cli("ingest", "duplicates").out

    def test_as_lines(self, run_cli: Cli) -> None:
        (line,) = run_cli("ingest", "duplicates", "--jsonl").out.splitlines()
        assert orjson.loads(line) == run_cli.ok("ingest", "duplicates", "--all")["items"][0]


class TestStatistics:
    def numbers(self, cli: Cli, *options: str) -> dict[str, Any]:
        document: dict[str, Any] = cli.ok("stats", *options)
        return document

    @pytest.mark.usefixtures("runs")
    def test_what_the_catalogue_holds(self, run_cli: Cli) -> None:
        document = self.numbers(run_cli)
        (collection,) = document["collections"]
        assert document["totals"]["assets"] == collection["assets"] == 1
        (group,) = document["groups"]
        assert (group["type"], group["state"], group["assets"]) == ("movie", "new", 1)
        assert (collection["name"], collection["source"]["name"], collection["last_run"]["status"]) == (
            "Movies", "A source", "ingested"
        )  # fmt: skip
        assert self.numbers(run_cli, "--source", "A source")["total"] == 1
        human = run_cli("stats").out
        assert "Movies of A source" in human
        assert "By type: movie 1\n" in human

    def test_an_unknown_source(self, run_cli: Cli) -> None:
        assert run_cli("stats", "--source", "Nowhere", "--json").document["errors"][0]["code"] == "source_not_found"
