"""Known pages are recognised by the text of their rows before they are decoded, and only while that is right."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from retrovue.core.model import Secret
from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import Scope
from retrovue.importers.http import decoding
from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.http.decoding import Decoding
from retrovue.ingest.orchestrator import ingest_one
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.operations.discovery import discover
from retrovue.simulator import Fault, ListSection, SimulatedPlex, episode, faults, season, show
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.library import contents, execute
from tests.support.plex import IMPATIENT
from tests.support.statements import statements
from tests.support.syncing import PAGE, TOKEN, ChangingSource, JellyfinSource, PlexSource, Synced, enable

pytestmark = pytest.mark.anyio

PAGES = 10
FILMS = PAGES * (PAGE - 1)
"""Each page but the first one begins with the last film of the page before. The last one isn't full."""
SWEEP = {"sweep_every": dt.timedelta()}


class Seen:
    """What became of the answers of a run."""

    def __init__(self) -> None:
        self.recognised = 0
        self.decoded = 0


@contextmanager
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Count the answers that are recognised, and those that are decoded, as outlines or in full."""
    seen = Seen()
    recognise, outline, decode = PageDecoder.recognise, PageDecoder.decode_outline, PageDecoder.decode

    def count_recognised(self: Any, *args: Any) -> Any:
        found = recognise(self, *args)
        seen.recognised += found is not None
        return found

    def count_outlines(self: Any, *args: Any) -> Any:
        seen.decoded += 1
        return outline(self, *args)

    def count_pages(self: Any, *args: Any) -> Any:
        seen.decoded += 1
        return decode(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(PageDecoder, "recognise", count_recognised)
        patched.setattr(PageDecoder, "decode_outline", count_outlines)
        patched.setattr(PageDecoder, "decode", count_pages)
        yield seen


@pytest.fixture(params=[PlexSource, JellyfinSource])
async def films(
    request: pytest.FixtureRequest, shared_store: Store, tmp_path: Path
) -> AsyncIterator[tuple[ChangingSource, Synced]]:
    changing = request.param(tmp_path)
    async with Synced.ingested(shared_store, changing, FILMS) as synced:
        yield changing, synced


only_plex = pytest.mark.parametrize("films", [PlexSource], indirect=True)


async def test_of_an_unchanged_library_no_row_is_decoded(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, synced = films
    before = await contents(synced.store, "asset", "known_page", "known_listing")
    for mode, options in (("ingest", {}), ("ingest", {"dry_run": True}), ("sync", SWEEP), ("ingest", {"atomic": True})):
        with answers(monkeypatch) as seen:
            outcome = await synced.run(mode, **options)
        assert isinstance(outcome, Ingested)
        counts = outcome.counts
        assert (seen.recognised, seen.decoded) == (PAGES, 0)
        assert (counts.skipped, counts.created, counts.missing, counts.absent) == (FILMS, 0, 0, 0)
        assert (counts.source_items, counts.discovered) == (FILMS, FILMS)
    assert await contents(synced.store, "asset", "known_page", "known_listing") == before


async def test_a_changed_item_has_its_page_decoded_alone_and_all_are_recognised_afterwards(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, synced = films
    for number in (4 * PAGE, 1, FILMS - 1):
        changing.edit(number)
        with answers(monkeypatch) as seen:
            outcome = await synced.sync(**SWEEP)
        assert outcome.counts.refreshed == 1
        assert seen.recognised == PAGES - 1
        with answers(monkeypatch) as seen:
            await synced.ingest()
        assert (seen.recognised, seen.decoded) == (PAGES, 0)


async def test_items_that_are_known_one_by_one_make_a_page_that_is_recognised(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, synced = films
    for _ in range(2):  # the first sync keeps the items of a page, by which the second one knows them
        for number in range(0, FILMS, PAGE // 2):
            changing.edit(number)
        await synced.sync(**SWEEP)
    changing.remove(FILMS // 2)
    for options in (SWEEP, {}, SWEEP):
        with answers(monkeypatch) as seen:
            outcome = await (synced.sync(**options) if options else synced.ingest())
        assert outcome.counts.skipped == FILMS - 1
    assert (seen.recognised, seen.decoded) == (PAGES, 0)
    assert await synced.rows("SELECT count(*) FROM asset WHERE availability = 'missing'") == [(1,)]


async def test_unlisted_items_are_missing_although_all_other_pages_are_recognised(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, synced = films
    changing.remove(FILMS - 1)
    with answers(monkeypatch) as seen:
        counts = (await synced.sync(**SWEEP)).counts
    assert (counts.missing, counts.skipped) == (1, FILMS - 1)
    assert seen.recognised >= PAGES - 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM asset WHERE title = 'Film 3'",
        "UPDATE asset SET deleted_at = now() WHERE title = 'Film 3'",
        "DELETE FROM known_listing",
        "UPDATE known_page SET digest = NULL, content = NULL",
        "UPDATE known_page SET content = 'x'",
        "UPDATE known_page SET content = ''",
        "UPDATE known_page SET content = substring(content FROM 1 FOR length(content) - 16)",
        "UPDATE known_page SET content = substring(content FROM 1 FOR 8)",
        "UPDATE known_page SET digest = decode('00', 'hex')",
        "UPDATE known_page SET digest = convert_to(lpad(position::text, 16), 'UTF8')",
    ],
)
async def test_what_changes_in_the_catalogue_has_each_page_decoded(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    _, synced = films
    await execute(synced.store, statement)
    with answers(monkeypatch) as seen:
        outcome = await synced.ingest()
    assert (seen.recognised, outcome.counts.discovered) == (0, FILMS)


async def test_what_is_kept_of_another_page_is_no_proof(films: tuple[ChangingSource, Synced]) -> None:
    _, synced = films
    await execute(
        synced.store,
        "UPDATE known_page SET content = (SELECT content FROM known_page WHERE position = 7) WHERE position = 5",
    )
    assert (await synced.sync(**SWEEP)).counts.missing == 0


async def test_another_mapping_has_each_page_decoded(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, synced = films
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "a disk").touch()
    await execute(synced.store, f"UPDATE path_mapping SET local_path = '{tmp_path / 'else'}'")
    with answers(monkeypatch) as seen:
        outcome = await synced.ingest()
    assert (seen.recognised, outcome.counts.relocated) == (0, FILMS)


@only_plex
async def test_a_page_with_an_asset_that_a_sync_of_changes_has_written_is_decoded(
    films: tuple[PlexSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says again what it has said before, but its asset doesn't."""
    changing, synced = films
    changing.section.clock = time
    before = dict(changing.section.item("400") or {})
    changing.section.edit("400", title="Somebody's")
    assert (await synced.sync()).read == "changes"
    changing.section.item("400").update(before)  # type: ignore[union-attr]
    with answers(monkeypatch) as seen:
        counts = (await synced.sync(**SWEEP)).counts
    assert (seen.recognised, counts.refreshed) == (PAGES - 1, 1)
    assert await synced.rows("SELECT count(*) FROM asset WHERE title = :title", title=before["title"]) == [(1,)]


