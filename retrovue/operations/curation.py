"""What an operator decides about sources and collections: settings, path mappings, what is ingested, what goes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from retrovue.core.errors import RequestError, SourceError
from retrovue.core.model import Collection, Ingestibility, PathMapping, Secret, Source
from retrovue.core.paths import check_mapping, components
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.operations.discovery import IDENTIFIER, check_name, check_settings
from retrovue.store.collections import (
    Destroyed,
    count_assets,
    find_collection,
    list_collections,
    record_ingestibility,
    set_enabled,
    set_path_mappings,
    wipe,
)
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from retrovue.store.sources import delete_source as delete_from_catalogue
from retrovue.store.sources import find_source, get_source, save_source

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class CollectionUpdate:
    """A collection after an update."""

    collection: Collection
    ingestibility: Ingestibility | None
    """What the importer's check said about it; None if it wasn't or couldn't be asked."""
    warnings: tuple[str, ...] = ()


async def update_collection(
    store: Store,
    reference: str,
    *,
    source_reference: str | None = None,
    map: Sequence[PathMapping] = (),  # noqa: A002 - the word of the command
    unmap: Sequence[str] = (),
    enabled: bool | None = None,
    dry_run: bool = False,
    transport: "Transport | None" = None,
) -> CollectionUpdate:
    """Change a collection's path mappings and whether it is ingested, in one transaction.

    The importer is asked, live, whether the collection could be ingested as it would then be; enabling one that
    couldn't is refused with the reason and changes nothing. Takes the collection's lock: raises AlreadyRunning
    while it is being ingested.
    """
    async with store.transaction() as session:
        within = None if source_reference is None else await find_source(session, source_reference)
        before = await find_collection(session, reference, within)
        source = await get_source(session, before.source_id)
    mappings = _mapped(before.path_mappings, map, unmap)
    after = replace(before, path_mappings=mappings, sync_enabled=before.sync_enabled if enabled is None else enabled)
    answer: Ingestibility | None = None
    warnings: tuple[str, ...] = ()
    if enabled or mappings != before.path_mappings:
        answer, warnings = await _ask(source, after, transport, enabling=bool(enabled))
    if not dry_run:
        async with locked(store, [before], f"retrovue-update-{before.id}"), store.transaction() as session:
            if mappings != before.path_mappings:
                await set_path_mappings(session, before, mappings)
            if enabled is not None:
                await set_enabled(session, before, enabled=enabled)
            if answer is not None:
                await record_ingestibility(session, [(before, answer)])
            after = await find_collection(session, str(before.id))
    return CollectionUpdate(after, answer, warnings)


async def _ask(
    source: Source, after: Collection, transport: "Transport | None", *, enabling: bool
) -> tuple[Ingestibility | None, tuple[str, ...]]:
    """Ask the importer about the collection as it would be; a no refuses the enabling, and else is a warning."""
    opened = open_importer(source.type, source.config, source.credentials, transport=transport)
    try:
        async with GuardedImporter(opened) as importer:
            await importer.check_reachable()
            answer = await importer.check_ingestible(after)
    except SourceError as exc:
        if enabling:
            raise
        return None, (f"It could not be checked whether the collection can be ingested now: {exc.message}",)
    if answer.ingestible:
        return answer, ()
    if enabling:
        raise RequestError(
            f"Collection {after.name!r} can't be enabled: {answer.reason}",
            code=answer.code or "not_ingestible",
            hint="Mend what the reason says, then enable it again; nothing was changed.",
            context={"collection": str(after.id)},
        )
    return answer, (f"The collection can't be ingested yet: {answer.reason}",)


def _mapped(before: Sequence[PathMapping], add: Sequence[PathMapping], drop: Sequence[str]) -> tuple[PathMapping, ...]:
    by_prefix = {components(mapping.source_prefix): mapping for mapping in before}
    for prefix in drop:
        if by_prefix.pop(components(prefix), None) is None:
            known = ", ".join(mapping.source_prefix for mapping in before) or "none"
            raise RequestError(
                f"There is no path mapping from {prefix!r}.",
                code="no_such_mapping",
                hint=f"The collection's mappings: {known}.",
            )
    for mapping in add:
        checked = check_mapping(mapping)
        by_prefix[components(checked.source_prefix)] = checked
    return tuple(sorted(by_prefix.values(), key=lambda mapping: mapping.source_prefix))


