"""The entry: quick to import, so that a signal during the start finds its handler."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from retrovue.cli.output import Output

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stopped(BaseException):
    """A signal came before the event loop could take it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def main() -> NoReturn:
    """Run the command that the arguments name, and exit."""
    # The imports make some 150,000 objects that all stay: looking for garbage among them takes a tenth of the start,
    # so the first look comes after them. An ingest makes millions that die by their reference counts. A library may
    # not decide this for its host.
    gc.set_threshold(250_000, 20, 100)
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        from retrovue.cli.running import execute  # a signal during the import is ours to handle

        execute(sys.argv[1:])
    except _Stopped as stopped:
        ignore_signals()
        leave(_stopped_early(stopped.signal))


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)


def _stopped_early(number: signal.Signals) -> int:
    from retrovue.cli.session import Session

    session = Session(guessed_output(sys.argv[1:]), stopped_by=number)
    session.fail(session.interrupted())
    return session.signal_status


def guessed_output(arguments: Sequence[str]) -> "Output":
    """Make the output that the arguments ask for, also where they make no sense otherwise."""
    from retrovue.cli.output import Output

    return Output(as_json="--json" in arguments, as_events="--jsonl" in arguments)


def ignore_signals() -> None:
    """From here on the process ends anyway, with the status that it has."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave(status: int) -> NoReturn:
    """End the process at once.

    Not by ``sys.exit``: the event loop and the interpreter would first wait for threads, and one that hangs in a
    dead mount or in the resolver may take minutes. Everything that needs closing has been closed by its owner.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                status = status or 1
    os._exit(status)
