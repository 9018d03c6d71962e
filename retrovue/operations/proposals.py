"""Where a source's directories may be on this machine: proposals for path mappings, from what the disks hold.

A media server in a container or on another machine spells its files in its own way: ``/data/movies/Alien/Alien.mkv``
is ``/mnt/nas/films/Alien/Alien.mkv`` here. Whoever knows some of its files can find them by what their paths end
with. All of this blocks: mounts may be slow, or hang.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from retrovue.core.model import PathMapping
from retrovue.core.paths import components, path_system

SECONDS = 10.0
"""How long the disks are looked at, for all locations together."""
MOUNTS = "/proc/self/mounts"
_SAMPLES = 20
"""Files of a location that are looked for."""
_DEPTH = 3
"""Levels below a root: /mnt/nas/media/movies."""
_DIRECTORIES = 4_000
"""Directories that are listed at most."""
_ENTRIES = 20_000
"""Entries of a directory that are read at most: a library of films may have as many."""
_BRANCHES = 500
"""A directory with more directories than this is a library itself: nothing below it is looked at."""
_ROOTS = ("/mnt", "/media", "/run/media", "/srv", "/data", "/storage", "/export", "/volume1", "/Volumes")
_NOT_MEDIA = ("/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/snap", "/tmp", "/usr", "/var/lib/docker")  # noqa: S108


@dataclass(frozen=True, slots=True)
class LocationSample:
    """A location of a library, and some of its files."""

    location: str
    files: tuple[str, ...]
    """As the source spells them; they lie below the location."""


@dataclass(slots=True)
class _Wanted:
    location: str
    tails: list[tuple[str, ...]]
    """What the files' paths have after the location."""
    names: set[str] = field(default_factory=set[str])
    """The first components of those."""
    best: str | None = None
    found: int = 0

    def consider(self, directory: str) -> None:
        """Take the directory if more of the files are there than in the best one so far."""
        found = sum(os.path.isfile(os.path.join(directory, *tail)) for tail in self.tails)  # noqa: PTH113, PTH118
        if found > self.found and 2 * found >= len(self.tails):
            self.best, self.found = directory, found

    @property
    def settled(self) -> bool:
        return self.found == len(self.tails)


async def propose(located: Sequence[LocationSample], roots: Iterable[str] | None = None) -> dict[str, PathMapping]:
    """Propose a mapping for each location whose files are found here: at least half of those looked for.

    ``roots`` are the directories to look below, by default the usual ones and what is mounted. Never takes much
    longer than ``SECONDS``; what was found until then counts.
    """
    wanted = [_wanted(one) for one in located if one.files]
    within = tuple(roots) if roots is not None else None
    with anyio.move_on_after(SECONDS + 1):
        # The thread of a hung mount can't be stopped: it is left behind.
        await anyio.to_thread.run_sync(_search, wanted, within, abandon_on_cancel=True)
    return {one.location: PathMapping(one.location, one.best) for one in wanted if one.best is not None}


def _wanted(located: LocationSample) -> _Wanted:
    above = len(components(located.location))
    tails = {components(file)[above:] for file in located.files}
    chosen: dict[str, tuple[str, ...]] = {}
    for tail in sorted(tails):
        if tail and ".." not in tail:
            chosen.setdefault(tail[0], tail)  # one of each directory: they say more than many of one
    few = list(chosen.values())[:: max(1, len(chosen) // _SAMPLES)][:_SAMPLES]
    return _Wanted(located.location, few, {tail[0] for tail in few})


def _search(wanted: Sequence[_Wanted], roots: Sequence[str] | None) -> None:
    end = time.monotonic() + SECONDS
    for one in wanted:
        if path_system(one.location) == "posix":
            one.consider(one.location)
    below = list(dict.fromkeys(usual_roots() if roots is None else roots))
    for one in wanted:
        for root in below:
            _try_endings(one, root)
    for directory, names in _directories(below, end):
        for one in wanted:
            if not one.settled and not one.names.isdisjoint(names):
                one.consider(directory)
        if all(one.settled for one in wanted):
            return


def _try_endings(wanted: _Wanted, root: str) -> None:
    """Look for the location below the root by its whole path, then by less and less of its end."""
    parts = components(wanted.location)[1:]
    for begin in range(len(parts)):
        if wanted.settled:
            return
        wanted.consider(os.path.join(root, *parts[begin:]))  # noqa: PTH118


def _directories(roots: Sequence[str], end: float) -> Iterator[tuple[str, set[str]]]:
    """Walk the directories below the roots, those near first, and give the names in each."""
    level = list(roots)
    read = 0
    for _ in range(_DEPTH + 1):
        following: list[str] = []
        for directory in level:
            if read >= _DIRECTORIES or time.monotonic() > end:
                return
            read += 1
            names, below = _listed(directory)
            yield directory, names
            following += below
        level = following


def _listed(directory: str) -> tuple[set[str], list[str]]:
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
        pass  # what can't be read holds nothing that could be ingested
    return names, sorted(below) if len(below) <= _BRANCHES else []


def usual_roots() -> list[str]:
    """Name the directories below which media usually are, and where something is mounted."""
    return [root for root in (*_ROOTS, *_mount_points()) if os.path.isdir(root)]  # noqa: PTH112


def _mount_points() -> Iterator[str]:
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
            mounted = [line.split(" ")[1] for line in lines if line.count(" ") > 1]
    except OSError:
        return  # macOS has none, and /Volumes instead
    for point in mounted:
        place = point.replace("\\040", " ")
        if place != "/" and not any(place == system or place.startswith(f"{system}/") for system in _NOT_MEDIA):
            yield place


def by_location(locations: Sequence[str], files: Iterable[str]) -> list[LocationSample]:
    """Sort files to the locations below which they lie, the longest that fits."""
    known: Mapping[tuple[str, ...], list[str]] = {components(location): [] for location in locations}
    for file in files:
        parts = components(file)
        for length in range(len(parts) - 1, 0, -1):
            if parts[:length] in known:
                known[parts[:length]].append(file)
                break
    return [LocationSample(location, tuple(known[components(location)])) for location in locations]
