"""The sink of a dry-run: plans the merge without temporary tables, in read-only transactions."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from retrovue.core.model import Collection, Enricher
from retrovue.core.pages import Rejection
from retrovue.core.results import Named
from retrovue.core.runs import Mode
from retrovue.core.verdicts import LISTED
from retrovue.store.additions import Additions
from retrovue.store.comparing import ALIKE, Difference, differences_of
from retrovue.store.drafts import ItemKey, MappedPage
from retrovue.store.following import FOLLOWERS
from retrovue.store.kept import KnownPage
from retrovue.store.known import HELD, Comparison
from retrovue.store.listed import KINDS, ListedKeys, keys_in_parameter
from retrovue.store.plan import NO_GUESSING, PLAN, MergeResult, keeps_title, label_of, merge_result
from retrovue.store.preview_new import HOLDS_ANY, KEY_BYTES, plan_new
from retrovue.store.relinking import (
    NOTHING_RELINKED,
    PACKED_STAGED_KEYS,
    PAIRS,
    RELINKS,
    Pair,
    Relinks,
    choose,
    packed_relink_keys,
    relinks_json,
)
from retrovue.store.removals import (
    NO_POLICY,
    NO_REMOVALS,
    REMOVAL,
    RemovalPolicy,
    Removals,
    ambiguous_assets,
    count_absent,
    count_removals,
    hold_back,
    lost_assets,
    with_absences,
)
from retrovue.store.session import Store
from retrovue.store.statements import OWN, Session, text
from retrovue.store.summaries import Summary
from retrovue.store.titles import Titles, labels, pack_titles

_OF_NEW, _OF_ANY = KEY_BYTES, 33
"""The bytes of a draft's keys: its canonical hash; and, where the collection has an asset, the source hash and how the
draft differs from its asset.
"""
# Another run may have committed the first assets of the collection meanwhile. A draft is then taken for the item of the
# asset with its files. Whether there is an asset is asked once.
_STAGED = f"""
    SELECT number AS seq, substring(packed FROM number * width + 1 FOR 16) AS canonical_hash,
        CASE WHEN width = {_OF_ANY} THEN substring(packed FROM number * width + 17 FOR 16)
            WHEN {HOLDS_ANY}
            THEN (SELECT source_hash FROM asset WHERE collection_uuid = {OWN}
                AND asset.canonical_hash = substring(keys.packed FROM number * keys.width + 1 FOR 16))
            END AS source_hash,
        CASE WHEN width = {_OF_ANY} THEN get_byte(packed, number * width + 32) ELSE 0 END AS difference
    FROM (SELECT cast(:keys AS bytea) AS packed, cast(:width AS integer) AS width) AS keys,
        generate_series(0, length(packed) / width - 1) AS number
