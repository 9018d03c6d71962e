"""The merge: carry out the plan (`retrovue.store.plan`) in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from retrovue.core.results import Named, failed_enrichment
from retrovue.core.runs import Mode
from retrovue.core.verdicts import LISTED, LISTS
from retrovue.store.audit import Run
from retrovue.store.collections import keep_library
from retrovue.store.creating import Planned, create_assets, create_parts, first_created, plan
from retrovue.store.following import FOLLOWERS, compare_relinked, follow, owe_sidecars, stamp, tell_followed
from retrovue.store.known import owe_touched
from retrovue.store.known_pages import begin_listing, except_followed, forget_listing, listing_holds
from retrovue.store.listed import KINDS, TRASHED, key_of, keys_in_table
from retrovue.store.plan import COUNT, NO_GUESSING, MergeResult, keeps_title, label_of, merge_result
from retrovue.store.relinking import NOTHING_RELINKED, PAIRS, RELINKS, Pair, Relinks, choose, relinks_json
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
    remove,
    tell_removed,
    with_absences,
)
from retrovue.store.staging import Staging
from retrovue.store.statements import OWN, Row, Session, text

# The merge itself computes which pages are known afterwards; this stops the triggers from deleting all of them.
_MERGING = text("SET LOCAL retrovue.merging = 'on'")

_LISTED = {verdict.name: entries.most for verdict, entries in LISTS if verdict.planned}
"""The most entries of each verdict of which drafts are named."""
_FIRST_OF_EACH = " UNION ALL ".join(
    f"(SELECT * FROM plan WHERE verdict = '{name}' ORDER BY seq LIMIT {most})" for name, most in _LISTED.items()
)
_LIST = text(
    f"""
    SELECT shown.verdict, {label_of("staged")} AS label, staged.source_uri, staged.canonical_uri,
        coalesce((SELECT {label_of("asset")} FROM asset WHERE uuid = shown.asset_uuid), {label_of("first")}) AS holder,
        (SELECT string_agg(key, ', ') FROM jsonb_object_keys(staged.fields) AS key) AS fields,
        (SELECT availability FROM asset WHERE uuid = shown.own) AS was, shown.rule
    FROM ({_FIRST_OF_EACH}) AS shown JOIN staged USING (seq) LEFT JOIN staged AS first ON first.seq = shown.first_seq
    ORDER BY shown.seq
    """
)

# OFFSET 0 forces one look-up for each asset, because most often there are few of a large table.
_LOST = """
    lost AS MATERIALIZED (
        SELECT asset.*, lost_asset.trashed
        FROM lost_asset CROSS JOIN LATERAL (SELECT * FROM asset WHERE uuid = lost_asset.uuid OFFSET 0) AS asset
    )
