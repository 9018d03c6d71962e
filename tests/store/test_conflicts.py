"""Others at work in the same database: conflicts, time-outs, and connections that are ended."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from retrovue.core.results import Ingested
from retrovue.store.session import RETRIES, Store
from retrovue.store.url import URL
from tests.support.library import (
    GATE,
    Gate,
    Library,
    agree,
    by_name,
    codes,
    contents,
    draft,
    execute,
    failure,
    gate,
    left_clean,
    page,
    rows,
    until,
)

pytestmark = pytest.mark.anyio

BEFORE = (page(draft("a"), draft("b")),)
AFTER = (page(draft("a", "moved"), draft("b"), draft("c")),)
"""The merge moves A, and holds its row, before it creates C."""


async def _set(store: Store, setting: str) -> None:
    """Make a setting the database's own: connections that are made from now on have it."""
    await execute(store, f'ALTER DATABASE "{URL.parse(str(store.url)).database}" SET {setting}')


@asynccontextmanager
async def _prefers(store: Store, *settings: str) -> AsyncIterator[Store]:
    """Open the database again with settings of its own."""
    for setting in settings:
        await _set(store, setting)
    async with Store(store.url, connections=4) as fresh, left_clean(fresh):
        yield fresh


async def _close(closed: Gate) -> None:
    await closed._connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": GATE})


