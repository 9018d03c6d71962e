"""What the database server is, and whether it suffices for an ingest."""

import shutil
from dataclasses import dataclass

import anyio.to_thread
from sqlalchemy import text

from retrovue.core.errors import RequestError, StoreError
from retrovue.store.session import AUDIT_CONNECTIONS, Store

_LOCK_CONNECTIONS = 1


@dataclass(frozen=True, slots=True)
class Server:
    """What the database server reports about itself."""

    version: str
    """Such as ``18.1``."""
    allowed: int
    """Connections that it allows, without those reserved for administrators."""
    used: int
    """Connections in use, including this program's."""
    standby: bool
    read_only: bool
    """Whether the server, the database or the role makes transactions read-only by default."""
    pooled: bool
    """Whether a pooler stands between."""
    disk_free: int | None
    """Free bytes on the disk of its data; None if this program can't see that disk."""

    @property
    def free(self) -> int:
        """Connections that are still free."""
        return max(0, self.allowed - self.used)


_ROOM = (
    "cast(current_setting('max_connections') AS integer)"
    " - cast(current_setting('superuser_reserved_connections') AS integer)"
    " - coalesce(cast(current_setting('reserved_connections', true) AS integer), 0)"
)
# Only a role that reads all settings may ask for the data directory. The embedded server of root names it by
# /proc/self, which means another directory to this process.
_DIRECTORY = (
    "CASE WHEN pg_has_role('pg_read_all_settings', 'usage') AND inet_server_addr() IS NULL"
    " THEN replace(current_setting('data_directory'), '/proc/self/', '/proc/' || pg_backend_pid() || '/') END"
)


async def describe_server(store: Store) -> Server:
    """Describe the server. Raises StoreError if it doesn't answer."""
    async with store.reading() as session:
        row = (
            await session.execute(
                text(
                    f"SELECT current_setting('server_version') AS version, {_ROOM} AS allowed,"
                    " (SELECT cast(sum(numbackends) AS integer) FROM pg_stat_database) AS used,"
                    " pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') AS read_only,"
                    f" {_DIRECTORY} AS directory"
                )
            )
        ).one()
    return Server(
        version=row.version,
        allowed=row.allowed,
        used=row.used,
        standby=row.standby,
        read_only=row.read_only == "on" and not store.read_only,
        pooled=bool(store.connector.pooled),
        disk_free=None if row.directory is None else await anyio.to_thread.run_sync(_free, row.directory),
    )


def _free(directory: str) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:  # the directory is in a container, or this process may not enter it
        return None


async def require_capacity(store: Store, concurrency: int, *, writing: bool) -> None:
    """Check that pool and server have the connections for a concurrency, and if ``writing`` that the server writes.

    Raises RequestError for too few connections, and StoreError for a read-only server.
    """
    if concurrency > store.connections:
        raise RequestError(
            f"A concurrency of {concurrency} needs as many database connections; the pool has {store.connections}.",
            code="pool_too_small",
            hint="Open the store with connections=concurrency, or lower the concurrency.",
        )
    server = await describe_server(store)
    if writing and (server.standby or server.read_only or store.read_only):
        raise StoreError(
            "The database server is read-only.",
            code="database_read_only",
            hint="Name the primary server in RETROVUE_DATABASE_URL.",
        )
    needed = concurrency + AUDIT_CONNECTIONS + _LOCK_CONNECTIONS
    if needed > server.allowed:
        raise RequestError(
            f"A concurrency of {concurrency} needs {needed} database connections; the server allows {server.allowed}.",
            code="too_many_connections",
            hint=f"Use --concurrency {max(1, server.allowed - AUDIT_CONNECTIONS - _LOCK_CONNECTIONS)} or less,"
            " or raise max_connections on the server.",
        )
