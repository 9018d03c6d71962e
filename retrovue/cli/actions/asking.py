"""Asking a person: a read of the terminal that a signal can end, and the question before something is destroyed."""

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from retrovue.cli.entry import SIGNALS
from retrovue.cli.errors import InputError
from retrovue.cli.session import Call, Interruption, Session


@contextmanager
def interruptible(session: Session) -> Iterator[None]:
    """Let a signal end a blocking read, which keeps the event loop from seeing it."""

    def stop(number: int, _frame: FrameType | None) -> None:
        session.stopped_by = signal.Signals(number)
        raise Interruption

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def confirm(call: Call, doomed: Sequence[str], *, yes: bool, context: Mapping[str, Any]) -> None:
    """Show what would be destroyed, and ask, unless the answer was given by ``--yes``. Blocks while it asks.

    Raises InputError if the answer isn't yes, or if there is nobody to ask.
    """
    if yes:
        return
    call.output.notes(doomed)
    if sys.stdin is None or not sys.stdin.isatty() or not call.output.watched:
        raise InputError(
            "This destroys what can't be brought back, and there is no terminal to ask on.",
            code="confirmation_needed",
            hint="Nothing was changed. Give --yes to do it without being asked, --dry-run to only look.",
            context=context,
        )
    with interruptible(call.session):  # before the question: whoever reads it may answer with Ctrl-C
        call.output.raw_notes("Destroy it? [y/N] ")
        answer = sys.stdin.readline()
    if answer.strip().lower() not in {"y", "yes"}:
        raise InputError("Not confirmed; nothing was changed.", code="not_confirmed", context=context)
