"""Syncs: runs that also update known assets, and mark those that the source doesn't list."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from retrovue.core.runs import FULL, Scope
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_one, ingest_source
from retrovue.store.session import Store

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport


@asynccontextmanager
async def sync_source(
    store: Store, reference: str, options: IngestOptions | None = None, *, transport: "Transport | None" = None
) -> AsyncIterator[IngestRun]:
    """Sync all enabled, ingestible collections of a source; otherwise as `ingest_source`."""
    syncing = replace(options or IngestOptions(), mode="sync")
    async with ingest_source(store, reference, syncing, transport=transport) as run:
        yield run


@asynccontextmanager
async def sync_items(
    store: Store,
    reference: str,
    items: Iterable[str],
    options: IngestOptions | None = None,
    *,
    source_reference: str | None = None,
    transport: "Transport | None" = None,
) -> AsyncIterator[IngestRun]:
    """Sync one collection of which some items may have changed; otherwise as `sync_one` of all of it.

    ``items`` are the source's own keys as its events name them: rating keys of Plex, ids of Jellyfin, of items or of
    shows. They say where to look first, and prove nothing. Only these items are read (``read`` is ``scoped``) if the
    source lists all of them, and if its number of items proves that no other item has come or gone. Otherwise the sync
    reads what it would have read without them: an item that isn't listed may be gone, may belong to another collection,
    or may never have existed. It does the same if more than 1,000 items are given, and if a sweep or a full reading is
    due.
    """
    syncing = replace(options or IngestOptions(), mode="sync", items=frozenset(items))
    async with ingest_one(
        store, reference, FULL, syncing, source_reference=source_reference, transport=transport
    ) as run:
        yield run


@asynccontextmanager
async def sync_one(
    store: Store,
    reference: str,
    scope: Scope = FULL,
    options: IngestOptions | None = None,
    *,
    source_reference: str | None = None,
    transport: "Transport | None" = None,
) -> AsyncIterator[IngestRun]:
    """Sync one collection; otherwise as `ingest_one`. With a narrower scope nothing is marked as missing."""
    syncing = replace(options or IngestOptions(), mode="sync")
    async with ingest_one(
        store, reference, scope, syncing, source_reference=source_reference, transport=transport
    ) as run:
        yield run
