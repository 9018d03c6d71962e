"""What the network and the server can do to a request, over real HTTP."""

import email.utils
import gzip
import logging
import math
import traceback
import tracemalloc
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from retrovue.core.model import Secret
from retrovue.errors import (
    CollectionGone,
    MalformedAnswer,
    RequestError,
    SourceError,
    SourceRefused,
    SourceUnreachable,
    WrongIdentity,
)
from retrovue.importers.base import IDENTITY_SETTING
from retrovue.importers.http import connections
from retrovue.importers.http.answers import BodyReader, retry_after_seconds
from retrovue.importers.http.pace import Pace
from retrovue.importers.http.paging import WINDOW
from retrovue.importers.http.retries import wait_s
from retrovue.importers.http.settings import HttpPolicy, HttpSettings, read_settings
from retrovue.importers.jellyfin.importer import JellyfinImporter
from retrovue.importers.plex.importer import PLEX, PlexImporter
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from retrovue.simulator.request import Request
from tests.support.plex import IMPATIENT, TOKEN, collection, plex, read_all

pytestmark = pytest.mark.anyio

ALL = "/library/sections/1/all"


def movies(count: int = 45) -> ListSection:
    return ListSection("1", "Movies", "movie", [movie(number + 1) for number in range(count)])


def hold_the_token(error: BaseException, caplog: pytest.LogCaptureFixture) -> bool:
    """Search everything that an operator may come to see."""
    seen = [*traceback.format_exception(error), repr(error), caplog.text]
    links: list[BaseException] = [error]
    for link in links:
        seen.append(repr(vars(link)))
        links += [one for one in (link.__cause__, link.__context__) if one is not None]
        assert len(links) < 50, "the chain of causes has no end"
    return any(TOKEN in text for text in seen)


PASSING = [
    faults.status(500),
    faults.status(502),
    faults.status(503),
    faults.status(504),
    faults.maintenance(),
    faults.rate_limited(0),
    faults.rate_limited("Thu, 01 Jan 1970 00:00:00 GMT"),
    faults.reset(),
    faults.reset(after=2000),
    faults.disconnect(),
    faults.truncate(2000),
    faults.truncate(2000, framing="chunked"),
    faults.truncate(2000, framing="close"),
    faults.truncated_gzip(),
    faults.invalid_json(),
    faults.no_container(),
    faults.transform(lambda _: b""),
]


class TestRetried:
    @pytest.mark.fault(1, 2, 5, 8, 9, 11)
    @pytest.mark.parametrize("page", [0, 2])
    @pytest.mark.parametrize("action", PASSING, ids=lambda action: action.label)
    async def test_what_passes_is_read_over(self, action: faults.Action, page: int) -> None:
        async with plex(movies(), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(action, path=ALL, page=page, times=1))
            result = await read_all(importer, collection())
        assert server.faults.injected == 1
        assert (len(set(result.titles)), result.source_items, result.restarts) == (45, 45, 0)

    @pytest.mark.fault(1, 2, 8, 9, 11)
    @pytest.mark.parametrize(
        ("action", "error"),
        [
            (faults.status(500), SourceUnreachable),
            (faults.status(503), SourceUnreachable),
            (faults.rate_limited(0), SourceUnreachable),
            (faults.reset(), SourceUnreachable),
            (faults.disconnect(), SourceUnreachable),
            (faults.truncate(2000), SourceUnreachable),
            (faults.truncate(2000, framing="close"), MalformedAnswer),
            (faults.truncated_gzip(), MalformedAnswer),
            (faults.invalid_json(), MalformedAnswer),
        ],
        ids=lambda value: getattr(value, "label", ""),
    )
    async def test_what_stays_is_asked_four_times(
        self, action: faults.Action, error: type[SourceError], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(action, path=ALL))
            with pytest.raises(error) as caught:
                await read_all(importer, collection())
        assert server.count(ALL) == 4
        assert caught.value.hint or caught.value.code == "bad_json"
        assert not hold_the_token(caught.value, caplog)

    @pytest.mark.fault(5)
    async def test_an_answer_without_container_is_asked_for_twice(self) -> None:
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(faults.no_container({"MediaContainer": {}}), path=ALL))
            with pytest.raises(MalformedAnswer) as caught:
                await read_all(importer, collection())
        assert server.count(ALL) == 2
        assert caught.value.code == "no_container"

    @pytest.mark.fault(9)
    async def test_maintenance_says_so(self) -> None:
        async with plex() as (server, importer):
            server.faults.add(Fault(faults.maintenance()))
            with pytest.raises(SourceUnreachable, match=r"starting up or in maintenance.*database migrations"):
                await importer.check_reachable()
        assert server.request_count == 4


