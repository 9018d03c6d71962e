"""Watches directories, and gives hints of what has changed in them.

A directory is named when it has been quiet for a while, so that a file that is being copied isn't read half-way. What a
watch can't tell, such as a removed title, is a hint of the whole collection. Where the system can't tell of changes, as
on network file systems, the whole collection is hinted at from time to time. Events can be lost, so that hints prove
nothing: a schedule and the sync after each beginning find the rest.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from retrovue.core.errors import SourceUnreachable
from retrovue.core.extras import needing
from retrovue.core.logs import logger
from retrovue.core.text import is_storable
from retrovue.importers.base import ChangeHint
from retrovue.importers.filesystem import exclusions, sidecars
from retrovue.importers.filesystem.contents import IGNORE_FILES
from retrovue.importers.filesystem.mounts import remote_type
from retrovue.importers.filesystem.targets import EVERYTHING
from retrovue.importers.filesystem.titles import shown

if TYPE_CHECKING:
    from watchfiles import Change
    from watchfiles._rust_notify import RustNotify

QUIET_S = 30.0
"""Seconds without a change in a directory, before it is named."""
MOST_S = 600.0
"""Seconds since its first change, after which it is named although it is still being changed."""
POLL_S = 900.0
"""Seconds between two hints of a collection that can't be watched."""
LOOK_S = 30.0
"""Seconds between two looks whether the watched directories are still the same: a mount may have come or gone."""
MOST_DIRECTORIES = 1_000
"""Directories of a collection that are named one by one."""
_TICK_S = 1.0
"""Seconds after which a watch looks up, and after which it ends at the latest."""
_STEP_MS = 50
"""Without a change, before those that have come are taken."""
_NO_TITLES = frozenset({
    "jpg", "jpeg", "png", "gif", "webp", "tbn", "srt", "ass", "ssa", "sub", "idx", "sup", "vtt", "smi", "txt", "log",
    "xml", "json", "url", "part", "tmp", "crdownload", "sfv", "md5", "nzb", "torrent",
})  # fmt: skip
"""Endings of files that are neither titles nor directories, whose removal means nothing."""

_log = logger(__name__)


@dataclass(slots=True)
class ChangedDirectories:
    """Directories in which something has changed, until they are quiet. Takes bounded memory."""

    _times: dict[tuple[str, str | None], tuple[float, float]] = field(
        default_factory=dict[tuple[str, str | None], tuple[float, float]]
    )
    """When a directory has changed for the first and for the last time, by library and key; None is all of it."""

    def add(self, library: str, key: str | None, now: float) -> None:
        """Take a change."""
        if (library, None) in self._times or ((library, key) not in self._times and self._is_full(library)):
            key = None
        first, _ = self._times.get((library, key), (now, now))
        if key is None:
            # All of it comprises what was named, which needn't be kept.
            first = min([first, *(since for (one, _), (since, _) in self._times.items() if one == library)])
            self._times = {where: times for where, times in self._times.items() if where[0] != library}
        self._times[library, key] = first, now

    def _is_full(self, library: str) -> bool:
        return sum(one == library for one, _ in self._times) >= MOST_DIRECTORIES

    def due(self, now: float) -> list[ChangeHint]:
        """Return hints of what is quiet now, and forget it."""
        found = [
            where for where, (first, last) in self._times.items() if now - last >= QUIET_S or now - first >= MOST_S
        ]
        for where in found:
            del self._times[where]
        return [ChangeHint(library, None if key is None else (key,)) for library, key in found]


class Directories:
    """The directories of the collections that are watched or polled."""

    def __init__(self, by_library: Mapping[str, str], own: str) -> None:
        """``by_library`` are the directories by library; that of the library ``own`` lies above the others."""
        self.by_library = dict(by_library)
        self._own = own

    def named(self, changes: Iterable[tuple["Change", str]]) -> set[tuple[str, str | None]]:
        """Return the libraries and keys of directories that changes name. Blocks."""
        found = set[tuple[str, str | None]]()
        for change, path in changes:
            for library, directory in self.by_library.items():
                top = f"{directory.rstrip('/')}/"
                if path != directory and not path.startswith(top):
                    continue
                below = path[len(top) :].split("/") if path != directory else []
                if library == self._own and len(below) > 1:
                    continue
                key = _key(change.name, path, below)
                if key is not None:
                    found.add((library, None if key == EVERYTHING else key))
        return found


def _key(change: str, path: str, below: Sequence[str]) -> str | None:
    """Return the key of the directory to read for a change of a path; None if it means nothing."""
    if not below or not is_storable(path):
        return EVERYTHING
    name, above, ending = below[-1], "/".join(below[:-1]), exclusions.extension(below[-1])
    if name in IGNORE_FILES:
        key: str | None = EVERYTHING
    elif any(map(exclusions.is_ignored, below)):
        key = None
    elif change == "deleted":
        key = None if ending in _NO_TITLES else EVERYTHING
    elif os.path.isdir(path):  # noqa: PTH112 - as everywhere here
        key = f"{'/'.join(below)}/" if change == "added" else None
    elif name == sidecars.SHOW:
        key = f"{above}/"
    else:
        is_title = exclusions.is_media(name) or ending in exclusions.DISC_IMAGES
        key = above if is_title or name.endswith(sidecars.SUFFIX) else None
    return key


