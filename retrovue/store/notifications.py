"""Receive PostgreSQL's NOTIFY, which announces that there is something new to read."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from retrovue.core.errors import StoreUnavailable
from retrovue.store.session import Store, connected, translated


@asynccontextmanager
async def notifications(store: Store, channel: str, name: str) -> AsyncIterator[Callable[[], anyio.Event]]:
    """Listen to a channel; yields a function that returns an event, which the next notification sets.

    It holds its own connection, which ``pg_stat_activity`` shows under ``name``. Poolers that share connections
    don't pass notifications on, so also look at regular intervals. The function raises StoreUnavailable when the
    connection is lost, which sets the events as well.
    """
    waiting: list[anyio.Event] = []

    def wake(*_: object) -> None:
        while waiting:
            waiting.pop().set()

    def awaited() -> anyio.Event:
        if driver.is_closed():
            raise StoreUnavailable("The connection that listens for notifications was lost.")
        waiting.append(anyio.Event())
        return waiting[-1]

    async with connected(store, name) as connection:
        with translated():
            driver = connection.driver
            await driver.add_listener(channel, wake)
            driver.add_termination_listener(wake)
        yield awaited
