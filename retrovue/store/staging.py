"""Staging: what the source yielded, on its way into one collection.

Each page is compared with what the collection already holds; what isn't known exactly is copied to a temporary
table of the session, in a short transaction of its own. Nothing is held while the source is waited for, and
memory is that of a page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.model import AssetDraft, Collection, Rejection
from retrovue.results import LISTED
from retrovue.store.session import Store

_COLUMNS = (
    "seq", "source_hash", "canonical_hash", "source_uri", "canonical_uri", "canonical_key", "part_count", "parts",
    "size_bytes", "type", "title", "show_title", "season_number", "episode_number", "year", "originally_aired",
    "runtime_ms", "edition", "studio", "content_rating", "rating", "container", "video_codec", "audio_codec",
    "audio_channels", "video_resolution", "width", "height", "bitrate_kbps", "provider_ids", "tags", "chapters",
    "markers",
)  # fmt: skip
CARRIED = tuple(column for column in _COLUMNS if column not in {"seq", "parts"})
"""The columns that an asset takes over from its staged row as they are."""

_CREATE = (
    """
    CREATE TEMPORARY TABLE staged (
        seq integer NOT NULL, source_hash bytea NOT NULL, canonical_hash bytea NOT NULL, source_uri text NOT NULL,
        canonical_uri text NOT NULL, canonical_key text NOT NULL, part_count integer NOT NULL, parts jsonb,
        size_bytes bigint, type text NOT NULL, title text NOT NULL, show_title text, season_number integer,
        episode_number integer, year integer, originally_aired date, runtime_ms bigint, edition text, studio text,
        content_rating text, rating real, container text, video_codec text, audio_codec text, audio_channels integer,
        video_resolution text, width integer, height integer, bitrate_kbps integer, provider_ids jsonb NOT NULL,
        tags jsonb NOT NULL, chapters jsonb, markers jsonb
    )
    """,
    """
    CREATE TEMPORARY TABLE staged_rejection (
        position integer NOT NULL, code text NOT NULL, reason text NOT NULL, source_uri text, title text
    )
    """,
)

_UNKNOWN = text(
    """
    SELECT item.number - 1 FROM unnest(cast(:source AS bytea[]), cast(:canonical AS bytea[]))
        WITH ORDINALITY AS item (source_hash, canonical_hash, number)
    WHERE NOT EXISTS (
        SELECT FROM asset WHERE asset.collection_uuid = :collection AND asset.source_hash = item.source_hash
            AND asset.canonical_hash = item.canonical_hash AND asset.deleted_at IS NULL
    ) ORDER BY item.number
    """
)


@dataclass(frozen=True, slots=True)
class Located:
    """A draft with its place on this machine: the local path of each part, in order."""

    draft: AssetDraft
    local_paths: tuple[str, ...]

    @property
    def canonical_key(self) -> str:
        """The draft's identity inside its collection: its path, or for several parts their paths as a JSON list.

        Local paths are absolute, so the two can't be mistaken for each other.
        """
        paths = self.local_paths
        return paths[0] if len(paths) == 1 else orjson.dumps(paths).decode()


def identity_hash(key: str) -> bytes:
    """Condense an identity to the 16 bytes by which the catalogue compares it (BLAKE2b)."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(slots=True)
class Known:
    """Which drafts of a page the collection doesn't hold exactly as they are."""

    unknown: list[int]
    source_hashes: list[bytes]
    canonical_keys: list[str]
    canonical_hashes: list[bytes]


async def compare(
    session: AsyncSession, collection: Collection, located: Sequence[Located], *, anything_known: bool
) -> Known:
    """Compare a page with the collection's assets; one query, or none where the collection is empty."""
    source_hashes = [identity_hash(item.draft.source_uri) for item in located]
    canonical_keys = [item.canonical_key for item in located]
    canonical_hashes = [identity_hash(key) for key in canonical_keys]
    unknown = list(range(len(located)))
    if anything_known and located:
        result = await session.execute(
            _UNKNOWN, {"source": source_hashes, "canonical": canonical_hashes, "collection": collection.id}
        )
        unknown = list(result.scalars())
    return Known(unknown, source_hashes, canonical_keys, canonical_hashes)


