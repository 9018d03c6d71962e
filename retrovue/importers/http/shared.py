"""One answer for all who ask at the same time."""

import copy
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.found: T | None = None
        self.error: Exception | None = None


class Shared(Generic[T]):
    """Answers everybody who asks while a fetch is under way with that fetch, and remembers nothing after it."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._flight: _Flight[T] | None = None

    async def get(self) -> T:
        """Return the answer as it is now; raises what fetching raises."""
        while True:
            flight = self._flight
            if flight is None:
                return await self._fly()
            await flight.landed.wait()
            if flight.error is not None:
                # Each task gets an exception of its own: they collect tracebacks.
                raise copy.copy(flight.error) from flight.error
            if flight.found is not None:
                return flight.found
            # The one who was fetching was cancelled: the next one takes over.

    async def _fly(self) -> T:
        flight = self._flight = _Flight[T]()
        try:
            flight.found = await self._fetch()
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            self._flight = None
            flight.landed.set()
        return flight.found
