"""List the items that didn't become an asset: rejected items of all runs, and duplicates."""

import datetime as dt
from typing import Any, TypedDict
from uuid import UUID

import msgspec
from msgspec import Struct

from retrovue.core.bounds import LARGEST
from retrovue.core.errors import RequestError, require_within
from retrovue.core.text import is_storable, quoted
from retrovue.store.collections import find_collection
from retrovue.store.cursors import read_cursor, write_cursor
from retrovue.store.sources import find_source
from retrovue.store.statements import Session, text

_REJECTED = """
    FROM ingest_start
        JOIN ingest_outcome USING (run_id, collection_id)
        JOIN collection ON collection.id = ingest_start.collection_id
        JOIN source ON source.id = collection.source_id
        JOIN run_rejection AS rejection USING (run_id, collection_id)
    WHERE ingest_outcome.rejected > 0
"""
_DUPLICATES = """
    FROM asset_alias
        JOIN asset ON asset.uuid = asset_alias.asset_uuid
        JOIN collection ON collection.id = asset_alias.collection_uuid
        JOIN source ON source.id = collection.source_id
    WHERE asset.deleted_at IS NULL
"""
_CONDITIONS = {
    "source": "source.id = :source",
    "collection": "collection.id = :collection",
    "reason": "rejection.code = :reason",
    "run": "ingest_start.run_id = :run",
    "since": "ingest_start.started_at >= :since",
    "until": "ingest_start.started_at < :until",
}
_DUPLICATE_CONDITIONS = {
    **_CONDITIONS,
    "since": "asset_alias.created_at >= :since",
    "until": "asset_alias.created_at < :until",
}
# The latest reading of the whole collection. One in which everything was rejected counts as well, and a reading of
# changes doesn't, because it contains no other items.
_LATEST = """
    ingest_start.scope = '{}' AND coalesce(ingest_outcome.read, 'full') IN ('full', 'sweep') AND NOT EXISTS (
        SELECT FROM ingest_start AS later JOIN ingest_outcome AS outcome USING (run_id, collection_id)
        WHERE later.collection_id = ingest_start.collection_id AND later.scope = '{}'
            AND later.started_at > ingest_start.started_at
            AND (outcome.status = 'ingested' OR outcome.code = 'all_rejected')
            AND coalesce(outcome.read, 'full') IN ('full', 'sweep')
    )
"""
_POSITION = msgspec.json.Decoder(tuple[dt.datetime, UUID, UUID, int])
_DUPLICATE_POSITION = msgspec.json.Decoder(tuple[UUID, bytes])


class RejectionFilters(TypedDict, total=False):
    """Filters of rejected items and duplicates. An item has to match all given filters."""

    source: str | None
    """The UUID, external id or exact name of a source."""
    collection: str | None
    """The UUID, external id or exact name of a collection."""
    reason: str | None
    """The code of the reason, such as ``unmapped_path``; for rejected items only."""
    run: UUID | None
    """The id of a run; for rejected items only."""
    since: dt.datetime | None
    """A time with its zone: the run started, or the duplicate was found, at that time or later."""
    until: dt.datetime | None
    """A time with its zone: before that time."""
    latest: bool
    """Only items that the latest ingest of each whole collection rejected; for rejected items only."""


class RejectedItem(Struct, frozen=True):
    """An item that a run rejected."""

    run_id: UUID
    started_at: dt.datetime
    """When the run began to work on the collection."""
    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    title: str | None
    source_uri: str | None
    code: str
    reason: str


class DuplicateItem(Struct, frozen=True):
    """An item with the files of an asset: an alias of that asset."""

    source_id: UUID
    source_name: str
    collection_id: UUID
    collection_name: str
    title: str
    season_number: int | None
    episode_number: int | None
    source_uri: str
    asset_uuid: UUID
    asset_title: str
    found_at: dt.datetime
    """When an ingest first found it."""


class RejectedListing(Struct, frozen=True):
    """A page of rejected items, the latest run first."""

    total: int
    """The number of items in the whole list."""
    reasons: dict[str, int]
    """The numbers of items by code, the most frequent first."""
    items: tuple[RejectedItem, ...]
    next_cursor: str | None = None
    """The cursor of the next page; None on the last page."""


class DuplicateListing(Struct, frozen=True):
    """A page of duplicates, sorted by collection."""

    total: int
    """The number of items in the whole list."""
    items: tuple[DuplicateItem, ...]
    next_cursor: str | None = None
    """The cursor of the next page; None on the last page."""


