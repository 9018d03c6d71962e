"""Sidecars (NFO files) beside files that a media server lists and this machine sees: as in a source of directories."""

import datetime as dt
import shutil
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from time import time
from typing import Any

import pytest

from retrovue.core.model import Secret
from retrovue.core.results import SIDECARS_UNSEEN
from retrovue.enrichers.sidecar_marks import SidecarMarks
from retrovue.importers.filesystem.sidecars import FileMarks, Marks
from retrovue.ingest.enrichment import enrich_one
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.operations.discovery import discover
from retrovue.simulator import ListSection, SimulatedPlex, episode, season, show
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.library import execute
from tests.support.plex import IMPATIENT
from tests.support.syncing import BEFORE, TOKEN, ChangingSource, JellyfinSource, PlexSource, Synced, enable

pytestmark = pytest.mark.anyio

FILMS = 3


class Served(Synced):
    """A media server's films, which lie in a directory here; the first one has a sidecar."""

    changing: ChangingSource
    first: Path
    """The file of the first film."""

    @classmethod
    async def of(cls, store: Store, changing: ChangingSource, *, seen: bool = True, attached: str = "nfo") -> "Served":
        for number in range(FILMS):
            changing.add(number)
        synced = await cls.make(store, changing)
        assert isinstance(synced, Served)
        synced.changing = changing
        synced.first = Path(changing.films()[0].path)
        if seen:
            synced.appear()
        if attached:
            await synced.attach(attached)
        await synced.runs("ingest")
        await synced.approve()
        return synced

    def appear(self) -> None:
        """Let the files be there, and the sidecar of the first one."""
        for film in self.changing.films().values():
            path = Path(film.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        self.write("First")

    def write(self, studio: str) -> None:
        """Write the sidecar of the first film."""
        self.sidecar.write_text(f"<movie><studio>{studio}</studio></movie>")

    @property
    def sidecar(self) -> Path:
        return self.first.with_suffix(".nfo")

    async def attach(self, kind: str = "nfo") -> None:
        await add_enricher(self.store, kind, kind, {})
        await attach_enricher(self.store, str(self.collection.id), kind)

    async def enrich(self) -> None:
        async with enrich_one(self.store, str(self.collection.id)) as work:
            await work.run()

    async def swept(self, **options: Any) -> tuple[int, int, int | None]:
        """Sync all; return the numbers of enrichments that succeeded, failed and are owed. Nothing else may happen."""
        outcome = await self.sync(**{"sweep_every": dt.timedelta(), **options})
        counts = outcome.counts
        assert (counts.discovered, counts.skipped, counts.refreshed, counts.replaced) == (FILMS, FILMS, 0, 0)
        assert outcome.enriched is not None
        return outcome.enriched.succeeded, outcome.enriched.failed, outcome.enriched.owed

    async def film(self) -> tuple[Any, ...]:
        """The first film: its studio, its state, and the fields that an enricher gave."""
        [row] = await self.rows(
            "SELECT studio, state, ARRAY(SELECT jsonb_object_keys(provenance)) FROM asset WHERE title = 'Film 0'"
        )
        return row


@pytest.fixture(params=[PlexSource, JellyfinSource])
async def changing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChangingSource]:
    source = request.param(tmp_path)
    async with source.serve():
        yield source


@pytest.fixture
async def served(shared_store: Store, changing: ChangingSource) -> Served:
    return await Served.of(shared_store, changing)


async def test_an_edited_one_is_read_again_and_the_approval_stays(served: Served) -> None:
    assert await served.film() == ("First", "ready", ["studio"])
    assert await served.swept() == (0, 0, 0)
    served.write("Second")
    assert (await served.ingest()).counts.changed == 1
    assert await served.swept(dry_run=True) == (0, 0, 1)
    assert await served.film() == ("First", "ready", ["studio"])
    assert await served.swept() == (1, 0, 0)
    assert await served.film() == ("Second", "ready", ["studio"])
    assert await served.swept() == (0, 0, 0)
    [change] = await served.feed()
    assert (change.what, change.fields) == ("refreshed", {"studio": ["First", "Second"]})


async def test_one_that_comes_and_one_that_goes(served: Served) -> None:
    served.sidecar.unlink()
    assert await served.swept() == (1, 0, 0)
    assert await served.film() == (None, "ready", [])
    served.first.with_name("movie.nfo").write_text("<movie><studio>Shared</studio></movie>")
    assert await served.swept() == (0, 0, 0)  # of which film isn't known
    served.write("Third")
    assert await served.swept(full=True) == (1, 0, 0)
    assert await served.film() == ("Third", "ready", ["studio"])


