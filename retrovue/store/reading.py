"""A store for programs that only read: it needs asyncpg, but not SQLAlchemy, whose import is half of their start."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from retrovue.store.driver import STATEMENT_SECONDS
from retrovue.store.failures import foreign
from retrovue.store.session import CLEANUP_SECONDS, Store, clean_up, translated
from retrovue.store.statements import Session
from retrovue.store.url import URL


class ReadingStore(Store):
    """An open catalogue database whose readings have connections of their own.

    There are as many connections as readings at the same time. For anything else it has the engines of a `Store`.
    """

    def __init__(self, url: URL, *, connections: int = 1, read_only: bool = False) -> None:
        super().__init__(url, connections=connections, read_only=read_only)
        self._idle: list[Session] = []

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
            while self._idle:
                await clean_up(self._idle.pop().driver.close)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:  # type: ignore[override]  # without SQLAlchemy
        """Run a block that only reads; see `Store.reading`."""
        with translated():
            session = await self._begun()
            try:
                yield session
            finally:
                await clean_up(session.rollback)
                if session.driver.is_closed() or session.driver.is_in_transaction():
                    session.driver.terminate()
                else:
                    self._idle.append(session)

    async def _begun(self) -> Session:
        """Return a session with a transaction, on an idle connection if one still works."""
        while self._idle:
            session = self._idle.pop()
            try:
                await self._begin(session, STATEMENT_SECONDS)
            except foreign():
                session.driver.terminate()
            except BaseException:
                session.driver.terminate()
                raise
            else:
                return session
        driver: Any = await self.connector(server_settings={"application_name": "retrovue"})
        try:
            for kind in ("json", "jsonb"):  # SQLAlchemy's engines decode them as well.
                await driver.set_type_codec(kind, encoder=str, decoder=json.loads, schema="pg_catalog")
            session = Session(driver)
            await self._begin(session, STATEMENT_SECONDS)
        except BaseException:
            driver.terminate()
            raise
        return session
