"""Pauses between attempts while the database can't be reached."""

import anyio

PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before the next attempt, one after the other; the last one is repeated."""


class Outage:
    """Growing pauses: `wait()` after each attempt that has failed, `over()` when one has succeeded."""

    def __init__(self) -> None:
        self._failures = 0

    def over(self) -> None:
        """Let the next pause be the first one again."""
        self._failures = 0

    async def wait(self) -> None:
        """Wait before the next attempt."""
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        await anyio.sleep(pause)
