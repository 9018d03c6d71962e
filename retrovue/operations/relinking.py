"""List assets whose item has moved to another collection, and relink them after a person has reviewed them."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from uuid import UUID

from msgspec import Struct

from retrovue.core.errors import changed_meanwhile
from retrovue.core.model import Collection
from retrovue.operations.curation import locked
from retrovue.store.assets import LISTED
from retrovue.store.audit import started_by
from retrovue.store.collections import find_collection, list_collections
from retrovue.store.moves import (
    CHOSEN,
    Exchange,
    Move,
    MoveEnd,
    check_exchange,
    exchange_items,
    find_moves,
    show_moves,
)
from retrovue.store.session import Store
from retrovue.store.sources import find_source
from retrovue.store.statements import Session

__all__ = ["Move", "MoveEnd", "Moves", "list_moves", "relink_assets", "relink_moves"]

_HOLDER = "retrovue-relink"


class Moves(Struct, frozen=True):
    """The assets whose item has moved to another collection."""

    total: int
    """The number of assets that match exactly one new asset."""
    moves: tuple[Move, ...]
    """The first of these, by name."""
    ambiguous_total: int
    """The number of assets that match several new assets, or share their new asset with others."""
    ambiguous: tuple[Move, ...]
    """The first of these, each with one of the new assets that it matches."""


async def list_moves(
    store: Store,
    *,
    source: str | None = None,
    collection: str | None = None,
    other_sources: bool = False,
    limit: int = LISTED,
) -> Moves:
    """List the assets that are missing or gone and whose item has moved to another collection of their source.

    ``source`` and ``collection`` are references that limit the lost assets. With ``other_sources``, collections of
    other sources are searched as well. ``limit`` is how many of each kind are returned. A lost asset matches a newer
    asset that nobody has approved or retired, by the rules of a sync. Raises NotFound or Ambiguous.
    """
    async with store.reading() as session:
        collections = await _collections(session, source, collection)
        found = await find_moves(session, collections, other_sources=other_sources)
        return await _shown(session, found.exchanges, found.ambiguous, limit)


async def relink_moves(
    store: Store,
    *,
    source: str | None = None,
    collection: str | None = None,
    other_sources: bool = False,
    confirm: Callable[[Moves], None] | None = None,
    dry_run: bool = False,
) -> Moves:
    """Relink all unambiguous assets that `list_moves` lists, in one transaction.

    ``confirm`` is called first with what would be relinked, but not for a dry-run or if there is nothing; it raises an
    exception to refuse. Returns what was relinked, or would be for a dry-run. Raises what `list_moves` raises;
    AlreadyRunning while one of the collections is being worked on; RequestError, and changes nothing, if other assets
    would be relinked than were confirmed.
    """
    async with store.reading() as session:
        collections = await _collections(session, source, collection)
        found = await find_moves(session, collections, other_sources=other_sources)
        shown = await _shown(session, found.exchanges, found.ambiguous, LISTED)
        concerned = await _by_ids(session, found.collections)
    if dry_run or not shown.total:
        return shown
    if confirm is not None:
        confirm(shown)
    async with locked(store, concerned, _HOLDER), store.transaction(long=True) as session:
        if await find_moves(session, collections, other_sources=other_sources) != found:
            raise changed_meanwhile("The list of assets to relink")
        await exchange_items(session, found.exchanges, by=started_by())
    return shown


async def relink_assets(
    store: Store,
    lost: UUID,
    listed: UUID,
    *,
    confirm: Callable[[Move], None] | None = None,
    dry_run: bool = False,
) -> Move:
    """Give the item of the asset ``listed`` to the asset ``lost``, whose own item isn't listed any more.

    This is one transaction. The asset ``lost`` keeps its id, history and approval, and takes the item's collection,
    files and description. The approval is withdrawn if the item has another file, unless ``listed`` is approved or its
    collection keeps approvals. The asset ``listed`` takes the lost item, and becomes missing or gone as ``lost`` was.
    Calling it again with the assets exchanged undoes it. ``confirm`` is called first, but not for a dry-run; it raises
    an exception to refuse.

    Raises RequestError unless ``lost`` is missing or gone, and ``listed`` is present and of the same type;
    AlreadyRunning while one of their collections is being worked on.
    """
    exchange = Exchange(lost, listed, CHOSEN)
    async with store.reading() as session:
        move = await check_exchange(session, exchange)
        collections = await _by_ids(session, {move.lost.collection_uuid, move.listed.collection_uuid})
    if dry_run:
        return move
    if confirm is not None:
        confirm(move)
    async with locked(store, collections, _HOLDER), store.transaction() as session:
        if await check_exchange(session, exchange) != move:
            raise changed_meanwhile(f"Asset {move.lost.title}")
        await exchange_items(session, [exchange], by=started_by())
    return move


async def _collections(session: Session, source: str | None, collection: str | None) -> Sequence[Collection]:
    owner = None if source is None else await find_source(session, source)
    if collection is not None:
        return [await find_collection(session, collection, owner)]
    return await list_collections(session, owner, counted=False)


async def _by_ids(session: Session, ids: AbstractSet[UUID]) -> Sequence[Collection]:
    return [found for found in await list_collections(session, counted=False) if found.id in ids]


async def _shown(session: Session, exchanges: Sequence[Exchange], ambiguous: Sequence[Exchange], limit: int) -> Moves:
    moves = await show_moves(session, exchanges, limit)
    unclear = await show_moves(session, ambiguous, limit)
    return Moves(len(exchanges), tuple(moves), len(ambiguous), tuple(unclear))
