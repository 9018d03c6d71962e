"""The listening state of sources. A process that serves listens to them."""

from uuid import UUID

from msgspec import Struct

from retrovue.core.errors import RetrovueError
from retrovue.core.model import Collection, Source
from retrovue.importers.base import TellsEvents
from retrovue.importers.registry import importer_class
from retrovue.store import listeners
from retrovue.store.collections import enabled_collections
from retrovue.store.listeners import Listener
from retrovue.store.session import Store
from retrovue.store.sources import find_source, get_source

__all__ = ["Listener", "Listening", "get_listening", "list_enabled", "tells_events"]


class Listening(Struct, frozen=True):
    """Whether and how a source is listened to."""

    offered: bool
    """Whether the source's type reports changes."""
    listener: Listener | None
    """The listener of the source, now or last; None if there has never been one."""


async def get_listening(store: Store, source: str) -> Listening:
    """Return whether and how a source is listened to. ``source`` is a reference; raises NotFound or Ambiguous."""
    async with store.reading() as session:
        found = await find_source(session, source)
        return Listening(tells_events(found), await listeners.listener_of(session, found))


async def list_enabled(store: Store) -> list[tuple[Source, tuple[Collection, ...]]]:
    """List the sources that have enabled collections, with these, in a time that doesn't depend on their assets."""
    async with store.reading() as session:
        found: dict[UUID, list[Collection]] = {}
        for collection in await enabled_collections(session):
            found.setdefault(collection.source_id, []).append(collection)
        return [(await get_source(session, source), tuple(enabled)) for source, enabled in found.items()]


def paths_are_local(source: Source) -> bool:
    """Return whether a source's paths are on this machine: no server is asked, and a sync causes no events."""
    try:
        return bool(getattr(importer_class(source.type), "paths_are_local", False))
    except RetrovueError:
        return False


def tells_events(source: Source) -> bool:
    """Return whether the importer of a source can listen to it."""
    try:
        return issubclass(importer_class(source.type), TellsEvents)
    except RetrovueError:
        return False
