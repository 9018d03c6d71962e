"""Sync: the runs of an ingest, in which known assets follow their source and what isn't listed is marked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from retrovue.core.model import FULL, Scope
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
