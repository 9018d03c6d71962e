"""Let the enumerations that began first have their pages used first, while the processor is what they wait for.

If several enumerations take turns at a busy processor, all of them end late and at the same time, so the database has
nothing to merge until then and too much afterwards. Their pages also displace each other from the processor's cache.
"""

import time
from collections.abc import Callable
from itertools import count

import anyio

_INTERVAL_S = 0.01
"""How long the processor is watched before an enumeration goes on although earlier ones have pages."""
_LONGEST_S = 1.0
"""The longest wait for one page, unless another is given."""


class Precedence:
    """The enumerations of one importer, in the order in which they began."""

    def __init__(
        self, at_once: int, *, used_s: Callable[[], float] = time.process_time, longest_s: float = _LONGEST_S
    ) -> None:
        """``at_once`` is the number of enumerations that use their pages at the same time.

        ``used_s`` returns for how many seconds this process has used the processor.
        """
        self._at_once = at_once
        self._used_s = used_s
        self._longest_s = longest_s
        self._places = count()
        self._at_work: set[int] = set()
        """The places of the enumerations that have a page."""
        self._changed = anyio.Event()

    def place(self) -> int:
        """Return the place of a new enumeration, after all others."""
        return next(self._places)

    def rest(self, place: int) -> None:
        """Let later enumerations go on, because this one has no page."""
        if place in self._at_work:
            self._at_work.remove(place)
            self._changed.set()
            self._changed = anyio.Event()

    async def turn(self, place: int) -> None:
        """Wait with a page while as many earlier enumerations as may work at once have one.

        The wait ends early if this process hardly uses the processor, because the earlier enumerations then wait for
        something else, such as the database or a disk. Call `rest` when the page has been used.
        """
        self._at_work.add(place)
        began = time.monotonic()
        while self._is_behind(place) and time.monotonic() - began < self._longest_s:
            since, used = time.monotonic(), self._used_s()
            with anyio.move_on_after(_INTERVAL_S) as scope:
                await self._changed.wait()
            if scope.cancelled_caught and 2 * (self._used_s() - used) < time.monotonic() - since:
                return

    def _is_behind(self, place: int) -> bool:
        return sum(earlier < place for earlier in self._at_work) >= self._at_once
