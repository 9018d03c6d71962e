"""``source ingest --all``: every source in turn, with its discovery, one document and the worst exit status."""

from pathlib import Path

import orjson
import pytest

from retrovue.simulator import Fault, faults
from tests.cli.conftest import Cli, Plex

ALL = ("source", "ingest", "--all")


@pytest.fixture
def disk(run_cli: Cli, tmp_path: Path) -> Path:
    """A directory that is a second source, with one enabled collection."""
    directory = tmp_path / "disk"
    (directory / "Films").mkdir(parents=True)
    (directory / "Films" / "Heat (1995).mkv").write_bytes(b"film")
    run_cli.ok("source", "add", "--type", "filesystem", "--name", "Disk", "--path", str(directory), "--discover")
    run_cli.ok("collection", "update", "Films", "--enable")
    return directory


@pytest.mark.usefixtures("ready")
class TestAllSources:
    def test_each_source_in_turn(self, run_cli: Cli, disk: Path) -> None:
        (disk / "Shows").mkdir()
        document = run_cli.ok(*ALL)
        assert [one["source"]["name"] for one in document["sources"]] == ["Disk", "My Plex"]
        disk_, plex = document["sources"]
        assert (disk_["discovered"]["added"], plex["discovered"]["added"]) == (["Shows"], [])
        assert [one["ingest"]["status"] for one in document["sources"]] == ["ok", "ok"]
        created = [one["ingest"]["total_created_assets"] for one in document["sources"]]
        assert created[0] == 1 < created[1]
        assert (document["total"], document["total_created_assets"]) == (2, sum(created))
        (disk / "Films").rename(disk / "Movies")
        human = run_cli(*ALL)
        assert human.status == 1  # the enabled collection is gone, and it is the only one
        assert "Added: Movies\nGone: Films\n" in human.out
        assert human.out.endswith("Ingest complete: 2 sources (1 success, 1 not)\n")

    def test_a_renamed_library_is_told(self, run_cli: Cli, plex: Plex) -> None:
        run_cli.ok(*ALL)
        plex.server.sections[0].title = "Films"
        (source,) = run_cli.ok(*ALL)["sources"]
        assert source["discovered"]["renamed"] == [{"before": "Movies", "now": "Films"}]
        assert source["discovered"]["updated"] == ["Films"]

    @pytest.mark.usefixtures("disk")
    def test_the_exit_status_is_the_worst(self, run_cli: Cli, plex: Plex) -> None:
        plex.server.faults.add(Fault(faults.lie_about_total(3), path="/library/sections/2/all"))
        done = run_cli(*ALL, "--json")
        assert (done.status, done.document["status"]) == (2, "partial")
        plex.server.faults.add(Fault(faults.status(401), path="/library/*"))
        done = run_cli(*ALL, "--json")
        assert (done.status, done.document["status"]) == (1, "partial")
        assert [one["ingest"]["status"] for one in done.document["sources"]] == ["ok", "error"]

    def test_a_source_of_which_nothing_is_enabled_is_left_out(self, run_cli: Cli) -> None:
        for name in ("Movies", "TV Shows"):
            run_cli.ok("collection", "update", name, "--disable")
        (source,) = run_cli.ok(*ALL)["sources"]
        assert (source["skipped"]["code"], source["ingest"]) == ("no_enabled_collections", None)

    def test_events_of_all_and_one_summary(self, run_cli: Cli) -> None:
        told = [orjson.loads(line) for line in run_cli(*ALL, "--jsonl").out.splitlines()]
        assert (told[0]["type"], told[-1]["type"], told[-1]["total"]) == ("started", "summary", 1)
        assert [one["type"] for one in told].count("summary") == 1

    @pytest.mark.parametrize(("arguments", "said"), [((*ALL, "My Plex"), "together"), (ALL[:2], "Missing argument")])
    def test_a_source_or_all(self, run_cli: Cli, arguments: tuple[str, ...], said: str) -> None:
        done = run_cli(*arguments)
        assert (done.status, said in done.err) == (1, True)


def test_no_source(run_cli: Cli) -> None:
    done = run_cli(*ALL, "--json")
    assert (done.status, done.document["errors"][0]["code"]) == (1, "no_sources")
