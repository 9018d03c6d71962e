"""The details of the audit trail: rejections that a run has in common with the one before are stored once.

Revision: 0009
Follows: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # The order of a collection's runs, whatever the clock says.
    "ALTER TABLE ingest_start ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
    # Without content a row is one of its own run alone, as all rows are that exist already.
    """
    ALTER TABLE ingest_rejection
        ADD COLUMN content bytea CHECK (octet_length(content) = 16),
        ADD COLUMN first_number bigint,
        ADD COLUMN ended_number bigint,
        ADD COLUMN ended_at timestamptz,
        ADD CONSTRAINT ingest_rejection_lasts CHECK (
            (content IS NULL) = (first_number IS NULL) AND (ended_number IS NULL) = (ended_at IS NULL)
            AND (ended_number IS NULL OR content IS NOT NULL)
        )
    """,
    "CREATE INDEX ingest_rejection_lasting ON ingest_rejection (collection_id, first_number) WHERE content IS NOT NULL",
    "CREATE INDEX ingest_rejection_ended ON ingest_rejection (ended_at) WHERE ended_at IS NOT NULL",
    "CREATE INDEX ingest_outcome_detailed ON ingest_outcome (ended_at) WHERE details <> '{}'",
    # 4294967296: the positions of each run are integers.
    """
    CREATE VIEW run_rejection AS
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
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
