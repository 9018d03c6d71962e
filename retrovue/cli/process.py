"""The process: the signals that end it, and its end."""

import os
import signal
import sys
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of ``malloc.h``."""
_LARGE_BLOCK = 256 << 10
"""Bytes from which on a block is large: a page of a listing and what is copied of it are."""


def ignore_signals() -> None:
    """Ignore further signals: the process ends anyway, with the exit status that it has."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def return_large_blocks() -> None:
    """Let the allocator of glibc take each large block from the system by itself, and return it when it is freed.

    It begins like that, but after the first large block it puts the next ones among the small ones, where few of them
    can be returned: over a thousand pages the process grows by a sixth. Other allocators are left as they are.
    """
    import ctypes

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return  # no glibc: nothing to set
    set_option(_MMAP_THRESHOLD, _LARGE_BLOCK)


def leave(status: int) -> NoReturn:
    """Flush the output and end the process at once.

    ``sys.exit`` would first wait for the event loop's and the interpreter's threads, and a thread that hangs in a dead
    mount or in a name look-up may take minutes. Whatever needs closing has been closed by its owner.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                status = status or 1
    os._exit(status)
