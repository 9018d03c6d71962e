"""Look for some of a library's files on this machine, at their mapped paths."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec import Struct

from retrovue.core.model import PathMapping
from retrovue.core.paths import PathMapper, UnmappedPath
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.operations.proposals import LocationSample, by_location
from retrovue.operations.survey import some_files
from retrovue.store.collections import find_target
from retrovue.store.session import Store

_SAMPLE = 20
PATIENCE_S = 10.0
"""How long the file system may take for a location, in seconds; a dead network mount may never answer."""


class FilesFound(Struct, frozen=True):
    """Whether the files of a location are at their mapped paths."""

    location: str
    """The location as the source spells it."""
    local: str | None
    """The mapped local directory; None if no mapping applies."""
    looked_for: int
    """The number of files that were looked for, from the first page of the library; 0 if it lists none in this
    location.
    """
    found: int
    first_missing: str | None
    """The local path of the first file that is missing."""


async def find_files(
    store: Store, reference: str, maps: Sequence[PathMapping] = (), *, source_reference: str | None = None
) -> list[FilesFound]:
    """Look for some of a library's files on this machine, for each location, as if ``maps`` were added.

    Writes nothing. Raises NotFound or Ambiguous, and SourceError if the source can't be read.
    """
    async with store.reading() as session:
        source, collection = await find_target(session, reference, source_reference)
    replaced = {new.source_prefix for new in maps}
    kept = [known for known in collection.path_mappings if known.source_prefix not in replaced]
    mapper = PathMapper([*maps, *kept])
    async with GuardedImporter(open_importer(source.type, source.config, source.credentials)) as importer:
        files = await some_files(importer, collection)
    return [await _look_for(mapper, sample) for sample in by_location(collection.locations, files)]


async def _look_for(mapper: PathMapper, sample: LocationSample) -> FilesFound:
    try:
        local = mapper.directory(sample.location)
        paths = [mapper.file(path) for path in sample.files[:_SAMPLE]]
    except UnmappedPath:
        return FilesFound(sample.location, None, 0, 0, None)
    with anyio.move_on_after(PATIENCE_S):
        missing = await anyio.to_thread.run_sync(partial(_missing, paths), abandon_on_cancel=True)
        return FilesFound(sample.location, local, len(paths), len(paths) - len(missing), next(iter(missing), None))
    return FilesFound(sample.location, local, len(paths), 0, paths[0] if paths else None)


def _missing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not Path(path).is_file()]
