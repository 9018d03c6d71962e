"""The order of the asset list, collection by collection, so that each page of it costs the same.

Revision: 0004
Follows: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Shows repeat their title for each episode, which a B-tree stores once. The rest of the order (season, episode,
    # title) is sorted within equal names. An index entry holds at most 2,704 bytes: a name counts by 200 characters.
    """
    CREATE INDEX asset_by_name ON asset (collection_uuid, (left(coalesce(show_title, title), 200)))
    WHERE deleted_at IS NULL
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
