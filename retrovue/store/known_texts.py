"""Known pages, found by the text of their rows. Only those around the place of the listing are in memory."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import xxhash

from retrovue.store.drafts import KnownText
from retrovue.store.statements import Session, text

MOST_BYTES: Final = 128 << 10
"""The most that is kept of a page for this: some 21 KB are usual. A page with more is decoded each time."""
_AT_ONCE = 8
"""Known pages in memory."""
_HASH = 16
"""The bytes of a hash."""
_PAIR = 2 * _HASH
_CHECK = 8
"""The bytes of the hash before what is kept. A sync marks assets as missing by it, so that damage has to be noticed."""
# OFFSET 0 forces a look-up for each page, as the planner knows nothing about the parameter.
_FETCH = text(
    f"""
    SELECT page.fingerprint, page.digest, page.content
    FROM (SELECT cast(:pages AS bytea) AS packed) AS pages
        CROSS JOIN generate_series(0, length(packed) / {_HASH} - 1) AS number
        CROSS JOIN LATERAL (
            SELECT fingerprint, digest, content FROM known_page WHERE collection_uuid = :collection
                AND fingerprint = substring(packed FROM number * {_HASH} + 1 FOR {_HASH}) OFFSET 0
        ) AS page
    WHERE page.content IS NOT NULL
    """
)


class _Content(msgspec.Struct, array_like=True, gc=False):
    rows: bytes
    source_hashes: bytes
    paths: Sequence[str]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Content)


def packed(known: KnownText) -> bytes | None:
    """Return what is kept of a page for its text, to be stored with its digest; None if that is too much."""
    content = _encoder.encode(_Content(known.rows, known.source_hashes, known.paths))
    return xxhash.xxh3_64_digest(content) + content if len(content) <= MOST_BYTES else None


class FoundPage(NamedTuple):
    """A known page that was found by its text."""

    fingerprint: bytes
    rows: bytes
    packed_hashes: bytes
    """The source hashes of its drafts, side by side."""
    paths: Sequence[str]

    @property
    def source_hashes(self) -> list[bytes]:
        """The source hashes of its drafts."""
        return [self.packed_hashes[at : at + _HASH] for at in range(0, len(self.packed_hashes), _HASH)]


def _unpacked(fingerprint: bytes, stored: bytes) -> FoundPage | None:
    """Return the page of what is stored; None if that is damaged."""
    check, content = stored[:_CHECK], stored[_CHECK:]
    if check != xxhash.xxh3_64_digest(content):
        return None
    try:
        found = _decoder.decode(content)
    except msgspec.MsgspecError:
        return None
    return FoundPage(fingerprint, found.rows, found.source_hashes, found.paths)


class KnownTexts:
    """The texts of the known pages of one collection, met in the order of its listing: `load()` before each page."""

    def __init__(self, collection: UUID | None = None, pairs: bytes = b"") -> None:
        """``pairs`` has the digest of each text and the fingerprint of its page, in the order of the listing."""
        self._collection = collection
        self._pairs = pairs
        self._places = {pairs[at : at + _HASH]: at for at in range(0, len(pairs), _PAIR)}
        """Where in ``pairs`` a digest is."""
        self._at = 0
        """Where the digest of the page is that is expected next."""
        self._asked: bytes | None = None
        """The digest that was expected when pages were read last: it may be damaged, or gone."""
        self._loaded: dict[bytes, FoundPage] = {}
        """Some pages by the digests of their texts."""

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    @property
    def needs_load(self) -> bool:
        """Whether the page that is expected next isn't in memory."""
        expected = self._pairs[self._at : self._at + _HASH]
        return bool(expected) and expected not in self._loaded and expected != self._asked

    async def load(self, session: Session) -> None:
        """Read the page that is expected next, and some after it."""
        self._asked = self._pairs[self._at : self._at + _HASH]
        places = range(self._at, min(self._at + _AT_ONCE * _PAIR, len(self._pairs)), _PAIR)
        pages = b"".join([self._pairs[at + _HASH : at + _PAIR] for at in places])
        rows = await session.execute(_FETCH, {"collection": self._collection, "pages": pages})
        found = {row.digest: _unpacked(row.fingerprint, row.content) for row in rows}
        self._loaded = {digest: page for digest, page in found.items() if page is not None}

    def find(self, digest: bytes) -> FoundPage | None:
        """Return the page whose text has a digest, if it is in memory."""
        return self._loaded.get(digest)

    def meet(self, digest: bytes) -> None:
        """Take note of the text of a page that was listed."""
        place = self._places.get(digest)
        if place is not None:
            self._at = place + _PAIR

    def reset(self) -> None:
        """Begin the listing again."""
        self._at, self._asked = 0, None
