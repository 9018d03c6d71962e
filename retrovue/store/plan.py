"""The plan of a merge: the verdict of each staged draft.

The plan is the same SQL for a run and for a dry-run. A run reads the staging table. A dry-run can't create temporary
tables, so it reads the keys from one packed parameter.

The verdicts of the plan (`retrovue.core.verdicts`). A draft gets the first one that applies:

* ``soft_deleted``: the collection has an asset of this source item, which is marked as deleted (counted as skipped);
* ``duplicate``: another asset has the same canonical identity, or has it after this merge;
* ``restored``, in a sync: the asset of this item isn't present (also counted as skipped, like all that follow);
* ``relocated``: it has another canonical identity; the asset gets that of the draft;
* ``replaced``, ``refreshed``: in a sync, the source says that it has other content, or another description;
* ``skipped``: none of these, but the collection has an asset of this item;
* ``created``: the collection has none.

A ``created`` or ``duplicate`` draft becomes ``relinked`` if it is the item of an asset whose own item is lost.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from retrovue.core.results import HeldBack, Listed, Named
from retrovue.core.runs import Mode
from retrovue.core.verdicts import LISTS, PLANNED
from retrovue.store.statements import OWN, text

# Look-ups in the catalogue are scalar subqueries in unique indexes, and for the rest nested loops are switched off: the
# planner can't know the size of a staging table or a CTE. If it guesses "few rows", a merge takes minutes.
NO_GUESSING = text("SET LOCAL enable_nestloop = off")

# An asset that moves frees its place for another one, so that files may swap their names. A move is stuck if its target
# is kept by an asset that stays, or is claimed by an earlier draft. A move that waits for a stuck one is stuck too.
# Chains of moves are walked through one array of numbers, because each step of a recursive join would read all moves.
# The result goes through an array as well: the planner expects so many rows from a recursion that it would hash to
# files.
PLAN = f"""
    keys AS MATERIALIZED (
        SELECT seq, canonical_hash, difference,
            (SELECT uuid FROM asset WHERE asset.collection_uuid = {OWN}
                AND asset.source_hash = staged.source_hash) AS own,
            (SELECT uuid FROM asset WHERE asset.collection_uuid = {OWN}
                AND asset.canonical_hash = staged.canonical_hash) AS standing
        FROM staged
    ),
    known AS MATERIALIZED (
        SELECT seq, canonical_hash, difference, own, standing,
            (SELECT asset.canonical_hash FROM asset WHERE asset.uuid = own) AS held_hash,
            (SELECT availability <> 'present' FROM asset WHERE asset.uuid = own) AS unavailable,
            (SELECT deleted_at IS NOT NULL FROM asset WHERE asset.uuid = own) AS deleted
        FROM keys WHERE own IS NOT NULL
    ),
    moving AS MATERIALIZED (
        SELECT seq, canonical_hash, own, standing, row_number() OVER (ORDER BY seq) AS number,
            row_number() OVER (PARTITION BY canonical_hash ORDER BY seq) AS claim
        FROM known WHERE held_hash <> canonical_hash AND NOT deleted
    ),
    waiting AS MATERIALIZED (
        SELECT moving.number, moving.claim, moving.standing, leaving.number AS waits_for
        FROM moving LEFT JOIN moving AS leaving ON leaving.own = moving.standing
    ),
    follower AS (
        SELECT array_agg(cast(coalesce(waiting.number, 0) AS integer) ORDER BY moving.number) AS numbers
        FROM moving LEFT JOIN waiting ON waiting.waits_for = moving.number AND waiting.claim = 1
    ),
    stuck AS (
        SELECT cast(number AS integer) AS number FROM waiting
        WHERE claim > 1 OR (standing IS NOT NULL AND waits_for IS NULL)
        UNION
        SELECT number FROM (SELECT (SELECT numbers FROM follower)[stuck.number] AS number FROM stuck) AS next
        WHERE number <> 0
    ),
    staying AS MATERIALIZED (
        SELECT own FROM moving JOIN (SELECT unnest(array_agg(number)) AS number FROM stuck) AS stuck USING (number)
    ),
    moved AS MATERIALIZED (
        SELECT seq, canonical_hash, own FROM moving
        WHERE NOT EXISTS (SELECT FROM staying WHERE staying.own = moving.own)
    ),
    placed AS (
        SELECT keys.seq, keys.canonical_hash, keys.own,
            coalesce(arriving.own, CASE WHEN leaving.own IS NULL THEN keys.standing END) AS holder
        FROM keys
            LEFT JOIN moved AS leaving ON leaving.own = keys.standing
            LEFT JOIN moved AS arriving ON arriving.canonical_hash = keys.canonical_hash
    ),
    plan AS (
        SELECT seq, CASE WHEN holder IS NULL AND first_seq = seq THEN 'created' ELSE 'duplicate' END AS verdict,
            cast(NULL AS uuid) AS own, holder AS asset_uuid, CASE WHEN holder IS NULL THEN first_seq END AS first_seq
        FROM (
            SELECT seq, holder, min(seq) OVER (PARTITION BY canonical_hash) AS first_seq
            FROM placed WHERE own IS NULL
        ) AS fresh
        UNION ALL
        SELECT seq,
            CASE WHEN deleted THEN 'soft_deleted'
                WHEN held_hash <> known.canonical_hash AND moved.own IS NULL THEN 'duplicate'
                WHEN unavailable AND cast(:syncing AS boolean) THEN 'restored'
                WHEN held_hash <> known.canonical_hash THEN 'relocated'
                WHEN difference = 2 THEN 'replaced' WHEN difference = 1 THEN 'refreshed' ELSE 'skipped' END,
            known.own, CASE WHEN deleted OR held_hash = known.canonical_hash OR moved.own IS NOT NULL THEN known.own
                ELSE holder END,
            NULL
        FROM known JOIN placed USING (seq) LEFT JOIN moved USING (seq)
    )
