"""The importer for Jellyfin: what RetroVue asks of a source, in terms of a Jellyfin server."""

import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Annotated, Any, ClassVar, Self

import msgspec
from anyio.abc import TaskGroup

from retrovue.errors import WrongIdentity
from retrovue.importers.base import BaseImporter
from retrovue.importers.http.ahead import ReadingAhead
from retrovue.importers.http.client import Transport
from retrovue.importers.http.reading import Budget
from retrovue.importers.http.settings import READ_AHEAD_BYTES, HttpSettings, read_settings
from retrovue.importers.http.shared import Shared
from retrovue.importers.jellyfin.client import JellyfinClient
from retrovue.importers.jellyfin.enumeration import Enumeration
from retrovue.importers.jellyfin.libraries import KINDS, Libraries, fetch_libraries
from retrovue.importers.locations import check_locations
from retrovue.model import (
    Collection,
    ConfigField,
    DiscoveredCollection,
    Ingestibility,
    Outline,
    Page,
    Scope,
    Secret,
    SourceIdentity,
)


class Settings(HttpSettings, frozen=True, kw_only=True):
    """A Jellyfin source's configuration."""

    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    """Jellyfin has no limit of its own; it looks up the streams of each row one by one."""


class _Identity(msgspec.Struct, rename="pascal"):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    server_name: str | None = None
    version: str | None = None
    product_name: str | None = None


class JellyfinImporter(BaseImporter):
    """Reads movies, episodes, tracks and videos of a Jellyfin server."""

    type_name: ClassVar[str] = "jellyfin"
    vouches_for_drafts: ClassVar[bool] = True

    def __init__(
        self,
        config: Mapping[str, Any],
        credentials: Mapping[str, Secret] | None = None,
        *,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(config, credentials)
        self._settings = read_settings(config, Settings)
        self._client = JellyfinClient(self._settings, self.credentials.get("token"), transport)
        self._server_id = self._settings.machine_identifier
        self._libraries = Shared(self._fetch_libraries)
        self._budget = Budget(READ_AHEAD_BYTES)

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return (
            ConfigField("base_url", "Address of the Jellyfin server, e.g. http://192.168.1.10:8096"),
            ConfigField("token", "API key (Dashboard, API Keys), or the access token of a user", secret=True),
            ConfigField(
                "max_requests_per_second",
                "Most requests to send in a second; without it the server's answers set the pace",
                required=False,
            ),
        )

    async def __aenter__(self) -> Self:
        """Open the HTTP client for one run."""
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the HTTP client."""
        await self._client.__aexit__(exc_type, exc, traceback)

    async def check_reachable(self) -> SourceIdentity:
        """Reach the server, make sure that it is the configured one, and prove the token.

        The token is sent only to a server that has said who it is.
        """
        identity = await self._identify()
        await self._libraries.get()
        return identity

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
            return Ingestibility(
                ingestible=False,
                code="gone_from_source",
                reason=(
                    f"The Jellyfin server no longer lists the library {collection.name!r} (id "
                    f"{collection.external_id}). It was removed there, or the token may not see it."
                ),
            )
        if library.kind not in KINDS:
            return Ingestibility(
                ingestible=False,
                code="unsupported_kind",
                reason=f"A library of kind {library.kind!r} holds nothing that can be broadcast.",
            )
        locations = library.locations
        if not libraries.folders_known:
            locations = tuple(mapping.source_prefix for mapping in collection.path_mappings)
            if not locations:
                return _folders_unknown(collection)
        deadline_s = self._settings.mount_timeout_s
        return await check_locations(collection, locations, server="Jellyfin", deadline_s=deadline_s)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncGenerator[Page | Outline, None]:
        """Generate the collection's pages, one request after the other."""
        async with aclosing(self._pages(collection, scope, None)) as pages:
            async for page in pages:
                yield page

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration that reads a bounded window of pages ahead, as undecoded bytes."""
        async with ReadingAhead(lambda tasks: self._pages(collection, scope, tasks)) as pages:
            yield pages

    async def _pages(
        self, collection: Collection, scope: Scope, tasks: TaskGroup | None
    ) -> AsyncGenerator[Page | Outline, None]:
        if self._server_id is None:
            await self._identify()
        enumeration = Enumeration(
            self._client,
            collection,
            scope,
            server_id=self._server_id or "",
            libraries=self._libraries.get,
            page_size=self._settings.page_size,
            budget=self._budget,
            tasks=tasks,
        )
        async with aclosing(enumeration.pages()) as pages:
            async for page in pages:
                yield page

    async def _identify(self) -> SourceIdentity:
        client = self._client
        answer = await client.get("/System/Info/Public", with_token=False)
        try:
            identity = msgspec.json.decode(answer.body, type=_Identity)
        except (ValueError, RecursionError) as exc:
            raise client.dialect.stranger(client.origin, "it doesn't say who it is") from exc
        # Servers that are not Jellyfin's, but of one descent with it, answer here too.
        if identity.product_name is not None and "jellyfin" not in identity.product_name.lower():
            raise client.dialect.stranger(client.origin, f"it calls itself {identity.product_name!r}")
        expected = self._settings.machine_identifier
        if expected is not None and identity.id != expected:
            raise WrongIdentity(
                f"Another Jellyfin server answers at {client.origin}: {identity.id} instead of {expected}.",
                hint="Correct the source's base URL, or add the other server as a source of its own.",
                context={"expected": expected, "found": identity.id},
            )
        self._server_id = identity.id
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
