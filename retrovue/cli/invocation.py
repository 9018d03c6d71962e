"""One run of the program: its output, the options of all commands, and its report when it is interrupted."""

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from retrovue.cli.errors import BY_SIGNAL, OK
from retrovue.cli.output import Output
from retrovue.core.errors import Problem

if TYPE_CHECKING:
    from retrovue.core.config import Settings
    from retrovue.store.session import Store

ErrorDocument = Callable[[Sequence[Problem]], Mapping[str, Any]]


def plain_error(problems: Sequence[Problem]) -> dict[str, Any]:
    """Build the JSON document of a command that failed."""
    return {"status": "error", "errors": [problem.document() for problem in problems]}


class Interruption(Exception):
    """A signal ended a blocking read from a terminal or a pipe."""


class Invocation(Struct):
    """One run of the program."""

    output: Output
    database_url: str | None = None
    """The database that ``--database-url`` names, before the command or after it; None means that of the environment.
    """
    test_db: bool = False
    dry_run: bool = False
    error_document: ErrorDocument = plain_error
    """Builds the JSON document in which the command reports its errors."""
    report_interruption: Callable[[], None] | None = None
    """Reports what the command has done so far, if it is interrupted and can't report it itself."""
    stopped_by: signal.Signals | None = None
    """The signal that interrupted the command."""
    status: int | None = None
    """The exit status, once the command has printed its whole answer."""

    def __repr__(self) -> str:
        """Show no address of a database: it may hold a password."""
        return f"Invocation(status={self.status!r}, stopped_by={self.stopped_by!r})"

    @property
    def settings(self) -> "Settings":
        """The settings that name the database."""
        from retrovue.core.config import Settings  # imported here because help doesn't need it

        return Settings.from_environment(database_url=self.database_url)

    def answer(self, document: Mapping[str, Any], lines: Iterable[str]) -> int:
        """Print the answer of a command that succeeded, as a JSON document or as lines. Return its exit status."""
        if self.output.as_json:
            self.output.document({"status": "ok", **document})
        else:
            self.output.lines(lines)
        return OK

    def answered(self, status: int) -> int:
        """Note that the whole answer has been printed, so that an interruption doesn't change the exit status."""
        self.status = status
        return status

    def fail(self, problem: Problem) -> None:
        """Print an error. With JSON it is the answer, unless an answer has been printed already."""
        if self.output.as_json:
            self.output.document(self.error_document([problem]))
        self.output.complain(problem)

    def show_traceback(self, error: BaseException) -> None:
        """Print the traceback of an error, if the environment asks for it."""
        from retrovue.core.config import DEBUG  # imported here because help doesn't need it
        from retrovue.core.text import redacted_traceback

        if os.environ.get(DEBUG):
            self.output.notes(redacted_traceback(error).splitlines())

    def interrupted(self) -> Problem:
        """Return the problem that describes the interruption."""
        name = "a signal" if self.stopped_by is None else self.stopped_by.name
        return Problem("interrupted", f"Interrupted by {name}.")

    @property
    def signal_status(self) -> int:
        """The exit status of an interrupted command."""
        return BY_SIGNAL + (self.stopped_by or signal.SIGINT)


def opened(
    call: Invocation, *, connections: int = 2, read_only: bool = False, check: bool = True, reading: bool = False
) -> "AbstractAsyncContextManager[Store]":
    """Open the catalogue for a command; for a dry-run, in a mode that refuses every write.

    A command that at first only reads, as ``reading`` says, starts faster. Warns if RETROVUE_HOME is a place without a
    catalogue, where a new, empty one begins: it may be a mistake.
    """
    from retrovue.store.opening import begins_catalogue, open_for_reading, open_store  # slow, and not needed for help

    settings = call.settings
    if settings.home is not None and begins_catalogue(settings, test_db=call.test_db):
        call.output.warn(f"RETROVUE_HOME ({settings.home}) holds no catalogue: a new, empty one begins there.")
    return (open_for_reading if reading else open_store)(
        settings,
        test_db=call.test_db,
        connections=connections,
        read_only=read_only or call.dry_run,
        check=check,
    )
