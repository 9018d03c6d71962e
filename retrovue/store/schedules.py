"""Schedules and their runs.

Each due time is worked once over all hosts: its row is unique, and a schedule has at most one run at work. A host that
works schedules holds an advisory lock. If the lock is free, the host is gone, and another host takes over its unended
runs.
"""

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args
from uuid import UUID

from msgspec import Struct

from retrovue.core.cron import Cron
from retrovue.core.errors import Ambiguous, NotFound, RequestError
from retrovue.core.model import Source
from retrovue.core.text import quoted
from retrovue.store.locks import Locks, lock_key, open_locks
from retrovue.store.references import as_uuid
from retrovue.store.session import Store, translated
from retrovue.store.statements import Row, Session, text

Work = Literal["sync", "full-sync", "ingest", "enrich"]
"""What a schedule does: ``sync`` reads only as much as the proof needs, ``full-sync`` compares each item."""
WORKS: tuple[Work, ...] = get_args(Work)
RunResult = Literal["ok", "partial", "error"]
"""How a scheduled run ended: the status of the run, or of the worst enrichment."""
CHANNEL = "retrovue_schedules"
"""The channel of PostgreSQL's NOTIFY that tells hosts of a changed schedule. Its messages have no content."""
KEPT_RUNS = 100
"""How many runs of a schedule are kept."""

_NOTIFY = text(f"NOTIFY {CHANNEL}")
# This run also serves a run that somebody requested.
_BEGIN = text(
    "WITH begun AS ("
    " INSERT INTO schedule_run (schedule_id, due_at, host_id, host) VALUES (:id, :due, :host, :name)"
    ") UPDATE schedule SET asked_at = NULL WHERE id = :id"
)
_TAKE_OVER = text(
    "UPDATE schedule_run SET host_id = :host, host = :name, started_at = clock_timestamp()"
    " WHERE schedule_id = :id AND ended_at IS NULL"
)
# If two transactions set the same name at the same time, the second one waits here.
_ONE_AT_A_TIME = text("LOCK TABLE schedule IN SHARE ROW EXCLUSIVE MODE")
_COLUMNS = """
    schedule.id, schedule.name, schedule.source_id, source.name AS source_name, schedule.what, schedule.cron,
    schedule.time_zone, schedule.enabled, schedule.due_after, schedule.asked_at,
    (SELECT max(due_at) FROM schedule_run WHERE schedule_id = schedule.id) AS last_due_at
"""
_FROM = "FROM schedule JOIN source ON source.id = schedule.source_id"


class Schedule(Struct, frozen=True):
    """When a source is synced, ingested or enriched automatically."""

    id: UUID
    name: str
    """Unique in the catalogue."""
    source_id: UUID
    source_name: str
    what: Work
    cron: str
    """Five fields: minute, hour, day of the month, month, day of the week."""
    time_zone: str
    """The time zone of ``cron``: a name in the IANA database."""
    enabled: bool
    due_after: dt.datetime
    """Due times not after this time don't count: the schedule was added, enabled or given other times then."""
    asked_at: dt.datetime | None
    """When somebody requested a run; None if no run is requested."""
    last_due_at: dt.datetime | None
    """The due time of the latest run; None before the first one."""

    @classmethod
    def planned(cls, source: Source, name: str, what: Work, times: Cron, now: dt.datetime) -> "Schedule":
        """Return a new schedule that is due from now on. It isn't stored."""
        return cls(
            uuid.uuid4(), name, source.id, source.name, what, times.expression, times.time_zone, True, now, None, None
        )

    @property
    def times(self) -> Cron:
        """The due times."""
        return Cron(self.cron, self.time_zone)

    def due_at(self, now: dt.datetime) -> dt.datetime | None:
        """Return the due time for which a run has to be made at a time; None if there is none.

        If several due times were missed, it is the latest one, so that one run catches up on all of them.
        """
        owed = []
        if self.enabled:
            latest = self.times.latest_at(now)
            if latest > max(self.due_after, self.last_due_at or self.due_after):
                owed.append(latest)
        if self.asked_at is not None:
            owed.append(self.asked_at)
        return max(owed, default=None)


