"""Sidecars (NFO files) that change: what came from them is read again by the next sync, and approvals stay."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from retrovue.core.results import Ingested
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.operations.discovery import discover
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.library import execute
from tests.support.syncing import Synced, enable

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parents[1] / "data" / "files"


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two films, of which one has a sidecar, and a show of two seasons; media files are as small as can be."""
    (tmp_path / "disk").mkdir()
    shutil.copytree(CASES / "r_replace" / "Movies", tmp_path / "disk" / "Movies")
    for season in (1, 2):
        directory = tmp_path / "disk" / "TV" / "Fleet" / f"Season {season}"
        directory.mkdir(parents=True)
        (directory / f"Fleet S0{season}E01.mkv").write_bytes(b"x")
    (tmp_path / "disk" / "TV" / "Fleet" / "tvshow.nfo").write_text("<tvshow><studio>First</studio></tvshow>")
    return tmp_path / "disk"


class Disk(Synced):
    """A source of directories, with the enricher ``nfo`` attached to its collections."""

    @classmethod
    async def of(cls, store: Store, root: Path, *, attached: bool = True) -> "Disk":
        source = new_source("filesystem", "Disk", {"path": str(root)}, {})
        async with store.transaction() as session:
            await insert_source(session, source)
        await discover(store, str(source.id))
        disk = cls(store, source, await enable(store, source, root))
        await add_enricher(store, "nfo", "nfo", {})
        for name in ("Movies", "TV") if attached else ():
            await attach_enricher(store, name, "nfo")
        await disk.runs("ingest")
        await disk.approve()
        return disk

    async def enriched(self, **options: Any) -> tuple[int, int, int | None]:
        """Sync; return the numbers of enrichments that succeeded, failed and are owed. Nothing else may happen."""
        summary = await self.runs(**options)
        for outcome in summary.outcomes:
            assert isinstance(outcome, Ingested), outcome
            assert outcome.counts.refreshed == outcome.counts.replaced == 0
        found = [outcome.enriched for outcome in summary.ingested if outcome.enriched is not None]
        owed = [enriched.owed for enriched in found]
        return (
            sum(enriched.succeeded for enriched in found),
            sum(enriched.failed for enriched in found),
            None if None in owed else sum(number or 0 for number in owed),
        )

    async def film(self) -> tuple[Any, ...]:
        """The film that has a sidecar: title, studio, state, and the fields that an enricher gave."""
        [row] = await self.rows(
            "SELECT title, studio, state, ARRAY(SELECT jsonb_object_keys(provenance) ORDER BY 1) FROM asset"
            " WHERE canonical_uri LIKE '%Upgrade%'"
        )
        return row


@pytest.fixture
async def disk(store: Store, root: Path) -> Disk:
    return await Disk.of(store, root)


async def test_an_edited_one_is_read_again_and_the_approval_stays(disk: Disk, root: Path) -> None:
    assert await disk.film() == ("Upgrade", "Second", "ready", ["studio"])
    assert await disk.enriched() == (0, 0, 0)
    sidecar = root / "Movies" / "Upgrade (2001).nfo"
    sidecar.write_text("<movie><title>Better</title><studio>Third</studio><year>2001</year></movie>")
    assert await disk.enriched(dry_run=True) == (0, 0, 1)
    assert await disk.film() == ("Upgrade", "Second", "ready", ["studio"])
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Better", "Third", "ready", ["studio", "title"])
    assert await disk.enriched() == (0, 0, 0)
    # The feed tells what can be seen, once.
    [change] = await disk.feed()
    assert (change.what, change.title) == ("refreshed", "Upgrade")
    assert change.fields == {"title": ["Upgrade", "Better"], "studio": ["Second", "Third"]}


async def test_one_that_is_written_again_as_it_was_changes_nothing_that_can_be_seen(disk: Disk, root: Path) -> None:
    sidecar = root / "Movies" / "Upgrade (2001).nfo"
    text = sidecar.read_text()
    sidecar.unlink()
    sidecar.write_text(text)
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Upgrade", "Second", "ready", ["studio"])
    assert await disk.feed() == []


async def test_one_that_can_not_be_read_changes_nothing_and_is_tried_again(disk: Disk, root: Path) -> None:
    sidecar = root / "Movies" / "Upgrade (2001).nfo"
    sidecar.write_text("<movie><title>Broken</title>")
    for _ in range(2):
        assert await disk.enriched() == (0, 1, 1)
        assert await disk.film() == ("Upgrade", "Second", "ready", ["studio"])
    sidecar.write_text("<movie><title>Whole</title></movie>")
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Whole", None, "ready", ["title"])


async def test_one_that_vanishes_leaves_what_the_source_says(disk: Disk, root: Path) -> None:
    sidecar = root / "Movies" / "Upgrade (2001).nfo"
    sidecar.write_text("<movie><title>Better</title><aired>2001-02-03</aired></movie>")
    assert await disk.enriched() == (1, 0, 0)
    sidecar.unlink()
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Upgrade", None, "ready", [])
    assert (await disk.feed())[-1].fields == {
        "title": ["Better", "Upgrade"], "originally_aired": ["2001-02-03", None],
    }  # fmt: skip


