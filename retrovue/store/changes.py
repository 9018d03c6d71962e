"""The feed of changes: one row for each change of an asset, written in the same transaction as the change.

Positions ascend in the order of the commits: a writer takes its positions under a lock that it holds until the end of
its transaction. So a reader that asks for rows after the last position it has seen misses no row and gets none twice.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from msgspec import Struct, field

from retrovue.core.bounds import LARGEST
from retrovue.core.errors import CursorExpired, RequestError, require_within
from retrovue.core.text import json_default
from retrovue.core.verdicts import ChangeKind
from retrovue.store.statements import Session, text

CHANNEL = "retrovue_changes"
"""The channel of PostgreSQL's NOTIFY that announces new rows. Its messages have no content."""
_LOCK = 0x52_56_5F_46_45_45_44  # "RV_FEED": the advisory lock of transactions that add rows

_TAKE_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_NOTIFY = text(f"NOTIFY {CHANNEL}")

INSERT_CHANGES = """
    INSERT INTO asset_change (position, asset_uuid, collection_uuid, title, what, run_id, by, fields)
    SELECT nextval('asset_change_position'), ordered.* FROM ({rows}) AS ordered
"""
"""The statement that adds rows. ``rows`` is SQL that selects the other columns in this order, in the order of the
positions.
"""

_KEEP_CHANGES = """
    INSERT INTO kept_change (asset_uuid, collection_uuid, title, what, run_id, by, fields)
    SELECT ordered.* FROM ({rows}) AS ordered
"""
KEPT_COLUMNS = (
    "number bigint GENERATED ALWAYS AS IDENTITY, asset_uuid uuid NOT NULL, collection_uuid uuid NOT NULL,"
    " title text NOT NULL, what text NOT NULL, run_id uuid, by text, fields jsonb NOT NULL"
)
"""The columns of the temporary table ``kept_change``."""
_ANY_KEPT = text("SELECT EXISTS (SELECT FROM kept_change)")
_INSERT_KEPT = text(
    INSERT_CHANGES.format(
        rows="SELECT asset_uuid, collection_uuid, title, what, run_id, by, fields FROM kept_change ORDER BY number"
    )
)
_INSERT_GIVEN = text(
    INSERT_CHANGES.format(
        rows="""
        SELECT given.asset_uuid, given.collection_uuid, given.title, given.what, given.run_id, given.by, given.fields
        FROM ROWS FROM (jsonb_to_recordset(cast(:changes AS jsonb)) AS (
            asset_uuid uuid, collection_uuid uuid, title text, what text, run_id uuid, by text, fields jsonb
        )) WITH ORDINALITY AS given (asset_uuid, collection_uuid, title, what, run_id, by, fields, number)
        ORDER BY number
        """
    )
)


class NewChange(Struct, frozen=True, kw_only=True):
    """A change of an asset, to be added to the feed."""

    asset_uuid: UUID
    collection_uuid: UUID
    title: str
    """The label of the asset, as `core.results.label` makes it."""
    what: ChangeKind
    fields: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    """The values before and after, by field."""
    run_id: UUID | None = None
    """The run that made the change; None if a person made it."""
    by: str | None = None
    """``user@host`` of the person who made it; None for a run."""


class Change(Struct, frozen=True):
    """A row of the feed."""

    position: int
    """The position, which ascends in the order of the commits. A reader's cursor is the position of the last row it has
    seen.
    """
    asset_uuid: UUID
    """The asset. It may have been purged since."""
    collection_uuid: UUID
    title: str
    """The label of the asset when the change was made."""
    what: str
    """One of `core.verdicts.CHANGE_KINDS`."""
    run_id: UUID | None
    by: str | None
    at: dt.datetime
    fields: Mapping[str, Sequence[Any]]
    """The values before and after, by field."""


_FIELDS = tuple(Change.__struct_fields__)

# In the order of positions, so that the kept rows are always the end of the feed.
_OLD = """
    position < coalesce((SELECT min(position) FROM asset_change WHERE at >= :before), 9223372036854775807)
"""
_PRUNE = f"""
    WITH pruned AS (
        DELETE FROM asset_change WHERE {_OLD} RETURNING position
    ), noted AS (
        INSERT INTO asset_change_pruned (position) SELECT max(position) FROM pruned HAVING count(*) > 0
        ON CONFLICT (only_row) DO UPDATE SET position = excluded.position
    )
    SELECT count(*) FROM pruned
"""


async def lock_feed(session: Session) -> None:
    """Take the lock of the feed until the end of the transaction. A transaction takes it as its last lock.

    The rows are announced to listening readers when the transaction is committed.
    """
    await session.execute(_TAKE_LOCK, {"key": _LOCK})
    await session.execute(_NOTIFY)


async def record_changes(session: Session, changes: Sequence[NewChange]) -> None:
    """Add rows to the feed, in their order, as the last step of the transaction that makes the changes."""
    if not changes:
        return
    await lock_feed(session)
    rows = [
        {
            "asset_uuid": change.asset_uuid,
            "collection_uuid": change.collection_uuid,
            "title": change.title,
            "what": change.what,
            "run_id": change.run_id,
            "by": change.by,
            "fields": change.fields,
        }
        for change in changes
    ]
    await session.execute(_INSERT_GIVEN, {"changes": orjson.dumps(rows, default=json_default).decode()})