class TestNotRetried:
    @pytest.mark.fault(4, 6, 7, 16, 17)
    @pytest.mark.parametrize(
        ("action", "error", "code"),
        [
            (faults.status(401), SourceRefused, "auth"),
            (faults.status(403), SourceRefused, "auth"),
            (faults.status(404), CollectionGone, "gone_from_source"),
            (faults.status(410), SourceError, "request_refused"),
            (faults.status(501), SourceUnreachable, "source_unreachable"),
            (faults.status(304, b""), SourceError, "unexpected_status"),
            (faults.status(302, b""), SourceError, "unexpected_status"),
            (faults.status(206), SourceError, "unexpected_status"),
            (faults.transform(lambda body: body.decode().encode("utf-16")), MalformedAnswer, "malformed_answer"),
            (faults.html_page(), MalformedAnswer, "not_plex"),
            (faults.gzip_bomb(1 << 22), MalformedAnswer, "answer_too_large"),
            (faults.redirect("http://127.0.0.1:1/library"), SourceError, "foreign_redirect"),
            (faults.redirect("https://plex.example/"), SourceError, "foreign_redirect"),
        ],
    )
    async def test_asked_once(
        self, action: faults.Action, error: type[SourceError], code: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with plex(movies(3), http={"body_cap": 1 << 20}) as (server, importer):
            server.faults.add(Fault(action, path=ALL))
            with pytest.raises(error) as caught:
                await read_all(importer, collection())
        assert caught.value.code == code
        assert server.count(ALL) == 1
        assert not hold_the_token(caught.value, caplog)

    @pytest.mark.fault(6)
    async def test_a_token_that_is_refused_midway(self) -> None:
        async with plex(movies(), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.status(401), path=ALL, page=2))
            with pytest.raises(SourceRefused):
                await read_all(importer, collection())
        assert server.count(ALL, status=401) == 1

    @pytest.mark.fault(16)
    async def test_a_bomb_is_never_unpacked_beyond_the_cap(self) -> None:
        reader = BodyReader("gzip", PLEX, cap=1 << 16, origin="http://plex.example")
        bomb = gzip.compress(bytes(1 << 26))
        with pytest.raises(MalformedAnswer, match="larger than"):
            reader.feed(bomb)
        assert reader.size == (1 << 16) + 1

    @pytest.mark.fault(16)
    @pytest.mark.parametrize(("size", "step"), [(200_000, 1), (32 << 20, 1 << 16), (32 << 20, 300)])
    async def test_a_body_is_in_memory_once(self, size: int, step: int) -> None:
        body = memoryview(b"[" + bytes(size) + b"]")
        reader = BodyReader("", PLEX, cap=1 << 26, origin="http://plex.example")
        tracemalloc.start()
        try:
            for place in range(0, len(body), step):
                reader.feed(bytes(body[place : place + step]))
            whole = reader.finish(len(body))
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert bytes(whole) == body.tobytes()
        assert most < 1.2 * size + (6 << 20)

    @pytest.mark.fault(16)
    async def test_a_body_without_end_is_read_up_to_the_cap(self) -> None:
        async with plex(movies(3), http={"body_cap": 1 << 20}) as (server, importer):
            server.faults.add(Fault(faults.giant_page(5000), path=ALL))
            with pytest.raises(MalformedAnswer) as caught:
                await read_all(importer, collection())
        assert caught.value.code == "answer_too_large"

    @pytest.mark.fault(3)
    async def test_xml(self) -> None:
        async with plex(movies(3)) as (server, importer):
            body = b'<?xml version="1.0"?><MediaContainer size="0"/>'
            server.faults.add(Fault(faults.status(200, body, {"Content-Type": "text/xml"}), path=ALL))
            with pytest.raises(MalformedAnswer, match="XML"):
                await read_all(importer, collection())

    @pytest.mark.fault(3)
    async def test_what_304_and_a_byte_order_mark_are(self) -> None:
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(faults.status(304, b""), path=ALL, times=1))
            with pytest.raises(SourceError, match="304, not modified"):
                await read_all(importer, collection())
            server.faults.add(Fault(faults.transform(lambda body: body.decode().encode("utf-16")), path=ALL, times=1))
            with pytest.raises(MalformedAnswer, match="byte order mark"):
                await read_all(importer, collection())
            server.faults.add(Fault(faults.transform(lambda body: b"\xef\xbb\xbf" + body), path=ALL, times=1))
            assert (await read_all(importer, collection())).source_items == 3

    @pytest.mark.fault(3)
    async def test_a_wrong_content_type_over_the_right_body_is_read(self) -> None:
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(faults.content_type("text/plain"), path=ALL))
            assert (await read_all(importer, collection())).source_items == 3

    @pytest.mark.fault(24)
    async def test_invalid_utf8_is_replaced_and_flagged(self) -> None:
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(faults.invalid_utf8(), path=ALL))
            result = await read_all(importer, collection())
        assert [draft.warnings for draft in result.drafts] == [("text_replaced",), (), ()]


