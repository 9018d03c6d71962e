"""Connect to the database: retry while the server starts or is full, and check that the session is exclusive.

Staging keeps temporary tables over many transactions, and a dry-run is read-only by a session setting. Neither works
behind a pooler in transaction mode, such as PgBouncer's: the next transaction runs in another session, with another
client's settings and temporary tables. Such a pooler is refused. Two checks find it. A pooled connection is observed
while a second one works. And each session gets a mark, so that another mark at the beginning of a connection or
transaction proves that the session is shared.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import asyncpg

from retrovue.core.errors import StoreError
from retrovue.core.logs import logger
from retrovue.store.driver import Connect
from retrovue.store.failures import POOLING_HINT

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

OLDEST_SERVER = 14
"""The oldest major version of PostgreSQL that is supported and tested."""
PATIENCE = 10.0
"""How long to retry while the server is starting or has no free connection, in seconds."""
MARK = "retrovue.session"
"""The session setting that holds the mark of the connection to which the session belongs."""
SESSION_MARK = f"current_setting('{MARK}', true)"
"""The SQL of the mark of the session that executes a statement."""

_log = logger(__name__)

_PROBE_SECONDS = 3.0
_OWN_SESSION = (
    # These override the defaults of the role and the database. A statement has to see what others have committed, and a
    # session may be idle while the source is waited for.
    "SET default_transaction_isolation = 'read committed'; SET idle_session_timeout = 0;"
    # Where nested loops are switched off, JIT compilation takes seconds for statements that take milliseconds.
    "SET jit = off;"
    # The server notices within two minutes that the client is gone, and releases its locks.
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
    "SET tcp_user_timeout = 60000"
)
_NOT_YET = (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)
"""The errors of a server that starts, or has no free connection now."""
_NOT_PREPARED = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""The errors of a statement that was prepared in another session."""


def connect_through(engine: "AsyncEngine") -> Connect:
    """Return a function that opens connections by a host program's engine, detached from the engine's pool."""

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
    """There is a pooler in transaction mode between RetroVue and the database."""

    default_code = "transaction_pooling"

    def __init__(self, unit: str = "transaction") -> None:
        super().__init__(
            f"Between RetroVue and the database is a pooler that gives each {unit} another session.",
            hint=POOLING_HINT,
        )


class Connector:
    """Opens the connections of one store."""

    def __init__(self, *, read_only: bool, patience: float, connect: Connect) -> None:
        self.pooled: bool | None = None
        """Whether there is a pooler in session mode; None before the first connection."""
        self._connect = connect
        self._read_only = read_only
        self._patience = patience
        self._token = uuid4().hex

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Open a connection, with the arguments of asyncpg.connect.

        Raises TransactionPooling, StoreError for a server that is too old, and the errors of asyncpg.
        """
        connection = await self._retry(*arguments, **options)
        try:
            await self._prepare(connection, arguments, options)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def try_connections(self, number: int) -> int:
        """Open up to ``number`` connections at the same time and close them; return how many could be opened."""
        opened: list[Any] = []
        answered: list[Any] = []

        async def connect() -> None:
            try:
                connection = await self._connect(server_settings={"application_name": "retrovue"})
                opened.append(connection)
                await _backend(connection)  # A pooler accepts a client before it has a session for it.
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as exc:
                _log.info("The database gave no further connection: %s", type(exc).__name__)
                return
            answered.append(connection)
            if len(answered) == number:
                group.cancel_scope.cancel()

        try:
            with anyio.move_on_after(_PROBE_SECONDS):
                async with anyio.create_task_group() as group:
                    for _ in range(number):
                        group.start_soon(connect)
        finally:
            for connection in opened:
                connection.terminate()
        return len(answered)

    async def _retry(self, *arguments: Any, **options: Any) -> Any:
        failed: Exception | None = None
        try:
            return await self._connect(*arguments, **options)
        except _NOT_YET as exc:
            failed = exc

        async def connect_or_fail() -> Any:
            nonlocal failed
            if failed is None:
                return await self._connect(*arguments, **options)
            error, failed = failed, None
            raise error

        # It takes a twentieth of a command's start to be imported, and hardly any connection fails.
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential  # noqa: PLC0415

        again = AsyncRetrying(
            retry=retry_if_exception_type(_NOT_YET),
            stop=stop_after_delay(self._patience),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            sleep=anyio.sleep,
            reraise=True,
        )
        return await again(connect_or_fail)

    async def _prepare(self, connection: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        _require_version(connection)
        try:
            await self._require_session(connection, arguments, options)
            read_only = "; SET default_transaction_read_only = on" if self._read_only else ""
            await connection.execute(f"SET {MARK} = '{self.mark(connection)}'; {_OWN_SESSION}{read_only}")
        except _NOT_PREPARED as exc:
            raise TransactionPooling from exc
        except asyncpg.PostgresError as exc:
            if "statement pooling" not in str(exc):  # The message of PgBouncer at BEGIN, always in English.
                raise
            raise TransactionPooling("statement") from exc
        try:
            # The locks of a killed process are released immediately, not at the server's next write to it.
            await connection.execute("SET client_connection_check_interval = '500ms'")
        except asyncpg.InvalidParameterValueError:
            # Some systems lack this setting: Windows, and macOS with PostgreSQL 14.
            return

    def mark(self, connection: Any) -> str:
        """Return the mark of a connection. It contains the pid that the server or pooler announced."""
        return f"{self._token}/{connection.get_server_pid()}"

    def require_own(self, connection: Any, mark: object) -> None:
        """Raise TransactionPooling if a session has a mark other than that of its connection."""
        if mark != self.mark(connection):
            raise TransactionPooling

    async def begin(self, connection: Any) -> None:
        """Begin a transaction, in one round trip.

        Raises TransactionPooling if the session has a mark other than that of its connection, and the errors of
        asyncpg.
        """
        own = f"{SESSION_MARK} IS NOT DISTINCT FROM '{self.mark(connection)}'"
        try:
            await connection.execute(f"BEGIN; SELECT 1 / cast({own} AS integer)")
        except asyncpg.DivisionByZeroError as exc:
            await connection.execute("ROLLBACK;")
            raise TransactionPooling from exc

    async def _require_session(self, connection: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        mark, backend = await connection.fetchrow(f"SELECT {SESSION_MARK}, pg_backend_pid()")
        if mark:
            raise TransactionPooling
        if backend == connection.get_server_pid():
            self.pooled = False
        elif self.pooled is None:
            # The announced pid isn't that of the backend, so there is a pooler. In transaction mode, a second
            # connection in a transaction gets this session, or this connection gets another session.
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
            # If the pool has no second session in time, it is in session mode and reserves this one for us.
            self.pooled = True


async def _backend(connection: Any) -> int:
    """Return the pid of the server process that answers."""
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
