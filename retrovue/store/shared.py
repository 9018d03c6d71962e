"""One session for several collections, with one transaction at a time, so that one transaction can merge them all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from retrovue.store.session import Store
from retrovue.store.statements import Parameters, Session, Statement


class SharedSession:
    """A session that several tasks use, one transaction at a time. Its connection belongs to no pool."""

    def __init__(self, store: Store, session: Session) -> None:
        self.session = session
        self._store = store
        self._one_at_a_time = anyio.Lock()

    @asynccontextmanager
    async def transaction(
        self,
        session: Session | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        long: bool = False,
        temporary: bool = False,
    ) -> AsyncIterator[Session]:
        """Run a block as one transaction of the session, like `Store.transaction`, after those of other tasks."""
        options = {"long": long, "temporary": temporary}
        async with (
            self._one_at_a_time,
            self._store.transaction(session or self.session, on_commit=on_commit, **options) as current,
        ):
            yield current

    async def look(self, session: Session, statement: Statement, params: Parameters) -> Any:
        """Execute one statement that reads, like `Store.look`, after the transactions of other tasks."""
        async with self._one_at_a_time:
            return await self._store.look(session, statement, params)


@asynccontextmanager
async def open_shared_session(store: Store, application_name: str) -> AsyncIterator[SharedSession]:
    """Open a connection for a shared session; it and its temporary tables end with the block.

    ``pg_stat_activity`` shows ``name``. Raises StoreUnavailable if the connection can't be opened.
    """
    from retrovue.store.engines import session_over  # noqa: PLC0415 - slow, and not needed for reading

    async with store.unpooled(application_name) as connection, session_over(connection) as session:
        yield SharedSession(store, session)
