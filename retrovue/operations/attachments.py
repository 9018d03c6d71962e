"""What an operator decides about enrichers: which there are, with which parameters, and what they are attached to."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from retrovue.core.bounds import LARGEST, SMALLEST
from retrovue.core.errors import RequestError, require_within
from retrovue.core.model import DEFAULT_PRIORITY, AttachedEnricher, Collection, Enricher
from retrovue.enrichers.guard import require_fitting
from retrovue.enrichers.registry import check_parameters
from retrovue.operations.curation import locked
from retrovue.operations.discovery import check_name
from retrovue.store import enrichers as store_enrichers
from retrovue.store.collections import find_collection
from retrovue.store.enrichers import EnricherListing, attached_to, find_enricher, list_enrichers, new_enricher
from retrovue.store.session import Store
from retrovue.store.sources import find_source, get_source


async def add_enricher(
    store: Store, type_name: str, name: str, config: Mapping[str, Any], *, dry_run: bool = False
) -> Enricher:
    """Add an enricher, once its parameters have been checked; it is attached to nothing yet."""
    check_name(name, "An enricher")
    check_parameters(type_name, config)
    enricher = new_enricher(type_name, name, dict(config))
    if not dry_run:
        async with store.transaction() as session:
            await store_enrichers.insert_enricher(session, enricher)
    return enricher


async def update_enricher(
    store: Store,
    reference: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    unset: tuple[str, ...] = (),
    dry_run: bool = False,
) -> tuple[Enricher, Enricher]:
    """Change an enricher's name or parameters; returns it as it was and as it is now.

    ``unset`` names parameters that are to be forgotten. What it has done stays done: it is not run again for that.
    """
    async with store.transaction() as session:
        before = await find_enricher(session, reference)
        if name is not None:
            check_name(name, "An enricher")
        _refuse_unset(before, unset)
        merged = {key: value for key, value in {**before.config, **(config or {})}.items() if key not in unset}
        check_parameters(before.type, merged)
        after = replace(before, name=before.name if name is None else name, config=merged)
        if not dry_run:
            await store_enrichers.save_enricher(session, after)
    return before, after


def _refuse_unset(enricher: Enricher, unset: tuple[str, ...]) -> None:
    strange = sorted(set(unset) - set(enricher.config))
    if strange:
        raise RequestError(
            f"Enricher {enricher.name!r} has no parameter {', '.join(strange)} that could be forgotten.",
            code="unknown_setting",
            hint=f"It has: {', '.join(sorted(enricher.config)) or 'none'}.",
        )


async def remove_enricher(
    store: Store, reference: str, confirm: Callable[[EnricherListing], Awaitable[bool]], *, dry_run: bool = False
) -> tuple[EnricherListing, bool]:
    """Remove an enricher, after ``confirm`` has seen what hangs on it and agreed; what it gave to assets stays.

    Assets to which nothing else is owed become new. Raises AlreadyRunning while a collection that has it is being
    ingested.
    """
    async with store.transaction() as session:
        enricher = await find_enricher(session, reference)
        (listing,) = await list_enrichers(session, enricher)
        having = [await find_collection(session, str(key)) for key, _, _ in listing.collections]
    if dry_run or not await confirm(listing):
        return listing, False
    async with locked(store, having, f"retrovue-remove-{enricher.id}"), store.transaction() as session:
        for collection in having:
            await store_enrichers.detach(session, collection, enricher)
        await store_enrichers.delete_enricher(session, enricher)
    return listing, True


@dataclass(frozen=True, slots=True)
class Attachment:
    """A collection's enrichers after a change, and how many assets changed their state by it."""

    collection: Collection
    enricher: Enricher
    attached: tuple[AttachedEnricher, ...]
    """In the order in which they run."""
    assets: int
    """Assets that became enriching, or new again; for a dry-run 0."""
    changed: bool


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

    Assets that are new become enriching until it has done its part; approved and retired ones stay as they are.
    Raises AlreadyRunning while the collection is being ingested, EnricherNotCompliant for a type that doesn't work
    with the collection's source, and RequestError for a priority that doesn't fit 32 bits.
    """
    if priority is not None:
        require_within("The priority", priority, SMALLEST, LARGEST, code="bad_priority")
    collection, enricher, attached = await _look_up(store, collection_reference, enricher_reference, source_reference)
    async with store.transaction() as session:
        require_fitting(enricher.type, await get_source(session, collection.source_id))
    known = next((one.priority for one in attached if one.enricher.id == enricher.id), None)
    wanted = (DEFAULT_PRIORITY if known is None else known) if priority is None else priority
    others = [one for one in attached if one.enricher.id != enricher.id]
    after = tuple(
        sorted([*others, AttachedEnricher(enricher, wanted)], key=lambda one: (one.priority, one.enricher.external_id))
    )
    assets = 0
    if not dry_run:
        holder = f"retrovue-attach-{collection.id}"
        async with locked(store, [collection], holder), store.transaction() as session:
            assets = await store_enrichers.attach(session, collection, enricher, wanted)
    return Attachment(collection, enricher, after, assets, known != wanted)


async def detach_enricher(
    store: Store,
    collection_reference: str,
    enricher_reference: str,
    *,
    source_reference: str | None = None,
    dry_run: bool = False,
) -> Attachment:
    """Detach an enricher from a collection; assets to which nothing else is owed become new again."""
    collection, enricher, attached = await _look_up(store, collection_reference, enricher_reference, source_reference)
    after = tuple(one for one in attached if one.enricher.id != enricher.id)
    assets = 0
    if not dry_run:
        holder = f"retrovue-detach-{collection.id}"
        async with locked(store, [collection], holder), store.transaction() as session:
            assets = await store_enrichers.detach(session, collection, enricher)
    return Attachment(collection, enricher, after, assets, len(after) != len(attached))


async def _look_up(
    store: Store, collection_reference: str, enricher_reference: str, source_reference: str | None
) -> tuple[Collection, Enricher, tuple[AttachedEnricher, ...]]:
    async with store.transaction() as session:
        within = None if source_reference is None else await find_source(session, source_reference)
        collection = await find_collection(session, collection_reference, within)
        enricher = await find_enricher(session, enricher_reference)
        attached = (await attached_to(session, [collection])).get(collection.id, ())
    return collection, enricher, attached
