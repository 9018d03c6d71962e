"""The list of assets: filters, orders, and pages that begin after a cursor.

By default the newest assets come first, in the order of the primary key: each page takes the same time for any number
of assets, and an ingest keeps no index for it. The orders by name and by date sort the selected assets.
"""

import datetime as dt
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import msgspec
from msgspec import Struct

from retrovue.core.bounds import LARGEST
from retrovue.core.errors import RequestError, require_within
from retrovue.core.model import AssetState, Availability
from retrovue.core.text import is_storable, quoted
from retrovue.store.assets import Asset, asset_of
from retrovue.store.collections import find_collection
from retrovue.store.cursors import bad_cursor, read_cursor, write_cursor
from retrovue.store.searching import HAS_SHOW, SHOW, TITLE, containing
from retrovue.store.session import Store
from retrovue.store.sources import find_source
from retrovue.store.statements import Session, text

AssetOrder = Literal["added", "name", "aired"]
"""``added``: the newest first. ``name``: by the title of the show, or of the asset if it has none, then by show, season
and episode, for tracks by album, disc and number, and by date. ``aired``: by the date of the first broadcast, then by
name.
"""

_PLACE = {
    "name": "coalesce(asset.show_title, asset.title)",
    # Shows with the same title follow each other, and aren't mixed.
    "show_year": f"coalesce(asset.show_year, {LARGEST})",
    "show_key": "coalesce(asset.show_key, '')",
    "album": "CASE WHEN asset.album IS NULL THEN '' ELSE concat_ws(' ', asset.album, asset.year) END",
    "season": f"coalesce(asset.season_number, asset.disc_number, {LARGEST})",  # Assets without a number come last.
    "episode": f"coalesce(asset.episode_number, asset.track_number, {LARGEST})",
    "aired": f"coalesce(asset.originally_aired - date '0001-01-01', {LARGEST})",
    "title": "asset.title",
    "uuid": "asset.uuid",
}
"""The values that determine the position of an asset in the orders ``name`` and ``aired``."""
_TEXTS = ("name", "show_key", "album", "title")
_BY_NAME = tuple(_PLACE)
_BY_DATE = ("aired", *(key for key in _PLACE if key != "aired"))
_NAME_FILTERS = frozenset({"show", "season", "artist", "album"})
"""Filters with which assets are listed by name unless another order is given."""
_FEW = 5000
"""Up to this number of selected assets PostgreSQL chooses how a page is read, and may sort them."""
_PAGE = 500
"""How many assets ``iter_assets`` holds in memory."""
_ID_BYTES = 16

_Number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_CONDITIONS = {
    "source": "asset.collection_uuid = ANY(ARRAY(SELECT id FROM collection WHERE source_id = :source))",
    "collection": "asset.collection_uuid = :collection",
    "state": "asset.state = :state",
    "availability": "asset.availability = :availability",
    "available": "(asset.state = 'ready' AND asset.availability = 'present') = :available",
    "type": "asset.type = :type",
    "title": f"{TITLE} LIKE lower(:title)",
    # As lists print a title that is ambiguous: "Fleet (2003)", "Fleet (key 200)".
    "show": f"{HAS_SHOW} AND {SHOW} LIKE lower(:show_part) AND"
    " (strpos(lower(concat(asset.show_title, ' (' || asset.show_year || ')')), lower(:show)) > 0"
    " OR lower(:show) IN (lower(asset.show_key), lower(concat(asset.show_title, ' (key ', asset.show_key, ')'))))",
    "artist": "(strpos(lower(asset.artist), lower(:artist)) > 0"
    " OR (asset.type = 'track' AND strpos(lower(asset.show_title), lower(:artist)) > 0))",
    "album": "strpos(lower(asset.album), lower(:album)) > 0",
    "season": "asset.season_number = :season",
    "year": "asset.year = :year",
    "path": "EXISTS (SELECT FROM asset_file WHERE asset_file.asset_uuid = asset.uuid"
    " AND (local_path = :path OR starts_with(local_path, rtrim(:path, '/') || '/')))",
    "created_since": "asset.created_at >= :created_since",
    "changed_since": "asset.updated_at >= :changed_since",
}
"""The SQL of each filter of assets."""


