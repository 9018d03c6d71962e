"""Open the catalogue: on the embedded PostgreSQL or an operator's server, for production or for tests."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retrovue.core.config import DATABASE_URL, HOME, TEST_DATABASE_URL, Settings
from retrovue.core.errors import RequestError
from retrovue.store.addresses import database_url, same_database
from retrovue.store.embedded import EmbeddedServer, default_home, embedded_server
from retrovue.store.embedded_programs import MAJOR, explained
from retrovue.store.migrations import require_current, schema_status, upgrade
from retrovue.store.reading import ReadingStore
from retrovue.store.session import Store
from retrovue.store.url import URL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

PRODUCTION_DATABASE = "retrovue"
TEST_DATABASE = "retrovue_test"


@asynccontextmanager
async def open_store(
    settings: Settings | None = None,
    *,
    engine: "AsyncEngine | None" = None,
    test_db: bool = False,
    connections: int = 4,
    read_only: bool = False,
    check: bool = True,
    migrate: bool = False,
) -> AsyncIterator[Store]:
    """Open the catalogue that the settings name, or that of a host program's engine (see `Store.from_engine`).

    ``test_db`` opens the test database. ``connections`` is the number of collections that can be ingested at the same
    time, over all runs; up to two more connections are opened for other work. With ``read_only`` the server refuses
    every write.

    The embedded database is created and upgraded unless ``read_only`` is set. On any other server the schema must have
    the current version; ``migrate`` upgrades it first, and with ``check=False`` its version isn't checked.

    Raises RequestError for settings that don't fit together, SchemaMismatch, and StoreUnavailable.
    """
    if (settings is None) == (engine is None):
        raise RequestError("Open a catalogue by settings or by an engine.", code="bad_settings")
    if engine is not None:
        own = Store.from_engine(engine, connections=connections, read_only=read_only)
        opened = _checked(own, test_db=test_db, check=check, migrate=migrate)
    else:
        opened = _open(
            Store, settings, test_db=test_db, connections=connections, read_only=read_only, check=check, migrate=migrate
        )
    async with opened as store:
        yield store


@asynccontextmanager
async def open_for_reading(
    settings: Settings, *, test_db: bool = False, connections: int = 1, read_only: bool = False, check: bool = True
) -> AsyncIterator[Store]:
    """Open the catalogue like `open_store`, for a program that at first reads: it starts in half of the time."""
    async with _open(
        ReadingStore, settings, test_db=test_db, connections=connections, read_only=read_only, check=check
    ) as store:
        yield store


@asynccontextmanager
async def _checked(own: Store, *, test_db: bool, check: bool, migrate: bool) -> AsyncIterator[Store]:
    """Open a store on a server of the operator's."""
    role = "test" if test_db else "production"
    async with own as store:
        if migrate and not store.read_only:
            await upgrade(store, role)
        if check:
            require_current(await schema_status(store), role)
        yield store


@asynccontextmanager
async def _open(
    kind: type[Store],
    settings: Settings | None,
    *,
    test_db: bool,
    connections: int,
    read_only: bool,
    check: bool,
    migrate: bool = False,
) -> AsyncIterator[Store]:
    if settings is not None and (url := _own_server(settings, test_db=test_db)) is not None:
        own = kind(url, connections=connections, read_only=read_only)
        async with _checked(own, test_db=test_db, check=check, migrate=migrate) as store:
            yield store
        return
    role = "test" if test_db else "production"
    async with open_embedded(settings or Settings(), test_db=test_db) as (server, name):
        await server.ensure_database(name)
        target = database_url(server.url(name))
        if check:
            async with kind(target, connections=1) as store:
                status = await schema_status(store)
                if not status.up_to_date and not read_only:
                    await upgrade(store, role)
                    status = await schema_status(store)
                require_current(status, role)
        async with kind(target, connections=connections, read_only=read_only) as store:
            yield store


@asynccontextmanager
async def open_test_server(settings: Settings) -> AsyncIterator[tuple[URL, URL | None]]:
    """Keep the server of the test database running; yields the URLs of the test and the production database.

    The test database may not exist. The production database has no URL if it is the embedded one.
    """
    url = _own_server(settings, test_db=True)
    if url is not None:
        yield url, _own_server(settings, test_db=False)
        return
    async with embedded_server(_home(settings)) as server:
        yield database_url(server.url(TEST_DATABASE)), None


def begins_catalogue(settings: Settings, *, test_db: bool = False) -> bool:
    """Return whether opening the catalogue would create a new one in the home of the embedded server."""
    if _own_server(settings, test_db=test_db) is not None:
        return False
    home = _home(settings)
    with explained(home):
        return not (home / f"pg{MAJOR}").exists()


@asynccontextmanager
async def open_embedded(settings: Settings, *, test_db: bool = False) -> AsyncIterator[tuple[EmbeddedServer, str]]:
    """Keep the embedded server running; yields it with the name of the database, which may not exist.

    Raises RequestError if the settings name another server.
    """
    if _own_server(settings, test_db=test_db) is not None:
        raise RequestError(
            "Only the embedded database is backed up and restored by this command.",
            code="embedded_only",
            hint="Use pg_dump and pg_restore of your server.",
        )
    async with embedded_server(_home(settings)) as server:
        yield server, TEST_DATABASE if test_db else PRODUCTION_DATABASE


def _home(settings: Settings) -> Path:
    return default_home(os.environ if settings.home is None else {HOME: settings.home})


def _own_server(settings: Settings, *, test_db: bool) -> URL | None:
    """Return the URL of the configured database, or None for the embedded one. Tests never use the production URL."""
    production = None if settings.database_url is None else database_url(settings.database_url.reveal(), os.environ)
    if not test_db:
        return production
    if settings.test_database_url is None:
        if production is not None:
            raise RequestError(
                f"--test-db needs {TEST_DATABASE_URL} while {DATABASE_URL} names a server.",
                code="no_test_database",
                hint=f"Set {TEST_DATABASE_URL} to a database that is for tests only.",
            )
        return None
    test = database_url(settings.test_database_url.reveal(), os.environ)
    if production is not None and same_database(test, production):
        raise RequestError(
            f"{TEST_DATABASE_URL} names the production database.",
            code="test_database_is_production",
            hint=f"Set {TEST_DATABASE_URL} to another database.",
        )
    return test
