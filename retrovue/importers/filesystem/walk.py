"""Read a directory tree: one directory at a time, depth first, in the order of names. Blocks.

In memory are the names of the current directory, and those of the directories still to be read beside it and beside
its parents, packed where there are many; never the whole tree. No directory is open between two steps, so a walk may
be dropped at any time. Symbolic links are never followed: a target inside the source is found at its own place.
"""

import errno
import fnmatch
import heapq
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from retrovue.importers.filesystem import names
from retrovue.importers.filesystem.names import File

Scan = Callable[[int], AbstractContextManager[Iterator["os.DirEntry[str]"]]]

RUN = 8192
"""Names that are sorted at a time; at most so many are kept unpacked."""
EXTRAS_DEPTH = 2
"""Levels below its collection from which a directory may hold a title's extras; higher up it is a genre or the like."""
_BLOCK = 256
"""Names of a run that are unpacked at a time."""
_RULES_BYTES = 64 * 1024
"""Bytes that are read of a file of ignore patterns."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors that opening a directory gives if it was removed or replaced after its parent was listed."""
_REASONS = {
    "symbolic_link": "it is a symbolic link, and links aren't followed",
    "not_a_file": "it is a device, a socket or a pipe",
    "empty_file": "it is empty",
}


class _DirectoryError(Exception):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class DirectoryChanged(_DirectoryError):
    """A directory changed during both of two readings, or was removed after its parent was listed."""


class DirectoryLoop(_DirectoryError):
    """A directory contains itself, which only a damaged file system shows."""


class Title(NamedTuple):
    """The file of one title, or its parts in playing order."""

    directories: tuple[str, ...]
    """Names of the directories from the collection's own down to the file's."""
    parts: tuple[File, ...]


class Unusable(NamedTuple):
    """A directory entry that looks like media and can't be used."""

    directories: tuple[str, ...]
    name: str
    code: str
    reason: str


class SortedNames:
    """Names in order, packed: a directory may hold a million, and each takes a hundred bytes as a string.

    An external sort whose runs stay in memory, compressed. Neighbours in the order have much in common, so a name
    takes seven to ten bytes. Add names in any order, then iterate, as often as needed.
    """

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
        return heapq.merge(sorted(self._new), *map(_unpack, self._runs))


def _pack(sorted_names: list[str]) -> list[bytes]:
    blocks = ("/".join(sorted_names[first : first + _BLOCK]) for first in range(0, len(sorted_names), _BLOCK))
    return [zlib.compress(block.encode("utf-8", "surrogateescape"), 1) for block in blocks]


def _unpack(run: list[bytes]) -> Iterator[str]:
    for block in run:
        yield from zlib.decompress(block).decode("utf-8", "surrogateescape").split("/")


class _Rules(NamedTuple):
    """Ignore patterns that apply to a directory and all below it."""

    depth: int
    patterns: tuple[str, ...]

    def match(self, directories: tuple[str, ...], name: str) -> bool:
        path = "/".join((*directories[self.depth :], name))
        return any(fnmatch.fnmatch(path if "/" in pattern else name, pattern) for pattern in self.patterns)


@dataclass(slots=True)
class _Contents:
    """What one directory holds."""

    files: SortedNames = field(default_factory=SortedNames)
    """``name NUL size``: a NUL sorts before every other character, so this is the order of the names."""
    directories: SortedNames = field(default_factory=SortedNames)
    unusable: SortedNames = field(default_factory=SortedNames)
    """``name NUL code``, the code one of _REASONS."""
    patterns: tuple[str, ...] = ()
    excluded: bool = False
    identity: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class _Files:
    """The selected files of a directory; they can be iterated over more than once."""

    names: SortedNames
    selected: Callable[[str], bool]

    def __iter__(self) -> Iterator[File]:
        for entry in self.names:
            name, _, size = entry.partition("\0")
            if self.selected(name):
                yield File(name, int(size))


@dataclass(slots=True)
class _Directory:
    """The current directory or one of its parents."""

    names: tuple[str, ...]
    unread: Iterator[str]
    """Names of its directories that are still to be read."""
    rules: tuple[_Rules, ...]
    identity: tuple[int, int]


