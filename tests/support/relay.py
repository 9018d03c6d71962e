"""A relay on TCP before the tests' PostgreSQL, which listens on a socket alone: with TLS, or with a stall."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

from retrovue.store.url import URL

DATA = Path(__file__).parents[1] / "data" / "tls"
_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class _UnixStream(anyio.abc.ByteStream):
    """A connection to a Unix socket by asyncio's transport.

    A cancelled read of anyio's own stream may complete its future twice, which the event loop reports.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            chunk = await self._reader.read(max_bytes)
        except OSError as exc:
            raise anyio.BrokenResourceError from exc
        if not chunk:
            raise anyio.EndOfStream
        return chunk

    async def send(self, item: bytes) -> None:
        try:
            self._writer.write(item)
            await self._writer.drain()
        except OSError as exc:
            raise anyio.BrokenResourceError from exc

    async def send_eof(self) -> None:
        self._writer.write_eof()

    async def aclose(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class Relay:
    """Relays connections; counts them, and those with TLS."""

    def __init__(self, target: str, *, tls: bool, authority: Path | None) -> None:
        self._target = target
        self._tls = tls
        self._authority = authority
        self.port = 0
        self.connections = 0
        self.encrypted = 0
        self._open = {"up": anyio.Event(), "down": anyio.Event()}
        self.resume()

    def stall(self, *directions: str) -> None:
        """Stop relaying ``up`` (to the server) or ``down`` (to the client): nothing is closed, nothing arrives."""
        for direction in directions:
            self._open[direction] = anyio.Event()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Relay again after the block, whatever happens in it: what looks around after a test has to get through."""
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        """Relay again, with all that has been held up."""
        for event in self._open.values():
            event.set()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        """Relay one connection until either end closes it."""
        self.connections += 1
        client: anyio.abc.ByteStream = stream
        try:
            first = await client.receive(8)
            if first == _SSL_REQUEST:
                await client.send(b"S" if self._tls else b"N")
                first = b""
                if self._tls:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(DATA / "server.crt", DATA / "server.key")
                    if self._authority is not None:
                        context.load_verify_locations(self._authority)
                        context.verify_mode = ssl.CERT_REQUIRED
                    client = await TLSStream.wrap(client, server_side=True, ssl_context=context)
                    self.encrypted += 1
            unix = _UnixStream(*await asyncio.open_unix_connection(self._target))
            async with unix as server, anyio.create_task_group() as group:
                if first:
                    await server.send(first)
                group.start_soon(self._pass_on, "up", client, server, group.cancel_scope)
                group.start_soon(self._pass_on, "down", server, client, group.cancel_scope)
        except (*_BROKEN, ssl.SSLError):
            return
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(client)

    async def _pass_on(
        self,
        direction: str,
        source: anyio.abc.ByteStream,
        target: anyio.abc.ByteStream,
        scope: anyio.CancelScope,
    ) -> None:
        try:
            while True:
                chunk = await source.receive()
                await self._open[direction].wait()
                await target.send(chunk)
        except _BROKEN:
            scope.cancel()


@asynccontextmanager
async def relay(url: URL, *, tls: bool = False, authority: Path | None = None) -> AsyncIterator[Relay]:
    """Relay to the server of a database, whose URL names its socket.

    With an ``authority`` clients need a certificate of it.
    """
    relayed = Relay(f"{url.query['host']}/.s.PGSQL.{url.query['port']}", tls=tls, authority=authority)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        relayed.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, relayed.serve)
        yield relayed
        group.cancel_scope.cancel()
