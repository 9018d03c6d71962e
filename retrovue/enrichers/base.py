"""The interface of enrichers, a base class that implements most of it, and the check that a class complies.

An enricher is made for one collection of one run: it is entered as an async context manager, given batches of assets,
and left. It never gets access to the database. An exception or invalid answer can fail the assets that it was given,
and nothing else.
"""

import datetime as dt
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable
from uuid import UUID

import msgspec

from retrovue.core.errors import RequestError
from retrovue.core.model import ConfigField, Source
from retrovue.core.text import quoted
from retrovue.importers.configuration import mismatch
from retrovue.plugins.base import BasePlugin, PluginInterface, method_problems

LONGEST_DEADLINE_S = 3600.0
"""The longest deadline for a batch, in seconds, because the run waits for each batch."""
LARGEST_BATCH = 10_000
"""The most assets in a batch, which is in memory as a whole. A page of Plex or Jellyfin has 1,000."""
OVERWRITE = "overwrite"
COMMON_PARAMETERS = (
    ConfigField(OVERWRITE, "Whether it replaces what is known already: true or false (the default)", required=False),
)
"""The parameters of every enricher; RetroVue applies them itself."""


class MediaFile(msgspec.Struct, frozen=True, gc=False):
    """One file of an asset, in playing order."""

    local_path: str
    size_bytes: int | None = None
    duration_ms: int | None = None


class AssetView(msgspec.Struct, frozen=True, kw_only=True):
    """An asset, as an enricher gets it."""

    uuid: UUID | None = None
    """None for a page enricher, because the asset isn't in the catalogue yet."""
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
    show_year: int | None = None
    show_provider_ids: Mapping[str, str] | None = None
    artist: str | None = None
    album: str | None = None
    disc_number: int | None = None
    track_number: int | None = None
    fingerprint: Mapping[str, Any] | None = None
    """The fingerprint that this enricher returned when it last succeeded; None if it never has."""


class Enrichment(msgspec.Struct, frozen=True, kw_only=True):
    """An enricher's answer for one asset."""

    fields: Mapping[str, Any] = {}
    """Values by the names of the asset's fields. ``streams``, ``chapters`` and ``markers`` are lists of objects;
    ``provider_ids`` and ``tags`` are merged key by key. An empty value or None removes a value that this enricher gave
    before, and no other value; with the parameter ``overwrite`` it removes nothing. A missing field isn't changed.
    """
    fingerprint: Mapping[str, Any] | None = None
    """Identifies the data from which the answer was derived, such as a file's size and modification time."""
    data: Mapping[str, Any] | None = None
    """Additional values, as plain JSON. They are stored unchanged."""
    unchanged: bool = False
    """Whether the fingerprint is the same as the last time, so that the enricher did no further work."""


class Failure(msgspec.Struct, frozen=True):
    """The reason why an asset could not be enriched."""

    code: str
    """A stable code: ``no_file``, ``not_media``, ``enricher_timeout``, …"""
    message: str


@runtime_checkable
class EnricherInterface(PluginInterface, Protocol):
    """The methods and attributes that an enrichment uses.

    Several batches may be worked in one enricher at the same time. If a batch raises an exception, misses its deadline
    or has an invalid answer, its assets are given again one by one. For a single asset, raising EnrichmentError has the
    same effect as returning a Failure. All methods may be cancelled at any await; blocking work belongs in a thread or
    a process.
    """

    type_name: ClassVar[str]
    """The name of the type, as in ``enricher add --type``."""
    runs_on_pages: ClassVar[bool]
    """Whether it is fast and does no I/O, so that it can enrich the pages of an ingest before they are staged."""
    batch_size: ClassVar[int]
    """The most assets in a batch, from 1 to LARGEST_BATCH."""
    deadline_s: ClassVar[float]
    """Seconds that a batch may take, at most LONGEST_DEADLINE_S."""

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Return the parameters of the enricher, without the common ones."""
        ...

    @abstractmethod
    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Return one answer for each asset, in their order."""
        ...


class BaseEnricher(BasePlugin, EnricherInterface):
    """A base class for enrichers: a subclass adds the parameters, and an answer for each asset of a batch."""

    runs_on_pages: ClassVar[bool] = False
    batch_size: ClassVar[int] = 50
    deadline_s: ClassVar[float] = 60.0
    source_types: ClassVar[frozenset[str] | None] = None
    """The types of source that it works with; None means all."""
    reads_files: ClassVar[bool] = False
    """Whether its answers depend on the asset's files or their names, so that a moved asset has to be enriched again.
    """

    reads_sidecars: ClassVar[bool] = False
    """Whether its answers depend on NFO files beside the asset's files, so that an asset with a changed NFO file has to
    be enriched again.
    """

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        self.config: Mapping[str, Any] = dict(config)
        self.source = source
        """The source of the collection, with its credentials; None while only the parameters are checked."""

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Return the parameters of the enricher: by default none except the common ones."""
        return ()


def parameters(config: Mapping[str, Any], struct: type[Any]) -> Any:
    """Convert an enricher's parameters to a struct; raises RequestError with code ``bad_config`` if one is invalid."""
    own = {name: value for name, value in config.items() if name != OVERWRITE}
    try:
        return msgspec.convert(own, struct, strict=False)
    except msgspec.ValidationError as exc:
        name, problem = mismatch(exc)
        what = f"parameter {name} can't be {quoted(own[name])}" if name in own else "parameters can't be used"
        raise RequestError(
            f"The enricher's {what}: {problem}.",
            code="bad_config",
            hint="`retrovue enricher list-types` shows the parameters of each type.",
        ) from exc


_COROUTINES = {"__aenter__": 0, "__aexit__": 3, "enrich": 1}
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
"""The type of each attribute of the class, and its description for messages."""


def compliance_problems(enricher: object) -> list[str]:
    """Return what a class lacks to be an enricher; an empty list means that it complies."""
    if not isinstance(enricher, type):
        return [f"{enricher} is not a class"]
    problems = method_problems(enricher, _COROUTINES, {}, "describe_parameters")
    for name, (wanted, description) in _VALUES.items():
        value = getattr(enricher, name, None)
        try:
            msgspec.convert(value, wanted)
        except msgspec.ValidationError:
            shown = quoted(value) if isinstance(value, str) else value
            problems.append(f"{name} is {shown}, but has to be {description}")
    return problems
