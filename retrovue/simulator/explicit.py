"""A section whose rows a test writes down, or takes from a recorded answer, and what becomes of them at the source."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

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
_OWN_GUIDS = ("local://", "com.plexapp.agents.none://")
"""Beginnings of the guids that a server makes itself, and makes anew with its database."""
_DELETED = 1_765_000_000


class ListSection(Section):
    """A section of explicit rows, which may be changed while a client pages through them."""

    def __init__(self, key: str, title: str, type: str = "movie", rows: Iterable[Row] = (), **attributes: Any) -> None:  # noqa: A002
        super().__init__(key, title, type, **attributes)
        self.clock: Callable[[], float] | None = None
        """The time of edits and additions, in seconds since 1970; without it an edit adds a second to updatedAt."""
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

    def edit(self, rating_key: str | int, **fields: Any) -> Row:
        """Change fields of a row as somebody who edits the item does: updatedAt moves as well."""
        row = self.change(rating_key, **fields)
        row["updatedAt"] = row.get("updatedAt", 0) + 1 if self.clock is None else int(self.clock())
        return row

    def arrive(self, *rows: Row) -> None:
        """Add rows as a scan does that finds new files: addedAt and updatedAt are now."""
        now = {} if self.clock is None else {"addedAt": int(self.clock()), "updatedAt": int(self.clock())}
        self.add(*(row | now for row in rows))

    def replace_file(self, rating_key: str | int, *, version: int = 0, part: int = 0, **fields: Any) -> Row:
        """Put another file at the same path: its size and the stamp in its key change, updatedAt doesn't.

        `fields` are those of the part. Without a size it is one byte more.
        """
        found: Row = self._rows[str(rating_key)]["Media"][version]["Part"][part]
        found["size"] = found.get("size", 0) + 1
        pieces = found["key"].split("/")
        pieces[4] = str(int(pieces[4]) + 1)  # /library/parts/<id>/<stamp>/file.mkv
        found |= {"key": "/".join(pieces)} | fields
        self._changed()
        return found

    def trash(self, *rating_keys: str | int) -> None:
        """Mark items as deleted, as a scan does that doesn't find their files; listings go on showing them."""
        for rating_key in rating_keys:
            self._rows[str(rating_key)]["deletedAt"] = _DELETED
        self._changed()

    def restore(self, *rating_keys: str | int) -> None:
        """Take items out of the trash, as a scan does that finds their files again."""
        for rating_key in rating_keys:
            self._rows[str(rating_key)].pop("deletedAt", None)
        self._changed()

    def empty_trash(self) -> list[Row]:
        """Remove the items in the trash for good; returns them."""
        removed = [row for row in self._rows.values() if row.get("deletedAt")]
        self.remove(*(row["ratingKey"] for row in removed))
        return removed

    def lose(self, directory: str) -> list[str]:
        """Put all items with a file below a directory into the trash; returns their rating keys.

        This is what a scan makes of a mount that is lost below the top of a library.
        """
        lost = [key for key, row in self._rows.items() if any(_is_below(file, directory) for file in _files(row))]
        self.trash(*lost)
        return lost

    def rebuild(self, first_id: int) -> dict[str, str]:
        """Give all rows new ids, as a rebuilt database does; returns the new rating keys by the old ones.

        Files, titles and the guids of agents stay; guids that the server makes itself don't.
        """
        ids = iter(range(first_id, first_id + 1_000_000_000))
        renamed = {key: str(next(ids)) for key in self._rows}
        rows = [_renamed(row, renamed, ids) for row in self._rows.values()]
        self._rows.clear()
        self.add(*rows)
        return renamed

    def recreated(self, key: str, first_id: int) -> ListSection:
        """Return the section that somebody makes who deletes the library and adds its directories again.

        It has another key, uuid and ids, and the same title, directories, items and files.
        """
        again = ListSection(
            key,
            self.title,
            self.type,
            copy.deepcopy(list(self._rows.values())),
            agent=self.agent,
            scanner=self.scanner,
            language=self.language,
            uuid=str(uuid4()),
            locations=[place.path for place in self.locations],
        )
        again.rebuild(first_id)
        return again

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


def _files(row: Row) -> list[str]:
    return [part.get("file") or "" for version in row.get("Media", ()) for part in version.get("Part", ())]


def _is_below(file: str, directory: str) -> bool:
    return file.startswith(directory.rstrip("/") + "/")


def _renamed(row: Row, renamed: dict[str, str], ids: Iterator[int]) -> Row:
    row = copy.deepcopy(row)
    for prefix in ("", "parent", "grandparent"):
        name = f"{prefix}RatingKey" if prefix else "ratingKey"
        if (new := renamed.get(str(row.get(name)))) is not None:
            old, row[name] = str(row[name]), new
            for field in (f"{prefix}Key" if prefix else "key", f"{prefix}Thumb" if prefix else "thumb", "art"):
                if isinstance(row.get(field), str):
                    row[field] = row[field].replace(f"/metadata/{old}", f"/metadata/{new}")
    if str(row.get("guid", "")).startswith(_OWN_GUIDS):
        row["guid"] = f"{row['guid'].partition('://')[0]}://{row['ratingKey']}"
    for version in row.get("Media", ()):
        version["id"] = next(ids)
        for part in version.get("Part", ()):
            part["id"] = next(ids)
            pieces = part["key"].split("/")
            pieces[3] = str(part["id"])
            part["key"] = "/".join(pieces)
    return row
