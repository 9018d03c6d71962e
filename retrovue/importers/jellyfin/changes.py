"""What has changed in a library of a Jellyfin server, by its filter ``minDateLastSavedForUser``.

``minDateLastSaved`` means the same and is broken in 10.10. An item is saved when it is found and whenever it changes,
so that additions need no separate request.
"""

from collections.abc import Callable, Mapping, Sequence

from retrovue.core.answers import Since
from retrovue.importers.http.changes import MOST_SHOWS, HttpChanges
from retrovue.importers.http.drafts import Show
from retrovue.importers.http.listing import BadRow, ListedRow
from retrovue.importers.jellyfin.library import (
    EVER_S,
    ITEM_FIELDS,
    KINDS,
    SAVED_SINCE,
    SERIES_FIELDS,
    ItemsQuery,
    JellyfinLibrary,
)
from retrovue.importers.jellyfin.parse import JellyfinDraftMaker, series_of
from retrovue.importers.jellyfin.rows import OutlineRow, Row, guid_bytes

_Listed = ListedRow[Row | BadRow, bytes]
_Rows = dict[bytes, _Listed]


class JellyfinChanges(HttpChanges[Row, OutlineRow, bytes]):
    """Reads the changes of a library."""

    library: JellyfinLibrary

    def all_items(self) -> ItemsQuery:
        """Make the query for all items of the library."""
        return self.library.query(KINDS[self.library.collection.kind].item_types, ITEM_FIELDS)

    def filters(self) -> Sequence[str]:
        """Name the filter with the types of items that it is for."""
        kind = KINDS[self.library.collection.kind]
        return [_name(item_types) for item_types in (*(["Series"] if kind.has_series else []), kind.item_types)]

    async def find(self, total: int, server_id: str) -> _Rows:
        """Find the items that were saved, and those that inherit from a series that was."""
        kind = KINDS[self.library.collection.kind]
        found: _Rows = {}
        series: dict[bytes, Show] = {}
        if kind.has_series:
            changed = await self._saved("Series", SERIES_FIELDS, None)
            series |= series_of(list(changed.values()))
            found |= await self._episodes_of(list(changed), total)
        found |= await self._saved(kind.item_types, ITEM_FIELDS, total)
        if kind.has_series:
            series |= await self._series_of(list(found.values()), series)
        self.library.make = JellyfinDraftMaker(server_id, series)
        return found

    async def _saved(self, item_types: str, fields: str, total: int | None) -> _Rows:
        latest = self.library.saved_since(item_types, fields, self.since.clock_s)
        ever = self.library.saved_since(item_types, fields, EVER_S)
        return await self.changed(_name(item_types), latest, ever, total)

    async def _episodes_of(self, series: Sequence[bytes], total: int) -> _Rows:
        if len(series) > MOST_SHOWS:
            raise self.unknown(f"{len(series)} series have changed.")
        found: _Rows = {}

        def check(number: int, _: object) -> None:
            # Of a series that it doesn't find the server lists the items of all.
            if number > total:
                raise self.unknown("The server doesn't list the episodes of a series alone.")

        for key in series:
            found |= await self.read(self.library.query("Episode", ITEM_FIELDS, ParentId=key.hex()), check)
        return found

    async def _series_of(self, items: Sequence[_Listed], known: Mapping[bytes, Show]) -> Mapping[bytes, Show]:
        """Read the series of episodes; all of them if one doesn't say which is its own."""
        wanted = {_series_of(listed) for listed in items if _is_episode(listed)} - known.keys()
        every = self.library.query("Series", SERIES_FIELDS)
        if None in wanted:
            return series_of(await self.library.rows(every, lambda _: True))
        keys = [key for key in wanted if key is not None]
        by_keys = lambda some: self.library.query("Series", SERIES_FIELDS, Ids=",".join(key.hex() for key in some))  # noqa: E731
        return series_of(await self.read_shows(keys, by_keys, every))


class JellyfinItems(JellyfinChanges):
    """Reads single items of a library, and the episodes of series, by their ids."""

    def __init__(self, library: JellyfinLibrary, keys: Sequence[str]) -> None:
        super().__init__(library, Since(0))
        self._keys = keys

    def filters(self) -> Sequence[str]:
        """Name no filter: which rows are listed proves that the ids are taken."""
        return ()

    async def find(self, total: int, server_id: str) -> _Rows:
        """Find the items, and the episodes of those that are series."""
        kind = KINDS[self.library.collection.kind]
        wanted = self.parsed(self._keys)
        found = await self.by_keys(wanted, self._with_ids(kind.item_types, ITEM_FIELDS))
        rest, series = wanted - found.keys(), dict[bytes, Show]()
        if rest and kind.has_series:
            own = await self.by_keys(rest, self._with_ids("Series", SERIES_FIELDS))
            series |= series_of(list(own.values()))
            found |= await self._episodes_of(list(own), total)
            rest -= own.keys()
        if rest:
            raise self.unlisted(rest)
        if kind.has_series:
            series |= await self._series_of(list(found.values()), series)
        self.library.make = JellyfinDraftMaker(server_id, series)
        return found

    def _with_ids(self, item_types: str, fields: str) -> Callable[[Sequence[bytes]], ItemsQuery]:
        return lambda some: self.library.query(item_types, fields, Ids=",".join(key.hex() for key in some))


def _name(item_types: str) -> str:
    return f"{item_types}&{SAVED_SINCE}"


def _is_episode(listed: _Listed) -> bool:
    return not isinstance(listed.row, BadRow) and listed.row.type == "Episode"


def _series_of(listed: _Listed) -> bytes | None:
    return None if isinstance(listed.row, BadRow) else guid_bytes(listed.row.series_id)
