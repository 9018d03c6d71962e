"""Staging: what the source yielded, on its way into one collection.

Each page is compared with what the collection already holds; what isn't known exactly is copied to a temporary
table of the session, in a short transaction of its own. Nothing is held while the source is waited for, and
memory is that of a page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import orjson
from msgspec.structs import astuple
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.errors import StoreError
from retrovue.core.model import AssetDraft, Collection, Rejection
from retrovue.core.text import storable
from retrovue.core.verdicts import LISTED
from retrovue.store.known import keep_known_pages, pages_that_stay_unknown, what_is_known
from retrovue.store.session import Store

_PLAIN = AssetDraft.__struct_fields__[: AssetDraft.__struct_fields__.index("parts")]
"""The fields of a draft that are staged as they are: all before its parts, which need a closer look."""
_COLUMNS = (
    "seq", "source_hash", "canonical_hash", "canonical_uri", "canonical_key", "part_count", "parts", "size_bytes",
    "provider_ids", "tags", "chapters", "markers", *_PLAIN,
)  # fmt: skip
CARRIED = tuple(column for column in _COLUMNS if column not in {"seq", "parts"})
"""The columns that an asset takes over from its staged row as they are."""

_LARGEST = 2**63 - 1
"""What a bigint holds: parts that claim to be larger together have no total that could be true."""

TEMPORARY_TABLES = (
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged (
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

# The keys come as one packed parameter, source hash and canonical hash, 32 bytes a draft: for arrays asyncpg would
# first look their type up, 16 ms on each connection.
PACKED_KEYS = """
    SELECT number AS seq, substring(keys.packed FROM number * 32 + 1 FOR 16) AS source_hash,
        substring(keys.packed FROM number * 32 + 17 FOR 16) AS canonical_hash
    FROM (SELECT cast(:keys AS bytea) AS packed) AS keys, generate_series(0, length(keys.packed) / 32 - 1) AS number
"""
STAGED_REFINEMENT = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_refinement (seq integer NOT NULL, provenance jsonb, failures jsonb)
    """

# A scalar subquery, so that each draft is one look-up in the unique index: as an anti-join the planner, which knows
# little of a table that has just been filled, reads the whole collection for every page.
_UNKNOWN = text(
    f"""
    SELECT item.seq FROM ({PACKED_KEYS}) AS item
    WHERE item.canonical_hash IS DISTINCT FROM (
        SELECT asset.canonical_hash FROM asset WHERE asset.collection_uuid = :collection
            AND asset.source_hash = item.source_hash AND asset.deleted_at IS NULL
            -- An asset whose file was taken when it moved is an alias as well; back at its place it is none any more.
            AND NOT EXISTS (
                SELECT FROM asset_alias
                WHERE asset_alias.collection_uuid = :collection AND asset_alias.source_hash = item.source_hash
            )
    ) ORDER BY item.seq
    """
)


class Refinement(NamedTuple):
    """What the enrichers of pages did to a draft."""

    provenance: Mapping[str, str]
    """Field → who gave it."""
    failures: Mapping[str, Mapping[str, str]]
    """By the enricher's id: code and message."""


class MappedDraft(NamedTuple):
    """A draft with its place on this machine: the local path of each part, in order."""

    draft: AssetDraft
    local_paths: tuple[str, ...]
    refinement: Refinement | None = None
    """None where no enricher has anything to say."""


def canonical_key(local_paths: Sequence[str]) -> str:
    """A draft's identity inside its collection: its path, or for several parts their paths as a JSON list.

    Local paths are absolute, so the two can't be mistaken for each other.
    """
    return local_paths[0] if len(local_paths) == 1 else orjson.dumps(local_paths).decode()


def identity_hash(key: str) -> bytes:
    """Condense an identity to the 16 bytes by which the catalogue compares it (BLAKE2b)."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Keys(NamedTuple):
    """By what the drafts of a page are recognised, in their order."""

    source_hashes: list[bytes]
    canonical_keys: list[str]
    canonical_hashes: list[bytes]

    @classmethod
    def of(cls, source_uris: Iterable[str], local_paths: Iterable[Sequence[str]]) -> "Keys":
        """Make the keys from source URIs and the local paths of each draft's parts."""
        keys = [canonical_key(paths) for paths in local_paths]
        return cls([identity_hash(uri) for uri in source_uris], keys, [identity_hash(key) for key in keys])

    def packed(self) -> bytes:
        """Pack the hashes as ``PACKED_KEYS`` reads them."""
        return b"".join(chain.from_iterable(zip(self.source_hashes, self.canonical_hashes, strict=True)))


