"""Lost mounts: whether an ingest looks for a collection's files, and rows of the audit trail for skipped collections.

Revision: 0008
Follows: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE collection ADD COLUMN check_files boolean NOT NULL DEFAULT true",
    """
    ALTER TABLE ingest_outcome DROP CONSTRAINT ingest_outcome_status_check,
    ADD CONSTRAINT ingest_outcome_status_check
        CHECK (status IN ('ingested', 'skipped', 'failed', 'interrupted', 'unknown'))
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
