"""Whole databases: create and reset the test database, back up and restore the embedded one.

A database that isn't marked as a test database is never reset. A backup is one file, which pg_dump writes and
pg_restore reads; both are installed with the embedded server.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec import Struct

from retrovue.core.errors import RequestError, SchemaMismatch, StoreError
from retrovue.core.text import quoted
from retrovue.store.addresses import database_url, shown
from retrovue.store.driver import LONG_STATEMENT_SECONDS
from retrovue.store.embedded import EmbeddedServer
from retrovue.store.migrations import revisions, schema_status, upgrade
from retrovue.store.session import Store, connected, translated
from retrovue.store.statements import Session, limit_statements, text
from retrovue.store.url import URL

ROLE = "test"
_MAINTENANCE = "postgres"
"""The database that every server has. Others are created and dropped from a connection to it."""
_LONGEST_NAME = 63
"""The length in bytes to which PostgreSQL truncates names, so that a longer name may become that of another database.
"""
_IN_USE = "55006"
TABLES = frozenset({
    "alembic_version", "asset", "asset_alias", "asset_change", "asset_change_pruned", "asset_enrichment", "asset_file",
    "asset_identity", "asset_part", "catalogue_role", "collection", "collection_enricher", "collection_reading",
    "enricher", "enrichment_batch", "enrichment_outcome", "ingest_outcome", "ingest_rejection", "ingest_start",
    "job_host", "job_refusal", "kept_listing", "known_exception", "known_listing", "known_page", "listener",
    "path_mapping", "requested_collection", "run_progress", "run_rejection", "run_request", "schedulable_asset",
    "schedule", "schedule_run", "source", "source_filter",
})  # fmt: skip
"""The tables and views of a catalogue, of all versions, except those of `store.kept`, whose names have numbers."""


class Holdings(Struct, frozen=True):
    """The size of a catalogue."""

    sources: int = 0
    collections: int = 0
    assets: int = 0


class DatabaseState(Struct, frozen=True):
    """The state of the test database, which may not exist."""

    name: str
    """The address, without its password."""
    exists: bool
    revision: str | None = None
    """The revision of its schema; None without a schema."""
    role: str | None = None
    """``test``, or None for a database that is empty or doesn't exist."""
    holdings: Holdings = Holdings()
    identity: tuple[object, ...] = ()
    """What identifies the database uniquely, as the server reports it; empty if the database doesn't exist."""


async def inspect_test_database(url: URL, production: URL | None = None) -> DatabaseState:
    """Return the state of the test database, which may not exist. Writes nothing.

    Two different URLs may lead to the same database; the identities that the servers report decide.

    Raises RequestError if it is the production database, and SchemaMismatch if it has content and isn't marked as a
    test database, or has content that isn't RetroVue's.
    """
    name = shown(url)
    _require_name(url)
    async with _maintenance(url) as connection:
        if not await _exists(connection, url.database):
            return DatabaseState(name, exists=False)
    async with Store(url, connections=1, read_only=True) as store:
        status = await schema_status(store)
        async with store.reading() as session:
            identity = await _identity(session)
            if identity[0] != url.database:
                raise _leads_elsewhere(url, identity[0])
            await _require_another(identity, production)
            if status.role != ROLE:
                await _require_empty(session, name, status.role)
                return DatabaseState(name, exists=True, identity=identity)
            await _require_only_ours(session, name)
            return DatabaseState(name, True, status.current, status.role, await _count(session), identity)


async def create_test_database(url: URL, production: URL | None = None) -> DatabaseState:
    """Create the test database if it doesn't exist, and upgrade its schema. Returns its state before."""
    before = await inspect_test_database(url, production)
    if not before.exists:
        async with _maintenance(url) as connection:
            await _require_permission(connection)
            # If two programs create it at the same time, the second one waits here and then finds the database.
            await connection.execute(text("SELECT pg_advisory_lock(hashtext('retrovue create test database'))"))
            if not await _exists(connection, url.database):
                await connection.driver.execute(f"CREATE DATABASE {_quoted(url)}")
    async with Store(url, connections=1) as store:
        await upgrade(store, ROLE)
    return before


async def reset_test_database(url: URL, production: URL | None = None) -> DatabaseState:
    """Drop the test database with everything in it and create it again. Returns its state before.

    Raises StoreError with the code ``database_in_use``, and changes nothing, while another program is connected.
    """
    before = await inspect_test_database(url, production)
    if before.role == ROLE:
        async with _maintenance(url) as connection:
            await _require_permission(connection)
            if await _identity(connection, str(url.database)) != before.identity:
                raise _leads_elsewhere(url, "another server")
            hint = "Nothing was changed. End the programs that are connected to it, then run the command again."
            with _not_in_use("The test database is in use by another program.", hint):
                await connection.driver.execute(f"DROP DATABASE {_quoted(url)}")
    await create_test_database(url, production)
    return before


