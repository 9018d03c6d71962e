"""Survey a server that may not be in the catalogue yet: its libraries, and where their files are on this machine."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.answers import DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.errors import FilesNotFound, RequestError, SourceError
from retrovue.core.model import Collection, PathMapping, Secret, Source
from retrovue.core.pages import Page
from retrovue.core.paths import PathMapper, UnmappedPath
from retrovue.core.runs import FULL
from retrovue.importers.base import IDENTITY_SETTING
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.locations import empty_locations
from retrovue.importers.registry import open_importer
from retrovue.ingest.files import FileCheck
from retrovue.operations.curation import update_collection
from retrovue.operations.proposals import by_location, propose_mappings
from retrovue.store.collections import list_collections
from retrovue.store.session import Store
from retrovue.store.sources import list_sources

_LOOKS = 5
"""How often some of a page's files are looked for, until one is found."""


class LibrarySurvey(Struct, frozen=True):
    """A library of a server."""

    collection: Collection
    """The collection of the catalogue, or a new one; with all its mappings and the new ones."""
    new_mappings: tuple[PathMapping, ...]
    """The mappings that aren't in the catalogue yet."""
    unmapped: tuple[str, ...]
    """Its locations that have no mapping."""
    answer: Ingestibility
    """The result of the importer's check with all these mappings."""
    empty: tuple[str, ...] = ()
    """Its locations whose local directories exist and are empty."""
    lost: bool = False
    """Whether the files that the source lists aren't where the mappings lead; ``answer`` says why."""


class Survey(Struct, frozen=True):
    """A server and its libraries."""

    identity: SourceIdentity
    source: Source | None
    """The source of the catalogue with this identity; None if there is none."""
    libraries: tuple[LibrarySurvey, ...]


async def check_server(type_name: str, config: Mapping[str, Any], credentials: Mapping[str, Secret]) -> SourceIdentity:
    """Contact a server and return its identity.

    Raises SourceRefused if the server doesn't accept the credentials, another SourceError if no server of this type
    answers, and RequestError if the configuration can't be used.
    """
    async with GuardedImporter(open_importer(type_name, config, credentials)) as importer:
        return await importer.check_reachable()


async def survey(
    store: Store,
    type_name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    *,
    maps: Sequence[PathMapping] = (),
    roots: Iterable[str] | None = None,
    check_files: bool = True,
) -> Survey:
    """List the libraries of a server and where their files are on this machine. Writes nothing.

    With ``check_files=False`` a library may be mapped to an empty directory, because its files are on another machine.
    A location is mapped by ``maps``, else by the catalogue's mappings, else to a directory below one of ``roots`` that
    has its files (see ``propose_mappings``). Raises SourceError if the server can't be read.
    """
    async with GuardedImporter(open_importer(type_name, config, credentials)) as importer:
        identity = await importer.check_reachable()
        source, known = await _known(store, type_name, identity)
        libraries: list[LibrarySurvey] = []
        for discovered in await importer.discover_collections():
            if not discovered.external_id:
                continue
            collection = _collection(discovered, known)
            collection = replace(collection, check_files=collection.check_files and check_files)
            new = [mapping for mapping in maps if _applies(mapping, collection)]
            unmapped = _unmapped(collection, [*new, *collection.path_mappings])
            files = await some_files(importer, collection) if unmapped or collection.check_files else []
            if unmapped:
                proposals = await propose_mappings(by_location(unmapped, files), roots)
                new += [proposals[location] for location in unmapped if location in proposals]
            new = [mapping for mapping in new if mapping not in collection.path_mappings]
            libraries.append(await _survey_library(importer, collection, new, files))
    return Survey(identity, source, tuple(libraries))


async def add_mapping(
    type_name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    library: LibrarySurvey,
    mapping: PathMapping,
) -> LibrarySurvey:
    """Survey a library again with an additional mapping."""
    async with GuardedImporter(open_importer(type_name, config, credentials)) as importer:
        before = tuple(known for known in library.collection.path_mappings if known not in library.new_mappings)
        collection = replace(library.collection, path_mappings=before)
        files = await some_files(importer, collection) if collection.check_files else []
        return await _survey_library(importer, collection, [*library.new_mappings, mapping], files)


async def enable_library(store: Store, source: Source, library: LibrarySurvey) -> None:
    """Enable a library of a discovered source, with its new mappings. Raises as `update_collection`."""
    await update_collection(
        store,
        library.collection.external_id,
        source_reference=str(source.id),
        map=library.new_mappings,
        enabled=True,
        check_files=library.collection.check_files,
    )


async def _known(store: Store, type_name: str, identity: SourceIdentity) -> tuple[Source | None, list[Collection]]:
    async with store.reading() as session:
        for listing in await list_sources(session):
            source = listing.source
            if source.type == type_name and source.config.get(IDENTITY_SETTING) == identity.identifier:
                return source, await list_collections(session, source)
    return None, []


def _collection(found: DiscoveredCollection, known: Sequence[Collection]) -> Collection:
    for collection in known:
        if collection.external_id == found.external_id:
            locations = found.locations if found.locations_known else collection.locations
            return replace(collection, name=found.name_or(collection.name), kind=found.kind, locations=locations)
    return Collection(
        id=uuid.uuid4(),
        source_id=uuid.uuid4(),
        external_id=found.external_id,
        name=found.name_or(None),
        kind=found.kind,
        sync_enabled=False,
        locations=found.locations,
    )


def _applies(mapping: PathMapping, collection: Collection) -> bool:
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


async def some_files(importer: GuardedImporter, collection: Collection) -> list[str]:
    """Return the paths of the files on the first page of a library; empty if it can't be read."""
    try:
        async with importer.enumerate(replace(collection, assets_count=0), FULL) as pages:
            async for page in pages:
                if isinstance(page, Page):
                    return [part.source_path for draft in page.drafts for part in draft.parts]
    except (SourceError, RequestError):  # UnsupportedKind for a library that can't be ingested
        return []  # The ingest reports what is wrong; here the library only gets no proposal.
    return []


async def _survey_library(
    importer: GuardedImporter, collection: Collection, new: Sequence[PathMapping], files: Sequence[str]
) -> LibrarySurvey:
    """Ask the importer about a library with its new mappings, and look for some of its ``files`` where they lead."""
    mappings = (*new, *(mapping for mapping in collection.path_mappings if mapping not in new))
    changed = replace(collection, path_mappings=mappings)
    answer = await importer.check_ingestible(changed)
    empty = tuple(await empty_locations(changed))
    unmapped = _unmapped(changed, mappings)
    lost = False
    if changed.check_files and (answer.ingestible or unmapped):
        try:
            await _look_for(files, replace(changed, locations=tuple(set(changed.locations) - set(unmapped))))
        except FilesNotFound as exc:
            lost, answer = True, Ingestibility(ingestible=False, code=exc.code, reason=exc.message)
    return LibrarySurvey(changed, tuple(new), unmapped, answer, empty, lost)


async def _look_for(files: Sequence[str], collection: Collection) -> None:
    """Look for some of a page's files on this machine, as an ingest does. Raises FilesNotFound."""
    check = FileCheck(collection, PathMapper(collection.path_mappings).file)
    for number in range(_LOOKS):
        if check.wanted:
            await check.look(files[number::_LOOKS])
    await check.finish()
