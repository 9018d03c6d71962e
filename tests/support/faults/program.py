"""The program itself as a process: killed at each of its failpoints, or sent a signal at a round trip."""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import orjson

from retrovue.simulator import SimulatedPlex, movie
from retrovue.store.addresses import database_url as parsed
from retrovue.store.log import list_log
from retrovue.store.session import Store
from retrovue.store.url import URL
from tests.support import schemas
from tests.support.faults.processes import Processes, processes
from tests.support.faults.proxy import CountingProxy, When, counting_proxy
from tests.support.faults.state import Catalogue, Report, Told, watched
from tests.support.faults.tally import Tally
from tests.support.world import ENABLED, NAME, TOKEN, bare_environment, movies, prepare, shows

_PAGE = 3
_INGEST = ("source", "ingest", NAME, "--json", "--concurrency", "1")
_SYNC = ("source", "sync", NAME, "--json", "--concurrency", "1")
_WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass(slots=True)
class Program:
    """One ingest by the program that can be run again and again from its beginning."""

    title: str
    catalogue: Catalogue
    processes: Processes
    proxy: CountingProxy
    url: URL
    command: Sequence[str]
    resumed: int = 0
    """How many items an ingest after a fault didn't read again, of all such ingests."""

    async def ingest(self, **options: Any) -> int:
        """Ingest to the process's end, and return its status."""
        return await anyio.to_thread.run_sync(lambda: self.processes.run(*self.command, **options))

    async def undisturbed(self) -> list[str]:
        """Ingest without a fault, which shows what the catalogue should become; returns the failpoints."""
        await self.catalogue.reset()
        self.proxy.disarm()
        assert await self.ingest(points=True) == 0, self.processes.out
        await self.catalogue.end_here()
        return self.processes.points

    def report(self) -> Report:
        """What the last ingest has said."""
        schemas.check(self.command, self.processes.out.decode())
        document = orjson.loads(self.processes.out)
        results = document["collection_results"]
        if not results:
            return None
        return {
            result["name"]: Told(
                "unknown" if result["code"] == "commit_unknown" else result["status"], result["created"]
            )
            for result in results
            if result["targeted"]
        }

    async def again(self) -> list[str]:
        """Ingest again without a fault; what isn't as it should be then?"""
        self.proxy.disarm()
        status = await self.ingest()
        problems = [f"the next ingest ended with {status}"] if status else []
        self.resumed += orjson.loads(self.processes.out)["total_resumed"]
        return problems + await self.catalogue.not_converged(self.report())

    async def at_work(self) -> list[str]:
        """Say of which runs the log tells that they go on, though nobody is left to do it."""
        async with Store(self.url, connections=1) as store, store.transaction() as session:
            listing = await list_log(session)
        return [
            f"{entry.collection_name} is said to be at work" for entry in listing.entries if entry.status == "running"
        ]


@asynccontextmanager
async def program(
    title: str,
    url: str,
    directory: Path,
    *,
    again: bool,
    atomic: bool = False,
    keeps: bool = False,
    syncing: bool = False,
) -> AsyncIterator[Program]:
    """Prepare a source of two collections on a simulated server; ``again`` with one ingest already behind it.

    ``atomic``: one transaction merges both. ``keeps``: listings of any size are kept, each page at once. ``syncing``: a
    sync of a library in which something of each kind has changed.
    """
    plex = SimulatedPlex([movies(), shows()], token=TOKEN)
    media = directory / "media"
    media.mkdir()
    async with (
        plex.serve() as address,
        watched(url) as catalogue,
        counting_proxy(parsed(url), directory) as (through, proxy),
    ):
        await prepare(url, address, media, ENABLED, plex.machine_identifier)
        await catalogue.rows(f"UPDATE source SET config = config || '{{\"page_size\": {_PAGE}}}'")
        environment = bare_environment(directory / "no-home")
        environment["RETROVUE_DATABASE_URL"] = through.render_as_string()
        with processes(environment, directory, keeps=keeps) as run:
            command = (*_INGEST, "--atomic") if atomic else _INGEST
            stage = Program(title, catalogue, run, proxy, parsed(url), command)
            if again or syncing:
                assert await stage.ingest() == 0, run.out
                section: Any = plex.sections[0]
                section.add(movie(106, "Dune"))
                section.change_file(102, "/data/movies/Moved.mkv")
            if syncing:
                stage.command = _SYNC
                section.edit(101, title="Another Title")
                section.remove(103)
                other: Any = plex.sections[1]
                other.replace_file(1101)
            await catalogue.begin_here()
            yield stage


def between_first_write_and_last_commit(points: Sequence[str]) -> float:
    """Which share of the failpoints lies where a design without transactions would be torn."""
    first = next(
        index for index, point in enumerate(points) if point.startswith(tuple(f"after {word}" for word in _WRITES))
    )
    last = max(index for index, point in enumerate(points) if point == "before COMMIT")
    return (last - first + 1) / len(points)


async def kill(stage: Program, points: Sequence[str], chosen: Sequence[int]) -> Tally:
    """Kill the process at each of the chosen failpoints, counted from one."""
    tally = Tally(stage.title)
    for number in chosen:
        what = f"killed at {number}, {points[number - 1][:60]}"
        await stage.catalogue.reset()
        with anyio.fail_after(120):
            status = await stage.ingest(kill_at=number)
        if status != -signal.SIGKILL:
            tally.miss(f"{what}: it ended with {status}")
            continue
        unclean = await stage.catalogue.until_backends(0)
        inconsistent = await stage.catalogue.inconsistent(atomic="--atomic" in stage.command)
        unclean += await stage.at_work()
        tally.take(what, inconsistent=inconsistent, false=[], unclean=unclean, apart=await stage.again())
    return tally


@dataclass(slots=True)
class Stopped:
    """How long it took from a signal to the end of the process, in seconds."""

    longest: float = 0.0


async def interrupt(
    stage: Program, moments: Sequence[tuple[int, When]], numbers: Sequence[signal.Signals]
) -> tuple[Tally, Stopped]:
    """Send a signal at each of these round trips, in turn one of these; every ingest has to tell the truth."""
    tally = Tally(stage.title)
    stopped = Stopped()
    for index, (trip, when) in enumerate(moments):
        number = numbers[index % len(numbers)]
        what = f"{number.name} {when} round trip {trip}"
        await stage.catalogue.reset()
        sent: list[float] = []
        pid = await anyio.to_thread.run_sync(lambda: stage.processes.start(*stage.command))
        stage.proxy.arm(trip, when, _sender(pid, number, sent))
        with anyio.fail_after(120):
            status = await anyio.to_thread.run_sync(stage.processes.wait)
        if not sent:
            tally.miss(what)
            continue
        stopped.longest = max(stopped.longest, time.monotonic() - sent[0])
        unclean = await stage.catalogue.until_backends(0)
        # One that had given its whole answer, and was only closing, ends with its own status.
        false = [] if status in {128 + number, 0} else [f"it ended with {status}"]
        false += await stage.catalogue.false_outcomes(stage.report())
        inconsistent = await stage.catalogue.inconsistent(atomic="--atomic" in stage.command)
        tally.take(what, inconsistent=inconsistent, false=false, unclean=unclean, apart=await stage.again())
    return tally, stopped


def _sender(pid: int, number: signal.Signals, sent: list[float]) -> Callable[[], None]:
    def send() -> None:
        sent.append(time.monotonic())
        os.kill(pid, number)

    return send