class _Rival:
    """Another program, which locks the outcomes first and an asset second: the opposite of what an ingest does."""

    def __init__(self, store: Store, connection: AsyncConnection, closed: Gate) -> None:
        self._store = store
        self._connection = connection
        self._closed = closed

    async def deadlock(self) -> None:
        """Wait until the merge holds A, and have each wait for the other; the server ends the merge."""
        await self._closed.reached()
        # The other one's patience decides which of the two finds the deadlock and is ended.
        await self._connection.execute(text("SET LOCAL deadlock_timeout = '1min'"))
        await self._connection.execute(text("LOCK TABLE ingest_outcome IN SHARE MODE"))
        pid = (await self._connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with anyio.create_task_group() as group:
            group.start_soon(self._take_a)
            blocked = "EXISTS (SELECT FROM pg_locks WHERE pid = :pid AND NOT granted)"
            await until(self._store, blocked, pid=pid)
            await self._closed.open()
        await _close(self._closed)
        await self._connection.rollback()

    async def _take_a(self) -> None:
        await self._connection.execute(text("SELECT FROM asset WHERE title = 'A' FOR UPDATE"))


@asynccontextmanager
async def _rival(store: Store, closed: Gate) -> AsyncIterator[_Rival]:
    async with store.unpooled("test rival") as connection:
        yield _Rival(store, connection, closed)


async def _all_of(acts: Sequence[Callable[[], Awaitable[object]]]) -> None:
    for act in acts:
        await act()


@pytest.mark.fault(45)
class TestDeadlock:
    """Catalogue line 45: deadlock; the whole transaction is run again, 3 times."""

    @pytest.mark.parametrize("times", [1, RETRIES, RETRIES + 1])
    async def test_it_is_run_again_until_it_is_enough(self, library: Library, times: int) -> None:
        await library.ingest_one(*BEFORE)
        before = await contents(library.store, "asset")
        async with (
            _prefers(library.store, "deadlock_timeout = '10ms'") as store,
            gate(store, "asset", when="NEW.title = 'C'") as closed,
            _rival(store, closed) as rival,
            anyio.create_task_group() as group,
        ):
            last = [] if times > RETRIES else [closed.reached, closed.open]
            group.start_soon(_all_of, [*[rival.deadlock] * times, *last])
            disturbed = Library(store, library.source, library.script)
            summary = await disturbed.ingest({"Movies": AFTER})
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        await until(library.store, f"({counted}) = :times", times=times)
        outcome = by_name(summary)["Movies"]
        if times <= RETRIES:
            assert isinstance(outcome, Ingested)
            assert (outcome.counts.created, outcome.counts.skipped, outcome.counts.relocated) == (1, 2, 1)
            assert set(await library.assets()) == {"a", "b", "c"}
        else:
            assert failure(summary, "Movies").code == "deadlock"
            assert await contents(library.store, "asset") == before


@pytest.mark.fault(45)
class TestSerialization:
    """Catalogue line 45: serialization failures."""

    async def test_a_database_that_prefers_serializable_brings_about_none(self, library: Library) -> None:
        """Our transactions are read committed whatever the role prefers: then another's commit undoes nothing."""
        await library.ingest_one(*BEFORE)
        async with _prefers(library.store, "default_transaction_isolation = 'serializable'") as store:
            refused = draft("odd", "/elsewhere")
            disturbed = Library(store, library.source, library.script)
            async with gate(store, "ingest_rejection") as closed, anyio.create_task_group() as group:

                async def touch() -> None:
                    await closed.reached()  # after the transaction's first statements, before it moves A
                    await execute(store, "UPDATE asset SET studio = 'touched' WHERE title = 'A'")
                    await closed.open()

                group.start_soon(touch)
                summary = await disturbed.ingest({"Movies": [*AFTER, page(refused)]})
        assert codes(summary) == {"Movies": "ingested"}
        assert await library.audit() == [("Movies", "ingested", None)] * 2

    @pytest.mark.parametrize("times", [RETRIES, RETRIES + 1])
    async def test_one_is_run_again_until_it_is_enough(self, library: Library, times: int) -> None:
        """A trigger of the operator's may still raise one; a sequence counts, as no rollback undoes it."""
        await execute(
            library.store,
            "CREATE SEQUENCE tries",
            "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END IF;"
            " RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER conflict AFTER INSERT ON asset DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION conflict()",
        )
        summary = await library.ingest({"Movies": [page(draft("a"))]})
        expected = "ingested" if times <= RETRIES else "serialization_failure"
        assert codes(summary) == {"Movies": expected}
        assert (await rows(library.store, "SELECT last_value FROM tries"))[0][0] == RETRIES + 1
        await agree(library, summary)


@pytest.mark.fault(47)
class TestTimeouts:
    """Catalogue line 47: the role's time-outs fail a collection with their reason."""

    @pytest.mark.parametrize(
        ("setting", "code", "says"),
        [
            ("statement_timeout", "statement_timeout", "statement timeout"),
            ("lock_timeout", "lock_timeout", "lock timeout"),
            ("transaction_timeout", "transaction_timeout", "transaction timeout"),
        ],
    )
    async def test_the_collection_fails_and_its_siblings_do_not(
        self, library: Library, setting: str, code: str, says: str
    ) -> None:
        async with (
            gate(library.store, "asset", when="NEW.title = 'Held'"),
            _prefers(library.store, f"{setting} = '1s'") as store,
        ):
            many = await Library.make(store, "A", "B", "C")
            listings = {"A": [page(draft("a"))], "B": [page(draft("held"))], "C": [page(draft("c"))]}
            summary = await many.ingest(listings, concurrency=1)
            await agree(many, summary)
        assert codes(summary) == {"A": "ingested", "B": code, "C": "ingested"}
        failed = failure(summary, "B")
        assert says in failed.message
        assert failed.hint


@pytest.mark.fault(43)
class TestLostConnection:
    """Catalogue line 43: a connection that is lost in a transaction fails its collection, and no other."""

    async def test_in_the_middle_of_a_copy(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B", "C")
        async with library.store.unpooled("test") as other:

            async def bar() -> None:
                """Lock every session's staging table, so that the COPY into it has to wait."""
                tables = await other.execute(
                    text(
                        "SELECT string_agg(format('%I.%I', nspname, relname), ', ') FROM pg_class"
                        " JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'staged'"
                    )
                )
                await other.execute(text(f"LOCK TABLE {tables.scalar_one()} IN ACCESS EXCLUSIVE MODE"))

            async def kill() -> None:
                copying = "query LIKE 'COPY %staged%' AND wait_event_type = 'Lock' AND datname = current_database()"
                await until(library.store, f"EXISTS (SELECT FROM pg_stat_activity WHERE {copying})")
                killed = await rows(
                    library.store, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {copying}"
                )
                assert len(killed) == 1
                await other.rollback()

            listings: dict[str, list[object]] = {
                "A": [page(draft("a"))],
                "B": [page(draft("b")), bar, page(draft("b2"))],
                "C": [page(draft("c"))],
            }
            async with anyio.create_task_group() as group:
                group.start_soon(kill)
                summary = await many.ingest(listings, concurrency=1)
        assert codes(summary) == {"A": "ingested", "B": "database_unavailable", "C": "ingested"}
        await agree(many, summary)
        assert codes(await many.ingest(listings | {"B": listings["B"][::2]})) == dict.fromkeys("ABC", "ingested")

    async def test_in_the_middle_of_a_merge_with_siblings_at_work(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B", "C")
        listings = {"A": [page(draft("a"))], "B": [page(draft("held"))], "C": [page(draft("c"))]}
        barred = gate(library.store, "asset", when="NEW.title = 'Held'")
        async with barred as closed, anyio.create_task_group() as group:

            async def kill() -> None:
                await closed.reached()
                await closed.terminate()

            group.start_soon(kill)
            summary = await many.ingest(listings, concurrency=3)
            await closed.open()
        assert codes(summary) == {"A": "ingested", "B": "database_unavailable", "C": "ingested"}
        assert "run the command again" in str(failure(summary, "B").hint)
        await agree(many, summary)
        assert codes(await many.ingest(listings)) == dict.fromkeys("ABC", "ingested")

    async def test_of_all_at_once(self, library: Library) -> None:
        """As when an administrator ends every connection, or the server is restarted."""
        many = await Library.make(library.store, "A", "B")
        listings = {"A": [page(draft("held"))], "B": [page(draft("held 2", title="Held"))]}
        barred = gate(library.store, "asset", when="NEW.title = 'Held'")
        async with barred as closed, anyio.create_task_group() as group:

            async def kill() -> None:
                await closed.reached(2)
                await execute(
                    library.store,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND application_name LIKE 'retrovue%'",
                )

            group.start_soon(kill)
            summary = await many.ingest(listings, concurrency=2)
            await closed.open()
        assert codes(summary) == {"A": "database_unavailable", "B": "database_unavailable"}
        await agree(many, summary)
        assert codes(await many.ingest(listings)) == dict.fromkeys("AB", "ingested")
