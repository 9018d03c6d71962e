"""A network that falls silent: nothing is closed, nothing arrives, in one direction or in both."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from sqlalchemy import text

from retrovue.errors import CommitUnknown, StoreUnavailable
from retrovue.operations.catalogue import list_sources
from retrovue.operations.doctor import examine
from retrovue.store import driver, locks, session
from retrovue.store.addresses import database_url as parsed
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from tests.support.library import Library, codes, draft, page, rows
from tests.support.relay import Relay, relay

pytestmark = pytest.mark.anyio

SHORT = 0.5
FOREVER = driver.STATEMENT_SECONDS
"""The limit of a statement that isn't shortened."""
DIRECTIONS = (("up",), ("down",), ("up", "down"))


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for half a second instead of a minute."""
    for module in (driver, session):
        monkeypatch.setattr(module, "STATEMENT_SECONDS", SHORT)
        monkeypatch.setattr(module, "LONG_STATEMENT_SECONDS", 2 * SHORT)
    monkeypatch.setattr(locks, "ANSWER_SECONDS", SHORT)
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.1)


@dataclass(frozen=True)
class Far:
    """The catalogue behind a relay."""

    store: Store
    relay: Relay


@asynccontextmanager
async def behind(database_url: str) -> AsyncIterator[Far]:
    """Put a relay before a database, for a part of a test: no fixture, as what looks around after a test stops it."""
    name = parsed(database_url).database
    async with relay(parsed(database_url)) as server:
        address = f"postgresql://retrovue@127.0.0.1:{server.port}/{name}?connect_timeout=1"
        async with Store(parsed(address)) as store:
            yield Far(store, server)


@pytest.fixture
def within_seconds() -> Iterator[None]:
    """Fail if the test waited for anything but the short limits, however loaded the machine is."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < FOREVER


@pytest.mark.fault(101)
@pytest.mark.usefixtures("within_seconds")
class TestStatements:
    @pytest.mark.parametrize("directions", DIRECTIONS)
    async def test_a_statement_of_a_transaction(self, database_url: str, directions: tuple[str, ...]) -> None:
        async with behind(database_url) as far:

            async def transact() -> None:
                async with far.store.transaction() as opened:
                    far.relay.stall(*directions)
                    await opened.execute(text("SELECT 1"))

            with far.relay.resumed(), pytest.raises(StoreUnavailable) as lost:
                await transact()
            assert "didn't answer in time" in lost.value.message

    async def test_a_commit(self, database_url: str) -> None:
        async with behind(database_url) as far:

            async def transact() -> None:
                async with far.store.transaction(long=True) as opened:
                    await opened.execute(text("UPDATE catalogue_role SET role = role"))
                    far.relay.stall("down")

            with far.relay.resumed(), pytest.raises(CommitUnknown):
                await transact()

    @pytest.mark.parametrize("directions", DIRECTIONS)
    async def test_a_pooled_connection_that_went_silent(self, database_url: str, directions: tuple[str, ...]) -> None:
        async with behind(database_url) as far:
            await rows(far.store, "SELECT 1")
            far.relay.stall(*directions)
            with far.relay.resumed(), pytest.raises(StoreUnavailable):
                await list_sources(far.store)

    async def test_the_doctor(self, database_url: str) -> None:
        async with behind(database_url) as far:
            await rows(far.store, "SELECT 1")
            far.relay.stall("up", "down")
            with far.relay.resumed(), pytest.raises(StoreUnavailable):
                _ = [finding async for finding in examine(far.store)]

    async def test_a_limit_is_one_of_a_statement_and_not_of_a_transaction(self, database_url: str) -> None:
        async with behind(database_url) as far:
            async with far.store.transaction() as opened:
                for _ in range(4):
                    await opened.execute(text(f"SELECT pg_sleep({SHORT * 0.3})"))
            async with far.store.transaction(long=True) as opened:
                await opened.execute(text(f"SELECT pg_sleep({SHORT * 1.4})"))

            async def sleep() -> None:
                async with far.store.reading() as opened:
                    await opened.execute(text(f"SELECT pg_sleep({SHORT * 1.4})"))

            with pytest.raises(StoreUnavailable):
                await sleep()


@pytest.mark.fault(101)
@pytest.mark.usefixtures("within_seconds")
class TestLocks:
    @pytest.mark.parametrize("directions", DIRECTIONS)
    async def test_the_heartbeat_finds_silence(self, database_url: str, directions: tuple[str, ...]) -> None:
        async with behind(database_url) as far, open_locks(far.store, "somebody") as held:
            with far.relay.resumed():
                far.relay.stall(*directions)
                await anyio.sleep(2 * SHORT)
                assert held.lost
                with pytest.raises(StoreUnavailable) as lost:
                    await held.verify()
            assert lost.value.code == "locks_lost"

    async def test_an_error_inside_is_raised_as_it_is(self, database_url: str) -> None:
        async with behind(database_url) as far:
            with pytest.raises(ZeroDivisionError):
                async with open_locks(far.store, "somebody"):
                    raise ZeroDivisionError

    async def test_the_session_asks_the_server_for_keep_alives(self, database_url: str) -> None:
        async with behind(database_url) as far:
            settings = "SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout')"
            assert await rows(far.store, settings) in [[("30", "1min")], [("0", "0")]]


@pytest.mark.fault(101)
@pytest.mark.leaves("unended")  # its audit trail can't be written either
@pytest.mark.usefixtures("scripted", "within_seconds")
@pytest.mark.parametrize("directions", DIRECTIONS)
async def test_an_ingest(library: Library, database_url: str, directions: tuple[str, ...]) -> None:
    async with behind(database_url) as far:

        async def stall() -> None:
            far.relay.stall(*directions)

        steps = [page(draft("a")), stall, page(draft("b"))]
        with far.relay.resumed():
            summary = await Library(far.store, library.source, library.script).ingest({"Movies": steps}, concurrency=1)
        assert codes(summary)["Movies"] in {"database_unavailable", "locks_lost"}
        assert await library.assets() == {}