"""
_KINDS = [bytes([kind]) for kind in range(256)]

_PLANNED = f"WITH RECURSIVE staged AS MATERIALIZED ({_STAGED}), {PLAN}"
_LISTED = ", ".join(f"listed_{kind} AS MATERIALIZED ({keys_in_parameter(kind)})" for kind in KINDS)

# As a run changes its plan: the files of a relinked item belong to its asset, and others with these files become
# duplicates of it.
PREVIEW = text(
    f"""
    {_PLANNED},
    relink AS MATERIALIZED (SELECT relink.*, staged.canonical_hash FROM {RELINKS} JOIN staged USING (seq)),
    decided AS (
        SELECT plan.seq, plan.own, plan.first_seq, relink.rule,
            CASE WHEN relink.seq IS NOT NULL THEN 'relinked'
                WHEN sharing.seq IS NOT NULL AND plan.own IS NULL THEN 'duplicate' ELSE plan.verdict END AS verdict,
            CASE WHEN plan.own IS NULL THEN coalesce(relink.asset, sharing.asset, plan.asset_uuid)
                ELSE plan.asset_uuid END AS asset_uuid
        FROM plan JOIN staged USING (seq) LEFT JOIN relink USING (seq)
            LEFT JOIN relink AS sharing ON sharing.canonical_hash = staged.canonical_hash
    ),
    numbered AS (
        SELECT decided.*, row_number() OVER (PARTITION BY verdict ORDER BY seq) AS rank,
            count(*) OVER (PARTITION BY verdict) AS total
        FROM decided
    )
    SELECT verdict, total, seq, first_seq, rule,
        (SELECT {label_of("asset")} FROM asset WHERE uuid = asset_uuid) AS holder,
        (SELECT availability FROM asset WHERE uuid = own) AS was
    FROM numbered WHERE rank <= :listed ORDER BY verdict, seq
    """
)
_OWED_AGAIN = text(
    f"""
    {_PLANNED}
    SELECT count(*) FROM plan JOIN staged USING (seq) JOIN asset ON asset.uuid = plan.asset_uuid, asset_enrichment
    WHERE plan.verdict IN ({", ".join(f"'{verdict}'" for verdict in FOLLOWERS)})
        AND asset_enrichment.asset_uuid = plan.asset_uuid AND asset_enrichment.status = 'succeeded'
        AND asset_enrichment.enricher_id = ANY(cast(string_to_array(:reading_files, ',') AS uuid[]))
        AND CASE WHEN staged.difference = 2 THEN asset.state IN ('new', 'enriching')
                OR (asset.state = 'ready' AND NOT (SELECT keep_approval FROM collection WHERE id = :collection))
            ELSE asset.canonical_hash <> staged.canonical_hash AND asset.state IN ('new', 'enriching') END
    """
)


_OWED_CHANGED = text(
    """
    SELECT count(*) FROM (
        SELECT cast(encode(substring(packed FROM number * 16 + 1 FOR 16), 'hex') AS uuid) AS uuid
        FROM (SELECT cast(:assets AS bytea) AS packed) AS ids, generate_series(0, length(packed) / 16 - 1) AS number
    ) AS changed JOIN asset USING (uuid) JOIN asset_enrichment AS done ON done.asset_uuid = asset.uuid
    WHERE done.enricher_id = ANY(cast(string_to_array(:readers, ',') AS uuid[])) AND done.status = 'succeeded'
        AND asset.state IN ('new', 'enriching')
    """
)
# An approved asset isn't owed enrichments that failed before.
_OWED_SIDECARS = text(
    """
    SELECT count(*) FROM (
        SELECT cast(encode(substring(packed FROM number * 16 + 1 FOR 16), 'hex') AS uuid) AS uuid
        FROM (SELECT cast(:assets AS bytea) AS packed) AS ids, generate_series(0, length(packed) / 16 - 1) AS number
    ) AS changed JOIN asset USING (uuid) JOIN asset_enrichment AS done ON done.asset_uuid = asset.uuid
    WHERE done.enricher_id = ANY(cast(string_to_array(:readers, ',') AS uuid[])) AND asset.state <> 'retired'
        AND (done.status = 'succeeded' OR asset.state = 'ready') AND done.again IS NULL
    """
)


class _Planned(NamedTuple):
    """A plan: the first drafts of each verdict, and what a run would do with assets that the source doesn't list."""

    rows: Sequence[Any]
    """Rows of `PREVIEW`, or `NewDraft`s."""
    removals: Removals = NO_REMOVALS
    ambiguous: Sequence[Named] = ()
    absent: int = 0


