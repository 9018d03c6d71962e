"""The reference of an asset to its collection, checked once for each statement and collection.

A foreign key looks the collection up and locks it for each asset: a quarter of what PostgreSQL did for an asset that is
created. The trigger below does so for the first asset of a statement, and again when another collection follows. It
keeps in a setting of the transaction which collection that was. Each statement begins with an empty one, so that
nobody else can have set it, and a lock lasts as long as the setting. The triggers keep what the foreign key kept:

* An asset of no collection is refused with the error of the foreign key, under the name of the former constraint.
  The collection is locked FOR KEY SHARE, so that a transaction that deletes it waits, or is waited for.
* A collection that has assets can't be deleted, nor get another id.

A deletion in a transaction that doesn't see what others have committed since it began could leave assets behind. So
collections can be deleted at READ COMMITTED only, as assets can.

Revision: 0023
Follows: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE FUNCTION begin_to_name_collections() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('retrovue.named_collection', '', true);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION require_collection_of_asset() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.collection_uuid IS NULL THEN
            RETURN NEW;
        END IF;
        PERFORM FROM collection WHERE id = NEW.collection_uuid FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'insert or update on table "asset" violates foreign key constraint'
                ' "asset_collection_uuid_fkey"' USING
                DETAIL = format(
                    'Key (collection_uuid)=(%s) is not present in table "collection".', NEW.collection_uuid
                ), ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                CONSTRAINT = 'asset_collection_uuid_fkey';
        END IF;
        IF TG_OP = 'INSERT' THEN
            PERFORM set_config('retrovue.named_collection', cast(NEW.collection_uuid AS text), true);
        END IF;
        RETURN NEW;
    END
    $$
    """,
    """
    CREATE TRIGGER assets_begin_to_name_collections BEFORE INSERT ON asset
    FOR EACH STATEMENT EXECUTE FUNCTION begin_to_name_collections()
    """,
    # Triggers are fired in the order of their names: those that would change the asset come before.
    """
    CREATE TRIGGER zz_asset_names_collection BEFORE INSERT ON asset FOR EACH ROW
    WHEN (cast(NEW.collection_uuid AS text) IS DISTINCT FROM current_setting('retrovue.named_collection', true))
    EXECUTE FUNCTION require_collection_of_asset()
    """,
    """
    CREATE TRIGGER asset_names_other_collection AFTER UPDATE OF collection_uuid ON asset FOR EACH ROW
    WHEN (OLD.collection_uuid IS DISTINCT FROM NEW.collection_uuid) EXECUTE FUNCTION require_collection_of_asset()
    """,
    """
    CREATE FUNCTION require_no_assets_of_former_collection() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'collections can''t be deleted, nor get another id, at the isolation level %',
                upper(current_setting('transaction_isolation')) USING ERRCODE = 'feature_not_supported',
                HINT = 'Begin the transaction with BEGIN ISOLATION LEVEL READ COMMITTED.';
        END IF;
        IF EXISTS (SELECT FROM asset WHERE collection_uuid = OLD.id) THEN
            RAISE EXCEPTION 'update or delete on table "collection" violates foreign key constraint'
                ' "asset_collection_uuid_fkey" on table "asset"' USING
                DETAIL = format('Key (id)=(%s) is still referenced from table "asset".', OLD.id),
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = 'asset',
                CONSTRAINT = 'asset_collection_uuid_fkey';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER deleted_collection_has_no_assets AFTER DELETE ON collection
    FOR EACH ROW EXECUTE FUNCTION require_no_assets_of_former_collection()
    """,
    """
    CREATE TRIGGER collection_with_assets_keeps_id AFTER UPDATE OF id ON collection FOR EACH ROW
    WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION require_no_assets_of_former_collection()
    """,
    """
    CREATE FUNCTION require_no_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM asset) THEN
            RAISE EXCEPTION 'collections that still have assets can''t be truncated' USING
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = 'asset',
                CONSTRAINT = 'asset_collection_uuid_fkey', HINT = 'Truncate the table "asset" in the same statement.';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER truncated_collections_have_no_assets AFTER TRUNCATE ON collection
    FOR EACH STATEMENT EXECUTE FUNCTION require_no_assets()
    """,
    "ALTER TABLE asset DROP CONSTRAINT asset_collection_uuid_fkey",
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
