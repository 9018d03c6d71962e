"""Which host listens to a source, and what it last heard.

Revision: 0017
Follows: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLE = """
    CREATE TABLE listener (
        source_id uuid PRIMARY KEY REFERENCES source (id) ON DELETE CASCADE,
        host text NOT NULL,
        connected_at timestamptz,
        problem_code text,
        problem text,
        heard_at timestamptz,
        heard_library text,
        heard_items integer,
        CHECK ((problem_code IS NULL) = (problem IS NULL)),
        CHECK (connected_at IS NULL OR problem IS NULL)
    )
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(_TABLE)
