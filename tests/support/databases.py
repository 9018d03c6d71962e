"""Databases for tests: clones of a migrated template, each emptied for the next test if only its rows have changed."""

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self, TypeVar, cast

import anyio
import asyncpg
from anyio.from_thread import BlockingPortal

from retrovue.store.addresses import database_url
from retrovue.store.embedded import EmbeddedServer
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from tests.support.observers import KEPT, Observers, address

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that the backends of connections which were closed, or are ended, may take to be gone."""

_KEPT = ("alembic_version", "catalogue_role")
"""The tables in which a fresh database has rows."""

_SCHEMAS = "SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'retrovue_jobs')"
"""Those of the catalogue and of the job engine. A database of another test may lack the second one."""

FEW = 10
"""Pages of a table below which PostgreSQL plans for it as for one that is new."""

EMPTY = f"""
    DO $$
    DECLARE written text[]; pages bigint; one text;
    BEGIN
        EXECUTE (SELECT 'LOCK TABLE ' || string_agg(oid::regclass::text, ', ') || ' IN SHARE ROW EXCLUSIVE MODE'
            FROM pg_class WHERE relnamespace IN ({_SCHEMAS}) AND relkind = 'r');
        SELECT array_agg(oid::regclass::text), max(pg_relation_size(oid)) / current_setting('block_size')::int
        INTO written, pages FROM pg_class
        WHERE relnamespace IN ({_SCHEMAS}) AND relkind = 'r' AND relname NOT IN {_KEPT}
            AND pg_relation_size(oid) > 0;
        IF pages < {FEW} THEN
            PERFORM set_config('session_replication_role', 'replica', true);
            FOREACH one IN ARRAY written LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
        ELSIF pages >= {FEW} THEN
            EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') FROM pg_class
                WHERE relnamespace IN ({_SCHEMAS}) AND relkind = 'r' AND relname NOT IN {_KEPT});
        END IF;
    END $$
"""
"""Takes all rows out of a catalogue, once nobody writes any.

To truncate costs ten times as much as to delete: it makes some 60 files anew."""

_END_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_get_activity(NULL)
    WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# Autovacuum goes by the statistics: it must not come for what was done before.
FORGET = ("SELECT pg_stat_force_next_flush()", "SELECT pg_stat_reset()")

# Clones are copies of files: the rows of their system catalogues were written by the template's own transactions, until
# DDL writes others, or takes some away. Below 16384 are the objects that PostgreSQL comes with.
_OURS = "SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
_CATALOGUES = {
    "pg_attrdef": "true",
    "pg_attribute": "attrelid >= 16384",
    "pg_constraint": "oid >= 16384",
    "pg_event_trigger": "true",
    "pg_extension": "true",
    "pg_index": "indexrelid >= 16384",
    "pg_largeobject_metadata": "true",
    "pg_namespace": f"oid IN ({_OURS})",
    "pg_policy": "true",
    "pg_proc": "oid >= 16384",
    "pg_rewrite": "oid >= 16384",
    "pg_statistic": "starelid >= 16384",
    "pg_statistic_ext": "true",
    "pg_trigger": "true",
    "pg_type": "oid >= 16384",
}
# Emptying writes to pg_class as well, so there the values count that it leaves alone.
_RELATION = """oid, relname, relnamespace, relowner, reltablespace, relkind = 'r' AND reltuples >= 0, relpersistence,
    relchecks, relhasrules, relhastriggers, relrowsecurity, relforcerowsecurity, relacl::text, reloptions::text"""
_DATABASE = """datdba, datallowconn, datconnlimit, dattablespace, datacl::text,
    (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = pg_database.oid)"""
_FACTS = f"""
    SELECT 'pg_class', count(*), sum(hashtextextended(concat_ws(' ', {_RELATION}), 0)) FROM pg_class
    WHERE relnamespace IN ({_OURS})
    UNION ALL SELECT 'pg_database', 1, hashtextextended(concat_ws(' ', {_DATABASE}), 0) FROM pg_database
    WHERE datname = current_database()
