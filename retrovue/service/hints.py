"""Hints of a source, collected until it is quiet."""

from dataclasses import dataclass, field

import anyio

from retrovue.importers.base import ChangeHint

MOST_KEYS = 1_000
"""Items of a library that are named one by one; beyond that all of it may have changed."""
MOST_LIBRARIES = 1_000
"""Libraries that are named; beyond that the whole source may have changed."""


@dataclass(frozen=True, slots=True)
class ListeningTimes:
    """How long a host that listens waits, in seconds."""

    quiet_s: float = 30.0
    """Without a hint, before those that were collected are worked."""
    most_s: float = 600.0
    """Since the first hint, after which they are worked although more are coming."""
    echo_s: float = 60.0
    """After a sync of named items, in which hints of these are ignored: the sync may have caused them."""
    look_s: float = 60.0
    """Between two looks at the sources of the catalogue."""
    first_pause_s: float = 1.0
    """Before the second attempt to connect; doubled for each further one."""
    longest_pause_s: float = 300.0


@dataclass(slots=True)
class Hints:
    """What may have changed at one source. It takes bounded memory, whatever the source tells."""

    times: ListeningTimes
    echoes: bool = True
    """Whether the source tells of what a sync asks for."""
    everything: bool = False
    """Whether the whole source is to be synced, as after each connecting."""
    libraries: dict[str | None, set[str] | None] = field(default_factory=dict[str | None, set[str] | None])
    """The keys of the items by library, None for all of it; of the library None if it isn't known which one it is."""
    _first: float = 0.0
    _last: float = 0.0
    _echoes: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """When hints of an item count again, by library and key."""
    _arrived: anyio.Event = field(default_factory=anyio.Event)

    def all(self) -> None:
        """Take the hint that anything of the source may have changed; it is due at once."""
        self.everything = True
        self._arrived.set()

    def add(self, hint: ChangeHint) -> None:
        """Take a hint, unless it is an echo."""
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
        """Wait until the whole source is due, or until its hints are."""
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
        """Return whether the whole source is to be synced, and forget that. Items that were named stay so."""
        everything, self.everything = self.everything, False
        return self.libraries.pop(None, ()) is None or everything

    def take(self) -> dict[str | None, set[str] | None]:
        """Return the libraries that may have changed, and begin anew."""
        taken, self.libraries = self.libraries, {}
        return taken

    def ignore(self, library: str, keys: set[str], seconds: float) -> None:
        """Ignore hints of items from now on for so long, if a sync of them causes some itself."""
        if not self.echoes:
            return
        now = anyio.current_time()
        self._echoes = {echo: until for echo, until in self._echoes.items() if until > now}
        self._echoes |= {(library, key): now + seconds for key in keys}
