"""The conformance kit: what every importer owes to ingest, as checks that raise AssertionError.

Each check makes an importer of its own by the factory it is given, because one is made for each run. The source
behind it must not change while a check runs.
"""

import asyncio
import gc
import uuid
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import anyio

from retrovue.errors import DiscoveryUnsupported
from retrovue.importers.base import ImporterInterface, compliance_problems
from retrovue.importers.guard import MOST_DRAFTS, draft_problem
from retrovue.model import (
    ASSET_TYPES,
    FULL,
    AssetDraft,
    Collection,
    ConfigField,
    DiscoveredCollection,
    Ingestibility,
    Outline,
    Page,
    PathMapping,
    Rejection,
    Scope,
    SourceIdentity,
)

T = TypeVar("T")
Make = Callable[[], ImporterInterface]
DEADLINE_S = 60.0
"""For any one answer; an importer under test reads a sample."""
CLEANING_UP_S = 5.0
"""For what an importer still does when it is cancelled."""
MOST_AWAITS = 300
"""How many of its awaits are cancelled in turn."""


def sample_collection(external_id: str, *, kind: str = "movie", mappings: tuple[PathMapping, ...] = ()) -> Collection:
    """Make a collection as the catalogue would hand it to the importer."""
    return Collection(
        uuid.uuid4(), uuid.uuid4(), external_id, external_id, kind, sync_enabled=True, path_mappings=mappings
    )


def check_compliance(importer: type) -> None:
    """The class implements ImporterInterface and describes its configuration."""
    problems = compliance_problems(importer)
    assert not problems, f"{importer.__name__} isn't an importer: {'; '.join(problems)}"
    described: Any = importer
    fields = list(described.describe_configuration())
    for field in fields:
        _expect(ConfigField, field, "describe_configuration")
    names = [field.name for field in fields]
    assert len(names) == len(set(names)), f"describe_configuration names a setting twice: {names}"
    assert all(name.isidentifier() for name in names), f"a setting's name must be an identifier: {names}"


async def check_reachable(make: Make) -> None:
    """The source says who it is, and the same each time."""
    identities: list[SourceIdentity] = []
    for _ in range(2):
        async with make() as importer:
            with _deadline("check_reachable"):
                identities.append(_expect(SourceIdentity, await importer.check_reachable(), "check_reachable"))
    assert identities[0].identifier, "check_reachable gives an empty identifier"
    assert identities[0].identifier == identities[1].identifier, (
        f"the source's identifier changes from {identities[0].identifier!r} to {identities[1].identifier!r}"
    )


async def check_discovery(make: Make) -> None:
    """The collections are listed with keys of their own, the same each time; or the importer says that it can't."""
    listings: list[list[DiscoveredCollection]] = []
    for _ in range(2):
        async with make() as importer:
            try:
                with _deadline("discover_collections"):
                    found = await importer.discover_collections()
            except DiscoveryUnsupported:
                return
        listings.append([_expect(DiscoveredCollection, one, "discover_collections") for one in found])
    keys = [one.external_id for one in listings[0]]
    assert len(keys) == len(set(keys)), f"discover_collections lists a key twice: {keys}"
    assert all(keys), "discover_collections lists a collection without a key"
    assert all(one.name.strip() for one in listings[0]), "discover_collections lists a collection without a name"
    assert listings[0] == listings[1], "discover_collections lists something else the second time"


async def check_ingestible(make: Make, collection: Collection) -> None:
    """The sample collection can be ingested."""
    async with make() as importer:
        with _deadline("check_ingestible"):
            answer = _expect(Ingestibility, await importer.check_ingestible(collection), "check_ingestible")
        assert answer.ingestible, f"the sample collection can't be ingested: {answer.reason}"


