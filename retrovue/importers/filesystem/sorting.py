"""Names in order, packed: a directory may have a million of them, and as strings each takes a hundred bytes. Pure.

An external sort whose runs stay in memory, compressed: names that are neighbours have much in common, so that a
name takes some seven to ten bytes.
"""

import heapq
import zlib
from collections.abc import Iterator

RUN = 8192
"""Names that are sorted at a time; up to so many are kept as they are."""
_BLOCK = 256
"""Names that are unpacked at a time, of each run."""
_LEVEL = 1
_SEPARATOR = "/"
"""No name holds it."""


class SortedNames:
    """Takes names in any order, and gives them sorted, as often as it is iterated over."""

    def __init__(self) -> None:
        self._new: list[str] = []
        self._runs: list[list[bytes]] = []

    def add(self, name: str) -> None:
        """Add a name; it may hold anything but a slash."""
        self._new.append(name)
        if len(self._new) == RUN:
            self._runs.append(_packed(sorted(self._new)))
            self._new.clear()

    def __iter__(self) -> Iterator[str]:
        return heapq.merge(sorted(self._new), *map(_unpacked, self._runs))


def _packed(names: list[str]) -> list[bytes]:
    blocks = (_SEPARATOR.join(names[first : first + _BLOCK]) for first in range(0, len(names), _BLOCK))
    return [zlib.compress(block.encode("utf-8", "surrogateescape"), _LEVEL) for block in blocks]


def _unpacked(run: list[bytes]) -> Iterator[str]:
    for block in run:
        yield from zlib.decompress(block).decode("utf-8", "surrogateescape").split(_SEPARATOR)
