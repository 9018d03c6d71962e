"""Importers of third parties that the contract tests install by entry point; each notes what of it ran."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

from retrovue.core.answers import DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import Scope
from retrovue.errors import DiscoveryUnsupported
from retrovue.importers.base import BaseImporter
from tests.support.library import draft, page

RAN: list[str] = []
"""What was run or asked, in order."""


class Subclass(BaseImporter):
    """Compliant by construction."""

    type_name: ClassVar[str] = "thirdparty"

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        return []

    async def check_reachable(self) -> SourceIdentity:
        RAN.append("reachable")
        return SourceIdentity("somebody")

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        RAN.append("discover")
        return [DiscoveredCollection("1", "Films", "movie", ("/data",))]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        RAN.append(f"ingestible {collection.name}")
        return Ingestibility(ingestible=True)

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
        RAN.append(f"enumerate {collection.name} {scope.title} {scope.season} {scope.episode}")
        yield page(draft("one"), draft("two"))


class Undiscovering(Subclass):
    """Can't list collections."""

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        raise DiscoveryUnsupported("they are written by hand")


class Wild(Subclass):
    """Gives for one collection a number that is none, on which our own code stumbles."""

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:  # noqa: ARG002
        items: Any = "one" if collection.name == "Movies" else 1
        yield Page([draft("one")], [], source_items=items)


class Lookalike:
    """Compliant without being a BaseImporter: it has everything that ImporterInterface names."""

    type_name = "thirdparty"

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        self._own = Subclass(config, credentials)

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        return []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def check_reachable(self) -> SourceIdentity:
        return await self._own.check_reachable()

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        return await self._own.discover_collections()

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        return await self._own.check_ingestible(collection)

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        async with self._own.enumerate(collection, scope) as pages:
            yield pages


class _Noted:
    def __new__(cls, *_: object) -> Self:
        RAN.append("made")
        return super().__new__(cls)


class Incomplete(_Noted):
    """Lacks nearly everything."""

    type_name = "thirdparty"

    async def check_reachable(self) -> SourceIdentity:
        RAN.append("reachable")
        return SourceIdentity("somebody")


class NotAsync(_Noted, Lookalike):
    """Blocks where it should be awaited."""

    def check_ingestible(self, collection: Collection) -> Ingestibility:  # type: ignore[override]  # noqa: ARG002
        RAN.append("ingestible")
        return Ingestibility(ingestible=True)


class Abstract(_Noted, Subclass):
    """A BaseImporter that leaves a method open."""

    pages = BaseImporter.pages


Abstract.__abstractmethods__ = frozenset({"pages"})


NOT_A_CLASS = object()
