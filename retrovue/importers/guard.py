"""The guard around an importer: whatever a third party's code does costs its collection, never the run.

Its bugs become ImporterFailed, its silence has a deadline, and what it returns is checked before it is used.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import anyio

from retrovue.errors import ImporterFailed, RetrovueError
from retrovue.importers.base import ImporterInterface
from retrovue.model import Collection, ConfigField, DiscoveredCollection, Ingestibility, Page, Scope, SourceIdentity

PATIENCE = 900.0
"""Seconds that any one answer of an importer may take; importers have tighter deadlines of their own."""

T = TypeVar("T")


class GuardedImporter:
    """An ImporterInterface that trusts the importer it wraps with nothing."""

    def __init__(self, importer: ImporterInterface, *, patience: float = PATIENCE) -> None:
        self._importer = importer
        self._patience = patience
        self.type_name = importer.type_name

    def describe_configuration(self) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return self._importer.describe_configuration()

    async def __aenter__(self) -> Self:
        await self._ask("opening", self._importer.__aenter__())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1.5):
            await self._ask("closing", self._importer.__aexit__(exc_type, exc, traceback))

    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, prove the credentials, and say who answered."""
        return self._expect(SourceIdentity, await self._ask("check_reachable", self._importer.check_reachable()))

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections that the source offers."""
        found = await self._ask("discover_collections", self._importer.discover_collections())
        return [self._expect(DiscoveredCollection, collection) for collection in found]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the collection can be ingested now."""
        answer = await self._ask("check_ingestible", self._importer.check_ingestible(collection))
        return self._expect(Ingestibility, answer)

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page]]:
        """Open an enumeration whose errors and pages have passed the guard."""
        try:
            manager: AbstractAsyncContextManager[AsyncIterator[Page]] = self._importer.enumerate(collection, scope)
        except Exception as exc:
            raise self._blame("enumerate", exc) from exc
        pages = await self._ask("enumerate", manager.__aenter__())
        try:
            yield self._guarded(pages)
        except BaseException as exc:
            # The error is ours, or has passed the guard already: the importer only gets to clean up after it.
            if not await self._leave(manager, exc):
                raise
        else:
            await self._leave(manager, None)

    def _guarded(self, pages: AsyncIterator[Page]) -> "GuardedPages":
        return GuardedPages(self, pages)

    async def _leave(
        self, manager: AbstractAsyncContextManager[AsyncIterator[Page]], exc: BaseException | None
    ) -> bool:
        traceback = None if exc is None else exc.__traceback__
        try:
            return bool(await manager.__aexit__(None if exc is None else type(exc), exc, traceback))
        except Exception as raised:
            if raised is exc or isinstance(raised, RetrovueError):
                raise
            raise self._blame("enumerate", raised) from raised

    async def next_page(self, pages: AsyncIterator[Page]) -> Page:
        """Wait for one page; raises StopAsyncIteration at the end of a complete enumeration."""
        return self._expect(Page, await self._ask("enumerate", anext(pages)))

    async def _ask(self, what: str, answer: Awaitable[T]) -> T:
        try:
            with anyio.fail_after(self._patience):
                return await answer
        except TimeoutError as exc:
            raise ImporterFailed(
                f"The importer {self.type_name!r} gave no answer to {what} within {self._patience:g} s.",
                code="importer_timeout",
                hint="Look at the source: is it overloaded, or a disk asleep?",
            ) from exc
        except (RetrovueError, StopAsyncIteration):
            raise
        except (Exception, SystemExit) as exc:
            raise self._blame(what, exc) from exc

    def _expect(self, kind: type[T], value: object) -> T:
        if not isinstance(value, kind):
            raise ImporterFailed(
                f"The importer {self.type_name!r} returned a {type(value).__name__} where a {kind.__name__} belongs.",
                hint="This is a bug of the importer; report it to its authors.",
            )
        return value

    def _blame(self, what: str, exc: BaseException) -> ImporterFailed:
        return ImporterFailed(
            f"The importer {self.type_name!r} failed in {what}: {type(exc).__name__}.",
            hint="This is a bug of the importer; the traceback is in the audit trail.",
        )


class GuardedPages:
    """The pages of a guarded enumeration."""

    def __init__(self, guard: GuardedImporter, pages: AsyncIterator[Page]) -> None:
        self._guard = guard
        self._pages = pages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page:
        return await self._guard.next_page(self._pages)
