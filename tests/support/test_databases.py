"""What a test leaves in its database the next one doesn't see: rows are taken out, what else has changed is dropped."""

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
from anyio.from_thread import BlockingPortal

from retrovue.store.embedded import EmbeddedServer
from tests.support.databases import FEW, Databases

Ask = Callable[..., list[tuple[Any, ...]]]

ID = "gen_random_uuid()"
HASH = "decode(repeat('00', 16), 'hex')"
ROWS = {
    "source": "(id, external_id, name, type, config, credentials)"
    f" VALUES ({ID}, 'a-00000000', 'A', 'a', '{{}}', '{{}}')",
    "collection": f"(id, source_id, external_id, name, kind) VALUES ({ID}, {ID}, '1', 'A', 'movie')",
    "path_mapping": f"VALUES ({ID}, '/a', '/a')",
    "asset": "(collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri, canonical_key)"
    f" VALUES ({ID}, {HASH}, {HASH}, 'movie', 'A', 'a', 'a', 'a')",
    "asset_part": f"VALUES ({ID}, 1, '/a')",
    "asset_alias": "(collection_uuid, source_hash, asset_uuid, source_uri, title)"
    f" VALUES ({ID}, {HASH}, {ID}, 'a', 'A')",
    "known_listing": f"VALUES ({ID})",
    "known_page": f"VALUES ({ID}, {HASH})",
    "known_exception": f"VALUES ({ID}, {HASH})",
    "kept_listing": f"(collection_uuid, run_id, key) VALUES ({ID}, {ID}, {HASH})",
    "collection_reading": f"(collection_uuid, basis, items) VALUES ({ID}, {HASH}, 1)",
    "source_filter": f"VALUES ({ID}, 'a', '1', true)",
    "schedule": "(id, source_id, name, what, cron, time_zone, due_after)"
    f" VALUES ({ID}, {ID}, 'A', 'sync', 'a', 'a', now())",
    "schedule_run": f"(schedule_id, due_at, host_id, host) VALUES ({ID}, now(), {ID}, 'a')",
    "listener": f"(source_id, host) VALUES ({ID}, 'a')",
    "run_progress": f"(run_id, collection_id, phase) VALUES ({ID}, {ID}, 'reading')",
    "run_request": "(id, source_id, what, scope, options, skipped, requested_by)"
    f" VALUES ({ID}, {ID}, 'ingest', 'source', '{{}}', '[]', 'a')",
    "requested_collection": f"(request_id, collection_id) VALUES ({ID}, {ID})",
    "enrichment_batch": f"(run_id, collection_id, number) VALUES ({ID}, {ID}, 1)",
    "job_host": f"(id, name) VALUES ({ID}, 'A')",
    "job_refusal": f"(collection_id, host_id, host, code, reason) VALUES ({ID}, {ID}, 'A', 'a', 'a')",
    "enricher": f"(id, external_id, name, type, config) VALUES ({ID}, 'a-00000000', 'A', 'a', '{{}}')",
    "collection_enricher": f"VALUES ({ID}, {ID}, 1)",
    "asset_enrichment": f"(asset_uuid, enricher_id, status, run_id) VALUES ({ID}, {ID}, 'succeeded', {ID})",
    "asset_identity": "(asset_uuid, collection_uuid, source_hash, source_uri, run_id, rule)"
    f" VALUES ({ID}, {ID}, {HASH}, 'a', {ID}, 'guid')",
    "asset_change": f"(position, asset_uuid, collection_uuid, title, what) VALUES (1, {ID}, {ID}, 'a', 'gone')",
    "asset_change_pruned": "(position) VALUES (1)",
    "ingest_start": f"(run_id, collection_id, trigger, scope, version, started_by)"
    f" VALUES ({ID}, {ID}, 'source', '{{}}', '1', 'a')",
    "ingest_outcome": f"(run_id, collection_id, status) VALUES ({ID}, {ID}, 'ingested')",
    "ingest_rejection": f"VALUES ({ID}, {ID}, 1, 'a', 'a')",
    "enrichment_outcome": f"(run_id, collection_id, status) VALUES ({ID}, {ID}, 'done')",
}
"""A row for every table that has none at first."""


