"""The feed of changes: list and follow it. Purge assets that are gone."""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import anyio
from msgspec import Struct

from retrovue.core.errors import StoreUnavailable, changed_meanwhile
from retrovue.core.logs import logger
from retrovue.operations.curation import locked
from retrovue.store import changes
from retrovue.store.changes import CHANNEL, Change, PrunedChanges
from retrovue.store.collections import find_collection, ids_within, list_collections
from retrovue.store.notifications import notifications
from retrovue.store.outages import Outage
from retrovue.store.purging import GoneAssets, find_gone, purge_gone
from retrovue.store.retention import require_age
from retrovue.store.session import Store
from retrovue.store.sources import find_source

__all__ = [
    "Change",
    "ChangeListing",
    "GoneAssets",
    "PrunedChanges",
    "follow_changes",
    "list_changes",
    "newest_changes",
    "prune_changes",
    "purge_assets",
]

POLL_SECONDS = 5.0
"""How long a follower waits for a notification before it looks again, in seconds: poolers don't pass notifications on.
"""
_PAGE = 500

_log = logger(__name__)


class ChangeListing(Struct, frozen=True):
    """A page of the feed."""

    changes: tuple[Change, ...]
    next_cursor: int
    """The cursor of the next page."""


async def list_changes(
    store: Store,
    *,
    after: int | None = None,
    source: str | None = None,
    collection: str | None = None,
    asset: UUID | None = None,
    limit: int = _PAGE,
) -> ChangeListing:
    """List the changes of assets after a cursor, the oldest first; None begins with the oldest change that is kept.

    ``source`` and ``collection`` are references. ``limit`` is from 1 to 2,147,483,647. A reader that passes each
    ``next_cursor`` to the next call gets every change once. Raises NotFound, Ambiguous, CursorExpired or RequestError.
    """
    async with store.reading() as session:
        within = await ids_within(session, source, collection)
        latest = await changes.latest_position(session)
        rows = await changes.list_changes(session, after=after, collections=within, asset=asset, limit=limit)
        # Up to the change that was the latest before reading, each change is in the list or doesn't match the
        # references.
        cursor = rows[-1].position if rows else 0
        return ChangeListing(tuple(rows), cursor if len(rows) == limit else max(cursor, latest))


async def newest_changes(
    store: Store,
    *,
    before: int | None = None,
    source: str | None = None,
    collection: str | None = None,
    limit: int = 100,
) -> list[Change]:
    """List the newest changes of assets first, for people. Programs should follow the feed in its own order.

    ``before`` is the position of the last change on the previous page. ``source`` and ``collection`` are references.
    ``limit`` is from 1 to 2,147,483,647. Raises NotFound, Ambiguous or RequestError.
    """
    async with store.reading() as session:
        within = await ids_within(session, source, collection)
        return await changes.newest_changes(session, before=before, collections=within, limit=limit)


async def follow_changes(
    store: Store,
    *,
    after: int | None = None,
    source: str | None = None,
    collection: str | None = None,
    on_idle: Callable[[int], None] | None = None,
) -> AsyncIterator[Change]:
    """Iterate over the changes of assets as they are committed, endlessly; None begins with the next change.

    Holds one connection of its own. Reads within a second after a commit, or within `POLL_SECONDS` behind a pooler that
    passes no notifications on. While the database can't be reached it tries again with growing pauses. ``on_idle`` is
    called with the cursor each time that all changes so far have been read. Raises what `list_changes` raises.
    """
    if after is None:
        async with store.reading() as session:
            after = await changes.latest_position(session)
    outage = Outage()
    while True:
        try:
            async with notifications(store, CHANNEL, "retrovue-changes") as notified:
                while True:
                    awaited = notified()
                    page = await list_changes(store, after=after, source=source, collection=collection)
                    outage.over()
                    for change in page.changes:
                        yield change
                    after = page.next_cursor
                    if len(page.changes) == _PAGE:
                        continue
                    if on_idle is not None:
                        on_idle(after)
                    with anyio.move_on_after(POLL_SECONDS):
                        await awaited.wait()
        except StoreUnavailable as exc:
            _log.warning("The feed of changes can't be read now: %s", exc.message)
            await outage.wait()


async def prune_changes(
    store: Store,
    older_than: dt.timedelta,
    *,
    confirm: Callable[[PrunedChanges], None] | None = None,
    dry_run: bool = False,
) -> PrunedChanges:
    """Remove the changes older than a given age from the feed. The assets don't change.

    A reader with an older cursor gets CursorExpired. ``confirm`` is called first with what would be removed, but not
    for a dry-run or if there is nothing to remove; it raises an exception to refuse. Raises RequestError for more than
    36,500 days, and if something other than was confirmed would be removed.
    """
    require_age(older_than)
    before = dt.datetime.now(dt.UTC) - older_than
    async with store.reading() as session:
        found = PrunedChanges(before, await changes.count_prunable(session, before))
    if dry_run or not found.changes:
        return found
    if confirm is not None:
        confirm(found)
    async with store.transaction(long=True) as session:
        pruned = PrunedChanges(before, await changes.prune_changes(session, before))
        if confirm is not None and pruned != found:
            raise changed_meanwhile("The feed of changes")
    return pruned


async def purge_assets(
    store: Store,
    *,
    source: str | None = None,
    collection: str | None = None,
    older_than: dt.timedelta = dt.timedelta(),
    confirm: Callable[[GoneAssets], None] | None = None,
    dry_run: bool = False,
) -> GoneAssets:
    """Delete for good the assets that are gone, of all collections or of those that the references name.

    ``older_than`` selects only assets that were first missing longer ago than that. ``confirm`` is called first with
    what would be deleted, but not for a dry-run or if nothing is gone; it raises an exception to refuse. Returns what
    was deleted, or would be for a dry-run. Raises NotFound, Ambiguous, AlreadyRunning while one of the collections is
    being worked on, and RequestError if other assets are gone than were confirmed.
    """
    before = dt.datetime.now(dt.UTC) - older_than
    async with store.reading() as session:
        owner = None if source is None else await find_source(session, source)
        if collection is not None:
            collections = [await find_collection(session, collection, owner)]
        else:
            collections = await list_collections(session, owner)
        gone = await find_gone(session, collections, before)
    if dry_run or not gone.number:
        return gone
    if confirm is not None:
        confirm(gone)
    async with locked(store, collections, "retrovue-purge"), store.transaction(long=True) as session:
        if await find_gone(session, collections, before) != gone:
            raise changed_meanwhile("The list of gone assets")
        await purge_gone(session, collections, before)
    return gone
