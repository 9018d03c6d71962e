"""A request for a listing of a media server."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic

from retrovue.importers.http.answers import Answer, IsKnown, unknown
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.listing import KeySet, KeyT, ListingFormat, OutlineT, RowT


class Query(ABC, Generic[RowT, OutlineT, KeyT]):
    """A request for a listing."""

    form: ClassVar[ListingFormat[Any, Any, Any]]
    row_bytes: ClassVar[int]
    """The assumed size of a row, before the first page has been read."""
    seen: ClassVar[type[KeySet]]
    """Makes an empty set for the keys of the listing."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client

    way: int = 0
    """The variant of the request, if there are several. It has to be the same for all windows."""

    @abstractmethod
    async def get(self, start: int, size: int, *, most: int | None = None, is_known: IsKnown = unknown) -> Answer:
        """Request ``size`` rows from row ``start``, in an answer of at most ``most`` bytes.

        ``is_known`` is as for `HttpClient.get`. Raises CollectionGone if the library doesn't exist any more, and
        AnswerTooLarge.
        """

    @abstractmethod
    async def total(self) -> int | None:
        """Request the number of rows, with as few rows as possible; None if the server doesn't tell.

        Raises CollectionGone, and Refusal if the server doesn't accept the request.
        """
