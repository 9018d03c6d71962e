"""Jobs: what was asked of workers, who they are, and the tables of the job engine in a schema of their own.

Revision: 0019
Follows: 0018
"""

from pathlib import Path

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_ENGINE = Path(__file__).parents[1] / "procrastinate" / "03.04.00.sql"
_VERSION = "03.04.00"

_STATEMENTS = (
    """
    CREATE TABLE run_request (
        id uuid PRIMARY KEY,
        source_id uuid NOT NULL REFERENCES source (id) ON DELETE CASCADE,
        what text NOT NULL CHECK (what IN ('ingest', 'enrich')),
        scope text NOT NULL CHECK (scope IN ('source', 'collection')),
        options json NOT NULL,
        skipped json NOT NULL,
        requested_by text NOT NULL,
        requested_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX run_request_source ON run_request (source_id)",
    """
    CREATE TABLE requested_collection (
        request_id uuid NOT NULL REFERENCES run_request (id) ON DELETE CASCADE,
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        attempts integer NOT NULL DEFAULT 0,
        run_id uuid,
        host_id uuid,
        share double precision NOT NULL DEFAULT 0,
        outcome json,
        ended_at timestamptz,
        PRIMARY KEY (request_id, collection_id),
        CHECK (ended_at IS NULL OR outcome IS NOT NULL)
    )
    """,
    "CREATE INDEX requested_collection_open ON requested_collection (collection_id) WHERE ended_at IS NULL",
    """
    CREATE TABLE enrichment_batch (
        run_id uuid NOT NULL,
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        number integer NOT NULL,
        after_uuid uuid,
        upto_uuid uuid,
        host text,
        result json,
        ended_at timestamptz,
        PRIMARY KEY (run_id, collection_id, number)
    )
    """,
    "CREATE INDEX enrichment_batch_collection ON enrichment_batch (collection_id)",
    """
    CREATE TABLE job_host (
        id uuid PRIMARY KEY,
        name text NOT NULL,
        sources uuid[],
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        beaten_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE job_refusal (
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        host_id uuid NOT NULL,
        host text NOT NULL,
        code text NOT NULL,
        reason text NOT NULL,
        refused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (collection_id, host_id)
    )
    """,
    # The engine finds its tables by the search path: nothing of it names a schema.
    "CREATE SCHEMA IF NOT EXISTS retrovue_jobs",
    "SELECT set_config('retrovue.search_path', current_setting('search_path'), true)",
    "SET LOCAL search_path TO retrovue_jobs",
)
_AFTERWARDS = (
    "SELECT set_config('search_path', current_setting('retrovue.search_path'), true)",
    f"COMMENT ON SCHEMA retrovue_jobs IS 'procrastinate {_VERSION}'",
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
    script = _ENGINE.read_text("utf-8")
    # A prepared statement takes one command; asyncpg's own `execute` takes a script.
    raw = connection.connection.dbapi_connection
    if raw is None:
        message = "the migration has no connection"
        raise AssertionError(message)
    raw.run_async(lambda driver: driver.execute(script))
    for statement in _AFTERWARDS:
        connection.exec_driver_sql(statement)
