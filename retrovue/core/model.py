"""The records of the domain: source, collection, enricher, scope, asset draft, page."""

import datetime as dt
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import msgspec

from retrovue.core.bounds import LARGEST, LONGEST_TITLE
from retrovue.core.errors import RequestError, require_within
from retrovue.core.text import KnownSecret, quoted, safe_text

AssetType = Literal["movie", "episode", "clip", "track"]
ASSET_TYPES: tuple[str, ...] = get_args(AssetType)

AssetState = Literal["new", "enriching", "ready", "retired"]
ASSET_STATES: tuple[str, ...] = get_args(AssetState)

Availability = Literal["present", "missing", "gone"]
"""Whether the source lists an asset: yes, not at the latest reading, or not for longer than the source's grace."""
AVAILABILITIES: tuple[str, ...] = get_args(Availability)

Trigger = Literal["source", "collection"]
"""What a run was started for: a source, in bulk, or one collection."""
Mode = Literal["ingest", "sync"]
"""What a run does with items that are known: an ingest leaves their assets as they are, a sync lets them follow."""

DEFAULT_PRIORITY = 100
"""The priority of an enricher that is attached without one."""


class Secret:
    """A string that ``repr``, ``str``, logs, JSON and tracebacks don't show.

    While it exists, errors, reasons and warnings show ``…`` in its place, whoever wrote them. Less than 6 characters
    are replaced in addresses only.
    """

    __slots__ = ("_known", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._known = KnownSecret(value)

    def reveal(self) -> str:
        """Return the string, for the code that sends it."""
        return self._value

    def resolved(self) -> "Secret":
        """Return the secret with its string in memory: itself, unless it is read from elsewhere or decrypted first."""
        return self

    @property
    def kept(self) -> tuple[str, str | None]:
        """How the catalogue keeps it: ``plain``, ``encrypted``, or the kind and the name of where it is read from."""
        return "plain", None

    def forms(self) -> tuple[str, ...]:
        """Return the texts by which the string may occur in other text, such as percent-encoded."""
        return self._known.forms

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
    """May be shared by several sources."""
    type: str
    config: Mapping[str, Any]
    """Plain JSON values, without secrets."""
    credentials: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    grace_s: int = 86_400
    """Seconds for which an asset that isn't listed any more is missing before it is gone."""
    sweep_every_s: int = 86_400
    """Seconds after which a sync reads all of a collection although its source says that little has changed."""
    full_every_s: int = 604_800
    """Seconds after which a sync compares each item of a collection, also on pages that it knows."""


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One setting of an importer."""

    name: str
    """The key in the source's configuration. A name that ends with ``_s`` is a number of seconds."""
    description: str
    required: bool = True
    secret: bool = False
    """Whether it is stored apart from the configuration and never shown."""
    kind: Literal["text", "flag", "file"] = "text"
    """How a command takes it: a text or number, a pair of options for true and false, or a path made absolute."""

    @property
    def option(self) -> str:
        """The option of commands: ``--base-url`` for ``base_url``, ``--read-timeout`` for ``read_timeout_s``."""
        return f"--{self.name.removesuffix('_s').replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class Enricher:
    """A configured instance of an enricher type. A type may have several, with different parameters."""

    id: UUID
    external_id: str
    """``<type>-<8 hex digits>``, unique. The provenance of a value refers to it."""
    name: str
    """May be shared by several enrichers."""
    type: str
    config: Mapping[str, Any]
    """The parameters: plain JSON values, without secrets."""


@dataclass(frozen=True, slots=True)
class AttachedEnricher:
    """An enricher that a collection uses, with its priority."""

    enricher: Enricher
    priority: int
    """Enrichers run from the lowest priority up. A later one doesn't replace the values of an earlier one."""


@dataclass(frozen=True, slots=True)
class PathMapping:
    """A path prefix of the source, and the local directory that holds the same files."""

    source_prefix: str
    local_path: str


@dataclass(frozen=True, slots=True)
class Collection:
    """One library of a source."""

    id: UUID
    source_id: UUID
    external_id: str
    """The source's key of the library."""
    name: str
    kind: str
    """The source's type of the library: ``movie``, ``show``, ``artist``, …"""
    sync_enabled: bool
    ingestible: bool | None = None
    """The latest answer of the importer's check; None before the first check."""
    not_ingestible_reason: str | None = None
    locations: tuple[str, ...] = ()
    """The root directories of the library, as the source spells them."""
    path_mappings: tuple[PathMapping, ...] = ()
    assets_count: int = 0
    last_ingest_at: dt.datetime | None = None
    keep_approval: bool = False
    """Whether an approved asset stays approved when a sync finds that its file was replaced."""
    check_files: bool = True
    """Whether an ingest looks for a sample of the listed files on this machine. False for files that are elsewhere."""
    library_uuid: str | None = None
    """The permanent id of the library that its assets are of; None if it isn't known, or the source has none."""
    source_name: str | None = None
    """The name of the source when the collection was read; messages name it."""

    @property
    def display_name(self) -> str:
        """Its name and that of its source, as messages have them: ``'Movies' of source 'Home'``."""
        name = quoted(self.name)
        return name if self.source_name is None else f"{name} of source {quoted(self.source_name)}"

    @property
    def arguments(self) -> str:
        """The arguments by which a command in a hint names it: ``Movies --source Home``, quoted for a shell."""
        if any(name.startswith("-") for name in (self.name, self.source_name or "")):
            return str(self.id)  # it would be read as an option
        name = shlex.quote(self.name)
        return name if self.source_name is None else f"{name} --source {shlex.quote(self.source_name)}"


@dataclass(frozen=True, slots=True)
class DiscoveredCollection:
    """A library as the source lists it."""

    external_id: str
    """Empty: the source lists the library, but doesn't identify it now. A known collection of its name isn't gone."""
    name: str
    kind: str
    locations: tuple[str, ...] = ()
    locations_known: bool = True
    """False: the source hides the locations from this token. The catalogue keeps those that it has."""
    uuid: str | None = None
    """The library's own permanent id, of at most 200 characters, if it has one besides its key: with another one it is
    another library, or was made anew under the same key."""


@dataclass(frozen=True, slots=True)
class Ingestibility:
    """Whether a collection can be ingested now, or why not."""

    ingestible: bool
    code: str | None = None
    """The code of the reason: ``unmapped_location``, ``unreadable_directory``, ``gone_from_source``, …"""
    reason: str | None = None
    """A sentence that says what to do. Passwords in addresses are removed."""

    def __post_init__(self) -> None:
        if self.reason is not None:
            object.__setattr__(self, "reason", safe_text(self.reason))


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """The identity of the server at the source's address."""

    identifier: str
    """The permanent id of the server: for Plex the ``machineIdentifier``."""
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeState:
    """Whether a source is changing one of its libraries now."""

    refreshing: bool
    """A scan is running: what isn't listed may only not be listed yet."""
    uuid: str | None = None
    """The library's own permanent id; another one means that the library was made anew under the same key."""
    stamp: str | None = None
    """The source's own mark of the library, at most 200 characters, which is another one after anything in it has
    changed; None if the source has none. A mark that is a whole number counts up."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a source says of all its libraries in one answer."""

    libraries: Mapping[str, ChangeState]
    """By the external ids of the collections."""
    clock_s: int | None = None
    """The source's own time when it answered, in seconds since 1970; None if it doesn't say."""
    version: str | None = None
    """The version of the server, with which what it understands may change."""


@dataclass(frozen=True, slots=True)
class Since:
    """Since when changes are asked for."""

    clock_s: int
    """Seconds since 1970, by the source's own clock."""
    filters: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """What is known of the source's filters, by their names: whether they do what is asked of them."""


@dataclass(frozen=True, slots=True)
class ChangesRead:
    """What an importer tells at the end of an enumeration of changes."""

    source_total: int
    """The items of the whole collection now, counted by the source as its full listing counts them."""
    filters: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """What was found out about filters: see `Since.filters`."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a collection to ingest: all of it, a title, a season or an episode."""

    title: str | None = None
    """At most 1,000 characters."""
    season: int | None = None
    """0 (the specials) to 2,147,483,647."""
    episode: int | None = None
    """0 to 2,147,483,647."""

    def __post_init__(self) -> None:
        """Raise RequestError for a title that is too long, or a number out of range."""
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
        """Whether the scope is the whole collection."""
        return self.title is None


FULL = Scope()


@dataclass(frozen=True, slots=True)
class MaxRemovals:
    """How many assets of a collection a sync may mark as missing, of those that are present.

    With both values the larger number holds. Raises RequestError for values out of range.
    """

    count: int = 0
    """Assets."""
    percent: float = 0.0
    """Of the assets of the collection that are present, 0 to 100."""

    def __post_init__(self) -> None:
        require_within("The number of removals", self.count, 0, LARGEST, code="bad_max_removals")
        if not 0 <= self.percent <= 100:
            raise RequestError("The percentage of removals must be from 0 to 100.", code="bad_max_removals")

    @classmethod
    def parse(cls, text: str) -> "MaxRemovals":
        """Read a number of assets (``50``) or a percentage (``10%``); raises RequestError for anything else."""
        number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
        try:
            return cls(percent=float(number)) if percent else cls(count=int(number))
        except ValueError as exc:
            raise RequestError(
                f"{quoted(text)} is neither a number of assets nor a percentage.",
                code="bad_max_removals",
                hint="Give a number such as 50, or a percentage such as 10%.",
            ) from exc

    def of(self, present: int) -> int:
        """Return the most removals of a collection with so many assets present."""
        return max(self.count, int(present * self.percent / 100))


DEFAULT_MAX_REMOVALS = MaxRemovals(count=20, percent=15)
"""What a sync may mark without being asked: a library of a few films changes by more than a percentage."""


Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Big = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PartDraft(msgspec.Struct, frozen=True, gc=False):
    """One file of a version."""

    source_path: str
    """The file's path as the source spells it."""
    size_bytes: Big | None = None
    duration_ms: Big | None = None
    modified_s: Big | None = None
    """When the file was modified last, in seconds since 1970; None if the source doesn't say."""
    stamp: str | None = None
    """The source's own mark of the file, which changes when the file is replaced; None if the source has none."""


class AssetDraft(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One media version of a source item, as an importer describes it.

    The constructor validates nothing; the guard of the importer validates each draft. The store writes the fields
    before ``parts`` to columns of the same names. This is a msgspec struct because a frozen dataclass of so many fields
    takes several times as long to create, and each version of a library becomes one.
    """

    source_uri: str
    """The source's own permanent identifier of the item and version, unchanged."""
    type: str
    """One of ``ASSET_TYPES``."""
    title: Annotated[str, msgspec.Meta(min_length=1)]
    show_title: str | None = None
    """Of an episode the title of its show, of a track the artist of its album."""
    season_number: Natural | None = None
    episode_number: Natural | None = None
    year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | None = None
    """Of the item itself: an episode's own year, not its show's; of a track the year of its album."""
    originally_aired: dt.date | None = None
    runtime_ms: Big | None = None
    edition: str | None = None
    studio: str | None = None
    content_rating: str | None = None
    rating: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    """0 to 10: the audience's rating, or the critics' if there is none."""
    container: str | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_channels: Natural | None = None
    video_resolution: str | None = None
    """As the source calls it: ``1080``, ``4k``, ``sd``."""
    width: Natural | None = None
    """Pixels."""
    height: Natural | None = None
    """Pixels."""
    bitrate_kbps: Natural | None = None
    show_key: str | None = None
    """The source's own id of the show, or of the album's artist. Shows of one title differ by it."""
    show_year: Annotated[int, msgspec.Meta(ge=1, le=9999)] | None = None
    """The year in which the show began."""
    artist: str | None = None
    """A track's own artist. That of its album is ``show_title``."""
    album: str | None = None
    disc_number: Natural | None = None
    """The disc of the album that a track is on."""
    track_number: Natural | None = None
    """The number of a track on its disc."""
    parts: tuple[PartDraft, ...]
    """One or more files, in playing order."""
    provider_ids: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """Ids by provider: ``imdb``, ``tmdb``, ``tvdb``, ``plex``, …"""
    show_provider_ids: Mapping[str, str] | None = None
    """The show's ids by provider; None if the item has no show, or its ids are unknown."""
    tags: Mapping[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])
    """Tags by kind (``genre``, ``label``, ``collection``), in the source's order."""
    chapters: list[dict[str, Any]] | None = None
    """Each has ``title``, ``start_ms`` and ``end_ms``. None if the source doesn't report chapters."""
    markers: list[dict[str, Any]] | None = None
    """Each has ``type`` (intro, credits, …), ``start_ms`` and ``end_ms``. None if the source doesn't report markers."""
    sidecar_stamp: str | None = None
    """A mark of the sidecars (NFO files) beside the files, which changes when one is edited, added or removed; empty if
    there are none, None if the source doesn't say."""
    warnings: tuple[str, ...] = ()
    """The codes of the values that were dropped or corrected, such as ``bad_duration``."""


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


class Outline(msgspec.Struct, gc=False):
    """A page in short form: only the keys of its drafts, and a function that reads the page in full.

    An importer may yield outlines in place of pages for a collection that has assets. If the catalogue holds all drafts
    of an outline unchanged, they count as skipped and the page isn't read in full.
    """

    source_uris: list[str]
    source_paths: list[tuple[str, ...]]
    """The paths of the parts of each draft, as the source spells them."""
    rejected: list[Rejection]
    source_items: int
    read: Callable[[], Awaitable["Page"]]
    """Reads the page in full. The page has the same source items."""
    stamp: bytes | None = None
    """As `Page.stamp`: of all that the page's drafts are made from."""
    source_total: int | None = None
    """As `Page.source_total`."""
    bookmark: bytes | None = None
    """As `Page.bookmark`."""


class Page(msgspec.Struct, gc=False):
    """One step of a listing: up to a bounded number of drafts and rejections."""

    drafts: list[AssetDraft]
    rejected: list[Rejection]
    source_items: int
    """The number of distinct source items on this page."""
    restart: bool = False
    """Whether the listing starts again because it changed: all pages before this one are void."""
    warnings: Mapping[str, int] = {}
    """Warnings about the collection and not about one draft, with their counts, such as ``left_out_sample``."""
    stamp: bytes | None = None
    """A hash of all that the drafts were made from, at most 64 bytes: equal stamps mean equal drafts. With None the
    drafts themselves are hashed."""
    source_total: int | None = None
    """The number of distinct source items of all pages together, if the source says it; for the progress alone."""
    changes: ChangesRead | None = None
    """Of an enumeration of changes, on its last page: what proves that these are all."""
    bookmark: bytes | None = None
    """What the importer needs to go on behind this page in a later run, at most 65,536 bytes; None: it can't."""
