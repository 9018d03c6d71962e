"""Enrichers: instances, what they are attached to, and what became of each asset with each of them.

Revision: 0003
Follows: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE enricher (
        id uuid PRIMARY KEY,
        external_id text NOT NULL CONSTRAINT enricher_external_id_key UNIQUE,
        name text NOT NULL CONSTRAINT enricher_name_not_blank CHECK (btrim(name) <> ''),
        type text NOT NULL,
        config jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT enricher_external_id_shape CHECK (external_id ~ ('^' || type || '-[0-9a-f]{8}$'))
    )
    """,
    """
    CREATE TABLE collection_enricher (
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        enricher_id uuid NOT NULL REFERENCES enricher (id) ON DELETE CASCADE,
        priority integer NOT NULL,
        attached_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (collection_id, enricher_id)
    )
    """,
    # An enrichment is owed while an attached enricher has no row here that says 'succeeded'.
    """
    CREATE TABLE asset_enrichment (
        asset_uuid uuid NOT NULL REFERENCES asset (uuid) ON DELETE CASCADE,
        enricher_id uuid NOT NULL REFERENCES enricher (id) ON DELETE CASCADE,
        status text NOT NULL CHECK (status IN ('succeeded', 'failed')),
        attempts integer NOT NULL DEFAULT 1 CHECK (attempts >= 1),
        code text,
        message text,
        fingerprint jsonb,
        data jsonb,
        run_id uuid NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (asset_uuid, enricher_id),
        CONSTRAINT asset_enrichment_code_iff_failed CHECK ((status = 'failed') = (code IS NOT NULL))
    )
    """,
    # The audit trail of the enrichment that follows an ingest, or is asked for by hand: one row, written at its end.
    """
    CREATE TABLE enrichment_outcome (
        run_id uuid NOT NULL,
        collection_id uuid NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
        status text NOT NULL CHECK (status IN ('done', 'interrupted', 'failed')),
        succeeded bigint NOT NULL DEFAULT 0 CHECK (succeeded >= 0),
        failed bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
        owed bigint CHECK (owed >= 0),
        details jsonb NOT NULL DEFAULT '{}',
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (run_id, collection_id)
    )
    """,
    "ALTER TABLE asset ADD COLUMN streams jsonb",
    # Field -> who gave it; only of fields that didn't come from the source.
    "ALTER TABLE asset ADD COLUMN provenance jsonb",
    # What is owed is read in the order of this index; without any enricher it stays empty and costs nothing.
    "CREATE INDEX asset_enriching ON asset (collection_uuid, uuid) WHERE state = 'enriching'",
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
