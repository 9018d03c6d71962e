"""What only a process shows: its streams, its exit, signals, a terminal; and the demo."""

import gc
import os
import pty
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import asyncpg
import httpx
import orjson
import psutil  # type: ignore[import-untyped]
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.actions.ingest import garbage_collected
from tests.cli.conftest import TOKEN, Cli, Plex, Process, stuck
from tests.cli.test_documents import KEYS
from tests.support import canary
from tests.support.canary import CANARY

MOVIES = "/library/sections/1/all"
SHOWS = "/library/sections/2/all"


@pytest.mark.usefixtures("ready")
class TestStreams:
    def test_a_process_says_the_same_as_the_command_in_ours(self, run_cli: Cli) -> None:
        for arguments in (["collection", "list"], ["source", "show", "Nothing", "--json"], ["source"]):
            assert run_cli.process(*arguments) == run_cli(*arguments)

    @pytest.mark.fault(58)
    def test_a_closed_standard_output_stops_nothing(self, run_cli: Cli) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with run_cli.start("source", "ingest", "My Plex", stdout=writer) as process:
            os.close(writer)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        assert run_cli.ok("asset", "list")["total"] > 50

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_an_output_that_cannot_be_written_is_an_error(self, run_cli: Cli) -> None:
        for arguments in (("collection", "list"), ("asset", "list", "--help")):  # the help is printed by click
            with Path("/dev/full").open("wb") as full, run_cli.start(*arguments, stdout=full) as process:
                _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (1, b"Error: The output can't be written: No space left on device.\n")


@pytest.mark.usefixtures("ready")
class TestInterruption:
    @pytest.mark.fault(55)
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_tells_what_was_done(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal, number: int, status: int
    ) -> None:
        with stuck(portal, plex, SHOWS) as arrived:
            # One at a time: the movies are in when the shows are asked for.
            process = run_cli.start("source", "ingest", "My Plex", "--json", "--concurrency", "1")
            assert arrived.wait(60)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        document = orjson.loads(out)
        assert process.returncode == status
        assert list(document) == KEYS
        assert (document["status"], document["collections_processed"]) == ("partial", 2)
        assert [result["status"] for result in document["collection_results"]] == [
            *("skipped", "ingested", "interrupted")
        ]
        assert b"Traceback" not in err
        assert run_cli.ok("asset", "list")["total"] == document["total_created_assets"]

    @pytest.mark.fault(55)
    def test_with_nothing_done_is_an_error(self, run_cli: Cli, plex: Plex, portal: BlockingPortal) -> None:
        with stuck(portal, plex, MOVIES) as arrived:
            process = run_cli.start("source", "ingest", "My Plex", "--concurrency", "1")
            assert arrived.wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out.decode().splitlines()[-2:] == [
            "Error: interrupted before any collection was ingested",
            "Source ingest interrupted: 2 collections processed (0 success, 0 failed, 2 interrupted)",
        ]
        assert b"Traceback" not in err

    @pytest.mark.parametrize("json", [True, False])
    def test_during_an_enrichment_says_what_is_owed(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal, json: bool
    ) -> None:
        run_cli.ok("enricher", "add", "--type", "plex-details", "--name", "Details")
        run_cli.ok("collection", "attach-enricher", "Movies", "Details")
        with stuck(portal, plex, "/library/metadata/*") as arrived:
            process = run_cli.start("source", "ingest", "My Plex", *(["--json"] if json else []))
            assert arrived.wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        owed = run_cli.ok("collection", "enrich", "Movies", "--dry-run")["owed"]
        assert owed > 0
        said = f"The enrichment of 'Movies' of source 'My Plex' was interrupted: {owed} are still owed."
        assert said in err.decode()
        if json:
            document = orjson.loads(out)
            assert document["status"] == "partial"
            told = [(error["code"], error["message"]) for error in document["errors"]]
            assert told[0] == ("enrichment_interrupted", said)
        else:
            assert f"Movies: enrichments that are still owed: {owed} (interrupted)" in out.decode()

    def test_before_the_ingest_began(self, run_cli: Cli, plex: Plex, portal: BlockingPortal) -> None:
        with stuck(portal, plex, "/identity") as arrived:
            process = run_cli.start("source", "ingest", "My Plex", "--json")
            assert arrived.wait(60)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        document = orjson.loads(out)
        assert (process.returncode, err) == (143, b"Error: Interrupted by SIGTERM.\n")
        assert list(document) == KEYS
        assert document["source"]["name"] == "My Plex"
        assert (document["status"], document["errors"][0]["code"]) == ("error", "interrupted")

    @pytest.mark.fault(56)
    @pytest.mark.leaves("unended")
    def test_a_second_signal_ends_it_at_once(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal, database_url: str
    ) -> None:
        with (
            stuck(portal, plex, MOVIES) as arrived,
            portal.wrap_async_context_manager(_locked_audit_trail(database_url)) as connection,
        ):
            process = run_cli.start("source", "ingest", "My Plex", "--json", "--concurrency", "1")
            assert arrived.wait(60)
            portal.call(connection.execute, "LOCK TABLE ingest_outcome IN ACCESS EXCLUSIVE MODE")
            process.send_signal(signal.SIGINT)
            # It wants to write down the interruption, and waits for the lock.
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'retrovue audit'"
            while not portal.call(connection.fetchval, f"{waiting} AND wait_event_type = 'Lock'"):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"")


