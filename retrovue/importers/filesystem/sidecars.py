"""Sidecars: the NFO files beside media files. The importer marks them; the enricher `nfo` reads them.

A mark is size and time of modification: it tells an edited file from the one before, without reading either.
"""

import os
from typing import NamedTuple

SUFFIX = ".nfo"
"""Of a sidecar, which is otherwise called as its media file."""
FILM = "movie.nfo"
"""The sidecar of the only title in a directory."""
SHOW = "tvshow.nfo"
SHOW_LEVELS = 2
"""Directories in which `SHOW` is looked for: the episode's, and the one above it."""
_MOST_NAMES = 8192
"""Names of a directory that are kept; where there are more, each sidecar is looked for by its name."""


class Marks(NamedTuple):
    """The marks of the sidecars of a title; an empty one where there is none."""

    own: str = ""
    film: str = ""
    show: str = ""

    def text(self, *, is_episode: bool) -> str:
        """Return the marks of those that count for an episode, or for anything else, as one text."""
        counting = {"own": self.own, "show": self.show} if is_episode else {"own": self.own, "film": self.film}
        return " ".join(f"{name}={mark}" for name, mark in counting.items() if mark)


class Names:
    """The names of the sidecars in a directory."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._are_many = False

    def add(self, name: str) -> None:
        """Add the name of a directory entry if it is that of a sidecar."""
        if name.endswith(SUFFIX):
            if len(self._names) < _MOST_NAMES or name in (FILM, SHOW):
                self._names.add(name)
            else:
                self._are_many = True

    def mark(self, directory: str, name: str) -> str:
        """Return the mark of a sidecar in the directory, whose path is given. Blocks."""
        return mark(directory, name) if self._are_many or name in self._names else ""


def mark(directory: str, name: str) -> str:
    """Return the mark of a file, following links as its reader does; empty if there is none. Blocks."""
    try:
        status = os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118 - names that aren't UTF-8
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"
