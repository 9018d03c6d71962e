"""Errors as the command line tells them, and the one table of exit statuses."""

import sys

from asyncclick.exceptions import ClickException, NoArgsIsHelpError, UsageError

from retrovue.core.errors import Problem, RequestError, RetrovueError, ScopeNotFound

OK = 0
"""Everything that was asked for is done; nothing to do counts as done."""
FAILED = 1
"""What was asked for can't be done, or all of it failed. Usage errors are among these."""
PARTIAL = 2
"""Of several collections some failed, or were interrupted; what the others wrote stays."""
SCOPE_NOT_FOUND = 2
"""``collection ingest``: the title, season or episode isn't there."""
UNREACHABLE = 3
"""The source can't be reached, and that is all that went wrong."""
BY_SIGNAL = 128
"""Added to the number of the signal that interrupted: 130 for SIGINT, 143 for SIGTERM."""

STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (ScopeNotFound, SCOPE_NOT_FOUND),
    (RetrovueError, FAILED),
    (ClickException, FAILED),  # click's own 2 for usage errors would mean partial success here
    (Exception, FAILED),
)
"""The first class that fits decides; an error that says ``unreachable`` goes before the table."""


class NarrowingForbidden(RequestError):
    """A source is ingested whole; parts of it are the business of collection ingest."""

    default_code = "narrowing_forbidden"


class InputError(RequestError):
    """What was given on the command line, or along with it, can't be used."""

    default_code = "usage"


def require_utf8() -> None:
    """Refuse a locale by which titles and file names would be taken for others."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise InputError(
            f"Arguments and file names are read as {encoding} here, not as UTF-8.",
            code="not_utf8",
            hint="Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale such as C.UTF-8.",
        )


def leaf(error: BaseException) -> BaseException:
    """Return the error that a group carries: the first one that can be explained, else the first."""
    while isinstance(error, BaseExceptionGroup):
        known = error.subgroup(RetrovueError)
        error = (known or error).exceptions[0]
    return error


def exit_status(error: BaseException) -> int:
    """Look up the exit status of an error."""
    error = leaf(error)
    if isinstance(error, RetrovueError) and error.unreachable:
        return UNREACHABLE
    return next((status for kind, status in STATUSES if isinstance(error, kind)), FAILED)


def explain(error: BaseException) -> Problem:
    """Turn an error into what is printed of it."""
    error = leaf(error)
    if isinstance(error, RetrovueError):
        return Problem(error.code, error.message, error.hint, error.context)
    if isinstance(error, UsageError):
        return _usage(error)
    if isinstance(error, ClickException):
        return Problem("usage", error.format_message(), "Look at `retrovue --help`.")
    return Problem(
        "internal",
        f"RetroVue has a bug: {type(error).__name__}",
        "Run the command again with RETROVUE_DEBUG=1 to see where, and report it.",
    )


def _usage(error: UsageError) -> Problem:
    path = error.ctx.command_path if error.ctx is not None else "retrovue"
    message = "Missing command." if isinstance(error, NoArgsIsHelpError) else error.format_message()
    return Problem("usage", message, f"Try `{path} --help`.")