class TestPatience:
    @pytest.mark.fault(10)
    async def test_a_trickle_meets_the_deadline_of_the_page(self) -> None:
        async with plex(movies(3), http={"page_deadline_s": 0.05, "attempts": 2}) as (server, importer):
            server.faults.add(Fault(faults.trickle(1, 0.01), path=ALL))
            with pytest.raises(SourceUnreachable, match="too long"):
                await read_all(importer, collection())
        assert server.count(ALL) == 2

    async def test_a_server_that_is_silent(self) -> None:
        release = anyio.Event()
        async with plex(movies(3), http={"read_timeout_s": 0.05, "attempts": 2}) as (server, importer):
            server.faults.add(Fault(faults.hang(release), path=ALL))
            with pytest.raises(SourceUnreachable, match="too long"):
                await read_all(importer, collection())
        assert server.count(ALL) == 2

    @pytest.mark.fault(10)
    async def test_pages_that_are_each_in_time_meet_the_deadline_of_the_collection(self) -> None:
        async with plex(movies(), config={"page_size": 10}, http={"collection_deadline_s": 1e-9}) as (server, importer):
            with pytest.raises(SourceUnreachable, match="'Movies' takes longer than"):
                await read_all(importer, collection())
        assert 1 <= server.count(ALL) <= 5

    @pytest.mark.fault(9)
    def test_waits_differ(self) -> None:
        policy = HttpPolicy(base_wait_s=1)
        assert len({wait_s(policy, _state(None)) for _ in range(20)}) > 1

    @pytest.mark.fault(8, 9)
    async def test_all_tries_have_a_deadline_together(self) -> None:
        http = {"total_deadline_s": 1, "max_wait_s": 60}
        async with plex(movies(3), http=http) as (server, importer):
            server.faults.add(Fault(faults.rate_limited(3600), path=ALL))
            with pytest.raises(SourceUnreachable, match=r"within 1 seconds.*429"):
                await read_all(importer, collection())
        assert server.count(ALL) == 1

    @pytest.mark.fault(8)
    def test_retry_after(self) -> None:
        assert retry_after_seconds("7") == 7
        later = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        assert 90 < (retry_after_seconds(later) or 0) <= 100
        assert retry_after_seconds("Thu, 01 Jan 1970 00:00:00 GMT") == 0
        assert [retry_after_seconds(text) for text in (None, "", "soon", "-3", "²")] == [None] * 5

    @pytest.mark.fault(8)
    def test_waits_heed_retry_after_up_to_the_cap(self) -> None:
        policy = HttpPolicy(base_wait_s=0, max_wait_s=30)
        waits = [wait_s(policy, _state(asked)) for asked in (None, 5.0, 3600.0)]
        assert waits == [0, 5, 30]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"attempts": 0}, "The source's setting attempts can't be '0': it has to be a whole number, at least 1."),
            ({"attempts": "many"}, "The source's setting attempts can't be 'many': it has to be a whole number."),
            (
                {"page_size": "5000"},
                "The source's setting page_size can't be '5000': it has to be a whole number, at most 1000.",
            ),
            ({"gzip": "perhaps"}, "The source's setting gzip can't be 'perhaps': it has to be yes or no."),
        ],
    )
    def test_settings_that_do_not_fit(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(RequestError) as caught:
            read_settings({"base_url": "http://a", **settings}, HttpSettings)
        assert (caught.value.code, caught.value.message) == ("bad_config", message)

    def test_settings_as_text(self) -> None:
        config = {"base_url": "http://a", "attempts": "2", "base_wait_s": "0.5", "gzip": "true", "page_size": "20"}
        settings, policy = read_settings(config, HttpSettings)
        assert (settings.page_size, policy) == (20, HttpPolicy(attempts=2, base_wait_s=0.5, gzip=True))

    def test_each_setting_is_described_and_has_an_option(self) -> None:
        named = {*HttpPolicy.__struct_fields__, *HttpSettings.__struct_fields__} - {IDENTITY_SETTING} | {"token"}
        for importer in (PlexImporter, JellyfinImporter):
            fields = importer.describe_configuration()
            assert {field.name for field in fields} == named
            assert len({field.option for field in fields}) == len(fields)


def _state(asked: float | None) -> Any:
    from tenacity import Future, RetryCallState, Retrying  # noqa: PLC0415 - a call as tenacity describes it

    from retrovue.importers.http.refusals import Transient  # noqa: PLC0415

    state = RetryCallState(Retrying(), None, (), {})
    state.outcome = Future.construct(1, Transient(SourceUnreachable("x"), asked), has_exception=True)
    return state


@pytest.mark.fault(17, 71)
class TestRedirects:
    async def test_the_token_never_goes_elsewhere(self) -> None:
        other = SimulatedPlex([], token=None)
        async with plex(movies(3)) as (server, importer), other.serve() as elsewhere:
            server.faults.add(Fault(faults.redirect(f"{elsewhere}/library?{'secret=1'}"), path=ALL))
            with pytest.raises(SourceError) as caught:
                await read_all(importer, collection())
        assert caught.value.code == "foreign_redirect"
        assert caught.value.context["target"] == elsewhere
        assert "secret" not in caught.value.message
        assert other.request_count == 0

    async def test_inside_the_origin_they_are_followed(self) -> None:
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(faults.redirect("/identity"), path="/old/identity"))
            client = importer._client
            answer = await client.get("/old/identity")
        assert b"machineIdentifier" in answer.body

    async def test_without_end(self) -> None:
        async with plex(movies(3)) as (server, importer):
            server.faults.add(Fault(faults.redirect("/identity"), path="/identity"))
            with pytest.raises(SourceError) as caught:
                await importer.check_reachable()
        assert caught.value.code == "redirect_loop"
        assert server.request_count == 4


