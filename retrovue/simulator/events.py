"""The stream of events of a simulated Plex server."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import orjson
from anyio.streams.memory import MemoryObjectSendStream

from retrovue.simulator.request import Reply

PATH = "/:/eventsource/notifications"
_LIBRARIES = "com.plexapp.plugins.library"


class Events:
    """Whoever listens, and what they are told. What is sent while nobody listens is lost, as at a real server."""

    def __init__(self) -> None:
        self._listeners: set[MemoryObjectSendStream[bytes]] = set()
        self._joined: anyio.Event | None = None

    @property
    def listeners(self) -> int:
        """How many listen now, or have left without the server having noticed."""
        return len(self._listeners)

    async def wait_for_listener(self) -> None:
        """Wait until somebody listens."""
        while not self._listeners:
            self._joined = self._joined or anyio.Event()
            await self._joined.wait()

    def reply(self) -> Reply:
        """Begin to tell a client, from now on."""
        send, receive = anyio.create_memory_object_stream[bytes](math.inf)
        self._listeners.add(send)
        if self._joined is not None:
            self._joined.set()
            self._joined = None

        async def pieces() -> AsyncGenerator[bytes, None]:
            try:
                async with receive:
                    async for piece in receive:
                        yield piece
            finally:
                send.close()
                self._listeners.discard(send)

        return Reply(headers={"Content-Type": "text/event-stream"}, framing="close", stream=pieces())

    def emit(self, name: str, data: Any) -> None:
        """Send an event of a name, with its data."""
        self.send(b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data)))

    def send(self, piece: bytes) -> None:
        """Send bytes as they are."""
        for listener in self._listeners:
            listener.send_nowait(piece)

    def cut(self) -> None:
        """End all connections of those who listen."""
        listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            listener.close()


def processed(section: int | str, item: int | str, **fields: Any) -> dict[str, Any]:
    """Make the data of an event: an item is ready, as after it was added or refreshed."""
    entry = {"identifier": _LIBRARIES, "sectionID": section, "itemID": item, "type": 1, "state": 5, "title": "An item"}
    return {"TimelineEntry": entry | fields}


def deleted(section: int | str, item: int | str, **fields: Any) -> dict[str, Any]:
    """Make the data of an event: an item was deleted."""
    return processed(section, item, **{"state": 9, "metadataState": "deleted", "type": -1} | fields)
