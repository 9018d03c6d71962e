"""The counts of what is read of a collection, and the time of each phase."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from retrovue.core.answers import ChangesRead
from retrovue.core.errors import IncompleteEnumeration
from retrovue.core.model import Collection
from retrovue.core.pages import Page
from retrovue.core.results import FAR_SMALLER, Counts, Durations
from retrovue.importers.guard import GuardedImporter, GuardedPages
from retrovue.ingest.events import Phase, Progress
from retrovue.ingest.identity import IdentityCheck
from retrovue.store.kept import KnownPage
from retrovue.store.known import Comparison
from retrovue.store.summaries import Summary

FAR_FEWER = 10
"""A collection that lost fewer items than this since the last ingest gives no warning."""


class Tally:
    """The counts of what has been read of a collection, and the time of each phase."""

    def __init__(self, importer: GuardedImporter) -> None:
        self.identity = IdentityCheck(importer)
        self.source_items = self.discovered = self.resumed = 0
        self.source_total: int | None = None
        """The total number of items according to the source."""
        self.warned = 0
        """Drafts with a warning."""
        self.warnings = Counter[str]()
        self.left_out = 0
        """Files of discs that were left out."""
        self.changes: ChangesRead | None = None
        """The end of a listing of changes."""
        self.requests: int | None = None
        """Requests to the source; None if the importer doesn't measure its waiting."""
        self._started = perf_counter()
        self._seconds = defaultdict[str, float](float)

    def reset(self) -> None:
        """Start the counts again; the times continue."""
        self.source_items = self.discovered = self.resumed = self.warned = self.left_out = 0
        self.warnings.clear()

    def count_known(self, page: KnownPage) -> None:
        """Count a known page."""
        self.source_items += page.source_items
        self.discovered += page.drafts + len(page.rejected)

    def count(self, page: Page) -> None:
        """Count a page that was read in full."""
        self.source_items += page.source_items
        self.discovered += len(page.drafts) + len(page.rejected)
        for draft in page.drafts:
            if draft.warnings:
                self.warned += 1
                self.warnings.update(draft.warnings)
        self.warnings.update(page.warnings)

    def count_summary(self, page: Page, summary: Summary) -> None:
        """Count a page whose drafts are only summarized."""
        self.source_items += page.source_items
        self.discovered += summary.drafts + len(page.rejected)
        self.warned += summary.warned
        self.warnings.update(summary.warnings)
        self.warnings.update(page.warnings)

    def warn(self, code: str, number: int) -> None:
        """Add to the count of a warning about the collection."""
        if number:
            self.warnings[code] += number

    def leave_out(self, files: int) -> None:
        """Subtract files of discs that are left out, because the rejection of another file stands for the disc."""
        self.discovered -= files
        self.left_out += files
        self.warn("left_out_disc", files)

    @contextmanager
    def phase(self, name: str, *, restart: bool = False) -> Iterator[None]:
        """Add the time of the block to a phase of `Durations`; with ``restart`` the phase begins again at 0."""
        if restart:
            self._seconds[name] = 0.0
        began = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += perf_counter() - began

    @contextmanager
    def asking(self, pages: GuardedPages) -> Iterator[None]:
        """Divide the time of the block, which calls the importer, into reading and waiting for the source."""
        began = perf_counter()
        try:
            yield
        finally:
            elapsed = perf_counter() - began
            waited = pages.stopwatch.share_of(elapsed)
            self._seconds["waiting_for_source"] += waited
            self._seconds["reading"] += elapsed - waited
            self.requests = pages.stopwatch.waits if pages.stopwatch.used else None

    def progress(self, collection: Collection, rejected: int, phase: Phase = "reading") -> Progress:
        """Make the progress event of the collection."""
        seconds = perf_counter() - self._started
        return Progress(collection, self.source_items, self.discovered, rejected, seconds, self.source_total, phase)

    def compare_with_last_ingest(self, collection: Collection, comparison: Comparison) -> None:
        """Refuse an empty listing of a collection that has assets; warn of one with far fewer drafts than before.

        A sync accepts an empty listing, because its guards hold the removals back.
        """
        if self.discovered == 0 and comparison.anything_known and comparison.mode == "ingest":
            raise IncompleteEnumeration(
                f"The source says that {collection.display_name} is empty, but the catalogue has assets of it.",
                code="suspicious_empty",
                hint="Look at the library at its source: is a disk missing? Nothing was changed in the catalogue.",
                context={"source_items": 0},
            )
        fewer = comparison.last_discovered - self.discovered
        if fewer >= FAR_FEWER and fewer > self.discovered:
            self.warnings[FAR_SMALLER] = fewer

    def durations(self) -> Durations:
        """Return the time of each phase so far."""
        return Durations(total=perf_counter() - self._started, **self._seconds)

    def counts(self, comparison: Comparison, merged: Mapping[str, int]) -> Counts:
        """Make the collection's counts. Raises AssertionError if they don't add up, which is a bug."""
        return Counts(
            **{**merged, "skipped": merged["skipped"] + comparison.known},
            changed=comparison.changed,
            source_items=self.source_items,
            discovered=self.discovered,
            rejected=comparison.rejected,
            warnings=self.warned,
            resumed=self.resumed,
        )
