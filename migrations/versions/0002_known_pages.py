"""Pages of a listing that the catalogue holds whole, so that a re-ingest needn't look each of their items up.

Revision: 0002
Follows: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE TABLE known_listing (collection_uuid uuid PRIMARY KEY REFERENCES collection (id) ON DELETE CASCADE)",
    """
    CREATE TABLE known_page (
        collection_uuid uuid NOT NULL REFERENCES known_listing (collection_uuid) ON DELETE CASCADE,
        fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 16),
        PRIMARY KEY (collection_uuid, fingerprint)
    )
    """,
    """
    CREATE FUNCTION begin_listing_of_new_collection() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO known_listing (collection_uuid) VALUES (NEW.id);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER new_collection_begins_listing AFTER INSERT ON collection
    FOR EACH ROW EXECUTE FUNCTION begin_listing_of_new_collection()
    """,
    "INSERT INTO known_listing (collection_uuid) SELECT id FROM collection",
    # Whoever takes an asset away, or changes what it is recognised by, makes the database forget all pages of the
    # collection. Deleting the listing waits for a merge that is adding pages to it, and takes those along as well.
    """
    CREATE FUNCTION forget_listing_of_changed_asset() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM known_listing WHERE collection_uuid IN (OLD.collection_uuid, NEW.collection_uuid);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER changed_asset_forgets_listing AFTER UPDATE ON asset
    FOR EACH ROW WHEN (
        current_setting('retrovue.merging', true) IS DISTINCT FROM 'on'
        AND (OLD.collection_uuid, OLD.source_hash, OLD.canonical_hash, OLD.deleted_at)
        IS DISTINCT FROM (NEW.collection_uuid, NEW.source_hash, NEW.canonical_hash, NEW.deleted_at)
    ) EXECUTE FUNCTION forget_listing_of_changed_asset()
    """,
    """
    CREATE FUNCTION forget_listings_of_deleted_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM known_listing WHERE collection_uuid IN (SELECT collection_uuid FROM gone);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER deleted_assets_forget_listings AFTER DELETE ON asset
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_listings_of_deleted_assets()
    """,
    """
    CREATE FUNCTION forget_all_listings() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM known_listing;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER truncated_assets_forget_listings AFTER TRUNCATE ON asset
    FOR EACH STATEMENT EXECUTE FUNCTION forget_all_listings()
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