""" + "".join([
    *(f" UNION ALL SELECT '{one}', count(*), sum(xmin::text::bigint) FROM {one} WHERE {which}"
      for one, which in _CATALOGUES.items()),
    *(f" UNION ALL SELECT '{one}', count(*), sum(hashtextextended({one}::text, 0)) FROM {one}" for one in _KEPT),
])  # fmt: skip

Facts = list[tuple[object, ...]]
"""What a database is, but for the rows that tests write."""


class Databases:
    """Lends databases to tests.

    One that comes back is lent again if it is what it was but for its rows, which are taken out. Any other is dropped:
    that of a test which has changed the schema, a setting of the database or the role of the catalogue.
    """

    def __init__(self, portal: BlockingPortal, server: EmbeddedServer, prefix: str) -> None:
        self._portal = portal
        self._server = server
        self._prefix = prefix
        self._templates: dict[str, tuple[str, Facts]] = {}
        """By role of the catalogue: the database that is cloned, and what its clones are."""
        self._clones: dict[str, str] = {}
        """The role of each clone."""
        self._prepared: dict[Callable[[str], Awaitable[object]], tuple[str, object]] = {}
        """By the function that prepared it: a database, and what the function returned."""
        self._free: dict[str, list[str]] = defaultdict(list)
        """By role, the clones that nobody uses."""
        self._observers = Observers(portal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._observers.close()

    def create(self, role: str = "production", *, migrated: bool = True) -> str:
        """Return the URL of a database that is as if just made."""
        if not migrated:
            return self._server.url(self._portal.call(self._make, ""))
        if not self._free[role]:
            if role not in self._templates:
                self._templates[role] = self._portal.call(self._make_template, role)
            # Copying the files costs half of what PostgreSQL's default costs, which logs each of their pages.
            name = self._portal.call(self._make, f'TEMPLATE "{self._templates[role][0]}" STRATEGY FILE_COPY')
            self._clones[name] = role
            self._free[role].append(name)
        return self._server.url(self._free[role].pop())

    def copy(self, url: str) -> str:
        """Return the URL of a database that is the same as another one is now, to which nobody may be connected."""
        self._observers.forget(url)
        template = database_url(url).database
        return self._server.url(self._portal.call(self._make, f'TEMPLATE "{template}" STRATEGY FILE_COPY'))

    def prepared(self, prepare: Callable[[str], Awaitable[T]]) -> tuple[str, T]:
        """Return the URL of a database as a function has prepared one, and what that returned: it is called once.

        It is called in the event loop of the portal, with the URL of a fresh catalogue.
        """
        if prepare not in self._prepared:
            url = self.create()
            self._prepared[prepare] = url, self._portal.call(prepare, url)
        url, made = self._prepared[prepare]
        return self.copy(url), cast("T", made)

    def drop(self, url: str) -> None:
        """Take a database back, whoever is still connected, and drop it unless it can be lent again."""
        name = str(database_url(url).database)
        role = self._clones.get(name)
        assert role is None or name not in self._free[role], f"{name} has been given back before"
        if role is not None and self._emptied(url, self._templates[role][1]):
            self._free[role].append(name)
            if role == "production":
                KEPT[address(url)] = self._observers
            else:  # commands drop test databases, to which nobody may be connected
                self._observers.forget(url)
        else:
            self._observers.forget(url)
            self._portal.call(self._execute, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _emptied(self, url: str, pristine: Facts) -> bool:
        try:
            return self._observers.look(url, partial(_empty, pristine=pristine))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it is gone, lets nobody in, or lacks a table
            return False

    async def _make(self, source: str) -> str:
        name = f"{self._prefix}_{uuid.uuid4().hex[:12]}"
        await self._execute(f'CREATE DATABASE "{name}" {source}')
        return name

    async def _make_template(self, role: str) -> tuple[str, Facts]:
        name = await self._make("")
        async with Store(database_url(self._server.url(name)), connections=1) as store:
            await upgrade(store, role)
        async with _connected(self._server.url(name)) as connection:
            return name, await _facts(connection)

    async def _execute(self, statement: str) -> None:
        async with _connected(self._server.url("postgres")) as connection:
            await connection.execute(statement)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(address(url))
    try:
        yield connection
    finally:
        await connection.close()


async def _facts(connection: Any) -> Facts:
    return [tuple(row) for row in await connection.fetch(_FACTS)]


async def _empty(connection: Any, pristine: Facts) -> bool:
    """Take all rows out of a database, unless anything else about it has changed; tell whether it is as it was."""
    with anyio.fail_after(PATIENCE):
        while await connection.fetchval(_END_OTHERS):  # noqa: ASYNC110 - PostgreSQL has no event for it
            await anyio.sleep(0.002)
    if await _facts(connection) != pristine:
        return False
    for statement in (EMPTY, *FORGET):
        await connection.execute(statement)
    return True
