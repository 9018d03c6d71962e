"""What must hold after every test, whatever it was about: a pytest plugin that looks, so that no test has to.

In every database that the test used no asset is half-written, every outcome accounts for what was discovered, no run
is without an outcome unless somebody holds its lock, and no secret is in the audit trail. Nothing is left behind:
no checked-out connection, no transaction, no thread, no process, no task whose exception nobody has seen.
"""

import gc
import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

import asyncpg
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy.ext.asyncio import AsyncEngine

from retrovue.errors import RetrovueError
from retrovue.store import addresses, engines
from retrovue.store import session as store_session
from retrovue.store.url import URL
from tests.support import canary
from tests.support.canary import CANARY
from tests.support.observers import KEPT

PATIENCE = 5.0
"""Seconds that what is just ending may take to be gone: backends, threads and processes say no good-bye."""

_UNENDED = """
    SELECT 'a run without an outcome: ' || run_id FROM ingest_start s LEFT JOIN ingest_outcome o
        USING (run_id, collection_id)
    WHERE o.run_id IS NULL AND NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND lpad(to_hex(classid::bigint), 8, '0') || lpad(to_hex(objid::bigint), 8, '0')
                = left(replace(s.collection_id::text, '-', ''), 16))
"""
_ROWS = f"""
    SELECT 'a half-written asset: ' || source_uri FROM asset
    WHERE CASE WHEN part_count = 1 THEN 0 ELSE part_count END
        <> (SELECT count(*) FROM asset_part WHERE asset_uuid = uuid)
    UNION ALL SELECT 'an outcome that does not add up: ' || run_id FROM ingest_outcome
    WHERE discovered <> created + skipped + duplicates + rejected
    UNION ALL SELECT 'a secret in the audit trail: ' || run_id FROM ingest_outcome t WHERE t::text LIKE '%{CANARY}%'
    UNION ALL SELECT 'a secret in the audit trail: ' || run_id FROM ingest_start t WHERE t::text LIKE '%{CANARY}%'
    UNION ALL SELECT 'a secret in a check: ' || name FROM collection WHERE not_ingestible_reason LIKE '%{CANARY}%'
    UNION ALL SELECT 'a secret in a rejection: ' || run_id FROM ingest_rejection t WHERE t::text LIKE '%{CANARY}%'
"""
_ENRICHMENTS = f"""
    SELECT 'a secret in an enrichment: ' || run_id FROM enrichment_outcome t WHERE t::text LIKE '%{CANARY}%'
    UNION ALL SELECT 'a secret in an enrichment: ' || asset_uuid FROM asset_enrichment t
    WHERE t::text LIKE '%{CANARY}%'
"""
_TABLES = """
    SELECT to_regclass('ingest_rejection') IS NOT NULL,
        to_regclass('enrichment_outcome') IS NOT NULL -- not in the first revision
"""
_BACKENDS = """
    SELECT 'a backend left ' || state || ': ' || application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'retrovue%'
        AND state <> 'idle'
"""


@dataclass
class Watch:
    """What was made since the test began."""

    engines: "WeakSet[AsyncEngine]" = field(default_factory=WeakSet[AsyncEngine])
    databases: set[URL] = field(default_factory=set[URL])
    messages: list[str] = field(default_factory=list[str])
    """What asyncio has to say of tasks and futures that nobody looked at."""
    processes: set[int] = field(default_factory=set[int])
    threads: set[threading.Thread] = field(default_factory=set[threading.Thread])

    def begin(self) -> None:
        """Forget the last test."""
        self.databases.clear()
        self.messages.clear()
        canary.FOUND.clear()
        self.processes = children()
        self.threads = set(threading.enumerate())


WATCH = Watch()


