# ruff: noqa: ASYNC220, ASYNC240 - short looks at local files, and a program that nothing waits for
"""Poolers between us and the database: whole sessions are fine, sessions by the transaction are refused."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg
import pytest
from sqlalchemy import text

from retrovue.core.config import Settings
from retrovue.core.model import Secret
from retrovue.errors import RequestError, StoreError
from retrovue.store.addresses import database_url as parsed
from retrovue.store.connecting import MARK, TransactionPooling
from retrovue.store.embedded import embedded_server
from retrovue.store.migrations import schema_status, upgrade
from retrovue.store.opening import open_store
from retrovue.store.server import describe_server, require_capacity
from retrovue.store.session import Store
from retrovue.store.url import URL
from tests.support.library import Library, agree, codes, contents, draft, failure, page
from tests.support.pooler import Turn, pooler

pytestmark = pytest.mark.anyio

PAGES = (page(draft("a"), draft("b", "a.mkv")), page(draft("c", "1", "2")))


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def url(database_url: str) -> URL:
    return URL.parse(database_url)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


async def _shown(store: Store, setting: str) -> str:
    async with store.transaction() as session:
        return str((await session.execute(text(f"SHOW {setting}"))).scalar_one())


class TestOwnSession:
    """Catalogue line 53: what a session of our own is like."""

    async def test_it_is_as_we_need_it_whatever_the_database_prefers(self, url: URL, store: Store) -> None:
        async with store.data.begin() as connection:
            for setting in (
                "default_transaction_isolation = 'serializable'",
                "idle_session_timeout = '1h'",
                "jit = on",
            ):
                await connection.exec_driver_sql(f'ALTER DATABASE "{url.database}" SET {setting}')
        async with Store(url) as fresh:
            assert fresh.connector.pooled is None
            assert await _shown(fresh, "transaction_isolation") == "read committed"
            assert await _shown(fresh, "idle_session_timeout") == "0"
            assert await _shown(fresh, "jit") == "off"
            assert await _shown(fresh, "client_connection_check_interval") == "500ms"
            assert fresh.connector.pooled is False

    async def test_a_session_with_another_mark_is_not_ours(self, url: URL) -> None:
        async with Store(url) as store, store.session() as session:
            async with store.transaction(session):
                await session.execute(text(f"SET {MARK} = 'somebody else'"))
            with pytest.raises(TransactionPooling):
                async with store.transaction(session):
                    pytest.fail("entered")
        async with Store(url) as store, store.transaction() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1


@pytest.mark.usefixtures("scripted")
@pytest.mark.fault(53)
class TestSessionMode:
    """Catalogue line 53: a pool of whole sessions works."""

    async def test_an_ingest_goes_as_without(self, url: URL, short: Path) -> None:
        async with pooler(url, short, "session") as (through, between), Store(through) as store:
            library = await Library.make(store, "A", "B")
            summary = await library.ingest({"A": PAGES, "B": PAGES}, concurrency=2)
            assert codes(summary) == {"A": "ingested", "B": "ingested"}
            await agree(library, summary)
            assert store.connector.pooled is True
            assert (await describe_server(store)).pooled
            assert between.refused == []
            assert between.opened >= 4

    async def test_what_is_read_only_stays_so(self, url: URL, short: Path) -> None:
        """Behind a pooler that ignores what it doesn't know, a setting in the greeting would be lost."""
        async with pooler(url, short, "session") as (through, _), Store(through, read_only=True) as store:
            with pytest.raises(StoreError) as refused:
                async with store.transaction() as session:
                    await session.execute(text("UPDATE catalogue_role SET role = role"))
            assert refused.value.code == "database_read_only"

    @pytest.mark.leaves("unended")  # the audit trail is behind the same pooler
    async def test_a_pooler_that_is_reconfigured_under_us_is_noticed(self, url: URL, short: Path) -> None:
        async with pooler(url, short, "session", turn="first") as (through, between), Store(through) as store:
            library = await Library.make(store, "Movies")

            async def reconfigure() -> None:
                between.mode = "transaction"
                async with store.session():  # somebody else leaves a session in the pool
                    pass

            before = await contents(store, "asset")
            summary = await library.ingest({"Movies": [PAGES[0], reconfigure, PAGES[1]]})
            assert failure(summary, "Movies").code == "transaction_pooling"
        async with Store(url) as direct:
            assert await contents(direct, "asset") == before == []


