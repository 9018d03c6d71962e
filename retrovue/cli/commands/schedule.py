"""The commands for schedules."""

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import confirmed, examples, shared

WORKS = ("sync", "full-sync", "ingest", "enrich")

_CRON = "Minute, hour, day of the month, month, day of the week; or a word such as @daily."
_ZONE = "Time zone of the times, such as Europe/Berlin; default: UTC."
_WHAT = "What it does; full-sync compares each item. Default: sync."


@click.group("schedule")
def command() -> None:
    """Runs that start automatically, while `retrovue serve` works on some host."""


@command.command(
    "add",
    epilog=examples(
        'schedule add "My Plex" --cron "*/5 * * * *"',
        'schedule add "My Plex" --cron "30 4 * * *" --time-zone Europe/Berlin --what full-sync --name "each night"',
    ),
)
@click.argument("source")
@click.option("--cron", required=True, metavar="EXPRESSION", help=_CRON)
@click.option("--time-zone", metavar="ZONE", default="UTC", help=_ZONE)
@click.option("--what", type=click.Choice(WORKS), default="sync", help=_WHAT)
@click.option("--name", metavar="NAME", help="Unique name; default: made from the source's name and --what.")
@shared(writes=True)
async def add(call: Invocation, *, source: str, cron: str, time_zone: str, what: str, name: str | None) -> int:
    """Sync, ingest or enrich a source automatically.

    A sync of a source in which nothing has changed takes one or two requests, so it can run every five minutes. SOURCE
    is its id or its name.
    """
    from retrovue.cli.actions.schedules import add_schedule

    return await add_schedule(call, source, cron=cron, time_zone=time_zone, what=what, name=name)


@command.command("list")
@click.option("--source", metavar="SOURCE", help="Only those of this source.")
@shared()
async def list_(call: Invocation, *, source: str | None) -> int:
    """List schedules, with next due time and latest run."""
    from retrovue.cli.actions.schedules import show_schedules

    return await show_schedules(call, source)


@command.command("show")
@click.argument("schedule")
@shared()
async def show(call: Invocation, *, schedule: str) -> int:
    """Show a schedule and its latest runs.

    SCHEDULE is its id or its name.
    """
    from retrovue.cli.actions.schedules import show_schedule

    return await show_schedule(call, schedule)


@command.command("update")
@click.argument("schedule")
@click.option("--cron", metavar="EXPRESSION", help=_CRON)
@click.option("--time-zone", metavar="ZONE", help="Time zone of the times, such as Europe/Berlin.")
@click.option("--what", type=click.Choice(WORKS), help="What it does; full-sync compares each item.")
@click.option("--name", metavar="NAME", help="New unique name.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether its due times count.")
@shared(writes=True)
async def update(
    call: Invocation,
    *,
    schedule: str,
    cron: str | None,
    time_zone: str | None,
    what: str | None,
    name: str | None,
    enabled: bool | None,
) -> int:
    """Change a schedule.

    With other times, and when it is enabled, earlier due times aren't caught up. SCHEDULE is its id or its name.
    """
    from retrovue.cli.actions.schedules import change_schedule

    changes = {"cron": cron, "time_zone": time_zone, "what": what, "name": name, "enabled": enabled}
    return await change_schedule(call, schedule, {key: value for key, value in changes.items() if value is not None})


@command.command("remove")
@click.argument("schedule")
@confirmed
@shared(writes=True)
async def remove(call: Invocation, *, schedule: str, yes: bool) -> int:
    """Remove a schedule.

    A run of it that is at work isn't stopped. SCHEDULE is its id or its name.
    """
    from retrovue.cli.actions.schedules import remove_schedule

    return await remove_schedule(call, schedule, yes=yes)


@command.command("run-now")
@click.argument("schedule")
@shared()
async def run_now(call: Invocation, *, schedule: str) -> int:
    """Run a schedule as soon as no other run of it is at work.

    SCHEDULE is its id or its name.
    """
    from retrovue.cli.actions.schedules import run_now

    return await run_now(call, schedule)
