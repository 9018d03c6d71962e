"""Connections, sessions and transactions of the catalogue. No other module commits.

A store has three kinds of connections, so that no task waits for a second connection of a pool while it holds one: the
data pool (one connection for each collection at work), a small audit pool (start and failure rows, which must not
depend on the transaction that they describe), and connections outside of the pools (the locks of a run).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, Self, TypeAlias

import anyio
import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from retrovue.core.errors import CommitUnknown, RequestError, StoreError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.store.addresses import shown_to_sqlalchemy
from retrovue.store.connecting import MARK, PATIENCE, Connector, connect_through
from retrovue.store.dialect import with_dialect
from retrovue.store.driver import LONG_STATEMENT_SECONDS, STATEMENT_SECONDS, Connect, connect_to
from retrovue.store.failures import translate

Session: TypeAlias = AsyncSession
"""The session of a transaction, for modules that don't import SQLAlchemy."""

CONFLICTS = frozenset({"deadlock", "serialization_failure"})
"""The errors of a transaction that the server ended in favour of another one."""
RETRIES = 3
"""How often a transaction is repeated after such an error."""
FIRST_PAUSE = 0.05
"""Seconds before the first repetition; each further pause is twice as long, so that the other transaction can end."""
CLEANUP_SECONDS = 1.5
"""The longest time for rolling back and closing after a cancellation, in seconds; the process has to end within 2 s."""
AUDIT_CONNECTIONS = 2
SPARE_CONNECTIONS = 2
"""Connections for short work while collections hold all the others; opened when needed."""

# pool_pre_ping: a connection that broke while it was idle is replaced before it can fail the next transaction.
_POOL: dict[str, Any] = {"max_overflow": 0, "pool_timeout": 30, "pool_pre_ping": True}

_log = logger(__name__)

_FOREIGN = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Transactions(Protocol):
    """Runs transactions in a session."""

    def transaction(
        self,
        session: AsyncSession | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        long: bool = False,
    ) -> AbstractAsyncContextManager[AsyncSession]:
        """Run a block as one transaction; see `Store.transaction`."""
        ...