@asynccontextmanager
async def _locked_audit_trail(url: str) -> AsyncIterator[Any]:
    connection: Any = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@pytest.mark.usefixtures("ready")
class TestProgress:
    def test_is_for_a_terminal(self, run_cli: Cli) -> None:
        terminal, its_end = pty.openpty()
        environment = run_cli.environment | {"TERM": "xterm"}
        with run_cli.start("source", "ingest", "My Plex", stderr=its_end, env=environment) as process:
            out, _ = process.communicate(timeout=60)
        shown = os.read(terminal, 100_000).decode(errors="replace")  # a character may be cut
        os.close(terminal)
        os.close(its_end)
        assert process.returncode == 0
        assert "collections" in shown
        assert "items" in shown
        assert b"\x1b" not in out


class TestReadingLines:
    """A line that a test reads while the process runs is checked as what is read at its end."""

    def says(self, line: str) -> Process:
        program = [sys.executable, "-c", f"print({line!r})"]
        return Process([*program, "source", "ingest", "X", "--jsonl"], stdout=subprocess.PIPE)

    def test_an_event_without_a_schema_is_found(self) -> None:
        with self.says('{"type": "odd"}') as process, pytest.raises(AssertionError, match="told what an event"):
            process.read_line()

    def test_a_secret_is_found(self) -> None:
        named = {"id": str(uuid.uuid4()), "external_id": "1", "name": f"token {CANARY}"}
        named_source = {"id": str(uuid.uuid4()), "name": "My Plex"}
        with self.says(
            orjson.dumps({"type": "collection_started", "collection": named, "source": named_source}).decode()
        ) as process:
            process.read_line()
        assert canary.FOUND == ["a secret is in what a process said"]
        canary.FOUND.clear()


def test_a_home_where_an_empty_catalogue_begins_is_told(run_cli: Cli, tmp_path: Path) -> None:
    home = {"RETROVUE_HOME": str(tmp_path / "typo"), "RETROVUE_DATABASE_URL": ""}
    first = run_cli.process("db", "status", env=home)
    assert first.status == 0, first
    warning = f"Warning: RETROVUE_HOME ({tmp_path / 'typo'}) holds no catalogue: a new, empty one begins there.\n"
    assert first.err == warning
    assert run_cli.process("db", "status", env=home).err == ""


