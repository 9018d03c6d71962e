"""Known pages are recognised by the text of their rows.

Revision: 0028
Follows: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # The pages that are there have none of this until they are read again.
    "ALTER TABLE known_page ADD COLUMN digest bytea, ADD COLUMN content bytea",
    "ALTER TABLE known_page ADD CONSTRAINT known_page_text CHECK (num_nulls(digest, content) IN (0, 2))",
    # Compressing hashes and ids takes longer than writing them.
    "ALTER TABLE known_page ALTER content SET STORAGE EXTERNAL",
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
