"""The feed of changes: its order, its cursors, and what is pruned of it."""

import datetime as dt
import random
import uuid
from contextlib import suppress

import anyio
import asyncpg
import pytest
from sqlalchemy import text

from retrovue.core.errors import CursorExpired, RequestError, StoreUnavailable
from retrovue.core.verdicts import CHANGE_KINDS
from retrovue.store.changes import (
    CHANNEL,
    Change,
    NewChange,
    latest_position,
    list_changes,
    prune_changes,
    record_changes,
)
from retrovue.store.session import Store
from tests.support.library import WAITING_FOR_LOCK, rows, until

pytestmark = pytest.mark.anyio

COLLECTION = uuid.UUID(int=1)
FAR = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def feed(shared_store: Store) -> Store:
    return shared_store


def change(title: str, **values: object) -> NewChange:
    given: dict[str, object] = {
        "asset_uuid": uuid.uuid4(),
        "collection_uuid": COLLECTION,
        "what": "refreshed",
        "fields": {"title": ["Old", "New"]},
        **values,
    }
    return NewChange(title=title, **given)  # type: ignore[arg-type]


async def record(store: Store, *changes: NewChange, fails: bool = False) -> None:
    async with store.transaction() as session:
        await session.execute(text("SELECT pg_current_xact_id()"))
        await record_changes(session, changes)
        if fails:
            raise ConnectionAbortedError


async def read(store: Store, **options: object) -> list[Change]:
    async with store.reading() as session:
        return await list_changes(session, **options)  # type: ignore[arg-type]


async def titles(store: Store, **options: object) -> list[str]:
    return [row.title for row in await read(store, **options)]


async def test_a_row_says_what_it_was_given(feed: Store) -> None:
    asset, run = uuid.uuid4(), uuid.uuid4()
    fields = {"year": [1977, None], "tags": [{}, {"genre": ["Drama"]}]}
    await record(feed, change("A", asset_uuid=asset, what="withdrawn", fields=fields, run_id=run, by="me@here"))
    (row,) = await read(feed)
    assert (row.asset_uuid, row.collection_uuid, row.title, row.what) == (asset, COLLECTION, "A", "withdrawn")
    assert (row.run_id, row.by, row.fields) == (run, "me@here", fields)


@pytest.mark.parametrize("what", CHANGE_KINDS)
async def test_every_kind_can_be_recorded(feed: Store, what: str) -> None:
    await record(feed, change("A", what=what))
    assert [row.what for row in await read(feed)] == [what]


async def test_no_changes_are_nothing(feed: Store) -> None:
    await record(feed)
    async with feed.reading() as session:
        assert await latest_position(session) == 0
    assert await titles(feed, after=0) == []


async def test_a_cursor_goes_on_where_it_was(feed: Store) -> None:
    await record(feed, *(change(title) for title in "ABCDE"))
    first = await read(feed, limit=2)
    assert [row.title for row in first] == ["A", "B"]
    assert await titles(feed, after=first[-1].position) == ["C", "D", "E"]


async def test_what_is_of_others_is_left_out(feed: Store) -> None:
    mine, other = change("A"), change("B", collection_uuid=uuid.UUID(int=2))
    await record(feed, mine, other)
    assert await titles(feed, collections=[COLLECTION]) == ["A"]
    assert await titles(feed, asset=other.asset_uuid) == ["B"]
    assert await titles(feed, collections=[]) == []


