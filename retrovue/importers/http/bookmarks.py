"""Bookmarks: the position in a listing from which a later run can continue if the listing is still the same."""

from collections.abc import Sequence
from typing import Any, overload

import msgspec

from retrovue.core.bounds import LONGEST_BOOKMARK

BOOKMARKS_FROM = 50_000
"""The number of items from which a listing has bookmarks. A smaller one is read again in a minute."""


class Bookmark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One window of a listing, by which it is recognised, and the state of the reader after it."""

    start: int
    """The row where the window started."""
    asked: int
    """The number of rows that were requested."""
    size: int
    """The number of rows to request next."""
    total: int
    """The number of rows of the whole listing, according to the listing."""
    full: bool
    """Whether the window was full: one more row has to be requested if it is the last one."""
    way: int
    """The value of `Query.way`."""
    digest: bytes
    """The hash of the rows, and of the shows from which they inherit."""
    keys: Sequence[Any]
    """The keys of the rows, without the one that the window shares with the window before."""
    mark: str | None = None
    """In the first window: the server's state of the library after it had listed the window."""
    shows: bytes = b""
    """In the first window: the hash of all shows."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Bookmark)


def encode(bookmark: Bookmark) -> bytes | None:
    """Encode a bookmark; None if it would be too long."""
    encoded = _encoder.encode(bookmark)
    return encoded if len(encoded) <= LONGEST_BOOKMARK else None


class Bookmarks(Sequence[Bookmark]):
    """Bookmarks of one listing. Each is decoded when it is used, because a list of all ids would take much memory."""

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
    """Decode bookmarks; return none if one of them can't be decoded, or if the first has no mark."""
    bookmarks = Bookmarks(encoded)
    try:
        usable = all(bookmark.keys for bookmark in bookmarks) and bool(bookmarks) and bookmarks[0].mark is not None
    except (ValueError, RecursionError):
        usable = False
    return bookmarks if usable else Bookmarks()
