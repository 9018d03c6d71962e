"""A wire to PostgreSQL that can be cut at a chosen message."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import anyio.abc

from retrovue.store.url import URL

When = Literal["before", "after"]


class Wire:
    """Forwards all bytes; after a certain statement it cuts the connection around that statement's COMMIT."""

    def __init__(self, target: Path, statement: bytes, when: When) -> None:
        self.cuts = 0
        self._target = target
        self._statement = statement
        self._when = when
        self._silent = False
        self._committed = anyio.Event()

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client, await anyio.connect_unix(self._target) as server, anyio.create_task_group() as group:
            group.start_soon(self._answers, server, client, group.cancel_scope)
            await self._questions(client, server)
            group.cancel_scope.cancel()

    async def _questions(self, client: anyio.abc.SocketStream, server: anyio.abc.SocketStream) -> None:
        seen = False
        try:
            async for chunk in client:
                seen = seen or self._statement in chunk
                if seen and b"COMMIT;" in chunk and not self.cuts:
                    self.cuts += 1
                    if self._when == "after":
                        self._silent = True
                        await server.send(chunk)
                        await self._committed.wait()
                    return
                await server.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def _answers(
        self, server: anyio.abc.SocketStream, client: anyio.abc.SocketStream, scope: anyio.CancelScope
    ) -> None:
        try:
            async for chunk in server:
                if self._silent and not self._committed.is_set():
                    # The answer to COMMIT: the client never sees it.
                    self._committed.set()
                    return
                await client.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def cut_at_commit_of(url: URL, statement: bytes, when: When, directory: Path) -> AsyncIterator[tuple[URL, Wire]]:
    """Lay a wire that is cut once, before or after the server has seen the COMMIT that follows the statement."""
    host = url.query["host"]
    assert isinstance(host, str)
    wire = Wire(Path(host) / ".s.PGSQL.5432", statement, when)
    listener = await anyio.create_unix_listener(directory / ".s.PGSQL.5432")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, wire.serve)
        yield url.set(query={**url.query, "host": str(directory)}), wire
        group.cancel_scope.cancel()


@asynccontextmanager
async def refusing(url: URL, answer: bytes, times: int, directory: Path) -> AsyncIterator[URL]:
    """Lay a wire that answers the first connections itself, as a server does that can't take them, and cuts them."""
    host = url.query["host"]
    assert isinstance(host, str)
    wire = Wire(Path(host) / ".s.PGSQL.5432", b"", "before")
    wire.cuts = 1
    left = times

    async def serve(client: anyio.abc.SocketStream) -> None:
        nonlocal left
        if not left:
            await wire.serve(client)
            return
        left -= 1
        async with client:
            await client.receive()
            await client.send(answer)

    listener = await anyio.create_unix_listener(directory / ".s.PGSQL.5432")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield url.set(query={**url.query, "host": str(directory)})
        group.cancel_scope.cancel()
