"""Directories that don't answer, as on a mount whose server is gone: they hold up nobody but their collection."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import anyio
import pytest

from retrovue import add_source, discover, ingest_source, update_collection, update_source
from retrovue.core.model import Collection
from retrovue.core.pages import Page
from retrovue.core.runs import FULL
from retrovue.importers.filesystem import FilesystemImporter
from retrovue.importers.filesystem.targets import Targets
from retrovue.importers.filesystem.walk import Walk
from retrovue.ingest.options import IngestOptions
from retrovue.store.session import Store
from retrovue.testing import sample_collection
from tests.support.library import codes, rows

pytestmark = pytest.mark.anyio

DEAD = "Dead"
"""The collection whose directory doesn't answer."""


class Gate:
    """Lets the system answer for a directory only once somebody has opened it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reached = anyio.Event()
        self.open = threading.Event()

    def scan(self, descriptor: int) -> AbstractContextManager[Iterator["os.DirEntry[str]"]]:
        self._loop.call_soon_threadsafe(self.reached.set)
        if not self.open.wait(20):
            raise AssertionError("nobody has opened the gate")
        return os.scandir(descriptor)


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    gate = Gate()
    plain = FilesystemImporter._walk

    def walk(self: FilesystemImporter, collection: Collection, targets: Targets | None = None) -> Walk:
        made = plain(self, collection, targets)
        if collection.name == DEAD:
            made._scan = gate.scan
        return made

    monkeypatch.setattr(FilesystemImporter, "_walk", walk)
    yield gate
    gate.open.set()


@pytest.fixture
async def source(store: Store, tmp_path: Path) -> str:
    """A source of three collections, of which the first one doesn't answer."""
    root = tmp_path / "disk"
    for name in (DEAD, "Movies", "TV"):
        (root / name).mkdir(parents=True)
        (root / name / "a.mkv").write_bytes(b"media")
    await add_source(store, "filesystem", "Disk", {"path": str(root)}, {})
    for known in (await discover(store, "Disk")).collections:
        await update_collection(store, str(known.id), enabled=True)
    return "Disk"


async def test_the_loop_turns_while_a_directory_is_read(tmp_path: Path, gate: Gate) -> None:
    (tmp_path / DEAD).mkdir()
    (tmp_path / DEAD / "a.mkv").write_bytes(b"media")
    found: list[str] = []

    async def read() -> None:
        own = FilesystemImporter({"path": str(tmp_path)})
        async with own.enumerate(sample_collection(DEAD), FULL) as pages:
            async for page in pages:
                assert isinstance(page, Page)
                found.extend(draft.title for draft in page.drafts)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        # Both need the loop, and the directory answers only afterwards.
        await gate.reached.wait()
        assert not found
        gate.open.set()
    assert found == ["a"]


async def test_the_other_collections_go_on(store: Store, source: str, gate: Gate) -> None:
    ended: list[str] = []
    async with ingest_source(store, source, IngestOptions(concurrency=2)) as run:
        async for outcome in run:
            ended.append(outcome.collection.name)
            if set(ended) == {"Movies", "TV"}:
                await gate.reached.wait()
                gate.open.set()
    assert sorted(ended[:2]) == ["Movies", "TV"]
    assert codes(run.summary) == {DEAD: "ingested", "Movies": "ingested", "TV": "ingested"}


async def test_what_never_answers_fails_its_collection(store: Store, source: str, gate: Gate) -> None:
    await update_source(store, source, config={"read_timeout_s": 1.0})
    async with ingest_source(store, source, IngestOptions(concurrency=1)) as run:
        pass
    assert gate.reached.is_set()
    assert not gate.open.is_set()
    assert codes(run.summary) == {DEAD: "directory_timeout", "Movies": "ingested", "TV": "ingested"}


async def test_a_cancellation_does_not_wait_for_it(store: Store, source: str, gate: Gate) -> None:
    others = anyio.Event()

    async def ingest() -> None:
        ended = 0
        async with ingest_source(store, source, IngestOptions(concurrency=2)) as run:
            async for _ in run:
                ended += 1
                if ended == 2:
                    others.set()

    with anyio.fail_after(15):
        async with anyio.create_task_group() as group:
            group.start_soon(ingest)
            await others.wait()
            await gate.reached.wait()
            group.cancel_scope.cancel()
    assert not gate.open.is_set()
    statement = "SELECT name, status FROM ingest_outcome JOIN collection ON collection.id = collection_id ORDER BY name"
    assert await rows(store, statement) == [(DEAD, "interrupted"), ("Movies", "ingested"), ("TV", "ingested")]
