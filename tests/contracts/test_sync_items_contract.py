"""Syncs of single items, as events name them: SY-32 and SY-33 of docs/contract/sync.md."""

import itertools
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

from retrovue.core.results import Ingested
from retrovue.errors import RequestError
from retrovue.ingest.extent import MOST_ITEMS
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.simulator.jellyfin import item_id
from retrovue.store.session import Store
from tests.support.library import execute
from tests.support.syncing import JellyfinSource, PlexSource, Synced, TreeSource

pytestmark = pytest.mark.anyio

SEEDS = int(os.environ.get("RETROVUE_HISTORIES", "3"))
"""Histories of named items. More can be asked for."""
ALL = "/library/sections/1/all"
DONE = ("created", "refreshed", "replaced", "restored", "relinked", "relocated", "missing", "gone", "absent", "changed")


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@asynccontextmanager
async def plex(store: Store, local: Path, films: int = 5) -> AsyncIterator[tuple[PlexSource, Synced]]:
    """A Plex library of approved films that was read completely; its times move with its changes from now on."""
    source = PlexSource(local)
    for number in range(1, films + 1):
        source.add(number)
    async with source.serve():
        synced = await Synced.make(store, source)
        await synced.sync()
        await synced.approve()
        source.section.clock = time
        yield source, synced


def key(source: PlexSource, number: int) -> str:
    """The rating key of a film."""
    [uri] = [film.uri for found, film in source.films().items() if found == number]
    return uri.partition("/library/metadata/")[2].partition("?")[0]


def arrive(source: PlexSource, number: int) -> str:
    """Add a film as the server finds it; returns its rating key."""
    source.add(number)
    row = source.section.item(key(source, number))
    assert row is not None
    source.section.arrive(row)
    return key(source, number)


def read(outcome: Ingested) -> tuple[str, str]:
    assert outcome.reading is not None
    return outcome.read, outcome.reading.code


async def nothing_is_left(synced: Synced) -> bool:
    """Whether a sync that compares everything finds nothing to do."""
    outcome = await synced.sync(full=True)
    return outcome.held_back is None and not any(getattr(outcome.counts, name) for name in DONE)


