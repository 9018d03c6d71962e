"""The keys of all items that a sync found listed. An asset without a key among them isn't listed.

A sync that writes keeps them in a temporary table, a dry-run in memory. A rejected item is listed, unless it is in the
source's trash.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from retrovue.core.pages import Rejection
from retrovue.store.session import Transactions
from retrovue.store.statements import Session, text

TRASHED = "deleted_at_source"
"""The code of the rejection of an item that is in the source's trash."""
_VERSION = "?media="
"""The beginning of the part that names a version in the source URI of its item."""
_MOST = 1 << 16
"""The bytes of keys that are kept in memory before they are written to the table."""

KINDS = ("item", "rejected", "trashed")
"""The kinds of keys: source hashes of drafts; keys of source URIs of rejected items; keys of items in the trash."""


def text_key(value: str) -> bytes:
    """Return a hash of text, 16 bytes, that PostgreSQL can compute as well: see `key_of`."""
    return sha256(value.encode("utf-8", "surrogatepass")).digest()[:16]


def key_of(expression: str) -> str:
    """Return the SQL that computes `text_key`."""
    return f"substring(sha256(convert_to({expression}, 'UTF8')) FROM 1 FOR 16)"


def keys_in_table(kind: str) -> str:
    """Return the SQL of the keys of a kind in the table."""
    # The parentheses around || copy each row's bytes in memory: otherwise each key would be cut out of the stored row.
    return f"""
        SELECT substring(page.packed FROM number * 16 + 1 FOR 16) AS key
        FROM (SELECT packed || ''::bytea AS packed FROM listed WHERE kind = '{kind}' OFFSET 0) AS page
            CROSS JOIN LATERAL generate_series(0, length(page.packed) / 16 - 1) AS number
    """


def keys_in_parameter(kind: str) -> str:
    """Return the SQL of the keys of a kind in the parameter ``:listed_<kind>``."""
    return f"""
        SELECT substring(page.packed FROM number * 16 + 1 FOR 16) AS key
        FROM (SELECT cast(:listed_{kind} AS bytea) AS packed) AS page,
            generate_series(0, length(page.packed) / 16 - 1) AS number
    """


class ListedKeys:
    """The keys of a listing.

    Call `add()` and `reject()` for each page, then `flush()`; `reset()` if it is read again.
    """

    def __init__(self, store: Transactions, session: Session, *, table: str | None) -> None:
        """``table`` is the temporary table of the session to which they are written; None keeps them in memory."""
        self.unidentified = 0
        """The number of rejected items without an identity: they could be any asset."""
        self.names_items = False
        """Whether any rejection names an item."""
        self._store = store
        self._session = session
        self._table = table
        self._packed = {kind: bytearray() for kind in KINDS}

    def parameters(self) -> dict[str, bytearray]:
        """Return the parameters that the SQL of `keys_in_parameter` needs."""
        return {f"listed_{kind}": packed for kind, packed in self._packed.items()}

    async def add(self, source_hashes: Iterable[bytes], rejected: Sequence[Rejection]) -> None:
        """Add the items of a page, outside of a transaction."""
        self._packed["item"] += b"".join(source_hashes)
        for rejection in rejected:
            if rejection.source_uri is None:
                self.unidentified += 1
                continue
            self.names_items = True
            kind = "trashed" if rejection.code == TRASHED else "rejected"
            self._packed[kind] += text_key(rejection.source_uri)
        if self._table is not None and sum(map(len, self._packed.values())) >= _MOST:
            async with self._store.transaction(self._session) as session:
                await self.flush(session)

    async def flush(self, session: Session) -> None:
        """Write the keys in memory to the table, in the caller's transaction."""
        for kind, packed in self._packed.items():
            if self._table is not None and packed:
                await session.execute(
                    text(f"INSERT INTO {self._table} VALUES (:kind, :packed)"), {"kind": kind, "packed": bytes(packed)}
                )
                packed.clear()

    def reset(self) -> None:
        """Drop the keys in memory; the caller empties the table."""
        self.unidentified, self.names_items = 0, False
        for packed in self._packed.values():
            packed.clear()


def item_of(source_uri: str) -> str:
    """Return the source URI of an item, given that of one of its versions."""
    return source_uri.partition(_VERSION)[0]


def is_rejected(asset: str, keys: str) -> str:
    """Return the SQL condition that an asset's item, or this version of it, is among the keys of a subquery."""
    item = f"split_part({asset}.source_uri, '{_VERSION}', 1)"
    return (
        f"({key_of(f'{asset}.source_uri')} IN (SELECT key FROM {keys}) OR {key_of(item)} IN (SELECT key FROM {keys}))"
    )
