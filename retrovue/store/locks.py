"""The locks of a run: whoever ingests, updates or wipes a collection holds its advisory lock.

A run's locks live in one transaction on one connection outside every pool: they end with the run, with the
process, or with the network, and never survive a return to a pool as session-level locks would. The
transaction has no snapshot and no id, so it holds nothing back from vacuum.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import anyio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from retrovue.core.errors import AlreadyRunning, StoreError, StoreUnavailable
from retrovue.core.model import Collection
from retrovue.store.session import Store, translated


def lock_key(collection: UUID) -> int:
    """The collection's advisory lock: the first 8 bytes of its id as a signed integer."""
    return int.from_bytes(collection.bytes[:8], "big", signed=True)


# The keys come as text: for an array asyncpg would first look its type up.
_TRY = text(
    "SELECT key FROM unnest(cast(string_to_array(:keys, ',') AS bigint[])) AS key"
    " WHERE NOT pg_try_advisory_xact_lock(key)"
)


@dataclass(slots=True)
class Locks:
    """The locks that one run holds."""

    connection: AsyncConnection
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    """Collections end at the same moment, and a connection answers one question at a time."""

    async def take(self, collections: Sequence[Collection]) -> dict[UUID, AlreadyRunning]:
        """Take the collections' locks without waiting; returns why not, for those that somebody else holds."""
        taken: dict[UUID, AlreadyRunning] = {}
        keys = {lock_key(collection.id): collection for collection in collections}
        with translated():
            refused = await self.connection.execute(_TRY, {"keys": ",".join(map(str, keys))})
            for key in refused.scalars().all():
                taken[keys[key].id] = await self._held_by_another(keys[key], key)
        return taken

    async def _held_by_another(self, collection: Collection, key: int) -> AlreadyRunning:
        result = await self.connection.execute(
            text(
                "SELECT pid, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
                " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND classid::bigint = :high AND objid::bigint = :low"
            ),
            {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF},
        )
        row = result.first()
        who = f"{row.application_name} (database process {row.pid})" if row else "a command that has just ended"
        return AlreadyRunning(
            f"Collection {collection.name!r} is being worked on by {who}.",
            hint="Wait until it is done, then run the command again.",
            context={"holder": row.application_name, "pid": row.pid} if row else {},
        )

    async def verify(self) -> None:
        """Raise StoreUnavailable if the connection that holds the locks is gone."""
        try:
            async with self._one_at_a_time:
                with translated():
                    await self.connection.execute(text("SELECT 1"))
        except StoreError as exc:
            raise StoreUnavailable(
                "The connection that holds the run's locks was lost.",
                code="locks_lost",
                hint="Nothing of this collection was written; run the command again.",
            ) from exc


@asynccontextmanager
async def open_locks(store: Store, holder: str) -> AsyncIterator[Locks]:
    """Open the connection that holds the locks of a run, under the holder's name."""
    async with store.unpooled(holder) as connection:
        with translated():
            # The locks are held while the source is read: hours, in a transaction that does nothing.
            await connection.execute(
                text(
                    "SELECT set_config(name, '0', true) FROM pg_settings"
                    " WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
                )
            )
        yield Locks(connection)
