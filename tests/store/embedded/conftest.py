"""Fixtures for the embedded PostgreSQL's tests."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.store.embedded import embedded_server
from tests.support.embedded_processes import servers

Furnish = Callable[[Path], None]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that doesn't exist yet; as root it lies behind a directory that only root may enter."""
    yield tmp_path / "home"
    for left in servers(tmp_path / "home"):  # by a test that failed
        left.kill()


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


@pytest.fixture
def made(home: Path, furnish: Furnish) -> None:
    """The home has a cluster, as after an earlier command."""
    furnish(home)
