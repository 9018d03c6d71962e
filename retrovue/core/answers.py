"""What an importer reports about a source and its libraries: identity, state and changes."""

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import force_setattr

from retrovue.core.text import safe_text


class DiscoveredCollection(Struct, frozen=True):
    """A library as the source lists it."""

    external_id: str
    """Empty if the source lists the library but can't identify it now. A known collection with its name isn't gone."""
    name: str
    """Blank if the source gives no name now. A known collection keeps its name."""
    kind: str
    locations: tuple[str, ...] = ()
    locations_known: bool = True
    """False if the source hides the locations from this token. The catalogue keeps the locations that it has."""
    uuid: str | None = None
    """The library's permanent id, at most 200 characters, if the source has one besides the key. Another id under the
    same key means that the library was created again or is another one.
    """

    def name_or(self, known: str | None) -> str:
        """Return the name.

        If the source gives none, return that of the ``known`` collection, else one made from the key.
        """
        return self.name if self.name.strip() else known or f"Library {self.external_id}"


class Ingestibility(Struct, frozen=True):
    """Whether a collection can be ingested now, or why not."""

    ingestible: bool
    code: str | None = None
    """The code of the reason: ``unmapped_location``, ``unreadable_directory``, ``gone_from_source``, …"""
    reason: str | None = None
    """A sentence that says what to do. Passwords in addresses are removed."""

    def __post_init__(self) -> None:
        if self.reason is not None:
            force_setattr(self, "reason", safe_text(self.reason))


class SourceIdentity(Struct, frozen=True):
    """The identity of the server that answers at the source's address."""

    identifier: str
    """The permanent id of the server: for Plex the ``machineIdentifier``."""
    name: str | None = None
    version: str | None = None


class ChangeState(Struct, frozen=True):
    """Whether a source is changing one of its libraries now."""

    refreshing: bool
    """Whether a scan is running. During a scan, a missing item isn't proof that it was removed."""
    uuid: str | None = None
    """The library's permanent id. Another id under the same key means that the library was created again."""
    stamp: str | None = None
    """The source's stamp of the library, at most 200 characters. It changes when anything in the library changes; a
    stamp that is a whole number counts up. None if the source has none.
    """


class SourceState(Struct, frozen=True):
    """The state of all libraries of a source, from one answer."""

    libraries: Mapping[str, ChangeState]
    """The state of each library, by the external id of its collection."""
    clock_s: int | None = None
    """The source's own time when it answered, in seconds since 1970; None if it doesn't tell."""
    version: str | None = None
    """The version of the server. Another version may support other filters."""


class Since(Struct, frozen=True):
    """The time from which an importer lists changes."""

    clock_s: int
    """Seconds since 1970, by the source's clock."""
    filters: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """For each of the source's filters by name, whether it is known to work."""


class ChangesRead(Struct, frozen=True):
    """What an importer reports at the end of a listing of changes."""

    source_total: int | None
    """The number of items that the collection has now, counted as the full listing counts them. A listing of single
    items has None if the source can't count without reading all items; then completeness isn't proven.

    Of single items None, if the source can't count all of them without reading all: nothing else is proven then.
    """
    filters: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """What was found out about the filters, as in `Since.filters`."""
