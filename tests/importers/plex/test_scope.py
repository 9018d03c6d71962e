"""A title, a season or an episode, and nothing else, asked of the server."""

import pytest

from retrovue.core.runs import Scope
from retrovue.errors import RequestError, ScopeNotFound
from retrovue.simulator import (
    ListSection,
    SimulatedPlex,
    movie,
)
from tests.support.plex import collection, plex, read_all, series, tv

pytestmark = pytest.mark.anyio


class TestScope:
    async def asked(self, server: SimulatedPlex) -> list[dict[str, str]]:
        return [
            {
                key: value
                for key, value in request.params
                if not key.startswith(("X-Plex", "include", "exclude", "sort"))
            }
            for request in server.requests
            if request.path.endswith("/all")
        ]

    async def test_a_movie(self) -> None:
        rows = [movie(1, "Alien", file="/a.mkv"), movie(2, "Aliens"), movie(3, "ALIEN", year=2030, file="/b.mkv")]
        async with plex(ListSection("1", "M", "movie", rows)) as (server, importer):
            with pytest.raises(RequestError, match="Several films in 'Movies' are called 'alien'") as caught:
                await read_all(importer, collection(), Scope("alien"))
            assert [one["key"] for one in caught.value.context["candidates"]] == [1, 3]
            assert await self.asked(server) == [{"type": "1", "title": "alien"}]
            one = await read_all(importer, collection(), Scope("Aliens"))
            assert one.titles == ["Aliens"]
            dated = await read_all(importer, collection(), Scope("Alien (2030)"))
            assert dated.titles == ["ALIEN"]

    async def test_a_movie_that_is_not_there(self) -> None:
        async with plex(ListSection("1", "Films", "movie", [movie(2, "Aliens")])) as (_, importer):
            with pytest.raises(ScopeNotFound, match="no title 'Alien' in 'Movies'") as caught:
                await read_all(importer, collection(), Scope("Alien"))
            assert caught.value.context["missing"] == "title"
            with pytest.raises(ScopeNotFound, match="no seasons"):
                await read_all(importer, collection(), Scope("Aliens", season=1))

    async def test_a_show_a_season_an_episode(self) -> None:
        section = tv(*series(1000, "Lost", Genre=[{"tag": "Drama"}]), *series(2000, "Lost in Space"))
        what = collection("2", "show", "TV")
        async with plex(section) as (server, importer):
            whole = await read_all(importer, what, Scope("lost"))
            assert whole.source_items == 6
            assert {draft.show_title for draft in whole.drafts} == {"Lost"}
            assert whole.drafts[0].tags == {"genre": ["Drama"]}
            server.reset_counters()
            second = await read_all(importer, what, Scope("Lost", season=2))
            assert {draft.season_number for draft in second.drafts} == {2}
            assert await self.asked(server) == [
                {"type": "2", "title": "Lost"},
                {"type": "4", "show.id": "1000", "season.index": "2"},
            ]
            server.reset_counters()
            one = await read_all(importer, what, Scope("Lost", season=2, episode=3))
            assert [(draft.season_number, draft.episode_number) for draft in one.drafts] == [(2, 3)]
            assert (await self.asked(server))[1] == {
                "type": "4",
                "show.id": "1000",
                "season.index": "2",
                "episode.index": "3",
            }

    @pytest.mark.parametrize(
        ("scope", "missing", "text", "hint"),
        [
            (Scope("Found"), "title", "no title 'Found'", "written in full"),
            (Scope("Lost", 9), "season", "'Lost' has no season 9", "which seasons it has"),
            (Scope("Lost", 9, 1), "season", "'Lost' has no season 9", "which seasons it has"),
            (Scope("Lost", 1, 9), "episode", "Season 1 of 'Lost' has no episode 9", "which episodes the season has"),
        ],
    )
    async def test_what_is_missing_is_named(self, scope: Scope, missing: str, text: str, hint: str) -> None:
        async with plex(tv(*series(1000, "Lost"))) as (_, importer):
            with pytest.raises(ScopeNotFound, match=text) as caught:
                await read_all(importer, collection("2", "show", "TV"), scope)
        assert caught.value.context["missing"] == missing
        assert hint in (caught.value.hint or "")

    async def test_films_have_no_seasons(self) -> None:
        async with plex(ListSection("1", "Movies", "movie", [movie(1, "Heat")])) as (_, importer):
            with pytest.raises(ScopeNotFound, match="no seasons") as caught:
                await read_all(importer, collection(), Scope("Heat", season=1))
        assert caught.value.hint == "Ask for the title alone, without a season."

    async def test_namesakes(self) -> None:
        section = tv(*series(1000, "Utopia", year=2013), *series(2000, "Utopia", year=2020))
        what = collection("2", "show", "TV")
        async with plex(section) as (_, importer):
            with pytest.raises(RequestError) as caught:
                await read_all(importer, what, Scope("Utopia"))
        assert caught.value.code == "ambiguous_title"
        assert "Utopia (2013, key 1000); Utopia (2020, key 2000)" in caught.value.message
        assert '--title "Utopia (2013, key 1000)"' in (caught.value.hint or "")
        assert '--title "Utopia (2013)"' in (caught.value.hint or "")
        expected = {"key": 2000, "title": "Utopia", "year": 2020, "edition": None}
        assert caught.value.context["candidates"][1] == expected

    @pytest.mark.parametrize(
        "typed",
        [
            "utopia (2020)",
            "Utopia (2020, key 2000)",
            "Utopia (key 2000)",
            "key 2000",
            "2000",
            "plex://machine/library/metadata/2000",
        ],
    )
    @pytest.mark.fault(208)
    async def test_what_tells_shows_apart_can_be_typed(self, typed: str) -> None:
        section = tv(*series(1000, "Utopia", year=2013), *series(2000, "Utopia", year=2020))
        async with plex(section) as (_, importer):
            result = await read_all(importer, collection("2", "show", "TV"), Scope(typed))
        assert {(draft.show_key, draft.show_year) for draft in result.drafts} == {("2000", 2020)}
        assert result.source_items == 6

    @pytest.mark.fault(208)
    async def test_an_episode_by_its_key(self) -> None:
        section = tv(*series(1000, "Lost", year=2004, Guid=[{"id": "tvdb://73739"}]))
        async with plex(section) as (_, importer):
            result = await read_all(importer, collection("2", "show", "TV"), Scope("key 1202"))
            with pytest.raises(ScopeNotFound):
                await read_all(importer, collection("2", "show", "TV"), Scope("key 5"))
        [draft] = result.drafts
        assert (draft.season_number, draft.episode_number, draft.show_year) == (2, 2, 2004)
        assert (draft.show_provider_ids or {})["tvdb"] == "73739"

    @pytest.mark.parametrize(
        ("typed", "key"),
        [
            ("Alien [Director's Cut]", 3),
            ("Alien {edition-director's cut}", 3),
            ("Alien (1979) [Director's Cut]", 3),
            ("Alien (1979, Director's Cut, key 3)", 3),
            ("Alien (1979, key 1)", 1),
            ("1979", 4),
            ("3", 3),
        ],
    )
    @pytest.mark.fault(208)
    async def test_what_tells_films_apart_can_be_typed(self, typed: str, key: int) -> None:
        cut = {"editionTitle": "Director's Cut", "year": 1979}
        rows = [movie(1, "Alien", year=1979), movie(3, "Alien", **cut), movie(4, "1979"), movie(1979, "Other")]
        async with plex(ListSection("1", "Movies", "movie", rows)) as (_, importer):
            with pytest.raises(RequestError, match="Alien \\(1979, Director's Cut, key 3\\)"):
                await read_all(importer, collection(), Scope("Alien"))
            result = await read_all(importer, collection(), Scope(typed))
        assert [draft.source_uri.rpartition("/")[2].partition("?")[0] for draft in result.drafts] == [str(key)]

    @pytest.mark.parametrize("typed", ["Ocean's 11", "Ocean\u2019s 11"])
    @pytest.mark.parametrize("stored", ["Ocean's 11", "Ocean\u2019s 11", " Ocean's 11 "])
    @pytest.mark.fault(208)
    async def test_blanks_and_apostrophes_make_no_other_title(self, typed: str, stored: str) -> None:
        async with plex(ListSection("1", "Movies", "movie", [movie(1, stored)])) as (_, importer):
            assert (await read_all(importer, collection(), Scope(typed))).titles == [stored]

    @pytest.mark.parametrize("typed", ["Am\u00e9lie", "Ame\u0301lie", "AME\u0301LIE"])
    @pytest.mark.parametrize("stored", ["Am\u00e9lie", "Ame\u0301lie"])
    @pytest.mark.fault(213)
    async def test_composed_and_decomposed_letters_are_one(self, typed: str, stored: str) -> None:
        async with plex(ListSection("1", "Movies", "movie", [movie(1, stored)])) as (_, importer):
            assert (await read_all(importer, collection(), Scope(typed))).titles == [stored]
