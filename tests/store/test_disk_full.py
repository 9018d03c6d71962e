"""A full disk, for real: catalogue line 46. The rows stay as they were, and it works again when there is room."""

import random
import resource
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from retrovue.core.config import Settings
from retrovue.core.model import Secret
from retrovue.errors import StoreUnavailable
from retrovue.store.opening import open_store
from retrovue.store.session import Store
from tests.support.library import Library, codes, contents, draft, execute, failure, left_clean, page
from tests.support.own_server import ROOT, opened, owned_like, prepare, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]

needs_root = pytest.mark.skipif(not ROOT, reason="only root may mount a small file system")
FEW = [page(draft("kept"))]


def _many(items: int) -> list[object]:
    """Pages of about 2 kB for each item, which doesn't shrink."""
    noise = random.Random(46)
    names = [f"{number:06}" for number in range(items)]
    drafts = [draft(name, studio=noise.randbytes(900).hex()) for name in names]
    return [page(*drafts[first : first + 1000]) for first in range(0, items, 1000)]


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rv", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)  # the server's account has to reach what is mounted in it
        yield Path(directory)


@contextmanager
def _mounted(directory: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of a few megabytes."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def _full(directory: Path, *, but: int = 0) -> Iterator[None]:
    """Fill a file system, but for some bytes."""
    ballast = directory / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(directory).free - but))
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


@contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    """Limit the size of the files that a server writes which is started now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def _small_tablespace(store: Store, directory: Path, data: Path) -> AsyncIterator[None]:
    owned_like(directory, data)
    async with store.data.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"CREATE TABLESPACE small LOCATION '{directory}'"))
    yield


@needs_root
@pytest.mark.fault(46)
class TestFullDisk:
    """Catalogue line 46: a file system without room."""

    async def test_temporary_tables(self, home: Path) -> None:
        await prepare(home)
        with _mounted(home / "small", 8) as small:
            async with running(home) as server:
                async with opened(server) as store, _small_tablespace(store, small, server.data_directory):
                    await execute(store, "ALTER DATABASE retrovue SET temp_tablespaces = 'small'")
                async with opened(server) as store, left_clean(store):
                    library = await Library.make(store, "A", "B")
                    await library.ingest({"A": FEW, "B": []})
                    before = await contents(store, "asset")
                    with _full(small, but=1 << 20):
                        summary = await library.ingest({"A": [*FEW, *_many(3000)], "B": [page(draft("b"))]})
                        assert codes(summary) == {"A": "disk_full", "B": "ingested"}
                        assert "room" in str(failure(summary, "A").hint)
                        assert [line for line in await contents(store, "asset") if line in before] == before
                    assert codes(await library.ingest()) == {"A": "ingested", "B": "ingested"}

    async def test_the_catalogue_itself(self, home: Path) -> None:
        await prepare(home)
        with _mounted(home / "small", 24) as small:
            async with running(home) as server:
                async with opened(server) as store, _small_tablespace(store, small, server.data_directory):
                    await execute(store, "ALTER TABLE asset SET TABLESPACE small")
                async with opened(server) as store, left_clean(store):
                    library = await Library.make(store, "A", "B")
                    await library.ingest({"A": FEW, "B": []})
                    before = await contents(store, "asset")
                    with _full(small, but=1 << 20):
                        summary = await library.ingest({"A": [*FEW, *_many(3000)]})
                        assert codes(summary) == {"A": "disk_full", "B": "ingested"}
                        assert await contents(store, "asset") == before
                        assert await library.audit() != []
                    assert codes(await library.ingest()) == {"A": "ingested", "B": "ingested"}

    async def test_the_log_of_the_transactions(self, home: Path) -> None:
        """Then the server stops altogether, and can't even recover before there is room again."""
        await prepare(home)
        data = home / "pg18"
        with _mounted(home / "small", 200) as small:
            wal = small / "wal"
            shutil.move(data / "pg_wal", wal)
            for path in (small, wal, *wal.rglob("*")):
                owned_like(path, data)
            (data / "pg_wal").symlink_to(wal)
            listing = {"A": [*FEW, *_many(20_000)]}
            async with running(home) as server, opened(server) as store:
                library = await Library.make(store, "A")
                assert codes(await library.ingest({"A": FEW})) == {"A": "ingested"}
                before = await contents(store, "asset")
                with _full(small):
                    summary = await library.ingest(listing)
                    # Told to us, or to another process of the server that writes its log, which ends us along with it.
                    assert codes(summary)["A"] in {"disk_full", "database_unavailable"}
                    with pytest.raises(StoreUnavailable):
                        async with running(home), opened(server) as again, again.transaction():
                            pytest.fail("entered")
            async with running(home) as server, open_store(Settings(Secret(server.url("retrovue")))) as store:
                assert await contents(store, "asset") == before
                there = Library(store, library.source, library.script)
                assert codes(await there.ingest()) == {"A": "ingested"}
                assert [status for _, status, _ in await there.audit()] in (
                    ["ingested", "interrupted", "ingested"],
                    ["ingested", "failed", "ingested"],
                )


@pytest.mark.fault(46)
class TestLimits:
    """Catalogue line 46, for whoever isn't root: limits that act as a full disk does."""

    async def test_temporary_files(self, library: Library) -> None:
        name = library.store.url.database
        await library.ingest_one(*FEW)
        before = await library.contents()
        for setting in ("temp_file_limit = '64kB'", "work_mem = '256kB'"):
            await execute(library.store, f'ALTER DATABASE "{name}" SET {setting}')
        async with Store(library.store.url) as store:
            summary = await Library(store, library.source, library.script).ingest({"Movies": [*FEW, *_many(4000)]})
        assert failure(summary, "Movies").code == "database_limit"
        assert "temp_file_limit" in failure(summary, "Movies").message
        assert await library.contents() == before
        assert codes(await library.ingest()) == {"Movies": "ingested"}

    async def test_the_size_of_a_file(self, home: Path) -> None:
        """The server's account may have a quota, or its files a limit."""
        await prepare(home)
        library: Library
        with _no_file_beyond(17 << 20):  # a segment of the WAL has 16 MB
            async with running(home) as server, opened(server) as store, left_clean(store):
                library = await Library.make(store, "A", "B")
                await library.ingest({"A": FEW, "B": []})
                before = await contents(store, "asset")
                summary = await library.ingest({"A": [*FEW, *_many(12_000)], "B": [page(draft("b"))]})
                assert codes(summary) == {"A": "disk_full", "B": "ingested"}
                assert [line for line in await contents(store, "asset") if line in before] == before
        async with running(home) as server, opened(server) as store:
            there = Library(store, library.source, library.script)
            assert codes(await there.ingest()) == {"A": "ingested", "B": "ingested"}
