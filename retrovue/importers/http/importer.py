"""The base class of importers of media servers: the server's identity, its libraries, and reading a library."""

import copy
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec.structs import replace

from retrovue.core.answers import (
    ChangeState,
    DiscoveredCollection,
    Ingestibility,
    Since,
    SourceIdentity,
    SourceState,
)
from retrovue.core.errors import WrongIdentity
from retrovue.core.model import Collection, ConfigField, Secret
from retrovue.core.pages import Outline, Page, Recall, Summarize
from retrovue.core.runs import FULL, Scope
from retrovue.core.text import quoted
from retrovue.importers.base import BaseImporter
from retrovue.importers.http.ahead import Budget, ReadingAhead
from retrovue.importers.http.answers import Answer
from retrovue.importers.http.client import HttpClient, Transport
from retrovue.importers.http.connections import Proof
from retrovue.importers.http.decoding import Decoding
from retrovue.importers.http.library import HttpLibrary
from retrovue.importers.http.pace import Pace
from retrovue.importers.http.settings import READ_AHEAD_BYTES, Dialect, HttpSettings, read_settings, setting_fields

RECENT_S = 5.0
"""Seconds for which the list of libraries is reused to check collections. A listing notices by itself that its library
is gone; without this each run would request the list three times before its first page.
"""

LibrariesT = TypeVar("LibrariesT")
ValueT = TypeVar("ValueT")


class _Fetch(Generic[ValueT]):
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.value: ValueT | None = None
        self.error: Exception | None = None


class SharedFetch(Generic[ValueT]):
    """Lets all tasks that need the same answer at the same time share one request."""

    def __init__(self, fetch: Callable[[], Awaitable[ValueT]]) -> None:
        self._fetch = fetch
        self._current: _Fetch[ValueT] | None = None
        self._last: tuple[float, ValueT] | None = None
        """When the last answer was requested, and the answer."""

    @property
    def has_answered(self) -> bool:
        """Whether there has been an answer."""
        return self._last is not None

    def set(self, value: ValueT) -> None:
        """Store an answer that was just received for another request."""
        self._last = anyio.current_time(), value

    async def recent(self, seconds: float) -> ValueT:
        """Return an answer that was requested at most ``age_s`` seconds ago; raises what fetching raises."""
        if self._last is not None and anyio.current_time() - self._last[0] <= seconds:
            return self._last[1]
        return await self.get()

    async def get(self) -> ValueT:
        """Return the current answer; raises what fetching raises."""
        while (current := self._current) is not None:
            await current.done.wait()
            if current.error is not None:
                # Each task gets its own exception, because each adds to the traceback.
                raise copy.copy(current.error) from current.error
            if current.value is not None:
                return current.value
            # The fetching task was cancelled: the next one fetches.
        current = self._current = _Fetch[ValueT]()
        began = anyio.current_time()
        try:
            current.value = await self._fetch()
            self._last = began, current.value
        except Exception as exc:
            current.error = exc
            raise
        finally:
            self._current = None
            current.done.set()
        return current.value


