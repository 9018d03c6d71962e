"""Read a collection: get pages from the importer, map their paths, run page enrichers, and pass them to a sink."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from retrovue.core.answers import Since
from retrovue.core.model import Collection
from retrovue.core.pages import Outline, OutlineItems, Page, Rejection
from retrovue.core.paths import UnmappedPath
from retrovue.core.results import CHANGED_AT_SOURCE, SIDECARS_UNSEEN
from retrovue.core.runs import Scope
from retrovue.enrichers.pages import NO_MARKS, PageEnrichers, PageMarks
from retrovue.importers.guard import GuardedImporter, GuardedPages
from retrovue.importers.locations import listed_files
from retrovue.ingest import telemetry
from retrovue.ingest.events import Progress
from retrovue.ingest.files import FileCheck, places_of, sample_of
from retrovue.ingest.mapping import DraftMapper
from retrovue.ingest.recalling import PageRecall, known_page
from retrovue.ingest.sink import Sink
from retrovue.ingest.summarizing import Summarizer
from retrovue.ingest.tally import Tally
from retrovue.store.drafts import Fingerprints, ItemKey, KnownText, MappedPage, draft_keys, identity_hash
from retrovue.store.kept import KeptListing, KnownPage
from retrovue.store.known_items import ITEM_BYTES
from retrovue.store.known_texts import FoundPage
from retrovue.store.preview import Preview
from retrovue.store.summaries import Summary, decode_summary

OnProgress = Callable[[Progress], None]
"""Receives the progress of a collection, after each page."""


class _Unknown(NamedTuple):
    """What the outline of a page that isn't known has told of all of it."""

    fingerprint: bytes
    items: bytes
    """The fingerprints of its items, side by side."""
    drafts: int
    """The number of its drafts."""
    paths: Sequence[str] = ()
    """Some paths of its drafts, of each location."""
    known: KnownPage | None = None
    """Its known items."""


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
        *,
        atomic: bool = False,
    ) -> None:
        """``kept`` keeps the pages, and has the pages of an earlier run; without it none are kept.

        ``atomic``: the source's identity is checked once for all collections.
        """
        self._atomic = atomic
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
        self._locations = places_of(collection)
        self._marks = None if importer.marks_sidecars else enrichers.sidecar_marks
        self._tally = Tally(importer)
        self._recall: PageRecall | None = None
        """Finds known pages by their text; None where each page is looked at."""
        self._number = 0
        """Of the page, in the order of the listing."""

    async def read(self, scope: Scope, *, in_full: bool = False) -> Tally:
        """Read all that is in scope. When this returns, the sink has exactly these pages.

        With ``in_full`` no page counts as known, so each draft is compared.
        """
        self._sink.comparison.trusts_pages = not in_full
        collection = replace(self._collection, assets_count=0) if in_full else self._collection
        await self._sink.open()
        bookmarks = None if self._kept is None else await self._kept.open()
        # The marks of sidecars need the paths of each draft.
        if scope.is_full and not in_full and self._marks is None:
            self._recall = PageRecall(self._sink, self._fingerprints)
        recall = self._recall
        enumerate_ = self._importer.enumerate
        summarize = self._summarizer()
        if summarize is not None:
            await self._read_pages(lambda: self._importer.enumerate_summaries(collection, scope, summarize))
        elif not await self._read_pages(lambda: enumerate_(collection, scope, bookmarks, recall), bool(bookmarks)):
            await self._add(Page([], [], 0, restart=True))
            await self._read_pages(lambda: enumerate_(collection, scope, [], recall))
        await self._end()
        if self._files is not None:
            await self._files.finish()
        if scope.is_full:
            self._tally.compare_with_last_ingest(self._collection, self._sink.comparison)
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
                # A sync asks for the source's state before its merge.
                last = page.last and self._sink.comparison.mode == "ingest" and not self._atomic
                await self._tally.identity.during(partial(self._take, page, pages), last=last)
                del page  # its memory is used again for the next one, while it is in the processor's cache
        return not resuming or await self._take_kept()

    async def _take(self, page: Page | Outline, pages: GuardedPages) -> None:
        if isinstance(page, Page) and page.summary is not None:
            await self._take_summary(page, decode_summary(page.summary))
            return
        bookmark, total = page.bookmark, page.source_total
        found = None if self._recall is None or isinstance(page, Page) else self._recall.met(page)
        await self._look_for_files(lambda: listed_files(page) if found is None else found.paths)
        self._number += 1
        taken = await self._take_outline(page, pages, found) if isinstance(page, Outline) else page
        if isinstance(page, Page):
            self._tally.changes = page.changes or self._tally.changes
            await self._add(page)
        if self._kept is not None and not _only_restarts(taken):
            with self._tally.phase("staging"):
                await self._kept.keep(taken, bookmark)
        self._tell(total)

    def _summarizer(self) -> Summarizer | None:
        """Return what makes summaries of pages; None if the sink or enrichers need drafts."""
        if not isinstance(self._sink, Preview) or not self._sink.takes_summaries:
            return None
        if self._enrichers.refining or self._marks is not None:
            return None
        return Summarizer(self._collection, self._importer.paths_are_local)

    async def _take_summary(self, page: Page, summary: Summary) -> None:
        await self._look_for_files(lambda: summary.files)
        with self._tally.phase("staging"):
            self._tally.count_summary(page, summary)
            assert isinstance(self._sink, Preview)  # noqa: S101 - as `_summarizer` has found
            self._sink.add_summary(summary, page.rejected)
        self._tell(page.source_total)

    async def _look_for_files(self, listed: Callable[[], Sequence[str]]) -> None:
        if self._files is not None and self._files.wanted:
            await self._files.look(listed())

    async def _take_kept(self) -> bool:
        """Take the pages of an earlier run as if the source had listed them; return False if one can't be used now."""
        if self._kept is None:
            return False
        async for page in self._kept.pages():
            if isinstance(page, Page):
                await self._look_for_files(partial(listed_files, page))
                await self._add(page)
            elif page is None or not await self._take_known(page):
                return False
            self._number += 1
            self._tell(page.source_total)
        self._tally.resumed = self._tally.source_items
        return True

    def _tell(self, total: int | None) -> None:
        if total is not None:
            self._tally.source_total = total
        self._on_progress(self._tally.progress(self._collection, self._sink.comparison.rejected))

    async def _next_page(self, pages: GuardedPages) -> Page | Outline | None:
        if self._recall is not None:
            with self._tally.phase("staging"):
                await self._recall.prepare()
        with telemetry.span("read_page"), self._tally.asking(pages):
            return await anext(pages, None)

    async def _take_outline(self, outline: Outline, pages: GuardedPages, found: FoundPage | None) -> Page | KnownPage:
        """Take the page of an outline: nothing is read of it if it is known, and else the items that aren't.

        ``found`` is the page if it was recognised by its text.
        """
        tally, uris, rejected = self._tally, outline.source_uris, outline.rejected
        if outline.recognised:
            if found is not None and await self._take_known(page := known_page(outline, found)):
                return page
            return await self._take_in_full(outline, pages, None)
        with tally.phase("enriching"):
            sidecars = await self._sidecars_of(outline)
        with tally.phase("staging"):
            fingerprint = self._fingerprints.of(uris, outline.source_paths, outline.stamp, sidecars.digest())
        if fingerprint is not None:
            page = KnownPage(fingerprint, uris, rejected, outline.source_items, outline.source_total)
            if await self._take_known(page):
                tally.warn(SIDECARS_UNSEEN, sidecars.unseen())
                return page
        about: _Unknown | None = None
        if fingerprint is not None and outline.items is not None and self._sink.wants_items:
            with tally.phase("staging"):
                items = self._items_of(outline.items, sidecars)
                about = _Unknown(fingerprint, b"".join(items), len(uris), self._sample_of(outline))
                known = await self._are_known(items, outline, outline.items)
            # Of a page of which little is known most would be decoded twice.
            if 2 * sum(known) >= len(known) > 0:
                return await self._take_partly(outline, outline.items, pages, about, known, sidecars)
        return await self._take_in_full(outline, pages, about)

    async def _take_in_full(self, outline: Outline, pages: GuardedPages, about: _Unknown | None) -> Page:
        with self._tally.asking(pages):
            page = await pages.read(outline)
        await self._add(page, about)
        return page

    def _items_of(self, items: OutlineItems, sidecars: PageMarks) -> list[bytes]:
        marks = sidecars.digests([end for end, _ in items.ends])
        return self._fingerprints.of_items(items.stamps(), marks)

    async def _are_known(self, fingerprints: list[bytes], outline: Outline, items: OutlineItems) -> list[bool]:
        known = await self._sink.known_items(fingerprints)
        if any(known):
            ends = [end for end, _ in items.ends]
            for place in self._sink.comparison.excepted(map(identity_hash, outline.source_uris)):
                known[bisect_right(ends, place)] = False
        return known

    async def _take_partly(
        self,
        outline: Outline,
        items: OutlineItems,
        pages: GuardedPages,
        about: "_Unknown",
        known: Sequence[bool],
        sidecars: PageMarks,
    ) -> KnownPage:
        """Take a page of which some items are known, and read the others."""
        unknown = [place for place, is_known in enumerate(known) if not is_known]
        uris, rejected, found, unseen = list[str](), list[Rejection](), bytearray(), 0
        start, place = (0, 0), 0
        for place_of_next in (*unknown, len(known)):
            # The known items before the next one that isn't.
            end = items.ends[place_of_next - 1] if place_of_next else (0, 0)
            uris += outline.source_uris[start[0] : end[0]]
            rejected += outline.rejected[start[1] : end[1]]
            unseen += sidecars.marks[start[0] : end[0]].count(None)
            found += about.items[place * ITEM_BYTES : place_of_next * ITEM_BYTES]
            if place_of_next < len(known):
                start, place = items.ends[place_of_next], place_of_next + 1
        with self._tally.asking(pages):
            rest = await pages.read_items(items, unknown)
        self._tally.warn(SIDECARS_UNSEEN, unseen)
        total = outline.source_total
        number = len(known) - len(unknown)
        # In full an item may turn out to be unusable.
        whole = len(uris) + len(rest.drafts) == len(outline.source_uris)
        whole = whole and len(rejected) + len(rest.rejected) == len(outline.rejected)
        rest.text = outline.text if whole else None
        items_of_all = about.items if whole else b""
        page = KnownPage(about.fingerprint, uris, rejected, number, total, rest, bytes(found), items_of_all)
        await self._count_partly(page, rest, about.paths)
        return page

    async def _count_partly(self, page: KnownPage, rest: Page, paths: Sequence[str]) -> None:
        with self._tally.phase("staging"):
            self._sink.comparison.count_known(page.drafts)
            await self._sink.add_known(page)
        self._tally.count_known(page)
        await self._add(rest, _Unknown(page.fingerprint, page.all_items, page.drafts + len(rest.drafts), paths, page))

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
        """Return whether a page is known, or what was when an earlier run has kept it; if so, take it."""
        if page.rest is not None:
            items = [page.items[at : at + ITEM_BYTES] for at in range(0, len(page.items), ITEM_BYTES)]
            known = await self._sink.known_items(items)
            if not all(known) or self._sink.comparison.excepted(page.source_hashes()):
                return False
            page.rest.text = None  # the paths of its known items aren't kept
            await self._count_partly(page, page.rest, ())
            return True
        with self._tally.phase("staging"):
            if not self._sink.comparison.knows_page(page):
                return False
            await self._sink.add_known(page)
        self._tally.count_known(page)
        return True

    async def _add(self, page: Page, about: "_Unknown | None" = None) -> None:
        """Add a page that was read in full, or the rest of one; ``about`` is what an outline told of the whole page."""
        tally, sink = self._tally, self._sink
        with tally.phase("staging"):
            if page.restart:
                tally.reset()
                self._number = 0
                await sink.reset()
                if self._kept is not None:
                    await self._kept.clear()
            tally.count(page)
            mapped, rejected, left_out = self._mapper.map_page(page)
            tally.leave_out(left_out)
            to_keep = sink.keeps_pages and len(mapped) == len(page.drafts)
            # A stamp is that of the draft as the importer gave it, on which no marks of sidecars have been put yet.
            early = sink.needs_stamps or self._marks is not None or (to_keep and page.stamp is None)
            keys = draft_keys(mapped, stamps=early)
        with tally.phase("enriching"):
            sidecars = NO_MARKS if self._marks is None else await self._marks.of([it.local_paths[0] for it in mapped])
            tally.warn(SIDECARS_UNSEEN, sidecars.unseen())
            refined = await self._enrichers.refine(sidecars.put_on(mapped))
        with tally.phase("staging"):
            fingerprint, items = None, b""
            known = None if about is None else about.known
            number = len(page.drafts) + (0 if known is None else known.drafts)
            # In full an item may turn out to be unusable. The page is then another one than its outline.
            if to_keep and about is not None and about.items and about.drafts == number:
                fingerprint, items = about.fingerprint, about.items
            elif to_keep and known is None:
                fingerprint = self._fingerprints.of_page(page, keys, sidecars.digest())
            stamps = [item.draft.sidecar_stamp for item in refined] if sidecars.marks else ()
            text = None
            if fingerprint is not None and self._marks is None:
                paths = self._sample_of(page) if about is None or known is None else about.paths
                text = self._text_of(page, keys, known, paths)
            await sink.add(MappedPage(refined, keys, rejected, fingerprint, stamps, items, self._number, text))

    def _text_of(
        self, page: Page, keys: Sequence[ItemKey], known: KnownPage | None, paths: Sequence[str]
    ) -> KnownText | None:
        """Return how a page is recognised; ``keys`` are those of its drafts, but for its known ones."""
        if page.text is None:
            return None
        hashes = [*(() if known is None else known.source_hashes()), *[key.source_hash for key in keys]]
        return KnownText(self._fingerprints.of_text(page.text.digest), page.text.rows, b"".join(hashes), paths)

    def _sample_of(self, page: Page | Outline) -> Sequence[str]:
        return sample_of(self._locations, listed_files(page))


def _restarts(page: Page | Outline) -> bool:
    return isinstance(page, Page) and page.restart


def _only_restarts(page: Page | KnownPage) -> bool:
    return isinstance(page, Page) and page.restart and not (page.source_items or page.drafts or page.rejected)
