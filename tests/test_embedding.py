"""A service that embeds RetroVue: nothing of it is touched, several runs at once, its own engine and transport."""

import gc
import inspect
import logging
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

import retrovue
from retrovue import (
    CollectionFinished,
    IngestOptions,
    Secret,
    Settings,
    Store,
    add_source,
    discover,
    ingest_source,
    list_assets,
    list_collections,
    list_sources,
    open_store,
    update_collection,
)
from retrovue.core.model import PathMapping
from retrovue.core.runs import Scope
from retrovue.errors import RequestError
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.simulator import SimulatedPlex
from retrovue.store.log import list_log
from tests.support.library import Library, codes, draft, page
from tests.support.plex import TOKEN
from tests.support.world import movies

pytestmark = pytest.mark.anyio


class Gate:
    """A step of a listing that says that it was reached, and waits until it may go on."""

    def __init__(self) -> None:
        self.reached, self.open = anyio.Event(), anyio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.open.wait()


def process_state() -> dict[str, Any]:
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "root": (list(logging.root.handlers), logging.root.level, logging.root.disabled),
        "loggers": {
            name: (list(logger.handlers), logger.level, list(logger.filters))
            for name, logger in logging.root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger)
        },
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "warnings": list(warnings.filters),
        "garbage": (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()),
    }


def module_state() -> dict[str, str]:
    """All that is mutable at the level of a module or of a class of ours, as text."""
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("retrovue"):
            continue
        holders: list[tuple[str, Mapping[str, object]]] = [(name, vars(module))]
        holders += [
            (f"{name}.{key}", vars(value))
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == name
        ]
        for holder, values in holders:
            for key, value in values.items():
                if isinstance(value, dict | list | set | bytearray) and not key.startswith("__"):
                    found[f"{holder}.{key}"] = repr(value)
    return found


