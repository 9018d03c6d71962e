"""The indexes for searching large catalogues."""

from retrovue.store import searching
from retrovue.store.session import Store

__all__ = ["set_search_index"]


async def set_search_index(store: Store, *, wanted: bool = True, dry_run: bool = False) -> bool:
    """Create or drop the indexes of titles and shows; return whether that changes anything.

    With them ``list_assets(title=…)`` and ``list_assets(show=…)`` find a part of a title of at least three characters
    in milliseconds among a million assets; without them each search reads all assets. They slow runs for each title
    that is written. While they are created no run can write. A dry-run changes nothing. Raises StoreError if the role
    may not create the extension ``pg_trgm``.
    """
    async with store.reading() if dry_run else store.transaction(long=True) as session:
        changes = await searching.has_indexes(session) != wanted
        if changes and not dry_run:
            await (searching.add_indexes(session) if wanted else searching.remove_indexes(session))
    return changes
