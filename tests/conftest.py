"""Fixtures that all tests share: one PostgreSQL for the session, a fresh database for each test."""

import gc
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio.from_thread
import pytest
from anyio.from_thread import BlockingPortal
from hypothesis import HealthCheck, settings

from retrovue.store.addresses import database_url
from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.session import Store
from tests.support import canary
from tests.support.databases import Databases
from tests.support.embedded_processes import Furnish
from tests.support.library import Library, empty
from tests.support.observers import Observers
from tests.support.scratch import make_scratch, remove_scratch, scratch
from tests.support.world import Catalogue, Commands, World, bare_environment, opened

__all__ = ["Databases", "Packages"]

# A loaded machine takes its time, and no test may fail for that.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["tests.support.invariants"]

# As the program does: the tests and what they import are 300,000 objects that all stay.
gc.set_threshold(250_000, 20, 100)


def pytest_configure(config: pytest.Config) -> None:
    """Make the directory of the session's PostgreSQL; the process that made it removes it."""
    if not hasattr(config, "workerinput") and (made := make_scratch()):
        config.add_cleanup(lambda: remove_scratch(made))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import some of the tests first, each worker others: in a fresh checkout all workers would compile all of them."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    number, workers = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for path in sorted(Path(__file__).parent.rglob("test_*.py"))[number::workers]:
        importlib.import_module(".".join(path.relative_to(session.config.rootpath).with_suffix("").parts))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of ``-n logical``: one more than processors, as tests also wait, for deadlines above all."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that take longest begin first: none of them is what all workers but one wait for in the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


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
    home = (scratch() or (base if worker_id == "master" else base.parent)) / "postgres"
    with portal.wrap_async_context_manager(embedded_server(home, durable=False)) as server:
        yield server
    assert canary.logs_with_it(home) == []


@pytest.fixture(scope="session")
def furnish(portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Furnish:
    """Copies a cluster that has been started once to a home: initdb takes a second, and most tests aren't about it."""
    original = tmp_path_factory.mktemp("made") / "home"
    with portal.wrap_async_context_manager(embedded_server(original, durable=False)):
        pass

    def copy(home: Path) -> None:
        home.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["cp", "-a", str(original / "pg18"), str(home / "pg18")], check=True)

    return copy


@pytest.fixture(scope="session")
def databases(portal: BlockingPortal, server: EmbeddedServer, worker_id: str) -> Iterator[Databases]:
    with Databases(portal, server, f"test_{worker_id}") as databases:
        yield databases


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

    def remove(self, package: str) -> None:
        """Uninstall a distribution."""
        shutil.rmtree(self._directory / f"{package}-1.0.dist-info")


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
    packages.install("scripted", scripted="tests.support.library:ScriptedImporter")


@pytest.fixture
async def library(store: Store, scripted: None) -> Library:
    """A source of one collection, Movies."""
    return await Library.make(store, "Movies")


_NOBODY = 65534


@pytest.fixture
def unprivileged_path(tmp_path: Path) -> Iterator[Path]:
    """A directory of an ordinary user, whom the test runs as: root could read what nobody may read."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="retrovue-unprivileged-"))
    os.chown(directory, _NOBODY, _NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield directory
    finally:
        os.seteuid(0)
        shutil.rmtree(directory)


@pytest.fixture
def offline(tmp_path: Path) -> Commands:
    """Commands whose database nobody can reach: whatever works with them has not opened it."""
    nowhere = {"RETROVUE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    return Commands(bare_environment(tmp_path / "no-home") | nowhere)


@pytest.fixture
def cli(offline: Commands, database_url: str) -> Commands:
    """Commands on a fresh catalogue."""
    return Commands(offline.environment | {"RETROVUE_DATABASE_URL": database_url})


@pytest.fixture
def catalogue(portal: BlockingPortal, database_url: str) -> Iterator[Catalogue]:
    observers = Observers(portal)
    yield Catalogue(portal, database_url, observers)
    observers.close()


@pytest.fixture
def world(portal: BlockingPortal, cli: Commands, catalogue: Catalogue, media: Path) -> Iterator[World]:
    """A source with movies and shows, mapped and enabled, and home videos, mapped and not enabled."""
    with opened(portal, cli, catalogue, media) as world:
        yield world
