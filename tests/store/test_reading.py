"""A program that only reads does without SQLAlchemy, and gets what it would get from it."""

import datetime as dt
import sys
import threading
import uuid
from collections.abc import Callable, Iterator

import anyio
import pytest
import sqlalchemy
from rich.pretty import pretty_repr
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from retrovue.core.answers import Ingestibility
from retrovue.core.config import Settings
from retrovue.core.errors import SourceUnreachable, StoreError, StoreUnavailable
from retrovue.core.model import Secret
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.store import reading
from retrovue.store.connecting import TransactionPooling
from retrovue.store.opening import open_for_reading
from retrovue.store.reading import ReadingStore
from retrovue.store.session import Store
from retrovue.store.statements import Session, numbered, text
from retrovue.store.temporary import StagingTables
from retrovue.store.url import URL
from tests.support.closing import close_together
from tests.support.library import Library, codes, draft, page

pytestmark = pytest.mark.anyio

ENGINES = "retrovue.store.engines"
STATEMENTS = [
    "SELECT :a, :b, :a",
    "SELECT cast(:a AS text)::uuid, '12:30', x::int FROM asset WHERE a=:b AND c[:from_1:to]",
    r"SELECT '\:name' || :name || ':' || E'\\n'",
    "SELECT a:b, $$ :c $$, :d%2, 'é:ä' LIKE '%:e%'",
    "SELECT 1",
]
ADDRESSES = [
    "postgresql+asyncpg://retrovue@/retrovue?host=%2Frun%2Fpg&port=5432",
    "postgresql://us%40er:pa%3Ass%2F%20w@host.example:5433/da%20ta%2Fbase?sslmode=require&application_name=a+b",
    "postgres://host/database",
    "postgresql://[::1]:5432/retrovue",
    "postgresql://user:@host/x?empty=&host=a",
    "postgresql:///x",
]
QUERY = """
    SELECT cast(:number AS integer) AS number, cast(:id AS uuid) AS id, cast(:at AS timestamptz) AS at,
        cast(:tags AS jsonb) AS tags, cast(:rating AS numeric) AS rating, cast(NULL AS text) AS nothing,
        cast(:blob AS bytea) AS blob, ARRAY['a', NULL] AS names, cast('{"a": [1, 2.5]}' AS json) AS count
"""
VALUES = {
    "number": 7,
    "id": uuid.UUID(int=5),
    "at": dt.datetime(2026, 11, 27, tzinfo=dt.UTC),
    "tags": '{"genre": ["Drama"], "é": null}',
    "rating": 8,
    "blob": b"\0\xff",
}


@pytest.fixture
def reader(shared_store: Store) -> ReadingStore:
    return ReadingStore(shared_store.url)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_names_are_numbered_as_sqlalchemy_does(sql: str) -> None:
    compiled = sqlalchemy.text(sql).compile(dialect=PGDialect_asyncpg())  # type: ignore[no-untyped-call]
    assert numbered(sql) == (str(compiled), tuple(compiled.positiontup or ()))


@pytest.mark.parametrize("address", ADDRESSES)
def test_urls_are_read_and_written_as_sqlalchemy_does(address: str) -> None:
    url, other = URL.parse(address), make_url(address)
    parts = ("drivername", "username", "password", "host", "port", "database")
    assert [getattr(url, part) for part in parts] == [getattr(other, part) for part in parts]
    assert dict(url.query) == dict(other.query)
    for hide_password in (True, False):
        assert url.render_as_string(hide_password=hide_password) == other.render_as_string(hide_password=hide_password)
    assert URL.of(other) == url
    assert URL.parse(url.render_as_string(hide_password=False)) == url


def test_the_parts_of_a_hosts_url_are_kept() -> None:
    url = sqlalchemy.URL.create("postgresql+asyncpg", host="/run/pg", database="d", query={"host": ("a:1", "b:2")})
    assert (URL.of(url).host, URL.of(url).query) == ("/run/pg", {"host": "a:1,b:2"})


def test_no_password_is_shown() -> None:
    url = URL.parse("postgresql://user:hunter2@host/database")
    for shown in (repr(url), str(url), pretty_repr(url), f"{url}"):
        assert "hunter2" not in shown


async def test_a_connection_of_another_session_is_closed(reader: ReadingStore) -> None:
    async with reader:
        async with reader.reading() as session:
            driver = session.driver
        await driver.execute("SET retrovue.session = 'of another connection'")
        with pytest.raises(TransactionPooling):
            async with reader.reading():
                pass
        assert driver.is_closed()


