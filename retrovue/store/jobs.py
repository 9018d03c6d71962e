"""The schema and version of the job engine's tables."""

from retrovue.store.session import Store
from retrovue.store.statements import text

SCHEMA = "retrovue_jobs"
"""The database schema of the engine's tables; a migration creates it."""
ENGINE = "procrastinate"


async def engine_version(store: Store) -> str | None:
    """Return the version of the engine whose tables the database has, such as ``procrastinate 03.04.00``."""
    async with store.reading() as session:
        result = await session.execute(
            text(
                "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = :schema",
            ),
            {"schema": SCHEMA},
        )
        found: str | None = result.scalar_one_or_none()
        return found
