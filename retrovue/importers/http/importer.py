"""What the importers of media servers have in common: who answers, what it lists, and how its libraries are read."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from anyio.abc import TaskGroup

from retrovue.core.bounds import SLOWEST_RATE
from retrovue.core.errors import WrongIdentity
from retrovue.core.model import Collection, ConfigField, Ingestibility, Outline, Page, Scope, Secret, SourceIdentity
from retrovue.importers.base import BaseImporter
from retrovue.importers.http.ahead import ReadingAhead
from retrovue.importers.http.client import HttpClient, Transport
from retrovue.importers.http.dialect import Dialect
from retrovue.importers.http.enumeration import PagedEnumeration
from retrovue.importers.http.pace import Pace
from retrovue.importers.http.reading import Budget
from retrovue.importers.http.settings import READ_AHEAD_BYTES, HttpSettings, read_settings
from retrovue.importers.http.shared import Shared

LibrariesT = TypeVar("LibrariesT")


class HttpImporter(BaseImporter, Generic[LibrariesT]):
    """An importer of one kind of media server: subclasses ask it who it is and what it lists, and read a library."""

    drafts_are_checked: ClassVar[bool] = True
    dialect: ClassVar[Dialect]
    settings: ClassVar[type[HttpSettings]] = HttpSettings

    def __init__(
        self,
        config: Mapping[str, Any],
        credentials: Mapping[str, Secret] | None = None,
        *,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(config, credentials)
        self._settings = read_settings(config, self.settings)
        self._client = HttpClient(
            self.dialect,
            self._settings.base_url,
            self.credentials.get("token"),
            self._settings.policy(),
            verify=self._settings.verify_tls,
            ca_file=self._settings.ca_file,
            transport=transport,
            pace=Pace(max_per_second=self._settings.max_requests_per_second),
        )
        self._server_id = self._settings.machine_identifier
        self._libraries = Shared(self._fetch_libraries)
        self._budget = Budget(READ_AHEAD_BYTES)

    @classmethod
    def _describe(cls, server: str, token: str) -> Sequence[ConfigField]:
        return (
            ConfigField("base_url", f"Address of the {server}, e.g. {cls.dialect.example}"),
            ConfigField("token", token, secret=True),
            ConfigField(
                "max_requests_per_second",
                f"Most requests to send in a second, at least {SLOWEST_RATE:g};"
                " without it the server's answers set the pace",
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
        server_id = self._server_id or (await self._identify()).identifier
        enumeration = self._enumeration(collection, scope, server_id, tasks)
        async with aclosing(enumeration.pages()) as pages:
            async for page in pages:
                yield page

    async def _identify(self) -> SourceIdentity:
        identity = await self._ask_who_it_is()
        found, expected = identity.identifier, self._settings.machine_identifier
        if expected is not None and found != expected:
            raise WrongIdentity(
                f"Another {self.dialect.product} server answers at {self._client.origin}: {found} instead of "
                f"{expected}.",
                hint="Correct the source's base URL, or add the other server as a source of its own.",
                context={"expected": expected, "found": found},
            )
        self._server_id = found
        return identity

    def _gone(self, collection: Collection, key: str) -> Ingestibility:
        """Say that a library isn't listed; ``key`` is what the server calls its ids."""
        return Ingestibility(
            ingestible=False,
            code="gone_from_source",
            reason=(
                f"The {self.dialect.product} server no longer lists the library {collection.name!r} ({key} "
                f"{collection.external_id}). It was removed there, or the token may not see it."
            ),
        )

    @staticmethod
    def _unsupported(kind: str) -> Ingestibility:
        return Ingestibility(
            ingestible=False,
            code="unsupported_kind",
            reason=f"A library of kind {kind!r} holds nothing that can be broadcast.",
        )

    @abstractmethod
    async def _ask_who_it_is(self) -> SourceIdentity:
        """Ask for the server's identity, without the token; raises MalformedAnswer for another kind of server."""

    @abstractmethod
    async def _fetch_libraries(self) -> LibrariesT:
        """Ask for the server's libraries."""

    @abstractmethod
    def _enumeration(
        self, collection: Collection, scope: Scope, server_id: str, tasks: TaskGroup | None
    ) -> PagedEnumeration[Any]:
        """Make the enumeration of a library."""
