"""Sidecars: the NFO files beside media files. The importer makes marks of them; the enricher `nfo` reads them.

A mark consists of size and time of modification, so that an edited file is recognised without reading it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from retrovue.importers.filesystem import exclusions
from retrovue.importers.filesystem.parts import File, hold_one_title

SUFFIX = ".nfo"
"""The extension of a sidecar, whose name is otherwise that of its media file."""
FILM = "movie.nfo"
"""The sidecar of the only title in a directory."""
SHOW = "tvshow.nfo"
SHOW_LEVELS = 2
"""How many directories are searched for `SHOW`: the episode's, and the one above it."""
_MOST_NAMES = 8192
"""The most names of a directory that are kept; with more, each sidecar is looked for by its name."""
_MOST_DIRECTORIES = 4096
"""The most directories whose marks `FileMarks` keeps: some 1 MiB."""


class Marks(NamedTuple):
    """The marks of the sidecars of a title; an empty one if there is none."""

    own: str = ""
    film: str = ""
    show: str = ""

    def text(self, *, is_episode: bool) -> str:
        """Return the marks of the sidecars that apply to an episode, or to any other title, as one text."""
        if not (self.own or self.film or self.show):
            return ""
        counting = {"own": self.own, "show": self.show} if is_episode else {"own": self.own, "film": self.film}
        return " ".join(f"{name}={mark}" for name, mark in counting.items() if mark)


class Names:
    """The names of the sidecars in a directory."""

    __slots__ = ("_are_many", "_names")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._are_many = False

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, name: str) -> None:
        """Add the name of a directory entry if it is that of a sidecar."""
        if name.endswith(SUFFIX):
            if len(self._names) < _MOST_NAMES or name in (FILM, SHOW):
                self._names.add(name)
            else:
                self._are_many = True

    def mark(self, directory: str, name: str) -> str:
        """Return the mark of a sidecar in the directory with the given path. Blocks."""
        return mark(directory, name) if self._are_many or name in self._names else ""


def mark(directory: str, name: str) -> str:
    """Return the mark of a file, following links as its reader does; empty if there is none. Blocks."""
    try:
        status = os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118 - names that aren't UTF-8
    except (OSError, ValueError):
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def holds_one_title(directory: Path) -> bool:
    """Return whether all media files of a directory are versions or parts of one title. Blocks, and raises OSError."""
    media = (path.name for path in directory.iterdir() if exclusions.is_media(path.name))
    files = [File(name, 0) for name in sorted(media) if not (exclusions.is_ignored(name) or exclusions.is_extra(name))]
    return hold_one_title(files, directory.name)


class FileMarks:
    """Computes the marks of the sidecars of media files, given the paths of the files, as a media server lists them.

    The importer of directories computes the same marks while it walks.
    """

    def __init__(self) -> None:
        self._shared = dict[str, tuple[str, str]]()
        """By directory, the marks that its files share: of the film's sidecar and of the show's."""

    def of(self, files: Iterable[str]) -> list[Marks | None]:
        """Return the marks of the sidecars of each file; None for a file that isn't there. Blocks.

        May be called in several threads at the same time.
        """
        return [self._of(file) for file in files]

    def _of(self, file: str) -> Marks | None:
        directory, name = os.path.split(file)
        own = mark(directory, exclusions.stem(name) + SUFFIX)
        if (shared := self._shared.get(directory)) is None:
            if len(self._shared) >= _MOST_DIRECTORIES:
                self._shared.clear()
            shared = self._shared[directory] = _of_directory(directory)
        try:
            # After the sidecars: if the disk is mounted now, a sidecar that wasn't found doesn't exist.
            os.stat(file)  # noqa: PTH116 - as in mark
        except (OSError, ValueError):
            self._shared.pop(directory, None)
            return None
        return Marks(own, *shared)


def _of_directory(directory: str) -> tuple[str, str]:
    film = mark(directory, FILM)
    try:
        if film and not holds_one_title(Path(directory)):
            film = ""  # which of the titles it describes isn't known
    except OSError:
        film = ""  # the enricher can't know it either
    return film, mark(directory, SHOW) or mark(os.path.dirname(directory), SHOW)  # noqa: PTH120 - as in mark
