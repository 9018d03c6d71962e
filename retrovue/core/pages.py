"""Pages of a listing, and their content: drafts of assets, and rejections."""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec

from retrovue.core.answers import ChangesRead
from retrovue.core.bounds import LARGEST
from retrovue.core.text import safe_text

Spans = list[dict[str, Any]] | bytes
"""Chapters or markers: objects, or the same as JSON, which costs a draft much less."""
Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Big = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PartDraft(msgspec.Struct, frozen=True, gc=False):
    """One file of a version."""

    source_path: str
    """The file's path as the source spells it."""
    size_bytes: Big | None = None
    duration_ms: Big | None = None
    modified_s: Big | None = None
    """When the file was last modified, in seconds since 1970; None if the source doesn't tell."""
    stamp: str | None = None
    """The source's stamp of the file, which changes when the file is replaced; None if the source has none."""


class AssetDraft(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One media version of a source item, as an importer describes it.

    The constructor validates nothing; the guard of the importer validates each draft. Name its arguments, because their
    order may change. The store writes the fields before ``provider_ids``, except ``parts``, to columns with the same
    names.
    """

    source_uri: str
    """The source's own permanent identifier of the item and version, unchanged."""
    type: str
    """One of ``ASSET_TYPES``."""
    title: Annotated[str, msgspec.Meta(min_length=1)]
    parts: tuple[PartDraft, ...]
    """One or more files, in playing order."""
    show_title: str | None = None
    """The title of an episode's show, or the artist of a track's album."""
    season_number: Natural | None = None
    episode_number: Natural | None = None
    year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | None = None
    """The year of the item itself: an episode's own year, not its show's; for a track the year of its album."""
    originally_aired: dt.date | None = None
    runtime_ms: Big | None = None
    edition: str | None = None
    studio: str | None = None
    content_rating: str | None = None
    rating: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    """0 to 10: the audience's rating, or the critics' rating if there is none."""
    container: str | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_channels: Natural | None = None
    video_resolution: str | None = None
    """As the source writes it: ``1080``, ``4k``, ``sd``."""
    width: Natural | None = None
    """Width in pixels."""
    height: Natural | None = None
    """Height in pixels."""
    bitrate_kbps: Natural | None = None
    show_key: str | None = None
    """The source's own id of the show, or of the album's artist. It distinguishes shows with the same title."""
    show_year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | None = None
    """The year in which the show began."""
    artist: str | None = None
    """The artist of the track. ``show_title`` is the artist of its album."""
    album: str | None = None
    disc_number: Natural | None = None
    """The number of the track's disc within the album."""
    track_number: Natural | None = None
    """The number of the track on its disc."""
    provider_ids: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """Ids by provider: ``imdb``, ``tmdb``, ``tvdb``, ``plex``, …"""
    show_provider_ids: Mapping[str, str] | None = None
    """The show's ids by provider; None if the item has no show, or its ids are unknown."""
    tags: Mapping[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])
    """Tags by kind (``genre``, ``label``, ``collection``), in the source's order."""
    chapters: Spans | None = None
    """Each has ``title``, ``start_ms`` and ``end_ms``. None if the source doesn't report chapters. Only importers that
    come with RetroVue may give JSON.
    """
    markers: Spans | None = None
    """Each has ``type`` (intro, credits, …), ``start_ms`` and ``end_ms``. None if the source doesn't report markers.
    JSON as for chapters.
    """
    sidecar_stamp: str | None = None
    """A stamp of the sidecars (NFO files) beside the files. It changes when a sidecar is edited, added or removed;
    empty if there are none, None if the source doesn't tell.
    """
    warnings: tuple[str, ...] = ()
    """The codes of the values that were removed or corrected, such as ``bad_duration``."""


def spans(given: Spans | None) -> list[dict[str, Any]] | None:
    """Return chapters or markers as objects."""
    if not isinstance(given, bytes):
        return given
    objects: list[dict[str, Any]] = msgspec.json.decode(given)
    return objects


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A source item or version that can't be used, and the reason."""

    code: str
    """The code of the reason: ``no_media``, ``no_file``, ``unmapped_path``, ``optimized_version``, …"""
    reason: str
    """The reason as a sentence. Passwords in addresses are removed."""
    source_uri: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "reason", safe_text(self.reason))


