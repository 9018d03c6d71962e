"""Known pages: which pages of a collection's listing the catalogue holds whole, by fingerprint.

A page is known if every draft on it is an asset of the collection exactly as it is. A page that is recognised by its
fingerprint needs no look-up of its items, which is most of a re-ingest. A fingerprint may be missing, and is never
wrong: it is written with the merge that makes it true, and the database itself forgets the listing with the first
asset that is changed in what it is recognised by, or deleted.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import Collection, Page

_FORMAT = 1
"""Part of every fingerprint: raise it when what a draft is recognised by is worked out in another way."""

_PACKED = """
    SELECT substring(pages.packed FROM number * 16 + 1 FOR 16) AS fingerprint
    FROM (SELECT cast(:pages AS bytea) AS packed) AS pages, generate_series(0, length(pages.packed) / 16 - 1) AS number
"""


class Fingerprints:
    """Makes the fingerprints of one collection's pages; another path mapping makes other ones."""

    def __init__(self, collection: Collection) -> None:
        mappings = sorted((mapping.source_prefix, mapping.local_path) for mapping in collection.path_mappings)
        self._start = blake2b(orjson.dumps([_FORMAT, mappings]), digest_size=16)

    def of(self, source_uris: Sequence[str], source_paths: Sequence[Sequence[str]]) -> bytes | None:
        """Condense by what the drafts of a page are recognised, in their order; None for text that isn't Unicode."""
        digest = self._start.copy()
        try:
            digest.update(orjson.dumps((source_uris, source_paths)))
        except TypeError:
            return None
        return digest.digest()

    def of_page(self, page: Page) -> bytes | None:
        """Make the fingerprint of a page that was read in full."""
        return self.of(
            [draft.source_uri for draft in page.drafts],
            [[part.source_path for part in draft.parts] for draft in page.drafts],
        )


async def what_is_known(session: AsyncSession, collection: Collection) -> tuple[bool, frozenset[bytes], int]:
    """Tell what the collection holds, and what it had.

    Whether it has any asset, deleted ones included; the fingerprints of its known pages; and how many drafts there were
    at its last full ingest that succeeded, 0 if there was none.
    """
    result = await session.execute(
        text(
            "SELECT EXISTS (SELECT FROM asset WHERE collection_uuid = :id),"
            " (SELECT string_agg(fingerprint, '') FROM known_page WHERE collection_uuid = :id),"
            " (SELECT ingest_outcome.discovered FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)"
            "  WHERE ingest_start.collection_id = :id AND ingest_start.scope = '{}'"
            "  AND ingest_outcome.status = 'ingested' ORDER BY ingest_start.started_at DESC LIMIT 1)"
        ),
        {"id": collection.id},
    )
    assets, packed, discovered = result.one()
    pages = (packed[at : at + 16] for at in range(0, len(packed), 16)) if packed else ()
    return assets, frozenset(pages), discovered or 0


async def begin_listing(session: AsyncSession, collection: Collection) -> None:
    """Make the row that vouches for the collection's pages, which any change of its assets takes away."""
    await session.execute(
        text("INSERT INTO known_listing (collection_uuid) VALUES (:id) ON CONFLICT DO NOTHING"), {"id": collection.id}
    )


async def listing_holds(session: AsyncSession, collection: Collection) -> bool:
    """Say whether nobody has changed the collection's assets since an earlier ingest; until the commit nobody can."""
    result = await session.execute(
        text("SELECT 1 FROM known_listing WHERE collection_uuid = :id FOR KEY SHARE"), {"id": collection.id}
    )
    return result.first() is not None


async def forget_listing(session: AsyncSession, collection: Collection) -> None:
    """Forget all known pages of a collection."""
    await session.execute(text("DELETE FROM known_listing WHERE collection_uuid = :id"), {"id": collection.id})


async def keep_known_pages(
    session: AsyncSession, collection: Collection, before: frozenset[bytes], after: Iterable[bytes]
) -> None:
    """Make these the collection's known pages; only what is new or gone is written."""
    pages = frozenset(after)
    if before - pages:
        await session.execute(
            text(f"DELETE FROM known_page WHERE collection_uuid = :id AND fingerprint NOT IN ({_PACKED})"),
            {"id": collection.id, "pages": b"".join(pages)},
        )
    if pages - before:
        await session.execute(
            text(f"INSERT INTO known_page SELECT :id, fingerprint FROM ({_PACKED}) AS page ON CONFLICT DO NOTHING"),
            {"id": collection.id, "pages": b"".join(pages - before)},
        )


async def pages_that_stay_unknown(session: AsyncSession, first_rows: Iterable[int]) -> set[int]:
    """Say which staged pages hold a draft that the merge's plan doesn't make an asset of its own.

    ``first_rows`` are the places at which the pages begin in the staging table, rising; the answer counts them from 0.
    """
    result = await session.execute(
        text(
            "SELECT DISTINCT width_bucket(seq, cast(string_to_array(:starts, ',') AS integer[])) - 1 FROM plan"
            " WHERE verdict IN ('duplicate', 'soft_deleted')"
        ),
        {"starts": ",".join(map(str, first_rows))},
    )
    return set(result.scalars())
