"""RetroVue ingest: bring a large Plex library into a database that a broadcast scheduler can rely on.

For a service that embeds it::

    async with open_store(Settings.from_environment()) as store:
        async with ingest_source(store, "My Plex Server", IngestOptions(concurrency=4)) as run:
            async for outcome in run:
                print(outcome.collection.name)
        print(run.summary.status)

The names in ``__all__`` are the public API, with ``retrovue.errors`` and ``retrovue.testing``; everything else may
change without notice.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrovue.attachments import add_enricher, attach_enricher, detach_enricher
    from retrovue.config import Settings
    from retrovue.curation import update_collection
    from retrovue.discovery import add_source, discover
    from retrovue.enrichers.base import AssetView, BaseEnricher, EnricherInterface, Enrichment, Failure, MediaFile
    from retrovue.enrichment import enrich_one
    from retrovue.errors import EnrichmentError, RetrovueError
    from retrovue.importers.base import BaseImporter, ImporterInterface
    from retrovue.model import (
        AssetDraft,
        Collection,
        ConfigField,
        DiscoveredCollection,
        Ingestibility,
        Page,
        PartDraft,
        PathMapping,
        Rejection,
        Scope,
        Secret,
        Source,
        SourceIdentity,
    )
    from retrovue.orchestrator import IngestOptions, IngestRun, ingest_one, ingest_source
    from retrovue.results import CollectionOutcome, Counts, Enriched, Failed, Ingested, IngestSummary, Skipped
    from retrovue.store.opening import open_store
    from retrovue.store.session import Store

_HOMES = {
    "attachments": ("add_enricher", "attach_enricher", "detach_enricher"),
    "config": ("Settings",),
    "curation": ("update_collection",),
    "discovery": ("add_source", "discover"),
    "enrichers.base": (
        "AssetView", "BaseEnricher", "EnricherInterface", "Enrichment", "Failure", "MediaFile",
    ),
    "enrichment": ("enrich_one",),
    "errors": ("EnrichmentError", "RetrovueError"),
    "importers.base": ("BaseImporter", "ImporterInterface"),
    "model": (
        "AssetDraft", "Collection", "ConfigField", "DiscoveredCollection", "Ingestibility", "Page", "PartDraft",
        "PathMapping", "Rejection", "Scope", "Secret", "Source", "SourceIdentity",
    ),
    "orchestrator": ("IngestOptions", "IngestRun", "ingest_one", "ingest_source"),
    "results": ("CollectionOutcome", "Counts", "Enriched", "Failed", "IngestSummary", "Ingested", "Skipped"),
    "store.opening": ("open_store",),
    "store.session": ("Store",),
}  # fmt: skip
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "AssetDraft",
    "AssetView",
    "BaseEnricher",
    "BaseImporter",
    "Collection",
    "CollectionOutcome",
    "ConfigField",
    "Counts",
    "DiscoveredCollection",
    "Enriched",
    "EnricherInterface",
    "Enrichment",
    "EnrichmentError",
    "Failed",
    "Failure",
    "ImporterInterface",
    "IngestOptions",
    "IngestRun",
    "IngestSummary",
    "Ingested",
    "Ingestibility",
    "MediaFile",
    "Page",
    "PartDraft",
    "PathMapping",
    "Rejection",
    "RetrovueError",
    "Scope",
    "Secret",
    "Settings",
    "Skipped",
    "Source",
    "SourceIdentity",
    "Store",
    "add_enricher",
    "add_source",
    "attach_enricher",
    "detach_enricher",
    "discover",
    "enrich_one",
    "ingest_one",
    "ingest_source",
    "open_store",
    "update_collection",
]


def __getattr__(name: str) -> Any:
    # Loaded when first used: the database layer alone takes half a second, which `retrovue --help` needn't wait for.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
