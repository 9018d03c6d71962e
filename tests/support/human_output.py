"""What people see, held by snapshots: on a terminal of 80 columns, in colour and without, and in a pipe.

``python -m tests.support.human_output`` writes tests/cli/snapshots anew. An escape character is shown as ␛; durations,
ids, addresses and directories are replaced by others of the same width.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.entry import run as run_command
from retrovue.cli.ingest_report import report
from retrovue.cli.output import Output
from retrovue.core.model import Collection, Source
from retrovue.core.pages import Rejection
from retrovue.core.results import (
    CollectionOutcome,
    Counts,
    Durations,
    Failed,
    Ingested,
    IngestSummary,
    Listed,
    Named,
    Skipped,
    failed_enrichment,
)
from retrovue.errors import SourceRefused
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from retrovue.store.embedded import embedded_server
from retrovue.testing.tasks import run as run_alone
from tests.cli.conftest import TOKEN, Cli, set_environment
from tests.conftest import Databases

SNAPSHOTS = Path(__file__).parents[1] / "cli" / "snapshots"
MODES: Mapping[str, Mapping[str, str]] = {
    "colour": {"TERM": "xterm-256color"},
    "plain": {"TERM": "xterm-256color", "NO_COLOR": "1"},
    "pipe": {"TERM": "xterm-256color"},
}
SOURCE = Source(uuid.UUID(int=1), "plex-5063d926", "My Plex Server", "plex", {})


def shown(mode: str, write: Callable[[], None], *, columns: int = 0) -> str:
    """Run something that writes to ``sys.stdout``, with that as a terminal or a pipe; returns what came there.

    ``columns`` is the width of the terminal; one of 0 doesn't know it.
    """
    ours, theirs = os.pipe() if mode == "pipe" else pty.openpty()
    if mode != "pipe":
        termios.tcsetwinsize(theirs, (24, columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NO_COLOR", raising=False)
        for name, value in MODES[mode].items():
            patch.setenv(name, value)
        stream = os.fdopen(theirs, "w", encoding="utf-8")
        patch.setattr(sys, "stdout", stream)

        def work() -> None:
            write()
            stream.close()

        return _read_while(ours, work)


def _read_while(end: int, work: Callable[[], object]) -> str:
    """Read from a terminal or a pipe while something writes into it, until its other end is closed."""
    pieces: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # that is how a terminal ends that nobody uses any more
            while piece := os.read(end, 65_536):
                pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        work()
    finally:
        reader.join(timeout=60)
        os.close(end)
    return b"".join(pieces).decode().replace("\r\n", "\n")


# Reports that are made from results alone


@dataclass
class Results:
    """Makes outcomes with ids that are the same each time."""

    made: list[CollectionOutcome] = field(default_factory=list)

    def _collection(self, name: str, *, enabled: bool = True) -> Collection:
        number = len(self.made) + 1
        return Collection(uuid.UUID(int=number), SOURCE.id, str(number), name, "movie", enabled)

    def done(self, name: str, seconds: float, listed: Listed | None = None, **counts: int) -> None:
        parts = ("created", "skipped", "duplicates", "rejected")
        total = sum(counts.get(part, 0) for part in parts)
        made = Counts(source_items=total, discovered=total, **counts)
        self.made.append(Ingested(self._collection(name), made, listed or Listed(), durations=Durations(total=seconds)))

    def failed(self, name: str, seconds: float = 0.0, **more: Any) -> None:
        refused = SourceRefused("The Plex server at http://plex.example:32400 refused the token (HTTP 401).")
        durations = Durations(total=seconds)
        made = {"code": refused.code, "message": refused.message, "hint": refused.hint} | more
        self.made.append(Failed(self._collection(name), durations=durations, **made))

    def skipped(self, name: str) -> None:
        self.made.append(
            Skipped(self._collection(name, enabled=False), "sync_disabled", "it is not enabled for ingest")
        )

    def summary(self, **more: Any) -> IngestSummary:
        return IngestSummary(uuid.UUID(int=77), SOURCE, tuple(self.made), **more)


def one() -> IngestSummary:
    results = Results()
    results.done("Movies", 2.51, created=1_234)
    return results.summary(duration=2.62)


def several() -> IngestSummary:
    results = Results()
    behind = Listed(
        duplicates=(Named("The One With Two Parts (2)", "plex://x/2", "The One With Two Parts (1)"),),
        relocated=(Named("Alien", "plex://x/3", "/mnt/media/movies/Alien (1979)/Alien.mkv"),),
        rejected=(Rejection("no_media", "The item has no media.", "plex://x/5", "東京物語"),),
        failed_enrichments=(failed_enrichment("Heat", "probe", "not_media", "ffprobe can't read it"),),
    )
    results.done(
        "Movies",
        75.2,
        behind,
        created=1_048_576,
        skipped=3,
        duplicates=1,
        rejected=1,
        relocated=1,
        failed_enrichments=1,
    )
    results.done("映画と特撮 — 怪獣の世界の長い名前のコレクション 🎬", 3_725.0, created=12, skipped=4_321)
    results.done("Familienfilme 👨‍👩‍👧‍👦 und ❤️ Herzensfilme der Jahre 1950 bis 1999", 0.04, skipped=77)
    results.failed(
        "TV Shows", 12.3, code="incomplete_enumeration", message="The listing ended early.", hint="Try again."
    )
    results.failed("Anime", code="interrupted", message="Interrupted.", hint=None, interrupted=True)
    results.skipped("Home Videos")
    return results.summary(duration=3_801.5)


def two_hundred() -> IngestSummary:
    results = Results()
    rejected = Listed(rejected=(Rejection("no_file", "The version has no file.", "plex://x/9", "Nosferatu"),))
    for number in range(1, 141):
        if number % 5:
            results.done(f"Library {number:03}", number / 10, created=number * 37)
        else:
            results.done(f"Library {number:03}", number / 10, rejected, created=number, rejected=1)
    for number in range(141, 181):
        results.failed(f"Library {number:03}")
    for number in range(181, 201):
        results.skipped(f"Library {number:03}")
    return results.summary(duration=14.0)


def nothing_succeeded() -> IngestSummary:
    results = Results()
    results.failed("Movies")
    return results.summary(duration=0.1)


REPORTS: Mapping[str, Callable[[], IngestSummary]] = {
    "report-of-one": one,
    "report-of-several": several,
    "report-of-two-hundred": two_hundred,
    "report-of-a-failure": nothing_succeeded,
}


def reported(name: str, mode: str) -> str:
    """Print a report."""
    return shown(mode, lambda: Output().lines(report(REPORTS[name]())))


# Commands


Run = Callable[[Cli, str, Sequence[str], int], tuple[str, str]]
"""Runs a command that must exit with a status; returns what came on its standard output and error."""


def _in_this_process(cli: Cli, mode: str, arguments: Sequence[str], status: int) -> tuple[str, str]:
    said = io.StringIO()  # no progress in it: that is drawn for who watches
    statuses: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, cli.environment)
        patch.setattr(sys, "stdin", io.StringIO())
        patch.setattr(sys, "stderr", said)
        out = shown(mode, lambda: statuses.append(run_alone(run_command, list(arguments))))
    assert statuses == [status], (arguments, out, said.getvalue())
    return out, said.getvalue()


def _as_a_process(cli: Cli, mode: str, arguments: Sequence[str], status: int) -> tuple[str, str]:
    ours, theirs = os.pipe() if mode == "pipe" else pty.openpty()
    environment = {name: value for name, value in cli.environment.items() if name != "NO_COLOR"} | dict(MODES[mode])
    said: list[str] = []

    def run() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "retrovue", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
        )
        os.close(theirs)
        assert done.returncode == status, (arguments, done)
        said.append(done.stderr.decode())

    out = _read_while(ours, run)
    return out, said[0]


def commands(portal: BlockingPortal, databases: Databases, directory: Path, mode: str) -> dict[str, str]:
    """Run a row of commands as an operator would, one of them as a process, and return what each printed."""
    url = databases.create()
    media = directory / mode
    media.mkdir()
    sections = [
        ListSection("1", "Movies", "movie", [movie(number) for number in range(1, 6)], locations=["/data/movies"]),
        ListSection("2", "日本映画", "movie", [movie(number) for number in range(11, 14)], locations=["/data/japan"]),
    ]
    server = SimulatedPlex(sections, token=TOKEN)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
    cli = Cli(inherited | {"RETROVUE_DATABASE_URL": url, "RETROVUE_TOKEN": TOKEN})
    printed: dict[str, str] = {}
    with portal.wrap_async_context_manager(server.serve()) as address:

        def play(name: str, *arguments: str, status: int = 0, run: Run = _in_this_process) -> None:
            out, err = run(cli, mode, arguments, status)
            command = " ".join(arguments)
            printed[name] = neutral(f"$ retrovue {command}\n{out}--- standard error ---\n{err}", media)

        play("source-add", "source", "add", "--type", "plex", "--name", "My Plex", "--base-url", address, "--discover")
        play(
            "quickstart", "quickstart", "--url", address, "--library", "all", "--yes", "--look-in", str(media),
            "--map", f"/data={media}", status=1,
        )  # fmt: skip
        for place in ("movies", "japan"):
            (media / place).mkdir()
            (media / place / "Movie 1.mkv").touch()
        (media / "movies" / "Movie 11.mkv").touch()
        play("quickstart-again", "quickstart", "--url", address, "--library", "all", "--yes", "--map", f"/data={media}")
        play("ingest-again", "source", "ingest", "My Plex")
        play("collection-list", "collection", "list", run=_as_a_process)
        play("ingest-log", "ingest", "log", "--limit", "2")
        server.faults.add(Fault(faults.lie_about_total(7), path="/library/sections/2/all"))
        sections[0].add(movie(6))
        play("ingest-partial", "source", "ingest", "My Plex", status=2)
        play("unknown-command", "source", "ingst", status=1)
    databases.drop(url)
    return printed


def neutral(text: str, media: Path) -> str:
    """Replace what differs between two runs by something of the same width, where width matters."""
    text = text.replace(str(media), "/media")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "00000000-0000-0000-0000-000000000000", text)
    text = re.sub(r"\bplex-[0-9a-f]{8}\b", "plex-5063d926", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "plex.example:32400", text)
    text = re.sub(r"\b\d\.\d s\b", "0.0 s", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-01 00:00:00", text)


def written(text: str) -> str:
    """Show escape characters, so that a snapshot is a text."""
    return text.replace("\x1b", "␛")


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for old in SNAPSHOTS.glob("*.txt"):
        old.unlink()
    texts = {f"{name}-{mode}": reported(name, mode) for name in REPORTS for mode in MODES}
    with (
        tempfile.TemporaryDirectory() as scratch,
        anyio.from_thread.start_blocking_portal() as own_portal,
        own_portal.wrap_async_context_manager(embedded_server(Path(scratch) / "postgres", durable=False)) as own_server,
        Databases(own_portal, own_server, "snapshots") as own,
    ):
        for mode in MODES:
            played = commands(own_portal, own, Path(scratch), mode)
            texts |= {f"{name}-{mode}": text for name, text in played.items()}
    for name, text in texts.items():
        (SNAPSHOTS / f"{name}.txt").write_text(written(text), encoding="utf-8")
