"""Check that the locations of a library are mapped to directories of this machine that have its files."""

import os
import shlex
import unicodedata
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import anyio
import anyio.to_thread
from msgspec.structs import replace

from retrovue.core.answers import Ingestibility
from retrovue.core.errors import RequestError, SourceError
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, Page
from retrovue.core.paths import PathMapper, UnmappedPath
from retrovue.core.runs import FULL, Scope

MOST_LOCATIONS = 1000
"""The most folders of a library. Each is checked before each ingest."""
SHOWN = 20
"""The most folders that a reason names."""
MOUNT_DEADLINE_S = 10.0
"""The deadline for a directory, in seconds. A mount without its server blocks for minutes; a disk spins up sooner."""
_PAGES = 3
"""How many pages of a listing are searched for files of an empty directory; the ingest checks the others."""
_NO_MEDIA = frozenset({"lost+found", "@eaDir", "System Volume Information"})
"""What file systems and storage devices put into a directory without files, besides hidden names."""
_FIX = "Mount it, or correct the path mapping."

Listing = Callable[[Collection, Scope], AsyncGenerator[Page | Outline, None]]
"""Generates the pages of a collection."""


class OtherSpelling(FileNotFoundError):
    """A directory is missing, but exists under a name that differs only in its form of Unicode: ``filename``."""


def has_entries(path: str) -> bool:
    """Return whether a directory contains anything except hidden and system entries. Blocks; raises OSError."""
    try:
        with os.scandir(path) as entries:
            return any(not entry.name.startswith(".") and entry.name not in _NO_MEDIA for entry in entries)
    except FileNotFoundError as exc:
        if (spelling := other_spelling(path)) is not None:
            raise OtherSpelling(exc.errno, exc.strerror, spelling) from exc
        raise


def other_spelling(path: str) -> str | None:
    """Return the path of a missing file or directory in the other form of Unicode, if it exists. Blocks.

    macOS writes "é" as two characters (NFD), others as one (NFC). They look the same, and are two names on a disk.
    """
    if path.isascii() or "\0" in path or os.path.lexists(path):
        return None
    for form in ("NFC", "NFD"):
        spelling = unicodedata.normalize(form, path)
        if spelling != path and os.path.lexists(spelling):
            return spelling
    return None


async def check_locations(
    collection: Collection,
    locations: tuple[str, ...],
    *,
    server: str,
    deadline_s: float = MOUNT_DEADLINE_S,
    probe: Callable[[str], bool] = has_entries,
    listing: Listing | None = None,
) -> Ingestibility:
    """Return whether every location is mapped to a directory that can be listed; the reason names each that isn't.

    A directory may be empty, unless files of the collection are looked for (``Collection.check_files``) and the first
    pages of ``listing`` have some in it: then its disk isn't mounted. ``server`` is the name of the media server in the
    reason; ``deadline_s`` applies to each directory.
    """
    locations = tuple(dict.fromkeys(locations))
    if len(locations) > MOST_LOCATIONS:
        return Ingestibility(
            ingestible=False,
            code="too_many_locations",
            reason=f"{server} lists {len(locations):,} folders for the library, more than {MOST_LOCATIONS:,}.",
        )
    if not locations:
        return Ingestibility(
            ingestible=False,
            code="no_location",
            reason=f"The library has no folder in {server}. Add one there, then try again.",
        )
    mapped, unmapped = _map_locations(collection, locations)
    if unmapped:
        maps = " --map ".join(f"{shlex.quote(location + '=')}LOCAL" for location in unmapped[:SHOWN])
        more = f" and {len(unmapped) - SHOWN} more" if len(unmapped) > SHOWN else ""
        return Ingestibility(
            ingestible=False,
            code="unmapped_location",
            reason=(
                f"No path mapping covers {', '.join(unmapped[:SHOWN])}{more}."
                " Say where these files are on this machine: "
                f"`retrovue collection update {collection.arguments} --map {maps}`."
            ),
        )
    problems: list[tuple[str, str]] = []
    empty: list[tuple[str, str]] = []
    for location, local in mapped:
        found = await _look_into(local, location, deadline_s, probe)
        if isinstance(found, tuple):
            problems.append(found)
        elif not found:
            empty.append((location, local))
    if not problems and empty and collection.check_files and listing is not None:
        problems = [
            ("location_empty", f"{_what(local, location)} is empty, but {server} lists files in it. {_FIX}")
            for location, local in await _with_files(collection, empty, listing)
        ]
    if problems:
        return Ingestibility(
            ingestible=False, code=problems[0][0], reason=" ".join(text for _, text in problems[:SHOWN])
        )
    return Ingestibility(ingestible=True)