async def tell(session: Session, rows: str, bind: Mapping[str, Any], *, later: bool) -> None:
    """Add the rows of a query to the feed, or with ``later`` store them for `tell_kept`; see `INSERT_CHANGES`."""
    if not later:
        await lock_feed(session)
    await session.execute(text((_KEEP_CHANGES if later else INSERT_CHANGES).format(rows=rows)), bind)


async def tell_kept(session: Session) -> None:
    """Add the stored rows to the feed, as the last step of a transaction that merges several collections.

    If each merge took the lock of the feed, the next merge would wait for rows of assets while holding it.
    """
    if (await session.execute(_ANY_KEPT)).scalar_one():
        await lock_feed(session)
        await session.execute(_INSERT_KEPT)
        await session.execute(text("TRUNCATE kept_change"))


async def list_changes(
    session: Session,
    *,
    after: int | None = None,
    collections: Sequence[UUID] | None = None,
    asset: UUID | None = None,
    limit: int = 1000,
) -> list[Change]:
    """Return the changes after a position, the oldest first; without ``after`` from the oldest row that is kept.

    ``collections`` and ``asset`` limit the rows to these. ``limit`` is the most rows, 1 to 2,147,483,647. Raises
    CursorExpired if rows after that position have been pruned, or if no row ever had it.
    """
    require_within("The limit", limit, 1, LARGEST, code="bad_limit")
    conditions = ["position > :after"]
    bind: dict[str, Any] = {"after": after or 0, "limit": limit}
    if collections is not None:
        conditions.append("collection_uuid = ANY(cast(string_to_array(:collections, ',') AS uuid[]))")
        bind["collections"] = ",".join(map(str, collections))
    if asset is not None:
        conditions.append("asset_uuid = :asset")
        bind["asset"] = asset
    result = await session.execute(
        text(
            f"SELECT {', '.join(_FIELDS)} FROM asset_change WHERE {' AND '.join(conditions)}"
            " ORDER BY position LIMIT :limit"
        ),
        bind,
    )
    changes = [Change(*row) for row in result]
    if after is not None:
        # Checked after the rows were read, so that pruning at the same time is noticed.
        await _require_complete(session, after)
    return changes


async def newest_changes(
    session: Session, *, before: int | None, collections: Sequence[UUID] | None, limit: int
) -> list[Change]:
    """Return the newest changes before a position, the newest first; None means the end of the feed."""
    require_within("The limit", limit, 1, LARGEST, code="bad_limit")
    conditions = ["position < :before"]
    bind: dict[str, Any] = {"before": 9223372036854775807 if before is None else before, "limit": limit}
    if collections is not None:
        conditions.append("collection_uuid = ANY(cast(string_to_array(:collections, ',') AS uuid[]))")
        bind["collections"] = ",".join(map(str, collections))
    result = await session.execute(
        text(
            f"SELECT {', '.join(_FIELDS)} FROM asset_change WHERE {' AND '.join(conditions)}"
            " ORDER BY position DESC LIMIT :limit"
        ),
        bind,
    )
    return [Change(*row) for row in result]


async def latest_changes(session: Session, asset: UUID, number: int) -> list[Change]:
    """Return the latest changes of an asset, the oldest first."""
    result = await session.execute(
        text(
            f"SELECT {', '.join(_FIELDS)} FROM asset_change WHERE asset_uuid = :asset"
            " ORDER BY position DESC LIMIT :number"
        ),
        {"asset": asset, "number": number},
    )
    return [Change(*row) for row in result][::-1]


async def latest_position(session: Session) -> int:
    """Return the position of the newest row, including pruned rows; 0 if there never was a row."""
    return (await _bounds(session))[1]


class PrunedChanges(Struct, frozen=True):
    """What was removed from the feed of changes, or would be for a dry-run."""

    before: dt.datetime
    """The changes made before this time are removed."""
    changes: int


async def count_prunable(session: Session, before: dt.datetime) -> int:
    """Return how many rows `prune_changes` would delete."""
    result = await session.execute(text(f"SELECT count(*) FROM asset_change WHERE {_OLD}"), {"before": before})
    return int(result.scalar_one())


async def prune_changes(session: Session, before: dt.datetime) -> int:
    """Delete the rows that are older than a time, and return their number.

    Readers with an older cursor get CursorExpired.
    """
    result = await session.execute(text(_PRUNE), {"before": before})
    return int(result.scalar_one())


async def _bounds(session: Session) -> tuple[int, int]:
    row = (
        await session.execute(
            text(
                "SELECT coalesce(pruned, 0) AS pruned, greatest(pruned, newest, 0) AS latest FROM"
                " (SELECT max(position) AS pruned FROM asset_change_pruned) AS pruned,"
                " (SELECT max(position) AS newest FROM asset_change) AS newest"
            )
        )
    ).one()
    return row.pruned, row.latest


async def _require_complete(session: Session, after: int) -> None:
    if after < 0:
        raise RequestError("A cursor is a number from 0.", code="bad_cursor")
    pruned, latest = await _bounds(session)
    if after < pruned:
        raise CursorExpired(
            f"The changes after {after} aren't kept any more: the feed begins after {pruned}.",
            hint="Read all assets again, then follow the feed without a cursor, or from the one in the context.",
            context={"cursor": after, "oldest": pruned, "latest": latest},
        )
    if after > latest:
        raise CursorExpired(
            f"No change has the number {after}; the newest one is {latest}.",
            hint="The cursor is of another catalogue, or this one was restored from a backup. Read all assets again.",
            context={"cursor": after, "oldest": pruned, "latest": latest},
        )
