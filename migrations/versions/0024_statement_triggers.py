"""Triggers that check references to assets read each row that a statement changed once, and few others.

* To delete the rows of deleted assets, PostgreSQL made a hash table of the assets for each table, on the disk if they
  were many. A join reads them once for each table that has any rows, and is planned for as many as there are.
* The collections of deleted assets are found once, and not for each table that forgets them.
* The asset of a new row is found by its id. During a merge, which switches nested loops off, all assets were read.

Revision: 0024
Follows: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE OR REPLACE FUNCTION delete_rows_of_deleted_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE related text; filled boolean;
    BEGIN
        IF NOT EXISTS (SELECT FROM deleted) THEN
            RETURN NULL;
        END IF;
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'assets can''t be deleted at the isolation level %',
                upper(current_setting('transaction_isolation')) USING ERRCODE = 'feature_not_supported',
                HINT = 'Begin the transaction with BEGIN ISOLATION LEVEL READ COMMITTED.';
        END IF;
        FOREACH related IN ARRAY ARRAY['asset_alias', 'asset_enrichment', 'asset_identity', 'asset_part'] LOOP
            -- An empty table costs nothing, where a join would read all deleted assets.
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', related) INTO filled;
            IF filled THEN
                -- A plan that is kept was made for another number of assets.
                EXECUTE format('DELETE FROM %I AS related USING deleted WHERE related.asset_uuid = uuid', related);
            END IF;
        END LOOP;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION forget_listings_of_deleted_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE collections uuid[];
    BEGIN
        collections := ARRAY(SELECT collection_uuid FROM gone GROUP BY collection_uuid);
        DELETE FROM known_listing WHERE collection_uuid = ANY(collections);
        DELETE FROM collection_reading WHERE collection_uuid = ANY(collections);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION require_assets_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE missing uuid;
    BEGIN
        -- A subquery that locks rows isn't made a join: it looks each asset up.
        SELECT asset_uuid INTO missing FROM (SELECT DISTINCT asset_uuid FROM added) AS wanted
        WHERE NOT EXISTS (SELECT FROM asset WHERE uuid = asset_uuid FOR KEY SHARE) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'a row of % names the asset %, which doesn''t exist', TG_TABLE_NAME, missing USING
                ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                CONSTRAINT = TG_TABLE_NAME || '_asset_uuid_fkey';
        END IF;
        RETURN NULL;
    END
    $$
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