@pytest.mark.fault(53)
class TestTransactionMode:
    """Catalogue line 53: a pool that hands out sessions by the transaction is refused, before anything is asked."""

    @pytest.mark.parametrize("turn", ["last", "first"])
    @pytest.mark.parametrize("read_only", [False, True])
    async def test_it_is_refused_at_opening(self, url: URL, short: Path, turn: Turn, read_only: bool) -> None:
        async with pooler(url, short, "transaction", turn=turn) as (through, between):
            for _ in range(3):
                with pytest.raises(TransactionPooling) as refused:
                    async with open_store(Settings(Secret(_text(through))), read_only=read_only):
                        pytest.fail("entered")
                assert refused.value.code == "transaction_pooling"
                assert "pool_mode = session" in str(refused.value.hint)
            assert between.refused == []
            # Nothing was set in a session that others use.
            connection = await asyncpg.connect(_text(through).replace("+asyncpg", ""), statement_cache_size=0)
            async with connection.transaction():
                assert await connection.fetchval(f"SELECT current_setting('{MARK}', true)") is None
                assert await connection.fetchval("SHOW default_transaction_read_only") == "off"
            await connection.close()

    async def test_a_mark_in_the_session_is_enough(self, url: URL, short: Path) -> None:
        async with pooler(url, short, "transaction") as (through, between):
            first = await asyncpg.connect(_text(through).replace("+asyncpg", ""))
            await first.execute(f"SET {MARK} = 'another program'")
            await first.close()
            with pytest.raises(TransactionPooling):
                async with Store(through) as store, store.session():
                    pytest.fail("entered")
            assert between.opened == 1


class TestVersion:
    """Which servers are refused."""

    async def test_one_that_is_too_old(self, url: URL, short: Path) -> None:
        told = {"server_version": "13.22"}
        async with pooler(url, short, "session", parameters=told) as (through, _):
            with pytest.raises(StoreError) as refused:
                async with open_store(Settings(Secret(_text(through)))):
                    pytest.fail("entered")
        assert refused.value.code == "database_too_old"
        assert refused.value.context == {"found": 13, "oldest": 14}

    async def test_one_whose_operating_system_cannot_watch_its_clients(self, url: URL, short: Path) -> None:
        """As on Windows: our locks are then free when the network says so, which is no reason to refuse."""
        async with pooler(url, short, "session") as (through, between):
            between.cannot = b"client_connection_check_interval"
            async with Store(through, read_only=True) as store:
                assert await _shown(store, "transaction_read_only") == "on"
            assert set(between.refused) == {"client_connection_check_interval"}


@asynccontextmanager
async def _pgbouncer(program: str, target: Path, directory: Path, mode: str, *, size: int = 20) -> AsyncIterator[URL]:
    """Run the real PgBouncer as the account that the server lets in."""
    owner = target.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    (directory / "settings.ini").write_text(
        f"[databases]\n* = host={target} port=5432 user=retrovue\n"
        f"[pgbouncer]\nlisten_addr=\nunix_socket_dir={directory}\nlisten_port=5432\nauth_type=any\npool_mode={mode}\n"
        f"default_pool_size={size}\n"
    )
    as_account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [program, "--quiet", str(directory / "settings.ini")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **as_account) as process:  # type: ignore[call-overload]
        try:
            with anyio.fail_after(10):
                while not await _listens(directory / ".s.PGSQL.5432"):  # noqa: ASYNC110 - another program makes it
                    await anyio.sleep(0.01)
            yield parsed(f"postgresql://retrovue@/retrovue?host={directory}&port=5432")
        finally:
            process.terminate()


async def _listens(path: Path) -> bool:
    """Whether anybody accepts connections at a socket: one that has ended may have left its file."""
    try:
        async with await anyio.connect_unix(path):
            return True
    except OSError:
        return False


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer isn't installed here")
@pytest.mark.fault(53, 105)
class TestPgBouncer:
    """Catalogue line 53: the same with PgBouncer itself."""

    async def test_its_two_modes(self, short: Path) -> None:
        program = shutil.which("pgbouncer")
        assert program is not None
        home, run = short / "home", short / "run"
        for directory in (home, run):
            directory.mkdir()
        for directory in (short, home):
            directory.chmod(0o755)
        async with embedded_server(home, durable=False) as server:
            await server.ensure_database("retrovue")
            async with Store(parsed(server.url("retrovue"))) as store:
                await upgrade(store, "production")
            async with _pgbouncer(program, server.socket_directory, run, "session") as url, Store(url) as store:
                assert (await schema_status(store)).up_to_date
                assert store.connector.pooled is True
            for mode in ("transaction", "statement"):
                async with _pgbouncer(program, server.socket_directory, run, mode) as url:
                    with pytest.raises(TransactionPooling) as refused:
                        async with open_store(Settings(Secret(_text(url)))):
                            pytest.fail("entered")
                    assert f"each {mode} " in refused.value.message
            async with (
                _pgbouncer(program, server.socket_directory, run, "session", size=3) as url,
                Store(url, connections=2) as store,
            ):
                began = anyio.current_time()
                with pytest.raises(RequestError) as small:
                    await require_capacity(store, 1, writing=True)
                assert small.value.code == "too_many_connections"
                assert "the pooler allows 3" in small.value.message
                assert anyio.current_time() - began < 10
            async with (
                _pgbouncer(program, server.socket_directory, run, "session", size=5) as url,
                Store(url, connections=2) as store,
            ):
                await require_capacity(store, 2, writing=True)
