"""How many requests a server gets at once, and how fast: one budget for all collections of a run.

The server sets the pace. An answer that says "too much" (429, 5xx, a time-out) halves the requests in the air;
a round of answers of which half took much longer to begin than others lately takes one away, a better one gives one
back.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

CEILING = 12
"""Requests in the air at once, over all collections; more only makes a home server's disk seek."""
FLOOR = 1
"""However much a server struggles, it is asked for one thing at a time."""
SLOW_FLOOR = 4
"""Slowness alone goes no lower: answers also take longer the further into a sorted listing they are."""
_RECENT = 32
_SLOW_SECONDS = 0.5
_SLOW_TIMES = 3


class Pace:
    """The budget of requests to one server."""

    def __init__(self, *, ceiling: int = CEILING, max_per_second: float | None = None) -> None:
        self._ceiling = ceiling
        self._interval = 0.0 if max_per_second is None else 1 / max_per_second
        self._next = 0.0
        self._turns = anyio.CapacityLimiter(ceiling)
        self._good = self._slow = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    @property
    def allowed(self) -> int:
        """How many requests may be in the air now."""
        return int(self._turns.total_tokens)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place among the requests in the air, in the order of asking, and for the rate."""
        async with self._turns:
            if self._interval:
                start = max(anyio.current_time(), self._next)
                self._next = start + self._interval
                await anyio.sleep_until(start)
            yield

    def answered(self, seconds: float) -> None:
        """Take note of a good answer and of how long it took to begin."""
        slow = seconds > _SLOW_SECONDS and seconds > _SLOW_TIMES * min(self._recent, default=seconds)
        self._recent.append(seconds)
        self._good += 1
        self._slow += slow
        if self._good < self.allowed:
            return
        if self._slow * 2 >= self._good:
            self._turns.total_tokens = max(min(SLOW_FLOOR, self.allowed), self.allowed - 1)
        else:
            self._turns.total_tokens = min(self._ceiling, self.allowed + 1)
        self._good = self._slow = 0

    def struggled(self) -> None:
        """Take note of an answer that says that the server has too much to do, or of none."""
        self._good = self._slow = 0
        self._turns.total_tokens = max(FLOOR, self.allowed // 2)
