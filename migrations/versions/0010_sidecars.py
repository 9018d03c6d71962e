"""Sidecars: a mark of the files beside an asset's own, and enrichments that are owed again because one has changed.

Revision: 0010
Follows: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE asset ADD COLUMN sidecar_stamp text",
    # Enrichers give an approved asset nothing but this: it is owed although the asset isn't 'enriching'.
    "ALTER TABLE asset_enrichment ADD COLUMN again jsonb",
    "CREATE INDEX asset_enrichment_again ON asset_enrichment (asset_uuid) WHERE again IS NOT NULL",
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
