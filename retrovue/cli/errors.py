"""Errors of the command line, and the table of exit statuses."""

import sys
from collections.abc import Iterator

from asyncclick.core import ParameterSource
from asyncclick.exceptions import ClickException, NoArgsIsHelpError, UsageError

from retrovue.core.errors import Problem, RequestError, RetrovueError, ScopeNotFound

OK = 0
"""The command did everything, or there was nothing to do."""
FAILED = 1
"""The command failed, or its arguments are invalid."""
PARTIAL = 2
"""Some of several collections failed or were interrupted. What the others wrote stays."""
SCOPE_NOT_FOUND = 2
"""``collection ingest``: the collection has no such title, season or episode."""
UNREACHABLE = 3
"""The source can't be reached, and there was no other failure."""
BY_SIGNAL = 128
"""Added to the number of the signal that interrupted the command: 130 for SIGINT, 143 for SIGTERM."""

STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (ScopeNotFound, SCOPE_NOT_FOUND),
    (RetrovueError, FAILED),
    (ClickException, FAILED),  # click's own 2 for usage errors would mean partial success here.
    (Exception, FAILED),
)
"""The first class that an error is an instance of applies. An ``unreachable`` error isn't looked up here."""


class NarrowingForbidden(RequestError):
    """Only a collection can be ingested in part; a source is ingested as a whole."""

    default_code = "narrowing_forbidden"


class InputError(RequestError):
    """An argument, a file that it names, or an answer can't be used."""

    default_code = "usage"


def require_utf8() -> None:
    """Raise InputError if the locale isn't UTF-8, because titles and file names would be misread."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise InputError(
            f"Arguments and file names are read as {encoding} here, not as UTF-8.",
            code="not_utf8",
            hint="Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale such as C.UTF-8.",
        )


def leaf(error: BaseException) -> BaseException:
    """Return an error that isn't a group: the first RetrovueError of a group, else its first error."""
    while isinstance(error, BaseExceptionGroup):
        known = error.subgroup(RetrovueError)
        error = (known or error).exceptions[0]
    return error


def exit_status(error: BaseException) -> int:
    """Return the exit status of an error."""
    error = leaf(error)
    if isinstance(error, RetrovueError) and error.unreachable:
        return UNREACHABLE
    return next((status for kind, status in STATUSES if isinstance(error, kind)), FAILED)


def explain(error: BaseException) -> Problem:
    """Return the problem that is printed for an error."""
    error = leaf(error)
    if isinstance(error, RetrovueError):
        return Problem(error.code, error.message, error.hint, error.context)
    if isinstance(error, UsageError):
        return _usage(error)
    if isinstance(error, ClickException):
        return Problem("usage", error.format_message(), "See `retrovue --help`.")
    return Problem(
        "internal",
        f"RetroVue has a bug: {type(error).__name__}",
        "Run the command again with RETROVUE_DEBUG=1 to see where, and report it.",
    )


def _usage(error: UsageError) -> Problem:
    path = error.ctx.command_path if error.ctx is not None else "retrovue"
    # Without the line breaks and tabs of lists of choices.
    message = "Missing command." if isinstance(error, NoArgsIsHelpError) else " ".join(error.format_message().split())
    return Problem("usage", message, " ".join([*_switches(error), f"Try `{path} --help`."]))


def _switches(error: UsageError) -> Iterator[str]:
    """Say how the switches of a command with an argument too many are written, as in ``--gzip no``."""
    if error.ctx is None or not error.message.startswith("Got unexpected extra argument"):
        return
    for option in error.ctx.command.params:
        given = error.ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.opts and option.secondary_opts:
            yield f"{option.opts[0]} takes no value; its opposite is {option.secondary_opts[0]}."
