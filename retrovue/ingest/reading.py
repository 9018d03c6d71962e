"""Read a collection: get pages from the importer, map their paths, run page enrichers, and pass them to a sink."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Protocol

from retrovue.core.answers import ChangesRead, Since
from retrovue.core.errors import IncompleteEnumeration
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, Page, Rejection
from retrovue.core.paths import UnmappedPath
from retrovue.core.results import CHANGED_AT_SOURCE, FAR_SMALLER, SIDECARS_UNSEEN, Counts, Durations
from retrovue.core.runs import Scope
from retrovue.enrichers.pages import NO_MARKS, PageEnrichers, PageMarks
from retrovue.importers.guard import GuardedImporter, GuardedPages
from retrovue.importers.locations import listed_files
from retrovue.ingest import telemetry
from retrovue.ingest.events import Phase, Progress
from retrovue.ingest.files import FileCheck
from retrovue.ingest.mapping import DraftMapper
from retrovue.store.drafts import Fingerprints, MappedPage, draft_keys
from retrovue.store.kept import KeptListing, KnownPage
from retrovue.store.known import Comparison
from retrovue.store.listed import ListedKeys

FAR_FEWER = 10
"""A collection that lost fewer items than this since the last ingest gives no warning."""

OnProgress = Callable[[Progress], None]
"""Receives the progress of a collection, after each page."""


class Sink(Protocol):
    """Takes the pages of one collection: stages them, or keeps their keys for a dry-run.

    Call `open()`, then `add()` or `add_known()` for each page, `reset()` when the source is read again from the
    beginning, then `end()`.
    """

    keeps_pages: bool
    """Whether the sink stores the fingerprints of pages."""
    comparison: Comparison
    listed: ListedKeys | None
    """The listed items; None if the run doesn't need them."""

    @property
    def needs_stamps(self) -> bool:
        """Whether the sink stores or compares the stamps of drafts; known once it is open."""
        ...

    async def open(self) -> None:
        """Load the keys of what the collection holds."""
        ...

    async def add(self, page: MappedPage, /) -> None:
        """Take one page."""
        ...

    async def add_known(self, source_uris: Sequence[str], rejected: Sequence[Rejection]) -> None:
        """Take a known page. Only its source URIs and rejections are used."""
        ...

    async def end(self) -> None:
        """Take the end of the listing."""
        ...

    async def reset(self) -> None:
        """Drop all pages so far."""
        ...


class Tally:
    """The counts of what has been read of a collection, and the time of each phase."""

    def __init__(self) -> None:
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
        self.discovered += len(page.source_uris) + len(page.rejected)

    def count(self, page: Page) -> None:
        """Count a page that was read in full."""
        self.source_items += page.source_items
        self.discovered += len(page.drafts) + len(page.rejected)
        for draft in page.drafts:
            if draft.warnings:
                self.warned += 1
                self.warnings.update(draft.warnings)
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


