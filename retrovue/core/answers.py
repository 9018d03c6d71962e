"""What an importer says of a source and its libraries: their identity, their state, and what has changed in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrovue.core.text import safe_text


@dataclass(frozen=True, slots=True)
class DiscoveredCollection:
    """A library as the source lists it."""

    external_id: str
    """Empty: the source lists the library, but doesn't identify it now. A known collection of its name isn't gone."""
    name: str
    """Blank: the source gives no name now. A known collection keeps the one that it has."""
    kind: str
    locations: tuple[str, ...] = ()
    locations_known: bool = True
    """False: the source hides the locations from this token. The catalogue keeps those that it has."""
    uuid: str | None = None
    """The library's own permanent id, of at most 200 characters, if it has one besides its key: with another one it is
    another library, or was made anew under the same key."""

    def name_or(self, known: str | None) -> str:
        """Return the name; if the source gives none that of the ``known`` collection, else one made of its key."""
        return self.name if self.name.strip() else known or f"Library {self.external_id}"


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

    source_total: int | None
    """The items of the whole collection now, counted by the source as its full listing counts them.

    Of single items None, if the source can't count all of them without reading all: nothing else is proven then.
    """
    filters: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """What was found out about filters: see `Since.filters`."""
