"""The world of the contract tests: a catalogue, a simulated Plex server, a source, and commands run against them."""

import io
import os
import re
import shutil
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from anyio.from_thread import BlockingPortal

from retrovue.cli.entry import run
from retrovue.core.model import PathMapping, Secret, Source
from retrovue.operations.discovery import discover
from retrovue.simulator import Fault, ListSection, Request, Section, SimulatedPlex, clip, faults, movie
from retrovue.store.addresses import database_url as parsed
from retrovue.store.collections import list_collections, set_check_files, set_enabled, set_path_mappings
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from retrovue.testing.tasks import run as run_alone
from tests.cli.conftest import Cli, Done
from tests.support import schemas
from tests.support.observers import Look, Observers, address
from tests.support.plex import IMPATIENT, series
from tests.support.prepared import Prepared

T = TypeVar("T")

TOKEN = "canary-token-c0de"
NAME = "My Plex"
ENABLED = ("Movies", "TV Shows")
MOVIES, SHOWS, VIDEOS = (f"/library/sections/{key}/all" for key in "123")

KEYS = [
    "status",
    "source",
    "collections_processed",
    "total_created_assets",
    "total_skipped_assets",
    "total_duplicates",
    "collection_results",
    "errors",
]
"""The document of a source ingest begins with these, in this order."""

AUDIT = ("ingest_start", "ingest_outcome", "ingest_rejection")
ASSETS = ("asset", "asset_part", "asset_alias", "asset_enrichment")


