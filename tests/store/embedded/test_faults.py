"""The embedded PostgreSQL where the surroundings don't play along."""

import ctypes
import errno
import os
import platform
import pwd
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from retrovue.errors import StoreUnavailable
from retrovue.operations.doctor import examine
from retrovue.store import embedded
from retrovue.store.addresses import database_url
from retrovue.store.embedded import embedded_server
from retrovue.store.embedded_cluster import open_cluster
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from tests.support.embedded_processes import Furnish, client, servers
from tests.support.library import Library, codes, contents, draft, page

pytestmark = pytest.mark.anyio

ROOT = os.geteuid() == 0
SPACE = (
    "import pathlib, sys, anyio\n"
    "from retrovue.store.embedded import StoreUnavailable, embedded_server\n"
    "async def main():\n"
    "    async with embedded_server(pathlib.Path(sys.argv[1]), durable=False): pass\n"
    "{before}\n"
    "try: anyio.run(main)\n"
    "except StoreUnavailable as error: print(error.message, '|', error.hint)\n"
)
"""A command that tells why it can't have the server."""


def _message(home: Path, before: str) -> str:
    """Run that command, after a line of preparation."""
    command = [sys.executable, "-c", SPACE.format(before=before), str(home)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.fixture
def small(home: Path) -> Iterator[None]:
    """Put the home on a file system of 120 MB of its own."""
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(home)], check=True)
    yield
    subprocess.run(["umount", "--lazy", str(home)], check=True)


@pytest.mark.fault(72)
class TestPlace:
    """Catalogue lines 72 and 74: where the home can't be used the error says where and what to do."""

    def test_a_home_that_may_not_be_written(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o555)
            nobody = pwd.getpwnam("nobody").pw_uid
            # Root may write anywhere: it becomes somebody else once all is loaded.
            before = "import retrovue.store.session, platformdirs.unix, anyio._backends._asyncio, os"
            before += f"; os.setgroups([]); os.setuid({nobody})" if ROOT else ""
            message = _message(Path(directory) / "home", before)
        assert "can't use" in message
        assert "Permission denied" in message
        assert "RETROVUE_HOME" in message

    @pytest.mark.skipif(not ROOT, reason="only root may mount a small file system")
    @pytest.mark.usefixtures("small")
    async def test_a_disk_that_is_full_at_the_start(self, home: Path) -> None:
        ballast = home / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(home).free - (1 << 20)))
        with pytest.raises(StoreUnavailable, match="initdb failed") as refused:
            async with embedded_server(home, durable=False):
                pytest.fail("entered")
        assert "space" in str(refused.value.hint)
        assert not (home / "pg18").exists()
        ballast.unlink()
        async with (
            embedded_server(home, durable=False) as server,
            Store(database_url(server.url("postgres"))) as store,
        ):
            findings = [finding async for finding in examine(store)]
            assert ["MiB left" in finding.message for finding in findings if finding.verdict == "warning"] == [True]
        ballast.write_bytes(bytes(shutil.disk_usage(home).free))
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            async with embedded_server(home, durable=False):
                pytest.fail("entered")
        assert servers(home) == []
        ballast.unlink()
        async with embedded_server(home, durable=False):
            pass

    @pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the filter is for Linux on x86-64"
    )
    def test_a_file_system_without_locks(self, tmp_path: Path) -> None:
        """The kernel is told to answer as such a file system does."""
        message = _message(
            tmp_path / "home", "from tests.store.embedded.test_faults import forbid_locks; forbid_locks()"
        )
        assert "has no locks: Operation not supported" in message
        assert "local disk" in message

    @pytest.mark.parametrize("length", [100, 103, 104, 107, 108, 200])
    async def test_a_path_of_any_length(self, length: int, furnish: Furnish) -> None:
        """Up to 107 bytes fit a socket's address on Linux, and 103 on macOS."""
        with tempfile.TemporaryDirectory(prefix="rv", ignore_cleanup_errors=True) as directory:
            room = length - len(f"{directory}//pg18/.s.PGSQL.5432")
            home = Path(directory) / ("x" * room)
            cluster = open_cluster(home, durable=False)
            assert (cluster.sockets == cluster.data) == (length <= 103)
            furnish(home)
            async with embedded_server(home, durable=False) as server:
                await server.ensure_database("retrovue")