class ScheduleRun(Struct, frozen=True):
    """A due time of a schedule, and its run."""

    schedule_id: UUID
    due_at: dt.datetime
    host: str
    """The name of the host that works it, or has ended it."""
    started_at: dt.datetime
    run_id: UUID | None
    """The run's id in the audit trail; None for an enrichment, and if no run began."""
    ended_at: dt.datetime | None
    status: RunResult | None
    """When it ended; None while it is at work."""
    message: str | None
    """What went wrong; None if nothing did."""


class Host(Struct, frozen=True):
    """A process that works schedules, and its lock."""

    id: UUID
    name: str
    locks: Locks


class Claim(Struct, frozen=True):
    """A due time that a host has taken."""

    schedule: Schedule
    due_at: dt.datetime


@asynccontextmanager
async def joined(store: Store, name: str) -> AsyncIterator[Host]:
    """Register as a host that works schedules, until the block ends. ``name`` is shown to people.

    Raises StoreUnavailable if the database can't be reached.
    """
    host = uuid.uuid4()
    async with open_locks(store, "retrovue-serve") as locks:
        with translated():
            await locks.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(host)})
        yield Host(host, name, locks)


async def now_of(session: Session) -> dt.datetime:
    """Return the time of the database, which is the same for all hosts."""
    found: dt.datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return found


async def add_schedule(session: Session, schedule: Schedule) -> None:
    """Store a new schedule. Raises RequestError if its name is taken."""
    await session.execute(_ONE_AT_A_TIME)
    await require_free(session, schedule.name)
    await session.execute(
        text(
            "INSERT INTO schedule (id, source_id, name, what, cron, time_zone, enabled, due_after)"
            " VALUES (:id, :source, :name, :what, :cron, :zone, :enabled, :due_after)"
        ),
        {"source": schedule.source_id, **_values(schedule)},
    )
    await session.execute(_NOTIFY)


async def list_schedules(session: Session, source: Source | None = None) -> list[Schedule]:
    """List all schedules, or those of a source, by name."""
    where = "" if source is None else "WHERE schedule.source_id = :source"
    rows = await session.execute(
        text(f"SELECT {_COLUMNS} {_FROM} {where} ORDER BY schedule.name"),
        {} if source is None else {"source": source.id},
    )
    return [_schedule(row) for row in rows]


async def find_schedule(session: Session, reference: str) -> Schedule:
    """Return the schedule with an id or a name. Raises NotFound, or Ambiguous if two have it."""
    rows = await session.execute(
        text(f"SELECT {_COLUMNS} {_FROM} WHERE schedule.id = :id OR schedule.name = :name"),
        {"id": as_uuid(reference), "name": reference},
    )
    found = [_schedule(row) for row in rows]
    if len(found) > 1:
        raise Ambiguous(
            f"{quoted(reference)} is the id of one schedule and the name of another.",
            hint="Name the other one by its id.",
            context={"candidates": [str(schedule.id) for schedule in found]},
        )
    if not found:
        raise NotFound(
            f"There is no schedule {quoted(reference)}.",
            code="schedule_not_found",
            hint="`retrovue schedule list` shows the schedules.",
            context={"schedule": reference},
        )
    return found[0]


async def update_schedule(session: Session, schedule: Schedule) -> None:
    """Store the name, work, times and state of a schedule. Raises RequestError if its name is taken."""
    await session.execute(_ONE_AT_A_TIME)
    await require_free(session, schedule.name, schedule.id)
    await session.execute(
        text(
            "UPDATE schedule SET name = :name, what = :what, cron = :cron, time_zone = :zone, enabled = :enabled,"
            " due_after = :due_after WHERE id = :id"
        ),
        _values(schedule),
    )
    await session.execute(_NOTIFY)


async def remove_schedule(session: Session, schedule: Schedule) -> None:
    """Delete a schedule and its stored runs. A run at work isn't stopped."""
    await session.execute(text("DELETE FROM schedule WHERE id = :id"), {"id": schedule.id})
    await session.execute(_NOTIFY)


async def ask_for_run(session: Session, schedule: Schedule) -> None:
    """Request a run of a schedule that begins when none is at work. Several requests give one run."""
    await session.execute(
        text("UPDATE schedule SET asked_at = coalesce(asked_at, clock_timestamp()) WHERE id = :id"),
        {"id": schedule.id},
    )
    await session.execute(_NOTIFY)


