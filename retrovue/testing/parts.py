"""The checks of importers that list parts of a collection: what has changed, and single items."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import ClassVar

from retrovue.core.answers import Since
from retrovue.core.errors import ChangesUnknown
from retrovue.core.model import Collection
from retrovue.core.pages import AssetDraft, Outline, Page
from retrovue.core.runs import FULL
from retrovue.core.text import quoted
from retrovue.importers.base import ImporterInterface, ListsChanges, ListsItems, TellsState
from retrovue.importers.states import changes_problem
from retrovue.testing.resuming import ResumingConformance
from retrovue.testing.tasks import expect, run_bounded

Make = Callable[[], ImporterInterface]

_NO_KEY = "no-such-item"


async def check_changes(make: Make, collection: Collection) -> None:
    """Check that an importer that lists changes lists items as a full reading does, and counts all of them alike.

    It may raise ChangesUnknown, and then all is read. An importer that doesn't list changes passes.
    """
    async with make() as importer:
        if not isinstance(importer, ListsChanges):
            return
        assert isinstance(importer, TellsState), "an importer that lists changes has to tell its state, too: its clock"
        clock_s = (await importer.source_state()).clock_s
        assert clock_s is not None, "the state of an importer that lists changes has no clock"
    drafts, items = await _read_in_full(make, collection)
    for since in (1, clock_s):
        async with make() as importer:
            if isinstance(importer, ListsChanges):
                with suppress(ChangesUnknown):
                    await _check("changes", importer.changes(collection, Since(since)), drafts, items)


async def check_items(make: Make, collection: Collection, keys: Sequence[str]) -> None:
    """Check that an importer that lists single items lists them as a full reading does, and counts all of them alike.

    ``keys`` are the source's own keys of items of the sample, all of which it has to list. For a key that the sample
    doesn't have it has to raise ChangesUnknown. An importer that doesn't list single items passes.
    """
    async with make() as importer:
        if not isinstance(importer, ListsItems):
            return
    assert keys, "the importer lists single items: set item_keys to keys of the sample"
    drafts, items = await _read_in_full(make, collection)
    for asked in (keys, [*keys, _NO_KEY]):
        async with make() as importer:
            assert isinstance(importer, ListsItems), "the importer lists single items at one time, and not at another"
            known, found = _NO_KEY not in asked, None
            with suppress(ChangesUnknown):
                found = await _check("items", importer.items(collection, asked), drafts, items)
            if known:
                assert found is not None, "items raises ChangesUnknown for items of the sample"
                assert found, "items lists nothing of what was asked for"
            else:
                assert found is None, "items doesn't raise ChangesUnknown for a key that the collection doesn't list"


async def _read_in_full(make: Make, collection: Collection) -> tuple[dict[str, AssetDraft], int]:
    """Return the drafts of a collection by their source URIs, and the number of its items."""
    drafts: dict[str, AssetDraft] = {}
    items = 0
    async with make() as importer, importer.enumerate(collection, FULL) as pages:
        async for answer in pages:
            page = expect(Page, await answer.read() if isinstance(answer, Outline) else answer, "enumerate")
            if page.restart:
                drafts, items = {}, 0
            drafts |= {draft.source_uri: draft for draft in page.drafts}
            items += page.source_items
    return drafts, items


async def _check(
    what: str, part: AsyncGenerator[Page, None], drafts: Mapping[str, AssetDraft], items: int
) -> list[str]:
    """Check the pages that a method lists, and return the source URIs."""
    seen: list[str] = []
    last: Page | None = None
    async with aclosing(part) as pages:
        async for answer in pages:
            last = expect(Page, answer, what)
            for draft in last.drafts:
                seen.append(draft.source_uri)
                assert drafts.get(draft.source_uri) == draft, (
                    f"{what} lists {quoted(draft.title)} otherwise than a full reading"
                )
    assert len(set(seen)) == len(seen), f"{what} lists an item twice"
    assert last is not None, f"{what} has no page"
    assert last.changes is not None, f"the last page of {what} has no ChangesRead"
    problem = changes_problem(last.changes)
    assert problem is None, f"the importer {problem}"
    total = last.changes.source_total
    assert total in {None, items}, f"{what} counts {total} items in all, and a full reading lists {items}"
    return seen


class PartsConformance(ResumingConformance):
    """The checks as test methods of `ImporterConformance`."""

    item_keys: ClassVar[Sequence[str]] = ()
    """The source's own keys of some items of the sample collection, if the importer lists single items."""

    def test_it_lists_changes_as_a_full_reading_does(self) -> None:
        """See check_changes."""
        run_bounded(self.patience_s, check_changes, self._make, self.make_collection())

    def test_it_lists_single_items_as_a_full_reading_does(self) -> None:
        """See check_items."""
        run_bounded(self.patience_s, check_items, self._make, self.make_collection(), self.item_keys)
