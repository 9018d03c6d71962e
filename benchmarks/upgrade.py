"""python -m benchmarks.upgrade: a catalogue as it was before syncs is upgraded, and synced for the first time.

Ingests a library of a simulated Plex server, and copies what the schema of revision 0004 knows of it to a database of
that revision. Then `retrovue db upgrade` and `retrovue source sync` run as an operator runs them. Fails if the upgrade
writes the table of assets anew, or if the sync reports that anything has changed.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import orjson
from sqlalchemy import Connection

from benchmarks.database import SOURCE, Databases, private_server
from benchmarks.harness import ROOT, TOKEN, retrovue, served
from benchmarks.scenarios import even
from retrovue.store.addresses import database_url
from retrovue.store.migrations import scripts_directory
from retrovue.store.session import Store

REVISION = "0004"
_TABLES = ("source", "collection", "path_mapping", "asset", "asset_part", "asset_alias", "catalogue_role")
_COUNTED = ("created_assets", "changed", "refreshed", "replaced", "restored", "relinked", "missing", "gone")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upgrade", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000, metavar="N", help="films (default: 1,000,000)")
    parser.add_argument("--episodes", action="store_true", help="episodes instead of films")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrovue-bench-") as scratch:
        return anyio.run(_run, Path(scratch), options.items, "show" if options.episodes else "movie")


async def _run(scratch: Path, items: int, kind: Any) -> int:
    media = scratch / "media"
    media.mkdir()
    (media / "a disk").touch()
    async with private_server(scratch) as databases, served(even(4, items, kind)) as plex:
        new = await databases.make(plex.url, TOKEN, media)
        await _command(databases, new, "source", "ingest", SOURCE)
        old = await _copy_to_old(databases, new)
        await databases.drop(new)
        before = await _table(databases, old)
        await databases.settle()
        seconds, _ = await _command(databases, old, "db", "upgrade")
        after = await _table(databases, old)
        _say(f"db upgrade of {before['assets']:,} assets, {before['bytes'] >> 20:,} MiB: {seconds:.1f} s")
        if before != after:
            raise SystemExit(f"The table of assets was written anew: {before}, {after}")
        # The files of the library are nowhere.
        await databases.without_file_checks(old)
        for name in ("first", "second"):
            seconds, document = await _command(databases, old, "source", "sync", SOURCE)
            found = {count: document[f"total_{count}"] for count in _COUNTED if document[f"total_{count}"]}
            known = document["total_skipped_assets"]
            _say(f"{name} sync: {seconds:.1f} s, {known:,} known, {found or 'nothing changed'}")
            if found:
                return 1
    return 0


async def _copy_to_old(databases: Databases, new: str) -> str:
    """Make a database of the old revision with what it can hold of a catalogue; return its name."""
    old = await databases.empty()
    async with Store(database_url(databases.url(old)), connections=1) as store, store.data.begin() as connection:
        await connection.run_sync(_upgrade)
    source, target = [await asyncpg.connect(databases.url(name).replace("+asyncpg", "")) for name in (new, old)]
    try:
        for table in _TABLES:
            columns = [
                row["column_name"]
                for row in await target.fetch(
                    "SELECT column_name FROM information_schema.columns"
                    " WHERE table_name = $1 AND is_generated = 'NEVER'",
                    table,
                )
            ]
            with tempfile.TemporaryFile() as rows:
                names = ", ".join(columns)
                await source.copy_from_query(f"SELECT {names} FROM {table}", output=rows, format="binary")
                rows.seek(0)
                await target.copy_to_table(table, source=rows, columns=columns, format="binary")
        await target.execute("VACUUM (ANALYZE) asset")
    finally:
        await source.close()
        await target.close()
    return old


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - as the program does
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)


async def _table(databases: Databases, name: str) -> dict[str, int]:
    """Return the number of assets, and the file and the bytes of their table."""
    connection = await asyncpg.connect(databases.url(name).replace("+asyncpg", ""))
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM asset) AS assets, pg_relation_filenode('asset') AS file,"
            " pg_relation_size('asset') AS bytes"
        )
        return dict(row)
    finally:
        await connection.close()


async def _command(databases: Databases, name: str, *words: str) -> tuple[float, dict[str, Any]]:
    """Run a command on a catalogue; return the seconds that it took, and its document."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RETROVUE_")}
    environment = {"RETROVUE_DATABASE_URL": databases.url(name), "RETROVUE_TOKEN": TOKEN}
    began = time.monotonic()
    done = await anyio.run_process(
        [*retrovue(Path(sys.executable)), *words, "--json"],
        env=inherited | environment,
        cwd=ROOT,
        stderr=None,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
    return seconds, orjson.loads(done.stdout)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
