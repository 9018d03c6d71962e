"""Watch directories, and give hints of changes in them.

A directory is named when it hasn't changed for a while, so that a file isn't read while it is being copied. A change
that a watch can't locate, such as a removed title, gives a hint of the whole collection. If the system can't report
changes, as on network file systems, hints of the whole collection come at intervals. Events can be lost, so hints prove
nothing: a schedule, and the sync after each start of listening, find the rest.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec import Struct, field

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
"""Seconds without a change in a directory before it is named."""
MOST_S = 600.0
"""Seconds since its first change, after which it is named although it is still changing."""
POLL_S = 900.0
"""Seconds between two hints of a collection that can't be watched."""
LOOK_S = 30.0
"""Seconds between two checks that the watched directories are still the same: a mount may have come or gone."""
MOST_DIRECTORIES = 1_000
"""The most directories of a collection that are named one by one."""
_TICK_S = 1.0
"""Seconds after which a watch returns to check for its end, and after which it ends at the latest."""
_STEP_MS = 50
"""Seconds without a change, after which the collected changes are taken."""
_NO_TITLES = frozenset({
    "jpg", "jpeg", "png", "gif", "webp", "tbn", "srt", "ass", "ssa", "sub", "idx", "sup", "vtt", "smi", "txt", "log",
    "xml", "json", "url", "part", "tmp", "crdownload", "sfv", "md5", "nzb", "torrent",
})  # fmt: skip
"""Extensions of files that are neither titles nor directories; removing such a file has no effect."""

_log = logger(__name__)


class ChangedDirectories(Struct):
    """Directories with changes, until they haven't changed for a while. Its memory is bounded."""

    _times: dict[tuple[str, str | None], tuple[float, float]] = field(
        default_factory=dict[tuple[str, str | None], tuple[float, float]]
    )
    """The times of the first and the last change of a directory, by library and key; the key None means the whole
    library.
    """

    def add(self, library: str, key: str | None, now: float) -> None:
        """Add a change."""
        if (library, None) in self._times or ((library, key) not in self._times and self._is_full(library)):
            key = None
        first, _ = self._times.get((library, key), (now, now))
        if key is None:
            # A hint of the whole library includes its directories, so they needn't be kept.
            first = min([first, *(since for (one, _), (since, _) in self._times.items() if one == library)])
            self._times = {where: times for where, times in self._times.items() if where[0] != library}
        self._times[library, key] = first, now

    def _is_full(self, library: str) -> bool:
        return sum(watched == library for watched, _ in self._times) >= MOST_DIRECTORIES

    def due(self, now: float) -> list[ChangeHint]:
        """Return the hints that are due, and remove them."""
        found = [
            where for where, (first, last) in self._times.items() if now - last >= QUIET_S or now - first >= MOST_S
        ]
        for where in found:
            del self._times[where]
        return [ChangeHint(library, None if key is None else (key,)) for library, key in found]


class Directories:
    """The directories of the collections that are watched or polled."""

    def __init__(self, by_library: Mapping[str, str], own: str) -> None:
        """``by_library`` are the directories by library; that of the library ``own`` contains the others."""
        self.by_library = dict(by_library)
        self._own = own

    def named(self, changes: Iterable[tuple["Change", str]]) -> set[tuple[str, str | None]]:
        """Return the libraries and keys of the directories to which changes belong. Blocks."""
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
    """Return the key of the directory to read for a change of a path; None if it has no effect."""
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
    """Watch directories until the block ends; no change after entering it is missed.

    The hints raise SourceUnreachable as soon as one of the directories was replaced or removed. Entering the block
    raises RequestError if a required package isn't installed.
    """
    with needing("watchfiles", "to watch directories"):
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415 - an extra
    polled, watched = await anyio.to_thread.run_sync(_split, directories)
    watch: _Watch | None = None
    if watched:
        paths = list(watched.values())
        try:
            # It searches all directories below, which takes a while, so it runs in a thread.
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


class _Watch(Struct, frozen=True):
    """A watch of directories for which the system reports changes."""

    notify: "RustNotify"
    identities: Sequence[object]
    """The identities of the directories at its beginning."""
    paths: Sequence[str]
    threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    """A separate thread limiter, because it always occupies one thread."""

    async def changes(self) -> "set[tuple[Change, str]]":
        """Wait for changes, at most for one tick."""
        from watchfiles import Change  # noqa: PLC0415 - an extra

        tick_ms = int(_TICK_S * 1000)
        told = await anyio.to_thread.run_sync(self.notify.watch, tick_ms, _STEP_MS, tick_ms, None, limiter=self.threads)
        return set() if isinstance(told, str) else {(Change(change), path) for change, path in told}

    async def check(self) -> None:
        """Raise SourceUnreachable if a directory was replaced since the beginning."""
        if await anyio.to_thread.run_sync(_identities, self.paths) != self.identities:
            raise SourceUnreachable(
                f"A watched directory was replaced or removed: {shown(self.paths)}.",
                code="watched_directory_changed",
                hint="Check the mount. It is watched again as soon as it exists.",
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
            except Exception as exc:  # noqa: BLE001 - such as a name that isn't UTF-8: that directory is polled
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
    """Return the identities of directories; None for one that doesn't exist. Blocks."""
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
