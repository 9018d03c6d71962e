"""Walk a directory tree: one directory at a time, depth first, in the order of names. Blocks.

Only the names of the current directory, and of the directories still to be read at each level above it, are in memory,
packed if there are many; never the whole tree. No directory is open between two steps, so a walk may be dropped at any
time. Symbolic links are never followed: a target inside the source is found at its own path.
"""

import errno
import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from retrovue.importers.filesystem import exclusions, names, sidecars
from retrovue.importers.filesystem.contents import REASONS, Contents, Scan, SortedFiles, read_contents
from retrovue.importers.filesystem.parts import File, find_stacks, hold_one_title
from retrovue.importers.filesystem.targets import EVERYTHING, Targets

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors that opening a directory gives if it was removed or replaced after its parent was listed."""


_NO_MARKS = sidecars.Marks()


class _DirectoryError(Exception):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class DirectoryChanged(_DirectoryError):
    """A directory changed during each of two readings, or was removed after its parent was listed."""


class DirectoryLoop(_DirectoryError):
    """A directory contains itself, which only a damaged file system shows."""


class Title(Struct, frozen=True, array_like=True, gc=False):
    """The file of one title, or its parts in playing order."""

    directories: tuple[str, ...]
    """The names of the directories from the collection's to the file's."""
    parts: tuple[File, ...]
    """Each file with its name, its size, and the time of its last modification."""
    marks: sidecars.Marks = _NO_MARKS


class Unusable(Struct, frozen=True, array_like=True, gc=False):
    """A directory entry that looks like media and can't be used."""

    directories: tuple[str, ...]
    name: str
    code: str
    reason: str


class _Rules(NamedTuple):
    """Ignore patterns that apply to a directory and all below it."""

    depth: int
    patterns: tuple[str, ...]

    def match(self, directories: tuple[str, ...], name: str) -> bool:
        path = "/".join((*directories[self.depth :], name))
        return any(fnmatch.fnmatch(path if "/" in pattern else name, pattern) for pattern in self.patterns)


class _Files:
    """The files of a directory that aren't left out; the first iteration counts those that are."""

    def __init__(self, files: SortedFiles, reason: Callable[[str], str | None], left_out: Counter[str]) -> None:
        self._files = files
        self._reason = reason
        self._left_out: Counter[str] | None = left_out

    def __iter__(self) -> Iterator[File]:
        left_out, self._left_out = self._left_out, None
        for file in self._files:
            reason = self._reason(file.name)
            if reason is None:
                yield file
            elif left_out is not None:
                left_out[reason] += 1


class _Directory(Struct):
    """The current directory or one of its parents."""

    path: str
    """Ends with a slash."""
    names: tuple[str, ...]
    unread: Iterator[str]
    """The names of its directories that still have to be read."""
    rules: tuple[_Rules, ...]
    identity: tuple[int, int]
    show: str
    """The stamp of the show's sidecar in it."""


