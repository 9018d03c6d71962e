"""Update sources and collections, wipe collections and delete sources."""

import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.answers import Ingestibility
from retrovue.core.bounds import LARGEST
from retrovue.core.errors import RequestError, SourceError, changed_meanwhile, require_within
from retrovue.core.model import Collection, PathMapping, Secret, Source
from retrovue.core.paths import check_mapping, comparable
from retrovue.core.text import quoted
from retrovue.importers.base import IDENTITY_SETTING
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.operations.discovery import check_name, check_settings, check_unset, without
from retrovue.store import sources
from retrovue.store.collections import (
    Contents,
    count_contents,
    find_collection,
    find_target,
    list_collections,
    record_ingestibility,
    set_check_files,
    set_enabled,
    set_keep_approval,
    set_path_mappings,
    wipe_collections,
)
from retrovue.store.locks import open_locks
from retrovue.store.readings import forget_readings
from retrovue.store.references import require_free_name
from retrovue.store.session import Store

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport


class CollectionUpdate(Struct, frozen=True):
    """A collection after an update."""

    collection: Collection
    ingestibility: Ingestibility | None
    """The result of the importer's check; None without a check, or if the source can't be reached."""
    warnings: tuple[str, ...] = ()


async def update_collection(
    store: Store,
    reference: str,
    *,
    source_reference: str | None = None,
    map: Sequence[PathMapping] = (),  # noqa: A002 - the word of the command
    unmap: Sequence[str] = (),
    enabled: bool | None = None,
    check_files: bool | None = None,
    keep_approval: bool | None = None,
    dry_run: bool = False,
    transport: "Transport | None" = None,
) -> CollectionUpdate:
    """Change a collection's path mappings and settings in one transaction.

    ``map`` adds mappings, or replaces those with the same source prefix; ``unmap`` removes mappings by source prefix.
    ``enabled``: whether source ingests include the collection. ``check_files``: whether an ingest looks for its files
    on this machine, and fails if none of a sample is found. ``keep_approval``: whether an asset stays approved when a
    sync finds that its file was replaced. None leaves a value unchanged. If mappings change or the collection is
    enabled, its importer checks the collection with the new values. Raises RequestError, and changes nothing, for an
    enabled collection that isn't ingestible, and if another program changed the collection meanwhile; AlreadyRunning
    while the collection is being ingested.
    """
    async with store.reading() as session:
        source, before = await find_target(session, reference, source_reference, statistics=True)
    mappings = _new_mappings(before.path_mappings, map, unmap)
    after = replace(
        before,
        path_mappings=mappings,
        sync_enabled=before.sync_enabled if enabled is None else enabled,
        check_files=before.check_files if check_files is None else check_files,
        keep_approval=before.keep_approval if keep_approval is None else keep_approval,
    )
    answer: Ingestibility | None = None
    warnings: tuple[str, ...] = ()
    if enabled or mappings != before.path_mappings or after.check_files != before.check_files:
        answer, warnings = await _check(source, after, transport, enabling=bool(enabled))
    if not dry_run:
        async with locked(store, [before], f"retrovue-update-{before.id}"), store.transaction() as session:
            owner, now = await find_target(session, str(before.id))
            if _checked(now) != _checked(before) or (answer is not None and owner != source):
                raise changed_meanwhile(f"Collection {before.display_name}")
            if mappings != before.path_mappings:
                await set_path_mappings(session, before, mappings)
            if enabled is not None:
                await set_enabled(session, before, enabled=enabled)
            if check_files is not None:
                await set_check_files(session, before, check_files=check_files)
            if keep_approval is not None:
                await set_keep_approval(session, before, keep_approval=keep_approval)
            if answer is not None:
                await record_ingestibility(session, [(before, answer)])
            after = await find_collection(session, str(before.id), statistics=True)
    return CollectionUpdate(after, answer, warnings)


def _checked(collection: Collection) -> tuple[object, ...]:
    """Return the values that an update depends on."""
    return (
        collection.path_mappings,
        collection.sync_enabled,
        collection.locations,
        collection.kind,
        collection.check_files,
    )


async def _check(
    source: Source, after: Collection, transport: "Transport | None", *, enabling: bool
) -> tuple[Ingestibility | None, tuple[str, ...]]:
    """Let the importer check the changed collection. A negative result is a warning; when enabling it is an error."""
    opened = open_importer(source.type, source.config, source.credentials, transport=transport)
    try:
        async with GuardedImporter(opened) as importer:
            await importer.check_reachable()
            answer = await importer.check_ingestible(after)
    except SourceError as exc:
        if enabling:
            raise
        return None, (f"Can't check whether the collection can be ingested now: {exc.message}",)
    if answer.ingestible:
        return answer, ()
    if enabling:
        raise RequestError(
            f"Collection {after.display_name} can't be enabled: {answer.reason}",
            code=answer.code or "not_ingestible",
            hint="Resolve the reason, then enable it again; nothing was changed.",
            context={"collection": str(after.id)},
        )
    return answer, (f"The collection can't be ingested yet: {answer.reason}",)


def _new_mappings(
    before: Sequence[PathMapping], add: Sequence[PathMapping], drop: Sequence[str]
) -> tuple[PathMapping, ...]:
    by_prefix = {comparable(mapping.source_prefix): mapping for mapping in before}
    for prefix in drop:
        if by_prefix.pop(comparable(prefix), None) is None:
            known = ", ".join(mapping.source_prefix for mapping in before) or "none"
            raise RequestError(
                f"There is no path mapping from {quoted(prefix)}.",
                code="no_such_mapping",
                hint=f"The collection's mappings: {known}.",
            )
    for mapping in add:
        checked = check_mapping(mapping)
        by_prefix[comparable(checked.source_prefix)] = checked
    return tuple(sorted(by_prefix.values(), key=lambda mapping: mapping.source_prefix))


