"""The tree of commands. Each command is imported when it is called."""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import asyncclick as click
from asyncclick.exceptions import Abort, Exit, NoArgsIsHelpError, NoSuchCommand, UsageError

from retrovue.cli.commands.standalone import COMPLETION, complete
from retrovue.cli.errors import FAILED, OK, InputError, exit_status, explain, require_utf8
from retrovue.cli.invocation import Interruption, Invocation
from retrovue.cli.logs import FORMATS, LEVELS, logging_to_stderr
from retrovue.cli.text import printable
from retrovue.core.text import is_storable

_COMMANDS = {
    "quickstart": ("standalone", "quickstart", "Set up a Plex or Jellyfin server and ingest it, step by step."),
    "source": ("source", "command", "Media servers and directories: add, list, discover, ingest."),
    "collection": ("collection", "command", "Libraries of a source: map paths, enable, ingest."),
    "enricher": ("enricher", "command", "Enrichers, which add facts that the source doesn't have."),
    "asset": ("asset", "command", "Assets in the catalogue: list, show, approve, retire."),
    "ingest": ("audit_trail", "command", "The audit trail: list runs, show one, list rejected items."),
    "schedule": ("schedule", "command", "Runs that start automatically: add, list, change, remove."),
    "serve": ("standalone", "serve", "Work schedules, listen to sources and serve the web page, until stopped."),
    "worker": ("standalone", "worker", "Work the jobs that --enqueue leaves, until stopped."),
    "stats": ("standalone", "stats", "What the catalogue holds, in numbers."),
    "doctor": ("standalone", "doctor", "Check everything that an ingest relies on."),
    "db": ("db", "command", "The database: upgrade, back up, restore."),
    "completion": ("standalone", "completion", "Print a completion script for bash, zsh or fish."),
    "demo": ("standalone", "demo", "Try RetroVue: ingest a simulated Plex server."),
}
"""For each command its module below ``commands``, its attribute, and its text in the list of commands."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, tuple[str, str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order in which an operator needs them."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in self._lazy:
            return None
        module, attribute, _ = self._lazy[cmd_name]
        command: click.Command = getattr(import_module(f"retrovue.cli.commands.{module}"), attribute)
        return command

    async def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; the error for an unknown name suggests similar ones."""
        try:
            found: tuple[str | None, click.Command | None, list[str]] = await super().resolve_command(ctx, args)
        except NoSuchCommand as exc:
            raise NoSuchCommand(exc.command_name, possibilities=self._lazy, ctx=ctx) from None
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._lazy.items()])


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 ok, 1 failed, 2 partial success, 3 source unreachable, 130 or 143 interrupted.",
)
@click.option("--database-url", metavar="URL", help="Use this PostgreSQL database; default: $RETROVUE_DATABASE_URL.")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    help="Lowest level to log to the standard error; default: no log.",
)
@click.option("--log-format", type=click.Choice(FORMATS), help="Format of the log; default: text.")
@click.version_option(package_name="retrovue", prog_name="retrovue", message="%(prog)s %(version)s")
@click.pass_context
def command(context: click.Context, database_url: str | None, log_level: str | None, log_format: str | None) -> None:
    """Ingest media libraries into a PostgreSQL catalogue."""
    context.obj.database_url = database_url
    context.with_resource(logging_to_stderr(log_level, log_format))


async def run_command(arguments: Sequence[str], call: Invocation) -> int:
    """Parse the arguments and run the command; return the exit status. Errors are printed, never raised."""
    try:
        if instruction := os.environ.get(COMPLETION):
            return await complete(call, command, instruction)
        _require_text(arguments)
        context = await command.make_context("retrovue", list(arguments), obj=call)
        async with context:
            status: int = await command.invoke(context)
        return status
    except Exit as done:
        return done.exit_code
    except (Interruption, Abort):
        call.fail(call.interrupted())
        return call.signal_status
    except OSError as exc:
        return _refused_by_the_system(exc, call)
    except Exception as exc:  # noqa: BLE001 - a bug is reported as such
        return _failed(exc, call)


def _require_text(arguments: Sequence[str]) -> None:
    for number, argument in enumerate(arguments, 1):
        if not is_storable(argument):
            require_utf8()
            raise InputError(f"Argument {number} isn't valid UTF-8: {printable(argument)}")


def _refused_by_the_system(error: OSError, call: Invocation) -> int:
    if isinstance(error, BrokenPipeError):
        return OK  # the reader of the output has closed it
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames and frames[-1].f_code is click.echo.__code__:  # output that click prints itself, such as a command's help
        call.output.give_up(sys.stdout, error)
        return FAILED
    return _failed(error, call)


def _failed(error: Exception, call: Invocation) -> int:
    if isinstance(error, NoArgsIsHelpError) and not call.output.as_json:
        call.output.raw_notes(f"{error.message}\n\n")
    elif isinstance(error, UsageError) and error.ctx is not None and not call.output.as_json:
        call.output.notes(error.ctx.get_usage().splitlines())
    call.fail(explain(error))
    call.show_traceback(error)
    return exit_status(error)