@asynccontextmanager
async def watching(directories: Directories) -> AsyncIterator[AsyncGenerator[ChangeHint, None]]:
    """Watch directories until the block ends; what changes after it was entered isn't missed.

    The hints raise SourceUnreachable as soon as one of the directories is another one than before, or gone. Entering
    raises RequestError if a package that this needs isn't installed.
    """
    with needing("watchfiles", "to watch directories"):
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415 - an extra
    polled, watched = await anyio.to_thread.run_sync(_split, directories)
    watch: _Watch | None = None
    if watched:
        paths = list(watched.values())
        try:
            # It looks for all directories below, which takes a while: in a thread, so that nothing else waits for it.
            notify = await anyio.to_thread.run_sync(RustNotify, paths, False, False, 0, True, True)
            watch = _Watch(notify, await anyio.to_thread.run_sync(_identities, paths), paths)
        except Exception as exc:  # noqa: BLE001 - such as too many directories: it is polled instead
            _tell_polled(paths, exc)
            polled = directories.by_library
    try:
        async with aclosing(_hints(directories, polled, watch)) as hints:
            yield hints
    finally:
        if watch is not None:
            watch.notify.close()


@dataclass(frozen=True, slots=True)
class _Watch:
    """A watch of directories that the system tells of."""

    notify: "RustNotify"
    identities: Sequence[object]
    """Which directories they were when it began."""
    paths: Sequence[str]
    threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    """Of its own: it takes one all the time."""

    async def changes(self) -> "set[tuple[Change, str]]":
        """Wait for changes, at most for a tick."""
        from watchfiles import Change  # noqa: PLC0415 - an extra

        tick_ms = int(_TICK_S * 1000)
        told = await anyio.to_thread.run_sync(self.notify.watch, tick_ms, _STEP_MS, tick_ms, None, limiter=self.threads)
        return set() if isinstance(told, str) else {(Change(change), path) for change, path in told}

    async def check(self) -> None:
        """Raise SourceUnreachable if a directory is another one than at the beginning."""
        if await anyio.to_thread.run_sync(_identities, self.paths) != self.identities:
            raise SourceUnreachable(
                f"A watched directory is another one than before, or gone: {shown(self.paths)}.",
                code="watched_directory_changed",
                hint="Check the mount. It is watched again as soon as it is there.",
            )


async def _hints(
    directories: Directories, polled: Mapping[str, str], watch: _Watch | None
) -> AsyncGenerator[ChangeHint, None]:
    settling, now = ChangedDirectories(), anyio.current_time()
    next_poll, next_look = now + POLL_S, now + LOOK_S
    while True:
        changes = set[tuple["Change", str]]()
        if watch is None:
            await anyio.sleep(_TICK_S)
        else:
            try:
                changes = await watch.changes()
            except Exception as exc:  # noqa: BLE001 - such as a name that isn't UTF-8: what it would tell is polled for
                _tell_polled(watch.paths, exc)
                watch, polled, next_poll = None, directories.by_library, now
        now = anyio.current_time()
        named = await anyio.to_thread.run_sync(directories.named, changes) if changes else set[tuple[str, str | None]]()
        for library, key in named:
            settling.add(library, key, now)
        for hint in settling.due(now):
            yield hint
        if polled and now >= next_poll:
            next_poll = now + POLL_S
            for library in polled:
                yield ChangeHint(library, None)
        if watch is not None and now >= next_look:
            next_look = now + LOOK_S
            await watch.check()


def _split(directories: Directories) -> tuple[dict[str, str], dict[str, str]]:
    """Return the directories that have to be polled, and those that can be watched. Blocks."""
    polled: dict[str, str] = {}
    for library, path in directories.by_library.items():
        if (type_ := remote_type(os.path.realpath(path))) is not None:
            _log.info("%s is on a file system of type %s, and is polled", shown([path]), type_)
            polled[library] = path
        elif not is_storable(path):
            _log.info("The name of %s isn't UTF-8, and it is polled", shown([path]))
            polled[library] = path
    return polled, {key: path for key, path in directories.by_library.items() if key not in polled}


def _identities(paths: Iterable[str]) -> list[tuple[int, int] | None]:
    """Return which directories they are; None for one that isn't there. Blocks."""
    found: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - as everywhere here
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found


def _tell_polled(paths: Sequence[str], exc: Exception) -> None:
    _log.warning("%s can't be watched, and is polled: %s: %s", shown(paths), type(exc).__name__, exc)
