"""The records of the catalogue: sources, collections, enrichers and path mappings; and the states of an asset."""

import datetime as dt
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import UUID

from retrovue.core.text import KnownSecret, quoted

AssetType = Literal["movie", "episode", "clip", "track"]
ASSET_TYPES: tuple[str, ...] = get_args(AssetType)

AssetState = Literal["new", "enriching", "ready", "retired"]
ASSET_STATES: tuple[str, ...] = get_args(AssetState)

Availability = Literal["present", "missing", "gone"]
"""Whether the source lists an asset: yes, not at the latest reading, or not for longer than the source's grace."""

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
