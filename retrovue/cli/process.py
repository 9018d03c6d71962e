"""The process: its signals, its memory and its end."""

import os
import signal
import sys
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of ``malloc.h``."""
_LARGE_BLOCK, _SMALLEST_LARGE_BLOCK = 2 << 20, 256 << 10
"""The sizes in bytes from which a block counts as large: usually, and if the process keeps what grows with the library.
An answer with 1,000 films has 1.6 MB.
"""
_SPARE = 16 << 20
"""The most bytes of free memory that the process keeps behind its small blocks: what the values of some pages take."""


def ignore_signals() -> None:
    """Ignore further signals: the process is ending, and its exit status is decided."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def return_large_blocks(*, growing: bool = False) -> None:
    """Make the allocator of glibc map each large block separately, and return it to the system when it is freed.

    glibc begins like that, but after the first large block it places the next ones among small ones, where few of them
    can be returned: over a thousand pages the process grows by a sixth. Of the small ones `_SPARE` bytes are kept:
    otherwise each page of a listing returns them, and gets them again by hundreds of page faults. For the same reason
    an answer usually isn't a large block. With ``growing`` it is: a process that keeps what grows with the library,
    as a dry-run does, would keep the gaps that answers leave in it, 24 MB for a million films. Other allocators aren't
    changed.
    """
    import ctypes

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return  # not glibc: nothing to set
    set_option(_MMAP_THRESHOLD, _SMALLEST_LARGE_BLOCK if growing else _LARGE_BLOCK)
    set_option(_TRIM_THRESHOLD, _SPARE)


def leave(status: int) -> NoReturn:
    """Flush the output and end the process at once.

    ``sys.exit`` would first wait for the threads of the event loop and the interpreter, and a thread that hangs in a
    dead mount or a name look-up may take minutes. Whatever needs closing has been closed by its owner.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                status = status or 1
    os._exit(status)
