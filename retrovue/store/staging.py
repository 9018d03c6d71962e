"""Staging: copy each page of a collection to temporary tables, which the merge then reads.

Only drafts that the collection doesn't hold exactly as they are get staged, in a short transaction for each page.
Nothing is locked while the source is waited for, and memory is bounded by one page.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from uuid import UUID

import orjson
from msgspec.structs import replace

from retrovue.core.errors import StoreError
from retrovue.core.model import Collection, Enricher
from retrovue.core.pages import Rejection
from retrovue.core.runs import Mode
from retrovue.core.text import storable
from retrovue.store.additions import Additions
from retrovue.store.comparing import ALIKE, Difference, differences_of
from retrovue.store.drafts import ItemKey, MappedDraft, MappedPage
from retrovue.store.kept import KnownPage
from retrovue.store.known import HELD, Comparison, Other
from retrovue.store.known_pages import drop_exceptions, keep_known_pages, pages_that_stay_unknown
from retrovue.store.known_texts import packed
from retrovue.store.listed import ListedKeys
from retrovue.store.relinking import relink_keys
from retrovue.store.session import Transactions
from retrovue.store.staged import COLUMNS, staged_row
from retrovue.store.statements import Session, text
from retrovue.store.temporary import StagingTables

MOST_STAGED_BYTES = 16 << 30
"""The most bytes in the temporary tables of one collection: some 15 million new films."""
STAGED_BETWEEN = 50_000
_PAGES_AT_ONCE = 8
"""Pages of which the texts and items are written at once: some 21 KB, and in a sync 29 KB each."""
_ROW_BY_ROW = "random() >= 0"
"""A condition that every row meets. COPY in binary allocates a slot for each row that it collects, up to 1,000 for a
page. With a condition that may change from row to row it doesn't collect them, which takes a quarter less.
"""
_STAGED_BYTES = text("SELECT sum(pg_total_relation_size(name)) FROM unnest(cast(:tables AS text[])) AS name")


class CollectionEnrichers(Protocol):
    """What a merge needs to know about a collection's enrichers."""

    @property
    def refined_by(self) -> tuple[UUID, ...]:
        """The ids of the page enrichers, which have refined the drafts."""
        ...

    @property
    def owing(self) -> bool:
        """Whether every new asset is owed an enrichment after the commit."""
        ...

    @property
    def reading_files(self) -> tuple[UUID, ...]:
        """The ids of the enrichers that owe an enrichment again for an asset whose file has moved."""
        ...

    @property
    def reading_sidecars(self) -> tuple[Enricher, ...]:
        """The enrichers that owe an enrichment again for an asset whose sidecar has changed."""
        ...