class Preview:
    """The sink of a dry-run. It keeps the keys of each draft that would be staged, and its title in compressed form.

    The keys are 16 bytes for a collection without an asset, else 33. For a sync it also keeps 16 bytes of each draft,
    and about 100 of each new one.

    Call `open()`, then `add()` or `add_known()` for each page, `reset()` when the source is read again, `end()`,
    `plan()`.
    """

    keeps_pages = False

    def __init__(
        self,
        store: Store,
        session: Session,
        collection: Collection,
        reading_files: Sequence[UUID] = (),
        reading_sidecars: Sequence[Enricher] = (),
        *,
        mode: Mode = "ingest",
        full: bool = True,
        changes: bool = False,
    ) -> None:
        """``reading_files``: the ids of the enrichers that owe an enrichment again for an asset whose file has moved.

        ``reading_sidecars``: those that owe one again if a sidecar has changed.
        """
        self.session = session
        self.comparison = Comparison(session, collection, mode)
        self.additions = Additions(collection) if changes else None
        self.listed: ListedKeys | None = ListedKeys(store, session, table=None) if full else None
        self.owed_again = 0
        """The number of enrichments that are owed again after the merge, because of moved or replaced files or changed
        sidecars.
        """
        self._store = store
        self._reading_files = list(reading_files)
        self._reading_sidecars = reading_sidecars
        self._again = bytearray()
        self._changed = bytearray()
        """The ids of the assets whose sidecar has changed."""
        self._keys, self._relink_keys = bytearray(), bytearray()
        self._kept = 0
        """The number of drafts of which it has the keys."""
        self._titles = Titles()
        self._fields: dict[int, str] = {}
        """The names of the fields that differ, for the first drafts of each kind of difference."""

    async def open(self) -> None:
        """Read what the collection holds."""
        async with self._store.transaction(self.session, long=True) as session:
            bind = {"id": self.comparison.collection.id, "whole": self.listed is not None}
            self.comparison.take_held((await session.execute(HELD, bind)).one())

    async def add(self, page: MappedPage, /) -> None:
        """Keep the keys and titles of a page."""
        comparison = self.comparison
        if not comparison.anything_known:
            self._keep_new(page)
            return
        syncing = comparison.mode == "sync"
        differences: dict[int, Difference] = {}
        async with self._store.transaction(self.session, long=True) as session:
            compared = await comparison.compare(session, page)
            if self.additions is not None:
                await self.additions.take(session, page, compared.to_stage)
            if syncing:
                differences = await differences_of(session, page, compared.to_stage, self._reading_sidecars)
            else:
                for uuid in await comparison.find_changed(session, page.drafts, page.keys):
                    self._changed += UUID(uuid).bytes
        if compared.to_stage:
            drafts = [page.drafts[other.position].draft for other in compared.to_stage]
            self._titles.keep(self._kept, pack_titles(labels(drafts)))
        for other in compared.to_stage:
            difference = differences.get(other.position, ALIKE)
            self._keep(page.keys[other.position], difference)
            if difference.again is not None and other.uuid is not None:
                self._again += other.uuid.bytes
            if syncing and self._relinks and other.uuid is None:
                draft, key = page.drafts[other.position].draft, page.keys[other.position]
                self._relink_keys += packed_relink_keys(self._kept - 1, draft, key.canonical_hash)
        comparison.reject(page.rejected)
        await self._list((key.source_hash for key in page.keys), page.rejected)

    @property
    def wants_items(self) -> bool:
        """Whether it knows items of pages one by one."""
        return bool(self.comparison.items)

    async def known_items(self, items: Sequence[bytes]) -> list[bool]:
        """Return which of the items of a page, given by their fingerprints, are known."""
        return await self.comparison.items.among(lambda: self._store.transaction(self.session, long=True), items)

    async def load_texts(self) -> None:
        """Read the texts of the known pages that are expected next."""
        async with self._store.transaction(self.session, long=True) as session:
            await self.comparison.texts.load(session)

    async def add_known(self, page: KnownPage) -> None:
        """Take a known page."""
        self.comparison.reject(page.rejected)
        await self._list(page.source_hashes(), page.rejected)

    @property
    def needs_stamps(self) -> bool:
        """Whether there is an asset to compare drafts with."""
        return self.comparison.anything_known

    @property
    def takes_summaries(self) -> bool:
        """Whether summaries of pages are enough for it: there is no asset to compare drafts with."""
        return not self.comparison.anything_known

    def add_summary(self, summary: Summary, rejected: Sequence[Rejection]) -> None:
        """Keep the keys and titles of a page of a collection without assets."""
        if summary.drafts:
            self._titles.keep(self._kept, summary.titles)
        self._keys += summary.keys
        self._kept += summary.drafts
        self.comparison.reject(rejected)

    @property
    def _relinks(self) -> bool:
        return self.listed is not None or self.additions is not None

    async def _list(self, source_hashes: Any, rejected: Sequence[Rejection]) -> None:
        if self.listed is not None and self.comparison.anything_known:
            await self.listed.add(source_hashes if self.comparison.mode == "sync" else (), rejected)

    def _keep(self, key: ItemKey, difference: Difference) -> None:
        if difference.fields and len(self._fields) < LISTED * len(FOLLOWERS):
            self._fields[self._kept] = ", ".join(sorted(difference.fields))
        self._keys += key.canonical_hash + key.source_hash + _KINDS[difference.kind]
        self._kept += 1

    def _keep_new(self, page: MappedPage) -> None:
        """Keep a page of a collection without assets."""
        if page.keys:
            self._titles.keep(self._kept, pack_titles(labels(mapped.draft for mapped in page.drafts)))
        self._keys += b"".join([key.canonical_hash for key in page.keys])
        self._kept += len(page.keys)
        self.comparison.reject(page.rejected)

    async def end(self) -> None:
        """Take the end of the listing."""

    async def reset(self) -> None:
        """Drop everything, because the source is read again."""
        for kept in (self._keys, self._relink_keys, self._again, self._changed):
            kept.clear()
        self._titles.clear()
        self._kept = 0
        self._fields.clear()
        self.comparison.reset()
        if self.listed is not None:
            self.listed.reset()
        if self.additions is not None:
            self.additions.reset()

    async def plan(self, policy: RemovalPolicy = NO_POLICY) -> MergeResult:
        """Plan the merge as a run would."""
        comparison = self.comparison
        async with self._store.transaction(self.session, long=True) as session:
            new = None if comparison.anything_known else await plan_new(session, comparison.collection, self._keys)
            planned = await self._plan(session) if new is None else _Planned(new)
        entries: dict[str, list[Named]] = {}
        for row in planned.rows:
            title = row.holder if keeps_title(row.verdict, comparison.mode) else self._titles.of(row.seq)
            entries.setdefault(row.verdict, []).append(Named(title, detail=self._detail(row)))
        result = merge_result({row.verdict: row.total for row in planned.rows}, entries)
        if comparison.mode == "ingest":
            return result._replace(counts={**result.counts, "absent": planned.absent})
        held_back = hold_back(planned.removals, policy, comparison.present)
        return with_absences(result, planned.removals, held_back, planned.ambiguous)

    async def _plan(self, session: Session) -> "_Planned":
        comparison = self.comparison
        # Without a copy, which would take 64 MB for a million drafts.
        bind: dict[str, Any] = {"collection": comparison.collection.id, "keys": self._keys}
        bind["width"] = _OF_ANY if comparison.anything_known else _OF_NEW
        bind["syncing"] = comparison.mode == "sync"
        relinks, removals, ambiguous, absent = NOTHING_RELINKED, NO_REMOVALS, list[Named](), 0
        await session.execute(NO_GUESSING)
        if comparison.mode == "sync" and self.listed is not None and comparison.may_have_lost:
            sql = lost_assets(newly=comparison.absent > 0, names_items=self.listed.names_items)
            lost = f"{_PLANNED}, {_LISTED}, lost AS MATERIALIZED ({sql})"
            lists = {**bind, **self.listed.parameters()}
            relinks = await self._relinks_of(session, lost, lists)
            made = {**lists, "relinks": relinks_json(relinks.made)}
            source = f"{lost}, removal AS MATERIALIZED ({REMOVAL})"
            removals = await count_removals(session, comparison.collection, source, made)
            ambiguous = await ambiguous_assets(session, relinks.ambiguous)
        elif self.additions is not None and comparison.unavailable:
            sql = lost_assets(newly=False, names_items=False)
            relinks = await self._relinks_of(session, f"{_PLANNED}, lost AS MATERIALIZED ({sql})", bind)
            ambiguous = await ambiguous_assets(session, relinks.ambiguous)
        rows = (await session.execute(PREVIEW, {**bind, "listed": LISTED, "relinks": relinks_json(relinks.made)})).all()
        if comparison.mode == "ingest" and self.listed is not None:
            rejected = keys_in_parameter("rejected")
            absent = await count_absent(session, comparison, rejected, self.listed.parameters())
        if self._reading_files and any(row.verdict in FOLLOWERS for row in rows):
            enrichers = {"reading_files": ",".join(map(str, self._reading_files))}
            self.owed_again = (await session.execute(_OWED_AGAIN, {**bind, **enrichers})).scalar_one()
        if self._reading_files and self._changed:
            readers = ",".join(map(str, self._reading_files))
            counted = await session.execute(_OWED_CHANGED, {"assets": self._changed, "readers": readers})
            self.owed_again += counted.scalar_one()
        if self._again:
            readers = ",".join(str(enricher.id) for enricher in self._reading_sidecars)
            counted = await session.execute(_OWED_SIDECARS, {"assets": self._again, "readers": readers})
            self.owed_again += counted.scalar_one()
        return _Planned(rows, removals, ambiguous, absent)

    async def _relinks_of(self, session: Session, lost: str, bind: dict[str, Any]) -> Relinks:
        if not self._relink_keys:
            return NOTHING_RELINKED
        rows = await session.execute(
            text(f"{lost}, staged_key AS MATERIALIZED ({PACKED_STAGED_KEYS}), {PAIRS} SELECT * FROM pairs"),
            {**bind, "staged_keys": self._relink_keys},
        )
        return choose(Pair(*row) for row in rows)

    def _detail(self, row: Any) -> str | None:
        match row.verdict:
            case "duplicate":
                holder: str | None = row.holder
                return holder or (None if row.first_seq is None else self._titles.of(row.first_seq))
            case "refreshed" | "replaced":
                return self._fields.get(row.seq)
            case "restored":
                return str(row.was)
            case "relinked":
                return str(row.rule)
            case _:
                return None
