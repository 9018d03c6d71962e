"""Servers of a test's own, which it may bring into any state."""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from sqlalchemy import text

from retrovue.store.addresses import database_url
from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from tests.support.library import execute, until

ROOT = os.geteuid() == 0


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[EmbeddedServer]:
    """Start the home's server, or join it."""
    async with embedded_server(home, durable=False) as server:
        yield server


def opened(server: EmbeddedServer, *, read_only: bool = False) -> Store:
    """Open its catalogue, with little patience."""
    return Store(database_url(server.url("retrovue")), read_only=read_only, patience=0.2)


async def configure(store: Store, *settings: str) -> None:
    """Make settings the server's own: from its next start, or once it is told to read them."""
    async with store.data.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for setting in settings:
            await connection.execute(text(f"ALTER SYSTEM SET {setting}"))


async def prepare(home: Path, *settings: str) -> None:
    """Make a server with a migrated catalogue, and stop it; the settings hold from its next start."""
    async with running(home) as server:
        await server.ensure_database("retrovue")
        async with opened(server) as store:
            await upgrade(store, "production")
            await configure(store, *settings)


async def let_in(server: EmbeddedServer, role: str) -> str:
    """Make an ordinary role that may come in through the socket; returns the catalogue's address for it."""
    with (server.data_directory / "pg_ident.conf").open("a") as names:
        names.write(f"retrovue {pwd.getpwuid(os.geteuid()).pw_name} {role}\n")
    async with opened(server) as store:
        await execute(store, f"CREATE ROLE {role} LOGIN IN ROLE pg_read_all_data, pg_write_all_data")
        await execute(store, "SELECT pg_reload_conf()")
        await until(store, "EXISTS (SELECT FROM pg_ident_file_mappings WHERE pg_username = :role)", role=role)
    return server.url("retrovue").replace("retrovue@", f"{role}@", 1)


async def log_says(home: Path, words: str) -> None:
    """Wait until the server's log has the words: what a server does that can't be asked shows nowhere else."""
    with anyio.fail_after(60):
        while words not in (home / "pg18.log").read_text():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def owned_like(path: Path, other: Path) -> None:
    """Give a file or directory to the account that owns the other."""
    owner = other.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
