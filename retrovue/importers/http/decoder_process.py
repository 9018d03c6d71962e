"""The program of the second process (`retrovue.importers.http.decoding`): it decodes answers until its input ends.

It is given the version of the process that has started it, and the number and size of a file in memory that both
share. The file has a slot for each answer that may be under way; the result of `pack` replaces the answer there.

Each message to it has a head (`HEAD`): the kind of message, the number of the listing, the number of rows that the
answer shares with the one before, the position of the slot, and the length of the answer or of the rest of the message.
For each answer it writes the length of the result (`LENGTH`), and a 0 when it has started.
"""

import gc
import pickle
import sys
from io import FileIO
from mmap import mmap
from struct import Struct
from typing import Any, Final

from retrovue.core.version import own_version
from retrovue.importers.http.decoder import PageDecoder, pack

HEAD: Final = Struct("<BIIII")
LENGTH: Final = Struct("<I")
LISTING, ANSWER, OUTLINE, END = range(4)
"""The kinds of messages: the decoder of a listing, an answer to decode in full, an answer of which only the outline is
decoded, and the end of a listing.
"""
_OBJECTS_BETWEEN = 250_000
"""The new objects after which Python looks for cycles, as in the command line: a page has none."""


def main(version: str, fd: int, size: int) -> None:
    """Read messages from standard input, and write lengths to standard output; ``fd`` and ``size`` are the file's."""
    if version != own_version():
        sys.exit(f"It is of version {own_version()} instead of {version}: RetroVue was replaced meanwhile.")
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN)
    source, sink = FileIO(sys.stdin.fileno(), closefd=False), FileIO(sys.stdout.fileno(), "w", closefd=False)
    decoders: dict[int, PageDecoder[Any, Any, Any]] = {}
    sink.write(LENGTH.pack(0))
    with mmap(fd, size) as memory:
        while len(head := _read(source, HEAD.size)) == HEAD.size:
            kind, listing, shared, start, length = HEAD.unpack(head)
            if kind == LISTING:
                pickled = _read(source, length)
                if len(pickled) < length:
                    return
                decoders[listing] = pickle.loads(pickled)  # noqa: S301 - from the process that has started this one
            elif kind == END:
                decoders.pop(listing, None)
            else:
                # An answer may arrive after the end of its listing.
                decoder = decoders.get(listing)
                body = memory[start : start + length]
                packed = b"" if decoder is None else pack(decoder, body, shared, outline=kind == OUTLINE)
                memory[start : start + len(packed)] = packed
                sink.write(LENGTH.pack(len(packed)))


def _read(source: FileIO, size: int) -> bytes:
    """Read that many bytes; return fewer only at the end of the input."""
    received = bytearray()
    while len(received) < size and (chunk := source.read(size - len(received))):
        received += chunk
    return bytes(received)
