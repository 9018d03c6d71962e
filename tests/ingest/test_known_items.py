"""Of a page that isn't known as a whole, and after a run that has read a part, only what may differ is compared."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any

import pytest

from retrovue.core.model import Secret
from retrovue.importers.http.lenient import MOST_DROPPED
from retrovue.operations.discovery import discover
from retrovue.simulator import ListSection, SimulatedPlex, episode, season, show
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.library import execute
from tests.support.plex import IMPATIENT
from tests.support.statements import statements
from tests.support.syncing import PAGE, TOKEN, ChangingSource, JellyfinSource, PlexSource, Synced, TreeSource, enable

pytestmark = pytest.mark.anyio

FILMS = 3 * PAGE
SWEEP = {"sweep_every": dt.timedelta()}
_KEY = 48
"""Bytes of a draft's key in a look-up."""


@contextmanager
def looked_up() -> Iterator[list[int]]:
    """Collect the numbers of drafts that are looked up in the catalogue, a page at a time."""
    seen: list[int] = []

    def note(statement: str, parameters: Sequence[Any]) -> None:
        if "item.canonical_hash" in statement and "AS marked" in statement:
            seen.append(next(len(value) for value in parameters if isinstance(value, bytes)) // _KEY)

    with statements(note):
        yield seen


@pytest.fixture(params=[PlexSource, JellyfinSource])
async def films(
    request: pytest.FixtureRequest, shared_store: Store, tmp_path: Path
) -> AsyncIterator[tuple[ChangingSource, Synced]]:
    changing = request.param(tmp_path)
    async with Synced.ingested(shared_store, changing, FILMS) as synced:
        yield changing, synced


async def swept(synced: Synced, **options: Any) -> tuple[int, Any]:
    """Read all; return the number of drafts that were looked up, and the counts."""
    with looked_up() as seen:
        outcome = await synced.sync(**{**SWEEP, **options})
    assert outcome.read == "sweep"
    return sum(seen), outcome.counts


async def test_an_item_that_has_changed_is_looked_up_alone(films: tuple[ChangingSource, Synced]) -> None:
    changing, synced = films
    assert (await swept(synced))[0] == 0
    changing.edit(1)
    drafts, counts = await swept(synced)
    assert (drafts, counts.refreshed) == (PAGE, 1)  # an ingest keeps no items
    changing.edit(2)
    changing.replace(3)
    drafts, counts = await swept(synced, dry_run=True)
    assert (drafts, counts.refreshed, counts.replaced) == (2, 1, 1)
    drafts, counts = await swept(synced)
    assert (drafts, counts.refreshed, counts.replaced, counts.discovered) == (2, 1, 1, FILMS)
    assert (await swept(synced))[0] == 0
    titles = {film.title for film in changing.films().values()}
    assert {title for (title,) in await synced.rows("SELECT title FROM asset")} == titles


async def test_what_was_known_and_says_again_what_it_said_before_is_looked_up(
    films: tuple[ChangingSource, Synced],
) -> None:
    """The fingerprints of what an item said before are gone with what it says now."""
    changing, synced = films
    for title in ("One", "Two", "One", "Two"):
        await edit(changing, 1, title)
        await swept(synced)
        assert await synced.rows("SELECT count(*) FROM asset WHERE title = :title", title=title) == [(1,)]


async def edit(changing: ChangingSource, number: int, title: str) -> None:
    """Give a film a title, and nothing else."""
    if isinstance(changing, PlexSource):
        changing.section.clock = lambda: 1_700_000_000
        changing.section.edit(str((number + 1) * 100), title=title)
    elif isinstance(changing, JellyfinSource):
        changing.library.edit(number + 1, Name=title)


async def test_a_removal_leaves_the_items_behind_it_known(films: tuple[ChangingSource, Synced]) -> None:
    changing, synced = films
    for number in (*range(0, FILMS, PAGE // 2), FILMS - 1):
        changing.edit(number)
    await swept(synced)  # all pages have their items now
    changing.remove(5)
    drafts, counts = await swept(synced)
    assert (drafts, counts.missing, counts.skipped) == (0, 1, FILMS - 1)
    changing.add(FILMS)
    changing.remove(7)
    drafts, counts = await swept(synced)
    assert (drafts, counts.missing, counts.created) == (1, 1, 1)
    assert (await swept(synced))[0] == 0


async def test_pages_that_were_removed_as_a_whole_are_passed(films: tuple[ChangingSource, Synced]) -> None:
    changing, synced = films
    for number in range(FILMS, 9 * PAGE):
        changing.add(number)
    for number in range(0, 9 * PAGE, PAGE // 2):
        changing.edit(number)
    await swept(synced)
    for number in range(2, 6 * PAGE + 2):
        changing.remove(number)
    drafts, counts = await swept(synced)
    assert drafts == 0
    assert counts.skipped == 3 * PAGE


async def test_an_ingest_by_the_items_that_a_sync_has_kept(films: tuple[ChangingSource, Synced]) -> None:
    changing, synced = films
    changing.edit(1)
    await swept(synced)
    changing.edit(1)
    changing.add(FILMS)
    with looked_up() as seen:
        counts = (await synced.ingest()).counts
    assert (counts.changed, counts.created, counts.skipped) == (1, 1, FILMS)
    assert seen[0] == 1


async def test_another_mapping_makes_other_items(films: tuple[ChangingSource, Synced], tmp_path: Path) -> None:
    changing, synced = films
    changing.edit(1)
    await swept(synced)
    await execute(synced.store, f"UPDATE path_mapping SET local_path = '{tmp_path}'")
    outcome = await synced.sync(**SWEEP)
    assert outcome.counts.discovered == FILMS


@pytest.mark.parametrize("films", [PlexSource], indirect=True)
async def test_an_item_that_only_its_whole_row_shows_to_be_unusable_is_rejected_each_time(
    films: tuple[PlexSource, Synced],
) -> None:
    changing, synced = films
    for number in range(0, FILMS, PAGE // 2):
        changing.edit(number)
    await swept(synced)  # all pages have their items now
    changing.section.change("500", Guid=[7] * (MOST_DROPPED + 1))
    for _ in range(3):
        _, counts = await swept(synced)
        assert (counts.rejected, counts.discovered, counts.skipped) == (1, FILMS, FILMS - 1)


@pytest.mark.parametrize("films", [PlexSource], indirect=True)
async def test_a_sync_of_changes_leaves_the_pages_known(films: tuple[PlexSource, Synced]) -> None:
    changing, synced = films
    changing.section.clock = time
    changing.edit(1)
    outcome = await synced.sync()
    assert (outcome.read, outcome.counts.refreshed) == ("changes", 1)
    assert await synced.rows("SELECT count(*) FROM known_exception") == [(1,)]
    drafts, _ = await swept(synced)
    assert drafts == PAGE
    assert await synced.rows("SELECT count(*) FROM known_exception") == [(0,)]
    changing.edit(2)
    await synced.sync()
    drafts, _ = await swept(synced)
    assert drafts == 1
    # It says again what a known page has said: the asset doesn't.
    changing.edit(3)
    before = dict(changing.section.item("400") or {})
    await synced.sync()
    changing.section.edit("400", title="Somebody's")
    await synced.sync()
    changing.section.item("400").update(before)  # type: ignore[union-attr]
    await swept(synced)
    assert await synced.rows("SELECT count(*) FROM asset WHERE title = :title", title=before["title"]) == [(1,)]


@pytest.mark.parametrize("films", [PlexSource], indirect=True)
async def test_too_many_exceptions_forget_all_pages(
    films: tuple[PlexSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrovue.store.known_pages.MOST_EXCEPTIONS", 1)
    changing, synced = films
    changing.section.clock = time
    for number in (1, 2):
        changing.edit(number)
    await synced.sync()
    assert await synced.rows("SELECT count(*) FROM known_page") == [(0,)]
    assert await synced.rows("SELECT count(*) FROM known_exception") == [(0,)]
    assert (await swept(synced))[0] == FILMS


async def test_an_episode_is_another_one_if_its_show_is(shared_store: Store, tmp_path: Path) -> None:
    section = ListSection("2", "TV", "show", locations=["/data/tv"])
    for number in range(1, 4):
        fleet = show(number, f"Fleet {number}", studio="First")
        of = season(10 + number, fleet, 1)
        for row in (fleet, of, *(episode(100 * number + index, of, index) for index in range(1, 6))):
            section.add(row)
    plex = SimulatedPlex([section], token=TOKEN)
    async with plex.serve() as url:
        config = {"base_url": url, "machine_identifier": plex.machine_identifier, "http": IMPATIENT, "page_size": PAGE}
        source = new_source("plex", "Shows", config, {"token": Secret(TOKEN)})
        async with shared_store.transaction() as session:
            await insert_source(session, source)
        await discover(shared_store, str(source.id))
        synced = Synced(shared_store, source, await enable(shared_store, source, tmp_path))
        await synced.ingest()
        for studio, drafts in (("Second", 15), ("Third", 5)):
            section.edit("2", studio=studio)
            found, counts = await swept(synced)
            assert (found, counts.refreshed) == (drafts, 5)
            assert await synced.rows("SELECT count(*) FROM asset WHERE studio = :studio", studio=studio) == [(5,)]


async def test_directories_are_known_title_by_title(shared_store: Store, tmp_path: Path) -> None:
    changing = TreeSource(tmp_path)
    for number in range(FILMS):
        changing.add(number)
    synced = await Synced.make(shared_store, changing)
    await synced.ingest()
    changing.replace(1)
    drafts, counts = await swept(synced)
    assert (drafts, counts.replaced) == (FILMS, 1)
    changing.replace(2)
    changing.remove(3)
    changing.add(FILMS)
    drafts, counts = await swept(synced)
    assert (drafts, counts.replaced, counts.missing, counts.created) == (2, 1, 1, 1)
    assert (await swept(synced))[0] == 0
