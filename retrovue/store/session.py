"""Connections, sessions and transactions: the only commit and the only shields of the project.

A store has three ways to the database, so that no task ever waits for a second connection of a pool of
which it holds one: the data pool (one connection a collection at work), a small audit pool (start and failure
rows, which must not depend on the transaction they describe), and unpooled connections (the locks of a run).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from retrovue.core.errors import CommitUnknown, RequestError, StoreError, StoreUnavailable
from retrovue.core.logs import logger
from retrovue.store.connecting import CONNECT_SECONDS, MARK, PATIENCE, Connect, Connector, taken_from
from retrovue.store.failures import translate

CLEANUP_SECONDS = 1.5
"""How long rolling back and closing may take once we are cancelled; the process must be gone within 2 s."""
AUDIT_CONNECTIONS = 2

# A connection that died while nobody used it is replaced before it can fail the next transaction.
_POOL: dict[str, Any] = {"max_overflow": 0, "pool_timeout": 30, "pool_pre_ping": True}
SPARE_CONNECTIONS = 2
"""Connections for short work while collections hold all the others; opened when needed."""

_log = logger(__name__)

_FOREIGN = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


def database_url(text: str) -> URL:
    """Parse a PostgreSQL URL; every spelling of the scheme means the asyncpg driver.

    Raises RequestError for anything else; the message doesn't repeat the URL, which may hold a password.
    """
    hint = "Write it as postgresql://user:password@host:5432/database."
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as exc:
        raise RequestError("The database URL can't be read.", code="bad_database_url", hint=hint) from exc
    if url.drivername not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise RequestError(
            f"The database URL's scheme {url.drivername!r} isn't PostgreSQL.", code="bad_database_url", hint=hint
        )
    if not url.database:
        raise RequestError("The database URL names no database.", code="bad_database_url", hint=hint)
    return url.set(drivername="postgresql+asyncpg")


class Store:
    """An open catalogue database."""

    def __init__(
        self,
        url: URL,
        *,
        connections: int = 4,
        read_only: bool = False,
        patience: float = PATIENCE,
        connect: Connect = asyncpg.connect,
    ) -> None:
        self.url = url
        self.connections = connections
        self.read_only = read_only
        self._patience = patience
        self._connect = connect
        self.connector = Connector(read_only=read_only, patience=patience, connect=connect)
        self.places = anyio.Semaphore(connections)
        """Held by a collection at work: runs of one store wait here for each other, without a deadline."""
        self.data = self._engine("retrovue", **{**_POOL, "pool_size": connections, "max_overflow": SPARE_CONNECTIONS})
        self._audit: AsyncEngine | None = None

    @classmethod
    def from_engine(cls, engine: AsyncEngine, *, connections: int = 4, read_only: bool = False) -> Self:
        """Make a store whose connections are made by an engine of yours: with its address, its TLS, its events.

        Each of them is taken out of the engine's pool for good, and closed when the store no longer needs it: what an
        ingest leaves in a session, settings and temporary tables, never comes back into your pool. So the engine's
        pool may have any size; what the store uses are ``connections`` and a few more for short work. The engine is
        yours: it isn't disposed of. Raises RequestError if it isn't one for PostgreSQL by asyncpg.
        """
        if (engine.dialect.name, engine.dialect.driver) != ("postgresql", "asyncpg"):
            raise RequestError(
                f"The engine is one for {engine.dialect.name} by {engine.dialect.driver}.",
                code="bad_engine",
                hint="Make it by create_async_engine('postgresql+asyncpg://…').",
            )
        return cls(engine.url, connections=connections, read_only=read_only, connect=taken_from(engine))

    def beside(self, connections: int) -> "Store":
        """Make a store of the same database with connections of its own."""
        return Store(
            self.url,
            connections=connections,
            read_only=self.read_only,
            patience=self._patience,
            connect=self._connect,
        )

    def _engine(self, application_name: str, **options: Any) -> AsyncEngine:
        # Poolers know the setting application_name and refuse others in the greeting: those are made afterwards.
        engine = create_async_engine(
            self.url,
            hide_parameters=True,
            connect_args={
                "server_settings": {"application_name": application_name},
                "timeout": CONNECT_SECONDS,
                "async_creator_fn": self.connector,
            },
            **options,
        )

        @event.listens_for(engine.sync_engine, "handle_error")
        def _discard_lost_connection(context: Any) -> None:
            # A lost connection must not be handed out again, whatever SQLAlchemy thinks of the message.
            if isinstance(context.original_exception, asyncpg.InterfaceError | OSError):
                context.is_disconnect = True
                _log.warning("A connection to the database was lost: %s", type(context.original_exception).__name__)

        return engine

    @property
    def audit(self) -> AsyncEngine:
        """The engine for start and failure rows; made when first needed."""
        if self._audit is None:
            self._audit = self._engine("retrovue audit", pool_size=AUDIT_CONNECTIONS, **_POOL)
        return self._audit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
            await self.data.dispose()
            if self._audit is not None:
                await self._audit.dispose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Hold one connection of the data pool as a session; temporary tables live as long as the block.

        Raises StoreUnavailable if none can be had.
        """
        connection = self.data.connect()
        with translated():
            await connection.start()
        try:
            # Bound to the connection, a session keeps it over its transactions instead of returning it at each commit.
            async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                yield session
        except BaseException:
            # Whatever was half-way, temporary tables included, goes with the connection.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
                await _quietly(connection.invalidate)
            raise
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
                await _quietly(connection.close)

    @asynccontextmanager
    async def unpooled(self, application_name: str) -> AsyncIterator[AsyncConnection]:
        """Hold a connection of its own, outside every pool, under a name that pg_stat_activity shows."""
        engine = self._engine(application_name, poolclass=NullPool)
        connection = engine.connect()
        with translated():
            await connection.start()
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
                await _quietly(connection.close)

    @asynccontextmanager
    async def transaction(
        self, session: AsyncSession | None = None, *, on_commit: Callable[[], None] | None = None
    ) -> AsyncIterator[AsyncSession]:
        """Run a block as one transaction: committed if it ends, rolled back if anything is raised.

        The commit can't be cancelled half-way: once it is under way, cancellation waits for its answer, for
        CLEANUP_SECONDS at most. ``on_commit`` is called with the commit's success, before anything may be
        cancelled again. Raises StoreError for everything the database says no to, and CommitUnknown if the
        answer to COMMIT was lost.
        """
        if session is None:
            async with self.session() as own, self.transaction(own, on_commit=on_commit) as current:
                yield current
            return
        with translated():
            try:
                await self._begin(session)
                yield session
            except BaseException:
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
                    await _quietly(session.rollback)
                raise
            try:
                await self._commit(session, on_commit)
            except StoreError:
                # A refused commit has ended the server's transaction, not yet the session's: it may be run again.
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
                    await _quietly(session.rollback)
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Run a block that only looks: nothing is committed, so that no answer to a commit can be lost."""
        async with self.session() as session:
            with translated():
                await self._begin(session)
                try:
                    yield session
                finally:
                    with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLEANUP_SECONDS):
                        await _quietly(session.rollback)

    async def _begin(self, session: AsyncSession) -> None:
        await session.begin()
        connection = await session.connection()
        # BEGIN is sent lazily, and a COPY doesn't send it: it would escape the transaction and its rollback.
        found = await connection.exec_driver_sql(f"SELECT current_setting('{MARK}', true)")
        raw = await connection.get_raw_connection()
        self.connector.require_own(raw.driver_connection, found.scalar_one())

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
                # Not cancelled: a task that was leaves some 7 KB to the garbage collector, for each page.
                done.set()
        except anyio.get_cancelled_exc_class():
            # A commit whose answer didn't come is news that must not be lost; the cancellation comes again.
            if error is None and not shield.cancelled_caught:
                raise
        if error is not None:
            known = translate(error)
            if known is None or isinstance(known, StoreUnavailable):
                raise CommitUnknown("The connection broke while the commit was under way.") from error
            raise known from error
        if shield.cancelled_caught:
            raise CommitUnknown("The commit was still under way when the time to stop had come.")


class translated:  # noqa: N801 - reads as a clause: with translated():
    """Turn the driver's errors inside the block into StoreErrors; everything else passes."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, StoreError) or not isinstance(exc, _FOREIGN):
            return
        known = translate(exc)
        if known is not None:
            raise known from exc


async def _quietly(clean_up: Callable[[], Awaitable[None]]) -> None:
    """Run a step of cleaning up; that the database is gone by then is no news."""
    try:
        await clean_up()
    except _FOREIGN as exc:
        if translate(exc) is None:
            raise
