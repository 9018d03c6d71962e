"""A title, a season or an episode, and nothing else, asked of the server."""

from typing import Any

import pytest

from retrovue.core.runs import Scope
from retrovue.errors import RequestError, ScopeNotFound
from retrovue.simulator import Fault, faults
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, audio, item_id, movie, part
from tests.support.jellyfin import a_series, collection, jellyfin, read_all, shows

pytestmark = pytest.mark.anyio

_ASKED = ("parentid", "includeitemtypes", "searchterm", "parentindexnumber")


def asked(server: SimulatedJellyfin) -> list[dict[str, str]]:
    return [
        {name: value for name, value in request.query.items() if name in _ASKED}
        for request in server.requests
        if request.path == "/Items"
    ]


class TestFilms:
    async def test_a_film(self) -> None:
        rows = [movie(1, "Alien", file="/a.mkv"), movie(2, "Aliens"), movie(3, "ALIEN", ProductionYear=2030)]
        library = JellyfinLibrary("Movies", "movies", rows)
        async with jellyfin(library) as (server, importer):
            with pytest.raises(RequestError, match="Several films in 'Movies' are called 'alien'") as caught:
                await read_all(importer, collection(library), Scope("alien"))
            assert caught.value.code == "ambiguous_title"
            assert [one["key"] for one in caught.value.context["candidates"]] == [item_id(1), item_id(3)]
            assert asked(server) == [{"parentid": library.id, "includeitemtypes": "Movie", "searchterm": "alien"}]
            assert (await read_all(importer, collection(library), Scope("Aliens"))).titles == ["Aliens"]
            assert (await read_all(importer, collection(library), Scope("Alien (2030)"))).titles == ["ALIEN"]

    async def test_a_film_in_parts(self) -> None:
        library = JellyfinLibrary("Movies", "movies", [movie(1, "Alien"), movie(2, "Aliens")])
        library.add_parts(1, part(9, movie(1), "/cd2.mkv"))
        library.add_parts(2, part(8, movie(2), "/cd2b.mkv"))
        async with jellyfin(library) as (server, importer):
            result = await read_all(importer, collection(library), Scope("Alien"))
        assert [len(draft.parts) for draft in result.drafts] == [2]
        assert server.count("/Videos/*/AdditionalParts") == 1

    async def test_a_film_that_is_not_there(self) -> None:
        library = JellyfinLibrary("Movies", "movies", [movie(2, "Aliens")])
        async with jellyfin(library) as (_, importer):
            with pytest.raises(ScopeNotFound, match="no title 'Alien' in 'Movies'") as caught:
                await read_all(importer, collection(library), Scope("Alien"))
            assert caught.value.context["missing"] == "title"
            assert "Jellyfin" in (caught.value.hint or "")
            with pytest.raises(ScopeNotFound, match="no seasons"):
                await read_all(importer, collection(library), Scope("Aliens", season=1))

    async def test_tracks_may_share_a_title(self) -> None:
        library = JellyfinLibrary("Music", "music", [audio(1, "Intro"), audio(2, "Intro", Album="Other")])
        async with jellyfin(library) as (_, importer):
            result = await read_all(importer, collection(library, "artist"), Scope("intro"))
        assert result.titles == ["Intro", "Intro"]