def forbid_locks() -> None:
    """Have flock refused from now on, in this process and its children, by a filter in the kernel (seccomp)."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    flock = 73
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (load, 0, 0, 0),
            (jump_equal, 0, 1, flock),
            (give, 0, 0, 0x00050000 | errno.EOPNOTSUPP),
            (give, 0, 0, 0x7FFF0000),
        )
    )
    kept = ctypes.create_string_buffer(program)
    described = struct.pack("HxxxxxxP", 4, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.create_string_buffer(described), 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.usefixtures("scripted")
@pytest.mark.fault(74)
class TestKilled:
    """Catalogue lines 43 and 74: the server is killed under commands that use it."""

    @pytest.mark.usefixtures("made")
    async def test_under_a_running_ingest(self, home: Path) -> None:
        async with embedded_server(home) as server:
            await server.ensure_database("retrovue")
            async with Store(database_url(server.url("retrovue")), patience=0.2) as store:
                await upgrade(store, "production")
                library = await Library.make(store, "A", "B")
                await library.ingest({"A": [page(draft("a"))], "B": []})
                before = await contents(store, "asset")

                async def kill() -> None:
                    os.kill(server.pid, signal.SIGKILL)
                    with anyio.fail_after(30):  # its children notice by themselves
                        while servers(home):  # noqa: ASYNC110 - the system has no event for that
                            await anyio.sleep(0.01)

                summary = await library.ingest({"A": [page(draft("a2")), kill, page(draft("a3"))]}, concurrency=1)
                # What was never ingested goes first: B was done.
                assert codes(summary) == {"A": "database_unavailable", "B": "ingested"}
            async with (
                embedded_server(home) as second,
                Store(database_url(second.url("retrovue"))) as store,
            ):
                assert second.pid != server.pid
                assert await contents(store, "asset") == before
                again = Library(store, library.source, library.script)
                assert codes(await again.ingest({"A": [page(draft("a2"))]})) == dict.fromkeys("AB", "ingested")
                assert await again.rows(
                    "SELECT DISTINCT status FROM ingest_start LEFT JOIN ingest_outcome USING (run_id, collection_id)"
                    " ORDER BY 1"
                ) == [("ingested",), ("interrupted",)]

    @pytest.mark.usefixtures("made")
    async def test_two_that_start_at_once_after_that(self, home: Path) -> None:
        async with client(home) as one:
            pid = await one.enter()
            os.kill(pid, signal.SIGKILL)
            async with client(home) as two, client(home) as three:
                await two.tell()
                await three.tell()
                pids = {await two.hear(), await three.hear()}
                assert len(pids) == 1
                assert str(pid) not in pids
                await two.leave()
                await three.leave()
            await one.leave()
        assert servers(home) == []


@pytest.mark.fault(107)
class TestPidFile:
    """The account of the server can write the pid file, and with it name any process."""

    @pytest.mark.parametrize("pid", ["another's", "0", "-1", "1"])
    @pytest.mark.usefixtures("made")
    async def test_no_other_process_is_signalled(self, home: Path, monkeypatch: pytest.MonkeyPatch, pid: str) -> None:
        for limit in ("_SHIELD_SECONDS", "_FAST_STOP_SECONDS", "_IMMEDIATE_STOP_SECONDS"):
            monkeypatch.setattr(embedded, limit, 0.3)
        async with await anyio.open_process(["sleep", "60"]) as victim:
            # Root owns the victim, or for anybody else the first process of the system is root's.
            named = pid if pid != "another's" else str(victim.pid if ROOT else 1)
            async with embedded_server(home, durable=False) as server:
                file = server.data_directory / "postmaster.pid"
                right = file.read_text()
                file.write_text(right.replace(str(server.pid), named, 1))
            assert victim.returncode is None
            assert servers(home), "it has no way to learn that it should stop"
            file.write_text(right)
            monkeypatch.undo()
            async with embedded_server(home, durable=False) as again:
                assert again.pid == server.pid
            assert not servers(home)
            victim.kill()