class TestCursors:
    async def test_one_that_is_older_than_what_is_kept_is_told_so(self, feed: Store) -> None:
        await record(feed, change("A"), change("B"))
        old = (await read(feed))[0].position
        async with feed.transaction() as session:
            assert await prune_changes(session, FAR) == 2
        await record(feed, change("C"))
        with pytest.raises(CursorExpired) as refused:
            await read(feed, after=old)
        assert refused.value.context["oldest"] == old + 1
        assert await titles(feed, after=old + 1) == ["C"]
        assert await titles(feed) == ["C"]

    async def test_one_of_another_catalogue_is_told_so(self, feed: Store) -> None:
        await record(feed, change("A"))
        newest = (await read(feed))[-1].position
        assert await titles(feed, after=newest) == []
        with pytest.raises(CursorExpired):
            await read(feed, after=newest + 1)

    async def test_the_newest_row_is_known_when_all_are_pruned(self, feed: Store) -> None:
        await record(feed, change("A"))
        newest = (await read(feed))[-1].position
        async with feed.transaction() as session:
            await prune_changes(session, FAR)
        assert await titles(feed, after=newest) == []

    async def test_what_is_young_is_kept(self, feed: Store) -> None:
        await record(feed, change("A"))
        async with feed.transaction() as session:
            assert await prune_changes(session, dt.datetime(2000, 1, 1, tzinfo=dt.UTC)) == 0
        assert await titles(feed) == ["A"]

    @pytest.mark.parametrize("options", [{"after": -1}, {"limit": 0}])
    async def test_what_no_cursor_or_limit_can_be(self, feed: Store, options: dict[str, int]) -> None:
        with pytest.raises(RequestError):
            await read(feed, **options)


async def test_a_writer_waits_until_the_one_before_has_committed(feed: Store) -> None:
    """So positions rise in the order of commits: a reader can't see the later one alone."""
    async with anyio.create_task_group() as group, feed.transaction() as slow:
        await record_changes(slow, [change("A")])
        group.start_soon(record, feed, change("B"))
        await until(feed, WAITING_FOR_LOCK)
        assert await titles(feed) == []
    assert await titles(feed) == ["A", "B"]


async def test_a_writer_that_rolls_back_leaves_no_row_and_holds_nobody_up(feed: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await record(feed, change("A"), fails=True)
    await record(feed, change("B"))
    assert await titles(feed) == ["B"]


@pytest.mark.parametrize("seed", range(3))
async def test_many_writers_and_a_polling_reader(feed: Store, seed: int) -> None:
    """Whatever the writers do before they record, commit or roll back: nothing is missed and nothing is told twice."""
    dice = random.Random(seed)
    plans = [[(f"{writer}.{number}", dice.random(), dice.randint(1, 3)) for number in range(8)] for writer in range(5)]
    written: list[str] = []
    seen: list[Change] = []
    done = anyio.Event()

    async def write(plan: list[tuple[str, float, int]]) -> None:
        for name, chance, number in plan:
            rows_of_it = [change(f"{name}.{row}") for row in range(number)]
            with suppress(StoreUnavailable):
                await record(feed, *rows_of_it, fails=chance > 0.8)
                written.extend(row.title for row in rows_of_it)

    async def poll() -> None:
        cursor = 0
        last = False
        while True:
            found = await read(feed, after=cursor, limit=3) if cursor else await read(feed, limit=3)
            seen.extend(found)
            cursor = found[-1].position if found else cursor
            if last and not found:
                return
            last = done.is_set()

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        async with anyio.create_task_group() as writers:
            for plan in plans:
                writers.start_soon(write, plan)
        done.set()
    assert sorted(row.title for row in seen) == sorted(written)
    assert [row.position for row in seen] == sorted({row.position for row in seen})
    assert [row.at for row in seen] == sorted(row.at for row in seen)


async def test_readers_that_listen_are_woken_by_the_commit(feed: Store) -> None:
    heard = anyio.Event()
    address = feed.url.render_as_string(hide_password=False).replace("+asyncpg", "")
    connection = await asyncpg.connect(address)
    try:
        await connection.add_listener(CHANNEL, lambda *_: heard.set())
        await record(feed, change("A"))
        with anyio.fail_after(10):
            await heard.wait()
    finally:
        await connection.close()
    assert await rows(feed, "SELECT title FROM asset_change") == [("A",)]