class Staging:
    """The sink of an ingest. It stages one collection in temporary tables, which stay with the connection.

    Call `open()`, then `add()` for each page, `reset()` when the source is read again, and `merging()` around the
    merge, in its transaction.
    """

    keeps_pages = True

    def __init__(
        self,
        store: Transactions,
        session: Session,
        collection: Collection,
        enrichers: CollectionEnrichers,
        *,
        mode: Mode = "ingest",
        full: bool = True,
        changes: bool = False,
        suffix: str = "",
    ) -> None:
        """With ``full`` the whole collection is read, so that a sync knows what isn't listed.

        With ``changes`` a sync reads the changes. ``suffix`` distinguishes the tables from those of another staging in
        the same session, whose merge is part of the same transaction.
        """
        self.session = session
        self.collection = collection
        self.enrichers = enrichers
        self.full = full
        self.comparison = Comparison(session, collection, mode)
        self.additions = Additions(collection) if changes else None
        """The additions among the changes, if changes are read."""
        syncing = mode == "sync" and full
        self.tables = StagingTables(self.enriched, syncing or changes, suffix)
        self.shares_transaction = bool(suffix)
        """Whether the merges of other collections are part of the same transaction."""
        self.listed = ListedKeys(store, session, table=self.tables.name("listed")) if syncing else None
        """The listed items; None unless the run is a sync of the whole collection."""
        self.staged = 0
        self.staged_pages = 0
        """The number of pages of which it is staged how they, or their items, are recognised later."""
        self._pages_about: list[tuple[object, ...]] = []
        """Those rows of it that aren't written yet."""
        self.several_parts = False
        """Whether a staged draft has more than one part."""
        self.touched = False
        """Whether a probe has read an old file of an asset."""
        self.owes_again = False
        """Whether a staged draft has other sidecars than its asset, and an enricher reads sidecars."""
        self._store = store
        self._last_number = 0
        """The number of the last page that was added."""
        self._measured = 0
        """The number of staged rows when the size of the tables was last checked."""
        self._pages: list[tuple[int, bytes | None]] = []
        """The number of the first draft of each staged page, and its fingerprint if it can become known."""

    @property
    def enriched(self) -> bool:
        """Whether the collection has any enricher."""
        return self.enrichers.owing or bool(self.enrichers.refined_by)

    @property
    def relinks(self) -> bool:
        """Whether new items may belong to assets that have lost their item."""
        return self.listed is not None or self.additions is not None

    @property
    def may_have_lost(self) -> bool:
        """Whether assets may have lost their items. For changes, only items that weren't listed before count."""
        if self.listed is None:
            return self.additions is not None and self.comparison.unavailable > 0
        return self.comparison.may_have_lost

    async def open(self) -> None:
        """Create the tables, unless the connection has them, and read what the collection holds."""
        of_collection = {"id": self.collection.id, "whole": self.full}
        if self.tables.are_made(self.session):
            held = await self._store.look(self.session, HELD, of_collection)
        else:
            async with self._temporarily() as session:
                await self.tables.make(session)
                held = (await session.execute(HELD, of_collection)).one()
        self.comparison.take_held(held)

    def _temporarily(self) -> AbstractAsyncContextManager[Session]:
        """Begin a transaction that writes the temporary tables alone."""
        return self._store.transaction(self.session, temporary=True)

    async def add(self, page: MappedPage, /) -> None:
        """Stage a page."""
        comparison = self.comparison
        async with self._temporarily() as session:
            compared = await comparison.compare(session, page)
            if self.additions is not None:
                await self.additions.take(session, page, compared.to_stage)
            if comparison.mode == "ingest":
                touched = await comparison.find_changed(session, page.drafts, page.keys)
                if touched and self.enrichers.reading_files:
                    await self._copy(session, "touched_asset", [(uuid,) for uuid in touched])
                    self.touched = True
            differences: Mapping[int, Difference] = {}
            if comparison.mode == "sync":
                readers = self.enrichers.reading_sidecars
                differences = await differences_of(session, page, compared.to_stage, readers)
                self.owes_again |= any(found.again is not None for found in differences.values())
            rows = [
                (page.drafts[position], page.keys[position], differences.get(position, ALIKE))
                for position in (other.position for other in compared.to_stage)
            ]
            await self._copy_drafts(session, rows)
            await self._copy_rejections(session, page.rejected)
            if self.relinks and comparison.anything_known:
                await self._copy_keys(session, page, compared.to_stage)
            await self._keep_page(session, page, compared.fingerprint)
            if rows:
                self._pages.append((self.staged, compared.fingerprint))
            self.staged += len(rows)
            self.several_parts |= any(len(mapped.draft.parts) > 1 for mapped, _, _ in rows)
            comparison.reject(page.rejected)
            await self._check_size(session)
        if self.listed is not None and comparison.anything_known:
            await self.listed.add((key.source_hash for key in page.keys), page.rejected)

    async def _check_size(self, session: Session) -> None:
        """Raise StoreError if the tables have grown beyond `MOST_STAGED_BYTES`.

        A source may list items without end, and they would fill the disk that the database shares with others. The size
        is checked once in `STAGED_BETWEEN` rows, so that the cost is negligible.
        """
        rows = self.staged + self.comparison.rejected
        if rows - self._measured < STAGED_BETWEEN:
            return
        self._measured = rows
        tables = [self.tables.name("staged"), self.tables.name("staged_rejection")]
        size = int((await session.execute(_STAGED_BYTES, {"tables": tables})).scalar_one())
        if size > MOST_STAGED_BYTES:
            raise StoreError(
                f"What the source has listed of {self.collection.display_name} so far takes {size >> 20:,} MiB in"
                f" temporary tables; at most {MOST_STAGED_BYTES >> 20:,} MiB may be.",
                code="staging_too_large",
                hint="Check what the source lists. A large library can be divided there.",
            )

    @property
    def needs_stamps(self) -> bool:
        """Whether there is an asset to compare drafts with; the stamps of others are made with their rows."""
        return self.comparison.anything_known

    @property
    def wants_items(self) -> bool:
        """Whether it knows items of pages one by one, or keeps them."""
        return self.listed is not None or bool(self.comparison.items)

    async def known_items(self, items: Sequence[bytes]) -> list[bool]:
        """Return which of the items of a page, given by their fingerprints, are known."""
        return await self.comparison.items.among(self._temporarily, items)

    async def load_texts(self) -> None:
        """Read the texts of the known pages that are expected next."""
        async with self._temporarily() as session:
            await self.comparison.texts.load(session)

    async def add_known(self, page: KnownPage) -> None:
        """Take a known page."""
        if page.rejected:
            async with self._temporarily() as session:
                await self._copy_rejections(session, page.rejected)
            self.comparison.reject(page.rejected)
        if self.listed is not None:
            await self.listed.add(page.source_hashes(), page.rejected)

    async def end(self) -> None:
        """Take the end of the listing."""
        if self.listed is not None:
            async with self._temporarily() as session:
                await self.listed.flush(session)
                await self._copy_pages(session)
        elif self._pages_about and (self._last_number > 1 or self.comparison.recognised):
            async with self._temporarily() as session:
                await self._copy_pages(session)
        # The only page of a collection is decoded again in less time than writing this takes.
        self._pages_about.clear()

    async def clear(self, session: Session) -> None:
        """Empty the tables, in the caller's transaction."""
        await self.tables.empty(
            session,
            staged=self.staged,
            rejected=self.comparison.rejected,
            keys=self.relinks and bool(self.staged),
            listed=self.listed is not None,
            lost=self.may_have_lost,
            touched=self.touched,
            pages=self.staged_pages,
        )

    @asynccontextmanager
    async def merging(self) -> AsyncIterator[None]:
        """Prepare the tables for the statements of the merge, in its transaction; empty them at the end of the block.

        The caller rolls the transaction back if the block raises.
        """
        own, self.tables = self.tables, replace(self.tables, suffix="")
        try:
            await own.rename(self.session)
            yield
            await self.clear(self.session)
            await own.drop(self.session)
        finally:
            self.tables = own

    async def keep_pages(self, session: Session, *, all_staged: bool) -> None:
        """Store which pages are known after the merge, in its transaction.

        ``all_staged`` says that every staged draft is now an asset of its own.
        """
        starts = (first for first, _ in self._pages)
        unknown = set[int]() if all_staged else await pages_that_stay_unknown(session, starts)
        fresh = (page for number, (_, page) in enumerate(self._pages) if page is not None and number not in unknown)
        known = self.comparison
        pages = known.seen_pages.union(fresh)
        await keep_known_pages(session, self.collection, known.known_pages, pages, staged=self.staged_pages > 0)
        if known.exceptions:
            await drop_exceptions(session, self.collection)

    async def reset(self) -> None:
        """Delete the staged drafts, because the source is read again."""
        async with self._temporarily() as session:
            await self.clear(session)
        self.staged, self.several_parts, self.touched, self.owes_again, self._measured = 0, False, False, False, 0
        self.staged_pages = 0
        self._pages_about.clear()
        self._pages.clear()
        self.comparison.reset()
        if self.listed is not None:
            self.listed.reset()
        if self.additions is not None:
            self.additions.reset()

    async def _copy_drafts(self, session: Session, drafts: Sequence[tuple[MappedDraft, ItemKey, Difference]]) -> None:
        refinements: list[tuple[int, bytes, bytes | None]] = []

        def rows() -> Iterator[tuple[object, ...]]:
            for seq, (mapped, key, difference) in enumerate(drafts, start=self.staged):
                yield staged_row(seq, mapped, key, difference)
                if (refinement := mapped.refinement) is not None:
                    failures = orjson.dumps(refinement.failures) if refinement.failures else None
                    refinements.append((seq, orjson.dumps(refinement.provenance), failures))

        try:
            if drafts:
                # The driver encodes each row when it is made, so the rows of a page are never in memory together.
                await self._copy(session, "staged", rows(), COLUMNS)
        except (UnicodeError, TypeError, ValueError, OverflowError) as exc:
            raise StoreError(
                "The importer gave a value that the catalogue can't hold.",
                code="bad_value",
                hint="This is a bug of the importer; the traceback is in the audit trail.",
            ) from exc
        await self._copy(session, "staged_refinement", refinements)

    async def _copy_rejections(self, session: Session, rejections: Sequence[Rejection]) -> None:
        records = [
            (position, *map(storable, (rejection.code, rejection.reason, rejection.source_uri, rejection.title)))
            for position, rejection in enumerate(rejections, start=self.comparison.rejected + 1)
        ]
        await self._copy(session, "staged_rejection", records)

    async def _keep_page(self, session: Session, page: MappedPage, fingerprint: bytes | None) -> None:
        """Stage how a page, or its items, are recognised later, if it can become known by a fingerprint."""
        self._last_number = page.number
        items = page.items if self.listed is not None and page.items else None
        # The stamps of some drafts aren't known if the fingerprint is another one than that of the page.
        content = None if page.text is None or fingerprint != page.fingerprint else packed(page.text)
        if fingerprint is None or (items is None and content is None):
            return
        digest = None if page.text is None or content is None else page.text.digest
        self._pages_about.append((fingerprint, page.number, items, digest, content))
        if len(self._pages_about) == _PAGES_AT_ONCE:
            await self._copy_pages(session)

    async def _copy_pages(self, session: Session) -> None:
        if self._pages_about:
            await self.tables.make_pages(session)
            await self._copy(session, "staged_page", self._pages_about)
            self.staged_pages += len(self._pages_about)
        self._pages_about.clear()

    async def _copy_keys(self, session: Session, page: MappedPage, to_stage: Sequence[Other]) -> None:
        """Copy the keys by which new drafts may match assets that have lost their item."""
        records = [
            (seq, rule, key)
            for seq, other in enumerate(to_stage, start=self.staged)
            if other.uuid is None
            for rule, key in relink_keys(page.drafts[other.position].draft, page.keys[other.position].canonical_hash)
        ]
        await self._copy(session, "staged_key", records)

    async def _copy(
        self,
        session: Session,
        table: str,
        records: Iterable[tuple[object, ...]],
        columns: Sequence[str] | None = None,
    ) -> None:
        """Copy rows to a table; an empty sequence costs no round trip, an iterator must give a row."""
        if records:
            await session.driver.copy_records_to_table(
                self.tables.name(table), records=records, columns=columns, where=_ROW_BY_ROW
            )
