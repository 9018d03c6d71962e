"""Fixtures for the embedded PostgreSQL's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded_processes import Furnish, servers


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that doesn't exist yet; as root it lies behind a directory that only root may enter."""
    yield tmp_path / "home"
    for left in servers(tmp_path / "home"):  # by a test that failed
        left.kill()


@pytest.fixture
def made(home: Path, furnish: Furnish) -> None:
    """The home has a cluster, as after an earlier command."""
    furnish(home)