@pytest.mark.rule("SY-32")
class TestSY32:
    """SY-32: named items are read alone if that is proven to be enough; else the sync reads what it would have read."""

    async def test_an_edited_item(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.edit(2)
            source.edit(3)
            source.plex.reset_counters()
            outcome = await synced.sync_items(key(source, 2))
            # The number of all items, and the one.
            assert source.plex.count(ALL) == 2
            assert read(outcome) == ("scoped", "items")
            assert (outcome.counts.discovered, outcome.counts.refreshed) == (1, 1)

    async def test_a_replaced_file_loses_its_approval(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.replace(2)
            assert (await synced.sync_items(key(source, 2))).counts.replaced == 1
            assert (await synced.states())["Film 2"] == ("present", False)

    async def test_what_comes_back_is_restored(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            came = key(source, 2)
            source.remove(2)
            await synced.sync()
            source.restore(2)
            outcome = await synced.sync_items(came)
            assert (read(outcome), outcome.counts.restored) == (("scoped", "items"), 1)
            assert await nothing_is_left(synced)

    async def test_while_the_stamp_is_equal(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            await synced.sync()
            stamp = source.section.content_changed_at
            source.edit(2)
            source.section.content_changed_at = stamp
            outcome = await synced.sync_items(key(source, 2))
            assert (read(outcome), outcome.counts.refreshed) == (("scoped", "items"), 1)

    async def test_a_dry_run_says_the_same_and_writes_nothing(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            came = arrive(source, 9)
            dry = await synced.sync_items(came, dry_run=True)
            real = await synced.sync_items(came)
            assert (read(dry), dry.counts) == (read(real), real.counts)

    async def test_items_of_jellyfin(self, store: Store, tmp_path: Path) -> None:
        source = JellyfinSource(tmp_path)
        for number in range(1, 6):
            source.add(number)
        async with source.serve():
            synced = await Synced.make(store, source)
            await synced.sync()
            source.edit(2)
            source.add(9)
            outcome = await synced.sync_items(item_id(2), source.library.items[-1]["Id"])
            assert (read(outcome), outcome.counts.refreshed, outcome.counts.created) == (("scoped", "items"), 1, 1)
            assert await nothing_is_left(synced)

    async def test_an_item_that_is_gone_is_found_missing_by_a_sweep(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            gone = key(source, 2)
            source.remove(2)
            outcome = await synced.sync_items(gone, key(source, 3))
            assert (read(outcome), outcome.counts.missing) == (("sweep", "count_differs"), 1)

    async def test_an_item_of_elsewhere_costs_a_sync_of_the_changes(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.edit(2)
            outcome = await synced.sync_items("987654")
            assert (read(outcome), outcome.counts.refreshed) == (("changes", "stamp_moved"), 1)
            outcome = await synced.sync_items("987654", "not a key")
            assert read(outcome) == ("changes", "changes_unknown")
            assert await nothing_is_left(synced)

    async def test_a_new_item_hides_no_removal(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.remove(2)
            outcome = await synced.sync_items(arrive(source, 9))
            assert (read(outcome), outcome.counts.missing, outcome.counts.created) == (("sweep", "count_differs"), 1, 1)

    async def test_an_item_under_another_key_keeps_its_asset(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            [(uuid,)] = await synced.rows("SELECT uuid FROM asset WHERE title = 'Film 2'")
            source.upgrade(2)
            outcome = await synced.sync_items(key(source, 2))
            assert (outcome.read, outcome.counts.relinked) == ("sweep", 1)
            assert await synced.rows("SELECT uuid FROM asset WHERE title = 'Film 2'") == [(uuid,)]

    async def test_a_server_that_ignores_keys(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.edit(2)
            source.plex.library.ignored_filters.add("id")
            outcome = await synced.sync_items(key(source, 2))
            assert (read(outcome), outcome.counts.refreshed) == (("changes", "stamp_moved"), 1)

    @pytest.mark.parametrize("why", ["first", "asked", "sweep_due"])
    async def test_a_reading_of_all_that_is_due(self, store: Store, tmp_path: Path, why: str) -> None:
        async with plex(store, tmp_path) as (source, synced):
            if why == "first":
                await execute(store, "DELETE FROM collection_reading")
            elif why == "sweep_due":
                await execute(store, "UPDATE collection_reading SET swept_at = swept_at - interval '2 days'")
            outcome = await synced.sync_items(key(source, 2), full=why == "asked")
            assert read(outcome) == ("sweep" if why == "sweep_due" else "full", why)

    async def test_too_many(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (_, synced):
            outcome = await synced.sync_items(*map(str, range(MOST_ITEMS + 1)))
            assert read(outcome) == ("unchanged", "stamp_equal")

    async def test_an_importer_without_items(self, store: Store, tmp_path: Path) -> None:
        source = TreeSource(tmp_path)
        source.add(1)
        synced = await Synced.make(store, source)
        await synced.sync()
        assert read(await synced.sync_items("file:///anything")) == ("sweep", "no_changes")

    async def test_they_belong_to_a_sync_of_one_collection(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (_, synced):
            options = IngestOptions(mode="sync", items=frozenset({"1"}))
            with pytest.raises(RequestError, match="one collection"):
                async with ingest_source(store, str(synced.source.id), options):
                    pass
            with pytest.raises(RequestError, match="Only a sync"):
                IngestOptions(items=frozenset({"1"}))


@pytest.mark.rule("SY-33")
class TestSY33:
    """SY-33: what was read alone counts in the next proof, and hides nothing from it."""

    async def test_a_new_item_counts(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            outcome = await synced.sync_items(arrive(source, 9))
            assert (read(outcome), outcome.counts.created) == (("scoped", "items"), 1)
            after = await synced.sync()
            assert (read(after), after.counts.created) == (("changes", "stamp_moved"), 0)
            assert read(await synced.sync()) == ("unchanged", "stamp_equal")
            assert await nothing_is_left(synced)

    async def test_what_has_changed_besides_is_found_by_the_next_sync(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.edit(2)
            source.edit(3)
            assert (await synced.sync_items(key(source, 2))).counts.refreshed == 1
            after = await synced.sync()
            assert (read(after), after.counts.refreshed) == (("changes", "stamp_moved"), 1)
            assert await nothing_is_left(synced)

    async def test_an_item_that_explains_the_stamp(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            source.edit(2)
            await synced.sync_items(key(source, 2))
            after = await synced.sync()
            assert (read(after), after.counts.refreshed) == (("changes", "stamp_moved"), 0)
            # From then on it explains nothing any more.
            source.replace(3)
            after = await synced.sync()
            assert (read(after), after.counts.replaced) == (("sweep", "unexplained"), 1)

    async def test_a_removal_after_an_addition(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            assert (await synced.sync_items(arrive(source, 9))).read == "scoped"
            source.remove(2)
            source.edit(3)
            after = await synced.sync()
            assert (read(after), after.counts.missing) == (("sweep", "count_differs"), 1)

    async def test_the_time_of_the_last_sweep_stays(self, store: Store, tmp_path: Path) -> None:
        async with plex(store, tmp_path) as (source, synced):
            asked = "SELECT stamp, clock_s, swept_at, full_at FROM collection_reading"
            before = await synced.rows(asked)
            source.edit(2)
            await synced.sync_items(key(source, 2))
            assert await synced.rows(asked) == before

    @pytest.mark.parametrize("seed", range(3, 3 + SEEDS))
    async def test_whatever_was_named_the_next_sync_finds_all_of_it(
        self, store: Store, tmp_path: Path, seed: int
    ) -> None:
        # Events are lost, name what isn't there, come late and in another order. A few seconds: each step is a run.
        chance = random.Random(seed)
        async with plex(store, tmp_path) as (source, synced):
            named, fresh = list[str](), itertools.count(10)
            for _ in range(8):
                films = sorted(source.films())
                change = chance.choice(("edit", "remove", "arrive", "arrive", "nothing"))
                if change == "arrive":
                    named.append(arrive(source, next(fresh)))
                elif change != "nothing" and len(films) > 2:
                    number = chance.choice(films)
                    named.append(key(source, number))
                    getattr(source, change)(number)
                if chance.random() < 0.3:
                    await synced.sync()
                elif named and chance.random() < 0.8:
                    chance.shuffle(named)
                    some = [named.pop() for _ in range(chance.randint(1, len(named)))]
                    await synced.sync_items(*some, *(["424242"] if chance.random() < 0.1 else []))
            await synced.sync()
            listed = {film.title for film in source.films().values()}
            assert {title for title, (state, _) in (await synced.states()).items() if state == "present"} == listed
            assert await nothing_is_left(synced)