async def back_up(server: EmbeddedServer, name: str, file: Path) -> int:
    """Write a database to a new file that only its owner can read; return the size of the file in bytes.

    The backup has the state of the database at one time; other commands, including ingests, may run meanwhile. The file
    gets its name when it is complete and on the disk.

    Raises RequestError if the file exists or can't be written, and StoreError if pg_dump fails.
    """
    check_new(file)
    part = file.with_name(f"{file.name}.part")
    try:
        # pg_dump keeps the permissions of an existing file. Copying its standard output would take another copy.
        await anyio.to_thread.run_sync(_make_private, part)
        # Unlogged tables hold kept listings, which are of no use elsewhere.
        await server.run(
            "pg_dump", "--format=custom", "--no-unlogged-table-data", "--dbname", name, "--file", str(part)
        )
        return await anyio.to_thread.run_sync(_publish, part, file)
    except OSError as exc:
        raise RequestError(f"The file {file} can't be written: {exc.strerror or exc}.", code="bad_file") from exc
    finally:
        await anyio.Path(part).unlink(missing_ok=True)


def check_new(file: Path) -> None:
    """Raise RequestError if the file exists."""
    if file.exists():
        raise RequestError(
            f"The file {file} exists already.",
            code="file_exists",
            hint="Nothing was written. Choose another name: a backup never replaces one.",
        )


async def check_backup(server: EmbeddedServer, file: Path) -> None:
    """Raise RequestError unless the file is the backup of a catalogue that pg_restore can read."""
    if not await anyio.Path(file).exists():
        raise RequestError(f"There is no file {file}.", code="bad_file")
    error = RequestError(f"The file {file} isn't a backup of a catalogue.", code="bad_file")
    if not await anyio.Path(file).is_file():
        raise error
    try:
        listing = await server.run("pg_restore", "--list", str(file))
    except StoreError as exc:
        raise error from exc
    if b" catalogue_role " not in listing:
        raise error


async def holdings(server: EmbeddedServer, name: str) -> Holdings:
    """Count what a database holds; zeros if it doesn't exist."""
    url = database_url(server.url(name))
    async with _maintenance(url) as connection:
        if not await _exists(connection, name):
            return Holdings()
    async with Store(url, connections=1, read_only=True) as store, store.reading() as session:
        return await _count(session)


async def restore(server: EmbeddedServer, name: str, role: str, file: Path) -> None:
    """Replace a database by a backup, and upgrade it to this program's schema.

    The backup is restored to a second database. At the end both exchange their names in one transaction.

    Raises SchemaMismatch if the backup has another role or comes from a newer program, and StoreError with the code
    ``database_in_use`` while another program is connected. After an error nothing has changed.
    """
    fresh, old = f"{name}_restoring", f"{name}_replaced"
    url = database_url(server.url(fresh))
    async with _maintenance(url) as connection:
        await _drop(connection, fresh, old)
        await connection.driver.execute(f'CREATE DATABASE "{fresh}" TEMPLATE template0')
    try:
        await _read_into(server, fresh, role, file)
        async with _maintenance(url) as connection:
            hint = "Nothing was changed. End the commands that use it, then run this one again."
            with _not_in_use("The catalogue is in use by another command.", hint):
                await _swap(connection, name, fresh, old)
    finally:
        async with _maintenance(url) as connection:
            await _drop(connection, fresh, old)


async def _read_into(server: EmbeddedServer, name: str, role: str, file: Path) -> None:
    arguments = ("--exit-on-error", "--single-transaction", "--no-owner", "--dbname", name)
    await server.run("pg_restore", *arguments, str(file))
    async with Store(database_url(server.url(name)), connections=1) as store:
        status = await schema_status(store)
        if status.current not in revisions():
            raise SchemaMismatch(
                "The backup comes from a newer version of RetroVue.",
                code="schema_newer",
                hint="Nothing was changed. Restore it with the version that made it, or a newer one.",
            )
        await upgrade(store, role)


async def _swap(connection: Session, name: str, fresh: str, old: str) -> None:
    # In one transaction, because a command that found no catalogue in between would create an empty one.
    await connection.driver.execute("BEGIN")
    try:
        if await _exists(connection, name):
            await connection.driver.execute(f'ALTER DATABASE "{name}" RENAME TO "{old}"')
        await connection.driver.execute(f'ALTER DATABASE "{fresh}" RENAME TO "{name}"')
        await connection.driver.execute("COMMIT")
    except BaseException:
        await connection.driver.execute("ROLLBACK")
        raise