async def check_enumeration(
    make: Make, collection: Collection, *, items: int | None = None, scope: Scope = FULL
) -> list[AssetDraft]:
    """The pages account for every item, with drafts that the catalogue can hold; returns the drafts.

    ``items`` is how many source items there are, where that is known.
    """
    drafts: list[AssetDraft] = []
    accounted = rejected = 0
    async with make() as importer, importer.enumerate(collection, scope) as pages:
        while True:
            with _deadline("enumerate"):
                given = await anext(pages, None)
            if given is None:
                break
            page = await _read(given)
            if page.restart:
                drafts, accounted, rejected = [], 0, 0
            drafts += page.drafts
            accounted += page.source_items
            rejected += len(page.rejected)
    seen = Counter(draft.source_uri for draft in drafts)
    twice = sorted(uri for uri, times in seen.items() if times > 1)
    assert not twice, f"several drafts have the same source_uri: {', '.join(twice[:3])}"
    assert accounted <= len(drafts) + rejected, (
        f"the pages claim {accounted} items, but hold {len(drafts)} drafts and {rejected} rejections:"
        " an item without any has to be a rejection"
    )
    assert accounted or not drafts, "the pages hold drafts, but source_items counts no item"
    assert items is None or accounted == items, f"the source has {items} items, the pages account for {accounted}"
    return drafts


async def _read(given: object) -> Page:
    if isinstance(given, Outline):
        page = _expect(Page, await given.read(), "the outline's read")
        outlined = list(zip(given.source_uris, given.source_paths, strict=True))
        whole = [(draft.source_uri, tuple(part.source_path for part in draft.parts)) for draft in page.drafts]
        assert outlined == whole, "an outline names other drafts than the page behind it"
        assert given.source_items == page.source_items, "an outline accounts for other items than the page behind it"
    else:
        page = _expect(Page, given, "enumerate")
    assert len(page.drafts) <= MOST_DRAFTS, f"a page has {len(page.drafts)} drafts; {MOST_DRAFTS} is the most"
    assert type(page.source_items) is int, f"source_items is {page.source_items!r}"
    assert page.source_items >= 0, f"source_items is {page.source_items!r}"
    for draft in page.drafts:
        _expect(AssetDraft, draft, "enumerate")
        problem = draft_problem(draft)
        assert problem is None, f"the draft {draft.source_uri!r} can't be stored: {problem}"
        assert draft.type in ASSET_TYPES, f"the draft {draft.source_uri!r} is of type {draft.type!r}"
        assert draft.parts, f"the draft {draft.source_uri!r} has no part: it has to be a rejection"
        assert draft.source_uri, f"the draft {draft.title!r} has no source_uri"
    for rejection in page.rejected:
        _expect(Rejection, rejection, "enumerate")
        assert rejection.code, "a rejection has no code"
        assert rejection.reason, "a rejection has no reason"
    return page


async def check_repetition(make: Make, collection: Collection) -> None:
    """A second enumeration gives the same drafts, so that a second ingest creates nothing."""
    first, second = [{draft.source_uri: draft for draft in await check_enumeration(make, collection)} for _ in range(2)]
    changed = sorted(set(first) ^ set(second))
    assert not changed, f"the second enumeration gives other source_uris: {', '.join(changed[:3])}"
    for uri, draft in first.items():
        assert draft.parts == second[uri].parts, f"the second enumeration gives other files for {uri!r}"


async def check_closing(make: Make, collection: Collection) -> None:
    """Broken off after one page and left, the importer has closed what it opened: no task, file or socket is left."""
    gc.collect()
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        async with _no_task_left("after it was broken off and closed"):
            async with make() as importer, importer.enumerate(collection, FULL) as pages:
                await anext(pages, None)
            del importer, pages
        gc.collect()
    assert not unclosed, f"the importer leaves something open: {unclosed[0].message}"


async def check_cancellation(make: Make, collection: Collection, *, most_awaits: int = MOST_AWAITS) -> None:
    """Cancelled at each await in turn, from opening to closing, the importer stops and leaves no task behind."""
    for number in range(1, most_awaits + 1):
        async with _no_task_left(f"after it was cancelled at await {number}"):
            if not await _cancelled_at(number, lambda: _whole_run(make, collection)):
                return


async def _whole_run(make: Make, collection: Collection) -> None:
    async with make() as importer:
        await importer.check_reachable()
        await importer.check_ingestible(collection)
        async with importer.enumerate(collection, FULL) as pages:
            async for _ in pages:
                pass


