"""Schedules, hosts that look for due times, and a host that serves in a task."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ObjectReceiveStream

from retrovue.service.serving import Ended, serve
from retrovue.store import schedules
from retrovue.store.schedules import Claim, Host
from retrovue.store.session import Store

SOURCE = "A source"
NEVER = "0 0 29 2 *"
"""An expression that isn't due within the tests."""
DAY = dt.timedelta(days=1)


async def later(store: Store, by: dt.timedelta) -> dt.datetime:
    async with store.reading() as session:
        return await schedules.now_of(session) + by


async def look(host: Host, store: Store, now: dt.datetime) -> list[Claim]:
    async with store.transaction() as session:
        return await schedules.claim(session, host, now)


async def end(host: Host, store: Store, claim: Claim) -> bool:
    async with store.transaction() as session:
        return await schedules.end_run(session, host, claim, "ok", run_id=None, message=None)


@asynccontextmanager
async def served(store: Store, name: str = "A") -> AsyncIterator[ObjectReceiveStream[Ended]]:
    """Serve in a task until the block ends; gives the runs that end."""
    send, receive = anyio.create_memory_object_stream[Ended](100)
    async with anyio.create_task_group() as group, send, receive:

        async def work() -> None:
            await serve(store, name, on_ended=send.send_nowait)

        group.start_soon(work)
        yield receive
        group.cancel_scope.cancel()
