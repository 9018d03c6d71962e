"""How the listings of a Jellyfin library are asked for: in which order, and with which fields."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from retrovue.core.errors import CollectionGone
from retrovue.importers.guids import GuidSet
from retrovue.importers.http.client import Answer, HttpClient, Refusal
from retrovue.importers.http.listing import Query
from retrovue.importers.jellyfin.rows import Listing, decode_listing, sketch_listing

SERIES_FIELDS = "Genres,Tags,Studios"
ITEM_FIELDS = "Path,MediaSources,ProviderIds,Genres,Tags,Studios,Chapters"
SHORT_FIELDS = "Path,MediaSources"
"""What an item is recognised by; the rest that recognition needs, such as PartCount, always comes (DtoService.cs).
Chapters cost the server a look-up for each item."""

_ALWAYS = {
    "Recursive": "true",
    # What is new comes behind what was read; names break the ties. Ties that are left, and shifts, are found by the
    # proof, not excluded by the order: Jellyfin can't sort by id.
    "SortBy": "DateCreated,SortName",
    "SortOrder": "Ascending",
    "EnableTotalRecordCount": "true",
    # A user may have films hidden behind their collections; the listing would be short of them.
    "CollapseBoxSetItems": "false",
    "EnableImages": "false",
    "EnableUserData": "false",
}


class ItemsQuery(Query[Listing]):
    """A listing of items below a library or a series."""

    row_bytes: ClassVar[int] = 7000

    def __init__(
        self, client: HttpClient, params: Mapping[str, str], fields: str, *, gone: Callable[[], CollectionGone]
    ) -> None:
        """``gone`` makes what is raised where the server has no such library."""
        super().__init__(client)
        self._params = {**_ALWAYS, **params}
        self._fields = fields
        self._gone = gone

    async def get(self, start: int, size: int, *, short: bool) -> Answer:
        """Ask for a window."""
        window = {
            "Fields": SHORT_FIELDS if short else self._fields,
            "StartIndex": str(start),
            "Limit": str(size),
        }
        try:
            return await self.client.get("/Items", {**self._params, **window})
        except Refusal as exc:
            if exc.status != 404:
                raise
            raise self._gone() from exc

    def decode(self, body: bytes | bytearray) -> Listing:
        """Decode an answer."""
        return decode_listing(body)

    def sketch(self, body: bytes | bytearray) -> Listing | None:
        """Look an answer over."""
        return sketch_listing(body)

    def seen(self) -> GuidSet:
        """Make an empty set for the listing's ids."""
        return GuidSet()