class AssetFilters(TypedDict, total=False):
    """Filters of assets. An asset has to match all given filters; None means not given."""

    source: str | None
    """The UUID, external id or exact name of a source."""
    collection: str | None
    """The UUID, external id or exact name of a collection."""
    state: AssetState | None
    """``new``, ``enriching``, ``ready`` or ``retired``."""
    availability: Availability | None
    """``present``, ``missing`` or ``gone``."""
    available: bool | None
    """Whether it may be scheduled: approved and present, as in the view ``schedulable_asset``."""
    type: str | None
    """``movie``, ``episode``, ``clip`` or ``track``."""
    title: str | None
    """A part of the title, in upper or lower case. Year and edition may follow: ``Heat (1995) [Director's Cut]``."""
    show: str | None
    """A part of the title of the show, in upper or lower case, also with its year: ``Fleet (2003)``; or its key."""
    artist: str | None
    """A part of the name of a track's artist, or of its album's artist, in upper or lower case."""
    album: str | None
    """A part of the title of a track's album, in upper or lower case."""
    season: int | None
    """The number of the season."""
    year: int | None
    path: str | None
    """The local path of a file, or of a directory that contains files at any depth."""
    created_since: dt.datetime | None
    """A time with its zone: created at that time or later."""
    changed_since: dt.datetime | None
    """A time with its zone: created or changed at that time or later."""


class AssetListing(Struct, frozen=True):
    """A page of the list of assets."""

    total: int | None
    """The number of assets in the list when its first page was read; None if they weren't counted."""
    assets: tuple[Asset, ...]
    next_cursor: str | None = None
    """The cursor of the next page; None on the last page."""


class Selection(Struct, frozen=True):
    """The SQL of some filters."""

    condition: str
    """The condition on the asset. It excludes deleted ones."""
    parameters: dict[str, Any]


async def select(session: Session, filters: AssetFilters) -> Selection:
    """Build the SQL of filters. Raises NotFound or Ambiguous for a reference, and RequestError for an invalid value."""
    parameters: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    for name, value in parameters.items():
        if isinstance(value, int):
            require_within(f"The {name}", value, 0, LARGEST, code="bad_filter")
        elif not is_storable(value) or (isinstance(value, dt.datetime) and value.tzinfo is None):
            raise RequestError(f"{name} can't be {quoted(value)}.", code="bad_filter")
    source = None
    if "source" in parameters:
        source = await find_source(session, parameters["source"])
        parameters["source"] = source.id
    if "collection" in parameters:
        parameters["collection"] = (await find_collection(session, parameters["collection"], source)).id
    if "title" in parameters:
        parameters["title"] = containing(parameters["title"])
    conditions = ["asset.deleted_at IS NULL", *map(_CONDITIONS.__getitem__, parameters)]
    if "show" in parameters:
        parameters["show_part"] = containing(parameters["show"])
    return Selection(" AND ".join(conditions), parameters)


async def count_assets(session: Session, selection: Selection) -> int:
    """Count the selected assets."""
    statement = text(f"SELECT count(*) FROM asset WHERE {selection.condition}")
    return int((await session.execute(statement, selection.parameters)).scalar_one())


class ByAge(msgspec.Struct, array_like=True, frozen=True, tag="added"):
    """A position in the order ``added``: before ``below``, or at the beginning."""

    total: _Count
    """The number of assets in the list at its beginning."""
    newest: UUID | None = None
    oldest: UUID | None = None
    """The first and the last selected asset. Assets of one collection were created together: without these bounds the
    first page would read all newer assets, and the last page all older ones.
    """
    below: UUID | None = None


_Place = tuple[str, _Number, str, str, _Number, _Number, _Number, str, UUID]
"""The values of _PLACE."""


class ByName(msgspec.Struct, array_like=True, frozen=True, tag="name"):
    """A position in the order ``name``: after the asset with the values ``after``, or at the beginning."""

    total: _Count
    after: _Place | None = None


