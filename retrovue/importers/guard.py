"""The guard of an importer: the code of another package can fail its collection, never the run.

An unexpected exception of an importer becomes ImporterFailed, each call has a deadline, and what it returns is checked
before it is used. ``retrovue.plugins.host`` decides where it runs.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from types import TracebackType
from typing import ClassVar, Self, TypeVar

import msgspec.structs

from retrovue.core.answers import ChangeState, DiscoveredCollection, Ingestibility, Since, SourceIdentity, SourceState
from retrovue.core.bounds import LONGEST_IDENTIFIER, LONGEST_PATH, LONGEST_TEXT, MOST_LIBRARIES
from retrovue.core.errors import (
    ChangesUnknown,
    ImporterFailed,
    MalformedAnswer,
    RequestError,
    SourceError,
    WrongIdentity,
)
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, OutlineItems, Page, Recall, Summarize
from retrovue.core.runs import Scope
from retrovue.core.text import is_storable, quoted, storable
from retrovue.core.version import version_of
from retrovue.importers.answers import AnswerChecks, importer_bug
from retrovue.importers.base import (
    ChangeHint,
    ImporterInterface,
    ListsChanges,
    ListsItems,
    RecallsPages,
    ResumesListings,
    SummarizesPages,
    TellsChanges,
    TellsEvents,
    TellsState,
)
from retrovue.importers.drafts import secret_forms
from retrovue.importers.seen import Doubles, each_once
from retrovue.importers.states import StateChecks
from retrovue.importers.waiting import Stopwatch
from retrovue.plugins.host import CLOSING_S, PluginHost
from retrovue.plugins.isolation import PluginTask, is_isolated

PATIENCE = 900.0
"""Seconds that any answer of an importer may take; RetroVue's own importers have shorter deadlines."""
OURS = "retrovue.importers."
"""The modules of the importers that come with RetroVue."""

T = TypeVar("T")


