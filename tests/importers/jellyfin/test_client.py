"""What the network and the server can do to a request to Jellyfin, over real HTTP."""

import logging
import traceback
from typing import Any, ClassVar

import anyio
import httpx
import pytest

from retrovue.core.model import Secret
from retrovue.errors import (
    CollectionGone,
    MalformedAnswer,
    RequestError,
    SourceError,
    SourceRefused,
    SourceUnreachable,
)
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.settings import HttpPolicy
from retrovue.importers.jellyfin.importer import JELLYFIN, JellyfinImporter
from retrovue.simulator import Fault, faults
from retrovue.simulator.jellyfin import SimulatedJellyfin
from tests.importers.http.test_client import hold_the_token as _holds
from tests.support.jellyfin import TOKEN, collection, jellyfin, movies, read_all
from tests.support.plex import IMPATIENT

pytestmark = pytest.mark.anyio

ITEMS = "/Items"
LOADING = faults.status(503, b"<html><body>Jellyfin is loading. Please try again shortly.</body></html>")

PASSING = [
    faults.status(500),
    faults.status(502),
    faults.status(503),
    faults.status(504),
    LOADING,
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
    faults.no_container([]),
    faults.no_container({"Items": None, "TotalRecordCount": 3}),
    faults.no_container({"Items": []}),
    faults.transform(lambda _: b""),
]


def hold_the_token(error: BaseException, caplog: pytest.LogCaptureFixture) -> bool:
    seen = [*traceback.format_exception(error), repr(error), caplog.text, repr(vars(error))]
    return _holds(error, caplog) or any(TOKEN in text for text in seen)


class TestRetried:
    @pytest.mark.parametrize("page", [0, 2])
    @pytest.mark.parametrize("action", PASSING, ids=lambda action: action.label)
    async def test_what_passes_is_read_over(self, action: faults.Action, page: int) -> None:
        library = movies()
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(action, path=ITEMS, section=library.id, page=page, times=1))
            result = await read_all(importer, collection(library))
        assert server.faults.injected == 1
        assert (len(set(result.titles)), result.source_items, result.restarts) == (45, 45, 0)

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
        library = movies(3)
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(action, path=ITEMS))
            with pytest.raises(error) as caught:
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 4
        assert "Plex" not in f"{caught.value.message} {caught.value.hint}"
        assert not hold_the_token(caught.value, caplog)

    @pytest.mark.parametrize("document", [{}, {"Items": []}, {"TotalRecordCount": 0}, [], {"Items": {}}])
    async def test_an_answer_that_is_no_listing_is_never_an_empty_one(self, document: object) -> None:
        library = movies(3)
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(faults.no_container(document), path=ITEMS))
            with pytest.raises(MalformedAnswer) as caught:
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 2
        assert caught.value.code == "no_container"

    async def test_a_server_that_is_loading_says_so(self) -> None:
        async with jellyfin() as (server, importer):
            server.faults.add(Fault(LOADING))
            with pytest.raises(SourceUnreachable, match=r"Jellyfin server at .* is starting up or in maintenance"):
                await importer.check_reachable()
        assert server.request_count == 4


class TestNotRetried:
    @pytest.mark.parametrize(
        ("action", "error", "code"),
        [
            (faults.status(401), SourceRefused, "auth"),
            (faults.status(403), SourceRefused, "auth"),
            (faults.status(404), CollectionGone, "gone_from_source"),
            (faults.status(400), SourceError, "request_refused"),
            (faults.status(501), SourceUnreachable, "source_unreachable"),
            (faults.html_page(), MalformedAnswer, "not_jellyfin"),
            (faults.gzip_bomb(1 << 22), MalformedAnswer, "answer_too_large"),
            (faults.redirect("http://127.0.0.1:1/Items"), SourceError, "foreign_redirect"),
            (faults.redirect("https://jellyfin.example/"), SourceError, "foreign_redirect"),
        ],
    )
    async def test_asked_once(
        self, action: faults.Action, error: type[SourceError], code: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        library = movies(3)
        async with jellyfin(library, http={"body_cap": 1 << 20}) as (server, importer):
            server.faults.add(Fault(action, path=ITEMS))
            with pytest.raises(error) as caught:
                await read_all(importer, collection(library))
        assert caught.value.code == code
        assert server.count(ITEMS) == 1
        assert not hold_the_token(caught.value, caplog)

    async def test_a_token_that_is_refused_midway(self) -> None:
        library = movies()
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.status(401), path=ITEMS, page=2))
            with pytest.raises(SourceRefused, match=r"Jellyfin server at .* refused the token"):
                await read_all(importer, collection(library))
        assert server.count(ITEMS, status=401) == 1

    async def test_a_wrong_content_type_over_the_right_body_is_read(self) -> None:
        library = movies(3)
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(faults.content_type("text/plain"), path=ITEMS))
            assert (await read_all(importer, collection(library))).source_items == 3

    async def test_invalid_utf8_is_replaced_and_flagged(self) -> None:
        library = movies(3)
        odd = faults.transform(lambda body: body.replace(b'"Name":"Movie 1"', b'"Name":"\xff\xfe"', 1))
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(odd, path=ITEMS))
            result = await read_all(importer, collection(library))
        assert [draft.warnings for draft in result.drafts] == [("text_replaced",), (), ()]


