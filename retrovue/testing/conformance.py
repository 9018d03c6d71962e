"""The conformance kit for importers: what ingest relies on, as checks that raise AssertionError.

Each check takes a function that makes an importer, and calls it once or twice, as each run makes one. The source behind
the importer must not change while a check runs.
"""

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from retrovue.core.answers import ChangeState, DiscoveredCollection, Ingestibility, SourceIdentity, SourceState
from retrovue.core.bounds import LONGEST_PAGE_STAMP
from retrovue.core.errors import DiscoveryUnsupported
from retrovue.core.model import ASSET_TYPES, Collection, ConfigField, PathMapping
from retrovue.core.pages import AssetDraft, Outline, Page, Rejection
from retrovue.core.runs import FULL, Scope
from retrovue.core.text import quoted
from retrovue.importers.answers import MOST_DRAFTS
from retrovue.importers.base import ImporterInterface, TellsChanges, TellsState, compliance_problems
from retrovue.importers.drafts import draft_problem
from retrovue.importers.states import state_problem
from retrovue.testing.parts import PartsConformance
from retrovue.testing.tasks import (
    MOST_AWAITS,
    check_cancelled_everywhere,
    check_leaves_nothing,
    deadline,
    expect,
    run_bounded,
)

Make = Callable[[], ImporterInterface]


def sample_collection(external_id: str, *, kind: str = "movie", mappings: tuple[PathMapping, ...] = ()) -> Collection:
    """Make a collection as the importer gets it from the catalogue."""
    return Collection(
        uuid.uuid4(), uuid.uuid4(), external_id, external_id, kind, sync_enabled=True, path_mappings=mappings
    )


def check_compliance(importer: type) -> None:
    """Check that the class implements ImporterInterface and describes its configuration."""
    problems = compliance_problems(importer)
    assert not problems, f"{importer.__name__} isn't an importer: {'; '.join(problems)}"
    described: Any = importer
    fields = list(described.describe_configuration())
    for field in fields:
        expect(ConfigField, field, "describe_configuration")
    names = [field.name for field in fields]
    assert len(names) == len(set(names)), f"describe_configuration names a setting twice: {names}"
    assert all(name.isidentifier() for name in names), f"a setting's name must be an identifier: {names}"


async def check_reachable(make: Make) -> None:
    """Check that the source has an identifier, the same each time."""
    identities: list[SourceIdentity] = []
    for _ in range(2):
        async with make() as importer:
            with deadline("check_reachable"):
                identities.append(expect(SourceIdentity, await importer.check_reachable(), "check_reachable"))
    assert identities[0].identifier, "check_reachable gives an empty identifier"
    assert identities[0].identifier == identities[1].identifier, (
        f"the source's identifier changes from {quoted(identities[0].identifier)} to {quoted(identities[1].identifier)}"
    )


async def check_discovery(make: Make) -> None:
    """Check that the collections have distinct external ids and are the same each time.

    An importer that can't list them raises DiscoveryUnsupported, which is fine.
    """
    listings: list[list[DiscoveredCollection]] = []
    for _ in range(2):
        async with make() as importer:
            try:
                with deadline("discover_collections"):
                    listed = await importer.discover_collections()
            except DiscoveryUnsupported:
                return
        listings.append([expect(DiscoveredCollection, collection, "discover_collections") for collection in listed])
    keys = [collection.external_id for collection in listings[0]]
    assert len(keys) == len(set(keys)), f"discover_collections lists a key twice: {keys}"
    assert all(keys), "discover_collections lists a collection without a key"
    assert all(collection.name.strip() for collection in listings[0]), (
        "discover_collections lists a collection without a name"
    )
    assert listings[0] == listings[1], "discover_collections lists something else the second time"


async def check_ingestible(make: Make, collection: Collection) -> None:
    """Check that the sample collection can be ingested."""
    async with make() as importer:
        with deadline("check_ingestible"):
            answer = expect(Ingestibility, await importer.check_ingestible(collection), "check_ingestible")
        assert answer.ingestible, f"the sample collection can't be ingested: {answer.reason}"


