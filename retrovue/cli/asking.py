"""Ask a person at a terminal: questions, secrets, and the confirmation before something is destroyed."""

import getpass
import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from msgspec import Struct

from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Interruption, Invocation
from retrovue.cli.process import SIGNALS
from retrovue.core.model import ConfigField, Secret
from retrovue.operations.secrets import secret_reference

_LONGEST_SECRET = 65_536
"""In characters. A longer file was probably given by mistake."""


@contextmanager
def interruptible(call: Invocation) -> Iterator[None]:
    """Let a signal end a blocking read, during which the event loop can't handle the signal."""

    def stop(number: int, _frame: FrameType | None) -> None:
        call.stopped_by = signal.Signals(number)
        raise Interruption

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def can_ask(call: Invocation) -> bool:
    """Return whether a person at a terminal can see questions and answer them."""
    return sys.stdin is not None and sys.stdin.isatty() and call.output.watched


def ask(call: Invocation, question: str) -> str:
    """Ask a question and return the answer without surrounding blanks. Blocks.

    Raises InputError if nobody can be asked, or if the input ends.
    """
    answer = _read_line(call, question) if can_ask(call) else ""
    if not answer:
        raise _no_answer(question)
    return answer.strip()


def ask_secret(call: Invocation, question: str) -> str:
    """Ask for a secret, without showing what is typed, until the answer is UTF-8 text. Blocks.

    Only standard input has to be a terminal. Raises InputError if it isn't, or if the input ends.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise _no_answer(question)
    while True:
        with _line_ended(call), interruptible(call):
            try:
                return getpass.getpass(question).strip()
            except UnicodeDecodeError:
                call.output.notes(["", "What was typed isn't UTF-8 text."])
            except EOFError:
                raise _no_answer(question) from None


def _read_line(call: Invocation, question: str) -> str:
    """Return the line that answers a question, and an empty text at the end of the input."""
    try:
        with _line_ended(call):
            return _read_answer(call, question)
    except EOFError:
        return ""
    except UnicodeDecodeError:
        return "\ufffd\n"  # not a valid answer to any question


def _read_answer(call: Invocation, question: str) -> str:
    with interruptible(call):  # before the question is printed, so that Ctrl-C works from then on
        if sys.stdout is not None and sys.stdout.isatty():
            # With readline the arrow keys edit the input. It writes to standard output only.
            with suppress(ImportError):
                import readline  # noqa: F401 - `input` uses it once it is imported
            return f"{input(question)}\n"
        with _signals_readable() as arrived:
            call.output.raw_notes(question)
            # A signal that arrives just before `read` begins would only be handled at the next key.
            select.select([sys.stdin, arrived], [], [])
            if not (line := sys.stdin.readline()):
                raise EOFError
            return line


@contextmanager
def _line_ended(call: Invocation) -> Iterator[None]:
    """End the line of a question that Ctrl-C or Ctrl-D left without an answer, as a message follows."""
    try:
        yield
    except (Interruption, EOFError, InputError):
        call.output.raw_notes("\n")
        raise


@contextmanager
def _signals_readable() -> Iterator[int]:
    """Yield a descriptor that becomes readable when a signal arrives."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _no_answer(question: str) -> InputError:
    return InputError(f"There is no answer to: {question.strip()}", code="no_answer")


class Destruction(Struct, frozen=True):
    """What a command destroys for good."""

    lines: Sequence[str]
    """A description for people."""
    counts: Mapping[str, int]
    """The number of rows of each kind."""

    def confirm(self, call: Invocation, *, yes: bool) -> None:
        """Ask for confirmation, unless ``yes``. Blocks; raises InputError unless the answer is yes."""
        confirm(
            call,
            self.lines,
            yes=yes,
            context=self.counts,
        )

    def report(self, call: Invocation, identity: Mapping[str, Any]) -> int:
        """Print what was destroyed, or would be for a dry-run; ``identity`` is added to the JSON document."""
        head = "Dry run: nothing was written. This would be destroyed:" if call.dry_run else "Destroyed:"
        document = {"dry_run": call.dry_run, **identity, "destroyed": dict(self.counts)}
        return call.answer(document, [head, *self.lines])


