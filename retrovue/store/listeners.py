"""Who listens to which source: one host at a time, by an advisory lock for each source."""

import uuid
from contextlib import AbstractAsyncContextManager

from retrovue.core.model import Source
from retrovue.store.locks import Locks, lock_key, open_locks
from retrovue.store.session import Store


def opened(store: Store) -> AbstractAsyncContextManager[Locks]:
    """Open the connection for the locks of the sources that a host listens to. Raises StoreUnavailable."""
    return open_locks(store, "retrovue-events")


async def claim(locks: Locks, source: Source) -> bool:
    """Take a source, for as long as the connection lives; returns False if another host listens to it."""
    return await locks.take_key(lock_key(uuid.uuid5(source.id, "events")))
