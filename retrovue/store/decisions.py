"""Decisions of people about assets: approve, retire, and undo retiring, each in one transaction.

A decision about a million assets takes a few statements. Each changed asset has a row in the feed of changes.
"""

from collections.abc import Sequence
from typing import Literal, get_args
from uuid import UUID

from msgspec import Struct

from retrovue.core.errors import RequestError, changed_meanwhile
from retrovue.core.model import ASSET_STATES
from retrovue.store.assets import LISTED, several, unknown_assets
from retrovue.store.changes import INSERT_CHANGES, lock_feed
from retrovue.store.listing import Selection
from retrovue.store.plan import label_of
from retrovue.store.statements import Row, Session, text

Decision = Literal["approved", "retired", "unretired"]
"""The decision, as the feed of changes names it."""
DECISIONS: tuple[str, ...] = get_args(Decision)


class StateChange(Struct, frozen=True):
    """An asset, and its state before and after a change. Both are equal if nothing had to change."""

    uuid: UUID
    title: str
    before: str
    after: str


class Decided(Struct, frozen=True):
    """What a decision changed, or would change for a dry-run."""

    total: int
    """The number of chosen assets."""
    changed: int
    """The number of assets that it changed."""
    states: dict[str, int]
    """The number of chosen assets by their state before."""
    changes: tuple[StateChange, ...]
    """The first changed assets: 100, unless more were asked for."""


# An asset that was approved when it was retired is approved again, unless its file was replaced since.
_RESTORED = """
    CASE WHEN coalesce((
        SELECT retired.fields -> 'state' ->> 0 = 'ready' AND NOT EXISTS (
            SELECT FROM asset_change AS later WHERE later.asset_uuid = asset.uuid
                AND later.position > retired.position AND later.what IN ('replaced', 'relinked', 'withdrawn')
        )
        FROM asset_change AS retired WHERE retired.asset_uuid = asset.uuid AND retired.what = 'retired'
        ORDER BY retired.position DESC LIMIT 1
    ), false) THEN 'ready'
    WHEN EXISTS (
        SELECT FROM collection_enricher AS ce WHERE ce.collection_id = asset.collection_uuid AND NOT EXISTS (
            SELECT FROM asset_enrichment AS e
            WHERE e.asset_uuid = asset.uuid AND e.enricher_id = ce.enricher_id AND e.status = 'succeeded'
        )
    ) THEN 'enriching' ELSE 'new' END
"""
_AFTER = {"approved": "'ready'", "retired": "'retired'", "unretired": _RESTORED}
_MOSTLY = {"approved": "ready", "retired": "retired", "unretired": "new"}
"""The state that most assets have after a decision."""

_LABELLED = ("show_title", "album", "season_number", "episode_number", "disc_number", "track_number", "edition")
# Most films have nothing but a title; to join the parts takes ten times as long.
_LABEL = f"""
    CASE WHEN {" AND ".join(f"asset.{part} IS NULL" for part in _LABELLED)} THEN asset.title
    ELSE {label_of("asset")} END
"""
_TABLE = text(
    "CREATE TEMPORARY TABLE decided (uuid uuid, collection_uuid uuid, title text, before text, after text)"
    " ON COMMIT DROP"
)
_FIELDS = "jsonb_build_object('state', jsonb_build_array({before}, {after}))"
# What most rows tell is made once, and not for each row.
_RECORD = text(
    INSERT_CHANGES.format(
        rows=f"""
        SELECT uuid, collection_uuid, title, :what, cast(NULL AS uuid), :by,
            CASE WHEN before = :before AND after = :after
                THEN (SELECT {_FIELDS.format(before="cast(:before AS text)", after="cast(:after AS text)")})
                ELSE {_FIELDS.format(before="before", after="after")} END
        FROM decided
        """
    )
)


def before(decision: Decision, *, despite_enrichment: bool = False) -> tuple[str, ...]:
    """Return the states of the assets that a decision changes."""
    match decision:
        case "approved":
            return ("new", "enriching") if despite_enrichment else ("new",)
        case "retired":
            return tuple(state for state in ASSET_STATES if state != "retired")
        case "unretired":
            return ("retired",)


def by_ids(uuids: Sequence[UUID]) -> Selection:
    """Select assets by their ids, including deleted ones."""
    return Selection("asset.uuid = ANY(:uuids)", {"uuids": list(dict.fromkeys(uuids))})


