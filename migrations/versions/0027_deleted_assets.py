"""An index of the assets that are marked as deleted.

Each ingest counts the assets of its collections. With the index the count needs no row of the table: the entries of a
collection in another index, less those of its deleted assets.

Revision: 0027
Follows: 0026
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("CREATE INDEX asset_deleted ON asset (collection_uuid) WHERE deleted_at IS NOT NULL")
