"""The check of importers that go on with the listing of an earlier run."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from retrovue.core.bounds import LONGEST_BOOKMARK
from retrovue.core.model import Collection
from retrovue.core.pages import AssetDraft, Outline, Page
from retrovue.importers.base import ImporterInterface, ResumesListings
from retrovue.testing.tasks import PATIENCE_S, expect, run_bounded

Make = Callable[[], ImporterInterface]


async def check_resuming(make: Make, collection: Collection) -> None:
    """Check of an importer that resumes listings that behind each of its bookmarks it gives what comes after the page.

    Without bookmarks nothing is checked but the enumeration itself: an importer may have them for large listings only.
    """
    whole = await _read(make, collection, [])
    if whole is None:
        return
    drafts, bookmarks = whole
    for number in range(1, len(bookmarks) + 1):
        found = await _read(make, collection, bookmarks[:number])
        assert found is not None, "the importer resumes listings at one time, and not at another"
        rest, _ = found
        assert rest == drafts[number:], f"behind the bookmark of page {number} it gives other pages than at first"


async def _read(
    make: Make, collection: Collection, bookmarks: Sequence[bytes]
) -> tuple[list[list[AssetDraft]], list[bytes]] | None:
    """Return the drafts of each page, and the bookmarks; None if the importer doesn't offer it."""
    async with make() as importer:
        if not isinstance(importer, ResumesListings):
            return None
        drafts: list[list[AssetDraft]] = []
        given: list[bytes] = []
        async with importer.resume(collection, bookmarks) as pages:
            async for answer in pages:
                page = expect(Page, await answer.read() if isinstance(answer, Outline) else answer, "resume")
                assert not page.restart, "it starts again, although its source hasn't changed"
                drafts.append(page.drafts)
                if answer.bookmark is not None:
                    given.append(expect(bytes, answer.bookmark, "resume"))
                    assert len(given[-1]) <= LONGEST_BOOKMARK, f"a bookmark has {len(given[-1])} bytes"
                    assert len(given) == len(drafts), "a page has a bookmark, and one before it has none"
    return drafts, given


class ResumingConformance:
    """The check as a test method of `ImporterConformance`."""

    patience_s: ClassVar[float] = PATIENCE_S
    """Seconds after which a test fails, whatever still runs."""

    def make_importer(self) -> ImporterInterface:
        """Make the importer, for a source that answers and doesn't change during the tests."""
        raise NotImplementedError

    def make_collection(self) -> Collection:
        """Make the sample collection, for example with ``sample_collection``."""
        raise NotImplementedError

    def _make(self) -> ImporterInterface:
        return self.make_importer()

    def test_it_goes_on_where_a_run_has_stopped(self) -> None:
        """See check_resuming."""
        run_bounded(self.patience_s, check_resuming, self._make, self.make_collection())