async def test_that_of_the_only_film_of_a_directory_counts(shared_store: Store, changing: ChangingSource) -> None:
    served = await Served.of(shared_store, changing, seen=False)
    film = served.first.with_name("movie.nfo")
    served.first.write_bytes(b"x")
    film.write_text("<movie><studio>Only</studio></movie>")
    assert await served.swept() == (1, 0, 0)
    film.write_text("<movie><studio>Another</studio></movie>")
    assert await served.swept() == (1, 0, 0)
    assert await served.film() == ("Another", "ready", ["studio"])


async def test_a_disk_that_is_lost_makes_nothing_owed_and_takes_nothing(served: Served) -> None:
    away = served.changing.local.with_name("away")
    served.write("Second")
    served.changing.local.rename(away)
    served.changing.local.mkdir()
    (served.changing.local / "a disk").touch()
    outcome = await served.sync(full=True)
    assert outcome.listed.warnings == {SIDECARS_UNSEEN: FILMS}
    assert outcome.enriched is not None
    assert (outcome.enriched.succeeded, outcome.enriched.failed, outcome.enriched.owed) == (0, 0, 0)
    shutil.rmtree(served.changing.local)
    away.rename(served.changing.local)
    # What was noticed before waits for the disk.
    await served.runs(enrich=False, full=True)
    served.changing.local.rename(away)
    await served.enrich()
    assert await served.film() == ("First", "ready", ["studio"])
    assert await served.rows("SELECT code FROM asset_enrichment WHERE again IS NOT NULL") == [("no_file",)]
    away.rename(served.changing.local)
    await served.enrich()
    assert await served.film() == ("Second", "ready", ["studio"])


async def test_files_that_arrive_later_than_their_items(shared_store: Store, changing: ChangingSource) -> None:
    served = await Served.of(shared_store, changing, seen=False)
    assert await served.film() == (None, "ready", [])
    served.appear()
    assert await served.swept() == (1, 0, 0)
    assert await served.film() == ("First", "ready", ["studio"])
    assert await served.swept() == (0, 0, 0)


async def test_an_enricher_that_is_attached_later(shared_store: Store, changing: ChangingSource) -> None:
    served = await Served.of(shared_store, changing, attached="")
    await execute(shared_store, "UPDATE asset SET state = 'new', approved_for_broadcast = false")
    await served.attach()
    await served.enrich()
    assert (await served.film())[0] == "First"
    await served.approve()
    served.write("Second")
    assert await served.swept() == (1, 0, 0)
    assert await served.film() == ("Second", "ready", ["studio"])


async def test_a_catalogue_that_knows_none_takes_them_as_they_are(served: Served) -> None:
    await execute(served.store, "UPDATE asset SET sidecar_stamp = NULL")
    await execute(served.store, "DELETE FROM known_listing")  # an earlier version had other fingerprints
    served.write("Second")
    assert (await served.ingest()).counts.changed == 0
    assert await served.swept() == (0, 0, 0)
    assert await served.feed() == []
    assert await served.rows("SELECT count(*) FROM asset WHERE sidecar_stamp IS NULL") == [(0,)]
    served.write("Third, which is longer")
    assert await served.swept() == (1, 0, 0)


async def test_pages_are_known_by_their_sidecars_as_well(served: Served) -> None:
    await served.swept()
    before = await served.rows("SELECT xmin::text, uuid FROM asset ORDER BY uuid")
    pages = await served.rows("SELECT fingerprint FROM known_page")
    await served.swept()
    served.first.with_name("other.nfo").write_text("<movie/>")
    await served.swept()
    assert await served.rows("SELECT xmin::text, uuid FROM asset ORDER BY uuid") == before
    assert await served.rows("SELECT fingerprint FROM known_page") == pages


