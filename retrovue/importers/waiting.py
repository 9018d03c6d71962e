"""How long an importer waits for its source, as told from the time in which it works itself.

An importer that knows says so with ``waiting_for_source`` around each await in which it has nothing else to do. The
time of one that never does counts as waiting as a whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter


class Stopwatch:
    """Adds up the time that one enumeration waits for its source."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.used = False
        """Whether the importer tells at all."""
        self.running = False

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure what is told within the block, in this task."""
        token = _STOPWATCH.set(self)
        try:
            yield
        finally:
            _STOPWATCH.reset(token)

    def share_of(self, elapsed: float) -> float:
        """Return how much of the time in which the importer was asked it waited, and begin anew."""
        waited = min(self.seconds, elapsed) if self.used else elapsed
        self.seconds = 0.0
        return waited


_STOPWATCH: ContextVar[Stopwatch | None] = ContextVar("retrovue stopwatch", default=None)


@contextmanager
def waiting_for_source() -> Iterator[None]:
    """Count the block as waiting for the source; one within another counts once."""
    stopwatch = _STOPWATCH.get()
    if stopwatch is None or stopwatch.running:
        yield
        return
    stopwatch.used = stopwatch.running = True
    began = perf_counter()
    try:
        yield
    finally:
        stopwatch.seconds += perf_counter() - began
        stopwatch.running = False


def read_ahead() -> None:
    """Say that this task reads ahead: nobody waits for what it waits for."""
    _STOPWATCH.set(None)