class HttpImporter(BaseImporter, Generic[LibrariesT]):
    """The base of importers for one kind of media server.

    Subclasses get its identity and libraries, and read a library.
    """

    drafts_are_checked: ClassVar[bool] = True
    rate_setting: ClassVar[str | None] = "max_requests_per_second"
    dialect: ClassVar[Dialect]
    library: ClassVar[type[HttpLibrary[Any, Any, Any]]]
    """Reads a library."""
    settings: ClassVar[type[HttpSettings]] = HttpSettings
    identity_path: ClassVar[str]
    """Returns the server's identity, without the token."""

    def __init__(
        self,
        config: Mapping[str, Any],
        credentials: Mapping[str, Secret] | None = None,
        *,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(config, credentials)
        self._settings, policy = read_settings(config, self.settings)
        self._client = HttpClient(
            self.dialect,
            self._settings.base_url,
            self.credentials.get("token"),
            policy,
            verify=self._settings.verify_tls,
            ca_file=self._settings.ca_file,
            transport=transport,
            pace=Pace(max_per_second=self._settings.max_requests_per_second),
        )
        self._server_id = self._settings.machine_identifier
        self._version: str | None = None
        self._client.proof = Proof(self.identity_path, self._require_same)
        self._libraries = SharedFetch(self._fetch_libraries)
        self._states = SharedFetch(self._fetch_states)
        self._budget = Budget(READ_AHEAD_BYTES)
        self.decoding = Decoding()
        """The second process, which decodes the answers of large listings."""

    @classmethod
    def _describe(cls, server: str, token: str) -> Sequence[ConfigField]:
        page_size: int = next(f.default for f in msgspec.structs.fields(cls.settings) if f.name == "page_size")
        return setting_fields(server, token, cls.dialect, page_size)

    async def __aenter__(self) -> Self:
        """Open the HTTP client for one run."""
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the HTTP client, and end the second process."""
        try:
            await self.decoding.aclose()
        finally:
            await self._client.__aexit__(exc_type, exc, traceback)

    async def check_reachable(self) -> SourceIdentity:
        """Reach the server and check that it is the configured one; the first time also check the token.

        The token is sent only after the server has identified itself.
        """
        identity = await self._identify()
        if not self._libraries.has_answered:
            await self._libraries.get()
        return identity

    def pages(self, collection: Collection, scope: Scope) -> AsyncGenerator[Page | Outline, None]:
        """Yield the collection's pages, one request after the other."""
        return self._library(collection, scope, None).pages()

    @asynccontextmanager
    async def resume(
        self, collection: Collection, bookmarks: Sequence[bytes]
    ) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration of a whole library, like ``enumerate``, that continues after the pages of bookmarks.

        Only listings of 50,000 items and more have bookmarks.
        """
        async with ReadingAhead(lambda tasks: self._library(collection, FULL, tasks, bookmarks).pages()) as pages:
            yield pages

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration that requests a few pages ahead and keeps them as undecoded bytes."""
        async with ReadingAhead(lambda tasks: self._library(collection, scope, tasks).pages()) as pages:
            yield pages

    @asynccontextmanager
    async def enumerate_recalling(
        self, collection: Collection, scope: Scope, recall: Recall, bookmarks: Sequence[bytes] | None = None
    ) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration like ``enumerate``, or with bookmarks like ``resume``, that recognises known pages."""
        async with ReadingAhead(lambda tasks: self._library(collection, scope, tasks, bookmarks, recall).pages()) as (
            pages
        ):
            yield pages

    @asynccontextmanager
    async def enumerate_summaries(
        self, collection: Collection, scope: Scope, summarize: Summarize
    ) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration like ``enumerate``, whose pages may have a summary instead of drafts."""

        def pages(tasks: TaskGroup) -> AsyncGenerator[Page | Outline, None]:
            return self._library(collection, scope, tasks, summarize=summarize).pages()

        async with ReadingAhead(pages) as summaries:
            yield summaries

    async def change_state(self, collection: Collection) -> ChangeState:
        """Return whether the server is scanning the library now; False if the server doesn't tell."""
        state = await self._states.get()
        return state.libraries.get(collection.external_id, ChangeState(refreshing=False))

    async def source_state(self) -> SourceState:
        """Return the server's state of all its libraries, at most `RECENT_S` seconds old."""
        return replace(await self._states.recent(RECENT_S), version=self._version)

    async def changes(self, collection: Collection, since: Since) -> AsyncGenerator[Page, None]:
        """Yield pages of the items that were changed or added since a time; raises ChangesUnknown."""
        async with aclosing(self._changes(self._library(collection, FULL, None), since)) as pages:
            async for page in pages:
                yield page

    async def items(self, collection: Collection, keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        """Yield pages of the items with these keys, and of those below them; raises ChangesUnknown."""
        async with aclosing(self._items(self._library(collection, FULL, None), keys)) as pages:
            async for page in pages:
                yield page

    async def _identifier(self) -> str:
        return self._server_id or (await self._identify()).identifier

    async def _identify(self) -> SourceIdentity:
        identity = self._read_identity((await self._client.prove()).body)
        self._server_id, self._version = identity.identifier, identity.version
        return identity

    def _require_same(self, answer: Answer) -> SourceIdentity:
        """Read the server's identity; raises WrongIdentity if it has changed, MalformedAnswer if there is none."""
        identity = self._read_identity(answer.body)
        found, expected = identity.identifier, self._server_id
        if expected is not None and found != expected:
            raise WrongIdentity(
                f"Another {self.dialect.product} server answers at {self._client.origin}: {found} instead of "
                f"{expected}.",
                hint="Correct the source's base URL, or add the other server as a new source.",
                context={"expected": expected, "found": found},
            )
        return identity

    def _gone(self, collection: Collection, key: str, listed: Sequence[DiscoveredCollection]) -> Ingestibility:
        """Make the answer for a library that isn't listed; ``key`` is the server's word for its ids."""
        if any(not library.external_id and library.name in {collection.name, ""} for library in listed):
            return Ingestibility(
                ingestible=False,
                code="unreadable_library",
                reason=(
                    f"The {self.dialect.product} server lists a library without its {key}, which may be"
                    f" {collection.display_name}. Try again when the server has scanned it."
                ),
            )
        return Ingestibility(
            ingestible=False,
            code="gone_from_source",
            reason=(
                f"The {self.dialect.product} server no longer lists the library {collection.display_name} ({key} "
                f"{collection.external_id}). It was removed there, or the token may not see it."
            ),
        )

    @staticmethod
    def _unsupported(kind: str) -> Ingestibility:
        return Ingestibility(
            ingestible=False,
            code="unsupported_kind",
            reason=f"A library of kind {quoted(kind)} holds nothing that can be broadcast.",
        )

    @abstractmethod
    def _read_identity(self, body: bytes | bytearray) -> SourceIdentity:
        """Read the server's identity; raises MalformedAnswer for another kind of server."""

    @abstractmethod
    async def _fetch_libraries(self) -> LibrariesT:
        """Ask for the server's libraries."""

    @abstractmethod
    def _changes(self, library: HttpLibrary[Any, Any, Any], since: Since) -> AsyncGenerator[Page, None]:
        """Yield the pages of changes in a library; raises ChangesUnknown."""

    @abstractmethod
    def _items(self, library: HttpLibrary[Any, Any, Any], keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        """Yield the pages of single items of a library; raises ChangesUnknown."""

    @abstractmethod
    async def _fetch_states(self) -> SourceState:
        """Request the state of the libraries."""

    def _library(
        self,
        collection: Collection,
        scope: Scope,
        tasks: TaskGroup | None,
        go_on: Sequence[bytes] | None = None,
        recall: Recall | None = None,
        summarize: Summarize | None = None,
    ) -> HttpLibrary[Any, Any, Any]:
        return self.library(
            self._client,
            collection,
            scope,
            identify=self._identifier,
            fetch_libraries=self._libraries.get,
            fetch_state=self._states.get,
            page_size=self._settings.page_size,
            budget=self._budget,
            decoding=self.decoding,
            tasks=tasks,
            go_on=go_on,
            recall=recall,
            summarize=summarize,
        )
