"""The rows of a Plex listing: only the fields that are used, with the types that recorded answers show.

A row has more than a hundred fields; decoding only these is three times cheaper than making dictionaries of all.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar, cast

import msgspec

from retrovue.core.bounds import MOST_SPANS, MOST_TAGS
from retrovue.core.errors import MalformedAnswer
from retrovue.core.pages import Big, Natural
from retrovue.importers.http.listing import (
    BadRow,
    Contents,
    FilePath,
    Listing,
    ListingFormat,
    Number,
    Text,
)
from retrovue.importers.seen import IdSet

RATING_KEY_DIGITS: Final = 18
"""A rating key is a row id of the server's database; 18 digits always fit into 64 bits."""


class Tag(msgspec.Struct, gc=False):
    """A genre, label or collection of an item."""

    tag: Text = ""


class Guid(msgspec.Struct, gc=False):
    """An id at another provider, such as ``imdb://tt0133093``."""

    id: Text = ""


class Span(msgspec.Struct, gc=False, rename="camel"):
    """A chapter (with a ``tag``) or a marker (with a ``type``); offsets in milliseconds."""

    type: Text | None = None
    tag: Text | None = None
    start_time_offset: int | float | None = None
    end_time_offset: int | float | None = None


Tags = Annotated[list[Tag], msgspec.Meta(max_length=MOST_TAGS)]
Guids = Annotated[list[Guid], msgspec.Meta(max_length=MOST_TAGS)]
Spans = Annotated[list[Span], msgspec.Meta(max_length=MOST_SPANS)]


class Part(msgspec.Struct, gc=False):
    """One file of a version."""

    file: FilePath | None = None
    key: FilePath | None = None
    size: Big | None = None
    duration: int | float | None = None
    deleted_at: int | None = msgspec.field(default=None, name="deletedAt")
    exists: bool | None = None
    """Whether the server has found the file, where it has looked."""


class Media(msgspec.Struct, gc=False, rename="camel"):
    """One version of an item; a file that PMS has not analysed has no codecs."""

    id: Big | None = None
    duration: int | float | None = None
    bitrate: Natural | None = None
    width: Natural | None = None
    height: Natural | None = None
    audio_channels: Natural | None = None
    audio_codec: Text | None = None
    video_codec: Text | None = None
    video_resolution: Text | None = None
    container: Text | None = None
    proxy_type: int | None = None
    target: Text | None = None
    deleted_at: int | None = None
    parts: list[Part] | None = msgspec.field(default=None, name="Part")


class Row(msgspec.Struct, gc=False, rename="camel"):
    """One item of a listing. ``guid`` and ``Guid``, ``rating`` and ``Rating`` are different fields."""

    rating_key: Text | int | None = None
    type: Text | None = None
    subtype: Text | None = None
    title: Text | None = None
    original_title: Text | None = None
    """Of a track its own artist, where it isn't that of the album."""
    guid: Text | None = None
    studio: Text | None = None
    content_rating: Text | None = None
    edition_title: Text | None = None
    deleted_at: int | None = None
    year: int | None = None
    originally_available_at: Text | None = None
    duration: int | float | None = None
    rating: float | None = None
    audience_rating: float | None = None
    index: Number | None = None
    parent_index: Number | None = None
    parent_title: Text | None = None
    parent_year: int | None = None
    grandparent_title: Text | None = None
    grandparent_rating_key: Text | int | None = None
    versions: list[Media] | None = msgspec.field(default=None, name="Media")
    guids: Guids | None = msgspec.field(default=None, name="Guid")
    genres: Tags | None = msgspec.field(default=None, name="Genre")
    labels: Tags | None = msgspec.field(default=None, name="Label")
    collections: Tags | None = msgspec.field(default=None, name="Collection")
    chapters: Spans | None = msgspec.field(default=None, name="Chapter")
    markers: Spans | None = msgspec.field(default=None, name="Marker")


class OutlinePart(msgspec.Struct, gc=False):
    """One file of a version: its name, and whether it is there."""

    file: FilePath | None = None
    deleted_at: int | None = msgspec.field(default=None, name="deletedAt")
    exists: bool | None = None


