"""The entries of one directory, sorted into files, directories, sidecars, and entries that can't be used.

Names are kept in order, and packed where there are many.
"""

import heapq
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from msgspec import Struct

from retrovue.importers.filesystem import exclusions, sidecars
from retrovue.importers.filesystem.parts import File

Scan = Callable[[int], AbstractContextManager[Iterator["os.DirEntry[str]"]]]

RUN = 8192
"""The number of names that are sorted at a time, and the most that are kept unpacked."""
IGNORE_FILES = frozenset({".ignore", ".plexignore", ".nomedia"})
"""Files that exclude their directory: ``.nomedia``, an empty ``.ignore``, a line ``*`` in one of the first two."""
_FEW = 512
"""The most files that are kept unpacked, which takes twice the memory of their names and half the time."""
_BLOCK = 256
"""The number of names that are unpacked at a time."""
_RULES_BYTES = 64 * 1024
"""The most bytes that are read of a file of ignore patterns."""
REASONS = {
    "symbolic_link": "it is a symbolic link, and links aren't followed",
    "not_a_file": "it is a device, a socket or a pipe",
    "empty_file": "it is empty",
    "disc_folder": "it is a copy of a disc, with menus and several programmes: only single files are ingested",
    "disc_image": "it is the image of a disc: only single files are ingested",
}
"""Why an entry that looks like media can't be used, by code."""


class SortedNames:
    """Names in order, packed: a directory may hold a million, and each takes a hundred bytes as a string.

    An external sort whose runs stay in memory, compressed. Neighbours in the order have much in common, so a name
    takes seven to ten bytes. Add names in any order, then iterate, as often as needed.
    """

    __slots__ = ("_new", "_runs")

    def __init__(self) -> None:
        self._new: list[str] = []
        self._runs: list[list[bytes]] = []

    def add(self, name: str) -> None:
        """Add a name, which may hold anything but a slash."""
        self._new.append(name)
        if len(self._new) == RUN:
            self._runs.append(_pack(sorted(self._new)))
            self._new.clear()

    def __iter__(self) -> Iterator[str]:
        return heapq.merge(sorted(self._new), *map(_unpack, self._runs)) if self._runs else iter(sorted(self._new))

    def __bool__(self) -> bool:
        return bool(self._new or self._runs)

    @property
    def are_few(self) -> bool:
        """Whether all names are unpacked."""
        return not self._runs


class SortedFiles:
    """Files in the order of their names, packed where they are many, as `SortedNames`."""

    __slots__ = ("_few", "_many")

    def __init__(self) -> None:
        self._few: list[File] = []
        self._many: SortedNames | None = None
        """``name NUL size NUL time``: a NUL sorts before every other character, so this is the order of the names."""

    def add(self, file: File) -> None:
        """Add a file."""
        self._few.append(file)
        if self._many is not None or len(self._few) == _FEW:
            self._many = self._many or SortedNames()
            for each in self._few:
                self._many.add(f"{each.name}\0{each.size}\0{each.modified}")
            self._few.clear()

    def __iter__(self) -> Iterator[File]:
        if self._many is None:
            return iter(sorted(self._few))
        entries = (entry.split("\0") for entry in self._many)
        return (File(name, int(size), int(modified)) for name, size, modified in entries)

    def __bool__(self) -> bool:
        return bool(self._few) or self._many is not None

    @property
    def are_few(self) -> bool:
        """Whether all files are unpacked."""
        return self._many is None or self._many.are_few


def _pack(sorted_names: list[str]) -> list[bytes]:
    blocks = ("/".join(sorted_names[first : first + _BLOCK]) for first in range(0, len(sorted_names), _BLOCK))
    return [zlib.compress(block.encode("utf-8", "surrogateescape"), 1) for block in blocks]


def _unpack(run: list[bytes]) -> Iterator[str]:
    for block in run:
        yield from zlib.decompress(block).decode("utf-8", "surrogateescape").split("/")


_NO_NAMES = SortedNames()
_NO_FILES = SortedFiles()
_NO_SIDECARS = sidecars.Names()


