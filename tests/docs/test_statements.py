"""The SQL that the how-to page gives to an administrator does what the page says."""

import uuid

import asyncpg
from anyio.from_thread import BlockingPortal

from retrovue.store.embedded import EmbeddedServer
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store, database_url
from tests.docs.pages import DOCS, blocks

SERVED = ("asset", "asset_file", "asset_part", "asset_alias", "collection")


def test_the_roles_can_do_what_they_need_and_no_more(portal: BlockingPortal, server: EmbeddedServer) -> None:
    own, reader = (f"{name}_{uuid.uuid4().hex[:8]}" for name in ("retrovue", "scheduler"))
    texts = [block.text for block in blocks(DOCS / "howto" / "external-postgresql.md") if block.language == "sql"]
    create, grant = (text.replace("retrovue", own).replace("scheduler", reader) for text in texts)

    async def administer() -> None:
        administrator = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
        try:
            for statement in filter(str.strip, create.split(";")):
                await administrator.execute(statement)
            await migrated()
            await granted()
            await administrator.execute(f"DROP DATABASE {own}")
            await administrator.execute(f"DROP ROLE {own}")
            await administrator.execute(f"DROP ROLE {reader}")
        finally:
            await administrator.close()

    async def migrated() -> None:
        # As the owner: what the migrations need is the owner's right.
        async with Store(database_url(server.url(own)), connections=1) as store, store.data.begin() as connection:
            await connection.exec_driver_sql(f"ALTER ROLE retrovue IN DATABASE {own} SET role = {own}")
        async with Store(database_url(server.url(own)), connections=1) as store:
            await upgrade(store, "production")

    async def granted() -> None:
        connection = await asyncpg.connect(server.url(own).replace("+asyncpg", ""))
        try:
            assert await connection.fetchval("SELECT current_user") == own
            assert {
                row["tableowner"]
                for row in await connection.fetch("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
            } == {own}
            await connection.execute("RESET role; SET role = 'retrovue'")
            await connection.execute(grant)
            readable = "SELECT has_table_privilege($1, $2, 'SELECT')"
            assert [await connection.fetchval(readable, reader, table) for table in SERVED] == [True] * len(SERVED)
            assert not await connection.fetchval(readable, reader, "source")
            assert not await connection.fetchval("SELECT has_table_privilege($1, 'asset', 'INSERT')", reader)
            await connection.execute(f"DROP OWNED BY {reader}")
        finally:
            await connection.close()

    portal.call(administer)