class TestNothingGlobal:
    async def test_a_run_changes_nothing_of_the_process(self, library: Library) -> None:
        await library.ingest_one(page(draft("a")))  # whatever is imported when it is first needed
        process, modules = process_state(), module_state()
        assert len(modules) > 10
        await library.ingest_one(page(draft("a"), draft("b")))
        assert process_state() == process
        assert module_state() == modules

    def test_neither_does_the_import(self) -> None:
        program = (
            "import gc, logging, signal, sys, warnings\n"
            "state = lambda: (list(logging.root.handlers), sys.excepthook, list(warnings.filters), gc.get_threshold(),"
            " [signal.getsignal(number) for number in signal.valid_signals()])\n"
            "before = state()\n"
            "import retrovue\n"
            "for name in retrovue.__all__: getattr(retrovue, name)\n"
            "assert state() == before, (before, state())\n"
            "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_every_public_name_is_there_and_says_what_it_is(self) -> None:
        assert sorted(retrovue.__all__) == list(retrovue.__all__)
        for name in retrovue.__all__:
            value = getattr(retrovue, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value.__doc__, name


class TestAfterwards:
    async def test_the_summary_stays_what_the_last_event_said(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("a"))]
        async with library.run() as run:
            pass
        *_, last = [event async for event in run.events()]
        assert isinstance(last, retrovue.RunFinished)
        assert run.summary == last.summary
        assert retrovue.event_document(last) == {"type": "summary", **retrovue.summary_document(run.summary)}


class TestSeveralAtOnce:
    async def test_two_sources_in_one_store_are_ingested_at_the_same_time(self, library: Library) -> None:
        one, other = await Library.make(library.store, "A"), await Library.make(library.store, "B")
        gates = Gate(), Gate()
        one.script.listings["A"] = [gates[0], page(draft("a"))]
        other.script.listings["B"] = [gates[1], page(draft("b"))]
        async with one.run() as first, other.run() as second:
            for gate in gates:
                await gate.reached.wait()
            for gate in gates:
                gate.open.set()
        assert (codes(first.summary), codes(second.summary)) == ({"A": "ingested"}, {"B": "ingested"})

    async def test_of_the_same_source_the_second_is_refused(self, library: Library) -> None:
        gate = Gate()
        library.script.listings["Movies"] = [gate, page(draft("a"))]
        async with library.run() as first:
            await gate.reached.wait()
            async with library.run() as second:
                pass
            gate.open.set()
        assert codes(second.summary) == {"Movies": "already_running"}
        assert codes(first.summary) == {"Movies": "ingested"}

    @pytest.mark.usefixtures("scripted")
    async def test_runs_that_need_more_connections_than_there_are_wait_for_each_other(self, database_url: str) -> None:
        async with open_store(Settings(database_url=Secret(database_url)), connections=1) as store:
            one, other = await Library.make(store, "A"), await Library.make(store, "B")
            gate = Gate()
            one.script.listings["A"] = [gate, page(draft("a"))]
            other.script.listings["B"] = [page(draft("b"))]
            async with one.run(concurrency=1) as first:
                await gate.reached.wait()
                async with other.run(concurrency=1) as second:
                    # The catalogue answers while every connection for collections is taken.
                    assert {listed.source.id for listed in await list_sources(store)} == {
                        one.source.id,
                        other.source.id,
                    }
                    assert other.script.running == 0
                    gate.open.set()
            assert codes(first.summary) | codes(second.summary) == {"A": "ingested", "B": "ingested"}

    async def test_a_scope_of_the_caller_ends_one_run_and_no_other(self, library: Library) -> None:
        one, other = await Library.make(library.store, "A"), await Library.make(library.store, "B")
        gates = Gate(), Gate()
        one.script.listings["A"], other.script.listings["B"] = [gates[0]], [gates[1], page(draft("b"))]
        async with other.run() as second:
            with anyio.CancelScope() as scope:
                async with one.run() as first:
                    for gate in gates:
                        await gate.reached.wait()
                    scope.cancel()
                    await anyio.sleep_forever()
            assert scope.cancelled_caught
            gates[1].open.set()
        assert (codes(first.summary), codes(second.summary)) == ({"A": "interrupted"}, {"B": "ingested"})


@pytest.mark.usefixtures("scripted")
class TestOwnEngine:
    @pytest.fixture(params=["a pool of one", "no pool"])
    async def engine(self, request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[AsyncEngine]:
        one: dict[str, Any] = {"pool_size": 1, "max_overflow": 0}
        engine = create_async_engine(database_url, **({"poolclass": NullPool} if request.param == "no pool" else one))
        yield engine
        await engine.dispose()

    async def test_it_makes_the_connections_and_keeps_none_that_was_ours(self, engine: AsyncEngine) -> None:
        async with open_store(engine=engine, connections=2) as store:
            library = await Library.make(store, "A", "B")
            summary = await library.ingest({"A": [page(draft("a"))], "B": [page(draft("b"))]}, concurrency=2)
            assert codes(summary) == {"A": "ingested", "B": "ingested"}
        async with engine.connect() as connection:
            settings = "current_setting('retrovue.session', true), current_setting('idle_session_timeout')"
            tables = "(SELECT count(*) FROM pg_class WHERE relpersistence = 't')"
            mark, timeout, temporary = (await connection.execute(text(f"SELECT {settings}, {tables}"))).one()
            assert (mark or "", timeout, temporary) == ("", "0", 0)
            assert (await connection.execute(text("SELECT count(*) FROM asset"))).scalar_one() == 2

    async def test_what_its_events_set_holds_for_us_too(self, database_url: str) -> None:
        engine = create_async_engine(database_url, connect_args={"server_settings": {"work_mem": "7MB"}})
        async with Store.from_engine(engine) as store, store.transaction() as session:
            assert (await session.execute(text("SELECT current_setting('work_mem')"))).scalar_one() == "7MB"
            name = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            assert (await session.execute(text(name))).scalar_one() == "retrovue"
        await engine.dispose()

    def test_another_database_s_is_refused(self) -> None:
        driver = SimpleNamespace(sqlite_version_info=(3, 45, 0), paramstyle="qmark", Error=Exception, has_stop=True)
        engine = create_async_engine("sqlite+aiosqlite://", module=driver)
        with pytest.raises(RequestError) as refused:
            Store.from_engine(engine)
        assert refused.value.code == "bad_engine"

    async def test_settings_and_an_engine_exclude_each_other(self) -> None:
        async with AsyncExitStack() as stack:
            with pytest.raises(RequestError):
                await stack.enter_async_context(open_store())

    async def test_the_pool_has_to_be_as_large_as_the_concurrency(self, engine: AsyncEngine) -> None:
        async with open_store(engine=engine, connections=2) as store:
            library = await Library.make(store, "A")
            with pytest.raises(RequestError) as refused:
                await library.ingest({"A": []}, concurrency=3)
            assert refused.value.code == "pool_too_small"


class Counting(httpx.AsyncHTTPTransport):
    requests = 0
    closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


class TestOwnTransport:
    async def test_it_carries_every_request_and_stays_open(self, store: Store, tmp_path: Path) -> None:
        plex = SimulatedPlex([movies()], token=TOKEN)
        transport = Counting()
        async with plex.serve() as url:
            await add_source(store, "plex", "Plex", {"base_url": url}, {"token": Secret(TOKEN)}, transport=transport)
            assert (await discover(store, "Plex", transport=transport)).added == ("Movies",)
            mapping = PathMapping("/data/movies", str(tmp_path))
            await update_collection(
                store, "Movies", map=[mapping], enabled=True, check_files=False, transport=transport
            )
            await add_enricher(store, "plex-details", "Details", {})
            await attach_enricher(store, "Movies", "Details")
            async with ingest_source(store, "Plex", transport=transport) as run:
                finished = [event async for event in run.events() if isinstance(event, CollectionFinished)]
            assert len(finished) == 1
            assert plex.count("/library/metadata/*") == 1
            assert transport.requests == len(plex.requests) > 4
            assert not transport.closed
            await transport.aclose()
        assert run.summary.status == "ok"
        assert [one.name for one in await list_collections(store, "Plex")] == ["Movies"]
        assert (await list_assets(store, source="Plex", collection="Movies", state="new")).total == 3
        assert (await list_assets(store, state="ready")).total == 0

    async def test_an_importer_without_http_refuses_one(self, library: Library) -> None:
        with pytest.raises(RequestError) as refused:
            async with ingest_source(library.store, str(library.source.id), IngestOptions(), transport=Counting()):
                pass
        assert refused.value.code == "no_transport"


@pytest.mark.parametrize("limit", [-1, 2**31, 10**20])
async def test_a_limit_that_the_database_can_t_take_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(RequestError, match=r"from 0 to 2,147,483,647") as caught:
        await list_assets(store, limit=limit)
    assert caught.value.code == "bad_limit"
    async with store.reading() as session:
        with pytest.raises(RequestError) as caught:
            await list_log(session, limit=limit)
    assert caught.value.code == "bad_limit"


@pytest.mark.parametrize("priority", [-(2**31) - 1, 2**31])
async def test_a_priority_that_the_database_can_t_take_is_refused(store: Store, priority: int) -> None:
    with pytest.raises(RequestError) as caught:
        await attach_enricher(store, "Movies", "Probe", priority=priority)
    assert caught.value.code == "bad_priority"


@pytest.mark.parametrize(
    "scope",
    [
        {"title": "T" * 1001},
        {"title": "T", "season": 2**64},
        {"title": "T", "season": -1},
        {"title": "T", "season": 1, "episode": 2**31},
    ],
    ids=str,
)
def test_a_scope_that_no_source_can_be_asked_for_is_refused(scope: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        Scope(**scope)
    assert caught.value.code == "bad_scope"
