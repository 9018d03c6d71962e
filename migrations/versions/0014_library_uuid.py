"""The permanent id of the library that a collection's assets are of: a source may give its key to another library.

Revision: 0014
Follows: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("ALTER TABLE collection ADD COLUMN library_uuid text")
