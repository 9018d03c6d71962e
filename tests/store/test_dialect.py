"""A connection is asked for nothing that it has said already, and a ping is one round trip."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from retrovue.store.session import Store
from tests.support.closing import close_together
from tests.support.faults.proxy import counting_proxy

pytestmark = pytest.mark.anyio


async def test_round_trips(shared_store: Store) -> None:
    with tempfile.TemporaryDirectory(prefix="rv") as directory:
        async with counting_proxy(shared_store.url, Path(directory)) as (through, proxy), Store(through) as store:
            async with store.reading() as session:
                await session.execute(text("SELECT 1"))
            first = [trip.text for trip in proxy.trips]
            proxy.disarm()
            for _ in range(2):
                async with store.reading() as session:
                    await session.execute(text("SELECT 1"))
            later = Counter(trip.text for trip in proxy.trips)
    assert first[0] == "(start-up)"
    assert not [
        asked for asked in first if "version()" in asked or asked.startswith(("show ", "select current_schema"))
    ]
    begins = [trip for trip in later if trip.startswith("BEGIN; SELECT")]
    # A ping and the statement are executed twice; the first transaction has prepared the statement.
    assert later == {begins[0]: 2, ";": 1, "(execute)": 4, "ROLLBACK;": 2}


async def test_the_connections_of_a_store_are_closed_at_the_same_time(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(shared_store.url) as store:
        async with store.session(), store.session(), store.audit.connect():
            assert store.open_connections == 2
        closing = close_together(monkeypatch, 3)
    assert len(set(closing)) == 3
    assert all(connection.is_closed() for connection in closing)


async def test_what_is_known_without_asking(shared_store: Store) -> None:
    async with shared_store.reading() as session:
        asked = (await session.execute(text("SHOW server_version_num"))).scalar_one()
        level = (await session.execute(text("SHOW transaction_isolation"))).scalar_one()
    dialect = shared_store.data.dialect
    assert dialect.server_version_info == (int(asked) // 10_000, int(asked) % 10_000)
    assert dialect.default_isolation_level == level.upper()
