"""Workers in the test's process, with little patience, and runs that are asked of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream
from msgspec.structs import replace

from retrovue.core.results import IngestSummary
from retrovue.ingest.options import IngestOptions
from retrovue.service.engine import EngineTimes
from retrovue.service.jobs import JobResult, JobTimes
from retrovue.service.requesting import follow_run, request_run
from retrovue.service.worker import work_jobs
from retrovue.store.session import Store

SOURCE = "A source"
QUICK = JobTimes(
    engine=EngineTimes(heartbeat_s=0.2, stalled_s=2.0, poll_s=0.1), look_s=0.2, gone_s=2.0, busy_s=0.1, lease_s=4.0
)
"""Of a worker whose end others notice soon. On a loaded machine one may seem to be gone that isn't."""
USUAL = replace(QUICK, engine=replace(QUICK.engine, stalled_s=600.0), gone_s=600.0, lease_s=600.0)
"""Of one that never seems to be gone."""
PATIENCE_S = 60


@asynccontextmanager
async def worker(store: Store, name: str = "A", **options: Any) -> AsyncIterator[ObjectReceiveStream[JobResult]]:
    """Work jobs until the block ends, once the worker is there; gives the collections that were worked."""
    send, receive = anyio.create_memory_object_stream[JobResult](100)
    ready = anyio.Event()
    async with anyio.create_task_group() as group, send, receive:

        async def run() -> None:
            given = {"times": USUAL, "on_worked": send.send_nowait, "on_joined": ready.set, **options}
            await work_jobs(store, name, **given)

        group.start_soon(run)
        with anyio.fail_after(PATIENCE_S):
            await ready.wait()
        yield receive
        group.cancel_scope.cancel()


async def asked(store: Store, options: IngestOptions | None = None, source: str = SOURCE) -> IngestSummary:
    """Ask for a run, and follow it to its end."""
    requested = await request_run(store, source, options)
    return await followed(store, requested.id)


async def followed(store: Store, request: Any) -> IngestSummary:
    """Follow a run to its end."""
    with anyio.fail_after(PATIENCE_S):
        async with follow_run(store, request) as run:
            pass
    return run.summary
