"""Staging: each page of a collection is copied to temporary tables, which the merge then reads.

Only drafts that the collection doesn't hold exactly as they are get staged, in a short transaction for each page.
Nothing is locked while the source is waited for, and memory is that of a page.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

import orjson
from msgspec.structs import astuple
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import StoreError
from retrovue.core.model import AssetDraft, Collection, Rejection
from retrovue.core.text import quoted, storable
from retrovue.store.drafts import ItemKey, MappedDraft, draft_keys
from retrovue.store.known import Comparison, keep_known_pages, owe_changed, pages_that_stay_unknown
from retrovue.store.session import Store

_PLAIN = AssetDraft.__struct_fields__[: AssetDraft.__struct_fields__.index("parts")]
"""The fields of a draft that are staged as they are: all before its parts."""
_COLUMNS = (
    "seq", "source_hash", "canonical_hash", "canonical_uri", "canonical_key", "part_count", "parts", "size_bytes",
    "provider_ids", "tags", "chapters", "markers", "show_provider_ids", *_PLAIN,
)  # fmt: skip
MOST_STAGED_BYTES = 16 << 30
"""The most that the temporary tables of one collection may take: some 15 million new films."""
STAGED_BETWEEN = 50_000
_STAGED_BYTES = text("SELECT pg_total_relation_size('staged') + pg_total_relation_size('staged_rejection')")

CARRIED = tuple(column for column in _COLUMNS if column not in {"seq", "parts"})
"""The columns that an asset takes from its staged row as they are."""

_LARGEST = 2**63 - 1
"""The largest bigint. Parts that claim more in total have no size."""

TEMPORARY_TABLES = (
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged (
        seq integer NOT NULL, source_hash bytea NOT NULL, canonical_hash bytea NOT NULL, source_uri text NOT NULL,
        canonical_uri text NOT NULL, canonical_key text NOT NULL, part_count integer NOT NULL, parts jsonb,
        size_bytes bigint, type text NOT NULL, title text NOT NULL, show_title text, season_number integer,
        episode_number integer, year integer, originally_aired date, runtime_ms bigint, edition text, studio text,
        content_rating text, rating real, container text, video_codec text, audio_codec text, audio_channels integer,
        video_resolution text, width integer, height integer, bitrate_kbps integer, provider_ids jsonb NOT NULL,
        tags jsonb NOT NULL, chapters jsonb, markers jsonb, show_key text, show_year integer, show_provider_ids jsonb,
        artist text, album text, disc_number integer, track_number integer
    )
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_rejection (
        position integer NOT NULL, code text NOT NULL, reason text NOT NULL, source_uri text, title text
    )
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS plan (
        seq integer NOT NULL, verdict text NOT NULL, asset_uuid uuid, first_seq integer
    )
    """,
)

STAGED_REFINEMENT = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_refinement (seq integer NOT NULL, provenance jsonb, failures jsonb)
    """


class CollectionEnrichers(Protocol):
    """What a merge has to know of a collection's enrichers."""

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
        """The ids of the enrichers that owe an enrichment again to an asset whose file has moved."""
        ...


class Staging:
    """The sink of an ingest: stages one collection in temporary tables, which stay with the connection.

    `open()` → `add()` for each page, `reset()` when the source is read again → `keep_pages()` and `clear()` inside the
    transaction of the merge.
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
        self._measured = 0
        """Staged rows when the size of the tables was looked up last."""
        self._pages: list[tuple[int, bytes | None]] = []
        """The number of the first draft of each staged page, and its fingerprint if it can become known."""

    @property
    def enriched(self) -> bool:
        """Whether the collection has any enricher."""
        return self.enrichers.owing or bool(self.enrichers.refined_by)

    async def open(self) -> None:
        """Make the tables, unless the connection has them, and load what the collection holds."""
        async with self._store.transaction(self.session) as session:
            await _make_tables(session, refinements=self.enriched)
            await self.comparison.load(session)

    async def add(
        self, mapped: Sequence[MappedDraft], rejections: Sequence[Rejection], fingerprint: bytes | None = None, /
    ) -> None:
        """Stage one page; ``fingerprint`` is given if ``mapped`` are all its drafts."""
        async with self._store.transaction(self.session) as session:
            keys = draft_keys(mapped)
            unknown = await self.comparison.unknown(session, keys)
            changed = await self.comparison.find_changed(session, mapped, keys)
            await owe_changed(session, changed, self.enrichers.reading_files)
            copied = await _copy_page(
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
            await self._check_size(session)

    async def _check_size(self, session: AsyncSession) -> None:
        """Raise StoreError if the tables have grown beyond `MOST_STAGED_BYTES`.

        A source may list items without end, and they would fill the disk that the database shares with others. Looked
        up once in `STAGED_BETWEEN` rows, so that it costs nothing.
        """
        rows = self.staged + self.comparison.rejected
        if rows - self._measured < STAGED_BETWEEN:
            return
        self._measured = rows
        size = (await session.execute(_STAGED_BYTES)).scalar_one()
        if size > MOST_STAGED_BYTES:
            raise StoreError(
                f"What the source has listed of {quoted(self.collection.name)} so far takes {size >> 20:,} MiB in"
                f" temporary tables; at most {MOST_STAGED_BYTES >> 20:,} MiB may be.",
                code="staging_too_large",
                hint="Look at what the source lists. A large library can be divided there.",
            )

    async def clear(self, session: AsyncSession) -> None:
        """Empty the tables, inside the caller's transaction."""
        if self.staged:
            await session.execute(text(f"TRUNCATE staged, plan{', staged_refinement' if self.enriched else ''}"))
        if self.comparison.rejected:
            await session.execute(text("TRUNCATE staged_rejection"))

    async def keep_pages(self, session: AsyncSession, *, all_staged: bool) -> None:
        """Store which pages are known after the merge, inside its transaction.

        ``all_staged`` says that every staged draft is an asset of its own now.
        """
        starts = (first for first, _ in self._pages)
        unknown = set[int]() if all_staged else await pages_that_stay_unknown(session, starts)
        fresh = (page for number, (_, page) in enumerate(self._pages) if page is not None and number not in unknown)
        known = self.comparison
        await keep_known_pages(session, self.collection, known.known_pages, known.seen_pages.union(fresh))

    async def reset(self) -> None:
        """Delete what is staged: the source is read again."""
        async with self._store.transaction(self.session) as session:
            await self.clear(session)
        self.staged, self.several_parts, self._measured = 0, False, 0
        self._pages.clear()
        self.comparison.reset()


