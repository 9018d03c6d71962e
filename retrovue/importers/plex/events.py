"""What a Plex server tells of its libraries while it is listened to: its stream of events, as hints.

An event's ``data`` is an object ``TimelineEntry`` or ``ActivityNotification``, or a list of them, without the envelope
that the WebSocket has. Guide data comes on the same stream, with ids that libraries have, too. Reading never raises:
what isn't understood is ignored, as an event that was lost is, and the next sync finds what it would have named.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec

from retrovue.importers.base import ChangeHint

PATH = "/:/eventsource/notifications"
FILTERS = {"filters": "timeline,activity"}
SILENCE_S = 90.0
"""Seconds without a byte, after which the server counts as gone: it sends pings."""
LONGEST_EVENT = 256 * 1024
"""Bytes of an event. Of longer ones nothing is kept."""

_LIBRARIES = "com.plexapp.plugins.library"
_PROCESSED, _DELETED = 5, 9
_PLAYED = frozenset({None, 1, 4, 10, 12})
"""Films, episodes, tracks, clips, and what has no type."""
_PARENTS = frozenset({2, 3, 8, 9})
"""Shows, seasons, artists, albums: what is below them may have changed."""
_LONGEST_NUMBER = 18


class EventCutter:
    """Cuts a stream into the ``data`` of its events."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        """Bytes of the event so far, also of those that weren't kept."""
        self._line_size = 0

    @property
    def kept(self) -> int:
        """The bytes that it holds."""
        return len(self._line) + sum(map(len, self._data))

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next bytes; gives the data of each event that they complete."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._keep(piece[start:end])
            yield from self._end_line()
            start = end + 1
        self._keep(piece[start:])

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        self._line_size += len(part)
        if self._size <= LONGEST_EVENT:
            self._line += part

    def _end_line(self) -> Iterator[bytes]:
        line = bytes(self._line).rstrip(b"\r")
        # Of a line that is too long nothing may be kept.
        blank, fits = not line and self._line_size <= 1, self._size <= LONGEST_EVENT
        self._line.clear()
        self._line_size = 0
        if line.startswith(b"data:"):
            self._data.append(line.removeprefix(b"data:"))
        elif blank:
            if self._data and fits:
                yield b"\n".join(self._data)
            self._data.clear()
        if blank or (fits and not self._data):
            # Names and comments don't count: a server may send comments alone for days.
            self._size = 0


async def read_hints(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[ChangeHint, None]:
    """Generate the hints of a stream, which comes in pieces; raises what the pieces raise."""
    cutter = EventCutter()
    async for piece in pieces:
        for data in cutter.feed(piece):
            for hint in hints_of(data):
                yield hint


def hints_of(data: bytes) -> Iterator[ChangeHint]:
    """Generate the hints of an event."""
    try:
        event = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return
    envelope = event.get("NotificationContainer")
    event = envelope if isinstance(envelope, dict) else event
    found = [_of_timeline(entry) for entry in _objects(event.get("TimelineEntry"))]
    found += [_of_activity(entry) for entry in _objects(event.get("ActivityNotification"))]
    yield from (hint for hint in found if hint is not None)


def _of_timeline(entry: dict[str, Any]) -> ChangeHint | None:
    library = _key(entry.get("sectionID"))
    if library is None or entry.get("identifier") != _LIBRARIES:
        return None
    if _number(entry.get("state")) == _DELETED or entry.get("metadataState") == "deleted":
        # Its type may be -1. What is gone the sync finds by its own rules.
        return ChangeHint(library, None)
    going_on = entry.get("metadataState") is not None or entry.get("queueSize") is not None
    if _number(entry.get("state")) != _PROCESSED or going_on:
        return None
    kind = _number(entry.get("type"))
    if kind in _PARENTS:
        return ChangeHint(library, None)
    item = _key(entry.get("itemID"))
    return ChangeHint(library, (item,)) if item is not None and kind in _PLAYED else None


def _of_activity(entry: dict[str, Any]) -> ChangeHint | None:
    activity = entry.get("Activity")
    if entry.get("event") != "ended" or not isinstance(activity, dict):
        return None
    context = activity.get("Context")
    if activity.get("type") != "library.update.section" or not isinstance(context, dict):
        return None
    library = _key(context.get("librarySectionID"))
    return None if library is None else ChangeHint(library, None)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    yield from (entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict))


def _key(value: object) -> str | None:
    number = _number(value)
    return str(number) if number is not None and number > 0 else None


def _number(value: object) -> int | None:
    """Return a number that may be text; None if it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 10**_LONGEST_NUMBER else None
    if not isinstance(value, str) or not value.isascii() or len(value) > _LONGEST_NUMBER:
        return None
    return int(value) if value.removeprefix("-").isdigit() else None
