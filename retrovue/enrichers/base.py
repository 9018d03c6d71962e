"""What every enricher offers, and the check that it really does.

An enricher is made for one collection of one run: it is entered as an async context manager, given batches of
assets, and left. It never sees the database, and nothing it raises or returns is trusted beyond the asset.
"""

import datetime as dt
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Annotated, Any, ClassVar, Protocol, Self, runtime_checkable
from uuid import UUID

import msgspec

from retrovue.core.errors import RequestError
from retrovue.core.model import ConfigField, Source

LONGEST_DEADLINE_S = 3600.0
"""The most that an enricher may ask for: whoever waits for a batch waits as long."""
LARGEST_BATCH = 10_000
"""The most assets that an enricher may ask for at once: ten times what a page of Plex or Jellyfin has, and twenty times
what is read at once after a commit. A batch has one deadline and is in memory as a whole."""
OVERWRITE = "overwrite"
COMMON_PARAMETERS = (
    ConfigField(OVERWRITE, "Whether it replaces what is known already: true or false (the default)", required=False),
)
"""The parameters that every enricher has; they are taken care of for it."""


class MediaFile(msgspec.Struct, frozen=True, gc=False):
    """One file of an asset, in playing order."""

    local_path: str
    size_bytes: int | None = None
    duration_ms: int | None = None


class AssetView(msgspec.Struct, frozen=True, kw_only=True):
    """An asset as an enricher sees it."""

    uuid: UUID | None = None
    """None on a page: the asset isn't in the catalogue yet."""
    source_uri: str
    files: tuple[MediaFile, ...]
    """At least one, in playing order."""
    type: str
    title: str
    show_title: str | None = None
    season_number: int | None = None
    episode_number: int | None = None
    year: int | None = None
    originally_aired: dt.date | None = None
    runtime_ms: int | None = None
    edition: str | None = None
    studio: str | None = None
    content_rating: str | None = None
    rating: float | None = None
    container: str | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_channels: int | None = None
    video_resolution: str | None = None
    width: int | None = None
    height: int | None = None
    bitrate_kbps: int | None = None
    provider_ids: Mapping[str, str] = {}
    tags: Mapping[str, list[str]] = {}
    chapters: list[dict[str, Any]] | None = None
    markers: list[dict[str, Any]] | None = None
    streams: list[dict[str, Any]] | None = None
    fingerprint: Mapping[str, Any] | None = None
    """What this enricher gave as the fingerprint the last time it succeeded."""


class Enrichment(msgspec.Struct, frozen=True, kw_only=True):
    """What an enricher found out about one asset."""

    fields: Mapping[str, Any] = {}
    """Values by the names of the asset's fields; ``streams``, ``chapters`` and ``markers`` are lists of objects,
    ``provider_ids`` and ``tags`` are merged key by key. A value that is None or empty takes back what this enricher
    gave to the asset before, unless it overwrites, and nothing else; a field that isn't there stays as it is."""
    fingerprint: Mapping[str, Any] | None = None
    """Of what was looked at, such as size and modification time, to tell later whether it has changed."""
    data: Mapping[str, Any] | None = None
    """More that was found out, as plain JSON values, kept as it is."""
    unchanged: bool = False
    """What was looked at has the fingerprint of the last time: nothing was looked at again."""


class Failure(msgspec.Struct, frozen=True):
    """Why an asset could not be enriched."""

    code: str
    """A stable word: ``no_file``, ``not_media``, ``enricher_timeout``, …"""
    message: str


@runtime_checkable
class EnricherInterface(Protocol):
    """The capabilities that enrichment relies on.

    Batches of one enricher may be under way at the same time. A batch that raises, hangs or answers nonsense is
    given again asset by asset, so that it costs only those that are to blame; raising EnrichmentError for a batch
    of one is as good as returning a Failure. All methods may be cancelled at any await; work that blocks belongs
    into a thread or a process.
    """

    type_name: ClassVar[str]
    runs_on_pages: ClassVar[bool]
    """Whether it does no I/O and is quick, so that it refines the pages of an ingest before they are staged."""
    batch_size: ClassVar[int]
    """Assets that it takes at once, LARGEST_BATCH at the most; it may be given fewer."""
    deadline_s: ClassVar[float]
    """Seconds that a batch may take, an hour at the most."""

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Say which parameters an instance takes, besides the common ones."""
        ...

    async def __aenter__(self) -> Self:
        """Open whatever the enricher needs for one collection of one run."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Find out about these assets; one answer each, in their order."""
        ...


class BaseEnricher(ABC):
    """A start for enrichers: subclasses give the parameters and an answer for each asset of a batch."""

    type_name: ClassVar[str]
    runs_on_pages: ClassVar[bool] = False
    batch_size: ClassVar[int] = 50
    deadline_s: ClassVar[float] = 60.0
    source_types: ClassVar[frozenset[str] | None] = None
    """The types of source with which it works; None for all."""
    reads_files: ClassVar[bool] = False
    """Whether its answers depend on the asset's files or their names: it is asked again where they have moved."""
    shares_loop: ClassVar[bool] = False
    """Whether it has to run in the event loop of whoever embeds RetroVue, because it shares connections with it.

    It is trusted then: what blocks, or swallows its cancellation, holds up the whole run. Without this an enricher
    that doesn't come with RetroVue runs in a thread with an event loop of its own.
    """

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        self.config: Mapping[str, Any] = dict(config)
        self.source = source
        """The source of the collection, with its credentials; None while only the parameters are checked."""

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Say which parameters an instance takes: by default none but the common ones."""
        return ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Find out about these assets; one answer each, in their order."""


def parameters(config: Mapping[str, Any], kind: type[Any]) -> Any:
    """Read an enricher's parameters as a struct; raises RequestError with code ``bad_config`` if they don't fit."""
    own = {name: value for name, value in config.items() if name != OVERWRITE}
    try:
        return msgspec.convert(own, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise RequestError(
            f"The enricher's parameters can't be used: {exc}.",
            code="bad_config",
            hint="`retrovue enricher list-types` shows the parameters of each type.",
        ) from exc


_COROUTINES = ("__aenter__", "__aexit__", "enrich")
_VALUES: Mapping[str, tuple[Any, str]] = {
    "type_name": (str, "a string"),
    "runs_on_pages": (bool, "True or False"),
    "batch_size": (
        Annotated[int, msgspec.Meta(ge=1, le=LARGEST_BATCH)],
        f"a whole number from 1 to {LARGEST_BATCH:,}",
    ),
    "deadline_s": (
        Annotated[float, msgspec.Meta(gt=0, le=LONGEST_DEADLINE_S)],
        f"seconds, more than 0 and at most {LONGEST_DEADLINE_S:,g}",
    ),
}
"""The type of each value of the class, and what an author is told that it has to be."""


def compliance_problems(enricher: object) -> list[str]:
    """List what keeps a class from being an enricher; an empty list means that it complies."""
    if not isinstance(enricher, type):
        return [f"{enricher!r} is not a class"]
    problems = [f"{name} is not implemented" for name in sorted(getattr(enricher, "__abstractmethods__", ()))]
    for name, (kind, wanted) in _VALUES.items():
        value = getattr(enricher, name, None)
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            problems.append(f"{name} is {value!r}, but has to be {wanted}")
    problems += [
        f"{name} is not a coroutine function"
        for name in _COROUTINES
        if not inspect.iscoroutinefunction(getattr(enricher, name, None))
    ]
    if not callable(getattr(enricher, "describe_parameters", None)):
        problems.append("describe_parameters is missing")
    return problems