async def unknown_among(session: AsyncSession, collection: Collection, keys: Keys) -> list[int]:
    """Say which drafts the collection doesn't hold exactly as they are, with one query."""
    result = await session.execute(_UNKNOWN, {"keys": keys.packed(), "collection": collection.id})
    return list(result.scalars())


@dataclass(slots=True)
class Sink:
    """Takes in what is read of one collection, page by page: to stage it, or for a dry-run to remember its keys."""

    keeps_pages: ClassVar[bool] = True
    """Whether it wants to know the fingerprints of pages that were read, to remember them."""

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
    """Those of the pages that were found to be known."""
    known: int = 0
    """Drafts that the collection holds exactly as they are: they are skipped without a closer look."""
    reading_files: tuple[UUID, ...] = ()
    """The enrichers that will owe something to every asset whose file has moved."""
    rejected: int = 0
    first_rejections: list[Rejection] = field(default_factory=list[Rejection])

    async def open(self) -> None:
        """Find out what there is to compare with."""
        async with self.store.transaction(self.session) as session:
            await self.look_up(session)

    async def look_up(self, session: AsyncSession) -> None:
        """Read what the collection holds already: whether anything, and which pages whole."""
        known = await what_is_known(session, self.collection)
        self.anything_known, self.known_pages, self.last_discovered = known

    def know_page(self, fingerprint: bytes | None, drafts: int) -> bool:
        """Count a page's drafts as known if its fingerprint says that the collection holds every one of them."""
        if fingerprint is None or fingerprint not in self.known_pages:
            return False
        self.seen_pages.add(fingerprint)
        self.known += drafts
        return True

    async def recognise(
        self, source_uris: Sequence[str], local_paths: Sequence[Sequence[str]], fingerprint: bytes | None
    ) -> bool:
        """Count these drafts as known if the collection holds every one of them exactly as it is."""
        if not self.anything_known:
            return False
        keys = Keys.of(source_uris, local_paths)
        async with self.store.transaction(self.session) as session:
            unknown = await unknown_among(session, self.collection, keys)
        if unknown:
            return False
        if fingerprint is not None:
            self.seen_pages.add(fingerprint)
        self.known += len(source_uris)
        return True

    async def take_known(self, session: AsyncSession, located: Sequence[MappedDraft], keys: Keys) -> list[int]:
        """Count the drafts of a page that are known exactly, and return the places of the others."""
        if not self.anything_known:
            return list(range(len(located)))
        unknown = await unknown_among(session, self.collection, keys)
        self.known += len(located) - len(unknown)
        return unknown

    def take_rejections(self, rejections: Sequence[Rejection]) -> None:
        """Count rejections; the first ones are kept at hand."""
        self.rejected += len(rejections)
        self.first_rejections += rejections[: max(0, LISTED - len(self.first_rejections))]

    def forget(self) -> None:
        """Begin to count again."""
        self.known = self.rejected = 0
        self.seen_pages.clear()
        self.first_rejections.clear()


