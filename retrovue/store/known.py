"""Compare what is read with what a collection holds: single drafts by their keys, whole pages by their fingerprints.

A page is known if every draft on it is stored as an asset of the collection exactly as it is. Its drafts need no
look-up, which saves most of the work of a re-ingest. A fingerprint may be missing, but is never wrong: it is written in
the transaction of the merge, and triggers of the database delete a collection's fingerprints when an asset is deleted
or its identity changes.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec import Struct, field

from retrovue.core.model import Collection
from retrovue.core.pages import Rejection
from retrovue.core.runs import Mode
from retrovue.core.verdicts import LISTED
from retrovue.store.collections import KEPT_ASSETS
from retrovue.store.connecting import SESSION_MARK
from retrovue.store.drafts import LARGEST_SIZE, UNSEEN, ItemKey, MappedDraft, MappedPage, unstamped
from retrovue.store.kept import KnownPage
from retrovue.store.known_items import KnownItems
from retrovue.store.known_texts import KnownTexts
from retrovue.store.statements import OWN, Row, Session, text

# Keys and fingerprints are passed as one packed parameter: for arrays asyncpg would first query their type, which takes
# 16 ms on each connection. A key has 48 bytes: source hash, canonical hash and stamp.
PACKED_KEYS = """
    SELECT number AS seq, substring(keys.packed FROM number * 48 + 1 FOR 16) AS source_hash,
        substring(keys.packed FROM number * 48 + 17 FOR 16) AS canonical_hash,
        substring(keys.packed FROM number * 48 + 33 FOR 16) AS stamp
    FROM (SELECT cast(:keys AS bytea) AS packed) AS keys, generate_series(0, length(keys.packed) / 48 - 1) AS number
"""

# OFFSET 0 forces one look-up in the unique index for each draft. The planner knows nothing about the parameter, and for
# a join it would read the whole collection for every page.
_OTHERS = """
    SELECT item.seq AS position, asset.uuid, coalesce(asset.deleted, false) AS deleted,
        coalesce(asset.present, false) AS present, asset.stamp = item.stamp AS same, {marked} AS marked,
        -- An asset whose file was taken when it moved is an alias as well; back at its place it is none any more.
        coalesce(asset.canonical_hash = item.canonical_hash AND NOT EXISTS (
            SELECT FROM asset_alias
            WHERE asset_alias.collection_uuid = :collection AND asset_alias.source_hash = item.source_hash
        ), false) AS in_place
    FROM ({keys}) AS item {marks} LEFT JOIN LATERAL (
        SELECT uuid, canonical_hash, stamp, sidecar_stamp, deleted_at IS NOT NULL AS deleted,
            availability = 'present' AS present
        FROM asset WHERE collection_uuid = {own} AND source_hash = item.source_hash OFFSET 0
    ) AS asset ON true
    WHERE NOT coalesce(
        asset.canonical_hash = item.canonical_hash AND asset.stamp = item.stamp AND NOT asset.deleted AND asset.present
        AND {marked} AND NOT EXISTS (
            SELECT FROM asset_alias
            WHERE asset_alias.collection_uuid = :collection AND asset_alias.source_hash = item.source_hash
        ), false)
    ORDER BY item.seq
