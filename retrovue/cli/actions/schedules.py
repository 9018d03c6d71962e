"""Schedules: add, list, change and remove them, and request a run."""

from collections.abc import Mapping
from typing import Any

from retrovue.cli.asking import confirm
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import room, table
from retrovue.cli.text import local_time
from retrovue.operations import schedules
from retrovue.operations.documents import schedule_document
from retrovue.operations.schedules import Schedule, ScheduleListing, ScheduleRun

_DRY_RUN = "Dry run: nothing was written."


async def add_schedule(call: Invocation, source: str, **values: Any) -> int:
    """Add a schedule."""
    async with opened(call) as store:
        added = await schedules.add_schedule(store, source, dry_run=call.dry_run, **values)
    head = f"{_DRY_RUN} This would be added:" if call.dry_run else "Added:"
    hint = [] if call.dry_run else ["It runs while `retrovue serve` is running on a host."]
    return call.answer(
        {"dry_run": call.dry_run, "schedule": schedule_document(added)}, [head, *_lines(added), *hint]
    )  # fmt: skip


async def show_schedules(call: Invocation, source: str | None) -> int:
    """List schedules."""
    async with opened(call, reading=True) as store:
        listings = await schedules.list_schedules(store, source=source)
    rows = [
        (
            listing.schedule.name,
            listing.schedule.source_name,
            listing.schedule.what,
            f"{listing.schedule.cron} {listing.schedule.time_zone}",
            local_time(listing.next_due_at) if listing.next_due_at else "disabled",
            _ended(listing.runs[0]) if listing.runs else "none yet",
        )
        for listing in listings
    ]
    heads = ("Schedule", "Source", "What", "Times", "Next", "Latest run")
    return call.answer(
        {"total": len(listings), "schedules": [schedule_document(listing) for listing in listings]},
        table(heads, rows, columns=room())
        if rows
        else ["No schedules. Add one with `retrovue schedule add SOURCE --cron '*/5 * * * *'`."],
    )


async def show_schedule(call: Invocation, reference: str) -> int:
    """Show a schedule and its latest runs."""
    async with opened(call, reading=True) as store:
        listing = await schedules.get_schedule(store, reference)
    return call.answer({"schedule": schedule_document(listing)}, _lines(listing))


async def change_schedule(call: Invocation, reference: str, changes: Mapping[str, Any]) -> int:
    """Change a schedule."""
    if not changes:
        raise InputError("Nothing to update.", hint="Give --cron, --time-zone, --what, --name, --enable or --disable.")
    async with opened(call) as store:
        before, after = await schedules.update_schedule(store, reference, dry_run=call.dry_run, **changes)
    changed = [name for name in sorted(changes) if getattr(before, name) != getattr(after.schedule, name)]
    head = f"{_DRY_RUN} Would change" if call.dry_run else "Changed"
    return call.answer(
        {"dry_run": call.dry_run, "schedule": schedule_document(after), "changed": changed},
        [f"{head}: {', '.join(changed)}" if changed else "Nothing has changed.", *_lines(after)],
    )


async def remove_schedule(call: Invocation, reference: str, *, yes: bool) -> int:
    """Remove a schedule, after confirmation."""
    async with opened(call) as store:
        listing = await schedules.get_schedule(store, reference)
        if not call.dry_run:
            confirm(call, _lines(listing), "Remove it?", yes=yes, context={"schedule": str(listing.schedule.id)})
            listing = await schedules.remove_schedule(store, str(listing.schedule.id))
    head = f"{_DRY_RUN} This would be removed:" if call.dry_run else "Removed:"
    return call.answer(
        {"dry_run": call.dry_run, "schedule": schedule_document(listing)}, [head, *_lines(listing)]
    )  # fmt: skip


async def run_now(call: Invocation, reference: str) -> int:
    """Request a run of a schedule."""
    async with opened(call) as store:
        schedule, served = await schedules.run_schedule_now(store, reference)
    line = (
        f"{schedule.name} runs as soon as no other run of it is at work."
        if served
        else f"{schedule.name} will run when a host serves: start `retrovue serve`."
    )
    return call.answer({"schedule": {"id": schedule.id, "name": schedule.name}, "served": served}, [line])


def _lines(listing: ScheduleListing) -> list[str]:
    schedule: Schedule = listing.schedule
    due = "disabled" if listing.next_due_at is None else f"due next {local_time(listing.next_due_at)}"
    return [
        f"Schedule {schedule.name} ({schedule.id})",
        f"  {schedule.what} of {schedule.source_name}, at {schedule.cron} in {schedule.time_zone}: {due}",
        *(["  a requested run is waiting"] if schedule.asked_at is not None else []),
        *(f"  due {local_time(run.due_at)} on {run.host}: {_ended(run)}" for run in listing.runs),
    ]


def _ended(run: ScheduleRun) -> str:
    if run.ended_at is None:
        return f"at work since {local_time(run.started_at)}"
    why = f": {run.message}" if run.message else ""
    return f"{run.status} {local_time(run.ended_at)}{why}"
