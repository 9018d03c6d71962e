"""A library of any size, made of a seed, whose rows exist only while they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, Literal

import orjson

from retrovue.simulator.filters import Condition, Sort, matches
from retrovue.simulator.generated_rows import FlatRows, Rows, Tree, TreeRows, latest_time
from retrovue.simulator.model import Location, Row, Section
from retrovue.simulator.templates import Draw, Rates, Templates, scramble
from retrovue.simulator.templates_music import album, artist, track
from retrovue.simulator.templates_video import clip, episode, movie, season, show
from retrovue.simulator.views import LEAN, View
from retrovue.simulator.words import PEOPLE

Kind = Literal["movie", "clip", "show", "artist"]

_WHOLE = View()
_IDS_PER_SECTION = 10_000_000
_SHOWS = ((10,), (8, 8, 8), (22, 24, 22), (6,), (13, 13, 10, 10, 10), (12, 12), (6, 6), (10, 10, 9))
_ARTISTS = ((12, 10), (11,), (14, 9, 12), (10, 13, 11, 12, 10), (8,))
_TREES: dict[str, tuple[Sequence[Sequence[int]], tuple[int, int, int]]] = {
    "show": (_SHOWS, (2, 3, 4)),
    "artist": (_ARTISTS, (8, 9, 10)),
}
_MAKERS: dict[int, Callable[[Draw, str], dict[str, Any]]] = {
    2: show,
    3: season,
    4: episode,
    8: artist,
    9: album,
    10: track,
}
_ROOTS = {"movie": ("Movies", "M"), "clip": ("Videos", "V"), "show": ("TV", "T"), "artist": ("Music", "U")}


_UPDATED_AT = re.compile(rb'"updatedAt":-?\d+,?')
_FILE = re.compile(rb'/library/parts/(\d+)/(\d+)/|"size":(\d+)')


@dataclass(frozen=True, slots=True)
class Changes:
    """What has become of a generated library since it was made: of its films, clips, episodes or tracks."""

    edited: float = 0.0
    """Share of items with another title, 0 to 1."""
    replaced: float = 0.0
    """Share of items with another file at the same path, 0 to 1."""
    removed: int = 0
    """Items that aren't there any more, those with the highest ids."""
    recent: int = 0
    """Items, spread over the library, that were given another title just now: updatedAt is the time of the change."""
    edition: int = 1
    """Tells the titles of one such change from those of another."""

    def apply(self, mixed: int, row: bytes) -> bytes:
        """Return the row of an item after the changes; ``mixed`` are random bits of the item."""
        if mixed % 10_000 < self.edited * 10_000:
            row = row.replace(b'"title":"', b'"title":"Another ', 1)
        if (mixed >> 20) % 10_000 < self.replaced * 10_000:
            row = _FILE.sub(_of_another_file, row)
        return row


def _of_another_file(found: re.Match[bytes]) -> bytes:
    if found[3] is not None:
        return b'"size":%d' % (int(found[3]) + 1)
    return b"/library/parts/%b/%d/" % (found[1], int(found[2]) + 1)


