"""The commands on the audit trail."""

from uuid import UUID

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import NATURAL, shared


@click.group("ingest")
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
