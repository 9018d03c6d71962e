"""Destroying what can't be brought back: what is shown of it, the question before, and the report after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrovue.cli.actions.asking import confirm
from retrovue.cli.session import Call


@dataclass(frozen=True, slots=True)
class Doomed:
    """What a command destroys."""

    lines: Sequence[str]
    """As people read it."""
    numbers: Mapping[str, int]
    """What of each kind, and how many."""


def agree(call: Call, doomed: Doomed, *, yes: bool) -> bool:
    """Show what would be destroyed and ask; raises InputError unless the answer is yes."""
    confirm(call, doomed.lines, yes=yes, context=doomed.numbers)
    return True


def report(call: Call, doomed: Doomed, of: Mapping[str, Any], *, done: str = "destroyed") -> int:
    """Tell what was destroyed, or for a dry-run would be; ``of`` says in JSON what it was or hung on."""
    if call.output.as_json:
        call.output.document({"status": "ok", "dry_run": call.dry_run, **of, "destroyed": dict(doomed.numbers)})
        return 0
    said = f"Dry run: nothing was written. It would be {done}:" if call.dry_run else f"{done.capitalize()}:"
    call.output.lines([said, *doomed.lines])
    return 0
