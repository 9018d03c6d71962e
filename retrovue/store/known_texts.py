"""Known pages, found by the text of their rows. Only those around the place of the listing are in memory."""

from typing import NamedTuple
from uuid import UUID

from retrovue.store.drafts import KnownText
from retrovue.store.statements import Session, text

_AT_ONCE = 8
"""Known pages in memory: 20 KB each."""
_HASH = 16
"""The bytes of a hash."""
_PAIR = 2 * _HASH
_FETCH = text(
    f"""
    SELECT page.fingerprint, page.digest, page.rows, page.source_hashes
    FROM (SELECT cast(:pages AS bytea) AS packed) AS pages
        CROSS JOIN generate_series(0, length(packed) / {_HASH} - 1) AS number
        JOIN known_page AS page ON page.collection_uuid = :collection
            AND page.fingerprint = substring(packed FROM number * {_HASH} + 1 FOR {_HASH})
    WHERE page.digest IS NOT NULL
    """
)


class FoundPage(NamedTuple):
    """A known page that was found by its text."""

    fingerprint: bytes
    text: KnownText


class KnownTexts:
    """The texts of the known pages of one collection, met in the order of its listing: `load()` before each page."""

    def __init__(self, collection: UUID | None = None, packed: bytes = b"") -> None:
        """``packed`` has the digest of each text and the fingerprint of its page, in the order of the listing."""
        self._collection = collection
        self._packed = packed
        self._places = {packed[at : at + _HASH]: at for at in range(0, len(packed), _PAIR)}
        """Where in ``packed`` a digest is."""
        self._at = 0
        """Where the digest of the page is that is expected next."""
        self._loaded: dict[bytes, FoundPage] = {}
        """Some pages by the digests of their texts."""

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    @property
    def needs_load(self) -> bool:
        """Whether the page that is expected next isn't in memory."""
        return self._at < len(self._packed) and self._packed[self._at : self._at + _HASH] not in self._loaded

    async def load(self, session: Session) -> None:
        """Read the page that is expected next, and some after it."""
        pairs = range(self._at, min(self._at + _AT_ONCE * _PAIR, len(self._packed)), _PAIR)
        pages = b"".join([self._packed[at + _HASH : at + _PAIR] for at in pairs])
        rows = await session.execute(_FETCH, {"collection": self._collection, "pages": pages})
        self._loaded = {
            row.digest: FoundPage(row.fingerprint, KnownText(row.digest, row.rows, row.source_hashes)) for row in rows
        }

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
        self._at = 0
