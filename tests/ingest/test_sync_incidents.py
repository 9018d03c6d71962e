"""What operators of media servers have lost libraries to, and the ghosts that never left them: each by a real importer.

Every incident is named by where it was reported. A lost mount, an emptied library, a server that lists half, a token
that sees less or another server at the address must remove nothing; what is removed must leave, and what comes back
must be found.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from retrovue.core.errors import NothingEligible
from retrovue.core.model import Collection
from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import MaxRemovals
from retrovue.operations.discovery import discover
from retrovue.simulator import Fault, ListSection, Sort, faults, movie
from retrovue.store.session import Store
from tests.support.library import execute
from tests.support.syncing import JellyfinSource, PlexSource, Synced, TreeSource, enable, set_scanning

pytestmark = pytest.mark.anyio

COUNT = 30
NOTHING = ("created", "refreshed", "replaced", "restored", "relinked", "missing", "gone")


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@asynccontextmanager
async def plex(store: Store, local: Path, films: int = COUNT) -> AsyncIterator[tuple[PlexSource, Synced]]:
    """A Plex library of approved films."""
    source = PlexSource(local)
    for number in range(1, films + 1):
        source.add(number)
    async with source.serve():
        synced = await Synced.make(store, source)
        await synced.ingest()
        await synced.approve()
        yield source, synced


@asynccontextmanager
async def jellyfin(store: Store, local: Path, films: int = COUNT) -> AsyncIterator[tuple[JellyfinSource, Synced]]:
    """A Jellyfin library of approved films."""
    source = JellyfinSource(local)
    for number in range(1, films + 1):
        source.add(number)
    async with source.serve():
        synced = await Synced.make(store, source)
        await synced.ingest()
        await synced.approve()
        yield source, synced


async def tree(store: Store, local: Path, films: int = COUNT) -> tuple[TreeSource, Synced]:
    """A directory of approved films."""
    source = TreeSource(local)
    for number in range(1, films + 1):
        source.add(number)
    synced = await Synced.make(store, source)
    await synced.ingest()
    await synced.approve()
    return source, synced


def guards(outcome: Ingested) -> set[str]:
    """Why the removals were held back."""
    assert outcome.held_back is not None
    assert outcome.counts.missing == outcome.counts.gone == 0
    return {guard.code for guard in outcome.held_back.guards}


async def all_are_there(synced: Synced, count: int = COUNT) -> bool:
    """Whether schedulers see all films, as approved as before."""
    return len(await synced.schedulable()) == count


class TestLostMounts:
    """Jellyfin#13204, #4123, #1714, #3651, #15874; rclone#2278; nzbdav#285; madslundt/cloud-media-scripts#30."""

    async def test_plex_puts_all_into_its_trash(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.section.lose("/data/movies")
            outcome = await synced.sync()
            assert "nothing_listed" in guards(outcome)
            assert (outcome.held_back and outcome.held_back.number) == COUNT
            assert await all_are_there(synced)

    async def test_plex_empties_the_trash_as_well(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.section.lose("/data/movies")
            source.section.empty_trash()
            assert "nothing_listed" in guards(await synced.sync())
            assert await all_are_there(synced)
            # Not even a limit of 100 % lets an empty library remove all.
            assert "nothing_listed" in guards(await synced.sync(max_removals=MaxRemovals(percent=100)))

    async def test_a_mount_below_the_top_takes_a_part_of_the_library(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            for number in range(1, 25):
                source.remove(number)
            source.edit(30)
            source.add(31)
            outcome = await synced.sync()
            assert guards(outcome) == {"too_many"}
            # Only the removals are held back.
            assert (outcome.counts.refreshed, outcome.counts.created) == (1, 1)
            assert await all_are_there(synced)

    async def test_jellyfin_removes_what_is_below_a_directory_that_it_cannot_list(
        self, store: Store, media: Path
    ) -> None:
        async with jellyfin(store, media) as (source, synced):
            lost = source.library.lose("/data/movies")
            assert "nothing_listed" in guards(await synced.sync())
            source.library.add(*lost[:5])
            # They come back piecemeal: ZeroQI/Absolute-Series-Scanner#133.
            assert guards(await synced.sync()) == {"too_many"}
            source.library.add(*lost)
            again = await synced.sync()
            assert not any(getattr(again.counts, name) for name in NOTHING)
            assert await all_are_there(synced)

    async def test_the_disk_is_lost_here_and_not_at_the_server(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            await execute(store, "UPDATE collection SET check_files = true")
            (media / "a disk").unlink()
            source.remove(1)
            with pytest.raises(NothingEligible):
                await synced.runs()
            assert await all_are_there(synced)

    async def test_a_directory_of_films_is_empty(self, store: Store, media: Path) -> None:
        source, synced = await tree(store, media)
        shutil.rmtree(source.top)
        source.top.mkdir()  # the mount point
        assert guards(await synced.sync()) >= {"nothing_listed", "location_unreadable"}
        assert await all_are_there(synced)

    async def test_a_directory_of_films_is_not_there(self, store: Store, media: Path) -> None:
        source, synced = await tree(store, media)
        source.top.rename(media / "elsewhere")
        with pytest.raises(NothingEligible):
            await synced.runs()
        assert await all_are_there(synced)

    async def test_a_disk_below_a_directory_of_films_is_lost(self, store: Store, media: Path) -> None:
        source, synced = await tree(store, media)
        for number in range(1, 25):
            source.remove(number)
        assert guards(await synced.sync()) == {"too_many"}
        assert await all_are_there(synced)


class TestAnswersThatAreNone:
    async def test_one_that_cannot_be_parsed_is_no_empty_list(self, store: Store, media: Path) -> None:
        """A motif release took it for a success and lost items silently (v1.15.34)."""
        async with plex(store, media) as (source, synced):
            source.plex.faults.add(Fault(faults.status(200, b'{"MediaContainer": {"size": 0, "Metadata": [}}')))
            outcome = await synced.run()
            assert not isinstance(outcome, Ingested)
            assert await all_are_there(synced)

    async def test_a_server_lists_half_of_what_it_says(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            for number in range(1, 10):
                source.remove(number)
            source.plex.faults.add(Fault(faults.lie_about_total(9), "/library/sections/1/all"))
            assert isinstance(await synced.run(full=True), Failed)
            assert await all_are_there(synced)

    async def test_a_server_that_fails_half_way(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.plex.faults.add(Fault(faults.status(500), lambda request: bool(request.start)))
            assert isinstance(await synced.run(full=True), Failed)
            assert await all_are_there(synced)

    async def test_a_token_that_sees_less(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            for number in range(8, COUNT + 1):
                source.remove(number)  # what its user may not see isn't listed
            assert guards(await synced.sync()) == {"too_many"}
            assert await all_are_there(synced)

    async def test_another_server_at_the_address(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.plex.machine_identifier = "another"
            source.section.clear()
            outcome = await synced.run()
            assert isinstance(outcome, Failed)
            assert outcome.code == "wrong_identity"
            assert await all_are_there(synced)

    @pytest.mark.parametrize("kind", [plex, jellyfin])
    async def test_a_library_that_is_being_scanned(self, store: Store, media: Path, kind: object) -> None:
        async with (plex if kind is plex else jellyfin)(store, media) as (source, synced):
            source.remove(1)
            source.edit(2)
            set_scanning(source, scanning=True)
            outcome = await synced.sync()
            assert guards(outcome) == {"source_scanning"}
            assert outcome.counts.refreshed == 1
            assert await all_are_there(synced)
            set_scanning(source, scanning=False)
            assert (await synced.sync()).counts.missing == 1

    async def test_a_scan_that_begins_while_the_library_is_read(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.remove(1)

            def begin(request: object) -> None:
                if getattr(request, "path", "") == "/library/sections/1/all":
                    set_scanning(source, scanning=True)

            source.plex.on_request = begin
            assert guards(await synced.sync()) == {"source_scanning"}

    async def test_a_library_that_was_deleted_and_made_again(self, store: Store, media: Path) -> None:
        """Its key is gone: the collection can't be read, which removes nothing."""
        async with plex(store, media) as (source, synced):
            source.plex.sections[:] = [source.section.recreated("7", 70_000)]
            with pytest.raises(NothingEligible):
                await synced.runs()
            assert await all_are_there(synced)


class TestGhosts:
    """The reverse: Jellyfin#13081, #13705, #18122; PlexKodiConnect#1239, #1902, #662; overseerr#377, #1364."""

    async def test_what_was_removed_leaves_the_schedulers_at_once_and_is_gone_in_time(
        self, store: Store, media: Path
    ) -> None:
        async with plex(store, media) as (source, synced):
            for number in (1, 2, 3):  # PlexKodiConnect#662 removed one in each sync
                source.remove(number)
            assert (await synced.sync()).counts.missing == 3
            assert await all_are_there(synced, COUNT - 3)
            assert (await synced.sync()).counts.gone == 0
            await synced.days_pass()
            assert (await synced.sync()).counts.gone == 3
            # State and approval stay.
            assert {approved for _, approved in (await synced.states()).values()} == {True}
            again = await synced.sync()
            assert not any(getattr(again.counts, name) for name in NOTHING)

    async def test_what_is_in_the_trash_has_a_reason(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.trash(1)
            source.remove(2)
            await synced.sync()
            reasons = await synced.rows("SELECT unavailable_reason FROM asset WHERE availability = 'missing'")
            assert sorted(reason for (reason,) in reasons) == ["not_listed", "trashed"]

    async def test_a_library_that_was_emptied_on_purpose(self, store: Store, media: Path) -> None:
        """Jellyfin#13081 never cleans it; FolderSync took its caps away because nothing else helped."""
        async with plex(store, media) as (source, synced):
            source.section.clear()
            held = (await synced.sync()).held_back
            assert held is not None
            assert held.token is not None
            done = await synced.sync(confirm_removals=frozenset({held.token}))
            assert (done.counts.missing, done.held_back) == (COUNT, None)

    async def test_a_token_confirms_what_was_reviewed_and_no_more(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            for number in range(1, 25):
                source.remove(number)
            held = (await synced.sync()).held_back
            assert held is not None
            assert held.token is not None
            source.remove(25)
            again = await synced.sync(confirm_removals=frozenset({held.token}))
            assert "removals_changed" in guards(again)
            assert again.held_back is not None
            assert again.held_back.token not in {None, held.token}
            assert await all_are_there(synced)

    async def test_an_ingest_removes_nothing_and_says_so(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.remove(1)
            source.edit(2)
            outcome = await synced.ingest()
            assert (outcome.counts.absent, outcome.counts.changed, outcome.counts.missing) == (1, 1, 0)
            assert await all_are_there(synced)


class TestWhatComesBack:
    """ErsatzTV#1768, #881: restoring isn't found. Tunarr skips an unchanged item before it sets it available."""

    @pytest.mark.parametrize("kind", [plex, jellyfin])
    async def test_it_is_found_unchanged_with_its_approval(self, store: Store, media: Path, kind: object) -> None:
        async with (plex if kind is plex else jellyfin)(store, media) as (source, synced):
            source.remove(7)
            await synced.sync()
            source.restore(7)
            assert (await synced.sync()).counts.restored == 1
            assert await all_are_there(synced)

    async def test_out_of_the_trash(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.trash(7)
            await synced.sync()
            await synced.days_pass()
            await synced.sync()
            source.restore(7)
            assert (await synced.sync()).counts.restored == 1
            assert await all_are_there(synced)

    async def test_with_another_file_it_has_to_be_approved_anew(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.remove(7)
            await synced.sync()
            source.restore(7)
            source.replace(7)
            assert (await synced.sync()).counts.restored == 1
            assert (await synced.states())["Film 7"] == ("present", False)

    async def test_what_an_operator_deleted_stays_deleted(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            await execute(store, "UPDATE asset SET deleted_at = now() WHERE title = 'Film 7'")
            source.remove(7)
            await synced.sync()
            source.restore(7)
            await synced.sync()
            assert "Film 7" not in await synced.schedulable()


class TestNewIds:
    """Tunarr#464, #1930, #1962; Tautulli#204, #458, #581, #1261; autoscan#84; Radarr#11659; SoulSync 2.7.7."""

    async def test_a_database_that_was_rebuilt(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            before = await synced.rows("SELECT uuid FROM asset ORDER BY uuid")
            source.rebuild()
            outcome = await synced.sync()
            assert (outcome.counts.relinked, outcome.counts.created, outcome.counts.missing) == (COUNT, 0, 0)
            assert await synced.rows("SELECT uuid FROM asset ORDER BY uuid") == before
            # The ids of the files are new as well; the files are the same, and stay approved.
            assert await all_are_there(synced)

    async def test_an_ingest_of_a_rebuilt_database_and_then_a_sync(self, store: Store, media: Path) -> None:
        async with plex(store, media) as (source, synced):
            source.rebuild()
            outcome = await synced.ingest()
            assert (outcome.counts.duplicates, outcome.counts.absent) == (COUNT, COUNT)
            assert (await synced.sync()).counts.relinked == COUNT
            assert await all_are_there(synced)
            assert await synced.rows("SELECT asset_uuid FROM asset_alias") == []

    async def test_a_film_that_is_upgraded(self, store: Store, media: Path) -> None:
        """The old file is removed before the new one is there: for minutes there is no item."""
        async with plex(store, media) as (source, synced):
            source.remove(7)
            assert (await synced.sync()).counts.missing == 1
            source.upgrade(7)
            outcome = await synced.sync()
            assert (outcome.counts.relinked, outcome.counts.created) == (1, 0)
            assert (await synced.states())["Film 7"] == ("present", False)

    async def test_ids_of_the_server_itself_are_no_anchors(self, store: Store, media: Path) -> None:
        """A local:// guid is made anew with the database, and may then be another film's."""
        async with plex(store, media, films=5) as (source, synced):
            source.section.add(movie(901, "Unmatched", guid="local://901", file="/data/movies/unmatched.mkv"))
            await synced.sync()
            source.section.remove(901)
            source.section.add(movie(902, "Another", guid="local://901", file="/data/movies/another.mkv"))
            outcome = await synced.sync()
            assert (outcome.counts.relinked, outcome.counts.created, outcome.counts.missing) == (0, 1, 1)

    async def test_one_film_in_two_libraries(self, store: Store, media: Path) -> None:
        """One guid may be two items: the one that stays says nothing of the one that leaves."""
        async with plex(store, media, films=5) as (source, synced):
            twin = movie(950, "Film 3", guid="plex://movie/000000000000000000000003", file="/data/more/3.mkv")
            source.plex.sections.append(ListSection("2", "More", "movie", [twin], locations=["/data/more"]))
            await discover_again(synced, media)
            source.remove(3)
            summary = await synced.runs()
            counts = {one.collection.name: one.counts for one in summary.outcomes if isinstance(one, Ingested)}
            assert (counts["More"].created, counts["Movies"].missing, counts["More"].relinked) == (1, 1, 0)

    async def test_a_library_of_one_film_twice_is_left_to_a_person(self, store: Store, media: Path) -> None:
        async with plex(store, media, films=5) as (source, synced):
            guid = "plex://movie/00000000000000000000000a"
            source.section.add(*(movie(key, "Twin", guid=guid, file=f"/data/movies/{key}.mkv") for key in (971, 972)))
            await synced.sync()
            source.section.remove(971, 972)
            source.section.add(*(movie(key, "Twin", guid=guid, file=f"/data/movies/{key}.mkv") for key in (981, 982)))
            outcome = await synced.sync()
            assert outcome.counts.relinked == 0
            assert [named.title for named in outcome.listed.ambiguous_relinks] == ["Twin", "Twin"]

    async def test_a_file_that_moved_in_a_jellyfin_library(self, store: Store, media: Path) -> None:
        """Jellyfin#2196: it has no concept of moving, so that the item is another one."""
        async with jellyfin(store, media) as (source, synced):
            source.move(7)
            assert (await synced.sync()).counts.relinked == 1
            assert await all_are_there(synced)


class TestFilesOnDisk:
    async def test_a_file_that_was_still_being_copied(self, store: Store, media: Path) -> None:
        source, synced = await tree(store, media, films=3)
        source.replace(1)
        outcome = await synced.sync()
        assert outcome.counts.replaced == 1
        assert {approved for _, approved in (await synced.states()).values()} == {True, False}

    async def test_a_file_that_is_only_read_stays_approved(self, store: Store, media: Path) -> None:
        source, synced = await tree(store, media, films=3)
        for path in source.top.iterdir():
            path.read_bytes()
        outcome = await synced.sync()
        assert not any(getattr(outcome.counts, name) for name in NOTHING)
        assert await all_are_there(synced, 3)


async def discover_again(synced: Synced, media: Path) -> Collection:
    """Discover and enable what the source has now."""
    await discover(synced.store, str(synced.source.id))
    return await enable(synced.store, synced.source, media)


async def test_another_library_under_the_same_key(store: Store, tmp_path: Path) -> None:
    """A server may give the key of a library that was deleted to the next one that is made."""
    async with plex(store, tmp_path) as (source, synced):
        another = ListSection("1", "Movies", "movie", locations=["/data/movies"], uuid="another")
        for row in source.section.rows(1, 0, COUNT - 2, Sort("id")):
            another.add(row)
        source.plex.sections[0] = another
        [remade] = (await discover(store, str(synced.source.id))).remade
        assert (remade.before.id, remade.external_id) == (synced.collection.id, "1")
        held = await synced.sync()
        assert held.held_back is not None
        assert [guard.code for guard in held.held_back.guards] == ["another_identity"]
        assert (held.counts.missing, held.held_back.number) == (0, 2)
        assert held.held_back.token is not None
        confirmed = await synced.sync(confirm_removals=frozenset({held.held_back.token}))
        assert (confirmed.counts.missing, confirmed.held_back) == (2, None)
        # From now on it is the library of these assets.
        assert (await discover(store, str(synced.source.id))).remade == ()
        assert await synced.rows("SELECT library_uuid FROM collection") == [("another",)]


async def test_a_library_that_was_made_anew_under_its_key_without_a_loss(store: Store, tmp_path: Path) -> None:
    async with plex(store, tmp_path) as (source, synced):
        again = source.section.recreated("1", 50_000_000)
        source.plex.sections[0] = again
        assert len((await discover(store, str(synced.source.id))).remade) == 1
        outcome = await synced.sync()
        assert (outcome.counts.relinked, outcome.held_back) == (COUNT, None)
        assert (await discover(store, str(synced.source.id))).remade == ()
