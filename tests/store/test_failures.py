"""Errors of the database: each is told as a StoreError, and none repeats a statement, a value or a password."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import exc as sa
from sqlalchemy import text

from retrovue.errors import RequestError, StoreError, StoreUnavailable
from retrovue.store import statements
from retrovue.store.addresses import database_url
from retrovue.store.driver import LONG_STATEMENT_SECONDS, STATEMENT_SECONDS
from retrovue.store.failures import translate
from retrovue.store.session import Store, translated
from retrovue.store.url import URL
from tests.support.library import execute, rows
from tests.support.wire import refusing

pytestmark = pytest.mark.anyio

CANARY = "s3cr3t-canary"


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def _text_of(error: StoreError) -> str:
    return f"{error.message} {error.hint} {error.context} {error.code}"


POSTGRES = sorted(
    {kind for kind in _subclasses(asyncpg.PostgresError) if isinstance(kind.sqlstate, str)},
    key=lambda kind: kind.__name__,
)
SQLALCHEMY = sorted(
    (kind for kind in _subclasses(sa.SQLAlchemyError) if kind.__module__ == "sqlalchemy.exc"),
    key=lambda kind: kind.__name__,
)


@pytest.fixture
def fresh_url(database_url: str) -> URL:
    return URL.parse(database_url)


class TestTranslate:
    @pytest.mark.parametrize("kind", POSTGRES, ids=lambda kind: kind.__name__)
    def test_whatever_the_server_says_is_a_store_error(self, kind: type[Any]) -> None:
        error = kind("it went wrong")
        told = translate(error)
        assert isinstance(told, StoreError)
        assert told.context["sqlstate"] == kind.sqlstate
        gone = kind.sqlstate[:2] in {"08", "57"} and kind.sqlstate != "57014"
        assert isinstance(told, StoreUnavailable) == gone
        assert (told.code == "database_unavailable") == gone

    @pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
    def test_what_ended_the_connection_says_why_and_that_it_is_gone(self, severity: str) -> None:
        fatal = asyncpg.DiskFullError("no space left")
        fatal.severity_en = severity
        gone = asyncpg.ConnectionDoesNotExistError("connection was closed")
        gone.__cause__ = asyncpg.DiskFullError("no space left")
        for error in (fatal, gone):
            told = translate(error)
            assert isinstance(told, StoreUnavailable)  # so that a COMMIT's outcome is looked up
            assert told.code == "disk_full"

    @pytest.mark.parametrize("kind", SQLALCHEMY, ids=lambda kind: kind.__name__)
    def test_whatever_the_layer_says_is_a_store_error(self, kind: type[Any]) -> None:
        if issubclass(kind, sa.StatementError):
            message = () if issubclass(kind, sa.DBAPIError) else (CANARY,)
            make: Any = kind
            error = make(*message, f"SELECT '{CANARY}'", {"p": CANARY}, ValueError(CANARY))
        else:
            error = Exception.__new__(kind)
            error.args = (CANARY,)
        told = translate(error)
        assert isinstance(told, StoreError)
        assert CANARY not in _text_of(told)

    @pytest.mark.parametrize(
        "error",
        [
            OSError(CANARY),
            socket.gaierror(-2, CANARY),
            ConnectionRefusedError(111, CANARY),
            TimeoutError(CANARY),
            asyncpg.InterfaceError(CANARY),
            asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_cannot_be_reached_is_unavailable(self, error: Exception) -> None:
        told = translate(error)
        assert isinstance(told, StoreUnavailable)
        assert told.code == "database_unavailable"
        assert type(error).__name__ not in _text_of(told).replace("TimeoutError", "")

    def test_what_the_driver_cannot_read_is_a_lost_connection(self) -> None:
        """As the driver raises it, and as SQLAlchemy passes it on."""
        broken = asyncpg.InternalClientError(f"cannot switch to state 12: {CANARY}")
        passed_on = Exception(CANARY)
        passed_on.__cause__ = broken
        for error in (broken, sa.InternalError("SELECT 1", None, passed_on)):
            with pytest.raises(StoreUnavailable) as raised, translated():
                raise error
            assert raised.value.code == "database_unavailable"
            assert CANARY not in _text_of(raised.value)

    def test_a_value_that_the_driver_refuses_is_not_repeated(self) -> None:
        told = translate(asyncpg.DataError(f"invalid input for query argument $1: {CANARY!r}"))
        assert told is not None
        assert told.code == "bad_value"
        assert CANARY not in _text_of(told)

    @pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("x"), KeyError("x"), SystemExit(1)])
    def test_what_is_not_the_databases_stays_as_it_is(self, error: BaseException) -> None:
        assert translate(error) is None
        with pytest.raises(type(error)) as raised, translated():
            raise error
        assert raised.value is error


async def _transaction(store: Store, *statements: str) -> None:
    async with store.transaction() as session:
        for statement in statements:
            await session.execute(text(statement))


class TestOnTheServer:
    @pytest.mark.fault(46, 47)
    @pytest.mark.parametrize(
        ("statement", "code"),
        [
            (f"SELECT 1 / 0, '{CANARY}'", "bad_value"),
            (f"SELECT cast('{CANARY}' AS integer)", "bad_value"),
            (f"SELECT no_such_function('{CANARY}')", "database_error"),
            ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)", "statement_timeout"),
            ("SELECT pg_terminate_backend(pg_backend_pid())", "database_unavailable"),
            ("INSERT INTO catalogue_role (role) VALUES ('test')", "conflict"),
            ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$", "deadlock"),
            ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$", "serialization_failure"),
            ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END $$", "disk_full"),
            ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END $$", "lock_timeout"),
        ],
    )
    async def test_a_transaction_says_what_went_wrong_and_leaves_nothing(
        self, store: Store, statement: str, code: str
    ) -> None:
        with pytest.raises(StoreError) as refused:
            await _transaction(store, *(statement.split("; ") if statement.startswith("SET") else [statement]))
        assert refused.value.code == code
        assert CANARY not in _text_of(refused.value)
        assert store.data.pool.checkedout() == 0  # type: ignore[attr-defined]
        async with store.transaction() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1

    @pytest.mark.fault(43)
    async def test_a_session_whose_connection_is_lost_in_a_transaction_gets_another(self, store: Store) -> None:
        async with store.session() as session:
            for _ in range(2):
                with pytest.raises(StoreError) as refused:
                    async with store.transaction(session):
                        await session.execute(statements.text("SELECT pg_terminate_backend(pg_backend_pid())"))
                assert refused.value.code == "database_unavailable"
                async with store.transaction(session):
                    assert (await session.execute(statements.text("SELECT 1"))).scalar_one() == 1
        assert store.data.pool.checkedout() == 0  # type: ignore[attr-defined]

    @pytest.mark.fault(101)
    async def test_begin_has_the_time_limit_of_its_own_transaction(self, store: Store) -> None:
        limits: list[float] = []
        begin = store.data.dialect._begin  # type: ignore[attr-defined]

        async def begin_and_tell(driver: Any) -> None:
            limits.append(driver._config.command_timeout)
            await begin(driver)

        store.data.dialect._begin = begin_and_tell  # type: ignore[attr-defined]
        async with store.session() as session:
            for long in (True, False):
                async with store.transaction(session, long=long):
                    pass
        assert limits == [LONG_STATEMENT_SECONDS, STATEMENT_SECONDS]

    @pytest.mark.fault(68)
    async def test_a_bound_value_is_never_shown(self, store: Store) -> None:
        for value in (CANARY, 2**70, "\udcff"):
            with pytest.raises(StoreError) as refused:
                async with store.transaction() as session:
                    await session.execute(text("SELECT cast(:value AS integer)"), {"value": value})
            assert refused.value.code == "bad_value"
            assert CANARY not in _text_of(refused.value)

    async def test_a_read_only_store_cannot_write_by_the_word_of_the_server(self, fresh_url: URL) -> None:
        async with Store(fresh_url, read_only=True) as store:
            with pytest.raises(StoreError) as refused:
                async with store.transaction() as session:
                    await session.execute(text("CREATE TEMPORARY TABLE t ()"))
            assert refused.value.code == "database_read_only"

    async def test_who_has_no_rights_is_told(self, store: Store) -> None:
        await execute(store, "DROP ROLE IF EXISTS nobody_here", "CREATE ROLE nobody_here")
        with pytest.raises(StoreError) as refused:
            await _transaction(store, "SET LOCAL ROLE nobody_here", "SELECT * FROM source")
        assert refused.value.code == "database_permission"
        await execute(store, "DROP ROLE nobody_here")

    @pytest.mark.fault(42)
    @pytest.mark.parametrize(
        ("change", "code"),
        [({"database": "no_such_database"}, "database_missing"), ({"port": 1}, "database_unavailable")],
    )
    async def test_no_connection(self, fresh_url: URL, change: dict[str, Any], code: str) -> None:
        url = fresh_url.set(password=CANARY, **change)
        if "port" in change:
            url = url.set(host="127.0.0.1", query={})
        async with Store(url) as store:
            for attempt in (store.session, store.transaction):
                with pytest.raises(StoreError) as refused:
                    async with attempt():
                        pass
                assert refused.value.code == code
                assert CANARY not in _text_of(refused.value)


def _refusal(sqlstate: str) -> bytes:
    fields = f"SFATAL\0VFATAL\0C{sqlstate}\0Mnot now\0".encode()
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"


class TestBusy:
    """A server that is starting, or has no connection to spare, is asked again for a while."""

    @pytest.mark.fault(42, 48)
    @pytest.mark.parametrize("sqlstate", ["57P03", "53300"])
    async def test_it_is_waited_for(self, fresh_url: URL, sqlstate: str) -> None:
        with tempfile.TemporaryDirectory(prefix="rv") as directory:
            async with refusing(fresh_url, _refusal(sqlstate), 3, Path(directory)) as url, Store(url) as store:
                assert await rows(store, "SELECT 1") == [(1,)]

    @pytest.mark.fault(42, 48)
    @pytest.mark.parametrize(
        ("sqlstate", "code"), [("57P03", "database_unavailable"), ("53300", "too_many_connections")]
    )
    async def test_not_for_ever(self, fresh_url: URL, sqlstate: str, code: str) -> None:
        with tempfile.TemporaryDirectory(prefix="rv") as directory:
            refused_always = refusing(fresh_url, _refusal(sqlstate), 1000, Path(directory))
            async with refused_always as url, Store(url, patience=0.2) as store:
                with pytest.raises(StoreError) as refused:
                    async with store.session():
                        pass
        assert refused.value.code == code


class TestDatabaseUrl:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
    def test_every_spelling_means_the_same(self, scheme: str) -> None:
        url = database_url(f"{scheme}://u:p@h:1/d")
        assert (url.drivername, url.host, url.port, url.database) == ("postgresql+asyncpg", "h", 1, "d")

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            CANARY,
            f"mysql://u:{CANARY}@h/d",
            f"sqlite:///{CANARY}",
            f"postgresql+psycopg://u:{CANARY}@h/d",
            f"postgresql://u:{CANARY}@h",
            f"postgresql://u:{CANARY}@h:port/d",
            f"postgresql:u:{CANARY}@h/d",
            f" postgresql://u:{CANARY}@h/d",
            f"{CANARY}://h/d",
        ],
    )
    def test_what_is_refused_is_not_repeated(self, wrong: str) -> None:
        with pytest.raises(RequestError) as refused:
            database_url(wrong)
        assert refused.value.code == "bad_database_url"
        assert CANARY not in f"{refused.value.message} {refused.value.hint} {refused.value.context}"
