"""What is in the catalogue, as a service that embeds RetroVue asks for it: each function is one transaction."""

from uuid import UUID

from retrovue.core.model import AssetState, Collection
from retrovue.store import assets, collections, sources
from retrovue.store.assets import AssetDetails, AssetListing, StateChange
from retrovue.store.session import Store
from retrovue.store.sources import SourceListing


async def list_sources(store: Store) -> list[SourceListing]:
    """List all sources by name, with how much each of them holds."""
    async with store.reading() as session:
        return await sources.list_sources(session)


async def list_collections(store: Store, source: str | None = None) -> list[Collection]:
    """List the collections of a source, named as `ingest_source` does it, or of all; by name.

    Raises NotFound or Ambiguous.
    """
    async with store.reading() as session:
        of = None if source is None else await sources.find_source(session, source)
        return await collections.list_collections(session, of)


async def list_assets(
    store: Store,
    *,
    source: str | None = None,
    collection: str | None = None,
    state: AssetState | None = None,
    limit: int = 50,
) -> AssetListing:
    """List assets in the order of title and numbers; ``state="ready"`` are those that may be broadcast.

    The total counts those beyond ``limit``, from 0 to 2,147,483,647, as well. Raises NotFound, Ambiguous or, for
    another limit, RequestError.
    """
    async with store.reading() as session:
        of = None if source is None else await sources.find_source(session, source)
        within = None if collection is None else await collections.find_collection(session, collection, of)
        return await assets.list_assets(session, source=of, collection=within, state=state, limit=limit)


async def get_asset(store: Store, uuid: UUID) -> AssetDetails:
    """Return an asset with all its files, in playing order, and aliases; raises NotFound."""
    async with store.reading() as session:
        return await assets.get_asset(session, uuid)


async def approve_assets(store: Store, *uuids: UUID) -> list[StateChange]:
    """Approve new assets for broadcast, all or none. Raises NotFound, and RequestError for one that isn't new."""
    async with store.transaction() as session:
        return await assets.set_states(session, uuids, "ready")


async def retire_assets(store: Store, *uuids: UUID) -> list[StateChange]:
    """Retire assets, all or none; they stay in the catalogue and are no longer broadcast. Raises NotFound."""
    async with store.transaction() as session:
        return await assets.set_states(session, uuids, "retired")
