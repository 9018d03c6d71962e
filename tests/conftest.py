"""Fixtures that all tests share: one PostgreSQL for the session, a fresh database for each test."""

import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio.from_thread
import asyncpg
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store, database_url
from tests import canary
from tests.library import Library, empty, left_clean

pytest_plugins = ["tests.invariants"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """An event loop beside the tests', for what outlives a test."""
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session")
def server(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[EmbeddedServer]:
    """The session's PostgreSQL; parallel workers share one, as commands at the same time do."""
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "postgres"
    with portal.wrap_async_context_manager(embedded_server(home, durable=False)) as server:
        yield server
    assert canary.logs_with_it(home) == []


async def _execute(server: EmbeddedServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _make_template(server: EmbeddedServer, name: str, role: str) -> None:
    await _execute(server, f'CREATE DATABASE "{name}"')
    async with Store(database_url(server.url(name)), connections=1) as store:
        await upgrade(store, role)


class Databases:
    """Makes databases for tests by cloning a migrated template, and drops them afterwards."""

    def __init__(self, portal: BlockingPortal, server: EmbeddedServer, prefix: str) -> None:
        self._portal = portal
        self._server = server
        self._prefix = prefix
        self._templates: dict[str, str] = {}

    def create(self, role: str = "production", *, migrated: bool = True) -> str:
        """Return the URL of a fresh database."""
        name = f"{self._prefix}_{uuid.uuid4().hex[:12]}"
        if migrated:
            template = self._templates.get(role)
            if template is None:
                template = self._templates[role] = f"template_{self._prefix}_{role}_{uuid.uuid4().hex[:6]}"
                self._portal.call(_make_template, self._server, template, role)
            self._portal.call(_execute, self._server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        else:
            self._portal.call(_execute, self._server, f'CREATE DATABASE "{name}"')
        return self._server.url(name)

    def drop(self, url: str) -> None:
        """Drop a database."""
        name = database_url(url).database
        self._portal.call(_execute, self._server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def databases(portal: BlockingPortal, server: EmbeddedServer, worker_id: str) -> Databases:
    return Databases(portal, server, f"test_{worker_id}")


@pytest.fixture(name="database_url")
def database_url_fixture(databases: Databases) -> Iterator[str]:
    """The URL of a fresh, migrated database that is marked as production."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def test_database_url(databases: Databases) -> Iterator[str]:
    """The URL of a fresh, migrated database that is marked as a test database."""
    url = databases.create("test")
    yield url
    databases.drop(url)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The fresh database as an open store."""
    async with _opened(database_url) as store:
        yield store


def _opened(url: str) -> Store:
    return Store(database_url(url), connections=8)


@pytest.fixture(scope="session")
async def _shared_store(databases: Databases) -> AsyncIterator[Store]:
    url = databases.create()
    async with _opened(url) as store:
        yield store
    databases.drop(url)


@pytest.fixture
async def shared_store(_shared_store: Store) -> AsyncIterator[Store]:
    """A store without rows that tests take in turn, for those that leave nothing but rows: it costs no new database."""
    yield _shared_store
    await empty(_shared_store)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A local directory to which path mappings may point."""
    directory = tmp_path / "media"
    directory.mkdir()
    return directory


class Packages:
    """Installs packages that provide importers or enrichers, as distributions that the import system finds."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def install(self, package: str, group: str = "retrovue.importers", **targets: str) -> None:
        """Install a distribution with entry points ``name="module:Class"`` of a group."""
        info = self._directory / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {target}\n" for name, target in targets.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Packages]:
    """A directory of installed packages, for this test only."""
    directory = tmp_path / "site-packages"
    directory.mkdir()
    sys.path.append(str(directory))
    yield Packages(directory)
    sys.path.remove(str(directory))


@pytest.fixture
def scripted(packages: Packages) -> None:
    """The scripted importer, installed."""
    packages.install("scripted", scripted="tests.library:ScriptedImporter")


@pytest.fixture
async def library(store: Store, scripted: None) -> AsyncIterator[Library]:
    """A source of one collection, Movies; after the test nothing may be left behind."""
    async with left_clean(store):
        yield await Library.make(store, "Movies")
