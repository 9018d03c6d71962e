"""The walk through a paged listing, proven to be complete.

Media servers page by offset over a live query, so that an item added or removed while it is read shifts all that
follow. Each page begins with the last row of the one before: any shift shows at the next boundary. What the walk
ends with is as many different items as the listing says it holds, or an error.
"""

from collections.abc import AsyncGenerator
from itertools import islice

from retrovue.importers.http.client import Answer
from retrovue.importers.http.listing import Listing, ListingMoved, ListingT, Seen, Window
from retrovue.importers.http.reading import WINDOW, Reader


async def walk(reader: Reader[ListingT]) -> AsyncGenerator[Window[ListingT], None]:
    """Generate the windows of a whole listing.

    All rows that aren't left out are different items. Raises ListingMoved unless they are as many as the
    listing holds.
    """
    proof = Proof(reader.page_size, reader.query.seen())
    try:
        while not proof.complete:
            start, size = proof.start, proof.size
            listing, answer = await reader.read(proof.plan(), size)
            skip = proof.take(listing, answer, start)
            if listing.keys:
                yield Window(listing, skip, start, size)
            if reader.moved is not None:
                raise reader.moved
        if proof.ends_with_a_full_page:
            proof.take_beyond(await reader.read_beyond(proof.received))
    finally:
        reader.close()


class Proof:
    """What the walk knows so far: where it is, and which items it has seen."""

    def __init__(self, page_size: int, seen: Seen) -> None:
        self.size = page_size
        self.received = 0
        self.ends_with_a_full_page = False
        """Whether the last page would look the same if there were more rows than the listing says."""
        self._total: int | None = None
        self._pages = 0
        self._last_key: int | str | bytes | None = None
        self._seen = seen

    @property
    def complete(self) -> bool:
        """Whether all rows have been taken that the listing says it holds."""
        return self._total is not None and self.received == self._total

    @property
    def _overlap(self) -> int:
        # A server that gives single rows leaves no room for one that is known already.
        return 1 if self.received and self.size > 1 else 0

    @property
    def start(self) -> int:
        """Where the next window starts."""
        return self.received - self._overlap

    def plan(self) -> list[int]:
        """Say where the next windows start."""
        if self._total is None:
            return [0]
        overlap = self._overlap
        return list(islice(range(self.start, self._total - overlap, self.size - overlap), WINDOW))

    def take(self, listing: Listing, answer: Answer, start: int) -> int:
        """Check an answer and count its rows; returns how many at its start are known already."""
        skip = self._overlap
        rows = len(listing.keys)
        self._check_place(listing, answer, start, rows)
        total = self._check_total(listing, answer, rows)
        self._pages += 1
        # Pages of fewer than five rows on the average are no way to list a library.
        if self._pages > 100 + total // 5:
            raise self._moved(f"takes more than {self._pages - 1} pages")
        if skip and rows and listing.keys[0] != self._last_key:
            raise self._moved("shifted between two pages")
        expected = min(self.size, total - start)
        if rows <= skip and expected > skip:
            raise self._moved("ends before its end")
        if start + rows > total:
            raise self._moved("holds more than it says")
        if not all(map(self._seen.add, islice(listing.keys, skip, None))):
            raise self._moved("lists an item twice")
        self.ends_with_a_full_page = rows == self.size
        if rows < expected:
            # The server caps its pages: what is under way was asked for in steps that are too large.
            self.size = rows
        self.received = start + rows
        if rows:
            self._last_key = listing.keys[-1]
        if self.complete and len(self._seen) != total:
            raise self._moved("holds another number of different items than it says")
        return skip

    def take_beyond(self, listing: Listing | None) -> None:
        """Check what stands where the listing ends: nothing, or rows that are known, as of a server that clamps."""
        if listing is not None and any(map(self._seen.add, listing.keys)):
            raise self._moved("holds more than it says")

    def _check_place(self, listing: Listing, answer: Answer, start: int, rows: int) -> None:
        for offset in (listing.offset, answer.offset):
            if offset is not None and offset != start:
                raise self._moved(f"was asked for row {start} and answered from row {offset}")
        if listing.size is not None and listing.size != rows:
            # ``size`` counts every entry, also those that are no items.
            raise self._moved(f"has an answer of {rows} items that claims {listing.size}")

    def _check_total(self, listing: Listing, answer: Answer, rows: int) -> int:
        stated = {total for total in (listing.total, answer.total) if total is not None}
        if len(stated) > 1:
            raise self._moved(f"states two totals, {min(stated)} and {max(stated)}")
        if self._total is None:
            if not stated and rows == self.size:
                raise self._moved("fills a page without saying whether that is all")
            # An answer that isn't paged holds all there is, and says no total.
            self._total = stated.pop() if stated else rows
        elif stated != {self._total}:
            raise self._moved(f"held {self._total} items and now {max(stated, default=0)}")
        return self._total

    def _moved(self, problem: str) -> ListingMoved:
        return ListingMoved(problem, self._total, len(self._seen))
