"""python -m tests.support.faults.failpoints: runs commands as processes that kill themselves at a chosen point.

Reads an order (see Order), answers with the process's id, waits for one more line before the process may begin, and
answers with its exit status. Every command is the whole program, entered as the installed command enters it, in a
process forked from one that has loaded it already.
"""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpcore
import msgspec
import pytest
from anyio._backends import _asyncio
from sqlalchemy import event
from sqlalchemy.engine import Engine

from retrovue.cli import app
from retrovue.cli.actions import ingest
from retrovue.cli.commands import source
from retrovue.cli.entry import main
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.plex import importer as plex
from retrovue.store import engines, kept, opening
from retrovue.store.dialect import Dialect
from tests.support.statements import surround

LOADED = (app, source, ingest, plex, opening, engines, httpcore, _asyncio)
"""What a command would otherwise load after the fork, every time."""


class Order(msgspec.Struct):
    """A command to run."""

    arguments: list[str]
    environment: dict[str, str]
    out: str
    """The file that its output goes to."""
    kill_at: int = 0
    """The failpoint at which the process kills itself; 0 for none."""
    keeps: bool = False
    """Whether listings of any size are kept, each page at once."""
    points: str | None = None
    """The file that tells which failpoints were passed, one a line."""


class Failpoints:
    """Counts the points at which the process may die: right before and right after each thing the database does."""

    def __init__(self, order: Order) -> None:
        self._at = order.kill_at
        self._passed = 0
        self._log = None if order.points is None else Path(order.points)
        if self._log is not None:
            self._log.write_bytes(b"")

    def passing(self, when: str, what: str) -> None:
        """Pass a point, unless it is the one."""
        self._passed += 1
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{when} {' '.join(what.split())}\n")
        if self._passed == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Have every statement, commit and COPY of this process pass."""

        def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            self.passing("before", statement)

        def after(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            self.passing("after", statement)

        @asynccontextmanager
        async def around(statement: str, _values: object) -> AsyncIterator[None]:
            self.passing("before", statement)
            yield
            self.passing("after", statement)

        surround(pytest.MonkeyPatch(), around)
        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "after_cursor_execute", after)
        # SQLAlchemy's own event comes before the commit only; and of a COPY it knows nothing.
        Dialect.do_commit = self._around_commit(Dialect.do_commit)  # type: ignore[method-assign]
        asyncpg.Connection.copy_records_to_table = self._around_copy(asyncpg.Connection.copy_records_to_table)

    def _around_commit(self, commit: Callable[..., None]) -> Callable[..., None]:
        def around(dialect: object, connection: object) -> None:
            self.passing("before", "COMMIT")
            commit(dialect, connection)
            self.passing("after", "COMMIT")

        return around

    def _around_copy(self, copy: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def around(connection: object, table: str, **options: Any) -> Any:
            self.passing("before", f"COPY {table}")
            done = await copy(connection, table, **options)
            self.passing("after", f"COPY {table}")
            return done

        return around


def _become(order: Order) -> None:
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = ["retrovue", *order.arguments]
    with Path(order.out).open("wb") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
    if order.keeps:
        HttpLibrary.bookmarks_from, kept.BUFFERED_BYTES = 1, 1
    if order.kill_at or order.points is not None:
        Failpoints(order).install()
    main()


def serve() -> None:
    """Take orders until there are no more."""
    gc.freeze()  # what looks for garbage would copy the memory that the processes share
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        held, release = os.pipe()
        child = os.fork()
        if not child:
            os.close(release)
            os.read(held, 1)
            os.close(held)
            _become(order)
        os.close(held)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdin.buffer.readline()
        os.close(release)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