async def test_a_reading_in_full_recognises_nothing(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, synced = films
    with answers(monkeypatch) as seen:
        outcome = await synced.sync(full_every=dt.timedelta())
    assert (outcome.read, seen.recognised) == ("full", 0)


@pytest.mark.parametrize("locations", [["/data/movies"], ["/data/movies", "/data/movies/empty"]])
async def test_files_of_recognised_pages_are_looked_for(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch, locations: Sequence[str]
) -> None:
    """A page keeps some of its paths; a location of which nothing is listed doesn't have the pages decoded."""
    changing, synced = films
    if isinstance(changing, PlexSource):
        changing.section.locations = [replace(changing.section.locations[0], path=path) for path in locations]
    bind = {"locations": list(locations)}
    await synced.rows("UPDATE collection SET check_files = true, locations = :locations RETURNING id", **bind)
    (changing.local / "empty").mkdir()
    (changing.local / "empty" / "a file").touch()
    for film in changing.films().values():
        await anyio.Path(film.path).touch()
    await synced.ingest()
    with answers(monkeypatch) as seen:
        await synced.ingest()
    assert (seen.recognised, seen.decoded) == (PAGES, 0)
    for film in changing.films().values():
        await anyio.Path(film.path).unlink()
    outcome = await synced.run("ingest")
    assert isinstance(outcome, Failed)
    assert outcome.code == "files_not_found"


@pytest.mark.parametrize(
    "action",
    [faults.lie_about_total(1), faults.lie_about_total(-1), faults.repeat_first_page(), faults.short_page(PAGE - 1)],
    ids=lambda action: action.label,
)
async def test_known_pages_prove_nothing_about_the_listing(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch, action: faults.Action
) -> None:
    """A listing of pages that are all known, but aren't the whole library, is refused."""
    changing, synced = films
    server = changing.plex if isinstance(changing, PlexSource) else changing.jellyfin  # type: ignore[attr-defined]
    before = await contents(synced.store, "asset")
    server.faults.add(Fault(action, path=lambda request: request.page is not None and request.page > 2))
    with answers(monkeypatch) as seen:
        outcome = await synced.run("sync", **SWEEP)
    assert isinstance(outcome, Failed), outcome
    assert outcome.code == "incomplete_enumeration"
    assert seen.recognised > 0
    assert await contents(synced.store, "asset") == before


async def test_rejections_are_those_of_the_page(shared_store: Store, tmp_path: Path) -> None:
    changing = PlexSource(tmp_path)
    for number in range(FILMS):
        changing.add(number)
    changing.section.change("300", Media=[])
    async with changing.serve():
        synced = await Synced.make(shared_store, changing)
        first = await synced.ingest()
        with pytest.MonkeyPatch.context() as monkeypatch, answers(monkeypatch) as seen:
            again = await synced.ingest()
    assert (seen.recognised, seen.decoded) == (PAGES, 0)
    assert first.counts.rejected == again.counts.rejected == 1
    assert first.listed.rejected == again.listed.rejected
    assert first.counts.discovered == again.counts.discovered == FILMS


async def test_episodes_of_a_changed_show_are_decoded(
    shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = ListSection("2", "TV", "show", locations=["/data/tv"])
    for number in (1, 2):
        fleet = show(number, f"Fleet {number}", studio="First")
        of = season(10 + number, fleet, 1)
        rows = (episode(1000 * number + index, of, index) for index in range(1, 4 * PAGE))
        for row in (fleet, of, *rows):
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
        with answers(monkeypatch) as seen:
            await synced.ingest()
        pages, decoded = seen.recognised, seen.decoded
        assert decoded == 0
        section.edit("2", studio="Second")
        with answers(monkeypatch) as seen:
            outcome = await synced.sync(**SWEEP)
    assert 0 < seen.recognised < pages
    assert outcome.counts.refreshed == 4 * PAGE - 1
    assert await synced.rows("SELECT DISTINCT studio FROM asset ORDER BY 1") == [("First",), ("Second",)]


async def test_the_only_page_of_a_collection_is_kept_without_its_rows(
    shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = PlexSource(tmp_path)
    for number in range(PAGE - 1):
        changing.add(number)
    async with changing.serve():
        synced = await Synced.make(shared_store, changing)
        await synced.ingest()
        assert await synced.rows("SELECT count(*), count(digest) FROM known_page") == [(1, 0)]
        with answers(monkeypatch) as seen:
            outcome = await synced.ingest()
    assert (seen.recognised, seen.decoded, outcome.counts.skipped) == (0, 1, PAGE - 1)


async def test_a_page_whose_stamps_are_unknown_is_not_recognised(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingest takes such a page as known, a sync compares its assets."""
    _, synced = films
    await execute(synced.store, "DELETE FROM known_listing")
    await execute(synced.store, "UPDATE asset SET stamp = NULL")
    await execute(synced.store, "UPDATE asset SET title = 'Old' WHERE title = 'Film 3'")
    for _ in range(2):
        await synced.ingest()
    assert await synced.rows("SELECT count(*), count(digest) FROM known_page") == [(PAGES, 0)]
    with answers(monkeypatch) as seen:
        outcome = await synced.sync(**SWEEP)
    assert (seen.recognised, outcome.counts.refreshed) == (0, 1)
    assert await synced.rows("SELECT count(stamp), count(*) FILTER (WHERE title = 'Old') FROM asset") == [(FILMS, 0)]


async def test_pages_are_decoded_where_sidecars_are_read(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, synced = films
    for film in changing.films().values():
        await anyio.Path(film.path).touch()
    await add_enricher(synced.store, "nfo", "nfo", {})
    await attach_enricher(synced.store, str(synced.collection.id), "nfo")
    for _ in range(2):
        with answers(monkeypatch) as seen:
            outcome = await synced.sync(**SWEEP)
        assert (seen.recognised, outcome.counts.skipped) == (0, FILMS)
    assert await synced.rows("SELECT count(digest) FROM known_page") == [(0,)]


async def test_a_page_of_which_too_much_would_be_kept_is_decoded(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, synced = films
    monkeypatch.setattr("retrovue.store.known_texts.MOST_BYTES", 100)
    await execute(synced.store, "DELETE FROM known_listing")
    for _ in range(2):
        await synced.ingest()
    assert await synced.rows("SELECT count(*), count(digest) FROM known_page") == [(PAGES, 0)]


async def test_a_scope_reads_nothing_of_known_pages(
    films: tuple[ChangingSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, synced = films
    fetched: list[str] = []

    def note(statement: str, _values: object) -> None:
        if "content FROM known_page" in statement:
            fetched.append(statement)

    with statements(note):
        await synced.ingest()
        assert len(fetched) == 2  # eight pages, and the rest
        fetched.clear()
        async with ingest_one(synced.store, str(synced.collection.id), Scope("Film 3")) as run:
            pass
    assert not fetched
    assert run.summary.outcomes[0].counts.skipped == 1  # type: ignore[union-attr]


async def test_what_pages_are_recognised_by_does_not_pile_up_in_the_temporary_table(
    shared_store: Store, tmp_path: Path
) -> None:
    """One connection serves many runs of a service. Each of these has other texts for the same drafts."""
    changing = PlexSource(tmp_path)
    for number in range(FILMS):
        changing.add(number)
    size = "coalesce(pg_total_relation_size(to_regclass('pg_temp.staged_page')), 0)"
    seen: list[int] = []
    async with changing.serve():
        synced = await Synced.make(shared_store, changing)
        for number in range(12):
            for film in changing.films().values():
                key = film.uri.rpartition("/")[2].partition("?")[0]
                changing.section.change(key, viewCount=number)
            await synced.ingest()
            async with shared_store.transaction() as session:
                seen.append((await session.execute(text(f"SELECT {size} FROM asset LIMIT 1"))).scalar_one())
    assert min(seen[6:]) <= min(seen[1:6])


@only_plex
async def test_a_second_process_is_started_for_pages_that_have_to_be_decoded_alone(
    films: tuple[PlexSource, Synced], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoding, "rows_worth", 1)
    monkeypatch.setattr(decoding, "cores", lambda: 2)
    started: list[int] = []
    begin = Decoding._start_process

    async def count(self: Decoding) -> None:
        started.append(1)
        await begin(self)

    monkeypatch.setattr(Decoding, "_start_process", count)
    changing, synced = films
    await synced.ingest()
    changing.edit(1)
    await synced.sync(**SWEEP)
    assert not started
    for number in range(FILMS):
        changing.edit(number)
    await synced.sync(**SWEEP)
    assert started
