"""A server that is starting, full or read-only, or whose schema isn't ours."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import asyncpg
import pytest

from retrovue import IngestOptions, ingest_source
from retrovue.core.config import Settings
from retrovue.core.model import Secret
from retrovue.errors import RequestError, SchemaMismatch, StoreError, StoreUnavailable
from retrovue.operations.doctor import Finding, examine, examine_database
from retrovue.store.addresses import database_url
from retrovue.store.embedded import EmbeddedServer
from retrovue.store.listing import list_assets
from retrovue.store.migrations import SchemaStatus, check_upgrade, require_current, upgrade
from retrovue.store.opening import open_store
from retrovue.store.server import require_capacity
from retrovue.store.session import Store
from tests.support.library import Library, codes, draft, execute, page, rows
from tests.support.own_server import let_in, log_says, opened, owned_like, prepare, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of the test's own."""
    with tempfile.TemporaryDirectory(prefix="rv", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


async def _doctor(store: Store) -> list[Finding]:
    return [finding async for finding in examine(store) if finding.check == "database"]


@pytest.mark.fault(42)
class TestStarting:
    """Catalogue line 42: down at the start, or still starting."""

    async def test_who_comes_while_it_starts_waits_for_a_while(self, home: Path) -> None:
        """A standby that takes no questions says what every starting server says, and until we promote it."""
        await prepare(home, "wal_level = replica", "hot_standby = off")
        async with running(home):  # what it writes from now on is fit for a standby
            pass
        data = home / "pg18"
        (data / "standby.signal").touch()
        owned_like(data / "standby.signal", data / "PG_VERSION")
        url = database_url(EmbeddedServer(0, data, data).url("retrovue"))
        done = anyio.Event()

        async def serve() -> None:
            async with running(home):
                await done.wait()

        async def come() -> None:
            async with Store(url, patience=60) as store:
                assert await rows(store, "SELECT 'welcome'") == [("welcome",)]
            done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            await log_says(home, "the database system is not accepting connections")
            async with Store(url, patience=0.2) as hasty:
                with pytest.raises(StoreUnavailable) as refused:
                    async with hasty.transaction():
                        pytest.fail("entered")
            assert refused.value.context["sqlstate"] == "57P03"
            assert "starting" in str(refused.value.hint)
            group.start_soon(come)
            await anyio.wait_all_tasks_blocked()
            (data / "promote").touch()
            os.kill(int((data / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGUSR1)

    async def test_one_that_is_down_is_not_waited_for(self, home: Path) -> None:
        async with Store(database_url(EmbeddedServer(0, home, home).url("retrovue")), patience=3600) as store:
            with pytest.raises(StoreUnavailable) as refused:
                async with store.transaction():
                    pytest.fail("entered")
        assert "Is the server running" in str(refused.value.hint)


@pytest.mark.fault(48)
class TestTooManyConnections:
    """Catalogue line 48: no connection to spare."""

    async def test_who_is_patient_gets_the_one_that_becomes_free(self, home: Path) -> None:
        await prepare(home)
        async with running(home) as server:
            url = database_url(await let_in(server, "limited"))
            async with opened(server) as store:
                await execute(store, "ALTER ROLE limited CONNECTION LIMIT 1")
            async with (
                Store(url) as first,
                Store(url, patience=0.2) as hasty,
                Store(url, patience=60) as patient,
                anyio.create_task_group() as group,
            ):
                async with first.session():
                    with pytest.raises(StoreError) as refused:
                        async with hasty.session():
                            pytest.fail("entered")
                    assert refused.value.code == "too_many_connections"
                    assert "--concurrency" in str(refused.value.hint)
                    (home / "pg18.log").write_text("")

                    async def come() -> None:
                        assert await rows(patient, "SELECT current_user") == [("limited",)]

                    group.start_soon(come)
                    await log_says(home, 'too many connections for role "limited"')
                await first.data.dispose()

    @pytest.mark.usefixtures("scripted")
    async def test_max_connections(self, home: Path) -> None:
        await prepare(home, "max_connections = 12")
        async with running(home) as server, opened(server) as store:
            library = await Library.make(store, "Movies")
            async with Store(store.url, connections=20) as wide:
                with pytest.raises(RequestError) as refused:
                    await Library(wide, library.source, library.script).ingest(concurrency=20)
            assert refused.value.code == "too_many_connections"
            assert library.script.asked == []  # refused before the source was asked anything
            others: list[asyncpg.Connection] = []
            address = server.url("retrovue").replace("+asyncpg", "")
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    others.append(await asyncpg.connect(address))
            with pytest.raises(StoreError) as full:
                async with Store(store.url, patience=0.2) as late, late.transaction():
                    pytest.fail("entered")
            assert full.value.code == "too_many_connections"
            (warning,) = [finding for finding in await _doctor(store) if finding.verdict == "warning"]
            assert "connections" in warning.message
            for other in others:
                await other.close()
            assert codes(await library.ingest({"Movies": [page(draft("a"))]})) == {"Movies": "ingested"}


UNSUITABLE = {
    "database_encoding": "UTF8",
    "database_permission": "temporary tables",
    "too_many_connections": "CONNECTION LIMIT of the",
}


@pytest.mark.fault(104, 218)
class TestUnsuitable:
    """A database in which no ingest can work is found by db upgrade, the doctor and the pre-flight, in dry-runs too."""

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ("REVOKE TEMPORARY ON DATABASE retrovue FROM PUBLIC", "database_permission"),
            ("ALTER DATABASE retrovue CONNECTION LIMIT 2", "too_many_connections"),
            ("ALTER ROLE limited CONNECTION LIMIT 3", "too_many_connections"),
        ],
    )
    @pytest.mark.usefixtures("scripted")
    async def test_rights_and_limits(self, home: Path, change: str, code: str) -> None:
        await prepare(home)
        async with running(home) as server:
            address = await let_in(server, "limited")
            async with opened(server) as store:
                library = await Library.make(store, "Movies")
                await execute(store, change)
            async with Store(database_url(address), connections=1) as store:
                await self._is_found(store, code)
                for dry_run in (True, False):
                    with pytest.raises(StoreError) as refused:
                        async with ingest_source(
                            store, library.source.name, IngestOptions(concurrency=1, dry_run=dry_run)
                        ):
                            pytest.fail("entered")
                    assert refused.value.code == code

    async def test_encoding(self, home: Path) -> None:
        async with running(home) as server:
            await server.ensure_database("retrovue")
            latin1 = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            async with opened(server) as store, store.data.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.exec_driver_sql(f"CREATE DATABASE latin1 LOCALE_PROVIDER libc {latin1}")
            async with Store(database_url(server.url("latin1"))) as store:
                await self._is_found(store, "database_encoding")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "tables in the schema public"),
            ("GRANT CREATE ON SCHEMA public TO limited", "schemas in the database"),
            ("ALTER ROLE limited SET search_path = nosuch", "search_path"),
            ("ALTER ROLE limited SET default_transaction_read_only = on", "read-only"),
        ],
    )
    async def test_a_role_that_may_not_make_the_schema(self, home: Path, change: str, message: str) -> None:
        async with running(home) as server:
            await server.ensure_database("retrovue")
            address = await let_in(server, "limited")
            async with opened(server) as store:
                await execute(store, change)
            for read_only in (False, True):  # a dry-run finds it as well
                async with Store(database_url(address), connections=1, read_only=read_only) as store:
                    with pytest.raises(StoreError, match=message):
                        await (check_upgrade if read_only else upgrade)(store, "production")
                    found = [finding.message async for finding in examine_database(store, upgrade=True)]
                    assert any(message in text for text in found)

    async def test_a_limit_that_is_lower_than_the_concurrency_needs(self, home: Path) -> None:
        await prepare(home)
        async with running(home) as server:
            address = await let_in(server, "limited")
            async with opened(server) as store:
                await execute(store, "ALTER ROLE limited CONNECTION LIMIT 5")
            async with Store(database_url(address)) as store:
                await require_capacity(store, 2, writing=True)
                with pytest.raises(RequestError) as refused:
                    await require_capacity(store, 3, writing=True)
            async with opened(server) as store:
                await execute(store, "REVOKE pg_write_all_data FROM limited")
            async with Store(database_url(address)) as store:
                await require_capacity(store, 2, writing=False)
                with pytest.raises(StoreError, match="may not write the tables") as unwritable:
                    await require_capacity(store, 2, writing=True)
                assert "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES" in str(unwritable.value.hint)
                assert unwritable.value.message in [finding.message for finding in await _doctor(store)]
            assert "the role allows 5" in refused.value.message
            assert "--concurrency 2" in str(refused.value.hint)

    async def _is_found(self, store: Store, code: str) -> None:
        with pytest.raises(StoreError) as refused:
            await upgrade(store, "production")
        assert refused.value.code == code
        assert UNSUITABLE[code] in f"{refused.value.message} {refused.value.hint}"
        assert refused.value.message in [finding.message for finding in await _doctor(store)]


