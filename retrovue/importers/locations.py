"""Checks that the locations of a library are mapped to directories that this machine can read."""

import os
import shlex
import unicodedata
from collections.abc import Callable

import anyio
import anyio.to_thread

from retrovue.core.model import Collection, Ingestibility
from retrovue.core.paths import PathMapper, UnmappedPath

MOUNT_DEADLINE_S = 10.0
"""A mount without its server blocks for minutes; a disk that spins up answers sooner than this."""


class OtherSpelling(FileNotFoundError):
    """A directory is missing, and there under a name that differs only in its form of Unicode: ``filename``."""


def list_directory(path: str) -> None:
    """Open a directory and read its first entry; blocks, and raises OSError."""
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except FileNotFoundError as exc:
        if (spelling := other_spelling(path)) is not None:
            raise OtherSpelling(exc.errno, exc.strerror, spelling) from exc
        raise


def other_spelling(path: str) -> str | None:
    """Return the path of a missing file or directory in the other form of Unicode, if it is there; blocks.

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
    probe: Callable[[str], None] = list_directory,
) -> Ingestibility:
    """Return whether every location is mapped to a directory that can be listed; the reason names each that isn't.

    ``server`` is the name of the media server in the reason; ``deadline_s`` is for each directory.
    """
    if not locations:
        return Ingestibility(
            ingestible=False,
            code="no_location",
            reason=f"The library has no folder in {server}. Add one there, then try again.",
        )
    mapped, unmapped = _map_locations(collection, locations)
    if unmapped:
        name = shlex.quote(collection.name)
        commands = " ".join(f"--map {shlex.quote(location + '=')}LOCAL" for location in unmapped)
        return Ingestibility(
            ingestible=False,
            code="unmapped_location",
            reason=(
                f"No path mapping covers {', '.join(unmapped)}. Say where these files are on this machine: "
                f"`retrovue collection update {name} {commands}`."
            ),
        )
    problems: list[tuple[str, str]] = []
    for location, local in mapped:
        problem = await _directory_problem(local, location, deadline_s, probe)
        if problem is not None:
            problems.append(problem)
    if problems:
        return Ingestibility(ingestible=False, code=problems[0][0], reason=" ".join(text for _, text in problems))
    return Ingestibility(ingestible=True)


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


async def _directory_problem(
    local: str, location: str, deadline_s: float, probe: Callable[[str], None]
) -> tuple[str, str] | None:
    what = f"The directory {local}, which stands for {location},"
    try:
        with anyio.fail_after(deadline_s):
            # The thread that waits for a dead mount can't be stopped: it is abandoned, and ends when the mount answers.
            await anyio.to_thread.run_sync(probe, local, abandon_on_cancel=True)
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
        return "missing_directory", f"{what} doesn't exist. Mount it, or correct the path mapping."
    except (OSError, ValueError) as exc:
        detail = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        return "unreadable_directory", f"{what} can't be listed ({detail}). Check its permissions and the mount."
    return None
