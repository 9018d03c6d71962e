"""A pooler before PostgreSQL, as PgBouncer is one: it hands out sessions whole, or by the transaction."""

import itertools
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from retrovue.store.url import URL

Mode = Literal["session", "transaction"]
Turn = Literal["last", "first"]

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, anyio.EndOfStream)
_PIDS = itertools.count(1_000_000_000)
TRACKED = {"user", "database", "application_name", "client_encoding", "datestyle", "timezone"}
"""The startup parameters that a pooler takes; it refuses all others, as it can't keep them apart."""


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


class Peer:
    """One end of a connection, read message by message."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._bytes = BufferedByteReceiveStream(stream)

    async def startup(self) -> bytes:
        (length,) = struct.unpack("!i", await self._bytes.receive_exactly(4))
        return await self._bytes.receive_exactly(length - 4)

    async def message(self) -> tuple[bytes, bytes]:
        head = await self._bytes.receive_exactly(5)
        (length,) = struct.unpack("!i", head[1:])
        return head[:1], head + (await self._bytes.receive_exactly(length - 4) if length > 4 else b"")


class Pooler:
    """Stands before a server; ``turn`` says which of its idle sessions the next one gets: that used last, or first."""

    def __init__(self, target: Path, database: str, mode: Mode, turn: Turn, parameters: Mapping[str, str]) -> None:
        self.mode = mode
        self.refused: list[str] = []
        """Startup parameters and settings that were refused."""
        self.opened = 0
        """Sessions that were opened at the server."""
        self.cannot: bytes | None = None
        """A setting that the server answers it can't have."""
        self._target = target
        self._database = database
        self._turn = turn
        self._parameters = parameters
        self._idle: list[Peer] = []

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        client = Peer(stream)
        async with stream:
            try:
                if await self._greet(client):
                    async with anyio.create_task_group() as group:
                        await _Link(self, client, group).run()
                        group.cancel_scope.cancel()
            except _GONE:
                return

    async def _greet(self, client: Peer) -> bool:
        words = (await client.startup())[4:].rstrip(b"\0").decode().split("\0")
        unknown = [name for name in words[::2] if name.lower() not in TRACKED]
        if unknown:
            self.refused += unknown
            text = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {unknown[0]}\0\0"
            await client.stream.send(_message(b"E", text.encode()))
            return False
        server = await self.acquire()
        self.release(server)
        told = b"".join(_message(b"S", f"{k}\0{v}\0".encode()) for k, v in self._told.items())
        key = _message(b"K", struct.pack("!ii", next(_PIDS), 1))  # a pooler's own: sessions have no fixed process
        await client.stream.send(_message(b"R", struct.pack("!i", 0)) + told + key + _message(b"Z", b"I"))
        return True

    async def acquire(self) -> Peer:
        """Take an idle session, or open one."""
        if self._idle:
            return self._idle.pop(-1 if self._turn == "last" else 0)
        server = Peer(await anyio.connect_unix(self._target))
        body = f"user\0retrovue\0database\0{self._database}\0\0".encode()
        await server.stream.send(struct.pack("!ii", len(body) + 8, 196608) + body)
        told: dict[str, str] = {}
        while (message := await server.message())[0] != b"Z":
            if message[0] == b"S":
                name, value = message[1][5:-1].decode().split("\0")
                told[name] = value
        self._told = {**told, **self._parameters}
        self.opened += 1
        return server

    def release(self, server: Peer) -> None:
        self._idle.append(server)

    async def close(self) -> None:
        for server in self._idle:
            await server.stream.aclose()


class _Link:
    """One client, and the session it has at the moment."""

    def __init__(self, pooler: Pooler, client: Peer, group: anyio.abc.TaskGroup) -> None:
        self._pooler = pooler
        self._client = client
        self._group = group
        self._server: Peer | None = None
        self._unanswered = 0

    async def run(self) -> None:
        try:
            while (message := await self._client.message())[0] != b"X":
                kind, whole = message
                if kind == b"Q" and self._pooler.cannot is not None and self._pooler.cannot in whole:
                    self._pooler.refused.append(self._pooler.cannot.decode())
                    text = f"SERROR\0VERROR\0C22023\0M{self._pooler.cannot.decode()} can't be had here\0\0"
                    await self._client.stream.send(_message(b"E", text.encode()) + _message(b"Z", b"I"))
                    continue
                if self._server is None:
                    self._server = await self._pooler.acquire()
                    self._group.start_soon(self._answers, self._server)
                self._unanswered += kind in b"QSF"
                await self._server.stream.send(whole)
        finally:
            if self._server is not None:  # what it left in its session is nobody else's business
                with anyio.CancelScope(shield=True):
                    await self._server.stream.aclose()

    async def _answers(self, server: Peer) -> None:
        try:
            while True:
                kind, whole = await server.message()
                if kind == b"Z":
                    self._unanswered -= 1
                    if whole[5:] == b"I" and not self._unanswered and self._pooler.mode == "transaction":
                        self._server = None
                        self._pooler.release(server)
                        await self._client.stream.send(whole)
                        return
                await self._client.stream.send(whole)
        except _GONE:
            await self._client.stream.aclose()


@asynccontextmanager
async def pooler(
    url: URL, directory: Path, mode: Mode, *, turn: Turn = "last", parameters: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[URL, Pooler]]:
    """Put a pooler before a database; yields its address. ``parameters`` are told instead of the server's own."""
    host = url.query["host"]
    assert isinstance(host, str)
    assert url.database is not None
    between = Pooler(Path(host) / ".s.PGSQL.5432", url.database, mode, turn, parameters or {})
    async with await anyio.create_unix_listener(directory / ".s.PGSQL.5432") as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, between.serve)
            yield url.set(query={**url.query, "host": str(directory)}), between
            group.cancel_scope.cancel()
        await between.close()
