"""Connections to the databases of tests that stay open from one test to the next.

For a new connection PostgreSQL starts a process, which reads the system catalogues anew: to look at a database over one
that is open costs it a fifth.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
from anyio.from_thread import BlockingPortal

T = TypeVar("T")
Look = Callable[[Any], Awaitable[T]]
"""What is done with a connection; if that was lost, it is done again with a new one."""

NAME = "observer of the tests"
"""The name of these connections in ``pg_stat_activity``."""

_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)


class Observers:
    """One connection to each database that was looked at, in the event loop of a portal."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self._connections: dict[str, Any] = {}
        """By address; None once it was lost."""

    def look(self, url: str, look: Look[T]) -> T:
        """Return what a function makes of a connection to a database; raises what asyncpg raises."""
        return self._portal.call(self._look, address(url), look)

    def forget(self, url: str) -> None:
        """Close the connection to a database, which is to be copied or dropped."""
        connection = self._connections.pop(address(url), None)
        if KEPT.get(address(url)) is self:
            del KEPT[address(url)]
        if connection is not None:
            self._portal.call(connection.close)

    def close(self) -> None:
        """Close all connections."""
        for one in list(self._connections):
            self.forget(one)

    async def _look(self, at: str, look: Look[T]) -> T:
        if connection := self._connections.get(at):
            try:
                return await look(connection)
            except _LOST:  # a test has ended it
                connection.terminate()
                self._connections[at] = None
        self._connections[at] = await asyncpg.connect(at, server_settings={"application_name": NAME})
        return await look(self._connections[at])


def address(url: str) -> str:
    """Return the URL of a database as asyncpg takes it."""
    return url.replace("+asyncpg", "")


KEPT: dict[str, Observers] = {}
"""By address, who observes a database for longer than a test."""


def look(portal: BlockingPortal, url: str, look: Look[T]) -> T:
    """Return what a function makes of a connection to a database: of the one that is kept, or of one of its own."""
    if observers := KEPT.get(address(url)):
        return observers.look(url, look)
    return portal.call(_alone, address(url), look)


async def _alone(at: str, look: Look[T]) -> T:
    connection = await asyncpg.connect(at)
    try:
        return await look(connection)
    finally:
        await connection.close()
