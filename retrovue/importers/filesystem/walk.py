"""The walk through a directory tree: one directory at a time, depth first, in the order of names. Blocks.

In memory are the names of the directory at hand, and of the directories still to be read beside it and its parents,
packed where there are many; not the tree. No directory is open between two steps, so a walk may be dropped at any
moment. Symbolic links are never followed: what they point to is found at its own place, or is none of the source's.
"""

import errno
import fnmatch
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from retrovue.importers.filesystem import names
from retrovue.importers.filesystem.names import File
from retrovue.importers.filesystem.sorting import SortedNames

Scan = Callable[[int], AbstractContextManager[Iterator["os.DirEntry[str]"]]]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What the system says of a directory that its parent has just listed, if it is gone or something else by now."""
_REASONS = {
    "symbolic_link": "it is a symbolic link, and links aren't followed",
    "not_a_file": "it is a device, a socket or a pipe",
    "empty_file": "it is empty",
}
"""By code, why what looks like media can't be used."""
_MOST_OF_RULES = 64 * 1024
"""Bytes of a file of patterns that are read."""
EXTRAS_DEPTH = 2
"""From this depth below its collection a directory may be a title's extras; above it has to be a genre or the like."""


class DirectoryChanged(Exception):
    """A directory changed while it was read, twice; or it is gone, though its parent lists it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class DirectoryLoop(Exception):
    """A directory contains itself, as file systems that aren't sound can make it seem."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Found(NamedTuple):
    """One title: its file, or its parts in order, in a directory."""

    directories: tuple[str, ...]
    """The names of the directories below the collection's."""
    parts: tuple[File, ...]


class Refused(NamedTuple):
    """What looks like media and can't be used."""

    directories: tuple[str, ...]
    name: str
    code: str
    reason: str


class _Rules(NamedTuple):
    """Patterns that leave files and directories out, from a directory downwards."""

    depth: int
    patterns: tuple[str, ...]

    def exclude(self, directories: tuple[str, ...], name: str) -> bool:
        below = "/".join((*directories[self.depth :], name))
        return any(fnmatch.fnmatch(below if "/" in one else name, one) for one in self.patterns)


@dataclass(slots=True)
class _Listing:
    files: SortedNames = field(default_factory=SortedNames)
    """Each name with the file's size behind a NUL, which sorts before whatever a longer name goes on with."""
    directories: SortedNames = field(default_factory=SortedNames)
    refused: SortedNames = field(default_factory=SortedNames)
    """Each name with a code of _REASONS, likewise."""
    rules: tuple[str, ...] = ()
    excluded: bool = False
    identity: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a listing that are wanted, made anew each time that they are iterated over."""

    names: SortedNames
    wanted: Callable[[str], bool]

    def __iter__(self) -> Iterator[File]:
        for one in self.names:
            name, _, size = one.partition("\0")
            if self.wanted(name):
                yield File(name, int(size))


@dataclass(slots=True)
class _Directory:
    """A directory on the way from the collection's down to where the walk is."""

    names: tuple[str, ...]
    to_do: Iterator[str]
    """Names of its directories that haven't been read yet."""
    rules: tuple[_Rules, ...]
    identity: tuple[int, int]