class Contents(Struct):
    """The entries of one directory. What most directories lack is shared by all of them until it is added."""

    files: SortedFiles = _NO_FILES
    directories: SortedNames = _NO_NAMES
    unusable: SortedNames = _NO_NAMES
    """``name NUL code``, the code one of REASONS."""
    nfo_files: sidecars.Names = _NO_SIDECARS
    left_out: dict[str, int] = {}
    disc_file: str | None = None
    """The first of the files of a DVD that was copied into the directory."""
    patterns: tuple[str, ...] = ()
    excluded: bool = False
    identity: tuple[int, int] = (0, 0)
    are_usual: bool = True
    """Whether no rule about names can apply to its files: see `exclusions.is_usual`."""
    may_hold_extras: bool = False
    """Whether the name of one of its directories is that of a directory of extras."""

    @property
    def are_plain(self) -> bool:
        """Whether each of its media files is a title by itself, without a sidecar, and all of them are unpacked."""
        odd = self.unusable or self.disc_file or self.nfo_files
        return self.are_usual and not odd and self.files.are_few

    def add_file(self, file: File) -> None:
        """Add a file that may be a title."""
        if self.files is _NO_FILES:
            self.files = SortedFiles()
        self.files.add(file)

    def add_directory(self, name: str) -> None:
        """Add a directory that may have to be read."""
        if self.directories is _NO_NAMES:
            self.directories = SortedNames()
        self.directories.add(name)

    def add_unusable(self, name: str, code: str) -> None:
        """Add an entry that can't be used, and why: one of REASONS."""
        if self.unusable is _NO_NAMES:
            self.unusable = SortedNames()
        self.unusable.add(f"{name}\0{code}")

    def add_sidecar(self, name: str) -> None:
        """Add a sidecar."""
        if self.nfo_files is _NO_SIDECARS:
            self.nfo_files = sidecars.Names()
        self.nfo_files.add(name)


def read_contents(scan: Scan, descriptor: int) -> Contents:
    """List the directory that a descriptor is open for. Blocks; raises OSError."""
    contents = Contents()
    with scan(descriptor) as entries:
        for entry in entries:
            name = entry.name
            if exclusions.is_usual(name) and entry.is_file(follow_symlinks=False):
                _add_media(contents, entry)
            elif name in IGNORE_FILES:
                _add_patterns(contents, descriptor, name)
            elif entry.is_dir(follow_symlinks=False):
                _add_directory(contents, name)
            elif entry.is_symlink():
                _add_link(contents, entry)
            else:
                _add_file(contents, entry)
    return contents


def _add_patterns(contents: Contents, directory: int, name: str) -> None:
    if name == ".nomedia":
        contents.excluded = True
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        text = os.read(descriptor, _RULES_BYTES).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
    lines = [line.strip().rstrip("/") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    lines = [line.removeprefix("\\") if line.startswith("\\#") else line for line in lines]
    contents.patterns += tuple(lines)
    contents.excluded |= "*" in lines or (name == ".ignore" and not text.strip())


def _leave_out(contents: Contents, reason: str) -> None:
    contents.left_out[reason] = contents.left_out.get(reason, 0) + 1


def _add_directory(contents: Contents, name: str) -> None:
    if exclusions.is_usual_directory(name):
        contents.add_directory(name)
    elif (reason := exclusions.system_reason(name, directory=True)) is not None:
        _leave_out(contents, reason)
    elif exclusions.is_disc_folder(name):
        contents.add_unusable(name, "disc_folder")
    else:
        contents.may_hold_extras = contents.may_hold_extras or name.casefold() in exclusions.EXTRAS
        contents.add_directory(name)


def _add_link(contents: Contents, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    if (reason := exclusions.system_reason(name, directory=True)) is not None:
        _leave_out(contents, reason)
    elif name.endswith(sidecars.SUFFIX):
        contents.add_sidecar(name)
    elif exclusions.extension(name) in exclusions.DISC_IMAGES:
        contents.add_unusable(name, "disc_image")
    elif exclusions.is_media(name) or _is_linked_directory(entry):
        contents.add_unusable(name, "symbolic_link")


def _add_file(contents: Contents, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    format_ = exclusions.extension(name)
    if (reason := exclusions.file_reason(name, format_)) is not None:
        _leave_out(contents, reason)
    elif name.endswith(sidecars.SUFFIX):
        contents.add_sidecar(name)
    elif exclusions.is_disc_file(name):
        contents.disc_file = min(contents.disc_file or name, name)
    elif format_ in exclusions.DISC_IMAGES:
        contents.add_unusable(name, "disc_image")
    elif format_ in exclusions.MEDIA:
        if entry.is_file(follow_symlinks=False):
            contents.are_usual = False
            _add_media(contents, entry)
        else:
            contents.add_unusable(name, "not_a_file")


def _add_media(contents: Contents, entry: "os.DirEntry[str]") -> None:
    status = entry.stat(follow_symlinks=False)
    if status.st_size:
        contents.add_file(File(entry.name, status.st_size, int(status.st_mtime)))
    else:
        contents.add_unusable(entry.name, "empty_file")


def _is_linked_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
