"""The interface of importers, a base class that implements most of it, and the check that a class complies.

An importer is made for one run: it is entered as an async context manager, called, and left. It never gets access to
the database. An exception or invalid answer can fail the collection that is being ingested, and nothing else.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Protocol, runtime_checkable

from msgspec import Struct

from retrovue.core.answers import (
    ChangeState,
    DiscoveredCollection,
    Ingestibility,
    Since,
    SourceIdentity,
    SourceState,
)
from retrovue.core.model import Collection, ConfigField, Secret
from retrovue.core.pages import Outline, Page, Recall, Summarize
from retrovue.core.runs import Scope
from retrovue.plugins.base import BasePlugin, PluginInterface, method_problems

IDENTITY_SETTING = "machine_identifier"
"""The key in a source's configuration for the identifier of its server, which is stored when the source is added. An
importer with this setting refuses any other server.
"""


@runtime_checkable
class ImporterInterface(PluginInterface, Protocol):
    """The methods and attributes that an ingest uses.

    The methods raise SourceError and its subclasses if the source can't be read. Any other exception is a bug of the
    importer. All of them may be cancelled at any await.
    """

    type_name: ClassVar[str]
    """The name of the type, as in ``source add --type``."""

    @classmethod
    @abstractmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Return the settings of the importer."""
        ...

    @abstractmethod
    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, check the credentials, and return the identity of the server.

        Raises WrongIdentity if the configuration names another server.
        """
        ...

    @abstractmethod
    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections of the source, in the source's order.

        Raises DiscoveryUnsupported if the importer can't list them.
        """
        ...

    @abstractmethod
    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the collection, with its path mappings, can be ingested now, and if not, why.

        Raises an error only if that can't be found out.
        """
        ...

    @abstractmethod
    def enumerate(
        self, collection: Collection, scope: Scope
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration of the items of the collection in scope.

        The pages together contain every item once. The iterator ends normally only if they are proven to be complete;
        otherwise it raises IncompleteEnumeration. It holds at most a few pages in memory.
        """
        ...


@runtime_checkable
class TellsChanges(Protocol):
    """An optional interface of importers: whether the source is changing a library now.

    A sync asks before and after it reads a collection; while the source scans, no asset of the collection is removed.
    """

    @abstractmethod
    async def change_state(self, collection: Collection) -> ChangeState:
        """Return whether the source is changing the collection now. Raises SourceError like the other methods."""
        ...


@runtime_checkable
class TellsState(Protocol):
    """An optional interface of importers: the stamps of all libraries and the source's time, in one request.

    A sync doesn't read a collection whose stamp is equal to that of its last complete reading.
    """

    @abstractmethod
    async def source_state(self) -> SourceState:
        """Return the state of all libraries, which may be some seconds old.

        Raises SourceError like the other methods.
        """
        ...


@runtime_checkable
class ListsChanges(Protocol):
    """An optional interface of importers: the items that were changed or added since a time.

    A sync proves by the total number of items that no other item has come or gone; it never concludes removals from the
    changes. The importer has to implement `TellsState` as well, because the time is the source's.
    """

    @abstractmethod
    def changes(self, collection: Collection, since: Since) -> AsyncGenerator[Page, None]:
        """Yield pages of the items of a collection that were changed or added since a time, each item once.

        Unchanged items may be included. The last page, which may be empty, has `Page.changes`. Raises ChangesUnknown if
        the source can't list them reliably; the whole collection is read then.
        """
        ...


