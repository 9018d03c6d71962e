"""Read the catalogue: sources, collections, enrichers, assets and the audit trail.

The command line and services that embed RetroVue read the catalogue by these functions. Each call is one transaction. A
reference is a UUID, an external id, an exact name, or the unique beginning of an id; looking one up raises NotFound or
Ambiguous.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Unpack
from uuid import UUID

from msgspec import Struct

from retrovue.core.errors import NotFound
from retrovue.core.model import AttachedEnricher, Collection, Source
from retrovue.core.pages import Rejection
from retrovue.store import assets, collections, enrichers, listing, log, references, sources
from retrovue.store.assets import Asset, AssetAlias, AssetDecision, AssetDetails, AssetFile, FormerIdentity
from retrovue.store.collections import Contents
from retrovue.store.enrichers import EnricherListing
from retrovue.store.enrichments import AssetEnrichment
from retrovue.store.listing import AssetFilters, AssetListing, AssetOrder
from retrovue.store.log import LogEntry, LogFilters, LoggedRun, LogListing, RunListing
from retrovue.store.session import Store
from retrovue.store.sources import SourceListing

__all__ = [
    "Asset",
    "AssetAlias",
    "AssetDecision",
    "AssetDetails",
    "AssetEnrichment",
    "AssetFile",
    "AssetFilters",
    "AssetListing",
    "AssetOrder",
    "CollectionDetails",
    "Contents",
    "EnricherListing",
    "FormerIdentity",
    "LogEntry",
    "LogFilters",
    "LogListing",
    "LoggedRun",
    "RunDetails",
    "RunListing",
    "SourceListing",
    "Store",
    "find_asset",
    "find_run",
    "find_source",
    "find_target",
    "get_asset",
    "get_collection",
    "get_enricher",
    "get_run",
    "iter_assets",
    "list_assets",
    "list_collections",
    "list_enrichers",
    "list_log",
    "list_runs",
    "list_sources",
    "short_ids",
]


async def list_sources(store: Store) -> list[SourceListing]:
    """List all sources by name, each with the numbers of its collections and assets."""
    async with store.reading() as session:
        return await sources.list_sources(session)


async def find_source(store: Store, reference: str) -> Source:
    """Return the source that a reference names."""
    async with store.reading() as session:
        return await sources.find_source(session, reference)


async def list_collections(store: Store, source: str | None = None, *, counted: bool = True) -> list[Collection]:
    """List the collections of a source, or all, by name. ``source`` is a reference.

    With ``counted=False`` assets aren't counted, and the last ingest of each collection isn't looked up. Raises
    NotFound or Ambiguous.
    """
    async with store.reading() as session:
        within = None if source is None else await sources.find_source(session, source)
        return await collections.list_collections(session, within, counted=counted)


async def find_target(store: Store, collection: str, source: str | None = None) -> tuple[Source, Collection]:
    """Return the collection that a reference names, without statistics, and its source."""
    async with store.reading() as session:
        return await collections.find_target(session, collection, source)


class CollectionDetails(Struct, frozen=True):
    """A collection with its statistics, its source and its enrichers."""

    source: Source
    collection: Collection
    enrichers: tuple[AttachedEnricher, ...]
    """In the order in which they run."""


async def get_collection(
    store: Store, collection: str, source: str | None = None, *, counted: bool = True
) -> CollectionDetails:
    """Return a collection with its statistics, source and enrichers; ``counted`` as in `list_collections`."""
    async with store.reading() as session:
        owner, found = await collections.find_target(session, collection, source, statistics=counted)
        attached = await enrichers.attached_to(session, [found])
        return CollectionDetails(owner, found, attached.get(found.id, ()))


async def list_enrichers(store: Store) -> list[EnricherListing]:
    """List all enrichers by name, with their collections and results."""
    async with store.reading() as session:
        return await enrichers.list_enrichers(session)


async def get_enricher(store: Store, reference: str) -> EnricherListing:
    """Return an enricher with its collections and results."""
    async with store.reading() as session:
        enricher = await enrichers.find_enricher(session, reference)
        return (await enrichers.list_enrichers(session, enricher))[0]


async def list_assets(
    store: Store,
    *,
    order: AssetOrder | None = None,
    limit: int = 50,
    after: str | None = None,
    counted: bool = True,
    **filters: Unpack[AssetFilters],
) -> AssetListing:
    """List assets that aren't deleted, page by page. Only those of state ``ready`` may be broadcast.

    ``order`` is ``added``: the newest first; ``name``: by the title of the show, or of the asset if it has none, then
    by show, season and episode, for tracks by album, disc and number, and by date; or ``aired``: by the date of the
    first broadcast, then by name. The default is ``name`` if a show, season, artist or album is selected, else
    ``added``. In the order ``added`` each page takes the same time, wherever it is; in the other orders each page sorts
    all assets that the filters select. ``added`` is the order of UUIDs. These are random for assets that an earlier
    version created on a PostgreSQL before 18.

    ``limit`` is the size of the page, from 0 to 2,147,483,647; ``after`` is the ``next_cursor`` of the page before,
    which also holds the order. The filters must be the same for all pages. Assets are counted for the first page only.
    For the first page of all assets in the order ``added`` they are counted only with ``counted``, because counting a
    million assets takes longer than the page.

    Raises NotFound, Ambiguous or, for a bad limit, cursor or filter, RequestError.
    """
    async with store.reading() as session:
        return await listing.list_assets(session, filters, order=order, limit=limit, after=after, counted=counted)


async def iter_assets(
    store: Store, *, order: AssetOrder | None = None, **filters: Unpack[AssetFilters]
) -> AsyncIterator[Asset]:
    """Iterate over all assets of the list in its order, in constant memory. Sorting takes 16 bytes for each asset.

    Each page of 500 is a separate transaction. An asset that exists during the whole iteration comes exactly once.
    Raises NotFound, Ambiguous or, for an invalid filter, RequestError.
    """
    async with aclosing(listing.iter_assets(store, filters, order=order)) as assets:
        async for asset in assets:
            yield asset


async def get_asset(store: Store, uuid: UUID) -> AssetDetails:
    """Return an asset with its files in playing order, its aliases, enrichments and decisions. Raises NotFound."""
    async with store.reading() as session:
        return await assets.get_asset(session, uuid)


async def find_asset(store: Store, reference: str) -> UUID:
    """Return the id of the asset with a UUID, or with the unique beginning of one.

    A complete UUID is returned without a look-up. Raises NotFound or Ambiguous.
    """
    if (whole := references.as_uuid(reference)) is not None:
        return whole
    async with store.reading() as session:
        return await references.find_asset(session, reference)


async def short_ids(store: Store, uuids: Sequence[UUID]) -> dict[UUID, str]:
    """Return beginnings of assets' ids, at least 8 digits long, that are unique among all assets."""
    async with store.reading() as session:
        return await references.short_ids(session, uuids)