class TestSeries:
    async def test_a_series_a_season_an_episode(self) -> None:
        library = shows(*a_series(1000, "Lost", Genres=["Drama"]), *a_series(2000, "Lost in Space"))
        what = collection(library, "show")
        async with jellyfin(library) as (server, importer):
            whole = await read_all(importer, what, Scope("lost"))
            assert whole.source_items == 6
            assert {draft.show_title for draft in whole.drafts} == {"Lost"}
            assert whole.drafts[0].tags == {"genre": ["Drama"]}
            server.reset_counters()
            second = await read_all(importer, what, Scope("Lost", season=2))
            assert {draft.season_number for draft in second.drafts} == {2}
            of_season = {"parentid": item_id(1000), "includeitemtypes": "Episode", "parentindexnumber": "2"}
            assert asked(server) == [
                {"parentid": library.id, "includeitemtypes": "Series", "searchterm": "Lost"},
                of_season,
            ]
            server.reset_counters()
            one = await read_all(importer, what, Scope("Lost", season=2, episode=3))
            assert [(draft.season_number, draft.episode_number) for draft in one.drafts] == [(2, 3)]
            assert one.source_items == 1
            assert asked(server)[1] == of_season

    async def test_an_episode_within_a_range(self) -> None:
        library = shows(*a_series(1000, "Lost"))
        library.change(1102, IndexNumberEnd=5)
        async with jellyfin(library) as (_, importer):
            result = await read_all(importer, collection(library, "show"), Scope("Lost", 1, 4))
        assert [draft.episode_number for draft in result.drafts] == [2, 3, 4, 5]
        assert result.source_items == 1

    @pytest.mark.parametrize(
        ("scope", "missing", "text"),
        [
            (Scope("Found"), "title", "no title 'Found'"),
            (Scope("Found", 1), "title", "no title 'Found'"),
            (Scope("Lost", 9), "season", "'Lost' has no season 9"),
            (Scope("Lost", 9, 1), "season", "'Lost' has no season 9"),
            (Scope("Lost", 1, 9), "episode", "Season 1 of 'Lost' has no episode 9"),
        ],
    )
    async def test_what_is_missing_is_named(self, scope: Scope, missing: str, text: str) -> None:
        library = shows(*a_series(1000, "Lost"))
        async with jellyfin(library) as (_, importer):
            with pytest.raises(ScopeNotFound, match=text) as caught:
                await read_all(importer, collection(library, "show"), scope)
        assert caught.value.context["missing"] == missing

    async def test_namesakes(self) -> None:
        library = shows(*a_series(1000, "Utopia", ProductionYear=2013), *a_series(2000, "Utopia", ProductionYear=2020))
        async with jellyfin(library) as (_, importer):
            with pytest.raises(RequestError) as caught:
                await read_all(importer, collection(library, "show"), Scope("Utopia"))
            result = await read_all(importer, collection(library, "show"), Scope("utopia (2020)"))
        assert (caught.value.code, "Several shows" in caught.value.message) == ("ambiguous_title", True)
        assert result.source_items == 6

    @pytest.mark.parametrize("typed", ["Utopia (key {})", "{}", "jellyfin://server/items/{}"])
    @pytest.mark.fault(208)
    async def test_what_tells_series_apart_can_be_typed(self, typed: str) -> None:
        library = shows(*a_series(1000, "Utopia"), *a_series(2000, "Utopia", ProviderIds={"Tvdb": "5"}))
        async with jellyfin(library) as (_, importer):
            result = await read_all(importer, collection(library, "show"), Scope(typed.format(item_id(2000))))
            one = await read_all(importer, collection(library, "show"), Scope(f"key {item_id(2102)}"))
        assert {draft.show_key for draft in result.drafts} == {item_id(2000)}
        assert [(draft.season_number, draft.episode_number) for draft in one.drafts] == [(1, 2)]
        assert one.drafts[0].show_provider_ids == {"tvdb": "5"}

    @pytest.mark.parametrize("typed", ["Am\u00e9lie", "Ame\u0301lie"])
    @pytest.mark.fault(213)
    async def test_composed_and_decomposed_letters_are_one(self, typed: str) -> None:
        library = shows(*a_series(1000, "Ame\u0301lie"))
        async with jellyfin(library) as (_, importer):
            assert (await read_all(importer, collection(library, "show"), Scope(typed))).source_items == 6

    @pytest.mark.fault(215)
    async def test_merged_series_are_one(self) -> None:
        """Seasons in two directories: two series, of which the server lists one (PR 17417 of Jellyfin)."""
        first = a_series(1000, "Lost", 1, Genres=["Drama"], ProductionYear=2004)
        library = shows(*first, *a_series(2000, "Lost", 1))
        for number in (2101, 2102, 2103):
            library.change(number, ParentIndexNumber=2)
        library.merge(1000, 2000)
        async with jellyfin(library) as (_, importer):
            whole = await read_all(importer, collection(library, "show"))
            scoped = await read_all(importer, collection(library, "show"), Scope("Lost"))
            season = await read_all(importer, collection(library, "show"), Scope("Lost", 2))
        for drafts in (whole.drafts, scoped.drafts):
            assert {(draft.show_key, draft.show_year) for draft in drafts} == {(item_id(1000), 2004)}
            assert {draft.season_number for draft in drafts} == {1, 2}
            assert all(draft.tags == {"genre": ["Drama"]} for draft in drafts)
        assert season.source_items == 3

    async def test_a_series_that_is_gone_gives_nobody_elses_episodes(self) -> None:
        library = shows(*a_series(1000, "Lost"), *a_series(2000, "Dark"))
        async with jellyfin(library) as (server, importer):
            # Its parent gone, the server lists what all libraries hold.
            def astray(request: Any) -> Any:
                request.params = [(name, "0" * 32 if name == "parentid" else value) for name, value in request.params]
                return request

            server.faults.add(Fault(faults.Action(label="astray", ask=astray), path="/Items", kinds="Episode"))
            result = await read_all(importer, collection(library, "show"), Scope("Lost"))
        assert {draft.show_title for draft in result.drafts} == {"Lost"}

    async def test_mixed_libraries_have_both(self) -> None:
        library = JellyfinLibrary("All", None, [*a_series(1000, "Lost"), movie(1, "Alien"), movie(2, "Episode 1")])
        what = collection(library, "mixed")
        async with jellyfin(library) as (_, importer):
            assert (await read_all(importer, what, Scope("Lost"))).source_items == 6
            assert (await read_all(importer, what, Scope("Alien"))).titles == ["Alien"]
            assert [draft.type for draft in (await read_all(importer, what, Scope("Episode 1"))).drafts] == ["movie"]
