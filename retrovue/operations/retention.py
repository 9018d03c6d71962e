"""Remove the details of old runs from the audit trail."""

import datetime as dt
from collections.abc import Callable

from retrovue.core.errors import changed_meanwhile
from retrovue.store import retention
from retrovue.store.retention import PrunedDetails
from retrovue.store.session import Store

__all__ = ["PrunedDetails", "prune_details"]


async def prune_details(
    store: Store,
    older_than: dt.timedelta,
    *,
    confirm: Callable[[PrunedDetails], None] | None = None,
    dry_run: bool = False,
) -> PrunedDetails:
    """Remove the details of runs that ended longer ago than a given age.

    Details are rejected items, durations, warnings and tracebacks.

    Kept listings are removed as well, if they are older than that or than 24 hours. Outcomes and their
    counts stay, and so do items that are still rejected. ``confirm`` is called first with what would be removed, but
    not for a dry-run or if there is nothing to remove; it raises an exception to refuse. Raises RequestError for more
    than 36,500 days, and if something other than was confirmed would be removed.
    """
    retention.require_age(older_than)
    before = dt.datetime.now(dt.UTC) - older_than
    if dry_run or confirm is not None:
        async with store.reading() as session:
            found = await retention.prune_details(session, before, dry_run=True)
        if dry_run or not (found.outcomes or found.rejections or found.enrichments or found.kept_listings):
            return found
        if confirm is not None:
            confirm(found)
    async with store.transaction(long=True) as session:
        pruned = await retention.prune_details(session, before)
        if confirm is not None and pruned != found:
            raise changed_meanwhile("The audit trail")
    return pruned
