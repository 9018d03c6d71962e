"""Previewing: what a merge would do, without a temporary table, in transactions that the server keeps read-only."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.model import Collection, Rejection
from retrovue.results import CREATED_SHOWN, LISTED, Listed, Named
from retrovue.store.merge import NO_GUESSING, PLAN, Merged, label, label_of, merged_from
from retrovue.store.session import Store
from retrovue.store.staging import Keys, Located, holds_assets, unknown_among

# The staged keys come as one packed parameter: source hash and canonical hash, 32 bytes a draft.
_PREVIEW = text(
    f"""
    WITH RECURSIVE staged AS MATERIALIZED (
        SELECT number AS seq, substring(keys.packed FROM number * 32 + 1 FOR 16) AS source_hash,
            substring(keys.packed FROM number * 32 + 17 FOR 16) AS canonical_hash
        FROM (SELECT cast(:keys AS bytea) AS packed) AS keys, generate_series(0, cast(:staged AS integer) - 1) AS number
    ), {PLAN},
    numbered AS (
        SELECT plan.*, row_number() OVER (PARTITION BY becomes, deleted ORDER BY seq) AS rank,
            count(*) OVER (PARTITION BY becomes, deleted) AS total
        FROM plan
    )
    SELECT becomes, deleted, total, seq, first_seq,
        (SELECT {label_of("asset")} FROM asset WHERE uuid = asset_uuid) AS holder
    FROM numbered WHERE rank <= :listed ORDER BY becomes, deleted, seq
    """
)


@dataclass(slots=True)
class Preview:
    """Takes the place of Staging in a dry-run: remembers 32 bytes of keys and the title of each draft to be merged."""

    store: Store
    session: AsyncSession
    collection: Collection
    anything_known: bool = False
    rejected: int = 0
    known: int = 0
    """Drafts that the collection holds exactly as they are."""
    first_rejections: list[Rejection] = field(default_factory=list[Rejection])
    _keys: bytearray = field(default_factory=bytearray)
    _titles: bytearray = field(default_factory=bytearray)
    _title_ends: "array[int]" = field(default_factory=lambda: array("Q"))

    async def open(self) -> None:
        """Find out whether there is anything to compare with."""
        async with self.store.transaction(self.session) as session:
            self.anything_known = await holds_assets(session, self.collection)

    async def recognise(self, source_uris: Sequence[str], local_paths: Sequence[Sequence[str]]) -> bool:
        """Count these drafts as known if the collection holds every one of them exactly as it is."""
        if not self.anything_known:
            return False
        keys = Keys.of(source_uris, local_paths)
        async with self.store.transaction(self.session) as session:
            unknown = await unknown_among(session, self.collection, keys)
        if not unknown:
            self.known += len(source_uris)
        return not unknown

    async def add(self, located: Sequence[Located], rejections: Iterable[Rejection]) -> None:
        """Remember one page."""
        keys = Keys.of((item.draft.source_uri for item in located), (item.local_paths for item in located))
        unknown = list(range(len(located)))
        if self.anything_known:
            async with self.store.transaction(self.session) as session:
                unknown = await unknown_among(session, self.collection, keys)
        for index in unknown:
            draft = located[index].draft
            self._keys += keys.source_hashes[index] + keys.canonical_hashes[index]
            title = label(draft.title, draft.show_title, draft.season_number, draft.episode_number)
            self._titles += title.encode("utf-8", "replace")
            self._title_ends.append(len(self._titles))
        self.known += len(located) - len(unknown)
        refused = list(rejections)
        self.rejected += len(refused)
        self.first_rejections += refused[: max(0, LISTED - len(self.first_rejections))]

    async def reset(self) -> None:
        """Forget everything: the source is being read again."""
        self._keys.clear()
        self._titles.clear()
        del self._title_ends[:]
        self.rejected = self.known = 0
        self.first_rejections.clear()

    async def plan(self) -> Merged:
        """Plan the merge as a real run would."""
        staged = len(self._title_ends)
        bind = {"collection": self.collection.id, "keys": bytes(self._keys), "staged": staged, "listed": LISTED}
        async with self.store.transaction(self.session) as session:
            await session.execute(NO_GUESSING)
            rows = (await session.execute(_PREVIEW, bind)).all()
        lists: dict[tuple[str, bool], list[Named]] = {}
        for row in rows:
            holder = row.holder or (None if row.first_seq is None else self._title(row.first_seq))
            named = Named(self._title(row.seq), detail=holder if row.becomes == "duplicate" else None)
            lists.setdefault((row.becomes, row.deleted), []).append(named)
        listed = Listed(
            created=tuple(lists.get(("created", False), [])[:CREATED_SHOWN]),
            duplicates=tuple(lists.get(("duplicate", False), [])),
            relocated=tuple(lists.get(("relocated", False), [])),
            soft_deleted=tuple(lists.get(("skipped", True), [])),
        )
        return merged_from({(row.becomes, row.deleted): row.total for row in rows}, listed)

    def _title(self, seq: int) -> str:
        return self._titles[self._title_ends[seq - 1] if seq else 0 : self._title_ends[seq]].decode()
