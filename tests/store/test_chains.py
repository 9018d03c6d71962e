"""Chains of stuck moves: each asset's file has the name that another asset's file had, and the last name is taken."""

from hashlib import md5
from typing import Any

import pytest
from sqlalchemy import text

from retrovue.core.model import Collection
from retrovue.store.plan import MAKE_PLAN, NO_GUESSING
from retrovue.store.preview import PREVIEW
from retrovue.store.session import Store
from retrovue.store.temporary import TABLES, create
from tests.support.library import Library, execute

pytestmark = pytest.mark.anyio

MOST_SECONDS = 120
"""For each statement. The chain takes a second; with steps that read all moves it takes minutes, and hours of one
four times as long."""
CHAIN = 50_000


def _hash(letter: str, number: str = "n") -> str:
    return f"decode(md5('{letter}' || {number}), 'hex')"


OWN, PLACE, NEXT_PLACE = _hash("s"), _hash("c"), _hash("c", "(n + 1)")


async def _fill(library: Library, assets: int) -> Collection:
    collection = await library.collection("Movies")
    await execute(
        library.store,
        "INSERT INTO asset (collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri,"
        f" canonical_key) SELECT '{collection.id}', {OWN}, {PLACE}, 'movie', 'A', 's', 'c', 'c'"
        f" FROM generate_series(1, {assets}) AS n",
    )
    return collection


async def _preview(store: Store, collection: Collection, moves: list[tuple[int, int]]) -> dict[str, int]:
    """Plan as a dry-run does: asset n moves to the place of another one."""
    keys = b"".join(md5(b"c%d" % place).digest() + md5(b"s%d" % own).digest() + b"\0" for own, place in moves)
    async with store.transaction() as session:
        await session.execute(text(f"SET LOCAL statement_timeout = '{MOST_SECONDS}s'"))
        await session.execute(NO_GUESSING)
        bind = {"collection": collection.id, "keys": keys, "width": 33, "listed": 1, "syncing": False, "relinks": "[]"}
        return {row.verdict: row.total for row in await session.execute(PREVIEW, bind)}


async def _plan(store: Store, collection: Collection, length: int) -> dict[str, int]:
    """Plan as a run does: asset n moves to the place of asset n + 1."""
    async with store.transaction() as session:
        for statement in (create(name, columns) for name, columns in TABLES.items()):
            await session.execute(text(statement))
        await session.execute(
            text(
                "INSERT INTO staged (seq, source_hash, canonical_hash, source_uri, canonical_uri, canonical_key,"
                f" part_count, type, title, provider_ids, tags, stamp, difference) SELECT n, {OWN},"
                f" {NEXT_PLACE}, 's', 'c', 'c', 1, 'movie', 'A', '{{}}', '{{}}', '', 0"
                f" FROM generate_series(1, {length}) AS n"
            )
        )
        await session.execute(text(f"SET LOCAL statement_timeout = '{MOST_SECONDS}s'"))
        await session.execute(NO_GUESSING)
        await session.execute(MAKE_PLAN, {"collection": collection.id, "syncing": False})
        found = await session.execute(text("SELECT verdict, count(*) AS total FROM plan GROUP BY verdict"))
        totals: dict[str, Any] = {row.verdict: row.total for row in found}
        await session.execute(text("DROP TABLE staged, staged_rejection, plan, following"))
        return totals


@pytest.mark.fault(76)
async def test_a_chain_of_fifty_thousand_takes_seconds(store: Store) -> None:
    library = await Library.make(store, "Movies")
    collection = await _fill(library, CHAIN + 1)
    moves = [(number, number + 1) for number in range(1, CHAIN + 1)]
    assert await _preview(store, collection, moves) == {"duplicate": CHAIN}
    assert await _plan(store, collection, CHAIN) == {"duplicate": CHAIN}


async def test_what_waits_for_a_stuck_move_is_stuck_and_nothing_else(store: Store) -> None:
    library = await Library.make(store, "Movies")
    collection = await _fill(library, 30)
    ring = [(1, 2), (2, 3), (3, 1)]
    free = [(11, 12), (12, 13), (13, 99)]
    stuck = [(21, 22), (22, 23), (23, 24)]
    claimed = [(26, 98), (27, 98), (28, 27), (29, 28)]
    """Two claim one place: the first one gets it, the other and all that wait for it are stuck."""
    assert await _preview(store, collection, ring + free + stuck + claimed) == {"relocated": 7, "duplicate": 6}
