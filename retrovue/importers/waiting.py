"""Measure how long an importer waits for its source, separately from its own work.

An importer uses ``waiting_for_source`` around each await in which it has nothing else to do. For an importer that never
does, all time counts as waiting.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter


class Stopwatch:
    """Sums up the time for which one enumeration waits for its source."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.used = False
        """Whether the importer measures its waiting."""
        self.running = False
        self.waits = 0
        """How often it has waited: once for each request, if it makes one after the other."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Collect what ``waiting_for_source`` measures in this task within the block."""
        token = _STOPWATCH.set(self)
        try:
            yield
        finally:
            _STOPWATCH.reset(token)

    def share_of(self, elapsed: float) -> float:
        """Return for how many of the ``elapsed`` seconds the importer waited, and reset the stopwatch."""
        waited = min(self.seconds, elapsed) if self.used else elapsed
        self.seconds = 0.0
        return waited


_STOPWATCH: ContextVar[Stopwatch | None] = ContextVar("retrovue stopwatch", default=None)


@contextmanager
def waiting_for_source() -> Iterator[None]:
    """Count the time of the block as waiting for the source; nested blocks count once."""
    stopwatch = _STOPWATCH.get()
    if stopwatch is None or stopwatch.running:
        yield
        return
    stopwatch.used = stopwatch.running = True
    stopwatch.waits += 1
    began = perf_counter()
    try:
        yield
    finally:
        stopwatch.seconds += perf_counter() - began
        stopwatch.running = False


def read_ahead() -> None:
    """Don't measure waiting in this task, because it reads ahead while the enumeration goes on."""
    _STOPWATCH.set(None)
