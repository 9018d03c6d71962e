"""python -m tests.faults.soak: every fault of the database's wire, of processes and of cancellation, at every moment.

Starts a PostgreSQL and a simulated Plex server of its own. Prints a table of what was injected and what was found; ends
with status 1 if anything was wrong, or if the control was not found wrong.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import anyio

from retrovue.store.addresses import database_url
from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from tests.conftest import Packages
from tests.support.faults.campaigns import Moment, cancel, commits, cut, moments, pair
from tests.support.faults.program import Program, between_first_write_and_last_commit, interrupt, kill, program
from tests.support.faults.scenarios import FIRST, PAIRS, SCENARIOS, Scenario
from tests.support.faults.stage import Stage, staged
from tests.support.faults.tally import Tally

SHOWN = 20
_NOT_THE_SAME_EACH_TIME = 6
"""Of the last round trips of collections that are at work at once, how many may not come: their order differs."""


class Soak:
    """One run of all campaigns, or of some."""

    def __init__(self, server: EmbeddedServer, scratch: Path, step: int, seed: int, only: str) -> None:
        """``only``: leave out the scenarios and programs without this in their title."""
        self._only = only
        self._server = server
        self._scratch = scratch
        self._step = step
        self._seed = seed
        self._rng = random.Random(seed)
        self.failed = False

    async def _fresh(self) -> tuple[str, Path]:
        name = f"soak_{uuid.uuid4().hex[:8]}"
        await self._server.ensure_database(name)
        async with Store(database_url(self._server.url(name)), connections=1) as store:
            await upgrade(store, "production")
        directory = self._scratch / name[-8:]
        directory.mkdir()
        return self._server.url(name), directory

    @asynccontextmanager
    async def _stage(self, scenario: Scenario, *, control: bool = False) -> AsyncIterator[Stage]:
        url, directory = await self._fresh()
        async with staged(scenario, url, directory, control=control) as stage:
            yield stage

    @asynccontextmanager
    async def _program(
        self, title: str, *, again: bool, atomic: bool = False, keeps: bool = False, syncing: bool = False
    ) -> AsyncIterator[Program]:
        url, directory = await self._fresh()
        about = {"again": again, "atomic": atomic, "keeps": keeps, "syncing": syncing}
        async with program(title, url, directory, **about) as stage:
            yield stage

    def _show(self, tally: Tally, began: float, note: str = "", *, wrong: bool = False) -> None:
        spent = time.monotonic() - began
        cells = [
            tally.title, tally.injected, tally.inconsistent, tally.false_outcomes, tally.unclean, tally.converged,
            f"{note}{'; ' if note else ''}{spent:.0f} s",
        ]  # fmt: skip
        print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)
        if not wrong and (tally.problems or tally.missed or tally.converged != tally.injected):
            self.failed = True
            for problem in tally.problems[:SHOWN]:
                print(f"  {problem}", file=sys.stderr, flush=True)

    def _require(self, held: object, what: str) -> None:
        if not held:
            self.failed = True
            print(f"  {what}", file=sys.stderr, flush=True)

    def _chosen(self, scenarios: Sequence[Scenario]) -> list[Scenario]:
        return [scenario for scenario in scenarios if self._only in scenario.name]

    async def cuts(self) -> None:
        """Every round trip, before and after; the control last."""
        for scenario in self._chosen(SCENARIOS):
            async with self._stage(scenario) as stage:
                trips = await stage.trips()
                every = moments(trips, self._step)
                chosen = _certain(scenario, every, len(trips))
                began = time.monotonic()
                self._show(await cut(stage, chosen), began, f"{len(trips)} round trips")
        if self._only:
            return
        async with self._stage(FIRST, control=True) as stage:
            trips = await stage.trips()
            began = time.monotonic()
            tally = await cut(stage, moments(trips))
            share = tally.wrong / tally.injected
            self._show(tally, began, f"{len(trips)} round trips; {share:.0%} found wrong", wrong=True)
            self._require(share > 0.5, "the control was not found wrong at more than half of the cuts")

    async def cancellations(self) -> None:
        """A part of the round trips, and every commit while it is under way."""
        for scenario in self._chosen(SCENARIOS):
            async with self._stage(scenario) as stage:
                trips = await stage.trips()
                every = moments(trips, 7 * self._step)
                chosen = _certain(scenario, every, len(trips))
                began = time.monotonic()
                self._show(await cancel(stage, chosen), began)
                await stage.catalogue.widen_commits()
                began = time.monotonic()
                tally = await cancel(stage, [m for m in commits(trips) if scenario.concurrency == 1 or m in every])
                tally.title += " in COMMIT"
                self._show(tally, began)

    async def kills(self) -> None:
        """Every failpoint of the program."""
        kinds = {
            "first ingest": {"again": False},
            "re-ingest": {"again": True},
            "unit of work": {"again": True, "atomic": True},
            "sync": {"again": True, "syncing": True},
        }
        for keeps, (kind, about) in product((False, True), kinds.items()):
            title = f"kill -9, {kind}{', pages kept' if keeps else ''}"
            if self._only not in title:
                continue
            async with self._program(title, keeps=keeps, **about) as stage:
                points = await stage.undisturbed()
                share = between_first_write_and_last_commit(points)
                began = time.monotonic()
                tally = await kill(stage, points, range(1, len(points) + 1, self._step))
                note = f"{share:.0%} between first write and last commit"
                self._show(tally, began, f"{note}; {stage.resumed} items not read again" if keeps else note)
                self._require(share >= 0.25, "too few kills lie between the first write and the last commit")
                self._require(not keeps or stage.resumed, "nothing that was kept was ever used")

    async def signals(self) -> None:
        """SIGINT and SIGTERM, in turn, at a part of the round trips."""
        kinds = {"first ingest": (False, False), "re-ingest": (True, False), "sync": (True, True)}
        for kind, (again, syncing) in kinds.items():
            title = f"signals, {kind}"
            if self._only not in title:
                continue
            async with self._program(title, again=again, syncing=syncing) as stage:
                await stage.undisturbed()
                trips = list(stage.proxy.trips)
                began = time.monotonic()
                tally, stopped = await interrupt(stage, moments(trips, 5 * self._step), (signal.SIGINT, signal.SIGTERM))
                self._show(tally, began, f"longest {stopped.longest:.2f} s to the end")

    async def pairs(self) -> None:
        """A hundred pairs that start at a barrier."""
        for scenario in self._chosen(PAIRS):
            async with self._stage(scenario) as stage:
                await stage.trips()
                began = time.monotonic()
                pairs = await pair(stage, max(1, 50 // self._step), self._rng.randrange(2**32))
                note = f"{pairs.refused} refused, {pairs.after} after the other, {pairs.deadlocks} deadlocks"
                self._show(pairs.tally, began, f"{pairs.ingested} ingested, {note}")
                self._require(not pairs.deadlocks, "there were deadlocks")


def _certain(scenario: Scenario, chosen: Sequence[Moment], trips: int) -> list[Moment]:
    last = trips if scenario.concurrency == 1 else trips - _NOT_THE_SAME_EACH_TIME
    return [moment for moment in chosen if moment[0] <= last]


CAMPAIGNS: dict[str, Callable[[Soak], Awaitable[None]]] = {
    "cuts": Soak.cuts,
    "cancellations": Soak.cancellations,
    "kills": Soak.kills,
    "signals": Soak.signals,
    "pairs": Soak.pairs,
}


async def _run(chosen: Sequence[str], step: int, seed: int, only: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="rv") as name:
        scratch = Path(name)
        (scratch / "packages").mkdir()
        sys.path.append(str(scratch / "packages"))
        Packages(scratch / "packages").install("scripted", scripted="tests.support.library:ScriptedImporter")
        async with embedded_server(scratch / "postgres", durable=False) as server:
            soak = Soak(server, scratch, step, seed, only)
            for campaign in chosen:
                await CAMPAIGNS[campaign](soak)
    return soak.failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=f"only these: {', '.join(CAMPAIGNS)}")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="only each Nth moment (default: 1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios with this in their title")
    parser.add_argument("--seed", type=int, metavar="N", help="of the pairs' order (default: another each time)")
    options = parser.parse_args(arguments)
    if unknown := set(options.campaigns) - set(CAMPAIGNS):
        parser.error(f"there is no campaign {', '.join(sorted(unknown))}")
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}\n")
    print("| Campaign | Injected | Inconsistent | False outcomes | Left behind | Converged | |")
    print("|---|---|---|---|---|---|---|", flush=True)
    return int(anyio.run(_run, options.campaigns or list(CAMPAIGNS), options.step, seed, options.only))


if __name__ == "__main__":
    sys.exit(main())
