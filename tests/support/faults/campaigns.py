"""The campaigns: one fault after the other, each on a fresh beginning, and what is found after each."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.lowlevel

from retrovue.core.pages import Page
from retrovue.core.runs import FULL
from retrovue.store.session import Store
from tests.support.faults.proxy import WHENS, Trip, When
from tests.support.faults.scenarios import Scenario
from tests.support.faults.stage import Product, Stage
from tests.support.faults.state import Report, Told
from tests.support.faults.tally import Tally
from tests.support.library import Step

HANG = 60
"""Seconds after which an ingest counts as hanging."""

Moment = tuple[int, When]


def moments(trips: Sequence[Trip], step: int = 1) -> list[Moment]:
    """Before and after each round trip, or each ``step``-th moment of these."""
    every = [(number, when) for number in range(1, len(trips) + 1) for when in WHENS]
    return every[::step]


def commits(trips: Sequence[Trip]) -> list[Moment]:
    """While each COMMIT is under way."""
    return [(number, "before") for number, trip in enumerate(trips, start=1) if trip.commits]


async def cut(stage: Stage, chosen: Sequence[Moment]) -> Tally:
    """Cut the connection at each of these moments, every time from the beginning."""
    return await _campaign(stage, "cut", chosen)


async def cancel(stage: Stage, chosen: Sequence[Moment]) -> Tally:
    """Cancel the caller's scope at each of these moments, every time from the beginning."""
    return await _campaign(stage, "cancelled", chosen)


async def _campaign(stage: Stage, fault: str, chosen: Sequence[Moment]) -> Tally:
    tally = Tally(f"{'control, ' if stage.control else ''}{stage.scenario.name}, {fault}")
    for number, when in chosen:
        what = f"{when} round trip {number}"
        async with stage.fresh() as ingest:
            scope = anyio.CancelScope()
            stage.proxy.arm(number, when, scope.cancel if fault == "cancelled" else None)
            with anyio.fail_after(HANG):
                report = await ingest(scope=scope)
            if not stage.proxy.happened:
                tally.miss(what)
                continue
            what = f"{what} ({stage.proxy.trips[number - 1].text})"
            unclean = await stage.leftovers(ingest)
            tally.take(
                what,
                inconsistent=await stage.catalogue.inconsistent(atomic=stage.scenario.atomic),
                false=await stage.catalogue.false_outcomes(report),
                unclean=unclean,
                apart=await stage.again(ingest, report),
            )
    return tally


class Shuffled(Sequence[Step]):
    """A listing whose pages and items come in another order each time."""

    def __init__(self, pages: Sequence[Step], rng: random.Random) -> None:
        self._pages = [page for page in pages if isinstance(page, Page)]
        self._rng = rng

    def __iter__(self) -> Iterator[Step]:
        for page in self._rng.sample(self._pages, len(self._pages)):
            yield Page(self._rng.sample(page.drafts, len(page.drafts)), list(page.rejected), page.source_items)

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, index: object) -> Step:  # type: ignore[override]
        raise TypeError("a shuffled listing is read from its beginning")


@dataclass(slots=True)
class Pairs:
    """What became of ingests that started together."""

    tally: Tally
    ingested: int = 0
    """Collections that one of the two ingested."""
    refused: int = 0
    """Collections of which the second was told that it is already running."""
    after: int = 0
    """Collections that the second came to when the first was done."""
    deadlocks: int = 0
    codes: set[str] = field(default_factory=set[str])
    """Of all failures."""


async def pair(stage: Stage, rounds: int, seed: int) -> Pairs:
    """Start two ingests at a barrier, each with a pool of its own, over listings in any order; again and again."""
    rng = random.Random(seed)
    pairs = Pairs(Tally(stage.scenario.name))
    listings = {name: Shuffled(pages, rng) for name, pages in stage.scenario.listings.items()}
    for number in range(1, rounds + 1):
        await stage.catalogue.reset()
        stage.library.script.listings.update(listings)
        reports = await _together(stage, rng)
        problems = _of_pair(pairs, reports, stage)
        unclean = await stage.catalogue.until_backends(0)
        apart = await stage.catalogue.not_converged(_merged(reports))
        inconsistent = await stage.catalogue.inconsistent()
        pairs.tally.take(f"pair {number}", inconsistent=inconsistent, false=problems, unclean=unclean, apart=apart)
    pairs.deadlocks = await stage.catalogue.deadlocks()
    return pairs


async def _together(stage: Stage, rng: random.Random) -> list[Report]:
    reports: list[Report] = []
    ready = anyio.Event()
    waiting = 0

    async def one(concurrency: int, head_start: int, *, whole: bool) -> None:
        nonlocal waiting
        before = stage.scenario.before
        scope = None if whole else FULL
        listings, mode = stage.scenario.listings, stage.scenario.mode
        scenario = Scenario("pair", listings, before, scope=scope, concurrency=concurrency, mode=mode)
        async with Store(stage.through) as store:
            waiting += 1
            if waiting == 2:
                ready.set()
            await ready.wait()
            for _ in range(head_start):
                await anyio.lowlevel.checkpoint()
            reports.append(await Product(scenario, stage.library, store)())

    with anyio.fail_after(HANG):
        async with anyio.create_task_group() as group:
            # One pair in four is a collection ingest and a source ingest.
            for whole in (rng.randrange(4) > 0, True):
                group.start_soon(partial(one, rng.randint(1, 3), rng.randint(0, 40), whole=whole))
    return reports


def _of_pair(pairs: Pairs, reports: Sequence[Report], stage: Stage) -> list[str]:
    problems = [] if all(report is not None for report in reports) else ["one of the two was refused as a whole"]
    for name in stage.scenario.listings:
        said = [report[name] for report in reports if report is not None and name in report]
        done = [one for one in said if one.status == "ingested"]
        pairs.ingested += bool(done)
        pairs.after += len(done) > 1
        if not done:
            problems.append(f"neither ingested {name}")
        if len(done) > 1 and all(one.created for one in done):
            problems.append(f"both created assets of {name}")
        for one in said:
            if one.status != "ingested":
                pairs.codes.add(str(one.code))
                pairs.refused += one.code == "already_running"
                if one.code != "already_running":
                    problems.append(f"{name}: {one}")
    return problems


def _merged(reports: Sequence[Report]) -> Mapping[str, Told]:
    merged: dict[str, Told] = {}
    for report in reports:
        for name, said in (report or {}).items():
            if name not in merged or said.status == "ingested":
                merged[name] = said
    return merged
