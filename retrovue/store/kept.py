"""Kept listings: pages that a run has read of a large collection, from which the next run continues if it ends early.

The pages are kept as the importer gave them, before they are compared or mapped. The next run treats them as if they
came from the source, so that changes to the catalogue, the path mappings or the enrichers apply. The importer proves
from the bookmarks of the pages that the source still lists the same.

A listing's pages are in a separate table, ``kept_page_<number>``, which a trigger drops with the listing's row.
The table is unlogged: it isn't written to the server's log, and a crash of the server empties it, so that the source is
read from the beginning.
"""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import orjson
from msgspec import Struct, field

from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.pages import Page, Rejection
from retrovue.store.audit import ANY_OF_COLLECTIONS, Run, id_list
from retrovue.store.drafts import identity_hash
from retrovue.store.session import Transactions
from retrovue.store.statements import Session, text

KEPT_FOR = dt.timedelta(hours=24)
"""The age up to which a listing is used. A sync finds within the same time what a source's stamps don't show."""
MOST_KEPT_BYTES = 8 << 30
"""The most that is kept of a collection, in bytes: some 15 million films. Later pages aren't kept."""
BUFFERED_BYTES = 512 << 10
"""The bytes that are written at once. A run that is killed loses up to that much."""
_PIECE = 8000
"""The bytes of a page in one row, which fill a block. Longer rows would be split into pieces of a quarter of that, with
an additional index, which takes the server twice as long.
"""
_FORMAT = 2
"""A part of every key. Increase it when the format of kept pages changes."""

# A run that has lost its locks must not write while another one continues its listing. The commit needn't wait for the
# disk, because a crash empties the table anyway.
_OWN = text(
    "SELECT set_config('synchronous_commit', 'off', true) FROM kept_listing"
    " WHERE collection_uuid = :collection AND run_id = :run FOR SHARE"
)
_TAKE_OVER = text(
    "UPDATE kept_listing SET run_id = :run"
    " WHERE collection_uuid = :collection AND key = :key AND began_at > now() - cast(:age AS interval) RETURNING number"
)
_BEGIN = text(
    "INSERT INTO kept_listing (collection_uuid, run_id, key) SELECT :collection, :run, :key"
    " WHERE has_schema_privilege(current_schema(), 'CREATE') RETURNING number"
)
# Rows are never updated. Compressing the bytes would take longer than writing them.
_MAKE_TABLE = (
    "DROP TABLE IF EXISTS {table}",
    """
    CREATE UNLOGGED TABLE {table} (
        number integer NOT NULL, piece integer NOT NULL, bookmark bytea, content bytea NOT NULL
    ) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)
    """,
    "ALTER TABLE {table} ALTER bookmark SET STORAGE EXTERNAL, ALTER content SET STORAGE PLAIN",
    "CREATE INDEX {table}_number ON {table} (number)",
    "CREATE INDEX {table}_bookmark ON {table} (number) WHERE piece = 0",
)
_FORGET = text("DELETE FROM kept_listing WHERE collection_uuid = :collection")
_LOCK_KEY = "cast(cast('x' || left(replace(cast(collection_uuid AS text), '-', ''), 16) AS bit(64)) AS bigint)"
"""The SQL of `locks.lock_key` for a row."""
# The run at work on a collection holds the collection's lock.
_OLD = f"""
    WITH old AS MATERIALIZED (
        SELECT collection_uuid FROM kept_listing WHERE began_at < :before
    ), idle AS MATERIALIZED (
        SELECT collection_uuid FROM old WHERE pg_try_advisory_xact_lock({_LOCK_KEY})
    )
"""
_FORGET_OLD = text(
    f"{_OLD} DELETE FROM kept_listing USING idle WHERE kept_listing.collection_uuid = idle.collection_uuid"
)
_COUNT_OLD = text(f"{_OLD} SELECT count(*) FROM idle")
_LIST = text(
    """
    SELECT source.name AS source, collection.name AS collection, began_at,
        coalesce(pg_total_relation_size(to_regclass('kept_page_' || number)), 0) AS bytes
    FROM kept_listing JOIN collection ON collection.id = collection_uuid JOIN source ON source.id = collection.source_id
    ORDER BY began_at, collection.id
    """
)

