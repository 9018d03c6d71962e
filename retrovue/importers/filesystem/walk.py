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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from retrovue.importers.filesystem import exclusions, names, sidecars
from retrovue.importers.filesystem.parts import File, find_stacks, hold_one_title
from retrovue.importers.filesystem.targets import EVERYTHING, Targets

Scan = Callable[[int], AbstractContextManager[Iterator["os.DirEntry[str]"]]]

RUN = 8192
"""Names that are sorted at a time; at most so many are kept unpacked."""
IGNORE_FILES = frozenset({".ignore", ".plexignore", ".nomedia"})
"""Files that exclude their directory: ``.nomedia``, an empty ``.ignore``, a line ``*`` in one of the first two."""
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
    "disc_folder": "it is a copy of a disc, with menus and several programmes: only single files are ingested",
    "disc_image": "it is the image of a disc: only single files are ingested",
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
    """Each with its name, its size, and the time of its last modification."""
    marks: sidecars.Marks = sidecars.Marks()


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
        return heapq.merge(sorted(self._new), *map(_unpack, self._runs)) if self._runs else iter(sorted(self._new))

    @property
    def are_few(self) -> bool:
        """Whether all names are unpacked."""
        return not self._runs


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
    """``name NUL size NUL time``: a NUL sorts before every other character, so this is the order of the names."""
    directories: SortedNames = field(default_factory=SortedNames)
    unusable: SortedNames = field(default_factory=SortedNames)
    """``name NUL code``, the code one of _REASONS."""
    nfo_files: sidecars.Names = field(default_factory=sidecars.Names)
    left_out: Counter[str] = field(default_factory=Counter[str])
    disc_file: str | None = None
    """The first of the files of a DVD that was copied into the directory."""
    patterns: tuple[str, ...] = ()
    excluded: bool = False
    identity: tuple[int, int] = (0, 0)


class _Files:
    """The files of a directory that aren't left out; iterating for the first time counts those that are."""

    def __init__(self, entries: SortedNames, reason: Callable[[str], str | None], left_out: Counter[str]) -> None:
        self._entries = entries
        self._reason = reason
        self._left_out: Counter[str] | None = left_out

    def __iter__(self) -> Iterator[File]:
        left_out, self._left_out = self._left_out, None
        for entry in self._entries:
            name, size, modified = entry.split("\0")
            reason = self._reason(name)
            if reason is None:
                yield File(name, int(size), int(modified))
            elif left_out is not None:
                left_out[reason] += 1


@dataclass(slots=True)
class _Directory:
    """The current directory or one of its parents."""

    names: tuple[str, ...]
    unread: Iterator[str]
    """Names of its directories that are still to be read."""
    rules: tuple[_Rules, ...]
    identity: tuple[int, int]
    show: str
    """The mark of the show's sidecar in it."""


