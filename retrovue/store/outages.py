"""Pauses between attempts to reach a database that can't be reached."""

import anyio

PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before each next attempt; the last value is repeated."""


class Outage:
    """Growing pauses. Call `wait()` after each failed attempt, and `over()` after a successful one."""

    def __init__(self) -> None:
        self._failures = 0

    def over(self) -> None:
        """Start again with the first pause."""
        self._failures = 0

    async def wait(self) -> None:
        """Wait before the next attempt."""
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        await anyio.sleep(pause)
