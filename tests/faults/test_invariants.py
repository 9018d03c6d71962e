"""The invariants that are looked at after every test, looked at themselves: each finds what is broken on purpose."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from retrovue.errors import StoreError
from retrovue.store.session import Store
from tests.cli.conftest import Done
from tests.support import canary
from tests.support.invariants import WATCH, children, database_problems, engine_problems, process_problems
from tests.support.library import Library, draft, execute, page

pytestmark = pytest.mark.anyio


@pytest.fixture
async def spoiled(store: Store, scripted: None) -> Store:
    """A catalogue to spoil, with an asset of two parts; it is emptied before anybody else looks."""
    library = await Library.make(store, "Movies")
    await library.ingest_one(page(draft("a", "1.mkv", "2.mkv"), draft("b")))
    return store


SPOILS = {
    "a half-written asset": "DELETE FROM asset_part WHERE position = 2",
    "an outcome that does not add up": "ALTER TABLE ingest_outcome DROP CONSTRAINT ingest_outcome_accounts_for_all;"
    " UPDATE ingest_outcome SET discovered = 7",
    "a run without an outcome": "DELETE FROM ingest_outcome",
    "a secret in the audit trail": f'UPDATE ingest_outcome SET details = \'{{"traceback": "{canary.CANARY}"}}\'',
    "a secret in a check": "UPDATE collection SET ingestible = false, ingestible_checked_at = now(),"
    f" not_ingestible_reason = 'token={canary.CANARY}'",
    "a secret in an enrichment": "INSERT INTO enricher (id, external_id, name, type, config)"
    " VALUES (gen_random_uuid(), 'e-1a2b3c4d', 'e', 'e', '{}'); INSERT INTO asset_enrichment"
    " (asset_uuid, enricher_id, status, code, message, run_id)"
    f" SELECT asset.uuid, enricher.id, 'failed', 'x', 'token={canary.CANARY}', gen_random_uuid() FROM asset, enricher"
    " LIMIT 1",
    "a secret in a rejection": "INSERT INTO ingest_rejection"
    f" SELECT run_id, collection_id, 1, 'x', 'token={canary.CANARY}' FROM ingest_start",
}


class TestDatabase:
    @pytest.mark.parametrize("problem", SPOILS)
    async def test_what_is_broken_is_found(self, spoiled: Store, problem: str) -> None:
        assert await database_problems(spoiled.url) == []
        await execute(spoiled, *SPOILS[problem].split("; "))
        found = await database_problems(spoiled.url)
        assert [one.partition(":")[0] for one in found] == [problem]
        await execute(spoiled, "TRUNCATE ingest_start, ingest_outcome, ingest_rejection, collection, asset CASCADE")

    async def test_a_run_that_is_at_work_is_none_of_it(self, spoiled: Store) -> None:
        await execute(spoiled, "DELETE FROM ingest_outcome")
        assert await database_problems(spoiled.url, unended=True) == []
        key = "('x' || left(replace(id::text, '-', ''), 16))::bit(64)::bigint"
        async with spoiled.unpooled("a test") as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({key}) FROM collection"))
            # Its transaction is open, which is a problem of another kind.
            assert await database_problems(spoiled.url) == []
        await execute(spoiled, "DELETE FROM ingest_start")

    async def test_a_transaction_that_is_left_open_is_found(self, store: Store) -> None:
        async with store.data.connect() as connection:
            await connection.execute(text("SELECT 1"))
            assert await database_problems(store.url) == ["a backend left idle in transaction: retrovue"]
            assert list(engine_problems()) == [f"1 connections of {store.url.database} are checked out"]

    async def test_the_databases_of_a_test_are_known(self, store: Store) -> None:
        assert store.url in WATCH.databases


class TestLeftBehind:
    def test_a_thread(self) -> None:
        release = threading.Event()
        thread = threading.Thread(target=release.wait, name="left-behind")
        thread.start()
        assert list(process_problems()) == ["a thread was left: left-behind"]
        release.set()
        thread.join()

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's children")
    def test_a_process(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            assert process.pid in children()
            assert [one.split()[4] for one in process_problems()] == [f"{process.pid}"]
            process.communicate(b"\n")

    async def test_an_exception_that_nobody_sees(self) -> None:
        logging.getLogger("asyncio").error("Task exception was never retrieved")
        assert WATCH.messages == ["Task exception was never retrieved"]
        WATCH.messages.clear()

    async def test_asyncio_says_so_where_that_is_heard(self) -> None:
        loop = asyncio.new_event_loop()
        loop.call_exception_handler({"message": "Future exception was never retrieved"})
        loop.close()
        assert WATCH.messages == ["Future exception was never retrieved"]
        WATCH.messages.clear()


class TestSecrets:
    @pytest.mark.parametrize(
        "leak", [lambda: Done(0, canary.CANARY, ""), lambda: Done(0, "", f"Error: {canary.CANARY}")]
    )
    def test_what_a_command_says_is_heard(self, leak: Callable[[], Done]) -> None:
        leak()
        assert len(canary.FOUND) == 1
        canary.FOUND.clear()

    def test_what_an_error_says_is_heard(self) -> None:
        with suppress(StoreError):
            raise StoreError("refused", context={"password": canary.CANARY})
        assert canary.FOUND == ["a secret is in an error"]
        canary.FOUND.clear()

    def test_a_server_log(self, tmp_path: Path) -> None:
        (tmp_path / "pg18.log").write_text("ready\n")
        (tmp_path / "pg18.log.1").write_text(f"STATEMENT: {canary.CANARY}\n")
        assert canary.logs_with_it(tmp_path) == ["pg18.log.1"]

    def test_what_a_test_prints_and_logs(self, tmp_path: Path) -> None:
        """A session of its own, which the plugin has to fail."""
        (tmp_path / "test_leaks.py").write_text(
            "import logging, sys\n"
            "S = 'can' + 'ary'\n"
            "def test_stdout(): print(S)\n"
            "def test_stderr(): print(S, file=sys.stderr)\n"
            "def test_log(): logging.getLogger('x').info(S)\n"
            "def test_none(): print('nothing')\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rN", "-p", "tests.support.invariants", "-o", "log_level=INFO",
             "--rootdir", tmp_path, tmp_path / "test_leaks.py"],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert "3 failed, 1 passed" in done.stdout, done.stdout
        assert done.stdout.count("a secret is in the Captured") == 3
