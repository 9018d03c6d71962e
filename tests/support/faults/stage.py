"""A scenario on the stage: its database behind the proxy, and each fault on a fresh beginning."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from retrovue.errors import RetrovueError
from retrovue.ingest.collector import IngestRun
from retrovue.store.addresses import database_url as parsed
from retrovue.store.session import Store
from retrovue.store.url import URL
from tests.support.faults import naive
from tests.support.faults.proxy import CountingProxy, Trip, counting_proxy
from tests.support.faults.scenarios import Scenario
from tests.support.faults.state import Catalogue, Report, told, watched
from tests.support.library import Library


class Ingest(Protocol):
    """What is put to the test: RetroVue, or the control."""

    async def __call__(self, *, retry: bool = False, scope: anyio.CancelScope | None = None) -> Report:
        """Ingest once, within a scope that may be cancelled, and say what became of each collection."""

    def pooled(self) -> Sequence[int]:
        """Count the connections that are checked out, and those that wait in the pools."""


@dataclass(slots=True)
class Product:
    """RetroVue, by its library interface, on one open store."""

    scenario: Scenario
    library: Library
    store: Store

    async def __call__(self, *, retry: bool = False, scope: anyio.CancelScope | None = None) -> Report:
        entered: IngestRun | None = None
        try:
            with scope or anyio.CancelScope():
                async with self.scenario.run(self.library, self.store, retry=retry) as run:
                    entered = run
        except RetrovueError:
            return None
        return None if entered is None else told(entered.summary)

    def pooled(self) -> Sequence[int]:
        pools = [self.store.data.pool, self.store.audit.pool]
        return [sum(pool.checkedout() for pool in pools), sum(pool.checkedin() for pool in pools)]  # type: ignore[attr-defined]


@dataclass(slots=True)
class Control:
    """The naive ingest."""

    scenario: Scenario
    address: str

    async def __call__(self, *, retry: bool = False, scope: anyio.CancelScope | None = None) -> Report:  # noqa: ARG002 - of neither does it know
        try:
            return await naive.ingest(self.address, self.scenario.listings)
        except naive.LOST:
            return None

    def pooled(self) -> Sequence[int]:
        return [0, 0]


@dataclass(slots=True)
class Stage:
    """A scenario that can be run again and again from its beginning."""

    scenario: Scenario
    library: Library
    catalogue: Catalogue
    proxy: CountingProxy
    through: URL
    control: bool = False

    @asynccontextmanager
    async def ingest(self) -> AsyncIterator[Ingest]:
        """Open what is put to the test, through the proxy."""
        if self.control:
            yield Control(self.scenario, self.through.render_as_string().replace("+asyncpg", ""))
            return
        async with Store(self.through) as store:
            yield Product(self.scenario, self.library, store)

    async def trips(self) -> list[Trip]:
        """The round trips of an ingest that nothing disturbs, which shows what the catalogue should become."""
        async with self.fresh() as ingest:
            trips = list(self.proxy.trips) if await ingest() else []
        if self.scenario.broken is not None:
            self.library.script.listings.update(self.scenario.listings)
            async with self.fresh(broken=False) as ingest:
                await ingest()
        await self.catalogue.end_here()
        problems = await self.catalogue.inconsistent()
        assert not problems, problems
        return trips

    @asynccontextmanager
    async def fresh(self, *, broken: bool = True) -> AsyncIterator[Ingest]:
        """Open what is put to the test, at the beginning, with nothing counted yet."""
        await self.catalogue.reset()
        given = self.scenario.broken if broken else None
        self.library.script.listings.update(given or self.scenario.listings)
        async with self.ingest() as ingest:
            self.proxy.disarm()
            yield ingest

    async def leftovers(self, ingest: Ingest) -> list[str]:
        """Say what an ingest has left behind: connections not returned, backends that nobody knows of."""
        out, waiting = ingest.pooled()
        problems = [f"{out} connections are still checked out"] if out else []
        problems += await self.catalogue.at_rest()
        problems += await self.catalogue.until_backends(waiting)
        return problems

    async def again(self, ingest: Ingest, report: Report) -> list[str]:
        """Ingest again without a fault, if possible only what is said to have failed; what isn't right then?"""
        self.proxy.disarm()
        self.library.script.listings.update(self.scenario.listings)
        if report is None or self.scenario.scope is not None or self.control:
            return await self.catalogue.not_converged(await ingest())
        failed = {name for name, said in report.items() if said.status != "ingested"}
        retried = await ingest(retry=True)
        problems = await self.catalogue.not_converged(retried)
        if retried is not None and set(retried) != failed:
            problems.append(f"{sorted(failed)} failed, and a retry took {sorted(retried)}")
        return problems


@asynccontextmanager
async def staged(scenario: Scenario, url: str, directory: Path, *, control: bool = False) -> AsyncIterator[Stage]:
    """Prepare a scenario in a fresh database; the scripted importer has to be installed."""
    async with watched(url) as catalogue, counting_proxy(parsed(url), directory) as (through, proxy):
        async with Store(parsed(url)) as store:
            library = await Library.make(store, *scenario.listings)
            library.script.listings.update(scenario.before or {})
            if scenario.before is not None:
                summary = await library.ingest()
                assert len(summary.ingested) == len(scenario.listings), summary
            library.script.listings.update(scenario.listings)
        await catalogue.begin_here()
        yield Stage(scenario, library, catalogue, proxy, through, control)
