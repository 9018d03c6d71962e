"""The connections to a media server: what they read at once, and whether their other end has closed them."""

import os
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import anyio.abc
import anyio.to_thread
import httpcore
import httpx
import pytest

from retrovue.importers.http.transport import PIECE, Stream, make_transport
from retrovue.simulator import GeneratedSection, SimulatedPlex
from tests.support.plex import collection, plex, read_all

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Stream, anyio.abc.SocketStream]]:
    """Open a connection of the kind that requests use; yields it and the server's end."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        ours = Stream(await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", port))
        theirs = await cast("anyio.abc.SocketListener", listener.listeners[0]).accept()
        try:
            yield ours, theirs
        finally:
            await ours.aclose()
            await theirs.aclose()


async def until_readable(stream: Stream) -> None:
    number = stream.get_extra_info("socket").fileno()
    await anyio.to_thread.run_sync(select.select, [number], [], [])


async def test_the_end_of_an_idle_connection_is_noticed() -> None:
    async with connected() as (stream, peer):
        assert not stream.get_extra_info("is_readable")
        await peer.aclose()
        await until_readable(stream)
        assert stream.get_extra_info("is_readable")


async def test_a_closed_connection_counts_as_ended_even_if_another_has_its_number() -> None:
    async with connected() as (stream, _):
        assert not stream.get_extra_info("is_readable")
        number = stream.get_extra_info("socket").fileno()
        await stream.aclose()
        read, write = os.pipe()
        try:
            if number not in {read, write}:
                os.dup2(read, number)
            assert not select.select([number], [], [], 0)[0]  # Nothing is to be read from what has the number now.
            assert stream.get_extra_info("is_readable")
        finally:
            for one in {read, write, number}:
                os.close(one)


async def test_a_connection_may_have_ended_at_once() -> None:
    async with connected() as (stream, _):
        await stream.aclose()
        assert Stream(stream).get_extra_info("is_readable")


async def test_a_connection_tells_httpcore_the_rest() -> None:
    async with connected() as (stream, _):
        assert stream.get_extra_info("ssl_object") is None
        host, port = stream.get_extra_info("server_addr")
        assert (host, port) == stream.get_extra_info("socket").getpeername()


async def test_large_pieces_are_read() -> None:
    async with connected() as (stream, peer), anyio.create_task_group() as group:
        group.start_soon(peer.send, b"x" * (2 * PIECE))
        sizes = list[int]()
        while sum(sizes) < 2 * PIECE:
            sizes.append(len(await stream.read(1000)))
        assert max(sizes) > 1000
        assert max(sizes) <= PIECE


async def test_the_pool_connects_like_that() -> None:
    transport = make_transport(False, connections=2, keepalive_s=15)
    streams = list[object]()

    async def trace(event: str, info: dict[str, object]) -> None:
        if event == "connection.connect_tcp.complete":
            streams.append(info["return_value"])

    async with SimulatedPlex().serve() as url, transport:
        request = httpx.Request("GET", f"{url}/identity", extensions={"trace": trace})
        answer = await transport.handle_async_request(request)
        await answer.aclose()
        assert answer.status_code == 200
    assert [type(stream) for stream in streams] == [Stream]


async def test_a_listing_is_read_by_them() -> None:
    async with plex(GeneratedSection("1", "Films", count=700)) as (_, importer):
        page = await read_all(importer, collection())
    assert len({draft.source_uri for draft in page.drafts}) == len(page.drafts) >= 700