_log = logger(__name__)


class KnownPage(msgspec.Struct, array_like=True, gc=False):
    """A page that was recognised as known, in short form; or one of which some items were, and the rest in full."""

    fingerprint: bytes
    source_uris: list[str]
    rejected: list[Rejection]
    source_items: int
    source_total: int | None
    rest: Page | None = None
    """The items that aren't known; None if all are."""
    items: bytes = b""
    """The fingerprints of those that are, side by side; empty if the page is known as a whole."""
    all_items: bytes = b""
    """The fingerprints of all of its items, side by side."""
    hashes: Sequence[bytes] = ()
    """The source hashes of its drafts, of a page that was recognised by its text, without source URIs."""

    @property
    def drafts(self) -> int:
        """The number of its known drafts."""
        return len(self.source_uris) + len(self.hashes)

    def source_hashes(self) -> Iterator[bytes]:
        """Make the source hashes of its known drafts."""
        yield from map(identity_hash, self.source_uris)
        yield from self.hashes


class _Content(msgspec.Struct, array_like=True, gc=False):
    """The content that is kept of a page: one of the two."""

    page: Page | None = None
    known: KnownPage | None = None


class Leftover(NamedTuple):
    """A kept listing, for people."""

    source: str
    collection: str
    began_at: dt.datetime
    bytes: int
    """The size of its table on the database's disk."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Content)


def listing_key(source: Source, collection: Collection, version: str, importer: str) -> bytes:
    """Return the hash of all that decides how a collection is read. A listing with another key can't be used.

    ``version`` is the version of RetroVue, ``importer`` names the importer and its version.
    """
    about = [_FORMAT, version, importer, source.type, dict(source.config), collection.external_id, collection.kind]
    return blake2b(orjson.dumps(about, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


class KeptListing(Struct):
    """The kept listing of one collection during a run. Call `open()`, `pages()`, `keep()` for each page, then `drop()`.

    Call `clear()` when the source is read again from the beginning.
    """

    store: Transactions
    session: Session
    collection: Collection
    run: Run
    key: bytes
    """The key that `listing_key` made."""
    found: bool
    """Whether an earlier run may have left a listing of the collection."""
    _number: int | None = None
    """The number of the listing and its table; None if there is none."""
    _next: int = 0
    """The number of the next page."""
    _ended: bool = False
    """Whether no more pages are kept."""
    _bytes: int = 0
    """The bytes of all pages that were kept in this run."""
    _rows: list[tuple[int, int, bytes | None, bytes]] = field(
        default_factory=list[tuple[int, int, bytes | None, bytes]]
    )
    """The pieces of pages that aren't written yet."""

    async def open(self) -> list[bytes]:
        """Take over the listing of an earlier run, and return the bookmarks of its pages in their order.

        A listing that can't be used is dropped, and none are returned then.
        """
        if not self.found:
            return []
        bind = {**self._bind, "key": self.key, "age": KEPT_FOR}
        async with self.store.transaction(self.session) as session:
            self._number = (await session.execute(_TAKE_OVER, bind)).scalar_one_or_none()
            bookmarks: list[bytes] = []
            if self._number is not None:
                result = await session.execute(
                    text(f"SELECT bookmark FROM {self._table} WHERE piece = 0 ORDER BY number")
                )
                bookmarks = list(result.scalars())
            if not bookmarks:
                await self._forget(session)
        self._next = len(bookmarks)
        return bookmarks

    async def pages(self) -> AsyncIterator[Page | KnownPage | None]:
        """Yield the pages that were kept before this run. If one can't be read, yield None and end."""
        for number in range(self._next):
            async with self.store.transaction(self.session) as session:
                pieces = await session.execute(
                    text(f"SELECT content FROM {self._table} WHERE number = :number ORDER BY piece"), {"number": number}
                )
                content = b"".join(pieces.scalars())
            try:
                decoded = _decoder.decode(content)
            except (ValueError, RecursionError):
                decoded = _Content()
            yield decoded.page or decoded.known
            if decoded.page is None and decoded.known is None:
                return

    async def keep(self, page: Page | KnownPage, bookmark: bytes | None) -> None:
        """Keep a page that was read and staged. Without a bookmark neither this page nor any later one is kept."""
        if bookmark is None or self._bytes > MOST_KEPT_BYTES:
            self._ended = True
        if self._ended or bookmark is None:
            return
        content = _Content(known=page) if isinstance(page, KnownPage) else _Content(page=_without_place(page))
        encoded = _encoder.encode(content)
        self._rows += [
            (self._next, at // _PIECE, None if at else bookmark, encoded[at : at + _PIECE])
            for at in range(0, len(encoded), _PIECE)
        ]
        self._bytes += len(encoded) + len(bookmark)
        del encoded  # free the memory while the pieces are written
        self._next += 1
        if len(self._rows) * _PIECE >= BUFFERED_BYTES:
            await self._flush()

    async def clear(self) -> None:
        """Drop the kept pages, because the source is read from the beginning."""
        if self._number is not None:
            async with self.store.transaction(self.session) as session:
                await self._forget(session)
        self._rows.clear()
        self._next = self._bytes = 0
        self._ended = False

    async def drop(self, session: Session) -> None:
        """Drop the kept pages, in the transaction of the merge."""
        if self._number is not None:
            await session.execute(_FORGET, self._bind)

    @property
    def _bind(self) -> dict[str, Any]:
        return {"collection": self.collection.id, "run": self.run.id}

    @property
    def _table(self) -> str:
        return f"kept_page_{self._number}"

    async def _forget(self, session: Session) -> None:
        await session.execute(_FORGET, self._bind)
        self._number = None

    async def _flush(self) -> None:
        async with self.store.transaction(self.session) as session:
            if await self._is_ours(session):
                await session.driver.copy_records_to_table(self._table, records=self._rows)
            else:
                self._ended = True
        self._rows.clear()

    async def _is_ours(self, session: Session) -> bool:
        """Return whether there is a table to write to; create it for the first pages."""
        if self._number is not None:
            return (await session.execute(_OWN, self._bind)).first() is not None
        self._number = (await session.execute(_BEGIN, {**self._bind, "key": self.key})).scalar_one_or_none()
        if self._number is None:
            _log.info("The listing of %s isn't kept: the role may not create tables", self.collection.display_name)
            return False
        for statement in _MAKE_TABLE:
            await session.execute(text(statement.format(table=self._table)))
        return True


def _without_place(page: Page) -> Page:
    return msgspec.structs.replace(page, bookmark=None, restart=False, last=False)


async def kept_of(session: Session, collections: Iterable[Collection]) -> set[UUID]:
    """Return the ids of the collections that have a kept listing."""
    result = await session.execute(
        text(f"SELECT collection_uuid FROM kept_listing WHERE collection_uuid = {ANY_OF_COLLECTIONS}"),
        {"collections": id_list(collections)},
    )
    return set(result.scalars())


async def prune_kept(session: Session, before: dt.datetime | None = None, *, dry_run: bool = False) -> int:
    """Drop the listings that were begun before a time or are too old to be used; return their number.

    Those that a run is working on stay. With ``dry_run`` none is dropped. The locks of the collections are held until
    the transaction ends.
    """
    useless = dt.datetime.now(dt.UTC) - KEPT_FOR
    bind: Mapping[str, Any] = {"before": useless if before is None else max(before, useless)}
    if dry_run:
        return int((await session.execute(_COUNT_OLD, bind)).scalar_one())
    return await session.change(_FORGET_OLD, bind)


async def list_kept(session: Session) -> list[Leftover]:
    """List all kept listings, the oldest first."""
    return [Leftover(*row) for row in await session.execute(_LIST)]