@pytest.mark.parametrize("kind", ["", "filename"])
async def test_without_a_reader_nobody_looks(
    shared_store: Store, changing: ChangingSource, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def look(_: object, files: object) -> None:
        raise AssertionError(files)

    monkeypatch.setattr(FileMarks, "of", look)
    served = await Served.of(shared_store, changing, attached=kind)
    served.write("Second")
    assert (await served.sync(full=True)).counts.skipped == FILMS
    assert await served.rows("SELECT DISTINCT sidecar_stamp FROM asset") == [(None,)]


async def test_one_of_an_item_that_the_server_has_saved_is_found_by_changes(
    shared_store: Store, tmp_path: Path
) -> None:
    changing = JellyfinSource(tmp_path)
    now, changing.library.clock = changing.library.clock, lambda: BEFORE
    async with changing.serve():
        served = await Served.of(shared_store, changing)
        await served.swept()
        changing.library.clock = now
        served.write("Second")
        changing.edit(0)
        outcome = await served.sync()
        assert (outcome.read, outcome.counts.refreshed) == ("changes", 1)
        assert outcome.enriched is not None
        assert outcome.enriched.succeeded == 1
        assert await served.rows("SELECT studio FROM asset WHERE studio IS NOT NULL") == [("Second",)]


async def test_one_that_was_edited_explains_no_stamp(shared_store: Store, tmp_path: Path) -> None:
    """A file was replaced, which only the stamp of the library tells, and a sidecar of a listed item was edited."""
    changing = PlexSource(tmp_path)
    async with changing.serve():
        served = await Served.of(shared_store, changing)
        await served.swept()
        changing.section.clock = time
        served.write("Second")
        changing.section.edit("100", summary="An edit of what isn't stored")
        changing.replace(1)
        outcome = await served.sync()
        assert outcome.reading is not None
        assert (outcome.reading.code, outcome.counts.replaced) == ("unexplained", 1)


@pytest.mark.parametrize("place", ["Fleet", "Fleet/Season 1"])
async def test_that_of_a_show_is_one_of_all_its_episodes(shared_store: Store, tmp_path: Path, place: str) -> None:
    fleet = show(1, "Fleet")
    seasons = [season(10 + number, fleet, number) for number in (1, 2)]
    rows = [fleet, *seasons]
    for number, of in enumerate(seasons, start=1):
        file = f"Fleet/Season {number}/S0{number}E01.mkv"
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(b"x")
        rows.append(episode(100 + number, of, 1, file=f"/data/tv/{file}"))
    sidecar = tmp_path / place / "tvshow.nfo"
    sidecar.write_text("<tvshow><studio>First</studio></tvshow>")
    section = ListSection("2", "TV", "show", locations=["/data/tv"])
    for row in rows:
        section.add(row)
    plex = SimulatedPlex([section], token=TOKEN)
    async with plex.serve() as url:
        config = {"base_url": url, "machine_identifier": plex.machine_identifier, "http": IMPATIENT}
        source = new_source("plex", "Shows", config, {"token": Secret(TOKEN)})
        async with shared_store.transaction() as session:
            await insert_source(session, source)
        await discover(shared_store, str(source.id))
        synced = Synced(shared_store, source, await enable(shared_store, source, tmp_path))
        await add_enricher(shared_store, "nfo", "nfo", {})
        await attach_enricher(shared_store, "TV", "nfo")
        await synced.runs("ingest")
        sidecar.write_text("<tvshow><studio>Second</studio></tvshow>")
        await synced.sync(full=True)
    concerned = 2 if place == "Fleet" else 1
    assert await synced.rows("SELECT count(*) FROM asset WHERE studio = 'Second'") == [(concerned,)]


class _DeadMount(FileMarks):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.mounted = threading.Event()
        self.asked = 0

    def of(self, files: Iterable[str]) -> list[Marks | None]:
        self.asked += 1
        self.mounted.wait()
        return super().of(files)


async def test_a_dead_mount_is_not_asked_again_and_nothing_is_known_then() -> None:
    dead = _DeadMount()
    marks = SidecarMarks(dead, deadline_s=0.01)
    try:
        for files in (["/media/a.mkv", "/media/b.mkv"], ["/media/c.mkv"]):
            assert (await marks.of(files)).marks == [None] * len(files)
    finally:
        dead.mounted.set()
    assert dead.asked <= 1  # it may not even have begun


async def test_marks_are_those_of_the_importer_of_directories(tmp_path: Path) -> None:
    """A piece has 250 files; each file has its own marks, in the order of the files."""
    files = [tmp_path / f"{number:03}" / "film.mkv" for number in range(300)]
    for file in files:
        file.parent.mkdir()
        file.touch()
    files[299].with_suffix(".nfo").write_text("x" * 7)
    files[0].with_name("movie.nfo").write_text("x" * 9)
    found = (await SidecarMarks().of([str(file) for file in files])).marks
    sizes = [(mark.own.partition(":")[0], mark.film.partition(":")[0]) for mark in found if mark is not None]
    assert sizes == [("", "9"), *[("", "")] * 298, ("7", "")]
