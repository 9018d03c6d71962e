"""Collections: list, show, update and wipe them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from msgspec.structs import replace

from retrovue.cli.actions.enrichers import attached_lines
from retrovue.cli.asking import Destruction, confirm
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import room, table
from retrovue.cli.text import local_time
from retrovue.core.model import Collection, PathMapping, Source
from retrovue.core.paths import path_system
from retrovue.ingest.documents import collection_identity, outcome_document, source_identity
from retrovue.operations import catalogue, curation
from retrovue.operations.adoption import Adoption
from retrovue.operations.adoption import adopt_collection as adopt
from retrovue.operations.catalogue import Contents
from retrovue.operations.documents import collection_details_document, collection_document


async def show_collections(call: Invocation, source: str | None) -> int:
    """List the collections of a source, or all."""
    async with opened(call, reading=True) as store:
        collections = await catalogue.list_collections(store, source)
        sources = {listing.source.id: listing.source.external_id for listing in await catalogue.list_sources(store)}
    documents = [collection_document(collection) for collection in collections]
    return call.answer({"total": len(documents), "collections": documents}, collection_table(collections, sources))


async def show_collection(call: Invocation, reference: str, source: str | None) -> int:
    """Show one collection."""
    async with opened(call, reading=True) as store:
        details = await catalogue.get_collection(store, reference, source)
    if call.output.as_json:
        source_id = source_identity(details.source)
        call.output.document({"status": "ok", "source": source_id, "collection": collection_details_document(details)})
    else:
        call.output.lines([*_collection_lines(details.source, details.collection), *attached_lines(details.enrichers)])
    return 0


async def change_collection(
    call: Invocation,
    reference: str,
    source: str | None,
    maps: Sequence[str],
    unmap: Sequence[str],
    *,
    enabled: bool | None,
    check_files: bool | None,
    keep_approval: bool | None,
) -> int:
    """Change path mappings, enable or disable, or set whether files are looked for."""
    if not maps and not unmap and enabled is None and check_files is None and keep_approval is None:
        raise InputError(
            "Nothing to update.",
            hint="Give --map, --unmap, --enable, --disable, --check-files or --no-check-files.",
        )
    mappings = [here(read_mapping(text)) for text in maps]
    async with opened(call) as store:
        update = await curation.update_collection(
            store,
            reference,
            source_reference=source,
            map=mappings,
            unmap=unmap,
            enabled=enabled,
            check_files=check_files,
            keep_approval=keep_approval,
            dry_run=call.dry_run,
        )
        owner = await catalogue.find_source(store, str(update.collection.source_id))
    for warning in update.warnings:
        call.output.warn(warning)
    answer = update.ingestibility
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "source": source_identity(owner),
                "collection": collection_document(update.collection),
                "ingestibility": None
                if answer is None
                else {"ingestible": answer.ingestible, "code": answer.code, "reason": answer.reason},
                "warnings": list(update.warnings),
            }
        )
        return 0
    after = update.collection
    enabled_now = "yes" if after.sync_enabled else "no"
    ingestible = _ingestible(after) if answer is None else ("yes" if answer.ingestible else "no")
    unchecked = "" if after.check_files else ", its files aren't looked for"
    call.output.lines(
        [
            *(["Dry run: nothing was written. The result would be:"] if call.dry_run else []),
            f"Collection {after.name} of {owner.name}: enabled {enabled_now}, ingestible {ingestible}{unchecked}",
            *(f"  {mapping.source_prefix} = {mapping.local_path}" for mapping in after.path_mappings),
        ]
    )
    return 0


async def adopt_collection(call: Invocation, old: str, new: str, source: str | None, *, yes: bool) -> int:
    """Give the assets of a library to the one that took its place, after confirmation."""

    def agree(adoption: Adoption) -> None:
        what = "This gives the assets of one library to another"
        confirm(call, list(_adoption_lines(adoption)), "Do it?", what, yes=yes, context={"kept": adoption.kept})

    async with opened(call) as store:
        adoption = await adopt(store, old, new, source_reference=source, confirm=agree, dry_run=call.dry_run)
    outcome = outcome_document(adoption.outcome)
    document = {
        "dry_run": call.dry_run,
        "source": source_identity(adoption.source),
        "collection": collection_identity(adoption.after),
        "previous": collection_identity(adoption.before),
        "kept": adoption.kept,
        "lost": adoption.lost,
        "outcome": outcome,
    }
    head = "Dry run: nothing was written. The result would be:" if call.dry_run else "Done:"
    return call.answer(document, [head, *_adoption_lines(adoption)])


def _adoption_lines(adoption: Adoption) -> Iterator[str]:
    before, after, counts = adoption.before, adoption.after, adoption.outcome.counts
    yield f"Collection {before.name} ({before.external_id}) of source {adoption.source.name} becomes"
    yield f"  {after.name} ({after.external_id}), in {', '.join(after.locations) or 'no directory'}"
    yield f"  {adoption.kept:,} assets keep their ids, states and approvals; {counts.created:,} are new"
    yield f"  {adoption.lost:,} assets aren't in it"


async def wipe_collection(call: Invocation, reference: str, source: str | None, *, yes: bool) -> int:
    """Delete all assets of a collection, after confirmation."""

    def confirm(owner: Source, collection: Collection, contents: Contents) -> None:
        _destruction(owner, collection, contents).confirm(call, yes=yes)

    async with opened(call) as store:
        owner, collection, contents = await curation.wipe_collection(
            store, reference, source_reference=source, confirm=confirm, dry_run=call.dry_run
        )
    return _destruction(owner, collection, contents).report(
        call, {"source": source_identity(owner), "collection": collection_identity(collection)}
    )


def _destruction(source: Source, collection: Collection, contents: Contents) -> Destruction:
    lines = [
        f"Of collection {collection.name} ({collection.id}), which itself stays,",
        f"of source {source.name} ({source.external_id}, type {source.type}),",
        f"  assets: {contents.assets}, of which {contents.approved_assets} approved for broadcast",
    ]
    return Destruction(
        lines, {"collections": 0, "assets": contents.assets, "approved_assets": contents.approved_assets}
    )


def read_mapping(text: str) -> PathMapping:
    """Parse the value of ``--map``. Raises InputError if it isn't of the form FROM=TO."""
    # Split at the last "=": a directory of the source may contain one, and the local directory can be chosen without.
    prefix, separator, local = text.rpartition("=")
    if not separator or not prefix or not local:
        raise InputError(f"--map takes FROM=TO, not '{text}'.", hint="For example: --map /data/movies=/mnt/movies")
    return PathMapping(prefix, local)


