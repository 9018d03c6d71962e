"""Known items: those of a page that isn't known as a whole, recognised by the fingerprints of known pages near to it.

A removed item moves the borders of all pages behind it, and a changed one makes its page another one. The items of
these pages are still as they were, but for the changed ones. Their fingerprints stand in the rows of the known pages,
in the order of the listing, and are as valid as these. Only the pages around the place of the listing are in memory.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from retrovue.store.statements import Session, text

ITEM_BYTES = 8
"""Of a fingerprint of an item."""
_AROUND = 4
"""Known pages, from the last one that was met, in which the items of a page are looked for."""
_AT_ONCE = 8
"""Known pages in memory: 8 KB each in the database, 75 here."""

_PAGES = "FROM known_page WHERE collection_uuid = :collection AND items IS NOT NULL"
_FETCH = text(f"SELECT items {_PAGES} ORDER BY position, fingerprint OFFSET :first LIMIT :limit")
_FIND = text(
    f"SELECT number - 1 FROM (SELECT row_number() OVER (ORDER BY position, fingerprint) AS number, items {_PAGES}) AS a"
    " WHERE position(cast(:item AS bytea) IN items) > 0 LIMIT 1"
)


class KnownItems:
    """The known items of one collection, met in the order of its listing: `among()` for each page."""

    def __init__(self, collection: UUID | None = None, pages: Sequence[bytes] = ()) -> None:
        """``pages`` are the fingerprints of the known pages whose items are known, in the order of the listing.

        Without pages no item is known, of whatever collection.
        """
        self._collection = collection
        self._numbers = {fingerprint: number for number, fingerprint in enumerate(pages)}
        self._at = 0
        """The number of the page that was met last."""
        self._items: dict[int, frozenset[bytes]] = {}
        """The items of the pages around it."""

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def reset(self) -> None:
        """Begin the listing again."""
        self._at = 0

    def meet(self, fingerprint: bytes) -> None:
        """Take note of a known page that was met."""
        self._at = self._numbers.get(fingerprint, self._at)

    async def among(
        self, transaction: Callable[[], AbstractAsyncContextManager[Session]], items: Sequence[bytes]
    ) -> list[bool]:
        """Return which of the items of a page, given by their fingerprints, are known.

        ``transaction`` opens one, for what isn't in memory.
        """
        found = [False] * len(items)
        await self._look_near(transaction, items, found)
        unknown = [item for item, known in zip(items, found, strict=True) if not known]
        if 2 * len(unknown) > len(items):
            # Many items were removed here, or the listing has another order.
            bind = {"collection": self._collection, "item": unknown[len(unknown) // 2]}
            async with transaction() as session:
                number = (await session.execute(_FIND, bind)).scalar_one_or_none()
            self._at = self._at + 1 if number is None else max(0, number - 1)
            if number is not None:
                await self._look_near(transaction, items, found)
        return found

    async def _look_near(
        self,
        transaction: Callable[[], AbstractAsyncContextManager[Session]],
        items: Sequence[bytes],
        found: list[bool],
    ) -> None:
        """Look the items up in the known pages around the place of the listing, and mark those that are there."""
        around = range(self._at, min(self._at + _AROUND, len(self._numbers)))
        missing = [number for number in around if number not in self._items]
        if missing:
            async with transaction() as session:
                await self._fetch(session, around, missing[0])
        for number in around:
            known = self._items.get(number, frozenset())
            met = [place for place, item in enumerate(items) if item in known]
            for place in met:
                found[place] = True
            if met:
                self._at = number

    async def _fetch(self, session: Session, around: range, first: int) -> None:
        for number in [number for number in self._items if number not in around]:
            del self._items[number]
        bind = {"collection": self._collection, "first": first, "limit": around.start + _AT_ONCE - first}
        rows = await session.execute(_FETCH, bind)
        self._items |= {number: unpacked(packed) for number, packed in enumerate(rows.scalars(), start=first)}


def unpacked(packed: bytes) -> frozenset[bytes]:
    """Return the fingerprints of items that stand side by side."""
    return frozenset(packed[at : at + ITEM_BYTES] for at in range(0, len(packed), ITEM_BYTES))
