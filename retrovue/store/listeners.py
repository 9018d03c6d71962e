"""The listener of each source, and the hints it got. An advisory lock for each source admits one host at a time.

The row of a source stays when its host is gone. The lock tells whether the source is listened to now.
"""

import datetime as dt
import uuid
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from retrovue.core.errors import RetrovueError
from retrovue.core.model import Source
from retrovue.store.locks import Locks, is_held, lock_key, open_locks
from retrovue.store.session import Store
from retrovue.store.statements import Session, text

_BEGIN = text(
    "INSERT INTO listener (source_id, host, connected_at, problem_code, problem)"
    " SELECT id, :host, CASE WHEN :connected THEN clock_timestamp() END, :code, :message FROM source WHERE id = :id"
    " ON CONFLICT (source_id) DO UPDATE SET host = excluded.host, connected_at = excluded.connected_at,"
    " problem_code = excluded.problem_code, problem = excluded.problem"
)


class Listener(Struct, frozen=True):
    """The listening state of a source."""

    host: str
    """The name of the host that listens, or of the last one that did."""
    active: bool
    """Whether that host holds the lock of the source now. It may not be connected yet."""
    since: dt.datetime | None
    """The time when it connected; None while it isn't connected."""
    problem_code: str | None
    problem: str | None
    """Why it isn't connected; None while it is, and before the first attempt has failed."""
    heard_at: dt.datetime | None
    """When hints of changes were last worked; None if there were none."""
    heard_library: str | None
    """The external id of the collection that the hints named; None for the whole source."""
    heard_items: int | None
    """How many of its items the hints named; None for all."""


def opened(store: Store) -> AbstractAsyncContextManager[Locks]:
    """Open the connection for the locks of the sources that a host listens to. Raises StoreUnavailable."""
    return open_locks(store, "retrovue-events")


async def claim(locks: Locks, source: Source) -> bool:
    """Take the lock of a source until the connection ends; return False if another host listens to the source."""
    return await locks.take_key(_key(source))


async def note(
    session: Session, source: Source, host: str, *, connected: bool, problem: RetrovueError | None = None
) -> None:
    """Store whether the host that holds the lock of a source is connected to it, and if not, why."""
    code, message = (None, None) if problem is None else (problem.code, problem.message)
    about = {"id": source.id, "host": host, "connected": connected, "code": code, "message": message}
    await session.execute(_BEGIN, about)


async def heard(session: Session, source: Source, library: str | None, items: int | None) -> None:
    """Store the last hint of a source: ``items`` of a collection may have changed, or all of it."""
    await session.execute(
        text(
            "UPDATE listener SET heard_at = clock_timestamp(), heard_library = :library, heard_items = :items"
            " WHERE source_id = :id"
        ),
        {"id": source.id, "library": library, "items": items},
    )


async def listener_of(session: Session, source: Source) -> Listener | None:
    """Return the listening state of a source; None if it was never listened to."""
    result = await session.execute(
        text(
            "SELECT host, connected_at, problem_code, problem, heard_at, heard_library, heard_items"
            " FROM listener WHERE source_id = :id"
        ),
        {"id": source.id},
    )
    row = result.first()
    if row is None:
        return None
    host, *now, heard_at, library, items = tuple(row)
    active = await is_held(session, _key(source))
    since, code, problem = now if active else (None, None, None)
    return Listener(host, active, since, code, problem, heard_at, library, items)


def _key(source: Source) -> int:
    return lock_key(uuid.uuid5(source.id, "events"))
