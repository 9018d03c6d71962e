"""Schedules: when each source is synced, ingested or enriched by itself, and the runs that its due times gave.

Revision: 0016
Follows: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE schedule (
        id uuid PRIMARY KEY,
        source_id uuid NOT NULL REFERENCES source (id) ON DELETE CASCADE,
        name text NOT NULL UNIQUE,
        what text NOT NULL CHECK (what IN ('sync', 'full-sync', 'ingest', 'enrich')),
        cron text NOT NULL,
        time_zone text NOT NULL,
        enabled boolean NOT NULL DEFAULT true,
        due_after timestamptz NOT NULL DEFAULT now(),
        asked_at timestamptz
    )
    """,
    """
    CREATE TABLE schedule_run (
        schedule_id uuid NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
        due_at timestamptz NOT NULL,
        host_id uuid NOT NULL,
        host text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        run_id uuid,
        ended_at timestamptz,
        status text CHECK (status IN ('ok', 'partial', 'error')),
        message text,
        PRIMARY KEY (schedule_id, due_at),
        CHECK ((ended_at IS NULL) = (status IS NULL))
    )
    """,
    # One run of a schedule at a time, whatever the hosts do.
    "CREATE UNIQUE INDEX schedule_run_unended ON schedule_run (schedule_id) WHERE ended_at IS NULL",
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
