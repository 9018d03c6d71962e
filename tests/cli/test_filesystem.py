"""A directory as a source, from adding it to its second ingest, by the commands that a Plex server takes."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

INGEST = ("source", "ingest", "Disk")
LATIN = os.fsdecode(b"caf\xe9")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    root = tmp_path / "disk"
    for file in (
        "Movies/Heat (1995)/Heat (1995).mkv",
        "Movies/Heat (1995)/Heat (1995)-trailer.mkv",
        "Movies/Long/Long - cd1.avi",
        "Movies/Long/Long - cd2.avi",
        f"Movies/{LATIN}.mkv",
        "TV/Lost/Season 1/Lost S01E01.mkv",
        "TV/Lost/Season 1/Lost S01E02.mkv",
        "TV/Lost/Season 2/Lost S02E01.mkv",
        "loose \x1b[31m.mkv",
    ):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"media")
    return root


def add(cli: Cli, disk: Path) -> None:
    cli.ok("source", "add", "--type", "filesystem", "--name", "Disk", "--path", str(disk), "--discover")


def ready(cli: Cli, disk: Path) -> None:
    add(cli, disk)
    for name in ("Movies", "TV", "."):
        cli.ok("collection", "update", name, "--enable")


def numbers(document: Any) -> dict[str, Any]:
    names = ("total_discovered", "total_created_assets", "total_skipped_assets", "total_duplicates", "total_rejected")
    return {"status": document["status"]} | {name.removeprefix("total_"): document[name] for name in names}


def test_from_adding_to_the_second_ingest(run_cli: Cli, disk: Path) -> None:
    ready(run_cli, disk)
    first = {"status": "ok", "discovered": 7, "created_assets": 6, "skipped_assets": 0, "duplicates": 0, "rejected": 1}
    assert numbers(run_cli.ok(*INGEST, "--dry-run")) == first
    assert numbers(run_cli.ok(*INGEST)) == first
    again = first | {"created_assets": 0, "skipped_assets": 6}
    assert numbers(run_cli.ok(*INGEST, "--dry-run")) == again
    assert numbers(run_cli.ok(*INGEST)) == again
    assets = {one["title"]: one for one in run_cli.ok("asset", "list")["assets"]}
    assert assets["Heat"]["canonical_uri"] == f"{disk}/Movies/Heat (1995)/Heat (1995).mkv"
    assert "\x1b" not in run_cli("asset", "list").out


def test_what_is_added_and_removed_later(run_cli: Cli, disk: Path) -> None:
    ready(run_cli, disk)
    run_cli.ok(*INGEST)
    (disk / "Movies" / "New.mkv").write_bytes(b"media")
    (disk / "TV" / "Lost" / "Season 2" / "Lost S02E01.mkv").unlink()
    found = numbers(run_cli.ok(*INGEST))
    assert (found["created_assets"], found["skipped_assets"]) == (1, 5)
    assert run_cli.ok("asset", "list")["total"] == 7


def test_a_title_a_season_an_episode(run_cli: Cli, disk: Path) -> None:
    add(run_cli, disk)
    ingest = ("collection", "ingest", "TV", "--title", "Lost")
    assert run_cli.ok(*ingest, "--season", "1", "--episode", "2")["total_created_assets"] == 1
    assert run_cli.ok(*ingest)["total_created_assets"] == 2
    done = run_cli(*ingest, "--season", "7")
    assert (done.status, "has no season 7" in done.err) == (2, True)


class TestMissingDisks:
    def test_a_missing_root_is_unreachable(self, run_cli: Cli, disk: Path) -> None:
        done = run_cli("source", "add", "--type", "filesystem", "--name", "No", "--path", str(disk / "no"))
        assert done.status == 3
        assert "Is the disk mounted?" in done.err
        ready(run_cli, disk)
        shutil.rmtree(disk)
        done = run_cli(*INGEST, "--json")
        assert done.status == 3
        assert {one["code"] for one in done.document["errors"]} == {"missing_directory"}

    def test_an_empty_mount_is_never_taken_for_the_truth(self, run_cli: Cli, disk: Path) -> None:
        ready(run_cli, disk)
        run_cli.ok(*INGEST)
        shutil.rmtree(disk / "Movies")
        (disk / "Movies").mkdir()
        done = run_cli(*INGEST, "--json")
        assert done.status == 2
        assert [one["code"] for one in done.document["errors"]] == ["suspicious_empty"]
        shutil.rmtree(disk)
        disk.mkdir()
        assert "suspicious_empty" in run_cli("source", "discover", "Disk", "--json").out
        assert run_cli.ok("asset", "list")["total"] == 6

    def test_a_collection_that_is_not_mounted_is_skipped(self, run_cli: Cli, disk: Path) -> None:
        ready(run_cli, disk)
        (disk / "TV").rename(disk / "elsewhere")
        done = run_cli(*INGEST)
        assert done.status == 0
        assert "doesn't exist" in done.err or "No such file" in done.err


def test_another_directory_is_another_source(run_cli: Cli, disk: Path, tmp_path: Path) -> None:
    add(run_cli, disk)
    done = run_cli("source", "update", "Disk", "--path", str(tmp_path))
    assert done.status == 1
    assert "known by their paths" in done.err
    run_cli.ok("source", "update", "Disk", "--path", str(tmp_path), "--accept-new-identity")


def test_a_relative_path_is_stored_as_an_absolute_one(
    run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "media").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(run_cli.environment, "HOME", str(tmp_path))
    for name, path in (("Relative", "media"), ("Home", "~/media")):
        command = ("source", "add", "--type", "filesystem", "--name", name, "--path", path, "--again")
        assert run_cli.ok(*command)["source"]["config"]["path"] == str(tmp_path / "media")
    done = run_cli("source", "add", "--type", "filesystem", "--name", "No", "--path", "")
    assert (done.status, "the path is empty" in done.err) == (1, True)
