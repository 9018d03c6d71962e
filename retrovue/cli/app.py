"""The command tree, loaded as far as a command line needs it."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import asyncclick as click
from asyncclick.exceptions import Abort, Exit, NoArgsIsHelpError, NoSuchCommand, UsageError

from retrovue.cli.errors import OK, InputError, exit_status, explain, require_utf8
from retrovue.cli.logs import FORMATS, LEVELS, logging_to_stderr
from retrovue.cli.session import Interruption, Session
from retrovue.cli.text import printable
from retrovue.core.text import is_storable

COMPLETION = "_RETROVUE_COMPLETE"
"""The variable by which a shell asks what could come next."""

_GROUPS = {
    "quickstart": ("retrovue.cli.commands.quickstart", "Set up a Plex or Jellyfin server and ingest it, step by step."),
    "source": ("retrovue.cli.commands.source", "Media servers: add, look at, discover, ingest."),
    "collection": ("retrovue.cli.commands.collection", "Libraries of a source: map paths, enable, ingest."),
    "enricher": ("retrovue.cli.commands.enricher", "What is found out about assets besides what their source says."),
    "asset": ("retrovue.cli.commands.asset", "What has been ingested: look at it, approve, retire."),
    "ingest": ("retrovue.cli.commands.ingest", "What happened in each ingest."),
    "doctor": ("retrovue.cli.commands.doctor", "Look at all that an ingest relies on, and say what to do."),
    "db": ("retrovue.cli.commands.db", "The catalogue's database."),
    "completion": ("retrovue.cli.commands.completion", "Print the script for completion in bash, zsh or fish."),
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

    async def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; an unknown one is told with those that look like it."""
        try:
            found: tuple[str | None, click.Command | None, list[str]] = await super().resolve_command(ctx, args)
        except NoSuchCommand as exc:
            raise NoSuchCommand(exc.command_name, possibilities=self._lazy, ctx=ctx) from None
        return found

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
@click.option("--log-level", type=click.Choice(LEVELS), help="Log to the standard error; default: no log.")
@click.option("--log-format", type=click.Choice(FORMATS), help="How to log: text (default) or JSON lines.")
@click.version_option(package_name="retrovue", prog_name="retrovue", message="%(prog)s %(version)s")
@click.pass_context
def command(context: click.Context, database_url: str | None, log_level: str | None, log_format: str | None) -> None:
    """Ingest large Plex libraries into a PostgreSQL catalogue."""
    context.obj.database_url = database_url
    context.with_resource(logging_to_stderr(log_level, log_format))


async def run_command(arguments: Sequence[str], session: Session) -> int:
    """Parse the arguments and run the command; every error has been printed when this returns its exit status."""
    try:
        if instruction := os.environ.get(COMPLETION):
            from retrovue.cli.commands.completion import complete

            return await complete(session, instruction)
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
        if not is_storable(argument):
            require_utf8()
            raise InputError(f"Argument {number} isn't valid UTF-8: {printable(argument)}")


def _failed(error: Exception, session: Session) -> int:
    if isinstance(error, NoArgsIsHelpError) and not session.output.as_json:
        session.output.raw_notes(f"{error.message}\n\n")
    elif isinstance(error, UsageError) and error.ctx is not None and not session.output.as_json:
        session.output.notes(error.ctx.get_usage().splitlines())
    session.fail(explain(error))
    session.show_traceback(error)
    return exit_status(error)
