"""The locks of runs: a command that ingests, updates or wipes a collection holds the collection's advisory lock.

The locks belong to one transaction, on a connection outside of the pools. They end with the run, the process or the
connection; locks of a session would outlive its return to a pool. The transaction has neither a snapshot nor an id, so
it doesn't hinder vacuum.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import anyio
from msgspec import Struct, field

from retrovue.core.errors import AlreadyRunning, StoreError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.core.model import Collection
from retrovue.store.session import Store, connected, translated
from retrovue.store.statements import Session, text


def lock_key(collection: UUID) -> int:
    """Return the key of a collection's advisory lock: the first 8 bytes of its id as a signed integer."""
    return int.from_bytes(collection.bytes[:8], "big", signed=True)


HEARTBEAT_SECONDS = 30.0
"""The longest pause between two uses of the connection that holds the locks: NATs forget an idle connection after
minutes.
"""
ANSWER_SECONDS = 10.0
"""The time limit of an answer on that connection, in seconds."""

_log = logger(__name__)

_HOLDER = """
    SELECT pid, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = :high AND objid::bigint = :low
"""

# The keys are passed as text: for an array, asyncpg would first query its type.
_TRY = (
    "SELECT key FROM unnest(cast(string_to_array(:keys, ',') AS bigint[])) AS key"
    " WHERE NOT pg_try_advisory_xact_lock{how}(key)"
)
_TRY_EXCLUSIVE, _TRY_SHARED = text(_TRY.format(how="")), text(_TRY.format(how="_shared"))


class Locks(Struct):
    """The locks that one run holds."""

    connection: Session
    heartbeat_s: float | None = None
    """Seconds between two uses of the connection; None means `HEARTBEAT_SECONDS`."""
    gone: anyio.Event = field(default_factory=anyio.Event)
    """Set when the connection is found to be closed or silent."""
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    """A connection executes one statement at a time, and several collections may end at the same time."""

    @property
    def lost(self) -> bool:
        """Whether the connection was found to be closed."""
        return self.gone.is_set()

    async def take(self, collections: Sequence[Collection], *, shared: bool = False) -> dict[UUID, AlreadyRunning]:
        """Take the locks of collections without waiting; return an error for each collection that is locked.

        Programs that take a lock as ``shared`` can hold it at the same time, and exclude all others.
        """
        keys = {lock_key(collection.id): collection for collection in collections}
        async with self._one_at_a_time:
            with translated():
                refused = await self.connection.execute(
                    _TRY_SHARED if shared else _TRY_EXCLUSIVE, {"keys": ",".join(map(str, keys))}
                )
                return {keys[key].id: await self._held_by_another(keys[key], key) for key in refused.scalars().all()}

    async def take_key(self, key: int) -> bool:
        """Take the advisory lock of a key without waiting; returns False if another connection has it."""
        async with self._one_at_a_time:
            with translated():
                taken = await self.connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key})
                return bool(taken.scalar_one())

    async def _held_by_another(self, collection: Collection, key: int) -> AlreadyRunning:
        result = await self.connection.execute(text(_HOLDER), {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF})
        row = result.first()
        holder = f"{row.application_name} (database process {row.pid})" if row else "a command that has just ended"
        return AlreadyRunning(
            f"Collection {collection.display_name} is being worked on by {holder}.",
            hint="Wait until it is done, then run the command again.",
            context={"holder": row.application_name, "pid": row.pid} if row else {},
        )

    async def verify(self) -> None:
        """Raise StoreUnavailable if the connection that holds the locks is closed or silent."""
        try:
            async with self._one_at_a_time:
                with translated(), anyio.fail_after(ANSWER_SECONDS):
                    if self.lost:
                        raise StoreUnavailable("The heartbeat wasn't answered.")
                    await self.connection.execute(text("SELECT 1"))
        except StoreError as exc:
            self.gone.set()
            raise StoreUnavailable(
                "The connection that holds the run's locks was lost.",
                code="locks_lost",
                hint="Nothing of this collection was written; run the command again.",
            ) from exc

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Cancel the block when the connection is lost; the code after the block then runs.

        The block must not raise an error.
        """
        scope = anyio.CancelScope()

        async def stop() -> None:
            await self.gone.wait()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            with scope:
                yield
            group.cancel_scope.cancel()

    async def beat(self) -> None:
        """Use the connection regularly, so that no firewall forgets it; end when it is lost."""
        while not self.lost:
            await anyio.sleep(HEARTBEAT_SECONDS if self.heartbeat_s is None else self.heartbeat_s)
            try:
                await self.verify()
            except StoreUnavailable as exc:
                _log.warning("%s", exc.message)


async def is_held(session: Session, key: int) -> bool:
    """Return whether any connection to this database holds the advisory lock of a key, without taking it."""
    held = await session.execute(text(_HOLDER), {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF})
    return held.first() is not None


@asynccontextmanager
async def open_locks(store: Store, holder: str, *, lease_s: float | None = None) -> AsyncIterator[Locks]:
    """Open the connection for the locks of a run. ``holder`` names it in error messages and pg_stat_activity.

    With ``lease_s`` the server ends the connection, and with it the locks, after so many seconds without an answer;
    otherwise it waits until the network reports that the connection is lost.
    """
    async with connected(store, holder) as connection:
        with translated():
            await connection.driver.execute("BEGIN")
            # Reading the source may take hours, and the server must not end the idle transaction meanwhile.
            await connection.execute(
                text(
                    "SELECT set_config(name, CASE name WHEN 'transaction_timeout' THEN '0' ELSE :idle END, true)"
                    " FROM pg_settings"
                    " WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
                ),
                {"idle": "0" if lease_s is None else f"{lease_s * 1000:.0f}ms"},
            )
        locks = Locks(connection, None if lease_s is None else lease_s / 4)
        failure: BaseException | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(locks.beat)
            try:
                yield locks
            except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - raised below: the group would wrap it
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
