"""The commands for the audit trail."""

import datetime as dt
import shlex
from typing import Any

import asyncclick as click
from asyncclick.exceptions import NoSuchCommand

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import NATURAL, SPAN, TIME, Action, confirmed, examples, shared

_STATUSES = ("running", "ingested", "skipped", "failed", "interrupted", "unknown")


class AuditTrail(click.Group):
    """The group ``ingest``, which only reads the audit trail. Its errors name the commands that ingest."""

    async def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; the error for an unknown one names the commands that ingest."""
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
@click.option("--run", metavar="ID", help="Only this run: its id, or the unique beginning of it.")
@click.option("--status", type=click.Choice(_STATUSES), help="Only entries of this status.")
@click.option("--since", metavar="TIME", type=TIME, help="Only ingests that started at this time or later: 2026-03-01.")
@click.option("--until", metavar="TIME", type=TIME, help="Only ingests that started before this time.")
@click.option("--runs", is_flag=True, help="A line for each run, with the totals of all its collections.")
@click.option("--limit", type=NATURAL, default=50, show_default=True, help="Most entries, or runs, to list.")
@shared()
async def log(call: Invocation, *, runs: bool, **options: Any) -> int:
    """List the ingested collections, the latest run first.

    With --runs the filters select the runs with at least one matching collection.
    """
    from retrovue.cli.actions.audit_trail import show_log, show_runs

    return await (show_runs if runs else show_log)(call, **options)


def _pages(action: Action) -> Action:
    """Give a command that lists items the options of its filters and pages."""
    for option in (
        click.option("--csv", "as_csv", is_flag=True, help="Print all as comma-separated values."),
        click.option("--jsonl", is_flag=True, help="Print all, each as a line of JSON."),
        click.option("--all", "everything", is_flag=True, help="All pages, one after the other."),
        click.option("--after", metavar="CURSOR", help="The page after this cursor, which the previous page prints."),
        click.option("--limit", type=NATURAL, default=50, show_default=True, help="The size of a page."),
        click.option("--until", metavar="TIME", type=TIME, help="Only before this time."),
        click.option("--since", metavar="TIME", type=TIME, help="Only from this time on: 2026-03-01."),
        click.option("--collection", metavar="COLLECTION", help="Only of this collection: its id, key or name."),
        click.option("--source", metavar="SOURCE", help="Only of this source: its id or name."),
    ):
        action = option(action)
    return action


@command.command("rejected")
@click.option("--reason", metavar="CODE", help="Only for this reason, such as unmapped_path.")
@click.option("--run", type=click.UUID, metavar="ID", help="Only of this run.")
@click.option("--latest", is_flag=True, help="Only what the latest ingest of each whole collection rejected.")
@_pages
@shared()
async def rejected(call: Invocation, **options: Any) -> int:
    """List the items that ingests rejected, the latest run first.

    The numbers for each reason are printed at the end.
    """
    from retrovue.cli.actions.reports import show_rejected

    return await show_rejected(call, **options)


@command.command("duplicates")
@_pages
@shared()
async def duplicates(call: Invocation, **options: Any) -> int:
    """List items whose files are those of another asset.

    Duplicates are aliases of that asset. Each is listed once, however many ingests found it; the time is that of the
    first.
    """
    from retrovue.cli.actions.reports import show_duplicates

    return await show_duplicates(call, **options)


@command.command("show")
@click.argument("run_id", metavar="RUN_ID|latest")
@click.option("--collection", metavar="COLLECTION", help="Only this collection: its id, key or name.")
@click.option("--traceback", is_flag=True, help="Also show the tracebacks of failures.")
@shared()
async def show(call: Invocation, *, run_id: str, collection: str | None, traceback: bool) -> int:
    """Show a run with all its outcomes and rejected items.

    RUN_ID is the id that the log shows, or the unique beginning of it. "latest" is the run that started last.
    """
    from retrovue.cli.actions.audit_trail import show_run

    return await show_run(call, run_id, collection, traceback=traceback)


@command.command("prune", epilog=examples("ingest prune --older-than 90d --dry-run"))
@click.option(
    "--older-than",
    type=SPAN,
    required=True,
    metavar="SPAN",
    help="Only details of runs that ended at least this long ago: 90d.",
)
@confirmed
@shared(writes=True)
async def prune(call: Invocation, *, older_than: dt.timedelta, yes: bool) -> int:
    """Remove the details of old runs.

    Details are rejected items, durations, warnings and tracebacks. Outcomes and their counts stay, and so do items that
    are still rejected. Each ingest also removes details that are older than its --keep-details.
    """
    from retrovue.cli.actions.audit_trail import prune_details

    return await prune_details(call, older_than, yes=yes)
