"""A store that reads by asyncpg without SQLAlchemy, whose import is half of a command's start.

A program that only reads needs nothing else. An ingest reads and reaches its source before it needs the engines.
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from retrovue.store.driver import STATEMENT_SECONDS
from retrovue.store.failures import foreign
from retrovue.store.session import Store, clean_up, translated
from retrovue.store.statements import Session
from retrovue.store.url import URL

if TYPE_CHECKING:
    from retrovue.store.engines import EngineSession

_ENGINES = "retrovue.store.engines"
"""The module that imports SQLAlchemy."""
_SETTINGS = {"application_name": "retrovue"}


class ReadingStore(Store):
    """An open catalogue database whose readings have connections of their own until something needs an engine.

    There are as many connections as readings at the same time. When there is a data pool, readings use it as those of
    any `Store`, and it takes an idle connection whenever it needs one more.
    """

    def __init__(self, url: URL, *, connections: int = 1, read_only: bool = False) -> None:
        super().__init__(url, connections=connections, read_only=read_only)
        self._idle: list[Session] = []
        self._made: dict[Any, dict[Any, Any]] = {}
        """What has been made on connections that the pool has taken, until their first session."""

    def _closings(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        idle, self._idle = self._idle, []
        return [*super()._closings(), *(partial(clean_up, session.driver.close) for session in idle)]

    @property
    def open_connections(self) -> int:
        """The number of open connections in the data pool, and of those that it will take."""
        return len(self._idle) + (0 if self._data is None else super().open_connections)

    @asynccontextmanager
    async def session(self) -> AsyncIterator["EngineSession"]:
        """Hold one connection of the data pool as a session; see `Store.session`."""
        async with super().session() as session:
            session.made.update(self._made.pop(session.driver, {}))
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:  # type: ignore[override]  # without SQLAlchemy
        """Run a block that only reads; see `Store.reading`."""
        if self._data is not None:
            async with super().reading() as of_pool:
                yield of_pool
            return
        with translated():
            session = await self._begun()
            try:
                yield session
            finally:
                await clean_up(session.rollback)
                self._put_back(session)

    @asynccontextmanager
    async def getting_ready(self, connections: int, make: Callable[[Session], Awaitable[None]]) -> AsyncIterator[None]:
        """Import the engines, and open connections for so many sessions, while the block waits for something else.

        ``make`` makes temporary tables in the caller's transaction. What isn't ready when the block and the import have
        ended is left to the sessions, and so are errors. A store that has its engines already has nothing to prepare.
        """
        if _ENGINES in sys.modules:
            yield
            return
        error: BaseException | None = None
        idle, self._idle = self._idle, []
        async with anyio.create_task_group() as opening:
            for number in range(max(connections, len(idle))):
                opening.start_soon(self._make_ready, idle[number] if number < len(idle) else None, make)
            async with anyio.create_task_group() as importing:
                importing.start_soon(_import_engines)
                try:
                    yield
                except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - raised again outside of the groups
                    error = exc
            opening.cancel_scope.cancel()
        if error is not None:
            raise error

    async def keep_open(self, connections: int) -> None:
        """Close the idle connections that nothing needs when sessions use so many at the same time."""
        surplus = self.open_connections - max(1, connections)  # One always serves what is read or written between.
        async with anyio.create_task_group() as group:
            for _ in range(min(surplus, len(self._idle))):
                group.start_soon(clean_up, self._idle.pop().driver.close)

    async def _make_ready(self, session: Session | None, make: Callable[[Session], Awaitable[None]]) -> None:
        try:
            session = session or await self._opened()
        except Exception:  # noqa: BLE001 - raised again when the connection is needed
            return
        try:
            async with self.transaction(session, temporary=True):
                await make(session)
        except Exception:  # noqa: BLE001 - as above
            session.driver.terminate()
        finally:
            self._put_back(session)

    def _put_back(self, session: Session) -> None:
        if session.driver.is_closed() or session.driver.is_in_transaction():
            session.driver.terminate()
        else:
            self._idle.append(session)

    async def _open_for_pool(self, *arguments: Any, **options: Any) -> Any:
        """Return a connection that is idle if it still works; see `Store`."""
        session = await self._first_idle(lambda session: session.driver.execute("SELECT 1"))
        if session is None:
            return await super()._open_for_pool(*arguments, **options)
        self._made[session.driver] = session.made
        return session.driver

    async def _begun(self) -> Session:
        """Return a session with a transaction, on an idle connection if one still works."""
        idle = await self._first_idle(lambda session: self._begin(session, STATEMENT_SECONDS))
        if idle is not None:
            return idle
        session = await self._opened()
        try:
            await self._begin(session, STATEMENT_SECONDS)
        except BaseException:
            session.driver.terminate()
            raise
        return session

    async def _opened(self) -> Session:
        driver: Any = await self.connector(server_settings=_SETTINGS)
        try:
            for kind in ("json", "jsonb"):  # SQLAlchemy's engines decode them as well.
                await driver.set_type_codec(kind, encoder=str, decoder=json.loads, schema="pg_catalog")
        except BaseException:
            driver.terminate()
            raise
        return Session(driver)

    async def _first_idle(self, use: Callable[[Session], Awaitable[object]]) -> Session | None:
        """Return the first idle session for which ``use`` doesn't fail; None if there is none. Others are closed."""
        while self._idle:
            session = self._idle.pop()
            try:
                await use(session)
            except foreign():
                session.driver.terminate()
            except BaseException:
                session.driver.terminate()
                raise
            else:
                return session
        return None


async def _import_engines() -> None:
    try:
        await anyio.to_thread.run_sync(import_module, _ENGINES)
    except Exception:  # noqa: BLE001 - raised again by the session that needs them
        return
