"""The connections to one server, and the proof of the server's identity on new connections."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
from msgspec import Struct

from retrovue.importers.http.answers import Answer

PROOF_SERVES_S = 2.0
"""Seconds for which a proof of identity is valid for further connections."""
_CONNECTS = frozenset({"connection.connect_tcp.started", "connection.connect_unix_socket.started"})
"""The events of httpcore before it opens a connection."""
_SENDS = "http11.send_request_headers.started"
"""The event of httpcore when a request has got a connection."""
_PASSES = 10
"""The passes of the event loop in which a request that has got a free connection begins to use it."""


class NotConnected(Exception):
    """A request would have to open a connection."""


class Proof(Struct, frozen=True):
    """How a server proves its identity."""

    path: str
    """Returns the server's identity, without the token."""
    check: Callable[[Answer], object]
    """Raises WrongIdentity or MalformedAnswer for the answer of another server."""


class Connections(Struct):
    """The connections to one server, according to the events of httpcore, and the last proof."""

    open: int = 0
    """The number of connections, if none was lost."""
    busy: int = 0
    """The number of connections that are in use."""
    proven: float | None = None
    """When the last proof was requested; None since a connection broke."""

    @contextmanager
    def tracing(self, *, connect: bool) -> Iterator[Callable[[str, Mapping[str, Any]], Awaitable[None]]]:
        """Yield the callback for the events of one request; it raises NotConnected unless ``connect`` is set."""
        holds = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal holds
            if event in _CONNECTS:
                if not connect:
                    raise NotConnected
                self.open += 1
            elif event != _SENDS:
                return
            if not holds:
                holds = True
                self.busy += 1

        try:
            yield trace
        finally:
            self.busy -= holds

    def prove(self, asked: float) -> None:
        """Note a proof that was requested at a time, on a connection that is free now."""
        self.proven = asked
        self.open = self.busy + 1

    async def only_grow(self) -> bool:
        """Return whether a request needs a connection because all others are in use, shortly after the last proof.

        If a connection is missing instead, another server may have taken over the address.
        """
        for _ in range(_PASSES):
            if self.proven is None or anyio.current_time() - self.proven > PROOF_SERVES_S:
                return False
            if self.busy >= self.open > 0:
                return True
            await anyio.lowlevel.checkpoint()
        return False
