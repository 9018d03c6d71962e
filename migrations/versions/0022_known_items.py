"""Known items: of a page that isn't known as a whole, and of a collection of which a run has read only a part.

Revision: 0022
Follows: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Eight bytes for each item of a page. The pages that are there have none until they are read again.
    "ALTER TABLE known_page ADD COLUMN position integer, ADD COLUMN items bytea",
    "ALTER TABLE known_page ALTER items SET STORAGE EXTERNAL",
    """
    CREATE TABLE known_exception (
        collection_uuid uuid NOT NULL REFERENCES known_listing (collection_uuid) ON DELETE CASCADE,
        source_hash bytea NOT NULL CHECK (octet_length(source_hash) = 16),
        PRIMARY KEY (collection_uuid, source_hash)
    )
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
