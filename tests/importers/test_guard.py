# ruff: noqa: ARG002 - the interface gives more than an importer has to use
"""The guard: whatever a third party's code does costs its collection, and says whose fault it is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, cast
from uuid import UUID

import anyio
import pytest

from retrovue.core.answers import Ingestibility
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL
from retrovue.errors import (
    ImporterFailed,
    IncompleteEnumeration,
    RequestError,
    ScopeNotFound,
    SourceError,
    SourceUnreachable,
    StoreUnavailable,
)
from retrovue.importers.base import ImporterInterface
from retrovue.importers.guard import GuardedImporter
from tests.support.library import draft, page

pytestmark = pytest.mark.anyio

COLLECTION = Collection(UUID(int=1), UUID(int=2), "1", "Movies", "movie", sync_enabled=True)


class Odd:
    """An importer of which every method does the same."""

    type_name = "odd"

    def __init__(self, do: Callable[[], Any]) -> None:
        self.do = do

    async def __aenter__(self) -> Self:
        return cast("Self", await self._answer())

    async def __aexit__(self, *_: object) -> None:
        await self._answer()

    async def _answer(self) -> Any:
        found = self.do()
        return await found if hasattr(found, "__await__") else found

    check_reachable = discover_collections = _answer

    async def check_ingestible(self, collection: Collection) -> Any:
        return await self._answer()

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: object) -> AsyncIterator[AsyncIterator[Page]]:
        yield self._pages()

    async def _pages(self) -> AsyncIterator[Page]:
        yield await self._answer()


def guarded(do: Callable[[], Any], *, patience: float = 60) -> GuardedImporter:
    return GuardedImporter(cast("ImporterInterface", Odd(do)), patience=patience)


def raising(error: BaseException) -> Callable[[], Any]:
    def do() -> Any:
        raise error

    return do


def hanging() -> tuple[anyio.Event, Callable[[], Any]]:
    """A question that is never answered, and the event that it has been asked, in whichever thread."""
    started = anyio.Event()
    ours = asyncio.get_running_loop()

    async def hang() -> None:
        # An importer is opened in a loop of its own: an event that is set from there wakes nobody here.
        ours.call_soon_threadsafe(started.set)
        await anyio.sleep_forever()

    return started, hang


async def first_page(importer: GuardedImporter) -> object:
    async with importer.enumerate(COLLECTION, FULL) as pages:
        return await anext(pages)


QUESTIONS: dict[str, Callable[[GuardedImporter], Any]] = {
    "opening": lambda importer: importer.__aenter__(),
    "check_reachable": lambda importer: importer.check_reachable(),
    "discover_collections": lambda importer: importer.discover_collections(),
    "check_ingestible": lambda importer: importer.check_ingestible(COLLECTION),
    "enumerate": first_page,
}


@pytest.mark.parametrize("question", QUESTIONS)
class TestAnyQuestion:
    @pytest.mark.fault(60, 65)
    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("s3cr3t"),
            OSError("s3cr3t"),
            TimeoutError("s3cr3t"),
            StoreUnavailable("s3cr3t"),
            SystemExit("s3cr3t"),
            asyncio.CancelledError("s3cr3t"),
            BaseExceptionGroup("s3cr3t", [SystemExit("s3cr3t")]),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_a_bug_is_blamed_on_the_importer_without_its_text(self, question: str, error: BaseException) -> None:
        with pytest.raises(ImporterFailed) as failed:
            await QUESTIONS[question](guarded(raising(error)))
        assert failed.value.code == "importer_failed"
        assert "'odd'" in failed.value.message
        assert question in failed.value.message
        assert type(error).__name__ in failed.value.message
        assert "s3cr3t" not in failed.value.message
        assert failed.value.__cause__ is error

    @pytest.mark.parametrize(
        "error", [SourceUnreachable("x"), IncompleteEnumeration("x"), ScopeNotFound("x"), RequestError("x")]
    )
    async def test_what_it_may_raise_passes(self, question: str, error: Exception) -> None:
        with pytest.raises(type(error)) as raised:
            await QUESTIONS[question](guarded(raising(error)))
        assert raised.value is error

    async def test_a_cancellation_of_ours_is_no_bug(self, question: str) -> None:
        started, hang = hanging()

        async with anyio.create_task_group() as group:

            async def ask() -> None:
                await QUESTIONS[question](guarded(hang))

            group.start_soon(ask)
            await started.wait()
            group.cancel_scope.cancel()
        assert group.cancel_scope.cancelled_caught

    async def test_a_cancellation_of_the_host_is_no_bug(self, question: str) -> None:
        started, hang = hanging()

        host = asyncio.ensure_future(QUESTIONS[question](guarded(hang)))
        await started.wait()
        host.cancel()
        with pytest.raises(asyncio.CancelledError):
            await host


@pytest.mark.parametrize("question", [question for question in QUESTIONS if question != "opening"])
class TestAnswers:
    @pytest.mark.fault(61)
    async def test_silence_has_a_deadline(self, question: str) -> None:
        with pytest.raises(ImporterFailed) as failed:
            await QUESTIONS[question](guarded(anyio.sleep_forever, patience=0))
        assert failed.value.code == "importer_timeout"

    async def test_a_time_out_of_its_own_is_none_of_ours(self, question: str) -> None:
        with pytest.raises(ImporterFailed) as failed:
            await QUESTIONS[question](guarded(raising(TimeoutError())))
        assert failed.value.code == "importer_failed"

    @pytest.mark.fault(62)
    @pytest.mark.parametrize("answer", [None, 5, ["x"]], ids=repr)
    async def test_the_wrong_type_is_refused(self, question: str, answer: object) -> None:
        with pytest.raises(ImporterFailed) as failed:
            await QUESTIONS[question](guarded(lambda: answer))
        assert "returned" in failed.value.message


@pytest.mark.fault(62)
@pytest.mark.parametrize("found", [Page([], [], 1), Outline([], [], [], 1, anyio.sleep_forever)])  # type: ignore[arg-type]
async def test_a_rejection_of_the_wrong_type_is_refused(found: Page | Outline) -> None:
    rejected: Any = {"code": "odd", "reason": "x"}
    found.rejected.append(rejected)
    with pytest.raises(ImporterFailed, match="a dict where a Rejection belongs"):
        await first_page(guarded(lambda: found))


class Plain(Odd):
    """What should be awaited answers, or raises, at once."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(lambda: None)
        self._error = error

    def check_reachable(self) -> Any:
        if self._error:
            raise self._error
        return "reachable"

    check_ingestible = discover_collections = lambda self, *_: self.check_reachable()  # type: ignore[assignment]

    def enumerate(self, *_: object) -> Any:
        return self.check_reachable()


