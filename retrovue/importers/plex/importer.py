"""The importer for Plex: what RetroVue asks of a source, in terms of a Plex Media Server."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Annotated, Any, ClassVar, Self

import anyio.abc
import msgspec

from retrovue.errors import WrongIdentity
from retrovue.importers.base import BaseImporter
from retrovue.importers.http.client import Refusal, Transport
from retrovue.importers.http.pace import Pace
from retrovue.importers.http.settings import READ_AHEAD_BYTES, HttpSettings, read_settings
from retrovue.importers.http.shared import Shared
from retrovue.importers.locations import check_locations
from retrovue.importers.plex.client import PlexClient
from retrovue.importers.plex.details import PARAMETERS, Detail, decode_details
from retrovue.importers.plex.enumeration import ITEM_TYPES, Enumeration, ReadingAhead
from retrovue.importers.plex.listing import Budget
from retrovue.importers.plex.sections import decode_sections
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
    """A Plex source's configuration."""

    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    """PMS has announced to refuse more than 1,000."""


class _IdentityContainer(msgspec.Struct, rename="camel"):
    machine_identifier: str
    version: str | None = None


class _Identity(msgspec.Struct):
    container: _IdentityContainer = msgspec.field(name="MediaContainer")


class PlexImporter(BaseImporter):
    """Reads movies, episodes, tracks and home videos of a Plex Media Server."""

    type_name: ClassVar[str] = "plex"
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
        self._client = PlexClient(
            self._settings.base_url,
            self.credentials.get("token"),
            self._settings.policy(),
            verify=self._settings.verify_tls,
            ca_file=self._settings.ca_file,
            transport=transport,
            pace=Pace(max_per_second=self._settings.max_requests_per_second),
        )
        self._machine_identifier = self._settings.machine_identifier
        self._sections = Shared(self._fetch_sections)
        self._budget = Budget(READ_AHEAD_BYTES)

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return (
            ConfigField("base_url", "Address of the Plex Media Server, e.g. http://192.168.1.10:32400"),
            ConfigField("token", "X-Plex-Token of an account that may see the libraries", secret=True),
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
        await self._sections.get()
        return identity

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the server's libraries, also those of kinds that can't be ingested."""
        return await self._sections.get()

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the library still exists, is of a playable kind, and its files can be reached from here."""
        sections = await self._sections.get()
        section = next((one for one in sections if one.external_id == collection.external_id), None)
        if section is None:
            return Ingestibility(
                ingestible=False,
                code="gone_from_source",
                reason=(
                    f"The Plex server no longer lists the library {collection.name!r} (key "
                    f"{collection.external_id}). It was removed there, or the token may not see it."
                ),
            )
        if section.kind not in ITEM_TYPES:
            return Ingestibility(
                ingestible=False,
                code="unsupported_kind",
                reason=f"A library of kind {section.kind!r} holds nothing that can be broadcast.",
            )
        return await check_locations(collection, section.locations, deadline_s=self._settings.mount_timeout_s)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncGenerator[Page | Outline, None]:
        """Generate the collection's pages, one request after the other."""
        enumeration = await self._enumeration(collection, scope, None)
        async with aclosing(enumeration.pages()) as pages:
            async for page in pages:
                yield page

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration that reads a bounded window of pages ahead, as undecoded bytes."""

        async def generate(tasks: anyio.abc.TaskGroup) -> AsyncGenerator[Page | Outline, None]:
            enumeration = await self._enumeration(collection, scope, tasks)
            async with aclosing(enumeration.pages()) as pages:
                async for page in pages:
                    yield page

        async with ReadingAhead(generate) as pages:
            yield pages

    async def details(self, rating_keys: Sequence[int]) -> Mapping[int, Detail | str]:
        """Ask for the details of some items in one request; ids that the server doesn't know are left out."""
        path = f"/library/metadata/{','.join(str(key) for key in rating_keys)}"
        try:
            answer = await self._client.get(path, PARAMETERS)
        except Refusal as exc:
            if exc.status == 404:  # it knows none of them
                return {}
            raise
        return decode_details(answer.body)

    async def _enumeration(
        self, collection: Collection, scope: Scope, tasks: anyio.abc.TaskGroup | None
    ) -> Enumeration:
        if self._machine_identifier is None:
            await self._identify()
        return Enumeration(
            self._client,
            collection,
            scope,
            machine_identifier=self._machine_identifier or "",
            page_size=self._settings.page_size,
            budget=self._budget,
            tasks=tasks,
        )

    async def _identify(self) -> SourceIdentity:
        answer = await self._client.get("/identity", with_token=False)
        try:
            identity = msgspec.json.decode(answer.body, type=_Identity).container
        except (ValueError, RecursionError) as exc:
            raise self._client.dialect.stranger(self._client.origin, "it doesn't say who it is") from exc
        expected = self._settings.machine_identifier
        if expected is not None and identity.machine_identifier != expected:
            raise WrongIdentity(
                f"Another Plex server answers at {self._client.origin}: {identity.machine_identifier} instead of "
                f"{expected}.",
                hint="Correct the source's base URL, or add the other server as a source of its own.",
                context={"expected": expected, "found": identity.machine_identifier},
            )
        self._machine_identifier = identity.machine_identifier
        return SourceIdentity(identifier=identity.machine_identifier, version=identity.version)

    async def _fetch_sections(self) -> tuple[DiscoveredCollection, ...]:
        answer = await self._client.get("/library/sections")
        return decode_sections(answer.body)