async def _drop(connection: Session, *names: str) -> None:
    for name in names:
        await connection.driver.execute(f'DROP DATABASE IF EXISTS "{name}"')


@asynccontextmanager
async def _maintenance(url: URL) -> AsyncIterator[Session]:
    """Connect to the server of a database without a transaction, as needed for creating and dropping databases."""
    store = Store(url.set(database=_MAINTENANCE), connections=1)
    async with connected(store, "retrovue") as connection:
        limit_statements(connection.driver, LONG_STATEMENT_SECONDS)
        with translated():
            yield connection


@contextmanager
def _not_in_use(message: str, hint: str) -> Iterator[None]:
    """Raise an error with its own message if dropping or renaming fails because others are connected."""
    try:
        with translated():
            yield
    except StoreError as exc:
        if exc.context.get("sqlstate") != _IN_USE:
            raise
        raise StoreError(message, code="database_in_use", hint=hint) from exc


async def _exists(connection: Session, name: str | None) -> bool:
    row = await connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
    return row.first() is not None


async def _require_permission(connection: Session) -> None:
    """Raise StoreError, before anything is dropped, if the role can't create the database again."""
    may = await connection.execute(text("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"))
    if not may.scalar_one():
        raise StoreError(
            "The database user may not create databases.",
            code="database_permission",
            hint="Nothing was changed. Grant it: ALTER ROLE the_user CREATEDB.",
        )


async def _require_empty(session: Session, name: str, role: str | None) -> None:
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


async def _require_only_ours(session: Session, name: str) -> None:
    """Raise SchemaMismatch if a database has content that RetroVue hasn't made: it would be dropped as well."""
    rows = await session.execute(
        text(
            "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname <> 'information_schema' AND nspname !~ '^pg_'"
            " AND nspname <> 'retrovue_jobs'"
            " AND NOT (relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('catalogue_role'))"
            "  AND (relname = ANY(:ours) OR relname ~ '^kept_page_[0-9]+$')) ORDER BY 1 LIMIT 20"
        ),
        {"ours": sorted(TABLES)},
    )
    if foreign := rows.scalars().all():
        raise SchemaMismatch(
            f"The test database {name} also holds what RetroVue hasn't made: {', '.join(foreign)}.",
            code="wrong_database_role",
            hint="Nothing was changed. Move it to a separate database, or drop it.",
            context={"foreign": list(foreign)},
        )


async def _require_another(identity: tuple[object, ...], production: URL | None) -> None:
    """Raise RequestError if a database is the production database, even by another URL."""
    if production is None:
        return
    try:
        async with Store(production, connections=1, read_only=True) as store, store.reading() as session:
            same = await _identity(session) == identity
    except StoreError as exc:
        if exc.code == "database_missing":
            return
        raise StoreError(
            f"Can't find out whether the test database is the production database: {exc.message}",
            code=exc.code,
            hint="Nothing was changed. Start the production server, or unset RETROVUE_DATABASE_URL for this command.",
        ) from exc
    if same:
        raise RequestError(
            "RETROVUE_TEST_DATABASE_URL leads to the production database.",
            code="test_database_is_production",
            hint="Nothing was changed. Set RETROVUE_TEST_DATABASE_URL to another database.",
        )


async def _identity(connection: Session, name: str | None = None) -> tuple[object, ...]:
    """Return a database's name and oid with the identity of its server; by default of the connected database."""
    row = await connection.execute(
        text(
            "SELECT datname, oid, cast(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS bigint),"
            " CASE WHEN has_function_privilege('pg_control_system()', 'execute')"
            "  THEN (SELECT system_identifier FROM pg_control_system()) END"
            " FROM pg_database WHERE datname = coalesce(:name, current_database())"
        ),
        {"name": name},
    )
    return tuple(row.one())


def _leads_elsewhere(url: URL, place: object) -> RequestError:
    return RequestError(
        f"The URL of the test database names {quoted(url.database)} and leads to {place}.",
        code="bad_database_url",
        hint="Nothing was changed. Connect to the server itself, not through an alias.",
    )


async def _count(session: Session) -> Holdings:
    """Count the rows of the tables that exist: the schema may be missing, or have another version."""
    counts: dict[str, int] = {}
    for field, table in (("sources", "source"), ("collections", "collection"), ("assets", "asset")):
        exists = await session.execute(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
        if exists.scalar_one():
            counts[field] = (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
    return Holdings(**counts)


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


def _make_private(part: Path) -> None:
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _publish(part: Path, file: Path) -> int:
    """Flush a file to the disk, then give it its name; return its size in bytes."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.rename(file)
    return file.stat().st_size