async def holds_assets(session: AsyncSession, collection: Collection) -> bool:
    """Tell whether the collection has any asset, deleted ones included."""
    result = await session.execute(
        text("SELECT EXISTS (SELECT FROM asset WHERE collection_uuid = :id)"), {"id": collection.id}
    )
    return bool(result.scalar_one())


@dataclass(slots=True)
class Staging:
    """One collection's staging tables, alive as long as the session."""

    store: Store
    session: AsyncSession
    collection: Collection
    anything_known: bool = False
    staged: int = 0
    rejected: int = 0
    known: int = 0
    """Drafts that the collection holds exactly as they are: skipped without being staged."""
    first_rejections: list[Rejection] = field(default_factory=list[Rejection])

    async def open(self) -> None:
        """Make the tables, and find out whether there is anything to compare with."""
        async with self.store.transaction(self.session) as session:
            for statement in _CREATE:
                await session.execute(text(statement))
            self.anything_known = await holds_assets(session, self.collection)

    async def add(self, located: Sequence[Located], rejections: Iterable[Rejection]) -> None:
        """Stage one page."""
        async with self.store.transaction(self.session) as session:
            page = await compare(session, self.collection, located, anything_known=self.anything_known)
            self.known += len(located) - len(page.unknown)
            rows = [
                _row(
                    self.staged + offset,
                    located[index],
                    page.source_hashes[index],
                    page.canonical_keys[index],
                    page.canonical_hashes[index],
                )
                for offset, index in enumerate(page.unknown)
            ]
            refused = list(rejections)
            first = self.rejected
            connection = await (await session.connection()).get_raw_connection()
            driver: Any = connection.driver_connection
            if rows:
                await driver.copy_records_to_table("staged", records=rows, columns=_COLUMNS)
            if refused:
                await driver.copy_records_to_table(
                    "staged_rejection",
                    records=[
                        (first + offset, item.code, _text(item.reason), _text(item.source_uri), _text(item.title))
                        for offset, item in enumerate(refused, start=1)
                    ],
                )
            self.staged += len(rows)
            self.rejected += len(refused)
            self.first_rejections += refused[: max(0, LISTED - len(self.first_rejections))]

    async def reset(self) -> None:
        """Forget everything staged so far: the source is being read again."""
        async with self.store.transaction(self.session) as session:
            await session.execute(text("TRUNCATE staged, staged_rejection"))
        self.staged = self.rejected = self.known = 0
        self.first_rejections.clear()


def _text(value: str | None) -> str | None:
    return None if value is None else value.replace("\0", "�").encode("utf-8", "replace").decode()


def _row(
    seq: int, located: Located, source_hash: bytes, canonical_key: str, canonical_hash: bytes
) -> tuple[object, ...]:
    draft = located.draft
    parts = draft.parts
    if len(parts) == 1:
        files = None
        size = parts[0].size_bytes
    else:
        files = _json(
            [
                {"local_path": path, "size_bytes": part.size_bytes, "duration_ms": part.duration_ms}
                for path, part in zip(located.local_paths, parts, strict=True)
            ]
        )
        sizes = [part.size_bytes for part in parts if part.size_bytes is not None]
        size = sum(sizes) if len(sizes) == len(parts) else None
    return (
        seq, source_hash, canonical_hash, draft.source_uri, located.local_paths[0], canonical_key, len(parts), files,
        size, draft.type, draft.title, draft.show_title, draft.season_number, draft.episode_number, draft.year,
        draft.originally_aired, draft.runtime_ms, draft.edition, draft.studio, draft.content_rating, draft.rating,
        draft.container, draft.video_codec, draft.audio_codec, draft.audio_channels, draft.video_resolution,
        draft.width, draft.height, draft.bitrate_kbps, _json(draft.provider_ids), _json(draft.tags),
        None if draft.chapters is None else _json(draft.chapters),
        None if draft.markers is None else _json(draft.markers),
    )  # fmt: skip


def _json(value: object) -> str:
    # asyncpg's jsonb codec, as SQLAlchemy sets it, takes text.
    return orjson.dumps(value).decode()