class Walk:
    """One walk through the tree below a directory: call ``more()`` until it returns None."""

    def __init__(self, top: str, *, recursive: bool = True, extras: bool = False, scan: Scan = os.scandir) -> None:
        self._top = top
        self._recursive = recursive
        self._extras = extras
        self._scan = scan
        self._ancestors: list[_Directory] | None = None
        self._pending: Iterator[Title | Unusable] = iter(())
        """The rest of the current directory."""

    def more(self, most: int, most_directories: int) -> list[Title | Unusable] | None:
        """Return the next titles, at most ``most`` from at most ``most_directories``; None at the end of the tree.

        Raises DirectoryChanged, DirectoryLoop and OSError, each with the path of the directory.
        """
        titles: list[Title | Unusable] = []
        for _ in range(most_directories):
            titles += islice(self._pending, most - len(titles))
            if len(titles) >= most:
                break
            if not self._step():
                return titles or None
        return titles

    def _step(self) -> bool:
        """Read the next directory; return False if there is none."""
        if self._ancestors is None:
            self._ancestors = []
            self._enter((), self._ancestors)
            return True
        while self._ancestors:
            parent = self._ancestors[-1]
            name = next(parent.unread, None)
            if name is not None:
                self._enter((*parent.names, name), self._ancestors)
                return True
            self._ancestors.pop()
        return False

    def _enter(self, directories: tuple[str, ...], ancestors: list[_Directory]) -> None:
        path = os.path.join(self._top, *directories)  # noqa: PTH118 - names that aren't UTF-8 pass through as they are
        contents = self._read(path, top=not directories)
        if any(ancestor.identity == contents.identity for ancestor in ancestors):
            raise DirectoryLoop(path)
        if contents.excluded:
            return
        rules = ancestors[-1].rules if ancestors else ()
        if contents.patterns:
            rules = (*rules, _Rules(len(directories), contents.patterns))
        unread = (name for name in contents.directories if self._selects_directory(directories, name, rules))
        self._pending = self._titles(directories, contents, rules)
        ancestors.append(_Directory(directories, unread, rules, contents.identity))

    def _titles(
        self, directories: tuple[str, ...], contents: _Contents, rules: tuple[_Rules, ...]
    ) -> Iterator[Title | Unusable]:
        def selected(name: str) -> bool:
            extra = not self._extras and names.is_extra(name)
            return not extra and not any(rule.match(directories, name) for rule in rules)

        for entry in contents.unusable:
            name, _, code = entry.partition("\0")
            if selected(name):
                yield Unusable(directories, name, code, _REASONS[code])
        own_name = directories[-1] if directories else os.path.basename(self._top)  # noqa: PTH119 - as above
        for parts in names.stacked(_Files(contents.files, selected), own_name):
            yield Title(directories, parts)

    def _selects_directory(self, directories: tuple[str, ...], name: str, rules: tuple[_Rules, ...]) -> bool:
        if not self._recursive:
            return False
        if not self._extras and len(directories) + 1 >= EXTRAS_DEPTH and name.casefold() in names.EXTRAS:
            return False
        return not any(rule.match(directories, name) for rule in rules)

    def _read(self, path: str, *, top: bool) -> _Contents:
        """List a directory; its times before and after have to be equal, so that the list is of one moment."""
        # A symbolic link may lead to the source's own directory, because the operator named it.
        flags = _OPEN if self._recursive else _OPEN & ~os.O_NOFOLLOW
        for _ in range(2):
            try:
                descriptor = os.open(path, flags)
            except OSError as exc:
                if top or exc.errno not in _GONE:
                    raise
                raise DirectoryChanged(path) from exc
            try:
                before = os.fstat(descriptor)
                try:
                    contents = self._list(descriptor)
                except FileNotFoundError:
                    continue  # a file was removed after its name had been read
                except OSError as exc:
                    raise OSError(exc.errno, exc.strerror, path) from exc
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns):
                contents.identity = (after.st_dev, after.st_ino)
                return contents
        raise DirectoryChanged(path)

    def _list(self, descriptor: int) -> _Contents:
        contents = _Contents()
        with self._scan(descriptor) as entries:
            for entry in entries:
                if entry.name in names.IGNORE_FILES:
                    _add_patterns(contents, descriptor, entry.name)
                elif not names.is_ignored(entry.name):
                    _add(contents, entry)
        return contents


def _add_patterns(contents: _Contents, directory: int, name: str) -> None:
    if name == ".nomedia":
        contents.excluded = True
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        text = os.read(descriptor, _RULES_BYTES).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
    lines = [line.strip().rstrip("/") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    contents.patterns += tuple(lines)
    contents.excluded |= "*" in lines or (name == ".ignore" and not text.strip())


def _add(contents: _Contents, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    if entry.is_symlink():
        if names.is_media(name) or _is_linked_directory(entry):
            contents.unusable.add(f"{name}\0symbolic_link")
    elif entry.is_dir(follow_symlinks=False):
        contents.directories.add(name)
    elif names.is_media(name):
        if not entry.is_file(follow_symlinks=False):
            contents.unusable.add(f"{name}\0not_a_file")
        elif size := entry.stat(follow_symlinks=False).st_size:
            contents.files.add(f"{name}\0{size}")
        else:
            contents.unusable.add(f"{name}\0empty_file")


def _is_linked_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
