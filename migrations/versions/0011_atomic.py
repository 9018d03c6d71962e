"""The audit trail says which runs were one unit of work.

Revision: 0011
Follows: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A default that is constant isn't written to the rows.
    op.get_bind().exec_driver_sql("ALTER TABLE ingest_start ADD COLUMN atomic boolean NOT NULL DEFAULT false")
