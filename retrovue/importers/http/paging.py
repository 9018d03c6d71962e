"""The proof that a paged listing was read completely.

Media servers page by offset over a live query: an item that is added or removed during the reading shifts all later
rows. Each page therefore begins with the last row of the page before, and any shift shows at the next boundary. The
reading ends with as many different items as the listing claims, or with an error.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from retrovue.importers.http.answers import Answer
from retrovue.importers.http.bookmarks import Bookmark
from retrovue.importers.http.listing import KeySet, Listing, ListingMoved

MOST_ITEMS = 20_000_000
"""The most items of a listing: several times those of the largest libraries of music. The proof keeps 1 bit for each
id, 16 bytes if they are far apart, and 26 for each GUID; the drafts are staged on the disk of the database.
"""
WINDOW = 4
"""Pages requested ahead, including the one in use: enough to hide 50 ms of latency."""


class Proof:
    """How much of a listing has been read, and which items. Call `plan()`, read, and `take()` until `complete`."""

    def __init__(self, page_size: int, seen: KeySet) -> None:
        self.size = page_size
        self.received = 0
        self.ends_with_a_full_page = False
        """Whether the last page would look the same if the listing had more rows than it claims."""
        self.total: int | None = None
        """The rows of the whole listing according to itself; None before the first answer."""
        self._pages = 0
        self._last_key: int | str | bytes | None = None
        self._seen = seen

    def go_on(self, bookmarks: Sequence[Bookmark]) -> bool:
        """Take what was read up to the last of these windows; return whether they fit together."""
        for bookmark in bookmarks:
            if bookmark.total != bookmarks[0].total or not self._seen.add_all(bookmark.keys):
                return False
            self.received += len(bookmark.keys)
        last = bookmarks[-1]
        self._pages, self.total, self.size = len(bookmarks), last.total, last.size
        self._last_key, self.ends_with_a_full_page = last.keys[-1], last.full
        return self.received <= last.total

    @property
    def complete(self) -> bool:
        """Whether all rows have been taken that the listing claims."""
        return self.total is not None and self.received == self.total

    @property
    def overlap(self) -> int:
        """The rows that the next window shares with what has been read: one or none."""
        return self.overlap_at(self.received)

    def overlap_at(self, start: int) -> int:
        """Return the rows that a window shares with the one before, if it starts at a row of the listing."""
        # Pages of a single row leave no room for a known one.
        return 1 if start and self.size > 1 else 0

    @property
    def start(self) -> int:
        """The row at which the next window starts."""
        return self.received - self.overlap

    def plan(self) -> list[int]:
        """Return the rows at which the next windows start."""
        if self.total is None:
            return [0]
        overlap = self.overlap
        return list(islice(range(self.start, self.total - overlap, self.size - overlap), WINDOW))

    def take(self, listing: Listing[Any, Any], answer: Answer, start: int) -> int:
        """Check an answer and count its rows; return how many rows at its beginning are known already."""
        skip = self.overlap
        keys = listing.keys
        rows = len(keys)
        self._check_place(listing, answer, start, rows)
        total = self._check_total(listing, answer, rows)
        self._pages += 1
        # With fewer than five rows a page on average, reading the library would take too long.
        if self._pages > 100 + total // 5:
            raise self._moved(f"takes more than {self._pages - 1} pages")
        if skip and rows and keys[0] != self._last_key:
            raise self._moved("shifted between two pages")
        expected = min(self.size, total - start)
        if rows <= skip and expected > skip:
            raise self._moved("ends before its end")
        if start + rows > total:
            raise self._moved("holds more than it says")
        if not self._seen.add_all(islice(keys, skip, None)):
            raise self._moved("lists an item twice")
        self.ends_with_a_full_page = rows == self.size
        if rows < expected:
            # The server limits its pages: the pending requests were made in steps that are too large.
            self.size = rows
        self.received = start + rows
        if rows:
            self._last_key = keys[-1]
        if self.complete and len(self._seen) != total:
            raise self._moved("holds another number of different items than it says")
        return skip

    def take_beyond(self, listing: Listing[Any, Any] | None) -> None:
        """Check what was read after the end: nothing, or known rows from a server that moves the start back."""
        if listing is not None and any(map(self._seen.add, listing.keys)):
            raise self._moved("holds more than it says")

    def _check_place(self, listing: Listing[Any, Any], answer: Answer, start: int, rows: int) -> None:
        for offset in (listing.offset, answer.offset):
            if offset is not None and offset != start:
                raise self._moved(f"was asked for row {start} and answered from row {offset}")
        if listing.size is not None and listing.size != rows:
            # ``size`` counts all rows, also those that aren't items.
            raise self._moved(f"has an answer of {rows} items that claims {listing.size}")

    def _check_total(self, listing: Listing[Any, Any], answer: Answer, rows: int) -> int:
        stated = {total for total in (listing.total, answer.total) if total is not None}
        if len(stated) > 1:
            raise self._moved(f"states two totals, {min(stated)} and {max(stated)}")
        if self.total is None:
            if not stated and rows == self.size:
                raise self._moved("fills a page without saying whether that is all")
            # An answer that isn't paged holds all rows and gives no total.
            self.total = stated.pop() if stated else rows
            if self.total > MOST_ITEMS:
                raise self._moved(f"states {self.total:,} items, which no library holds (at most {MOST_ITEMS:,})")
        elif stated != {self.total}:
            raise self._moved(f"held {self.total} items and now {max(stated, default=0)}")
        return self.total

    def _moved(self, problem: str) -> ListingMoved:
        return ListingMoved(problem, self.total, len(self._seen))
