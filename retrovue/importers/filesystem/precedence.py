"""Let the walk that began first go on first, while the processor is what walks wait for."""

import time
from collections.abc import Callable
from itertools import count

import anyio

_INTERVAL_S = 0.01
"""How long the processor is watched before a walk goes on although an earlier one is at work."""
_LONGEST_S = 1.0
"""The longest wait, unless another is given."""


class Precedence:
    """The walks of one importer, in the order in which they began."""

    def __init__(self, *, used_s: Callable[[], float] = time.process_time, longest_s: float = _LONGEST_S) -> None:
        """``used_s`` returns for how many seconds this process has used the processor."""
        self._used_s = used_s
        self._longest_s = longest_s
        self._places = count()
        self._at_work: set[int] = set()
        """The places of the walks that are at work."""
        self._changed = anyio.Event()

    def place(self) -> int:
        """Return the place of a new walk, after all others."""
        return next(self._places)

    def rest(self, place: int) -> None:
        """Let later walks go on, because this one isn't at work."""
        if place in self._at_work:
            self._at_work.remove(place)
            self._changed.set()
            self._changed = anyio.Event()

    async def turn(self, place: int) -> None:
        """Wait until no earlier walk is at work.

        The wait ends early if this process hardly uses the processor, because the earlier walks then wait for
        something else, such as the database or a disk. Call `rest` at the end of the work.
        """
        self._at_work.add(place)
        began = time.monotonic()
        while min(self._at_work) < place and time.monotonic() - began < self._longest_s:
            since, used = time.monotonic(), self._used_s()
            with anyio.move_on_after(_INTERVAL_S) as scope:
                await self._changed.wait()
            if scope.cancelled_caught and 2 * (self._used_s() - used) < time.monotonic() - since:
                return
