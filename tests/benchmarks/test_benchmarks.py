"""The benchmarks run, and their floor does the same work as the product; how fast is nobody's business here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import orjson
import pytest

from benchmarks.__main__ import main
from benchmarks.choice import FULL, TARGETS
from benchmarks.database import SOURCE, Databases
from benchmarks.floor import COLUMNS
from benchmarks.harness import ROOT, TOKEN, served
from benchmarks.page import BEGIN, END, PAGE, measured
from benchmarks.probe import differences, make_files, measure
from benchmarks.scenarios import Layout, without_cli
from benchmarks.tree import trees
from retrovue.store.embedded import EmbeddedServer


@pytest.mark.long
def test_one_command_measures_and_reports(tmp_path: Path) -> None:
    names = ("main", "sync", "start", "one-tree", "jellyfin", "rows", "little")
    chosen = [word for name in names for word in ("--only", name)]
    options = ["--items", "500", "--rounds", "1", *chosen, "--output", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (report,) = tmp_path.iterdir()
    said = orjson.loads(report.read_bytes())
    main_job, sync, start, one_tree, jellyfin, rows, little = said["scenarios"]
    created = {one["name"]: one["medians"]["created"] for one in main_job["contenders"]}
    assert created["first"] == created["library"] == created["floor"] == created["dry-run"] > 450
    assert created["re-ingest"] == created["fetch only"] == 0
    measured = {"client_cpu", "postgres_cpu", "plex_cpu", "peak_mb", "requests", "items", "from_plex"}
    first = next(one for one in main_job["contenders"] if one["name"] == "first")
    assert all(first["medians"][name] > 0 for name in measured)
    assert len(start["contenders"][0]["samples"]) == 10
    # A sync writes what has changed, and nothing if nothing has.
    written = {one["name"]: one["medians"]["assets_written"] for one in sync["contenders"]}
    assert written["first"] > 450
    assert written["10 % removed"] >= 48  # 12 of 125 in each collection
    assert 0 < written["1 % changed"] < 50
    assert 0 < written["1 % changed, all read"] < 50
    assert written["re-ingest"] == written["nothing changed"] == written["nothing changed, all read"] == 0
    # A tree of files is ingested like any other source.
    tree = [one["medians"] for one in one_tree["contenders"] if one["client"] == "cli"]
    assert all(one[name] > 0 for one in tree for name in ("wall", "client_cpu", "peak_mb", "items", "from_plex"))
    assert [one["requests"] for one in tree] == [None, None]
    # Their floors write what they write, and copies of rows are counted as PostgreSQL's work.
    for scenario in (one_tree, jellyfin):
        created = {one["name"]: one["medians"]["created"] for one in scenario["contenders"]}
        assert created["first"] == created["floor"] == 500
        assert not sum(number for name, number in created.items() if name not in {"first", "floor"})
    assert rows["contenders"][1]["medians"]["items"] == rows["contenders"][0]["medians"]["created"] > 200
    # A sync of a library in which little has changed reads little of it.
    requests = {one["name"]: one["medians"]["requests"] for one in little["contenders"]}
    assert (requests["unchanged"], requests["unchanged, 2 s"]) == (2, 2)
    assert requests["100 changed"] <= 10
    values = {target["name"]: target["value"] for target in said["targets"]}
    assert values["First ingest, wall time ÷ floor"] > 0
    assert values["Start of the command line"] > 0
    assert values["First ingest of a tree ÷ its floor"] > 0
    assert values["PostgreSQL's CPU for new assets ÷ COPY of their bytes into a bare table"] > 0
    assert values["50 ms a request ÷ none"] is None
    # The report describes the machine and doesn't name it.
    assert str(ROOT) not in report.read_text()
    assert os.uname().nodename not in report.read_text()


def test_a_run_that_fails_fails_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "nonsense", "--output", str(tmp_path)]) == 1
    assert "no scenario nonsense" in capsys.readouterr().err


@pytest.mark.anyio
async def test_the_same_files_are_probed_by_both_programs(tmp_path: Path) -> None:
    files = make_files(tmp_path, 8)
    programs = ["pyav", *(["ffprobe"] if shutil.which("ffprobe") else [])]
    measured = await measure(programs, files, 1)
    for one in measured.values():
        assert sorted(one.found) == [str(path) for path in files]
        assert all(fields["video_codec"] == "mpeg4" for fields in one.found.values())
        assert [len(one.wall), len(one.cpu)] == [1, 1]
        assert min(*one.wall, *one.cpu) > 0


def test_what_two_programs_do_not_agree_about() -> None:
    one: dict[str, dict[str, object]] = {"a.mkv": {"width": 1, "title": "A"}, "b.avi": {"width": 1}}
    assert differences(one, one) == {}
    assert differences(one, {"a.mkv": {"width": 1}, "b.avi": {"width": 2}}) == {"title": ["mkv"], "width": ["avi"]}


def test_a_probe_without_ffprobe_says_what_it_left_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.probe", "--files", "2", "--rounds", "1"],
        cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Skipped: ffprobe isn't installed" in done.stdout
    assert "PyAV in a worker" in done.stdout


async def _rows(databases: Databases, name: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(databases.url(name).replace("+asyncpg", ""))
    try:
        statement = (
            f"SELECT {COLUMNS}, coalesce((SELECT jsonb_agg(to_jsonb(part) - 'asset_uuid' ORDER BY position)"
            " FROM asset_part AS part WHERE asset_uuid = uuid), '[]') FROM asset ORDER BY source_uri"
        )
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def _compare_rows(databases: Databases, template: str, floor_command: list[str], least: int) -> None:
    floor, product = await databases.clone(template), await databases.clone(template)
    for name, command in {floor: floor_command, product: ["benchmarks.library", SOURCE]}.items():
        environment = {"RETROVUE_DATABASE_URL": databases.url(name), "RETROVUE_TOKEN": TOKEN}
        await anyio.run_process([sys.executable, "-m", *command], env=os.environ | environment, cwd=ROOT, stderr=None)
    rows = await _rows(databases, product)
    assert len(rows) >= least
    assert await _rows(databases, floor) == rows
    for name in (floor, product, template):
        await databases.drop(name)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "layout",
    [Layout("movie", (1100, 50)), Layout("show", (1100, 50)), Layout("movie", (510, 20), server="jellyfin")],
    ids=["movies", "shows", "jellyfin"],
)
async def test_floor_writes_the_rows_that_the_product_writes(
    server: EmbeddedServer, tmp_path: Path, layout: Layout
) -> None:
    databases = Databases(server)
    async with served(layout) as source:
        template = await databases.make(source.url, TOKEN, tmp_path, layout.server)
        module = "benchmarks.floor" if layout.server == "plex" else "benchmarks.floor_jellyfin"
        # Each has a library of more than a page.
        least = layout.items if layout.server == "jellyfin" else 1000
        await _compare_rows(databases, template, [module, source.url, str(tmp_path)], least)


@pytest.mark.anyio
async def test_floor_of_a_tree_writes_the_rows_that_the_product_writes(server: EmbeddedServer, tmp_path: Path) -> None:
    databases = Databases(server)
    layout = Layout("movie", (30, 5), "nested")
    async with trees([layout], tmp_path) as roots:
        template = await databases.make_of_tree(roots[layout])
        await _compare_rows(databases, template, ["benchmarks.floor_tree", str(roots[layout])], layout.items)


def test_every_target_refers_to_what_is_measured() -> None:
    scenarios = [make(100_000) for make in FULL]
    measured = {(scenario.name, one.name) for scenario in scenarios for one in scenario.contenders}
    asked: set[tuple[str, str]] = set()

    def of(scenario: str, contender: str, _: str) -> float:
        asked.add((scenario, contender))
        return 1.0

    for target in TARGETS:
        target.measure(of)
    assert asked <= measured
    assert all(
        one.client not in ("cli", "help") for made in map(without_cli, scenarios) if made for one in made.contenders
    )


def test_the_page_says_what_was_measured() -> None:
    machine = {
        "cores": 2, "processor": "X", "memory_gb": 8.0, "system": "Linux 6", "python": "CPython 3.11",
        "load_at_start": [0.1],
        "postgresql": {"server_version": "18", "fsync": "on"},
    }  # fmt: skip
    target = {"name": "A ÷ B", "value": 1.25, "unit": "×", "at_most": 1.5, "at_least": None, "met": True}
    medians = {"wall": 2.0, "items": 1000, "requests": None}
    contender = {"name": "first", "client": "cli", "medians": medians, "samples": [{}, {}, {}]}
    result = {
        "began": "2026-01-02T03:04:05", "items": 1000, "rounds": 3, "machine": machine,
        "targets": [
            target, {**target, "name": "… CPU", "value": 3.0}, {**target, "name": "… again", "value": 2.0},
            {**target, "name": "… CPU", "value": 2.5}, {**target, "name": "C", "value": None},
            {**target, "name": "… CPU", "value": 4.0}, {**target, "name": "… memory", "value": 5.0},
        ],
        "scenarios": [{"name": "main", "title": "Main", "contenders": [contender]}],
    }  # fmt: skip
    page = measured([result, {**result, "targets": [{**target, "value": 1.75, "met": False}]}])
    names = [line.split(" × ")[0] for line in page.splitlines() if " × |" in line]
    assert names == [
        "| A ÷ B | 1.75",
        "| … CPU | 3.00",
        "| … again | 2.00",
        "| … CPU | 2.50",
        "| C: CPU | 4.00",
        "| … memory | 5.00",
    ]
    assert "| A ÷ B | 1.75 × | ≤ 1.5 | **missed** |" in page
    assert page.count("1,000 items in the main job") == page.count("**Main** (`main`, medians of 3 rounds)") == 1
    assert "| first (cli) | 2.00 | 500 |" in page
    assert PAGE.read_text().count(BEGIN) == PAGE.read_text().count(END) == 1