@pytest.fixture
def own(portal: BlockingPortal, server: EmbeddedServer) -> Iterator[Databases]:
    """Databases that are lent to this test only."""
    with Databases(portal, server, "own") as own:
        yield own


@pytest.fixture
def ask(portal: BlockingPortal) -> Ask:
    """Send statements to a database, over one connection."""

    async def asked(url: str, *statements: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return [tuple(row) for statement in statements for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return lambda url, *statements: portal.call(asked, url, *statements)


def tables(ask: Ask, url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    names = ask(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
    return {name: ask(url, f"SELECT t::text FROM {name} t") for (name,) in names}


@pytest.mark.parametrize("rows", [1, 3000], ids=["few", "many"])
def test_rows_are_taken_out(own: Databases, ask: Ask, rows: int) -> None:
    url = own.create()
    fresh = tables(ask, url)
    assert ROWS.keys() == {name for name, rows in fresh.items() if not rows}
    ask(
        url,
        "SET session_replication_role = replica",  # so that what a row refers to needn't be there
        *(f"INSERT INTO {name} {row}" for name, row in ROWS.items()),
        f"INSERT INTO known_listing SELECT {ID} FROM generate_series(2, {rows})",
    )
    assert {len(rows) for rows in tables(ask, url).values()} == {1, rows}
    own.drop(url)
    assert own.create() == url
    assert tables(ask, url) == fresh
    [(pages,)] = ask(url, "SELECT max(pg_relation_size(oid)) / 8192 FROM pg_class WHERE relnamespace = 2200")
    assert pages < FEW
    own.drop(url)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more ()",
        "CREATE SCHEMA more",
        "CREATE VIEW more AS SELECT 1",
        "CREATE SEQUENCE more",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER more BEFORE INSERT ON asset FOR EACH ROW EXECUTE FUNCTION forget_all_listings()",
        "ALTER TABLE asset DISABLE TRIGGER ALL",
        "ALTER TABLE asset DROP COLUMN file_stamp",
        "ALTER TABLE asset ALTER COLUMN part_count SET DEFAULT 2",
        "ALTER TABLE asset ADD CHECK (year > 1900)",
        "ALTER TABLE asset SET (autovacuum_enabled = off)",
        "ALTER TABLE asset RENAME TO more",
        "ALTER FUNCTION forget_all_listings() COST 7",
        "DROP INDEX asset_enriching",
        "DROP TABLE catalogue_role",
        "UPDATE catalogue_role SET role = 'test'",
        "DELETE FROM alembic_version",
        "GRANT SELECT ON asset TO public",
        "GRANT SELECT (title) ON asset TO public",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''1MB''', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 7', current_database()); END $$",
        "ANALYZE",
    ],
)
def test_one_that_is_no_longer_what_it_was_is_dropped(own: Databases, ask: Ask, statement: str) -> None:
    url = own.create()
    ask(url, statement)
    own.drop(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        ask(url, "SELECT")
    other = own.create()
    assert other != url
    own.drop(other)


def test_whoever_is_still_connected_is_not_when_it_is_lent_again(
    own: Databases, ask: Ask, portal: BlockingPortal
) -> None:
    url = own.create()

    async def leave() -> asyncpg.Connection:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute(
            "BEGIN; CREATE TEMPORARY TABLE staged (x int); LOCK TABLE source; SELECT pg_advisory_lock(1)"
        )
        return connection

    left = portal.call(leave)
    own.drop(url)
    assert own.create() == url
    locks = "SELECT FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    assert ask(url, f"{locks} AND pid <> pg_backend_pid()") == []
    left.terminate()
    own.drop(url)


def test_of_two_at_once_each_is_another_one(own: Databases) -> None:
    urls = [own.create(), own.create(), own.create("test"), own.create(migrated=False)]
    assert len(set(urls)) == 4
    for url in urls:
        own.drop(url)
