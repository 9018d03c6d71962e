# ruff: noqa: ARG002 - the interface gives more than an importer has to use
"""Importers of third parties in a thread of their own: what they do there costs their collection, never the run."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import anyio
import anyio.abc
import pytest

from retrovue.core.answers import SourceIdentity
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL, Scope
from retrovue.errors import ImporterFailed, RequestError, SourceUnreachable
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.plugins import isolation
from retrovue.plugins.isolation import GRACE, LoopEnded, PluginThread
from retrovue.store.collections import list_collections, record_discovery, set_enabled
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from retrovue.testing import hold_again, let_go
from retrovue.testing.misbehaving import (
    BROKEN,
    FIRST,
    LAST,
    MISBEHAVING,
    BlockingLoop,
    Hanging,
    MisbehavingImporter,
    SwallowingCancellation,
)
from tests.conftest import Packages
from tests.support.library import codes, draft, outline, page

# A thread that hangs is let go by the fixture, after the test.
pytestmark = [pytest.mark.anyio, pytest.mark.leaves("threads")]

COLLECTION = Collection(UUID(int=1), UUID(int=2), BROKEN, BROKEN, "movie", sync_enabled=True)


@pytest.fixture(autouse=True)
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(isolation, "TURN", 1)
    hold_again()
    yield
    let_go()
    for thread in threading.enumerate():
        if thread.name.startswith("importer "):
            thread.join(20)
            assert not thread.is_alive()


def guarded(kind: type[MisbehavingImporter], patience: float = 60) -> GuardedImporter:
    return GuardedImporter(kind({}), patience=patience)


async def read(importer: GuardedImporter) -> None:
    async with importer.enumerate(COLLECTION, FULL) as pages:
        async for _ in pages:
            pass


async def added(store: Store, packages: Packages, kind: type[MisbehavingImporter]) -> str:
    packages.install("odd", misbehaving=f"{kind.__module__}:{kind.__name__}")
    source = new_source("misbehaving", "Odd", {}, {})
    async with store.transaction() as session:
        await insert_source(session, source)
        await record_discovery(session, source, await kind({}).discover_collections())
        for collection in await list_collections(session, source):
            await set_enabled(session, collection, enabled=True)
    return str(source.id)


@pytest.mark.parametrize(("kind", "code"), MISBEHAVING.items(), ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.fault(60, 61, 62, 63, 64, 65)
async def test_each_way_costs_one_collection_and_the_run_goes_on(
    store: Store, packages: Packages, kind: type[MisbehavingImporter], code: str, dry_run: bool
) -> None:
    source = await added(store, packages, kind)
    options = IngestOptions(concurrency=1, patience=0.3, dry_run=dry_run)
    async with ingest_source(store, source, options) as run:
        pass
    after = {"importer_blocks": "importer_blocks", "importer_failed": "ingested"}.get(code, "ingested")
    if kind.__name__ == "ExitingInBackground":
        after = "importer_failed"  # the loop that it ended was all that it had
    assert codes(run.summary) == {FIRST: "ingested", BROKEN: code, LAST: after}


@pytest.mark.parametrize("kind", MISBEHAVING)
async def test_once_they_are_let_go_they_behave(kind: type[MisbehavingImporter]) -> None:
    let_go()
    async with guarded(kind) as importer:
        await read(importer)


@pytest.mark.fault(61, 63, 64)
class TestPatience:
    @pytest.mark.parametrize("patience", [0, -1, float("nan")])
    async def test_it_has_to_be_some(self, patience: float) -> None:
        with pytest.raises(RequestError) as refused:
            IngestOptions(patience=patience)
        assert refused.value.code == "bad_patience"

    @pytest.mark.parametrize(
        ("kind", "code"), [(Hanging, "timeout"), (SwallowingCancellation, "timeout"), (BlockingLoop, "blocks")]
    )
    async def test_it_ends_and_says_what_kind_of_silence_it_is(
        self, kind: type[MisbehavingImporter], code: str
    ) -> None:
        async with guarded(kind, 0.2) as importer:
            with pytest.raises(ImporterFailed) as failed:
                await read(importer)
        assert failed.value.code == f"importer_{code}"

    @pytest.mark.parametrize("kind", [Hanging, SwallowingCancellation, BlockingLoop])
    async def test_closing_is_not_waited_for_either(self, kind: type[MisbehavingImporter]) -> None:
        class Closing(kind):  # type: ignore[misc, valid-type]
            async def __aexit__(self, *error: object) -> None:
                await self.misbehave()

        async with guarded(Closing, 0.2) as importer:
            answer = await importer.check_reachable()
        assert answer.identifier == "misbehaving"

    async def test_nothing_more_is_asked_of_one_that_blocks(self) -> None:
        async with guarded(BlockingLoop, 0.2) as importer:
            with pytest.raises(ImporterFailed):
                await read(importer)
            importer._patience = 3600
            with pytest.raises(ImporterFailed) as failed:
                await importer.check_reachable()
        assert failed.value.code == "importer_blocks"

    async def test_one_that_blocks_does_not_hold_up_our_loop(self) -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with anyio.create_task_group() as group:
            group.start_soon(turn)
            async with guarded(BlockingLoop, 0.2) as importer:
                before = turns
                with pytest.raises(ImporterFailed):
                    await read(importer)
                assert turns > before + 10
            group.cancel_scope.cancel()

    @pytest.mark.parametrize("kind", [Hanging, SwallowingCancellation, BlockingLoop])
    async def test_our_cancellation_waits_for_none_of_them(self, kind: type[MisbehavingImporter]) -> None:
        reached = anyio.Event()

        async def read() -> None:
            async with guarded(kind, 3600) as importer, importer.enumerate(COLLECTION, FULL) as pages:
                await anext(pages)
                reached.set()
                await anext(pages)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await reached.wait()
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        assert group.cancel_scope.cancelled_caught


class Nesting(MisbehavingImporter):
    """Opens task groups, which have to be left in the task that entered them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.threads: set[int] = set()
        self.tasks: list[object] = []
        self.closed: list[str] = []
        self._group: anyio.abc.TaskGroup

    def _note(self) -> None:
        self.threads.add(threading.get_ident())
        self.tasks.append(asyncio.current_task())

    async def __aenter__(self) -> Self:
        self._note()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(anyio.sleep_forever)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._note()
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        self.closed.append("importer")

    async def check_reachable(self) -> SourceIdentity:
        self._note()
        raise SourceUnreachable("away")

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        self._note()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                try:
                    yield self._pages()
                finally:
                    self._note()
                    group.cancel_scope.cancel()
        finally:
            self.closed.append("enumeration")

    async def _pages(self) -> AsyncIterator[Page | Outline]:
        self._note()
        yield page(draft("a"))
        yield outline(draft("b"))
        await anyio.sleep_forever()


