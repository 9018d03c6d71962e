"""The removals that have to be confirmed, and the programs that work on the catalogue now."""

from retrovue.store import held_back, hosts
from retrovue.store.held_back import RemovalsHeldBack
from retrovue.store.hosts import Program
from retrovue.store.session import Store

__all__ = ["Program", "RemovalsHeldBack", "list_held_back", "list_programs"]


async def list_held_back(store: Store) -> list[RemovalsHeldBack]:
    """List the removals that the latest sync of each collection held back, by source and collection.

    An entry is removed by a later sync that reads all of the collection and finds the items listed again, or is told to
    remove them. A dry-run of a sync lists the assets.
    """
    async with store.reading() as session:
        return await held_back.list_held_back(session)


async def list_programs(store: Store) -> list[Program]:
    """List the programs that work on the catalogue now: hosts that serve or listen, and runs at work."""
    async with store.reading() as session:
        return await hosts.list_programs(session)
