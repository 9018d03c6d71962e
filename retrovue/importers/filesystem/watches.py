"""Count the directories to watch, and find out how many the system allows. Blocks."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from retrovue.importers.filesystem.mounts import remote_type

_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


class WatchNeed(Struct, frozen=True):
    """What is needed to watch directories."""

    directories: int
    """The number of directories; a lower bound if not all were counted."""
    counted: bool
    """Whether all of them were counted in time."""
    limit: int | None
    """How many directories the processes of this account may watch together; None if the system doesn't tell."""
    polled: frozenset[str]
    """The types of file systems that can't be watched; their directories aren't counted."""


def watch_need(paths: Iterable[str], seconds: float, limit: int | None = None) -> WatchNeed:
    """Count the directories below ``paths``, for a limited time. ``limit`` is read from the system by default."""
    until, number, polled = time.monotonic() + seconds, 0, set[str]()
    waiting: list[str] = []
    for path in paths:
        type_ = remote_type(os.path.realpath(path))
        if type_ is None:
            waiting.append(path)
        else:
            polled.add(type_)
    while waiting and time.monotonic() < until:
        path = waiting.pop()
        number += 1
        try:
            with os.scandir(path) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # It was removed or can't be read, so it isn't watched.
    return WatchNeed(number + len(waiting), not waiting, _limit() if limit is None else limit, frozenset(polled))


def _limit() -> int | None:
    try:
        return int(_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