async def _cancelled_at(number: int, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Run something and cancel it at an await; returns whether it came that far."""
    reached = False

    def cancel() -> None:
        nonlocal reached
        reached = True
        task.cancel()

    async def counted() -> None:
        await _CountedAwaits(run(), number, cancel)

    task = asyncio.get_running_loop().create_task(counted())  # not in a group, which would wait for it for ever
    done, _ = await asyncio.wait({task}, timeout=DEADLINE_S if number == 1 else DEADLINE_S + CLEANING_UP_S)
    assert done, f"cancelled at await {number}, the importer goes on for ever: it swallows its cancellation"
    if task.cancelled():
        return True
    error = task.exception()
    if reached:
        what = "goes on" if error is None else f"raises {type(error).__name__}"
        message = f"cancelled at await {number}, the importer {what}: the cancellation has to leave it as it came"
        raise AssertionError(message) from error
    if error is not None:
        raise error
    return False


class _CountedAwaits(Awaitable[None]):
    """Awaits a coroutine and calls back when it waits for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], number: int, reached: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._number = number
        self._reached = reached

    def __await__(self) -> Generator[Any, Any, None]:
        waits = 0
        error: BaseException | None = None
        while True:
            try:
                waited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
            except StopIteration:
                return
            waits += 1
            if waits == self._number:
                self._reached()
            error = None
            try:
                yield waited
            except BaseException as exc:  # noqa: BLE001 - handed on to the coroutine, as await does
                error = exc


class _no_task_left:  # noqa: N801 - reads as the statement that it is
    """Asserts that no task is left that wasn't there before."""

    def __init__(self, when: str) -> None:
        self._when = when

    async def __aenter__(self) -> None:
        self._before = asyncio.all_tasks()

    async def __aexit__(self, exc_type: type[BaseException] | None, *error: object) -> None:
        if exc_type is not None:
            return
        left = asyncio.all_tasks() - self._before
        if left:
            _done, left = await asyncio.wait(left, timeout=CLEANING_UP_S)
        names = ", ".join(sorted(task.get_name() for task in left))
        assert not left, f"{self._when}, the importer leaves tasks behind: {names}"


@contextmanager
def _deadline(what: str) -> Iterator[None]:
    with anyio.move_on_after(DEADLINE_S) as scope:
        yield
    assert not scope.cancelled_caught, f"{what} gave no answer within {DEADLINE_S:g} s"


def _expect(kind: type[T], value: object, what: str) -> T:
    assert isinstance(value, kind), f"{what} gave a {type(value).__name__} where a {kind.__name__} belongs"
    return value


class ImporterConformance:
    """All checks as test methods: subclass it in a test module, and say how the importer is made.

    The methods are plain ones, which run an event loop themselves, so that no plug-in is needed.
    """

    items: ClassVar[int | None] = None
    """How many source items the sample collection has, where that is known."""

    def make_importer(self) -> ImporterInterface:
        """Make the importer for a source that answers, and doesn't change during the tests."""
        raise NotImplementedError

    def make_collection(self) -> Collection:
        """Make the sample collection, such as by ``sample_collection``."""
        raise NotImplementedError

    def test_it_implements_the_interface(self) -> None:
        """See check_compliance."""
        check_compliance(type(self.make_importer()))

    def test_it_says_who_answers(self) -> None:
        """See check_reachable."""
        anyio.run(check_reachable, self.make_importer)

    def test_it_lists_its_collections(self) -> None:
        """See check_discovery."""
        anyio.run(check_discovery, self.make_importer)

    def test_it_says_that_the_sample_can_be_ingested(self) -> None:
        """See check_ingestible."""
        anyio.run(check_ingestible, self.make_importer, self.make_collection())

    def test_its_pages_account_for_every_item(self) -> None:
        """See check_enumeration."""

        async def check() -> None:
            await check_enumeration(self.make_importer, self.make_collection(), items=self.items)

        anyio.run(check)

    def test_a_second_enumeration_gives_the_same(self) -> None:
        """See check_repetition."""
        anyio.run(check_repetition, self.make_importer, self.make_collection())

    def test_closing_leaves_nothing_open(self) -> None:
        """See check_closing."""
        anyio.run(check_closing, self.make_importer, self.make_collection())

    def test_it_can_be_cancelled_at_every_await(self) -> None:
        """See check_cancellation."""
        anyio.run(check_cancellation, self.make_importer, self.make_collection())
