"""Options and types of arguments that several commands share."""

import datetime as dt
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Concatenate

import asyncclick as click

from retrovue.cli.errors import require_utf8
from retrovue.cli.invocation import Invocation
from retrovue.core.bounds import LARGEST, LONGEST_TITLE, LONGEST_WAIT_S, OLDEST_DETAILS_DAYS, SLOWEST_RATE, SMALLEST

Action = Callable[..., Awaitable[int]]

FILE = click.Path(allow_dash=True)
"""A file, or - for standard input. It isn't checked here: the code that reads it reports errors."""
DIRECTORY = click.Path(file_okay=False)


class _LastingFile(click.ParamType[str]):
    """The path of a file, made absolute: commands that need it later may run in any directory."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("the path is empty.", param, ctx)
        try:
            return str(Path(value).expanduser().absolute())
        except RuntimeError as exc:
            self.fail(f"{exc}", param, ctx)


LASTING_FILE = _LastingFile()


def _outside(number: float, least: float | None, most: float | None) -> str:
    if least is not None and number < least:
        return f"{number:,} is too small: the least is {least:,}."
    return f"{number:,} is too large: the most is {most:,}."


class Whole(click.IntRange):
    """A range of whole numbers. Its help omits the limits of the database's integers; its errors name them."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number; raises BadParameter unless it is in the range."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            if not re.fullmatch(r"[+-]?[0-9]+", str(value)):
                raise
            self.fail(_outside(int(value), self.min, self.max), param, ctx)

    def _describe_range(self) -> str:
        if self.max != LARGEST:
            return super()._describe_range()
        return f"x>={self.min}" if self.min == 1 else ""


NATURAL = Whole(0, LARGEST)
POSITIVE = Whole(1, LARGEST)
INTEGER = Whole(SMALLEST, LARGEST)


class _Numbers(click.FloatRange):
    """A range of numbers. NaN is refused."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            self.fail(f"'{value}' is not a number.", param, ctx)
        if number < (self.min or -math.inf) or number > (self.max or math.inf):
            self.fail(_outside(number, self.min, self.max), param, ctx)
        return number

    def _describe_range(self) -> str:
        return super()._describe_range().removesuffix(".0")


RATE = _Numbers(min=SLOWEST_RATE)


class _Title(click.ParamType[str]):
    """A title that isn't longer than a source accepts in a request."""

    name = "title"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if len(value) > LONGEST_TITLE:
            self.fail(
                f"The title has {len(value):,} characters; at most {LONGEST_TITLE:,} can be asked for.", param, ctx
            )
        return value


TITLE = _Title()


class _Time(click.ParamType[dt.datetime]):
    """A date, or a date and a time, in ISO 8601; without a zone it is local time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            time = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
            return time if time.tzinfo is not None else time.astimezone()
        except (ValueError, OverflowError, OSError):
            self.fail(f"'{value}' isn't a date such as 2026-03-01 or 2026-03-01T18:30+01:00.", param, ctx)


TIME = _Time()


class _Span(click.ParamType[dt.timedelta]):
    """A duration: a number and its unit."""

    name = "span"
    units: ClassVar[Mapping[str, str]] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, dt.timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,6})\s*([smhdw])", str(value).strip().lower())
        if found is None and value != "0":
            self.fail(f"'{value}' isn't a duration such as 30d, 12h or 90m.", param, ctx)
        return dt.timedelta() if found is None else dt.timedelta(**{self.units[found[2]]: int(found[1])})


SPAN = _Span()


def examples(*commands: str) -> str:
    """Format examples for the end of a command's help, one on each line."""
    return "\n".join(["\b", "For example:", *(f"  retrovue {command}" for command in commands)])


def _as_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    output = context.ensure_object(Invocation).output
    output.as_json, output.as_events = value, False


