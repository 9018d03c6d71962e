"""The records of the catalogue: sources, collections, enrichers, path mappings, and the states of an asset."""

import datetime as dt
import shlex
from collections.abc import Mapping
from typing import Any, Literal, get_args
from uuid import UUID

from msgspec import Struct, field

from retrovue.core.text import KnownSecret, quoted

AssetType = Literal["movie", "episode", "clip", "track"]
ASSET_TYPES: tuple[str, ...] = get_args(AssetType)

AssetState = Literal["new", "enriching", "ready", "retired"]
ASSET_STATES: tuple[str, ...] = get_args(AssetState)

Availability = Literal["present", "missing", "gone"]
"""Whether the source lists an asset: it does, it didn't at the latest reading, or it hasn't for longer than its grace.
"""

DEFAULT_PRIORITY = 100
"""The priority of an enricher that is attached without a priority."""


class Secret:
    """A string that ``repr``, ``str``, logs, JSON and tracebacks don't show.

    While the object exists, errors, reasons and warnings show ``…`` in place of the string, whoever wrote them. A
    string of fewer than 6 characters is replaced in addresses only.
    """

    __slots__ = ("_known", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._known = KnownSecret(value)

    def reveal(self) -> str:
        """Return the string."""
        return self._value

    def resolved(self) -> "Secret":
        """Return a secret whose string is in memory. It is this object unless it has to be read or decrypted first."""
        return self

    @property
    def kept(self) -> tuple[str, str | None]:
        """How the catalogue keeps the secret: ``plain``, ``encrypted``, or the kind and name of its reference."""
        return "plain", None

    def forms(self) -> tuple[str, ...]:
        """Return the forms in which the string may occur in other text, such as percent-encoded."""
        return self._known.forms

    def __repr__(self) -> str:
        return "Secret('…')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class Source(Struct, frozen=True):
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
    """Seconds until an asset that isn't listed any more changes from missing to gone."""
    sweep_every_s: int = 86_400
    """Seconds after which a sync reads all of a collection even if its source reports few changes."""
    full_every_s: int = 604_800
    """Seconds after which a sync compares each item of a collection, also on pages that it knows."""


class ConfigField(Struct, frozen=True):
    """One setting of an importer."""

    name: str
    """The key in the source's configuration. A name that ends with ``_s`` is a number of seconds."""
    description: str
    required: bool = True
    secret: bool = False
    """Whether the value is stored apart from the configuration and never shown."""
    kind: Literal["text", "flag", "file"] = "text"
    """How the command-line option takes it: a text or number, a pair of options for true and false, or a path that is
    made absolute.
    """

    @property
    def option(self) -> str:
        """The command-line option: ``--base-url`` for ``base_url``, ``--read-timeout`` for ``read_timeout_s``."""
        return f"--{self.name.removesuffix('_s').replace('_', '-')}"


class Enricher(Struct, frozen=True):
    """A configured instance of an enricher type. A type may have several instances with different parameters."""

    id: UUID
    external_id: str
    """``<type>-<8 hex digits>``, unique. The provenance of a value refers to it."""
    name: str
    """May be shared by several enrichers."""
    type: str
    config: Mapping[str, Any]
    """The parameters: plain JSON values, without secrets."""


class AttachedEnricher(Struct, frozen=True):
    """An enricher that a collection uses, with its priority."""

    enricher: Enricher
    priority: int
    """Enrichers run in ascending order of priority. A later one doesn't replace the values of an earlier one."""


class PathMapping(Struct, frozen=True):
    """A path prefix of the source, and the local directory that holds the same files."""

    source_prefix: str
    local_path: str


class Collection(Struct, frozen=True):
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
    """The latest result of the importer's check; None before the first check."""
    not_ingestible_reason: str | None = None
    locations: tuple[str, ...] = ()
    """The root directories of the library, as the source spells them."""
    path_mappings: tuple[PathMapping, ...] = ()
    assets_count: int = 0
    last_ingest_at: dt.datetime | None = None
    keep_approval: bool = False
    """Whether an approved asset stays approved when a sync finds that its file was replaced."""
    check_files: bool = True
    """Whether an ingest looks for a sample of the listed files on this machine. False if the files are on another
    machine.
    """
    library_uuid: str | None = None
    """The permanent id of the library that the assets came from; None if it isn't known, or the source has none."""
    source_name: str | None = None
    """The name of the source when the collection was read, for messages."""

    @property
    def display_name(self) -> str:
        """The names of the collection and its source for messages: ``'Movies' of source 'Home'``."""
        name = quoted(self.name)
        return name if self.source_name is None else f"{name} of source {quoted(self.source_name)}"

    @property
    def arguments(self) -> str:
        """The arguments that name the collection in a command: ``Movies --source Home``, quoted for a shell."""
        if any(name.startswith("-") for name in (self.name, self.source_name or "")):
            return str(self.id)  # Without this, a name that begins with a dash would be read as an option.
        name = shlex.quote(self.name)
        return name if self.source_name is None else f"{name} --source {shlex.quote(self.source_name)}"
