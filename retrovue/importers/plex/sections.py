"""The list of a server's libraries."""

import msgspec

from retrovue.core.errors import MalformedAnswer
from retrovue.core.model import DiscoveredCollection


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
