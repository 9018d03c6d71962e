"""The order and the filters of a listing, as query arguments spell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LEVELS = {
    "movie": {1: 0},
    "show": {2: 0, 3: 1, 4: 2},
    "season": {3: 0, 4: 1},
    "episode": {4: 0},
    "artist": {8: 0, 9: 1, 10: 2},
    "album": {9: 0, 10: 1},
    "track": {10: 0},
    "clip": {1: 0, 12: 0},
    "photo": {13: 0},
}
_PREFIXES = ("", "parent", "grandparent")

_FIELDS = frozenset(
    {
        "id",
        "ratingKey",
        "title",
        "titleSort",
        "index",
        "year",
        "guid",
        "addedAt",
        "updatedAt",
        "originallyAvailableAt",
        "studio",
        "contentRating",
        "duration",
        "rating",
        "audienceRating",
        "viewCount",
        "lastViewedAt",
        "viewOffset",
        "userRating",
    }
)
_SORT_ONLY = frozenset({"random", "mediaHeight", "mediaBitrate", "unviewedLeafCount"})
_NOT_FILTERS = frozenset({"type", "sort", "limit", "checkFiles", "skipRefresh", "async", "url", "group", "nocache"})


@dataclass(frozen=True, slots=True)
class Sort:
    """One order of a listing."""

    field: str = "titleSort"
    descending: bool = False

    @classmethod
    def parse(cls, text: str | None, item_type: int) -> Sort:
        """Read a `sort=` argument; raises ValueError for a field or a direction that Plex does not know."""
        if not text:
            return cls()
        first, _, direction = text.split(",")[0].partition(":")
        if direction not in ("", "asc", "desc", "nullsLast"):
            raise ValueError(direction)
        prefix, _, field = first.rpartition(".")
        if prefix and item_type not in _LEVELS.get(prefix, {}):
            raise ValueError(first)
        if field not in _FIELDS and field not in _SORT_ONLY:
            raise ValueError(first)
        return cls("id" if field == "ratingKey" else field, direction == "desc")


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter of a listing: a key of the row, an operator and the values of which one must hold."""

    key: str
    operator: str
    values: tuple[str, ...]


def parse_conditions(arguments: Sequence[tuple[str, str]], item_type: int) -> list[Condition]:
    """Read the filters among the query arguments; raises ValueError for a field that Plex does not know.

    An operator that it doesn't know makes no filter.
    """
    found: list[Condition] = []
    for name, value in arguments:
        if name in _NOT_FILTERS or name.lower().startswith(("x-plex-", "include", "exclude")):
            continue
        field = name.rstrip("=!<>")
        operator, wanted = name[len(field) :], value
        if value.startswith("=") and operator in ("", "!"):
            # `title==x` reaches us split at its first sign.
            operator, wanted = operator + "=", value[1:]
        key = _row_key(field, item_type)
        if key is None:
            raise ValueError(name)
        if operator not in ("", "=", "!", "!=", "<", ">", "<<", ">>"):
            continue  # `updatedAt>>=` as a name: PMS lists all, without a word
        found.append(Condition(key, operator, tuple(wanted.split(",")) if _is_number(wanted) else (wanted,)))
    return found


def matches(row: dict[str, Any], conditions: Sequence[Condition]) -> bool:
    """Whether a row meets all conditions."""
    return all(_holds(row.get(condition.key), condition) for condition in conditions)


def sort_rows(rows: list[dict[str, Any]], sort: Sort) -> list[dict[str, Any]]:
    """Sort rows; equal values stay in the order of their ids, as rows come out of the server's index."""
    by_id = sorted(rows, key=_rating_key)
    if sort.field == "id":
        return by_id[::-1] if sort.descending else by_id
    if sort.field == "titleSort":
        return sorted(by_id, key=_title_key, reverse=sort.descending)
    known = [row for row in by_id if row.get(sort.field) is not None]
    unknown = [row for row in by_id if row.get(sort.field) is None]
    known.sort(key=lambda row: _comparable(row[sort.field]), reverse=sort.descending)
    return known + unknown


def _rating_key(row: dict[str, Any]) -> int:
    text = str(row.get("ratingKey", ""))
    return int(text) if text.isdigit() else 0


def _title_key(row: dict[str, Any]) -> tuple[str, int, int, str]:
    own = str(row.get("titleSort") or row.get("title") or "").casefold()
    kind = row.get("type")
    if kind in ("episode", "track"):
        top = str(row.get("grandparentTitle") or "").casefold()
        return top, _number(row.get("parentIndex")), _number(row.get("index")), own
    if kind in ("season", "album"):
        return str(row.get("parentTitle") or "").casefold(), _number(row.get("index")), 0, own
    return own, 0, 0, ""


def _number(value: object) -> int:
    # Rows without a number sort last.
    return value if isinstance(value, int) else 1 << 31


def _comparable(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def _row_key(field: str, item_type: int) -> str | None:
    prefix, _, name = field.rpartition(".")
    level = _LEVELS.get(prefix, {}).get(item_type) if prefix else 0
    if level is None or name not in _FIELDS:
        return None
    name = "ratingKey" if name == "id" else name
    return name if level == 0 else _PREFIXES[level] + name[0].upper() + name[1:]


def _is_number(value: str) -> bool:
    return bool(value) and all(piece.isdigit() for piece in value.split(","))


def _holds(value: object, condition: Condition) -> bool:
    if condition.operator in ("!", "!="):
        return not _holds(value, Condition(condition.key, condition.operator[1:], condition.values))
    if value is None:
        return False
    if condition.operator in ("<<", ">>"):
        return _is_beyond(value, condition.operator, condition.values[0])
    if isinstance(value, int | float) or condition.key.lower().endswith("ratingkey"):
        return str(value) in condition.values
    text, wanted = str(value).casefold(), ",".join(condition.values).casefold()
    if condition.operator in ("<", ">"):
        return text.startswith(wanted) if condition.operator == "<" else text.endswith(wanted)
    return text == wanted if condition.operator == "=" else wanted in text


def _is_beyond(value: object, operator: str, bound: str) -> bool:
    own, limit = str(value), bound
    if not (_is_number(own) and _is_number(limit)):
        return own > limit if operator == ">>" else own < limit
    return int(own) > int(limit) if operator == ">>" else int(own) < int(limit)
