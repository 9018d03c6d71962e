"""Reading secrets: from a file, the standard input, the environment or a terminal, and if it must be from an option."""

import os
import sys
from pathlib import Path

from retrovue.cli.actions.asking import ask_secret, interruptible
from retrovue.cli.errors import InputError
from retrovue.cli.session import Call
from retrovue.core.model import ConfigField, Secret

_LONGEST = 65_536
"""Characters; a longer file is no secret but a mistake."""


def read_secret(call: Call, field: ConfigField, given: str | None, file: str | None) -> Secret | None:
    """Read a secret setting from where it was put; None if an optional one is nowhere.

    Raises InputError if a required one is nowhere, or if it can't be read. Blocks while it reads.
    """
    option = f"--{field.name.replace('_', '-')}"
    variable = f"RETROVUE_{field.name.upper()}"
    if given is not None:
        call.output.warn(f"{option} shows in the list of processes; {option}-file or {variable} doesn't.")
        if file is not None:
            raise InputError(f"{option} and {option}-file can't be given together.")
        return checked_secret(given, option)
    if file is not None:
        with interruptible(call.session):
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


def _contents(file: str, option: str) -> str:
    try:
        if file == "-":
            return "" if sys.stdin is None else sys.stdin.read(_LONGEST)
        with Path(file).open(encoding="utf-8") as stream:
            return stream.read(_LONGEST)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it isn't UTF-8 text"
        raise InputError(f"The file of {option}-file can't be read: {file}: {reason}.") from exc


def checked_secret(text: str, where: str) -> Secret:
    """Make a secret of what was found somewhere; raises InputError if it can't be one."""
    stripped = text.strip()
    if not stripped:
        raise InputError(f"There is nothing in {where}.", code="empty_secret")
    if not stripped.isprintable() or " " in stripped:
        raise InputError(f"What is in {where} is not one word; a secret is.", code="bad_secret")
    return Secret(stripped)
