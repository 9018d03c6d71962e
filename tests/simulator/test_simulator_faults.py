"""Every scripted fault reaches a real client, at the request that it is meant for and at no other."""

import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from retrovue.simulator import Action, Fault, ListSection, SimulatedPlex, faults, movie

pytestmark = pytest.mark.anyio
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
TOKEN = "canary-7f3a"
LISTING = "/library/sections/1/all"
DATA = Path(__file__).parents[1] / "data" / "plex"


def plex(action: Action | None = None, **aim: Any) -> SimulatedPlex:
    section = ListSection("1", "Movies", "movie", [movie(number, f"Film {number:02}") for number in range(1, 21)])
    server = SimulatedPlex([section], token=TOKEN)
    if action is not None:
        server.faults.add(Fault(action, **({"path": LISTING} | aim)))
    return server


async def page(client: httpx.AsyncClient, start: int = 0, size: int = 5, **more: Any) -> httpx.Response:
    params: dict[str, Any] = {"sort": "id", "X-Plex-Container-Start": start, "X-Plex-Container-Size": size} | more
    return await client.get(LISTING, params=params)


async def rows(client: httpx.AsyncClient, start: int = 0, size: int = 5) -> tuple[dict[str, Any], str]:
    container = (await page(client, start, size)).json()["MediaContainer"]
    return container, " ".join(row["ratingKey"] for row in container.get("Metadata", []))


class TestAim:
    async def test_by_page_and_attempt(self, connect: Connect) -> None:
        server = plex(faults.status(500), page=1, attempt=(1, 3))
        async with connect(server) as client:
            seen = [(await page(client, start)).status_code for start in (0, 5, 5, 5, 5, 10)]
            assert (await page(client, 0, 0)).status_code == 200
        assert seen == [200, 500, 200, 500, 200, 200]
        assert server.faults.injected == 2
        assert server.count(LISTING, status=500) == 2

    async def test_by_number_of_times_type_and_pattern(self, connect: Connect) -> None:
        server = plex(faults.status(502), path="/library/sections/*/all", item_type=1, times=2)
        async with connect(server) as client:
            seen = [(await page(client, at, type=kind)).status_code for at, kind in ((0, 2), (0, 1), (5, 1), (0, 1))]
        assert seen == [200, 502, 502, 200]

    async def test_by_a_test_of_the_request(self, connect: Connect) -> None:
        server = plex(faults.status(503), path=lambda request: request.start == 10)
        async with connect(server) as client:
            assert [(await page(client, at)).status_code for at in (0, 10)] == [200, 503]
            server.faults.clear()
            assert (await page(client, 10)).status_code == 200

    async def test_by_a_share_that_is_always_the_same(self, connect: Connect) -> None:
        server = plex(faults.status(503), path=faults.some(30, seed=4), attempt=1)
        async with connect(server) as client:
            first = [(await page(client, at, 1)).status_code for at in range(20)]
            again = [(await page(client, at, 1)).status_code for at in range(20)]
            server.reset_counters()
            anew = [(await page(client, at, 1)).status_code for at in range(20)]
        assert 0 < first.count(503) < 20
        assert set(again) == {200}
        assert anew == first


class TestStatuses:
    @pytest.mark.parametrize("status", [401, 404, 500, 503])
    async def test_a_status_has_its_recorded_body(self, connect: Connect, status: int) -> None:
        async with connect(plex(faults.status(status))) as client:
            answer = await page(client)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "text/html"
        assert answer.text == (DATA / f"plexinc-openapi__error_{status}.html").read_text()

    async def test_a_rate_limit_says_when_to_come_back(self, connect: Connect) -> None:
        async with connect(plex(faults.rate_limited(7))) as client:
            answer = await page(client)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")

    async def test_maintenance_is_xml(self, connect: Connect) -> None:
        async with connect(plex(faults.maintenance())) as client:
            answer = await page(client)
        assert answer.status_code == 503
        assert answer.text.strip() == (DATA / "issue-evidence__503_maintenance_migrations.xml").read_text().strip()

    async def test_a_redirect_names_its_target(self, connect: Connect) -> None:
        async with connect(plex(faults.redirect("http://127.0.0.2:1/"))) as client:
            answer = await page(client)
        assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.2:1/")


class TestBodies:
    async def test_not_a_plex_server(self, connect: Connect) -> None:
        async with connect(plex(faults.html_page())) as client:
            answer = await page(client)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")

    async def test_no_container(self, connect: Connect) -> None:
        async with connect(plex(faults.no_container())) as client:
            assert (await page(client)).json() == {}

    async def test_wrong_content_type(self, connect: Connect) -> None:
        async with connect(plex(faults.content_type("text/plain"))) as client:
            answer = await page(client)
        assert answer.headers["content-type"] == "text/plain"
        assert answer.json()["MediaContainer"]["size"] == 5

    @pytest.mark.parametrize("action", [faults.invalid_json(), faults.invalid_utf8()])
    async def test_bytes_that_are_no_json(self, connect: Connect, action: Action) -> None:
        async with connect(plex(action)) as client:
            answer = await page(client)
        assert answer.status_code == 200
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(answer.content)

    async def test_any_change(self, connect: Connect) -> None:
        async with connect(plex(faults.transform(lambda body: body.replace(b"Film 01", b"Film \\u0000")))) as client:
            assert (await page(client)).json()["MediaContainer"]["Metadata"][0]["title"] == "Film \0"

    async def test_gzip_bomb(self, connect: Connect) -> None:
        async with connect(plex(faults.gzip_bomb(1 << 22))) as client:
            answer = await page(client)
        assert len(answer.content) == 1 << 22
        assert int(answer.headers["content-length"]) < 1 << 14

    async def test_truncated_gzip(self, connect: Connect) -> None:
        async with connect(plex(faults.truncated_gzip())) as client, client.stream("GET", LISTING) as answer:
            packed = b"".join([block async for block in answer.aiter_raw()])
        unpacker = zlib.decompressobj(31)
        unpacker.decompress(packed)
        assert not unpacker.eof


