"""The list of assets: filters, a fixed order, and pages that begin after a cursor."""

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.bounds import LARGEST
from retrovue.core.errors import RequestError, require_within
from retrovue.core.model import AssetState
from retrovue.core.text import is_storable
from retrovue.store.assets import Asset, asset_of
from retrovue.store.collections import find_collection
from retrovue.store.sources import find_source

_NAME = "coalesce(asset.show_title, asset.title)"
_ORDER = (
    # The index asset_by_name has the first of these; equal names are sorted by the rest.
    f"left({_NAME}, 200)",
    _NAME,
    f"coalesce(asset.season_number, {LARGEST})",  # those without a number come last
    f"coalesce(asset.episode_number, {LARGEST})",
    "asset.title",
    "asset.uuid",
)
_KEYS = tuple(f"key{number}" for number in range(len(_ORDER)))
_Number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_POSITION = msgspec.json.Decoder(tuple[str, _Number, _Number, str, UUID])
"""The values of the order, but for the first: a cursor is their JSON in URL-safe base64."""
_CONDITIONS = {
    "state": "asset.state = :state",
    "type": "asset.type = :type",
    "title": "strpos(lower(asset.title), lower(:title)) > 0",
    "show": "strpos(lower(asset.show_title), lower(:show)) > 0",
    "season": "asset.season_number = :season",
    "year": "asset.year = :year",
    "path": "EXISTS (SELECT FROM asset_file WHERE asset_file.asset_uuid = asset.uuid"
    " AND (local_path = :path OR starts_with(local_path, rtrim(:path, '/') || '/')))",
    "created_since": "asset.created_at >= :created_since",
    "changed_since": "asset.updated_at >= :changed_since",
}
"""The SQL of each filter on assets."""


class AssetFilters(TypedDict, total=False):
    """Which assets to list: those for which everything given holds. None is the same as not given."""

    source: str | None
    """The UUID, external id or exact name of a source."""
    collection: str | None
    """The UUID, external id or exact name of a collection."""
    state: AssetState | None
    """``new``, ``enriching``, ``ready`` or ``retired``."""
    type: str | None
    """``movie``, ``episode``, ``clip`` or ``track``."""
    title: str | None
    """A part of the title, in upper or lower case."""
    show: str | None
    """A part of the title of the show, in upper or lower case."""
    season: int | None
    """The number of the season."""
    year: int | None
    path: str | None
    """The local path of a file, or of a directory that contains files at any depth."""
    created_since: dt.datetime | None
    """A time with its zone: created then or later."""
    changed_since: dt.datetime | None
    """A time with its zone: created or changed then or later."""


@dataclass(frozen=True, slots=True)
class AssetListing:
    """A page of the list of assets."""

    total: int
    """How many assets the whole list has."""
    assets: tuple[Asset, ...]
    next_cursor: str | None = None
    """Where the next page begins; None on the last page."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The SQL of some filters."""

    collections: str
    """The condition on the collection."""
    assets: str
    """The condition on the asset. It excludes deleted ones."""
    parameters: dict[str, Any]


async def select(session: AsyncSession, filters: AssetFilters) -> Selection:
    """Build the SQL of filters. Raises NotFound or Ambiguous for a reference, and RequestError for a bad value."""
    parameters: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    for name, value in parameters.items():
        if isinstance(value, int):
            require_within(f"The {name}", value, 0, LARGEST, code="bad_filter")
        elif not is_storable(value) or (isinstance(value, dt.datetime) and value.tzinfo is None):
            raise RequestError(f"{name} can't be {value!r}.", code="bad_filter")
    assets = ["asset.deleted_at IS NULL", *(_CONDITIONS[name] for name in parameters if name in _CONDITIONS)]
    collections = ["true"]
    source = None
    if "source" in parameters:
        source = await find_source(session, parameters["source"])
        collections.append("collection.source_id = :source")
        parameters["source"] = source.id
    if "collection" in parameters:
        parameters["collection"] = (await find_collection(session, parameters["collection"], source)).id
        collections.append("collection.id = :collection")
    return Selection(" AND ".join(collections), " AND ".join(assets), parameters)


async def count_assets(session: AsyncSession, selection: Selection) -> int:
    """Count the selected assets."""
    statement = text(
        "SELECT count(*) FROM asset JOIN collection ON collection.id = asset.collection_uuid"
        f" WHERE {selection.collections} AND {selection.assets}"
    )
    return int((await session.execute(statement, selection.parameters)).scalar_one())


async def read_page(
    session: AsyncSession, selection: Selection, *, limit: int, after: str | None = None
) -> tuple[tuple[Asset, ...], str | None]:
    """Return up to ``limit`` selected assets, and the cursor of the page that follows them.

    They are ordered by the title of the show, or else their own, then by season, episode, title and UUID. The page
    begins after the cursor ``after``, which holds the position of an asset: pages neither skip nor repeat one, whatever
    is inserted meanwhile. Without filters on assets a page costs the same wherever it is and however many assets there
    are. Raises RequestError for a bad limit or cursor.
    """
    require_within("The limit", limit, 0, LARGEST, code="bad_limit")
    condition, parameters = selection.assets, {**selection.parameters, "limit": min(limit + 1, LARGEST)}
    if after is not None:
        condition += (
            f" AND ({', '.join(_ORDER)}) > (left(cast(:after_name AS text), 200), cast(:after_name AS text),"
            " :after_season, :after_episode, cast(:after_title AS text), cast(:after_uuid AS uuid))"
        )
        parameters |= _position(after)
    columns = ", ".join(f"{expression} AS {key}" for expression, key in zip(_ORDER, _KEYS, strict=True))
    keys = ", ".join(_KEYS)
    rows = await session.execute(
        text(
            f"""
            WITH page AS (
                SELECT own.* FROM collection CROSS JOIN LATERAL (
                    SELECT {columns} FROM asset WHERE asset.collection_uuid = collection.id AND {condition}
                    ORDER BY {keys} LIMIT :limit
                ) AS own WHERE {selection.collections} ORDER BY {keys} LIMIT :limit
            )
            SELECT asset.* FROM page JOIN asset ON asset.uuid = page.{_KEYS[-1]} ORDER BY {keys}
            """
        ),
        parameters,
    )
    assets = tuple(asset_of(row) for row in rows)
    page = assets[:limit]
    return page, _cursor(page[-1]) if page and len(assets) > limit else None


def _cursor(asset: Asset) -> str:
    name = asset.title if asset.show_title is None else asset.show_title
    numbers = [LARGEST if number is None else number for number in (asset.season_number, asset.episode_number)]
    position = msgspec.json.encode((name, *numbers, asset.title, asset.uuid))
    return base64.urlsafe_b64encode(position).decode().rstrip("=")


def _position(cursor: str) -> dict[str, Any]:
    try:
        position = _POSITION.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.MsgspecError):
        position = None
    if position is None or not is_storable(position):
        raise RequestError(
            "The cursor isn't one that a list of assets gave.",
            code="bad_cursor",
            hint="Take it from next_cursor of the page before, or leave it out to begin with the first page.",
        )
    return dict(
        zip(("after_name", "after_season", "after_episode", "after_title", "after_uuid"), position, strict=True)
    )


async def list_assets(
    session: AsyncSession, filters: AssetFilters, *, limit: int = 50, after: str | None = None
) -> AssetListing:
    """Return a page, as ``read_page`` does, with the number of all selected assets."""
    selection = await select(session, filters)
    page, next_cursor = await read_page(session, selection, limit=limit, after=after)
    return AssetListing(await count_assets(session, selection), page, next_cursor)
