"""A library of a simulated Jellyfin server, and how its items are filtered, ordered and shown."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from time import time
from typing import Any

from retrovue.simulator.jellyfin.items import item_id
from retrovue.simulator.model import Row

_ONLY_IF_ASKED = frozenset(
    {"Path", "MediaSources", "ProviderIds", "Genres", "Tags", "Studios", "Chapters", "DateCreated", "SortName"}
)
_NEVER = frozenset({"DateLastSaved"})
"""What no answer tells."""
_SORTS = frozenset({"DateCreated", "SortName", "Name", "PremiereDate", "ProductionYear"})


class JellyfinLibrary:
    """A library of explicit items, which may be changed while a client pages through them."""

    def __init__(
        self,
        name: str,
        collection_type: str | None = "movies",
        items: Iterable[Row] = (),
        *,
        id: str | None = None,  # noqa: A002 - Jellyfin's own name for it
        locations: Sequence[str] | None = None,
    ) -> None:
        """Take the items; without a type it is one of mixed content."""
        self.id = id or item_id(f"library {name}")
        self.name = name
        self.collection_type = collection_type
        self.clock: Callable[[], float] = time
        """The time at which items are saved, in seconds since 1970."""
        self.scanning = False
        """Whether the server says that it scans the library."""
        self.locations = [f"/data/{name.lower()}"] if locations is None else list(locations)
        self._items: dict[str, Row] = {}
        self._parts: dict[str, list[Row]] = {}
        self._merged: dict[str, str] = {}
        self.add(*items)

    def add(self, *items: Row) -> None:
        """Add items, or replace those with the same id."""
        for item in items:
            self._items[item["Id"]] = item

    def arrive(self, *items: Row) -> None:
        """Add items as a scan does that finds new files: they are saved now."""
        self.add(*items)
        for item in items:
            self._saved(item)

    def remove(self, *numbers: int) -> None:
        """Remove items by the numbers that they were made from; raises KeyError for one that is not there."""
        for number in numbers:
            del self._items[item_id(number)]

    def clear(self) -> None:
        """Remove all items."""
        self._items.clear()

    def change(self, number: int, **fields: Any) -> Row:
        """Change fields of an item; a field given as None is taken away."""
        item = self._items[item_id(number)]
        item |= fields
        for name in [name for name, value in item.items() if value is None]:
            del item[name]
        return item

    def edit(self, number: int, **fields: Any) -> Row:
        """Change fields of an item as somebody who edits it does: the server saves it, so that its ETag moves."""
        item = self.change(number, **fields)
        self._saved(item)
        return item

    def replace_file(self, number: int, *, version: int = 0, **fields: Any) -> Row:
        """Put another file at the same path: the id stays, as it is made of the path; size and length don't.

        `fields` are those of the media source. Without a size it is one byte more.
        """
        item = self._items[item_id(number)]
        source: Row = item["MediaSources"][version]
        source["Size"] += 1
        source |= fields
        if version == 0 and "RunTimeTicks" in fields:
            item["RunTimeTicks"] = fields["RunTimeTicks"]
        self._saved(item)
        return source

    def move(self, number: int, to: int, path: str) -> Row:
        """Move an item's file: the item becomes another one, made of the number `to`, as ids are made of paths."""
        moved = copy.deepcopy(self._items.pop(item_id(number)))
        own, moved["Id"] = moved["Id"], item_id(to)
        for source in moved["MediaSources"]:
            if source["Id"] == own:
                source |= {"Id": moved["Id"], "Path": path}
        self.arrive(moved)
        return moved

    def lose(self, directory: str) -> list[Row]:
        """Remove all items with a file below a directory, and return them.

        This is what a scan makes of a directory that it can't list. When the directory is back, `add` them again.
        """
        below = directory.rstrip("/") + "/"
        lost = [
            item
            for item in self._items.values()
            if any((source.get("Path") or "").startswith(below) for source in item.get("MediaSources", ()))
        ]
        for item in lost:
            del self._items[item["Id"]]
        return lost

    def recreated(self, name: str) -> JellyfinLibrary:
        """Return the library that somebody makes who deletes this one and adds its directories again under a name.

        It has another id; its items have the same ones, which are made of their paths.
        """
        again = JellyfinLibrary(name, self.collection_type, copy.deepcopy(self.items), locations=self.locations)
        again._parts = copy.deepcopy(self._parts)
        return again

    def _saved(self, item: Row) -> None:
        item["DateLastSaved"] = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
        for source in item.get("MediaSources", ()):
            source["ETag"] = item_id(f"saved {source.get('ETag')}")

    def add_parts(self, of: int, *parts: Row) -> None:
        """Give a video further parts."""
        self.change(of, PartCount=len(parts) + 1)
        self._parts[item_id(of)] = list(parts)

    def parts(self, own: str) -> list[Row] | None:
        """Return the further parts of an item; None if the library doesn't have it."""
        return self._parts.get(own, []) if own in self._items else None

    def merge(self, into: int, *others: int) -> None:
        """Show several series as one: only the first is listed, and below it the episodes of all."""
        for other in (into, *others):
            self._merged[item_id(other)] = item_id(into)

    def below(self, parent: str) -> list[Row] | None:
        """Return the episodes of a series, and of those that are merged with it; None if it isn't in the library."""
        if parent not in self._items:
            return None
        one = self._merged.get(parent, parent)
        below = [(item, item.get("SeriesId", "")) for item in self.items]
        return [item for item, series in below if series and self._merged.get(series, series) == one]

    @property
    def listed(self) -> list[Row]:
        """All items but the series that are merged into another one."""
        return [item for item in self.items if self._merged.get(item["Id"], item["Id"]) == item["Id"]]

    @property
    def items(self) -> list[Row]:
        """All items, in no order that could be relied on."""
        return list(self._items.values())

    def virtual_folder(self) -> Row:
        """Return the library as /Library/VirtualFolders lists it."""
        row: Row = {"Name": self.name, "Locations": self.locations, "LibraryOptions": {"Enabled": True}}
        if self.collection_type is not None:
            row["CollectionType"] = self.collection_type
        row |= {"ItemId": self.id, "PrimaryImageItemId": self.id}
        return row | {"RefreshStatus": "Active" if self.scanning else "Idle"}

    def view(self, server_id: str) -> Row:
        """Return the library as a user sees it."""
        row: Row = {"Name": self.name, "ServerId": server_id, "Id": self.id, "IsFolder": True, "MediaType": "Unknown"}
        if self.collection_type is not None:
            row["CollectionType"] = self.collection_type
        return row | {"Type": "CollectionFolder", "LocationType": "FileSystem"}