"""
# The files of a relinked item belong to its asset; other new items with the same files become duplicates of it.
_SHARE_PLACES = text(
    f"""
    UPDATE plan SET verdict = 'duplicate', asset_uuid = relink.asset, first_seq = NULL
    FROM {RELINKS} JOIN staged AS relinked ON relinked.seq = relink.seq
        JOIN staged AS other ON other.canonical_hash = relinked.canonical_hash
    WHERE plan.seq = other.seq AND plan.own IS NULL
    """
)
_RELINK = text(
    "UPDATE plan SET verdict = 'relinked', asset_uuid = relink.asset, first_seq = NULL, rule = relink.rule"
    f" FROM {RELINKS} WHERE plan.seq = relink.seq"
)
_REJECTED = f"SELECT {key_of('source_uri')} FROM staged_rejection WHERE source_uri IS NOT NULL AND code <> '{TRASHED}'"
_KEEP_REFINEMENTS = text(
    f"""
    INSERT INTO asset_enrichment (asset_uuid, enricher_id, status, code, message, run_id)
    SELECT (SELECT uuid FROM asset WHERE collection_uuid = {OWN} AND asset.source_hash = staged.source_hash),
        refining.id, CASE WHEN said.failures ? cast(refining.id AS text) THEN 'failed' ELSE 'succeeded' END,
        said.failures -> cast(refining.id AS text) ->> 'code', said.failures -> cast(refining.id AS text) ->> 'message',
        :run
    FROM plan JOIN staged USING (seq) CROSS JOIN unnest(cast(:refined_by AS uuid[])) AS refining (id)
        LEFT JOIN staged_refinement AS said USING (seq)
    WHERE plan.verdict = 'created'
    """
)
_FAILED_REFINEMENTS = text(
    f"""
    SELECT {label_of("staged")} AS label, enricher.external_id, failure.value ->> 'code' AS code,
        failure.value ->> 'message' AS message, count(*) OVER () AS total
    FROM plan JOIN staged USING (seq) JOIN staged_refinement USING (seq)
        CROSS JOIN jsonb_each(staged_refinement.failures) AS failure
        JOIN enricher ON cast(enricher.id AS text) = failure.key
    WHERE plan.verdict = 'created' ORDER BY seq, enricher.external_id LIMIT :listed
    """
)
_ADD_ALIASES = text(
    f"""
    INSERT INTO asset_alias (collection_uuid, source_hash, asset_uuid, source_uri, title, season_number, episode_number)
    SELECT :collection, staged.source_hash,
        coalesce(plan.asset_uuid, (
            SELECT uuid FROM asset WHERE collection_uuid = {OWN} AND asset.source_hash = first.source_hash
        )),
        staged.source_uri, staged.title, staged.season_number, staged.episode_number
    FROM plan JOIN staged USING (seq) LEFT JOIN staged AS first ON first.seq = plan.first_seq
    WHERE plan.verdict = 'duplicate'
    ON CONFLICT (collection_uuid, source_hash) DO UPDATE SET asset_uuid = excluded.asset_uuid,
        source_uri = excluded.source_uri, title = excluded.title, season_number = excluded.season_number,
        episode_number = excluded.episode_number
    WHERE (asset_alias.asset_uuid, asset_alias.source_uri, asset_alias.title, asset_alias.season_number,
            asset_alias.episode_number)
        IS DISTINCT FROM (excluded.asset_uuid, excluded.source_uri, excluded.title, excluded.season_number,
            excluded.episode_number)
    """
)
# An item with an asset of its own isn't an alias.
_DROP_ALIASES = text(
    """
    DELETE FROM asset_alias USING plan JOIN staged USING (seq)
    WHERE plan.verdict <> 'duplicate' AND asset_alias.collection_uuid = :collection
        AND asset_alias.source_hash = staged.source_hash
    """
)


async def merge_staged(
    session: Session, staging: Staging, run: Run, *, policy: RemovalPolicy = NO_POLICY
) -> MergeResult:
    """Plan and carry out the merge of the staged drafts, in the caller's transaction.

    ``policy`` says what a sync may remove. If the whole collection was read, its known pages are stored.
    """
    full = staging.full
    if staging.touched:
        await owe_touched(session, staging.enrichers.reading_files)
    held = full and await listing_holds(session, staging.collection)
    merging = _Merge(session, staging, run)
    result = await merging.carry_out(policy) if staging.staged or staging.listed is not None else merge_result({}, {})
    counts = result.counts
    if full and staging.comparison.mode == "ingest":
        absent = await count_absent(session, staging.comparison, _REJECTED, {})
        result = result._replace(counts={**counts, "absent": absent})
    if held:
        await staging.keep_pages(session, all_staged=not counts["duplicates"] and not counts["soft_deleted"])
    elif full:
        await begin_listing(session, staging.collection)
    elif merging.has_followed or counts["duplicates"]:
        if staging.comparison.mode == "ingest" or counts["relocated"] or counts["relinked"]:
            await forget_listing(session, staging.collection)
        else:
            await except_followed(session, staging.collection)
    return result


class _Merge:
    """The statements of one merge. Call `carry_out()` once."""

    def __init__(self, session: Session, staging: Staging, run: Run) -> None:
        self._session = session
        self._staging = staging
        self._run = run
        self._bind: dict[str, Any] = {"collection": staging.collection.id}
        self._planned: Planned = "all"
        self._first: Sequence[Row] = ()
        """The first drafts, if none is planned."""
        self.has_followed = False
        """Whether any asset has followed its item."""

    async def carry_out(self, policy: RemovalPolicy) -> MergeResult:
        session, staging = self._session, self._staging
        syncing = staging.comparison.mode == "sync"
        if staging.staged:
            self._planned, self._first = await plan(session, staging)
        else:
            await session.execute(NO_GUESSING)
        lost = await self._find_lost()
        relinks = await self._relink() if lost else NOTHING_RELINKED
        removals = await self._find_removals(relinks) if lost and staging.listed is not None else NO_REMOVALS
        held_back = hold_back(removals, policy, staging.comparison.present)
        totals, entries = await self._verdicts()
        if lost or totals.keys() & {*FOLLOWERS, "skipped"}:
            await session.execute(_MERGING)
        self.has_followed = bool(totals.keys() & set(FOLLOWERS))
        if self.has_followed:
            await follow(session, staging, self._run, relinks.made)
            await session.execute(NO_GUESSING)
        await self._add(totals)
        if syncing and "skipped" in totals:
            await stamp(session)
        if staging.owes_again:
            await owe_sidecars(session, staging.enrichers.reading_sidecars)
        if removals.number and held_back is None:
            await remove(session, self._run)
        library = policy.library_uuid
        if held_back is None and library is not None and library != staging.collection.library_uuid:
            await keep_library(session, staging.collection, library)
        if self.has_followed:
            await tell_followed(session, staging.collection.id, self._run, later=staging.shares_transaction)
        if removals.number and held_back is None:
            await tell_removed(session, staging.collection.id, self._run, later=staging.shares_transaction)
        ambiguous = await ambiguous_assets(session, relinks.ambiguous)
        return with_absences(merge_result(totals, entries), removals, held_back, ambiguous)

    async def _find_lost(self) -> bool:
        """Find the assets that the source doesn't list; return whether there may be any."""
        staging, listed = self._staging, self._staging.listed
        if not staging.may_have_lost:
            return False
        if listed is None:
            lost = lost_assets(newly=False, names_items=False)
            await self._session.execute(
                text(f"INSERT INTO lost_asset SELECT uuid, trashed FROM ({lost}) AS lost"), self._bind
            )
            return True
        ctes = ", ".join(f"listed_{kind} AS MATERIALIZED ({keys_in_table(kind)})" for kind in KINDS)
        lost = lost_assets(newly=staging.comparison.absent > 0, names_items=listed.names_items)
        await self._session.execute(
            text(f"INSERT INTO lost_asset WITH {ctes} SELECT uuid, trashed FROM ({lost}) AS lost"), self._bind
        )
        return True

    async def _relink(self) -> Relinks:
        if not self._staging.staged:
            return NOTHING_RELINKED
        rows = await self._session.execute(text(f"WITH {_LOST}, {PAIRS} SELECT * FROM pairs"), self._bind)
        relinks = choose(Pair(*row) for row in rows)
        if relinks.made:
            bind = {"relinks": relinks_json(relinks.made)}
            await self._session.execute(_SHARE_PLACES, bind)
            await self._session.execute(_RELINK, bind)
            readers = self._staging.enrichers.reading_sidecars
            self._staging.owes_again |= await compare_relinked(self._session, relinks.made, readers)
        return relinks

    async def _find_removals(self, relinks: Relinks) -> Removals:
        bind = {**self._bind, "relinks": relinks_json(relinks.made)}
        await self._session.execute(text(f"INSERT INTO removal WITH {_LOST} {REMOVAL}"), bind)
        return await count_removals(self._session, self._staging.collection, "", self._bind)

    async def _verdicts(self) -> tuple[Mapping[str, int], Mapping[str, Sequence[Named]]]:
        """Return the number of drafts of each verdict, and the first drafts of those whose drafts are named."""
        if not self._staging.staged:
            return {}, {}
        totals, rows = {}, list[Row]()
        if self._planned != "nothing":
            totals = {row.verdict: row.total for row in await self._session.execute(COUNT)}
            if not totals.keys().isdisjoint(_LISTED):
                rows += (await self._session.execute(_LIST)).all()
        if self._planned != "all":
            planned = sum(totals.values())
            totals["created"] = self._staging.staged - planned
            rows += self._first or await first_created(self._session, planned)
        return totals, _entries(rows, self._staging.comparison.mode)

    async def _add(self, totals: Mapping[str, int]) -> None:
        """Create assets, and write parts and aliases."""
        session, staging = self._session, self._staging
        if "created" in totals:
            await create_assets(session, staging, self._planned)
        if staging.several_parts and totals.keys() & {"created", *FOLLOWERS}:
            await create_parts(session, staging, self._planned)
        if staging.staged and staging.comparison.anything_known:
            await session.execute(_DROP_ALIASES, self._bind)
        if "duplicate" in totals:
            await session.execute(_ADD_ALIASES, self._bind)


async def keep_refinements(session: Session, run: Run, staging: Staging) -> tuple[int, tuple[Mapping[str, str], ...]]:
    """Store the changes of page enrichers to new assets; return the number of failures, and the first ones."""
    bind = {"collection": staging.collection.id, "run": run.id, "refined_by": list(staging.enrichers.refined_by)}
    await session.execute(_KEEP_REFINEMENTS, bind)
    failed = (await session.execute(_FAILED_REFINEMENTS, {"listed": LISTED})).all()
    listed = tuple(failed_enrichment(row.label, row.external_id, row.code, row.message) for row in failed)
    return (failed[0].total if failed else 0, listed)


def _entries(rows: Sequence[Row], mode: Mode) -> Mapping[str, Sequence[Named]]:
    columns = {verdict.name: form.column for verdict, form in LISTS}
    entries: dict[str, list[Named]] = {}
    for row in rows:
        column = columns[row.verdict]
        detail = None if column is None else getattr(row, column)
        title = row.holder if keeps_title(row.verdict, mode) else row.label
        entries.setdefault(row.verdict, []).append(Named(title, row.source_uri, detail))
    return entries
