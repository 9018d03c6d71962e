"""Find the files that are parts of one title, by their names. Does no I/O.

The names are those of Kodi's "File stacking" and Jellyfin's ``VideoFileStackingRules``.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from retrovue.core.text import quoted
from retrovue.importers.filesystem import names, titles
from retrovue.importers.filesystem.episodes import EPISODE
from retrovue.importers.filesystem.exclusions import AUDIO, extension, may_be_part, stem

_HINT = re.compile(r"(?:cd|dvd|dis[ck]|part|pt)[ ._-]*[0-9]", re.IGNORECASE)
"""A faster pattern that is tried first; few names match it."""
_ENDS_WITH_YEAR = re.compile(r"[(\[](?:18|19|20)[0-9]{2}[)\]]$")


class File(Struct, frozen=True, order=True, array_like=True, gc=False):
    """A media file."""

    name: str
    size: int
    """Bytes."""
    modified: int = 0
    """The time of the last modification, in seconds since 1970."""

    @property
    def stamp(self) -> str:
        """The stamp of the file, from time of modification and size. It changes when the file is replaced.

        The time is in whole seconds, because another way of mounting a file system, or a copy, may lose the fraction.
        """
        return f"{self.modified}/{self.size}"


class Stack(NamedTuple):
    """The parts of one title, in playing order."""

    files: tuple[File, ...]
    missing: str | None
    """Why these aren't all of its parts; None if they are."""


def find_stacks(files: Iterable[File], directory: str, unusable: Iterable[str] = ()) -> dict[str, Stack]:
    """Return the sets of parts in a directory, by the name of each of their files.

    ``directory`` is its name, ``unusable`` are the names of files that can't be used: a set that needs one of them is
    incomplete. Parts are numbered from 1 without a gap and have one format. ``cd1`` and ``dvd2`` always count as parts;
    ``part1`` and ``pt1`` only after a hyphen, after a year, or if the directory has the title's name: "Kill Part 1" and
    "Kill Part 2" may be two films.
    """
    found = [(part, file, True) for file in files if (part := _part(file.name, directory))]
    found += [(part, File(name, 0), False) for name in unusable if (part := _part(name, directory))]
    if not found:
        return {}
    groups: dict[tuple[str, str, str], list[tuple[int, File, bool]]] = {}
    certain: set[tuple[str, str, str]] = set()
    for part, file, usable in found:
        groups.setdefault(part.key, []).append((part.number, file, usable))
        if part.certain:
            certain.add(part.key)
    stacks: dict[str, Stack] = {}
    for key, group in groups.items():
        rest = group
        for format_ in {extension(file.name) for _, file, _ in group}:
            parts = sorted(part for part in group if extension(part[1].name) == format_)
            if len(parts) > 1 and all(p[2] for p in parts) and [p[0] for p in parts] == list(range(1, len(parts) + 1)):
                stack = Stack(tuple(file for _, file, _ in parts), None)
                stacks.update((file.name, stack) for file in stack.files)
                rest = [part for part in rest if part not in parts]
        if any(usable for _, _, usable in rest) and (len(rest) > 1 or key in certain):
            # Usable files first, because the set is rejected at the position of the first of them.
            files_ = tuple(file for _, file, _ in sorted(rest, key=lambda part: (not part[2], part)))
            stacks.update(dict.fromkeys((file.name for file in files_), Stack(files_, _missing(rest, key[1]))))
    return stacks


def stacked(files: Iterable[File], directory: str) -> Iterator[tuple[File, ...]]:
    """Group the parts of each title, in the order of their first files; the files of an incomplete set stay separate.

    ``files`` are all files of one directory, sorted. They are iterated over twice; only possible parts are in memory.
    """
    stacks = find_stacks(files, directory)
    for file in files:
        stack = stacks.get(file.name)
        parts = (file,) if stack is None or stack.missing is not None else stack.files
        if parts[0].name == file.name:
            yield parts


def hold_one_title(files: Iterable[File], directory: str) -> bool:
    """Return whether all files of a directory, which are sorted, are versions or parts of one title."""
    first: tuple[str, int | None] | None = None
    for parts in stacked(files, directory):
        name = names.read_name([part.name for part in parts], [])
        title = name.title.casefold(), name.year
        if first is not None and title != first:
            return False
        first = title
    return True


class _Part(NamedTuple):
    key: tuple[str, str, str]
    """The title, the word for a part, and the text after its number."""
    number: int
    certain: bool
    """Whether even a single file of this kind is a part and not a title."""


def _part(name: str, directory: str) -> _Part | None:
    # Most names are ruled out by string searches, which take a tenth of the pattern's time.
    if not may_be_part(name.casefold()) and name.isascii():
        return None
    if _HINT.search(name) is None or extension(name) in AUDIO:
        return None
    match = titles.PART.match(stem(name))
    if match is None:
        return None
    title, word = match["title"].casefold(), match["word"].casefold()
    disc = word not in {"part", "pt"}
    after_year = _ENDS_WITH_YEAR.search(title) is not None
    hyphen = "-" in match["separator"]
    numbered = EPISODE.search(title)
    after_number = numbered is not None and numbered.end() == len(title)
    own_directory = titles.cleaned(title) == titles.cleaned(directory.casefold())
    if not (disc or after_year or after_number or hyphen or own_directory):
        return None
    episode = numbered is not None
    certain = disc or ((after_year or (word == "pt" and hyphen)) and not episode)
    return _Part((title, word, match["suffix"].casefold()), int(match["number"]), certain)


def _missing(parts: Sequence[tuple[int, File, bool]], word: str) -> str:
    unusable = [file.name for _, file, usable in parts if not usable]
    numbers = {number for number, _, _ in parts}
    absent = sorted(set(range(1, max(2, *numbers) + 1)) - numbers)
    if unusable:
        return f"{quoted(titles.shown(unusable))} can't be used"
    if absent:
        return f"there is no {', '.join(f'{word}{number}' for number in absent)}"
    return "its parts have several formats"