def _as_events(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    output = context.ensure_object(Invocation).output
    output.as_events = value
    output.as_json |= value


def _quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.ensure_object(Invocation).output.quiet = value


_JSON = click.option(
    "--json",
    is_flag=True,
    is_eager=True,  # Corrects the output that was chosen before parsing; --jsonl then adds to it.
    expose_value=False,
    callback=_as_json,
    help="Print one JSON document.",
)
_TEST_DB = click.option("--test-db", is_flag=True, help="Use the test database.")
_DATABASE_URL = click.option(
    "--database-url", metavar="URL", help="Use this PostgreSQL database; default: $RETROVUE_DATABASE_URL."
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")

patience = click.option(
    "--patience",
    type=_Numbers(min=0, min_open=True, max=LONGEST_WAIT_S),
    metavar="SECONDS",
    help="Seconds to wait for each answer of the importer; default: 900.",
)
_JSONL = click.option(
    "--jsonl",
    is_flag=True,
    expose_value=False,
    callback=_as_events,
    help="Print each event as a line of JSON; the last line is the document of --json.",
)
_QUIET = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_quiet,
    help="Print only errors, and enabled collections that were skipped.",
)
keep_details = click.option(
    "--keep-details",
    type=Whole(0, OLDEST_DETAILS_DAYS),
    metavar="DAYS",
    envvar="RETROVUE_KEEP_DETAILS",  # A copy of the name in retrovue.core.config, which is slow to import.
    help="Days for which the audit trail keeps rejected items, durations and tracebacks; default: 180.",
)
keep_changes = click.option(
    "--keep-changes",
    type=Whole(0, OLDEST_DETAILS_DAYS),
    metavar="DAYS",
    envvar="RETROVUE_KEEP_CHANGES",
    help="Days for which the feed of changes keeps a change; default: for good.",
)
confirmed = click.option("--yes", is_flag=True, help="Do it without asking.")


class _MostRemovals(click.ParamType[Any]):
    """A number of assets, or a percentage of those that are present."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from retrovue.core.errors import RequestError  # slow, and not needed for help
        from retrovue.core.runs import MaxRemovals

        try:
            return value if isinstance(value, MaxRemovals) else MaxRemovals.parse(value)
        except RequestError as exc:
            self.fail(exc.message, param, ctx)


def removals(action: Action) -> Action:
    """Give a command that syncs the options about assets that the source doesn't list any more."""
    limit = click.option(
        "--max-removals",
        type=_MostRemovals(),
        metavar="N|P%",
        help="Most assets of a collection to mark as missing; default: 20 or 15%, whichever is more.",
    )
    token = click.option(
        "--confirm-removals",
        multiple=True,
        metavar="TOKEN",
        help="Confirm removals that an earlier sync held back, by the token that it printed.",
    )
    return limit(token(action))


SWEEP_EVERY = "Interval after which a sync reads all of a collection in any case"
FULL_EVERY = "Interval after which it compares each item in any case"


def intervals(action: Action) -> Action:
    """Give a command that syncs the options about how much it reads."""
    for option in (
        click.option("--full-every", type=SPAN, metavar="SPAN", help=f"{FULL_EVERY}; default: the source's, 7d."),
        click.option("--sweep-every", type=SPAN, metavar="SPAN", help=f"{SWEEP_EVERY}; default: the source's, 24h."),
        click.option("--full", is_flag=True, help="Read everything now, and compare each item."),
    ):
        action = option(action)
    return action


def shared(*, writes: bool = False) -> Callable[[Callable[Concatenate[Invocation, ...], Awaitable[int]]], Action]:
    """Give a command the options that all commands have, and pass it the invocation."""

    def decorate(action: Callable[Concatenate[Invocation, ...], Awaitable[int]]) -> Action:
        @click.pass_obj
        @wraps(action)
        async def command(
            call: Invocation,
            /,
            *arguments: Any,
            test_db: bool,
            database_url: str | None,
            dry_run: bool = False,
            **options: Any,
        ) -> int:
            require_utf8()
            call.test_db, call.dry_run = test_db, dry_run
            call.database_url = call.database_url if database_url is None else database_url
            return call.answered(await action(call, *arguments, **options))

        for option in (_JSON, _TEST_DB, _DATABASE_URL, *((_DRY_RUN,) if writes else ())):
            command = option(command)
        return command

    return decorate


def followed(action: Action) -> Action:
    """Give a command that ingests the options --jsonl and --quiet."""
    return _JSONL(_QUIET(action))
