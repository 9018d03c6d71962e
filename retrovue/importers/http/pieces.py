"""How much is read from a server at once."""

from typing import Final

import httpcore

_PIECE: Final = 256 << 10
"""What asyncio receives at once, in bytes."""


def read_large_pieces() -> None:
    """Read up to 256 KiB at once from any server of this process, where httpcore reads 64 KiB.

    anyio divides what asyncio has received into pieces of the size that is asked for, and copies the rest for each of
    them. It concerns all programs that use httpcore in the process, so that a library doesn't do it to its host.
    """
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = _PIECE
