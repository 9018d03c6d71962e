"""Workers as processes, and what is left to them from the command line."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.core.model import Source
from tests.cli.conftest import Cli, Plex, Process, stuck
from tests.contracts.rules import ROOT

MOVIES = "/library/sections/1/all"
VARYING = {"run_id", "duration_seconds", "durations", "sweep_in_seconds"}


@contextmanager
def working(run_cli: Cli, *arguments: str) -> Iterator[Process]:
    """Let a worker work; it is killed at the end of the block, however that ends."""
    with run_cli.start("worker", *arguments) as process:
        try:
            assert b" works jobs." in process.read_line()
            yield process
        finally:
            process.kill()


@contextmanager
def impatient(run_cli: Cli, name: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that waits for nothing long, with a home of its own."""
    command = [sys.executable, "-m", "tests.support.worker_process", name]
    environment = run_cli.environment | {"RETROVUE_HOME": str(home)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            yield process
        finally:
            process.kill()


def steady(value: Any) -> Any:
    """A document without what differs from run to run."""
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if key not in VARYING}
    return [steady(item) for item in value] if isinstance(value, list) else value


class TestEnqueue:
    def test_a_run_of_workers_is_reported_as_one_here(self, run_cli: Cli, ready: Source) -> None:
        run_cli.ok("source", "ingest", ready.name)
        arguments = ("source", "sync", ready.name, "--full", "--strict", "--json")
        here = run_cli(*arguments)
        with working(run_cli, "--name", "A") as process:
            there = run_cli(*arguments, "--enqueue", "--wait")
            assert (there.status, steady(there.document)) == (here.status, steady(here.document))
            read = run_cli("source", "sync", ready.name, "--enqueue", "--wait")
            assert b"ingested" in process.read_line()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, b"")
        assert read.status == 0
        assert "Source sync complete" in read.out

    def test_without_waiting_it_says_who_will_do_it(self, run_cli: Cli, ready: Source) -> None:
        asked = run_cli.ok("source", "ingest", ready.name, "--enqueue")
        assert asked["workers"] == []
        assert asked["collections"]
        with working(run_cli, "--name", "A", "--source", ready.name):
            told = run_cli("source", "ingest", ready.name, "--enqueue")
            assert "Workers: A\n" in told.out
            done = run_cli("source", "ingest", ready.name, "--enqueue", "--wait", "--json")
            assert done.status == 0
        assert run_cli.ok("ingest", "show", asked["run_id"])["run_id"] == asked["run_id"]

    @pytest.mark.usefixtures("ready")
    @pytest.mark.parametrize(
        "arguments",
        [
            ("source", "ingest", "My Plex", "--wait"),
            ("source", "ingest", "--all", "--enqueue"),
            ("source", "ingest", "My Plex", "--enqueue", "--dry-run"),
            ("source", "ingest", "My Plex", "--enqueue", "--atomic"),
            ("collection", "enrich", "Movies", "--wait"),
            ("collection", "enrich", "Movies", "--enqueue"),
            ("worker", "--json"),
            ("worker", "--source", "Nothing"),
        ],
    )
    def test_what_cant_be_left_to_workers_is_refused(self, run_cli: Cli, arguments: tuple[str, ...]) -> None:
        assert run_cli(*arguments).status == 1


class TestExtra:
    @pytest.mark.parametrize("module", ["jobs", "serving", "ingest", "enrichers"])
    def test_what_commands_import_at_their_start_needs_no_engine(self, module: str) -> None:
        program = (
            f"import sys, retrovue.cli.actions.{module};"
            "sys.exit(bool({'procrastinate', 'psycopg'} & sys.modules.keys()))"
        )
        assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0

    @pytest.mark.parametrize(
        "arguments", [("worker",), ("serve", "--jobs", "--no-page"), ("source", "sync", "My Plex", "--enqueue")]
    )
    def test_without_it_is_said_what_to_install(
        self, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        monkeypatch.setitem(sys.modules, "psycopg_pool", None)
        refused = run_cli(*arguments)
        assert refused.status == 1
        assert "psycopg_pool is needed to" in refused.err
        assert "retrovue[service]" in refused.err


class TestGone:
    def test_what_a_killed_worker_had_begun_another_one_does(
        self, run_cli: Cli, ready: Source, plex: Plex, portal: BlockingPortal, tmp_path: Path
    ) -> None:
        with impatient(run_cli, "A", tmp_path / "a") as first, stuck(portal, plex, MOVIES) as arrived:
            asked = run_cli.ok("source", "ingest", ready.name, "--enqueue")
            assert arrived.wait(30)
            with impatient(run_cli, "B", tmp_path / "b"):
                first.send_signal(signal.SIGKILL)
                first.wait()
                plex.server.faults.clear()
                done = run_cli("source", "ingest", ready.name, "--enqueue", "--wait", "--json")
        assert done.status == 0
        assert all(one["status"] in {"ingested", "skipped"} for one in done.document["collection_results"])
        shown = run_cli.ok("ingest", "show", asked["run_id"])
        assert {one["status"] for one in shown["collections"]} <= {"ingested", "interrupted"}
        assert run_cli.ok("asset", "list")["total"] > 50
