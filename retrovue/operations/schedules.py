"""Schedules: when sources are synced, ingested and enriched automatically. A process that serves works them."""

import datetime as dt

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.cron import Cron
from retrovue.core.errors import RequestError
from retrovue.core.text import quoted
from retrovue.store import schedules
from retrovue.store.schedules import WORKS, Schedule, ScheduleRun, Work
from retrovue.store.session import Store
from retrovue.store.sources import find_source

__all__ = [
    "WORKS",
    "Schedule",
    "ScheduleListing",
    "ScheduleRun",
    "Work",
    "add_schedule",
    "get_schedule",
    "list_schedules",
    "remove_schedule",
    "run_schedule_now",
    "update_schedule",
]

_LONGEST_NAME = 200
_LISTED_RUNS = 10


class ScheduleListing(Struct, frozen=True):
    """A schedule, its next due time, and its latest runs."""

    schedule: Schedule
    next_due_at: dt.datetime | None
    """The next due time in UTC; None while the schedule is disabled."""
    runs: tuple[ScheduleRun, ...]
    """The newest first."""


async def add_schedule(
    store: Store,
    source: str,
    *,
    cron: str,
    time_zone: str = "UTC",
    what: Work = "sync",
    name: str | None = None,
    dry_run: bool = False,
) -> ScheduleListing:
    """Sync, ingest or enrich a source automatically, at the due times from now on.

    ``cron`` has five fields: minute, hour, day of the month, month, day of the week, in ``time_zone``, a name of the
    IANA database. ``what`` is ``sync``, ``full-sync``, ``ingest`` or ``enrich``. ``name`` is unique; None makes one
    from the source's name and ``what``. Raises NotFound, Ambiguous or RequestError. A dry-run checks everything and
    writes nothing.
    """
    times = Cron.parse(cron, time_zone)
    _require_work(what)
    async with store.reading() if dry_run else store.transaction() as session:
        found = await find_source(session, source)
        now = await schedules.now_of(session)
        named = _checked(f"{found.name}: {what}" if name is None else name)
        added = Schedule.planned(found, named, what, times, now)
        if dry_run:
            await schedules.require_free(session, named)
        else:
            await schedules.add_schedule(session, added)
        return _listing(added, now, [])


async def list_schedules(store: Store, *, source: str | None = None, runs: int = 1) -> list[ScheduleListing]:
    """List all schedules, or those of a source, by name, each with up to ``runs`` of its latest runs."""
    async with store.reading() as session:
        owner = None if source is None else await find_source(session, source)
        found = await schedules.list_schedules(session, owner)
        now = await schedules.now_of(session)
        latest = await schedules.list_runs_of(session, found, runs)
    return [_listing(schedule, now, latest) for schedule in found]


async def get_schedule(store: Store, reference: str) -> ScheduleListing:
    """Return the schedule with an id or a name, with its latest runs. Raises NotFound or Ambiguous."""
    async with store.reading() as session:
        found = await schedules.find_schedule(session, reference)
        now = await schedules.now_of(session)
        return _listing(found, now, await schedules.list_runs_of(session, [found], _LISTED_RUNS))


async def update_schedule(
    store: Store,
    reference: str,
    *,
    name: str | None = None,
    cron: str | None = None,
    time_zone: str | None = None,
    what: Work | None = None,
    enabled: bool | None = None,
    dry_run: bool = False,
) -> tuple[Schedule, ScheduleListing]:
    """Change a schedule; None leaves a value unchanged. Returns the schedule before and after.

    With other times, and when it is enabled, only due times from now on count: earlier ones aren't caught up. Raises
    NotFound, Ambiguous or RequestError. A dry-run checks the same and writes nothing.
    """
    if what is not None:
        _require_work(what)
    async with store.reading() if dry_run else store.transaction() as session:
        before = await schedules.find_schedule(session, reference)
        now = await schedules.now_of(session)
        times = Cron.parse(
            before.cron if cron is None else cron, before.time_zone if time_zone is None else time_zone
        )  # fmt: skip
        after = replace(
            before,
            name=before.name if name is None else _checked(name),
            what=before.what if what is None else what,
            cron=times.expression,
            time_zone=times.time_zone,
            enabled=before.enabled if enabled is None else enabled,
        )
        if after.times != before.times or (after.enabled and not before.enabled):
            after = replace(after, due_after=now)
        if dry_run:
            await schedules.require_free(session, after.name, after.id)
        elif after != before:
            await schedules.update_schedule(session, after)
        return before, _listing(after, now, await schedules.list_runs_of(session, [after], _LISTED_RUNS))


async def remove_schedule(store: Store, reference: str, *, dry_run: bool = False) -> ScheduleListing:
    """Remove a schedule, and return it. A run of it that is at work isn't stopped. Raises NotFound or Ambiguous."""
    async with store.reading() if dry_run else store.transaction() as session:
        found = await schedules.find_schedule(session, reference)
        now = await schedules.now_of(session)
        removed = _listing(found, now, await schedules.list_runs_of(session, [found], _LISTED_RUNS))
        if not dry_run:
            await schedules.remove_schedule(session, found)
        return removed


async def run_schedule_now(store: Store, reference: str) -> tuple[Schedule, bool]:
    """Request a run of a schedule. It begins when no other run of it is at work; several requests give one run.

    Returns the schedule, and whether any host serves now. If none does, the run begins when one starts to serve. Raises
    NotFound or Ambiguous.
    """
    async with store.transaction() as session:
        found = await schedules.find_schedule(session, reference)
        await schedules.ask_for_run(session, found)
        return found, await schedules.hosts_at_work(session)


def _require_work(what: str) -> None:
    if what not in WORKS:
        raise RequestError(
            f"A schedule can't do {quoted(what)}.", code="bad_work", hint=f"It does one of: {', '.join(WORKS)}."
        )


def _checked(name: str) -> str:
    plain = name.strip()
    if not plain or len(plain) > _LONGEST_NAME or not plain.isprintable():
        raise RequestError(
            f"{quoted(name)} can't be the name of a schedule.",
            code="bad_name",
            hint=f"Give 1 to {_LONGEST_NAME} printable characters.",
        )
    return plain


def _listing(schedule: Schedule, now: dt.datetime, runs: list[ScheduleRun]) -> ScheduleListing:
    following = schedule.times.next_after(max(now, schedule.due_after)) if schedule.enabled else None
    return ScheduleListing(schedule, following, tuple(run for run in runs if run.schedule_id == schedule.id))
