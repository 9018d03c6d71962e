"""The SQL of the how-to pages does what they say: for an administrator, and for a scheduler that reads."""

import uuid
from pathlib import Path

import asyncpg
from anyio.from_thread import BlockingPortal

from retrovue.store.addresses import database_url
from retrovue.store.embedded import EmbeddedServer
from retrovue.store.migrations import upgrade
from retrovue.store.session import Store
from tests.support.pages import DOCS, blocks

SERVED = ("asset", "asset_file", "asset_part", "asset_alias", "collection")
ADMINISTRATOR = DOCS / "howto" / "external-postgresql.md"
READER = DOCS / "howto" / "read-the-catalogue.md"


def statements(page: Path) -> list[str]:
    return [block.text for block in blocks(page) if block.language == "sql"]


def test_rights_are_granted_after_the_tables_are_made() -> None:
    text = ADMINISTRATOR.read_text(encoding="utf-8")
    assert text.index("CREATE DATABASE") < text.index("$ retrovue db upgrade\n") < text.index("GRANT SELECT")


def test_the_roles_can_do_what_they_need_and_no_more(portal: BlockingPortal, server: EmbeddedServer) -> None:
    own, reader = (f"{name}_{uuid.uuid4().hex[:8]}" for name in ("retrovue", "scheduler"))
    create, grant = (text.replace("retrovue", own).replace("scheduler", reader) for text in statements(ADMINISTRATOR))

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
            await connection.execute(f"SET role = {reader}")
            for statement in statements(READER):
                assert await connection.fetch(statement) == []
            await connection.execute("SET role = 'retrovue'")
            await connection.execute(f"DROP OWNED BY {reader}")
        finally:
            await connection.close()

    portal.call(administer)
