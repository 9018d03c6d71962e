"""The dry-run's sink: plans the merge without temporary tables, in read-only transactions."""

from array import array
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import Collection, Rejection
from retrovue.core.results import LABELLED, Named, label
from retrovue.core.verdicts import LISTED
from retrovue.store.drafts import MappedDraft, draft_keys
from retrovue.store.known import PACKED_KEYS, Comparison
from retrovue.store.merge import NO_GUESSING, OWED_AGAIN, PLAN, MergeResult, label_of, merge_result
from retrovue.store.session import Store

PREVIEW = text(
    f"""
    WITH RECURSIVE staged AS MATERIALIZED ({PACKED_KEYS}), {PLAN},
    numbered AS (
        SELECT plan.*, row_number() OVER (PARTITION BY verdict ORDER BY seq) AS rank,
            count(*) OVER (PARTITION BY verdict) AS total
        FROM plan
    )
    SELECT verdict, total, seq, first_seq, (SELECT {label_of("asset")} FROM asset WHERE uuid = asset_uuid) AS holder
    FROM numbered WHERE rank <= :listed ORDER BY verdict, seq
    """
)
_OWED_AGAIN = text(
    f"""
    WITH RECURSIVE staged AS MATERIALIZED ({PACKED_KEYS}), {PLAN}
    SELECT count(*) FROM plan JOIN asset ON asset.uuid = plan.asset_uuid, asset_enrichment WHERE {OWED_AGAIN}
    """
)


class Preview:
    """The sink of a dry-run: keeps 32 bytes of keys and the title of each draft that would be staged.

    `open()` → `add()` for each page, `reset()` when the source is read again → `plan()`.
    """

    keeps_pages = False

    def __init__(
        self, store: Store, session: AsyncSession, collection: Collection, reading_files: Sequence[UUID] = ()
    ) -> None:
        """``reading_files``: the ids of the enrichers that owe an enrichment again to an asset whose file has moved."""
        self.session = session
        self.comparison = Comparison(store, session, collection)
        self.owed_again = 0
        """Enrichments that are owed again after the merge, because files have moved."""
        self._store = store
        self._reading_files = list(reading_files)
        self._keys, self._titles = bytearray(), bytearray()
        self._title_ends = array("Q")

    async def open(self) -> None:
        """Load what the collection holds."""
        async with self._store.transaction(self.session, long=True) as session:
            await self.comparison.load(session)

    async def add(
        self, mapped: Sequence[MappedDraft], rejections: Sequence[Rejection], _fingerprint: bytes | None = None, /
    ) -> None:
        """Keep the keys and titles of one page."""
        keys = draft_keys(mapped)
        unknown: Sequence[int] = range(len(mapped))
        if self.comparison.anything_known:
            async with self._store.transaction(self.session, long=True) as session:
                unknown = await self.comparison.unknown(session, keys)
                await self.comparison.find_changed(session, mapped, keys)
        for position in unknown:
            draft, key = mapped[position].draft, keys[position]
            self._keys += key.source_hash + key.canonical_hash
            title = label(*(getattr(draft, name) for name in LABELLED))
            self._titles += title.encode("utf-8", "replace")
            self._title_ends.append(len(self._titles))
        self.comparison.reject(rejections)

    async def reset(self) -> None:
        """Drop everything: the source is read again."""
        self._keys.clear()
        self._titles.clear()
        del self._title_ends[:]
        self.comparison.reset()

    async def plan(self) -> MergeResult:
        """Plan the merge as a real run would."""
        # Without a copy, which would take 64 MB for a million drafts.
        bind = {"collection": self.comparison.collection.id, "keys": self._keys}
        async with self._store.transaction(self.session, long=True) as session:
            await session.execute(NO_GUESSING)
            rows = (await session.execute(PREVIEW, {**bind, "listed": LISTED})).all()
            if self._reading_files and any(row.verdict == "relocated" for row in rows):
                result = await session.execute(_OWED_AGAIN, {**bind, "reading_files": self._reading_files})
                self.owed_again = result.scalar_one()
        entries: dict[str, list[Named]] = {}
        for row in rows:
            holder = row.holder or (None if row.first_seq is None else self._title(row.first_seq))
            named = Named(self._title(row.seq), detail=holder if row.verdict == "duplicate" else None)
            entries.setdefault(row.verdict, []).append(named)
        return merge_result({row.verdict: row.total for row in rows}, entries)

    def _title(self, seq: int) -> str:
        return self._titles[self._title_ends[seq - 1] if seq else 0 : self._title_ends[seq]].decode()
