"""The examples, run as their readers run them: as processes, over HTTP, against a simulated Plex and PostgreSQL."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from retrovue.simulator import faults
from tests.support import schemas
from tests.support.world import MOVIES, NAME, SHOWS, World

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def process(world: World, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program until the block ends; its output is read as it comes."""
    environment = world.cli.environment | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=EXAMPLES,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def said(running: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read what a process prints until a line fits."""
    assert running.stdout is not None
    lines: list[str] = []
    for line in running.stdout:
        lines.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it ended without saying {pattern!r}: {''.join(lines)}")


@contextmanager
def held(world: World) -> Iterator[None]:
    """Let the Plex server answer no listing until the block ends."""

    async def event() -> anyio.Event:
        return anyio.Event()

    release = world.portal.call(event)
    for path in (MOVIES, SHOWS):
        world.fault(faults.hang(release), path)
    try:
        yield
    finally:
        world.plex.faults.clear()
        world.portal.call(release.set)


class TestScript:
    def test_it_ingests_and_tells(self, world: World) -> None:
        with process(world, "ingest_script.py", NAME) as running:
            out, _ = running.communicate(timeout=60)
        assert "Movies: 3 created, 0 known" in out
        assert "TV Shows: 8 created, 0 known" in out
        assert re.search(r"Run [0-9a-f-]{36}: ok", out)
        assert running.returncode == 0
        assert sorted(world.audit()) == [("Movies", "ingested", None), ("TV Shows", "ingested", None)]

    def test_it_says_why_it_cannot(self, world: World) -> None:
        with process(world, "ingest_script.py", "Nobody") as running:
            out, _ = running.communicate(timeout=60)
        assert (running.returncode, out.splitlines()[0][:30]) == (1, "There is no source 'Nobody'. `")


@pytest.fixture
def in_background() -> Iterator[None]:
    """Start processes as a shell without job control does it in the background: they ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


class TestScheduler:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.usefixtures("in_background")
    def test_it_ingests_and_broadcasts_what_was_approved(self, world: World, number: signal.Signals) -> None:
        with process(world, "scheduler.py", NAME, "--now", "--every", "0.05") as running:
            assert said(running, r"^Ingest: (\w+), (\d+) new").groups() == ("ok", "11")
            alien = str(world.catalogue.value("SELECT uuid FROM asset WHERE title = 'Alien'"))
            assert world.cli("asset", "approve", alien).status == 0
            path = said(running, r"^On air: Alien from (.*)$")[1]
            assert path == str(world.local("Movies") / "Alien.mkv")
            running.send_signal(number)
            assert running.wait(30) == 0


@dataclass
class Service:
    """The service, running."""

    running: subprocess.Popen[str]
    client: httpx.Client

    def start(self, source: str = NAME) -> str:
        answer = self.client.post("/ingests", json={"source": source})
        assert answer.status_code == 202, answer.text
        return str(answer.headers["Location"])

    @contextmanager
    def events(self, run: str, **query: str) -> Iterator[Iterator[tuple[str, Any]]]:
        with self.client.stream("GET", f"{run}/events", params=query) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            yield _events(response.iter_lines())

    def last(self, run: str) -> Any:
        """Follow a run to its end."""
        with self.events(run) as events:
            *_, (kind, data) = events
        assert kind == "summary"
        return data


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            schemas.check_event(event)
            assert event.pop("type") == kind
            yield kind, event


def outcomes(summary: Any) -> dict[str, str]:
    return {one["name"]: one["code"] or one["status"] for one in summary["collection_results"]}


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    with process(world, "-m", "service", "--port", "0") as running:
        address = said(running, r"running on (http://127\.0\.0\.1:\d+)")[1]
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield Service(running, client)
        running.send_signal(signal.SIGTERM)
        running.wait(30)


FINE = {"Movies": "ingested", "TV Shows": "ingested", "Home Videos": "sync_disabled"}
STOPPED = {"Movies": "interrupted", "TV Shows": "interrupted", "Home Videos": "sync_disabled"}


class TestService:
    def test_it_streams_what_happens(self, world: World, service: Service) -> None:
        run = service.start()
        with service.events(run) as events:
            told = list(events)
        kinds = [kind for kind, _ in told]
        assert (kinds[0], kinds[-1]) == ("started", "summary")
        assert kinds.count("outcome") == 3
        assert kinds.count("collection_started") == 2
        assert outcomes(told[-1][1]) == FINE
        assert service.client.get(run).json() == told[-1][1]
        assert world.counts() == {"Movies": 3, "TV Shows": 8, "Home Videos": 0}

    def test_it_says_why_it_cannot(self, service: Service) -> None:
        answer = service.client.post("/ingests", json={"source": "Nobody"})
        assert (answer.status_code, answer.json()["code"]) == (400, "source_not_found")
        assert service.client.get("/ingests/nothing").status_code == 404

    def test_a_client_that_goes_away_changes_nothing(self, world: World, service: Service) -> None:
        with held(world):
            run = service.start()
            with service.events(run) as events:
                assert next(kind for kind, _ in events if kind == "collection_started")
            assert service.client.get(run).json()["status"] == "error"  # nothing is ingested yet
        assert outcomes(service.last(run)) == FINE

    def test_or_it_takes_the_ingest_along_if_it_said_so(self, world: World, service: Service) -> None:
        with held(world):
            run = service.start()
            with service.events(run, stop="on_disconnect") as events:
                assert next(kind for kind, _ in events if kind == "collection_started")
            assert outcomes(service.last(run)) == STOPPED
        assert {status for _, status, _ in world.audit()} == {"interrupted"}

    def test_it_cancels_one(self, world: World, service: Service) -> None:
        with held(world):
            run = service.start()
            assert service.client.delete(run).status_code == 204
            assert outcomes(service.last(run)) == STOPPED
        assert outcomes(service.last(service.start())) == FINE

    def test_of_the_same_source_the_second_is_refused(self, world: World, service: Service) -> None:
        with held(world):
            first = service.start()
            with service.events(first) as events:
                assert next(kind for kind, _ in events if kind == "collection_started")
                assert set(outcomes(service.last(service.start())).values()) == {"already_running", "sync_disabled"}
        assert outcomes(service.last(first)) == FINE

    def test_shutting_down_ends_the_streams_and_leaves_a_truthful_trail(self, world: World, service: Service) -> None:
        with held(world):
            run = service.start()
            with service.events(run) as events:
                assert next(kind for kind, _ in events if kind == "collection_started")
                service.running.send_signal(signal.SIGTERM)
                *_, (kind, summary) = events
            assert service.running.wait(30) == -signal.SIGTERM
        assert (kind, outcomes(summary)) == ("summary", STOPPED)
        assert sorted(row[:2] for row in world.audit()) == [("Movies", "interrupted"), ("TV Shows", "interrupted")]
        assert world.counts() == {"Movies": 0, "TV Shows": 0, "Home Videos": 0}


@pytest.mark.long
def test_a_third_party_s_type_checker_accepts_them_and_the_pages(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Checked outside of the project, strictly, as code of somebody else's: by what the installed package says."""
    shutil.copytree(EXAMPLES / "service", tmp_path / "service")
    for script in ("ingest_script.py", "scheduler.py"):
        shutil.copy(EXAMPLES / script, tmp_path / script)
    for page in ("README.md", "docs/howto/embed.md", "docs/howto/read-the-catalogue.md"):
        text = (EXAMPLES.parent / page).read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        assert blocks
        for number, block in enumerate(blocks):
            body = "async def main() -> None:\n" + textwrap.indent(block, "    ")
            (tmp_path / f"{Path(page).stem.lower().replace('-', '_')}_{number}.py").write_text(body)
    # What it has found out about the packages stays for the next session.
    cache: pytest.Cache | None = getattr(pytestconfig, "cache", None)
    kept = cache.mkdir("third_party") if cache else tmp_path / "cache"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(kept), "."]
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
