"""The commands on the audit trail."""

from uuid import UUID

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import NATURAL, shared


@click.group("ingest")
def command() -> None:
    """What happened in each ingest."""


@command.command("log")
@click.option("--source", metavar="SOURCE", help="Only of this source: its id or name.")
@click.option("--collection", metavar="COLLECTION", help="Only of this collection: its id, key or name.")
@click.option("--run", type=click.UUID, metavar="ID", help="Only of this run.")
@click.option("--limit", type=NATURAL, default=50, show_default=True, help="Show so many at most.")
@shared()
async def log(call: Invocation, *, source: str | None, collection: str | None, run: UUID | None, limit: int) -> int:
    """List what was ingested, the latest run first."""
    from retrovue.cli.actions.audit_trail import show_log

    return await show_log(call, source, collection, run, limit)


@command.command("show")
@click.argument("run_id", type=click.UUID)
@click.option("--collection", metavar="COLLECTION", help="Only of this collection: its id, key or name.")
@click.option("--traceback", is_flag=True, help="Show where in the program it failed.")
@shared()
async def show(call: Invocation, *, run_id: UUID, collection: str | None, traceback: bool) -> int:
    """Show all that is known of a run, with every rejected item."""
    from retrovue.cli.actions.audit_trail import show_run

    return await show_run(call, run_id, collection, traceback=traceback)
