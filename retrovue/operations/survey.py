"""What a server holds and where its files are here, found out before anything of it is in the catalogue."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retrovue.core.errors import SourceError
from retrovue.core.model import (
    FULL,
    Collection,
    DiscoveredCollection,
    Ingestibility,
    Page,
    PathMapping,
    Secret,
    Source,
    SourceIdentity,
)
from retrovue.core.paths import PathMapper, UnmappedPath
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.operations.discovery import IDENTIFIER
from retrovue.operations.proposals import by_location, propose
from retrovue.store.collections import list_collections
from retrovue.store.session import Store
from retrovue.store.sources import list_sources


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A library of a server."""

    collection: Collection
    """As it is in the catalogue, or would be; with the mappings that would be added."""
    added: tuple[PathMapping, ...]
    """The mappings that it doesn't have in the catalogue."""
    unplaced: tuple[str, ...]
    """Its locations whose place here isn't known."""
    answer: Ingestibility
    """What the importer says about it with these mappings."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A server, and what became known of it."""

    identity: SourceIdentity
    source: Source | None
    """The source of the catalogue that is this very server."""
    libraries: tuple[Surveyed, ...]


async def survey(
    store: Store,
    type_name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    *,
    maps: Sequence[PathMapping] = (),
    roots: Iterable[str] | None = None,
) -> Survey:
    """Reach a server, list its libraries, and find out where their files are on this machine.

    A location is mapped by ``maps``, else as it is in the catalogue, else to where some of the files that the server
    lists are found (see ``retrovue.operations.proposals``). Writes nothing. Raises SourceError if the server can't be
    read.
    """
    async with GuardedImporter(open_importer(type_name, config, credentials)) as importer:
        identity = await importer.check_reachable()
        source, known = await _known(store, type_name, identity)
        collections = [_merged(found, known) for found in await importer.discover_collections()]
        own = {one.id: [*(m for m in maps if _concerns(m, one)), *one.path_mappings] for one in collections}
        unplaced = {one.id: _unmapped(one, own[one.id]) for one in collections}
        proposed: dict[str, PathMapping] = {}
        for one in collections:
            if unplaced[one.id]:
                files = await _some_files(importer, one)
                proposed |= await propose(by_location(unplaced[one.id], files), roots)
        libraries: list[Surveyed] = []
        for one in collections:
            new = [mapping for mapping in own[one.id] if mapping not in one.path_mappings]
            new += [proposed[location] for location in unplaced[one.id] if location in proposed]
            libraries.append(await _surveyed(importer, one, new))
    return Survey(identity, source, tuple(libraries))


async def placed(
    type_name: str, config: Mapping[str, Any], credentials: Mapping[str, Secret], one: Surveyed, more: PathMapping
) -> Surveyed:
    """Ask the importer about a library again, with one more mapping."""
    async with GuardedImporter(open_importer(type_name, config, credentials)) as importer:
        before = tuple(mapping for mapping in one.collection.path_mappings if mapping not in one.added)
        return await _surveyed(importer, replace(one.collection, path_mappings=before), [*one.added, more])


async def _known(store: Store, type_name: str, identity: SourceIdentity) -> tuple[Source | None, list[Collection]]:
    async with store.transaction() as session:
        for listing in await list_sources(session):
            source = listing.source
            if source.type == type_name and source.config.get(IDENTIFIER) == identity.identifier:
                return source, await list_collections(session, source)
    return None, []


def _merged(found: DiscoveredCollection, known: Sequence[Collection]) -> Collection:
    for one in known:
        if one.external_id == found.external_id:
            return replace(one, name=found.name, kind=found.kind, locations=found.locations)
    return Collection(
        id=uuid.uuid4(),
        source_id=uuid.uuid4(),
        external_id=found.external_id,
        name=found.name,
        kind=found.kind,
        sync_enabled=False,
        locations=found.locations,
    )


def _concerns(mapping: PathMapping, collection: Collection) -> bool:
    return len(_unmapped(collection, [mapping])) < len(collection.locations)


def _unmapped(collection: Collection, mappings: Iterable[PathMapping]) -> tuple[str, ...]:
    mapper = PathMapper(mappings)
    unmapped: list[str] = []
    for location in collection.locations:
        try:
            mapper.directory(location)
        except UnmappedPath:
            unmapped.append(location)
    return tuple(unmapped)


async def _some_files(importer: GuardedImporter, collection: Collection) -> list[str]:
    """Read the first page of a library for the paths of its files; one that can't be read gives none."""
    try:
        async with importer.enumerate(replace(collection, assets_count=0), FULL) as pages:
            async for page in pages:
                if isinstance(page, Page):
                    return [part.source_path for draft in page.drafts for part in draft.parts]
    except SourceError:
        return []  # the ingest says what is wrong with it; here it only has no proposal
    return []


async def _surveyed(importer: GuardedImporter, collection: Collection, new: Sequence[PathMapping]) -> Surveyed:
    mappings = (*new, *(mapping for mapping in collection.path_mappings if mapping not in new))
    mapped = replace(collection, path_mappings=mappings)
    return Surveyed(mapped, tuple(new), _unmapped(mapped, mappings), await importer.check_ingestible(mapped))
