"""RetroVue ingest: bring a large Plex library into a database that a broadcast scheduler can rely on.

For a service that embeds it::

    async with open_store(Settings.from_environment()) as store:
        async with ingest_source(store, "My Plex Server", IngestOptions(concurrency=4)) as run:
            async for event in run.events():
                print(event)
        print(run.summary.status)

The names in ``__all__`` are the public API, with ``retrovue.errors`` and ``retrovue.testing``; everything else may
change without notice.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrovue.core.config import Settings
    from retrovue.core.errors import EnrichmentError, RetrovueError
    from retrovue.core.model import (
        AssetDraft,
        AssetState,
        Collection,
        ConfigField,
        DiscoveredCollection,
        Ingestibility,
        Outline,
        Page,
        PartDraft,
        PathMapping,
        Rejection,
        Scope,
        Secret,
        Source,
        SourceIdentity,
    )
    from retrovue.core.results import (
        CollectionOutcome,
        Counts,
        Durations,
        Enriched,
        Failed,
        Ingested,
        IngestSummary,
        Listed,
        Named,
        RunStatus,
        Skipped,
    )
    from retrovue.enrichers.base import AssetView, BaseEnricher, EnricherInterface, Enrichment, Failure, MediaFile
    from retrovue.importers.base import BaseImporter, ImporterInterface
    from retrovue.importers.waiting import waiting_for_source
    from retrovue.ingest.collector import IngestRun
    from retrovue.ingest.documents import event_document, summary_document
    from retrovue.ingest.enrichment import enrich_one
    from retrovue.ingest.events import CollectionFinished, CollectionStarted, Event, Progress, RunFinished, RunStarted
    from retrovue.ingest.orchestrator import IngestOptions, ingest_one, ingest_source
    from retrovue.operations.attachments import add_enricher, attach_enricher, detach_enricher
    from retrovue.operations.catalogue import (
        approve_assets,
        get_asset,
        list_assets,
        list_collections,
        list_sources,
        retire_assets,
    )
    from retrovue.operations.curation import CollectionUpdate, update_collection, update_source
    from retrovue.operations.discovery import Discovered, add_source, discover
    from retrovue.store.assets import Asset, AssetAlias, AssetDetails, AssetFile, AssetListing, StateChange
    from retrovue.store.opening import open_store
    from retrovue.store.session import Store
    from retrovue.store.sources import SourceListing

_HOMES = {
    "operations.attachments": (
        "add_enricher",
        "attach_enricher",
        "detach_enricher",
    ),
    "operations.catalogue": (
        "approve_assets", "get_asset", "list_assets", "list_collections", "list_sources", "retire_assets",
    ),
    "core.config": ("Settings",),
    "operations.curation": (
        "CollectionUpdate",
        "update_collection",
        "update_source",
    ),
    "operations.discovery": (
        "Discovered",
        "add_source",
        "discover",
    ),
    "ingest.documents": ("event_document", "summary_document"),
    "enrichers.base": (
        "AssetView", "BaseEnricher", "EnricherInterface", "Enrichment", "Failure", "MediaFile",
    ),
    "ingest.enrichment": ("enrich_one",),
    "core.errors": (
        "EnrichmentError",
        "RetrovueError",
    ),
    "ingest.events": (
        "CollectionFinished", "CollectionStarted", "Event", "Progress", "RunFinished", "RunStarted",
    ),
    "importers.base": (
        "BaseImporter",
        "ImporterInterface",
    ),
    "importers.waiting": ("waiting_for_source",),
    "core.model": (
        "AssetDraft", "AssetState", "Collection", "ConfigField", "DiscoveredCollection", "Ingestibility",
        "Outline", "Page", "PartDraft", "PathMapping", "Rejection", "Scope", "Secret", "Source",
        "SourceIdentity",
    ),
    "ingest.orchestrator": (
        "IngestOptions", "IngestRun", "ingest_one", "ingest_source",
    ),
    "core.results": (
        "CollectionOutcome", "Counts", "Durations", "Enriched", "Failed", "IngestSummary", "Ingested",
        "Listed", "Named", "RunStatus", "Skipped",
    ),
    "store.assets": (
        "Asset", "AssetAlias", "AssetDetails", "AssetFile", "AssetListing", "StateChange",
    ),
    "store.opening": ("open_store",),
    "store.session": ("Store",),
    "store.sources": ("SourceListing",),
}  # fmt: skip
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "Asset",
    "AssetAlias",
    "AssetDetails",
    "AssetDraft",
    "AssetFile",
    "AssetListing",
    "AssetState",
    "AssetView",
    "BaseEnricher",
    "BaseImporter",
    "Collection",
    "CollectionFinished",
    "CollectionOutcome",
    "CollectionStarted",
    "CollectionUpdate",
    "ConfigField",
    "Counts",
    "Discovered",
    "DiscoveredCollection",
    "Durations",
    "Enriched",
    "EnricherInterface",
    "Enrichment",
    "EnrichmentError",
    "Event",
    "Failed",
    "Failure",
    "ImporterInterface",
    "IngestOptions",
    "IngestRun",
    "IngestSummary",
    "Ingested",
    "Ingestibility",
    "Listed",
    "MediaFile",
    "Named",
    "Outline",
    "Page",
    "PartDraft",
    "PathMapping",
    "Progress",
    "Rejection",
    "RetrovueError",
    "RunFinished",
    "RunStarted",
    "RunStatus",
    "Scope",
    "Secret",
    "Settings",
    "Skipped",
    "Source",
    "SourceIdentity",
    "SourceListing",
    "StateChange",
    "Store",
    "add_enricher",
    "add_source",
    "approve_assets",
    "attach_enricher",
    "detach_enricher",
    "discover",
    "enrich_one",
    "event_document",
    "get_asset",
    "ingest_one",
    "ingest_source",
    "list_assets",
    "list_collections",
    "list_sources",
    "open_store",
    "retire_assets",
    "summary_document",
    "update_collection",
    "update_source",
    "waiting_for_source",
]

# A library logs, and leaves it to its host what becomes of it; without this, Python would print the warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # Loaded when first used: the database layer alone takes half a second, which `retrovue --help` needn't wait for.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
