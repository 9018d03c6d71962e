"""Creating the test database and starting it over; what isn't proven to be a test database is left alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from retrovue.core.errors import RequestError, SchemaMismatch, StoreError
from retrovue.store.migrations import schema_status, upgrade
from retrovue.store.session import Store, translated

ROLE = "test"
_MAINTENANCE = "postgres"
"""The database that every server has, from which others are created and dropped."""
_LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts longer names off, and what is left may be another database's."""
_IN_USE = "55006"


@dataclass(frozen=True, slots=True)
class Found:
    """What is where the test database shall be."""

    name: str
    """The address, without its password."""
    exists: bool
    revision: str | None = None
    """The schema's, where there is one."""
    role: str | None = None
    """``test``, or None for a database that is empty or doesn't exist."""
    sources: int = 0
    collections: int = 0
    assets: int = 0


async def look(url: URL) -> Found:
    """Look at the test database, which needn't exist; writes nothing.

    Raises SchemaMismatch if there is anything that isn't marked as a test database.
    """
    name = url.set(drivername="postgresql").render_as_string(hide_password=True)
    _require_name(url)
    async with maintenance(url) as connection:
        if not await _exists(connection, url):
            return Found(name, exists=False)
    async with Store(url, connections=1, read_only=True) as store:
        status = await schema_status(store)
        async with store.transaction() as session:
            if status.role != ROLE:
                await _require_empty(session, name, status.role)
                return Found(name, exists=True)
            counts = [await _count(session, table) for table in ("source", "collection", "asset")]
    return Found(name, True, status.current, status.role, *counts)


async def create(url: URL) -> Found:
    """Create the test database unless it exists, and bring its schema up to date; returns what was there before."""
    before = await look(url)
    if not before.exists:
        async with maintenance(url) as connection:
            await _require_permission(connection)
            # Two programs may create it at once: the second one waits, and finds it there.
            await connection.execute(text("SELECT pg_advisory_lock(hashtext('retrovue create test database'))"))
            if not await _exists(connection, url):
                await connection.exec_driver_sql(f"CREATE DATABASE {_quoted(url)}")
    async with Store(url, connections=1) as store:
        await upgrade(store, ROLE)
    return before


async def reset(url: URL) -> Found:
    """Drop the test database with all that is in it and create it anew; returns what was there before.

    Raises StoreError, and changes nothing, while another program is connected to it.
    """
    before = await look(url)
    if before.role == ROLE:
        async with maintenance(url) as connection:
            await _require_permission(connection)
            try:
                with translated():
                    await connection.exec_driver_sql(f"DROP DATABASE {_quoted(url)}")
            except StoreError as exc:
                if exc.context.get("sqlstate") != _IN_USE:
                    raise
                raise StoreError(
                    "The test database is in use by another program.",
                    code="database_in_use",
                    hint="Nothing was changed. End the programs that are connected to it, then run the command again.",
                ) from exc
    await create(url)
    return before


@asynccontextmanager
async def maintenance(url: URL) -> AsyncIterator[AsyncConnection]:
    """Connect beside a database to its server; no transactions, as creating and dropping databases requires."""
    async with Store(url.set(database=_MAINTENANCE), connections=1) as store:
        with translated():
            async with store.data.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")


async def _exists(connection: AsyncConnection, url: URL) -> bool:
    found = await connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": url.database})
    return found.first() is not None


async def _require_permission(connection: AsyncConnection) -> None:
    """Refuse before anything is dropped that couldn't be created again."""
    may = await connection.execute(text("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"))
    if not may.scalar_one():
        raise StoreError(
            "The database user may not create databases.",
            code="database_permission",
            hint="Nothing was changed. Grant it: ALTER ROLE the_user CREATEDB.",
        )


async def _require_empty(session: AsyncSession, name: str, role: str | None) -> None:
    relations = await session.execute(
        text(
            "SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' LIMIT 1"
        )
    )
    if role is not None or relations.first() is not None:
        marked = "not marked as a test database" if role is None else f"marked as the {role} database"
        raise SchemaMismatch(
            f"The database {name} is not empty and {marked}.",
            code="wrong_database_role",
            hint="Nothing was changed. Name another database in RETROVUE_TEST_DATABASE_URL.",
            context={"role": role, "wanted": ROLE},
        )


async def _count(session: AsyncSession, table: str) -> int:
    # The schema may be another version's.
    there = await session.execute(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
    if not there.scalar_one():
        return 0
    count: int = (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
    return count


def _require_name(url: URL) -> None:
    name = url.database or ""
    if not name or "\0" in name or len(name.encode()) > _LONGEST_NAME:
        raise RequestError(
            "The test database's name must have 1 to 63 bytes.",
            code="bad_database_url",
            hint="Name another database in RETROVUE_TEST_DATABASE_URL.",
        )


def _quoted(url: URL) -> str:
    name = (url.database or "").replace('"', '""')
    return f'"{name}"'
