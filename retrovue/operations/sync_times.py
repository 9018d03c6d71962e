"""When the collections of a source were read, and when the next syncs will read all of them."""

import datetime as dt

from msgspec import Struct

from retrovue.core.errors import RetrovueError
from retrovue.core.model import Collection, Source
from retrovue.importers.base import ListsChanges, TellsState
from retrovue.importers.registry import importer_class
from retrovue.store.collections import list_collections
from retrovue.store.readings import basis_of, readings_of
from retrovue.store.session import Store
from retrovue.store.sources import find_source

__all__ = ["CollectionTimes", "SyncTimes", "get_sync_times"]


class CollectionTimes(Struct, frozen=True):
    """When a collection was read, and when the next syncs will read all of it."""

    collection: Collection
    swept_at: dt.datetime | None
    """When all of it was last read. None if never since its settings or assets were changed, or removals were held
    back.
    """
    full_at: dt.datetime | None
    """When each of its items was last compared; None as above."""
    next_sweep_at: dt.datetime | None
    """The time from which a sync reads all of it in any case; None means the next sync."""
    next_full_at: dt.datetime | None
    """The time from which a sync compares each item in any case; None means the next sync."""


class SyncTimes(Struct, frozen=True):
    """How often the collections of a source are read."""

    grace: dt.timedelta
    """The time after which a missing asset is gone."""
    sweep_every: dt.timedelta
    full_every: dt.timedelta
    tells_changes: bool
    """Whether the type of the source reports changes; otherwise each sync reads all."""
    collections: tuple[CollectionTimes, ...]
    """The enabled ones, by name."""


async def get_sync_times(store: Store, source: str) -> SyncTimes:
    """Return how often the collections of a source are read. ``source`` is a reference; raises NotFound or Ambiguous.

    A sync may read more than these times require, if it can't prove otherwise what has changed.
    """
    async with store.reading() as session:
        found = await find_source(session, source)
        readings = await readings_of(session, found)
        collections = await list_collections(session, found, counted=False)
    sweep_every, full_every = (dt.timedelta(seconds=seconds) for seconds in (found.sweep_every_s, found.full_every_s))
    tells_changes = _tells_changes(found)
    shown: list[CollectionTimes] = []
    for collection in collections:
        if collection.sync_enabled:
            last = readings.get(collection.id)
            counts = last is not None and last.basis == basis_of(found, collection)
            swept_at, full_at = (last.swept_at, last.full_at) if last is not None and counts else (None, None)
            next_sweep = swept_at + sweep_every if tells_changes and swept_at is not None else None
            next_full = None if full_at is None else full_at + full_every
            shown.append(CollectionTimes(collection, swept_at, full_at, next_sweep, next_full))
    return SyncTimes(dt.timedelta(seconds=found.grace_s), sweep_every, full_every, tells_changes, tuple(shown))


def _tells_changes(source: Source) -> bool:
    try:
        importer = importer_class(source.type)
    except RetrovueError:
        return False
    return issubclass(importer, TellsState | ListsChanges)
