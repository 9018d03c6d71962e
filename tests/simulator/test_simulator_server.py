"""The simulated server answers as a Plex server does."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from retrovue.simulator import (
    GeneratedSection,
    ListSection,
    Request,
    SimulatedPlex,
    album,
    artist,
    clip,
    episode,
    media,
    movie,
    part,
    season,
    show,
    track,
)

Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
TOKEN = "canary-7f3a"
pytestmark = pytest.mark.anyio
DATA = Path(__file__).parents[1] / "data" / "plex"


def movies(count: int = 25) -> ListSection:
    return ListSection("1", "Movies", "movie", [movie(100 + number, f"Film {number:03}") for number in range(count)])


def series() -> ListSection:
    top = show(500, "Caf\u00e9 Noir")
    first, second = season(501, top, 1), season(502, top, 2)
    rows = [episode(510 + number, first, number) for number in (1, 2, 3)]
    rows += [episode(520, second, 1, "Finale")]
    return ListSection("2", "TV ", "show", [top, first, second, *rows])


def plex(*sections: Any, **options: Any) -> SimulatedPlex:
    return SimulatedPlex(sections or [movies(), series()], token=TOKEN, **options)


def window(start: int, size: int, **more: Any) -> dict[str, Any]:
    return {"X-Plex-Container-Start": start, "X-Plex-Container-Size": size} | more


async def container(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["MediaContainer"]
    children = sum(len(value) for value in found.values() if isinstance(value, list))
    assert path in ("/", "/library") or found["size"] == children
    return found


def titles(found: dict[str, Any]) -> list[str]:
    return [row["title"] for row in found.get("Metadata", [])]


class TestTokens:
    async def test_identity_needs_none(self, connect: Connect) -> None:
        async with connect(plex(machine_identifier="abc"), token="wrong") as client:
            assert (await container(client, "/identity"))["machineIdentifier"] == "abc"

    @pytest.mark.parametrize("path", ["/", "/library/sections", "/library/sections/1/all", "/nowhere"])
    async def test_a_wrong_one_is_refused_in_html(self, connect: Connect, path: str) -> None:
        async with connect(plex(), token="wrong") as client:
            answer = await client.get(path)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-length"] == "91"
        assert answer.text == (DATA / "plexinc-openapi__error_401.html").read_text()

    async def test_it_may_be_an_argument_and_is_never_shown(
        self, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, "httpx")  # the client is the test's own, and says which address it asks
        server = plex()
        async with connect(server, token="wrong") as client:
            del client.headers["X-Plex-Token"]
            assert (await client.get("/library/sections", params={"X-Plex-Token": TOKEN})).status_code == 200
            assert (await client.get("/", headers={"X-Plex-Token": TOKEN})).status_code == 200
        assert [request.token_from for request in server.requests] == ["query", "header"]
        assert TOKEN not in repr(server) + repr(list(server.requests)) + repr(server.sections)


class TestPaging:
    async def test_a_window_carries_its_place_and_the_total(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            answer = await client.get("/library/sections/1/all", params=window(10, 5, sort="id"))
        found = answer.json()["MediaContainer"]
        assert (found["size"], found["offset"], found["totalSize"]) == (5, 10, 25)
        assert answer.headers["X-Plex-Container-Start"] == "10"
        assert answer.headers["X-Plex-Container-Total-Size"] == "25"
        assert answer.headers["X-Plex-Protocol"] == "1.0"
        assert [row["ratingKey"] for row in found["Metadata"]] == ["110", "111", "112", "113", "114"]

    async def test_the_window_may_be_asked_for_by_headers(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            headers = {"X-Plex-Container-Start": "24", "X-Plex-Container-Size": "10"}
            found = (await client.get("/library/sections/1/all", headers=headers)).json()["MediaContainer"]
        assert (found["size"], found["offset"], found["totalSize"]) == (1, 24, 25)

    async def test_without_a_window_there_is_no_total(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            found = await container(client, "/library/sections/1/all")
        assert found["size"] == len(found["Metadata"]) == 25
        assert not {"totalSize", "offset"} & found.keys()

    async def test_size_0_and_a_window_past_the_end_have_no_rows(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            for place in (window(0, 0), window(25, 10), window(1000, 10)):
                found = await container(client, "/library/sections/1/all", **place)
                assert (found["size"], found["totalSize"], "Metadata" in found) == (0, 25, False)

    async def test_the_server_may_send_fewer_rows_than_asked_for(self, connect: Connect) -> None:
        async with connect(plex(max_page_size=4)) as client:
            found = await container(client, "/library/sections/1/all", **window(0, 10))
        assert (found["size"], found["totalSize"]) == (4, 25)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"sort": "nonsense"},
            {"sort": "title:up"},
            {"sort": "id"},
            {"type": "x"},
            {"type": "99"},
            {"X-Plex-Container-Size": "-1"},
            {"X-Plex-Container-Size": "1001"},
            {"nonsense": "1"},
        ],
    )
    async def test_bad_arguments_are_refused(self, connect: Connect, arguments: dict[str, str]) -> None:
        async with connect(plex(refuse_sort_id=True, refuse_page_over=1000)) as client:
            answer = await client.get("/library/sections/1/all", params=arguments)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html")

    async def test_a_head_request_brings_the_total(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            answer = await client.head("/library/sections/1/all", params=window(0, 10))
            again = await client.get("/identity")
        assert (answer.status_code, answer.headers["X-Plex-Container-Total-Size"], answer.content) == (200, "25", b"")
        assert again.status_code == 200

    async def test_the_library_may_change_between_pages(self, connect: Connect) -> None:
        section = movies(10)
        server = plex(section)

        def shrink(request: Request) -> None:
            if request.page == 1:
                section.remove(100)

        server.on_request = shrink
        async with connect(server) as client:
            pages = [await container(client, "/library/sections/1/all", **window(at, 5, sort="id")) for at in (0, 5)]
        assert [page["totalSize"] for page in pages] == [10, 9]
        assert [row["ratingKey"] for row in pages[1]["Metadata"]] == ["106", "107", "108", "109"]


class TestOrdersAndFilters:
    async def test_orders(self, connect: Connect) -> None:
        rows = [movie(1, "b", addedAt=3), movie(2, "The a", titleSort="a", addedAt=3), movie(3, "C", addedAt=1)]
        async with connect(plex(ListSection("1", "M", "movie", rows))) as client:
            for sort, expected in {
                "": "213",
                "titleSort": "213",
                "titleSort:desc": "312",
                "id": "123",
                "id:desc": "321",
                "addedAt": "312",
            }.items():
                found = await container(client, "/library/sections/1/all", sort=sort)
                assert "".join(row["ratingKey"] for row in found["Metadata"]) == expected, sort

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"type": 2}, ["Caf\u00e9 Noir"]),
            ({"type": 3}, ["Season 1", "Season 2"]),
            ({"type": 4}, ["Episode 1", "Episode 2", "Episode 3", "Finale"]),
            (
                {"type": 4, "show.title": "CAF\u00c9 noir", "season.index": 1, "episode.index": "2,3"},
                ["Episode 2", "Episode 3"],
            ),
            ({"type": 4, "title": "final"}, ["Finale"]),
            ({"type": 4, "title=": "final"}, []),
            ({"type": 4, "title=": "finale"}, ["Finale"]),
            ({"type": 4, "id": 511}, ["Episode 1"]),
            ({"type": 4, "id>>": 512, "sort": "id"}, ["Episode 3", "Finale"]),
            ({"type": 4, "addedAt>>": 1_900_000_000}, []),
            ({"type": 4, "limit": 2}, ["Episode 1", "Episode 2"]),
        ],
    )
    async def test_filters(self, connect: Connect, arguments: dict[str, Any], expected: list[str]) -> None:
        async with connect(plex()) as client:
            found = await container(client, "/library/sections/2/all", **window(0, 50, **arguments))
        assert titles(found) == expected
        assert found["totalSize"] == len(expected)

    async def test_generated_sections_know_the_same_filters(self, connect: Connect) -> None:
        section = GeneratedSection("1", "TV", "show", 800)
        async with connect(plex(section)) as client:
            shows = await container(client, "/library/sections/1/all", type=2)
            title, key = shows["Metadata"][3]["title"], shows["Metadata"][3]["ratingKey"]
            arguments = {"type": 4, "show.title": title, "season.index": 1, "episode.index": 2}
            found = await container(client, "/library/sections/1/all", **arguments)
            assert [row["grandparentRatingKey"] for row in found["Metadata"]] == [key]
            own = found["Metadata"][0]["ratingKey"]
            assert titles(await container(client, "/library/sections/1/all", type=4, id=own)) == titles(found)
            walked: list[str] = []
            while page := (
                await container(
                    client, "/library/sections/1/all", **window(0, 300, type=4, sort="id", **{"id>>": walked[-1:] or 0})
                )
            ).get("Metadata"):
                walked += [row["ratingKey"] for row in page]
        assert len(walked) == len(set(walked)) == 800


class TestItems:
    async def test_lists_are_short_and_details_are_not(self, connect: Connect) -> None:
        people = [{"tag": name} for name in "ABCDE"]
        row = movie(1, "One", Role=people, Genre=people, Guid=[{"id": "imdb://tt1"}])
        async with connect(plex(ListSection("1", "M", "movie", [row]))) as client:
            [listed] = (await container(client, "/library/sections/1/all"))["Metadata"]
            [guided] = (await container(client, "/library/sections/1/all", includeGuids=1))["Metadata"]
            [detail] = (await container(client, "/library/metadata/1"))["Metadata"]
        assert (len(listed["Role"]), len(listed["Genre"])) == (3, 2)
        assert "Guid" not in listed
        assert guided["Guid"] == detail["Guid"] == [{"id": "imdb://tt1"}]
        assert len(detail["Role"]) == 5
        assert detail["librarySectionID"] == 1
        assert "librarySectionID" not in listed
        assert "Stream" not in listed["Media"][0]["Part"][0]
        assert {stream["streamType"] for stream in detail["Media"][0]["Part"][0]["Stream"]} == {1, 2}

    async def test_a_batch_leaves_unknown_ids_out(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            found = await container(client, "/library/metadata/100,9999,520")
            assert titles(found) == ["Film 000", "Finale"]
            unknown = await client.get("/library/metadata/9999,9998")
            assert (unknown.status_code, unknown.text) == (404, (DATA / "plexinc-openapi__error_404.html").read_text())
            for path in ("/library/sections/9/all", "/library/sections/9", "/library/metadata/9/children", "/other"):
                assert (await client.get(path)).status_code == 404

    async def test_children_begin_with_an_entry_for_all_episodes(self, connect: Connect) -> None:
        async with connect(plex()) as client:
            found = await container(client, "/library/metadata/500/children")
            assert (found["size"], titles(found)) == (3, ["Season 1", "Season 2"])
            assert found["Directory"][0]["key"] == "/library/metadata/500/allLeaves"
            assert found["Directory"][0]["leafCount"] == 4
            assert "ratingKey" not in found["Directory"][0]
            only = await container(client, "/library/metadata/500/children", excludeAllLeaves=1)
            assert (only["size"], "Directory" in only) == (2, False)
            assert titles(await container(client, "/library/metadata/501/children", **window(1, 1))) == ["Episode 2"]
            assert len((await container(client, "/library/metadata/500/allLeaves"))["Metadata"]) == 4

    async def test_music_and_home_videos(self, connect: Connect) -> None:
        band = artist(1, "Band")
        record = album(2, band)
        songs = ListSection("4", "Music", "artist", [band, record, track(3, record, 1), track(4, record, 2)])
        none = {"agent": "com.plexapp.agents.none", "scanner": "Plex Video Files Scanner", "language": "xn"}
        videos = ListSection("5", "Other Videos", "movie", [clip(9, "Beach")], **none)
        async with connect(plex(songs, videos)) as client:
            for item_type, count in ((8, 1), (9, 1), (10, 2)):
                assert (await container(client, "/library/sections/4/all", type=item_type))["size"] == count
            assert (await container(client, "/library/sections/4/all"))["Metadata"][0]["leafCount"] == 2
            [row] = (await container(client, "/library/sections/5/all"))["Metadata"]
            sections = (await container(client, "/library/sections"))["Directory"]
        assert (row["type"], row["subtype"]) == ("movie", "clip")
        assert (sections[1]["agent"], sections[1]["language"]) == (none["agent"], "xn")

    async def test_explicit_rows_are_what_the_test_says(self, connect: Connect) -> None:
        files = [part(1, "\\\\nas\\films\\x-1.mkv"), part(2, None, size=None)]
        section = ListSection("1", "M", "movie", [movie(7, "X", Media=[media(1, *files)], summary=None)])
        section.change_file(7, "/new.mkv")
        section.change(7, year=None, studio="S")
        async with connect(plex(section)) as client:
            [row] = (await container(client, "/library/sections/1/all"))["Metadata"]
        assert [one.get("file") for one in row["Media"][0]["Part"]] == ["/new.mkv", None]
        assert (row["studio"], "year" in row, "summary" in row) == ("S", False, False)


class TestTraffic:
    async def test_requests_are_recorded_and_counted(self, connect: Connect) -> None:
        server = plex()
        async with connect(server) as client:
            for _ in range(2):
                await client.get("/library/sections/2/all", params=window(0, 2, type=4))
            await client.get("/library/sections/2/all", params=window(2, 2, type=4))
            await client.get("/nowhere")
        assert server.request_count == 4
        assert server.count("/library/sections/*/all", item_type=4) == 3
        assert server.count(status=404) == 1
        assert [request.attempt for request in server.requests] == [1, 2, 1, 1]
        assert [request.page for request in server.requests] == [0, 0, 1, None]
        assert server.bytes_sent > 1000
        server.reset_counters()
        assert (server.request_count, len(server.requests), server.bytes_sent) == (0, 0, 0)

    async def test_concurrency_is_counted(self, connect: Connect) -> None:
        server = plex()
        everybody = anyio.Event()

        async def wait(_: Request) -> None:
            if server.concurrency == 3:
                everybody.set()
            await everybody.wait()

        server.on_request = wait
        async with connect(server) as client, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(client.get, "/identity")
        assert (server.max_concurrency, server.concurrency) == (3, 0)

    async def test_one_connection_serves_many_requests_also_pipelined(self) -> None:
        async with plex().serve() as url:
            host, _, port = url.removeprefix("http://").partition(":")
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(b"GET /identity HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
                received = b""
                while received.count(b"machineIdentifier") < 3:
                    received += await stream.receive()
        assert host == "127.0.0.1"
        assert received.count(b"HTTP/1.1 200 OK") == 3

    async def test_what_is_not_http_is_refused(self) -> None:
        async with plex().serve() as url:
            host, _, port = url.removeprefix("http://").partition(":")
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(b"\x16\x03\x01\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 400 Bad Request")

    async def test_compression_is_for_who_asks(self, connect: Connect) -> None:
        async with connect(plex(gzip_replies=True)) as client:
            packed = await client.get("/library/sections/1/all")
            plain = await client.get("/library/sections/1/all", headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.json() == plain.json()

    async def test_an_error_of_the_test_comes_out_as_it_is(self) -> None:
        with pytest.raises(KeyError):
            async with plex().serve():
                raise KeyError