async def decide(
    session: Session,
    decision: Decision,
    chosen: Selection,
    *,
    by: str,
    despite_enrichment: bool = False,
    expected: int | None = None,
    listed: int = LISTED,
    dry_run: bool = False,
) -> Decided:
    """Change the state of the chosen assets that are in a suitable state; the others stay unchanged.

    ``by`` is ``user@host`` of the person who decides. ``despite_enrichment`` also approves assets that are enriching.
    Raises RequestError, so that the caller rolls back, if the number of changed assets isn't ``expected``. ``listed``
    is the number of changes to return. A dry-run returns the same and writes nothing.
    """
    states = before(decision, despite_enrichment=despite_enrichment)
    alive = " AND asset.deleted_at IS NULL" if decision == "approved" else ""
    where = chosen.condition
    counts: dict[str, int] = {}
    fitting = 0
    for row in await session.execute(
        text(f"SELECT asset.state, count(*) AS number, count(*) FILTER (WHERE true{alive}) AS alive FROM asset"
             f" WHERE {where} GROUP BY asset.state"),
        chosen.parameters,
    ):  # fmt: skip
        counts[row.state] = row.number
        fitting += row.alive if row.state in states else 0
    after = _AFTER[decision]
    if not dry_run and fitting:
        await session.execute(_TABLE)
        fitting = 0
        for state in counts.keys() & set(states):
            fitting += await session.change(
                text(
                    f"""
                    WITH moved AS (
                        UPDATE asset SET updated_at = now(), (state, approved_for_broadcast) = (
                            SELECT after, after = 'ready' FROM (SELECT {after} AS after) AS decision
                        ) WHERE {where} AND asset.state = :before{alive}
                        RETURNING asset.uuid, asset.collection_uuid, {_LABEL}, :before, asset.state
                    ) INSERT INTO decided SELECT * FROM moved
                    """
                ),
                {**chosen.parameters, "before": state},
            )
    if expected is not None and fitting != expected:
        raise changed_meanwhile("The selection")
    if dry_run:
        listing = (
            f"SELECT asset.uuid, asset.title, asset.state, {after} FROM asset WHERE {where}{alive}"
            " AND asset.state = ANY(:states) ORDER BY asset.uuid LIMIT :listed"
        )
        bind = {**chosen.parameters, "states": list(states), "listed": listed}
    else:
        listing, bind = "SELECT uuid, title, before, after FROM decided ORDER BY uuid LIMIT :listed", {"listed": listed}
    changes = tuple(StateChange(*row) for row in await session.execute(text(listing), bind)) if fitting else ()
    if not dry_run and fitting:
        await lock_feed(session)
        mostly = {"before": max(states, key=lambda state: counts.get(state, 0)), "after": _MOSTLY[decision]}
        await session.execute(_RECORD, {"what": decision, "by": by, **mostly})
    return Decided(sum(counts.values()), fitting, counts, changes)


async def require_decidable(
    session: Session, decision: Decision, uuids: Sequence[UUID], *, despite_enrichment: bool = False
) -> int:
    """Return how many of the assets a decision changes.

    Raises NotFound for an unknown asset, and RequestError for one that can't be approved: only new and approved ones
    can be, and with ``despite_enrichment`` enriching ones. The errors name the first such assets.
    """
    given = list(dict.fromkeys(uuids))
    unknown = (
        await session.execute(
            text(
                "SELECT given FROM unnest(cast(:uuids AS uuid[])) WITH ORDINALITY AS ids (given, number)"
                " WHERE NOT EXISTS (SELECT FROM asset WHERE uuid = given) ORDER BY number"
            ),
            {"uuids": given},
        )
    ).scalars()
    if missing := unknown.all():
        raise unknown_assets(missing)
    states = before(decision, despite_enrichment=despite_enrichment)
    rows = await session.execute(
        text(
            "SELECT uuid, CASE WHEN deleted_at IS NULL THEN state ELSE 'deleted' END AS state FROM asset"
            " WHERE uuid = ANY(:uuids) AND state <> 'ready' AND (state <> ALL(:states) OR deleted_at IS NOT NULL)"
            " ORDER BY uuid"
        ),
        {"uuids": given, "states": list(states)},
    )
    if decision == "approved" and (refused := rows.all()):
        raise _not_new(refused)
    count = text("SELECT count(*) FROM asset WHERE uuid = ANY(:uuids) AND state = ANY(:states)")
    return int((await session.execute(count, {"uuids": given, "states": list(states)})).scalar_one())


async def states_of(session: Session, uuids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
    """Return the title and state of assets by id."""
    rows = await session.execute(
        text("SELECT uuid, title, state FROM asset WHERE uuid = ANY(:uuids)"), {"uuids": list(uuids)}
    )
    return {row.uuid: (row.title, row.state) for row in rows}


def _not_new(rows: Sequence[Row]) -> RequestError:
    states = {str(row.uuid): str(row.state) for row in rows}
    return RequestError(
        f"Only new assets can be approved: {several([f'{uuid} is {state}' for uuid, state in states.items()])}.",
        code="bad_lifecycle_step",
        hint="Nothing was changed. An asset that is enriching becomes new when `retrovue collection enrich` has"
        " done what is owed to it, or when the enricher is detached; --despite-enrichment approves it as it is."
        " `retrovue asset unretire` undoes a retirement.",
        context={"assets": dict(list(states.items())[:LISTED])},
    )