@runtime_checkable
class ListsItems(Protocol):
    """An optional interface of importers: single items by the source's own keys, as its events name them.

    A sync proves by the total number of items that no other item has come or gone; it never concludes removals from
    single items.
    """

    @abstractmethod
    def items(self, collection: Collection, keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        """Yield pages of the items of a collection that have these keys, each item once.

        A key may be that of a parent, such as a show: then the items below it are listed. The last page, which may be
        empty, has `Page.changes`. Raises ChangesUnknown if the collection doesn't list a key, or if the source can't
        list items by their keys; the sync then finds the changes in another way.
        """
        ...


@runtime_checkable
class ResumesListings(Protocol):
    """An optional interface of importers: continue the listing of an earlier run.

    It is used for importers that check their drafts themselves (`BaseImporter.drafts_are_checked`).
    """

    @abstractmethod
    def resume(
        self, collection: Collection, bookmarks: Sequence[bytes]
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration of a whole collection, with bookmarks on its pages.

        ``bookmarks`` are those of the pages that an earlier run has read, in their order; without any, the enumeration
        starts at the beginning. It continues after these pages only if it proves that the source still lists the same.
        Otherwise it first yields an empty page with ``restart``, and then the whole collection.
        """
        ...


@runtime_checkable
class RecallsPages(Protocol):
    """An optional interface of importers that come with RetroVue: recognise known pages before they are decoded."""

    @abstractmethod
    def enumerate_recalling(
        self, collection: Collection, scope: Scope, recall: Recall, bookmarks: Sequence[bytes] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration as `BaseImporter.enumerate` does, or with bookmarks as `ResumesListings.resume`.

        Of a page that ``recall`` knows it yields an outline that is ``recognised``.
        """
        ...


@runtime_checkable
class SummarizesPages(Protocol):
    """An optional interface of importers that come with RetroVue: yield summaries in place of drafts."""

    @abstractmethod
    def enumerate_summaries(
        self, collection: Collection, scope: Scope, summarize: Summarize
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration like ``enumerate``, whose pages may have a summary instead of drafts: `Page.summary`."""
        ...


class ChangeHint(Struct, frozen=True):
    """A hint from a source that is listened to: where something may have changed. It proves nothing."""

    library: str | None
    """The external id of the collection; None if the source doesn't tell it."""
    items: tuple[str, ...] | None
    """The source's own keys of the items; None if any item of the collection may have changed."""


@runtime_checkable
class TellsEvents(Protocol):
    """An optional interface of importers: listen to the source, which reports changes as they happen.

    What the source reports while nobody listens is lost, so a sync follows each start of listening.
    """

    @abstractmethod
    def change_hints(self, collections: Sequence[Collection]) -> AbstractAsyncContextManager[AsyncIterator[ChangeHint]]:
        """Listen to the source until the block ends; entering it connects.

        ``collections`` are the enabled ones; hints of others may come, and are ignored. The iterator waits for hints.
        It ends if the source ends the connection. It raises SourceError if the connection breaks, or if the source is
        silent for longer than a working one would be. The importer isn't used for anything else meanwhile.
        """
        ...


class BaseImporter(BasePlugin, ImporterInterface):
    """A base class for importers: a subclass adds the settings, three methods and a generator of pages."""

    drafts_are_checked: ClassVar[bool] = False
    """Whether the importer itself checks all values of its drafts, so that ingest needn't check them again."""
    rate_setting: ClassVar[str | None] = None
    """The name of its setting for the most requests in a second; None if it has none."""
    paths_are_local: ClassVar[bool] = False
    """Whether the paths of its drafts are local paths, so that they need no path mapping."""
    marks_sidecars: ClassVar[bool] = False
    """Whether its drafts have the marks of their sidecars (`AssetDraft.sidecar_stamp`), so that ingest needn't look."""

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Secret] | None = None) -> None:
        self.config: Mapping[str, Any] = dict(config)
        self.credentials: Mapping[str, Secret] = dict(credentials or {})

    @abstractmethod
    def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
        """Yield the collection's pages: an async generator without a task group or cancel scope around a yield."""

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration over ``pages``; closes the generator at the end."""
        pages = self.pages(collection, scope)
        try:
            yield pages
        finally:
            close = getattr(pages, "aclose", None)
            if close is not None:
                await close()


_COROUTINES = {"__aenter__": 0, "__aexit__": 3, "check_reachable": 0, "discover_collections": 0, "check_ingestible": 1}

_OFFERED = {"change_state": 1, "source_state": 0}
"""The names among them that are optional for an importer."""


def compliance_problems(importer: object) -> list[str]:
    """Return what a class lacks to be an importer; an empty list means that it complies."""
    if not isinstance(importer, type):
        return [f"{importer} is not a class"]
    problems: list[str] = []
    if not isinstance(getattr(importer, "type_name", None), str):
        problems.append("type_name is not a string")
    generators = {"pages": 2} if issubclass(importer, BaseImporter) else {}
    generators |= {name: 2 for name in ("changes", "items", "resume") if hasattr(importer, name)}
    generators |= {name: 1 for name in ("change_hints",) if hasattr(importer, name)}
    offered = {name: count for name, count in _OFFERED.items() if hasattr(importer, name)}
    methods = _COROUTINES | offered, generators | {"enumerate": 2}
    return problems + method_problems(importer, *methods, "describe_configuration")
