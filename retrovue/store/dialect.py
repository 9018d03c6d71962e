"""SQLAlchemy's dialect for asyncpg, without round trips whose answers are known.

SQLAlchemy's own asks each new engine's first connection four questions, and pings within a transaction. Those are a
dozen round trips for each engine and three for each transaction, and the database may be far away.
"""

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, Connection

_DRIVER = "retrovue"


class Dialect(PGDialect_asyncpg):
    """Knows what a connection was told at its start, and pings in one round trip."""

    supports_statement_cache = True

    def initialize(self, connection: Connection) -> None:
        """Note what the server says at the start of a connection, and what `Connector` has set."""
        driver: Any = connection.connection.driver_connection
        version = driver.get_server_version()
        self.server_version_info = (version.major, version.micro)  # asyncpg's name for the second number since 10
        self.default_isolation_level = "READ COMMITTED"
        self._backslash_escapes = getattr(driver.get_settings(), "standard_conforming_strings", "on") == "off"

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Ask for an answer outside of a transaction. Poolers that give each transaction a session are refused."""
        dbapi_connection.autocommit = True
        try:
            dbapi_connection.ping()
            return True
        finally:
            dbapi_connection.autocommit = False


registry.register(f"postgresql.{_DRIVER}", __name__, Dialect.__name__)


def with_dialect(url: URL) -> URL:
    """Return a URL whose engines have this dialect. The engines of a host program keep SQLAlchemy's own."""
    return url.set(drivername=f"postgresql+{_DRIVER}")
