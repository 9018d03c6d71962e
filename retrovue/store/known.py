"""What a collection holds already, compared with what is read: single drafts by their keys, whole pages by fingerprint.

A page is known if every draft on it is an asset of the collection exactly as it is. Its drafts need no look-up, which
saves most of a re-ingest. A fingerprint may be missing, but is never wrong: it is written with the merge that makes it
true, and triggers of the database forget a collection's fingerprints with the first asset that is deleted or whose
identity changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import Collection, Rejection
from retrovue.core.verdicts import LISTED
from retrovue.store.drafts import ItemKey, MappedDraft
from retrovue.store.session import Store

_LARGEST = 2**63 - 1
"""The largest bigint."""

# Keys and fingerprints come as one packed parameter: for arrays asyncpg would first look their type up, 16 ms on each
# connection. A key is 32 bytes: source hash and canonical hash.
PACKED_KEYS = """
    SELECT number AS seq, substring(keys.packed FROM number * 32 + 1 FOR 16) AS source_hash,
        substring(keys.packed FROM number * 32 + 17 FOR 16) AS canonical_hash
    FROM (SELECT cast(:keys AS bytea) AS packed) AS keys, generate_series(0, length(keys.packed) / 32 - 1) AS number
"""
_PACKED_PAGES = """
    SELECT substring(pages.packed FROM number * 16 + 1 FOR 16) AS fingerprint
    FROM (SELECT cast(:pages AS bytea) AS packed) AS pages, generate_series(0, length(pages.packed) / 16 - 1) AS number
