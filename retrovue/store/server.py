"""Describe the database server, and check whether an ingest can work with it."""

import shutil

import anyio.to_thread
from msgspec import Struct

from retrovue.core.errors import RequestError, StoreError
from retrovue.store.session import AUDIT_CONNECTIONS, Store
from retrovue.store.statements import text

_LOCK_CONNECTIONS = 1
BESIDE_DATA = AUDIT_CONNECTIONS + _LOCK_CONNECTIONS
"""The connections of a run in addition to one for each collection at work."""


class Limit(Struct, frozen=True):
    """A limit on the number of connections."""

    of: str
    """``server``, ``database``, ``role`` or ``pooler``."""
    allowed: int
    """The number of connections that it allows, without those reserved for administrators."""
    used: int
    """The number of connections in use, including this program's."""

    @property
    def free(self) -> int:
        """The number of connections that are still free."""
        return max(0, self.allowed - self.used)

    @property
    def hint(self) -> str:
        """How to raise the limit."""
        match self.of:
            case "server":
                return "raise max_connections on the server"
            case "pooler":
                return "raise the pooler's pool_size"
            case _:
                return f"raise CONNECTION LIMIT of the {self.of}"


class Server(Struct, frozen=True):
    """What the database server reports about itself, the database and the role."""

    version: str
    """The version, such as ``18.1``."""
    limits: tuple[Limit, ...]
    """The limits of the server and, if they have any that apply to the role, of the database and the role."""
    standby: bool
    read_only: bool
    """Whether the server, the database or the role makes transactions read-only, unlike a session's own setting."""
    encoding: str
    """The encoding of the database; ``UTF8`` is needed."""
    temporary: bool
    """Whether the role may create temporary tables, which staging needs."""
    schema: str | None
    """The schema of new tables, the first of ``search_path`` that exists."""
    writes: bool
    """Whether the role may write the tables of the catalogue, if it has any."""
    creates_tables: bool
    """Whether the role may create tables in this schema, as an upgrade does."""
    creates_schemas: bool
    """Whether the role may create schemas in the database; that of the job engine is one."""
    database: str
    """The name of the database, as SQL writes it."""
    role: str
    """The name of the role, as SQL writes it."""
    pooled: bool
    """Whether there is a pooler between RetroVue and the server."""
    disk_free: int | None
    """Free bytes on the disk of the server's data; None if this program can't access that disk."""

    def tightest(self, needed: int) -> Limit | None:
        """Return the lowest limit that allows fewer connections than are needed; None if there is none."""
        return min(
            (limit for limit in self.limits if limit.allowed < needed), key=lambda limit: limit.allowed, default=None
        )

    def unsuitable(self) -> StoreError | None:
        """Return an error if no ingest can work in the database, with any options; else None."""
        if self.encoding != "UTF8":
            return StoreError(
                f"The encoding of the database is {self.encoding}; RetroVue needs UTF8.",
                code="database_encoding",
                context={"encoding": self.encoding},
            )
        if not self.temporary:
            return StoreError(
                "The database user may not create temporary tables, which an ingest needs.",
                code="database_permission",
                hint=f"Grant it: GRANT TEMPORARY ON DATABASE {self.database} TO {self.role}.",
            )
        if limit := self.tightest(1 + BESIDE_DATA):
            return StoreError(
                f"The {limit.of} allows {limit.allowed} connections; an ingest needs at least {1 + BESIDE_DATA}.",
                code="too_many_connections",
                hint=f"{limit.hint[0].upper()}{limit.hint[1:]}.",
            )
        return None

    def unwritable(self) -> StoreError | None:
        """Return an error if the database is read-only."""
        if self.standby:
            message, hint = "The database server is a standby, which is read-only.", "Name the primary"
        elif self.read_only:
            message, hint = "The database is read-only by default.", "Set default_transaction_read_only off"
        elif not self.writes:
            tables = f"ALL TABLES IN SCHEMA {self.schema}"
            return StoreError(
                "The database user may not write the tables of the catalogue.",
                code="database_permission",
                hint=f"Grant it: GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {self.role}.",
            )
        else:
            return None
        where = "in RETROVUE_DATABASE_URL" if self.standby else f"for the database and the user {self.role}"
        return StoreError(message, code="database_read_only", hint=f"{hint} {where}.")

    def not_upgradable(self) -> StoreError | None:
        """Return an error if the schema can't be created or upgraded."""
        if (error := self.unwritable() or self.unsuitable()) is not None:
            return error
        if self.schema is None:
            return StoreError(
                "No schema that search_path names exists in the database.",
                code="database_permission",
                hint="Create it, or correct search_path.",
            )
        if not self.creates_tables:
            lacking, grant = f"tables in the schema {self.schema}", f"SCHEMA {self.schema}"
        elif not self.creates_schemas:
            lacking, grant = "schemas in the database", f"DATABASE {self.database}"
        else:
            return None
        return StoreError(
            f"The database user may not create {lacking}.",
            code="database_permission",
            hint=f"Make it the owner: ALTER DATABASE {self.database} OWNER TO {self.role}."
            f" Or grant it: GRANT CREATE ON {grant} TO {self.role}.",
        )


