"""Follow the runs at work on any host, and stop them."""

from collections.abc import AsyncIterator
from uuid import UUID

import anyio

from retrovue.core.errors import RequestError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.ingest.collector import interrupted
from retrovue.ingest.outcomes import encoded
from retrovue.store import progress, requests
from retrovue.store.audit import started_by
from retrovue.store.collections import list_collections
from retrovue.store.notifications import notifications
from retrovue.store.progress import CHANNEL, CollectionProgress
from retrovue.store.session import Store

__all__ = ["CollectionProgress", "follow_progress", "list_progress", "stop_run"]

POLL_SECONDS = 2.0
"""How long a follower waits for a notification before it looks again, in seconds: poolers don't pass notifications on.
"""
_PAUSE_S = 2.0

_log = logger(__name__)


async def list_progress(store: Store, run: UUID | None = None) -> list[CollectionProgress]:
    """Return the progress of the runs at work, or of one run, for each collection.

    Each run writes its progress once a second, including runs of commands and of other hosts. There is no progress of a
    run that has ended, of a dry-run, or in the first second. That of a run that was killed stays for a day; `get_run`
    tells that it was interrupted.
    """
    async with store.reading() as session:
        return await progress.list_progress(session, run)


async def stop_run(store: Store, run: UUID) -> None:
    """Ask a run on any host to stop. It ends within two seconds as if it had been interrupted.

    What is committed stays. If workers work the run, its collections that haven't begun never begin. Raises
    RequestError with code ``not_running`` for a run that has ended or hasn't begun.
    """
    async with store.transaction() as session:
        stopped = await progress.ask_to_stop(session, run, started_by())
        waiting = await requests.not_begun(session, run)
        known = {collection.id: collection for collection in await list_collections(session)} if waiting else {}
        for collection in waiting:
            await requests.give_up(session, run, collection, encoded(interrupted(known[collection])))
        if not stopped and not waiting:
            raise RequestError(f"Run {run} isn't at work, or began just now.", code="not_running")


async def follow_progress(store: Store) -> AsyncIterator[None]:
    """Yield whenever a run may have begun, progressed or ended.

    Yields first immediately, and at least every two seconds.

    Holds one connection of its own. It also yields while the database can't be reached.
    """
    while True:
        try:
            async with notifications(store, CHANNEL, "retrovue-progress") as notified:
                while True:
                    awaited = notified()
                    yield
                    with anyio.move_on_after(POLL_SECONDS):
                        await awaited.wait()
        except StoreUnavailable as exc:
            _log.warning("Runs can't be watched now: %s", exc.message)
        yield
        await anyio.sleep(_PAUSE_S)
