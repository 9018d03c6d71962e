"""The command tree, loaded as far as a command line needs it."""

import os
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import asyncclick as click
from asyncclick.exceptions import Abort, Exit, NoArgsIsHelpError, UsageError

from retrovue.cli.errors import OK, InputError, exit_status, explain
from retrovue.cli.session import Interruption, Session
from retrovue.cli.text import printable

_GROUPS = {
    "source": ("retrovue.cli.commands.source", "Media servers: add, look at, discover, ingest."),
    "collection": ("retrovue.cli.commands.collection", "Libraries of a source: map paths, enable, ingest."),
    "enricher": ("retrovue.cli.commands.enricher", "What is found out about assets besides what their source says."),
    "asset": ("retrovue.cli.commands.asset", "What has been ingested: look at it, approve, retire."),
    "ingest": ("retrovue.cli.commands.ingest", "What happened in each ingest."),
    "doctor": ("retrovue.cli.commands.doctor", "Look at all that an ingest relies on, and say what to do."),
    "db": ("retrovue.cli.commands.db", "The catalogue's database."),
    "demo": ("retrovue.cli.commands.demo", "Ingest a simulated Plex server, to see how it all works."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order in which they are needed."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in self._lazy:
            return None
        command: click.Command = import_module(self._lazy[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])


@click.group(
    cls=LazyGroup,
    lazy=_GROUPS,
    epilog="Exit status: 0 ok, 1 failed, 2 partial success, 3 source unreachable, 130 or 143 interrupted.",
)
@click.option("--database-url", metavar="URL", help="PostgreSQL database to use; default: $RETROVUE_DATABASE_URL.")
@click.version_option(package_name="retrovue", prog_name="retrovue", message="%(prog)s %(version)s")
@click.pass_obj
def command(session: Session, database_url: str | None) -> None:
    """Ingest large Plex libraries into a PostgreSQL catalogue."""
    session.database_url = database_url


async def run_command(arguments: Sequence[str], session: Session) -> int:
    """Parse the arguments and run the command; every error has been printed when this returns its exit status."""
    try:
        _require_text(arguments)
        context = await command.make_context("retrovue", list(arguments), obj=session)
        async with context:
            status: int = await command.invoke(context)
        return status
    except Exit as done:
        return done.exit_code
    except (Interruption, Abort):
        session.fail(session.interrupted())
        return session.signal_status
    except BrokenPipeError:
        return OK  # whoever read the help has seen enough
    except Exception as exc:  # noqa: BLE001 - the last resort: a bug is told as one
        return _failed(exc, session)


def _require_text(arguments: Sequence[str]) -> None:
    for number, argument in enumerate(arguments, 1):
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(f"Argument {number} isn't valid UTF-8: {printable(argument)}")


def _failed(error: Exception, session: Session) -> int:
    from retrovue.config import DEBUG  # not needed for help

    if isinstance(error, NoArgsIsHelpError) and not session.output.as_json:
        session.output.raw_notes(f"{error.message}\n\n")
    elif isinstance(error, UsageError) and error.ctx is not None and not session.output.as_json:
        session.output.notes(error.ctx.get_usage().splitlines())
    session.fail(explain(error))
    if os.environ.get(DEBUG):
        session.output.notes("".join(traceback.format_exception(error)).splitlines())
    return exit_status(error)