async def empty_or_unreadable(
    collection: Collection, *, local: bool, deadline_s: float = MOUNT_DEADLINE_S
) -> list[str]:
    """Return a sentence for each location whose directory can't be listed or has no entry: a disk may be missing.

    ``local``: the locations are directories of this machine. Unmapped locations are left out, and so are empty ones if
    no files are looked for (``Collection.check_files``).
    """
    if local:
        mapped = [(location, location) for location in collection.locations]
    else:
        mapped, _ = _map_locations(collection, collection.locations)
    problems: list[str] = []
    for location, path in mapped:
        found = await _look_into(path, location, deadline_s, has_entries)
        if isinstance(found, tuple):
            problems.append(found[1])
        elif not found and (local or collection.check_files):
            problems.append(f"{_what(path, location)} is empty. {_FIX}")
    return problems


def _map_locations(collection: Collection, locations: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    mapper = PathMapper(collection.path_mappings)
    mapped: list[tuple[str, str]] = []
    unmapped: list[str] = []
    for location in locations:
        try:
            mapped.append((location, mapper.directory(location)))
        except UnmappedPath:
            unmapped.append(location)
    return mapped, unmapped


async def empty_locations(collection: Collection, *, deadline_s: float = MOUNT_DEADLINE_S) -> list[str]:
    """Return the locations of a collection whose local directories exist and are empty."""
    mapped, _ = _map_locations(collection, collection.locations)
    return [
        location for location, local in mapped if await _look_into(local, location, deadline_s, has_entries) is False
    ]


async def _with_files(
    collection: Collection, empty: Sequence[tuple[str, str]], listing: Listing
) -> list[tuple[str, str]]:
    """Return those of some locations in which the first pages of a listing have files."""
    mapper = PathMapper(collection.path_mappings)
    found: set[str] = set()
    try:
        async with aclosing(listing(replace(collection, assets_count=0), FULL)) as pages:
            number = 0
            async for page in pages:
                for path in listed_files(page):
                    try:
                        local = mapper.file(path)
                    except UnmappedPath:
                        continue
                    found |= {root for _, root in empty if local.startswith(root.rstrip("/") + "/")}
                number += 1
                if len(found) == len(empty) or number == _PAGES:
                    break
    except (SourceError, RequestError):
        pass  # The reading of the whole listing reports it.
    return [(location, local) for location, local in empty if local in found]


def listed_files(page: Page | Outline) -> list[str]:
    """Return the first file of each draft of a page, as the source spells it."""
    if isinstance(page, Page):
        return [draft.parts[0].source_path for draft in page.drafts if draft.parts]
    return [paths[0] for paths in page.source_paths if paths]


def _what(local: str, location: str) -> str:
    return f"The directory {local}, which stands for {location},"


async def _look_into(
    local: str, location: str, deadline_s: float, probe: Callable[[str], bool]
) -> bool | tuple[str, str]:
    """Return whether a directory has entries, or the code and text of a problem."""
    what = _what(local, location)
    try:
        with anyio.fail_after(deadline_s):
            # The thread that waits for a dead mount can't be stopped, so it is abandoned. It ends when the mount
            # answers.
            return await anyio.to_thread.run_sync(probe, local, abandon_on_cancel=True)
    except TimeoutError:
        return (
            "directory_timeout",
            f"{what} didn't answer within {deadline_s:g} seconds. Check the mount and the server behind it.",
        )
    except NotADirectoryError:
        return "missing_directory", f"{what} is a file, or lies below one. Correct the path mapping."
    except FileNotFoundError as exc:
        if isinstance(exc, OtherSpelling):
            return "missing_directory", f"{what} is there only in another form of Unicode: map it to {exc.filename}."
        return "missing_directory", f"{what} doesn't exist. {_FIX}"
    except (OSError, ValueError) as exc:
        detail = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        return "unreadable_directory", f"{what} can't be listed ({detail}). Check its permissions and the mount."