def here(mapping: PathMapping) -> PathMapping:
    """Return a mapping with an absolute local path; ``~`` is the home directory. A path of Windows stays as it is."""
    local = os.path.expanduser(mapping.local_path)  # noqa: PTH111 - Path raises if there is no home directory
    return replace(mapping, local_path=local if path_system(local) == "windows" else os.path.abspath(local))  # noqa: PTH100


def collection_table(collections: Sequence[Collection], sources: Mapping[UUID, str]) -> list[str]:
    """Return the lines of a table of collections. ``sources`` maps the ids of sources to their external ids."""
    if not collections:
        return ["No collections. Find them with `retrovue source discover SOURCE`."]
    rows = [
        (
            collection.name,
            collection.kind,
            sources.get(collection.source_id),
            collection.external_id,
            collection.sync_enabled,
            _ingestible(collection),
            collection.assets_count,
        )
        for collection in collections
    ]
    heads = ("Collection", "Kind", "Source", "Key", "Enabled", "Ingestible", "Assets")
    return table(heads, rows, numbers=(6,), columns=room())


def _collection_lines(source: Source, collection: Collection) -> list[str]:
    reason = f" ({collection.not_ingestible_reason})" if collection.not_ingestible_reason else ""
    last = collection.last_ingest_at
    return [
        f"Name:        {collection.name}",
        f"Id:          {collection.id}",
        f"Source:      {source.name} ({source.external_id}, type {source.type})",
        f"Key:         {collection.external_id}",
        f"Kind:        {collection.kind}",
        f"Enabled:     {'yes' if collection.sync_enabled else 'no'}",
        f"Ingestible:  {_ingestible(collection)}{reason}",
        f"Check files: {'yes' if collection.check_files else 'no'}",
        f"Replaced:    {'stays approved' if collection.keep_approval else 'loses its approval'}",
        f"Assets:      {collection.assets_count}",
        f"Last ingest: {'never' if last is None else local_time(last)}",
        *(f"Location:    {location}" for location in collection.locations),
        *(f"Mapping:     {mapping.source_prefix} = {mapping.local_path}" for mapping in collection.path_mappings),
    ]


def _ingestible(collection: Collection) -> str:
    return {True: "yes", False: "no", None: "not checked"}[collection.ingestible]
