"""What has changed in a library of a Plex server, by its filters ``updatedAt>>`` and ``addedAt>>``.

They aren't documented, and PMS lists everything for names such as ``updatedAt>>=``. Films, episodes and tracks are
asked for, never their parents: a new episode moves no time of its season. What episodes inherit from shows is found by
the times of the shows.
"""

from collections.abc import Callable, Mapping, Sequence

from retrovue.core.answers import Since
from retrovue.importers.http.changes import MOST_SHOWS, HttpChanges
from retrovue.importers.http.drafts import Show
from retrovue.importers.http.listing import BadRow, ListedRow
from retrovue.importers.plex.library import EPISODES, ITEM_TYPES, SHOWS, PlexLibrary, SectionQuery
from retrovue.importers.plex.parse import PlexDraftMaker, shows_of
from retrovue.importers.plex.rows import OutlineRow, Row, rating_key_number

_TIMES = ("updatedAt", "addedAt")
_Listed = ListedRow[Row | BadRow, int | str]
_Rows = dict[int | str, _Listed]


class PlexChanges(HttpChanges[Row, OutlineRow, int | str]):
    """Reads the changes of a section."""

    library: PlexLibrary

    def all_items(self) -> SectionQuery:
        """Make the query for all items of the section."""
        return self.library.query({"type": ITEM_TYPES[self.library.collection.kind], "includeGuids": "1"})

    def filters(self) -> Sequence[str]:
        """Name the filters with the types of items that they are for."""
        kind = self.library.collection.kind
        shows = [_name(SHOWS, "updatedAt")] if kind == "show" else []
        return [*shows, *(_name({"type": ITEM_TYPES[kind]}, field) for field in _TIMES)]

    async def find(self, total: int, server_id: str) -> _Rows:
        """Find the items that were changed or added, and those that inherit from a changed show."""
        items = {"type": ITEM_TYPES[self.library.collection.kind], "includeGuids": "1"}
        found: _Rows = {}
        shows: dict[int | str, Show] = {}
        if self.library.collection.kind == "show":
            changed = await self._later(SHOWS, "updatedAt", None)
            shows |= shows_of(list(changed.values()))
            found |= await self._episodes_of(list(changed), total)
        for field in _TIMES:
            found |= await self._later(items, field, total)
        if self.library.collection.kind == "show":
            shows |= await self._shows_of(list(found.values()), shows)
        self.library.make = PlexDraftMaker(server_id, shows)
        return found

    async def _later(self, items: Mapping[str, str], field: str, total: int | None) -> _Rows:
        query, later = self.library.query, f"{field}>>"
        latest, ever = query({**items, later: str(self.since.clock_s)}), query({**items, later: "1"})
        return await self.changed(_name(items, field), latest, ever, total)

    async def _episodes_of(self, shows: Sequence[int | str], total: int) -> _Rows:
        if len(shows) > MOST_SHOWS:
            raise self.unknown(f"{len(shows)} shows have changed.")
        if not shows:
            return {}

        def check(number: int, rows: Sequence[_Listed]) -> None:
            if number > total or any(_show_of(listed) not in shows for listed in rows):
                raise self.unknown("The server doesn't list the episodes of some shows alone.")

        return await self.read(self.library.query({**EPISODES, "show.id": ",".join(map(str, shows))}), check)

    async def _shows_of(self, episodes: Sequence[_Listed], known: Mapping[int | str, Show]) -> Mapping[int | str, Show]:
        """Read the shows of episodes; all of them if an episode doesn't say which is its own."""
        wanted = {_show_of(listed) for listed in episodes} - known.keys()
        every = self.library.query(SHOWS)
        if None in wanted:
            return shows_of(await self.library.rows(every, lambda _: True))
        keys = [key for key in wanted if key is not None]
        by_keys = lambda some: self.library.query({**SHOWS, "id": ",".join(map(str, some))})  # noqa: E731
        return shows_of(await self.read_shows(keys, by_keys, every))


class PlexItems(PlexChanges):
    """Reads single items of a section, and the episodes of shows, by their rating keys.

    The listing of the section is asked with the filter ``id``, not ``/library/metadata``: a row of that one has other
    fields, an item of another section would be among them, and PMS may refresh an item whose details are asked for.
    """

    def __init__(self, library: PlexLibrary, keys: Sequence[str]) -> None:
        super().__init__(library, Since(0))
        self._keys = keys

    def filters(self) -> Sequence[str]:
        """Name no filter: which rows are listed proves that the keys are taken."""
        return ()

    async def find(self, total: int, server_id: str) -> _Rows:
        """Find the items, and the episodes of those that are shows."""
        kind = self.library.collection.kind
        wanted = self.parsed(self._keys)
        found = await self.by_keys(wanted, self._with_ids({"type": ITEM_TYPES[kind], "includeGuids": "1"}))
        rest, shows = wanted - found.keys(), dict[int | str, Show]()
        if rest and kind == "show":
            own = await self.by_keys(rest, self._with_ids(SHOWS))
            shows |= shows_of(list(own.values()))
            found |= await self._episodes_of(list(own), total)
            rest -= own.keys()
        if rest:
            raise self.unlisted(rest)
        if kind == "show":
            shows |= await self._shows_of(list(found.values()), shows)
        self.library.make = PlexDraftMaker(server_id, shows)
        return found

    def _with_ids(self, params: Mapping[str, str]) -> Callable[[Sequence[int | str]], SectionQuery]:
        return lambda some: self.library.query({**params, "id": ",".join(map(str, some))})


def _name(items: Mapping[str, str], field: str) -> str:
    return f"type={items['type']}&{field}>>"


def _show_of(listed: _Listed) -> int | None:
    row = listed.row
    return None if isinstance(row, BadRow) else rating_key_number(row.grandparent_rating_key)