@dataclass(slots=True)
class Staging(Sink):
    """One collection's staging; the tables stay with the connection, for the next collection that it serves."""

    staged: int = 0
    several_parts: bool = False
    """Whether a staged draft has more than one part."""
    _pages: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])
    """Where each staged page begins, and its fingerprint if it can become known."""
    refined_by: tuple[UUID, ...] = ()
    """The enrichers that refined what is staged."""
    owing: bool = False
    """Whether enrichers that run after the commit will owe something to every new asset."""

    @property
    def enriched(self) -> bool:
        """Whether the collection has any enricher."""
        return self.owing or bool(self.refined_by)

    async def open(self) -> None:
        """Make the tables, unless the connection has them, and find out whether there is anything to compare with."""
        async with self.store.transaction(self.session) as session:
            of_connection = (await session.connection()).info
            if not of_connection.get("staging"):
                for statement in TEMPORARY_TABLES:
                    await session.execute(text(statement))
            if self.enriched:
                await session.execute(text(STAGED_REFINEMENT))
            await self.look_up(session)
        of_connection["staging"] = True

    async def add(
        self, located: Sequence[MappedDraft], rejections: Sequence[Rejection], fingerprint: bytes | None = None, /
    ) -> None:
        """Stage one page; with a fingerprint if all its drafts are there."""
        async with self.store.transaction(self.session) as session:
            keys = Keys.of((item.draft.source_uri for item in located), (item.local_paths for item in located))
            unknown = await self.take_known(session, located, keys)
            first = self.rejected
            connection = await (await session.connection()).get_raw_connection()
            driver: Any = connection.driver_connection
            try:
                rows = [
                    _row(
                        self.staged + offset,
                        located[index],
                        keys.source_hashes[index],
                        keys.canonical_keys[index],
                        keys.canonical_hashes[index],
                    )
                    for offset, index in enumerate(unknown)
                ]
                if rows:
                    await driver.copy_records_to_table("staged", records=rows, columns=_COLUMNS)
            except (UnicodeError, TypeError, ValueError, OverflowError) as exc:
                raise StoreError(
                    "The importer gave a value that the catalogue can't hold.",
                    code="bad_value",
                    hint="This is a bug of the importer; the traceback is in the audit trail.",
                ) from exc
            if self.refined_by and (refined := self._refinements(located, unknown)):
                await driver.copy_records_to_table("staged_refinement", records=refined)
            if rejections:
                await driver.copy_records_to_table(
                    "staged_rejection",
                    records=[
                        (
                            first + offset,
                            *(storable(value) for value in (item.code, item.reason, item.source_uri, item.title)),
                        )
                        for offset, item in enumerate(rejections, start=1)
                    ],
                )
            if rows:
                self._pages.append((self.staged, fingerprint))
            elif fingerprint is not None:
                self.seen_pages.add(fingerprint)
            self.staged += len(rows)
            self.several_parts |= any(len(located[index].draft.parts) > 1 for index in unknown)
            self.take_rejections(rejections)

    async def clear(self, session: AsyncSession) -> None:
        """Empty the tables, inside the caller's transaction."""
        if self.staged:
            await session.execute(text(f"TRUNCATE staged, plan{', staged_refinement' if self.enriched else ''}"))
        if self.rejected:
            await session.execute(text("TRUNCATE staged_rejection"))

    async def keep_pages(self, session: AsyncSession, *, all_staged: bool) -> None:
        """Remember which pages the collection holds whole after the merge, inside its transaction.

        ``all_staged`` says that the merge made an asset of every draft that was staged.
        """
        first_rows = (first for first, _ in self._pages)
        unknown = set[int]() if all_staged else await pages_that_stay_unknown(session, first_rows)
        fresh = (page for number, (_, page) in enumerate(self._pages) if page is not None and number not in unknown)
        await keep_known_pages(session, self.collection, self.known_pages, self.seen_pages.union(fresh))

    def _refinements(self, located: Sequence[MappedDraft], unknown: Sequence[int]) -> list[tuple[int, str, str | None]]:
        return [
            (self.staged + offset, _json(said.provenance), _json(said.failures) if said.failures else None)
            for offset, index in enumerate(unknown)
            if (said := located[index].refinement) is not None
        ]

    async def reset(self) -> None:
        """Forget everything staged so far: the source is being read again."""
        async with self.store.transaction(self.session) as session:
            await self.clear(session)
        self.staged, self.several_parts = 0, False
        self._pages.clear()
        self.forget()


def _row(
    seq: int, located: MappedDraft, source_hash: bytes, canonical_key: str, canonical_hash: bytes
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
        total = sum(sizes)
        size = total if len(sizes) == len(parts) and total <= _LARGEST else None
    return (
        seq, source_hash, canonical_hash, located.local_paths[0], canonical_key, len(parts), files, size,
        _json(draft.provider_ids), _json(draft.tags),
        None if draft.chapters is None else _json(draft.chapters),
        None if draft.markers is None else _json(draft.markers),
        *astuple(draft)[: len(_PLAIN)],
    )  # fmt: skip


def _json(value: object) -> str:
    # asyncpg's jsonb codec, as SQLAlchemy sets it, takes text.
    return orjson.dumps(value).decode()
