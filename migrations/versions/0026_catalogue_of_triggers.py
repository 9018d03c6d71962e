"""Triggers ask the tables of their own catalogue, and collections aren't truncated without naming their assets.

* The functions that keep references between tables found these by the session's search_path. A temporary table of the
  same name, or one in another schema, was asked in their place; with an empty path they failed. Each function has its
  own path now: the schema of the catalogue, and temporary tables last.
* A TRUNCATE of collections and of all tables that refer to them, assets excepted, emptied the assets too. It is
  refused, as by the foreign key. PostgreSQL 18 knows keys that aren't enforced: TRUNCATE heeds them, so that CASCADE
  takes the assets along, and new assets cost nothing. Older servers refuse CASCADE too while there is an asset.

Revision: 0026
Follows: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_UNENFORCED_KEYS = 180000
"""The first version of PostgreSQL that has them."""
_STATEMENTS = (
    """
    CREATE FUNCTION require_no_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- A transaction that doesn't see the latest assets still sees whether they have any pages.
        IF EXISTS (SELECT FROM asset) OR (
            current_setting('transaction_isolation') <> 'read committed' AND pg_relation_size('asset') > 0
        ) THEN
            RAISE EXCEPTION 'collections that still have assets can''t be truncated' USING
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = 'asset',
                CONSTRAINT = 'asset_collection_uuid_fkey', HINT = 'Truncate the table "asset" in the same statement.';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    "DROP TRIGGER truncated_collections_take_their_assets ON collection",
    "DROP FUNCTION delete_assets_of_truncated_collections()",
    """
    CREATE TRIGGER truncated_collections_have_no_assets AFTER TRUNCATE ON collection
    FOR EACH STATEMENT EXECUTE FUNCTION require_no_assets()
    """,
)
_UNENFORCED = """
    ALTER TABLE asset ADD CONSTRAINT asset_collection_uuid_fkey
    FOREIGN KEY (collection_uuid) REFERENCES collection (id) NOT ENFORCED
"""
_FUNCTIONS = (
    "begin_listing_of_new_collection",
    "delete_rows_of_deleted_assets",
    "delete_rows_of_truncated_assets",
    "forget_all_listings",
    "forget_listing_of_changed_asset",
    "forget_listings_of_deleted_assets",
    "require_asset_of_row",
    "require_assets_of_rows",
    "require_collection_of_asset",
    "require_no_assets",
    "require_no_assets_of_former_collection",
    "require_no_rows_of_former_uuid",
)
_WITH_PATHS = f"""
    SELECT DISTINCT format('ALTER FUNCTION %s SET search_path = %I, pg_temp', cast(tgfoid AS regprocedure), nspname)
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = cast('asset' AS regclass))
        AND NOT tgisinternal AND proname IN ({", ".join(f"'{name}'" for name in _FUNCTIONS)})
"""


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
    version = execute("SELECT cast(current_setting('server_version_num') AS integer)").scalar_one()
    if version >= _UNENFORCED_KEYS:
        execute(_UNENFORCED)
    for (statement,) in execute(_WITH_PATHS).all():
        execute(statement)
