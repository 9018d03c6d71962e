"""Optional indexes to search for a part of a title, or of the title of a show.

A catalogue has them only on request, because they slow the writing of each new or changed title. They need the
extension ``pg_trgm``, which comes with PostgreSQL.
"""

from retrovue.store.statements import Session, text

TITLE = (
    "lower(asset.title || coalesce(' (' || asset.year::text || ')', '') || coalesce(' [' || asset.edition || ']', ''))"
)
"""The SQL of the text that is searched for a title, as lists print an ambiguous one: ``Heat (1995) [Director's Cut]``.
"""

SHOW = (
    "lower(coalesce(asset.show_title, '') || coalesce(' (' || asset.show_year::text || ')', '') || E'\\n'"
    " || coalesce(asset.show_key || E'\\n' || coalesce(asset.show_title, '') || ' (key ' || asset.show_key || ')', ''))"
)
"""The SQL of the text that is searched for a show: its title with its year, its key, its title with its key."""
HAS_SHOW = "(asset.show_title IS NOT NULL OR asset.show_key IS NOT NULL)"
_INDEXES = {
    "asset_search": f"(({TITLE}) gin_trgm_ops)",
    "asset_show_search": f"(({SHOW}) gin_trgm_ops) WHERE {HAS_SHOW}",
}


def containing(part: str) -> str:
    """Return the pattern for LIKE that matches texts which contain a text."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


async def has_indexes(session: Session) -> bool | None:
    """Return whether the catalogue has the indexes; None if it has only some of them."""
    found = await session.execute(
        text("SELECT count(to_regclass(name)) FROM unnest(cast(:names AS text[])) AS name"), {"names": list(_INDEXES)}
    )
    number: int = found.scalar_one()
    return None if 0 < number < len(_INDEXES) else bool(number)


async def add_indexes(session: Session) -> None:
    """Create the missing indexes. Nobody can write assets until the transaction ends.

    Raises StoreError if the role may not create the extension.
    """
    await session.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    for name, on in _INDEXES.items():
        await session.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON asset USING gin {on.replace('asset.', '')}"))


async def remove_indexes(session: Session) -> None:
    """Drop the indexes. The extension stays, because others may use it."""
    await session.execute(text(f"DROP INDEX IF EXISTS {', '.join(_INDEXES)}"))