@pytest.mark.parametrize("question", ["check_reachable", "discover_collections", "check_ingestible", "enumerate"])
@pytest.mark.parametrize("error", [None, ZeroDivisionError()], ids=["returns", "raises"])
async def test_a_method_that_should_be_awaited_and_cannot_is_a_bug(question: str, error: Exception | None) -> None:
    importer = GuardedImporter(cast("ImporterInterface", Plain(error)))
    with pytest.raises(ImporterFailed):
        await QUESTIONS[question](importer)


class Swallowing(Odd):
    """Its enumeration swallows whatever goes wrong while it is read."""

    @asynccontextmanager
    async def enumerate(self, collection: Collection, scope: object) -> AsyncIterator[AsyncIterator[Page]]:
        try:
            yield self._pages()
        except BaseException:  # noqa: BLE001 - that is the point
            return


class TestEnumeration:
    @pytest.mark.parametrize("error", [IncompleteEnumeration("short"), StoreUnavailable("full"), KeyboardInterrupt()])
    async def test_an_importer_cannot_make_a_broken_listing_pass_for_a_whole_one(self, error: BaseException) -> None:
        importer = GuardedImporter(cast("ImporterInterface", Swallowing(lambda: page(draft("a")))))

        async def read() -> None:
            async with importer.enumerate(COLLECTION, FULL) as pages:
                await anext(pages)
                raise error

        with pytest.raises(type(error)) as raised:
            await read()
        assert raised.value is error

    async def test_it_ends_where_the_importer_ends_it(self) -> None:
        async with guarded(lambda: page(draft("a"))).enumerate(COLLECTION, FULL) as pages:
            assert len([found async for found in pages]) == 1

    async def test_only_our_importers_tell_that_nothing_else_is_asked(self) -> None:
        def last() -> Page:
            found = page(draft("a"))
            found.last = True
            return found

        async with guarded(last).enumerate(COLLECTION, FULL) as pages:
            assert [found.last async for found in pages] == [False]

    async def test_an_end_in_the_wrong_place_is_no_answer(self) -> None:
        with pytest.raises((ImporterFailed, RuntimeError, StopAsyncIteration)):
            await guarded(raising(StopAsyncIteration())).check_reachable()

    @pytest.mark.fault(60)
    async def test_breaking_off_closes_the_importers_generator(self) -> None:
        closed: list[str] = []

        class Closing(Odd):
            @asynccontextmanager
            async def enumerate(self, collection: Collection, scope: object) -> AsyncIterator[AsyncIterator[Page]]:
                try:
                    yield self._pages()
                finally:
                    closed.append("closed")

        importer = GuardedImporter(cast("ImporterInterface", Closing(lambda: page(draft("a")))))
        async with importer.enumerate(COLLECTION, FULL) as pages:
            await anext(pages)
        assert closed == ["closed"]


class TestClosing:
    @pytest.mark.parametrize("error", [RuntimeError(), SourceError("x"), SystemExit(1)])
    async def test_that_it_breaks_changes_nothing_about_what_was_answered(self, error: BaseException) -> None:
        importer = guarded(lambda: Ingestibility(ingestible=True))
        async with importer:
            answer = await importer.check_ingestible(COLLECTION)
            cast("Odd", importer._importer).do = raising(error)
        assert answer.ingestible

    async def test_an_error_of_the_body_is_not_replaced(self) -> None:
        importer = guarded(lambda: None)

        async def use() -> None:
            async with importer:
                cast("Odd", importer._importer).do = raising(RuntimeError())
                raise KeyError

        with pytest.raises(KeyError):
            await use()
