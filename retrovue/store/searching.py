"""An optional index for the search for a part of a title.

A catalogue has it only if somebody wants it: each asset that is created, or gets another title, pays for it. It needs
the extension ``pg_trgm``, which comes with PostgreSQL.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

NAME = "asset_search"
TITLE = (
    "lower(asset.title || coalesce(' (' || asset.year::text || ')', '') || coalesce(' [' || asset.edition || ']', ''))"
)
"""What a title is searched in, as lists print it where titles are alike: ``Heat (1995) [Director's Cut]``."""


def containing(part: str) -> str:
    """Return the pattern of LIKE for what contains a text."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


async def has_index(session: AsyncSession) -> bool:
    """Return whether the catalogue has the index."""
    found = await session.execute(text(f"SELECT to_regclass('{NAME}') IS NOT NULL"))
    return bool(found.scalar_one())


async def add_index(session: AsyncSession) -> None:
    """Make the index. Nobody can write assets until the transaction ends.

    Raises StoreError if the role may not create the extension.
    """
    await session.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    await session.execute(
        text(f"CREATE INDEX {NAME} ON asset USING gin (({TITLE.replace('asset.', '')}) gin_trgm_ops)")
    )


async def remove_index(session: AsyncSession) -> None:
    """Remove the index. The extension stays: others may use it."""
    await session.execute(text(f"DROP INDEX IF EXISTS {NAME}"))
