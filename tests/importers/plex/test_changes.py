"""What the Plex importer says of changes: stamps of libraries, and the items that its filters by time list."""

from collections.abc import Mapping
from typing import Any

import pytest

from retrovue.core.answers import ChangesRead, ChangeState, Since
from retrovue.core.model import Collection
from retrovue.core.pages import Page
from retrovue.errors import ChangesUnknown, CollectionGone
from retrovue.importers.base import ListsChanges, ListsItems, TellsState
from retrovue.importers.plex.importer import PlexImporter
from retrovue.simulator import Fault, ListSection, album, artist, faults, movie, track
from tests.support.plex import collection, plex, read_all, series, tv

pytestmark = pytest.mark.anyio

NOW = 2_000_000_000
ALL = "/library/sections/*/all"
FILTERS = {"type=1&updatedAt>>": True, "type=1&addedAt>>": True}


def films(number: int = 5) -> ListSection:
    section = ListSection("1", "Movies", "movie", [movie(index, f"Film {index}") for index in range(1, number + 1)])
    section.clock = lambda: NOW
    return section


async def changes(
    importer: PlexImporter, what: Collection | None = None, filters: Mapping[str, bool] | None = None
) -> tuple[list[Page], ChangesRead]:
    pages = [page async for page in importer.changes(what or collection(), Since(NOW - 300, filters or {}))]
    assert [page.changes is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    proof = pages[-1].changes
    assert proof is not None
    return pages, proof


def titles(pages: list[Page]) -> list[str]:
    return sorted(draft.title for page in pages for draft in page.drafts)


class TestState:
    async def test_all_libraries_in_the_answer_that_proved_the_token(self) -> None:
        section = films()
        section.content_changed_at = 0
        async with plex(section, tv()) as (server, importer):
            server.clock = lambda: 1234.9
            await importer.check_reachable()
            state = await importer.source_state()
            assert [request.path for request in server.requests] == ["/identity", "/library/sections"]
        assert isinstance(importer, TellsState)
        assert state.libraries["1"].stamp == "0"
        assert set(state.libraries) == {"1", "2"}
        assert (state.clock_s, state.version) == (1234, server.library.version)

    async def test_a_server_without_stamps_and_times(self) -> None:
        def without(container: dict[str, Any]) -> dict[str, Any]:
            for entry in container["Directory"]:
                del entry["contentChangedAt"]
            return container

        async with plex(films()) as (server, importer):
            server.clock = None
            server.faults.add(Fault(faults.Action(label="old", alter=without), "/library/sections"))
            state = await importer.source_state()
        assert state.libraries["1"] == ChangeState(refreshing=False, uuid=server.sections[0].uuid)
        assert state.clock_s is None


class TestChanges:
    async def test_edited_and_added_films(self) -> None:
        section = films()
        section.edit(2, title="Edited")
        section.arrive(movie(9, "Added"))
        async with plex(section) as (server, importer):
            pages, proof = await changes(importer)
            asked = server.count(ALL)
            again, _ = await changes(importer, filters=proof.filters)
        assert isinstance(importer, ListsChanges)
        assert titles(pages) == titles(again) == ["Added", "Edited"]
        assert proof == ChangesRead(6, FILTERS)
        assert asked == 5  # the number, and for each filter the wide and the narrow question
        assert server.count(ALL) - asked == 3

    async def test_the_drafts_are_those_of_a_full_reading(self) -> None:
        shows = tv(*series(1000, "Lost"), *series(2000, "Heroes"))
        shows.clock = lambda: NOW
        shows.change(2000, Genre=[{"tag": "Drama"}])
        episode = next(row for row in series(2000, "Heroes") if row["type"] == "episode")
        shows.edit(episode["ratingKey"], title="Edited")
        async with plex(shows) as (_, importer):
            what = collection("2", "show")
            pages, _ = await changes(importer, what)
            every = {draft.source_uri: draft for draft in (await read_all(importer, what)).drafts}
        [draft] = [draft for page in pages for draft in page.drafts]
        assert draft.tags["genre"] == ["Drama"]
        assert draft == every[draft.source_uri]

    async def test_the_episodes_of_a_changed_show(self) -> None:
        shows = tv(*series(1000, "Lost"), *series(2000, "Heroes"))
        shows.clock = lambda: NOW
        shows.edit(2000, Genre=[{"tag": "Drama"}])
        async with plex(shows) as (_, importer):
            pages, proof = await changes(importer, collection("2", "show"))
        drafts = [draft for page in pages for draft in page.drafts]
        assert len(drafts) * 2 == proof.source_total
        assert {draft.show_title for draft in drafts} == {"Heroes"}
        assert {draft.tags["genre"][0] for draft in drafts} == {"Drama"}

    async def test_an_episode_without_its_show(self) -> None:
        shows = tv(*series(1000, "Lost"))
        shows.clock = lambda: NOW
        episode = next(row for row in series(1000, "Lost") if row["type"] == "episode")
        shows.edit(episode["ratingKey"], grandparentRatingKey=None)
        async with plex(shows) as (_, importer):
            pages, _ = await changes(importer, collection("2", "show"))
            every = {draft.source_uri: draft for draft in (await read_all(importer, collection("2", "show"))).drafts}
        [draft] = [draft for page in pages for draft in page.drafts]
        assert draft == every[draft.source_uri]

    async def test_tracks(self) -> None:
        by = album(2, artist(1, "Ada"))
        music = ListSection("3", "Music", "artist", [by, track(3, by, 1, "One"), track(4, by, 2, "Two")])
        music.clock = lambda: NOW
        music.edit(4, title="Three")
        async with plex(music) as (_, importer):
            pages, proof = await changes(importer, collection("3", "artist"))
        assert titles(pages) == ["Three"]
        assert proof.source_total == 2

    async def test_nothing_has_changed(self) -> None:
        async with plex(films()) as (_, importer):
            pages, proof = await changes(importer)
        assert [(page.drafts, page.source_items) for page in pages] == [([], 0)]
        assert proof.source_total == 5

    async def test_a_library_that_is_gone(self) -> None:
        async with plex(films()) as (_, importer):
            with pytest.raises(CollectionGone):
                await changes(importer, collection("7"))


class TestFilters:
    """A filter is used if a narrow and a wide question have had different answers, and never else."""

    @pytest.mark.parametrize("name", ["updatedAt>>", "addedAt>>"])
    async def test_one_that_is_ignored(self, name: str) -> None:
        async with plex(films()) as (server, importer):
            server.library.ignored_filters.add(name)
            with pytest.raises(ChangesUnknown, match="lists all 5 items"):
                await changes(importer)

    @pytest.mark.parametrize("name", ["updatedAt>>", "addedAt>>"])
    async def test_one_that_is_refused_is_not_tried_again(self, name: str) -> None:
        async with plex(films()) as (server, importer):
            server.library.refused_filters.add(name)
            with pytest.raises(ChangesUnknown, match="doesn't accept") as caught:
                await changes(importer)
            assert caught.value.filters[f"type=1&{name}"] is False
            asked = server.request_count
            with pytest.raises(ChangesUnknown):
                await changes(importer, filters=caught.value.filters)
            assert server.request_count == asked

    async def test_one_that_never_lists_anything_is_not_proven(self) -> None:
        section = films()
        for key in range(1, 6):
            section.change(key, updatedAt=None)
        async with plex(section) as (_, importer):
            with pytest.raises(ChangesUnknown, match="isn't proven") as caught:
                await changes(importer)
        assert caught.value.filters == {}

    async def test_one_that_lists_everything_although_it_was_proven(self) -> None:
        async with plex(films()) as (server, importer):
            server.library.ignored_filters.add("updatedAt>>")
            with pytest.raises(ChangesUnknown):
                await changes(importer, filters=FILTERS)

    async def test_episodes_of_other_shows(self) -> None:
        shows = tv(*series(1000, "Lost"), *series(2000, "Heroes"))
        shows.clock = lambda: NOW
        shows.edit(2000, Genre=[{"tag": "Drama"}])
        async with plex(shows) as (server, importer):
            server.library.ignored_filters.add("show.id")
            with pytest.raises(ChangesUnknown, match="of some shows alone"):
                await changes(importer, collection("2", "show"))

    async def test_shows_by_id_that_are_all_shows(self) -> None:
        shows = tv(*series(1000, "Lost"), *series(2000, "Heroes"))
        shows.clock = lambda: NOW
        episode = next(row for row in series(2000, "Heroes") if row["type"] == "episode")
        shows.edit(episode["ratingKey"], title="Edited")
        async with plex(shows) as (server, importer):
            server.library.ignored_filters.add("id")
            pages, _ = await changes(importer, collection("2", "show"))
        assert titles(pages) == ["Edited"]

    async def test_a_listing_that_moves(self) -> None:
        section = films()
        section.edit(2, title="Edited")
        async with plex(section) as (server, importer):
            late = Fault(faults.lie_about_total(1), lambda request: request.query.get("updatedAt>>") == str(NOW - 300))
            server.faults.add(late)
            with pytest.raises(ChangesUnknown, match="The listing of changes"):
                await changes(importer)

    async def test_more_changes_than_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("retrovue.importers.http.changes.MOST_CHANGES", 1)
        section = films()
        section.edit(1, title="One")
        section.edit(2, title="Two")
        async with plex(section) as (_, importer):
            with pytest.raises(ChangesUnknown, match="More than 1 items"):
                await changes(importer)


async def items(importer: PlexImporter, *keys: str, of: Collection | None = None) -> tuple[list[Page], ChangesRead]:
    pages = [page async for page in importer.items(of or collection(), keys)]
    proof = pages[-1].changes
    assert proof is not None
    return pages, proof


class TestItems:
    async def test_films(self) -> None:
        async with plex(films()) as (server, importer):
            pages, proof = await items(importer, "2", "4")
            assert server.count(ALL) == 2
        assert isinstance(importer, ListsItems)
        assert (titles(pages), proof) == (["Film 2", "Film 4"], ChangesRead(5))

    async def test_the_drafts_are_those_of_a_full_reading(self) -> None:
        shows = tv(*series(1000, "Lost"), *series(2000, "Heroes"))
        shows.change(2000, Genre=[{"tag": "Drama"}])
        of = collection("2", "show")
        keys = [row["ratingKey"] for row in series(2000, "Heroes") if row["type"] == "episode"]
        async with plex(shows) as (_, importer):
            every = {draft.source_uri: draft for draft in (await read_all(importer, of)).drafts}
            of_show, _ = await items(importer, "2000", of=of)
            alone, proof = await items(importer, keys[0], of=of)
            both, _ = await items(importer, "2000", keys[0], of=of)
        found = [draft for page in of_show for draft in page.drafts]
        assert len(found) == len(keys) == len(titles(both))
        [one] = [draft for page in alone for draft in page.drafts]
        assert all(every[draft.source_uri] == draft for draft in (*found, one))
        assert one.tags["genre"] == ["Drama"]
        assert proof.source_total == len(every)

    async def test_many_are_asked_for_in_several_requests(self) -> None:
        async with plex(films(250)) as (server, importer):
            pages, _ = await items(importer, *map(str, range(1, 251)))
            assert server.count(ALL) == 4
        assert len(titles(pages)) == 250

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            (["2", "99"], "1 item that was asked for isn't listed"),
            (["98", "99"], "2 items that were asked for aren't listed"),
            (["abc"], "isn't the key of an item"),
            (["2,3"], "isn't the key of an item"),
        ],
    )
    async def test_keys_that_are_not_listed(self, keys: list[str], problem: str) -> None:
        async with plex(films()) as (_, importer):
            with pytest.raises(ChangesUnknown, match=problem):
                await items(importer, *keys)

    async def test_a_filter_that_is_ignored(self) -> None:
        async with plex(films()) as (server, importer):
            server.library.ignored_filters.add("id")
            with pytest.raises(ChangesUnknown, match="by their keys alone"):
                await items(importer, "2")

    async def test_a_season_is_not_an_item(self) -> None:
        shows = tv(*series(2000, "Heroes"))
        season = next(row["ratingKey"] for row in series(2000, "Heroes") if row["type"] == "season")
        async with plex(shows) as (_, importer):
            with pytest.raises(ChangesUnknown, match="isn't listed"):
                await items(importer, season, of=collection("2", "show"))