class _Complaints(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        WATCH.messages.append(record.getMessage())


def _watched(make: Callable[..., AsyncEngine]) -> Callable[..., AsyncEngine]:
    def make_watched(url: URL, *arguments: Any, **options: Any) -> AsyncEngine:
        engine = make(url, *arguments, **options)
        WATCH.engines.add(engine)
        place = {name: value for name, value in url.query.items() if name in {"host", "port"}}
        WATCH.databases.add(url.set(query=place))
        return engine

    return make_watched


def _searched(make: Callable[..., None]) -> Callable[..., None]:
    """Search what every error says once it is made, whoever it is that catches it."""

    @wraps(make)
    def searching(error: RetrovueError, message: str, **details: Any) -> None:
        make(error, message, **details)
        canary.listen("an error", str(error), error.message, repr(error.hint), repr(error.context))

    return searching


def children() -> set[int]:
    """The processes that this one has started and that still are; empty where the system doesn't say."""
    found: set[int] = set()
    try:
        threads = os.listdir("/proc/self/task")  # noqa: PTH208 - twice for each test: paths take four times as long
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/self/task/{thread}/children", "rb", buffering=0) as file:  # noqa: PTH123 - as above
                found.update(map(int, file.read().split()))
        except OSError:  # that thread has just ended
            continue
    return found


async def database_problems(url: URL, *, unended: bool = False) -> list[str]:
    """Say what is wrong with a database; one that is gone or holds no catalogue has nothing wrong."""
    try:
        connection = await asyncpg.connect(_address(url))
    except (OSError, asyncpg.PostgresError):
        return []
    try:
        return await _problems(connection, unended=unended)
    finally:
        await connection.close()


async def _problems(connection: Any, *, unended: bool) -> list[str]:
    parts = [_BACKENDS]
    catalogue, enriched = await connection.fetchrow(_TABLES)
    if catalogue:
        parts += [_ROWS] if unended else [_ROWS, _UNENDED]
    if enriched:
        parts.append(_ENRICHMENTS)
    return [row[0] for row in await connection.fetch(" UNION ALL ".join(parts))]


def _address(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def engine_problems() -> Iterator[str]:
    """Name the engines that have given out a connection and not got it back."""
    for engine in list(WATCH.engines):
        held = getattr(engine.pool, "checkedout", int)()
        if held:
            yield f"{held} connections of {engine.url.database} are checked out"


def process_problems() -> Iterator[str]:
    """Name the threads and processes that are new since the test began."""
    for thread in set(threading.enumerate()) - WATCH.threads:
        # Both kinds belong to an event loop, which keeps them for the next one who needs a thread.
        if not thread.name.startswith(("AnyIO worker thread", "asyncio_")):
            yield f"a thread was left: {thread.name}"
    for pid in children() - WATCH.processes:
        yield f"a process was left: {_command(pid)}"


def _command(pid: int) -> str:
    try:
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')}"
    except OSError:
        return f"{pid}"


class Invariants:
    """The plugin; ``@pytest.mark.leaves(...)`` says what a test leaves on purpose."""

    def __init__(self) -> None:
        self._entered = start_blocking_portal()
        self._portal: BlockingPortal = self._entered.__enter__()
        logging.getLogger("asyncio").addHandler(_Complaints(logging.ERROR))
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(engines, "make_engine", _watched(engines.make_engine))
        self._patch.setattr(RetrovueError, "__init__", _searched(RetrovueError.__init__))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look around once the test has done its own."""
        WATCH.begin()
        WATCH.databases.update(lent_to(item))
        result = yield
        gc.collect(0)
        allowed = {what for mark in item.iter_markers("leaves") for what in mark.args}
        deadline = monotonic() + PATIENCE
        while problems := list(self._problems(allowed)):
            if monotonic() > deadline:
                break
            sleep(0.01)
        if problems:
            pytest.fail("after the test: " + "; ".join(problems), pytrace=False)
        return result

    def _problems(self, allowed: set[str]) -> Iterator[str]:
        yield from engine_problems()
        if "threads" not in allowed:
            yield from process_problems()
            yield from WATCH.messages
        yield from canary.FOUND
        for url in WATCH.databases:
            yield from self._problems_of(url, unended="unended" in allowed)

    def _problems_of(self, url: URL, *, unended: bool) -> list[str]:
        if observers := KEPT.get(_address(url)):
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return observers.look(_address(url), partial(_problems, unended=unended))
        return self._portal.call(partial(database_problems, url, unended=unended))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Search what a phase of the test has printed and logged."""
        report = yield
        shown = [
            f"the {name} of {item.name}"
            for name, text in report.sections
            if name.endswith(report.when) and CANARY in text
        ]
        if shown and report.passed:
            report.outcome = "failed"
            report.longrepr = f"a secret is in {', '.join(shown)}"
        return report

    def pytest_unconfigure(self) -> None:
        """End the plugin's own event loop."""
        self._patch.undo()
        self._entered.__exit__(None, None, None)


def lent_to(item: pytest.Item) -> Iterator[URL]:
    """The databases that fixtures give to a test, by their addresses or as open stores."""
    for name, one in getattr(item, "funcargs", {}).items():
        if isinstance(one, store_session.Store):
            yield one.url
        elif name in {"database_url", "test_database_url"}:
            yield addresses.database_url(one)


def pytest_configure(config: pytest.Config) -> None:
    """Install the plugin."""
    config.pluginmanager.register(Invariants(), "invariants")
