"""Propose path mappings: find the directories on this machine that have the files of a source's locations.

A media server in a container or on another machine has other paths for the same files: its
``/data/movies/Alien/Alien.mkv`` may be ``/mnt/nas/films/Alien/Alien.mkv`` here. Some of its files are searched for by
the ends of their paths.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import anyio
import anyio.to_thread
from msgspec import Struct

from retrovue.core.model import PathMapping
from retrovue.core.paths import components, path_system

SECONDS = 10.0
"""The time that a search may take, in seconds, for all locations together."""
MOUNTS = "/proc/self/mounts"
_SAMPLES = 20
"""How many files of a location are searched for."""
_DEPTH = 3
"""How many levels below a root are searched: three for /mnt/nas/media/movies below /mnt."""
_DIRECTORIES = 4_000
"""The most directories that are read."""
_ENTRIES = 20_000
"""The most entries of a directory that are read; a library of films may have thousands."""
_BRANCHES = 500
"""A directory with more subdirectories than this is itself a library: its subdirectories aren't searched."""
_ROOTS = ("/mnt", "/media", "/run/media", "/srv", "/data", "/storage", "/export", "/volume1", "/Volumes")
_NOT_MEDIA = ("/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/snap", "/tmp", "/usr", "/var/lib/docker")  # noqa: S108


class LocationSample(Struct, frozen=True):
    """A location of a library and some of its files."""

    location: str
    files: tuple[str, ...]
    """Paths as the source spells them, below the location."""


class _Search(Struct):
    """The search for one location."""

    location: str
    tails: list[tuple[str, ...]]
    """The files' paths relative to the location, as components."""
    best: str | None = None
    """The directory with the most files so far."""
    found: int = 0
    """How many files it has."""

    def consider(self, directory: str) -> None:
        """Make the directory the best one if it has more of the files than the best one, and at least half of all."""
        found = sum(os.path.isfile(os.path.join(directory, *tail)) for tail in self.tails)  # noqa: PTH113, PTH118
        if found > self.found and 2 * found >= len(self.tails):
            self.best, self.found = directory, found

    @property
    def complete(self) -> bool:
        """Whether all files were found."""
        return self.found == len(self.tails)


async def propose_mappings(
    samples: Sequence[LocationSample], roots: Iterable[str] | None = None
) -> dict[str, PathMapping]:
    """Propose a mapping for each location of which at least half of the sampled files are found on this machine.

    Searches below ``roots``, by default the usual directories of media and all mount points. Takes at most about
    ``SECONDS``; what was found until then counts. Returns the mappings by location.
    """
    searches = [_search_for(sample) for sample in samples if sample.files]
    below = None if roots is None else tuple(roots)
    with anyio.move_on_after(SECONDS + 1):
        # A thread that waits for a dead mount can't be stopped, so it is left behind.
        await anyio.to_thread.run_sync(_run, searches, below, abandon_on_cancel=True)
    return {search.location: PathMapping(search.location, search.best) for search in searches if search.best}


def _search_for(sample: LocationSample) -> _Search:
    above = len(components(sample.location))
    tails = {components(file)[above:] for file in sample.files}
    # One file of each subdirectory: files of several subdirectories identify the location better than many of one.
    first = {tail[0]: tail for tail in sorted(tails, reverse=True) if tail and ".." not in tail}
    chosen = [first[name] for name in sorted(first)]
    return _Search(sample.location, chosen[:: max(1, len(chosen) // _SAMPLES)][:_SAMPLES])


def _run(searches: Sequence[_Search], roots: Sequence[str] | None) -> None:
    end = time.monotonic() + SECONDS
    below = list(dict.fromkeys(usual_roots() if roots is None else roots))
    for search in searches:
        if path_system(search.location) == "posix":
            search.consider(search.location)
        for root in below:
            _try_path_ends(search, root)
    for directory, names in _directories(below, end):
        for search in searches:
            if not search.complete and any(tail[0] in names for tail in search.tails):
                search.consider(directory)
        if all(search.complete for search in searches):
            return


def _try_path_ends(search: _Search, root: str) -> None:
    """Try the location's own path below a root, then the same path without its first components."""
    parts = components(search.location)[1:]
    for begin in range(len(parts)):
        if search.complete:
            return
        search.consider(os.path.join(root, *parts[begin:]))  # noqa: PTH118


def _directories(roots: Sequence[str], end: float) -> Iterator[tuple[str, set[str]]]:
    """Walk the directories below the roots level by level; yield each with the names of its entries."""
    level = list(roots)
    read = 0
    for _ in range(_DEPTH + 1):
        following: list[str] = []
        for directory in level:
            if read >= _DIRECTORIES or time.monotonic() > end:
                return
            read += 1
            names, below = _list(directory)
            yield directory, names
            following += below
        level = following


def _list(directory: str) -> tuple[set[str], list[str]]:
    """Return the names in a directory, and the paths of the subdirectories to search."""
    names: set[str] = set()
    below: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                names.add(entry.name)
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                if len(names) >= _ENTRIES:
                    break
    except OSError:
        pass  # Files in it couldn't be ingested either.
    return names, sorted(below) if len(below) <= _BRANCHES else []


def usual_roots() -> list[str]:
    """Return the usual directories of media and all mount points."""
    return [root for root in (*_ROOTS, *_mount_points()) if os.path.isdir(root)]  # noqa: PTH112


def _mount_points() -> Iterator[str]:
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
            mounted = [line.split(" ")[1] for line in lines if line.count(" ") > 1]
    except OSError:
        return  # macOS has no such file; its mount points are in /Volumes
    for point in mounted:
        path = point.replace("\\040", " ")
        if path != "/" and not any(path == system or path.startswith(f"{system}/") for system in _NOT_MEDIA):
            yield path


def by_location(locations: Sequence[str], files: Iterable[str]) -> list[LocationSample]:
    """Return each location with the files below it. A file below several locations belongs to the longest one."""
    known: Mapping[tuple[str, ...], list[str]] = {components(location): [] for location in locations}
    for file in files:
        parts = components(file)
        for length in range(len(parts) - 1, 0, -1):
            if parts[:length] in known:
                known[parts[:length]].append(file)
                break
    return [LocationSample(location, tuple(known[components(location)])) for location in locations]
