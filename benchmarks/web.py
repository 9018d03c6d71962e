"""python -m benchmarks.web: how long the server takes for the pages, with a million assets in the catalogue.

Libraries of films are ingested, and their rows are then multiplied. Each address is asked for several times by a client
that is no browser; the median and the longest are printed, and the bytes as they are sent. Then the search index is
made, titles are searched for again, and films are ingested with it and without.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.database import SOURCE, Databases, multiply, private_server
from benchmarks.harness import TOKEN, served
from benchmarks.scenarios import even
from retrovue import ingest_source, list_sources, set_search_index
from retrovue.service.serving import HostStatus
from retrovue.store.addresses import database_url
from retrovue.store.session import Store
from retrovue.web.server import page_served
from retrovue.web.settings import PageSettings

_ADDRESSES = (
    "/", "/overview/counts", "/assets", "/assets?title=zzzz", "/assets?title=copy+123456", "/assets?show=series",
    "/assets?state=ready", "/assets?availability=missing", "/assets?order=name", "/runs", "/changes", "/removals",
)  # fmt: skip
_SEARCHES = (
    "/assets?title=zzzz",
    "/assets?title=copy+123456",
    "/assets?title=copy+123",
    "/assets?show=zzzz",
    "/assets?show=copy+123",
)
_TIMES = 9
_PAID_BY = 20_000
"""Films that are ingested with the index and without."""
_ROUNDS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000, metavar="N", help="assets (default: 1,000,000)")
    parser.add_argument("--episodes", action="store_true", help="episodes instead of films")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrovue-bench-") as scratch:
        return anyio.run(_run, Path(scratch), options.items, "show" if options.episodes else "movie")


async def _run(scratch: Path, items: int, kind: Any) -> int:
    media = scratch / "media"
    media.mkdir()
    (media / "a disk").touch()
    async with private_server(scratch) as databases, served(even(4, 4_000, kind)) as plex:
        name = await databases.make(plex.url, TOKEN, media)
        async with Store(database_url(databases.url(name)), connections=4) as store:
            async with ingest_source(store, SOURCE):
                pass
            number = await multiply(store, items)
            print(f"{number:,} assets")
            async with (
                page_served(store, PageSettings(port=0), HostStatus("benchmark", works=True)) as url,
                httpx.AsyncClient(base_url=url, headers={"Accept": "text/html"}, timeout=120) as client,
            ):
                (listing,) = await list_sources(store)
                for address in (*_ADDRESSES, f"/sources/{listing.source.id}"):
                    await _measure(client, address)
                began = time.perf_counter()
                await set_search_index(store)
                print(f"The search index was made in {time.perf_counter() - began:,.1f} s")
                for address in _SEARCHES:
                    await _measure(client, address)
        await databases.drop(name)
        await _measure_ingest(databases, media, kind)
    return 0


async def _measure_ingest(databases: Databases, media: Path, kind: Any) -> None:
    """Measure what the search index costs an ingest: in turns with and without it, each into a catalogue of its own."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    async with served(even(4, _PAID_BY, kind)) as plex:
        template = await databases.make(plex.url, TOKEN, media)
        for _ in range(_ROUNDS):
            for indexed, taken in seconds.items():
                name = await databases.clone(template)
                async with Store(database_url(databases.url(name)), connections=4) as store:
                    await set_search_index(store, wanted=indexed)
                    began = time.perf_counter()
                    async with ingest_source(store, SOURCE):
                        pass
                    taken.append(time.perf_counter() - began)
                await databases.drop(name)
    without, with_it = (statistics.median(taken) for taken in seconds.values())
    print(f"An ingest of {_PAID_BY:,} titles: {with_it:.2f} s with the search index, {without:.2f} s without,"
          f" {with_it / without:.2f} ×")  # fmt: skip


async def _measure(client: httpx.AsyncClient, address: str) -> None:
    seconds: list[float] = []
    sent = 0
    for _ in range(_TIMES):
        began = time.perf_counter()
        async with client.stream("GET", address) as answer:
            sent = sum([len(piece) async for piece in answer.aiter_raw()])
        seconds.append(time.perf_counter() - began)
        answer.raise_for_status()
    median, most = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{address[:40]:<42}{median:>7,.0f} ms, at most {most:>6,.0f} ms, {sent:>7,} bytes")


if __name__ == "__main__":
    raise SystemExit(main())
