"""Backups of the embedded database: one file each, written and read by the pg_dump and pg_restore that come with it."""

import os
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from retrovue.core.errors import RequestError, SchemaMismatch, StoreError
from retrovue.store.embedded import EmbeddedServer
from retrovue.store.migrations import revisions, schema_status, upgrade
from retrovue.store.session import Store, database_url, translated
from retrovue.store.testing_database import maintenance

_IN_USE = "55006"


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much is in a catalogue."""

    sources: int = 0
    collections: int = 0
    assets: int = 0


async def back_up(server: EmbeddedServer, name: str, file: Path) -> int:
    """Write a database to a new file that only its owner can read, as it is at one moment; returns the bytes.

    Commands may go on meanwhile, ingests too. The file appears under its name when it is whole and on the disk.

    Raises RequestError if there is such a file, or it can't be written, and StoreError.
    """
    check_new(file)
    part = file.with_name(f"{file.name}.part")
    try:
        # pg_dump goes on with the file and its permissions. To its standard output it would write everything twice.
        await anyio.to_thread.run_sync(_make_private, part)
        await server.run("pg_dump", "--format=custom", "--dbname", name, "--file", str(part))
        size = await anyio.to_thread.run_sync(_settle, part, file)
    except OSError as exc:
        raise RequestError(f"The file {file} can't be written: {exc.strerror or exc}.", code="bad_file") from exc
    finally:
        await anyio.Path(part).unlink(missing_ok=True)
    return size


def _make_private(part: Path) -> None:
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _settle(part: Path, file: Path) -> int:
    """Have a file on the disk, then give it its name; returns its bytes."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.rename(file)
    return file.stat().st_size


def check_new(file: Path) -> None:
    """Refuse a file that is there already."""
    if file.exists():
        raise RequestError(
            f"The file {file} exists already.",
            code="file_exists",
            hint="Nothing was written. Choose another name: a backup never replaces one.",
        )


async def check_backup(server: EmbeddedServer, file: Path) -> None:
    """Raise RequestError unless the file is a backup that pg_restore can read."""
    listing = b""
    if await anyio.Path(file).is_file():
        try:
            listing = await server.run("pg_restore", "--list", str(file))
        except StoreError as exc:
            raise _no_backup(file) from exc
    if b" catalogue_role " not in listing:
        raise _no_backup(file)


def _no_backup(file: Path) -> RequestError:
    return RequestError(f"The file {file} is no backup of a catalogue.", code="bad_file")


async def holdings(server: EmbeddedServer, name: str) -> Holdings:
    """Count what is in a database, which needn't exist."""
    url = database_url(server.url(name))
    async with maintenance(url) as connection:
        if not await _exists(connection, name):
            return Holdings()
    async with Store(url, connections=1, read_only=True) as store:
        if (await schema_status(store)).current is None:
            return Holdings()
        async with store.transaction() as session:
            row = await session.execute(
                text(
                    "SELECT (SELECT count(*) FROM source), (SELECT count(*) FROM collection),"
                    " (SELECT count(*) FROM asset)"
                )
            )
            return Holdings(*row.one())


async def restore(server: EmbeddedServer, name: str, role: str, file: Path) -> None:
    """Put a backup in a database's place, brought up to this program's schema.

    The backup is read into a database beside it; the two change places in one transaction, once all is well.

    Raises SchemaMismatch if the backup is of another role or of a newer program, and StoreError with code
    ``database_in_use`` while another program is connected; then nothing has changed.
    """
    fresh, old = f"{name}_restoring", f"{name}_replaced"
    url = database_url(server.url(fresh))
    async with maintenance(url) as connection:
        await connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{fresh}"')
        await connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{old}"')
        await connection.exec_driver_sql(f'CREATE DATABASE "{fresh}" TEMPLATE template0')
    try:
        await _read_into(server, fresh, role, file)
        async with maintenance(url) as connection:
            try:
                with translated():
                    await _swap(connection, name, fresh, old)
            except StoreError as exc:
                if exc.context.get("sqlstate") != _IN_USE:
                    raise
                raise StoreError(
                    "The catalogue is in use by another command.",
                    code="database_in_use",
                    hint="Nothing was changed. End the commands that use it, then run this one again.",
                ) from exc
    finally:
        async with maintenance(url) as connection:
            for left in (fresh, old):
                await connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{left}"')


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


async def _swap(connection: AsyncConnection, name: str, fresh: str, old: str) -> None:
    steps = [f'ALTER DATABASE "{fresh}" RENAME TO "{name}"']
    if await _exists(connection, name):
        steps.insert(0, f'ALTER DATABASE "{name}" RENAME TO "{old}"')
    # In one transaction: at no moment is there no catalogue, which the next command would make anew.
    await connection.exec_driver_sql("BEGIN")
    try:
        for step in steps:
            await connection.exec_driver_sql(step)
        await connection.exec_driver_sql("COMMIT")
    except BaseException:
        await connection.exec_driver_sql("ROLLBACK")
        raise


async def _exists(connection: AsyncConnection, name: str) -> bool:
    found = await connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
    return found.first() is not None