class Walk:
    """One walk through the tree below a directory."""

    def __init__(self, top: str, *, recursive: bool = True, extras: bool = False, scan: Scan = os.scandir) -> None:
        self._top = top
        self._recursive = recursive
        self._extras = extras
        self._scan = scan
        self._way: list[_Directory] | None = None
        self._waiting: Iterator[Found | Refused] = iter(())
        """What was found in the directory at hand and not given out yet."""

    def more(self, most: int, most_directories: int) -> list[Found | Refused] | None:
        """Read on until so many are found or so many directories have been read; None at the end of the tree.

        Raises DirectoryChanged, DirectoryLoop and OSError, with the path of the directory.
        """
        found: list[Found | Refused] = []
        for _ in range(most_directories):
            found += islice(self._waiting, most - len(found))
            if len(found) >= most:
                break
            if not self._step():
                return found or None
        return found

    def _step(self) -> bool:
        """Read the next directory; false if there is none."""
        if self._way is None:
            self._way = []
            self._enter(())
            return True
        while self._way:
            at = self._way[-1]
            name = next(at.to_do, None)
            if name is not None:
                self._enter((*at.names, name))
                return True
            self._way.pop()
        return False

    def _enter(self, below: tuple[str, ...]) -> None:
        assert self._way is not None  # noqa: S101 - for the type checker
        path = os.path.join(self._top, *below)  # noqa: PTH118 - names that aren't UTF-8 pass through as they are
        listing = self._read(path, top=not below)
        if any(one.identity == listing.identity for one in self._way):
            raise DirectoryLoop(path)
        if listing.excluded:
            return
        rules = self._way[-1].rules if self._way else ()
        if listing.rules:
            rules = (*rules, _Rules(len(below), listing.rules))
        to_do = (name for name in listing.directories if self._to_be_read(below, name, rules))
        self._waiting = self._found(below, listing, rules)
        self._way.append(_Directory(below, to_do, rules, listing.identity))

    def _found(self, below: tuple[str, ...], listing: _Listing, rules: tuple[_Rules, ...]) -> Iterator[Found | Refused]:
        for one in listing.refused:
            name, _, code = one.partition("\0")
            if self._wanted(below, name, rules):
                yield Refused(below, name, code, _REASONS[code])
        files = _Files(listing.files, lambda name: self._wanted(below, name, rules))
        for title in names.stacked(files, below[-1] if below else os.path.basename(self._top)):  # noqa: PTH119 - as above
            yield Found(below, title)

    def _wanted(self, below: tuple[str, ...], name: str, rules: tuple[_Rules, ...]) -> bool:
        if not self._extras and names.is_extra(name):
            return False
        return not any(one.exclude(below, name) for one in rules)

    def _to_be_read(self, below: tuple[str, ...], name: str, rules: tuple[_Rules, ...]) -> bool:
        if not self._recursive:
            return False
        if not self._extras and len(below) + 1 >= EXTRAS_DEPTH and name.casefold() in names.EXTRAS:
            return False
        return not any(one.exclude(below, name) for one in rules)

    def _read(self, path: str, *, top: bool) -> _Listing:
        """Read a directory whole, at an instant at which nothing was added to it or taken from it."""
        for _ in range(2):
            # The source's own directory may be reached by a link: that is what the operator named.
            flags = _OPEN if self._recursive else _OPEN & ~os.O_NOFOLLOW
            try:
                descriptor = os.open(path, flags)
            except OSError as exc:
                if top or exc.errno not in _GONE:
                    raise
                raise DirectoryChanged(path) from exc
            try:
                before = os.fstat(descriptor)
                try:
                    listing = self._list(descriptor)
                except FileNotFoundError:
                    continue  # a file went while the names were read
                except OSError as exc:
                    raise OSError(exc.errno, exc.strerror, path) from exc
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns):
                listing.identity = (after.st_dev, after.st_ino)
                return listing
        raise DirectoryChanged(path)

    def _list(self, descriptor: int) -> _Listing:
        listing = _Listing()
        with self._scan(descriptor) as entries:
            for entry in entries:
                name = entry.name
                if name in names.EXCLUDING or name == ".plexignore":
                    self._obey(listing, descriptor, name)
                elif not names.is_ignored(name):
                    _take(listing, entry)
        return listing

    @staticmethod
    def _obey(listing: _Listing, descriptor: int, name: str) -> None:
        if name == ".nomedia":
            listing.excluded = True
            return
        rules = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
        try:
            text = os.read(rules, _MOST_OF_RULES).decode("utf-8", "surrogateescape")
        finally:
            os.close(rules)
        lines = [line.strip().rstrip("/") for line in text.splitlines() if line.strip() and not line.startswith("#")]
        listing.rules += tuple(lines)
        listing.excluded |= "*" in lines or (name == ".ignore" and not text.strip())


def _take(listing: _Listing, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    if entry.is_symlink():
        if names.is_media(name) or _leads_to_directory(entry):
            listing.refused.add(f"{name}\0symbolic_link")
    elif entry.is_dir(follow_symlinks=False):
        listing.directories.add(name)
    elif names.is_media(name):
        if not entry.is_file(follow_symlinks=False):
            listing.refused.add(f"{name}\0not_a_file")
            return
        size = entry.stat(follow_symlinks=False).st_size
        if size:
            listing.files.add(f"{name}\0{size}")
        else:
            listing.refused.add(f"{name}\0empty_file")


def _leads_to_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
