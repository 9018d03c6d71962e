"""Bookmarks: how far a listing has been read, so that a later run can go on from there if it is still the same."""

from collections.abc import Iterable, Sequence
from typing import Any

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


def decode(bookmarks: Iterable[bytes]) -> Sequence[Bookmark]:
    """Decode bookmarks; returns none if one of them can't be, or if the first has no mark."""
    try:
        decoded = [_decoder.decode(bookmark) for bookmark in bookmarks]
    except (ValueError, RecursionError):
        return ()
    return decoded if decoded and decoded[0].mark is not None else ()
