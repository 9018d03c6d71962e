"""docs/first-hour.md: the first hour of a new user, from real runs.

``python -m tests.contracts.first_hour`` rewrites it.
"""

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio.from_thread
from anyio.from_thread import BlockingPortal

from retrovue.simulator import ListSection, SimulatedPlex, movie
from retrovue.store.embedded import embedded_server
from tests.conftest import Databases
from tests.contracts.rules import ROOT
from tests.support.plex import series
from tests.support.world import Commands, bare_environment

DOCUMENT = ROOT / "docs" / "first-hour.md"
TOKEN = "canary-first-hour"
_FILMS = {"Alien": 1979, "Brazil": 1985, "Casablanca": 1942, "Die Hard": 1988}


@dataclass(frozen=True)
class Step:
    """A command, what is told before it, and what happens to the disk before it."""

    told: str
    command: str
    status: int = 0
    before: Callable[["Home"], object] = lambda _: None


@dataclass(frozen=True)
class Home:
    """The disk of the user."""

    disk: Path

    def fill(self) -> None:
        for title in _FILMS:
            self._touch("movies", title)

    def lose(self) -> None:
        shutil.rmtree(self.disk / "movies")
        (self.disk / "movies").mkdir()

    def _touch(self, directory: str, title: str) -> None:
        (self.disk / directory).mkdir(exist_ok=True)
        (self.disk / directory / f"{title}.mkv").touch()


STEPS = (
    Step(
        "The quickstart needs the server's address and a token. What no option says, it asks for; here all is said."
        " Only the files of Movies are on this machine, below `/mnt/media`.",
        "quickstart --url http://plex.example:32400 --token-file token.txt --library Movies --look-in /mnt/media --yes",
        before=Home.fill,
    ),
    Step("What is in the catalogue now? Nothing of it is broadcast yet.", "asset list --order name"),
    Step(
        "Approve what may be broadcast: by filters, which show a number before they ask, or by the beginning of an id.",
        "asset approve --collection Movies --year 1979 --dry-run",
    ),
    Step("Do it without being asked.", "asset approve --collection Movies --yes"),
    Step("One of them was a mistake.", "asset retire --title 'die hard' --yes"),
    Step("No, it wasn't: it is approved again.", "asset unretire --title 'die hard' --yes"),
    Step("What does the scheduler see?", "asset list --state ready --order name --columns title,year,state"),
    Step("Every night the same command. It creates what is new.", "source ingest Plex --strict"),
    Step(
        "One night the disk isn't mounted: its directory is empty. Nothing is created, nothing is lost, and the exit"
        " status says so.",
        "source ingest Plex --strict",
        status=1,
        before=Home.lose,
    ),
    Step("The next morning: what happened?", "ingest log --limit 1"),
    Step("The disk is back.", "source ingest Plex --strict", before=Home.fill),
)


def _neutral(text: str, home: Home, address: str) -> str:
    """Replace what differs between two runs, and every path of this machine."""
    text = text.replace(str(home.disk), "/mnt/media").replace(address, "http://plex.example:32400")
    text = re.sub(r"127\.0\.0\.1:\d+", "plex.example:32400", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "0199c0de-0000-7000-8000-000000000001", text)
    text = re.sub(r"\bplex-[0-9a-f]{8}\b", "plex-5063d926", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+\d\d:\d\d", "2026-03-01 05:30:00+00:00", text)
    text = re.sub(r"(?<!plex-)\b[0-9a-f]{8}(-[0-9a-f]{1,12}){0,4}(?=\n)", "0199c0de-1", text)
    text = re.sub(r"  -{8,36}(?=\n)", "  ----------", text)
    return re.sub(r"\b\d\.\d s\b", "0.0 s", text)


def _played(cli: Commands, home: Home, address: str, token: Path) -> Iterator[str]:
    for step in STEPS:
        step.before(home)
        words = [
            word.replace("http://plex.example:32400", address)
            .replace("token.txt", str(token))
            .replace("/mnt/media", str(home.disk))
            for word in shlex.split(step.command)
        ]
        done = cli(*words)
        assert done.status == step.status, (step, done)
        printed = _neutral(done.err + done.out, home, address)
        yield from (
            "",
            step.told,
            "",
            "```console",
            f"$ retrovue {step.command}\n{printed}$ echo $?\n{done.status}",
            "```",
        )


def first_hour(portal: BlockingPortal, databases: Databases, directory: Path) -> str:
    """Play all steps, one after the other, in a new catalogue."""
    films = [movie(number, title, year=year) for number, (title, year) in enumerate(_FILMS.items(), 101)]
    sections = [
        ListSection("1", "Movies", "movie", films, locations=["/data/movies"]),
        ListSection("2", "TV Shows", "show", series(1000, "Firefly", 1, 2), locations=["/data/tv"]),
    ]
    plex = SimulatedPlex(sections, token=TOKEN, friendly_name="Plex")
    home = Home(directory / "disk")
    home.disk.mkdir()
    token = directory / "token.txt"
    token.write_text(f"{TOKEN}\n")
    url = databases.create()
    cli = Commands(bare_environment(directory / "no-home") | {"RETROVUE_DATABASE_URL": url})
    lines = [
        "# A first hour",
        "",
        "Generated by `python -m tests.contracts.first_hour` from real runs; a test holds it up to date. The server is",
        "simulated. Standard error comes before standard output.",
    ]
    with portal.wrap_async_context_manager(plex.serve()) as address:
        lines += _played(cli, home, address, token)
    databases.drop(url)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as scratch,
        anyio.from_thread.start_blocking_portal() as own_portal,
        own_portal.wrap_async_context_manager(embedded_server(Path(scratch) / "postgres", durable=False)) as server,
        Databases(own_portal, server, "first_hour") as own,
    ):
        DOCUMENT.write_text(first_hour(own_portal, own, Path(scratch)), encoding="utf-8")