class GuardedImporter(PluginHost):
    """An ImporterInterface around another one: it has the same methods, with checked answers and RetroVue's errors."""

    allowed: ClassVar[tuple[type[Exception], ...]] = (SourceError, RequestError, StopAsyncIteration)

    def __init__(self, importer: ImporterInterface, *, patience: float = PATIENCE) -> None:
        """``patience`` is the deadline of each call, in seconds."""
        self.type_name: str = getattr(importer, "type_name", type(importer).__name__)
        self.paths_are_local: bool = getattr(importer, "paths_are_local", False) is True
        self.marks_sidecars: bool = getattr(importer, "marks_sidecars", False) is True
        isolated = is_isolated(importer, OURS)
        super().__init__(
            f"importer {self.type_name}",
            isolated=isolated,
            opening_s=patience if isolated else math.inf,
            closing_s=min(CLOSING_S, patience) if isolated else math.inf,
        )
        self._importer = importer
        self._patience = patience
        self._identifier: str | None = None
        self._drafts_are_checked = getattr(importer, "drafts_are_checked", False) is True
        self._ours = type(importer).__module__.startswith(OURS)
        self._states = StateChecks(ours=self._ours)
        self.checks = AnswerChecks(
            self.type_name,
            ours=self._ours,
            drafts_are_checked=self._drafts_are_checked,
            secrets=secret_forms(getattr(importer, "credentials", None)),
        )

    async def __aenter__(self) -> Self:
        await self.open(lambda: self._importer)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close(exc)

    async def check_reachable(self) -> SourceIdentity:
        """Reach the source, prove the credentials, and return who answered.

        Raises MalformedAnswer if its identifier isn't valid, and WrongIdentity if another server answers than before.
        """
        identity = self.checks.expect(
            SourceIdentity, await self.call("check_reachable", self._importer.check_reachable, self._patience)
        )
        found = self.checks.expect(str, identity.identifier)
        if not found.strip() or len(found) > LONGEST_IDENTIFIER or not is_storable(found):
            raise MalformedAnswer(
                "The source's server has no valid identifier: it is empty, too long, or holds characters that can't be"
                " stored.",
                hint="Without an identifier another server at the same address couldn't be told from it.",
            )
        if self._identifier not in {None, found}:
            raise WrongIdentity(
                f"Another server answers than at the start of the run: {found} instead of {self._identifier}.",
                hint="Look at what answers at the source's address, then run the command again.",
                context={"expected": self._identifier, "found": found},
            )
        self._identifier = found
        return identity

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the collections that the source offers."""
        listed = await self.call("discover_collections", self._importer.discover_collections, self._patience)
        answer = self.checks.expect(Sequence, listed)  # type: ignore[type-abstract]
        found = [self.checks.expect(DiscoveredCollection, collection) for collection in answer]
        if len(found) > MOST_LIBRARIES:
            raise MalformedAnswer(f"The source lists {len(found):,} libraries, more than {MOST_LIBRARIES:,}.")
        return list(each_once(map(self._repaired, found)))

    def _repaired(self, collection: DiscoveredCollection) -> DiscoveredCollection:
        """Make the texts of a library storable. A library whose id can't be stored counts as unidentified."""
        for text in (collection.external_id, collection.name, collection.kind, *collection.locations):
            self.checks.expect(str, text)
        usable = is_storable(collection.external_id) and len(collection.external_id) <= LONGEST_TEXT
        return msgspec.structs.replace(
            collection,
            external_id=collection.external_id if usable else "",
            name=storable(collection.name)[:LONGEST_TEXT],
            kind=storable(collection.kind)[:LONGEST_TEXT],
            locations=tuple(path for path in collection.locations if is_storable(path) and len(path) <= LONGEST_PATH),
        )

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the collection can be ingested now, and if not, why."""
        answer = await self.call(
            "check_ingestible", lambda: self._importer.check_ingestible(collection), self._patience
        )
        return self.checks.expect(Ingestibility, answer)

    async def change_state(self, collection: Collection) -> ChangeState | None:
        """Return whether the source is changing the collection now; None if the importer doesn't tell."""
        importer = self._importer
        if not isinstance(importer, TellsChanges):
            return None
        answer = await self.call("change_state", lambda: importer.change_state(collection), self._patience)
        return self.checks.expect(ChangeState, answer)

    @property
    def type_version(self) -> str:
        """The class of the importer, and the version of its package if a package has the module's name."""
        kind = type(self._importer)
        return f"{kind.__module__}.{kind.__qualname__} {version_of(kind.__module__.partition('.')[0])}"

    @property
    def resumes_listings(self) -> bool:
        """Whether the importer can continue the listing of an earlier run.

        An importer that doesn't check its drafts can't: drafts that are listed twice are found among all drafts of a
        listing.
        """
        return self._drafts_are_checked and isinstance(self._importer, ResumesListings)

    async def source_state(self) -> SourceState | None:
        """Return the state of all libraries of the source; None if the importer doesn't tell it."""
        importer = self._importer
        if not isinstance(importer, TellsState):
            return None
        state = self.checks.expect(SourceState, await self.call("source_state", importer.source_state, self._patience))
        if (problem := self._states.problem(state)) is not None:
            raise self.checks.wrong(problem)
        return state

    def lists_changes(self) -> bool:
        """Whether the importer can list the changes since a time."""
        return isinstance(self._importer, ListsChanges)

    def enumerate_changes(self, collection: Collection, since: Since) -> AbstractAsyncContextManager["GuardedPages"]:
        """Open an enumeration of the changes in the collection since a time, with checked pages.

        Raises ChangesUnknown if the source can't tell it.
        """
        importer = self._importer
        if not isinstance(importer, ListsChanges):
            raise ChangesUnknown("The importer doesn't list changes.")
        return self._enumeration(lambda: aclosing(importer.changes(collection, since)))

    def lists_items(self) -> bool:
        """Whether the importer can list single items by their keys."""
        return isinstance(self._importer, ListsItems)

    def enumerate_items(
        self, collection: Collection, keys: Sequence[str]
    ) -> AbstractAsyncContextManager["GuardedPages"]:
        """Open an enumeration of single items of the collection, with checked pages.

        Raises ChangesUnknown if the collection doesn't list one of them, or the source can't tell it.
        """
        importer = self._importer
        if not isinstance(importer, ListsItems):
            raise ChangesUnknown("The importer doesn't list single items.")
        return self._enumeration(lambda: aclosing(importer.items(collection, keys)))

    def enumerate(
        self,
        collection: Collection,
        scope: Scope,
        bookmarks: Sequence[bytes] | None = None,
        recall: Recall | None = None,
    ) -> AbstractAsyncContextManager["GuardedPages"]:
        """Open an enumeration of the collection, with checked pages.

        With ``bookmarks`` it continues after their pages, if the importer can: see `ResumesListings`. An importer that
        comes with RetroVue may recognise the pages that ``recall`` knows: see `RecallsPages`.
        """
        importer = self._importer
        # Importers of other packages run in another thread, where nothing can be asked of the catalogue.
        if recall is not None and self._ours and isinstance(importer, RecallsPages):
            return self._enumeration(lambda: importer.enumerate_recalling(collection, scope, recall, bookmarks))
        if bookmarks is not None and isinstance(importer, ResumesListings):
            return self._enumeration(lambda: importer.resume(collection, bookmarks))
        return self._enumeration(lambda: importer.enumerate(collection, scope))

    def enumerate_summaries(
        self, collection: Collection, scope: Scope, summarize: Summarize
    ) -> AbstractAsyncContextManager["GuardedPages"]:
        """Open an enumeration of the collection whose pages have summaries, if the importer makes them."""
        importer = self._importer
        # Drafts of other packages' importers are checked before anything is made of them.
        if self._ours and isinstance(importer, SummarizesPages):
            return self._enumeration(lambda: importer.enumerate_summaries(collection, scope, summarize))
        return self.enumerate(collection, scope)

    def tells_events(self) -> bool:
        """Whether the importer can listen to its source."""
        return isinstance(self._importer, TellsEvents)

    @asynccontextmanager
    async def change_hints(self, collections: Sequence[Collection]) -> AsyncIterator["GuardedHints"]:
        """Listen to the source until the block ends, with checked hints; the importer must implement `TellsEvents`."""
        importer = self._importer
        assert isinstance(importer, TellsEvents)  # noqa: S101 - the caller has checked it
        async with self._iteration("change_hints", lambda: importer.change_hints(collections)) as (hints, task):
            yield GuardedHints(self, hints, task)

    @asynccontextmanager
    async def _enumeration(
        self, make: Callable[[], AbstractAsyncContextManager[AsyncIterator[Page | Outline]]]
    ) -> AsyncIterator["GuardedPages"]:
        async with self._iteration("enumerate", make) as (pages, task):
            yield GuardedPages(self, pages, task, None if self._drafts_are_checked else Doubles())

    @asynccontextmanager
    async def _iteration(
        self, what: str, make: Callable[[], AbstractAsyncContextManager[AsyncIterator[T]]]
    ) -> AsyncIterator[tuple[AsyncIterator[T], PluginTask | None]]:
        """Open an iterator of the importer, in its own task if the importer runs in another thread."""
        task = self.task()
        opened: AbstractAsyncContextManager[AsyncIterator[T]] | None = None

        async def enter() -> AsyncIterator[T]:
            nonlocal opened
            manager = make()
            answers = await manager.__aenter__()
            opened = manager
            return answers

        async def leave(exc: BaseException | None) -> None:
            if opened is not None and (task is None or not task.has_lost_call):
                await self.leave(what, opened, exc, task)

        try:
            yield await self.call(what, enter, self._opening_s, task), task
        except BaseException as exc:
            # The importer can clean up, but can't swallow the error: a broken listing would be taken for a complete
            # one.
            await leave(exc)
            raise
        else:
            await leave(None)
        finally:
            if task is not None:
                task.close()

    async def call_measured(
        self, stopwatch: Stopwatch, function: Callable[[], Awaitable[T]], task: PluginTask | None = None
    ) -> T:
        """Call a function of an enumeration, and measure how long it waits for its source."""

        async def measured() -> T:
            # Here and not around the call, which may run in another task and thread.
            with stopwatch.measuring():
                return await function()

        return await self.call("enumerate", measured, self._patience, task)

    def bug(self, what: str, raised: BaseException) -> ImporterFailed:
        """Return the error for an exception that the importer must not raise."""
        return importer_bug(self.type_name, what, raised)

    def no_answer(self, what: str, deadline_s: float, /, *, blocking: bool) -> ImporterFailed:
        """Return the error for a call that missed its deadline."""
        message = f"The importer {quoted(self.type_name)} gave no answer to {what} within {deadline_s:g} s"
        if blocking:
            return ImporterFailed(
                f"{message} and blocks its event loop: nothing more is asked of it.",
                code="importer_blocks",
                hint="This is a bug of the importer: what blocks belongs in a worker thread. Report it to its authors.",
            )
        return ImporterFailed(
            f"{message}.", code="importer_timeout", hint="Look at the source: is it overloaded, or a disk asleep?"
        )


