"""The importer for Jellyfin: what RetroVue asks of a source, in terms of a Jellyfin server."""

import shlex
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
from anyio.abc import TaskGroup

from retrovue.core.model import Collection, ConfigField, DiscoveredCollection, Ingestibility, Scope, SourceIdentity
from retrovue.importers.http.dialect import Dialect
from retrovue.importers.http.importer import HttpImporter
from retrovue.importers.http.settings import HttpSettings
from retrovue.importers.jellyfin.dialect import JELLYFIN
from retrovue.importers.jellyfin.enumeration import Enumeration
from retrovue.importers.jellyfin.libraries import KINDS, Libraries, fetch_libraries
from retrovue.importers.locations import check_locations


class Settings(HttpSettings, frozen=True, kw_only=True):
    """A Jellyfin source's configuration."""

    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    """Jellyfin has no limit of its own; it looks up the streams of each row one by one."""


class _Identity(msgspec.Struct, rename="pascal"):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    server_name: str | None = None
    version: str | None = None
    product_name: str | None = None


class JellyfinImporter(HttpImporter[Libraries]):
    """Reads movies, episodes, tracks and videos of a Jellyfin server."""

    type_name: ClassVar[str] = "jellyfin"
    dialect: ClassVar[Dialect] = JELLYFIN
    settings: ClassVar[type[HttpSettings]] = Settings

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return cls._describe("Jellyfin server", "API key (Dashboard, API Keys), or the access token of a user")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the server's libraries, also those of kinds that can't be ingested.

        Their folders are known to an API key or an administrator only; to others the list is what the user sees.
        """
        return (await self._libraries.get()).found

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the library still exists, is of a playable kind, and its files can be reached from here.

        Where the token may not see the library's folders, those of the path mappings stand for them.
        """
        libraries = await self._libraries.get()
        library = libraries.get(collection.external_id)
        if library is None:
            return self._gone(collection, "id")
        if library.kind not in KINDS:
            return self._unsupported(library.kind)
        locations = library.locations
        if not libraries.folders_known:
            locations = tuple(mapping.source_prefix for mapping in collection.path_mappings)
            if not locations:
                return _folders_unknown(collection)
        deadline_s = self._settings.mount_timeout_s
        return await check_locations(collection, locations, server="Jellyfin", deadline_s=deadline_s)

    def _enumeration(
        self, collection: Collection, scope: Scope, server_id: str, tasks: TaskGroup | None
    ) -> Enumeration:
        return Enumeration(
            self._client,
            collection,
            scope,
            server_id=server_id,
            libraries=self._libraries.get,
            page_size=self._settings.page_size,
            budget=self._budget,
            tasks=tasks,
        )

    async def _ask_who_it_is(self) -> SourceIdentity:
        client = self._client
        answer = await client.get("/System/Info/Public", with_token=False)
        try:
            identity = msgspec.json.decode(answer.body, type=_Identity)
        except (ValueError, RecursionError) as exc:
            raise self.dialect.stranger(client.origin, "it doesn't say who it is") from exc
        # Servers that are not Jellyfin's, but of one descent with it, answer here too.
        if identity.product_name is not None and "jellyfin" not in identity.product_name.lower():
            raise self.dialect.stranger(client.origin, f"it calls itself {identity.product_name!r}")
        return SourceIdentity(identifier=identity.id, name=identity.server_name, version=identity.version)

    async def _fetch_libraries(self) -> Libraries:
        return await fetch_libraries(self._client)


def _folders_unknown(collection: Collection) -> Ingestibility:
    return Ingestibility(
        ingestible=False,
        code="unknown_location",
        reason=(
            "Jellyfin tells the folders of a library to an API key or an administrator only, and the token is neither. "
            "Set an API key with `retrovue source update`, or say by hand where its files are: "
            f"`retrovue collection update {shlex.quote(collection.name)} --map SOURCE=LOCAL`."
        ),
    )