async def test_a_new_one_counts_once_its_directory_holds_one_title(disk: Disk, root: Path) -> None:
    movies = root / "Movies"
    (movies / "Upgrade (2001).nfo").unlink()
    assert await disk.enriched() == (1, 0, 0)
    (movies / "movie.nfo").write_text("<movie><studio>Fourth</studio></movie>")
    assert await disk.enriched() == (0, 0, 0)
    (movies / "Copying (2001).ts").unlink()
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Upgrade", "Fourth", "ready", ["studio"])
    (movies / "Upgrade (2001).nfo").write_text("<movie><studio>Fifth</studio></movie>")
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Upgrade", "Fifth", "ready", ["studio"])


@pytest.mark.parametrize("place", ["Fleet", "Fleet/Season 1"])
async def test_that_of_a_show_is_one_of_all_its_episodes(disk: Disk, root: Path, place: str) -> None:
    (root / "TV" / place / "tvshow.nfo").write_text("<tvshow><studio>Sixth</studio></tvshow>")
    concerned = 2 if place == "Fleet" else 1
    assert await disk.enriched() == (concerned, 0, 0)
    rows = await disk.rows("SELECT studio, state FROM asset WHERE type = 'episode' ORDER BY season_number")
    assert rows == [("Sixth", "ready"), ("Sixth" if concerned == 2 else "First", "ready")]


async def test_an_asset_that_is_not_approved_is_enriching_until_then(disk: Disk, root: Path) -> None:
    await execute(disk.store, "UPDATE asset SET state = 'new', approved_for_broadcast = false")
    sidecar = root / "Movies" / "Upgrade (2001).nfo"
    sidecar.write_text("<movie>")
    assert await disk.enriched() == (0, 1, 1)
    assert (await disk.film())[2] == "enriching"
    sidecar.write_text("<movie><studio>Third</studio></movie>")
    assert await disk.enriched() == (1, 0, 0)
    assert await disk.film() == ("Upgrade", "Third", "new", ["studio"])


async def test_a_retired_one_is_left_alone(disk: Disk, root: Path) -> None:
    await execute(disk.store, "UPDATE asset SET state = 'retired', approved_for_broadcast = false")
    (root / "Movies" / "Upgrade (2001).nfo").write_text("<movie><studio>Third</studio></movie>")
    assert await disk.enriched() == (0, 0, 0)


async def test_without_a_reader_nothing_is_owed(store: Store, root: Path) -> None:
    disk = await Disk.of(store, root, attached=False)
    (root / "Movies" / "Upgrade (2001).nfo").write_text("<movie><studio>Third</studio></movie>")
    assert await disk.enriched() == (0, 0, 0)
    assert await disk.film() == ("Upgrade", None, "ready", [])
    assert await disk.feed() == []


async def test_a_catalogue_that_knows_none_takes_them_as_they_are(disk: Disk) -> None:
    await execute(disk.store, "UPDATE asset SET sidecar_stamp = NULL, stamp = NULL")
    await execute(disk.store, "DELETE FROM known_listing")  # that of an earlier version had other fingerprints
    assert await disk.enriched() == (0, 0, 0)
    assert await disk.rows("SELECT count(*) FROM asset WHERE sidecar_stamp IS NULL") == [(0,)]


async def test_an_ingest_says_that_something_has_changed_and_leaves_it_to_a_sync(disk: Disk, root: Path) -> None:
    (root / "Movies" / "Upgrade (2001).nfo").write_text("<movie><studio>Third</studio></movie>")
    assert (await disk.runs("ingest")).total("changed") == 1
    assert await disk.film() == ("Upgrade", "Second", "ready", ["studio"])
    assert await disk.enriched() == (1, 0, 0)


@pytest.mark.parametrize("edited", [False, True])
async def test_a_title_that_moves_with_its_sidecar(store: Store, root: Path, *, edited: bool) -> None:
    movies, name = root / "Movies", "Known (2001) {tmdb-9}"
    (movies / f"{name}.mkv").write_bytes(b"x")
    (movies / f"{name}.nfo").write_text("<movie><studio>First</studio></movie>")
    disk = await Disk.of(store, root)
    (movies / name).mkdir()
    for suffix in (".mkv", ".nfo"):
        (movies / f"{name}{suffix}").rename(movies / name / f"{name}{suffix}")
    if edited:
        (movies / name / f"{name}.nfo").write_text("<movie><studio>Another</studio></movie>")
    outcome = (await disk.runs()).ingested[0]
    assert outcome.counts.relinked == 1
    assert outcome.enriched is not None
    assert (outcome.enriched.succeeded, outcome.enriched.owed) == (int(edited), 0)
    rows = await disk.rows("SELECT studio, state FROM asset WHERE title = 'Known'")
    assert rows == [("Another" if edited else "First", "ready")]
