"""Asking a person: a read of the terminal that a signal can end, and the question before something is destroyed."""

import getpass
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
    if not can_ask(call):
        raise InputError(
            "This destroys what can't be brought back, and there is no terminal to ask on.",
            code="confirmation_needed",
            hint="Nothing was changed. Give --yes to do it without being asked, --dry-run to only look.",
            context=context,
        )
    if _typed(call, "Destroy it? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("Not confirmed; nothing was changed.", code="not_confirmed", context=context)


def can_ask(call: Call) -> bool:
    """Whether there is a person at a terminal, who sees questions and can answer them."""
    return sys.stdin is not None and sys.stdin.isatty() and call.output.watched


def ask(call: Call, question: str) -> str:
    """Ask a question and return the answer, without the blanks around it. Blocks while it asks.

    Raises InputError if there is nobody to ask, or if the input ends.
    """
    answer = _typed(call, question) if can_ask(call) else ""
    if not answer:
        raise InputError(f"There is no answer to: {question.strip()}", code="no_answer")
    return answer.strip()


def ask_secret(call: Call, question: str) -> str:
    """Ask for a secret, which isn't shown as it is typed; else like ``ask``, but the standard error may be a file."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(f"There is no answer to: {question.strip()}", code="no_answer")
    with interruptible(call.session):
        try:
            return getpass.getpass(question).strip()
        except EOFError:
            raise InputError(f"There is no answer to: {question.strip()}", code="no_answer") from None


def _typed(call: Call, question: str) -> str:
    with interruptible(call.session):  # before the question: whoever reads it may answer with Ctrl-C
        call.output.raw_notes(question)
        return sys.stdin.readline()
