"""The connections of httpx to a media server, with less work for each request than by default."""

import select
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore
import httpx

PIECE: Final = 128 << 10
"""How much is read at once without TLS, in bytes. httpcore asks for 64 KiB. anyio divides what asyncio has received
into pieces of the size that is asked for, and copies the rest for each of them. Pieces of 256 KiB, which asyncio
receives at once, take 10 MiB more memory for a dozen requests.
"""


def make_transport(verify: ssl.SSLContext | bool, *, connections: int, keepalive_s: float) -> httpx.AsyncHTTPTransport:
    """Make a transport of httpx with its own pool of connections, which are closed after ``keepalive_s`` idle seconds.

    ``verify`` is as for httpx. The environment's proxies aren't used.
    """
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=keepalive_s
    )
    transport = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits)
    pool: Any = transport._pool  # noqa: SLF001 - httpx has no parameter for what its pool connects by
    pool._network_backend = _Backend()  # noqa: SLF001 - as above
    return transport


class _Backend(httpcore.AnyIOBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return Stream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


class Stream(httpcore.AsyncNetworkStream):
    """A connection that reads large pieces, and finds out in a tenth of the time whether its other end has closed it.

    The pool of httpcore asks each idle connection twice for each request. anyio collects all addresses of the socket
    for each answer, so this class keeps the socket.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, piece: int = PIECE) -> None:
        """``piece`` is how many bytes are read at once, if fewer are asked for."""
        self._stream = stream
        self._piece = piece
        self._socket: Any = stream.get_extra_info("socket")
        self._poll: select.poll | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as httpcore has it
        """Read the bytes that have arrived: as many as a piece has, or ``max_bytes`` if that is more."""
        return await self._stream.read(max(max_bytes, self._piece), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as httpcore has it
        """Write all bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS, which divides what it receives into records of 16 KiB."""
        return Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout), piece=0)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for; ``is_readable`` of an idle connection means that it was closed."""
        if info != "is_readable" or not hasattr(select, "poll"):
            return self._stream.get_extra_info(info)
        number = self._socket.fileno()
        if number < 0:
            return True  # It is closed, and its former number may be that of another one.
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(number, select.POLLIN)
        return bool(self._poll.poll(0))