class Walk:
    """A walk through the tree below a directory. Call ``more()`` until it returns None."""

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
        """The number of files and directories that were left out so far, by reason, without their content."""

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
            self._enter(self._top, (), self._ancestors)
            return True
        while self._ancestors:
            parent = self._ancestors[-1]
            name = next(parent.unread, None)
            if name is not None:
                self._enter(parent.path + name, (*parent.names, name), self._ancestors)
                return True
            self._ancestors.pop()
        return False

    def _enter(self, path: str, directories: tuple[str, ...], ancestors: list[_Directory]) -> None:
        contents = self._read(path, top=not directories)
        wanted = self._targets.reach(directories)
        for ancestor in ancestors:
            if ancestor.identity == contents.identity:
                raise DirectoryLoop(path)
        if contents.excluded:
            self.left_out["ignored"] += 1
            return
        if wanted and contents.left_out:
            self.left_out.update(contents.left_out)
        rules = ancestors[-1].rules if ancestors else ()
        if contents.patterns:
            rules = (*rules, _Rules(len(directories), contents.patterns))
        show = contents.nfo_files.mark(path, sidecars.SHOW) if contents.nfo_files else ""
        above = ancestors[-1].show if ancestors else sidecars.mark(os.path.dirname(path), sidecars.SHOW)  # noqa: PTH120
        if wanted and (contents.files or contents.unusable or contents.disc_file):
            if contents.are_plain and not rules:
                marks = sidecars.Marks("", "", show or above) if show or above else _NO_MARKS
                self._pending = iter([Title(directories, (file,), marks) for file in contents.files])
            else:
                self._pending = self._titles(path, directories, contents, rules, show or above)
        if not contents.directories:
            return
        unread = iter(contents.directories)
        if rules or not (self._recursive and self._targets.are_all) or (contents.may_hold_extras and not self._extras):
            unread = (name for name in unread if self._is_to_be_read(directories, name, rules, contents))
        start = path if path.endswith("/") else path + "/"
        ancestors.append(_Directory(start, directories, unread, rules, contents.identity, show))

    def _titles(
        self, path: str, directories: tuple[str, ...], contents: Contents, rules: tuple[_Rules, ...], show: str
    ) -> Iterator[Title | Unusable]:
        def reason(name: str) -> str | None:
            extra = None if self._extras else exclusions.extra_reason(name)
            return extra or ("ignored" if _match_any(rules, directories, name) else None)

        own_name = directories[-1] if directories else os.path.basename(self._top)  # noqa: PTH119 - as above
        files: Iterable[File] = _Files(contents.files, reason, self.left_out)
        if contents.files.are_few:
            files = list(files)
        stacks = find_stacks(files, own_name, (name for name, _ in _unusable(contents, reason)))
        if contents.unusable or contents.disc_file:
            for name, code in _unusable(contents, reason):
                if name not in stacks:
                    yield Unusable(directories, name, code, REASONS[code])
        film = contents.nfo_files.mark(path, sidecars.FILM)
        if film and not hold_one_title(files, own_name):
            film = ""  # of which of them isn't known
        without_own = sidecars.Marks("", film, show)
        for file in files:
            stack = stacks.get(file.name) if stacks else None
            if stack is None or (stack.files[0].name == file.name and stack.missing is None):
                own = contents.nfo_files and contents.nfo_files.mark(path, exclusions.stem(file.name) + sidecars.SUFFIX)
                marks = sidecars.Marks(own, film, show) if own else without_own
                yield Title(directories, (file,) if stack is None else stack.files, marks)
            elif stack.files[0].name == file.name:
                yield Unusable(directories, file.name, "incomplete_parts", f"it is a part, and {stack.missing}")

    def _is_to_be_read(
        self, directories: tuple[str, ...], name: str, rules: tuple[_Rules, ...], contents: Contents
    ) -> bool:
        if not self._recursive or not (self._targets.are_all or self._targets.leads((*directories, name))):
            return False
        if _match_any(rules, directories, name):
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
    def _is_of_title(directories: tuple[str, ...], contents: Contents) -> bool:
        """Return whether a directory is that of one film, show or season."""
        files = (file.name for file in contents.files)
        return bool(directories) and (
            contents.disc_file is not None or names.is_title_directory(directories[-1], contents.directories, files)
        )

    def _read(self, path: str, *, top: bool) -> Contents:
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
                    contents = read_contents(self._scan, descriptor)
                except FileNotFoundError:
                    continue  # A file was removed after its name had been read.
                except OSError as exc:
                    raise OSError(exc.errno, exc.strerror, path) from exc
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if before.st_mtime_ns == after.st_mtime_ns and before.st_ctime_ns == after.st_ctime_ns:
                contents.identity = (after.st_dev, after.st_ino)
                return contents
        raise DirectoryChanged(path)


def _match_any(rules: tuple[_Rules, ...], directories: tuple[str, ...], name: str) -> bool:
    return bool(rules) and any(rule.match(directories, name) for rule in rules)


def _unusable(contents: Contents, reason: Callable[[str], str | None]) -> Iterator[tuple[str, str]]:
    """Yield the name and the code of each entry that can't be used, unless there is a reason to leave it out."""
    if contents.disc_file is not None:
        yield contents.disc_file, "disc_folder"
    for entry in contents.unusable:
        name, _, code = entry.partition("\0")
        if reason(name) is None:
            yield name, code
