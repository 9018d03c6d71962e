"""The entries of one directory, sorted into files, directories, sidecars, and entries that can't be used.

Names are kept in order, and packed where there are many.
"""

import heapq
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

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
            for name, size, modified in self._few:
                self._many.add(f"{name}\0{size}\0{modified}")
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


class Contents:
    """The entries of one directory. Not a record with default factories, as one is made for every directory."""

    __slots__ = (
        "directories", "disc_file", "excluded", "files", "identity", "left_out", "nfo_files", "patterns", "unusable",
    )  # fmt: skip

    def __init__(self) -> None:
        self.files = SortedFiles()
        self.directories = SortedNames()
        self.unusable = SortedNames()
        """``name NUL code``, the code one of REASONS."""
        self.nfo_files = sidecars.Names()
        self.left_out: dict[str, int] = {}
        self.disc_file: str | None = None
        """The first of the files of a DVD that was copied into the directory."""
        self.patterns: tuple[str, ...] = ()
        self.excluded = False
        self.identity = (0, 0)


def read_contents(scan: Scan, descriptor: int) -> Contents:
    """List the directory that a descriptor is open for. Blocks; raises OSError."""
    contents = Contents()
    with scan(descriptor) as entries:
        for entry in entries:
            name = entry.name
            if name in IGNORE_FILES:
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
    if (reason := exclusions.system_reason(name, directory=True)) is not None:
        _leave_out(contents, reason)
    elif exclusions.is_disc_folder(name):
        contents.unusable.add(f"{name}\0disc_folder")
    else:
        contents.directories.add(name)


def _add_link(contents: Contents, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    if (reason := exclusions.system_reason(name, directory=True)) is not None:
        _leave_out(contents, reason)
    elif name.endswith(sidecars.SUFFIX):
        contents.nfo_files.add(name)
    elif exclusions.extension(name) in exclusions.DISC_IMAGES:
        contents.unusable.add(f"{name}\0disc_image")
    elif exclusions.is_media(name) or _is_linked_directory(entry):
        contents.unusable.add(f"{name}\0symbolic_link")


def _add_file(contents: Contents, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    format_ = exclusions.extension(name)
    if (reason := exclusions.file_reason(name, format_)) is not None:
        _leave_out(contents, reason)
    elif name.endswith(sidecars.SUFFIX):
        contents.nfo_files.add(name)
    elif exclusions.is_disc_file(name):
        contents.disc_file = min(contents.disc_file or name, name)
    elif format_ in exclusions.DISC_IMAGES:
        contents.unusable.add(f"{name}\0disc_image")
    elif format_ in exclusions.MEDIA:
        if not entry.is_file(follow_symlinks=False):
            contents.unusable.add(f"{name}\0not_a_file")
            return
        status = entry.stat(follow_symlinks=False)
        if status.st_size:
            contents.files.add(File(name, status.st_size, int(status.st_mtime)))
        else:
            contents.unusable.add(f"{name}\0empty_file")


def _is_linked_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
