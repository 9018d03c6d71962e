"""References of assets to their collection: triggers check them once for each statement, and refuse as a key would."""

from collections.abc import AsyncIterator

import anyio
import asyncpg
import pytest

from tests.support.library import Library, draft, execute, other_program, page, until

pytestmark = pytest.mark.anyio

NOBODY = "00000000-0000-0000-0000-000000000000"
KEY = "asset_collection_uuid_fkey"
COLUMNS = "collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri, canonical_key"
ASSETS = (
    f"INSERT INTO asset ({COLUMNS}) SELECT id, decode(md5(cast(id AS text) || n), 'hex'),"
    " decode(md5(cast(id AS text) || n), 'hex'), 'movie', 'New', 's', 'c', 'c'"
    " FROM (SELECT cast(unnest(string_to_array('{ids}', ',')) AS uuid)) AS given (id), generate_series(1, 2) AS n"
)
"""Gives two assets to each of some collections."""


@pytest.fixture
async def filled(library: Library) -> Library:
    """A library of two collections; the one of Movies has an asset, that of Shows none."""
    await library.ingest_one(page(draft("a")))
    await execute(
        library.store,
        "INSERT INTO collection (id, source_id, external_id, name, kind)"
        " SELECT gen_random_uuid(), source_id, 'shows', 'Shows', 'show' FROM collection",
    )
    return library


@pytest.fixture
async def other(filled: Library) -> AsyncIterator[asyncpg.Connection]:
    """A connection of another program."""
    async with other_program(filled.store) as connection:
        yield connection


async def id_of(library: Library, name: str) -> str:
    [(found,)] = await library.rows("SELECT id FROM collection WHERE name = :name", name=name)
    return str(found)


async def held(library: Library) -> list[tuple[str, int]]:
    """The number of assets by the name of their collection; NOBODY for those without one."""
    found = await library.rows(
        f"SELECT coalesce(name, '{NOBODY}'), count(*) FROM asset LEFT JOIN collection ON id = collection_uuid"
        " GROUP BY 1 ORDER BY 1"
    )
    return [(name, number) for name, number in found]


async def refused(connection: asyncpg.Connection, statement: str) -> asyncpg.ForeignKeyViolationError:
    with pytest.raises(asyncpg.ForeignKeyViolationError) as found:
        await connection.execute(statement)
    assert (found.value.table_name, found.value.constraint_name) == ("asset", KEY)
    return found.value