class OutlineMedia(msgspec.Struct, gc=False, rename="camel"):
    """One version of an item: what identifies it and what excludes it."""

    id: Big | None = None
    proxy_type: int | None = None
    target: Text | None = None
    deleted_at: int | None = None
    parts: list[OutlinePart] | None = msgspec.field(default=None, name="Part")


class OutlineRow(msgspec.Struct, gc=False, rename="camel"):
    """One item of a listing in short form."""

    rating_key: Text | None = None
    type: Text | None = None
    title: Text | None = None
    grandparent_rating_key: Text | int | None = None
    deleted_at: int | None = None
    versions: list[OutlineMedia] | None = msgspec.field(default=None, name="Media")


PlexListing = Listing[Row | BadRow, int | str]

_RowT = TypeVar("_RowT")


class _Container(msgspec.Struct, Generic[_RowT], gc=False, rename="camel"):
    size: Big | None = None
    total_size: Big | None = None
    offset: Big | None = None
    rows: list[_RowT] | None = msgspec.field(default=None, name="Metadata")


class _Answer(msgspec.Struct, Generic[_RowT], gc=False):
    container: _Container[_RowT] = msgspec.field(name="MediaContainer")


class _RowKey(msgspec.Struct, gc=False, rename="camel"):
    rating_key: Text | int | None = None
    title: Text | None = None


class PlexFormat(ListingFormat[Row, OutlineRow, int | str]):
    """How a Plex Media Server writes a listing."""

    product: ClassVar[str] = "Plex"
    rows_name: ClassVar[bytes] = b'"Metadata"'
    expected: ClassVar[str] = "has no media container"
    answer: ClassVar[Any] = _Answer
    row: ClassVar[Any] = Row
    outline: ClassVar[Any] = OutlineRow
    row_key: ClassVar[Any] = _RowKey
    numbers_as_text: ClassVar[bool] = True  # mostly in containers

    def contents(self, answer: _Answer[Any]) -> Contents[Any]:
        """Find the parts of a decoded answer; raises MalformedAnswer if it gives neither rows nor numbers."""
        container = answer.container
        if container.rows is None and container.size is None and container.total_size is None:
            raise MalformedAnswer(
                "The answer's media container says neither what it holds nor how much.", code="no_container"
            )
        return Contents(container.rows or [], container.size, container.total_size, container.offset)

    def keys(self, rows: Sequence[Row] | Sequence[OutlineRow]) -> list[int | None]:
        """Return the rating key of each row, or None."""
        return [rating_key_number(row.rating_key) for row in rows]

    def hashed(self, digest: bytes) -> str:
        """Make the key of a row without a usable rating key."""
        return f"row:{digest.hex()}"


class RatingKeySet:
    """The keys of rows: rating keys, and hashes of the rows without one, which are rejected and rare."""

    def __init__(self) -> None:
        self._numbers = IdSet()
        self._hashes: set[str] = set()

    def add(self, key: int | str) -> bool:
        """Add a key; returns whether it is new."""
        if isinstance(key, int):
            return self._numbers.add(key)
        if key in self._hashes:
            return False
        self._hashes.add(key)
        return True

    def add_all(self, keys: Iterable[int | str]) -> bool:
        """Add keys; return whether all of them are new. Those after the first one that isn't may not be added."""
        found = list(keys)
        if all(type(key) is int for key in found):
            return self._numbers.add_all(cast("list[int]", found))
        return all(map(self.add, found))

    def __len__(self) -> int:
        return len(self._numbers) + len(self._hashes)


def rating_key_number(value: object) -> int | None:
    """Read a rating key as the whole number that it is; None for anything else.

    Items carry it as a string and some containers as a number (recorded answers show both).
    """
    if type(value) is int:
        return value if 0 <= value < 10**RATING_KEY_DIGITS else None
    if type(value) is not str or not value.isdigit() or not value.isascii() or len(value) > RATING_KEY_DIGITS:
        return None
    # A leading zero would make two spellings of one id.
    return int(value) if value[0] != "0" or value == "0" else None


decode_listing = PlexFormat().decode
decode_outline = PlexFormat().decode_outline
