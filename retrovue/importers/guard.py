"""The guard around an importer: whatever a third party's code does costs its collection, never the run.

Its bugs become ImporterFailed, its silence has a deadline, and what it returns is checked before it is used. An
importer that doesn't come with RetroVue runs in a thread with an event loop of its own, so that it can neither hold
up the run's loop nor outlast its deadline by swallowing its cancellation. RetroVue's own run in the run's loop.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import anyio
import msgspec
import orjson
from msgspec.structs import asdict, replace

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import ImporterFailed, RequestError, SourceError, normalized
from retrovue.core.model import (
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
from retrovue.core.text import is_storable, redact
from retrovue.importers.base import ImporterInterface
from retrovue.importers.doubles import Doubles
from retrovue.importers.waiting import Stopwatch
from retrovue.plugins.isolation import GRACE, Lane, LoopEnded, PluginLoop, Unanswered, is_isolated

PATIENCE = 900.0
"""Seconds that any one answer of an importer may take; importers have tighter deadlines of their own."""
MOST_DRAFTS = 20_000
"""Drafts of one page; a page is checked in one go, which holds up the run. The longest show has 16,000 episodes."""
CLOSING = 10.0
"""Seconds that a foreign importer may take to close an enumeration or itself: the answers are in by then."""
OURS = "retrovue.importers."
"""The modules of the importers that come with RetroVue."""

T = TypeVar("T")


class GuardedImporter:
    """An ImporterInterface that trusts the importer it wraps with nothing.

    It isolates a foreign importer from when it is entered until it is left.
    """

    def __init__(self, importer: ImporterInterface, *, patience: float = PATIENCE) -> None:
        self._importer = importer
        self._patience = patience
        self.type_name: str = getattr(importer, "type_name", type(importer).__name__)
        self.paths_are_local: bool = getattr(importer, "paths_are_local", False) is True
        self._vouched = getattr(importer, "vouches_for_drafts", False) is True
        self._ours = type(importer).__module__.startswith(OURS)
        self._isolated = is_isolated(importer, OURS)
        self._loop: PluginLoop | None = None
        self._lifetime: Lane | None = None
        """The task that opens and closes an isolated importer."""

    def describe_configuration(self) -> Sequence[ConfigField]:
        """Say which settings the importer needs."""
        return self._importer.describe_configuration()

    async def __aenter__(self) -> Self:
        if self._isolated:
            try:
                self._loop = await PluginLoop(f"importer {self.type_name}").start()
            except LoopEnded as exc:
                raise self._blame("opening", exc) from exc
            self._lifetime = self._loop.lane()
        entered = False

        async def enter() -> None:
            nonlocal entered
            await self._importer.__aenter__()
            entered = True

        try:
            await self._manage("opening", enter, self._lifetime)
        except BaseException as exc:
            # We may have been cancelled when it had been entered, in its thread, but hadn't told us.
            if entered:
                await self.__aexit__(type(exc), exc, exc.__traceback__)
            await self._end_isolation()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # All that was asked has been answered: that closing fails changes nothing about the answers.
        try:
            with suppress(SourceError):
                await self._close("closing", lambda: self._importer.__aexit__(exc_type, exc, traceback), self._lifetime)
        finally:
            await self._end_isolation()

    async def _end_isolation(self) -> None:
        loop, self._loop, self._lifetime = self._loop, None, None
        if loop is not None:
            await loop.stop()

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
    async def enumerate(self, collection: Collection, scope: Scope) -> AsyncIterator["GuardedPages"]:
        """Open an enumeration whose errors and pages have passed the guard."""
        lane = None if self._loop is None else self._loop.lane()
        opened: AbstractAsyncContextManager[AsyncIterator[Page | Outline]] | None = None

        async def open_() -> AsyncIterator[Page | Outline]:
            nonlocal opened
            manager = self._importer.enumerate(collection, scope)
            pages = await manager.__aenter__()
            opened = manager
            return pages

        try:
            pages = await self._manage("enumerate", open_, lane)
            yield GuardedPages(self, pages, lane, None if self._vouched else Doubles())
        except BaseException as exc:
            # The error is ours, or has passed the guard already: the importer only gets to clean up after it. It
            # can't swallow the error either: a listing that was broken off would pass for a complete one.
            if opened is not None:
                await self._leave(opened, exc, lane)
            raise
        else:
            if opened is not None:
                await self._leave(opened, None, lane)
        finally:
            if lane is not None:
                lane.close()

    async def _leave(
        self,
        manager: AbstractAsyncContextManager[AsyncIterator[Page | Outline]],
        exc: BaseException | None,
        lane: Lane | None,
    ) -> None:
        traceback = None if exc is None else exc.__traceback__

        async def leave() -> None:
            try:
                await manager.__aexit__(None if exc is None else type(exc), exc, traceback)
            except (Exception, SystemExit) as raised:
                if raised is exc or isinstance(raised, SourceError | RequestError):
                    raise
                raise self._blame("enumerate", raised) from raised
            except asyncio.CancelledError as raised:
                if raised is not exc:  # which the caller raises again
                    raise

        if lane is None:
            await leave()
        elif not lane.lost:
            await self._close("enumerate", leave, lane)

    async def next_page(
        self, pages: AsyncIterator[Page | Outline], lane: Lane | None, stopwatch: Stopwatch
    ) -> Page | Outline:
        """Wait for one page; raises StopAsyncIteration at the end of a complete enumeration."""

        async def ask() -> Page | Outline | None:
            # Here and not around the asking: it may be done by another task, in another thread.
            with stopwatch.measuring():
                return await anext(pages)

        page = await self._ask("enumerate", ask, lane)
        if not isinstance(page, Outline):
            return self._checked(page)
        if len(page.source_uris) != len(page.source_paths):
            # A draft without paths could pass for one that is known.
            raise self._blame("enumerate", ValueError())
        if not self._vouched:
            for uri in page.source_uris:
                self._expect(str, uri)
            self._check(page.rejected)
        return page

    async def read(self, outline: Outline, stopwatch: Stopwatch) -> Page:
        """Read the page behind an outline."""

        async def ask() -> Page:
            with stopwatch.measuring():
                return await outline.read()

        return self._checked(await self._ask("enumerate", ask))

    def _checked(self, page: object) -> Page:
        page = self._expect(Page, page)
        if not self._ours and len(page.drafts) > MOST_DRAFTS:
            raise ImporterFailed(
                f"The importer {self.type_name!r} gave a page of {len(page.drafts)} drafts; {MOST_DRAFTS} is the most.",
                hint="This is a bug of the importer: it has to give its listing in pages.",
            )
        for draft in page.drafts:
            if type(draft) is not AssetDraft:
                self._expect(AssetDraft, draft)
        if not self._vouched:
            self._sort_out(page)
        return page

    def _sort_out(self, page: Page) -> None:
        """Reject the drafts whose values the catalogue can't hold, naming the importer; the rest stay."""
        self._check(page.rejected)
        drafts, page.drafts = page.drafts, []
        for draft in drafts:
            problem = draft_problem(draft)
            if problem is None:
                page.drafts.append(_told(draft))
            else:
                reason = f"The importer {self.type_name!r} gave a draft that can't be used: {problem}"
                page.rejected.append(Rejection("bad_draft", reason, str(draft.source_uri), str(draft.title)))

    async def _ask(self, what: str, ask: Callable[[], Awaitable[T]], lane: Lane | None = None) -> T:
        if self._loop is not None:
            return await self._ask_isolated(what, ask, lane or self._loop.lane(), self._patience, close=lane is None)
        with anyio.move_on_after(self._patience):
            return await self._pass(what, ask)
        raise self._no_answer(what, blocking=False)

    async def _ask_isolated(
        self, what: str, ask: Callable[[], Awaitable[T]], lane: Lane, patience: float, *, close: bool = False
    ) -> T:
        try:
            return await lane.run(partial(self._pass, what, ask), patience)
        except Unanswered as exc:
            raise self._no_answer(what, blocking=exc.blocking) from None
        except LoopEnded as exc:
            raise self._blame(what, exc) from exc
        finally:
            if close:
                lane.close()

    async def _manage(self, what: str, ask: Callable[[], Awaitable[T]], lane: Lane | None) -> T:
        # In the run's loop without a deadline: what opens or closes may enter or leave a task group, and scopes nest.
        if lane is None:
            return await self._pass(what, ask)
        return await self._ask_isolated(what, ask, lane, self._patience)

    async def _close(self, what: str, ask: Callable[[], Awaitable[None]], lane: Lane | None) -> None:
        if lane is None:
            await self._pass(what, ask)
        elif is_cancelled():
            with anyio.CancelScope(shield=True):
                await self._ask_isolated(what, ask, lane, GRACE)
        else:
            await self._ask_isolated(what, ask, lane, min(CLOSING, self._patience))

    async def _pass(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except StopAsyncIteration:
            raise
        except (SourceError, RequestError) as exc:
            if normalized(exc):
                raise
            raise self._blame(what, exc) from None
        except (Exception, SystemExit, BaseExceptionGroup) as exc:
            raise self._blame(what, exc) from exc
        except asyncio.CancelledError as exc:
            if is_cancelled():
                raise
            raise self._blame(what, exc) from exc
        except BaseException as exc:
            # Nobody interrupts a thread of its own: there it is the importer's, whatever it is.
            if not self._isolated:
                raise
            raise self._blame(what, exc) from exc

    def _no_answer(self, what: str, *, blocking: bool) -> ImporterFailed:
        if blocking:
            return ImporterFailed(
                f"The importer {self.type_name!r} gave no answer to {what} within {self._patience:g} s"
                " and blocks its event loop: nothing more is asked of it.",
                code="importer_blocks",
                hint="This is a bug of the importer: what blocks belongs in a worker thread. Report it to its authors.",
            )
        return ImporterFailed(
            f"The importer {self.type_name!r} gave no answer to {what} within {self._patience:g} s.",
            code="importer_timeout",
            hint="Look at the source: is it overloaded, or a disk asleep?",
        )

    def _expect(self, kind: type[T], value: object) -> T:
        if not isinstance(value, kind):
            raise ImporterFailed(
                f"The importer {self.type_name!r} returned a {type(value).__name__} where a {kind.__name__} belongs.",
                hint="This is a bug of the importer; report it to its authors.",
            )
        return value

    def _check(self, rejected: Sequence[object]) -> None:
        for rejection in rejected:
            said = self._expect(Rejection, rejection)
            for text in (said.code, said.reason, said.source_uri or "", said.title or ""):
                self._expect(str, text)

    def _blame(self, what: str, exc: BaseException) -> ImporterFailed:
        return ImporterFailed(
            f"The importer {self.type_name!r} failed in {what}: {type(exc).__name__}.",
            hint="This is a bug of the importer; the traceback is in the audit trail.",
        )


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
    return "its text holds a NUL character" if b"\\u0000" in written and not is_storable(values) else None


def _told(draft: AssetDraft) -> AssetDraft:
    # The summary lists warnings by their text.
    warnings = tuple(map(redact, draft.warnings))
    return draft if warnings == draft.warnings else replace(draft, warnings=warnings)


class GuardedPages:
    """The pages of a guarded enumeration."""

    def __init__(
        self,
        guard: GuardedImporter,
        pages: AsyncIterator[Page | Outline],
        lane: Lane | None,
        doubles: Doubles | None = None,
    ) -> None:
        """Without ``doubles`` the importer is believed to list nothing twice."""
        self._guard = guard
        self._pages = pages
        self._lane = lane
        self._doubles = doubles
        self.stopwatch = Stopwatch()
        """How long the importer waited for its source."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page | Outline:
        page = await self._guard.next_page(self._pages, self._lane, self.stopwatch)
        if self._doubles is None:
            return page
        if isinstance(page, Page):
            return self._doubles.sort_out(page)
        new = self._doubles.new_in(page)
        if len(new) == len(page.source_uris):
            return page
        # What an outline lists can't be rejected, what its page lists can.
        return self._doubles.sort_out(await self._guard.read(page, self.stopwatch), new)

    async def read(self, outline: Outline) -> Page:
        """Read the page behind one of the outlines."""
        page = await self._guard.read(outline, self.stopwatch)
        return page if self._doubles is None else self._doubles.sort_out(page, outline.source_uris)