"""

# A scalar subquery, so that each draft is one look-up in the unique index: as an anti-join the planner, which knows
# little of a table that has just been filled, reads the whole collection for every page.
_UNKNOWN = text(
    f"""
    SELECT item.seq FROM ({PACKED_KEYS}) AS item
    WHERE item.canonical_hash IS DISTINCT FROM (
        SELECT asset.canonical_hash FROM asset WHERE asset.collection_uuid = :collection
            AND asset.source_hash = item.source_hash AND asset.deleted_at IS NULL
            -- An asset whose file was taken when it moved is an alias as well; back at its place it is none any more.
            AND NOT EXISTS (
                SELECT FROM asset_alias
                WHERE asset_alias.collection_uuid = :collection AND asset_alias.source_hash = item.source_hash
            )
    ) ORDER BY item.seq
    """
)
# A probe's fingerprint has the size and the modification time, in nanoseconds, of each file.
_CHANGED = text(
    f"""
    SELECT asset.uuid, coalesce(probed.modified <> said.modified OR probed.size <> said.size, false) AS stale
    FROM ({PACKED_KEYS}) AS item
        JOIN unnest(cast(string_to_array(:sizes, ',') AS bigint[]), cast(string_to_array(:modified, ',') AS bigint[]))
            WITH ORDINALITY AS said (size, modified, number) ON said.number = item.seq + 1
        CROSS JOIN LATERAL (
            SELECT uuid, size_bytes FROM asset
            WHERE collection_uuid = :collection AND source_hash = item.source_hash
                AND canonical_hash = item.canonical_hash AND deleted_at IS NULL
        ) AS asset
        LEFT JOIN LATERAL (
            SELECT sum(CASE jsonb_typeof(file -> 0) WHEN 'number' THEN cast(file ->> 0 AS numeric) END) AS size,
                floor(max(CASE jsonb_typeof(file -> 1) WHEN 'number' THEN cast(file ->> 1 AS numeric) END) / 1000000000)
                    AS modified
            FROM asset_enrichment
                CROSS JOIN jsonb_array_elements(
                    CASE jsonb_typeof(fingerprint -> 'files') WHEN 'array' THEN fingerprint -> 'files' ELSE '[]' END
                ) AS file
            WHERE asset_uuid = asset.uuid AND status = 'succeeded'
            GROUP BY enricher_id ORDER BY max(asset_enrichment.updated_at) DESC LIMIT 1
        ) AS probed ON true
    WHERE asset.size_bytes <> said.size OR probed.size <> said.size OR probed.modified <> said.modified
    """
)
_OWE_CHANGED = text(
    """
    WITH again AS (
        UPDATE asset_enrichment SET status = 'failed', code = 'changed_at_source',
            message = 'The file has changed since.', updated_at = clock_timestamp()
        FROM asset WHERE asset.uuid = asset_enrichment.asset_uuid AND asset.state IN ('new', 'enriching')
            AND asset.uuid = ANY(cast(string_to_array(:changed, ',') AS uuid[]))
            AND asset_enrichment.status = 'succeeded' AND asset_enrichment.enricher_id = ANY(:reading_files)
        RETURNING asset_enrichment.asset_uuid
    )
    UPDATE asset SET state = 'enriching', updated_at = now()
    FROM again WHERE asset.uuid = again.asset_uuid AND asset.state = 'new'
    """
)
_HELD = text(
    "SELECT EXISTS (SELECT FROM asset WHERE collection_uuid = :id) AS anything,"
    " EXISTS (SELECT FROM ingest_rejection WHERE collection_id = :id AND content IS NOT NULL AND ended_number IS NULL)"
    " AS rejecting,"
    " (SELECT string_agg(fingerprint, '') FROM known_page WHERE collection_uuid = :id) AS pages,"
    " (SELECT ingest_outcome.discovered FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)"
    "  WHERE ingest_start.collection_id = :id AND ingest_start.scope = '{}'"
    "  AND ingest_outcome.status = 'ingested' ORDER BY ingest_start.started_at DESC LIMIT 1) AS discovered"
)


@dataclass(slots=True)
class Comparison:
    """Compares what is read of a collection with what it holds, and counts the drafts that are known or rejected.

    `load()` comes first, then for each page one of the other methods; `reset()` when the source is read again.
    """

    store: Store
    session: AsyncSession
    collection: Collection
    anything_known: bool = False
    """Whether the collection has any asset, deleted ones included."""
    known_pages: frozenset[bytes] = frozenset()
    """The fingerprints of its known pages."""
    last_discovered: int = 0
    """Drafts at the last full ingest that succeeded; 0 if there was none."""
    seen_pages: set[bytes] = field(default_factory=set[bytes])
    """The fingerprints of the known pages read so far."""
    known: int = 0
    """Drafts that are assets of the collection exactly as they are: they are skipped."""
    changed: int = 0
    """Of the known drafts, those whose file has another size or modification time than the catalogue knows."""
    rejecting: bool = False
    """Whether its last full ingest rejected any item."""
    rejected: int = 0
    first_rejections: list[Rejection] = field(default_factory=list[Rejection])
    """The first `LISTED` of them."""

    async def load(self, session: AsyncSession) -> None:
        """Read what the collection holds, inside the caller's transaction."""
        row = (await session.execute(_HELD, {"id": self.collection.id})).one()
        packed = row.pages or b""
        self.known_pages = frozenset(packed[at : at + 16] for at in range(0, len(packed), 16))
        self.anything_known, self.last_discovered = row.anything, row.discovered or 0
        self.rejecting = row.rejecting

    def knows_page(self, fingerprint: bytes | None, drafts: int) -> bool:
        """Return whether a fingerprint is that of a known page; if so, count its drafts as known."""
        if fingerprint is None or fingerprint not in self.known_pages:
            return False
        self.seen_pages.add(fingerprint)
        self.known += drafts
        return True

    async def knows_all(self, keys: Sequence[ItemKey], fingerprint: bytes | None) -> bool:
        """Return whether all drafts of a page are known; if so, count them, and take the page for known."""
        if not self.anything_known:
            return False
        async with self.store.transaction(self.session) as session:
            if await self._unknown(session, keys):
                return False
        if fingerprint is not None:
            self.seen_pages.add(fingerprint)
        self.known += len(keys)
        return True

    async def unknown(self, session: AsyncSession, keys: Sequence[ItemKey]) -> Sequence[int]:
        """Return the positions of the drafts that aren't known, and count the others as known."""
        if not self.anything_known:
            return range(len(keys))
        unknown = await self._unknown(session, keys)
        self.known += len(keys) - len(unknown)
        return unknown

    async def _unknown(self, session: AsyncSession, keys: Sequence[ItemKey]) -> Sequence[int]:
        packed = b"".join([part for key in keys for part in (key.source_hash, key.canonical_hash)])
        result = await session.execute(_UNKNOWN, {"keys": packed, "collection": self.collection.id})
        return result.scalars().all()

    async def find_changed(
        self, session: AsyncSession, mapped: Sequence[MappedDraft], keys: Sequence[ItemKey]
    ) -> list[str]:
        """Count the known drafts whose file has changed; return the assets of which a probe has read the old file.

        Only drafts whose source says when their files were modified are looked at.
        """
        said = [
            (
                key.source_hash + key.canonical_hash,
                sum(part.size_bytes or 0 for part in item.draft.parts),
                max(part.modified_s or 0 for part in item.draft.parts),
            )
            for item, key in zip(mapped, keys, strict=True)
            if item.draft.parts[0].modified_s is not None
        ]
        if not said or not self.anything_known:
            return []
        result = await session.execute(
            _CHANGED,
            {
                "collection": self.collection.id,
                "keys": b"".join(key for key, _, _ in said),
                "sizes": ",".join(str(min(size, _LARGEST)) for _, size, _ in said),
                "modified": ",".join(str(modified) for _, _, modified in said),
            },
        )
        rows = result.all()
        self.changed += len(rows)
        return [str(row.uuid) for row in rows if row.stale]

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Count rejections, and keep the first ones."""
        self.rejected += len(rejections)
        self.first_rejections += rejections[: max(0, LISTED - len(self.first_rejections))]

    def reset(self) -> None:
        """Start the counts again."""
        self.known = self.changed = self.rejected = 0
        self.seen_pages.clear()
        self.first_rejections.clear()


async def owe_changed(session: AsyncSession, assets: Sequence[str], reading_files: Sequence[UUID]) -> None:
    """Make the enrichments that read files owed again for these assets; approved and retired ones stay as they are."""
    if assets and reading_files:
        await session.execute(_OWE_CHANGED, {"changed": ",".join(assets), "reading_files": list(reading_files)})


async def begin_listing(session: AsyncSession, collection: Collection) -> None:
    """Make the row that keeps the collection's known pages valid; the first change of an identity deletes it."""
    await session.execute(
        text("INSERT INTO known_listing (collection_uuid) VALUES (:id) ON CONFLICT DO NOTHING"), {"id": collection.id}
    )