async def short_run_ids(store: Store, runs: Sequence[UUID]) -> dict[UUID, str]:
    """Return beginnings of runs' ids, at least 8 digits long, that are unique among all runs."""
    async with store.reading() as session:
        return await references.short_run_ids(session, runs)


async def find_run(store: Store, reference: str) -> UUID:
    """Return the id of the run with a UUID, or with the unique beginning of one. Raises NotFound or Ambiguous."""
    if (whole := references.as_uuid(reference)) is not None:
        return whole
    async with store.reading() as session:
        return await references.find_run(session, reference)


async def list_log(store: Store, *, limit: int | None = 50, **filters: Unpack[LogFilters]) -> LogListing:
    """List the entries of the audit trail that match all given filters, the latest run first.

    ``limit`` is from 0 to 2,147,483,647; None lists all. Raises NotFound, Ambiguous or, for a bad limit or time,
    RequestError.
    """
    async with store.reading() as session:
        return await log.list_log(session, limit=limit, **filters)


async def list_runs(store: Store, *, limit: int | None = 50, **filters: Unpack[LogFilters]) -> RunListing:
    """List the runs with an entry that matches the filters of `list_log`, the latest first.

    Each run has the totals of all its collections, including those that don't match. ``limit`` counts runs; None lists
    all. Raises what `list_log` raises.
    """
    async with store.reading() as session:
        return await log.list_runs(session, limit=limit, **filters)


class RunDetails(Struct, frozen=True):
    """What a run did."""

    entries: tuple[LogEntry, ...]
    """One entry for each collection, by name; at least one."""
    rejections: Mapping[UUID, Sequence[Rejection]]
    """The rejected items by the id of their collection, in the order of the source."""


async def get_run(store: Store, run: UUID | None, collection: str | None = None) -> RunDetails:
    """Return what a run did, or what it did to one collection. ``None`` means the run that started last.

    Raises NotFound or Ambiguous.
    """
    async with store.reading() as session:
        run = run or await log.latest_run(session)
        entries = (await log.list_log(session, run=run, limit=None)).entries
        found = None
        if collection is not None:
            source = await sources.get_source(session, entries[0].source_id)
            found = await collections.find_collection(session, collection, source)
            entries = tuple(entry for entry in entries if entry.collection_id == found.id)
            if not entries:
                raise NotFound(
                    f"Run {run} didn't ingest collection {found.display_name}.",
                    code="collection_not_in_run",
                    hint="Leave out --collection to see which ones it did.",
                    context={"run": str(run), "collection": str(found.id)},
                )
        rejections: dict[UUID, list[Rejection]] = {}
        for collection_id, rejection in await log.list_rejections(session, run, collection=found):
            rejections.setdefault(collection_id, []).append(rejection)
        return RunDetails(entries, rejections)
