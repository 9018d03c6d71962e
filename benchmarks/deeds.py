"""python -m benchmarks.deeds: how long it takes to decide about a million assets, and to wipe them.

A library of films is ingested, and its rows are then multiplied. Each deed is done once, in a copy of that catalogue,
by the function that its command calls. Printed are its seconds, PostgreSQL's seconds of CPU, and what it writes to the
write-ahead log.
"""

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from benchmarks.database import SOURCE, multiply, private_server
from benchmarks.harness import TOKEN, served
from benchmarks.scenarios import even
from retrovue import approve_matching, ingest_source, list_collections, retire_matching, wipe_collection
from retrovue.store.addresses import database_url
from retrovue.store.session import Store


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deeds", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000, metavar="N", help="assets (default: 1,000,000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrovue-bench-") as scratch:
        return anyio.run(_run, Path(scratch), options.items)


async def _run(scratch: Path, items: int) -> int:
    media = scratch / "media"
    media.mkdir()
    (media / "a disk").touch()
    async with private_server(scratch) as databases, served(even(1, 4_000)) as plex:
        template = await databases.make(plex.url, TOKEN, media)
        async with Store(database_url(databases.url(template)), connections=4) as store:
            async with ingest_source(store, SOURCE):
                pass
            print(f"{await multiply(store, items):,} assets")
            (collection,) = await list_collections(store)
        await databases.vacuum(template)
        deeds: dict[str, Callable[[Store], Awaitable[Any]]] = {
            "approve": approve_matching,
            "retire": retire_matching,
            "wipe": lambda store: wipe_collection(store, str(collection.id)),
        }
        for word, deed in deeds.items():
            name = await databases.clone(template)
            async with Store(database_url(databases.url(name)), connections=4) as store:
                await databases.settle()
                log, cpu, began = (await databases.written(name)).log, databases.cpu(), time.perf_counter()
                await deed(store)
                seconds, spent = time.perf_counter() - began, databases.cpu() - cpu
                written = (await databases.written(name)).log - log
            print(f"{word:<10}{seconds:>7.1f} s, {spent:>6.1f} s of CPU, {written >> 20:>6,} MiB of log")
            await databases.drop(name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
