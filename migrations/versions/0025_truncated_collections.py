"""Collections that are truncated take their assets with them, as TRUNCATE … CASCADE did by the foreign key.

Other tables that refer to collections keep TRUNCATE without CASCADE from them.

Revision: 0025
Follows: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE FUNCTION delete_assets_of_truncated_collections() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- They may be part of the same TRUNCATE, which keeps them from another one.
        DELETE FROM asset;
        RETURN NULL;
    END
    $$
    """,
    "DROP TRIGGER truncated_collections_have_no_assets ON collection",
    "DROP FUNCTION require_no_assets()",
    """
    CREATE TRIGGER truncated_collections_take_their_assets AFTER TRUNCATE ON collection
    FOR EACH STATEMENT EXECUTE FUNCTION delete_assets_of_truncated_collections()
    """,
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        execute(statement)
