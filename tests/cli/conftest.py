"""Commands, in this process or as processes, and a simulated Plex server that they can ask."""

import io
import os
import pty
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.entry import run
from retrovue.core.model import PathMapping, Secret, Source
from retrovue.operations.curation import update_collection
from retrovue.operations.discovery import add_source, discover
from retrovue.simulator import Fault, GeneratedSection, Request, SimulatedPlex, faults
from retrovue.simulator.serving import SimulatedServer
from retrovue.store.addresses import database_url as parsed
from retrovue.store.collections import find_collection
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from retrovue.testing.tasks import run as run_alone
from tests.support import canary, schemas
from tests.support.prepared import Prepared

TOKEN = "canary-token-5e1f"
PASSWORD = "canary-password-77"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    def __post_init__(self) -> None:
        canary.listen("the standard output", self.out)
        canary.listen("the standard error", self.err)

    @property
    def document(self) -> Any:
        """The one JSON document on the standard output."""
        return orjson.loads(self.out)


class Process(subprocess.Popen[bytes]):
    """A process whose output is searched for secrets and held against the schemas, by whichever way it is read."""

    def read_line(self) -> bytes:
        """Read a line of its standard output while it runs; one of JSON has to be a whole document or event."""
        assert self.stdout is not None
        line = self.stdout.readline()
        self._check(line)
        return line

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002
        said = super().communicate(input, timeout)
        self._check(*(text or b"" for text in said))
        return said

    def _check(self, *said: bytes) -> None:
        canary.listen("what a process said", *said)
        assert isinstance(self.args, list)
        schemas.check([str(word) for word in self.args[3:]], *(text.decode(errors="replace") for text in said))


class Cli:
    """Runs commands against one catalogue."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    def __call__(self, *arguments: str | bytes, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        """Run a command in this process, in a loop of its own: all that a process does but for its start and exit."""
        words = [os.fsdecode(argument) for argument in arguments]
        with pytest.MonkeyPatch.context() as patch:
            set_environment(patch, self.environment | dict(env or {}))
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
            streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            status = run_alone(run, words)
        done = Done(status, *(_printed(stream) for stream in streams))
        schemas.check(words, done.out, done.err)
        return done

    def start(self, *arguments: str, **options: Any) -> Process:
        """Start a command as a process."""
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if "--token" not in arguments:
            canary.listen("the arguments of a process", *arguments)
        return Process([sys.executable, "-m", "retrovue", *arguments], **{**pipes, "env": self.environment, **options})

    def process(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        """Run a command as a process, as a user does."""
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
        schemas.check(arguments, done.stdout, done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str) -> Any:
        """Run a command that must succeed and return its JSON document."""
        done = self(*arguments, "--json")
        assert done.status == 0, done
        return done.document


def set_environment(patch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    """Make these the only variables of this process's environment."""
    for name in os.environ.keys() - environment.keys():
        patch.delenv(name)
    for name, value in environment.items():
        patch.setenv(name, value)


def _printed(stream: io.TextIOWrapper) -> str:
    stream.flush()
    printed: Any = stream.buffer
    text: str = printed.getvalue().decode("utf-8", "surrogateescape")
    return text


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment without any database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
    return inherited | {"RETROVUE_HOME": str(tmp_path / "no-home"), "PYTHONWARNINGS": "error"}


@pytest.fixture
def run_cli(environment: dict[str, str], database_url: str) -> Cli:
    """Run a command against a fresh catalogue."""
    return Cli(environment | {"RETROVUE_DATABASE_URL": database_url})


@pytest.fixture
def offline_cli(environment: dict[str, str]) -> Cli:
    """Run a command that must not get as far as the database: nothing listens at its address."""
    return Cli(environment | {"RETROVUE_DATABASE_URL": f"postgresql://nobody:{PASSWORD}@127.0.0.1:9/nothing"})


Serve = Callable[[SimulatedServer], AbstractContextManager[str]]


