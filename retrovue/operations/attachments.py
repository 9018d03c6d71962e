"""Add, update and remove enrichers; attach them to collections and detach them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.bounds import LARGEST, SMALLEST
from retrovue.core.errors import RetrovueError, changed_meanwhile, require_within
from retrovue.core.model import DEFAULT_PRIORITY, AttachedEnricher, Collection, Enricher, Source
from retrovue.core.text import quoted
from retrovue.enrichers.guard import require_fitting
from retrovue.enrichers.registry import check_parameters, enricher_types, parameters_of
from retrovue.operations.curation import locked
from retrovue.operations.discovery import check_name, check_unset, without
from retrovue.store import enrichers
from retrovue.store.collections import find_collection
from retrovue.store.enrichers import (
    AttachmentState,
    EnricherListing,
    attachment_state,
    find_enricher,
    list_enrichers,
    new_enricher,
)
from retrovue.store.references import require_free_name
from retrovue.store.session import Store


def types_without_parameters() -> list[str]:
    """List the installed enricher types that need no parameters. Types that can't be loaded are left out."""
    found: list[str] = []
    for name in enricher_types():
        try:
            needed = [parameter for parameter in parameters_of(name) if parameter.required]
        except RetrovueError:
            continue
        if not needed:
            found.append(name)
    return found


async def add_enricher(
    store: Store, type_name: str, name: str, config: Mapping[str, Any], *, dry_run: bool = False
) -> Enricher:
    """Add an enricher that isn't attached to a collection.

    Raises RequestError for an invalid name or parameters, and for the name of another enricher.
    """
    check_name(name, "An enricher")
    check_parameters(type_name, config)
    enricher = new_enricher(type_name, name, dict(config))
    async with store.reading() if dry_run else store.transaction() as session:
        if not dry_run:
            await enrichers.lock_enrichers(session)
        await require_free_name(session, "enricher", name)
        if not dry_run:
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

    ``unset`` names parameters to remove. Assets that the enricher has enriched aren't enriched again. Raises
    RequestError for an invalid name or parameters.
    """
    async with store.reading() if dry_run else store.transaction() as session:
        if not dry_run:
            await enrichers.lock_enrichers(session)  # so that two updates at the same time are both applied
        before = await find_enricher(session, reference)
        if name is not None and name != before.name:
            check_name(name, "An enricher")
            await require_free_name(session, "enricher", name, before.id)
        check_unset(f"Enricher {quoted(before.name)}", "parameter", before.config.keys(), unset)
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
    """Detach an enricher from all collections and remove it. Values that it gave to assets stay.

    ``confirm`` is called first, but not for a dry-run; it raises an exception to refuse. Assets with no other owed
    enrichments become new again. Returns the enricher as it was. Raises AlreadyRunning while one of its collections is
    being ingested, and RequestError if it was changed or attached after it was confirmed.
    """
    async with store.reading() as session:
        enricher = await find_enricher(session, reference)
        (listing,) = await list_enrichers(session, enricher)
        collections = [await find_collection(session, str(key)) for key, _, _ in listing.collections]
    if not dry_run:
        if confirm is not None:
            confirm(listing)
        async with locked(store, collections, f"retrovue-remove-{enricher.id}"), store.transaction() as session:
            await enrichers.lock_enrichers(session)
            if await list_enrichers(session, enricher) != [listing]:
                raise changed_meanwhile(f"Enricher {quoted(enricher.name)}")
            for collection in collections:
                await enrichers.detach(session, collection, enricher)
            await enrichers.remove_enricher(session, enricher)
    return listing


class Attachment(Struct, frozen=True):
    """A collection's enrichers after one of them was attached or detached."""

    source: Source
    collection: Collection
    enricher: Enricher
    """The enricher that was attached or detached."""
    attached: tuple[AttachedEnricher, ...]
    """In the order in which they run."""
    assets: int
    """The number of assets whose state changed, to enriching or back to new; 0 for a dry-run."""
    changed: bool
    """Whether anything changed. False if it was attached with this priority before, or wasn't attached."""


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

    The enrichers of a collection run in ascending order of priority. By default an attached enricher keeps its
    priority, and a new one gets 100. New assets become enriching until it has enriched them; approved and retired
    assets keep their state. Raises AlreadyRunning while the collection is being ingested, EnricherNotCompliant for a
    type that doesn't work with the collection's source, and RequestError for a priority that doesn't fit 32 bits.
    """
    if priority is not None:
        require_within("The priority", priority, SMALLEST, LARGEST, code="bad_priority")
    async with store.reading() as session:
        now = await attachment_state(session, collection_reference, enricher_reference, source_reference)
    require_fitting(now.enricher.type, now.source)
    if dry_run:
        return _attached(now, priority)[0]
    holder = f"retrovue-attach-{now.collection.id}"
    async with locked(store, [now.collection], holder), store.transaction() as session:
        await enrichers.lock_enrichers(session)
        now = await attachment_state(session, str(now.collection.id), str(now.enricher.id))
        attachment, after = _attached(now, priority)
        return replace(attachment, assets=await enrichers.attach(session, now.collection, now.enricher, after))


async def detach_enricher(
    store: Store,
    collection_reference: str,
    enricher_reference: str,
    *,
    source_reference: str | None = None,
    dry_run: bool = False,
) -> Attachment:
    """Detach an enricher from a collection. Assets with no other owed enrichments become new again.

    Raises AlreadyRunning while the collection is being ingested.
    """
    async with store.reading() as session:
        now = await attachment_state(session, collection_reference, enricher_reference, source_reference)
    if dry_run:
        return _detached(now)
    holder = f"retrovue-detach-{now.collection.id}"
    async with locked(store, [now.collection], holder), store.transaction() as session:
        await enrichers.lock_enrichers(session)
        now = await attachment_state(session, str(now.collection.id), str(now.enricher.id))
        return replace(_detached(now), assets=await enrichers.detach(session, now.collection, now.enricher))


def _attached(now: AttachmentState, priority: int | None) -> tuple[Attachment, int]:
    """Return the attached enrichers after attaching one, and its priority. By default it keeps its priority."""
    after = priority if priority is not None else DEFAULT_PRIORITY if now.priority is None else now.priority
    order = sorted(
        [*now.others, AttachedEnricher(now.enricher, after)], key=lambda own: (own.priority, own.enricher.external_id)
    )
    return Attachment(now.source, now.collection, now.enricher, tuple(order), 0, now.priority != after), after


def _detached(now: AttachmentState) -> Attachment:
    """Return the attached enrichers after detaching one."""
    return Attachment(now.source, now.collection, now.enricher, now.others, 0, now.priority is not None)