async def _selection(
    session: Session, filters: RejectionFilters, conditions: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return the SQL of filters, and its parameters."""
    parameters: dict[str, Any] = {name: value for name, value in filters.items() if value not in {None, False}}
    latest = parameters.pop("latest", False)
    for name, value in parameters.items():
        if not is_storable(value) or (isinstance(value, dt.datetime) and value.tzinfo is None):
            raise RequestError(f"{name} can't be {quoted(value)}.", code="bad_filter")
    where = "".join(f" AND {conditions[name]}" for name in parameters) + (f" AND {_LATEST}" if latest else "")
    source = None
    if "source" in parameters:
        source = await find_source(session, parameters["source"])
        parameters["source"] = source.id
    if "collection" in parameters:
        parameters["collection"] = (await find_collection(session, parameters["collection"], source)).id
    return where, parameters


async def count_rejected(session: Session, filters: RejectionFilters) -> dict[str, int]:
    """Count the rejected items by the code of their reason, the most frequent first. Reads all of them."""
    where, parameters = await _selection(session, filters, _CONDITIONS)
    rows = await session.execute(
        text(f"SELECT rejection.code, count(*) AS items {_REJECTED}{where} GROUP BY 1 ORDER BY 2 DESC, 1"), parameters
    )
    return {row.code: row.items for row in rows}


async def rejected_page(
    session: Session, filters: RejectionFilters, *, limit: int, after: str | None = None
) -> tuple[tuple[RejectedItem, ...], str | None]:
    """Return up to ``limit`` rejected items after a cursor, and the cursor of the next page.

    The latest run comes first, and in each run each collection in the order of its source. Raises NotFound, Ambiguous
    or, for an invalid limit, cursor or filter, RequestError.
    """
    require_within("The limit", limit, 0, LARGEST, code="bad_limit")
    where, parameters = await _selection(session, filters, _CONDITIONS)
    if after is not None:
        where += (
            " AND ingest_start.started_at <= :at AND (ingest_start.started_at < :at"
            " OR (run_id, collection_id, rejection.position) > (:after_run, :after_collection, :after_position))"
        )
        keys = ("at", "after_run", "after_collection", "after_position")
        position = read_cursor(after, _POSITION)
        parameters |= dict(zip(keys, position, strict=True))
    rows = (
        await session.execute(
            text(
                "SELECT run_id, ingest_start.started_at, source.id AS source_id, source.name AS source_name,"
                " collection_id, collection.name AS collection_name, rejection.position, rejection.title,"
                f" rejection.source_uri, rejection.code, rejection.reason {_REJECTED}{where}"
                " ORDER BY ingest_start.started_at DESC, run_id, collection_id, rejection.position LIMIT :limit"
            ),
            {**parameters, "limit": min(limit + 1, LARGEST)},
        )
    ).all()
    names = RejectedItem.__struct_fields__
    page = tuple(RejectedItem(**{name: getattr(row, name) for name in names}) for row in rows[:limit])
    last = rows[limit - 1] if 0 < limit < len(rows) else None
    cursor = None if last is None else write_cursor((last.started_at, last.run_id, last.collection_id, last.position))
    return page, cursor


async def count_duplicates(session: Session, filters: RejectionFilters) -> int:
    """Count the duplicates."""
    where, parameters = await _selection(session, filters, _DUPLICATE_CONDITIONS)
    return int((await session.execute(text(f"SELECT count(*) {_DUPLICATES}{where}"), parameters)).scalar_one())


async def duplicate_page(
    session: Session, filters: RejectionFilters, *, limit: int, after: str | None = None
) -> tuple[tuple[DuplicateItem, ...], str | None]:
    """Return up to ``limit`` duplicates after a cursor, in the order of their keys, and the cursor of the next page.

    Raises NotFound, Ambiguous or, for an invalid limit, cursor or filter, RequestError.
    """
    require_within("The limit", limit, 0, LARGEST, code="bad_limit")
    where, parameters = await _selection(session, filters, _DUPLICATE_CONDITIONS)
    if after is not None:
        where += " AND (asset_alias.collection_uuid, asset_alias.source_hash) > (:after_collection, :after_hash)"
        keys = ("after_collection", "after_hash")
        position = read_cursor(after, _DUPLICATE_POSITION)
        parameters |= dict(zip(keys, position, strict=True))
    rows = (
        await session.execute(
            text(
                "SELECT source.id AS source_id, source.name AS source_name, asset_alias.collection_uuid AS"
                " collection_id, collection.name AS collection_name, asset_alias.title, asset_alias.season_number,"
                " asset_alias.episode_number, asset_alias.source_uri, asset.uuid AS asset_uuid,"
                " asset.title AS asset_title, asset_alias.created_at AS found_at, asset_alias.source_hash"
                f" {_DUPLICATES}{where}"
                " ORDER BY asset_alias.collection_uuid, asset_alias.source_hash LIMIT :limit"
            ),
            {**parameters, "limit": min(limit + 1, LARGEST)},
        )
    ).all()
    names = DuplicateItem.__struct_fields__
    page = tuple(DuplicateItem(**{name: getattr(row, name) for name in names}) for row in rows[:limit])
    last = rows[limit - 1] if 0 < limit < len(rows) else None
    return page, None if last is None else write_cursor((last.collection_id, last.source_hash))
