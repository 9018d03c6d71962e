"""Trees of files from the field, ingested and enriched by the commands."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

CASES = Path(__file__).parents[1] / "data" / "files"


@pytest.fixture
def case(run_cli: Cli, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The source "Disk" with all its collections enabled: a copy of the case that the test is parametrized with."""
    root = tmp_path / "disk"
    shutil.copytree(CASES / request.param, root)
    added = run_cli.ok("source", "add", "--type", "filesystem", "--name", "Disk", "--path", str(root), "--discover")
    assert added
    for path in root.iterdir():
        if path.is_dir() and path.name in {"Movies", "TV"}:
            run_cli.ok("collection", "update", path.name, "--source", "Disk", "--enable")
    return root


def enrich(run_cli: Cli, kind: str, *collections: str) -> None:
    run_cli.ok("enricher", "add", "--type", kind, "--name", kind)
    for collection in collections:
        run_cli.ok("collection", "attach-enricher", collection, kind)


def ingest(run_cli: Cli) -> dict[str, dict[str, Any]]:
    document = run_cli.ok("source", "ingest", "Disk")
    return {result["name"]: result for result in document["collection_results"]}


def assets(run_cli: Cli) -> list[dict[str, Any]]:
    return sorted(run_cli.ok("asset", "list")["assets"], key=lambda asset: str(asset["canonical_uri"]))


@pytest.mark.parametrize("case", ["n_enc"], indirect=True)
def test_a_sidecars_title_replaces_that_of_the_file(run_cli: Cli, case: Path) -> None:
    film = case / "Movies" / "Amp (1999)"
    (film / "movie.nfo").write_text("<movie><title>Tom & Jerry</title><rating>6,1</rating></movie>")
    enrich(run_cli, "nfo", "Movies")
    assert ingest(run_cli)["Movies"]["created"] == 10
    found = {Path(asset["canonical_uri"]).parent.name: asset for asset in assets(run_cli)}
    assert (found["Amp (1999)"]["title"], found["Amp (1999)"]["rating"]) == ("Tom & Jerry", 6.1)
    assert found["Latin (1999)"]["studio"] == "Münchner Häuser"
    assert {asset["state"] for asset in found.values()} == {"new"}


@pytest.mark.parametrize("case", ["r_replace"], indirect=True)
@pytest.mark.fault(130, 214)
def test_a_file_that_grew_or_was_replaced_is_noticed_and_probed_again(run_cli: Cli, case: Path) -> None:
    movies = case / "Movies"
    whole = (movies / "Copying (2001).ts").read_bytes()
    (movies / "Copying (2001).ts").write_bytes(whole[: len(whole) // 4])
    enrich(run_cli, "probe", "Movies")
    assert ingest(run_cli)["Movies"]["warning_counts"] == {}
    before = {asset["title"]: asset["runtime_ms"] for asset in assets(run_cli)}
    assert ingest(run_cli)["Movies"]["warning_counts"] == {}
    (movies / "Copying (2001).ts").write_bytes(whole)
    # The same size, another time.
    os.utime(movies / "Upgrade (2001).mkv", (1, 1))
    dry = run_cli.ok("source", "ingest", "Disk", "--dry-run")["collection_results"]
    assert [result["warning_counts"] for result in dry] == [{"changed_at_source": 2}]
    assert [result["enrichment"]["owed"] for result in dry] == [2]
    again = ingest(run_cli)["Movies"]
    assert (again["warning_counts"], again["skipped"], again["created"]) == ({"changed_at_source": 2}, 2, 0)
    assert again["enrichment"]["succeeded"] == 2
    after = {asset["title"]: asset["runtime_ms"] for asset in assets(run_cli)}
    assert after["Copying"] > before["Copying"] * 2
    # The catalogue's size is the old one until a sync, the probe's fingerprint the new one.
    assert ingest(run_cli)["Movies"]["enrichment"]["succeeded"] == 0


@pytest.mark.parametrize("case", ["a_multi"], indirect=True)
@pytest.mark.fault(126, 211)
def test_several_episodes_of_a_file_are_aliases(run_cli: Cli, case: Path) -> None:
    first = ingest(run_cli)["TV"]
    assert (first["created"], first["duplicates"], first["rejected"]) == (10, 4, 0)
    again = ingest(run_cli)["TV"]
    assert (again["skipped"], again["duplicates"], again["source_items"]) == (10, 4, 10)
    [storm] = [asset for asset in assets(run_cli) if asset["title"] == "Storm"]
    shown = run_cli.ok("asset", "show", storm["uuid"])
    assert "episode=8" in str(shown)


@pytest.mark.parametrize("case", ["h_snapshots"], indirect=True)
@pytest.mark.fault(128, 212)
def test_what_is_left_out_is_counted(run_cli: Cli, case: Path) -> None:
    found = ingest(run_cli)["Movies"]
    assert (found["created"], found["warning_counts"]) == (1, {"left_out_snapshot": 5, "left_out_system": 1})


@pytest.mark.parametrize("case", ["e_discs"], indirect=True)
@pytest.mark.fault(122, 212)
def test_discs_are_rejected(run_cli: Cli, case: Path) -> None:
    found = ingest(run_cli)["Movies"]
    assert (found["created"], found["rejected"]) == (1, 4)
    assert {item["code"] for item in found["rejected_items"]} == {"disc_folder", "disc_image"}
