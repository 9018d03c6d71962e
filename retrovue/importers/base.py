"""What every importer offers, and the check that it really does.

An importer is made for one run: it is entered as an async context manager, asked, and left. It may hold
connections while it is entered. It never sees the database, and nothing it raises or returns is trusted
beyond its collection.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from retrovue.core.model import (
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


@runtime_checkable
class ImporterInterface(Protocol):
    """The capabilities that ingest relies on.

    ``type_name`` is the word that names the importer in ``source add --type``. Methods that speak to the
    source raise SourceError and its subclasses; anything else they raise counts as a bug of the importer and
    fails the collection that was being worked on. All of them may be cancelled at any await.
    """

    type_name: ClassVar[str]

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        ...

    async def __aenter__(self) -> Self:
        """Open whatever the importer needs for one run."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, prove the credentials, and say who answered.

        Raises WrongIdentity if the configuration names another server than the one that answered.
        """
        ...

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections that the source offers, in the source's order."""
        ...

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the collection, with its path mappings, can be ingested now.

        A negative answer is an Ingestibility with a reason; an error means that it could not be found out.
        """
        ...

    def enumerate(
        self, collection: Collection, scope: Scope
    ) -> AbstractAsyncContextManager[AsyncIterator[Page | Outline]]:
        """Open an enumeration of what the collection holds within the scope.

        The pages together account for every item once, and the iterator ends normally only if they are proven
        to be all there is; otherwise it raises IncompleteEnumeration. Memory held is bounded by a few pages.
        """
        ...


class BaseImporter(ABC):
    """A start for importers: subclasses give the settings, the four questions and a generator of pages."""

    type_name: ClassVar[str]
    drafts_are_checked: ClassVar[bool] = False
    """Whether the importer itself has checked all values of its drafts, so that they needn't be checked again."""
    paths_are_local: ClassVar[bool] = False
    """Whether the paths of its drafts are this machine's own: a path mapping of each to itself is then implied."""
    shares_loop: ClassVar[bool] = False
    """Whether it has to run in the event loop of whoever embeds RetroVue, because it shares connections with it.

    It is trusted then: what blocks, or swallows its cancellation, holds up the whole run. Without this an importer
    that doesn't come with RetroVue runs in a thread with an event loop of its own.
    """

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Secret] | None = None) -> None:
        self.config: Mapping[str, Any] = dict(config)
        self.credentials: Mapping[str, Secret] = dict(credentials or {})

    @classmethod
    @abstractmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, prove the credentials, and say who answered."""

    @abstractmethod
    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections that the source offers."""

    @abstractmethod
    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the collection can be ingested now."""

    @abstractmethod
    def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
        """Generate the collection's pages; an async generator without a task group or cancel scope around a yield."""

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration over ``pages`` and close the generator when it is left."""
        pages = self.pages(collection, scope)
        try:
            yield pages
        finally:
            close = getattr(pages, "aclose", None)
            if close is not None:
                await close()


ImporterFactory = Callable[[Mapping[str, Any], Mapping[str, Secret]], ImporterInterface]

_COROUTINES = ("__aenter__", "__aexit__", "check_reachable", "discover_collections", "check_ingestible")
_PLAIN = ("describe_configuration", "enumerate")
_POSITIONAL_ARGUMENTS = {"check_ingestible": 1, "enumerate": 2, "describe_configuration": 0, "check_reachable": 0}


def compliance_problems(importer: object) -> list[str]:
    """List what keeps a class from being an importer; an empty list means that it complies.

    A subclass of BaseImporter complies by construction, unless it leaves an abstract method open.
    """
    if not isinstance(importer, type):
        return [f"{importer!r} is not a class"]
    if issubclass(importer, BaseImporter):
        missing = sorted(getattr(importer, "__abstractmethods__", ()))
        return [f"{name} is not implemented" for name in missing]
    problems: list[str] = []
    if not isinstance(getattr(importer, "type_name", None), str):
        problems.append("type_name is not a string")
    for name in (*_COROUTINES, *_PLAIN):
        member = inspect.getattr_static(importer, name, None)
        if member is None:
            problems.append(f"{name} is missing")
            continue
        function = getattr(importer, name)
        if not callable(function):
            problems.append(f"{name} is not callable")
        elif name in _COROUTINES and not inspect.iscoroutinefunction(function):
            problems.append(f"{name} is not a coroutine function")
        elif name in _POSITIONAL_ARGUMENTS and not _takes(function, name, member):
            problems.append(f"{name} doesn't take {_POSITIONAL_ARGUMENTS[name]} argument(s)")
    return problems


def _takes(function: Callable[..., object], name: str, member: object) -> bool:
    # The configuration is described by the class: there is no instance yet.
    of_class = name == "describe_configuration" or isinstance(member, classmethod | staticmethod)
    try:
        inspect.signature(function).bind(*[None] * (_POSITIONAL_ARGUMENTS[name] + (0 if of_class else 1)))
    except TypeError:
        return False
    return True
