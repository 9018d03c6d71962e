"""What happens to the libraries of the simulated servers between two runs."""

import httpx
import pytest

from retrovue.simulator import ListSection, Row, SimulatedPlex, clip, media, movie, part
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, item_id
from retrovue.simulator.jellyfin import movie as film
from tests.support.http import NO_TLS
from tests.support.plex import series

pytestmark = pytest.mark.anyio


def section() -> ListSection:
    rows = [movie(1, "Alien"), movie(2, "Brazil", file="/data/movies/b/Brazil.mkv"), clip(3, "Picnic")]
    return ListSection("1", "Movies", "movie", rows, locations=["/data/movies"])


def files(row: Row) -> list[Row]:
    return [file for version in row["Media"] for file in version["Part"]]


class TestPlex:
    async def test_an_edit_moves_the_clock_and_a_file_that_is_replaced_does_not(self) -> None:
        movies = section()
        before = movies.item("1") or {}
        updated, size, key = before["updatedAt"], files(before)[0]["size"], files(before)[0]["key"]
        movies.edit(1, title="Alien (1979)")
        edited = movies.item("1") or {}
        assert (edited["title"], edited["updatedAt"]) == ("Alien (1979)", updated + 1)
        movies.replace_file(1, container="mp4")
        replaced = movies.item("1") or {}
        (file,) = files(replaced)
        assert (file["size"], file["container"], replaced["updatedAt"]) == (size + 1, "mp4", updated + 1)
        assert file["key"] != key
        assert file["key"].split("/")[:4] == key.split("/")[:4]

    async def test_a_lost_directory_goes_to_the_trash_and_comes_back(self) -> None:
        movies = section()
        assert movies.lose("/data/movies/b") == ["2"]
        movies.add(movie(4, file="/data/movies/bee.mkv"))
        assert [bool(row.get("deletedAt")) for row in map(movies.item, "124") if row] == [False, True, False]
        movies.restore(2)
        assert movies.empty_trash() == []
        movies.trash(2)
        assert [row["title"] for row in movies.empty_trash()] == ["Brazil"]
        assert movies.item("2") is None

    async def test_a_rebuilt_database_gives_new_ids_to_the_same_films(self) -> None:
        movies = section()
        alien, picnic = movies.item("1") or {}, movies.item("3") or {}
        renamed = movies.rebuild(900)
        assert set(renamed) == {"1", "2", "3"}
        assert not renamed.keys() & set(renamed.values())
        again, again_picnic = movies.item(renamed["1"]) or {}, movies.item(renamed["3"]) or {}
        assert again["key"] == f"/library/metadata/{renamed['1']}"
        assert again["guid"] == alien["guid"]
        assert again_picnic["guid"] != picnic["guid"]
        assert files(again)[0]["file"] == files(alien)[0]["file"]
        ids = {row["Media"][0][name] for row in (alien, again) for name in ("id",)}
        assert len(ids | {files(row)[0]["id"] for row in (alien, again)}) == 3  # the first film's two are the same

    async def test_what_is_below_a_show_follows_it(self) -> None:
        shows = ListSection("2", "TV", "show", series(100, "Firefly", 1, 2))
        renamed = shows.rebuild(5000)
        assert len(shows.leaves(renamed["100"])) == 2
        (season,) = shows.children(renamed["100"])
        assert season["parentKey"] == f"/library/metadata/{renamed['100']}"

    async def test_a_library_that_is_made_again(self) -> None:
        movies = section()
        again = movies.recreated("7", 700)
        assert (again.key, again.title, again.total(1)) == ("7", "Movies", 3)
        assert again.uuid != movies.uuid
        assert [place.path for place in again.locations] == ["/data/movies"]
        assert movies.item("1") is not None

    async def test_a_scan_and_a_version_in_parts(self) -> None:
        parts = media(5, part(50, "/data/movies/a.mkv"), part(51, "/data/movies/b.mkv"))
        movies = ListSection("1", "Movies", "movie", [movie(1, Media=[parts])])
        movies.replace_file(1, part=1, size=7)
        movies.refreshing = True
        plex = SimulatedPlex([movies], token=None)
        async with plex.serve() as url, httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            answer = await client.get(f"{url}/library/sections", headers={"Accept": "application/json"})
            assert [one["refreshing"] for one in answer.json()["MediaContainer"]["Directory"]] == [True]
        assert [file["size"] for file in files(movies.item("1") or {})] == [1_000_000_050, 7]


class TestJellyfin:
    async def test_an_edit_and_a_file_that_is_replaced_move_the_etag_and_not_the_id(self) -> None:
        library = JellyfinLibrary("Movies", "movies", [film(1, "Alien")])
        (source,) = library.items[0]["MediaSources"]
        etag, size = source["ETag"], source["Size"]
        library.edit(1, Name="Alien (1979)")
        assert source["ETag"] != etag
        assert source["Size"] == size
        library.replace_file(1, RunTimeTicks=36_000_000_000)
        assert (source["Size"], library.items[0]["RunTimeTicks"]) == (size + 1, 36_000_000_000)
        assert (library.items[0]["Id"], library.items[0]["Name"]) == (item_id(1), "Alien (1979)")

    async def test_a_file_that_moves_becomes_another_item(self) -> None:
        library = JellyfinLibrary("Movies", "movies", [film(1, "Alien")])
        library.move(1, 11, "/data/movies/a/Alien.mkv")
        (moved,) = library.items
        assert (moved["Id"], moved["MediaSources"][0]["Id"]) == (item_id(11), item_id(11))
        assert moved["MediaSources"][0]["Path"] == "/data/movies/a/Alien.mkv"

    async def test_a_directory_that_can_not_be_listed_takes_its_items_along(self) -> None:
        library = JellyfinLibrary("Movies", "movies", [film(1), film(2, file="/data/movies/two/x.mkv")])
        lost = library.lose("/data/movies/two")
        assert [item["Name"] for item in library.items] == ["Movie 1"]
        library.add(*lost)
        assert len(library.items) == 2

    async def test_a_library_that_is_made_again_has_the_same_items(self) -> None:
        library = JellyfinLibrary("Movies", "movies", [film(1)])
        again = library.recreated("Films")
        assert (again.id != library.id, again.items) == (True, library.items)
        again.scanning = True
        server = SimulatedJellyfin([again], token=None)
        async with server.serve() as url, httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            (folder,) = (await client.get(f"{url}/Library/VirtualFolders")).json()
            assert folder["RefreshStatus"] == "Active"
