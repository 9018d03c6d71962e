"""Add, update and remove enrichers; attach them to collections and detach them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retrovue.core.bounds import LARGEST, SMALLEST
from retrovue.core.errors import require_within
from retrovue.core.model import DEFAULT_PRIORITY, AttachedEnricher, Collection, Enricher, Source
from retrovue.enrichers.guard import require_fitting
from retrovue.enrichers.registry import check_parameters
from retrovue.operations.curation import locked
from retrovue.operations.discovery import check_name, check_unset, without
from retrovue.store import enrichers
from retrovue.store.collections import find_collection, find_target
from retrovue.store.enrichers import EnricherListing, attached_to, find_enricher, list_enrichers, new_enricher
from retrovue.store.session import Store


async def add_enricher(
    store: Store, type_name: str, name: str, config: Mapping[str, Any], *, dry_run: bool = False
) -> Enricher:
    """Add an enricher, attached to no collection. Raises RequestError for a bad name or parameters."""
    check_name(name, "An enricher")
    check_parameters(type_name, config)
    enricher = new_enricher(type_name, name, dict(config))
    if not dry_run:
        async with store.transaction() as session:
            await enrichers.insert_enricher(session, enricher)
    return enricher


async def update_enricher(
    store: Store,
    reference: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    unset: Sequence[str] = (),
    dry_run: bool = False,
) -> tuple[Enricher, Enricher]:
    """Change an enricher's name or parameters. Returns the enricher before and after.

    ``unset`` names parameters to remove. Assets that it has enriched are not enriched again. Raises RequestError for a
    bad name or parameters.
    """
    async with store.transaction() as session:
        before = await find_enricher(session, reference)
        if name is not None:
            check_name(name, "An enricher")
        check_unset(f"Enricher {before.name!r}", "parameter", before.config.keys(), unset)
        changed = without(unset, {**before.config, **(config or {})})
        check_parameters(before.type, changed)
        after = replace(before, name=before.name if name is None else name, config=changed)
        if not dry_run:
            await enrichers.save_enricher(session, after)
    return before, after


async def remove_enricher(
    store: Store,
    reference: str,
    *,
    confirm: Callable[[EnricherListing], None] | None = None,
    dry_run: bool = False,
) -> EnricherListing:
    """Detach an enricher from all collections and remove it. The values it gave to assets stay.

    ``confirm`` is called first, but not for a dry-run; it raises to refuse. Assets to which no other enricher owes
    anything become new again. Returns the enricher as it was. Raises AlreadyRunning while one of its collections is
    being ingested.
    """
    async with store.reading() as session:
        enricher = await find_enricher(session, reference)
        (listing,) = await list_enrichers(session, enricher)
        collections = [await find_collection(session, str(key)) for key, _, _ in listing.collections]
    if not dry_run:
        if confirm is not None:
            confirm(listing)
        async with locked(store, collections, f"retrovue-remove-{enricher.id}"), store.transaction() as session:
            for collection in collections:
                await enrichers.detach(session, collection, enricher)
            await enrichers.remove_enricher(session, enricher)
    return listing


@dataclass(frozen=True, slots=True)
class Attachment:
    """A collection's enrichers after one of them was attached or detached."""

    source: Source
    collection: Collection
    enricher: Enricher
    """The one that was attached or detached."""
    attached: tuple[AttachedEnricher, ...]
    """In the order in which they run."""
    assets: int
    """Assets whose state changed: to enriching, or back to new. 0 for a dry-run."""
    changed: bool
    """False if it was attached with this priority, or wasn't attached, before."""


async def attach_enricher(
    store: Store,
    collection_reference: str,
    enricher_reference: str,
    *,
    source_reference: str | None = None,
    priority: int | None = None,
    dry_run: bool = False,
) -> Attachment:
    """Attach an enricher to a collection, or change its priority there.

    Of a collection's enrichers, those with a lower priority run first. By default an enricher keeps its priority; a
    new one gets 100. New assets become enriching until it has enriched them; approved and retired ones stay as they
    are. Raises AlreadyRunning while the collection is being ingested, EnricherNotCompliant for a type that doesn't work
    with the collection's source, and RequestError for a priority that doesn't fit 32 bits.
    """
    if priority is not None:
        require_within("The priority", priority, SMALLEST, LARGEST, code="bad_priority")
    async with store.reading() as session:
        source, collection = await find_target(session, collection_reference, source_reference)
        enricher = await find_enricher(session, enricher_reference)
        attached = (await attached_to(session, [collection])).get(collection.id, ())
    require_fitting(enricher.type, source)
    others = [other for other in attached if other.enricher.id != enricher.id]
    before = next((own.priority for own in attached if own.enricher.id == enricher.id), None)
    after = priority if priority is not None else DEFAULT_PRIORITY if before is None else before
    assets = 0
    if not dry_run:
        holder = f"retrovue-attach-{collection.id}"
        async with locked(store, [collection], holder), store.transaction() as session:
            assets = await enrichers.attach(session, collection, enricher, after)
    order = sorted(
        [*others, AttachedEnricher(enricher, after)], key=lambda own: (own.priority, own.enricher.external_id)
    )
    return Attachment(source, collection, enricher, tuple(order), assets, before != after)


async def detach_enricher(
    store: Store,
    collection_reference: str,
    enricher_reference: str,
    *,
    source_reference: str | None = None,
    dry_run: bool = False,
) -> Attachment:
    """Detach an enricher from a collection. Assets to which no other enricher owes anything become new again.

    Raises AlreadyRunning while the collection is being ingested.
    """
    async with store.reading() as session:
        source, collection = await find_target(session, collection_reference, source_reference)
        enricher = await find_enricher(session, enricher_reference)
        attached = (await attached_to(session, [collection])).get(collection.id, ())
    others = tuple(other for other in attached if other.enricher.id != enricher.id)
    assets = 0
    if not dry_run:
        holder = f"retrovue-detach-{collection.id}"
        async with locked(store, [collection], holder), store.transaction() as session:
            assets = await enrichers.detach(session, collection, enricher)
    return Attachment(source, collection, enricher, others, assets, len(others) != len(attached))
