"""The interface of importers, a base class that implements most of it, and the check that a class complies.

An importer is made for one run: entered as an async context manager, called, and left. It never gets the database.
What it raises or returns can fail the collection that is being ingested, and nothing else.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from retrovue.core.answers import (
    ChangeState,
    DiscoveredCollection,
    Ingestibility,
    Since,
    SourceIdentity,
    SourceState,
)
from retrovue.core.model import Collection, ConfigField, Secret
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import Scope
from retrovue.plugins.base import BasePlugin, PluginInterface, method_problems

IDENTITY_SETTING = "machine_identifier"
"""The key of a source's configuration for the identifier of its server, stored when the source is added.

An importer with this setting refuses any other server.
"""


@runtime_checkable
class ImporterInterface(PluginInterface, Protocol):
    """What ingest calls.

    The methods raise SourceError and its subclasses if the source can't be read. Anything else that they raise is
    a bug of the importer. All of them may be cancelled at any await.
    """

    type_name: ClassVar[str]
    """The name of the type, as in ``source add --type``."""

    @classmethod
    @abstractmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Return the settings that the importer takes."""
        ...

    @abstractmethod
    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, prove the credentials, and return who answered.

        Raises WrongIdentity if the configuration names another server than the one that answered.
        """
        ...

    @abstractmethod
    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections that the source offers, in the source's order.

        Raises DiscoveryUnsupported if the importer can't list them.
        """
        ...

    @abstractmethod
    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the collection, with its path mappings, can be ingested now, and why not.

        Raises an error only if this can't be found out.
        """
        ...

    @abstractmethod
    def enumerate(
        self, collection: Collection, scope: Scope
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration of the collection's items within the scope.

        The pages together account for every item once. The iterator ends normally only if they are proven to hold the
        whole collection; otherwise it raises IncompleteEnumeration. It holds a few pages in memory at the most.
        """
        ...


@runtime_checkable
class TellsChanges(Protocol):
    """What an importer may offer besides: whether its source is changing a library now.

    A sync asks before and after it reads a collection; while the source scans, nothing of the collection is removed.
    """

    @abstractmethod
    async def change_state(self, collection: Collection) -> ChangeState:
        """Return whether the source is changing the collection now. Raises SourceError as the other methods do."""
        ...


@runtime_checkable
class TellsState(Protocol):
    """What an importer may offer besides: the stamps of all its libraries and its own time, in one request.

    A sync leaves a collection alone if its stamp is the one that was read before its last complete reading.
    """

    @abstractmethod
    async def source_state(self) -> SourceState:
        """Return what the source says of all its libraries now, or said a few seconds ago.

        Raises SourceError as the other methods do.
        """
        ...


@runtime_checkable
class ListsChanges(Protocol):
    """What an importer may offer besides: the items that were changed or added since a time.

    A sync proves by the number of all items that nothing else has come or gone; removals are never concluded from it.
    The importer has to tell its state, too, as the time is the source's own.
    """

    @abstractmethod
    def changes(self, collection: Collection, since: Since) -> AsyncGenerator[Page, None]:
        """Generate pages of the items of a collection that were changed or added since a time, each item once.

        Items that haven't changed may be among them. The last page, which may be empty, has `Page.changes`. Raises
        ChangesUnknown if the source can't tell them reliably; the collection is read whole then.
        """
        ...


@runtime_checkable
class ListsItems(Protocol):
    """What an importer may offer besides: single items, by the source's own keys, as events of the source name them.

    A sync proves by the number of all items that nothing else has come or gone; removals are never concluded from it.
    """

    @abstractmethod
    def items(self, collection: Collection, keys: Sequence[str]) -> AsyncGenerator[Page, None]:
        """Generate pages of the items of a collection that have these keys, each item once.

        A key may be that of a parent, such as a show: its items are listed then. The last page, which may be empty, has
        `Page.changes`. Raises ChangesUnknown if the collection doesn't list a key, or if the source can't list items by
        their keys; what has changed is found in another way then.
        """
        ...


@runtime_checkable
class ResumesListings(Protocol):
    """What an importer may offer besides: to go on with the listing of an earlier run.

    RetroVue asks it of importers that check their drafts themselves (`BaseImporter.drafts_are_checked`).
    """

    @abstractmethod
    def resume(
        self, collection: Collection, bookmarks: Sequence[bytes]
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration of a whole collection, whose pages have bookmarks.

        ``bookmarks`` are those of the pages that an earlier run has read, in their order; without any the enumeration
        begins at the beginning. It goes on behind these pages only if it proves that the source still lists what it
        listed then. Else it yields an empty page with ``restart`` first, and then the whole collection.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChangeHint:
    """What a source tells while it is listened to: where something may have changed. It proves nothing."""

    library: str | None
    """The external id of the collection; None if the source doesn't say which one it is."""
    items: tuple[str, ...] | None
    """The source's own keys of the items; None if anything of the collection may have changed."""


@runtime_checkable
class TellsEvents(Protocol):
    """What an importer may offer besides: to listen to its source, which tells what has changed as it happens.

    What is told while nobody listens is lost, so that a sync follows each time that the listening begins.
    """

    @abstractmethod
    def change_hints(self, collections: Sequence[Collection]) -> AbstractAsyncContextManager[AsyncIterator[ChangeHint]]:
        """Listen to the source until the block ends; entering it connects.

        ``collections`` are the enabled ones; hints of others may come, and are ignored.
        The iterator waits for hints. It ends if the source ends the connection, and raises SourceError if that breaks
        or if the source is silent for longer than a living one would be. The importer is used for nothing else
        meanwhile.
        """
        ...


class BaseImporter(BasePlugin, ImporterInterface):
    """A base class for importers: a subclass adds the settings, three questions and a generator of pages."""

    drafts_are_checked: ClassVar[bool] = False
    """Whether the importer itself checks all values of its drafts, so that ingest needn't check them again."""
    rate_setting: ClassVar[str | None] = None
    """The name of its setting for the most requests in a second; None if it has none."""
    paths_are_local: ClassVar[bool] = False
    """Whether the paths of its drafts are this machine's own, so that they need no path mapping."""
    marks_sidecars: ClassVar[bool] = False
    """Whether its drafts have the marks of their sidecars (`AssetDraft.sidecar_stamp`), so that ingest needn't look."""

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Secret] | None = None) -> None:
        self.config: Mapping[str, Any] = dict(config)
        self.credentials: Mapping[str, Secret] = dict(credentials or {})

    @abstractmethod
    def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
        """Generate the collection's pages: an async generator without a task group or cancel scope around a yield."""

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
"""Of those, the ones that an importer need not have."""


def compliance_problems(importer: object) -> list[str]:
    """Return what keeps a class from being an importer; an empty list means that it complies."""
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