class ByDate(ByName, array_like=True, frozen=True, tag="aired"):
    """A position in the order ``aired``."""


Position = ByAge | ByName | ByDate
_POSITION: msgspec.json.Decoder[Position] = msgspec.json.Decoder(Position)


def _keys(position: ByName) -> Sequence[str]:
    return _BY_DATE if isinstance(position, ByDate) else _BY_NAME


def _sql(keys: Iterable[str]) -> str:
    return ", ".join(_PLACE[key] for key in keys)


async def beginning(session: Session, selection: Selection, order: AssetOrder | None) -> Position:
    """Count the selected assets, and return the beginning of their list.

    ``order`` None is ``name`` if a show, season, artist or album is selected, else ``added``. Raises RequestError for
    an unknown order.
    """
    if order not in {None, "added", "name", "aired"}:
        raise RequestError(f"Assets can't be ordered by {quoted(order)}.", code="bad_order")
    if order in {"name", "aired"} or (order is None and selection.parameters.keys() & _NAME_FILTERS):
        return (ByDate if order == "aired" else ByName)(await count_assets(session, selection))
    if not selection.parameters:
        return ByAge(await count_assets(session, selection))
    statement = text(  # PostgreSQL has no min(uuid) before 18.
        'SELECT count(*), max(asset.uuid::text COLLATE "C"), min(asset.uuid::text COLLATE "C")'
        f" FROM asset WHERE {selection.condition}"
    )
    total, *bounds = (await session.execute(statement, selection.parameters)).one()
    return ByAge(total, *(bound and UUID(bound) for bound in bounds))


async def read_page(
    session: Session, selection: Selection, position: Position, limit: int
) -> tuple[tuple[Asset, ...], Position | None]:
    """Return up to ``limit`` selected assets from a position on, and the position of the next page.

    Pages neither skip nor repeat an asset, even if assets are inserted meanwhile.
    """
    if not position.total:
        # They were counted just now; PostgreSQL might read all assets in their order to find none.
        return (), None
    parameters = {**selection.parameters, "limit": min(limit + 1, LARGEST)}
    if isinstance(position, ByName):
        condition, order = _behind(position, parameters), _sql(_keys(position))
    else:
        condition, order = _within(position, parameters), "asset.uuid DESC"
        if position.total > _FEW:
            # If PostgreSQL underestimated the selected assets, it would read and sort all of them for each page.
            await session.execute(text("SET LOCAL enable_sort = off"))
    statement = text(f"SELECT asset.* FROM asset WHERE {selection.condition}{condition} ORDER BY {order} LIMIT :limit")
    assets = tuple(map(asset_of, await session.execute(statement, parameters)))
    page = assets[:limit]
    return page, _after(position, page[-1]) if page and len(assets) > limit else None


def _within(position: ByAge, parameters: dict[str, Any]) -> str:
    bounds = {"asset.uuid <= ": position.newest, "asset.uuid >= ": position.oldest, "asset.uuid < ": position.below}
    given = [(comparison, bound) for comparison, bound in bounds.items() if bound is not None]
    parameters |= {f"bound{number}": bound for number, (_, bound) in enumerate(given)}
    return "".join(f" AND {comparison}:bound{number}" for number, (comparison, _) in enumerate(given))


def _behind(position: ByName, parameters: dict[str, Any]) -> str:
    if position.after is None:
        return ""
    parameters |= {f"after_{name}": value for name, value in zip(_PLACE, position.after, strict=True)}
    keys = _keys(position)
    values = [
        f"cast(:after_{key} AS {'text' if key in _TEXTS else 'uuid' if key == 'uuid' else 'integer'})" for key in keys
    ]
    return f" AND ({_sql(keys)}) > ({', '.join(values)})"


def _after(position: Position, asset: Asset) -> Position:
    if isinstance(position, ByAge):
        return msgspec.structs.replace(position, below=asset.uuid)
    album = " ".join(str(word) for word in (asset.album, asset.year) if word is not None)
    aired = asset.originally_aired
    place = (
        asset.title if asset.show_title is None else asset.show_title,
        _number(asset.show_year),
        asset.show_key or "",
        "" if asset.album is None else album,
        _number(asset.season_number, asset.disc_number),
        _number(asset.episode_number, asset.track_number),
        LARGEST if aired is None else aired.toordinal() - 1,
        asset.title,
        asset.uuid,
    )
    return msgspec.structs.replace(position, after=place)


