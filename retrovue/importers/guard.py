"""The guard around an importer: whatever a third party's code does costs its collection, never the run.

Its bugs become ImporterFailed, its silence has a deadline, and what it returns is checked before it is used.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar

import anyio
import msgspec
import orjson
from msgspec.structs import asdict

from retrovue.errors import ImporterFailed, RequestError, SourceError
from retrovue.importers.base import ImporterInterface
from retrovue.model import (
    AssetDraft,
    Collection,
    ConfigField,
    DiscoveredCollection,
    Ingestibility,
    Outline,
    Page,
    Rejection,
    Scope,
    SourceIdentity,
)

PATIENCE = 900.0
"""Seconds that any one answer of an importer may take; importers have tighter deadlines of their own."""

T = TypeVar("T")


class GuardedImporter:
    """An ImporterInterface that trusts the importer it wraps with nothing."""

    def __init__(self, importer: ImporterInterface, *, patience: float = PATIENCE) -> None:
        self._importer = importer
        self._patience = patience
        self.type_name: str = getattr(importer, "type_name", type(importer).__name__)
        self._vouched = getattr(importer, "vouches_for_drafts", False) is True

    def describe_configuration(self) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return self._importer.describe_configuration()

    async def __aenter__(self) -> Self:
        await self._pass("opening", self._importer.__aenter__)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # All that was asked has been answered: that closing fails changes nothing about the answers.
        with suppress(SourceError):
            await self._pass("closing", lambda: self._importer.__aexit__(exc_type, exc, traceback))

    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, prove the credentials, and say who answered."""
        return self._expect(SourceIdentity, await self._ask("check_reachable", self._importer.check_reachable))

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections that the source offers."""
        found = await self._ask("discover_collections", self._importer.discover_collections)
        return [self._expect(DiscoveredCollection, collection) for collection in self._expect(Sequence, found)]  # type: ignore[type-abstract]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Say whether the collection can be ingested now."""
        answer = await self._ask("check_ingestible", lambda: self._importer.check_ingestible(collection))
        return self._expect(Ingestibility, answer)

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        """Open an enumeration whose errors and pages have passed the guard."""
        try:
            manager: AbstractAsyncContextManager[AsyncIterator[Page | Outline]] = self._importer.enumerate(
                collection, scope
            )
        except Exception as exc:
            raise self._blame("enumerate", exc) from exc
        pages = await self._pass("enumerate", lambda: manager.__aenter__())  # noqa: PLW0108 - it may lack one
        try:
            yield self._guarded(pages)
        except BaseException as exc:
            # The error is ours, or has passed the guard already: the importer only gets to clean up after it. It
            # can't swallow the error either: a listing that was broken off would pass for a complete one.
            await self._leave(manager, exc)
            raise
        else:
            await self._leave(manager, None)

    def _guarded(self, pages: AsyncIterator[Page | Outline]) -> "GuardedPages":
        return GuardedPages(self, pages)

    async def _leave(
        self, manager: AbstractAsyncContextManager[AsyncIterator[Page | Outline]], exc: BaseException | None
    ) -> None:
        traceback = None if exc is None else exc.__traceback__
        try:
            await manager.__aexit__(None if exc is None else type(exc), exc, traceback)
        except (Exception, SystemExit) as raised:
            if raised is exc or isinstance(raised, SourceError | RequestError):
                raise
            raise self._blame("enumerate", raised) from raised

    async def next_page(self, pages: AsyncIterator[Page | Outline]) -> Page | Outline:
        """Wait for one page; raises StopAsyncIteration at the end of a complete enumeration."""
        page = await self._ask("enumerate", lambda: anext(pages))
        if not isinstance(page, Outline):
            return self._checked(page)
        if len(page.source_uris) != len(page.source_paths):
            # A draft without paths could pass for one that is known.
            raise self._blame("enumerate", ValueError())
        return page

    def read(self, outline: Outline) -> Page:
        """Read the page behind an outline."""
        try:
            page = outline.read()
        except (SourceError, RequestError):
            raise
        except Exception as exc:
            raise self._blame("enumerate", exc) from exc
        return self._checked(page)

    def _checked(self, page: object) -> Page:
        page = self._expect(Page, page)
        for draft in page.drafts:
            if type(draft) is not AssetDraft:
                self._expect(AssetDraft, draft)
        if not self._vouched:
            self._sort_out(page)
        return page

    def _sort_out(self, page: Page) -> None:
        """Reject the drafts whose values the catalogue can't hold, naming the importer; the rest stay."""
        drafts, page.drafts = page.drafts, []
        for draft in drafts:
            problem = draft_problem(draft)
            if problem is None:
                page.drafts.append(draft)
            else:
                reason = f"The importer {self.type_name!r} gave a draft that can't be used: {problem}"
                page.rejected.append(Rejection("bad_draft", reason, str(draft.source_uri), str(draft.title)))

    async def _ask(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        with anyio.move_on_after(self._patience):
            return await self._pass(what, ask)
        raise ImporterFailed(
            f"The importer {self.type_name!r} gave no answer to {what} within {self._patience:g} s.",
            code="importer_timeout",
            hint="Look at the source: is it overloaded, or a disk asleep?",
        )

    async def _pass(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        # Without a deadline: what opens or closes may enter or leave a task group, and scopes have to nest.
        try:
            return await ask()
        except (SourceError, RequestError, StopAsyncIteration):
            raise
        except (Exception, SystemExit, BaseExceptionGroup) as exc:
            raise self._blame(what, exc) from exc
        except anyio.get_cancelled_exc_class() as exc:
            if _cancelled():
                raise
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


def _cancelled() -> bool:
    """Whether somebody asked for this task to be cancelled; a task group takes a stray cancellation for a good end."""
    task = asyncio.current_task()
    return anyio.current_effective_deadline() == -math.inf or task is None or task.cancelling() > 0


def draft_problem(draft: AssetDraft) -> str | None:
    """Say what keeps a draft out of the catalogue: a type, a range, or text that can't be stored."""
    values = asdict(draft)
    try:
        values["parts"] = [asdict(part) for part in draft.parts]
        msgspec.convert(values, AssetDraft)
        # Halves of surrogate pairs can't be encoded. Paths are judged where they are mapped.
        values["parts"] = None
        written = orjson.dumps(values)
    except (TypeError, ValueError, AttributeError) as exc:
        return f"{exc}"
    # The escape alone may be text that speaks of it.
    return "its text holds a NUL character" if b"\\u0000" in written and _holds_nul(values) else None


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case Mapping():
            return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
        case list() | tuple():
            return any(map(_holds_nul, value))
        case _:
            return False


class GuardedPages:
    """The pages of a guarded enumeration."""

    def __init__(self, guard: GuardedImporter, pages: AsyncIterator[Page | Outline]) -> None:
        self._guard = guard
        self._pages = pages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page | Outline:
        return await self._guard.next_page(self._pages)
