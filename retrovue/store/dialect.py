"""SQLAlchemy's dialect for asyncpg, without round trips whose answers are known, and with JSON as encoded bytes.

SQLAlchemy's own dialect asks four questions on each engine's first connection, and pings in a transaction. That takes a
dozen round trips for each engine and three for each transaction, and the database may be far away. It also begins a
transaction with the first statement; here a transaction begins with BEGIN and the check of the session, in one message.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, Connection
from sqlalchemy.util import await_only

from retrovue.store import url as of_database

_DRIVER = "retrovue"


class Dialect(PGDialect_asyncpg):
    """Uses what the server reports when a connection starts, and pings in one round trip."""

    supports_statement_cache = True

    def __init__(self, begin: Callable[[Any], Awaitable[None]] | None = None, **options: Any) -> None:
        """``begin`` begins a transaction on a connection of asyncpg; without it BEGIN does."""
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._begin = begin
        self.left_open: list[Any] | None = None
        """Takes the connections of asyncpg that the pool gives up, instead of closing them one after the other."""

    def initialize(self, connection: Connection) -> None:
        """Take what the server reports when a connection starts, and what `Connector` has set."""
        driver: Any = connection.connection.driver_connection
        version = driver.get_server_version()
        self.server_version_info = (version.major, version.micro)  # asyncpg's name since PostgreSQL 10
        self.default_isolation_level = "READ COMMITTED"
        self._backslash_escapes = getattr(driver.get_settings(), "standard_conforming_strings", "on") == "off"

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Let a connection take JSON as bytes, too, so that what was encoded isn't decoded and encoded again."""
        await conn.driver_connection.set_type_codec(
            "jsonb", encoder=_in_binary, decoder=_from_binary, schema="pg_catalog", format="binary"
        )

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Ping outside of a transaction. Poolers in transaction mode are refused anyway."""
        dbapi_connection.autocommit = True
        try:
            dbapi_connection.ping()
            return True
        finally:
            dbapi_connection.autocommit = False

    def do_close(self, dbapi_connection: Any) -> None:
        """Close a connection, or leave that to whoever has set ``left_open``."""
        if self.left_open is None:
            super().do_close(dbapi_connection)  # type: ignore[no-untyped-call]
        else:
            self.left_open.append(_adapter(dbapi_connection).driver_connection)

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, unless the connection is one without transactions."""
        adapter = _adapter(dbapi_connection)
        if not adapter.autocommit:
            driver = adapter.driver_connection
            await_only(driver.execute("BEGIN;") if self._begin is None else self._begin(driver))
            adapter.autocommit = True  # It begins none of its own with the first statement.

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit the transaction."""
        _end(_adapter(dbapi_connection), "COMMIT;")

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Roll the transaction back, if there is one."""
        adapter = _adapter(dbapi_connection)
        if adapter.driver_connection.is_closed():
            adapter.autocommit = False  # The next BEGIN finds that the connection is lost, and the pool opens another.
        else:
            _end(adapter, "ROLLBACK;")


def _adapter(connection: Any) -> Any:
    """Return SQLAlchemy's adapter of a connection of asyncpg, also of one that the pool has lent."""
    return getattr(connection, "dbapi_connection", connection)


def _end(adapter: Any, how: str) -> None:
    driver = adapter.driver_connection
    try:
        if driver.is_in_transaction():
            await_only(driver.execute(how))
    finally:
        adapter.autocommit = False  # as its isolation level says


def _in_binary(value: str | bytes) -> bytes:
    """Return JSON in PostgreSQL's binary format: after a byte for the version of the format."""
    return b"\x01" + (value if isinstance(value, bytes) else value.encode())


def _from_binary(value: bytes) -> Any:
    return json.loads(value[1:])


registry.register(f"postgresql.{_DRIVER}", __name__, Dialect.__name__)


def with_dialect(url: of_database.URL) -> URL:
    """Return a URL whose engines use this dialect. Engines of a host program keep SQLAlchemy's own.

    Parameters that only `retrovue.store.driver` understands are left out.
    """
    known = {name: value for name, value in url.query.items() if name in {"host", "port"} and "," not in value}
    return URL.create(
        f"postgresql+{_DRIVER}", url.username, url.password, url.host, url.port, url.database, query=known
    )