def _number(*numbers: int | None) -> int:
    return next((number for number in numbers if number is not None), LARGEST)


def position_at(cursor: str, order: AssetOrder | None) -> Position:
    """Decode a cursor. Raises RequestError if it doesn't come from a list, or if ``order`` is given and differs."""
    position = read_cursor(cursor, _POSITION)
    if isinstance(position, ByName) and not is_storable(position.after):
        raise bad_cursor()
    given = "aired" if isinstance(position, ByDate) else "name" if isinstance(position, ByName) else "added"
    if order not in {None, given}:
        raise RequestError(
            f"The cursor is one of a list in the order {quoted(given)}, not {quoted(order)}.",
            code="bad_cursor",
            hint="Leave the order out: the cursor holds it.",
        )
    return position


async def list_assets(
    session: Session,
    filters: AssetFilters,
    *,
    order: AssetOrder | None = None,
    limit: int = 50,
    after: str | None = None,
    counted: bool = True,
) -> AssetListing:
    """Return a page of the list, from the cursor ``after`` on. Raises RequestError for an invalid limit or cursor.

    Without ``counted``, the assets of the unfiltered list in the order ``added`` aren't counted.
    """
    require_within("The limit", limit, 0, LARGEST, code="bad_limit")
    given = None if after is None else position_at(after, order)
    selection = await select(session, filters)
    if given is None and not counted and order in {None, "added"} and not selection.parameters:
        given = ByAge(LARGEST)
    position = await beginning(session, selection, order) if given is None else given
    page, following = await read_page(session, selection, position, limit)
    total = None if position.total == LARGEST else position.total
    return AssetListing(total, page, None if following is None else write_cursor(following))


async def iter_assets(
    store: Store, filters: AssetFilters, *, order: AssetOrder | None = None
) -> AsyncGenerator[Asset, None]:
    """Iterate over the whole list; each page of 500 is a separate transaction."""
    async with store.reading() as session:
        selection = await select(session, filters)
        position = await beginning(session, selection, order)
        sorted_ids = await _sorted_ids(session, selection, _keys(position)) if isinstance(position, ByName) else b""
    for start in range(0, len(sorted_ids), _ID_BYTES * _PAGE):
        async with store.reading() as session:
            assets = await _read_by_id(session, selection, sorted_ids[start : start + _ID_BYTES * _PAGE])
        for asset in assets:
            yield asset
    following: Position | None = position if isinstance(position, ByAge) else None
    while following is not None:
        async with store.reading() as session:
            page, following = await read_page(session, selection, following, _PAGE)
        for asset in page:
            yield asset


async def _sorted_ids(session: Session, selection: Selection, keys: Sequence[str]) -> bytes:
    """Return the sorted UUIDs of the selected assets, packed: sorting them again for each page would take hours."""
    statement = text(
        f"SELECT string_agg(uuid_send(asset.uuid), '' ORDER BY {_sql(keys)}) FROM asset WHERE {selection.condition}"
    )
    return (await session.execute(statement, selection.parameters)).scalar_one() or b""


async def _read_by_id(session: Session, selection: Selection, packed: bytes) -> list[Asset]:
    statement = text(
        f"""
        SELECT asset.* FROM (SELECT cast(:packed AS bytea) AS packed) AS ids
            CROSS JOIN generate_series(0, length(ids.packed) / {_ID_BYTES} - 1) AS number
            JOIN asset ON asset.uuid = cast(
                encode(substring(ids.packed FROM number * {_ID_BYTES} + 1 FOR {_ID_BYTES}), 'hex') AS uuid
            )
        WHERE {selection.condition} ORDER BY number
        """
    )
    rows = await session.execute(statement, {**selection.parameters, "packed": packed})
    return [asset_of(row) for row in rows]