class TestPatience:
    async def test_a_trickle_meets_the_deadline_of_the_page(self) -> None:
        library = movies(3)
        async with jellyfin(library, http={"page_deadline_s": 0.5, "attempts": 2}) as (server, importer):
            server.faults.add(Fault(faults.trickle(1, 0.05), path=ITEMS))
            with pytest.raises(SourceUnreachable, match="too long"):
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 2

    async def test_a_server_that_is_silent(self) -> None:
        release, library = anyio.Event(), movies(3)
        async with jellyfin(library, http={"read_timeout_s": 0.05, "attempts": 2}) as (server, importer):
            server.faults.add(Fault(faults.hang(release), path=ITEMS))
            with pytest.raises(SourceUnreachable, match="too long"):
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 2

    async def test_pages_that_are_each_in_time_meet_the_deadline_of_the_collection(self) -> None:
        library = movies(50)
        http = {"collection_deadline_s": 1e-9}
        async with jellyfin(library, config={"page_size": 10}, http=http) as (server, importer):
            with pytest.raises(SourceUnreachable, match="'Movies' takes longer than"):
                await read_all(importer, collection(library))
        assert 1 <= server.count(ITEMS) <= 5

    async def test_all_tries_have_a_deadline_together(self) -> None:
        library = movies(3)
        async with jellyfin(library, http={"total_deadline_s": 1, "max_wait_s": 60}) as (server, importer):
            server.faults.add(Fault(faults.rate_limited(3600), path=ITEMS))
            with pytest.raises(SourceUnreachable, match=r"within 1 seconds.*429"):
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 1


class TestSecrets:
    async def test_the_token_is_in_one_header_and_nowhere_else(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

        class Recording(httpx.AsyncBaseTransport):
            asked: ClassVar[list[httpx.Request]] = []

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                self.asked.append(request)
                body = b'{"Id": "server", "Items": []}' if "Virtual" not in request.url.path else b"[]"
                return httpx.Response(200, stream=httpx.ByteStream(body))

        config = {"base_url": "http://home.example/jellyfin/"}
        async with JellyfinImporter(config, {"token": Secret(TOKEN)}, transport=Recording()) as importer:
            await importer.check_reachable()
        paths = [request.url.path for request in Recording.asked]
        assert paths == ["/jellyfin/System/Info/Public", "/jellyfin/Users/Me", "/jellyfin/Library/VirtualFolders"]
        assert not any(TOKEN in str(request.url) for request in Recording.asked)
        headers = [{name for name, value in request.headers.items() if TOKEN in value} for request in Recording.asked]
        assert headers == [set(), {"authorization"}, {"authorization"}]
        safe_text = Recording.asked[1].headers["authorization"]
        assert safe_text.startswith('MediaBrowser Client="RetroVue", Device="RetroVue", DeviceId="retrovue", Version="')
        assert safe_text.endswith(f', Token="{TOKEN}"')
        assert TOKEN not in caplog.text + repr(importer.credentials)

    async def test_it_never_goes_elsewhere(self) -> None:
        other, library = SimulatedJellyfin([], token=None), movies(3)
        async with jellyfin(library) as (server, importer), other.serve() as elsewhere:
            server.faults.add(Fault(faults.redirect(f"{elsewhere}/Items?secret=1"), path=ITEMS))
            with pytest.raises(SourceError) as caught:
                await read_all(importer, collection(library))
        assert caught.value.code == "foreign_redirect"
        assert "secret" not in caught.value.message
        assert other.request_count == 0

    @pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN} ", "tök", "", 'a", Token="b', "a,b", "a%20b"])
    def test_a_token_that_would_not_stay_in_its_quotes(self, token: str) -> None:
        with pytest.raises(RequestError) as caught:
            JellyfinImporter({"base_url": "http://jellyfin.local"}, {"token": Secret(token)})
        assert caught.value.code == "bad_token"
        assert "Jellyfin" in caught.value.message
        assert TOKEN not in "".join(traceback.format_exception(caught.value))


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "jellyfin.local:80960",
            "ftp://a",
            "http://",
            "http://a:70000",
            "http://a:0",
            "http://[::1",
            "http://u:p@a",
        ],
    )
    def test_malformed(self, url: str) -> None:
        with pytest.raises(RequestError) as caught:
            JellyfinImporter({"base_url": url}, {"token": Secret(TOKEN)})
        assert caught.value.code == "bad_url"
        assert ":8096" in (caught.value.hint or "")

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"base_url": 5},
            {"base_url": "http://a", "page_size": 5000},
            {"base_url": "http://a", "max_requests_per_second": "1e-9"},
        ],
    )
    def test_configuration(self, config: dict[str, Any]) -> None:
        with pytest.raises(RequestError) as caught:
            JellyfinImporter(config)
        assert caught.value.code == "bad_config"

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://jellyfin.invalid"])
    async def test_nobody_there(self, url: str) -> None:
        async with JellyfinImporter({"base_url": url, **IMPATIENT}) as importer:
            with pytest.raises(SourceUnreachable, match="No connection to the Jellyfin server") as caught:
                await importer.check_reachable()
        assert caught.value.unreachable

    async def test_tls_towards_a_server_without(self) -> None:
        async with SimulatedJellyfin([]).serve() as url:
            config = {"base_url": url.replace("http:", "https:"), **IMPATIENT}
            async with JellyfinImporter(config, {"token": Secret(TOKEN)}) as importer:
                with pytest.raises(SourceUnreachable):
                    await importer.check_reachable()

    async def test_not_entered(self) -> None:
        with pytest.raises(RequestError):
            await HttpClient(JELLYFIN, "http://jellyfin.local", None, HttpPolicy()).get("/Items")