"""
_OTHERS_BY_STAMP = text(_OTHERS.format(own=OWN, keys=PACKED_KEYS, marks="", marked="true"))
# Includes assets whose sidecars have other marks. An unknown mark isn't compared.
_OTHERS_BY_MARK = text(
    _OTHERS.format(
        own=OWN,
        keys=PACKED_KEYS,
        marks="LEFT JOIN unnest(string_to_array(cast(:marks AS text), ',', '?')) WITH ORDINALITY AS said (mark, number)"
        " ON said.number = item.seq + 1",
        marked=f"(said.mark IS NULL OR nullif(asset.sidecar_stamp, '{UNSEEN}') = said.mark)",
    )
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
            WHERE collection_uuid = {OWN} AND source_hash = item.source_hash
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
            AND asset.uuid IN (SELECT uuid FROM touched_asset)
            AND asset_enrichment.status = 'succeeded' AND asset_enrichment.enricher_id = ANY(:reading_files)
        RETURNING asset_enrichment.asset_uuid
    )
    UPDATE asset SET state = 'enriching', updated_at = now()
    FROM again WHERE asset.uuid = again.asset_uuid AND asset.state = 'new'
    """
)
HELD = text(
    # In the order of an index, because EXISTS may read the table up to the first asset of the collection.
    f"SELECT {SESSION_MARK} AS mark, now() AS began,"
    " (SELECT source_hash FROM asset WHERE collection_uuid = :id ORDER BY source_hash LIMIT 1)"
    "  IS NOT NULL AS anything,"
    # This reads an index entry of each asset, most of which a sync of single items doesn't need.
    " CASE WHEN cast(:whole AS boolean)"
    f" THEN {KEPT_ASSETS.format(collection=':id')} END AS kept,"
    " (SELECT count(*) FROM asset WHERE collection_uuid = :id AND deleted_at IS NULL AND availability <> 'present')"
    "  AS unavailable,"
    " EXISTS (SELECT FROM ingest_rejection WHERE collection_id = :id AND content IS NOT NULL AND ended_number IS NULL)"
    " AS rejecting,"
    " (SELECT string_agg(fingerprint, '') FROM known_page WHERE collection_uuid = :id) AS pages,"
    " (SELECT string_agg(fingerprint, '' ORDER BY position, fingerprint) FROM known_page"
    "  WHERE collection_uuid = :id AND items IS NOT NULL) AS itemized,"
    " (SELECT string_agg(digest || fingerprint, '' ORDER BY position, fingerprint) FROM known_page"
    "  WHERE collection_uuid = :id AND digest IS NOT NULL) AS texts,"
    " (SELECT string_agg(source_hash, '') FROM known_exception WHERE collection_uuid = :id) AS exceptions,"
    " (SELECT ingest_outcome.discovered FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id)"
    "  WHERE ingest_start.collection_id = :id AND ingest_start.scope = '{}'"
    "  AND ingest_outcome.status = 'ingested' AND coalesce(ingest_outcome.read, 'full') IN ('full', 'sweep')"
    "  ORDER BY ingest_start.started_at DESC LIMIT 1) AS discovered"
)
"""What a collection holds, ``:id``. Assets are counted only if ``:whole`` of it is read: only then unlisted assets can
be recognised.
"""


class Other(Struct, frozen=True, gc=False):
    """A draft that isn't stored as an asset of the collection exactly as it is."""

    position: int
    """The position of the draft on its page."""
    uuid: UUID | None
    """The asset of the draft's item; None if the collection has none."""
    deleted: bool
    """Whether the asset is marked as deleted."""
    present: bool
    same: bool | None
    """Whether the source describes it as when the asset was written; None if that isn't known."""
    marked: bool | None
    """Whether its sidecars are unchanged since the last comparison, or aren't compared; None if they never were."""
    in_place: bool
    """Whether the asset has the draft's files."""


class PageComparison(Struct):
    """The drafts of a page, compared with what the collection holds."""

    to_stage: list[Other]
    """The drafts about which the merge has to decide."""
    fingerprint: bytes | None
    """The fingerprint by which the page is known after the merge; None if it can't become known."""


