"""The program of the second process (`retrovue.importers.http.decoding`): it decodes answers until its input ends.

Each message to it has a head (`HEAD`): the kind of message, the number of the listing, the number of rows that the
answer shares with the one before, and the length of the rest. Each message from it begins with the length of the rest
(`LENGTH`). The first one has the version of RetroVue, each other one the result of `pack`.
"""

import gc
import pickle
import sys
from io import FileIO
from struct import Struct
from typing import Any, Final

from retrovue.core.version import own_version
from retrovue.importers.http.decoder import PageDecoder, pack

HEAD: Final = Struct("<BIII")
LENGTH: Final = Struct("<I")
LISTING, ANSWER, END = range(3)
"""The kinds of messages: the decoder of a listing, an answer of a listing, and the end of a listing."""
_OBJECTS_BETWEEN = 250_000
"""The new objects after which Python looks for cycles, as in the command line: a page has none."""


def main() -> None:
    """Read messages from standard input, and write results to standard output."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN)
    source, sink = FileIO(sys.stdin.fileno(), closefd=False), FileIO(sys.stdout.fileno(), "w", closefd=False)
    decoders: dict[int, PageDecoder[Any, Any, Any]] = {}
    _write(sink, own_version().encode())
    while len(head := _read(source, HEAD.size)) == HEAD.size:
        kind, listing, shared, length = HEAD.unpack(head)
        body = _read(source, length)
        if len(body) < length:
            return
        if kind == LISTING:
            decoders[listing] = pickle.loads(body)  # noqa: S301 - from the process that has started this one
        elif kind == END:
            decoders.pop(listing, None)
        else:
            _write(sink, pack(decoders[listing], body, shared))


def _read(source: FileIO, size: int) -> bytearray:
    """Read that many bytes; return fewer only at the end of the input."""
    buffer, received = bytearray(size), 0
    with memoryview(buffer) as view:
        while received < size and (read := source.readinto(view[received:])):
            received += read
    del buffer[received:]
    return buffer


def _write(sink: FileIO, data: bytes) -> None:
    for piece in (LENGTH.pack(len(data)), data):
        written = 0
        while written < len(piece):
            written += sink.write(memoryview(piece)[written:]) or 0


if __name__ == "__main__":
    main()
