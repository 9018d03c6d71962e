"""The words of the catalogue as records: source, collection, asset draft, scope."""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import msgspec

from retrovue.core.bounds import LARGEST, LONGEST_TITLE
from retrovue.core.errors import RequestError, require_within
from retrovue.core.text import safe_text

AssetType = Literal["movie", "episode", "clip", "track"]
ASSET_TYPES: tuple[str, ...] = get_args(AssetType)

AssetState = Literal["new", "enriching", "ready", "retired"]
ASSET_STATES: tuple[str, ...] = get_args(AssetState)

Trigger = Literal["source", "collection"]
"""How an ingest was started: in bulk over a source, or by hand on one collection."""

DEFAULT_PRIORITY = 100
"""Of an enricher that is attached without one."""


class Secret:
    """A string that never shows itself: not in ``repr``, ``str``, logs, JSON or tracebacks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Source:
    """A configured instance of an importer type."""

    id: UUID
    external_id: str
    """``<type>-<8 hex digits>``, unique."""
    name: str
    """Not necessarily unique."""
    type: str
    config: Mapping[str, Any]
    """Plain JSON values, no secrets."""
    credentials: Mapping[str, Secret] = field(default_factory=dict[str, Secret])


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One setting that an importer needs to reach its source."""

    name: str
    """The key in the source's configuration, and the CLI's option: ``base_url`` is ``--base-url``."""
    description: str
    required: bool = True
    secret: bool = False
    """Kept apart from the configuration and never shown."""


@dataclass(frozen=True, slots=True)
class Enricher:
    """A configured instance of an enricher type; a type may have several, each with parameters of its own."""

    id: UUID
    external_id: str
    """``<type>-<8 hex digits>``, unique; the name under which provenance knows it."""
    name: str
    """Not necessarily unique."""
    type: str
    config: Mapping[str, Any]
    """The parameters that were given: plain JSON values, no secrets."""


@dataclass(frozen=True, slots=True)
class AttachedEnricher:
    """An enricher as a collection has it."""

    enricher: Enricher
    priority: int
    """Lower ones run first, and what they fill stays filled."""


@dataclass(frozen=True, slots=True)
class PathMapping:
    """A prefix of the source's paths and the local directory that holds the same files."""

    source_prefix: str
    local_path: str


@dataclass(frozen=True, slots=True)
class Collection:
    """One library of a source."""

    id: UUID
    source_id: UUID
    external_id: str
    """The source's own key of the library."""
    name: str
    kind: str
    """``movie``, ``show``, ``artist``, …, in the source's words."""
    sync_enabled: bool
    ingestible: bool | None = None
    """What the importer's check said last; None before the first check."""
    not_ingestible_reason: str | None = None
    locations: tuple[str, ...] = ()
    """The library's root directories as the source spells them."""
    path_mappings: tuple[PathMapping, ...] = ()
    assets_count: int = 0
    last_ingest_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class DiscoveredCollection:
    """A library as the source lists it."""

    external_id: str
    name: str
    kind: str
    locations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingestibility:
    """Whether a collection can be ingested now, and if not, why not."""

    ingestible: bool
    code: str | None = None
    """A stable word for the reason: ``unmapped_location``, ``unreadable_directory``, ``gone_from_source``, …"""
    reason: str | None = None
    """The reason as a sentence that says what to do; passwords in addresses are taken out."""

    def __post_init__(self) -> None:
        if self.reason is not None:
            object.__setattr__(self, "reason", safe_text(self.reason))


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Who answered at the source's address."""

    identifier: str
    """What the source calls itself for good: for Plex its ``machineIdentifier``."""
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of a collection is asked for: all of it, a title, a season or an episode."""

    title: str | None = None
    """At most 1,000 characters."""
    season: int | None = None
    """From 0, the specials, to 2,147,483,647; so is the episode."""
    episode: int | None = None

    def __post_init__(self) -> None:
        """Refuse, with RequestError, what no source has and none can be asked for."""
        if self.title is not None and len(self.title) > LONGEST_TITLE:
            raise RequestError(
                f"The title has {len(self.title):,} characters; at most {LONGEST_TITLE:,} can be asked for.",
                code="bad_scope",
            )
        for part, number in (("season", self.season), ("episode", self.episode)):
            if number is not None:
                require_within(f"The number of the {part}", number, 0, LARGEST, code="bad_scope")

    @property
    def is_full(self) -> bool:
        """Whether the whole collection is meant."""
        return self.title is None


FULL = Scope()


Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Big = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PartDraft(msgspec.Struct, frozen=True, gc=False):
    """One file of a version, in playing order."""

    source_path: str
    """The file's path as the source spells it."""
    size_bytes: Big | None = None
    duration_ms: Big | None = None


