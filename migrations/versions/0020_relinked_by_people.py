"""Former identities of assets that a person has relinked: no run did it.

Revision: 0020
Follows: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("ALTER TABLE asset_identity ALTER COLUMN run_id DROP NOT NULL")
