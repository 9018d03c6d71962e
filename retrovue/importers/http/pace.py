"""Limits the concurrent requests to a server, and their rate, over all collections of a run.

The server's answers set the limit. A sign of overload (429, 5xx, a time-out) halves it. After each round of as many
good answers as the limit, it falls by one if half of them took much longer to begin than recent ones, else it rises
by one.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

CEILING = 12
"""The highest limit, over all collections; with more, the disk of a home server only seeks."""
FLOOR = 1
"""The lowest limit after signs of overload."""
SLOW_FLOOR = 4
"""The lowest limit after slow answers. Answers are also slower the further into a sorted listing they are."""
_RECENT = 32
_SLOW_SECONDS = 0.5
_SLOW_TIMES = 3


class Pace:
    """The limits of requests to one server. Await `turn()` for each, then report `answered()` or `struggled()`."""

    def __init__(self, *, ceiling: int = CEILING, max_per_second: float | None = None) -> None:
        self._ceiling = ceiling
        self._interval = 0.0 if max_per_second is None else 1 / max_per_second
        self._next = 0.0
        self._turns = anyio.CapacityLimiter(ceiling)
        self._good = self._slow = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    @property
    def allowed(self) -> int:
        """The current limit of concurrent requests."""
        return int(self._turns.total_tokens)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until another request is within the limit and the rate; first come, first served."""
        async with self._turns:
            if self._interval:
                start = max(anyio.current_time(), self._next)
                self._next = start + self._interval
                await anyio.sleep_until(start)
            yield

    def answered(self, seconds: float) -> None:
        """Record a good answer that began after ``seconds``."""
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
        """Record a sign of overload, or a request without an answer."""
        self._good = self._slow = 0
        self._turns.total_tokens = max(FLOOR, self.allowed // 2)
