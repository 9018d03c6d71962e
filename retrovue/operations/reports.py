"""Reports over all collections: statistics, rejected items, duplicates."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar, Unpack

from msgspec import Struct

from retrovue.core.model import Source
from retrovue.store import rejections
from retrovue.store.rejections import (
    DuplicateItem,
    DuplicateListing,
    RejectedItem,
    RejectedListing,
    RejectionFilters,
)
from retrovue.store.session import Store
from retrovue.store.sources import find_source
from retrovue.store.statistics import AssetGroup, CollectionStatistics, LastRun, collection_statistics, total_of

__all__ = [
    "AssetGroup",
    "CollectionStatistics",
    "DuplicateItem",
    "DuplicateListing",
    "LastRun",
    "RejectedItem",
    "RejectedListing",
    "RejectionFilters",
    "Statistics",
    "iter_duplicates",
    "iter_rejected",
    "list_duplicates",
    "list_rejected",
    "statistics",
]

_PAGE = 1000
"""How many items the iterators hold in memory."""

_Item = TypeVar("_Item")
_PageOf: TypeAlias = Callable[..., Awaitable[tuple[Sequence[_Item], str | None]]]
"""Returns a page, and the cursor of the next one."""


class Statistics(Struct, frozen=True):
    """What the catalogue holds, in all or of one source."""

    source: Source | None
    """The source that was asked for; None for all."""
    collections: tuple[CollectionStatistics, ...]
    """In the order of the names of sources and collections."""

    @property
    def groups(self) -> tuple[AssetGroup, ...]:
        """The numbers of assets of all collections, by type and state."""
        return total_of(self.collections)


async def statistics(store: Store, source: str | None = None) -> Statistics:
    """Count the assets of each collection by type and state, with hours, bytes and failed enrichments.

    ``source`` is a reference; None counts all sources. Reads every asset once. Raises NotFound or Ambiguous.
    """
    async with store.reading() as session:
        within = None if source is None else await find_source(session, source)
        return Statistics(within, tuple(await collection_statistics(session, within)))


async def list_rejected(
    store: Store, *, limit: int = 50, after: str | None = None, **filters: Unpack[RejectionFilters]
) -> RejectedListing:
    """List the items that ingests rejected, the latest run first, page by page.

    ``limit`` is the size of the page, ``after`` the ``next_cursor`` of the page before. All items are counted by
    reason. Raises NotFound, Ambiguous or, for an invalid limit, cursor or filter, RequestError.
    """
    async with store.reading() as session:
        reasons = await rejections.count_rejected(session, filters)
        items, cursor = await rejections.rejected_page(session, filters, limit=limit, after=after)
        return RejectedListing(sum(reasons.values()), reasons, items, cursor)


async def iter_rejected(store: Store, **filters: Unpack[RejectionFilters]) -> AsyncIterator[RejectedItem]:
    """Iterate over all items that ``list_rejected`` lists, in its order and in constant memory."""
    async for item in _each(store, rejections.rejected_page, filters):
        yield item


async def list_duplicates(
    store: Store, *, limit: int = 50, after: str | None = None, **filters: Unpack[RejectionFilters]
) -> DuplicateListing:
    """List the items whose files are those of an asset, collection by collection, page by page.

    Takes the filters ``source``, ``collection``, ``since`` and ``until``; ``limit`` and ``after`` are as for
    ``list_rejected``. Raises what ``list_rejected`` raises.
    """
    async with store.reading() as session:
        total = await rejections.count_duplicates(session, filters)
        items, cursor = await rejections.duplicate_page(session, filters, limit=limit, after=after)
        return DuplicateListing(total, items, cursor)


async def iter_duplicates(store: Store, **filters: Unpack[RejectionFilters]) -> AsyncIterator[DuplicateItem]:
    """Iterate over all items that ``list_duplicates`` lists, in its order and in constant memory."""
    async for item in _each(store, rejections.duplicate_page, filters):
        yield item


async def _each(store: Store, page_of: _PageOf[_Item], filters: RejectionFilters) -> AsyncIterator[_Item]:
    after = None
    while True:
        async with store.reading() as session:
            page, after = await page_of(session, filters, limit=_PAGE, after=after)
        for item in page:
            yield item
        if after is None:
            return