class TestSecrets:
    @pytest.mark.fault(68)
    async def test_the_token_is_nowhere_but_in_the_header(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with plex(movies(30), config={"page_size": 10}) as (server, importer):
            await importer.check_reachable()
            await read_all(importer, collection())
            assert TOKEN not in repr(importer) + repr(importer._client) + repr(importer.config)
            assert TOKEN not in repr(importer.credentials)
        assert TOKEN not in caplog.text
        assert {request.token_from for request in server.requests if request.path != "/identity"} == {"header"}
        assert {request.token_from for request in server.requests if request.path == "/identity"} == {None}

    @pytest.mark.fault(144)
    async def test_no_cookie_is_kept(self) -> None:
        async with plex(movies(3)) as (server, importer):
            cookie = {"Set-Cookie": "session=1; Path=/"}
            keep = faults.Action(label="cookie", send=lambda reply: replace(reply, headers=reply.headers | cookie))
            server.faults.add(Fault(keep))
            await importer.check_reachable()
            await importer.check_reachable()
        assert server.request_count > 2
        assert not [request for request in server.requests if "cookie" in request.headers]

    @pytest.mark.fault(71)
    async def test_no_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        async with plex(movies(3)) as (_, importer):
            assert (await read_all(importer, collection())).source_items == 3


async def test_cancelled_requests_leave_the_pool_whole() -> None:
    async with plex(movies(3)) as (server, importer):
        release = anyio.Event()
        server.faults.add(Fault(faults.hang(release), path=ALL))
        for _ in range(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(read_all, importer, collection())
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        server.faults.clear()
        release.set()
        assert (await read_all(importer, collection())).source_items == 3


CLOSING = faults.Action(label="closing", send=lambda reply: replace(reply, framing="close"))
"""The server closes the connection after each answer."""


class TestANewConnection:
    @pytest.mark.fault(151)
    async def test_gets_the_token_from_the_same_server_only(self) -> None:
        async with plex(movies(30), config={"page_size": 10}) as (server, importer):
            importer._client._pace = Pace(ceiling=1)
            await importer.check_reachable()
            server.faults.add(Fault(CLOSING))
            taken: list[Request] = []

            def hook(request: Request) -> None:
                if server.machine_identifier == "another":
                    taken.append(request)
                elif request.path == ALL and request.page:
                    server.machine_identifier = "another"

            server.on_request = hook
            with pytest.raises(WrongIdentity):
                await read_all(importer, collection())
        assert {(request.path, request.token_from) for request in taken} == {("/identity", None)}

    async def test_that_joins_busy_ones_is_covered_by_a_recent_proof(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "PROOF_SERVES_S", math.inf)
        async with plex(movies(300), config={"page_size": 10}) as (server, importer):
            await importer.check_reachable()
            await read_all(importer, collection())
        assert server.count("/identity") == 1

    @pytest.mark.parametrize("is_used", [True, False])
    async def test_that_a_request_has_just_got_counts_as_used(self, is_used: bool) -> None:
        """A request that has got a free connection uses it some passes of the event loop later."""
        known = connections.Connections(open=2, busy=1, proven=anyio.current_time())

        async def use() -> None:
            await anyio.lowlevel.checkpoint()
            known.busy += is_used

        async with anyio.create_task_group() as group:
            group.start_soon(use)
            assert await known.only_grow() == is_used

    async def test_costs_one_small_request_when_the_proof_is_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "PROOF_SERVES_S", -1.0)
        async with plex(movies(300), config={"page_size": 10}) as (server, importer):
            await importer.check_reachable()
            await read_all(importer, collection())
        assert 1 <= server.count("/identity") <= WINDOW + 1
        assert len(server.requests) <= 300 // 9 + 1 + WINDOW + 2

    async def test_in_place_of_a_lost_one_is_proven_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another server that takes over the address a moment after a proof has none of the connections."""
        monkeypatch.setattr(connections, "PROOF_SERVES_S", math.inf)
        ours = SimulatedPlex([movies(100)], token=TOKEN)
        another = SimulatedPlex([movies(100)], token=TOKEN, machine_identifier="another")
        async with AsyncExitStack() as stack:
            async with ours.serve() as url:
                settings = {"base_url": url, "page_size": 10, **IMPATIENT}
                importer = await stack.enter_async_context(PlexImporter(settings, {"token": Secret(TOKEN)}))
                await importer.check_reachable()
                await read_all(importer, collection())
                assert ours.max_concurrency > 1
                await importer.check_reachable()
            async with another.serve(port=int(url.rpartition(":")[2])):
                with pytest.raises(WrongIdentity):
                    await read_all(importer, collection())
        assert {(request.path, request.token_from) for request in another.requests} == {("/identity", None)}

    async def test_that_is_closed_after_each_answer_is_proven_each_time(self) -> None:
        async with plex(movies(30), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(CLOSING))
            assert (await read_all(importer, collection())).source_items == 30
        assert server.count("/identity") >= server.count(ALL)

    async def test_a_limit_of_one_request_at_a_time_is_kept(self) -> None:
        async with plex(movies(30), config={"page_size": 10}) as (server, importer):
            importer._client._pace = Pace(ceiling=1)
            assert (await read_all(importer, collection())).source_items == 30
        assert server.max_concurrency == 1
