"""Schedules from the command line, and hosts as processes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.core.model import Source
from tests.cli.conftest import Cli, Plex, Process, stuck

MOVIES = "/library/sections/1/all"
NEVER = "0 0 29 2 *"


@pytest.fixture
def schedule(run_cli: Cli, ready: Source) -> Any:
    """A schedule of the source, which is never due."""
    added = run_cli.ok("schedule", "add", ready.name, "--cron", NEVER, "--name", "leap")
    return added["schedule"]


class TestCommands:
    def test_a_schedule_is_added_listed_changed_and_removed(self, run_cli: Cli, ready: Source) -> None:
        planned = run_cli.ok("schedule", "add", ready.name, "--cron", "*/5 * * * *", "--dry-run")
        assert (planned["dry_run"], planned["schedule"]["name"]) == (True, f"{ready.name}: sync")
        assert run_cli.ok("schedule", "list")["total"] == 0
        added = run_cli.ok("schedule", "add", ready.name, "--cron", "*/5 * * * *", "--time-zone", "Europe/Berlin")
        assert added["schedule"]["source"] == {"id": str(ready.id), "name": ready.name}
        listed = run_cli.ok("schedule", "list", "--source", ready.name)
        assert listed["schedules"][0]["id"] == added["schedule"]["id"]
        changed = run_cli.ok(
            "schedule", "update", f"{ready.name}: sync", "--what", "enrich", "--name", "S", "--disable"
        )
        assert changed["changed"] == ["enabled", "name", "what"]
        assert (changed["schedule"]["next_due_at"], changed["schedule"]["enabled"]) == (None, False)
        assert run_cli.ok("schedule", "show", "S")["schedule"] == changed["schedule"]
        run_cli.ok("schedule", "remove", "S", "--dry-run")
        run_cli.ok("schedule", "remove", "S", "--yes")
        assert run_cli.ok("schedule", "list")["total"] == 0

    def test_people_read_it(self, run_cli: Cli, schedule: Any) -> None:
        table = run_cli("schedule", "list").out
        assert "Latest run" in table
        assert "none yet" in table
        asked = run_cli("schedule", "run-now", "leap")
        assert asked.out == "leap will run when a host serves: start `retrovue serve`.\n"
        shown = run_cli("schedule", "show", schedule["id"]).out
        assert f"  sync of My Plex, at {NEVER} in UTC: due next 2028-02-29" in shown
        assert "a requested run is waiting" in shown

    @pytest.mark.parametrize(
        ("arguments", "status", "code"),
        [
            (("add", "Nothing", "--cron", "@daily"), 1, "source_not_found"),
            (("add", "My Plex", "--cron", "every day"), 1, "bad_cron"),
            (("add", "My Plex", "--cron", "@daily", "--time-zone", "Nowhere"), 1, "bad_time_zone"),
            (("add", "My Plex", "--cron", "@daily", "--name", "leap"), 1, "name_taken"),
            (("show", "nothing"), 1, "schedule_not_found"),
            (("update", "leap"), 1, "usage"),
            (("remove", "leap"), 1, "confirmation_needed"),
        ],
    )
    @pytest.mark.usefixtures("schedule")
    def test_bad_input_is_refused(self, run_cli: Cli, arguments: tuple[str, ...], status: int, code: str) -> None:
        done = run_cli("schedule", *arguments, "--json")
        assert (done.status, done.document["errors"][0]["code"]) == (status, code)

    def test_serving_prints_no_document(self, run_cli: Cli) -> None:
        assert run_cli("serve", "--json").status == 1


@contextmanager
def serving(run_cli: Cli, name: str) -> Iterator[Process]:
    """Let a host serve; it is killed at the end of the block, however that ends."""
    with run_cli.start("serve", "--no-page", "--name", name) as process:
        try:
            yield process
        finally:
            process.kill()


class TestProcesses:
    def test_it_serves_the_page_until_a_signal_and_tells_how_it_is(self, run_cli: Cli) -> None:
        with run_cli.start("serve", "--name", "A", "--port", "0") as process:
            try:
                assert b"A works the schedules" in process.read_line()
                url = process.read_line().decode().removeprefix("The page is at ").strip()
                with httpx.stream("GET", f"{url}health") as health:
                    document = orjson.loads(health.read())
                    process.send_signal(signal.SIGTERM)
                    _, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert (document["host"], document["database"]) == ("A", "reachable")
        assert (process.returncode, err) == (0, b"")

    def test_a_page_for_others_wants_a_token(self, run_cli: Cli) -> None:
        refused = run_cli("serve", "--host", "0.0.0.0", "--port", "0")
        assert (refused.status, refused.out) == (1, "")
        assert "RETROVUE_PAGE_TOKEN" in refused.err

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_is_its_end(self, run_cli: Cli, schedule: Any, number: signal.Signals) -> None:
        with serving(run_cli, "A") as process:
            assert b"A works the schedules" in process.read_line()
            assert run_cli.ok("schedule", "run-now", schedule["id"])["schedule"]["name"] == "leap"
            assert b"  leap  ok" in process.read_line()
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, b"")
        (run,) = run_cli.ok("schedule", "show", "leap")["schedule"]["runs"]
        assert (run["host"], run["status"]) == ("A", "ok")
        assert run_cli.ok("ingest", "show", run["run_id"])["run_id"] == run["run_id"]

    def test_what_a_killed_host_had_begun_another_one_does(
        self, run_cli: Cli, schedule: Any, plex: Plex, portal: BlockingPortal
    ) -> None:
        run_cli("schedule", "run-now", schedule["id"])
        with (
            stuck(portal, plex, MOVIES) as arrived,
            serving(run_cli, "A") as first,
            serving(run_cli, "B") as second,
        ):
            assert arrived.wait(30)
            holder = self._holder(run_cli)
            for process in (first, second):
                assert b" works the schedules" in process.read_line()
            killed, other = (first, second) if holder == "A" else (second, first)
            plex.server.faults.clear()
            killed.kill()
            killed.communicate()
            # Its locks end with its connections. The notification wakes the other host, which would look by itself.
            run_cli("schedule", "run-now", schedule["id"])
            assert b"  leap  ok" in other.read_line()
            other.terminate()
            other.communicate(timeout=30)
        runs = run_cli.ok("schedule", "show", "leap")["schedule"]["runs"]
        assert {(run["host"], run["status"]) for run in runs if run["status"]} == {("AB".replace(holder, ""), "ok")}

    @staticmethod
    def _holder(run_cli: Cli) -> str:
        (run,) = run_cli.ok("schedule", "show", "leap")["schedule"]["runs"]
        holder: str = run["host"]
        return holder
