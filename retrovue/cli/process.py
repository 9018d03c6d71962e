"""The process: the signals that end it, and its end."""

import os
import signal
import sys
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ignore_signals() -> None:
    """Ignore further signals: the process ends anyway, with the exit status that it has."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


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
