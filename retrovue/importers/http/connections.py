"""The connections to one server, and its proof on new ones that it is the right server."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from retrovue.importers.http.answers import Answer

PROOF_SERVES_S = 2.0
"""Seconds for which a proof of identity serves further connections."""
_CONNECTS = frozenset({"connection.connect_tcp.started", "connection.connect_unix_socket.started"})
"""The events of httpcore before it opens a connection."""
_SENDS = "http11.send_request_headers.started"
"""Its event when a request has a connection."""


class NotConnected(Exception):
    """A request would have to open a connection."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How a server proves that it is the right one."""

    path: str
    """Tells who the server is, without the token."""
    check: Callable[[Answer], object]
    """Raises WrongIdentity or MalformedAnswer for the answer of another server."""


@dataclass(slots=True)
class Connections:
    """The connections to one server, as the events of httpcore tell of them, and its last proof."""

    open: int = 0
    """How many there are, if none was lost."""
    busy: int = 0
    """How many carry a request now."""
    proven: float | None = None
    """The time at which the last proof was asked for; None since a connection broke."""

    @contextmanager
    def tracing(self, *, connect: bool) -> Iterator[Callable[[str, Mapping[str, Any]], Awaitable[None]]]:
        """Yield the callback for the events of one request, which raises NotConnected unless it may ``connect``."""
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
        """Note a proof that was asked for at that time, on a connection that is free now."""
        self.proven = asked
        self.open = self.busy + 1

    def only_grow(self) -> bool:
        """Whether a request needs a connection because all others are busy, a moment after the last proof.

        Where one is missing instead, another server may have taken over the address.
        """
        if self.proven is None or anyio.current_time() - self.proven > PROOF_SERVES_S:
            return False
        return self.busy >= self.open > 0
