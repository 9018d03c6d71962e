"""Makes the chapters of a draft from those of a Jellyfin item."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from retrovue.core.pages import Spans
from retrovue.importers.http.drafts import LONGEST_MS
from retrovue.importers.jellyfin.rows import Chapter

TICKS_PER_MS: Final = 10_000
_TICKS_TOO_LATE = (LONGEST_MS + 1) * TICKS_PER_MS
_start = itemgetter(0)
_encode = msgspec.json.Encoder().encode
_NUL, _REPLACEMENT = b"\\u0000", "\ufffd".encode()
"""What a title that has to be repaired, or was, holds in JSON."""


def chapters(found: Sequence[Chapter], warnings: list[str]) -> Spans:
    """Convert chapters to milliseconds. Each ends where the next one begins; the last one's end is open.

    They are returned as JSON, or as objects where a title may have to be repaired.
    """
    starts: list[tuple[int, str | None]] = []
    for chapter in found:
        ticks = chapter.start_position_ticks
        if type(ticks) is int and 0 <= ticks < _TICKS_TOO_LATE:
            starts.append((ticks // TICKS_PER_MS, chapter.name))
        else:
            warnings.append("bad_span")
    starts.sort(key=_start)
    spans: list[dict[str, Any]] = []
    end: int | None = None
    for start, title in reversed(starts):
        spans.append({"title": title, "start_ms": start, "end_ms": end})
        end = start
    spans.reverse()
    text = _encode(spans)
    # Most texts need no search.
    usual = text.isascii() and b"\\" not in text
    return text if usual or not (_NUL in text or _REPLACEMENT in text) else spans