# The limits of database and role don't apply to superusers.
_DESCRIBE = """
    SELECT current_setting('server_version') AS version,
        cast(current_setting('max_connections') AS integer)
            - cast(current_setting('superuser_reserved_connections') AS integer)
            - coalesce(cast(current_setting('reserved_connections', true) AS integer), 0) AS server_allowed,
        (SELECT cast(sum(numbackends) AS integer) FROM pg_stat_database) AS server_used,
        CASE WHEN datconnlimit >= 0 AND NOT rolsuper THEN datconnlimit END AS database_allowed,
        (SELECT numbackends FROM pg_stat_database WHERE datid = pg_database.oid) AS database_used,
        CASE WHEN rolconnlimit >= 0 AND NOT rolsuper THEN rolconnlimit END AS role_allowed,
        (SELECT cast(count(*) AS integer) FROM pg_stat_activity WHERE usesysid = pg_roles.oid) AS role_used,
        pg_is_in_recovery() AS standby,
        (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only,
        current_setting('server_encoding') AS encoding,
        has_database_privilege(datname, 'TEMPORARY') AS temporary,
        quote_ident(current_schema()) AS schema,
        coalesce(has_table_privilege(to_regclass('asset'), 'INSERT'), true)
            AND coalesce(has_table_privilege(to_regclass('collection'), 'UPDATE'), true) AS writes,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates_tables,
        has_database_privilege(datname, 'CREATE') AS creates_schemas,
        quote_ident(datname) AS database,
        quote_ident(current_user) AS role,
        {directory} AS directory
    FROM pg_database CROSS JOIN pg_roles WHERE datname = current_database() AND rolname = session_user
"""
# Only a role that can read all settings may ask for the data directory. The embedded server of root gives it by
# /proc/self, which is another directory for this process.
_DIRECTORY = (
    "CASE WHEN pg_has_role('pg_read_all_settings', 'usage') AND inet_server_addr() IS NULL"
    " THEN replace(current_setting('data_directory'), '/proc/self/', '/proc/' || pg_backend_pid() || '/') END"
)


async def describe_server(store: Store) -> Server:
    """Return a description of the server, the database and the role. Raises StoreError if the server doesn't answer."""
    async with store.reading() as session:
        row = (await session.execute(text(_DESCRIBE.format(directory=_DIRECTORY)))).one()._asdict()
    return Server(
        version=row["version"],
        limits=tuple(
            Limit(of, row[f"{of}_allowed"], row[f"{of}_used"])
            for of in ("server", "database", "role")
            if row[f"{of}_allowed"] is not None
        ),
        standby=row["standby"],
        read_only=row["read_only"] == "on",
        encoding=row["encoding"],
        temporary=row["temporary"],
        schema=row["schema"],
        writes=row["writes"],
        creates_tables=row["creates_tables"],
        creates_schemas=row["creates_schemas"],
        database=row["database"],
        role=row["role"],
        pooled=bool(store.connector.pooled),
        disk_free=None if row["directory"] is None else await anyio.to_thread.run_sync(_free, row["directory"]),
    )


def _free(directory: str) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:  # The directory is in a container, or this process may not enter it.
        return None


async def require_capacity(store: Store, concurrency: int, *, writing: bool) -> None:
    """Check that an ingest with a concurrency can work in the database, and if ``writing`` that it can write.

    Pool, server, database, role and pooler must allow all its connections at the same time, because a run never waits
    for one connection while it holds another. Raises RequestError for too few connections, and StoreError for a
    database that is read-only or unsuitable.
    """
    if concurrency > store.connections:
        raise RequestError(
            f"A concurrency of {concurrency} needs as many database connections; the pool has {store.connections}.",
            code="pool_too_small",
            hint="Open the store with connections=concurrency, or lower the concurrency.",
        )
    server = await describe_server(store)
    if writing and store.read_only:
        raise StoreError(
            "The catalogue was opened read-only.", code="database_read_only", hint="Open it without read_only."
        )
    if (error := (server.unwritable() if writing else None) or server.unsuitable()) is not None:
        raise error
    needed = concurrency + BESIDE_DATA
    limit = server.tightest(needed)
    if limit is None and server.pooled:
        limit = await _limit_of_pooler(store, needed)
    if limit is not None:
        raise RequestError(
            f"A concurrency of {concurrency} needs {needed} database connections; the {limit.of} allows"
            f" {limit.allowed}.",
            code="too_many_connections",
            hint=f"Use --concurrency {max(1, limit.allowed - BESIDE_DATA)} or less, or {limit.hint}.",
        )


async def _limit_of_pooler(store: Store, needed: int) -> Limit | None:
    """Test whether a pooler gives as many connections at the same time as are needed; poolers don't report it."""
    store_has = store.open_connections
    given = store_has + await store.connector.try_connections(needed - store_has)
    return Limit("pooler", given, 0) if given < needed else None
