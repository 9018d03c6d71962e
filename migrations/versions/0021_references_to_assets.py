"""References to assets, checked once for each statement.

A foreign key asks once for each row and each table that refers to it: four times for each asset that is deleted, which
was nine tenths of what a wipe of a million assets took. The triggers below ask once for each statement, of the rows
that it changed. They keep what the foreign keys kept:

* A row that names no asset is refused with the error of a foreign key (23503), under the name of the former constraint.
  The asset is locked FOR KEY SHARE, so that a transaction that deletes it waits, or is waited for.
* The rows of a deleted asset are deleted with it.

A deletion in a transaction that doesn't see what others have committed since it began could leave rows behind. So
assets can be deleted at READ COMMITTED only, which is PostgreSQL's default.

Revision: 0021
Follows: 0020
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_REFERRING = ("asset_alias", "asset_enrichment", "asset_identity", "asset_part")

_STATEMENTS = (
    """
    CREATE FUNCTION require_assets_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE missing uuid;
    BEGIN
        WITH wanted AS (SELECT DISTINCT asset_uuid FROM added), held AS MATERIALIZED (
            SELECT uuid FROM asset WHERE uuid IN (SELECT asset_uuid FROM wanted) FOR KEY SHARE
        ) SELECT asset_uuid INTO missing FROM wanted
        WHERE NOT EXISTS (SELECT FROM held WHERE uuid = asset_uuid) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'a row of % names the asset %, which doesn''t exist', TG_TABLE_NAME, missing USING
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                CONSTRAINT = TG_TABLE_NAME || '_asset_uuid_fkey';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION require_asset_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM asset WHERE uuid = NEW.asset_uuid FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a row of % names the asset %, which doesn''t exist', TG_TABLE_NAME, NEW.asset_uuid USING
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                CONSTRAINT = TG_TABLE_NAME || '_asset_uuid_fkey';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION require_no_rows_of_former_uuid() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM asset_alias WHERE asset_uuid = OLD.uuid)
            OR EXISTS (SELECT FROM asset_enrichment WHERE asset_uuid = OLD.uuid)
            OR EXISTS (SELECT FROM asset_identity WHERE asset_uuid = OLD.uuid)
            OR EXISTS (SELECT FROM asset_part WHERE asset_uuid = OLD.uuid)
        THEN
            RAISE EXCEPTION 'the uuid of the asset % can''t be changed: other rows name it', OLD.uuid USING
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'uuid';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER asset_keeps_uuid AFTER UPDATE OF uuid ON asset
    FOR EACH ROW WHEN (OLD.uuid <> NEW.uuid) EXECUTE FUNCTION require_no_rows_of_former_uuid()
    """,
    """
    CREATE FUNCTION delete_rows_of_deleted_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM deleted) THEN
            RETURN NULL;
        END IF;
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'assets can''t be deleted at the isolation level %',
                upper(current_setting('transaction_isolation')) USING ERRCODE = 'feature_not_supported',
                HINT = 'Begin the transaction with BEGIN ISOLATION LEVEL READ COMMITTED.';
        END IF;
        -- An empty table costs nothing, where a join would read all deleted assets.
        IF EXISTS (SELECT FROM asset_alias) THEN
            DELETE FROM asset_alias WHERE asset_uuid IN (SELECT uuid FROM deleted);
        END IF;
        IF EXISTS (SELECT FROM asset_enrichment) THEN
            DELETE FROM asset_enrichment WHERE asset_uuid IN (SELECT uuid FROM deleted);
        END IF;
        IF EXISTS (SELECT FROM asset_identity) THEN
            DELETE FROM asset_identity WHERE asset_uuid IN (SELECT uuid FROM deleted);
        END IF;
        IF EXISTS (SELECT FROM asset_part) THEN
            DELETE FROM asset_part WHERE asset_uuid IN (SELECT uuid FROM deleted);
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER deleted_assets_take_their_rows AFTER DELETE ON asset
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION delete_rows_of_deleted_assets()
    """,
    """
    CREATE FUNCTION delete_rows_of_truncated_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- They may be part of the same TRUNCATE, which keeps them from another one.
        DELETE FROM asset_alias;
        DELETE FROM asset_enrichment;
        DELETE FROM asset_identity;
        DELETE FROM asset_part;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER truncated_assets_take_their_rows AFTER TRUNCATE ON asset
    FOR EACH STATEMENT EXECUTE FUNCTION delete_rows_of_truncated_assets()
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
    for table in _REFERRING:
        execute(
            f"""
            CREATE TRIGGER {table}_names_assets AFTER INSERT ON {table}
            REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION require_assets_of_rows()
            """
        )
        execute(
            f"""
            CREATE TRIGGER {table}_names_other_asset AFTER UPDATE OF asset_uuid ON {table}
            FOR EACH ROW WHEN (OLD.asset_uuid <> NEW.asset_uuid) EXECUTE FUNCTION require_asset_of_row()
            """
        )
        execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_asset_uuid_fkey")
