"""The known pages of a collection in the catalogue: written by the merge that makes them true, and what ends them.

Triggers of the database forget them with the first asset that is deleted or whose identity changes. Known items are
kept with their page.
"""

from collections.abc import Iterable

from retrovue.core.model import Collection
from retrovue.store.statements import Session, text

_PACKED_PAGES = """
    SELECT substring(pages.packed FROM number * 16 + 1 FOR 16) AS fingerprint
    FROM (SELECT cast(:pages AS bytea) AS packed) AS pages, generate_series(0, length(pages.packed) / 16 - 1) AS number
"""
_STAGED_COLUMNS = ", position, items, digest, content"
MOST_EXCEPTIONS = 10_000
"""With more of them all pages are forgotten: most would hold one."""
_EXCEPT = text(
    """
    INSERT INTO known_exception SELECT :collection, staged.source_hash
    FROM plan JOIN staged USING (seq)
    WHERE plan.verdict IN ('refreshed', 'replaced', 'restored', 'duplicate')
    ON CONFLICT DO NOTHING
    """
)
_HAS_MANY_EXCEPTIONS = text("SELECT count(*) > :most FROM known_exception WHERE collection_uuid = :collection")


async def begin_listing(session: Session, collection: Collection) -> None:
    """Write the row that keeps the collection's known pages valid; the first change of an identity deletes it."""
    await session.execute(
        text("INSERT INTO known_listing (collection_uuid) VALUES (:id) ON CONFLICT DO NOTHING"), {"id": collection.id}
    )


async def listing_holds(session: Session, collection: Collection) -> bool:
    """Return whether the collection's known pages are still valid, and lock them until the commit."""
    result = await session.execute(
        text("SELECT 1 FROM known_listing WHERE collection_uuid = :id FOR KEY SHARE"), {"id": collection.id}
    )
    return result.first() is not None


async def forget_listing(session: Session, collection: Collection) -> None:
    """Delete all known pages of a collection."""
    await session.execute(text("DELETE FROM known_listing WHERE collection_uuid = :id"), {"id": collection.id})


async def except_followed(session: Session, collection: Collection) -> None:
    """Note the items of the plan whose asset a run has changed that read a part of the collection.

    A page that has one of them is looked at again when all of it is read, even if it says what it said before.
    """
    if not await listing_holds(session, collection):
        return
    bind = {"collection": collection.id, "most": MOST_EXCEPTIONS}
    await session.execute(_EXCEPT, {"collection": collection.id})
    if (await session.execute(_HAS_MANY_EXCEPTIONS, bind)).scalar_one():
        await forget_listing(session, collection)


async def drop_exceptions(session: Session, collection: Collection) -> None:
    """Remove the exceptions of a collection: all of it has been read."""
    await session.execute(text("DELETE FROM known_exception WHERE collection_uuid = :id"), {"id": collection.id})


async def keep_known_pages(
    session: Session, collection: Collection, before: frozenset[bytes], after: Iterable[bytes], *, staged: bool
) -> None:
    """Replace the known pages ``before`` by ``after``; only the difference is written.

    ``staged``: it is staged how some of them, or their items, are recognised later.
    """
    pages = frozenset(after)
    if before - pages:
        await session.execute(
            text(f"DELETE FROM known_page WHERE collection_uuid = :id AND fingerprint NOT IN ({_PACKED_PAGES})"),
            {"id": collection.id, "pages": b"".join(pages)},
        )
    if pages - before:
        columns, join = (_STAGED_COLUMNS, "LEFT JOIN staged_page USING (fingerprint)") if staged else ("", "")
        await session.execute(
            text(
                f"INSERT INTO known_page (collection_uuid, fingerprint{columns}) SELECT :id, fingerprint{columns}"
                f" FROM ({_PACKED_PAGES}) AS page {join} ON CONFLICT DO NOTHING"
            ),
            {"id": collection.id, "pages": b"".join(pages - before)},
        )


async def pages_that_stay_unknown(session: Session, first_rows: Iterable[int]) -> set[int]:
    """Return the numbers, from 0, of the staged pages with a draft that doesn't become an asset of its own.

    ``first_rows`` are the numbers of the pages' first drafts in the staging table, in ascending order.
    """
    result = await session.execute(
        text(
            "SELECT DISTINCT width_bucket(seq, cast(string_to_array(:starts, ',') AS integer[])) - 1 FROM plan"
            " WHERE verdict IN ('duplicate', 'soft_deleted')"
        ),
        {"starts": ",".join(map(str, first_rows))},
    )
    return set(result.scalars())
