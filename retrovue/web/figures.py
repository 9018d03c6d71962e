"""The counts of the overview. Counting a million assets takes longer than a page may take, so the counts are cached."""

import datetime as dt
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct, field

from retrovue.core.errors import StoreError
from retrovue.core.logs import logger
from retrovue.operations.catalogue import SourceListing, Store, list_assets, list_sources
from retrovue.operations.reports import Statistics, statistics

FRESH_S = 15.0
"""The shortest time, in seconds, for which counts are shown before they are counted again."""
_REST = 10
"""Counts are shown for this many times as long as counting took, so that counting takes a tenth of a core at most."""
WAIT_S = 0.1
"""How long a page waits for counts, in seconds. After that it is sent without counts and requests them separately."""

_log = logger(__name__)


class Figures(Struct, frozen=True):
    """The counts of the catalogue at one time."""

    at: dt.datetime
    sources: Sequence[SourceListing]
    statistics: Statistics
    missing: int
    gone: int

    @property
    def states(self) -> dict[str, int]:
        """The number of assets in each state."""
        counts: dict[str, int] = dict.fromkeys(("new", "enriching", "ready", "retired"), 0)
        for group in self.statistics.groups:
            counts[group.state] = counts.get(group.state, 0) + group.assets
        return counts

    @property
    def failed_enrichments(self) -> int:
        """The number of enrichments that have failed and are still owed."""
        return sum(collection.failed_enrichments for collection in self.statistics.collections)


class Counting(Struct):
    """Counts the catalogue. Callers at the same time share one count."""

    store: Store
    group: TaskGroup
    latest: Figures | None = None
    _stale_at: float = float("-inf")
    _done: anyio.Event | None = field(default=None)

    def forget(self) -> None:
        """Count again at the next call, because something was changed."""
        self._stale_at = float("-inf")

    async def figures(self, wait_s: float = WAIT_S) -> Figures | None:
        """Return the latest counts, after waiting up to ``wait_s`` for newer ones; None if there are none yet."""
        if anyio.current_time() > self._stale_at and self._done is None:
            self._done = anyio.Event()
            self.group.start_soon(self._count, self._done)
        if self._done is not None:
            with anyio.move_on_after(wait_s):
                await self._done.wait()
        return self.latest

    async def _count(self, done: anyio.Event) -> None:
        try:
            began = anyio.current_time()
            missing = await list_assets(self.store, limit=0, availability="missing")
            gone = await list_assets(self.store, limit=0, availability="gone")
            self.latest = Figures(
                dt.datetime.now(dt.UTC),
                await list_sources(self.store),
                await statistics(self.store),
                missing.total or 0,
                gone.total or 0,
            )
            took = anyio.current_time() - began
            self._stale_at = began + max(FRESH_S, took * (_REST + 1))
        except StoreError as exc:
            _log.warning("The assets can't be counted now: %s", exc.message)
        finally:
            self._done = None
            done.set()