async def check_enumeration(
    make: Make, collection: Collection, *, items: int | None = None, scope: Scope = FULL
) -> list[AssetDraft]:
    """Check that the pages account for every item, and that the catalogue can hold their drafts; returns the drafts.

    ``items`` is the number of items that the source has in the scope, if it is known.
    """
    drafts: list[AssetDraft] = []
    accounted = rejected = 0
    async with make() as importer, importer.enumerate(collection, scope) as pages:
        while True:
            with deadline("enumerate"):
                answer = await anext(pages, None)
            if answer is None:
                break
            page = await _read(answer)
            if page.restart:
                drafts, accounted, rejected = [], 0, 0
            drafts += page.drafts
            accounted += page.source_items
            rejected += len(page.rejected)
    counts = Counter(draft.source_uri for draft in drafts)
    twice = sorted(uri for uri, count in counts.items() if count > 1)
    assert not twice, f"several drafts have the same source_uri: {', '.join(twice[:3])}"
    assert accounted <= len(drafts) + rejected, (
        f"the pages claim {accounted} items, but hold {len(drafts)} drafts and {rejected} rejections:"
        " an item without any has to be a rejection"
    )
    assert accounted or not drafts, "the pages hold drafts, but source_items counts no item"
    assert items is None or accounted == items, f"the source has {items} items, the pages account for {accounted}"
    return drafts


async def _read(answer: object) -> Page:
    if isinstance(answer, Outline):
        page = expect(Page, await answer.read(), "the outline's read")
        outlined = list(zip(answer.source_uris, answer.source_paths, strict=True))
        whole = [(draft.source_uri, tuple(part.source_path for part in draft.parts)) for draft in page.drafts]
        assert outlined == whole, "an outline names other drafts than the page behind it"
        assert answer.source_items == page.source_items, "an outline accounts for other items than the page behind it"
        assert answer.stamp == page.stamp, "an outline has another stamp than the page behind it"
    else:
        page = expect(Page, answer, "enumerate")
    if page.stamp is not None:
        expect(bytes, page.stamp, "enumerate")
        assert len(page.stamp) <= LONGEST_PAGE_STAMP, f"a page's stamp has {len(page.stamp)} bytes"
    assert len(page.drafts) <= MOST_DRAFTS, f"a page has {len(page.drafts)} drafts; {MOST_DRAFTS} is the most"
    assert type(page.source_items) is int, f"source_items is {quoted(page.source_items)}"
    assert page.source_items >= 0, f"source_items is {page.source_items}"
    for draft in page.drafts:
        expect(AssetDraft, draft, "enumerate")
        problem = draft_problem(draft)
        assert problem is None, f"the draft {quoted(draft.source_uri)} can't be stored: {problem}"
        assert draft.type in ASSET_TYPES, f"the draft {quoted(draft.source_uri)} is of type {quoted(draft.type)}"
        assert draft.parts, f"the draft {quoted(draft.source_uri)} has no part: it has to be a rejection"
        assert draft.source_uri, f"the draft {quoted(draft.title)} has no source_uri"
    for rejection in page.rejected:
        expect(Rejection, rejection, "enumerate")
        assert rejection.code, "a rejection has no code"
        assert rejection.reason, "a rejection has no reason"
    return page


async def check_repetition(make: Make, collection: Collection) -> None:
    """Check that a second enumeration gives the same drafts, so that a second ingest creates nothing.

    A sync compares all of a draft: what differs each time, such as the time of the question, would change every asset.
    """
    first, second = [{draft.source_uri: draft for draft in await check_enumeration(make, collection)} for _ in range(2)]
    changed = sorted(set(first) ^ set(second))
    assert not changed, f"the second enumeration gives other source_uris: {', '.join(changed[:3])}"
    for uri, draft in first.items():
        assert draft.parts == second[uri].parts, f"the second enumeration gives other files for {quoted(uri)}"
        others = [name for name in draft.__struct_fields__ if getattr(draft, name) != getattr(second[uri], name)]
        assert not others, f"the second enumeration says something else of {quoted(uri)}: {', '.join(others)}"


async def check_stamps(make: Make, collection: Collection) -> None:
    """Check that the pages of a second enumeration have the same stamps, so that they are recognised.

    A stamp that is the same for two pages with drafts isn't made of what they hold.
    """
    first, second = await _stamps(make, collection), await _stamps(make, collection)
    assert first == second, "the pages of the second enumeration have other stamps"
    given = [stamp for stamp in first if stamp is not None]
    assert len(given) == len(set(given)), "two pages have the same stamp"


async def _stamps(make: Make, collection: Collection) -> list[bytes | None]:
    stamps: list[bytes | None] = []
    async with make() as importer, importer.enumerate(collection, FULL) as pages:
        while True:
            with deadline("enumerate"):
                answer = await anext(pages, None)
            if answer is None:
                return stamps
            page = await _read(answer)
            if page.restart:
                stamps.clear()
            if page.drafts:
                stamps.append(page.stamp)


