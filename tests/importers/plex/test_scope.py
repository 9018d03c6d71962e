"""A title, a season or an episode, and nothing else, asked of the server."""

import pytest

from retrovue.core.model import Scope
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
            result = await read_all(importer, what, Scope("utopia (2020)"))
        assert caught.value.code == "ambiguous_title"
        assert "2013, key 1000" in caught.value.message
        assert caught.value.context["candidates"][1] == {"key": 2000, "title": "Utopia", "year": 2020}
        assert result.source_items == 6