@pytest.mark.usefixtures("scripted")
@pytest.mark.fault(52)
class TestReadOnly:
    """Catalogue line 52: a server that can't be written to is refused before the source is asked anything."""

    async def test_by_a_setting(self, library: Library) -> None:
        name = library.store.url.database
        await execute(library.store, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        async with Store(library.store.url) as store:
            there = Library(store, library.source, library.script)
            with pytest.raises(StoreError) as refused:
                await there.ingest({"Movies": [page(draft("a"))]})
            assert refused.value.code == "database_read_only"
            assert library.script.asked == []
            assert codes(await there.ingest(dry_run=True)) == {"Movies": "ingested"}
            assert [(found.verdict, "read-only" in found.message) for found in await _doctor(store)].count(
                ("problem", True)
            ) == 1

    async def test_a_standby(self, home: Path) -> None:
        await prepare(home, "wal_level = replica")
        async with running(home) as server, opened(server) as store:
            library = await Library.make(store, "Movies")
            assert codes(await library.ingest({"Movies": [page(draft("a"))]})) == {"Movies": "ingested"}
        library.script.asked.clear()
        (home / "pg18" / "standby.signal").touch()
        owned_like(home / "pg18" / "standby.signal", home / "pg18" / "PG_VERSION")
        async with running(home) as server:
            settings = Settings(Secret(server.url("retrovue")))
            async with open_store(settings) as store:
                assert await rows(store, "SELECT pg_is_in_recovery()") == [(True,)]
                there = Library(store, library.source, library.script)
                with pytest.raises(StoreError) as refused:
                    await there.ingest({"Movies": [page(draft("a"), draft("b"))]})
                assert refused.value.code == "database_read_only"
                assert library.script.asked == []
                async with store.transaction() as session:
                    assert [asset.title for asset in (await list_assets(session, {})).assets] == ["A"]
            async with open_store(settings, read_only=True) as store:
                seen = await Library(store, library.source, library.script).ingest(dry_run=True)
                assert (seen.total("created"), seen.total("skipped")) == (1, 1)
                (problem,) = [finding for finding in await _doctor(store) if finding.verdict == "problem"]
                assert "standby" in problem.message


@pytest.mark.fault(51)
class TestSchema:
    """Catalogue line 51: a schema that isn't this program's is refused when the catalogue is opened."""

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ("UPDATE alembic_version SET version_num = '9999'", "schema_newer"),
            ("UPDATE alembic_version SET version_num = 'a1b2c3d4e5f6'", "schema_newer"),
            ("INSERT INTO alembic_version VALUES ('9999')", "schema_newer"),
            ("DELETE FROM alembic_version", "schema_missing"),
            ("DROP TABLE alembic_version", "schema_missing"),
        ],
    )
    @pytest.mark.parametrize("read_only", [False, True])
    async def test_it_is_refused(self, database_url: str, change: str, code: str, read_only: bool) -> None:
        settings = Settings(Secret(database_url))
        async with open_store(settings) as store:
            await execute(store, change)
        with pytest.raises(SchemaMismatch) as refused:
            async with open_store(settings, read_only=read_only):
                pytest.fail("entered")
        assert refused.value.code == code
        assert refused.value.hint

    def test_an_older_one_is_to_be_upgraded(self) -> None:
        """There is only one revision so far: this is what an older one will be."""
        with pytest.raises(SchemaMismatch) as refused:
            require_current(SchemaStatus(current="0001", wanted="0002", role="production"), "production")
        assert refused.value.code == "schema_outdated"
        assert refused.value.hint == "Run `retrovue db upgrade`."
