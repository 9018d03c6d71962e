"""https: whose certificates are trusted, and what is said of one that isn't."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSListener

from retrovue.core.errors import RequestError, SourceUnreachable
from retrovue.core.model import Secret
from retrovue.importers.http.trust import tls_context
from retrovue.importers.plex.importer import PlexImporter
from retrovue.simulator import SimulatedPlex
from tests.support.plex import IMPATIENT, TOKEN

pytestmark = pytest.mark.anyio
DATA = Path(__file__).parents[2] / "data" / "tls"
AUTHORITY, OTHER, OWN = DATA / "ca.crt", DATA / "other.crt", DATA / "server.crt"
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError)


@asynccontextmanager
async def served_by_tls() -> AsyncIterator[str]:
    """A simulated Plex server behind TLS, with a certificate for localhost."""
    simulated = SimulatedPlex([], token=TOKEN)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(OWN, DATA / "server.key")

    async def copy(source: ByteStream, target: ByteStream) -> None:
        with suppress(*_GONE):
            while True:
                await target.send(await source.receive())

    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(listeners.listeners[0], context, standard_compatible=False)
    async with listener, simulated.serve() as url, anyio.create_task_group() as group:

        async def relay(client: ByteStream) -> None:
            address = urlsplit(url)
            connecting = anyio.connect_tcp(address.hostname or "", address.port or 0)
            async with client, await connecting as server, anyio.create_task_group() as both:
                both.start_soon(copy, client, server)
                await copy(server, client)
                both.cancel_scope.cancel()

        port = listeners.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, relay)
        yield f"https://localhost:{port}"
        group.cancel_scope.cancel()


async def reach(url: str, **config: Any) -> None:
    async with PlexImporter({"base_url": url, **IMPATIENT, **config}, {"token": Secret(TOKEN)}) as importer:
        await importer.check_reachable()


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("variables")
class TestOwnCertificates:
    @pytest.mark.parametrize("file", [AUTHORITY, OWN], ids=["the authority's", "the server's own"])
    async def test_a_file_of_ones_own(self, file: Path) -> None:
        async with served_by_tls() as url:
            await reach(url, ca_file=str(file))

    @pytest.mark.parametrize("verify", [False, "false"])
    async def test_unchecked(self, verify: object) -> None:
        async with served_by_tls() as url:
            await reach(url, verify_tls=verify)

    @pytest.mark.parametrize("config", [{}, {"ca_file": str(OTHER)}], ids=["the system's", "another authority"])
    async def test_a_stranger(self, config: dict[str, Any]) -> None:
        async with served_by_tls() as url:
            with pytest.raises(SourceUnreachable, match="was not accepted") as caught:
                await reach(url, **config)
        assert caught.value.code == "tls_certificate"
        assert "--ca-file" in str(caught.value.hint)

    async def test_the_host_is_checked(self) -> None:
        async with served_by_tls() as url:
            with pytest.raises(SourceUnreachable, match="not accepted") as caught:
                await reach(url.replace("localhost", "127.0.0.1"), ca_file=str(AUTHORITY))
        assert caught.value.code == "tls_certificate"


class TestTheSystemsAuthorities:
    async def test_a_file_by_the_environment(self, variables: pytest.MonkeyPatch) -> None:
        variables.setenv("SSL_CERT_FILE", str(AUTHORITY))
        async with served_by_tls() as url:
            await reach(url)

    async def test_a_directory_by_the_environment(self, variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
        # Of the subject's hash, as `openssl rehash` names it.
        (tmp_path / "de28cb30.0").write_bytes(AUTHORITY.read_bytes())
        variables.setenv("SSL_CERT_DIR", str(tmp_path))
        async with served_by_tls() as url:
            await reach(url)

    @pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
    def test_a_variable_that_names_nothing(self, variables: pytest.MonkeyPatch, name: str) -> None:
        variables.setenv(name, "/nonexistent/ca.pem")
        with pytest.raises(RequestError, match=f"{name} names /nonexistent/ca.pem, which doesn't exist") as caught:
            tls_context(None)
        assert caught.value.code == "bad_ca_file"

    def test_without_authorities_of_the_system_there_are_those_of_certifi(
        self, variables: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "empty.pem").touch()
        variables.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
        (tmp_path / "none").mkdir()
        variables.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
        context: Any = tls_context(None)
        assert context._ctx.cert_store_stats()["x509_ca"] > 50  # truststore's own doesn't tell


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("absent.pem", "doesn't exist"),
        ("text.pem", "holds no certificate in PEM"),
        (".", "can't be read: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, file: str, problem: str) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(RequestError) as caught:
        tls_context(str(tmp_path / file))
    assert caught.value.message == f"The certificate file {tmp_path / file} {problem}."
    assert caught.value.code == "bad_ca_file"
