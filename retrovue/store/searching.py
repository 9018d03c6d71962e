"""Optional indexes for the search for a part of a title, or of the title of a show.

A catalogue has them only if somebody wants them: each asset that is created, or gets another title, pays for them. They
need the extension ``pg_trgm``, which comes with PostgreSQL.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

TITLE = (
    "lower(asset.title || coalesce(' (' || asset.year::text || ')', '') || coalesce(' [' || asset.edition || ']', ''))"
)
"""What a title is searched in, as lists print it where titles are alike: ``Heat (1995) [Director's Cut]``."""

SHOW = (
    "lower(coalesce(asset.show_title, '') || coalesce(' (' || asset.show_year::text || ')', '') || E'\\n'"
    " || coalesce(asset.show_key || E'\\n' || coalesce(asset.show_title, '') || ' (key ' || asset.show_key || ')', ''))"
)
"""The text in which a part of a show is searched for: its title with its year, its key, its title with its key."""
HAS_SHOW = "(asset.show_title IS NOT NULL OR asset.show_key IS NOT NULL)"
_INDEXES = {
    "asset_search": f"(({TITLE}) gin_trgm_ops)",
    "asset_show_search": f"(({SHOW}) gin_trgm_ops) WHERE {HAS_SHOW}",
}


def containing(part: str) -> str:
    """Return the pattern of LIKE for what contains a text."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


async def has_indexes(session: AsyncSession) -> bool | None:
    """Return whether the catalogue has the indexes; None if it has only some of them."""
    found = await session.execute(
        text("SELECT count(to_regclass(name)) FROM unnest(cast(:names AS text[])) AS name"), {"names": list(_INDEXES)}
    )
    number: int = found.scalar_one()
    return None if 0 < number < len(_INDEXES) else bool(number)


async def add_indexes(session: AsyncSession) -> None:
    """Make the indexes that are missing. Nobody can write assets until the transaction ends.

    Raises StoreError if the role may not create the extension.
    """
    await session.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    for name, on in _INDEXES.items():
        await session.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON asset USING gin {on.replace('asset.', '')}"))


async def remove_indexes(session: AsyncSession) -> None:
    """Remove the indexes. The extension stays: others may use it."""
    await session.execute(text(f"DROP INDEX IF EXISTS {', '.join(_INDEXES)}"))
