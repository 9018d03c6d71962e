"""A library section, its rows and the order in which they are listed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import NAMESPACE_URL, uuid5

import orjson

from retrovue.simulator.filters import Condition, Sort, matches, sort_rows
from retrovue.simulator.views import View, list_view

Row: TypeAlias = dict[str, Any]

TYPE_NAMES: dict[int, str] = {
    1: "movie",
    2: "show",
    3: "season",
    4: "episode",
    8: "artist",
    9: "album",
    10: "track",
    12: "clip",
    13: "photo",
    14: "photoalbum",
    15: "playlist",
    18: "collection",
}
"""Plex's numbers for the types of items, as `type=` takes them."""

DEFAULT_TYPES: dict[str, int] = {"movie": 1, "show": 2, "artist": 8, "photo": 13}
"""The type that a section lists when the client names none."""

_AGENTS = {
    "movie": ("tv.plex.agents.movie", "Plex Movie"),
    "show": ("tv.plex.agents.series", "Plex TV Series"),
    "artist": ("tv.plex.agents.music", "Plex Music"),
    "photo": ("com.plexapp.agents.none", "Plex Photo Scanner"),
}
_EPOCH = 1_726_069_332


@dataclass(slots=True)
class Location:
    """A folder of the server's file system that a section watches."""

    id: int
    path: str


class Section(ABC):
    """A library section that the simulated server offers."""

    def __init__(
        self,
        key: str,
        title: str,
        type: str = "movie",  # noqa: A002 - Plex's own name for it
        *,
        agent: str | None = None,
        scanner: str | None = None,
        language: str = "en-US",
        uuid: str | None = None,
        locations: Sequence[str | Location] | None = None,
        hidden: int = 0,
        refreshing: bool = False,
    ) -> None:
        default_agent, default_scanner = _AGENTS.get(type, _AGENTS["photo"])
        self.key = key
        self.title = title
        self.type = type
        self.agent = agent or default_agent
        self.scanner = scanner or default_scanner
        self.language = language
        self.uuid = uuid or str(uuid5(NAMESPACE_URL, f"retrovue-simulator/{key}"))
        paths = [f"/data/section-{key}"] if locations is None else locations
        self.locations = [
            place if isinstance(place, Location) else Location(_section_number(key) * 100 + number, place)
            for number, place in enumerate(paths, 1)
        ]
        self.hidden = hidden
        self.refreshing = refreshing
        self.content_changed_at = 1
        self.updated_at = _EPOCH

    @property
    def number(self) -> int:
        """The key as the number that containers carry."""
        return _section_number(self.key)

    def directory(self) -> Row:
        """Return the section as an entry of /library/sections."""
        return {
            "allowSync": True,
            "art": f"/:/resources/{self.type}-fanart.jpg",
            "composite": f"/library/sections/{self.key}/composite/{self.updated_at}",
            "filters": True,
            "refreshing": self.refreshing,
            "thumb": f"/:/resources/{self.type}.png",
            "key": self.key,
            "type": self.type,
            "title": self.title,
            "agent": self.agent,
            "scanner": self.scanner,
            "language": self.language,
            "uuid": self.uuid,
            "updatedAt": self.updated_at,
            "createdAt": _EPOCH,
            "scannedAt": self.updated_at,
            "content": True,
            "directory": True,
            "contentChangedAt": self.content_changed_at,
            "hidden": self.hidden,
            "Location": [{"id": place.id, "path": place.path} for place in self.locations],
        }

    @abstractmethod
    def total(self, item_type: int) -> int:
        """How many items of this type the section holds."""

    @abstractmethod
    def rows(self, item_type: int, start: int, size: int, sort: Sort) -> list[Row]:
        """Complete rows of one window; raises LookupError for an order that the section does not know."""

    @abstractmethod
    def item(self, rating_key: str) -> Row | None:
        """Return the complete row with this ratingKey, if the section has it."""

    @abstractmethod
    def children(self, rating_key: str) -> list[Row]:
        """Return the seasons of a show, the episodes of a season, and the like for music."""

    @abstractmethod
    def leaves(self, rating_key: str) -> list[Row]:
        """All episodes or tracks below an item."""

    def list_json(self, item_type: int, start: int, size: int, sort: Sort, view: View) -> tuple[bytes, int]:
        """Return the rows of one window as comma-joined JSON objects, and how many there are."""
        rows = self.rows(item_type, start, size, sort)
        return b",".join([orjson.dumps(list_view(row, view)) for row in rows]), len(rows)

    def select(self, item_type: int, conditions: Sequence[Condition], sort: Sort) -> list[Row]:
        """All rows that meet the conditions, in order."""
        rows = self.rows(item_type, 0, self.total(item_type), sort)
        return [row for row in rows if matches(row, conditions)]

    def matching(self, item_type: int, conditions: Sequence[Condition]) -> int:
        """How many rows meet the conditions."""
        return len(self.select(item_type, conditions, Sort("id")))

    def first_above(self, item_type: int, rating_key: int) -> int:
        """How many items of this type have an id up to the given one, so that `id>>=` can page on."""
        ids = [int(row["ratingKey"]) for row in self.rows(item_type, 0, self.total(item_type), Sort("id"))]
        return sum(1 for value in ids if value <= rating_key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self.title!r}, {self.type!r})"


def ordered(rows: list[Row], sort: Sort) -> list[Row]:
    """Sort rows as the server lists them."""
    return sort_rows(rows, sort)


def _section_number(key: str) -> int:
    return int(key) if key.isdigit() else 1 + sum(key.encode()) % 97