class TestRows:
    async def test_suddenly_empty(self, connect: Connect) -> None:
        async with connect(plex(faults.empty())) as client:
            container, keys = await rows(client)
        assert (container["size"], container["totalSize"], keys) == (0, 0, "")

    @pytest.mark.parametrize("delta", [7, -7])
    async def test_lying_total(self, connect: Connect, delta: int) -> None:
        async with connect(plex(faults.lie_about_total(delta))) as client:
            answer = await page(client)
        assert answer.json()["MediaContainer"]["totalSize"] == 20 + delta
        assert answer.headers["X-Plex-Container-Total-Size"] == str(20 + delta)

    async def test_duplicate_rows(self, connect: Connect) -> None:
        async with connect(plex(faults.duplicate_rows(2))) as client:
            container, keys = await rows(client)
        assert (container["size"], keys) == (5, "1 2 3 1 2")

    async def test_short_page(self, connect: Connect) -> None:
        async with connect(plex(faults.short_page(2), page=1)) as client:
            container, keys = await rows(client, 5)
            assert (container["size"], container["totalSize"], keys) == (3, 20, "6 7 8")

    async def test_giant_page(self, connect: Connect) -> None:
        async with connect(plex(faults.giant_page(50))) as client:
            container, keys = await rows(client)
        assert container["size"] == len(keys.split()) == 250

    async def test_first_page_for_ever(self, connect: Connect) -> None:
        async with connect(plex(faults.repeat_first_page())) as client:
            for start in (0, 10, 1000):
                container, keys = await rows(client, start)
                assert (container["offset"], container["totalSize"], keys) == (start, 20, "1 2 3 4 5")


class TestConnections:
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    async def test_truncation_that_shows(self, connect: Connect, framing: str) -> None:
        async with connect(plex(faults.truncate(100, framing=framing), attempt=1)) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await page(client)
            assert (await page(client)).status_code == 200

    async def test_truncation_that_does_not_show(self, connect: Connect) -> None:
        async with connect(plex(faults.truncate(100, framing="close"))) as client:
            answer = await page(client)
        assert (answer.status_code, len(answer.content)) == (200, 100)

    @pytest.mark.parametrize("after", [None, 0, 100])
    async def test_reset(self, connect: Connect, after: int | None) -> None:
        server = plex(faults.reset(after), attempt=1)
        async with connect(server) as client:
            with pytest.raises(httpx.ReadError):
                await page(client)
            assert (await page(client)).status_code == 200
        assert server.concurrency == 0

    async def test_disconnect(self, connect: Connect) -> None:
        async with connect(plex(faults.disconnect(), attempt=1)) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await page(client)
            assert (await page(client)).status_code == 200

    async def test_trickle(self, connect: Connect) -> None:
        async with (
            connect(plex(faults.trickle(50, 0.001))) as client,
            client.stream("GET", LISTING, params={"X-Plex-Container-Size": 1}) as answer,
        ):
            blocks = [block async for block in answer.aiter_raw()]
        assert orjson.loads(b"".join(blocks))["MediaContainer"]["size"] == 1

    async def test_delay(self, connect: Connect) -> None:
        async with connect(plex(faults.delay(0.001))) as client:
            assert (await page(client)).status_code == 200

    async def test_hang_until_released(self, connect: Connect) -> None:
        release, answered = anyio.Event(), anyio.Event()
        server = plex(faults.hang(release))

        async def ask(client: httpx.AsyncClient) -> None:
            await page(client)
            answered.set()

        async with connect(server) as client, anyio.create_task_group() as group:
            group.start_soon(ask, client)
            while server.concurrency == 0:
                await anyio.lowlevel.checkpoint()
            # The server is as good as any other for everybody else.
            assert (await client.get("/identity")).status_code == 200
            assert not answered.is_set()
            release.set()
        assert answered.is_set()

    async def test_leaving_cuts_what_hangs(self, connect: Connect) -> None:
        server = plex(faults.hang(anyio.Event()))
        async with connect(server) as client, anyio.create_task_group() as group:
            group.start_soon(page, client)
            while server.concurrency == 0:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert server.concurrency == 0


async def test_faults_meet_xml_clients_as_well(connect: Connect) -> None:
    async with connect(plex(faults.lie_about_total(5)), json=False) as client:
        assert 'totalSize="25"' in (await page(client)).text