async def check_change_state(make: Make, collection: Collection) -> None:
    """Check that an importer that tells whether its source is changing says that the sample isn't.

    A sync removes nothing of a collection that is. An importer that doesn't tell passes.
    """
    async with make() as importer:
        if isinstance(importer, TellsChanges):
            with deadline("change_state"):
                state = expect(ChangeState, await importer.change_state(collection), "change_state")
            assert state.refreshing is False, "change_state says that the sample is being scanned, and it isn't"


async def check_source_state(make: Make, collection: Collection) -> None:
    """Check the state that an importer tells of its source: the sample's stamp is the same as long as nothing changes.

    A sync that finds the stamp of its last complete reading reads nothing. An importer that doesn't tell it passes.
    """
    states: list[SourceState] = []
    for _ in range(2):
        async with make() as importer:
            if not isinstance(importer, TellsState):
                return
            with deadline("source_state"):
                states.append(expect(SourceState, await importer.source_state(), "source_state"))
        problem = state_problem(states[-1])
        assert problem is None, f"the importer {problem}"
        sample = states[-1].libraries.get(collection.external_id)
        assert sample is None or not sample.refreshing, "source_state says that the sample is being scanned"
    samples = [state.libraries.get(collection.external_id) for state in states]
    stamps = [None if sample is None else sample.stamp for sample in samples]
    assert len(set(stamps)) == 1, f"the sample has another stamp the second time: {stamps}"


async def check_closing(make: Make, collection: Collection) -> None:
    """Check that an importer that is left after one page has closed its files and sockets and ended its tasks."""

    async def run() -> None:
        async with make() as importer, importer.enumerate(collection, FULL) as pages:
            await anext(pages, None)

    await check_leaves_nothing("the importer", "after it was broken off and closed", run)


async def check_cancellation(make: Make, collection: Collection, *, most_awaits: int = MOST_AWAITS) -> None:
    """Check that the importer, cancelled at each await in turn, stops and leaves no task behind."""
    await check_cancelled_everywhere("the importer", lambda: _whole_run(make, collection), most_awaits)


async def _whole_run(make: Make, collection: Collection) -> None:
    async with make() as importer:
        await importer.check_reachable()
        await importer.check_ingestible(collection)
        async with importer.enumerate(collection, FULL) as pages:
            async for _ in pages:
                pass


class ImporterConformance(PartsConformance):
    """All checks as test methods: subclass it in a test module, and implement the two ``make_…`` methods.

    Each test runs its own event loop, so that pytest needs no plug-in.
    """

    items: ClassVar[int | None] = None
    """The number of source items in the sample collection, if it is known."""

    def _make(self) -> ImporterInterface:
        importer = self.make_importer()
        check_compliance(type(importer))
        return importer

    def test_it_implements_the_interface(self) -> None:
        """See check_compliance."""
        self._make()

    def test_it_says_who_answers(self) -> None:
        """See check_reachable."""
        run_bounded(self.patience_s, check_reachable, self._make)

    def test_it_lists_its_collections(self) -> None:
        """See check_discovery."""
        run_bounded(self.patience_s, check_discovery, self._make)

    def test_it_says_that_the_sample_can_be_ingested(self) -> None:
        """See check_ingestible."""
        run_bounded(self.patience_s, check_ingestible, self._make, self.make_collection())

    def test_its_pages_account_for_every_item(self) -> None:
        """See check_enumeration."""

        async def check() -> None:
            await check_enumeration(self._make, self.make_collection(), items=self.items)

        run_bounded(self.patience_s, check)

    def test_a_second_enumeration_gives_the_same(self) -> None:
        """See check_repetition."""
        run_bounded(self.patience_s, check_repetition, self._make, self.make_collection())

    def test_a_second_enumeration_has_the_same_stamps(self) -> None:
        """See check_stamps."""
        run_bounded(self.patience_s, check_stamps, self._make, self.make_collection())

    def test_it_says_that_the_sample_is_not_changing(self) -> None:
        """See check_change_state."""
        run_bounded(self.patience_s, check_change_state, self._make, self.make_collection())

    def test_it_says_that_nothing_has_changed(self) -> None:
        """See check_source_state."""
        run_bounded(self.patience_s, check_source_state, self._make, self.make_collection())

    def test_closing_leaves_nothing_open(self) -> None:
        """See check_closing."""
        run_bounded(self.patience_s, check_closing, self._make, self.make_collection())

    def test_it_can_be_cancelled_at_every_await(self) -> None:
        """See check_cancellation."""
        run_bounded(self.patience_s, check_cancellation, self._make, self.make_collection())