"""

MAKE_PLAN = text(
    f"INSERT INTO plan (seq, verdict, own, asset_uuid, first_seq) WITH RECURSIVE {PLAN}"
    " SELECT seq, verdict, own, asset_uuid, first_seq FROM plan"
)

COUNT = text("SELECT verdict, count(*) AS total FROM plan GROUP BY verdict")


def label_of(row: str) -> str:
    """Return the SQL that computes ``core.results.label`` for an asset or a staged draft."""
    season, episode, track = (
        f"to_char({row}.{number}, 'FM9999999900')" for number in ("season_number", "episode_number", "track_number")
    )
    return (
        f"concat_ws(' ', {row}.show_title, {row}.album, nullif(concat('S' || {season}, 'E' || {episode}), ''),"
        f" nullif(concat_ws('-', nullif({row}.disc_number, 0), {track}), ''), {row}.title, '[' || {row}.edition || ']')"
    )


def keeps_title(verdict: str, mode: Mode) -> bool:
    """Return whether the asset keeps its title. An entry then has that title, and not the draft's."""
    return verdict == "soft_deleted" or (verdict == "relocated" and mode == "ingest")


class MergeResult(NamedTuple):
    """The verdicts of the staged drafts: their numbers, and the first drafts of each."""

    counts: Mapping[str, int]
    """The number of drafts by `Verdict.count`. A verdict that is part of another is counted in both."""
    listed: Listed
    held_back: HeldBack | None = None


def merge_result(totals: Mapping[str, int], entries: Mapping[str, Sequence[Named]]) -> MergeResult:
    """Make the result from the number of drafts and the first entries, by `Verdict.name`."""
    counts = {verdict.count: totals.get(verdict.name, 0) for verdict in PLANNED}
    for verdict in PLANNED:
        if verdict.part_of is not None:
            counts[verdict.part_of] += totals.get(verdict.name, 0)
    lists: dict[str, Any] = {
        verdict.count: tuple(entries.get(verdict.name, ())[: form.most]) for verdict, form in LISTS if verdict.planned
    }
    return MergeResult(counts, Listed(**lists))