class Reader:
    """Reads one collection to a sink: `read()`, once."""

    def __init__(
        self,
        importer: GuardedImporter,
        collection: Collection,
        sink: Sink,
        enrichers: PageEnrichers,
        on_progress: OnProgress,
        kept: KeptListing | None = None,
    ) -> None:
        """``kept`` keeps the pages, and has the pages of an earlier run; without it none are kept."""
        self._kept = kept
        self._importer = importer
        self._collection = collection
        self._sink = sink
        self._enrichers = enrichers
        self._on_progress = on_progress
        self._mapper = DraftMapper(collection, local=importer.paths_are_local)
        self._fingerprints = Fingerprints(collection)
        looked_for = collection.check_files and not importer.paths_are_local
        self._files = FileCheck(collection, self._mapper.to_local) if looked_for else None
        self._marks = None if importer.marks_sidecars else enrichers.sidecar_marks
        self._tally = Tally()

    async def read(self, scope: Scope, *, in_full: bool = False) -> Tally:
        """Read all that is in scope. When this returns, the sink has exactly these pages.

        With ``in_full`` no page counts as known, so each draft is compared.
        """
        self._sink.comparison.trusts_pages = not in_full
        collection = replace(self._collection, assets_count=0) if in_full else self._collection
        await self._sink.open()
        bookmarks = None if self._kept is None else await self._kept.open()
        if not await self._read_pages(lambda: self._importer.enumerate(collection, scope, bookmarks), bool(bookmarks)):
            await self._add(Page([], [], 0, restart=True))
            await self._read_pages(lambda: self._importer.enumerate(collection, scope, []))
        await self._end()
        if self._files is not None:
            await self._files.finish()
        if scope.is_full:
            self._compare_with_last_ingest()
        return self._tally

    async def read_changes(self, since: Since) -> Tally:
        """Read what has changed since a time. Raises ChangesUnknown if the source can't tell."""
        return await self._read_some(lambda: self._importer.enumerate_changes(self._collection, since))

    async def read_items(self, keys: Sequence[str]) -> Tally:
        """Read single items.

        Raises ChangesUnknown if the source doesn't list one of them, or can't list single items.
        """
        return await self._read_some(lambda: self._importer.enumerate_items(self._collection, keys))

    async def _read_some(self, enumerate_: Callable[[], AbstractAsyncContextManager[GuardedPages]]) -> Tally:
        # A few new files may not have arrived on this machine yet, so missing ones don't mean that the disk isn't
        # mounted.
        self._files = None
        await self._sink.open()
        await self._read_pages(enumerate_)
        await self._end()
        return self._tally

    async def _end(self) -> None:
        with self._tally.phase("staging"):
            await self._sink.end()
        if self._sink.comparison.touched:
            self._tally.warnings[CHANGED_AT_SOURCE] = self._sink.comparison.touched

    async def _read_pages(
        self, enumerate_: Callable[[], AbstractAsyncContextManager[GuardedPages]], resuming: bool = False
    ) -> bool:
        """Read the pages. With ``resuming`` take the kept pages first, and read the pages after them.

        Returns False if the kept pages can't be used. The pages in the sink are then invalid.
        """
        async with enumerate_() as pages:
            while (page := await self._next_page(pages)) is not None:
                if resuming and not _restarts(page) and not await self._take_kept():
                    return False
                resuming = False
                await self._take(page, pages)
        return not resuming or await self._take_kept()

    async def _take(self, page: Page | Outline, pages: GuardedPages) -> None:
        bookmark, total = page.bookmark, page.source_total
        if self._files is not None and self._files.wanted:
            await self._files.look(listed_files(page))
        taken: Page | KnownPage | None = await self._known(page) if isinstance(page, Outline) else page
        if taken is None and isinstance(page, Outline):
            with self._tally.asking(pages):
                taken = await pages.read(page)
        if isinstance(taken, Page):
            self._tally.changes = taken.changes or self._tally.changes
            await self._add(taken)
        if self._kept is not None and taken is not None and not _only_restarts(taken):
            with self._tally.phase("staging"):
                await self._kept.keep(taken, bookmark)
        self._tell(total)

    async def _take_kept(self) -> bool:
        """Take the pages of an earlier run as if the source had listed them; return False if one can't be used now."""
        if self._kept is None:
            return False
        async for page in self._kept.pages():
            if isinstance(page, Page):
                if self._files is not None and self._files.wanted:
                    await self._files.look(listed_files(page))
                await self._add(page)
            elif page is None or not await self._take_known(page):
                return False
            self._tell(page.source_total)
        self._tally.resumed = self._tally.source_items
        return True

    def _tell(self, total: int | None) -> None:
        if total is not None:
            self._tally.source_total = total
        self._on_progress(self._tally.progress(self._collection, self._sink.comparison.rejected))

    async def _next_page(self, pages: GuardedPages) -> Page | Outline | None:
        with telemetry.span("read_page"), self._tally.asking(pages):
            return await anext(pages, None)

    async def _known(self, outline: Outline) -> KnownPage | None:
        """Return the page of an outline if all its drafts are known, and count them; else None."""
        with self._tally.phase("enriching"):
            sidecars = await self._sidecars_of(outline)
        with self._tally.phase("staging"):
            fingerprint = self._fingerprints.of(
                outline.source_uris, outline.source_paths, outline.stamp, sidecars.digest()
            )
        if fingerprint is None:
            return None
        rejected, items, total = outline.rejected, outline.source_items, outline.source_total
        page = KnownPage(fingerprint, outline.source_uris, rejected, items, total)
        if not await self._take_known(page):
            return None
        self._tally.warn(SIDECARS_UNSEEN, sidecars.unseen())
        return page

    async def _sidecars_of(self, outline: Outline) -> PageMarks:
        """Return the marks of the sidecars of an outline's drafts, or `NO_MARKS` if none are compared."""
        if self._marks is None or outline.stamp is None:
            return NO_MARKS
        try:
            files = [self._mapper.to_local(paths[0]) for paths in outline.source_paths]
        except UnmappedPath:
            return NO_MARKS  # a page with a rejected draft isn't recognized as known
        return await self._marks.of(files)

    async def _take_known(self, page: KnownPage) -> bool:
        """Return whether all drafts of a page are known; if so, count them."""
        with self._tally.phase("staging"):
            if not self._sink.comparison.knows_page(page.fingerprint, len(page.source_uris)):
                return False
            await self._sink.add_known(page.source_uris, page.rejected)
        self._tally.count_known(page)
        return True

    async def _add(self, page: Page) -> None:
        tally, sink = self._tally, self._sink
        with tally.phase("staging"):
            if page.restart:
                tally.reset()
                await sink.reset()
                if self._kept is not None:
                    await self._kept.clear()
            tally.count(page)
            mapped, rejected, left_out = self._mapper.map_page(page)
            tally.leave_out(left_out)
            keys = draft_keys(mapped, stamps=sink.needs_stamps)
        with tally.phase("enriching"):
            sidecars = NO_MARKS if self._marks is None else await self._marks.of([it.local_paths[0] for it in mapped])
            tally.warn(SIDECARS_UNSEEN, sidecars.unseen())
            refined = await self._enrichers.refine(sidecars.put_on(mapped))
        with tally.phase("staging"):
            to_keep = sink.keeps_pages and len(mapped) == len(page.drafts)
            fingerprint = self._fingerprints.of_page(page, keys, sidecars.digest()) if to_keep else None
            stamps = [item.draft.sidecar_stamp for item in refined] if sidecars.marks else ()
            await sink.add(MappedPage(refined, keys, rejected, fingerprint, stamps))

    def _compare_with_last_ingest(self) -> None:
        """Refuse an empty listing of a collection that has assets; warn of one with far fewer drafts than before.

        A sync accepts an empty listing, because its guards hold the removals back.
        """
        tally, comparison = self._tally, self._sink.comparison
        if tally.discovered == 0 and comparison.anything_known and comparison.mode == "ingest":
            raise IncompleteEnumeration(
                f"The source says that {self._collection.display_name} is empty, but the catalogue has assets of it.",
                code="suspicious_empty",
                hint="Look at the library at its source: is a disk missing? Nothing was changed in the catalogue.",
                context={"source_items": 0},
            )
        fewer = comparison.last_discovered - tally.discovered
        if fewer >= FAR_FEWER and fewer > tally.discovered:
            tally.warnings[FAR_SMALLER] = fewer


def _restarts(page: Page | Outline) -> bool:
    return isinstance(page, Page) and page.restart


def _only_restarts(page: Page | KnownPage) -> bool:
    return isinstance(page, Page) and page.restart and not (page.source_items or page.drafts or page.rejected)
