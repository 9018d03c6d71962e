"""How much a sync has to read: what the last complete reading of each collection proved, and which filters work.

Revision: 0013
Follows: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # One row for each collection that was read completely. Whoever changes its assets otherwise than by a merge makes
    # the database forget it, as the known pages: see 0002.
    """
    CREATE TABLE collection_reading (
        collection_uuid uuid PRIMARY KEY REFERENCES collection (id) ON DELETE CASCADE,
        basis bytea NOT NULL CHECK (octet_length(basis) = 16),
        stamp text,
        clock_s bigint,
        items bigint NOT NULL CHECK (items >= 0),
        swept_at timestamptz,
        full_at timestamptz
    )
    """,
    """
    CREATE TABLE source_filter (
        source_id uuid NOT NULL REFERENCES source (id) ON DELETE CASCADE,
        name text NOT NULL,
        version text NOT NULL,
        works boolean NOT NULL,
        PRIMARY KEY (source_id, name)
    )
    """,
    """
    CREATE OR REPLACE FUNCTION forget_listing_of_changed_asset() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM known_listing WHERE collection_uuid IN (OLD.collection_uuid, NEW.collection_uuid);
        DELETE FROM collection_reading WHERE collection_uuid IN (OLD.collection_uuid, NEW.collection_uuid);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION forget_listings_of_deleted_assets() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM known_listing WHERE collection_uuid IN (SELECT collection_uuid FROM gone);
        DELETE FROM collection_reading WHERE collection_uuid IN (SELECT collection_uuid FROM gone);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION forget_all_listings() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM known_listing;
        DELETE FROM collection_reading;
        RETURN NULL;
    END
    $$
    """,
    """
    ALTER TABLE source
        ADD COLUMN sweep_every_s integer NOT NULL DEFAULT 86400 CHECK (sweep_every_s >= 0),
        ADD COLUMN full_every_s integer NOT NULL DEFAULT 604800 CHECK (full_every_s >= 0)
    """,
    "ALTER TABLE ingest_outcome DROP CONSTRAINT ingest_outcome_read_check",
    # No row has another value; NOT VALID spares reading them all.
    """
    ALTER TABLE ingest_outcome ADD CONSTRAINT ingest_outcome_read_check
        CHECK (read IN ('full', 'sweep', 'changes', 'unchanged', 'scoped')) NOT VALID
    """,
    # What was rejected before and isn't among the changes is no rejection of a run that read the changes alone.
    """
    CREATE OR REPLACE VIEW run_rejection AS
        SELECT run_id, collection_id, CAST(position AS bigint) AS position, code, reason, source_uri, title
        FROM ingest_rejection WHERE content IS NULL
        UNION ALL
        SELECT ingest_start.run_id, ingest_start.collection_id, lasting.first_number * 4294967296 + lasting.position,
            lasting.code, lasting.reason, lasting.source_uri, lasting.title
        FROM ingest_start
            JOIN ingest_outcome USING (run_id, collection_id)
            JOIN ingest_rejection AS lasting ON lasting.collection_id = ingest_start.collection_id
                AND lasting.content IS NOT NULL AND lasting.first_number <= ingest_start.number
                AND (lasting.ended_number IS NULL OR lasting.ended_number > ingest_start.number)
        WHERE ingest_start.scope = '{}' AND ingest_outcome.rejected > 0
            AND ingest_outcome.read IS DISTINCT FROM 'changes'
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
