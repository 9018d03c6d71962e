"""A small broadcast scheduler: ingests every night, and reads from the catalogue which assets to broadcast.

python examples/scheduler.py "My Plex Server" --at 03:30
"""

import argparse
import asyncio
import datetime as dt
import signal
from collections.abc import Awaitable, Callable

import anyio

from retrovue import RetrovueError, Settings, Store, get_asset, ingest_source, iter_assets, open_store


async def until(at: dt.time) -> None:
    """Wait until the next time that it is this time of day."""
    now = dt.datetime.now().astimezone()
    night = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    if night <= now:
        night += dt.timedelta(days=1)
    await asyncio.sleep((night - now).total_seconds())


async def ingest_nightly(store: Store, source: str, night: Callable[[], Awaitable[None]]) -> None:
    """Ingest each night. A failure is printed; the next night tries again."""
    while True:
        await night()
        try:
            async with ingest_source(store, source) as run:
                pass
            print(f"Ingest: {run.summary.status}, {run.summary.total('created')} new assets to approve", flush=True)
        except RetrovueError as error:
            print(f"Ingest: {error.message}", flush=True)


async def broadcast(store: Store, every: float) -> None:
    """Print the assets that may be broadcast, again and again."""
    while True:
        async for asset in iter_assets(store, state="ready"):
            files = [file.local_path for file in (await get_asset(store, asset.uuid)).files]
            print(f"On air: {asset.title} from {', '.join(files)}", flush=True)
        await asyncio.sleep(every)


async def main(source: str, at: dt.time, every: float, *, now: bool) -> None:
    """Ingest and broadcast, until SIGINT or SIGTERM."""
    first = [now]

    async def night() -> None:
        if first and first.pop():
            return
        await until(at)

    async def work() -> None:
        async with open_store(Settings.from_environment()) as store, anyio.create_task_group() as both:
            both.start_soon(ingest_nightly, store, source, night)
            both.start_soon(broadcast, store, every)

    # asyncio.run handles SIGINT only, and not in a program that a shell started in the background: there it is ignored.
    # The cancel scope cancels again until all tasks have ended.
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anext(signals)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--at", type=dt.time.fromisoformat, default=dt.time(3, 30), help="when to ingest")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two reads of the catalogue")
    parser.add_argument("--now", action="store_true", help="ingest at once as well")
    options = parser.parse_args()
    asyncio.run(main(options.source, options.at, options.every, now=options.now))
