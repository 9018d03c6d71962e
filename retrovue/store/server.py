"""What the database server must offer before an ingest begins."""

from sqlalchemy import text

from retrovue.errors import RequestError, StoreError
from retrovue.store.session import AUDIT_CONNECTIONS, Store

_LOCK_CONNECTIONS = 1


async def server_version(store: Store) -> str:
    """Name the server's version, such as ``18.1``."""
    async with store.transaction() as session:
        return str((await session.execute(text("SHOW server_version"))).scalar_one())


async def require_capacity(store: Store, concurrency: int, *, writing: bool) -> None:
    """Refuse a concurrency that the pool or the server has no connections for, and a server that can't write.

    Raises RequestError or StoreError with what to do.
    """
    if concurrency > store.connections:
        raise RequestError(
            f"A concurrency of {concurrency} needs as many database connections; the pool has {store.connections}.",
            code="pool_too_small",
            hint="Open the store with connections=concurrency, or lower the concurrency.",
        )
    async with store.transaction() as session:
        row = (
            await session.execute(
                text(
                    "SELECT cast(current_setting('max_connections') AS integer)"
                    " - cast(current_setting('superuser_reserved_connections') AS integer) AS room,"
                    " pg_is_in_recovery() AS replica, current_setting('default_transaction_read_only') AS read_only"
                )
            )
        ).one()
    if writing and (row.replica or row.read_only == "on"):
        raise StoreError(
            "The database server is read-only.",
            code="database_read_only",
            hint="Name the primary server in RETROVUE_DATABASE_URL.",
        )
    needed = concurrency + AUDIT_CONNECTIONS + _LOCK_CONNECTIONS
    if needed > row.room:
        raise RequestError(
            f"A concurrency of {concurrency} needs {needed} database connections; the server allows {row.room}.",
            code="too_many_connections",
            hint=f"Use --concurrency {max(1, row.room - AUDIT_CONNECTIONS - _LOCK_CONNECTIONS)} or less,"
            " or raise max_connections on the server.",
        )
