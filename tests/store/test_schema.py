"""The schema: what its constraints refuse whatever the code does, and how migrations are applied."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from retrovue.core.config import Settings
from retrovue.core.model import Secret
from retrovue.errors import SchemaMismatch
from retrovue.store.addresses import database_url
from retrovue.store.migrations import require_current, schema_status, scripts_directory, upgrade, wanted_revision
from retrovue.store.opening import open_store
from retrovue.store.session import Store
from tests.conftest import Databases
from tests.support.library import Library, draft, execute, page, rows

pytestmark = pytest.mark.anyio

HASH = "'\\x" + "00" * 16 + "'::bytea"
OTHER = "'\\x" + "11" * 16 + "'::bytea"


class Raw:
    """SQL by hand, each statement on its own."""

    def __init__(self, store: Store, library: Library) -> None:
        self._store = store
        self.library = library

    async def insert(self, table: str, **values: object) -> None:
        columns, expressions = ", ".join(values), ", ".join(str(value) for value in values.values())
        await execute(self._store, f"INSERT INTO {table} ({columns}) VALUES ({expressions})")

    async def refused(self, table: str, constraint: str, **values: object) -> None:
        with pytest.raises(Exception) as refused:  # noqa: PT011 - its cause is looked at
            await self.insert(table, **values)
        cause: Any = refused.value.__cause__.__cause__ if refused.value.__cause__ else None
        assert isinstance(cause, asyncpg.IntegrityConstraintViolationError), refused.value
        assert (cause.constraint_name or cause.column_name) == constraint


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture
async def raw(store: Store, library: Library) -> Raw:
    return Raw(store, library)


@pytest.fixture
async def asset(raw: Raw) -> dict[str, str]:
    """The columns of an asset that may be inserted."""
    collection = await raw.library.collection("Movies")
    return {
        "collection_uuid": f"'{collection.id}'", "source_hash": HASH, "canonical_hash": HASH, "type": "'movie'",
        "title": "'T'", "source_uri": "'s'", "canonical_uri": "'/c'", "canonical_key": "'/c'",
    }  # fmt: skip


class TestAsset:
    async def test_a_plain_one_begins_new_and_unapproved(self, raw: Raw, asset: dict[str, str]) -> None:
        await raw.insert("asset", **asset)
        assert await raw.library.rows("SELECT state, approved_for_broadcast FROM asset") == [("new", False)]

    async def test_it_may_begin_enriching(self, raw: Raw, asset: dict[str, str]) -> None:
        await raw.insert("asset", **asset, state="'enriching'")

    @pytest.mark.parametrize(
        ("column", "value", "constraint"),
        [
            ("state", "'retired'", "asset_begins_new_or_enriching"),
            ("state", "'draft'", "asset_begins_new_or_enriching"),
            ("approved_for_broadcast", "true", "asset_ready_iff_approved"),
            ("source_hash", "'\\x00'::bytea", "asset_source_hash_check"),
            ("canonical_hash", "'\\x00'::bytea", "asset_canonical_hash_check"),
            ("type", "'photo'", "asset_type_check"),
            ("title", "''", "asset_title_check"),
            ("title", "NULL", "title"),
            ("season_number", "-1", "asset_season_number_check"),
            ("episode_number", "-1", "asset_episode_number_check"),
            ("year", "0", "asset_year_check"),
            ("year", "10000", "asset_year_check"),
            ("runtime_ms", "-1", "asset_runtime_ms_check"),
            ("size_bytes", "-1", "asset_size_bytes_check"),
            ("rating", "10.5", "asset_rating_check"),
            ("rating", "'NaN'", "asset_rating_check"),
            ("part_count", "0", "asset_part_count_check"),
            ("collection_uuid", "gen_random_uuid()", "asset_collection_uuid_fkey"),
        ],
    )
    async def test_what_it_refuses(
        self, raw: Raw, asset: dict[str, str], column: str, value: str, constraint: str
    ) -> None:
        await raw.refused("asset", constraint, **{**asset, column: value})

    async def test_it_never_begins_ready_even_if_approved(self, raw: Raw, asset: dict[str, str]) -> None:
        await raw.refused(
            "asset", "asset_begins_new_or_enriching", **asset, state="'ready'", approved_for_broadcast="true"
        )

    @pytest.mark.parametrize(
        "change",
        [
            "state = 'ready'",
            "approved_for_broadcast = true",
            "state = 'retired', approved_for_broadcast = true",
            "state = 'enriching', approved_for_broadcast = true",
        ],
    )
    async def test_ready_if_and_only_if_approved(self, raw: Raw, asset: dict[str, str], change: str) -> None:
        await raw.insert("asset", **asset)
        with pytest.raises(Exception, match="asset_ready_iff_approved"):
            await execute(raw.library.store, f"UPDATE asset SET {change}")
        await execute(raw.library.store, "UPDATE asset SET state = 'ready', approved_for_broadcast = true")
        await execute(raw.library.store, "UPDATE asset SET state = 'retired', approved_for_broadcast = false")

    async def test_both_identities_are_unique_in_a_collection(self, raw: Raw, asset: dict[str, str]) -> None:
        await raw.insert("asset", **asset)
        await raw.refused("asset", "asset_source_identity", **{**asset, "canonical_hash": OTHER})
        await raw.refused("asset", "asset_canonical_identity", **{**asset, "source_hash": OTHER})
        other = await (await Library.make(raw.library.store, "Other")).collection("Other")
        await raw.insert("asset", **{**asset, "collection_uuid": f"'{other.id}'"})

    async def test_a_collection_with_assets_cannot_be_deleted(self, raw: Raw, asset: dict[str, str]) -> None:
        await raw.insert("asset", **asset)
        with pytest.raises(Exception, match="asset_collection_uuid_fkey"):
            await execute(raw.library.store, "DELETE FROM collection")

    async def test_its_files_are_seen_alike_whether_one_or_many(self, raw: Raw) -> None:
        await raw.library.ingest_one(page(draft("one", runtime_ms=5), draft("many", "1", "2")))
        files = "SELECT title, position, local_path, duration_ms FROM asset_file JOIN asset ON uuid = asset_uuid"
        assert await raw.library.rows(f"{files} ORDER BY title, position") == [
            ("Many", 1, "/mnt/1", None),
            ("Many", 2, "/mnt/2", None),
            ("One", 1, "/mnt/one.mkv", 5),
        ]

    async def test_parts_and_aliases_go_with_it(self, raw: Raw) -> None:
        await raw.library.ingest_one(page(draft("a", "1", "2"), draft("b", "1", "2")))
        await execute(raw.library.store, "DELETE FROM asset")
        assert (
            await raw.library.rows("SELECT asset_uuid FROM asset_part UNION SELECT asset_uuid FROM asset_alias") == []
        )

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ({"position": 0, "local_path": "'/x'"}, "asset_part_position_check"),
            ({"position": 1, "local_path": "'/x'", "size_bytes": -1}, "asset_part_size_bytes_check"),
            ({"position": 1, "local_path": "'/x'", "duration_ms": -1}, "asset_part_duration_ms_check"),
            ({"position": 1, "local_path": "NULL"}, "local_path"),
        ],
    )
    async def test_what_a_part_refuses(
        self, raw: Raw, asset: dict[str, str], values: dict[str, object], constraint: str
    ) -> None:
        await raw.insert("asset", **asset)
        await raw.refused("asset_part", constraint, asset_uuid="(SELECT uuid FROM asset)", **values)

    async def test_an_alias_has_one_asset(self, raw: Raw, asset: dict[str, str]) -> None:
        await raw.insert("asset", **asset)
        alias = {"collection_uuid": asset["collection_uuid"], "source_uri": "'s'", "title": "'T'"}
        of_it = {**alias, "asset_uuid": "(SELECT uuid FROM asset)"}
        await raw.insert("asset_alias", **of_it, source_hash=HASH)
        await raw.refused("asset_alias", "asset_alias_pkey", **of_it, source_hash=HASH)
        await raw.refused("asset_alias", "asset_alias_source_hash_check", **of_it, source_hash="'\\x00'::bytea")
        await raw.refused(
            "asset_alias", "asset_alias_asset_uuid_fkey", **alias, source_hash=OTHER, asset_uuid="gen_random_uuid()"
        )


class TestSource:
    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ({"external_id": "'plex-5063D926'"}, "source_external_id_shape"),
            ({"external_id": "'plex-5063d92'"}, "source_external_id_shape"),
            ({"external_id": "'plex-5063d9261'"}, "source_external_id_shape"),
            ({"external_id": "'filesystem-5063d926'"}, "source_external_id_shape"),
            ({"external_id": "'x plex-5063d926'"}, "source_external_id_shape"),
            ({"name": "'  '"}, "source_name_not_blank"),
            ({"name": "NULL"}, "name"),
        ],
    )
    async def test_what_it_refuses(self, raw: Raw, values: dict[str, str], constraint: str) -> None:
        plain = {
            "id": "gen_random_uuid()", "external_id": "'plex-5063d926'", "name": "'N'", "type": "'plex'",
            "config": "'{}'", "credentials": "'{}'",
        }  # fmt: skip
        await raw.refused("source", constraint, **{**plain, **values})

    async def test_the_external_id_is_unique_and_the_name_is_not(self, raw: Raw) -> None:
        plain = {"id": "gen_random_uuid()", "name": "'N'", "type": "'plex'", "config": "'{}'", "credentials": "'{}'"}
        await raw.insert("source", **plain, external_id="'plex-00000001'")
        await raw.insert("source", **plain, external_id="'plex-00000002'")
        await raw.refused("source", "source_external_id_key", **plain, external_id="'plex-00000001'")


class TestCollection:
    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ({"external_id": "'Movies'"}, "collection_external_id_key"),
            ({"ingestible": "false", "ingestible_checked_at": "now()"}, "collection_reason_iff_not_ingestible"),
            (
                {"ingestible": "true", "ingestible_checked_at": "now()", "not_ingestible_reason": "'r'"},
                "collection_reason_iff_not_ingestible",
            ),
            ({"not_ingestible_reason": "'r'"}, "collection_reason_iff_not_ingestible"),
            ({"ingestible": "true"}, "collection_checked_iff_known"),
            ({"ingestible_checked_at": "now()"}, "collection_checked_iff_known"),
            ({"source_id": "gen_random_uuid()"}, "collection_source_id_fkey"),
        ],
    )
    async def test_what_it_refuses(self, raw: Raw, values: dict[str, str], constraint: str) -> None:
        plain = {
            "id": "gen_random_uuid()", "source_id": f"'{raw.library.source.id}'", "external_id": "'1'", "name": "'N'",
            "kind": "'movie'",
        }  # fmt: skip
        await raw.refused("collection", constraint, **{**plain, **values})

    async def test_it_begins_disabled_and_unchecked(self, raw: Raw) -> None:
        await raw.insert(
            "collection", id="gen_random_uuid()", source_id=f"'{raw.library.source.id}'", external_id="'1'", name="'N'",
            kind="'movie'",
        )  # fmt: skip
        found = await raw.library.rows("SELECT sync_enabled, ingestible FROM collection WHERE external_id = '1'")
        assert found == [(False, None)]

    @pytest.mark.parametrize(
        ("prefix", "local", "constraint"),
        [
            ("'/x'", "'mnt'", "path_mapping_local_path_check"),
            ("'/x'", "''", "path_mapping_local_path_check"),
            ("''", "'/mnt'", "path_mapping_source_prefix_check"),
            ("'/data'", "'/mnt'", "path_mapping_pkey"),
        ],
    )
    async def test_what_a_path_mapping_refuses(self, raw: Raw, prefix: str, local: str, constraint: str) -> None:
        collection = await raw.library.collection("Movies")
        await raw.refused(
            "path_mapping", constraint, collection_id=f"'{collection.id}'", source_prefix=prefix, local_path=local
        )


@pytest.mark.fault(31, 59)
async def test_every_time_has_a_zone_and_is_the_database_s(store: Store) -> None:
    found = await rows(
        store,
        "SELECT column_default FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type LIKE 'timestamp%' AND column_name <> 'due_at'"  # which a schedule says
        " AND (data_type LIKE '%without%' OR column_default IS NULL AND is_nullable = 'NO')",
    )
    assert found == []


class TestAudit:
    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ({"discovered": 1}, "ingest_outcome_accounts_for_all"),
            ({"discovered": 3, "created": 1, "skipped": 1, "rejected": 2}, "ingest_outcome_accounts_for_all"),
            ({"code": "'x'"}, "ingest_outcome_code_iff_not_ingested"),
            ({"status": "'failed'"}, "ingest_outcome_code_iff_not_ingested"),
            ({"status": "'running'", "code": "'x'"}, "ingest_outcome_status_check"),
            ({"run_id": "gen_random_uuid()"}, "ingest_outcome_run_id_collection_id_fkey"),
        ],
    )
    async def test_what_an_outcome_refuses(self, raw: Raw, values: dict[str, str], constraint: str) -> None:
        collection = await raw.library.collection("Movies")
        key = {"run_id": f"'{uuid.UUID(int=0)}'", "collection_id": f"'{collection.id}'"}
        await raw.insert("ingest_start", **key, trigger="'source'", scope="'{}'", version="'0'", started_by="'me'")
        await raw.refused("ingest_outcome", constraint, **{**key, "status": "'ingested'", **values})
        await raw.insert("ingest_outcome", **key, status="'ingested'")
        await raw.refused("ingest_outcome", "ingest_outcome_pkey", **key, status="'ingested'")

    async def test_what_a_start_refuses(self, raw: Raw) -> None:
        collection = await raw.library.collection("Movies")
        await raw.refused(
            "ingest_start", "ingest_start_trigger_check", run_id="gen_random_uuid()",
            collection_id=f"'{collection.id}'", trigger="'cron'", scope="'{}'", version="'0'", started_by="'me'",
        )  # fmt: skip


class TestUpgrade:
    async def test_a_fresh_database_becomes_current_and_a_second_upgrade_changes_nothing(
        self, databases: Databases
    ) -> None:
        url = databases.create(migrated=False)
        async with Store(database_url(url)) as store:
            assert (await upgrade(store, "production")).current is None
            status = await schema_status(store)
            assert status.up_to_date
            assert status.role == "production"
            require_current(status, "production")
            catalogue = "SELECT oid::int, relname, xmin::text FROM pg_class ORDER BY oid"
            before = await rows(store, catalogue)
            assert (await upgrade(store, "production")).up_to_date
            assert await rows(store, catalogue) == before
        databases.drop(url)

    async def test_a_missing_schema_is_refused(self, databases: Databases) -> None:
        url = databases.create(migrated=False)
        with pytest.raises(SchemaMismatch) as refused:
            async with open_store(Settings(database_url=Secret(url))):
                pass
        assert refused.value.code == "schema_missing"
        databases.drop(url)

    @pytest.mark.fault(51)
    @pytest.mark.parametrize("read_only", [False, True])
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ("UPDATE alembic_version SET version_num = '9999'", "schema_newer"),
            ("DELETE FROM alembic_version", "schema_missing"),
            ("UPDATE catalogue_role SET role = 'test'", "wrong_database_role"),
            ("DELETE FROM catalogue_role", "wrong_database_role"),
        ],
    )
    async def test_another_schema_is_refused(self, database_url: str, read_only: bool, change: str, code: str) -> None:
        settings = Settings(database_url=Secret(database_url))
        async with open_store(settings) as store:
            await execute(store, change)
        with pytest.raises(SchemaMismatch) as refused:
            async with open_store(settings, read_only=read_only):
                pass
        assert refused.value.code == code
        assert refused.value.hint

    async def test_a_newer_schema_is_not_upgraded(self, database_url: str) -> None:
        async with open_store(Settings(database_url=Secret(database_url))) as store:
            await execute(store, "UPDATE alembic_version SET version_num = '9999'")
            with pytest.raises(SchemaMismatch) as refused:
                await upgrade(store, "production")
            assert refused.value.code == "schema_newer"
            assert await rows(store, "SELECT version_num FROM alembic_version") == [("9999",)]

    @pytest.mark.fault(54)
    async def test_a_test_database_is_no_production_database_and_the_other_way_round(
        self, database_url: str, test_database_url: str
    ) -> None:
        async with open_store(Settings(None, Secret(test_database_url)), test_db=True):
            pass
        for settings, test_db in (
            (Settings(Secret(test_database_url)), False),
            (Settings(None, Secret(database_url)), True),
        ):
            with pytest.raises(SchemaMismatch) as refused:
                async with open_store(settings, test_db=test_db):
                    pass
            assert refused.value.code == "wrong_database_role"
            role = "test" if test_db else "production"
            async with open_store(settings, test_db=test_db, check=False) as store:
                with pytest.raises(SchemaMismatch):
                    await upgrade(store, role)

    def test_a_checkout_has_its_scripts_beside_the_package(self) -> None:
        directory = scripts_directory()
        assert directory == Path(__file__).parents[2] / "migrations"
        versions = sorted(path.stem for path in (directory / "versions").glob("[0-9]*.py"))
        assert versions[-1].startswith(wanted_revision())


def upgrade_to(connection: Connection, revision: str) -> None:
    """Run the migrations up to a revision."""
    config = Config()
    config.set_main_option("script_location", str(scripts_directory()))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.fixture
async def older(databases: Databases) -> AsyncIterator[str]:
    """A database as the first version made it, with an asset that has been approved."""
    url = databases.create(migrated=False)
    async with Store(database_url(url)) as store:
        async with store.data.begin() as connection:
            await connection.run_sync(upgrade_to, "0001")
        await execute(
            store,
            "INSERT INTO catalogue_role (role) VALUES ('production')",
            "INSERT INTO source (id, external_id, name, type, config, credentials) VALUES"
            " ('00000000-0000-0000-0000-000000000001', 'plex-00000001', 'P', 'plex', '{}', '{}')",
            "INSERT INTO collection (id, source_id, external_id, name, kind) VALUES"
            " ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', '1', 'Movies', 'movie')",
            "INSERT INTO asset (collection_uuid, source_hash, canonical_hash, type, title, source_uri, canonical_uri,"
            f" canonical_key) VALUES ('00000000-0000-0000-0000-000000000002', {HASH}, {HASH}, 'movie', 'T', 's', '/c',"
            " '/c')",
            "UPDATE asset SET state = 'ready', approved_for_broadcast = true",
        )
    yield url
    databases.drop(url)


class TestFromAnOlderSchema:
    async def test_it_is_refused_until_it_is_upgraded(self, older: str) -> None:
        settings = Settings(database_url=Secret(older))
        for read_only in (False, True):
            with pytest.raises(SchemaMismatch) as refused:
                async with open_store(settings, read_only=read_only):
                    pass
            assert refused.value.code == "schema_outdated"
            assert "db upgrade" in (refused.value.hint or "")
            assert refused.value.context == {"current": "0001", "wanted": wanted_revision()}

    async def test_the_upgrade_keeps_what_there_is(self, older: str) -> None:
        async with Store(database_url(older)) as store:
            before = await rows(store, "SELECT uuid, title, state, approved_for_broadcast FROM asset")
            assert (await upgrade(store, "production")).current == "0001"
            assert (await schema_status(store)).up_to_date
            assert await rows(store, "SELECT uuid, title, state, approved_for_broadcast FROM asset") == before
            assert await rows(store, "SELECT streams, provenance FROM asset") == [(None, None)]
            for broken in ("DELETE FROM collection", "UPDATE asset SET collection_uuid = gen_random_uuid()"):
                with pytest.raises(Exception, match="asset_collection_uuid_fkey"):
                    await execute(store, broken)
        async with open_store(Settings(database_url=Secret(older))) as store:
            assert await rows(store, "SELECT count(*) FROM enricher") == [(0,)]


class TestEnrichers:
    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ({"external_id": "'probe-5063d92'"}, "enricher_external_id_shape"),
            ({"external_id": "'nfo-5063d926'"}, "enricher_external_id_shape"),
            ({"name": "' '"}, "enricher_name_not_blank"),
        ],
    )
    async def test_what_an_enricher_refuses(self, raw: Raw, values: dict[str, str], constraint: str) -> None:
        plain = {
            "id": "gen_random_uuid()", "external_id": "'probe-5063d926'", "name": "'N'", "type": "'probe'",
            "config": "'{}'",
        }  # fmt: skip
        await raw.refused("enricher", constraint, **{**plain, **values})

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ({"status": "'running'"}, "asset_enrichment_status_check"),
            ({"attempts": 0}, "asset_enrichment_attempts_check"),
            ({"status": "'failed'"}, "asset_enrichment_code_iff_failed"),
            ({"code": "'x'"}, "asset_enrichment_code_iff_failed"),
            ({"asset_uuid": "gen_random_uuid()"}, "asset_enrichment_asset_uuid_fkey"),
        ],
    )
    async def test_what_an_enrichment_refuses(
        self, raw: Raw, asset: dict[str, str], values: dict[str, object], constraint: str
    ) -> None:
        await raw.insert("asset", **asset)
        await raw.insert(
            "enricher",
            id="gen_random_uuid()",
            external_id="'probe-5063d926'",
            name="'N'",
            type="'probe'",
            config="'{}'",
        )
        plain: dict[str, object] = {
            "asset_uuid": "(SELECT uuid FROM asset)", "enricher_id": "(SELECT id FROM enricher)",
            "status": "'succeeded'", "run_id": "gen_random_uuid()",
        }  # fmt: skip
        await raw.refused("asset_enrichment", constraint, **{**plain, **values})
        await raw.insert("asset_enrichment", **plain)
        await execute(raw.library.store, "DELETE FROM asset")
        assert await raw.library.rows("SELECT status FROM asset_enrichment") == []
