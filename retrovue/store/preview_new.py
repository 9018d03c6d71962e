"""A dry-run of a collection without assets: it needs no plan, only the drafts with the files of earlier ones.

An ingest of such a collection has the same shortcut (`retrovue.store.creating`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import anyio.lowlevel

from retrovue.core.model import Collection
from retrovue.core.verdicts import CREATED_SHOWN, LISTED
from retrovue.store.statements import Row, Session, text

KEY_BYTES = 16
"""The bytes of a draft's key: its canonical hash."""
_AT_ONCE = 32_768
"""How many keys are compared at once: they take 4 MB. As a parameter of a query 250,000 would take three times that."""
_MOST_PASSES = 16
"""How often all keys are read to compare so many of them at once. The database compares more than that."""

# In the order of an index, because EXISTS may read the table up to the first asset of the collection.
HOLDS_ANY = (
    "(SELECT source_hash FROM asset WHERE collection_uuid = :collection ORDER BY source_hash LIMIT 1) IS NOT NULL"
)
"""The SQL that tells whether the collection, ``:collection``, has any asset."""
_IS_HELD = text(f"SELECT {HOLDS_ANY} AS held")
_LOOK = text(
    f"""
    WITH numbered AS MATERIALIZED (
        SELECT number AS seq,
            min(number) OVER (PARTITION BY substring(packed FROM number * {KEY_BYTES} + 1 FOR {KEY_BYTES})) AS first_seq
        FROM (SELECT cast(:keys AS bytea) AS packed) AS keys,
            generate_series(0, length(packed) / {KEY_BYTES} - 1) AS number
    ),
    duplicate AS (SELECT * FROM numbered WHERE seq <> first_seq ORDER BY seq LIMIT {LISTED}),
    created AS (SELECT * FROM numbered WHERE seq = first_seq ORDER BY seq LIMIT {CREATED_SHOWN}),
    total AS (SELECT count(*) FILTER (WHERE seq <> first_seq) AS repeats, {HOLDS_ANY} AS held FROM numbered)
    SELECT 'duplicate' AS verdict, seq, first_seq, repeats, held FROM duplicate CROSS JOIN total
    UNION ALL SELECT 'created', seq, NULL, repeats, held FROM created CROSS JOIN total
    """
)


class NewDraft(NamedTuple):
    """A row of the preview: one of the first drafts of a verdict. It has the values of the rows of a plan."""

    verdict: str
    total: int
    """The number of drafts with this verdict."""
    seq: int
    first_seq: int | None = None
    """Of a duplicate, the first draft with the same files."""
    holder: str | None = None


async def plan_new(session: Session, collection: Collection, keys: bytearray) -> Sequence[NewDraft] | None:
    """Return the first drafts of each verdict, from the packed keys of all drafts.

    Returns None if the collection has an asset by now, so that a plan is needed. Nothing holds a view of ``keys``
    afterwards.
    """
    bind = {"collection": collection.id}
    number = len(keys) // KEY_BYTES
    if await _differ(keys, number):
        if (await session.execute(_IS_HELD, bind)).scalar_one():
            return None
        return [NewDraft("created", number, seq) for seq in range(min(number, CREATED_SHOWN))]
    rows: Sequence[Row] = (await session.execute(_LOOK, {**bind, "keys": keys})).all()
    if rows[0].held:
        return None
    totals = {"duplicate": rows[0].repeats, "created": number - rows[0].repeats}
    return [NewDraft(row.verdict, totals[row.verdict], row.seq, row.first_seq) for row in rows]


async def _differ(keys: bytearray, number: int) -> bool:
    """Return whether all keys are known to be different. Their first halves are compared."""
    passes = -(-number // _AT_ONCE)
    if passes > _MOST_PASSES:
        return False
    different = 0
    with memoryview(keys) as view, view.cast("Q") as halves, halves[::2] as firsts:
        for rest in range(passes):
            different += len({half for half in firsts if half % passes == rest})
            await anyio.lowlevel.checkpoint()
    return different == number
