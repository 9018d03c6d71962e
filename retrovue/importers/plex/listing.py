"""How the listings of a Plex library are asked for: in which order, how large the pages, and what is left out."""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from retrovue.core.errors import CollectionGone
from retrovue.importers.http.client import Answer, HttpClient, Refusal
from retrovue.importers.http.listing import Query
from retrovue.importers.plex.ids import RatingKeySet
from retrovue.importers.plex.rows import Listing, decode_listing, sketch_listing

SORTS: tuple[str | None, ...] = ("id", "addedAt:asc", None)
"""Orders to ask for, the next where the server answers 400. ``id`` works but isn't advertised
(python-plexapi uses it, too); ``addedAt`` is, and puts what is new behind what was read; the last is the
server's own order. Ties and shifts in any of them are found by the proof, not excluded by the order."""

SMALL_PAGE = 100
"""Tried where a server answers 400, which it may mean for the order or for the size of the page (PMS has
announced it for pages that are too large, and plex.tv does it): the page that python-plexapi asks for."""

LEAN = {
    "excludeElements": "Actor,Country,Director,Mood,Producer,Role,Similar,Writer",
    "excludeFields": "summary,tagline",
}
"""Asks for rows without what no asset holds: a third of a film's row, the plot and the cast above all. Plex documents
both as requests that a server need not grant (Response Customization); the names are those that PMS has been seen to
grant (WebTools-NG issue 71)."""

SHORT = {**LEAN, "excludeElements": f"{LEAN['excludeElements']},Collection,Genre,Label", "includeGuids": "0"}
"""Asks, in the same way, for rows without what nothing is recognised by."""


class SectionQuery(Query[Listing]):
    """A listing of one library section, by the numbers that PMS gives to types of items and by its filters."""

    row_bytes: ClassVar[int] = 3500

    def __init__(self, client: HttpClient, section: str, params: Mapping[str, str], *, page_size: int) -> None:
        super().__init__(client)
        self._section = quote(section, safe="")
        self._params = dict(params)
        # How to ask, best first; what is refused is dropped.
        sizes = [size for size in (page_size, SMALL_PAGE) if size <= page_size]
        self._ways = [(wishes, sort, size) for wishes in (LEAN, {}) for sort in SORTS for size in sizes]

    async def get(self, start: int, size: int, *, short: bool) -> Answer:
        """Ask for a window, in the best way that the server takes."""
        while True:
            wishes, sort, cap = self._ways[0]
            params = {
                **self._params,
                **(SHORT if short else wishes),
                **({} if sort is None else {"sort": sort}),
                "X-Plex-Container-Start": str(start),
                "X-Plex-Container-Size": str(min(size, cap)),
            }
            try:
                return await self.client.get(f"/library/sections/{self._section}/all", params)
            except Refusal as exc:
                if exc.status == 404:
                    raise CollectionGone(
                        f"The Plex server has no library with the key {self._section} (HTTP 404).",
                        hint="Discover the source's collections again.",
                        context={"section": self._section},
                    ) from exc
                # Only the first window may change how it is asked: later ones must agree with it.
                if exc.status != 400 or start != 0 or not (short or len(self._ways) > 1):
                    raise
                if short:
                    short = self.short = False
                else:
                    del self._ways[0]

    def decode(self, body: bytes | bytearray) -> Listing:
        """Decode an answer."""
        return decode_listing(body)

    def sketch(self, body: bytes | bytearray) -> Listing | None:
        """Look an answer over."""
        return sketch_listing(body)

    def seen(self) -> RatingKeySet:
        """Make an empty set for the listing's keys."""
        return RatingKeySet()
