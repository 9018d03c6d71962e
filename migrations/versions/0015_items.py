"""Readings of single items: what explains that a stamp has moved, and which rejections their runs have.

Revision: 0015
Follows: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE collection_reading ADD COLUMN explained boolean NOT NULL DEFAULT false",
    # As of 0013, but for runs that read single items: what was rejected before isn't theirs either.
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
            AND coalesce(ingest_outcome.read, 'full') NOT IN ('changes', 'scoped')
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
