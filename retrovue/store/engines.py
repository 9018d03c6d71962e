"""Engines and sessions of SQLAlchemy, which a store needs for its pools and transactions that write.

Importing SQLAlchemy is half of the start of a command, so other modules import this one when they need an engine.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, AsyncTransaction, create_async_engine
from sqlalchemy.pool import NullPool

from retrovue.core.logs import logger
from retrovue.store.dialect import with_dialect
from retrovue.store.driver import Connect
from retrovue.store.session import clean_up
from retrovue.store.statements import Session, Statement, limit_statements
from retrovue.store.url import URL

_log = logger(__name__)


def make_engine(
    url: URL, application_name: str, begin: Callable[[Any], Awaitable[None]], connect: Connect, **pool: Any
) -> AsyncEngine:
    """Return an engine with the options of its pool; without any it has no pool.

    ``connect`` opens its connections, and ``begin`` begins their transactions.
    """
    # A pooler accepts application_name when a connection starts and refuses other settings, so those are set later.
    engine = create_async_engine(
        with_dialect(url),
        hide_parameters=True,
        begin=begin,
        connect_args={
            "server_settings": {"application_name": application_name},
            "async_creator_fn": connect,
        },
        **pool or {"poolclass": NullPool},
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def _discard_lost_connection(context: Any) -> None:
        # The pool must not give out a lost connection again. SQLAlchemy recognises only some of the messages.
        broken = asyncpg.InterfaceError | asyncpg.InternalClientError | OSError
        if isinstance(context.original_exception, broken):
            context.is_disconnect = True
            _log.warning("A connection to the database was lost: %s", type(context.original_exception).__name__)

    return engine


async def close_engine(engine: AsyncEngine) -> None:
    """Close the idle connections of an engine at the same time: the server drops the temporary tables of each."""
    dialect: Any = engine.dialect
    left: list[Any] = []
    dialect.left_open = left
    try:
        await engine.dispose()
    finally:
        dialect.left_open = None
    async with anyio.create_task_group() as group:
        for driver in left:
            group.start_soon(clean_up, driver.close)


class EngineSession(Session, AsyncSession):
    """An async session of SQLAlchemy that executes the store's own statements by its connection's driver.

    Its transactions are those of its connection, which SQLAlchemy's statements join.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        # Bound to the engine it would return the connection at each commit.
        AsyncSession.__init__(self, bind=connection, expire_on_commit=False)
        Session.__init__(self, _driver_of(connection))
        self.made = connection.info
        self._connection = connection
        self._begun: AsyncTransaction | None = None

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Any:
        """Execute a statement of the store, or one of SQLAlchemy with its options."""
        if isinstance(statement, Statement):
            return await Session.execute(self, statement, params)
        return await AsyncSession.execute(self, statement, params, **options)

    async def start(self, begin: Callable[[Any], Awaitable[None]], seconds: float) -> None:  # noqa: ARG002 - the dialect has it
        """Begin a transaction; see `Session.start`."""
        if not (self._connection.closed or self._connection.invalidated):
            limit_statements(_driver_of(self._connection), seconds)  # BEGIN as well
        self._begun = await self._connection.begin()
        # The connection was opened again if it had been lost before the transaction.
        self.driver, self.made = _driver_of(self._connection), self._connection.info
        limit_statements(self.driver, seconds)

    async def commit(self) -> None:
        """Commit the transaction."""
        if self.in_transaction():
            await AsyncSession.commit(self)
        if self._begun is not None:
            await self._begun.commit()

    async def rollback(self) -> None:
        """Roll the transaction back, if there is one."""
        if self.in_transaction():
            await AsyncSession.rollback(self)
        if self.driver is not None and self.driver.is_closed() and not self._connection.invalidated:
            await self._connection.invalidate()  # The next transaction opens another one.
        # After a commit that failed it isn't active any more, and still has to be rolled back.
        if self._begun is not None and self._connection.get_transaction() is not None:
            await self._begun.rollback()


def _driver_of(connection: AsyncConnection) -> Any:
    """Return the connection of asyncpg below one of SQLAlchemy that is open."""
    opened = connection.sync_connection
    return None if opened is None else opened.connection.driver_connection


@asynccontextmanager
async def session_over(connection: AsyncConnection) -> AsyncIterator[EngineSession]:
    """Open a session that keeps a connection until the block ends."""
    session = EngineSession(connection)
    try:
        yield session
    finally:
        if session.in_transaction():
            await session.close()
