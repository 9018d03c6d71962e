"""Count the assets that are gone, and delete them for good."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from retrovue.core.model import Collection
from retrovue.core.verdicts import LISTED
from retrovue.store.audit import ANY_OF_COLLECTIONS, id_list, started_by
from retrovue.store.changes import INSERT_CHANGES, lock_feed
from retrovue.store.plan import label_of
from retrovue.store.statements import Session, text

_GONE = f"availability = 'gone' AND unavailable_since < :before AND collection_uuid = {ANY_OF_COLLECTIONS}"
_COUNT = text(
    f"SELECT count(*) AS number, count(*) FILTER (WHERE approved_for_broadcast) AS approved FROM asset WHERE {_GONE}"
)
_FIRST = text(
    f"SELECT {label_of('asset')} AS label FROM asset WHERE {_GONE} ORDER BY unavailable_since, uuid LIMIT :listed"
)
_PURGED = text("CREATE TEMPORARY TABLE purged (uuid uuid, collection uuid, label text) ON COMMIT DROP")
_DELETE = text(
    f"""
    WITH deleted AS (
        DELETE FROM asset WHERE {_GONE} RETURNING uuid, collection_uuid, {label_of("asset")} AS label
    )
    INSERT INTO purged SELECT uuid, collection_uuid, label FROM deleted
    """
)
_RECORD = text(
    INSERT_CHANGES.format(
        rows="SELECT purged.uuid, collection, label, 'purged', cast(NULL AS uuid), cast(:by AS text),"
        " jsonb_build_object() FROM purged ORDER BY collection, label, purged.uuid"
    )
)


class GoneAssets(Struct, frozen=True):
    """Assets that are gone."""

    number: int
    approved: int
    """How many of them are approved for broadcast."""
    first: tuple[str, ...]
    """The labels of the first 100, those that have been missing longest first."""


async def find_gone(session: Session, collections: Sequence[Collection], before: dt.datetime) -> GoneAssets:
    """Return the gone assets of collections that were first missing before a time."""
    bind: dict[str, Any] = {"collections": id_list(collections), "before": before}
    counts = (await session.execute(_COUNT, bind)).one()
    first = (await session.execute(_FIRST, {**bind, "listed": LISTED})).scalars().all()
    return GoneAssets(counts.number, counts.approved, tuple(first))


async def purge_gone(session: Session, collections: Sequence[Collection], before: dt.datetime) -> None:
    """Delete the gone assets of collections that were first missing before a time; the feed of changes tells it."""
    bind = {"collections": id_list(collections), "before": before}
    await session.execute(_PURGED)
    await session.execute(_DELETE, bind)
    await lock_feed(session)
    await session.execute(_RECORD, {"by": started_by()})
