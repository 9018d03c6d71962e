"""Progress: how far the runs at work are, for whoever watches them, and who has asked to stop one.

Unlogged, as it is of no use after a crash: it costs no write-ahead log.

Revision: 0018
Follows: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE UNLOGGED TABLE run_progress (
        run_id uuid NOT NULL,
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        phase text NOT NULL CHECK (phase IN ('waiting', 'reading', 'merging', 'enriching', 'ended')),
        source_items bigint NOT NULL DEFAULT 0,
        source_total bigint,
        discovered bigint NOT NULL DEFAULT 0,
        rejected bigint NOT NULL DEFAULT 0,
        enriched bigint NOT NULL DEFAULT 0,
        enrichments_failed bigint NOT NULL DEFAULT 0,
        enrichments_owed bigint,
        seconds double precision NOT NULL DEFAULT 0,
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        stop_asked_by text,
        PRIMARY KEY (run_id, collection_id)
    )
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
