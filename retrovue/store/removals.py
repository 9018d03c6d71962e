"""Removals: assets that the source doesn't list become missing, and later gone, unless a guard holds them back."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from retrovue.core.model import Collection
from retrovue.core.results import Guard, HeldBack, Named
from retrovue.core.runs import DEFAULT_MAX_REMOVALS, MaxRemovals
from retrovue.core.verdicts import LISTED
from retrovue.store.audit import Run
from retrovue.store.changes import tell
from retrovue.store.known import Comparison
from retrovue.store.listed import is_rejected
from retrovue.store.plan import MergeResult, label_of
from retrovue.store.relinking import RELINKS, RULES, Pair
from retrovue.store.statements import Session, text


class RemovalPolicy(Struct, frozen=True):
    """What a sync of a collection may remove."""

    most: MaxRemovals = DEFAULT_MAX_REMOVALS
    """The most assets that may become missing without confirmation."""
    confirmed: frozenset[str] = frozenset()
    """The tokens of removals that a person has reviewed."""
    guards: tuple[Guard, ...] = ()
    """The guards that stop all removals unless a person has confirmed them."""
    postponed: Guard | None = None
    """The guard that stops even confirmed removals, because the source is changing."""
    library_uuid: str | None = None
    """The permanent id of the library that was read; None if it isn't known."""


class Removals(Struct, frozen=True):
    """The assets that become missing or gone."""

    missing: int = 0
    gone: int = 0
    newly: int = 0
    """How many of them were present."""
    first: dict[str, list[Named]] = field(default_factory=dict[str, list[Named]])
    """The first ones by what they become, sorted by name."""
    token: str | None = None
    """A token for exactly this set of assets."""

    @property
    def number(self) -> int:
        """The number of assets."""
        return self.missing + self.gone


NO_REMOVALS = Removals()
NO_POLICY = RemovalPolicy()


def lost_assets(*, newly: bool, names_items: bool) -> str:
    """Return the SQL of the assets that the source doesn't list: rows of asset, with ``trashed``.

    It reads ``plan``, ``listed_item``, ``listed_rejected`` and ``listed_trashed``. ``newly`` includes the present
    assets, for which the keys of the whole listing are compared. ``names_items`` says whether any rejection names an
    item.
    """
    absent = """
        SELECT asset.* FROM asset
        WHERE asset.collection_uuid = :collection AND asset.deleted_at IS NULL AND asset.availability = 'present'
            AND NOT EXISTS (SELECT FROM listed_item WHERE listed_item.key = asset.source_hash)
        UNION ALL
    """
    # An asset that isn't present and is listed has been staged.
    unavailable = """
        SELECT asset.* FROM asset
        WHERE asset.collection_uuid = :collection AND asset.deleted_at IS NULL AND asset.availability <> 'present'
            AND NOT EXISTS (SELECT FROM plan WHERE plan.own = asset.uuid)
    """
    # Its item is listed and has the files of another asset now, so no listed item belongs to this asset any more.
    displaced = """
        UNION ALL
        SELECT asset.*
        FROM (SELECT own FROM plan WHERE verdict = 'duplicate' AND own IS NOT NULL) AS displaced
            CROSS JOIN LATERAL (SELECT * FROM asset WHERE uuid = displaced.own OFFSET 0) AS asset
    """
    unlisted = f"({absent if newly else ''} {unavailable} {displaced}) AS unlisted"
    if not names_items:
        return f"SELECT unlisted.*, false AS trashed FROM {unlisted}"
    trashed, rejected = is_rejected("unlisted", "listed_trashed"), is_rejected("unlisted", "listed_rejected")
    return f"SELECT unlisted.*, {trashed} AS trashed FROM {unlisted} WHERE NOT {rejected}"


# Relinked assets aren't lost any more. Times are the database's.
REMOVAL = f"""
    SELECT lost.uuid AS asset_uuid, {label_of("lost")} AS title, lost.source_uri, lost.availability AS was, becomes,
        CASE WHEN lost.trashed THEN 'trashed' ELSE 'not_listed' END AS reason
    FROM lost CROSS JOIN (
        SELECT make_interval(secs => source.grace_s) AS grace
        FROM collection JOIN source ON source.id = collection.source_id WHERE collection.id = :collection
    ) AS source CROSS JOIN LATERAL (
        SELECT CASE WHEN lost.availability = 'present'
                THEN CASE WHEN source.grace = interval '0' THEN 'gone' ELSE 'missing' END
            WHEN lost.availability = 'missing' AND lost.unavailable_since + source.grace < now() THEN 'gone' END
    ) AS after (becomes)
    WHERE becomes IS NOT NULL
        AND lost.uuid NOT IN (SELECT relink.asset FROM {RELINKS})
"""
_COUNT = """
    SELECT count(*) FILTER (WHERE becomes = 'missing') AS missing, count(*) FILTER (WHERE becomes = 'gone') AS gone,
        count(*) FILTER (WHERE was = 'present') AS newly,
        left(encode(sha256(convert_to(concat(cast(:collection AS uuid), string_agg(cast(asset_uuid AS text), ''
            ORDER BY asset_uuid)), 'UTF8')), 'hex'), 16) AS token
    FROM removal
"""
_FIRST = f"""
    SELECT becomes, title, source_uri, reason FROM (
        SELECT removal.*, row_number() OVER (PARTITION BY becomes ORDER BY title, asset_uuid) AS number FROM removal
    ) AS numbered WHERE number <= {LISTED} ORDER BY becomes, number
"""
_REMOVE = text(
    """
    UPDATE asset SET availability = removal.becomes,
        unavailable_since = coalesce(asset.unavailable_since, now()), unavailable_run = :run,
        unavailable_reason = removal.reason, updated_at = now()
    FROM removal WHERE asset.uuid = removal.asset_uuid
    """
)
_CHANGES = """
    SELECT asset_uuid, cast(:collection AS uuid), title, becomes, cast(:run AS uuid), cast(NULL AS text),
        jsonb_build_object('availability', jsonb_build_array(was, becomes), 'unavailable_reason',
            jsonb_build_array(CASE WHEN was <> 'present' THEN reason END, reason))
    FROM removal ORDER BY title, asset_uuid
"""


