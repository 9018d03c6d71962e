"""The listing of a media server: how its windows are asked for, and what an answer says of itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from retrovue.importers.http.client import Answer, HttpClient


class Listing(Protocol):
    """One answer of a listing, decoded."""

    @property
    def keys(self) -> Sequence[int | str | bytes]:
        """The id of each row; of a row without a usable one, a hash of all it says."""
        ...

    @property
    def size(self) -> int | None:
        """How many entries the answer claims to hold, if it does."""
        ...

    @property
    def total(self) -> int | None:
        """How many rows the whole listing holds; None in an answer that isn't paged."""
        ...

    @property
    def offset(self) -> int | None:
        """At which row the answer says that it begins."""
        ...

    @property
    def sketches(self) -> Sequence[object] | None:
        """What its items are recognised by, in place of the rows, where the answer was only looked over."""
        ...


ListingT = TypeVar("ListingT", bound=Listing)


class Window(NamedTuple, Generic[ListingT]):
    """One answer of a listing, and where it belongs."""

    listing: ListingT
    skip: int
    """How many rows at its beginning are known from the window before."""
    start: int
    size: int


class ListingMoved(Exception):
    """The listing isn't what it was when the walk began, or never was what it says."""

    def __init__(self, problem: str, expected: int | None, received: int) -> None:
        super().__init__(problem)
        self.problem, self.expected, self.received = problem, expected, received


class Seen(Protocol):
    """The keys of a listing that have been seen, in little memory."""

    def add(self, key: Any, /) -> bool:
        """Take a key in, and say whether it is new."""
        ...

    def __len__(self) -> int: ...


class Query(ABC, Generic[ListingT]):
    """One listing as it is asked for.

    With ``short`` only what items are recognised by is asked for and looked at, where that is possible; the query
    itself takes it back where the server won't have it.
    """

    row_bytes: ClassVar[int]
    """What a row takes before the first page has told."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self.short = False

    @abstractmethod
    async def get(self, start: int, size: int, *, short: bool) -> Answer:
        """Ask for a window; raises CollectionGone if the library isn't there any more."""

    @abstractmethod
    def decode(self, body: bytes | bytearray) -> ListingT:
        """Decode an answer; raises MalformedAnswer."""

    @abstractmethod
    def sketch(self, body: bytes | bytearray) -> ListingT | None:
        """Look an answer over for what its items are recognised by; None if it needs to be read in full."""

    @abstractmethod
    def seen(self) -> Seen:
        """Make an empty set for the listing's keys."""