class AssetDraft(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One media version of a source item, as an importer describes it; not yet in the catalogue.

    A msgspec struct and not a dataclass: one is made for each version of a library, and a frozen dataclass
    of this width costs several times as much to make. The fields before ``parts`` are plain values, which the
    store takes over as they are. Making one checks nothing; what an importer gives is checked by the guard.
    """

    source_uri: str
    """Verbatim and native to the source; identifies item and version for good."""
    type: str
    """One of ``ASSET_TYPES``."""
    title: Annotated[str, msgspec.Meta(min_length=1)]
    show_title: str | None = None
    season_number: Natural | None = None
    episode_number: Natural | None = None
    year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | None = None
    originally_aired: dt.date | None = None
    runtime_ms: Big | None = None
    edition: str | None = None
    studio: str | None = None
    content_rating: str | None = None
    rating: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    """0 to 10: the audience's where there is one, else the critics'."""
    container: str | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_channels: Natural | None = None
    video_resolution: str | None = None
    """The source's own word: ``1080``, ``4k``, ``sd``."""
    width: Natural | None = None
    """Pixels."""
    height: Natural | None = None
    """Pixels."""
    bitrate_kbps: Natural | None = None
    parts: tuple[PartDraft, ...]
    """At least one."""
    provider_ids: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """``imdb``, ``tmdb``, ``tvdb``, ``plex``, … → that provider's id."""
    tags: Mapping[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])
    """``genre``, ``label``, ``collection`` → tags in the source's order."""
    chapters: list[dict[str, Any]] | None = None
    """``title``, ``start_ms``, ``end_ms``; None where the source didn't say."""
    markers: list[dict[str, Any]] | None = None
    """``type`` (intro, credits, …), ``start_ms``, ``end_ms``; None where the source didn't say."""
    warnings: tuple[str, ...] = ()
    """What was dropped or mended on the way in, e.g. ``bad_duration``."""


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A source item or version that can't be used, and why."""

    code: str
    """A stable word: ``no_media``, ``no_file``, ``unmapped_path``, ``optimized_version``, …"""
    reason: str
    """As a sentence; passwords in addresses are taken out."""
    source_uri: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "reason", safe_text(self.reason))


class Outline(msgspec.Struct, gc=False):
    """A page of which probably everything is known already: by what each draft is recognised, and how to read it.

    An importer may give these in place of pages where the collection has assets. If the catalogue holds every
    one of the drafts exactly, they count as skipped and the page is never read in full.
    """

    source_uris: list[str]
    source_paths: list[tuple[str, ...]]
    """The paths of each draft's parts, as the source spells them."""
    rejected: list[Rejection]
    source_items: int
    read: Callable[[], Awaitable["Page"]]
    """Reads the page in full; it accounts for the same source items."""


class Page(msgspec.Struct, gc=False):
    """One step of an enumeration."""

    drafts: list[AssetDraft]
    rejected: list[Rejection]
    source_items: int
    """Distinct items of the source that this page accounts for."""
    restart: bool = False
    """The listing changed while it was read and is being read again: all pages before this one are void."""
