"""Previewing: what a merge would do, without a temporary table, in transactions that the server keeps read-only."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import text

from retrovue.core.model import Rejection
from retrovue.core.results import Named
from retrovue.core.verdicts import LISTED
from retrovue.store.merge import NO_GUESSING, OWED_AGAIN, PLAN, MergeResult, label, label_of, merge_result
from retrovue.store.staging import PACKED_KEYS, Keys, MappedDraft, Sink

_PREVIEW = text(
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


@dataclass(slots=True)
class Preview(Sink):
    """Takes the place of Staging in a dry-run: remembers 32 bytes of keys and the title of each draft to be merged."""

    keeps_pages: ClassVar[bool] = False

    owed_again: int = 0
    """Enrichments that the merge would make owed again, as files have moved."""

    _keys: bytearray = field(default_factory=bytearray)
    _titles: bytearray = field(default_factory=bytearray)
    _title_ends: "array[int]" = field(default_factory=lambda: array("Q"))

    async def add(
        self, located: Sequence[MappedDraft], rejections: Sequence[Rejection], _fingerprint: bytes | None = None, /
    ) -> None:
        """Remember one page."""
        keys = Keys.of((item.draft.source_uri for item in located), (item.local_paths for item in located))
        unknown: Sequence[int] = range(len(located))
        if self.anything_known:
            async with self.store.transaction(self.session) as session:
                unknown = await self.take_known(session, located, keys)
        for index in unknown:
            draft = located[index].draft
            self._keys += keys.source_hashes[index] + keys.canonical_hashes[index]
            title = label(draft.title, draft.show_title, draft.season_number, draft.episode_number)
            self._titles += title.encode("utf-8", "replace")
            self._title_ends.append(len(self._titles))
        self.take_rejections(rejections)

    async def reset(self) -> None:
        """Forget everything: the source is being read again."""
        self._keys.clear()
        self._titles.clear()
        del self._title_ends[:]
        self.forget()

    async def plan(self) -> MergeResult:
        """Plan the merge as a real run would."""
        # As they are: of a million drafts a copy would take 64 MB.
        bind = {"collection": self.collection.id, "keys": self._keys}
        async with self.store.transaction(self.session) as session:
            await session.execute(NO_GUESSING)
            rows = (await session.execute(_PREVIEW, {**bind, "listed": LISTED})).all()
            if self.reading_files and any(row.verdict == "relocated" for row in rows):
                result = await session.execute(_OWED_AGAIN, {**bind, "reading_files": list(self.reading_files)})
                self.owed_again = result.scalar_one()
        entries: dict[str, list[Named]] = {}
        for row in rows:
            holder = row.holder or (None if row.first_seq is None else self._title(row.first_seq))
            named = Named(self._title(row.seq), detail=holder if row.verdict == "duplicate" else None)
            entries.setdefault(row.verdict, []).append(named)
        return merge_result({row.verdict: row.total for row in rows}, entries)

    def _title(self, seq: int) -> str:
        return self._titles[self._title_ends[seq - 1] if seq else 0 : self._title_ends[seq]].decode()
