"""The commands in the README, the tutorial and the how-to pages do what the pages say."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from retrovue import Settings, add_source, discover, open_store, update_collection
from retrovue.core.model import PathMapping, Secret
from retrovue.simulator import Fault, GeneratedSection, SimulatedPlex, faults
from retrovue.store.embedded import embedded_server
from tests.conftest import Databases
from tests.contracts.rules import ROOT
from tests.support.embedded_processes import Furnish
from tests.support.pages import DOCS, blocks, commands, sessions
from tests.support.plex import place_files
from tests.support.shell import Shell, environment

TOKEN = "canary-token-d0c5"
UNLUCKY = {"README.md": "/library/sections/2/all"}
"""Pages that show how a library fails: the listing that claims more than it holds."""
FROM_THE_START = {"README.md", "tutorial.md"}
"""Pages that begin with an empty catalogue. The others take for granted what the README has shown."""
AS_PROCESSES = {"README.md"}
"""Pages whose every command is a process, as it is to their readers."""
PROGRAMS = [
    next(block.text for block in blocks(page) if block.language == "python")
    for page in (ROOT / "README.md", DOCS / "howto" / "embed.md", DOCS / "howto" / "read-the-catalogue.md")
]
"""The first program of each of these pages; they run in the catalogue that the README has made."""
SECTIONS = (
    ("Movies", "movie", 60, "movies"),
    ("TV Shows", "show", 60, "tv"),
    ("Documentaries", "movie", 20, "documentaries"),
    ("Home Videos", "clip", 10, "videos"),
)


def _section(key: int, name: str, kind: str, items: int) -> GeneratedSection:
    return GeneratedSection(str(key), name, kind, items, seed=key)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    (directory / "token.txt").write_text(f"{TOKEN}\n")
    return directory


@pytest.fixture
def media(tmp_path: Path) -> Path:
    directory = tmp_path / "media"
    for key, (title, kind, items, name) in enumerate(SECTIONS, 1):
        place_files(_section(key, title, kind, items), 4 if kind == "show" else 1, directory / name)
    return directory


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    directory = tmp_path / "disk"
    for name in ("Movies/Heat (1995).mkv", "TV Shows/Lost/Lost - s01e01 - Pilot.mkv"):
        file = directory / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"\0" * 64)
    return directory


@pytest.fixture
def plex(page: Path, portal: BlockingPortal) -> Iterator[str]:
    """The server that the pages ask."""
    sections = [_section(key, name, kind, items) for key, (name, kind, items, _) in enumerate(SECTIONS, 1)]
    server = SimulatedPlex(sections, token=TOKEN)
    if page.name in UNLUCKY:
        server.faults.add(Fault(faults.lie_about_total(7), path=UNLUCKY[page.name]))
    with portal.wrap_async_context_manager(server.serve()) as url:
        yield url


@pytest.fixture(scope="session")
def furnish_catalogue(portal: BlockingPortal, furnish: Furnish, tmp_path_factory: pytest.TempPathFactory) -> Furnish:
    """Copies a cluster with an empty catalogue to a home: to migrate takes as long as to initialise."""
    original = tmp_path_factory.mktemp("migrated") / "home"
    furnish(original)

    async def migrate() -> None:
        async with open_store(Settings(home=str(original))):
            pass

    portal.call(migrate)

    def copy(home: Path) -> None:
        home.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["cp", "-a", str(original / "pg18"), str(home / "pg18")], check=True)

    return copy


@pytest.fixture
def _embedded(
    page: Path, home: Path, media: Path, plex: str, portal: BlockingPortal, furnish: Furnish, furnish_catalogue: Furnish
) -> Iterator[None]:
    """The database of the home, kept running: so the commands needn't start and stop it one each."""
    directory = home / "tutorial"
    begins = page.name in FROM_THE_START
    (furnish if begins else furnish_catalogue)(directory)

    async def prepare() -> None:
        async with open_store(Settings(home=str(directory))) as store:
            await add_source(store, "plex", "My Plex Server", {"base_url": plex}, {"token": Secret(TOKEN)})
            await discover(store, "My Plex Server")
            for name, local in (("Movies", "movies"), ("TV Shows", "tv")):
                mapping = PathMapping(f"/data/{local}", str(media / local))
                await update_collection(store, name, map=[mapping], enabled=True)

    with portal.wrap_async_context_manager(embedded_server(directory)):
        if not begins:
            portal.call(prepare)
        yield


@pytest.mark.long
@pytest.mark.parametrize("page", sessions(), ids=lambda page: page.name)
@pytest.mark.usefixtures("_embedded")
def test_the_page_can_be_followed(
    page: Path, home: Path, plex: str, media: Path, disk: Path, databases: Databases, tmp_path: Path
) -> None:
    own = databases.create(migrated=False)
    (tmp_path / "backups").mkdir()
    stands_for = {
        "http://192.168.1.10:32400": plex,
        "/mnt/media": str(media),
        "/srv/media": str(disk),
        "/var/backups": str(tmp_path / "backups"),
        "postgresql://retrovue:secret@db.example/retrovue": own.replace("+asyncpg", ""),
    }
    with Shell(home, environment(home), stands_for, in_this_process=page.name not in AS_PROCESSES) as shell:
        shell.follow(page.name, commands(page))
    databases.drop(own)
    for text in PROGRAMS if page.name == "README.md" else ():
        program = f"import asyncio\nasync def main():\n{textwrap.indent(text, '    ')}\nasyncio.run(main())\n"
        subprocess.run([sys.executable, "-c", program], env=environment(home), check=True)
