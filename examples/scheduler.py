"""A broadcast scheduler in small: it ingests every night, and between asks the catalogue for what to broadcast.

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
    """Wait until it is that time of the day again."""
    now = dt.datetime.now().astimezone()
    night = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    if night <= now:
        night += dt.timedelta(days=1)
    await asyncio.sleep((night - now).total_seconds())


async def ingest_nightly(store: Store, source: str, night: Callable[[], Awaitable[None]]) -> None:
    """Ingest each night. What goes wrong in one is told, and tried again in the next."""
    while True:
        await night()
        try:
            async with ingest_source(store, source) as run:
                pass
            print(f"Ingest: {run.summary.status}, {run.summary.total('created')} new assets to approve", flush=True)
        except RetrovueError as error:
            print(f"Ingest: {error.message}", flush=True)


async def broadcast(store: Store, every: float) -> None:
    """Ask for what may be broadcast, and show it one after the other."""
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

    # Signals are asked for by name: asyncio.run takes none but SIGINT, and not even that where the program was started
    # without it, as a shell does it for what it starts in the background. A scope goes on cancelling until all is over.
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anext(signals)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--at", type=dt.time.fromisoformat, default=dt.time(3, 30), help="when to ingest")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two looks into the catalogue")
    parser.add_argument("--now", action="store_true", help="ingest at once as well")
    given = parser.parse_args()
    asyncio.run(main(given.source, given.at, given.every, now=given.now))
