"""A section whose rows a test writes down, or takes from a recorded answer."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from retrovue.simulator.filters import Sort
from retrovue.simulator.model import DEFAULT_TYPES, TYPE_NAMES, Row, Section, ordered

_UP = {
    "season": "parentRatingKey",
    "album": "parentRatingKey",
    "episode": "parentRatingKey",
    "track": "parentRatingKey",
}
_LEAVES = frozenset({"episode", "track"})


class ListSection(Section):
    """A section of explicit rows, which may be changed while a client pages through them."""

    def __init__(self, key: str, title: str, type: str = "movie", rows: Iterable[Row] = (), **attributes: Any) -> None:  # noqa: A002
        super().__init__(key, title, type, **attributes)
        self._rows: dict[str, Row] = {}
        self.add(*rows)

    def add(self, *rows: Row) -> None:
        """Add rows, or replace those with the same ratingKey."""
        for row in rows:
            self._rows[str(row["ratingKey"])] = row
        self._changed()

    def remove(self, *rating_keys: str | int) -> None:
        """Remove rows; raises KeyError for one that is not there."""
        for rating_key in rating_keys:
            del self._rows[str(rating_key)]
        self._changed()

    def change(self, rating_key: str | int, **fields: Any) -> Row:
        """Change fields of a row; a field given as None is taken away."""
        row = self._rows[str(rating_key)]
        for name, value in fields.items():
            if value is None:
                row.pop(name, None)
            else:
                row[name] = value
        self._changed()
        return row

    def change_file(self, rating_key: str | int, file: str, *, version: int = 0, part: int = 0) -> None:
        """Give an item another file, as after a rename or an upgrade; updatedAt stays, as it does in Plex."""
        self._rows[str(rating_key)]["Media"][version]["Part"][part]["file"] = file
        self._changed()

    def clear(self) -> None:
        """Remove all rows."""
        self._rows.clear()
        self._changed()

    def total(self, item_type: int) -> int:
        """How many items of this type the section holds."""
        return sum(1 for row in self._rows.values() if self._is(row, item_type))

    def rows(self, item_type: int, start: int, size: int, sort: Sort) -> list[Row]:
        """Complete rows of one window."""
        chosen = [row for row in self._rows.values() if self._is(row, item_type)]
        return [self._complete(row) for row in ordered(chosen, sort)[start : start + size]]

    def item(self, rating_key: str) -> Row | None:
        """Return the complete row with this ratingKey, if the section has it."""
        row = self._rows.get(rating_key)
        return None if row is None else self._complete(row)

    def children(self, rating_key: str) -> list[Row]:
        """Return the seasons of a show, the episodes of a season, and the like for music."""
        below = [row for row in self._rows.values() if self._parent(row) == rating_key]
        return [self._complete(row) for row in ordered(below, Sort())]

    def leaves(self, rating_key: str) -> list[Row]:
        """All episodes or tracks below an item."""
        below = [
            row
            for row in self._rows.values()
            if row.get("type") in _LEAVES
            and rating_key in (row.get("parentRatingKey"), row.get("grandparentRatingKey"))
        ]
        return [self._complete(row) for row in ordered(below, Sort())]

    def _changed(self) -> None:
        self.content_changed_at += 1

    def _is(self, row: Row, item_type: int) -> bool:
        # Home videos say that they are movies.
        return row.get("type") == TYPE_NAMES.get(item_type) or (item_type == 12 and row.get("subtype") == "clip")

    def _parent(self, row: Row) -> str | None:
        found = row.get(_UP.get(str(row.get("type")), ""))
        return None if found is None else str(found)

    def _complete(self, row: Row) -> Row:
        if row.get("type") not in ("show", "season", "artist", "album") or "leafCount" in row:
            return row
        own = str(row["ratingKey"])
        leaves = sum(
            1 for other in self._rows.values() if other.get("type") in _LEAVES and own in self._ancestors(other)
        )
        counted = row | {"leafCount": leaves}
        if row["type"] in ("show", "artist"):
            counted["childCount"] = sum(1 for other in self._rows.values() if self._parent(other) == own)
        return counted

    @staticmethod
    def _ancestors(row: Row) -> tuple[str | None, str | None]:
        return row.get("parentRatingKey"), row.get("grandparentRatingKey")


def section_from_recording(
    path: Path | str, key: str | None = None, title: str | None = None, **attributes: Any
) -> ListSection:
    """Return a section that holds the rows of a recorded listing, with the section's own key, title and type."""
    document = orjson.loads(Path(path).read_bytes())
    # Some recordings keep the request beside the answer.
    if "MediaContainer" not in document:
        document = document["response"]["body"]
    container: Row = document["MediaContainer"]
    rows: list[Row] = copy.deepcopy(container.get("Metadata", []))
    kinds = {str(row.get("type")) for row in rows}
    kind = "movie"
    for candidate, members in (
        ("show", {"show", "season", "episode"}),
        ("artist", {"artist", "album", "track"}),
        ("photo", {"photo"}),
    ):
        if kinds & members:
            kind = candidate
    if any(row.get("subtype") == "clip" for row in rows):
        none = {"agent": "com.plexapp.agents.none", "scanner": "Plex Video Files Scanner", "language": "xn"}
        attributes = none | attributes
    uuid = container.get("librarySectionUUID")
    if uuid:
        attributes.setdefault("uuid", uuid)
    number = str(container.get("librarySectionID", DEFAULT_TYPES[kind]))
    name = title or container.get("librarySectionTitle") or container.get("title1") or "Recorded"
    return ListSection(key or number, name, kind, rows, **attributes)