@asynccontextmanager
async def locked(store: Store, collections: Sequence[Collection], holder: str) -> AsyncIterator[None]:
    """Hold the locks of collections. Raises AlreadyRunning for the first collection that another program has locked."""
    async with open_locks(store, holder) as locks:
        for refusal in (await locks.take(collections)).values():
            raise refusal
        yield


async def wipe_collection(
    store: Store,
    reference: str,
    *,
    source_reference: str | None = None,
    confirm: Callable[[Source, Collection, Contents], None] | None = None,
    dry_run: bool = False,
) -> tuple[Source, Collection, Contents]:
    """Delete all assets of a collection in one transaction.

    ``confirm`` is called first with what would be deleted, but not for a dry-run; it raises an exception to refuse.
    Returns the source, the collection and what was deleted, or would be for a dry-run. Raises AlreadyRunning while the
    collection is being ingested, and RequestError if its contents have changed since they were confirmed.
    """
    async with store.reading() as session:
        source, collection = await find_target(session, reference, source_reference)
        contents = await count_contents(session, [collection])
    if not dry_run:
        if confirm is not None:
            confirm(source, collection, contents)
        async with (
            locked(store, [collection], f"retrovue-wipe-{collection.id}"),
            store.transaction(long=True) as session,
        ):
            confirmed, contents = contents, await count_contents(session, [collection])
            if confirm is not None and contents != confirmed:
                raise changed_meanwhile(f"Collection {collection.display_name}")
            await wipe_collections(session, [collection])
    return source, collection, contents


async def delete_source(
    store: Store,
    reference: str,
    *,
    confirm: Callable[[Source, Contents], None] | None = None,
    dry_run: bool = False,
) -> tuple[Source, Contents]:
    """Delete a source with its collections, their assets and their audit trail in one transaction.

    ``confirm`` is called first with what would be deleted, but not for a dry-run; it raises an exception to refuse.
    Returns the source and what was deleted, or would be for a dry-run. Raises AlreadyRunning while one of its
    collections is being ingested, and RequestError if the contents have changed since they were confirmed.
    """
    async with store.reading() as session:
        source = await sources.find_source(session, reference)
        collections = await list_collections(session, source)
        contents = await count_contents(session, collections)
    if not dry_run:
        if confirm is not None:
            confirm(source, contents)
        async with locked(store, collections, f"retrovue-delete-{source.id}"), store.transaction(long=True) as session:
            now = await list_collections(session, source)
            confirmed, contents = contents, await count_contents(session, now)
            if {collection.id for collection in now} != {collection.id for collection in collections} or (
                confirm is not None and contents != confirmed
            ):
                raise changed_meanwhile(f"Source {quoted(source.name)}")
            await wipe_collections(session, collections)
            await sources.delete_source(session, source)
    return source, contents


async def update_source(
    store: Store,
    reference: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Secret] | None = None,
    unset: Sequence[str] = (),
    accept_new_identity: bool = False,
    grace: dt.timedelta | None = None,
    sweep_every: dt.timedelta | None = None,
    full_every: dt.timedelta | None = None,
    dry_run: bool = False,
) -> Source:
    """Change a source's name, settings, credentials, grace or sync intervals.

    ``grace`` is the time after which a missing asset is gone. ``sweep_every`` is the time after which a sync reads all
    of a collection, ``full_every`` that after which it compares each item. Each is 0 to 68 years. ``unset`` names
    optional settings to remove. Changed settings and credentials are stored only if the source can be reached with
    them: raises SourceError otherwise, and WrongIdentity if another server answers, unless ``accept_new_identity`` is
    set. Raises AlreadyRunning while one of its collections is being ingested.
    """
    async with store.reading() as session:
        source = await sources.find_source(session, reference)
        collections = await list_collections(session, source)
        if name is not None and name != source.name:
            check_name(name)
            await require_free_name(session, "source", name, source.id)
    check_unset(
        f"Source {quoted(source.name)}", "setting", {*source.config, *source.credentials} - {IDENTITY_SETTING}, unset
    )
    changed = replace(
        source,
        name=source.name if name is None else name,
        config=without(unset, source.config) | dict(config or {}),
        credentials=without(unset, source.credentials) | dict(credentials or {}),
        grace_s=_seconds(grace, source.grace_s),
        sweep_every_s=_seconds(sweep_every, source.sweep_every_s),
        full_every_s=_seconds(full_every, source.full_every_s),
    )
    require_within("The grace in seconds", changed.grace_s, 0, LARGEST, code="bad_grace")
    for seconds in (changed.sweep_every_s, changed.full_every_s):
        require_within("The interval in seconds", seconds, 0, LARGEST, code="bad_interval")
    given = without([IDENTITY_SETTING], changed.config)
    check_settings(source.type, given, changed.credentials)
    if config or credentials or unset or accept_new_identity:
        expected = given if accept_new_identity else changed.config
        async with GuardedImporter(open_importer(source.type, expected, changed.credentials)) as importer:
            identity = await importer.check_reachable()
        changed = replace(changed, config={**given, IDENTITY_SETTING: identity.identifier})
    if not dry_run:
        async with locked(store, collections, f"retrovue-update-{source.id}"), store.transaction() as session:
            if await sources.find_source(session, str(source.id)) != source:
                raise changed_meanwhile(f"Source {quoted(source.name)}")
            await sources.save_source(session, changed)
            if changed.credentials != source.credentials:
                # With another token the source may list other items.
                await forget_readings(session, source)
    return changed


def _seconds(span: dt.timedelta | None, before: int) -> int:
    return before if span is None else int(span.total_seconds())
