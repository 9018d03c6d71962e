"""Lets threads that read fast disks take turns.

Python runs one thread at a time, and each system call may hand over to another one. Several threads that read
directories from the system's cache spend a quarter of their time with that. If the disk waits, threads help.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 0.1
"""How long a thread waits for its turn. From the cache a step of a walk takes some 4 ms."""


class Turns:
    """The turns of all threads of one importer, as long as the disk doesn't wait."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        """``patience_s`` is how long a thread waits for its turn, in seconds."""
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self.are_taken = True
        """Whether threads wait for each other. No longer, once one of them has waited in vain."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, which ends with the block; begin without one if that takes too long. Blocks."""
        if not self.are_taken or not self._lock.acquire(timeout=self._patience_s):
            # The other thread waits for its disk, perhaps forever.
            self.are_taken = False
            yield
            return
        try:
            yield
        finally:
            self._lock.release()
