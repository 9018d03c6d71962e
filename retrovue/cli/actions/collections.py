"""Showing collections and changing what an operator decides about them."""

from collections.abc import Mapping, Sequence
from typing import Any

from retrovue.cli.actions.enrichers import attached_fields, attached_lines
from retrovue.cli.asking import Destruction
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import room, table
from retrovue.core.model import Collection, PathMapping, Source
from retrovue.ingest.documents import collection_identity
from retrovue.operations import curation
from retrovue.store.collections import Destroyed, find_collection, list_collections
from retrovue.store.enrichers import attached_to
from retrovue.store.sources import find_source, get_source, list_sources


async def show_collections(call: Invocation, source: str | None) -> int:
    """List the collections of a source or of all."""
    async with opened(call) as store, store.transaction() as session:
        within = None if source is None else await find_source(session, source)
        collections = await list_collections(session, within)
        sources = {str(listing.source.id): listing.source.external_id for listing in await list_sources(session)}
    if call.output.as_json:
        fields = [collection_fields(collection) for collection in collections]
        call.output.document({"status": "ok", "total": len(fields), "collections": fields})
        return 0
    call.output.lines(collection_table(collections, sources))
    return 0


async def show_collection(call: Invocation, reference: str, source: str | None) -> int:
    """Show one collection."""
    async with opened(call) as store, store.transaction() as session:
        within = None if source is None else await find_source(session, source)
        collection = await find_collection(session, reference, within)
        attached = (await attached_to(session, [collection])).get(collection.id, ())
    if call.output.as_json:
        enrichers = [attached_fields(one) for one in attached]
        call.output.document({"status": "ok", "collection": {**collection_fields(collection), "enrichers": enrichers}})
    else:
        call.output.lines([*collection_lines(collection), *attached_lines(attached)])
    return 0


async def change_collection(
    call: Invocation,
    reference: str,
    source: str | None,
    maps: Sequence[str],
    unmap: Sequence[str],
    *,
    enabled: bool | None,
) -> int:
    """Change path mappings, or enable or disable."""
    if not maps and not unmap and enabled is None:
        raise InputError("Nothing to update.", hint="Give --map, --unmap, --enable or --disable.")
    mappings = [read_mapping(text) for text in maps]
    async with opened(call) as store:
        update = await curation.update_collection(
            store,
            reference,
            source_reference=source,
            map=mappings,
            unmap=unmap,
            enabled=enabled,
            dry_run=call.dry_run,
        )
        async with store.transaction() as session:
            of = await get_source(session, update.collection.source_id)
    for warning in update.warnings:
        call.output.warn(warning)
    answer = update.ingestibility
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "collection": collection_fields(update.collection),
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
    call.output.lines(
        [
            *(["Dry run: nothing was written. It would be:"] if call.dry_run else []),
            f"Collection {after.name} of {of.name}: enabled {enabled_now}, ingestible {ingestible}",
            *(f"  {mapping.source_prefix} = {mapping.local_path}" for mapping in after.path_mappings),
        ]
    )
    return 0


async def wipe_collection(call: Invocation, reference: str, source: str | None, *, yes: bool) -> int:
    """Delete all assets of a collection, once that is confirmed."""
    async with opened(call) as store:
        async with store.transaction() as session:
            within = None if source is None else await find_source(session, source)
            named = await find_collection(session, reference, within)
            of = await get_source(session, named.source_id)

        async def confirmed(collection: Collection, counted: Destroyed) -> bool:
            _destruction(collection, of, counted).confirm(call, yes=yes)
            return True

        collection, counted, _ = await curation.wipe_collection(store, str(named.id), confirmed, dry_run=call.dry_run)
    return _destruction(collection, of, counted).report(call, {"collection": collection_identity(collection)})


def _destruction(collection: Collection, source: Source, counted: Destroyed) -> Destruction:
    lines = [
        f"Of collection {collection.name} ({collection.id}), which itself stays,",
        f"of source {source.name} ({source.external_id}, type {source.type}),",
        f"  assets: {counted.assets}, of which {counted.approved_assets} approved for broadcast",
    ]
    return Destruction(lines, {"collections": 0, "assets": counted.assets, "approved_assets": counted.approved_assets})


def read_mapping(text: str) -> PathMapping:
    """Read what ``--map`` was given; raises InputError if it isn't FROM=TO."""
    # A local path never needs "=", a directory of the source may hold one.
    prefix, separator, local = text.rpartition("=")
    if not separator or not prefix or not local:
        raise InputError(f"--map takes FROM=TO, not {text!r}.", hint="For example: --map /data/movies=/mnt/movies")
    return PathMapping(prefix, local)


def collection_fields(collection: Collection) -> dict[str, Any]:
    """Build the JSON object of a collection."""
    return {
        "id": str(collection.id),
        "external_id": collection.external_id,
        "name": collection.name,
        "kind": collection.kind,
        "source_id": str(collection.source_id),
        "sync_enabled": collection.sync_enabled,
        "ingestible": collection.ingestible,
        "not_ingestible_reason": collection.not_ingestible_reason,
        "locations": list(collection.locations),
        "path_mappings": [
            {"source_prefix": mapping.source_prefix, "local_path": mapping.local_path}
            for mapping in collection.path_mappings
        ],
        "assets_count": collection.assets_count,
        "last_ingest_at": collection.last_ingest_at,
    }


def collection_table(collections: Sequence[Collection], sources: Mapping[str, str]) -> list[str]:
    """Lay out collections."""
    if not collections:
        return ["No collections. Find them with `retrovue source discover SOURCE`."]
    rows = [
        (
            collection.name,
            collection.kind,
            sources.get(str(collection.source_id)),
            collection.external_id,
            collection.sync_enabled,
            _ingestible(collection),
            collection.assets_count,
        )
        for collection in collections
    ]
    heads = ("Collection", "Kind", "Source", "Key", "Enabled", "Ingestible", "Assets")
    return table(heads, rows, numbers=(6,), columns=room())


def collection_lines(collection: Collection) -> list[str]:
    """Show all that is known of a collection."""
    reason = f" ({collection.not_ingestible_reason})" if collection.not_ingestible_reason else ""
    last = collection.last_ingest_at
    return [
        f"Name:        {collection.name}",
        f"Id:          {collection.id}",
        f"Key:         {collection.external_id}",
        f"Kind:        {collection.kind}",
        f"Enabled:     {'yes' if collection.sync_enabled else 'no'}",
        f"Ingestible:  {_ingestible(collection)}{reason}",
        f"Assets:      {collection.assets_count}",
        f"Last ingest: {'never' if last is None else last.isoformat(sep=' ', timespec='seconds')}",
        *(f"Location:    {location}" for location in collection.locations),
        *(f"Mapping:     {mapping.source_prefix} = {mapping.local_path}" for mapping in collection.path_mappings),
    ]


def _ingestible(collection: Collection) -> str:
    return {True: "yes", False: "no", None: "not checked"}[collection.ingestible]