class TestDemo:
    def test_goes_as_it_should_and_serves_its_page_until_it_is_stopped(self, run_cli: Cli, tmp_path: Path) -> None:
        process = run_cli.start(
            "demo", "--items", "60", "--collections", "2", "--serve", "--port", "0",
            env=run_cli.environment | {"TMPDIR": str(tmp_path)},
        )  # fmt: skip
        out = ""
        while "The page is at " not in (line := process.read_line().decode()):
            assert line, process.communicate()
            out += line
        assert "$ retrovue source add --type plex --name 'Demo Plex' --base-url http://127.0.0.1:" in out
        assert "Source ingest complete: 2 collections processed (1 success, 1 failed)\n(exit status 2)" in out
        assert "Source ingest complete: 2 collections processed (2 success, 0 failed)" in out
        assert out.endswith("The demo worked as expected.\n")
        url = line.removeprefix("The page is at ").strip()
        assert "Demo Plex" in httpx.get(f"{url}overview/counts", timeout=60).text
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert [line for line in err.splitlines() if not line.startswith(b"Error: 1 of 2")] == []
        assert not list(tmp_path.glob("retrovue-demo-*"))

    def test_cleans_up_when_it_is_interrupted(self, run_cli: Cli, tmp_path: Path) -> None:
        environment = run_cli.environment | {"TMPDIR": str(tmp_path)}
        process = run_cli.start("demo", "--items", "60", "--collections", "2", env=environment)
        while b"$ retrovue source discover" not in process.read_line():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Error: Interrupted by SIGINT." in err
        assert not list(tmp_path.glob("retrovue-demo-*"))


@pytest.mark.fault(68)
@pytest.mark.usefixtures("added")
class TestProcessList:
    def test_neither_token_nor_password_is_in_it(
        self, run_cli: Cli, plex: Plex, portal: BlockingPortal, tmp_path: Path
    ) -> None:
        token = tmp_path / "token"
        token.write_text(TOKEN)
        with stuck(portal, plex, "/library/sections") as arrived:
            given = (
                "--type",
                "plex",
                "--name",
                "Other",
                "--base-url",
                plex.url,
                "--token-file",
                str(token),
                "--discover",
            )
            with run_cli.start("source", "add", *given, env=run_cli.environment | {"RETROVUE_TOKEN": TOKEN}) as process:
                assert arrived.wait(60)
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                lines = [" ".join(one.cmdline()) for one in [*family, *psutil.process_iter()] if _readable(one)]
                process.terminate()
        assert any("--token-file" in line for line in lines)
        assert [line for line in lines if CANARY in line] == []


def _readable(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline())
    except psutil.Error:  # it has ended, or is somebody else's
        return False


class TestMemory:
    """What a run leaves behind of each page would grow with the library."""

    def test_large_blocks_are_returned_to_the_system(self) -> None:
        # A large block that is freed lets glibc put the next ones among the small ones.
        program = """
import ctypes, sys
from retrovue.cli.process import return_large_blocks

class Blocks(ctypes.Structure):
    # Of interest are the blocks that are taken from the system by themselves, and the free bytes behind all others.
    _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "hblks", "d", "e", "f", "g", "h", "keepcost")]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit("no glibc")
libc.mallinfo2.restype = Blocks
if sys.argv[1] != "as usual":
    return_large_blocks(growing=sys.argv[1] == "growing")
first = bytes(4 << 20)
del first
before = libc.mallinfo2().hblks
kept = [bytes(3 << 20) for _ in range(8)]
print(libc.mallinfo2().hblks - before)
kept = [bytes(1 << 20) for _ in range(4)]
print(libc.mallinfo2().hblks - before)
small = [bytes(1000) for _ in range(8000)]
del small
print(libc.mallinfo2().keepcost > 4 << 20)
"""
        found = {
            how: subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=False)
            for how in ("returned", "growing", "as usual")
        }
        if found["returned"].stderr.strip() == "no glibc":
            return
        assert found["returned"].stdout == "8\n0\nTrue\n", found
        assert found["growing"].stdout == "8\n4\nTrue\n", found
        assert found["as usual"].stdout.startswith("0\n"), found

    def test_garbage_is_collected_during_a_run(self) -> None:
        class InCycle:
            def __init__(self) -> None:
                self.itself = self

        usual = gc.get_threshold()
        gc.set_threshold(250_000, 20, 100)
        try:
            with garbage_collected():
                alive = WeakSet(InCycle() for _ in range(100_000))
                assert 0 < len(alive) < 20_000
                assert gc.get_freeze_count() > 10_000
            assert (gc.get_threshold(), gc.get_freeze_count()) == ((250_000, 20, 100), 0)
        finally:
            gc.set_threshold(*usual)
