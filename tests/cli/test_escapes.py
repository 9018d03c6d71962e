"""Names and titles of an attacker, in whatever command prints them: no control character reaches the terminal."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.simulator import ListSection, SimulatedPlex, movie
from tests.cli.conftest import TOKEN, Cli, Serve, add
from tests.support.world import Catalogue

EVIL = "E\x1b]0;owned\x07\x9b2J\x7f\u202e\u2066\r\nx"
UNSAFE = {chr(code) for code in (*range(32), *range(0x7F, 0xA0))} - {"\n"} | set("\u202a\u202e\u2066\u2069\u200f\u2028")

# None of them changes what the others print: those that destroy ask first, and nobody answers.
COMMANDS: list[tuple[str, ...]] = [
    ("source", "list"),
    ("source", "show", EVIL),
    ("source", "discover", EVIL),
    ("source", "ingest", EVIL),
    ("source", "ingest", EVIL, "--dry-run"),
    ("source", "ingest", EVIL, "--retry-failed"),
    ("source", "delete", EVIL, "--dry-run"),
    ("source", "delete", EVIL),
    ("source", "show", f"{EVIL}, which is not there"),
    ("collection", "list"),
    ("collection", "show", EVIL),
    ("collection", "show", f"{EVIL}, which is not there"),
    ("collection", "ingest", EVIL),
    ("collection", "ingest", EVIL, "--title", EVIL),
    ("collection", "ingest", EVIL, "--title", f"{EVIL}, which is not there"),
    ("collection", "update", EVIL, "--map", f"/{EVIL}=/nowhere", "--dry-run"),
    ("collection", "update", EVIL, "--map", EVIL),
    ("collection", "wipe", EVIL, "--dry-run"),
    ("collection", "wipe", EVIL),
    ("asset", "list"),
    ("ingest", "log"),
    ("ingest", "show", "RUN"),
    ("doctor",),
    (EVIL,),
    ("source", "list", f"--{EVIL}"),
]


Run = Callable[..., str]
"""Runs a command and returns what it prints."""


@pytest.fixture
def attacked(run_cli: Cli, serve: Serve, media: Path, portal: BlockingPortal, database_url: str) -> Iterator[Run]:
    """A source, a library, titles and files with names of an attacker, one of them a duplicate and one rejected."""
    rows = [
        movie(1, EVIL, file=f"/data/{EVIL}.mkv"),
        movie(2, f"{EVIL}, twice", file=f"/data/{EVIL}.mkv"),
        movie(3, EVIL, file=f"/elsewhere/{EVIL}.mkv"),
    ]
    plex = SimulatedPlex([ListSection("1", EVIL, "movie", rows, locations=["/data"])], token=TOKEN)
    catalogue = Catalogue(portal, database_url)
    with serve(plex) as url:
        add(run_cli, url, "Plain")
        # No command gives a source such a name; another program may.
        catalogue.rows("UPDATE source SET name = $1", EVIL)
        run_cli.ok("collection", "update", "1", "--map", f"/data={media}", "--no-check-files", "--enable")
        run_cli.ok("source", "ingest", EVIL)

        def run(*arguments: str) -> str:
            if "RUN" in arguments:
                latest = "SELECT run_id FROM ingest_start ORDER BY started_at LIMIT 1"
                arguments = (*arguments[:-1], str(catalogue.value(latest)))
            done = run_cli(*arguments)
            return done.out + done.err

        yield run


@pytest.mark.fault(70)
def test_commands_show_control_characters_as_escapes(attacked: Run) -> None:
    printed = {arguments: attacked(*arguments) for arguments in COMMANDS}
    assert [arguments for arguments, text in printed.items() if "E\\x1b]" not in text] == []
    assert [arguments for arguments, text in printed.items() if UNSAFE & set(text)] == []


@pytest.mark.fault(70)
def test_an_asset_of_an_attacker(attacked: Run, run_cli: Cli) -> None:
    [asset] = run_cli.ok("asset", "list")["assets"]
    for action in ("show", "approve", "retire"):
        done = run_cli("asset", action, asset["uuid"])
        assert done.status == 0
        assert not UNSAFE & set(done.out + done.err)
