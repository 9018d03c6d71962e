"""The stage of each campaign: a fresh database, a directory short enough for a socket's name."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import Databases
from tests.support.faults.program import Program, program
from tests.support.faults.scenarios import Scenario
from tests.support.faults.stage import Stage, staged
from tests.support.faults.tally import Tally

Staged = Callable[..., AbstractAsyncContextManager[Stage]]
Programs = Callable[..., AbstractAsyncContextManager[Program]]


def all_well(tally: Tally) -> None:
    """Every fault came, and after none of them anything was wrong."""
    assert tally.problems == []
    assert tally.injected == tally.converged > 0


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose name is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="rv") as directory:
        yield Path(directory)


@pytest.fixture
def stage(scripted: None, databases: Databases, short: Path) -> Staged:
    """Prepare a scenario in a database of its own."""

    @asynccontextmanager
    async def prepared(scenario: Scenario, *, control: bool = False) -> AsyncIterator[Stage]:
        url = databases.create()
        async with staged(scenario, url, short, control=control) as stage:
            yield stage
        databases.drop(url)

    return prepared


@pytest.fixture
def programs(databases: Databases, short: Path) -> Programs:
    """Prepare an ingest by the program in a database of its own."""

    @asynccontextmanager
    async def prepared(title: str, *, again: bool, atomic: bool = False, keeps: bool = False) -> AsyncIterator[Program]:
        url = databases.create()
        async with program(title, url, short, again=again, atomic=atomic, keeps=keeps) as stage:
            yield stage
        databases.drop(url)

    return prepared