def confirm(
    call: Invocation,
    lines: Sequence[str],
    question: str = "Destroy it?",
    what: str = "This destroys what can't be brought back",
    *,
    yes: bool,
    context: Mapping[str, Any],
) -> None:
    """Show what would be done and ask for confirmation, unless ``yes``. Blocks.

    ``what`` begins the message, and ``context`` is added to the error: InputError if the answer isn't yes, or if nobody
    can be asked.
    """
    if yes:
        return
    call.output.notes(lines)
    if not can_ask(call):
        raise InputError(
            f"{what}, and there is no terminal to ask on.",
            code="confirmation_needed",
            hint="Nothing was changed. Give --yes to do it without being asked, --dry-run to only look.",
            context=context,
        )
    if _read_line(call, f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("Not confirmed; nothing was changed.", code="not_confirmed", context=context)


def secret_variable(field: ConfigField) -> str:
    """Return the name of the environment variable that may hold a secret."""
    return f"RETROVUE_{field.name.upper()}"


def read_secret(
    call: Invocation, field: ConfigField, value: str | None, file: str | None, *, keep_reference: bool = False
) -> Secret | None:
    """Read a secret setting from its option, its file, the environment or the terminal, whichever exists first.

    The option may be a reference, such as ``env:NAME``. With ``keep_reference`` a secret from a file or the environment
    is stored as a reference. Returns None if an optional secret isn't given. Raises InputError if a required one isn't
    given, or if the value can't be read or isn't a valid secret. Blocks while it reads.
    """
    option = f"--{field.name.replace('_', '-')}"
    variable = secret_variable(field)
    if (reference := _reference(field, value, file, keep=keep_reference)) is not None:
        return reference
    if value is not None:
        call.output.warn(f"{option} shows in the list of processes; {option}-file or {variable} doesn't.")
        if file is not None:
            raise InputError(f"{option} and {option}-file can't be given together.")
        return checked_secret(value, option)
    if file is not None:
        with interruptible(call):
            return checked_secret(_contents(file, option), f"{option}-file")
    if value := os.environ.get(variable):
        return checked_secret(value, variable)
    if not field.required:
        return None
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(
            f"The {field.name} is missing.",
            code=f"missing_{field.name}",
            hint=f"Give it by {option}-file FILE (- is the standard input), or by {variable} in the environment.",
        )
    return checked_secret(ask_secret(call, f"{field.description}: "), "what was typed")


def _reference(field: ConfigField, value: str | None, file: str | None, *, keep: bool) -> Secret | None:
    """Make a secret that is read in each run, and read it once now; None if the secret is to be stored."""
    option, variable = f"--{field.name.replace('_', '-')}", secret_variable(field)
    reference = None if value is None else secret_reference(value)
    if reference is not None and file is not None:
        raise InputError(f"{option} and {option}-file can't be given together.")
    if reference is None and keep and value is None:
        if file == "-" or (file is None and variable not in os.environ):
            raise InputError(f"--keep-reference needs {option}-file with a file, or {variable} in the environment.")
        reference = secret_reference(f"env:{variable}" if file is None else f"file:{Path(file).absolute()}")
    elif reference is None and keep:
        raise InputError(f"--keep-reference needs {option}-file, or a reference such as env:NAME for {option}.")
    if reference is not None:
        reference.resolved()
    return reference


def _contents(file: str, option: str) -> str:
    try:
        if file == "-":
            return "" if sys.stdin is None else sys.stdin.read(_LONGEST_SECRET)
        with Path(file).open(encoding="utf-8") as stream:
            return stream.read(_LONGEST_SECRET)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it isn't UTF-8 text"
        raise InputError(f"The file of {option}-file can't be read: {file}: {reason}.") from exc


def checked_secret(text: str, where: str) -> Secret:
    """Make a secret of a text without surrounding blanks; raises InputError unless it is one printable word."""
    stripped = text.strip()
    if not stripped:
        raise InputError(f"There is nothing in {where}.", code="empty_secret")
    if not stripped.isprintable() or " " in stripped:
        raise InputError(f"The secret in {where} isn't one word.", code="bad_secret")
    return Secret(stripped)
