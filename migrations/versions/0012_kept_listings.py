"""Kept listings: the pages that an interrupted run has read of a large collection.

Revision: 0012
Follows: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # The pages of each are in a table of their own, kept_page_<number>, which is dropped with its row.
    """
    CREATE TABLE kept_listing (
        collection_uuid uuid PRIMARY KEY REFERENCES collection (id) ON DELETE CASCADE,
        number bigint GENERATED ALWAYS AS IDENTITY,
        run_id uuid NOT NULL,
        key bytea NOT NULL CHECK (octet_length(key) = 16),
        began_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    # Only its owner may drop a table. If another role deletes the collection, the table stays without a row.
    """
    CREATE FUNCTION drop_kept_pages() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('DROP TABLE IF EXISTS %I', 'kept_page_' || OLD.number);
        RETURN NULL;
    EXCEPTION WHEN insufficient_privilege THEN
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER deleted_listing_drops_pages AFTER DELETE ON kept_listing
    FOR EACH ROW EXECUTE FUNCTION drop_kept_pages()
    """,
    """
    CREATE FUNCTION drop_all_kept_pages() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM kept_listing;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER truncated_listings_drop_pages BEFORE TRUNCATE ON kept_listing
    FOR EACH STATEMENT EXECUTE FUNCTION drop_all_kept_pages()
    """,
    "ALTER TABLE ingest_outcome ADD COLUMN resumed bigint NOT NULL DEFAULT 0",
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
