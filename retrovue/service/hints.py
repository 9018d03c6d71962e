"""Collect the hints of a source until no more come for a while."""

import anyio
from msgspec import Struct, field

from retrovue.importers.base import ChangeHint

MOST_KEYS = 1_000
"""The most items that are collected for a library. If there are more, the whole library is synced."""
MOST_LIBRARIES = 1_000
"""The most libraries that are collected. If there are more, the whole source is synced."""


class ListeningTimes(Struct, frozen=True):
    """The times that a host waits while it listens, in seconds."""

    quiet_s: float = 30.0
    """How long no hint has to come before the collected ones are synced."""
    most_s: float = 600.0
    """How long after the first hint they are synced at the latest, although more are coming."""
    echo_s: float = 60.0
    """How long after a sync of named items further hints of these are ignored, because the sync may have caused them.
    """
    look_s: float = 60.0
    """The time between two looks for sources in the catalogue."""
    first_pause_s: float = 1.0
    """The pause before the second attempt to connect. It doubles with each further attempt."""
    longest_pause_s: float = 300.0


class Hints(Struct):
    """What may have changed at one source. Its memory is bounded for any number of hints."""

    times: ListeningTimes
    echoes: bool = True
    """Whether a sync itself causes hints of the source."""
    everything: bool = False
    """Whether the whole source has to be synced, as after each connection."""
    libraries: dict[str | None, set[str] | None] = field(default_factory=dict[str | None, set[str] | None])
    """The keys of the items by library. The value None means the whole library; the key None means items whose library
    isn't known.
    """
    _first: float = 0.0
    _last: float = 0.0
    _echoes: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """The time after which hints of an item count again, by library and key."""
    _arrived: anyio.Event = field(default_factory=anyio.Event)

    def all(self) -> None:
        """Add a hint that anything at the source may have changed; it is due at once."""
        self.everything = True
        self._arrived.set()

    def add(self, hint: ChangeHint) -> None:
        """Add a hint, unless a sync of the same item has just caused it."""
        now = anyio.current_time()
        keys = None if hint.library is None else hint.items
        if keys is not None:
            keys = tuple(key for key in keys if self._echoes.get((str(hint.library), key), now) <= now)
            if not keys:
                return
        if hint.library not in self.libraries and len(self.libraries) >= MOST_LIBRARIES:
            self.all()
            return
        if not self.libraries:
            self._first = now
        self._last = now
        known = self.libraries.setdefault(hint.library, set())
        if known is not None:
            known.update(keys or ())
        if keys is None or (known is not None and len(known) > MOST_KEYS):
            self.libraries[hint.library] = None
        self._arrived.set()

    async def wait(self) -> None:
        """Wait until the whole source or the collected hints are due."""
        while not self.everything:
            if not self.libraries:
                self._arrived = anyio.Event()
                await self._arrived.wait()
                continue
            due = min(self._last + self.times.quiet_s, self._first + self.times.most_s)
            if anyio.current_time() >= due:
                return
            self._arrived = anyio.Event()
            with anyio.move_on_at(due):
                await self._arrived.wait()

    def take_everything(self) -> bool:
        """Return whether the whole source has to be synced, and reset that. Named items are kept."""
        everything, self.everything = self.everything, False
        return self.libraries.pop(None, ()) is None or everything

    def take(self) -> dict[str | None, set[str] | None]:
        """Return the libraries that may have changed, and remove them."""
        taken, self.libraries = self.libraries, {}
        return taken

    def ignore(self, library: str, keys: set[str], seconds: float) -> None:
        """Ignore hints of the items for a while, if a sync of them causes hints itself."""
        if not self.echoes:
            return
        now = anyio.current_time()
        self._echoes = {echo: until for echo, until in self._echoes.items() if until > now}
        self._echoes |= {(library, key): now + seconds for key in keys}