class Comparison(Struct):
    """Compares what is read of a collection with what it holds, and counts known and rejected drafts.

    Call `take_held()` first, then for each page one of the other methods, and `reset()` when the source is read again.
    """

    session: Session
    collection: Collection
    mode: Mode = "ingest"
    """Whether the run is a sync, so that the merge also decides about drafts that the source describes differently now.
    """
    began: dt.datetime | None = None
    """The database's time when it was loaded, before anything was read of the collection."""
    anything_known: bool = False
    """Whether the collection has any asset, including deleted ones."""
    present: int = 0
    """The number of the collection's assets that are present and not marked as deleted; 0 if they weren't counted."""
    unavailable: int = 0
    """The number of assets that are neither present nor marked as deleted."""
    known_pages: frozenset[bytes] = frozenset()
    """The fingerprints of its known pages."""
    exceptions: frozenset[bytes] = frozenset()
    """The source hashes of items that are known on no page: their assets have changed since it became known."""
    items: KnownItems = field(default_factory=KnownItems)
    """The items of its known pages."""
    texts: KnownTexts = field(default_factory=KnownTexts)
    """The texts of its known pages."""
    last_discovered: int = 0
    """The number of drafts at the last full run that succeeded; 0 if there was none."""
    trusts_pages: bool = True
    """Whether pages are recognised by their fingerprints. A full reading compares all drafts."""
    recognised: int = 0
    """Pages that were recognised, or of which some items were."""
    seen_pages: set[bytes] = field(default_factory=set[bytes])
    """The fingerprints of the known pages read so far."""
    known: int = 0
    """Drafts that are stored as assets and stay unchanged: they are skipped."""
    listed: int = 0
    """Drafts with an asset that is present and not marked as deleted."""
    elsewhere: int = 0
    """Drafts of known items with files other than those of their asset; another asset may have these."""
    changed: int = 0
    """Known drafts that the source describes differently than when their asset was written."""
    touched: int = 0
    """Known drafts whose file has another size or modification time than in the catalogue."""
    rejecting: bool = False
    """Whether the last full ingest rejected any item."""
    rejected: int = 0
    first_rejections: list[Rejection] = field(default_factory=list[Rejection])
    """The first `LISTED` rejections."""

    @property
    def absent(self) -> int:
        """The number of present assets that weren't listed in the whole listing; rejected items may be among them."""
        return max(0, self.present - self.listed)

    @property
    def may_have_lost(self) -> bool:
        """Whether there may be assets that the source doesn't list, after the whole listing."""
        return self.absent > 0 or self.unavailable > 0 or self.elsewhere > 0

    def take_held(self, row: Row) -> None:
        """Take the row of `HELD`."""
        self.began = row.began
        self.known_pages, self.exceptions = frozenset(_hashes(row.pages)), frozenset(_hashes(row.exceptions))
        self.items = KnownItems(self.collection.id, _hashes(row.itemized))
        self.texts = KnownTexts(self.collection.id, row.texts or b"")
        self.anything_known, self.unavailable = row.anything, row.unavailable
        self.present = 0 if row.kept is None else row.kept - row.unavailable
        self.last_discovered = row.discovered or 0
        self.rejecting = row.rejecting

    def knows_page(self, page: KnownPage) -> bool:
        """Return whether a page is known, by its fingerprint; if so, count its drafts."""
        fingerprint = page.fingerprint
        if not self.trusts_pages:
            return False
        if fingerprint not in self.known_pages:
            fingerprint = unstamped(fingerprint)
            if self.mode == "sync" or fingerprint not in self.known_pages:
                return False
        if self.excepted(page.source_hashes()):
            return False
        self.seen_pages.add(fingerprint)
        self.items.meet(fingerprint)
        self.count_known(page.drafts)
        return True

    def excepted(self, source_hashes: Iterable[bytes]) -> list[int]:
        """Return the positions of the drafts that aren't known, although what their source says of them may be."""
        if not self.exceptions:
            return []
        return [place for place, source_hash in enumerate(source_hashes) if source_hash in self.exceptions]

    def count_known(self, drafts: int) -> None:
        """Count the known drafts of a page that was recognised, or of which some items were."""
        self.recognised += 1
        self.known += drafts
        self.listed += drafts

    async def compare(self, session: Session, page: MappedPage) -> PageComparison:
        """Compare a page with what the collection holds; count the known drafts."""
        if not self.anything_known:
            fresh = [Other(position, None, False, False, None, True, False) for position in range(len(page.keys))]
            return PageComparison(fresh, page.fingerprint)
        packed = b"".join([part for key in page.keys for part in (key.source_hash, key.canonical_hash, key.stamp)])
        bind = {"keys": packed, "collection": self.collection.id}
        if page.sidecar_stamps:
            # The comma at the end tells one empty mark from no marks.
            bind["marks"] = "".join("?," if mark is None else f"{mark}," for mark in page.sidecar_stamps)
        result = await session.execute(_OTHERS_BY_MARK if page.sidecar_stamps else _OTHERS_BY_STAMP, bind)
        others = [
            Other(row.position, row.uuid, row.deleted, row.present, row.same, row.marked, row.in_place)
            for row in result
        ]
        self.listed += len(page.keys) - len(others) + sum(other.present and not other.deleted for other in others)
        self.elsewhere += sum(other.uuid is not None and not other.deleted and not other.in_place for other in others)
        compared = PageComparison([other for other in others if self._is_to_stage(other)], page.fingerprint)
        self.known += len(page.keys) - len(compared.to_stage)
        if self.mode == "ingest":
            self._leave_as_they_are(others, compared)
        if not compared.to_stage and compared.fingerprint is not None:
            self.seen_pages.add(compared.fingerprint)
        return compared

    def _is_to_stage(self, other: Other) -> bool:
        return self.mode == "sync" or other.deleted or not other.in_place

    def _leave_as_they_are(self, others: Sequence[Other], compared: PageComparison) -> None:
        """Count what an ingest leaves unchanged. Its page doesn't become known, or only as one with unknown stamps."""
        known = [other for other in others if other.uuid is not None and not other.deleted]
        differing = [other for other in known if False in (other.same, other.marked, other.present)]
        self.changed += sum(other.in_place for other in differing)
        if differing:
            compared.fingerprint = None
        elif known and compared.fingerprint is not None and any(None in (other.same, other.marked) for other in known):
            compared.fingerprint = unstamped(compared.fingerprint)

    async def find_changed(self, session: Session, mapped: Sequence[MappedDraft], keys: Sequence[ItemKey]) -> list[str]:
        """Count the known drafts whose file has changed; return the assets whose old file was read by a probe.

        Only drafts with a modification time of their files are checked.
        """
        if not self.anything_known:
            return []
        said = [
            (
                key.source_hash + key.canonical_hash + key.stamp,
                sum(part.size_bytes or 0 for part in item.draft.parts),
                max(part.modified_s or 0 for part in item.draft.parts),
            )
            for item, key in zip(mapped, keys, strict=True)
            if item.draft.parts[0].modified_s is not None
        ]
        if not said:
            return []
        result = await session.execute(
            _CHANGED,
            {
                "collection": self.collection.id,
                "keys": b"".join(key for key, _, _ in said),
                "sizes": ",".join(str(min(size, LARGEST_SIZE)) for _, size, _ in said),
                "modified": ",".join(str(modified) for _, _, modified in said),
            },
        )
        rows = result.all()
        self.touched += len(rows)
        return [str(row.uuid) for row in rows if row.stale]

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Count rejections, and store the first ones."""
        self.rejected += len(rejections)
        self.first_rejections += rejections[: max(0, LISTED - len(self.first_rejections))]

    def reset(self) -> None:
        """Start the counts again."""
        self.items.reset()
        self.texts.reset()
        self.recognised = 0
        self.known = self.listed = self.elsewhere = self.changed = self.touched = self.rejected = 0
        self.seen_pages.clear()
        self.first_rejections.clear()


async def owe_touched(session: Session, reading_files: Sequence[UUID]) -> None:
    """Owe the enrichments that read files again for the staged assets whose file has changed.

    Approved and retired assets don't change.
    """
    await session.execute(_OWE_CHANGED, {"reading_files": list(reading_files)})


def _hashes(packed: bytes | None) -> list[bytes]:
    return [] if packed is None else [packed[at : at + 16] for at in range(0, len(packed), 16)]