class TestNaming:
    async def test_an_asset_of_no_collection_is_refused(self, filled: Library, other: asyncpg.Connection) -> None:
        movies, shows = await id_of(filled, "Movies"), await id_of(filled, "Shows")
        for ids in ((NOBODY,), (movies, NOBODY), (movies, shows, NOBODY), (NOBODY, movies)):
            await refused(other, ASSETS.format(ids=",".join(ids)))
        # What one statement has proved says nothing of the next one.
        async with other.transaction():
            await other.execute(ASSETS.format(ids=movies))
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                async with other.transaction():
                    await other.execute(ASSETS.format(ids=NOBODY))
        assert await held(filled) == [("Movies", 3)]
        await other.execute(ASSETS.format(ids=shows))
        assert await held(filled) == [("Movies", 3), ("Shows", 2)]

    async def test_copied_assets_too(self, filled: Library, other: asyncpg.Connection) -> None:
        movies = await id_of(filled, "Movies")
        for collection, title in ((movies, "Copied"), (NOBODY, "Refused")):
            record = (collection, title.encode()[:4] * 4, title.encode()[:4] * 4, "movie", title, "s", "c", "c")
            copying = other.copy_records_to_table("asset", records=[record], columns=COLUMNS.split(", "))
            if collection == movies:
                await copying
                continue
            with pytest.raises(asyncpg.ForeignKeyViolationError, match=NOBODY):
                await copying
        assert await held(filled) == [("Movies", 2)]

    async def test_none_at_all_is_refused_as_before(self, other: asyncpg.Connection) -> None:
        with pytest.raises(asyncpg.NotNullViolationError):
            await other.execute("INSERT INTO asset (collection_uuid) VALUES (NULL)")

    async def test_the_setting_of_somebody_else_proves_nothing(
        self, filled: Library, other: asyncpg.Connection
    ) -> None:
        await other.execute(f"SET retrovue.named_collection = '{NOBODY}'")
        await refused(other, ASSETS.format(ids=NOBODY))
        assert await held(filled) == [("Movies", 1)]

    async def test_a_collection_that_the_same_transaction_deletes(
        self, filled: Library, other: asyncpg.Connection
    ) -> None:
        shows = await id_of(filled, "Shows")
        deleting = f"DELETE FROM collection WHERE id = '{shows}'"
        undone = other.transaction()
        await undone.start()
        await other.execute(ASSETS.format(ids=shows))
        await other.execute("DELETE FROM asset WHERE title = 'New'")
        await other.execute(deleting)
        await refused(other, ASSETS.format(ids=shows))
        await undone.rollback()
        await refused(other, f"WITH gone AS ({deleting}) {ASSETS.format(ids=shows)}")
        assert await held(filled) == [("Movies", 1)]

    async def test_a_collection_whose_insertion_was_undone(self, filled: Library, other: asyncpg.Connection) -> None:
        undone = other.transaction()
        await undone.start()
        await other.execute("SAVEPOINT before")
        await other.execute(
            "INSERT INTO collection (id, source_id, external_id, name, kind)"
            f" SELECT '{NOBODY}', source_id, 'n', 'New', 'movie' FROM collection LIMIT 1"
        )
        await other.execute(ASSETS.format(ids=NOBODY))
        await other.execute("ROLLBACK TO SAVEPOINT before")
        await refused(other, ASSETS.format(ids=NOBODY))
        await undone.rollback()
        assert await held(filled) == [("Movies", 1)]

    async def test_an_asset_can_move_to_another_collection_alone(
        self, filled: Library, other: asyncpg.Connection
    ) -> None:
        await refused(other, f"UPDATE asset SET collection_uuid = '{NOBODY}'")
        await other.execute(f"UPDATE asset SET collection_uuid = '{await id_of(filled, 'Shows')}'")
        assert await held(filled) == [("Shows", 1)]


