"""Making a connection: patience with a server that starts or is full, and proof that it is a session of our own.

Staging lives in temporary tables over many transactions, and a dry-run is read-only by a setting of its session.
Both are void behind a pooler that hands out its connections by the transaction, as PgBouncer can: there the next
transaction finds another session, with somebody else's settings and staged rows in it. Such a pooler is refused,
in two ways. When a first connection turns out not to be direct, it is watched while a second one is at work. And
each session is marked: whoever finds another's mark in it, when it connects or when a transaction begins, knows
that it isn't alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import anyio
import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from retrovue.core.errors import StoreError
from retrovue.store.failures import POOLING_HINT

OLDEST_SERVER = 14
"""The oldest major version of PostgreSQL that has all we rely on; it is the oldest that was ever tried."""
PATIENCE = 10.0
"""Seconds for which a server that is still starting, or has no connection to spare, is asked again."""
CONNECT_SECONDS = 10.0
"""How long one attempt may take."""
MARK = "retrovue.session"
"""The setting that marks a session as one connection's."""

_PROBE_SECONDS = 3.0
_OWN_SESSION = (
    # What is right for our transactions doesn't depend on what the role or the database prefers. Commits of others
    # have to be seen from one statement to the next, and while the source is waited for a session may be idle.
    "SET default_transaction_isolation = 'read committed'; SET idle_session_timeout = 0"
)
_NOT_PREPARED = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""What comes of a statement that was prepared in one session and is executed in another."""


Connect = Callable[..., Awaitable[Any]]
"""Makes a connection; takes what asyncpg.connect takes."""


def taken_from(engine: AsyncEngine) -> Connect:
    """Make connections by somebody else's engine: each is taken out of its pool, which forgets it."""

    async def connect(*_arguments: Any, server_settings: Mapping[str, str], **_options: Any) -> Any:
        connection = engine.connect()
        await connection.start()
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        raw.detach()
        try:
            for name, value in server_settings.items():
                await driver.execute("SELECT set_config($1, $2, false)", name, value)
        except BaseException:
            driver.terminate()
            raise
        return driver

    return connect


class TransactionPooling(StoreError):
    """A pooler stands before the database that hands out its connections by the transaction."""

    default_code = "transaction_pooling"

    def __init__(self) -> None:
        super().__init__(
            "Between RetroVue and the database is a pooler that gives each transaction another session.",
            hint=POOLING_HINT,
        )


class Connector:
    """Makes the connections of one store."""

    def __init__(self, *, read_only: bool, patience: float, connect: Connect = asyncpg.connect) -> None:
        self.pooled: bool | None = None
        """Whether a pooler (one that hands out whole sessions) stands before the server; None until connected."""
        self._connect = connect
        self._read_only = read_only
        self._patience = patience
        self._token = uuid4().hex

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Connect; takes what asyncpg.connect takes.

        Raises TransactionPooling, StoreError for a server that is too old, and what asyncpg raises.
        """
        connection = await self._patiently(*arguments, **options)
        try:
            await self._prepare(connection, arguments, options)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _patiently(self, *arguments: Any, **options: Any) -> Any:
        again = AsyncRetrying(
            retry=retry_if_exception_type((asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)),
            stop=stop_after_delay(self._patience),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            sleep=anyio.sleep,
            reraise=True,
        )
        return await again(self._connect, *arguments, **options)

    async def _prepare(self, connection: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        _require_version(connection)
        try:
            await self._require_session(connection, arguments, options)
            await connection.execute(f"SET {MARK} = '{self.mark(connection)}'; {_OWN_SESSION}")
            if self._read_only:
                await connection.execute("SET default_transaction_read_only = on")
        except _NOT_PREPARED as exc:
            raise TransactionPooling from exc
        try:
            # If we are killed, our locks are free at once instead of when the server next tries to write to us.
            await connection.execute("SET client_connection_check_interval = '500ms'")
        except asyncpg.InvalidParameterValueError:
            # Not every operating system can tell the server (Windows; macOS with PostgreSQL 14).
            return

    def mark(self, connection: Any) -> str:
        """Return the mark of a connection's session; the pid is the one that the server, or a pooler, announced."""
        return f"{self._token}/{connection.get_server_pid()}"

    def require_own(self, connection: Any, found: object) -> None:
        """Raise TransactionPooling if the session that answered isn't the one that the connection was given."""
        if found != self.mark(connection):
            raise TransactionPooling

    async def _require_session(self, connection: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        mark = await connection.fetchval(f"SELECT current_setting('{MARK}', true)")
        backend = await _backend(connection)
        if mark:
            raise TransactionPooling
        if backend == connection.get_server_pid():
            self.pooled = False
        elif self.pooled is None:
            # A pooler: it announces itself. One that hands out by the transaction gives our session to the next
            # who asks, or another one to us, as soon as a second connection is at work beside this one.
            with anyio.move_on_after(_PROBE_SECONDS):
                other = await self._connect(*arguments, **options)
                try:
                    async with other.transaction():
                        seen = {await _backend(connection), await _backend(connection)}
                        if await _backend(other) == backend or seen != {backend}:
                            raise TransactionPooling
                    if await _backend(connection) != backend:
                        raise TransactionPooling
                finally:
                    other.terminate()
            # A pool that has no second session to spare has promised us this one.
            self.pooled = True


async def _backend(connection: Any) -> int:
    """Ask which process of the server answers."""
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")
    return pid


def _require_version(connection: Any) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        raise StoreError(
            f"The database server is PostgreSQL {version.major}; RetroVue needs {OLDEST_SERVER} or newer.",
            code="database_too_old",
            hint="Upgrade the server, or leave out RETROVUE_DATABASE_URL to use the embedded one.",
            context={"found": version.major, "oldest": OLDEST_SERVER},
        )
