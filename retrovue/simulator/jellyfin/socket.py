"""The socket of a simulated Jellyfin server, by which it tells users what has changed."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import anyio
import orjson
from anyio.abc import SocketStream

from retrovue.simulator.request import Reply, Request

PATH = "/socket"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_READ = 65_536


class Sockets:
    """Who listens. What is sent while nobody does is lost, as at a real server."""

    def __init__(self) -> None:
        self._streams: set[SocketStream] = set()
        self._joined: anyio.Event | None = None
        self.answered: float = math.inf
        """How many signs of life the server answers before it falls silent."""
        self.keep_alives = 0
        """The signs of life that have come."""

    async def wait_for_listener(self) -> None:
        """Wait until somebody listens."""
        while not self._streams:
            self._joined = self._joined or anyio.Event()
            await self._joined.wait()

    def reply(self, request: Request) -> Reply:
        """Accept a client."""
        key = request.headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": accept}
        return Reply(status=101, headers=headers, upgrade=self._converse)

    async def emit(self, message_type: str, data: Any) -> None:
        """Send a message of a type, with its data."""
        await self.send_text(orjson.dumps({"MessageType": message_type, "MessageId": "0" * 32, "Data": data}).decode())

    async def send_text(self, text: str) -> None:
        """Send a text message to all that listen, whatever it is."""
        from wsproto.events import TextMessage  # noqa: PLC0415 - an extra

        await self.send(_connection().send(TextMessage(data=text)))

    async def send(self, data: bytes) -> None:
        """Send bytes as they are to all that listen."""
        for stream in self._streams:
            await stream.send(data)

    async def cut(self, *, politely: bool = True) -> None:
        """End all connections of those that listen, with a closing message or without."""
        from wsproto.events import CloseConnection  # noqa: PLC0415 - an extra

        streams, self._streams = self._streams, set()
        for stream in streams:
            if politely:
                await stream.send(_connection().send(CloseConnection(1001)))
            await stream.aclose()

    async def _converse(self, stream: SocketStream) -> None:
        from wsproto.events import CloseConnection, TextMessage  # noqa: PLC0415 - an extra

        connection = _connection()
        self._streams.add(stream)
        if self._joined is not None:
            self._joined.set()
            self._joined = None
        try:
            await stream.send(connection.send(TextMessage(data='{"MessageType":"ForceKeepAlive","Data":60}')))
            while True:
                connection.receive_data(await stream.receive(_READ))
                for event in connection.events():
                    if isinstance(event, CloseConnection):
                        return
                    if isinstance(event, TextMessage) and orjson.loads(event.data)["MessageType"] == "KeepAlive":
                        self.keep_alives += 1
                        if self.keep_alives <= self.answered:
                            await stream.send(connection.send(TextMessage(data='{"MessageType":"KeepAlive"}')))
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return
        finally:
            self._streams.discard(stream)


def library_changed(
    *,
    added: Sequence[str] = (),
    updated: Sequence[str] = (),
    removed: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> dict[str, Any]:
    """Make the data of a message LibraryChanged, from ids (LibraryUpdateInfo.cs)."""
    return {
        "FoldersAddedTo": list(libraries) if added else [],
        "FoldersRemovedFrom": list(libraries) if removed else [],
        "ItemsAdded": list(added),
        "ItemsRemoved": list(removed),
        "ItemsUpdated": list(updated),
        "CollectionFolders": list(libraries),
        "IsEmpty": not (added or updated or removed),
    }


def _connection() -> Any:
    from wsproto.connection import Connection, ConnectionType  # noqa: PLC0415 - an extra

    return Connection(ConnectionType.SERVER)
