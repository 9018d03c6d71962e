"""Trees of files from the field, ingested and enriched by the commands."""

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
