"""Engines and sessions of SQLAlchemy, which a store needs for its pools and transactions that write.

Importing SQLAlchemy is half of the start of a command, so other modules import this one when they need an engine.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from retrovue.core.logs import logger
from retrovue.store.connecting import Connector
from retrovue.store.dialect import with_dialect
from retrovue.store.statements import Session, Statement, limit_statements
from retrovue.store.url import URL

_log = logger(__name__)


def make_engine(url: URL, application_name: str, connector: Connector, **pool: Any) -> AsyncEngine:
    """Return an engine that connects by a connector, with the options of its pool. Without any it has no pool."""
    # A pooler accepts application_name when a connection starts and refuses other settings, so those are set later.
    engine = create_async_engine(
        with_dialect(url),
        hide_parameters=True,
        connect_args={
            "server_settings": {"application_name": application_name},
            "async_creator_fn": connector,
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


class EngineSession(Session, AsyncSession):
    """An async session of SQLAlchemy that executes the store's own statements by its connection's driver."""

    def __init__(self, connection: AsyncConnection, driver: Any) -> None:
        AsyncSession.__init__(self, bind=connection, expire_on_commit=False)
        Session.__init__(self, driver)

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Any:
        """Execute a statement of the store, or one of SQLAlchemy with its options."""
        if isinstance(statement, Statement):
            return await Session.execute(self, statement, params)
        return await AsyncSession.execute(self, statement, params, **options)

    async def start(self, first: str, seconds: float) -> Any:
        """Begin a transaction by a statement; see `Session.start`."""
        await self.begin()
        connection = await self.connection()
        self.driver = (await connection.get_raw_connection()).driver_connection
        self.made = connection.info
        limit_statements(self.driver, seconds)
        # SQLAlchemy sends BEGIN with its first statement. Statements of the driver would run outside of a transaction.
        return (await connection.exec_driver_sql(first)).scalar_one()

    async def commit(self) -> None:
        """Commit the transaction."""
        await AsyncSession.commit(self)

    async def rollback(self) -> None:
        """Roll the transaction back, if there is one."""
        await AsyncSession.rollback(self)


@asynccontextmanager
async def session_over(connection: AsyncConnection) -> AsyncIterator[EngineSession]:
    """Open a session that keeps a connection until the block ends."""
    # Bound to the engine it would return the connection at each commit.
    driver = (await connection.get_raw_connection()).driver_connection
    async with EngineSession(connection, driver) as session:
        yield session
