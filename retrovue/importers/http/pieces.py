"""How much is read from a server at once."""

from typing import Final

import httpcore

PIECE: Final = 128 << 10
"""In bytes. Pieces of 256 KiB, which asyncio receives at once, take 10 MiB more memory for a dozen requests."""


def read_large_pieces() -> None:
    """Read up to 128 KiB at once from any server of this process, where httpcore reads 64 KiB.

    anyio divides what asyncio has received into pieces of the size that is asked for, and copies the rest for each of
    them. It concerns all programs that use httpcore in the process, so that a library doesn't do it to its host.
    """
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = PIECE
