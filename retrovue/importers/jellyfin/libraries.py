"""The libraries of a Jellyfin server: with their folders for an administrator, without for everybody else."""

from dataclasses import dataclass

import msgspec

from retrovue.core.errors import MalformedAnswer, SourceRefused
from retrovue.core.model import DiscoveredCollection
from retrovue.importers.http.client import Answer, HttpClient, Refusal
from retrovue.importers.jellyfin.rows import guid_bytes


@dataclass(frozen=True, slots=True)
class Kind:
    """What is playable in a library of some kind."""

    item_types: str
    """Jellyfin's names, comma-separated."""
    has_series: bool = False
    """Whether its episodes belong to series, from which they inherit."""


KINDS = {
    "movie": Kind("Movie"),
    "show": Kind("Episode", has_series=True),
    "artist": Kind("Audio"),
    "homevideos": Kind("Video"),
    "musicvideos": Kind("MusicVideo"),
    "mixed": Kind("Movie,Episode,Video", has_series=True),
}
"""The kinds of library that can be ingested. Photos of a home video library aren't listed."""

_KIND_OF_TYPE = {"movies": "movie", "tvshows": "show", "music": "artist", "": "mixed"}


@dataclass(frozen=True, slots=True)
class Libraries:
    """What a server offers to a token."""

    found: tuple[DiscoveredCollection, ...]
    """In the server's order, also of kinds that can't be ingested."""
    user_id: str | None
    """Whose token it is; None for an API key, which is nobody's."""
    folders_known: bool
    """Whether the token may see the libraries' folders."""

    def get(self, external_id: str) -> DiscoveredCollection | None:
        """Return the library with this id."""
        return next((one for one in self.found if one.external_id == external_id), None)


class _VirtualFolder(msgspec.Struct, rename="pascal"):
    name: str
    item_id: str | None = None
    collection_type: str | None = None
    locations: list[str] | None = None


class _View(msgspec.Struct, rename="pascal"):
    id: str
    name: str
    collection_type: str | None = None


class _Views(msgspec.Struct, rename="pascal"):
    items: list[_View]


class _User(msgspec.Struct, rename="pascal"):
    id: str


_folders = msgspec.json.Decoder(list[_VirtualFolder])
_views = msgspec.json.Decoder(_Views)
_user = msgspec.json.Decoder(_User)


async def fetch_libraries(client: HttpClient) -> Libraries:
    """Ask for the virtual folders, and where that is refused for what the token's user sees.

    Raises SourceRefused if the token isn't accepted at all.
    """
    user_id = await _fetch_user(client)
    try:
        answer = await client.get("/Library/VirtualFolders")
    except SourceRefused as exc:
        # 401 says that the token is none; 403 that it is not an administrator's.
        if exc.context.get("status") != 403 or user_id is None:
            raise
    else:
        return Libraries(decode_virtual_folders(answer.body), user_id, folders_known=True)
    return Libraries(decode_views((await _fetch_views(client, user_id)).body), user_id, folders_known=False)


def decode_virtual_folders(body: bytes | bytearray) -> tuple[DiscoveredCollection, ...]:
    """Decode the answer of /Library/VirtualFolders, with names verbatim.

    A library that the server has not looked into yet has no id and can't be asked for; it is left out. Raises
    MalformedAnswer.
    """
    try:
        folders = _folders.decode(body)
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc) from exc
    return tuple(
        _collection(one.item_id, one.name, one.collection_type, tuple(path for path in one.locations or () if path))
        for one in folders
        if one.item_id
    )


def decode_views(body: bytes | bytearray) -> tuple[DiscoveredCollection, ...]:
    """Decode what a user sees; raises MalformedAnswer."""
    try:
        views = _views.decode(body).items
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc) from exc
    return tuple(_collection(one.id, one.name, one.collection_type, ()) for one in views)


async def _fetch_user(client: HttpClient) -> str | None:
    try:
        answer = await client.get("/Users/Me")
    except Refusal as exc:
        # What an API key is told: 400 by current versions, 404 by older ones.
        if exc.status in {400, 404}:
            return None
        raise
    try:
        return _user.decode(answer.body).id
    except (ValueError, RecursionError) as exc:
        raise MalformedAnswer("The server's answer doesn't say whose token it is.") from exc


async def _fetch_views(client: HttpClient, user_id: str) -> Answer:
    try:
        return await client.get("/UserViews", {"userId": user_id})
    except Refusal as exc:
        if exc.status != 404:
            raise
    # Versions before 10.9.
    return await client.get(f"/Users/{user_id}/Views")


def _collection(
    item_id: str, name: str, collection_type: str | None, locations: tuple[str, ...]
) -> DiscoveredCollection:
    guid = guid_bytes(item_id)
    kind = (collection_type or "").lower()
    return DiscoveredCollection(
        # Answers spell the same id with and without dashes.
        external_id=item_id if guid is None else guid.hex(),
        name=name,
        kind=_KIND_OF_TYPE.get(kind, kind),
        locations=locations,
    )


def _malformed(exc: Exception) -> MalformedAnswer:
    detail = f": {exc}" if isinstance(exc, msgspec.ValidationError) else ""
    return MalformedAnswer(
        f"The list of libraries isn't what a Jellyfin server answers{detail}.",
        hint="Check that the source's address is that of a Jellyfin server.",
    )