@pytest.fixture
def serve(portal: BlockingPortal) -> Serve:
    """Serve a simulated media server from the portal's event loop."""

    @contextmanager
    def serving(server: SimulatedServer) -> Iterator[str]:
        with portal.wrap_async_context_manager(server.serve()) as url:
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


_prepared: dict[str, Prepared] = {}
"""By the fixture that prepared it."""


@pytest.fixture
def added(portal: BlockingPortal, database_url: str, plex: Plex, media: Path) -> Source:
    """A source with its collections, none enabled."""

    async def add() -> Source:
        async with Store(parsed(database_url)) as store:
            source = await add_source(store, "plex", "My Plex", {"base_url": plex.url}, {"token": Secret(TOKEN)})
            await discover(store, str(source.id))
            return source

    here = (plex.url, str(media))
    if "added" in _prepared:
        return _prepared["added"].again(portal, database_url, *here)
    source = portal.call(add)
    _prepared["added"] = Prepared.of(portal, database_url, source, *here)
    return source


@pytest.fixture
def ready(request: pytest.FixtureRequest, portal: BlockingPortal, database_url: str, plex: Plex, media: Path) -> Source:
    """A source whose movies and shows are mapped and enabled; the home videos aren't."""
    here = (plex.url, str(media))
    if "ready" in _prepared:
        return _prepared["ready"].again(portal, database_url, *here)

    async def enable() -> None:
        async with Store(parsed(database_url)) as store:
            for section in plex.server.sections[:2]:
                maps = [PathMapping(location.path, str(media)) for location in section.locations]
                await update_collection(store, section.title, map=maps, enabled=True, check_files=False)

    source: Source = request.getfixturevalue("added")
    portal.call(enable)
    _prepared["ready"] = Prepared.of(portal, database_url, source, *here)
    return source


@contextmanager
def stuck(portal: BlockingPortal, plex: Plex, path: str) -> Iterator[threading.Event]:
    """Never answer requests for a path; the event says that one has come."""
    arrived = threading.Event()
    release = portal.call(anyio.Event)

    fault = Fault(faults.hang(release), path=path)

    def notice(request: Request) -> None:
        if fault.meets(request):
            arrived.set()

    plex.server.on_request = notice
    plex.server.faults.add(fault)
    try:
        yield arrived
    finally:
        portal.call(release.set)


@contextmanager
def held(portal: BlockingPortal, url: str, *collections: uuid.UUID) -> Iterator[None]:
    """Hold the locks of collections, as an ingest does."""

    @asynccontextmanager
    async def holding() -> AsyncIterator[None]:
        async with Store(parsed(url)) as store:
            async with store.transaction() as session:
                chosen = [await find_collection(session, str(collection)) for collection in collections]
            async with open_locks(store, "retrovue-ingest-elsewhere") as locks:
                assert not await locks.take(chosen)
                yield

    with portal.wrap_async_context_manager(holding()):
        yield


def answer(cli: Cli, reply: str | signal.Signals, *arguments: str) -> Done:
    """Run a command on a terminal, and type the answer, or send the signal, once it asks."""
    terminal, its_end = pty.openpty()
    process = cli.start(*arguments, stdin=its_end, stderr=its_end, start_new_session=True)
    os.close(its_end)
    seen = b""
    try:
        while not seen.endswith(b"[y/N] "):
            seen += os.read(terminal, 1000)
        if isinstance(reply, signal.Signals):
            process.send_signal(reply)
        else:
            os.write(terminal, reply.encode())
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    with suppress(OSError):  # that is how a terminal ends that nobody uses any more
        while more := os.read(terminal, 1000):
            seen += more
    os.close(terminal)
    return Done(process.returncode, out.decode(), seen.decode().replace("\r\n", "\n"))


def add(cli: Cli, url: str, name: str, *more: str) -> Any:
    """Add a source and find its collections."""
    arguments = ("source", "add", "--type", "plex", "--name", name, "--base-url", url, "--discover", "--json", *more)
    done = cli(*arguments, env={"RETROVUE_TOKEN": TOKEN})
    assert done.status == 0, done
    return done.document["source"]