@asynccontextmanager
async def locked(store: Store, collections: Sequence[Collection], holder: str) -> AsyncIterator[None]:
    """Hold the collections' locks, or raise AlreadyRunning for the first that somebody else holds."""
    async with open_locks(store, holder) as locks:
        for refusal in (await locks.take(collections)).values():
            raise refusal
        yield


async def wipe_collection(
    store: Store,
    reference: str,
    confirm: Callable[[Collection, Destroyed], Awaitable[bool]],
    *,
    source_reference: str | None = None,
    dry_run: bool = False,
) -> tuple[Collection, Destroyed, bool]:
    """Delete all assets of a collection in one transaction, after ``confirm`` has seen what goes and agreed.

    Returns the collection, what was or would be destroyed, and whether it was. Raises AlreadyRunning while the
    collection is being ingested.
    """
    async with store.transaction() as session:
        within = None if source_reference is None else await find_source(session, source_reference)
        collection = await find_collection(session, reference, within)
        doomed = await count_assets(session, [collection])
    if dry_run or not await confirm(collection, doomed):
        return collection, doomed, False
    async with locked(store, [collection], f"retrovue-wipe-{collection.id}"), store.transaction() as session:
        doomed = await count_assets(session, [collection])
        await wipe(session, [collection])
    return collection, doomed, True


async def delete_source(
    store: Store, reference: str, confirm: Callable[[Source, Destroyed], Awaitable[bool]], *, dry_run: bool = False
) -> tuple[Source, Destroyed, bool]:
    """Delete a source with its collections, assets and audit trail in one transaction, after ``confirm`` agreed.

    Returns the source, what was or would be destroyed, and whether it was. Raises AlreadyRunning while one of
    its collections is being ingested.
    """
    async with store.transaction() as session:
        source = await find_source(session, reference)
        collections = await list_collections(session, source)
        doomed = await count_assets(session, collections)
    if dry_run or not await confirm(source, doomed):
        return source, doomed, False
    async with locked(store, collections, f"retrovue-delete-{source.id}"), store.transaction() as session:
        doomed = await count_assets(session, collections)
        await wipe(session, collections)
        await delete_from_catalogue(session, source)
    return source, doomed, True


async def update_source(
    store: Store,
    reference: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Secret] | None = None,
    unset: Sequence[str] = (),
    accept_new_identity: bool = False,
    dry_run: bool = False,
) -> Source:
    """Change a source's name, settings or credentials, after reaching it as it would then be.

    ``unset`` names optional settings that are to be forgotten. Another server at the address is refused with
    WrongIdentity, unless ``accept_new_identity`` says that the operator means it: its collections and items are then
    other ones, whatever their keys.
    """
    async with store.transaction() as session:
        source = await find_source(session, reference)
        collections = await list_collections(session, source)
    if name is not None:
        check_name(name)
    _refuse_unset(source, unset)
    changed = replace(
        source,
        name=source.name if name is None else name,
        config=_without(unset, source.config) | dict(config or {}),
        credentials=_without(unset, source.credentials) | dict(credentials or {}),
    )
    given = {key: value for key, value in changed.config.items() if key != IDENTIFIER}
    check_settings(source.type, given, changed.credentials)
    if config or credentials or unset or accept_new_identity:
        expected = given if accept_new_identity else changed.config
        async with GuardedImporter(open_importer(source.type, expected, changed.credentials)) as importer:
            identity = await importer.check_reachable()
        changed = replace(changed, config={**given, IDENTIFIER: identity.identifier})
    if not dry_run:
        async with locked(store, collections, f"retrovue-update-{source.id}"), store.transaction() as session:
            if await find_source(session, str(source.id)) != source:
                raise RequestError(
                    f"Source {source.name!r} was changed by another program meanwhile.",
                    code="conflict",
                    hint="Nothing was changed. Look at the source, then run the command again.",
                )
            await save_source(session, changed)
    return changed


def _refuse_unset(source: Source, unset: Sequence[str]) -> None:
    known = sorted({*source.config, *source.credentials} - {IDENTIFIER})
    strange = sorted(set(unset) - set(known))
    if strange:
        raise RequestError(
            f"Source {source.name!r} has no setting {', '.join(strange)} that could be forgotten.",
            code="unknown_setting",
            hint=f"It has: {', '.join(known) or 'none'}.",
        )


def _without(names: Sequence[str], settings: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in settings.items() if name not in names}
