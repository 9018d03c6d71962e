"""Commands as processes, and a simulated Plex server that they can ask."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.curation import update_collection
from retrovue.discovery import add_source, discover
from retrovue.model import PathMapping, Secret, Source
from retrovue.simulator import GeneratedSection, SimulatedPlex
from retrovue.store.session import Store
from retrovue.store.session import database_url as parsed

TOKEN = "canary-token-5e1f"
PASSWORD = "canary-password-77"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on the standard output."""
        return orjson.loads(self.out)


class Cli:
    """Runs commands against one catalogue."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-m", "retrovue", *arguments], **{**pipes, "env": self.environment, **options}
        )

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "retrovue", *arguments],
            env=self.environment | dict(env or {}),
            input=stdin,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str) -> Any:
        """Run a command that must succeed and return its JSON document."""
        done = self(*arguments, "--json")
        assert done.status == 0, done
        return done.document


@pytest.fixture
def run_cli(database_url: str, tmp_path: Path) -> Cli:
    """Run a command as a process against a fresh catalogue."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
    return Cli(
        environment
        | {
            "RETROVUE_DATABASE_URL": database_url,
            "RETROVUE_HOME": str(tmp_path / "no-home"),
            "PYTHONWARNINGS": "error",
        }
    )


@pytest.fixture
def offline_cli(run_cli: Cli) -> Cli:
    """Run a command that must not get as far as the database: nothing listens at its address."""
    url = f"postgresql://nobody:{PASSWORD}@127.0.0.1:9/nothing"
    return Cli(run_cli.environment | {"RETROVUE_DATABASE_URL": url})


Serve = Callable[[SimulatedPlex], AbstractContextManager[str]]


@pytest.fixture
def serve(portal: BlockingPortal) -> Serve:
    """Serve a simulated Plex from the portal's event loop."""

    @contextmanager
    def serving(plex: SimulatedPlex) -> Iterator[str]:
        with portal.wrap_async_context_manager(plex.serve()) as url:
            yield url

    return serving


@dataclass(frozen=True, slots=True)
class Plex:
    """A running simulated server."""

    server: SimulatedPlex
    url: str


@pytest.fixture
def plex(serve: Serve) -> Iterator[Plex]:
    """A server with three small libraries."""
    sections = [
        GeneratedSection("1", "Movies", "movie", 30, seed=1),
        GeneratedSection("2", "TV Shows", "show", 30, seed=2),
        GeneratedSection("3", "Home Videos", "clip", 10, seed=3),
    ]
    server = SimulatedPlex(sections, token=TOKEN)
    with serve(server) as url:
        yield Plex(server, url)


@pytest.fixture
def added(portal: BlockingPortal, database_url: str, plex: Plex) -> Source:
    """A source with its collections, none enabled."""

    async def add() -> Source:
        async with Store(parsed(database_url)) as store:
            source = await add_source(store, "plex", "My Plex", {"base_url": plex.url}, {"token": Secret(TOKEN)})
            await discover(store, str(source.id))
            return source

    return portal.call(add)


@pytest.fixture
def ready(portal: BlockingPortal, database_url: str, plex: Plex, added: Source, media: Path) -> Source:
    """A source whose movies and shows are mapped and enabled; the home videos aren't."""

    async def enable() -> None:
        async with Store(parsed(database_url)) as store:
            for section in plex.server.sections[:2]:
                maps = [PathMapping(location.path, str(media)) for location in section.locations]
                await update_collection(store, section.title, map=maps, enabled=True)

    portal.call(enable)
    return added
