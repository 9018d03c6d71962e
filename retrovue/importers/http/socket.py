"""A WebSocket to a media server: messages of bounded size, over the connection of an HTTP request."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anyio
import httpcore
import httpx
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, TextMessage
from wsproto.utilities import ProtocolError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_READ = 65_536
"""How many bytes are read at once. A connection may return more."""


class Handshake:
    """The request that turns an HTTP connection into a WebSocket, and the check of its response (RFC 6455, 4.1)."""

    def __init__(self) -> None:
        self._key = base64.b64encode(os.urandom(16))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request. Compression isn't offered, so that a message can't expand to a huge one."""
        return {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": self._key.decode("ascii"),
            "Sec-WebSocket-Version": "13",
        }

    def check(self, response: httpx.Response) -> None:
        """Raise httpx.RemoteProtocolError unless the response belongs to this request."""
        expected = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        try:
            found = response.headers.get("Sec-WebSocket-Accept", "").encode("ascii")
        except UnicodeEncodeError:
            found = b""
        if found != expected or response.headers.get("Upgrade", "").lower() != "websocket":
            raise httpx.RemoteProtocolError("The answer belongs to another handshake.")


class Socket:
    """An open WebSocket of a client. Only one task may use it."""

    def __init__(
        self, response: httpx.Response, *, most: int, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """``errors`` translates the exceptions of httpx."""
        self._stream: Any = response.extensions["network_stream"]
        self._connection = Connection(ConnectionType.CLIENT)
        self._most = most
        self._errors = errors
        self._message = bytearray()
        self._size = 0
        """Bytes of the message so far, including those that weren't kept."""
        self._ready: list[bytes] = []

    async def receive(self, seconds: float) -> bytes | None:
        """Return the next message; None if none is complete in time.

        A message that is too long is returned empty, and nothing of it is kept. Raises anyio.EndOfStream when the
        server ends the connection, and SourceUnreachable when it breaks.
        """
        with anyio.move_on_after(seconds), self._errors(), _as_httpx():
            while not self._ready and self._connection.state is ConnectionState.OPEN:
                data = await self._stream.read(_READ, timeout=None)
                if not data:
                    raise httpx.RemoteProtocolError("The connection ended without a closing message.")
                await self._take(data)
        if self._ready:
            return self._ready.pop(0)
        if self._connection.state is not ConnectionState.OPEN:
            raise anyio.EndOfStream
        return None

    async def send(self, text: str, seconds: float) -> None:
        """Send a message; raises SourceUnreachable if that fails or takes longer."""
        with self._errors(), _as_httpx():
            await self._stream.write(self._connection.send(TextMessage(data=text)), timeout=seconds)

    async def _take(self, data: bytes) -> None:
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, Ping):
                await self._stream.write(self._connection.send(event.response()), timeout=None)
            elif isinstance(event, Message):
                self._keep(event)
            elif isinstance(event, CloseConnection):
                if self._connection.state is ConnectionState.OPEN:
                    # This is how wsproto tells of bytes that are no frames.
                    raise httpx.RemoteProtocolError("The data isn't a frame.")
                if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._stream.write(self._connection.send(event.response()), timeout=None)
                return

    def _keep(self, part: Message[Any]) -> None:
        data = part.data.encode() if isinstance(part.data, str) else part.data
        self._size += len(data)
        if self._size <= self._most:
            self._message += data
        else:
            self._message.clear()
        if part.message_finished:
            self._ready.append(bytes(self._message))
            self._message.clear()
            self._size = 0


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise exceptions of lower layers as httpx does, which doesn't translate them for a connection of ours."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.ProtocolError, ProtocolError, anyio.BrokenResourceError) as exc:
        raise httpx.ReadError(str(exc)) from exc
    except httpcore.TimeoutException as exc:
        raise httpx.ReadTimeout(str(exc)) from exc
    except anyio.ClosedResourceError as exc:
        raise httpx.ReadError("It was closed.") from exc
