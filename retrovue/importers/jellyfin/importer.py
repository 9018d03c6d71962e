"""The importer for Jellyfin: identity and libraries of a Jellyfin server."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any, ClassVar, TypeVar, cast

import msgspec

from retrovue.core.answers import (
    ChangeState,
    DiscoveredCollection,
    Ingestibility,
    Since,
    SourceIdentity,
    SourceState,
)
from retrovue.core.errors import MalformedAnswer, SourceRefused
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import Page
from retrovue.core.text import quoted
from retrovue.core.version import own_version
from retrovue.importers.base import ChangeHint
from retrovue.importers.http.answers import Answer
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.importer import RECENT_S, HttpImporter
from retrovue.importers.http.lenient import LenientBudget, decode_leniently
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.listing import FilePath, Text, check_size
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.http.settings import Dialect, HttpSettings
from retrovue.importers.jellyfin import events
from retrovue.importers.jellyfin.changes import JellyfinChanges, JellyfinItems
from retrovue.importers.jellyfin.library import KINDS, JellyfinLibrary, Libraries
from retrovue.importers.jellyfin.rows import guid_bytes
from retrovue.importers.locations import check_locations

_CLIENT = f'MediaBrowser Client="RetroVue", Device="RetroVue", DeviceId="retrovue", Version="{own_version()}"'


def _token_headers(token: str) -> dict[str, str]:
    # Besides the URL the only place for a token that current servers accept without a legacy setting.
    return {"Authorization": f'{_CLIENT}, Token="{token}"'}


JELLYFIN = Dialect(
    product="Jellyfin",
    port=8096,
    token_headers=_token_headers,
    # The header quotes it, and some versions decode it like a URL.
    allowed_in_token=r"[A-Za-z0-9._~-]+",  # noqa: S106 - a pattern
)

_EMBY = ("3.", "4.", "5.")
_KIND_OF_TYPE = {"movies": "movie", "tvshows": "show", "music": "artist", "": "mixed"}


class JellyfinSettings(HttpSettings, frozen=True, kw_only=True):
    """A Jellyfin source's configuration."""

    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    """Jellyfin has no limit of its own; it looks up the streams of each row one by one."""


class _Identity(msgspec.Struct, rename="pascal"):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    server_name: str | None = None
    version: str | None = None
    product_name: str | None = None


class _VirtualFolder(msgspec.Struct, rename="pascal"):
    name: Text = ""
    item_id: Text | None = None
    collection_type: Text | None = None
    locations: list[FilePath] | None = None
    refresh_status: Text | None = None
    """``Active`` while the server scans the library, ``Queued`` or ``Idle`` (LibraryManager.cs)."""


class _View(msgspec.Struct, rename="pascal"):
    id: Text = ""
    name: Text = ""
    collection_type: Text | None = None


class _Views(msgspec.Struct, rename="pascal"):
    items: list[msgspec.Raw]


class _User(msgspec.Struct, rename="pascal"):
    id: str


_EntryT = TypeVar("_EntryT", _VirtualFolder, _View)
_folders = msgspec.json.Decoder(list[msgspec.Raw])
_views = msgspec.json.Decoder(_Views)
_user = msgspec.json.Decoder(_User)


