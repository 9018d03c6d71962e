"""References to assets, which triggers check once for each statement: nothing is left of an asset that is gone."""

from collections.abc import AsyncIterator

import anyio
import asyncpg
import pytest

from tests.support.library import Library, draft, execute, other_program, page, until

pytestmark = pytest.mark.anyio

NOBODY = "00000000-0000-0000-0000-000000000000"
HASH = f"decode('{'11' * 16}', 'hex')"
ROWS = {
    "asset_alias": "INSERT INTO asset_alias (collection_uuid, source_hash, asset_uuid, source_uri, title)"
    f" SELECT id, {HASH}, '{{uuid}}', 's', 't' FROM collection LIMIT 1",
    "asset_enrichment": "INSERT INTO asset_enrichment (asset_uuid, enricher_id, status, run_id)"
    " SELECT '{uuid}', id, 'succeeded', gen_random_uuid() FROM enricher",
    "asset_identity": "INSERT INTO asset_identity (asset_uuid, collection_uuid, source_hash, source_uri, run_id, rule)"
    f" SELECT '{{uuid}}', id, {HASH}, 's', gen_random_uuid(), 'guid' FROM collection LIMIT 1",
    "asset_part": "INSERT INTO asset_part (asset_uuid, position, local_path) VALUES ('{uuid}', 7, '/x')",
}
"""For each table a statement that gives a row to an asset."""
tables = pytest.mark.parametrize("table", ROWS)


@pytest.fixture
async def filled(library: Library) -> Library:
    """A library of two assets, and an enricher."""
    await library.ingest_one(page(draft("a"), draft("b")))
    await execute(
        library.store,
        "INSERT INTO enricher (id, external_id, name, type, config)"
        " VALUES (gen_random_uuid(), 'nfo-00000000', 'N', 'nfo', '{}')",
    )
    return library


async def uuid_of(library: Library, title: str) -> str:
    [(uuid,)] = await library.rows("SELECT uuid FROM asset WHERE title = :title", title=title)
    return str(uuid)


async def held(library: Library, table: str) -> list[str]:
    """The titles of the assets that have rows in a table; NOBODY for rows without an asset."""
    found = await library.rows(
        f"SELECT coalesce(asset.title, '{NOBODY}') FROM {table} LEFT JOIN asset ON uuid = asset_uuid ORDER BY 1"
    )
    return [title for (title,) in found]


@pytest.fixture
async def other(filled: Library) -> AsyncIterator[asyncpg.Connection]:
    """A connection of another program."""
    async with other_program(filled.store) as connection:
        yield connection


@tables
async def test_a_row_of_no_asset_is_refused_as_by_a_foreign_key(
    filled: Library, other: asyncpg.Connection, table: str
) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError, match=f"names the asset {NOBODY}") as refused:
        await other.execute(ROWS[table].format(uuid=NOBODY))
    assert (refused.value.table_name, refused.value.constraint_name) == (table, f"{table}_asset_uuid_fkey")
    assert await held(filled, table) == []


@tables
@pytest.mark.parametrize("statement", ["DELETE FROM asset WHERE title = 'A'", "TRUNCATE asset"])
async def test_rows_go_with_their_asset(filled: Library, other: asyncpg.Connection, table: str, statement: str) -> None:
    await other.execute(ROWS[table].format(uuid=await uuid_of(filled, "A")))
    assert await held(filled, table) == ["A"]
    await other.execute("DELETE FROM asset WHERE title = 'B'")
    assert await held(filled, table) == ["A"]
    await other.execute(statement)
    assert await held(filled, table) == []


@tables
async def test_a_deletion_waits_for_whoever_gives_the_asset_a_row(
    filled: Library, other: asyncpg.Connection, table: str
) -> None:
    giving = other.transaction()
    await giving.start()
    await other.execute(ROWS[table].format(uuid=await uuid_of(filled, "A")))
    async with anyio.create_task_group() as group:
        group.start_soon(execute, filled.store, "DELETE FROM asset")
        await until(filled.store, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        await giving.commit()
    assert (await held(filled, table), await filled.rows("SELECT uuid FROM asset")) == ([], [])


@tables
async def test_whoever_gives_a_row_to_an_asset_that_is_being_deleted_waits_and_is_refused(
    filled: Library, other: asyncpg.Connection, table: str
) -> None:
    uuid = await uuid_of(filled, "A")
    deleting = other.transaction()
    await deleting.start()
    await other.execute("DELETE FROM asset WHERE title = 'A'")

    async def give() -> None:
        with pytest.raises(Exception, match=f"{table} names the asset {uuid}"):
            await execute(filled.store, ROWS[table].format(uuid=uuid))

    async with anyio.create_task_group() as group:
        group.start_soon(give)
        await until(filled.store, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        await deleting.commit()
    assert await held(filled, table) == []


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_a_deletion_that_would_not_see_the_latest_rows_is_refused(
    filled: Library, other: asyncpg.Connection, isolation: str
) -> None:
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=isolation.replace("_", " ").upper()) as refused:
        async with other.transaction(isolation=isolation):
            await other.execute("DELETE FROM asset WHERE title = 'A'")
    assert "READ COMMITTED" in str(refused.value.hint)
    assert len(await filled.rows("SELECT uuid FROM asset")) == 2


@tables
async def test_a_row_can_be_given_to_another_asset_alone(
    filled: Library, other: asyncpg.Connection, table: str
) -> None:
    await other.execute(ROWS[table].format(uuid=await uuid_of(filled, "A")))
    with pytest.raises(asyncpg.ForeignKeyViolationError, match=f"names the asset {NOBODY}") as refused:
        await other.execute(f"UPDATE {table} SET asset_uuid = $1", NOBODY)
    assert refused.value.constraint_name == f"{table}_asset_uuid_fkey"
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="other rows name it"):
        await other.execute("UPDATE asset SET uuid = $1 WHERE title = 'A'", NOBODY)
    assert await held(filled, table) == ["A"]
    await other.execute(f"UPDATE {table} SET asset_uuid = $1", await uuid_of(filled, "B"))
    await other.execute("UPDATE asset SET uuid = $1 WHERE title = 'A'", NOBODY)
    assert await held(filled, table) == ["B"]
    await other.execute("DELETE FROM asset")


@tables
async def test_a_merge_looks_an_asset_up_by_its_id(filled: Library, other: asyncpg.Connection, table: str) -> None:
    """It switches nested loops off, with which the trigger read all assets."""
    await execute(
        filled.store,
        "INSERT INTO asset (collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri,"
        " canonical_key) SELECT id, decode(md5(n::text), 'hex'), decode(md5(n::text), 'hex'), 'movie', 'More', 's',"
        " 'c', 'c' FROM collection, generate_series(1, 5000) AS n",
        "ANALYZE asset",
    )
    statement = ROWS[table].format(uuid=await uuid_of(filled, "A"))
    read = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'asset'"
    merging = other.transaction()
    await merging.start()
    await other.execute("SET LOCAL enable_nestloop = off")
    await other.execute(statement)
    assert await other.fetchval(read) == 0
    await merging.rollback()
