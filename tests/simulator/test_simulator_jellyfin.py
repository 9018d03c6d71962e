"""The simulated Jellyfin server as any client sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, episode, item_id, movie, part, series
from tests.support.http import NO_TLS

pytestmark = pytest.mark.anyio

TOKEN = "a-token"
SPOKEN = {"Authorization": f'MediaBrowser Client="c", Device="d", DeviceId="i", Version="1", Token="{TOKEN}"'}


@asynccontextmanager
async def served(
    *libraries: JellyfinLibrary, **options: Any
) -> AsyncIterator[tuple[SimulatedJellyfin, httpx.AsyncClient]]:
    server = SimulatedJellyfin(libraries, token=TOKEN, **options)
    async with (
        server.serve() as url,
        httpx.AsyncClient(base_url=url, headers=SPOKEN, trust_env=False, verify=NO_TLS) as client,
    ):
        yield server, client


async def test_who_answers_is_told_to_everybody_and_the_rest_is_not() -> None:
    async with served() as (server, client):
        nobody = {"Authorization": ""}
        public = await client.get("/System/Info/Public", headers=nobody)
        assert public.json()["Id"] == server.server_id
        assert (await client.get("/Items", headers=nobody)).status_code == 401
        assert (await client.get(f"/Items?ApiKey={TOKEN}", headers=nobody)).status_code == 401
        assert (await client.get("/Items")).status_code == 200
        assert (await client.post("/Items")).status_code == 405
    assert all(TOKEN not in repr(request) for request in server.requests)


async def test_windows_orders_and_filters() -> None:
    library = JellyfinLibrary("Movies", "movies", [movie(number) for number in (3, 1, 2)])
    async with served(library) as (_, client):
        query = {"parentId": library.id, "STARTINDEX": "1", "limit": "1", "SortBy": "DateCreated,Nonsense"}
        answer = (await client.get("/Items", params=query)).json()
        assert ([row["Name"] for row in answer["Items"]], answer["TotalRecordCount"]) == (["Movie 2"], 3)
        assert answer["StartIndex"] == 1
        found = (await client.get("/Items", params={"ParentId": library.id, "SearchTerm": "VIE 3"})).json()
        assert [row["Name"] for row in found["Items"]] == ["Movie 3"]
        assert (await client.get("/Items", params={"StartIndex": "x"})).status_code == 400


async def test_fields_come_if_they_are_asked_for() -> None:
    library = JellyfinLibrary("Movies", "movies", [movie(1)])
    async with served(library) as (_, client):
        (bare,) = (await client.get("/Items", params={"ParentId": library.id})).json()["Items"]
        assert not bare.keys() & {"MediaSources", "ProviderIds", "Genres", "Chapters", "Path"}
        query = {"ParentId": library.id, "Fields": "MediaSources,Genres", "EnableUserData": "false"}
        (full,) = (await client.get("/Items", params=query)).json()["Items"]
        assert full.keys() - bare.keys() == {"MediaSources", "Genres"}
        assert bare.keys() - full.keys() == {"UserData"}


async def test_a_parent_that_is_not_there_is_everything() -> None:
    top = series(10, "Lost")
    films, shows = (
        JellyfinLibrary("M", items=[movie(1)]),
        JellyfinLibrary("S", "tvshows", [top, episode(11, top, 1, 1)]),
    )
    async with served(films, shows) as (_, client):
        for parent, count in ((films.id, 1), (shows.id, 2), (top["Id"], 1), ("0" * 32, 3)):
            answer = await client.get("/Items", params={"ParentId": parent, "Recursive": "true"})
            assert answer.json()["TotalRecordCount"] == count


async def test_parts() -> None:
    library = JellyfinLibrary("M", items=[movie(1), movie(2)])
    library.add_parts(1, part(9, movie(1), "/cd2.mkv"))
    async with served(library) as (_, client):
        answer = (await client.get(f"/Videos/{item_id(1)}/AdditionalParts")).json()
        assert [row["MediaSources"][0]["Path"] for row in answer["Items"]] == ["/cd2.mkv"]
        assert (await client.get(f"/Videos/{item_id(2)}/AdditionalParts")).json()["Items"] == []
        assert (await client.get(f"/Videos/{item_id(7)}/AdditionalParts")).status_code == 404


@pytest.mark.parametrize(
    ("standing", "folders", "me"), [("api key", 200, 400), ("administrator", 200, 200), ("user", 403, 200)]
)
async def test_who_may_see_what(standing: Any, folders: int, me: int) -> None:
    async with served(JellyfinLibrary("M"), standing=standing) as (server, client):
        assert (await client.get("/Library/VirtualFolders")).status_code == folders
        assert (await client.get("/Users/Me")).status_code == me
        assert (await client.get("/Items")).status_code == (200 if standing == "api key" else 400)
        assert (await client.get("/Items", params={"userId": server.user_id})).status_code == 200
