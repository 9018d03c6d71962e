"""Connections, sessions and transactions of the catalogue. No other module commits.

A store has three kinds of connections, so that no task waits for a second connection of a pool while it holds one: the
data pool (one connection for each collection at work), a small audit pool (start and failure rows, which must not
depend on the transaction that they describe), and connections outside of the pools (the locks of a run).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import anyio

from retrovue.core.errors import CommitUnknown, RequestError, StoreError, StoreUnavailable
from retrovue.store.connecting import PATIENCE, Connector, connect_through
from retrovue.store.driver import LONG_STATEMENT_SECONDS, STATEMENT_SECONDS, Connect, connect_to
from retrovue.store.failures import foreign, translate
from retrovue.store.statements import Parameters, Session, Statement, limit_statements
from retrovue.store.url import URL

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from retrovue.store.engines import EngineSession

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


class Transactions(Protocol):
    """Runs transactions in a session."""

    def transaction(
        self,
        session: Session | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        long: bool = False,
        temporary: bool = False,
    ) -> AbstractAsyncContextManager[Session]:
        """Run a block as one transaction; see `Store.transaction`."""
        ...

    async def look(self, session: Session, statement: Statement, params: Parameters) -> Any:
        """Execute one statement that reads, without a transaction; see `Store.look`."""
        ...


class Store:
    """An open catalogue database.

    Use it as an async context manager; leaving the block closes its connections. It connects when first used.
    """

    def __init__(
        self,
        url: "URL | sqlalchemy.URL",
        *,
        connections: int = 4,
        read_only: bool = False,
        patience: float = PATIENCE,
        connect: Connect | None = None,
    ) -> None:
        self.url = url if isinstance(url, URL) else URL.of(url)
        self.connections = connections
        self.read_only = read_only
        self._patience = patience
        self._connect = connect or connect_to(self.url)
        self.connector = Connector(read_only=read_only, patience=patience, connect=self._connect)
        self.places = anyio.Semaphore(connections)
        """The connections of the data pool. Each collection at work holds one; the runs of a store wait for them
        without a deadline.
        """
        self._data: AsyncEngine | None = None
        self._audit: AsyncEngine | None = None

    @classmethod
    def from_engine(cls, engine: "AsyncEngine", *, connections: int = 4, read_only: bool = False) -> Self:
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

    def _engine(self, application_name: str, connect: Connect | None = None, **options: Any) -> "AsyncEngine":
        from retrovue.store.engines import make_engine  # noqa: PLC0415 - slow, and not needed for reading

        return make_engine(self.url, application_name, self.connector.begin, connect or self.connector, **options)

    async def _open_for_pool(self, *arguments: Any, **options: Any) -> Any:
        """Open a connection for the data pool, with the arguments of asyncpg.connect."""
        return await self.connector(*arguments, **options)

    @property
    def data(self) -> "AsyncEngine":
        """The engine for the work; created at first use."""
        if self._data is None:
            size = {"pool_size": self.connections, "max_overflow": SPARE_CONNECTIONS}
            self._data = self._engine("retrovue", self._open_for_pool, **{**_POOL, **size})
        return self._data

    @property
    def open_connections(self) -> int:
        """The number of open connections in the data pool, in use or idle."""
        pool: Any = self.data.pool
        return int(pool.checkedin() + pool.checkedout())

    @property
    def audit(self) -> "AsyncEngine":
        """The engine for start and failure rows; created at first use."""
        if self._audit is None:
            self._audit = self._engine("retrovue audit", pool_size=AUDIT_CONNECTIONS, **_POOL)
        return self._audit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
            async with anyio.create_task_group() as group:
                for close in self._closings():
                    group.start_soon(close)

    def _closings(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return what closes the connections of the store. All of it is called at the same time."""
        opened = [engine for engine in (self._data, self._audit) if engine is not None]
        if not opened:
            return []
        from retrovue.store.engines import close_engine  # noqa: PLC0415 - imported already

        return [partial(close_engine, engine) for engine in opened]

    @asynccontextmanager
    async def session(self) -> AsyncIterator["EngineSession"]:
        """Hold one connection of the data pool as a session. Its temporary tables last until the block ends.

        Raises StoreUnavailable if no connection can be opened or none becomes free.
        """
        from retrovue.store.engines import session_over  # noqa: PLC0415 - slow, and not needed for reading

        connection = self.data.connect()
        with translated():
            await connection.start()
        try:
            async with session_over(connection) as session:
                yield session
        except BaseException:
            # Closing the connection also discards unfinished work and temporary tables.
            await clean_up(connection.invalidate)
            raise
        finally:
            await clean_up(connection.close)

    @asynccontextmanager
    async def unpooled(self, application_name: str) -> AsyncIterator["AsyncConnection"]:
        """Hold a connection outside of the pools. ``pg_stat_activity`` shows ``name``."""
        engine = self._engine(application_name)
        connection = engine.connect()
        with translated():
            await connection.start()
        try:
            yield connection
        finally:
            await clean_up(connection.close)

    @asynccontextmanager
    async def transaction(
        self,
        session: Session | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        long: bool = False,
        temporary: bool = False,
    ) -> AsyncIterator["EngineSession"]:
        """Run a block as one transaction: commit at its end, roll back if it raises.

        A cancellation during the commit waits for the server's answer, at most CLEANUP_SECONDS. ``on_commit`` is called
        after a successful commit, before a cancellation can take effect. Each statement has STATEMENT_SECONDS, or
        LONG_STATEMENT_SECONDS with ``long``, which is meant for statements that work on whole collections. With
        ``temporary`` the block writes only temporary tables, which end with the connection, so that a cancellation
        doesn't wait for the commit.

        Raises StoreError for any error of the database, and CommitUnknown if the answer to COMMIT was lost.
        """
        if session is None:
            options = {"long": long, "temporary": temporary}
            async with self.session() as own, self.transaction(own, on_commit=on_commit, **options) as current:
                yield current
            return
        with translated():
            try:
                await self._begin(session, LONG_STATEMENT_SECONDS if long else STATEMENT_SECONDS)
                yield cast("EngineSession", session)
            except BaseException:
                await clean_up(session.rollback)
                raise
            try:
                if temporary:
                    await _commit_temporary(session)
                else:
                    await self._commit(session, on_commit)
            except StoreError:
                # A refused commit ends the server's transaction, but not the session's, which can begin another one.
                await clean_up(session.rollback)
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["EngineSession"]:
        """Run a block that only reads. It never commits, so no answer to a commit can be lost."""
        async with self.session() as session:
            with translated():
                await self._begin(session, STATEMENT_SECONDS)
                try:
                    yield session
                finally:
                    await clean_up(session.rollback)

    async def look(self, session: Session, statement: Statement, params: Parameters) -> Any:
        """Execute one statement that reads and returns one row, without a transaction: one round trip instead of three.

        The row's column ``mark`` has to be `SESSION_MARK`. Raises what ``transaction`` raises.
        """
        with translated():
            limit_statements(session.driver, STATEMENT_SECONDS)
            row = (await session.execute(statement, params)).one()
            self.connector.require_own(session.driver, row.mark)
            return row

    async def _begin(self, session: Session, seconds: float) -> None:
        await session.start(self.connector.begin, seconds)

    async def _commit(self, session: Session, on_commit: Callable[[], None] | None) -> None:
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
                    except foreign() as exc:
                        error = exc
                # The task ends on its own: a cancelled task leaves 7 KB to the garbage collector, once for each page.
                done.set()
        except anyio.get_cancelled_exc_class():
            # CommitUnknown must be raised instead of the cancellation, which anyio delivers again.
            if error is None and not shield.cancelled_caught:
                raise
        if error is not None:
            raise _not_committed(error) from error
        if shield.cancelled_caught:
            raise CommitUnknown("The commit wasn't answered before the process had to stop.")