@pytest.mark.parametrize("address", ["", "postgresql", "host/x", "postgresql://host:port/x"])
def test_other_texts_are_no_urls(address: str) -> None:
    with pytest.raises(ValueError, match=r"URL|invalid literal"):
        URL.parse(address)


async def test_a_url_of_sqlalchemy_opens_a_store(shared_store: Store) -> None:
    async with Store(make_url(shared_store.url.render_as_string(hide_password=False))) as store:
        async with store.reading() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1
        assert store.url == shared_store.url


async def test_rows_are_those_of_sqlalchemy(reader: ReadingStore, shared_store: Store) -> None:
    async with shared_store.reading() as session:
        expected = (await session.execute(sqlalchemy.text(QUERY), VALUES)).one()
        by_driver = (await session.execute(text(QUERY), VALUES)).one()
    async with reader, reader.reading() as light:
        row = (await light.execute(text(QUERY), VALUES)).one()
    assert tuple(row) == tuple(by_driver) == tuple(expected)
    assert row._asdict() == expected._asdict()
    assert row.tags == {"genre": ["Drama"], "é": None}
    assert getattr(row, "count") == {"a": [1, 2.5]}  # noqa: B009 - a tuple has a method of that name


class TestResults:
    async def test_as_many_rows_as_expected(self, shared_store: Store) -> None:
        async with shared_store.reading() as session:
            two = await session.execute(text("SELECT n, 'x' FROM generate_series(1, 2) AS n"))
            none = await session.execute(text("SELECT 1 WHERE false"))
        assert [row.n for row in two] == two.scalars().all() == list(two.scalars()) == [1, 2]
        assert two.first() == (1, "x")
        assert (none.first(), none.one_or_none(), none.scalar_one_or_none(), none.all()) == (None, None, None, [])
        for wrong in (two.one, two.scalar_one, two.one_or_none, two.scalar_one_or_none, none.one, none.scalar_one):
            with pytest.raises(StoreError) as raised:
                wrong()
            assert raised.value.code == "database_error"

    async def test_how_many_rows_were_changed(self, shared_store: Store) -> None:
        async with shared_store.transaction() as session:
            await session.execute(text("CREATE TEMPORARY TABLE probe (n integer) ON COMMIT DROP"))
            await session.execute(text("INSERT INTO probe VALUES (:n)"), [{"n": 1}, {"n": 2}, {"n": 3}])
            assert await session.change(text("DELETE FROM probe WHERE n > :n"), {"n": 1}) == 2
            assert await session.change(text("UPDATE probe SET n = n")) == 1


class TestConnections:
    async def test_one_serves_all_readings_after_each_other(self, reader: ReadingStore) -> None:
        async with reader:
            assert await pid(reader) == await pid(reader)

    async def test_each_reading_at_the_same_time_has_its_own(self, reader: ReadingStore) -> None:
        async with reader, reader.reading() as first, reader.reading() as second:
            assert await pid_of(first) != await pid_of(second)

    async def test_one_that_was_lost_while_idle_is_replaced(self, reader: ReadingStore, shared_store: Store) -> None:
        async with reader:
            lost = await pid(reader)
            async with shared_store.reading() as session:
                await session.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": lost})
            assert await pid(reader) != lost

    async def test_an_error_ends_the_transaction_and_not_the_connection(self, reader: ReadingStore) -> None:
        async with reader:
            before = await pid(reader)
            with pytest.raises(StoreError):
                async with reader.reading() as session:
                    await session.execute(text("SELECT 1 / 0"))
            assert await pid(reader) == before

    async def test_nothing_that_is_written_stays(self, reader: ReadingStore, shared_store: Store) -> None:
        async with reader, reader.reading() as session:
            await session.execute(text("CREATE TABLE probe ()"))
        async with shared_store.reading() as after:
            assert (await after.execute(text("SELECT to_regclass('probe')"))).scalar_one() is None

    async def test_they_end_with_the_store(self, reader: ReadingStore, shared_store: Store) -> None:
        async with reader:
            ended = await pid(reader)
        async with shared_store.reading() as session:
            found = await session.execute(text("SELECT FROM pg_stat_activity WHERE pid = :pid"), {"pid": ended})
            assert found.all() == []


