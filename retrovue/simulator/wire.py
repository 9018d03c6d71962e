"""HTTP/1.1 over one connection: requests read by h11, answers written so that faults can break the rules."""

from __future__ import annotations

import os
import socket
import struct
from http import HTTPStatus

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

from retrovue.simulator.request import Reply

_READ = 65_536
# Large enough to be quick, small enough that a slow client holds little of a page in the transport's buffer.
_WRITE = 262_144


class Connection:
    """One client's connection."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._unread = b""
        self.bytes_sent = 0

    async def request(self, idle: float) -> h11.Request | None:
        """Read the next request and drop its body; None when the client is gone or silent for `idle` seconds.

        Raises h11.RemoteProtocolError for what is not HTTP.
        """
        # A fresh parser for each request: the faults answer in ways that h11 would rightly refuse to follow.
        parser = h11.Connection(h11.SERVER)
        if self._unread:
            # No bytes at all would mean to h11 that the client has left.
            parser.receive_data(self._unread)
        request: h11.Request | None = None
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                self._unread = parser.trailing_data[0]
                return request
            elif isinstance(event, h11.ConnectionClosed):
                return None
            elif event is h11.NEED_DATA:
                received = await self._receive(idle)
                if received is None:
                    return None
                parser.receive_data(received)

    async def send(self, reply: Reply, *, head_only: bool, close: bool) -> bool:
        """Send an answer; false if the connection is not to be used again."""
        if reply.silent:
            await self._end(reset=reply.reset)
            return False
        if reply.stream is not None or reply.upgrade is not None:
            await self._go_on(reply)
            return False
        length = sum(len(piece) for piece in reply.body)
        close = close or reply.framing == "close"
        await self._write(_head(reply, length, close=close))
        if head_only:
            return not close
        left = length if reply.cut_after is None else min(reply.cut_after, length)
        step, interval = reply.pace or (_WRITE, 0.0)
        for piece in reply.body:
            for start in range(0, min(len(piece), left), step):
                # A piece that is sent at once is not copied.
                block = piece if len(piece) <= min(step, left) else piece[start : min(start + step, left)]
                await self._write(b"%x\r\n%b\r\n" % (len(block), block) if reply.framing == "chunked" else block)
                if interval:
                    await anyio.sleep(interval)
            left -= min(len(piece), left)
        if reply.cut_after is not None:
            await self._end(reset=reply.reset)
            return False
        if reply.framing == "chunked":
            await self._write(b"0\r\n\r\n")
        return not close

    async def _go_on(self, reply: Reply) -> None:
        """Send an answer that ends with the connection."""
        await self._write(_head(reply, 0, close=True if reply.upgrade is None else None))
        if reply.upgrade is not None:
            await reply.upgrade(self._stream)
        elif reply.stream is not None:
            async for piece in reply.stream:
                await self._write(piece)
        await self._end(reset=False)

    async def _receive(self, idle: float) -> bytes | None:
        with anyio.move_on_after(idle):
            try:
                return await self._stream.receive(_READ)
            except anyio.EndOfStream:
                return b""
        return None

    async def _write(self, data: bytes) -> None:
        await self._stream.send(data)
        self.bytes_sent += len(data)

    async def _end(self, *, reset: bool) -> None:
        if reset:
            _reset(self._stream.extra(SocketAttribute.raw_socket))  # noqa: S610 - anyio's
        await self._stream.aclose()


def _head(reply: Reply, length: int, *, close: bool | None) -> bytes:
    """Make the line of the status and the headers; without ``close`` the reply itself says what becomes of it."""
    phrases = {status.value: status.phrase for status in HTTPStatus}
    headers = {"X-Plex-Protocol": "1.0", "Cache-Control": "no-cache"} | reply.headers
    if close is None:
        pass
    elif reply.framing == "length":
        headers["Content-Length"] = str(length)
    elif reply.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    if close is not None:
        headers |= {"Connection": "close"} if close else {"Connection": "Keep-Alive", "Keep-Alive": "timeout=20"}
    lines = [f"HTTP/1.1 {reply.status} {phrases.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _reset(connection: socket.socket) -> None:
    # A stream that is closed says goodbye first. To send a reset and nothing else, the socket must go without its
    # stream's help: it is told not to linger, and its descriptor is given to one end of a pair that nobody listens to.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one, other = socket.socketpair()
    one.setblocking(False)
    os.dup2(one.fileno(), connection.fileno())
    one.close()
    other.close()
