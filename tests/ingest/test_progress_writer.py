"""A run tells how far it is, for others to see, and stops when somebody asks it to."""

import uuid
from collections.abc import Callable
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from retrovue import (
    CollectionProgress,
    IngestOptions,
    follow_progress,
    ingest_source,
    list_held_back,
    list_programs,
    list_progress,
    stop_run,
)
from retrovue.errors import RequestError
from retrovue.ingest import progress_writer
from retrovue.store.progress import write_progress
from retrovue.store.session import Store
from tests.support.library import Library, draft, execute, page

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_writer, "PAUSE_SECONDS", 0.01)


async def seen(store: Store, fits: Callable[[list[CollectionProgress]], bool]) -> list[CollectionProgress]:
    """Wait until what is told fits."""
    with anyio.fail_after(30):
        async for _ in follow_progress(store):
            found = await list_progress(store)
            if fits(found):
                return found
    raise AssertionError


def reading(found: list[CollectionProgress]) -> bool:
    return [(one.phase, one.discovered) for one in found] == [("reading", 2)]


class TestProgress:
    async def test_others_see_how_far_it_is_and_nothing_stays(self, library: Library) -> None:
        store, more = library.store, anyio.Event()
        library.script.listings["Movies"] = [page(draft("A"), draft("B")), more, page(draft("C"))]
        async with ingest_source(store, "A source") as run:
            (told,) = await seen(store, reading)
            (program,) = await list_programs(store)
            assert (program.run, program.does) == (str(run.id), "has a run at work")
            more.set()
        assert (told.run_id, told.source_items, told.stop_asked_by) == (run.id, 2, None)
        assert told.rate > 0
        assert run.summary.status == "ok"
        assert await list_progress(store) == []

    async def test_a_dry_run_and_a_short_one_write_nothing(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = library.store
        library.script.listings["Movies"] = [page(draft("A"))]
        await execute(store, "ALTER TABLE run_progress ADD CONSTRAINT never CHECK (false)")
        monkeypatch.setattr(progress_writer, "PAUSE_SECONDS", 3600)
        async with ingest_source(store, "A source"):
            pass
        monkeypatch.setattr(progress_writer, "PAUSE_SECONDS", 0)
        library.script.listings["Movies"] = [page(draft("A")), partial(anyio.sleep, 0.05), page(draft("B"))]
        async with ingest_source(store, "A source", IngestOptions(dry_run=True)) as run:
            pass
        assert run.summary.status == "ok"

    async def test_that_it_cannot_be_told_changes_nothing(self, library: Library) -> None:
        store, asked = library.store, anyio.Event()
        await execute(store, "ALTER TABLE run_progress ADD CONSTRAINT never CHECK (false)")
        refused = 0

        async def until_refused() -> None:
            while not asked.is_set():
                await anyio.lowlevel.checkpoint()

        async def write(*_: object) -> None:
            nonlocal refused
            refused += 1
            try:
                await write_progress(*_)  # type: ignore[arg-type]
            finally:
                asked.set()

        library.script.listings["Movies"] = [page(draft("A")), until_refused, page(draft("B"))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(progress_writer, "write_progress", write)
            async with ingest_source(store, "A source") as run:
                pass
        assert refused
        assert (run.summary.status, set(await library.assets())) == ("ok", {"A", "B"})


class TestStopping:
    async def test_whoever_asks_stops_it_and_what_reads_its_events_ends(self, library: Library) -> None:
        store = library.store
        library.script.listings["Movies"] = [page(draft("A"), draft("B")), anyio.Event()]
        ended: list[str] = []
        with anyio.fail_after(30):
            async with ingest_source(store, "A source") as run, anyio.create_task_group() as group:

                async def read() -> None:
                    ended.extend([type(event).__name__ async for event in run.events()])

                group.start_soon(read)
                await seen(store, reading)
                await stop_run(store, run.id)
        assert run.summary.interrupted
        assert ended[-1] == "RunFinished"
        assert await library.audit() == [("Movies", "interrupted", "interrupted")]
        assert await list_progress(store) == []

    async def test_a_run_that_is_over_cannot_be_stopped(self, library: Library) -> None:
        with pytest.raises(RequestError) as raised:
            await stop_run(library.store, uuid.uuid4())
        assert raised.value.code == "not_running"


async def test_a_run_that_was_killed_is_forgotten_after_a_day(library: Library) -> None:
    store, killed = library.store, uuid.uuid4()
    movies = await library.collection("Movies")
    await write_progress(store, killed, [CollectionProgress(killed, movies.id, "reading")])
    await execute(store, "UPDATE run_progress SET updated_at = now() - interval '25 hours'")
    library.script.listings["Movies"] = [page(draft("A"), draft("B")), partial(seen, store, reading_beside)]
    async with ingest_source(store, "A source"):
        pass
    assert await list_progress(store) == []
    assert await list_held_back(store) == []


def reading_beside(found: list[CollectionProgress]) -> bool:
    return ("reading", 2) in [(one.phase, one.discovered) for one in found]