class Store:
    """An open catalogue database.

    Use it as an async context manager; leaving the block closes its connections. It connects when first used.
    """

    def __init__(
        self,
        url: URL,
        *,
        connections: int = 4,
        read_only: bool = False,
        patience: float = PATIENCE,
        connect: Connect | None = None,
    ) -> None:
        self.url = url
        self.connections = connections
        self.read_only = read_only
        self._patience = patience
        self._connect = connect or connect_to(url)
        self.connector = Connector(read_only=read_only, patience=patience, connect=self._connect)
        self.places = anyio.Semaphore(connections)
        """The connections of the data pool. Each collection at work holds one; the runs of a store wait for them
        without a deadline.
        """
        self.data = self._engine("retrovue", **{**_POOL, "pool_size": connections, "max_overflow": SPARE_CONNECTIONS})
        self._audit: AsyncEngine | None = None

    @classmethod
    def from_engine(cls, engine: AsyncEngine, *, connections: int = 4, read_only: bool = False) -> Self:
        """Return a store that connects by an engine of the host program, with its address, TLS settings and events.

        The store detaches each connection from the engine's pool and closes it after use. So the settings and temporary
        tables of an ingest never return to that pool, and the pool may have any size. The store uses ``connections``
        connections and a few more for short work. It doesn't dispose of the engine.

        Raises RequestError if the engine isn't for PostgreSQL by asyncpg.
        """
        if (engine.dialect.name, engine.dialect.driver) != ("postgresql", "asyncpg"):
            raise RequestError(
                f"The engine is one for {engine.dialect.name} by {engine.dialect.driver}.",
                code="bad_engine",
                hint="Make it by create_async_engine('postgresql+asyncpg://…').",
            )
        return cls(engine.url, connections=connections, read_only=read_only, connect=connect_through(engine))

    def beside(self, connections: int) -> "Store":
        """Return a second store of the same database, with its own connections."""
        return Store(
            self.url,
            connections=connections,
            read_only=self.read_only,
            patience=self._patience,
            connect=self._connect,
        )

    def _engine(self, application_name: str, **options: Any) -> AsyncEngine:
        # A pooler accepts application_name when a connection starts and refuses other settings, so those are set later.
        engine = create_async_engine(
            with_dialect(shown_to_sqlalchemy(self.url)),
            hide_parameters=True,
            connect_args={
                "server_settings": {"application_name": application_name},
                "async_creator_fn": self.connector,
            },
            **options,
        )

        @event.listens_for(engine.sync_engine, "handle_error")
        def _discard_lost_connection(context: Any) -> None:
            # The pool must not give out a lost connection again. SQLAlchemy recognises only some of the messages.
            broken = asyncpg.InterfaceError | asyncpg.InternalClientError | OSError
            if isinstance(context.original_exception, broken):
                context.is_disconnect = True
                _log.warning("A connection to the database was lost: %s", type(context.original_exception).__name__)

        return engine

    @property
    def open_connections(self) -> int:
        """The number of open connections in the data pool, in use or idle."""
        pool: Any = self.data.pool
        return int(pool.checkedin() + pool.checkedout())

    @property
    def audit(self) -> AsyncEngine:
        """The engine for start and failure rows; created at first use."""
        if self._audit is None:
            self._audit = self._engine("retrovue audit", pool_size=AUDIT_CONNECTIONS, **_POOL)
        return self._audit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
            await self.data.dispose()
            if self._audit is not None:
                await self._audit.dispose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Hold one connection of the data pool as a session. Its temporary tables last until the block ends.

        Raises StoreUnavailable if no connection can be opened or none becomes free.
        """
        connection = self.data.connect()
        with translated():
            await connection.start()
        try:
            # A session bound to a connection keeps it. Bound to the engine it would return the connection at each
            # commit.
            async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                yield session
        except BaseException:
            # Closing the connection also discards unfinished work and temporary tables.
            await _clean_up(connection.invalidate)
            raise
        finally:
            await _clean_up(connection.close)

    @asynccontextmanager
    async def unpooled(self, application_name: str) -> AsyncIterator[AsyncConnection]:
        """Hold a connection outside of the pools. ``pg_stat_activity`` shows ``name``."""
        engine = self._engine(application_name, poolclass=NullPool)
        connection = engine.connect()
        with translated():
            await connection.start()
        try:
            yield connection
        finally:
            await _clean_up(connection.close)

    @asynccontextmanager
    async def transaction(
        self,
        session: AsyncSession | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        long: bool = False,
    ) -> AsyncIterator[AsyncSession]:
        """Run a block as one transaction: commit at its end, roll back if it raises.

        A cancellation during the commit waits for the server's answer, at most CLEANUP_SECONDS. ``on_commit`` is called
        after a successful commit, before a cancellation can take effect. Each statement has STATEMENT_SECONDS, or
        LONG_STATEMENT_SECONDS with ``long``, which is meant for statements that work on whole collections.

        Raises StoreError for any error of the database, and CommitUnknown if the answer to COMMIT was lost.
        """
        if session is None:
            async with self.session() as own, self.transaction(own, on_commit=on_commit, long=long) as current:
                yield current
            return
        with translated():
            try:
                await self._begin(session, LONG_STATEMENT_SECONDS if long else STATEMENT_SECONDS)
                yield session
            except BaseException:
                await _clean_up(session.rollback)
                raise
            try:
                await self._commit(session, on_commit)
            except StoreError:
                # A refused commit ends the server's transaction, but not the session's, which can begin another one.
                await _clean_up(session.rollback)
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Run a block that only reads. It never commits, so no answer to a commit can be lost."""
        async with self.session() as session:
            with translated():
                await self._begin(session, STATEMENT_SECONDS)
                try:
                    yield session
                finally:
                    await _clean_up(session.rollback)

    async def _begin(self, session: AsyncSession, seconds: float) -> None:
        await session.begin()
        connection = await session.connection()
        raw = await limit_statements(connection, seconds)
        # The driver sends BEGIN with the first statement, but not with a COPY, which would then run outside of the
        # transaction.
        mark = await connection.exec_driver_sql(f"SELECT current_setting('{MARK}', true)")
        self.connector.require_own(raw, mark.scalar_one())

    async def _commit(self, session: AsyncSession, on_commit: Callable[[], None] | None) -> None:
        shield, done = anyio.CancelScope(shield=True), anyio.Event()
        error: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:

                async def bound_when_cancelled() -> None:
                    try:
                        await done.wait()
                    finally:
                        shield.deadline = anyio.current_time() + CLEANUP_SECONDS

                group.start_soon(bound_when_cancelled)
                with shield:
                    try:
                        await session.commit()
                        if on_commit is not None:
                            on_commit()
                    except _FOREIGN as exc:
                        error = exc
                # The task ends on its own: a cancelled task leaves 7 KB to the garbage collector, once for each page.
                done.set()
        except anyio.get_cancelled_exc_class():
            # CommitUnknown must be raised instead of the cancellation, which anyio delivers again.
            if error is None and not shield.cancelled_caught:
                raise
        if error is not None:
            known = translate(error)
            if known is None or isinstance(known, StoreUnavailable):
                raise CommitUnknown("The connection broke while the commit was under way.") from error
            raise known from error
        if shield.cancelled_caught:
            raise CommitUnknown("The commit wasn't answered before the process had to stop.")


async def retry_conflicts(transact: Callable[[], Awaitable[None]], *, retries: int = RETRIES) -> None:
    """Run a transaction; after a conflict repeat all of it, at most ``retries`` times.

    Raises the error of the last attempt, and any other error immediately. No other code repeats transactions.
    """
    for retry in range(retries):
        try:
            return await transact()
        except StoreError as exc:
            if exc.code not in CONFLICTS:
                raise
        await anyio.sleep(FIRST_PAUSE * 2**retry)
    return await transact()


async def driver_of(session: AsyncSession) -> Any:
    """Return the driver's connection of a session, for COPY."""
    return (await (await session.connection()).get_raw_connection()).driver_connection


async def limit_statements(connection: AsyncConnection, seconds: float) -> Any:
    """Set the time limit of a connection's statements, and return the driver's connection."""
    raw: Any = (await connection.get_raw_connection()).driver_connection
    # asyncpg has no public way to change the limit, but reads it here for each statement.
    raw._config = raw._config._replace(command_timeout=seconds)  # noqa: SLF001
    return raw


class translated:  # noqa: N801 - named like a function, as it is used in a with statement
    """Translate the driver's errors within the block to StoreErrors; other errors pass through."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, StoreError) or not isinstance(exc, _FOREIGN):
            return
        if (known := translate(exc)) is not None:
            raise known from exc


async def _clean_up(step: Callable[[], Awaitable[None]]) -> None:
    """Run a clean-up step for at most CLEANUP_SECONDS, even if cancelled. A lost connection isn't an error here."""
    with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
        try:
            await step()
        except _FOREIGN as exc:
            if translate(exc) is None:
                raise
