"""The titles of the drafts of a dry-run, of which its outcome names the first ones of each verdict."""

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

from retrovue.core.pages import AssetDraft
from retrovue.core.results import LABELLED, label

_labelled = attrgetter(*LABELLED)
_SEPARATOR = "\0"
"""Between titles: no text that can be stored has it, so it is removed from what an importer gives."""
_FASTEST = 1
"""The level of compression: titles take a third of their size, in 0.1 µs each."""


def labels(drafts: Iterable[AssetDraft]) -> list[str]:
    """Return the titles of drafts."""
    return [label(*_labelled(draft)) for draft in drafts]


def pack_titles(titles: Sequence[str]) -> bytes:
    """Compress the titles of a page."""
    joined = _SEPARATOR.join(titles)
    if joined.count(_SEPARATOR) >= len(titles):
        joined = _SEPARATOR.join([title.replace(_SEPARATOR, "") for title in titles])
    return zlib.compress(joined.encode("utf-8", "replace"), _FASTEST)


class Titles:
    """The titles of drafts by their numbers, compressed a page at a time."""

    def __init__(self) -> None:
        self._pages: list[bytes] = []
        self._first = array("Q")
        """The number of the first draft of each page."""
        self._unpacked: tuple[int, list[str]] = -1, []
        """The page that was asked for last, and its titles."""

    def keep(self, first: int, packed: bytes) -> None:
        """Keep the titles of a page with at least one draft; ``first`` is the number of its first one."""
        self._pages.append(packed)
        self._first.append(first)

    def of(self, number: int) -> str:
        """Return the title of a draft."""
        page = bisect_right(self._first, number) - 1
        if page != self._unpacked[0]:
            self._unpacked = page, zlib.decompress(self._pages[page]).decode().split(_SEPARATOR)
        return self._unpacked[1][number - self._first[page]]

    def clear(self) -> None:
        """Drop all titles."""
        self._pages.clear()
        del self._first[:]
        self._unpacked = -1, []