async def _make_tables(session: AsyncSession, *, refinements: bool) -> None:
    """Make the staging tables, unless the session's connection has them."""
    about_connection = (await session.connection()).info
    if not about_connection.get("staging"):
        for statement in TEMPORARY_TABLES:
            await session.execute(text(statement))
    if refinements:
        await session.execute(text(STAGED_REFINEMENT))
    about_connection["staging"] = True


async def _copy_page(
    session: AsyncSession,
    drafts: Iterable[tuple[MappedDraft, ItemKey]],
    rejections: Sequence[Rejection],
    *,
    first: int,
    first_rejection: int,
) -> int:
    """Copy the drafts and rejections of a page; return how many drafts.

    ``first`` and ``first_rejection`` are the numbers of the first of each.
    """
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    rows: list[tuple[object, ...]] = []
    refinements: list[tuple[int, str, str | None]] = []
    try:
        for seq, (mapped, key) in enumerate(drafts, start=first):
            rows.append(_row(seq, mapped, key))
            if (refinement := mapped.refinement) is not None:
                failures = _json(refinement.failures) if refinement.failures else None
                refinements.append((seq, _json(refinement.provenance), failures))
        if rows:
            await driver.copy_records_to_table("staged", records=rows, columns=_COLUMNS)
    except (UnicodeError, TypeError, ValueError, OverflowError) as exc:
        raise StoreError(
            "The importer gave a value that the catalogue can't hold.",
            code="bad_value",
            hint="This is a bug of the importer; the traceback is in the audit trail.",
        ) from exc
    if refinements:
        await driver.copy_records_to_table("staged_refinement", records=refinements)
    if rejections:
        records = [
            (position, *map(storable, (rejection.code, rejection.reason, rejection.source_uri, rejection.title)))
            for position, rejection in enumerate(rejections, start=first_rejection)
        ]
        await driver.copy_records_to_table("staged_rejection", records=records)
    return len(rows)


def _row(seq: int, mapped: MappedDraft, key: ItemKey) -> tuple[object, ...]:
    draft = mapped.draft
    parts = draft.parts
    if len(parts) == 1:
        files = None
        size = parts[0].size_bytes
    else:
        files = _json(
            [
                {"local_path": path, "size_bytes": part.size_bytes, "duration_ms": part.duration_ms}
                for path, part in zip(mapped.local_paths, parts, strict=True)
            ]
        )
        sizes = [part.size_bytes for part in parts if part.size_bytes is not None]
        total = sum(sizes)
        size = total if len(sizes) == len(parts) and total <= _LARGEST else None
    return (
        seq, key.source_hash, key.canonical_hash, mapped.local_paths[0], key.canonical_key, len(parts), files, size,
        _json(draft.provider_ids), _json(draft.tags),
        None if draft.chapters is None else _json(draft.chapters),
        None if draft.markers is None else _json(draft.markers),
        None if draft.show_provider_ids is None else _json(draft.show_provider_ids),
        *astuple(draft)[: len(_PLAIN)],
    )  # fmt: skip


def _json(value: object) -> str:
    # asyncpg's jsonb codec, as SQLAlchemy sets it, takes text.
    return orjson.dumps(value).decode()
