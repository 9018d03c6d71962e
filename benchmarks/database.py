"""The private PostgreSQL of a run of benchmarks: databases made and cloned, and the CPU that the server spends."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import orjson
import psutil  # type: ignore[import-untyped]
from sqlalchemy import text

from retrovue.core.model import PathMapping, Secret
from retrovue.operations.discovery import add_source, discover
from retrovue.store.addresses import database_url
from retrovue.store.collections import set_check_files, set_enabled, set_path_mappings
from retrovue.store.embedded import EmbeddedServer, embedded_server
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store

SOURCE = "Benchmark"
"""The name of the one source that every catalogue here has."""
_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


class Written(NamedTuple):
    """How much has been written at a moment."""

    log: int
    """Bytes of the write-ahead log of the whole server."""
    transaction: str


class Databases:
    """Catalogues on the private server."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    def url(self, name: str) -> str:
        """Return the URL of a database, as RETROVUE_DATABASE_URL takes it."""
        return self._server.url(name)

    async def settings(self) -> dict[str, str]:
        """Name the server's version and what of its configuration matters for speed."""
        async with self._connection("postgres") as connection:
            return {name: await connection.fetchval(f"SHOW {name}") for name in _SETTINGS}

    async def make(self, url: str, token: str, media: Path, type_name: str = "plex") -> str:
        """Make a catalogue in which every collection of a server is mapped and enabled; return its name."""
        return await self._make(type_name, {"base_url": url}, {"token": Secret(token)}, media)

    async def make_of_tree(self, root: Path) -> str:
        """Make a catalogue in which every directory in this one is an enabled collection; return its name."""
        return await self._make("filesystem", {"path": str(root), "kind": "movie"}, {}, None)

    async def _make(
        self, type_name: str, config: dict[str, Any], credentials: dict[str, Secret], media: Path | None
    ) -> str:
        name = await self.empty()
        async with Store(database_url(self.url(name)), connections=2) as store:
            await upgrade(store, "production")
            source = await add_source(store, type_name, SOURCE, config, credentials)
            found = await discover(store, source.external_id)
            async with store.transaction() as session:
                # As `collection update` does, but without asking the server once more for each of 200 collections.
                for collection in found.collections:
                    if media is not None:
                        mappings = [PathMapping(location, str(media)) for location in collection.locations]
                        await set_path_mappings(session, collection, mappings)
                    await set_enabled(session, collection, enabled=True)
                    await set_check_files(session, collection, check_files=False)
        return name

    async def empty(self) -> str:
        """Make a database without a schema; return its name."""
        name = self._next("template")
        await self._execute(f'CREATE DATABASE "{name}"')
        return name

    async def clone(self, template: str, config: dict[str, Any] | None = None) -> str:
        """Copy a catalogue, with more in its source's configuration if given, and return the copy's name."""
        name = self._next("run")
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        if config:
            await self._execute(
                "UPDATE source SET config = config || $1::jsonb", orjson.dumps(config).decode(), on=name
            )
        return name

    async def without_file_checks(self, name: str) -> None:
        """Let no ingest look for the files of a catalogue."""
        await self._execute("UPDATE collection SET check_files = false", on=name)

    async def drop(self, name: str) -> None:
        """Drop a catalogue."""
        await self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def assets(self, name: str) -> int:
        """Count a catalogue's assets."""
        async with self._connection(name) as connection:
            return int(await connection.fetchval("SELECT count(*) FROM asset"))

    async def unload(self, name: str, file: Path) -> None:
        """Write the rows of a catalogue's assets to a file, as COPY does in binary."""
        async with self._connection(name) as connection:
            await connection.copy_from_table("asset", output=str(file), format="binary")

    async def vacuum(self, name: str) -> None:
        """Vacuum a catalogue, as the server would in the background."""
        await self._execute("VACUUM (ANALYZE)", on=name)

    async def settle(self) -> None:
        """Write what is dirty to the disk, so that no run pays for the one before."""
        await self._execute("CHECKPOINT")

    async def written(self, name: str) -> "Written":
        """Return how far the server's log and the transactions of a catalogue are."""
        async with self._connection(name) as connection:
            return Written(
                await connection.fetchval("SELECT cast(pg_current_wal_insert_lsn() - '0/0' AS bigint)"),
                await connection.fetchval("SELECT cast(cast(pg_current_xact_id() AS xid) AS text)"),
            )

    async def assets_written(self, name: str, since: "Written") -> int:
        """Count the rows of assets that were written since then."""
        async with self._connection(name) as connection:
            statement = "SELECT count(*) FROM asset WHERE age(xmin) < age(cast(cast($1 AS text) AS xid))"
            return int(await connection.fetchval(statement, since.transaction))

    def cpu(self) -> float:
        """How many seconds of CPU the server has spent so far, ended backends included.

        What a backend has spent goes to the server's first process when it ends.
        """
        first = psutil.Process(self._server.pid)
        spent = 0.0
        for process in first.children():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent += times.user + times.system
        times = first.cpu_times()
        return float(spent + times.user + times.system + times.children_user + times.children_system)

    async def quiet(self, name: str) -> None:
        """Wait until no client is connected to a catalogue."""
        async with self._connection("postgres") as connection:
            await connection.execute(
                "DO $$ BEGIN FOR attempt IN 1..500 LOOP PERFORM pg_stat_clear_snapshot(); EXIT WHEN NOT EXISTS"
                f" (SELECT FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'client backend');"
                " PERFORM pg_sleep(0.01); END LOOP; END $$"
            )

    def _next(self, kind: str) -> str:
        # Tests share their server with others.
        return f"bench_{kind}_{secrets.token_hex(6)}"

    async def _execute(self, statement: str, *values: object, on: str = "postgres") -> None:
        async with self._connection(on) as connection:
            await connection.execute(statement, *values)

    @asynccontextmanager
    async def _connection(self, name: str) -> AsyncIterator[Any]:
        connection: Any = await asyncpg.connect(self.url(name).replace("+asyncpg", ""))
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def private_server(home: Path) -> AsyncIterator[Databases]:
    """Run a PostgreSQL of our own, as durable as an operator's, until the block ends."""
    async with embedded_server(home, durable=True) as server:
        yield Databases(server)


async def multiply(store: Store, items: int) -> int:
    """Copy the assets of a catalogue until there are about as many as wanted; return their number."""
    async with store.transaction(long=True) as session:
        columns = [
            row[0]
            for row in await session.execute(
                text(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = 'asset'"
                    " AND column_name NOT IN ('uuid', 'source_hash', 'canonical_hash', 'title', 'show_title')"
                    " ORDER BY ordinal_position"
                )
            )
        ]
        names = ", ".join(columns)
        times = items // (await session.execute(text("SELECT count(*) FROM asset"))).scalar_one() - 1
        await session.execute(
            text(
                f"INSERT INTO asset (source_hash, canonical_hash, title, show_title, {names})"
                " SELECT uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()),"
                f" title || ' copy ' || number || substr(md5(title), 1, 3), show_title || ' copy ' || number, {names}"
                f" FROM asset, generate_series(1, {times}) AS number"
            )
        )
    async with store.transaction(long=True) as session:
        await session.execute(text("ANALYZE asset"))
        found: int = (await session.execute(text("SELECT count(*) FROM asset"))).scalar_one()
    return found