class GeneratedSection(Section):
    """A section of `count` movies, clips, episodes or tracks, each a pure function of the seed and its number."""

    def __init__(
        self,
        key: str,
        title: str,
        kind: Kind = "movie",
        count: int = 1000,
        seed: int = 1,
        *,
        rates: Rates | None = None,
        locations: Sequence[str | Location] | None = None,
        first_id: int | None = None,
        changes: Changes | None = None,
        **attributes: Any,
    ) -> None:
        rates = rates or Rates()
        self._changes = changes or Changes()
        self._changed_at = int(time())
        self._seed = seed
        if kind == "clip":
            none = {"agent": "com.plexapp.agents.none", "scanner": "Plex Video Files Scanner", "language": "xn"}
            attributes = none | attributes
        folder, drive = _ROOTS[kind]
        root = f"{drive}:\\{folder}" if rates.windows_paths else f"/data/{folder.lower()}"
        super().__init__(key, title, "movie" if kind == "clip" else kind, locations=locations or [root], **attributes)
        if count > _IDS_PER_SECTION * 8 // 10:
            raise ValueError("a generated section holds at most 8,000,000 items, so that ids stay distinct")
        base = self.number * _IDS_PER_SECTION + 1 if first_id is None else first_id
        self.count = count
        self._rows: dict[int, Rows] = {}
        self._make: dict[int, Callable[[View], Templates]] = {}
        self._templates: dict[tuple[int, View], Templates] = {}
        self._ready: dict[tuple[int, Sort, View], list[bytes]] = {}
        root = self.locations[0].path
        tree = _TREES.get(kind)
        self._playable = 1 if tree is None else tree[1][-1]
        if tree is None:
            self._rows[1] = FlatRows(count, seed, base)
            self._make[1] = _templates(f"{kind}/{seed}", rates, movie if kind == "movie" else clip, root)
            return
        pattern, types = tree
        grown = Tree(pattern, count, seed, base)
        for level, item_type in enumerate(types):
            rows = TreeRows(grown, level)
            if item_type == 4:
                rows.share_files_below = round(rates.shared_files * 10_000)
            self._rows[item_type] = rows
            self._make[item_type] = _templates(f"{item_type}/{seed}", rates, _MAKERS[item_type], root)

    def total(self, item_type: int) -> int:
        """How many items of this type the section holds."""
        rows = self._rows.get(item_type)
        if rows is None:
            return 0
        return max(0, rows.total - self._changes.removed) if item_type == self._playable else rows.total

    def row_json(self, item_type: int, index: int) -> bytes:
        """Row `index`, in the order of ids, as JSON; no other row is looked at."""
        if not 0 <= index < self.total(item_type):
            raise IndexError(index)
        return self._changed(item_type, index, self._rows[item_type].row(index, self._filled(item_type, _WHOLE)))

    def list_json(self, item_type: int, start: int, size: int, sort: Sort, view: View) -> tuple[bytes, int]:
        """Return the rows of one window as comma-joined JSON objects, and how many there are."""
        ready = self._ready.get((item_type, sort, view))
        rows = self._window(item_type, start, size, sort, view) if ready is None else ready[start : start + size]
        return b",".join(rows), len(rows)

    def prerender(self, *views: View, sort: Sort | None = None) -> int:
        """Write all rows in this order beforehand, so that any page of them is one join; returns all their bytes.

        In these views, or in the whole one and the lean one.
        """
        order = sort or Sort("id")
        for view in views or (_WHOLE, LEAN):
            for item_type, rows in self._rows.items():
                self._ready[item_type, order, view] = self._window(item_type, 0, rows.total, order, view)
        return sum(len(row) for rows in self._ready.values() for row in rows)

    def change(self, changes: Changes) -> None:
        """Be as the library is after these changes, instead of those before; rows written beforehand are too."""
        self._changes = changes
        self._changed_at = int(time())
        self.content_changed_at += 1
        for item_type, sort, view in self._ready:
            if item_type == self._playable:
                self._ready[item_type, sort, view] = self._window(item_type, 0, self._rows[item_type].total, sort, view)

    def rows(self, item_type: int, start: int, size: int, sort: Sort) -> list[Row]:
        """Complete rows of one window; raises LookupError for an order that the section does not know."""
        return [orjson.loads(row) for row in self._window(item_type, start, size, sort, _WHOLE)]

    def item(self, rating_key: str) -> Row | None:
        """Return the complete row with this ratingKey, if the section has it."""
        found = self._find(rating_key)
        if found is None:
            return None
        row: Row = orjson.loads(self.row_json(*found))
        if len(row.get("Role", ())) == 3:
            # Details name more people than the three that listings show.
            row["Role"] = [*row["Role"], *({"tag": name} for name in PEOPLE[found[1] % 90 : found[1] % 90 + 4])]
        return row

    def children(self, rating_key: str) -> list[Row]:
        """Return the seasons of a show, the episodes of a season, and the like for music."""
        found = self._find(rating_key)
        return self._below(found[0] + 1, rating_key, "parentRatingKey") if found else []

    def leaves(self, rating_key: str) -> list[Row]:
        """All episodes or tracks below an item."""
        found = self._find(rating_key)
        if found is None or found[0] + 1 not in self._rows:
            return []
        if found[0] + 2 in self._rows:
            return self._below(found[0] + 2, rating_key, "grandparentRatingKey")
        return self.children(rating_key)

    def select(self, item_type: int, conditions: Sequence[Condition], sort: Sort) -> list[Row]:
        """All rows that meet the conditions, in order."""
        rows = self._rows.get(item_type)
        if rows is None:
            return []
        exact = [found for found in conditions if found.key == "ratingKey" and found.operator in ("", "=")]
        if exact:
            indexes = (rows.index_of(int(value)) for value in exact[0].values if value.isdigit())
            candidates: Iterable[bytes] = [
                self.row_json(item_type, index)
                for index in indexes
                if index is not None and index < self.total(item_type)
            ]
        elif (later := self._later(item_type, conditions)) is not None:
            candidates = later
        else:
            candidates = self._window(item_type, 0, rows.total, sort, _WHOLE)
        # Most rows can be told from their bytes; only the others are worth decoding.
        words = [
            found.values[0].lower().encode()
            for found in conditions
            if found.operator in ("", "=") and len(found.values) == 1 and found.values[0].isascii()
        ]
        words = [word for word in words if b'"' not in word and b"\\" not in word]
        chosen: list[Row] = []
        for candidate in candidates:
            lowered = candidate.lower()
            if all(word in lowered for word in words):
                row = orjson.loads(candidate)
                if matches(row, conditions):
                    chosen.append(row)
        return chosen

    def matching(self, item_type: int, conditions: Sequence[Condition]) -> int:
        """How many rows meet the conditions."""
        ready = self._ready.get((item_type, Sort("id"), _WHOLE))
        if ready is None or len(conditions) != 1 or (conditions[0].operator, conditions[0].values) != (">>", ("1",)):
            return super().matching(item_type, conditions)
        # For all times: those that have one.
        name = b'"%b":' % conditions[0].key.encode()
        return sum(name in row for row in ready)

    def first_above(self, item_type: int, rating_key: int) -> int:
        """How many items of this type have an id up to the given one, so that `id>>=` can page on."""
        rows = self._rows.get(item_type)
        low, high = 0, rows.total if rows else 0
        while rows and low < high:
            middle = (low + high) // 2
            if rows.id_of(middle) <= rating_key:
                low = middle + 1
            else:
                high = middle
        return low

    def _find(self, rating_key: str) -> tuple[int, int] | None:
        if not rating_key.isdigit():
            return None
        for item_type, rows in self._rows.items():
            index = rows.index_of(int(rating_key))
            if index is not None and index < self.total(item_type):
                return item_type, index
        return None

    def _below(self, item_type: int, rating_key: str, parent: str) -> list[Row]:
        rows = self._rows.get(item_type)
        if rows is None:
            return []
        # What is below an item has the ids that follow its own.
        below: list[Row] = []
        for index in range(self.first_above(item_type, int(rating_key)), self.total(item_type)):
            row: Row = orjson.loads(self.row_json(item_type, index))
            if row[parent] != rating_key:
                break
            below.append(row)
        return below

    def _filled(self, item_type: int, view: View) -> Templates:
        if (item_type, view) not in self._templates:
            self._templates[item_type, view] = self._make[item_type](view)
        return self._templates[item_type, view]

    def _window(self, item_type: int, start: int, size: int, sort: Sort, view: View) -> list[bytes]:
        rows = self._rows.get(item_type)
        if rows is None:
            return []
        total = self.total(item_type)
        window: Iterable[int] = range(start, min(start + size, total))
        if sort.descending:
            window = (total - 1 - place for place in window)
        if total < rows.total and sort.field not in ("id", "addedAt"):
            raise LookupError(sort.field)
        if sort.field == "titleSort":
            window = map(rows.by_title, window)
        elif sort.field == "updatedAt":
            window = map(rows.by_update, window)
        elif sort.field not in ("id", "addedAt"):
            # Any other order would need all rows at once.
            raise LookupError(sort.field)
        row, templates = rows.row, self._filled(item_type, view)
        if item_type != self._playable or self._changes == Changes():
            return [row(index, templates) for index in window]
        return [self._changed(item_type, index, row(index, templates)) for index in window]

    def _changed(self, item_type: int, index: int, row: bytes) -> bytes:
        if item_type != self._playable:
            return row
        if index in self._recent():
            row = row.replace(b'"title":"', b'"title":"Edition %d ' % self._changes.edition, 1)
            row = _UPDATED_AT.sub(b"", row, 1).replace(b"{", b'{"updatedAt":%d,' % self._changed_at, 1)
        return self._changes.apply(scramble(self._seed + 7, index), row)

    def _recent(self) -> range:
        """The items that were edited just now, by their places in the order of ids."""
        number, total = self._changes.recent, self.total(self._playable)
        return range(0, total, max(1, total // number))[:number] if number else range(0)

    def _later(self, item_type: int, conditions: Sequence[Condition]) -> list[bytes] | None:
        """The rows that may have a later time than one that is later than that of most rows; None for another."""
        if [(one.operator, one.key) for one in conditions] not in ([(">>", "updatedAt")], [(">>", "addedAt")]):
            return None
        bound = conditions[0].values[0]
        if not bound.isdigit() or int(bound) < latest_time(self._rows[item_type].total):
            return None
        places = self._recent() if item_type == self._playable and conditions[0].key == "updatedAt" else range(0)
        return [self.row_json(item_type, index) for index in places]


def _templates(
    seed: str, rates: Rates, make: Callable[[Draw, str], dict[str, Any]], root: str
) -> Callable[[View], Templates]:
    def draw(one: Draw) -> dict[str, Any]:
        return make(one, root)

    return lambda view: Templates(seed, rates, draw, view)