class TestGettingReady:
    """While SQLAlchemy is imported, which most of these tests let wait until the connections are ready."""

    @pytest.fixture(autouse=True)
    def import_waits(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        ready = threading.Event()
        monkeypatch.delitem(sys.modules, ENGINES)
        imported: list[str] = []

        def wait(module: str) -> None:
            ready.wait()
            imported.append(module)

        monkeypatch.setattr(reading, "import_module", wait)
        yield ready
        assert imported == [ENGINES]

    @pytest.fixture
    def until_ready(
        self, reader: ReadingStore, import_waits: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[int], anyio.Event]:
        """Let the import end once so many connections are ready, and tell it."""

        def until(number: int) -> anyio.Event:
            put_back, ready = reader._put_back, anyio.Event()

            def note(session: Session) -> None:
                put_back(session)
                if reader.open_connections == number:
                    import_waits.set()
                    ready.set()

            monkeypatch.setattr(reader, "_put_back", note)
            return ready

        return until

    async def test_sessions_get_the_connections_with_their_tables(
        self, reader: ReadingStore, until_ready: Callable[[int], anyio.Event]
    ) -> None:
        tables = StagingTables(refinements=False, syncing=False)
        async with reader:
            opened = {await pid(reader)}

            async def make(session: Session) -> None:
                await tables.make(session)
                opened.add(await pid_of(session))

            until_ready(2)
            async with reader.getting_ready(2, make):
                pass
            assert reader.open_connections == 2
            async with reader.session() as first, reader.session() as second:
                assert tables.are_made(first)
                assert tables.are_made(second)
                assert {await pid_of(first), await pid_of(second)} == opened
                assert (await first.execute(text("SELECT count(*) FROM staged"))).scalar_one() == 0
                assert (await first.execute(sqlalchemy.text("SELECT '{\"a\": 1}'::jsonb"))).scalar_one() == {"a": 1}
            # The pool keeps one, which now serves readings.
            assert await pid(reader) in opened
            assert reader.open_connections == 1

    async def test_one_that_was_lost_meanwhile_is_replaced(
        self, reader: ReadingStore, shared_store: Store, until_ready: Callable[[int], anyio.Event]
    ) -> None:
        lost: list[int] = []

        async def make(session: Session) -> None:
            lost.append(await pid_of(session))

        async with reader:
            until_ready(1)
            async with reader.getting_ready(1, make):
                pass
            async with shared_store.reading() as session:
                await session.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": lost[0]})
            async with reader.session() as session:
                assert await pid_of(session) != lost[0]

    async def test_an_error_is_left_to_the_session(self, reader: ReadingStore, import_waits: threading.Event) -> None:
        async def make(session: Session) -> None:
            assert not session.driver.is_closed()
            import_waits.set()
            raise StoreError("The disk is full.")

        async with reader:
            async with reader.getting_ready(1, make):
                pass
            assert reader.open_connections == 0
            async with reader.session() as session:
                assert not StagingTables(refinements=False, syncing=False).are_made(session)
                await pid_of(session)

    async def test_what_isnt_ready_in_time_is_given_up(
        self, reader: ReadingStore, import_waits: threading.Event
    ) -> None:
        async def make(session: Session) -> None:
            import_waits.set()
            await session.execute(text("SELECT pg_sleep(60)"))

        async with reader:
            with anyio.fail_after(30):
                async with reader.getting_ready(2, make):
                    pass
            async with reader.session() as first, reader.session() as second:
                assert await pid_of(first) != await pid_of(second)

    async def test_what_is_ready_before_the_source_answers_is_kept(
        self,
        reader: ReadingStore,
        import_waits: threading.Event,
        until_ready: Callable[[int], anyio.Event],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import_engines, imported, opened = reading._import_engines, anyio.Event(), set[int]()

        async def note() -> None:
            await import_engines()
            imported.set()

        async def make(session: Session) -> None:
            await imported.wait()
            opened.add(await pid_of(session))

        monkeypatch.setattr(reading, "_import_engines", note)
        import_waits.set()
        async with reader:
            ready = until_ready(2)
            with anyio.fail_after(30):
                async with reader.getting_ready(2, make):
                    await ready.wait()
            async with reader.session() as first, reader.session() as second:
                assert {await pid_of(first), await pid_of(second)} == opened

    async def test_what_no_session_needs_is_closed(
        self, reader: ReadingStore, shared_store: Store, until_ready: Callable[[int], anyio.Event]
    ) -> None:
        opened: list[int] = []

        async def make(session: Session) -> None:
            opened.append(await pid_of(session))

        async with reader:
            until_ready(4)
            async with reader.getting_ready(4, make):
                pass
            for needed, left in ((3, 3), (3, 3), (1, 1), (0, 1)):
                await reader.keep_open(needed)
                assert reader.open_connections == left
                async with shared_store.reading() as session:
                    statement = text("SELECT pid FROM pg_stat_activity WHERE pid = ANY(:opened)")
                    assert len((await session.execute(statement, {"opened": opened})).all()) == left
            async with reader.session() as session:
                assert await pid_of(session) in opened
                await reader.keep_open(0)  # It closes none that is in use.
                await pid_of(session)

    @pytest.mark.usefixtures("scripted")
    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_collections_that_are_not_eligible_hold_none(
        self,
        reader: ReadingStore,
        shared_store: Store,
        until_ready: Callable[[int], anyio.Event],
        monkeypatch: pytest.MonkeyPatch,
        dry_run: bool,
    ) -> None:
        many = await Library.make(shared_store, *"ABC")
        many.script.listings["B"] = [page(draft("b"))]
        many.script.ingestible = {name: [Ingestibility(ingestible=False, code="x", reason="no")] for name in "AC"}
        monkeypatch.delitem(sys.modules, ENGINES)
        reader.connections = 3
        async with reader:
            until_ready(3)
            options = IngestOptions(concurrency=3, dry_run=dry_run)
            async with ingest_source(reader, str(many.source.id), options) as run:
                assert reader.open_connections == 1
        assert codes(run.summary) == {"A": "x", "B": "ingested", "C": "x"}

    async def test_all_connections_are_closed_at_the_same_time(
        self, reader: ReadingStore, until_ready: Callable[[int], anyio.Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with reader:
            until_ready(3)
            async with reader.getting_ready(3, make_nothing):
                pass
            async with reader.session():  # One of them is the pool's.
                closing = close_together(monkeypatch, 3)
        assert len(set(closing)) == 3
        assert all(connection.is_closed() for connection in closing)

    async def test_idle_ones_are_closed_if_those_of_the_pool_cannot_be(
        self,
        reader: ReadingStore,
        shared_store: Store,
        until_ready: Callable[[int], anyio.Event],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        opened: list[int] = []

        async def make(session: Session) -> None:
            opened.append(await pid_of(session))

        async def fail(engine: AsyncEngine) -> None:
            await engine.dispose()
            raise RuntimeError("bug")

        with pytest.RaisesGroup(RuntimeError):
            async with reader:
                until_ready(3)
                async with reader.getting_ready(3, make):
                    pass
                async with reader.session():
                    monkeypatch.setattr("retrovue.store.engines.close_engine", fail)
        async with shared_store.reading() as session:
            left = text("SELECT pid FROM pg_stat_activity WHERE pid = ANY(:opened)")
            assert (await session.execute(left, {"opened": opened})).all() == []

    @pytest.mark.parametrize("error", [SourceUnreachable("down"), SystemExit(3)])
    async def test_an_error_of_the_block_is_raised_as_it_is(
        self, reader: ReadingStore, import_waits: threading.Event, error: BaseException
    ) -> None:
        import_waits.set()
        async with reader:
            with pytest.raises(type(error)) as raised:
                async with reader.getting_ready(1, make_nothing):
                    raise error
        assert raised.value is error

    async def test_no_connection_can_be_opened(self, import_waits: threading.Event) -> None:
        import_waits.set()
        async with ReadingStore(URL.parse("postgresql://retrovue@/x?host=/nowhere")) as store:
            async with store.getting_ready(2, make_nothing):
                pass
            with pytest.raises(StoreUnavailable):
                async with store.session():
                    pass


async def test_an_import_that_fails_is_left_to_the_session(
    reader: ReadingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_module: str) -> None:
        raise ImportError("SQLAlchemy is damaged")

    monkeypatch.setattr(reading, "import_module", fail)
    async with reader:
        with monkeypatch.context() as absent:
            absent.delitem(sys.modules, ENGINES)
            async with reader.getting_ready(1, make_nothing):
                pass
        with monkeypatch.context() as damaged:
            damaged.setitem(sys.modules, ENGINES, None)
            with pytest.raises(ImportError, match="halted"):
                async with reader.session():
                    pass


async def test_the_catalogue_is_checked(database_url: str) -> None:
    settings = Settings(database_url=Secret(database_url))
    async with open_for_reading(settings) as store, store.reading() as session:
        assert (await session.execute(text("SELECT role FROM catalogue_role"))).scalar_one() == "production"
    with pytest.raises(StoreError) as raised:
        async with open_for_reading(Settings(test_database_url=Secret(database_url)), test_db=True):
            pass
    assert raised.value.code == "wrong_database_role"


async def make_nothing(_session: Session) -> None:
    pass


async def pid(store: Store) -> int:
    async with store.reading() as session:
        return await pid_of(session)


async def pid_of(session: Session) -> int:
    return int((await session.execute(text("SELECT pg_backend_pid()"))).scalar_one())
