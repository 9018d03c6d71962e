"""One run of the program: what the commands share, and what is still said when it is interrupted."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from retrovue.cli.errors import BY_SIGNAL
from retrovue.cli.output import Output
from retrovue.core.errors import Problem

if TYPE_CHECKING:
    from retrovue.core.config import Settings

ErrorDocument = Callable[[Sequence[Problem]], Mapping[str, Any]]


def plain_error(problems: Sequence[Problem]) -> dict[str, Any]:
    """Build the JSON document of a command that failed."""
    return {"status": "error", "errors": [problem.document() for problem in problems]}


class Interruption(Exception):
    """A signal ended a blocking read of a terminal or a pipe."""


@dataclass(slots=True)
class Session:
    """One run of the program."""

    output: Output
    database_url: str | None = field(default=None, repr=False)
    """As given before the subcommand."""
    error_document: ErrorDocument = plain_error
    """How the command that runs shows errors in JSON."""
    last_words: Callable[[], None] | None = None
    """Tells what is known so far, if the command is interrupted and does not get to tell it itself."""
    stopped_by: signal.Signals | None = None
    """What interrupted the command."""
    status: int | None = None
    """The exit status, once the command has given its whole answer."""

    def answered(self, status: int) -> int:
        """Note that the whole answer has been printed: from here on an interruption changes nothing."""
        self.status = status
        return status

    def fail(self, problem: Problem) -> None:
        """Print an error; in JSON it is the answer, unless that has been given already."""
        if self.output.as_json:
            self.output.document(self.error_document([problem]))
        self.output.complain(problem)

    def show_traceback(self, error: BaseException) -> None:
        """Print where an error came from, if the environment asks for it."""
        from retrovue.core.config import DEBUG  # not needed for help
        from retrovue.core.text import redacted_traceback

        if os.environ.get(DEBUG):
            self.output.notes(redacted_traceback(error).splitlines())

    def interrupted(self) -> Problem:
        """Describe the interruption."""
        name = "a signal" if self.stopped_by is None else self.stopped_by.name
        return Problem("interrupted", f"Interrupted by {name}.")

    @property
    def signal_status(self) -> int:
        """The exit status of an interrupted command."""
        return BY_SIGNAL + (self.stopped_by or signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a command, with the options that all commands take."""

    session: Session
    test_db: bool = False
    dry_run: bool = False
    database_url: str | None = field(default=None, repr=False)

    @property
    def output(self) -> Output:
        """Where the command prints."""
        return self.session.output

    @property
    def settings(self) -> "Settings":
        """Which database to use."""
        from retrovue.core.config import Settings  # not needed for help

        return Settings.from_environment(database_url=self.database_url or self.session.database_url)