class Commands(Cli):
    """Runs commands in this process, by the function that the program's entry calls; `start` makes real processes."""

    def __call__(self, *arguments: str | bytes, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        assert not stdin, "only a process can be given an input"
        written = io.BytesIO(), io.BytesIO()
        out, err = (io.TextIOWrapper(stream, encoding="utf-8") for stream in written)
        with _environment({**self.environment, **(env or {})}), redirect_stdout(out), redirect_stderr(err):
            words = [os.fsdecode(argument) for argument in arguments]
            status = run_alone(run, words)
        done = Done(status, *(stream.getvalue().decode() for stream in written))
        schemas.check(words, done.out, done.err)
        return done

    @property
    def as_process(self) -> Cli:
        """The same commands, each as a process of its own."""
        return Cli(self.environment | {"PYTHONPATH": os.pathsep.join(sys.path)})


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    saved = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


class Catalogue:
    """A database as somebody else sees it.

    With observers it is seen over one connection, which they keep: nobody can drop or copy the database meanwhile.
    """

    def __init__(self, portal: BlockingPortal, url: str, observers: Observers | None = None) -> None:
        self._portal = portal
        self._observers = observers
        self.url = url
        self._address = address(url)

    async def ask(self, statement: str, *bind: object) -> list[tuple[Any, ...]]:
        """Ask from the event loop of the simulated server, as its hooks do."""
        return await self._alone(partial(_rows, statement=statement, bind=bind))

    def rows(self, statement: str, *bind: object) -> list[tuple[Any, ...]]:
        return self._look(partial(_rows, statement=statement, bind=bind))

    def value(self, statement: str, *bind: object) -> Any:
        [(value,)] = self.rows(statement, *bind)
        return value

    def column(self, statement: str, *bind: object) -> list[Any]:
        return [value for (value,) in self.rows(statement, *bind)]

    def bytes(self, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of these tables, or of all, to the byte: with its place and the transaction that wrote it."""
        return self._look(partial(_bytes, tables=tables))

    def leave(self) -> None:
        """Be no longer connected, until the next look."""
        if self._observers is not None:
            self._observers.forget(self.url)

    def sequences(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")

    @contextmanager
    def connection(self) -> Iterator[Callable[..., Any]]:
        """Hold a transaction open; gives a function that executes statements in it."""
        with self._portal.wrap_async_context_manager(_transaction(self._address)) as connection:
            yield partial(self._portal.call, connection.execute)

    def _look(self, look: Look[T]) -> T:
        if self._observers is not None:
            return self._observers.look(self.url, look)
        return self._portal.call(self._alone, look)

    async def _alone(self, look: Look[T]) -> T:
        connection = await asyncpg.connect(self._address)
        try:
            return await look(connection)
        finally:
            await connection.close()


async def _rows(connection: Any, *, statement: str, bind: Sequence[object]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(statement, *bind)]


async def _bytes(connection: Any, *, tables: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    every = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    names = sorted(tables or [name for (name,) in await connection.fetch(every)])
    query = "SELECT ctid::text, xmin::text, t::text FROM {} t ORDER BY ctid"
    return {name: [tuple(row) for row in await connection.fetch(query.format(name))] for name in names}


class _transaction:  # noqa: N801 - an async context manager that reads as a function
    def __init__(self, address: str) -> None:
        self._address = address

    async def __aenter__(self) -> Any:
        self._connection = await asyncpg.connect(self._address)
        await self._connection.execute("BEGIN")
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


def movies() -> ListSection:
    """Five items: three films, one more of the first one's file, and one without media."""
    rows = [
        movie(101, "Alien"),
        movie(102, "Brazil"),
        movie(103, "Casablanca"),
        movie(104, "Alien Again", file="/data/movies/Alien.mkv"),
        movie(105, "Lost Reel", Media=None),
    ]
    return ListSection("1", "Movies", "movie", rows, locations=["/data/movies"])


def shows() -> ListSection:
    """Eight episodes of two shows."""
    rows = [*series(1000, "The Big Bang Theory", 2, 3), *series(2000, "Firefly", 1, 2)]
    return ListSection("2", "TV Shows", "show", rows, locations=["/data/tv"])


def videos() -> ListSection:
    """Two clips."""
    return ListSection("3", "Home Videos", "movie", [clip(301), clip(302)], locations=["/data/videos"])


def library() -> list[Section]:
    return [movies(), shows(), videos()]


@dataclass
class World:
    """One source of a simulated Plex server in a catalogue, and commands that work on it."""

    portal: BlockingPortal
    cli: Commands
    catalogue: Catalogue
    plex: SimulatedPlex
    url: str
    media: Path
    source: Source

    # What is done

    def ingest(self, *arguments: str) -> Done:
        return self.cli("source", "ingest", NAME, *arguments)

    def document(self, *arguments: str, status: int = 0) -> Any:
        """Ingest the source and return what --json says."""
        done = self.ingest("--json", *arguments)
        assert done.status == status, done
        return done.document

    def collection(self, name: str, *arguments: str) -> Done:
        return self.cli("collection", "ingest", name, *arguments)

    def discover(self, *arguments: str) -> Done:
        return self.cli("source", "discover", NAME, *arguments)

    def both(self, *arguments: str, status: int, code: str | None = None) -> tuple[Done, Any]:
        """Run a command that changes nothing twice, for people and with --json; both tell the same error."""
        human, machine = self.cli(*arguments), self.cli(*arguments, "--json")
        assert (human.status, machine.status) == (status, status), (human, machine)
        document = machine.document
        if status:
            assert human.err.startswith("Error: "), human
            assert machine.err.startswith("Error: "), machine
            assert document["errors"], document
            assert all(error["code"] and error["message"] for error in document["errors"])
        if code is not None:
            assert {error["code"] for error in document["errors"]} == {code}, document["errors"]
        return human, document

    # What there is

    def local(self, name: str) -> Path:
        """The local directory of a collection's files."""
        return self.media / name.lower().replace(" ", "-")

    def lose(self, name: str) -> None:
        """Take a collection's directory away, as a lost mount does."""
        shutil.rmtree(self.local(name))

    def section(self, name: str) -> ListSection:
        [section] = [section for section in self.plex.sections if section.title == name]
        assert isinstance(section, ListSection)
        return section

    def id(self, name: str) -> str:
        return str(self.catalogue.value("SELECT id FROM collection WHERE name = $1", name))

    def enable(self, name: str, *, enabled: bool = True) -> None:
        self.catalogue.rows("UPDATE collection SET sync_enabled = $1 WHERE name = $2", enabled, name)

    def counts(self) -> dict[str, int]:
        """How many assets each collection has."""
        return dict(
            self.catalogue.rows(
                "SELECT name, (SELECT count(*) FROM asset WHERE collection_uuid = collection.id) FROM collection"
            )
        )

    def audit(self) -> list[tuple[str, str, str | None]]:
        """Collection, status and code of each outcome, oldest first."""
        return [
            (row[0], row[1], row[2])
            for row in self.catalogue.rows(
                "SELECT name, status, code FROM ingest_start JOIN collection ON collection.id = collection_id"
                " LEFT JOIN ingest_outcome USING (run_id, collection_id) ORDER BY started_at, name"
            )
        ]

    # What goes wrong

    def fault(self, action: faults.Action, path: Any = "*", **options: Any) -> None:
        self.plex.faults.add(Fault(action, path=path, **options))

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Hold collections' locks, as another ingest does."""
        with self.catalogue.connection() as execute:
            execute("SET application_name = 'somebody-else'")
            for name in names:
                key = int.from_bytes(uuid.UUID(self.id(name)).bytes[:8], "big", signed=True)
                execute(f"SELECT pg_advisory_xact_lock({key})")
            yield

    def break_listing(self, *paths: str) -> None:
        """Let listings claim an item more than they hold, so that they never prove complete."""
        for path in paths:
            self.fault(faults.lie_about_total(1), path)

    def asked(self, path: str | None = None) -> list[Request]:
        """The requests for a path, or all."""
        return [request for request in self.plex.requests if path is None or request.path == path]

    def narrowing(self) -> list[dict[str, str]]:
        """What the server was asked of its listings, without paging, order and what is left out."""
        return [
            {
                key: value
                for key, value in request.params
                if not key.startswith(("X-Plex", "include", "exclude", "sort"))
            }
            for request in self.plex.requests
            if request.path.endswith("/all")
        ]

    def when(self, path: str, act: Callable[[], Awaitable[object] | object]) -> None:
        """Do something in the server's event loop when a path is first asked for, before it is answered."""
        waiting = [True]

        async def hook(request: Request) -> None:
            if waiting and request.path == path:
                waiting.clear()
                result = act()
                if isinstance(result, Awaitable):
                    await result

        self.plex.on_request = hook


async def prepare(url: str, address: str, media: Path, enabled: Sequence[str], identifier: str) -> Source:
    """Add the source, discover its collections, map them all and enable some."""
    config = {"base_url": address, "machine_identifier": identifier, **IMPATIENT}
    source = new_source("plex", NAME, config, {"token": Secret(TOKEN)})
    async with Store(parsed(url), connections=1) as store:
        async with store.transaction() as session:
            await insert_source(session, source)
        await discover(store, str(source.id))
        async with store.transaction() as session:
            for collection in await list_collections(session, source):
                local = media / collection.name.lower().replace(" ", "-")
                local.mkdir(exist_ok=True)
                mappings = [PathMapping(location, str(local)) for location in collection.locations]
                await set_path_mappings(session, collection, mappings)
                await set_check_files(session, collection, check_files=False)  # only the server is simulated
                await set_enabled(session, collection, enabled=collection.name in enabled)
    return source


_prepared: list[Prepared] = []


@contextmanager
def opened(portal: BlockingPortal, cli: Commands, catalogue: Catalogue, media: Path) -> Iterator[World]:
    """Serve the library and prepare a source of it: movies and shows mapped and enabled, home videos only mapped."""
    plex = SimulatedPlex(library(), token=TOKEN)
    with portal.wrap_async_context_manager(plex.serve()) as url:
        if _prepared:
            source = _prepared[0].again(portal, catalogue.url, url, str(media))
            for section in plex.sections:
                (media / section.title.lower().replace(" ", "-")).mkdir()
        else:
            source = portal.call(prepare, catalogue.url, url, media, ENABLED, plex.machine_identifier)
            _prepared.append(Prepared.of(portal, catalogue.url, source, url, str(media)))
        plex.reset_counters()
        yield World(portal, cli, catalogue, plex, url, media, source)


def bare_environment(home: Path) -> dict[str, str]:
    """This process's environment without what would lead to somebody's catalogue."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RETROVUE_")}
    return environment | {"RETROVUE_HOME": str(home)}


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def comparable(value: Any) -> Any:
    """Replace what differs between two runs alike: ids of ours, times and durations."""
    match value:
        case dict():
            return {key: None if "duration" in key else comparable(item) for key, item in value.items()}
        case list():
            return [comparable(item) for item in value]
        case str():
            return _UUID.sub("<id>", value)
        case _:
            return value


def named(document: Any) -> dict[str, Any]:
    """The results of a document by collection."""
    return {result["name"]: result for result in document["collection_results"]}


def fates(document: Any) -> dict[str, str]:
    """What became of each collection, in the order of the document."""
    return {result["name"]: result["code"] or result["status"] for result in document["collection_results"]}