async def _commit_temporary(session: Session) -> None:
    """Commit what ends with the connection. A cancellation leaves the connection unusable."""
    try:
        await session.commit()
    except foreign() as exc:
        raise _not_committed(exc) from exc


def _not_committed(error: BaseException) -> StoreError:
    """Return the error of a commit that was refused or not answered."""
    known = translate(error)
    if known is None or isinstance(known, StoreUnavailable):
        return CommitUnknown("The connection broke while the commit was under way.")
    return known


@asynccontextmanager
async def connected(store: Store, application_name: str) -> AsyncIterator[Session]:
    """Hold a connection outside of the pools, without a transaction and without SQLAlchemy.

    ``pg_stat_activity`` shows ``name``.
    """
    with translated():
        driver = await store.connector(server_settings={"application_name": application_name})
    try:
        yield Session(driver)
    finally:
        await clean_up(driver.close)


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


class translated:  # noqa: N801 - named like a function, as it is used in a with statement
    """Translate the driver's errors within the block to StoreErrors; other errors pass through."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, StoreError) or not isinstance(exc, foreign()):
            return
        if (known := translate(exc)) is not None:
            raise known from exc


async def clean_up(step: Callable[[], Awaitable[None]]) -> None:
    """Run a clean-up step for at most CLEANUP_SECONDS, even if cancelled. A lost connection isn't an error here."""
    with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
        try:
            await step()
        except foreign() as exc:
            if translate(exc) is None:
                raise
