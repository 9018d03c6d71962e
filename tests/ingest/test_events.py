"""What a run tells while it is under way: all of it, in order, however slow whoever reads it is."""

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from retrovue.core.pages import Rejection
from retrovue.core.results import Failed, Ingested
from retrovue.ingest.events import CollectionFinished, CollectionStarted, Event, Feed, Progress, RunFinished, RunStarted
from retrovue.store.session import Store
from tests.support.library import Library, draft, page

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


class TestOrder:
    async def test_a_run_tells_what_happens_from_its_start_to_its_end(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("a")), page(draft("b"), Rejection("x", "y"))]
        async with library.run() as run:
            events = [event async for event in run.events()]
        first, started, *progress, finished, last = events
        movies = await library.collection("Movies")
        assert isinstance(first, RunStarted)
        assert (first.run_id, first.source) == (run.id, run.source)
        assert [collection.id for collection in first.collections] == [movies.id]
        assert isinstance(started, CollectionStarted)
        phases = [event.phase for event in progress if isinstance(event, Progress)]
        assert len(phases) == len(progress)
        assert phases == sorted(phases, reverse=True)
        assert phases[-1] == "merging"
        assert isinstance(finished, CollectionFinished)
        assert isinstance(finished.outcome, Ingested)
        assert isinstance(last, RunFinished)
        assert last.summary.outcomes == (finished.outcome,)
        assert run.summary.outcomes == (finished.outcome,)

    async def test_progress_counts_what_was_read(self, library: Library) -> None:
        reached, go = anyio.Event(), anyio.Event()

        async def stop() -> None:
            reached.set()
            await go.wait()

        library.script.listings["Movies"] = [page(draft("a"), Rejection("x", "y")), stop, page(draft("b"))]
        async with library.run() as run:
            await reached.wait()
            progress = [event async for event in _until_progress(run.events())][-1]
            go.set()
        assert isinstance(progress, Progress)
        assert (progress.source_items, progress.discovered, progress.rejected) == (2, 2, 1)
        assert progress.rate == 2 / progress.seconds

    async def test_a_collection_that_is_not_ingested_is_finished_and_never_started(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B")
        await many.enable("B", enabled=False)
        async with many.run() as run:
            events = [event async for event in run.events()]
        assert [event.collection.name for event in events if isinstance(event, CollectionStarted)] == ["A"]
        outcomes = [event.outcome for event in events if isinstance(event, CollectionFinished)]
        assert sorted(outcome.collection.name for outcome in outcomes) == ["A", "B"]


async def _until_progress(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async for event in events:
        yield event
        if isinstance(event, Progress):
            return


class TestReaders:
    async def test_a_slow_one_gets_the_newest_progress_only(self, library: Library) -> None:
        reached, go = anyio.Event(), anyio.Event()

        async def stop() -> None:
            reached.set()
            await go.wait()

        library.script.listings["Movies"] = [*(page(draft(f"i{number}")) for number in range(5)), stop]
        async with library.run() as run:
            events = run.events()
            await reached.wait()
            read = [await anext(events) for _ in range(3)]
            assert names(read) == ["RunStarted", "CollectionStarted", "Progress"]
            assert isinstance(read[-1], Progress)
            assert read[-1].discovered == 5
            go.set()
            assert names([event async for event in events]) == ["Progress", "CollectionFinished", "RunFinished"]

    async def test_one_that_reads_after_the_end_misses_no_outcome(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("a"))]
        async with library.run() as run:
            pass
        everything = ["RunStarted", "CollectionStarted", "CollectionFinished", "RunFinished"]
        assert names([event async for event in run.events()]) == everything
        assert [type(outcome) async for outcome in run] == [Ingested]

    async def test_each_one_gets_everything(self, library: Library) -> None:
        many = await Library.make(library.store, *"ABC")
        read: list[list[str]] = []

        async def follow() -> None:
            read.append([outcome.collection.name async for outcome in run])

        async with many.run() as run, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(follow)
        assert [sorted(one) for one in read] == [["A", "B", "C"]] * 3

    async def test_one_of_another_task_is_told_how_an_interrupted_run_ended(self, library: Library) -> None:
        reached = anyio.Event()

        async def stop() -> None:
            reached.set()
            await anyio.sleep_forever()

        library.script.listings["Movies"] = [stop]
        read: list[Event] = []
        running = anyio.CancelScope()

        async def follow() -> None:
            read.extend([event async for event in run.events()])

        async with anyio.create_task_group() as group:
            with running:
                async with library.run() as run:
                    group.start_soon(follow)
                    await reached.wait()
                    running.cancel()
                    await anyio.lowlevel.checkpoint()
        finished, last = read[-2:]
        assert isinstance(finished, CollectionFinished)
        assert isinstance(finished.outcome, Failed)
        assert finished.outcome.interrupted
        assert isinstance(last, RunFinished)
        assert last.summary.interrupted
        assert await library.audit() == [("Movies", "interrupted", "interrupted")]


class TestFeed:
    async def test_it_holds_one_progress_a_collection(self, library: Library) -> None:
        collection = await library.collection("Movies")
        feed = Feed()
        feed.add(CollectionStarted(collection))
        for number in range(1000):
            feed.progress(Progress(collection, number, number, 0, 1.0))
        assert len(feed._progress) == 1
        reader = feed.reader()
        assert [await anext(reader), await anext(reader)] == [
            CollectionStarted(collection),
            Progress(collection, 999, 999, 0, 1.0),
        ]

    async def test_progress_of_several_collections_comes_in_its_order(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B")
        a, b = (await many.collections()).values()
        feed = Feed()
        feed.progress(Progress(a, 1, 1, 0, 1.0))
        feed.progress(Progress(b, 2, 2, 0, 1.0))
        feed.progress(Progress(a, 3, 3, 0, 1.0))
        reader = feed.reader()
        read = [await anext(reader), await anext(reader)]
        assert [event.source_items for event in read if isinstance(event, Progress)] == [2, 3]
