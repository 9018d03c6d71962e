"""Converts values of Jellyfin to the catalogue's units. An impossible value becomes None, with a warning."""

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from retrovue.importers.jellyfin.rows import Chapter, Row

_TICKS_PER_MS = 10_000
_LONGEST_MS = 2**31 - 1
_FIRST_YEAR, _LAST_YEAR = 1800, 2200
_RESOLUTIONS = (
    (854, 480, "sd"),
    (960, 544, "540"),
    (1024, 576, "576"),
    (1280, 962, "720"),
    (2560, 1440, "1080"),
    (4096, 3072, "4k"),
    (8192, 6144, "8k"),
)
"""The largest width and height of each resolution (MediaStream.cs), with Plex's names."""


def milliseconds(ticks: float | None, warnings: list[str]) -> int | None:
    """Convert a length in ticks of 100 ns to milliseconds."""
    if ticks is None:
        return None
    if type(ticks) is int and 0 < ticks // _TICKS_PER_MS <= _LONGEST_MS:
        return ticks // _TICKS_PER_MS
    warnings.append("bad_duration")
    return None


def ordinal(value: int | None, warnings: list[str]) -> int | None:
    """Return the number of a season or an episode, None if it is negative."""
    if value is not None and value < 0:
        warnings.append("bad_number")
        return None
    return value


def year(value: int | None, warnings: list[str]) -> int | None:
    """Return a year, None if there were no recordings then."""
    if value is not None and not _FIRST_YEAR <= value <= _LAST_YEAR:
        warnings.append("bad_year")
        return None
    return value


def date(text: str | None, warnings: list[str]) -> dt.date | None:
    """Read the day of a time such as ``2024-10-07T22:00:00.0000000Z``.

    Providers of metadata give days. Jellyfin stores a day as midnight in its own zone and answers in UTC: a server in
    the Netherlands says 22:00 or 23:00 of the day before (recorded answers). The day of the nearest midnight is
    returned.
    """
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(f"{text[:19]}+00:00" if len(text) > 10 else f"{text}T00:00:00+00:00")
        if moment.minute % 15 == 0 and moment.second == 0:
            # Zones differ from UTC by quarters of an hour.
            moment += dt.timedelta(hours=12)
    except (ValueError, OverflowError):
        pass
    else:
        if _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            return moment.date()
    warnings.append("bad_date")
    return None


def rating(row: Row, warnings: list[str]) -> float | None:
    """Return the audience's rating (0 to 10), else a tenth of the critics' (0 to 100)."""
    audience, critics = row.community_rating, row.critic_rating
    if audience is not None and 0 <= audience <= 10:
        return audience
    if critics is not None and 0 <= critics <= 100:
        return critics / 10
    if audience is not None or critics is not None:
        warnings.append("bad_rating")
    return None


def resolution(width: int | None, height: int | None) -> str | None:
    """Return the name of a picture's resolution."""
    if not width or not height:
        return None
    return next((name for widest, highest, name in _RESOLUTIONS if width <= widest and height <= highest), None)


def chapters(found: Sequence[Chapter], warnings: list[str]) -> list[dict[str, Any]]:
    """Convert chapters to milliseconds. Each ends where the next one begins; the last one's end is open."""
    spans: list[dict[str, Any]] = []
    for chapter in found:
        ticks = chapter.start_position_ticks
        if type(ticks) is not int or not 0 <= ticks // _TICKS_PER_MS <= _LONGEST_MS:
            warnings.append("bad_span")
            continue
        spans.append({"title": chapter.name, "start_ms": ticks // _TICKS_PER_MS, "end_ms": None})
    spans.sort(key=lambda span: int(span["start_ms"]))
    for span, following in pairwise(spans):
        span["end_ms"] = following["start_ms"]
    return spans
