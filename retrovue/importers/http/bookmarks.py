"""Bookmarks: how far a listing has been read, so that a later run can go on from there if it is still the same."""

from collections.abc import Sequence
from typing import Any, overload

import msgspec

from retrovue.core.bounds import LONGEST_BOOKMARK

BOOKMARKS_FROM = 50_000
"""The items from which on a listing has bookmarks. A smaller one is read again in a minute."""


class Bookmark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One window of a listing, by which it is recognised, and what the reader knew when it had taken it."""

    start: int
    """The row where the window started."""
    asked: int
    """The rows that were asked for."""
    size: int
    """The rows to ask for next."""
    total: int
    """The rows of the whole listing, as it said."""
    full: bool
    """Whether the window was full: one more row has to be asked for if it is the last."""
    way: int
    """`Query.way`."""
    digest: bytes
    """The hash of the rows, and of the shows that they inherit from."""
    keys: Sequence[Any]
    """The keys of the rows, without the one that the window shares with the window before."""
    mark: str | None = None
    """Of the first window: what the server said of its library after it had listed the window."""
    shows: bytes = b""
    """Of the first window: the hash of all shows."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Bookmark)


def encode(bookmark: Bookmark) -> bytes | None:
    """Encode a bookmark; None if it would be too long."""
    encoded = _encoder.encode(bookmark)
    return encoded if len(encoded) <= LONGEST_BOOKMARK else None


class Bookmarks(Sequence[Bookmark]):
    """Bookmarks of one listing. Each is decoded when it is looked at: a list of all ids would take much memory."""

    def __init__(self, encoded: Sequence[bytes] = ()) -> None:
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, index: int) -> Bookmark: ...
    @overload
    def __getitem__(self, index: slice) -> "Bookmarks": ...
    def __getitem__(self, index: int | slice) -> "Bookmark | Bookmarks":
        found = self._encoded[index]
        return _decoder.decode(found) if isinstance(found, bytes) else Bookmarks(found)


def decode(encoded: Sequence[bytes]) -> Bookmarks:
    """Return bookmarks; none if one of them can't be decoded, or if the first has no mark."""
    bookmarks = Bookmarks(encoded)
    try:
        usable = all(bookmark.keys for bookmark in bookmarks) and bool(bookmarks) and bookmarks[0].mark is not None
    except (ValueError, RecursionError):
        usable = False
    return bookmarks if usable else Bookmarks()