def chosen(items: Iterable[Row], query: Mapping[str, str]) -> list[Row]:
    """Filter and order items as /Items does; names of arguments are in lower case, unknown orders are ignored."""
    kinds = [kind for kind in query.get("includeitemtypes", "").split(",") if kind]
    found = [item for item in items if not kinds or item.get("Type") in kinds]
    term = query.get("searchterm", "").casefold()
    if term:
        found = [item for item in found if term in str(item.get("Name", "")).casefold()]
    ids = [text.replace("-", "").lower() for text in query.get("ids", "").split(",") if text]
    if ids:
        found = [item for item in found if str(item.get("Id")).replace("-", "").lower() in ids]
    saved = query.get("mindatelastsavedforuser")
    if saved:
        found = [item for item in found if str(item.get("DateLastSaved") or item.get("DateCreated", "")) >= saved]
    season = query.get("parentindexnumber")
    if season is not None:
        found = [item for item in found if str(item.get("ParentIndexNumber")) == season]
    orders = [order for order in query.get("sortby", "").split(",") if order in _SORTS]
    return sorted(found, key=lambda item: [str(item.get(order, "")) for order in orders])


def shown(item: Row, fields: str, server_id: str, *, user_data: bool) -> Row:
    """Return an item as a listing shows it: with what always comes, and with the fields asked for."""
    asked = frozenset(fields.split(","))
    view: Row = {"ServerId": server_id}
    hidden = (_ONLY_IF_ASKED - asked) | _NEVER
    view |= {name: value for name, value in item.items() if name not in hidden}
    if user_data:
        view["UserData"] = {"PlaybackPositionTicks": 0, "PlayCount": 0, "IsFavorite": False, "Played": False}
    return view
