"""The commands in the README, the tutorial and the how-to pages do what the pages say."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.simulator import Fault, GeneratedSection, SimulatedPlex, faults
from retrovue.store.embedded import EmbeddedServer, embedded_server
from tests.conftest import Databases
from tests.contracts.rules import ROOT
from tests.docs.pages import blocks, commands, sessions
from tests.docs.shell import Shell, environment

TOKEN = "canary-token-d0c5"
UNLUCKY = {"README.md": "/library/sections/2/all"}
"""Pages that show how a library fails: the listing that claims more than it holds."""
NOT_FOLLOWED: set[str] = set()
"""Pages whose sessions need what no test has, each with the test that runs them instead."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


@pytest.fixture
def embedded(home: Path, portal: BlockingPortal) -> Iterator[EmbeddedServer]:
    """The database of the home, kept running: so the commands needn't start and stop it one each."""
    with portal.wrap_async_context_manager(embedded_server(home / "retrovue")) as server:
        yield server


@pytest.fixture
def plex(request: pytest.FixtureRequest, portal: BlockingPortal) -> Iterator[str]:
    """The server that the pages ask: films, shows, documentaries, home videos."""
    sections = [
        GeneratedSection("1", "Movies", "movie", 60, seed=1),
        GeneratedSection("2", "TV Shows", "show", 60, seed=2),
        GeneratedSection("3", "Documentaries", "movie", 20, seed=3),
        GeneratedSection("4", "Home Videos", "clip", 10, seed=4),
    ]
    server = SimulatedPlex(sections, token=TOKEN)
    if unlucky := UNLUCKY.get(request.node.callspec.id):
        server.faults.add(Fault(faults.lie_about_total(7), path=unlucky))
    with portal.wrap_async_context_manager(server.serve()) as url:
        yield url


@pytest.mark.parametrize("page", sessions(), ids=lambda page: page.name)
@pytest.mark.usefixtures("embedded")
def test_the_page_can_be_followed(
    page: Path, home: Path, plex: str, databases: Databases, database_url: str, tmp_path: Path
) -> None:
    for name in ("movies", "tv", "documentaries", "videos"):
        (tmp_path / "media" / name).mkdir(parents=True)
    for name in ("Movies/Heat (1995).mkv", "TV Shows/Lost/Lost - s01e01 - Pilot.mkv"):
        file = tmp_path / "disk" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"\0" * 64)
    (tmp_path / "backups").mkdir()
    (home / "token.txt").write_text(f"{TOKEN}\n")
    stands_for = {
        "http://192.168.1.10:32400": plex,
        "/mnt/media": str(tmp_path / "media"),
        "/srv/media": str(tmp_path / "disk"),
        "/var/backups": str(tmp_path / "backups"),
        "postgresql://retrovue:secret@db.example/retrovue": database_url.replace("+asyncpg", ""),
    }
    with Shell(home, environment(home), stands_for) as shell:
        shell.follow(page.name, commands(page))
    for block in blocks(page):
        if block.language == "python" and page == ROOT / "README.md":
            program = f"import asyncio\nasync def main():\n{textwrap.indent(block.text, '    ')}\nasyncio.run(main())\n"
            subprocess.run([sys.executable, "-c", program], env=environment(home), check=True)