class JellyfinImporter(HttpImporter[Libraries]):
    """Reads movies, episodes, tracks and videos of a Jellyfin server."""

    type_name: ClassVar[str] = "jellyfin"
    dialect: ClassVar[Dialect] = JELLYFIN
    library: ClassVar[type[JellyfinLibrary]] = JellyfinLibrary
    identity_path: ClassVar[str] = "/System/Info/Public"
    settings: ClassVar[type[HttpSettings]] = JellyfinSettings

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Return the settings of the importer."""
        return cls._describe("Jellyfin server", "API key (Dashboard, API Keys), or the access token of a user")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the server's libraries, also those of kinds that can't be ingested.

        An API key or an administrator also gets their folders; any other user gets the libraries that he may see.
        """
        return (await self._libraries.get()).collections

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the library still exists, is of a playable kind, and its files can be read from here.

        Where the token may not see the library's folders, the sources of the path mappings are checked in their place.
        """
        libraries = await self._libraries.recent(RECENT_S)
        library = libraries.get(collection.external_id)
        if library is None:
            return self._gone(collection, "id", libraries.collections)
        if library.kind not in KINDS:
            return self._unsupported(library.kind)
        locations = library.locations
        if not libraries.folders_known:
            locations = tuple(mapping.source_prefix for mapping in collection.path_mappings)
            if not locations:
                return _folders_unknown(collection)
        deadline_s = self._settings.mount_timeout_s
        return await check_locations(
            collection, locations, server="Jellyfin", deadline_s=deadline_s, listing=self.pages
        )

    @asynccontextmanager
    async def change_hints(self, _: Sequence[Collection]) -> AsyncIterator[AsyncIterator[ChangeHint]]:
        """Listen to the server's socket until the block ends. Raises SourceRefused if the token is an API key."""
        if await _fetch_user(self._client) is None:
            raise SourceRefused(
                "Jellyfin reports changes to users only, and the token is an API key.",
                code="events_need_user",
                hint="Give the access token of a user with `retrovue source update`, or add a schedule.",
            )
        opening = self._client.socket(events.PATH, most=events.LONGEST_MESSAGE)
        async with opening as socket, aclosing(events.read_hints(socket)) as hints:
            yield hints

    def _read_identity(self, body: bytes | bytearray) -> SourceIdentity:
        client = self._client
        try:
            identity = msgspec.json.decode(body, type=_Identity)
        except (ValueError, RecursionError) as exc:
            raise self.dialect.wrong_server(client.origin, "it doesn't say who it is") from exc
        # Emby, from which Jellyfin descends, answers here too, without the name of the product. Its versions are 4.x.
        if identity.product_name is None and identity.version is not None and identity.version.startswith(_EMBY):
            raise self.dialect.wrong_server(client.origin, f"it is an Emby server ({identity.version})")
        if identity.product_name is not None and "jellyfin" not in identity.product_name.lower():
            raise self.dialect.wrong_server(client.origin, f"it calls itself {quoted(identity.product_name)}")
        return SourceIdentity(identifier=identity.id, name=identity.server_name, version=identity.version)

    async def _changes(self, library: HttpLibrary[Any, Any, Any], since: Since) -> AsyncGenerator[Page, None]:
        # Asked for the items of a library that is gone, the server lists those of all.
        await library.check_library()
        async with aclosing(JellyfinChanges(cast("JellyfinLibrary", library), since).pages()) as pages:
            async for page in pages:
                yield page

    async def _items(self, library: HttpLibrary[Any, Any, Any], keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        await library.check_library()
        async with aclosing(JellyfinItems(cast("JellyfinLibrary", library), keys).pages()) as pages:
            async for page in pages:
                yield page

    async def _fetch_libraries(self) -> Libraries:
        libraries = await fetch_libraries(self._client)
        if libraries.state is not None:
            self._states.set(libraries.state)
        return libraries

    async def _fetch_states(self) -> SourceState:
        try:
            answer = await self._client.get("/Library/VirtualFolders")
        except SourceRefused as exc:
            if exc.context.get("status") != 403:
                raise
            return SourceState({})  # the token isn't an administrator's
        return SourceState(decode_states(answer.body), answer.clock_s)


def _folders_unknown(collection: Collection) -> Ingestibility:
    return Ingestibility(
        ingestible=False,
        code="unknown_location",
        reason=(
            "Jellyfin shows the folders of a library to an API key or an administrator only, and the token is neither. "
            "Set an API key with `retrovue source update`, or give the path mapping yourself: "
            f"`retrovue collection update {collection.arguments} --map SOURCE=LOCAL`."
        ),
    )


async def fetch_libraries(client: HttpClient) -> Libraries:
    """Ask for the virtual folders, or if the token may not see them, for the views of its user.

    Raises SourceRefused if the server doesn't accept the token at all.
    """
    user_id = await _fetch_user(client)
    try:
        answer = await client.get("/Library/VirtualFolders")
    except SourceRefused as exc:
        # 401: the token isn't valid; 403: it isn't an administrator's.
        if exc.context.get("status") != 403 or user_id is None:
            raise
    else:
        state = SourceState(decode_states(answer.body), answer.clock_s)
        return Libraries(decode_virtual_folders(answer.body), user_id, folders_known=True, state=state)
    return Libraries(decode_views((await _fetch_views(client, user_id)).body), user_id, folders_known=False)


def decode_virtual_folders(body: bytes | bytearray) -> tuple[DiscoveredCollection, ...]:
    """Decode the answer of /Library/VirtualFolders, with names verbatim.

    A library that the server has not scanned yet has no id, and is listed with an empty one. So is an entry that can't
    be read. Raises MalformedAnswer if the answer isn't a list.
    """
    return tuple(
        _collection(folder.item_id or "", folder.name, folder.collection_type, folder.locations or ())
        for folder in _decode_folders(body)
    )


def decode_states(body: bytes | bytearray) -> dict[str, ChangeState]:
    """Decode what the server is doing with its libraries, by their ids; raises MalformedAnswer."""
    return {
        _external_id(folder.item_id or ""): ChangeState(refreshing=folder.refresh_status == "Active")
        for folder in _decode_folders(body)
    }


def _decode_folders(body: bytes | bytearray) -> Iterator[_VirtualFolder]:
    check_size(body)
    try:
        folders = _folders.decode(body)
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc) from exc
    return _read_each(folders, _VirtualFolder)


def _read_each(entries: Sequence[msgspec.Raw], kind: type[_EntryT]) -> Iterator[_EntryT]:
    budget = LenientBudget()
    for raw in entries:
        try:
            yield decode_leniently(bytes(raw), kind, budget)[0]
        except (ValueError, RecursionError):
            yield kind()


def decode_views(body: bytes | bytearray) -> tuple[DiscoveredCollection, ...]:
    """Decode the views of a user, with names verbatim; raises MalformedAnswer."""
    check_size(body)
    try:
        views = _views.decode(body).items
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc) from exc
    return tuple(
        _collection(view.id, view.name, view.collection_type, (), locations_known=False)
        for view in _read_each(views, _View)
    )


async def _fetch_user(client: HttpClient) -> str | None:
    try:
        answer = await client.get("/Users/Me")
    except Refusal as exc:
        # The answer to an API key: 400 by current versions, 404 by older ones.
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
    item_id: str,
    name: str,
    collection_type: Text | None,
    locations: Sequence[str],
    *,
    locations_known: bool = True,
) -> DiscoveredCollection:
    kind = (collection_type or "").lower()
    return DiscoveredCollection(
        external_id=_external_id(item_id),
        name=name,
        kind=_KIND_OF_TYPE.get(kind, kind),
        locations=tuple(path for path in locations if path),
        locations_known=locations_known,
    )


def _external_id(item_id: str) -> str:
    # Answers write the same id with and without dashes.
    guid = guid_bytes(item_id)
    return item_id if guid is None else guid.hex()


def _malformed(exc: Exception) -> MalformedAnswer:
    detail = f": {exc}" if isinstance(exc, msgspec.ValidationError) else ""
    return MalformedAnswer(
        f"The list of libraries isn't what a Jellyfin server answers{detail}.",
        hint="Check that the source's address is that of a Jellyfin server.",
    )
