"""Staging: what the source yielded, on its way into one collection.

Each page is compared with what the collection already holds; what isn't known exactly is copied to a temporary
table of the session, in a short transaction of its own. Nothing is held while the source is waited for, and
memory is that of a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.model import Collection, Rejection
from retrovue.core.verdicts import LISTED
from retrovue.store.drafts import ItemKey, MappedDraft, item_keys, unknown_among
from retrovue.store.known import keep_known_pages, pages_that_stay_unknown, what_is_known
from retrovue.store.session import Store
from retrovue.store.staging_tables import copy_page, make_tables


class CollectionEnrichers(Protocol):
    """The enrichers of a collection, by what they mean for its merge."""

    @property
    def refined_by(self) -> tuple[UUID, ...]:
        """The page enrichers, which have refined what is staged."""
        ...

    @property
    def owing(self) -> bool:
        """Whether other enrichers owe something to every new asset after the commit."""
        ...

    @property
    def reading_files(self) -> tuple[UUID, ...]:
        """The enrichers that owe something again to every asset whose file has moved."""
        ...


@dataclass(slots=True)
class Comparison:
    """What is read of a collection, compared with what the collection holds; counts what is known or rejected.

    `load()` comes first, then for each page one of the other methods; `reset()` when the source is read again.
    """

    store: Store
    session: AsyncSession
    collection: Collection
    anything_known: bool = False
    """Whether the collection holds any asset to compare with."""
    known_pages: frozenset[bytes] = frozenset()
    """The fingerprints of the pages that it holds whole."""
    last_discovered: int = 0
    """How many drafts there were at the last full ingest that succeeded."""
    seen_pages: set[bytes] = field(default_factory=set[bytes])
    """The fingerprints of the pages read so far that are known."""
    known: int = 0
    """Drafts that the collection holds exactly as they are: they are skipped."""
    rejected: int = 0
    first_rejections: list[Rejection] = field(default_factory=list[Rejection])
    """The first `LISTED` of them."""

    async def load(self, session: AsyncSession) -> None:
        """Read what there is to compare with, inside the caller's transaction."""
        known = await what_is_known(session, self.collection)
        self.anything_known, self.known_pages, self.last_discovered = known

    def knows_page(self, fingerprint: bytes | None, drafts: int) -> bool:
        """Return whether a fingerprint is that of a known page; if so, count its drafts as known."""
        if fingerprint is None or fingerprint not in self.known_pages:
            return False
        self.seen_pages.add(fingerprint)
        self.known += drafts
        return True

    async def knows_all(self, keys: Sequence[ItemKey], fingerprint: bytes | None) -> bool:
        """Return whether the collection holds all of these drafts exactly as they are; if so, count them as known."""
        if not self.anything_known:
            return False
        async with self.store.transaction(self.session) as session:
            if await unknown_among(session, self.collection, keys):
                return False
        if fingerprint is not None:
            self.seen_pages.add(fingerprint)
        self.known += len(keys)
        return True

    async def unknown(self, session: AsyncSession, keys: Sequence[ItemKey]) -> Sequence[int]:
        """Return the positions of the drafts of a page that aren't known exactly, and count the others as known."""
        if not self.anything_known:
            return range(len(keys))
        unknown = await unknown_among(session, self.collection, keys)
        self.known += len(keys) - len(unknown)
        return unknown

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Count rejections, and keep the first ones."""
        self.rejected += len(rejections)
        self.first_rejections += rejections[: max(0, LISTED - len(self.first_rejections))]

    def reset(self) -> None:
        """Begin to count again."""
        self.known = self.rejected = 0
        self.seen_pages.clear()
        self.first_rejections.clear()


class Staging:
    """The sink of an ingest: stages one collection in temporary tables, which stay with the connection.

    `open()`, then `add()` for each page, `reset()` when the source is read again; at last, inside the transaction of
    the merge, `clear()`.
    """

    keeps_pages = True

    def __init__(
        self, store: Store, session: AsyncSession, collection: Collection, enrichers: CollectionEnrichers
    ) -> None:
        self.session = session
        self.collection = collection
        self.enrichers = enrichers
        self.comparison = Comparison(store, session, collection)
        self.staged = 0
        self.several_parts = False
        """Whether a staged draft has more than one part."""
        self._store = store
        self._pages: list[tuple[int, bytes | None]] = []
        """The number of the first draft of each staged page, and its fingerprint if it can become known."""

    @property
    def enriched(self) -> bool:
        """Whether the collection has any enricher."""
        return self.enrichers.owing or bool(self.enrichers.refined_by)

    async def open(self) -> None:
        """Make the tables, unless the connection has them, and load what there is to compare with."""
        async with self._store.transaction(self.session) as session:
            await make_tables(session, refinements=self.enriched)
            await self.comparison.load(session)

    async def add(
        self, mapped: Sequence[MappedDraft], rejections: Sequence[Rejection], fingerprint: bytes | None = None, /
    ) -> None:
        """Stage one page; its fingerprint is given if all its drafts are there."""
        async with self._store.transaction(self.session) as session:
            keys = item_keys((draft.draft.source_uri for draft in mapped), (draft.local_paths for draft in mapped))
            unknown = await self.comparison.unknown(session, keys)
            copied = await copy_page(
                session,
                ((mapped[position], keys[position]) for position in unknown),
                rejections,
                first=self.staged,
                first_rejection=self.comparison.rejected + 1,
            )
            if copied:
                self._pages.append((self.staged, fingerprint))
            elif fingerprint is not None:
                self.comparison.seen_pages.add(fingerprint)
            self.staged += copied
            self.several_parts |= any(len(mapped[position].draft.parts) > 1 for position in unknown)
            self.comparison.reject(rejections)

    async def clear(self, session: AsyncSession) -> None:
        """Empty the tables, inside the caller's transaction."""
        if self.staged:
            await session.execute(text(f"TRUNCATE staged, plan{', staged_refinement' if self.enriched else ''}"))
        if self.comparison.rejected:
            await session.execute(text("TRUNCATE staged_rejection"))

    async def keep_pages(self, session: AsyncSession, *, all_staged: bool) -> None:
        """Remember which pages the collection holds whole after the merge, inside its transaction.

        ``all_staged`` says that the merge made an asset of every draft that was staged.
        """
        starts = (first for first, _ in self._pages)
        unknown = set[int]() if all_staged else await pages_that_stay_unknown(session, starts)
        fresh = (page for number, (_, page) in enumerate(self._pages) if page is not None and number not in unknown)
        known = self.comparison
        await keep_known_pages(session, self.collection, known.known_pages, known.seen_pages.union(fresh))

    async def reset(self) -> None:
        """Forget everything staged so far: the source is being read again."""
        async with self._store.transaction(self.session) as session:
            await self.clear(session)
        self.staged, self.several_parts = 0, False
        self._pages.clear()
        self.comparison.reset()
