"""Names and titles of an attacker, in whatever command prints them: no control character reaches the terminal."""

from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.simulator import ListSection, SimulatedPlex, movie
from tests.cli.conftest import TOKEN, Cli, Serve, add
from tests.support.world import Catalogue

EVIL = "E\x1b]0;owned\x07\x9b2J\x7f\u202e\u2066\r\nx"
UNSAFE = {chr(code) for code in (*range(32), *range(0x7F, 0xA0))} - {"\n"} | set("\u202a\u202e\u2066\u2069\u200f\u2028")

COMMANDS = [
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


@pytest.fixture
def attacked(run_cli: Cli, serve: Serve, media: Path, portal: BlockingPortal, database_url: str) -> "Attacked":
    """A source, a library, titles and files with names of an attacker, one of them a duplicate and one rejected."""
    rows = [
        movie(1, EVIL, file=f"/data/{EVIL}.mkv"),
        movie(2, f"{EVIL}, twice", file=f"/data/{EVIL}.mkv"),
        movie(3, EVIL, file=f"/elsewhere/{EVIL}.mkv"),
    ]
    plex = SimulatedPlex([ListSection("1", EVIL, "movie", rows, locations=["/data"])], token=TOKEN)
    return Attacked(run_cli, serve, plex, media, Catalogue(portal, database_url))


class Attacked:
    def __init__(self, cli: Cli, serve: Serve, plex: SimulatedPlex, media: Path, catalogue: Catalogue) -> None:
        self._cli, self._serve, self._plex, self._media, self._catalogue = cli, serve, plex, media, catalogue

    def __call__(self, *arguments: str) -> str:
        """Ingest, and then run a command; returns what it prints."""
        with self._serve(self._plex) as url:
            add(self._cli, url, "Plain")
            # No command gives a source such a name; another program may.
            self._catalogue.rows("UPDATE source SET name = $1", EVIL)
            self._cli.ok("collection", "update", "1", "--map", f"/data={self._media}", "--no-check-files", "--enable")
            self._cli.ok("source", "ingest", EVIL)
            if "RUN" in arguments:
                arguments = (*arguments[:-1], str(self._catalogue.value("SELECT run_id FROM ingest_start")))
            done = self._cli(*arguments)
        return done.out + done.err


@pytest.mark.fault(70)
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments).replace(EVIL, "EVIL"))
def test_a_command_shows_control_characters_as_escapes(attacked: Attacked, arguments: tuple[str, ...]) -> None:
    printed = attacked(*arguments)
    assert "E\\x1b]" in printed
    assert not UNSAFE & set(printed)


@pytest.mark.fault(70)
@pytest.mark.parametrize("action", ["show", "approve", "retire"])
def test_an_asset_of_an_attacker(attacked: Attacked, run_cli: Cli, action: str) -> None:
    attacked("asset", "list")
    [asset] = run_cli.ok("asset", "list")["assets"]
    done = run_cli("asset", action, asset["uuid"])
    assert done.status == 0
    assert not UNSAFE & set(done.out + done.err)
