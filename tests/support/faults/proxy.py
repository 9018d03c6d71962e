"""A proxy in front of PostgreSQL that counts round trips, and at a chosen one cuts the connection or calls the caller.

Of the protocol it knows where a request and its answer end (PostgreSQL's documentation, "Message Formats"). A request
is all that the client sends until it has to wait: a start-up packet, a simple Query, Sync, Flush, or the end of a COPY.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from retrovue.store.url import URL

When = Literal["before", "after"]
WHENS: tuple[When, When] = ("before", "after")

_CANCEL_REQUEST = (80877102).to_bytes(4, "big")
_ENDS_REQUEST = b"QSHcf"  # Query, Sync, Flush, CopyDone, CopyFail
_ENDS_ANSWER = b"ZG"  # ReadyForQuery, CopyInResponse
_ENDS_DESCRIPTION = b"TnE"  # RowDescription, NoData, ErrorResponse: nothing is ready after a Flush
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Trip:
    """One round trip."""

    connection: int
    text: str
    """The beginning of its statement, or the name of what else it is."""

    @property
    def commits(self) -> bool:
        """Whether it ends a transaction, for good."""
        return self.text.startswith("COMMIT")


class _Messages:
    """Splits a stream of bytes into messages, of which only a client's first one has no type."""

    def __init__(self, *, begun: bool) -> None:
        self._begun = begun
        self._buffer = bytearray()

    def split(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take in bytes and give each whole message with its type, which is empty for the first one."""
        self._buffer += chunk
        while True:
            head = 1 if self._begun else 0
            if len(self._buffer) < head + 4:
                return
            end = head + int.from_bytes(self._buffer[head : head + 4], "big")
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._begun = True
            yield message[:head], message


class CountingProxy:
    """Passes everything on; between ``arm`` and ``disarm`` something happens at one round trip."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._at = 0
        self._when: When = "before"
        self._act: Callable[[], object] | None = None
        self._connections = 0
        self.trips: list[Trip] = []
        """The round trips since the last ``arm`` or ``disarm``."""
        self.happened = 0
        """How often it has happened since the last ``arm``: once, or never."""

    def arm(self, at: int, when: When, act: Callable[[], object] | None = None) -> None:
        """Count from one again, and act when that round trip comes; to cut the connection is what it does by itself.

        ``before`` is when the server hasn't seen the request, ``after`` when it has answered and the client doesn't
        know yet. With an act of the caller's the request, or the answer, is then passed on as always.
        """
        self.disarm()
        self._at, self._when, self._act = at, when, act
        self.happened = 0

    def disarm(self) -> None:
        """Count from one again, and do nothing."""
        self._at = 0
        self.trips.clear()

    def next_trip(self, trip: Trip) -> int:
        """Count a round trip."""
        self.trips.append(trip)
        return len(self.trips)

    def strikes(self, number: int, when: When) -> bool:
        """Act if it is the time; says whether the connection is to be cut."""
        if (number, when) != (self._at, self._when):
            return False
        self.happened += 1
        if self._act is not None:
            self._act()
        return self._act is None

    async def serve(self, client: "_Stream") -> None:
        """Stand between one client and the server."""
        self._connections += 1
        number = self._connections
        try:
            server = _Stream(*await asyncio.open_unix_connection(self._target))
        except OSError:
            client.close()
            return
        try:
            async with anyio.create_task_group() as group:
                wire = _Wire(self, client, server, number)
                for way in (wire.requests, wire.answers):
                    group.start_soon(_until_one_ends, way, group.cancel_scope)
        finally:
            client.close()
            server.close()


class _Stream:
    """One of the two ends. asyncio's: anyio's own for Unix sockets complain when reading is cancelled as bytes come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._reader.read(65536):
            yield chunk

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


async def _until_one_ends(way: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
    with suppress(ConnectionError):
        await way()
    scope.cancel()


class _Wire:
    """One connection."""

    def __init__(self, proxy: CountingProxy, client: _Stream, server: _Stream, number: int) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._number = number
        self._waiting: list[tuple[int, bytes]] = []
        """The round trips under way: their numbers, and what their answers end with."""

    async def requests(self) -> None:
        """Pass each request on when it is whole, so that one that is cut off has never been seen by the server."""
        messages = _Messages(begun=False)
        request = bytearray()
        text = ""
        async for chunk in self._client:
            for kind, message in messages.split(chunk):
                request += message
                text = text or _text(kind, message)
                if kind and kind not in _ENDS_REQUEST:
                    continue
                if message[4:8] != _CANCEL_REQUEST or kind:
                    number = self._proxy.next_trip(Trip(self._number, text))
                    if self._proxy.strikes(number, "before"):
                        return
                    self._waiting.append((number, _ENDS_DESCRIPTION if kind == b"H" else _ENDS_ANSWER))
                await self._server.send(bytes(request))
                request.clear()
                text = ""
            if request.startswith(
                (b"X", b"p")
            ):  # Terminate, which nobody answers; a password, which is part of the start
                await self._server.send(bytes(request))
                request.clear()

    async def answers(self) -> None:
        """Pass answers on, one that is to be lost excepted."""
        messages = _Messages(begun=True)
        async for chunk in self._server:
            answer = bytearray()
            for kind, message in messages.split(chunk):
                answer += message
                if self._waiting and kind in self._waiting[0][1]:
                    number, _ = self._waiting.pop(0)
                    if self._proxy.strikes(number, "after"):
                        return
            if answer:
                await self._client.send(bytes(answer))


def _text(kind: bytes, message: bytes) -> str:
    if not kind:
        return "(start-up)"
    if kind == b"Q":
        return " ".join(message[5:-1].decode().split())[:_SHOWN]
    if kind == b"P":
        return " ".join(message[5:].split(b"\0")[1].decode().split())[:_SHOWN]
    return {b"B": "(execute)", b"d": "(copy)", b"C": "(close)", b"S": "(sync)"}.get(kind, "")


@asynccontextmanager
async def counting_proxy(url: URL, directory: Path) -> AsyncIterator[tuple[URL, CountingProxy]]:
    """Stand in front of the server at a socket; gives the address through the proxy."""
    host, port = url.query["host"], url.query.get("port", "5432")
    assert isinstance(host, str)
    socket = f".s.PGSQL.{port}"
    proxy = CountingProxy(Path(host) / socket)
    failure: Exception | None = None
    async with anyio.create_task_group() as group:

        def stand_between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.start_soon(proxy.serve, _Stream(reader, writer))

        listener = await asyncio.start_unix_server(stand_between, directory / socket)
        try:
            yield url.set(query={**url.query, "host": str(directory)}), proxy
        except Exception as error:  # noqa: BLE001 - raised again below, outside the group that would wrap it
            failure = error
        listener.close()
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
