"""The commands on the audit trail."""

import shlex
from uuid import UUID

import asyncclick as click
from asyncclick.exceptions import NoSuchCommand

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import NATURAL, shared


class AuditTrail(click.Group):
    """The group ``ingest``, which doesn't ingest: whoever expects that is told which command does."""

    async def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; the error about an unknown one names the commands that ingest."""
        try:
            found: tuple[str | None, click.Command | None, list[str]] = await super().resolve_command(ctx, args)
        except NoSuchCommand as exc:
            if exc.possibilities:
                raise
            name = shlex.quote(exc.command_name)
            hint = f"To ingest, run `retrovue source ingest {name}` or `retrovue collection ingest {name}`."
            raise NoSuchCommand(exc.command_name, f"{exc.message} {hint}", ctx=ctx) from None
        return found


@click.group("ingest", cls=AuditTrail)
def command() -> None:
    """The audit trail: what each ingest did."""


@command.command("log")
@click.option("--source", metavar="SOURCE", help="Only ingests of this source: its id or name.")
@click.option("--collection", metavar="COLLECTION", help="Only ingests of this collection: its id, key or name.")
@click.option("--run", type=click.UUID, metavar="ID", help="Only this run.")
@click.option("--limit", type=NATURAL, default=50, show_default=True, help="Most entries to list.")
@shared()
async def log(call: Invocation, *, source: str | None, collection: str | None, run: UUID | None, limit: int) -> int:
    """List the ingested collections, the latest run first."""
    from retrovue.cli.actions.audit_trail import show_log

    return await show_log(call, source, collection, run, limit)


@command.command("show")
@click.argument("run_id", type=click.UUID)
@click.option("--collection", metavar="COLLECTION", help="Only this collection: its id, key or name.")
@click.option("--traceback", is_flag=True, help="Show the tracebacks of failures, too.")
@shared()
async def show(call: Invocation, *, run_id: UUID, collection: str | None, traceback: bool) -> int:
    """Show a run with all its outcomes and rejected items."""
    from retrovue.cli.actions.audit_trail import show_run

    return await show_run(call, run_id, collection, traceback=traceback)