async def list_runs_of(session: Session, schedules: Sequence[Schedule], limit: int) -> list[ScheduleRun]:
    """List the latest runs of schedules, the newest first; at most ``limit`` of each."""
    rows = await session.execute(
        text(
            "SELECT run.schedule_id, due_at, host, started_at, run_id, ended_at, status, message"
            " FROM unnest(cast(:ids AS uuid[])) AS wanted (id) CROSS JOIN LATERAL ("
            "   SELECT * FROM schedule_run WHERE schedule_id = wanted.id ORDER BY due_at DESC LIMIT :limit"
            " ) AS run ORDER BY due_at DESC, run.schedule_id"
        ),
        {"ids": [schedule.id for schedule in schedules], "limit": limit},
    )
    return [ScheduleRun(*row) for row in rows]


async def hosts_at_work(session: Session) -> bool:
    """Return whether any host works schedules now."""
    result = await session.execute(
        text("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'retrovue-serve'"
             " AND datname = current_database())")
    )  # fmt: skip
    return bool(result.scalar_one())


async def claim(session: Session, host: Host, now: dt.datetime) -> list[Claim]:
    """Take, for a host, every due time for which a run has to be made and that no other host has taken.

    It also takes over the unended runs of hosts that are gone. It runs in the caller's transaction.
    """
    locked = await session.execute(text("SELECT id FROM schedule ORDER BY name FOR UPDATE SKIP LOCKED"))
    # A separate statement, which sees what was committed before the locks were taken.
    rows = await session.execute(
        text(
            f"SELECT {_COLUMNS}, unended.due_at, unended.host_id {_FROM}"
            " LEFT JOIN schedule_run AS unended ON unended.schedule_id = schedule.id AND unended.ended_at IS NULL"
            " WHERE schedule.id = ANY(:ids) ORDER BY schedule.name"
        ),
        {"ids": list(locked.scalars())},
    )
    claims: list[Claim] = []
    for *values, unended_at, holder in rows:
        schedule = Schedule(*values)
        if holder is None:
            due_at = schedule.due_at(now)
            if due_at is None:
                continue
            await session.execute(_BEGIN, {"id": schedule.id, "due": due_at, "host": host.id, "name": host.name})
        elif await _is_gone(session, holder):
            due_at = unended_at
            await session.execute(_TAKE_OVER, {"id": schedule.id, "host": host.id, "name": host.name})
        else:
            continue
        claims.append(Claim(schedule, due_at))
    return claims


async def end_run(
    session: Session, host: Host, taken: Claim, status: RunResult, *, run_id: UUID | None, message: str | None
) -> bool:
    """Store how a run ended; return False if another host has taken it over. Only the latest runs are kept."""
    ended = await session.change(
        text(
            "UPDATE schedule_run SET ended_at = clock_timestamp(), status = :status, run_id = :run, message = :message"
            " WHERE schedule_id = :id AND due_at = :due AND host_id = :host AND ended_at IS NULL"
        ),
        {
            "id": taken.schedule.id, "due": taken.due_at, "host": host.id, "status": status, "run": run_id,
            "message": message,
        },
    )  # fmt: skip
    await session.execute(
        text(
            "DELETE FROM schedule_run WHERE schedule_id = :id AND due_at < ("
            " SELECT min(due_at) FROM (SELECT due_at FROM schedule_run WHERE schedule_id = :id"
            "   ORDER BY due_at DESC LIMIT :kept) AS kept)"
        ),
        {"id": taken.schedule.id, "kept": KEPT_RUNS},
    )
    await session.execute(_NOTIFY)
    return bool(ended)


async def _is_gone(session: Session, host: UUID) -> bool:
    # A lock that is taken here ends with the transaction.
    result = await session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": lock_key(host)})
    return bool(result.scalar_one())


async def require_free(session: Session, name: str, owner: UUID | None = None) -> None:
    """Raise RequestError if a schedule other than ``owner`` has the name."""
    taken = await session.execute(text("SELECT id FROM schedule WHERE name = :name"), {"name": name})
    if taken.scalar_one_or_none() not in {None, owner}:
        raise RequestError(
            f"There is a schedule {quoted(name)} already.", code="name_taken", hint="Give another --name."
        )


def _values(schedule: Schedule) -> dict[str, Any]:
    return {
        "id": schedule.id, "name": schedule.name, "what": schedule.what, "cron": schedule.cron,
        "zone": schedule.time_zone, "enabled": schedule.enabled, "due_after": schedule.due_after,
    }  # fmt: skip


def _schedule(row: Row) -> Schedule:
    return Schedule(*tuple(row))
