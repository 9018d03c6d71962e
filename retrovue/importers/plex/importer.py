"""The importer for Plex: identity, libraries and details of a Plex Media Server."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, ClassVar, cast

import msgspec

from retrovue.core.answers import (
    ChangeState,
    DiscoveredCollection,
    Ingestibility,
    Since,
    SourceIdentity,
    SourceState,
)
from retrovue.core.errors import MalformedAnswer
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import Big, Page
from retrovue.importers.base import ChangeHint
from retrovue.importers.http.answers import Answer
from retrovue.importers.http.importer import RECENT_S, HttpImporter
from retrovue.importers.http.lenient import LenientBudget, decode_leniently
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.listing import FilePath, Text, check_size
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.http.settings import Dialect
from retrovue.importers.locations import check_locations
from retrovue.importers.plex import events
from retrovue.importers.plex.changes import PlexChanges, PlexItems
from retrovue.importers.plex.details import PARAMETERS, Detail, decode_details
from retrovue.importers.plex.library import ITEM_TYPES, PlexLibrary

PLEX = Dialect(
    product="Plex",
    port=32400,
    token_headers=lambda token: {"X-Plex-Token": token},
    headers={"X-Plex-Client-Identifier": "retrovue", "X-Plex-Product": "RetroVue"},
    total_header="X-Plex-Container-Total-Size",
    offset_header="X-Plex-Container-Start",
    xml_root=b"MediaContainer",
    web_apps=frozenset({"app.plex.tv", "www.plex.tv", "plex.tv"}),
)


class _IdentityContainer(msgspec.Struct, rename="camel"):
    machine_identifier: str
    version: str | None = None


class _Identity(msgspec.Struct):
    container: _IdentityContainer = msgspec.field(name="MediaContainer")


class _Location(msgspec.Struct):
    path: FilePath = ""


class _Section(msgspec.Struct):
    key: Text | int = ""
    title: Text = ""
    type: Text = ""
    locations: list[_Location] | None = msgspec.field(default=None, name="Location")
    """Not in the answer to a user whom the server is shared with."""
    uuid: Text | None = None
    refreshing: bool = False
    """Whether the server is scanning the library."""
    changed: Big | None = msgspec.field(default=None, name="contentChangedAt")


class _SectionsContainer(msgspec.Struct):
    size: int | None = None
    sections: list[msgspec.Raw] | None = msgspec.field(default=None, name="Directory")


class _Sections(msgspec.Struct):
    container: _SectionsContainer = msgspec.field(name="MediaContainer")


_sections = msgspec.json.Decoder(_Sections, strict=False)


class PlexImporter(HttpImporter[tuple[DiscoveredCollection, ...]]):
    """Reads movies, episodes, tracks and home videos of a Plex Media Server."""

    type_name: ClassVar[str] = "plex"
    dialect: ClassVar[Dialect] = PLEX
    library: ClassVar[type[PlexLibrary]] = PlexLibrary
    identity_path: ClassVar[str] = "/identity"

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Return the settings of the importer."""
        return cls._describe("Plex Media Server", "X-Plex-Token of an account that may see the libraries")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the server's libraries, also those of kinds that can't be ingested."""
        return await self._libraries.get()

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the library still exists, is of a playable kind, and its files can be read from here."""
        sections = await self._libraries.recent(RECENT_S)
        section = next((section for section in sections if section.external_id == collection.external_id), None)
        if section is None:
            return self._gone(collection, "key", sections)
        if section.kind not in ITEM_TYPES:
            return self._unsupported(section.kind)
        if not section.locations_known:
            return Ingestibility(
                ingestible=False,
                code="files_hidden",
                reason=(
                    "Plex shows the files of a library to the owner of the server only, and the token is that of a user"
                    " it is shared with. Set the owner's token with `retrovue source update`."
                ),
            )
        deadline_s = self._settings.mount_timeout_s
        return await check_locations(
            collection, section.locations, server="Plex", deadline_s=deadline_s, listing=self.pages
        )

    async def details(self, rating_keys: Sequence[int]) -> Mapping[int, Detail | str]:
        """Ask for the details of some items in one request. Ids that the server doesn't know are left out."""
        path = f"/library/metadata/{','.join(str(key) for key in rating_keys)}"
        try:
            answer = await self._client.get(path, PARAMETERS)
        except Refusal as exc:
            if exc.status == 404:  # it knows none of them
                return {}
            raise
        return decode_details(answer.body)

    @asynccontextmanager
    async def change_hints(self, _: Sequence[Collection]) -> AsyncIterator[AsyncIterator[ChangeHint]]:
        """Listen to the server's events until the block ends."""
        silence_s = events.SILENCE_S
        opening = self._client.streaming(events.PATH, events.FILTERS, accept="text/event-stream", silence_s=silence_s)
        async with opening as pieces, aclosing(events.read_hints(pieces)) as hints:
            yield hints

    def _read_identity(self, body: bytes | bytearray) -> SourceIdentity:
        try:
            identity = msgspec.json.decode(body, type=_Identity).container
        except (ValueError, RecursionError) as exc:
            raise self.dialect.wrong_server(self._client.origin, "it doesn't say who it is") from exc
        return SourceIdentity(identifier=identity.machine_identifier, version=identity.version)

    def _changes(self, library: HttpLibrary[Any, Any, Any], since: Since) -> AsyncGenerator[Page, None]:
        return PlexChanges(cast("PlexLibrary", library), since).pages()

    def _items(self, library: HttpLibrary[Any, Any, Any], keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        return PlexItems(cast("PlexLibrary", library), keys).pages()

    async def _fetch_libraries(self) -> tuple[DiscoveredCollection, ...]:
        answer = await self._client.get("/library/sections")
        # One answer tells both, so that a sync of a library that hasn't changed needs no other.
        self._states.set(_state_of(answer))
        return decode_sections(answer.body)

    async def _fetch_states(self) -> SourceState:
        return _state_of(await self._client.get("/library/sections"))


def decode_sections(body: bytes | bytearray) -> tuple[DiscoveredCollection, ...]:
    """Decode the answer of /library/sections, in the server's order, with titles verbatim.

    A library that can't be read as a whole is still listed: with the kind ``unknown`` or, without a key, with an empty
    id. Raises MalformedAnswer if the answer isn't a list of libraries.
    """
    return tuple(map(_collection, _decode(body)))


def decode_states(body: bytes | bytearray) -> dict[str, ChangeState]:
    """Decode what the server says of its libraries, by their keys; raises as ``decode_sections`` does.

    ``contentChangedAt`` counts up with each change, and isn't a time.
    In a library that hasn't changed for years it is 0.
    """
    return {
        str(section.key): ChangeState(
            section.refreshing, section.uuid or None, None if section.changed is None else str(section.changed)
        )
        for section in _decode(body)
    }


def _state_of(answer: Answer) -> SourceState:
    return SourceState(decode_states(answer.body), answer.clock_s)


def _decode(body: bytes | bytearray) -> list[_Section]:
    check_size(body)
    try:
        container = _sections.decode(body).container
    except (ValueError, RecursionError) as exc:
        detail = f": {exc}" if isinstance(exc, msgspec.ValidationError) else ""
        raise MalformedAnswer(
            f"The list of libraries isn't what a Plex server answers{detail}.",
            hint="Check that the source's address is that of a Plex server.",
        ) from exc
    if container.sections is None and container.size != 0:
        raise MalformedAnswer("The list of libraries holds none, and doesn't say that there are none.")
    budget = LenientBudget()
    return [_section(raw, budget) for raw in container.sections or ()]


def _section(raw: msgspec.Raw, budget: LenientBudget) -> _Section:
    try:
        return decode_leniently(bytes(raw), _Section, budget)[0]
    except (ValueError, RecursionError):
        return _Section()


def _collection(section: _Section) -> DiscoveredCollection:
    return DiscoveredCollection(
        external_id=str(section.key),
        name=section.title,
        kind=section.type or "unknown",
        locations=tuple(location.path for location in section.locations or () if location.path),
        locations_known=section.locations is not None,
        uuid=section.uuid or None,
    )