class PageText(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How an importer recognises a page in a later run, before it is decoded: by the text of its rows."""

    digest: bytes
    """A hash of the text, and of all else that the page is made from but what ``rows`` names: 16 bytes."""
    rows: bytes
    """What the importer needs to know of the rows of a recognised page, in its own encoding."""


class Recall(Protocol):
    """Finds the known pages of a collection by their text."""

    def may_know(self, digest: bytes, /) -> bool:
        """Return whether a page with this `PageText.digest` is known, but for changes of its assets."""
        ...

    def rows_of(self, digest: bytes, /) -> bytes | None:
        """Return the `PageText.rows` of a known page; None if the page isn't known, or has to be looked at."""
        ...


class OutlineItems(msgspec.Struct, gc=False):
    """The source items of an outline one by one: of a page that isn't known, only those are read that aren't either."""

    ends: list[tuple[int, int]]
    """How many drafts and how many rejections of the outline are of an item or of one before it, for each item."""
    stamps: Callable[[], list[bytes]]
    """Makes a hash of 8 bytes for each item, of all that its drafts are made from; none if that can't be told."""
    read: Callable[[Sequence[int]], Awaitable["Page"]]
    """Reads items in full, by their positions in the outline."""


class Outline(msgspec.Struct, gc=False):
    """A page in short form: the keys of its drafts, and a function that reads the page in full.

    An importer may yield outlines instead of pages for a collection that has assets. If the catalogue holds all drafts
    of an outline unchanged, they count as skipped and the page isn't read in full.
    """

    source_uris: list[str]
    source_paths: list[tuple[str, ...]]
    """The paths of the parts of each draft, as the source spells them."""
    rejected: list[Rejection]
    source_items: int
    read: Callable[[], Awaitable["Page"]]
    """Reads the page in full. That page has the same source items."""
    stamp: bytes | None = None
    """As `Page.stamp`: a hash of everything that the drafts of the page are made from."""
    source_total: int | None = None
    """As `Page.source_total`."""
    bookmark: bytes | None = None
    """As `Page.bookmark`."""
    items: OutlineItems | None = None
    """Its items one by one, of an importer that checks its drafts; None if these can't be told apart."""
    text: PageText | None = None
    """As `Page.text`."""
    last: bool = False
    """As `Page.last`."""
    recognised: bool = False
    """Whether a `Recall` has found the page by its text. The outline then has neither source URIs nor paths."""


class Page(msgspec.Struct, gc=False):
    """One step of a listing: up to a bounded number of drafts and rejections."""

    drafts: list[AssetDraft]
    rejected: list[Rejection]
    source_items: int
    """The number of distinct source items on this page."""
    restart: bool = False
    """Whether the listing starts again because it changed. All pages before this one are then invalid."""
    warnings: Mapping[str, int] = {}
    """Counts of the warnings about the collection as a whole, by code, such as ``left_out_sample``."""
    stamp: bytes | None = None
    """A hash of everything that the drafts were made from, at most 64 bytes: equal stamps mean equal drafts. With None
    the drafts themselves are hashed.
    """
    source_total: int | None = None
    """The number of distinct source items on all pages together, if the source tells it; used for progress only."""
    changes: ChangesRead | None = None
    """On the last page of a listing of changes: the proof that it is complete. Else None."""
    bookmark: bytes | None = None
    """What the importer needs to continue after this page in a later run, at most 65,536 bytes; None if it can't
    continue.
    """
    text: PageText | None = None
    """How the importer recognises the page in a later run; None if it can't. Only importers that come with RetroVue may
    give it.
    """
    last: bool = False
    """Whether the source won't be asked for anything else of the listing. Only importers that come with RetroVue may
    tell it.
    """
    summary: bytes | None = None
    """What a `Summarize` has made of its drafts, which are then left out; None without one, or if it made none. Only
    importers that come with RetroVue may give it.
    """


class SummaryMaker(Protocol):
    """Makes the summary of one page."""

    def take(self, drafts: Sequence[AssetDraft], /) -> bool:
        """Take the next drafts of the page, which aren't needed afterwards; return False if it can't be summarized."""
        ...

    def encoded(self, rejected: list[Rejection], /) -> bytes:
        """Return the summary; adds the drafts that have to be rejected to the rejections of the page."""
        ...


Summarize = Callable[[], SummaryMaker]
"""Begins the summary of a page. It is called where the page is made, maybe in another process, and can be pickled."""
