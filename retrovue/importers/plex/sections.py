"""The list of a server's libraries, fetched once for all who ask at the same time."""

import copy
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from retrovue.errors import MalformedAnswer
from retrovue.model import DiscoveredCollection


class _Location(msgspec.Struct):
    path: str = ""


class _Directory(msgspec.Struct):
    key: str | int
    title: str
    type: str
    locations: list[_Location] | None = msgspec.field(default=None, name="Location")


class _Container(msgspec.Struct):
    size: int | None = None
    directories: list[_Directory] | None = msgspec.field(default=None, name="Directory")


class _Answer(msgspec.Struct):
    container: _Container = msgspec.field(name="MediaContainer")


_decoder = msgspec.json.Decoder(_Answer, strict=False)


def decode_sections(body: bytes | bytearray) -> tuple[DiscoveredCollection, ...]:
    """Decode the answer of /library/sections, in the server's order, with titles verbatim.

    Raises MalformedAnswer: a list of libraries is small and wholly needed, so that nothing in it is skipped.
    """
    try:
        container = _decoder.decode(body).container
    except (ValueError, RecursionError) as exc:
        detail = f": {exc}" if isinstance(exc, msgspec.ValidationError) else ""
        raise MalformedAnswer(
            f"The list of libraries isn't what a Plex server answers{detail}.",
            hint="Check that the source's address is that of a Plex server.",
        ) from exc
    if container.directories is None and container.size != 0:
        raise MalformedAnswer("The list of libraries holds none, and doesn't say that there are none.")
    return tuple(
        DiscoveredCollection(
            external_id=str(one.key),
            name=one.title,
            kind=one.type,
            locations=tuple(place.path for place in one.locations or () if place.path),
        )
        for one in container.directories or ()
    )


class _Flight:
    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.found: tuple[DiscoveredCollection, ...] | None = None
        self.error: Exception | None = None


class SharedSections:
    """Answers everybody who asks while a fetch is under way with that fetch, and remembers nothing after it."""

    def __init__(self, fetch: Callable[[], Awaitable[tuple[DiscoveredCollection, ...]]]) -> None:
        self._fetch = fetch
        self._flight: _Flight | None = None

    async def get(self) -> tuple[DiscoveredCollection, ...]:
        """Return the libraries as they are now; raises what fetching raises."""
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

    async def _fly(self) -> tuple[DiscoveredCollection, ...]:
        flight = self._flight = _Flight()
        try:
            flight.found = await self._fetch()
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            self._flight = None
            flight.landed.set()
        return flight.found