async def listing_holds(session: AsyncSession, collection: Collection) -> bool:
    """Return whether the collection's known pages are still valid, and keep them so until the commit."""
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
    """Replace the known pages ``before`` by ``after``; writes only the difference."""
    pages = frozenset(after)
    if before - pages:
        await session.execute(
            text(f"DELETE FROM known_page WHERE collection_uuid = :id AND fingerprint NOT IN ({_PACKED_PAGES})"),
            {"id": collection.id, "pages": b"".join(pages)},
        )
    if pages - before:
        await session.execute(
            text(
                f"INSERT INTO known_page SELECT :id, fingerprint FROM ({_PACKED_PAGES}) AS page ON CONFLICT DO NOTHING"
            ),
            {"id": collection.id, "pages": b"".join(pages - before)},
        )


async def pages_that_stay_unknown(session: AsyncSession, first_rows: Iterable[int]) -> set[int]:
    """Return the staged pages with a draft that the plan doesn't make an asset of its own, numbered from 0.

    ``first_rows`` are the numbers of the pages' first drafts in the staging table, ascending.
    """
    result = await session.execute(
        text(
            "SELECT DISTINCT width_bucket(seq, cast(string_to_array(:starts, ',') AS integer[])) - 1 FROM plan"
            " WHERE verdict IN ('duplicate', 'soft_deleted')"
        ),
        {"starts": ",".join(map(str, first_rows))},
    )
    return set(result.scalars())