class Walk:
    """One walk through the tree below a directory: call ``more()`` until it returns None."""

    def __init__(
        self, top: str, targets: Targets | None = None, *, recursive: bool = True, extras: bool = False,
        scan: Scan = os.scandir,
    ) -> None:  # fmt: skip
        self._top, self._targets = top, targets or Targets([EVERYTHING])
        self._recursive = recursive
        self._extras = extras
        self._scan = scan
        self._ancestors: list[_Directory] | None = None
        self._pending: Iterator[Title | Unusable] = iter(())
        """The rest of the current directory."""
        self.left_out: Counter[str] = Counter()
        """How many files and directories were left out so far, by reason; what lies in them isn't counted."""

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
        wanted = self._targets.reach(directories)
        if any(ancestor.identity == contents.identity for ancestor in ancestors):
            raise DirectoryLoop(path)
        if contents.excluded:
            self.left_out["ignored"] += 1
            return
        if wanted:
            self.left_out.update(contents.left_out)
        rules = ancestors[-1].rules if ancestors else ()
        if contents.patterns:
            rules = (*rules, _Rules(len(directories), contents.patterns))
        unread = (name for name in contents.directories if self._is_to_be_read(directories, name, rules, contents))
        show = contents.nfo_files.mark(path, sidecars.SHOW)
        above = ancestors[-1].show if ancestors else sidecars.mark(os.path.dirname(path), sidecars.SHOW)  # noqa: PTH120
        if wanted:
            self._pending = self._titles(directories, contents, rules, show or above)
        ancestors.append(_Directory(directories, unread, rules, contents.identity, show))

    def _titles(
        self, directories: tuple[str, ...], contents: _Contents, rules: tuple[_Rules, ...], show: str
    ) -> Iterator[Title | Unusable]:
        def reason(name: str) -> str | None:
            extra = None if self._extras else exclusions.extra_reason(name)
            return extra or ("ignored" if any(rule.match(directories, name) for rule in rules) else None)

        own_name = directories[-1] if directories else os.path.basename(self._top)  # noqa: PTH119 - as above
        files: Iterable[File] = _Files(contents.files, reason, self.left_out)
        if contents.files.are_few:
            files = list(files)
        stacks = find_stacks(files, own_name, (name for name, _ in _unusable(contents, reason)))
        for name, code in _unusable(contents, reason):
            if name not in stacks:
                yield Unusable(directories, name, code, _REASONS[code])
        path = os.path.join(self._top, *directories)  # noqa: PTH118 - as in _enter
        film = contents.nfo_files.mark(path, sidecars.FILM)
        if film and not hold_one_title(files, own_name):
            film = ""  # of which of them isn't known
        for file in files:
            stack = stacks.get(file.name)
            if stack is None or (stack.files[0].name == file.name and stack.missing is None):
                own = contents.nfo_files.mark(path, exclusions.stem(file.name) + sidecars.SUFFIX)
                yield Title(directories, (file,) if stack is None else stack.files, sidecars.Marks(own, film, show))
            elif stack.files[0].name == file.name:
                yield Unusable(directories, file.name, "incomplete_parts", f"it is a part, and {stack.missing}")

    def _is_to_be_read(
        self, directories: tuple[str, ...], name: str, rules: tuple[_Rules, ...], contents: _Contents
    ) -> bool:
        if not self._recursive or not self._targets.leads((*directories, name)):
            return False
        if any(rule.match(directories, name) for rule in rules):
            self.left_out["ignored"] += 1
            return False
        depth = len(directories) + 1
        reason = None
        if not self._extras and name.casefold() in exclusions.EXTRAS:
            of_title = self._is_of_title(directories, contents)
            reason = exclusions.extra_directory_reason(name, depth, of_title=of_title)
        if reason is not None:
            self.left_out[reason] += 1
        return reason is None

    @staticmethod
    def _is_of_title(directories: tuple[str, ...], contents: _Contents) -> bool:
        """Return whether a directory is that of one film, show or season."""
        files = (entry.partition("\0")[0] for entry in contents.files)
        return bool(directories) and (
            contents.disc_file is not None or names.is_title_directory(directories[-1], contents.directories, files)
        )

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
                if entry.name in IGNORE_FILES:
                    _add_patterns(contents, descriptor, entry.name)
                else:
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
    lines = [line.removeprefix("\\") if line.startswith("\\#") else line for line in lines]
    contents.patterns += tuple(lines)
    contents.excluded |= "*" in lines or (name == ".ignore" and not text.strip())


def _unusable(contents: _Contents, reason: Callable[[str], str | None]) -> Iterator[tuple[str, str]]:
    """Yield the name and the code of each entry that can't be used, unless there is a reason to leave it out."""
    if contents.disc_file is not None:
        yield contents.disc_file, "disc_folder"
    for entry in contents.unusable:
        name, _, code = entry.partition("\0")
        if reason(name) is None:
            yield name, code


def _add(contents: _Contents, entry: "os.DirEntry[str]") -> None:
    name = entry.name
    is_link = entry.is_symlink()
    is_directory = not is_link and entry.is_dir(follow_symlinks=False)
    if (reason := exclusions.system_reason(name, directory=is_link or is_directory)) is not None:
        contents.left_out[reason] += 1
    elif not is_directory and name.endswith(sidecars.SUFFIX):
        contents.nfo_files.add(name)
    elif is_directory and not exclusions.is_disc_folder(name):
        contents.directories.add(name)
    elif not is_link and exclusions.is_disc_file(name):
        contents.disc_file = min(contents.disc_file or name, name)
    elif (code := _problem(entry, is_link=is_link, is_directory=is_directory)) is not None:
        contents.unusable.add(f"{name}\0{code}")
    elif exclusions.is_media(name):
        status = entry.stat(follow_symlinks=False)
        contents.files.add(f"{name}\0{status.st_size}\0{int(status.st_mtime)}")


def _problem(entry: "os.DirEntry[str]", *, is_link: bool, is_directory: bool) -> str | None:
    """Return why an entry that looks like media can't be used, as a code of _REASONS."""
    if is_directory:
        return "disc_folder"
    if exclusions.extension(entry.name) in exclusions.DISC_IMAGES:
        return "disc_image"
    is_media = exclusions.is_media(entry.name)
    if is_link:
        return "symbolic_link" if is_media or _is_linked_directory(entry) else None
    if not is_media:
        return None
    if not entry.is_file(follow_symlinks=False):
        return "not_a_file"
    return None if entry.stat(follow_symlinks=False).st_size else "empty_file"


def _is_linked_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
