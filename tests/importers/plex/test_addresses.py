"""Addresses that can't be used, and what every foreign exception means."""

import inspect
import ssl
import traceback
from typing import Any, ClassVar

import httpx
import pytest

from retrovue.core.model import Secret
from retrovue.errors import (
    RequestError,
    SourceError,
    SourceUnreachable,
)
from retrovue.importers.http.answers import map_error, parse_base_url
from retrovue.importers.plex.importer import PLEX, PlexImporter
from retrovue.simulator import SimulatedPlex
from tests.support.plex import IMPATIENT, TOKEN

pytestmark = pytest.mark.anyio

ALL = "/library/sections/1/all"


class TestAddresses:
    @pytest.mark.fault(20)
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "plex.local:70000",
            "ftp://plex.local",
            "http://",
            "http://plex.local:70000",
            "http://plex.local:port",
            "http://plex.local:-1",
            "http://plex.local:0",
            "http://[::1",
            "http://user:secret@plex.local",
            "http://plex.local/?X-Plex-Token=secret",
            "http://plex.local/#x",
            "http://plex .local\n",
            "http://\0",
            "http://xn--\u00e9\u0301.\ud800/",
            "h" * 70_000,
        ],
    )
    def test_malformed(self, url: str) -> None:
        with pytest.raises(RequestError) as caught:
            PlexImporter({"base_url": url}, {"token": Secret(TOKEN)})
        assert caught.value.code == "bad_url"
        assert caught.value.hint
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("plex.local", "http://plex.local:32400"),
            ("192.168.1.10/web/index.html#!/settings", "http://192.168.1.10:32400/"),
            ("http://plex.local", "http://plex.local"),
            ("plex.local:80", "http://plex.local"),
            ("//plex.local:32400", "http://plex.local:32400"),
            ("http:/plex.local:32400", "http://plex.local:32400"),
            ("http//plex.local:32400", "http://plex.local:32400"),
            ("HTTPS:plex.local", "https://plex.local"),
            (' "http://plex.local:32400/" ', "http://plex.local:32400/"),
            ("<http://plex.local:32400>", "http://plex.local:32400"),
            ("[::1]", "http://[::1]:32400"),
        ],
    )
    def test_what_is_pasted_or_mistyped(self, text: str, url: str) -> None:
        assert parse_base_url(text, PLEX) == httpx.URL(url)

    def test_the_wrong_part_is_named(self) -> None:
        with pytest.raises(RequestError, match="'my server' can't be the name of a host"):
            parse_base_url("http://my server:32400", PLEX)

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"base_url": 5},
            *(
                {"base_url": "http://a", setting: value}
                for setting, value in (
                    ("page_size", 5000),
                    ("max_requests_per_second", "1e-9"),
                    ("max_requests_per_second", "nan"),
                    ("max_requests_per_second", 0),
                    ("connect_timeout_s", "inf"),
                    ("mount_timeout_s", "nan"),
                    ("attempts", 0),
                    ("read_timeout_s", "nan"),
                    ("page_deadline_s", 0),
                    ("base_wait_s", -1),
                )
            ),
        ],
        ids=str,
    )
    def test_configuration(self, config: dict[str, Any]) -> None:
        with pytest.raises(RequestError) as caught:
            PlexImporter(config)
        assert caught.value.code == "bad_config"

    @pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN} ", "tök", ""])
    def test_token(self, token: str) -> None:
        with pytest.raises(RequestError) as caught:
            PlexImporter({"base_url": "http://plex.local"}, {"token": Secret(token)})
        assert caught.value.code == "bad_token"
        assert TOKEN not in "".join(traceback.format_exception(caught.value))

    async def test_a_path_in_front(self) -> None:
        class Recording(httpx.AsyncBaseTransport):
            asked: ClassVar[list[str]] = []

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                self.asked.append(request.url.path)
                body = b'{"MediaContainer": {"machineIdentifier": "m", "size": 0}}'
                return httpx.Response(200, stream=httpx.ByteStream(body))

        config = {"base_url": "http://home.example/plex/"}
        async with PlexImporter(config, transport=Recording()) as importer:
            await importer.check_reachable()
        assert Recording.asked == ["/plex/identity", "/plex/library/sections"]

    @pytest.mark.fault(19)
    async def test_nobody_listens(self) -> None:
        async with PlexImporter({"base_url": "http://127.0.0.1:1", **IMPATIENT}) as importer:
            with pytest.raises(SourceUnreachable, match=r"No connection to .*:1: Connection refused\.") as caught:
                await importer.check_reachable()
        assert caught.value.unreachable

    @pytest.mark.fault(19)
    async def test_no_such_host(self) -> None:
        async with PlexImporter({"base_url": "http://plex.invalid", **IMPATIENT}) as importer:
            with pytest.raises(SourceUnreachable):
                await importer.check_reachable()

    @pytest.mark.fault(18)
    async def test_tls_towards_a_server_without(self) -> None:
        simulated = SimulatedPlex([])
        async with simulated.serve() as url:
            config = {"base_url": url.replace("http:", "https:"), **IMPATIENT}
            async with PlexImporter(config, {"token": Secret(TOKEN)}) as importer:
                with pytest.raises(SourceUnreachable) as caught:
                    await importer.check_reachable()
        assert caught.value.unreachable
        assert simulated.request_count == 0  # it isn't asked again without TLS

    async def test_not_entered(self) -> None:
        with pytest.raises(RequestError):
            await PlexImporter({"base_url": "http://plex.local"}).check_reachable()


HTTPX_ERRORS = sorted(
    (
        one
        for one in vars(httpx).values()
        if inspect.isclass(one) and issubclass(one, Exception) and not issubclass(one, Warning)
    ),
    key=lambda one: one.__name__,
)


class TestMapping:
    def test_there_are_httpx_errors(self) -> None:
        assert len(HTTPX_ERRORS) > 20

    @pytest.mark.parametrize("kind", HTTPX_ERRORS)
    def test_every_httpx_error_has_a_meaning(self, kind: type[Exception]) -> None:
        exc = kind.__new__(kind)
        Exception.__init__(exc, f"quotes {TOKEN}")
        error, _ = map_error(exc, "http://plex.local:32400", PLEX)
        assert isinstance(error, SourceError)
        assert error.hint or error.code in {"bad_url", "redirect_loop"}
        assert "fault of RetroVue" not in (error.hint or "")
        assert TOKEN not in repr(vars(error))

    @pytest.mark.parametrize(
        ("exc", "transient"),
        [
            (TimeoutError(), True),
            (ConnectionResetError(104, "reset"), True),
            (ExceptionGroup("all attempts", [OSError(111, "refused")]), True),
            (httpx.ReadTimeout("x"), True),
            (httpx.RemoteProtocolError("x"), True),
            (ssl.SSLCertVerificationError("self-signed"), False),
            (httpx.InvalidURL("x"), False),
            (UnicodeError("label too long"), False),
            (KeyError("a bug"), False),
        ],
    )
    def test_what_is_tried_again(self, exc: Exception, *, transient: bool) -> None:
        error, again = map_error(exc, "http://plex.local", PLEX)
        assert again is transient
        assert type(exc).__name__ not in error.message or isinstance(exc, KeyError)

    @pytest.mark.fault(18)
    def test_a_certificate_behind_layers(self) -> None:
        layer = httpx.ConnectError("x")
        layer.__cause__ = OSError("y")
        layer.__cause__ = ssl.SSLCertVerificationError("z")
        error, transient = map_error(layer, "https://plex.local", PLEX)
        assert (error.code, error.unreachable, transient) == ("tls_certificate", True, False)
