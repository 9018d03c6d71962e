"""What a Jellyfin server tells of its libraries while it is listened to: the messages of its socket, as hints.

Only a user is told of changes (LibraryChangedNotifier.cs), some 30 seconds after the last one. A message names items by
their ids, and libraries only where something came or went. Reading never raises: what isn't understood is ignored, as a
message that was lost is, and the next sync finds what it would have named.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from retrovue.core.errors import SourceUnreachable
from retrovue.importers.base import ChangeHint
from retrovue.importers.jellyfin.rows import guid_bytes

if TYPE_CHECKING:
    from retrovue.importers.http.socket import Socket

PATH = "/socket"
KEEP_ALIVE_S = 25.0
"""Seconds between two signs of life: a server drops a socket that is silent for 60."""
SILENCE_S = 90.0
"""Seconds without a message, after which the server counts as gone: it answers each sign of life."""
LONGEST_MESSAGE = 4 * 1024 * 1024
"""Bytes of a message: it names some 100,000 items. A longer one counts as naming all."""
_KEEP_ALIVE = '{"MessageType":"KeepAlive"}'
_ANYTHING = ChangeHint(None, None)


async def read_hints(socket: "Socket") -> AsyncGenerator[ChangeHint, None]:
    """Generate the hints of a socket until the server ends it; raises SourceUnreachable when it breaks or is silent."""
    heard = anyio.current_time()
    # The first sign of life goes at once: its answer shows that the server understands it.
    due = heard
    while True:
        now = anyio.current_time()
        if now - heard > SILENCE_S:
            raise SourceUnreachable(
                f"The Jellyfin server was silent for {SILENCE_S:g} seconds.",
                hint="Check that the server is running, and any proxy between here and it.",
            )
        if now >= due:
            await socket.send(_KEEP_ALIVE, KEEP_ALIVE_S)
            due = now + KEEP_ALIVE_S
        try:
            message = await socket.receive(max(0.0, min(due, heard + SILENCE_S) - now))
        except anyio.EndOfStream:
            return
        if message is not None:
            heard = anyio.current_time()
            for hint in hints_of(message):
                yield hint


def hints_of(message: bytes) -> Iterator[ChangeHint]:
    """Generate the hints of a message; an empty one was too long to be kept."""
    if not message:
        yield _ANYTHING
        return
    try:
        told = msgspec.json.decode(message)
    except (ValueError, RecursionError):
        return
    if isinstance(told, dict) and told.get("MessageType") == "LibraryChanged" and isinstance(told.get("Data"), dict):
        yield from _of_change(told["Data"])


def _of_change(data: dict[str, Any]) -> Iterator[ChangeHint]:
    libraries = _ids(data.get("CollectionFolders"))
    came_or_changed = _ids(data.get("ItemsAdded"), data.get("ItemsUpdated"))
    gone = _ids(data.get("ItemsRemoved"))
    if not libraries:
        # What was only updated is told without its libraries.
        if came_or_changed or gone:
            yield _ANYTHING
    elif len(libraries) == 1 and came_or_changed and not gone:
        yield ChangeHint(libraries[0], came_or_changed)
    else:
        yield from (ChangeHint(library, None) for library in libraries)


def _ids(*lists: object) -> tuple[str, ...]:
    """Return the ids of lists in one spelling, each once; what isn't one is left out."""
    entries = (entry for some in lists if isinstance(some, list) for entry in some)
    found = (guid_bytes(entry) for entry in entries if isinstance(entry, str))
    return tuple(dict.fromkeys(guid.hex() for guid in found if guid is not None))
