"""References between tables hold whatever a session's search_path is, in whatever schema the catalogue is."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from retrovue.store.addresses import database_url
from retrovue.store.migrations import schema_status, upgrade
from retrovue.store.session import Store
from tests.conftest import Databases
from tests.store.test_schema import HASH, OTHER, upgrade_to

pytestmark = pytest.mark.anyio

NOBODY = "00000000-0000-0000-0000-000000000000"
MOVIES, SHOWS, ASSET = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
FILLED = f"""
    INSERT INTO source (id, external_id, name, type, config, credentials)
    VALUES ('{NOBODY}', 'plex-00000001', 'P', 'plex', '{{}}', '{{}}');
    INSERT INTO collection (id, source_id, external_id, name, kind)
    VALUES ('{MOVIES}', '{NOBODY}', '1', 'Movies', 'movie'), ('{SHOWS}', '{NOBODY}', '2', 'Shows', 'show');
    INSERT INTO asset (uuid, collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri,
        canonical_key) VALUES ('{ASSET}', '{MOVIES}', {HASH}, {HASH}, 'movie', 'T', 's', '/c', '/c')
"""
PATHS = {
    "temporary tables": "CREATE TEMP TABLE collection (id uuid); CREATE TEMP TABLE asset (LIKE {0}.asset);"
    " CREATE TEMP TABLE asset_part (LIKE {0}.asset_part); CREATE TEMP TABLE known_listing (LIKE {0}.known_listing);"
    f" INSERT INTO pg_temp.collection VALUES ('{NOBODY}')",
    "another schema": "CREATE SCHEMA other; SET search_path = other, {0}; CREATE TABLE collection (id uuid);"
    " CREATE TABLE asset (LIKE {0}.asset); CREATE TABLE asset_part (LIKE {0}.asset_part);"
    f" INSERT INTO other.collection VALUES ('{NOBODY}')",
    "none": "SET search_path = ''",
}


@pytest.fixture(params=["public", '"Of Media"'])
async def schema(request: pytest.FixtureRequest) -> str:
    """The schema of the catalogue, as SQL writes it."""
    return str(request.param)


@pytest.fixture
async def catalogue(databases: Databases, schema: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a catalogue of the version before, with an asset, that has been upgraded."""
    url = databases.create(migrated=False)
    plain = url.replace("+asyncpg", "")
    connection = await asyncpg.connect(plain)
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    [name] = await connection.fetchrow("SELECT current_database()") or [None]
    await connection.execute(f"""ALTER DATABASE "{name}" SET search_path = {schema}""")
    await connection.execute(f"SET search_path = {schema}")
    async with Store(database_url(url)) as store:
        async with store.data.begin() as upgrading:
            await upgrading.run_sync(upgrade_to, "0025")
        await connection.execute("INSERT INTO catalogue_role (role) VALUES ('production')")
        await connection.execute(FILLED)
        assert (await upgrade(store, "production")).current == "0025"
        assert (await schema_status(store)).up_to_date
    yield connection
    await connection.close()
    databases.drop(url)


@pytest.mark.parametrize("path", PATHS)
async def test_references_are_kept(catalogue: asyncpg.Connection, schema: str, path: str) -> None:
    await catalogue.execute(PATHS[path].format(schema))
    columns = "collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri, canonical_key"
    new = f"INSERT INTO {schema}.asset ({columns}) VALUES ('%s', {OTHER}, {OTHER}, 'movie', 'New', 's', 'c', 'c')"
    part = f"INSERT INTO {schema}.asset_part (asset_uuid, position, local_path) VALUES ('%s', 1, '/x')"
    for refused in (
        new % NOBODY,
        f"UPDATE {schema}.asset SET collection_uuid = '{NOBODY}'",
        f"DELETE FROM {schema}.collection WHERE id = '{MOVIES}'",
        f"UPDATE {schema}.collection SET id = gen_random_uuid() WHERE id = '{MOVIES}'",
        part % NOBODY,
    ):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await catalogue.execute(refused)
    await catalogue.execute(new % SHOWS)
    await catalogue.execute(part % ASSET)
    for refused in (
        f"UPDATE {schema}.asset SET uuid = gen_random_uuid() WHERE title = 'T'",
        f"UPDATE {schema}.asset_part SET asset_uuid = '{NOBODY}'",
    ):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await catalogue.execute(refused)
    await catalogue.execute(f"DELETE FROM {schema}.asset WHERE title = 'T'")
    assert await catalogue.fetch(f"SELECT FROM {schema}.asset_part") == []
    # Its pages were forgotten too.
    known = f"SELECT cast(collection_uuid AS text) FROM {schema}.known_listing"
    assert [row[0] for row in await catalogue.fetch(known)] == [SHOWS]
    await catalogue.execute(f"DELETE FROM {schema}.collection WHERE id = '{MOVIES}'")
    assert await catalogue.fetchval(f"SELECT count(*) FROM {schema}.collection") == 1
    assert await catalogue.fetchval(f"SELECT count(*) FROM {schema}.asset") == 1