class GuardedHints:
    """The checked hints of a source that is listened to. A source may have no changes for days."""

    def __init__(self, guard: GuardedImporter, hints: AsyncIterator[ChangeHint], task: PluginTask | None) -> None:
        self._guard, self._hints, self._task = guard, hints, task

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChangeHint:
        # The importer has the deadlines, because it knows how long a source may be silent.
        answer = await self._guard.call("change_hints", lambda: anext(self._hints), math.inf, self._task)
        hint = self._guard.checks.expect(ChangeHint, answer)
        if hint.library is not None:
            self._guard.checks.expect(str, hint.library)
        for key in self._guard.checks.expect(tuple, hint.items) if hint.items is not None else ():
            self._guard.checks.expect(str, key)
        return hint


class GuardedPages:
    """The checked pages of an enumeration."""

    def __init__(
        self,
        guard: GuardedImporter,
        pages: AsyncIterator[Page | Outline],
        task: PluginTask | None,
        doubles: Doubles | None = None,
    ) -> None:
        """``doubles`` finds drafts that are listed twice; without it the importer guarantees that there are none."""
        self._guard = guard
        self._pages = pages
        self._task = task
        self._doubles = doubles
        self.stopwatch = Stopwatch()
        """Measures how long the importer waits for its source."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page | Outline:
        answer = await self._guard.call_measured(self.stopwatch, lambda: anext(self._pages), self._task)
        if not isinstance(answer, Outline):
            page = self._guard.checks.page(answer)
            return page if self._doubles is None else self._doubles.sort_out(page)
        outline = self._guard.checks.outline(answer)
        if self._doubles is None:
            return outline
        outline.items = None  # its drafts would have to be checked
        new = self._doubles.new_in(outline)
        if len(new) == len(outline.source_uris):
            return outline
        # A draft of an outline can't be rejected, one of its page can.
        return self._doubles.sort_out(await self._read(outline), new)

    async def read(self, outline: Outline) -> Page:
        """Read the page of one of the outlines."""
        page = await self._read(outline)
        return page if self._doubles is None else self._doubles.sort_out(page, outline.source_uris)

    async def read_items(self, items: OutlineItems, positions: Sequence[int]) -> Page:
        """Read some items of one of the outlines."""

        async def read() -> Page:
            return await items.read(positions)

        return self._guard.checks.page(await self._guard.call_measured(self.stopwatch, read))

    async def _read(self, outline: Outline) -> Page:
        async def read() -> Page:
            # Looked up here, because the importer may have put any object into its outline.
            return await outline.read()

        return self._guard.checks.page(await self._guard.call_measured(self.stopwatch, read))