async def count_removals(session: Session, collection: Collection, source: str, bind: dict[str, Any]) -> Removals:
    """Count the removals: rows of the table ``removal``, or of the CTE with which ``source`` begins the statement."""
    row = (await session.execute(text(f"{source} {_COUNT}"), {**bind, "collection": collection.id})).one()
    first: dict[str, list[Named]] = {}
    if row.missing or row.gone:
        for entry in await session.execute(text(f"{source} {_FIRST}"), {**bind, "collection": collection.id}):
            first.setdefault(entry.becomes, []).append(Named(entry.title, entry.source_uri, entry.reason))
    return Removals(row.missing, row.gone, row.newly, first, row.token if row.missing or row.gone else None)


def hold_back(removals: Removals, policy: RemovalPolicy, present: int) -> HeldBack | None:
    """Return the guards that hold removals back in a collection with ``present`` assets; None if they may be made."""
    if not removals.number:
        return None
    guards = list(policy.guards)
    most = policy.most.of(present)
    if removals.newly > most:
        guards.append(
            Guard(
                "too_many",
                f"{removals.newly} of {present} assets aren't listed any more; at most {most} may be removed.",
            )
        )
    confirmed = removals.token in policy.confirmed
    if policy.postponed is None and (confirmed or not guards):
        return None
    if guards and policy.confirmed and not confirmed:
        guards.append(
            Guard("removals_changed", "The removals aren't the ones that were confirmed: they have changed since.")
        )
    if policy.postponed is not None:
        guards.append(policy.postponed)
    items = sorted((item for items in removals.first.values() for item in items), key=lambda item: item.title)
    token = None if policy.postponed is not None else removals.token
    return HeldBack(tuple(guards), removals.number, tuple(items[:LISTED]), token)


async def remove(session: Session, run: Run) -> None:
    """Mark the assets of the table ``removal`` as missing or gone."""
    await session.execute(text("SET LOCAL enable_nestloop = on"))
    await session.execute(text("ANALYZE removal"))
    await session.execute(_REMOVE, {"run": run.id})


async def tell_removed(session: Session, collection: UUID, run: Run, *, later: bool) -> None:
    """Add the removals to the feed of changes, with ``later`` together with those of other collections."""
    await tell(session, _CHANGES, {"collection": collection, "run": run.id}, later=later)


async def count_absent(session: Session, comparison: Comparison, rejected: str, bind: dict[str, Any]) -> int:
    """Count the assets that are present in the catalogue and that an ingest didn't find listed.

    ``rejected`` is the SQL of the `text_key` of the source URIs of rejected items, which count as listed; ``bind`` has
    its parameters.
    """
    if not comparison.absent:
        return 0
    result = await session.execute(
        text(
            f"WITH rejected (key) AS MATERIALIZED ({rejected}) SELECT count(*) FROM asset"
            " WHERE collection_uuid = :collection AND deleted_at IS NULL AND availability = 'present'"
            f" AND EXISTS (SELECT FROM rejected) AND {is_rejected('asset', 'rejected')}"
        ),
        {**bind, "collection": comparison.collection.id},
    )
    return max(0, comparison.absent - int(result.scalar_one()))


async def ambiguous_assets(session: Session, pairs: Sequence[Pair]) -> list[Named]:
    """Return the first assets of ambiguous pairs, each with its rule."""
    shown = {str(pair.asset): RULES[pair.rule] for pair in pairs[:LISTED]}
    if not shown:
        return []
    rows = await session.execute(
        text(
            f"SELECT uuid, {label_of('asset')} AS title, source_uri FROM asset"
            " WHERE uuid = ANY(cast(string_to_array(:assets, ',') AS uuid[])) ORDER BY title, uuid"
        ),
        {"assets": ",".join(shown)},
    )
    return [Named(row.title, row.source_uri, shown[str(row.uuid)]) for row in rows]


def with_absences(
    result: MergeResult, removals: Removals, held_back: HeldBack | None, ambiguous: Sequence[Named]
) -> MergeResult:
    """Add to the result of a merge what became of the assets that aren't listed."""
    made = removals if held_back is None else NO_REMOVALS
    counts = {
        **result.counts,
        "absent": removals.newly,
        "missing": made.missing,
        "gone": made.gone,
        "removals_held_back": 0 if held_back is None else held_back.number,
    }
    listed = replace(
        result.listed,
        missing=tuple(made.first.get("missing", ())),
        gone=tuple(made.first.get("gone", ())),
        ambiguous_relinks=tuple(ambiguous),
    )
    return MergeResult(counts, listed, held_back)


def nothing_listed(*, discovered: int, rejected: int) -> Sequence[Guard]:
    """Return the guard against a listing without a usable item."""
    if discovered == 0:
        return [Guard("nothing_listed", "The source lists nothing at all. Is a disk missing there?")]
    if rejected == discovered:
        return [Guard("nothing_listed", "None of the items that the source lists can be used.")]
    return []