class TestOneThreadAndItsTasks:
    async def test_what_is_entered_is_left_in_the_same_task(self) -> None:
        own = Nesting({})
        async with GuardedImporter(own) as importer:
            with pytest.raises(SourceUnreachable):
                await importer.check_reachable()
            async with importer.enumerate(COLLECTION, FULL) as pages:
                first, second = await anext(pages), await anext(pages)
                assert isinstance(first, Page)
                assert isinstance(second, Outline)
                assert [one.title for one in (await pages.read(second)).drafts] == ["B"]
        assert own.closed == ["enumeration", "importer"]
        assert own.threads.isdisjoint({threading.get_ident()})
        assert len(own.threads) == 1
        opened, asked, entered, read, left, closed = own.tasks
        assert opened is closed
        assert entered is read is left
        assert len({opened, asked, entered}) == 3

    async def test_a_cancellation_reaches_the_importer_and_it_cleans_up(self) -> None:
        own = Nesting({})
        reading = anyio.Event()

        async def read() -> None:
            async with GuardedImporter(own) as importer, importer.enumerate(COLLECTION, FULL) as pages:
                await anext(pages)
                await anext(pages)
                reading.set()
                await anext(pages)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await reading.wait()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert own.closed == ["enumeration", "importer"]

    async def test_opening_that_fails_leaves_no_thread(self) -> None:
        class Refusing(MisbehavingImporter):
            async def __aenter__(self) -> Self:
                raise ZeroDivisionError

        importer = guarded(Refusing)
        with pytest.raises(ImporterFailed):
            await importer.__aenter__()
        assert not importer.left_thread_behind

    async def test_one_that_shares_our_loop_runs_in_it(self) -> None:
        class Sharing(Nesting):
            shares_loop = True

        own = Sharing({})
        async with GuardedImporter(own):
            pass
        assert own.threads == {threading.get_ident()}


async def test_the_grace_leaves_time_for_the_rest_of_an_interruption() -> None:
    # An interrupted command has 1.7 s: the page, leaving the enumeration or closing, and the thread's end.
    assert 3 * GRACE < 1.7


def test_only_a_local_importers_paths_stand_for_themselves() -> None:
    assert guarded(Hanging).paths_are_local
    assert not GuardedImporter(type("Far", (Hanging,), {"paths_are_local": False})({})).paths_are_local


def test_where_no_loop_can_be_made_nobody_waits_for_it() -> None:
    """For want of file descriptors, say."""
    program = (
        "import resource, anyio\n"
        "from retrovue.plugins.isolation import LoopEnded, PluginThread\n"
        "async def main():\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "    try: await PluginThread('importer odd').start()\n"
        "    except LoopEnded: print('there is none')\n"
        "anyio.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "there is none\n", done.stderr


async def test_a_task_that_starts_while_the_plugin_ends_its_loop_leaves_nothing_behind() -> None:
    """What is left of a loop would be told as an exception that nobody can catch."""

    def end() -> None:
        raise SystemExit

    for _ in range(20):
        thread = await PluginThread("importer odd").start()
        thread.post(end)
        task = thread.task()
        await thread._ended.wait()
        del task, thread
    gc.collect()


async def test_a_plugin_that_cancels_all_tasks_ends_its_loop() -> None:
    async def cancel_all() -> None:
        for running in asyncio.all_tasks():
            running.cancel()
        await asyncio.Event().wait()

    thread = await PluginThread("importer odd").start()
    task, other = thread.task(), thread.task()
    with pytest.raises(LoopEnded):
        await task.run(cancel_all, 60)
    with anyio.fail_after(60):
        await thread._ended.wait()
    for left in (task, other, thread.task()):
        with pytest.raises(LoopEnded):
            await left.run(cancel_all, 60)