class TestDeletion:
    async def test_a_collection_with_assets_stays(self, filled: Library, other: asyncpg.Connection) -> None:
        await other.execute(ASSETS.format(ids=await id_of(filled, "Shows")))
        # No other key may refuse it.
        await other.execute("DELETE FROM known_listing")
        moving = "UPDATE collection SET id = gen_random_uuid() WHERE name = 'Shows'"
        for statement in ("DELETE FROM collection WHERE name = 'Shows'", "DELETE FROM source", moving):
            await refused(other, statement)
        assert await held(filled) == [("Movies", 1), ("Shows", 2)]
        await other.execute("DELETE FROM asset WHERE title = 'New'")
        await other.execute(moving)
        await other.execute("DELETE FROM collection WHERE name = 'Shows'")
        await other.execute("DELETE FROM asset")
        await other.execute("DELETE FROM source")
        assert await filled.rows("SELECT id FROM collection") == []

    @pytest.mark.parametrize("tables", ["collection", "collection, asset", "source"])
    async def test_assets_are_truncated_with_their_collections(
        self, filled: Library, other: asyncpg.Connection, tables: str
    ) -> None:
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await other.execute(f"TRUNCATE {tables}")
        assert await held(filled) == [("Movies", 1)]
        if "asset" not in tables and other.get_server_version() < (18,):
            found = await refused(other, f"TRUNCATE {tables} CASCADE")
            assert '"asset"' in str(found.hint)
            tables += ", asset"
        await other.execute(f"TRUNCATE {tables} CASCADE")
        assert await filled.rows("SELECT id FROM collection") == []
        assert await held(filled) == []

    async def test_they_are_not_truncated_unnamed(self, filled: Library, other: asyncpg.Connection) -> None:
        """All that refers to the truncated tables by a key is named, as PostgreSQL demands, but for the assets."""
        found = await other.fetchval(f"""
            WITH RECURSIVE named (relation) AS (
                SELECT cast('collection' AS regclass)
                UNION
                SELECT cast(conrelid AS regclass) FROM pg_constraint JOIN named ON confrelid = relation
                WHERE conname <> '{KEY}'
            ) SELECT string_agg(cast(relation AS text), ', ') FROM named
        """)
        with pytest.raises((asyncpg.FeatureNotSupportedError, asyncpg.ForeignKeyViolationError), match="truncate"):
            await other.execute(f"TRUNCATE {found}")
        assert await held(filled) == [("Movies", 1)]
        # Older servers know no key that isn't enforced.
        await other.execute(f"ALTER TABLE asset DROP CONSTRAINT IF EXISTS {KEY}")
        assert '"asset"' in str((await refused(other, f"TRUNCATE {found}")).hint)
        assert '"asset"' in str((await refused(other, "TRUNCATE collection CASCADE")).hint)
        assert await held(filled) == [("Movies", 1)]
        # Nor those that came after a transaction's snapshot.
        await other.execute("DELETE FROM asset")
        unseeing = other.transaction(isolation="repeatable_read")
        await unseeing.start()
        assert await other.fetch("SELECT FROM asset") == []
        await execute(filled.store, ASSETS.format(ids=await id_of(filled, "Shows")))
        await refused(other, "TRUNCATE collection CASCADE")
        await unseeing.rollback()
        assert await held(filled) == [("Shows", 2)]
        await other.execute(f"TRUNCATE {found}, asset CASCADE")
        assert await filled.rows("SELECT id FROM collection") == []
        assert await held(filled) == []

    @pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
    async def test_one_that_would_not_see_the_latest_assets_is_refused(
        self, filled: Library, other: asyncpg.Connection, isolation: str
    ) -> None:
        with pytest.raises(asyncpg.FeatureNotSupportedError, match=isolation.replace("_", " ").upper()) as found:
            async with other.transaction(isolation=isolation):
                await other.execute("DELETE FROM collection WHERE name = 'Shows'")
        assert "READ COMMITTED" in str(found.value.hint)
        assert len(await filled.rows("SELECT id FROM collection")) == 2

    async def test_it_waits_for_whoever_gives_the_collection_an_asset(
        self, filled: Library, other: asyncpg.Connection
    ) -> None:
        giving = other.transaction()
        await giving.start()
        await other.execute(ASSETS.format(ids=await id_of(filled, "Shows")))

        async def delete() -> None:
            with pytest.raises(Exception, match=KEY):
                await execute(filled.store, "DELETE FROM collection WHERE name = 'Shows'")

        async with anyio.create_task_group() as group:
            group.start_soon(delete)
            await until(filled.store, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            await giving.commit()
        assert await held(filled) == [("Movies", 1), ("Shows", 2)]

    @pytest.mark.parametrize("commits", [True, False])
    async def test_whoever_gives_an_asset_to_a_collection_that_is_being_deleted_waits(
        self, filled: Library, other: asyncpg.Connection, *, commits: bool
    ) -> None:
        shows = await id_of(filled, "Shows")
        deleting = other.transaction()
        await deleting.start()
        await other.execute("DELETE FROM collection WHERE name = 'Shows'")

        async def give() -> None:
            if not commits:
                await execute(filled.store, ASSETS.format(ids=shows))
                return
            with pytest.raises(Exception, match=KEY):
                await execute(filled.store, ASSETS.format(ids=shows))

        async with anyio.create_task_group() as group:
            group.start_soon(give)
            await until(filled.store, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            await (deleting.commit() if commits else deleting.rollback())
        assert await held(filled) == [("Movies", 1), *([] if commits else [("Shows", 2)])]
