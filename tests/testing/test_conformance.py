# ruff: noqa: ARG002 - the interface gives more than an importer has to use
"""The conformance kit finds what it is for, and passes what is right."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from types import TracebackType
from typing import Any, Self, cast

import anyio
import anyio.lowlevel
import pytest

from retrovue.core.answers import (
    ChangesRead,
    ChangeState,
    DiscoveredCollection,
    Ingestibility,
    Since,
    SourceIdentity,
    SourceState,
)
from retrovue.core.errors import ChangesUnknown
from retrovue.core.model import Collection, ConfigField
from retrovue.core.pages import Outline, Page, PartDraft
from retrovue.core.runs import Scope
from retrovue.importers.base import ImporterInterface
from retrovue.testing import (
    ImporterConformance,
    check_cancellation,
    check_change_state,
    check_changes,
    check_closing,
    check_compliance,
    check_discovery,
    check_enumeration,
    check_ingestible,
    check_items,
    check_reachable,
    check_repetition,
    check_resuming,
    check_source_state,
    check_stamps,
    sample_collection,
)
from tests.support.contract_importers import Incomplete, Lookalike, Subclass
from tests.support.library import draft, outline, page

pytestmark = pytest.mark.anyio

COLLECTION = sample_collection("1")


class Right(Subclass):
    """Has a few awaits in each of its answers, and pages of both kinds."""

    listing: Sequence[Any] = (page(draft("a"), draft("b")), outline(draft("c")))

    async def check_reachable(self) -> SourceIdentity:
        await anyio.lowlevel.checkpoint()
        return SourceIdentity("right")

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
        for one in self.listing:
            await anyio.lowlevel.checkpoint()
            yield one


class TestRight(ImporterConformance):
    """One that is right passes all checks."""

    items = 3

    def make_importer(self) -> ImporterInterface:
        return Right({})

    def make_collection(self) -> Collection:
        return COLLECTION


def giving(*listing: object) -> type[Right]:
    return type("Wrong", (Right,), {"listing": listing})


def fickle(*listings: Sequence[Any]) -> type[Right]:
    """An importer whose instances list one of these each, in turn."""
    left = list(listings)

    class Fickle(Right):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.listing = left.pop(0)

    return Fickle


def make(kind: type[Right]) -> Any:
    return lambda: kind({})


class Resuming(Right):
    """Goes on behind any page."""

    listing: Sequence[Any] = (page(draft("a"), draft("b")), outline(draft("c")), page(draft("d")))
    goes_on = staticmethod(lambda numbers: (numbers or [-1])[-1] + 1)
    """Where it goes on, from the numbers of the pages that were read."""

    @asynccontextmanager
    async def resume(
        self, collection: Collection, bookmarks: Sequence[bytes]
    ) -> AsyncIterator[AsyncIterator[Page | Outline]]:
        yield self._from(self.goes_on([int(bookmark) for bookmark in bookmarks]))

    async def _from(self, start: int) -> AsyncIterator[Page | Outline]:
        for number, one in list(enumerate(self.listing))[start:]:
            one.bookmark = b"%d" % number
            yield one


class TestResuming:
    async def test_one_that_goes_on_where_it_has_stopped(self) -> None:
        await check_resuming(make(Resuming), COLLECTION)
        await check_resuming(make(Right), COLLECTION)

    @pytest.mark.parametrize(
        "goes_on",
        [
            lambda _: 0,
            lambda numbers: max(0, len(numbers) - 1),
            lambda numbers: len(numbers) and len(numbers) + 1,
        ],
        ids=["at the beginning", "a page before", "a page behind"],
    )
    async def test_one_that_goes_on_elsewhere(self, goes_on: Any) -> None:
        wrong = type("Wrong", (Resuming,), {"goes_on": staticmethod(goes_on)})
        with pytest.raises(AssertionError, match="gives other pages"):
            await check_resuming(make(wrong), COLLECTION)

    async def test_one_that_always_starts_again(self) -> None:
        class Restarting(Resuming):
            async def _from(self, start: int) -> AsyncIterator[Page | Outline]:
                if start:
                    yield Page([], [], 0, restart=True)
                async for one in super()._from(0):
                    yield one

        with pytest.raises(AssertionError, match="starts again"):
            await check_resuming(make(Restarting), COLLECTION)


class TestListings:
    @pytest.mark.parametrize(
        ("listing", "problem"),
        [
            ([page(draft("a")), page(draft("a"))], "same source_uri"),
            ([page(draft("a", type="song"))], "of type 'song'"),
            ([page(draft("a", title=""))], "can't be stored"),
            ([page(draft("a", title="a\0"))], "NUL"),
            ([page(draft("a", year="1999"))], "can't be stored"),
            ([Page([], [], 1)], "has to be a rejection"),
            ([Page([draft("a")], [], 0)], "counts no item"),
            ([Page([draft("a")], [], -1)], "source_items is -1"),
            ([Page([draft("a")], [], cast("int", "1"))], "source_items is '1'"),
            ([{"drafts": []}], "gave a dict where a Page belongs"),
            ([Page([cast("Any", {})], [], 1)], "where a AssetDraft belongs"),
            ([Page([], [cast("Any", "no")], 1)], "where a Rejection belongs"),
            ([Page([draft("a")] * 20_001, [], 1)], "20001 drafts"),
            ([Page([draft("a")], [], 1, stamp=cast("bytes", "1"))], "gave a str where a bytes belongs"),
            ([Page([draft("a")], [], 1, stamp=bytes(65))], "stamp has 65 bytes"),
            ([page(draft("a", parts=(PartDraft("/a", stamp="x" * 201),)))], "the stamp of a part has more than 200"),
            ([page(draft("a", parts=(PartDraft("/a", stamp="x\0"),)))], "NUL"),
        ],
    )
    async def test_what_is_wrong_is_said(self, listing: list[object], problem: str) -> None:
        with pytest.raises(AssertionError, match=problem):
            await check_enumeration(make(giving(*listing)), COLLECTION)

    async def test_an_outline_has_to_be_that_of_its_page(self) -> None:
        others = {"source_uris": ["x"], "source_paths": [("x",)], "source_items": 2, "stamp": b"x"}
        for changed, other in others.items():
            wrong = outline(draft("a"))
            setattr(wrong, changed, other)
            with pytest.raises(AssertionError, match="an outline"):
                await check_enumeration(make(giving(wrong)), COLLECTION)

    async def test_missing_items_are_noticed(self) -> None:
        with pytest.raises(AssertionError, match="the source has 4 items"):
            await check_enumeration(make(Right), COLLECTION, items=4)

    async def test_a_restart_voids_what_came_before(self) -> None:
        listing = [page(draft("a")), page(restart=True), page(draft("a"))]
        assert len(await check_enumeration(make(giving(*listing)), COLLECTION, items=1)) == 1

    @pytest.mark.parametrize(
        "second",
        [
            page(draft("b")),
            page(draft("a", "other.mkv")),
            page(draft("a", title="Another")),
            page(draft("a", parts=(PartDraft("/data/a.mkv", stamp="now"),))),
        ],
    )
    async def test_a_second_enumeration_that_differs(self, second: Page) -> None:
        with pytest.raises(AssertionError, match="the second enumeration"):
            await check_repetition(make(fickle([page(draft("a"))], [second])), COLLECTION)

    async def test_stamps_that_differ_each_time_or_never(self) -> None:
        first, other = (Page([draft("a")], [], 1, stamp=stamp) for stamp in (b"1", b"2"))
        with pytest.raises(AssertionError, match="have other stamps"):
            await check_stamps(make(fickle([first], [other])), COLLECTION)
        alike = Page([draft("b")], [], 1, stamp=b"1")
        with pytest.raises(AssertionError, match="two pages have the same stamp"):
            await check_stamps(make(giving(first, alike)), COLLECTION)
        await check_stamps(make(giving(first, page(restart=True), first)), COLLECTION)

    async def test_a_source_that_always_scans(self) -> None:
        class Scanning(Right):
            async def change_state(self, collection: Collection) -> ChangeState:
                return ChangeState(refreshing=True)

        with pytest.raises(AssertionError, match="being scanned"):
            await check_change_state(make(Scanning), COLLECTION)


class TestAnswers:
    @pytest.mark.parametrize("wrong", [Incomplete, object()])
    def test_a_class_that_is_none(self, wrong: Any) -> None:
        with pytest.raises((AssertionError, AttributeError)):
            check_compliance(wrong)

    @pytest.mark.parametrize("test", [name for name in dir(ImporterConformance) if name.startswith("test_")])
    def test_every_test_of_the_kit_says_what_to_fix_in_the_class(self, test: str) -> None:
        class OfInstances(Right):
            def describe_configuration(self) -> Sequence[ConfigField]:  # type: ignore[override]
                return []

        class Kit(ImporterConformance):
            def make_importer(self) -> Any:
                return OfInstances({})

            def make_collection(self) -> Collection:
                return COLLECTION

        with pytest.raises(AssertionError, match="describe_configuration is not a class method: put @classmethod"):
            getattr(Kit(), test)()

    def test_one_that_is_no_base_importer_can_be_right(self) -> None:
        check_compliance(Lookalike)

    async def test_an_identifier_that_changes(self) -> None:
        names = ["one", "two"]

        class Fickle(Right):
            async def check_reachable(self) -> SourceIdentity:
                return SourceIdentity(names.pop(0))

        with pytest.raises(AssertionError, match="changes from 'one' to 'two'"):
            await check_reachable(make(Fickle))

    async def test_two_collections_of_one_key(self) -> None:
        class Twins(Right):
            async def discover_collections(self) -> Sequence[DiscoveredCollection]:
                return [DiscoveredCollection("1", name, "movie") for name in "ab"]

        with pytest.raises(AssertionError, match="lists a key twice"):
            await check_discovery(make(Twins))

    async def test_a_sample_that_cannot_be_ingested(self) -> None:
        class Refusing(Right):
            async def check_ingestible(self, collection: Collection) -> Ingestibility:
                return Ingestibility(ingestible=False, reason="it is Sunday")

        with pytest.raises(AssertionError, match="it is Sunday"):
            await check_ingestible(make(Refusing), COLLECTION)


class TestTasks:
    async def test_a_task_left_behind_is_found(self) -> None:
        class Leaving(Right):
            async def __aexit__(
                self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
            ) -> None:
                return None

            async def __aenter__(self) -> Self:
                left.append(asyncio.get_running_loop().create_task(anyio.sleep_forever()))
                return self

        left: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("retrovue.testing.tasks.CLEANING_UP_S", 0.01)
            with pytest.raises(AssertionError, match="leaves tasks behind"):
                await check_closing(make(Leaving), COLLECTION)
        for task in left:
            task.cancel()

    async def test_a_file_left_open_is_found(self) -> None:
        class Opening(Right):
            async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
                file = open(__file__)  # noqa: ASYNC230, PTH123, SIM115 - and never closed: that is the point
                yield page(draft(file.name.rpartition("/")[2]))

        with pytest.raises(AssertionError, match="leaves something open"):
            await check_closing(make(Opening), COLLECTION)

    async def test_a_swallowed_cancellation_is_found(self) -> None:
        class Swallowing(Right):
            async def check_reachable(self) -> SourceIdentity:
                try:
                    await anyio.lowlevel.checkpoint()
                except BaseException:  # noqa: BLE001 - that is the point
                    return SourceIdentity("unmoved")
                return SourceIdentity("right")

        with pytest.raises(AssertionError, match="cancelled at await 1, the importer goes on"):
            await check_cancellation(make(Swallowing), COLLECTION)

    async def test_a_cancellation_turned_into_an_error_is_found(self) -> None:
        class Turning(Right):
            async def check_reachable(self) -> SourceIdentity:
                try:
                    await anyio.lowlevel.checkpoint()
                except BaseException as exc:
                    raise ValueError from exc
                return SourceIdentity("right")

        with pytest.raises(AssertionError, match="raises ValueError"):
            await check_cancellation(make(Turning), COLLECTION)

    async def test_every_await_is_reached(self) -> None:
        cancelled: list[str] = []

        class Noting(Right):
            async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page | Outline]:
                for word in "abc":
                    try:
                        await anyio.lowlevel.checkpoint()
                    except BaseException:
                        cancelled.append(word)
                        raise
                    yield page(draft(word))

        await check_cancellation(make(Noting), COLLECTION)
        assert cancelled == ["a", "b", "c"]


class TestState:
    async def test_a_stamp_that_differs_each_time(self) -> None:
        stamps = iter("abc")

        class Restless(Right):
            async def source_state(self) -> SourceState:
                return SourceState({COLLECTION.external_id: ChangeState(refreshing=False, stamp=next(stamps))})

        with pytest.raises(AssertionError, match="another stamp the second time"):
            await check_source_state(make(Restless), COLLECTION)

    async def test_a_state_that_can_not_be_stored(self) -> None:
        class Odd(Right):
            async def source_state(self) -> SourceState:
                return SourceState({COLLECTION.external_id: ChangeState(refreshing=False, stamp="x" * 201)})

        with pytest.raises(AssertionError, match="at most 200 characters"):
            await check_source_state(make(Odd), COLLECTION)

    @pytest.mark.parametrize(
        ("pages", "problem"),
        [
            ([Page([], [], 0)], "has no ChangesRead"),
            ([Page([], [], 0, changes=ChangesRead(7))], "counts 7 items in all"),
            ([Page([draft("another")], [], 1, changes=ChangesRead(1))], "otherwise than a full reading"),
        ],
    )
    async def test_changes_that_are_not_those_of_a_full_reading(self, pages: list[Page], problem: str) -> None:
        class Listing(Right):
            async def source_state(self) -> SourceState:
                return SourceState({}, 1_700_000_000)

            async def changes(self, collection: Collection, since: Since) -> AsyncGenerator[Page, None]:
                for one in pages:
                    yield one

        with pytest.raises(AssertionError, match=problem):
            await check_changes(make(Listing), COLLECTION)

    async def test_changes_that_are_not_known_are_fine(self) -> None:
        class Doubtful(Right):
            async def source_state(self) -> SourceState:
                return SourceState({}, 1_700_000_000)

            async def changes(self, collection: Collection, since: Since) -> AsyncGenerator[Page, None]:
                if since.clock_s:
                    raise ChangesUnknown("Who knows?")
                yield Page([], [], 0)

        await check_changes(make(Doubtful), COLLECTION)

    @pytest.mark.parametrize(
        ("listed", "unknown", "problem"),
        [
            ([page(draft("a"))], True, "has no ChangesRead"),
            ([Page([], [], 0, changes=ChangesRead(7))], True, "counts 7 items in all"),
            ([Page([draft("another")], [], 1, changes=ChangesRead(3))], True, "otherwise than a full reading"),
            ([Page([], [], 0, changes=ChangesRead(3))], True, "lists nothing of what was asked for"),
            ([], True, "has no page"),
            ([Page([draft("a")], [], 1, changes=ChangesRead(3))], False, "doesn't raise ChangesUnknown"),
            ([Page([draft("a")], [], 1, changes=ChangesRead(3))], True, None),
        ],
    )
    async def test_single_items(self, listed: list[Page], unknown: bool, problem: str | None) -> None:
        class Listing(Right):
            async def items(self, collection: Collection, keys: Sequence[str]) -> AsyncGenerator[Page, None]:
                if unknown and set(keys) != {"a"}:
                    raise ChangesUnknown("It isn't there.")
                for one in listed:
                    yield one

        with nullcontext() if problem is None else pytest.raises(AssertionError, match=problem):
            await check_items(make(Listing), COLLECTION, ["a"])

    async def test_keys_of_single_items_have_to_be_named_and_listed(self) -> None:
        class Listing(Right):
            async def items(self, collection: Collection, keys: Sequence[str]) -> AsyncGenerator[Page, None]:
                if keys:
                    raise ChangesUnknown("It isn't there.")
                yield Page([], [], 0)

        with pytest.raises(AssertionError, match="set item_keys"):
            await check_items(make(Listing), COLLECTION, [])
        with pytest.raises(AssertionError, match="raises ChangesUnknown for items of the sample"):
            await check_items(make(Listing), COLLECTION, ["a"])
        await check_items(make(Right), COLLECTION, [])
