"""The importer for Plex: what RetroVue asks of a source, in terms of a Plex Media Server."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from anyio.abc import TaskGroup

from retrovue.core.model import Collection, ConfigField, DiscoveredCollection, Ingestibility, Scope, SourceIdentity
from retrovue.importers.http.client import Refusal
from retrovue.importers.http.dialect import Dialect
from retrovue.importers.http.importer import HttpImporter
from retrovue.importers.locations import check_locations
from retrovue.importers.plex.details import PARAMETERS, Detail, decode_details
from retrovue.importers.plex.dialect import PLEX
from retrovue.importers.plex.enumeration import ITEM_TYPES, Enumeration
from retrovue.importers.plex.sections import decode_sections


class _IdentityContainer(msgspec.Struct, rename="camel"):
    machine_identifier: str
    version: str | None = None


class _Identity(msgspec.Struct):
    container: _IdentityContainer = msgspec.field(name="MediaContainer")


class PlexImporter(HttpImporter[tuple[DiscoveredCollection, ...]]):
    """Reads movies, episodes, tracks and home videos of a Plex Media Server."""

    type_name: ClassVar[str] = "plex"
    dialect: ClassVar[Dialect] = PLEX

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return cls._describe("Plex Media Server", "X-Plex-Token of an account that may see the libraries")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the server's libraries, also those of kinds that can't be ingested."""
        return await self._libraries.get()

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the library still exists, is of a playable kind, and its files can be reached from here."""
        sections = await self._libraries.get()
        section = next((one for one in sections if one.external_id == collection.external_id), None)
        if section is None:
            return self._gone(collection, "key")
        if section.kind not in ITEM_TYPES:
            return self._unsupported(section.kind)
        return await check_locations(collection, section.locations, deadline_s=self._settings.mount_timeout_s)

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

    def _enumeration(
        self, collection: Collection, scope: Scope, server_id: str, tasks: TaskGroup | None
    ) -> Enumeration:
        return Enumeration(
            self._client,
            collection,
            scope,
            machine_identifier=server_id,
            page_size=self._settings.page_size,
            budget=self._budget,
            tasks=tasks,
        )

    async def _ask_who_it_is(self) -> SourceIdentity:
        answer = await self._client.get("/identity", with_token=False)
        try:
            identity = msgspec.json.decode(answer.body, type=_Identity).container
        except (ValueError, RecursionError) as exc:
            raise self.dialect.stranger(self._client.origin, "it doesn't say who it is") from exc
        return SourceIdentity(identifier=identity.machine_identifier, version=identity.version)

    async def _fetch_libraries(self) -> tuple[DiscoveredCollection, ...]:
        answer = await self._client.get("/library/sections")
        return decode_sections(answer.body)
