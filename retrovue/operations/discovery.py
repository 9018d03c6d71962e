"""Add sources and discover their collections; check the names and settings of sources and enrichers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from retrovue.core.answers import DiscoveredCollection
from retrovue.core.errors import DiscoveryUnsupported, RequestError, SourceRefused, changed_meanwhile
from retrovue.core.model import Collection, Secret, Source
from retrovue.core.text import quoted
from retrovue.importers.base import IDENTITY_SETTING
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import importer_settings, open_importer
from retrovue.store.collections import list_collections, record_discovery
from retrovue.store.references import as_uuid, require_free_name
from retrovue.store.session import Store
from retrovue.store.sources import find_source, insert_source, list_sources, lock_sources, new_source

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

Value = TypeVar("Value")

_EXTERNAL_ID = re.compile(r"^[a-z][a-z0-9_]*-[0-9a-f]{8}$")
_JOINERS = {0x200C: None, 0x200D: None}
"""Invisible characters that Persian and emoji need."""


class Remade(Struct, frozen=True):
    """A library that was probably created again at its source."""

    before: Collection
    """The collection that has the assets."""
    name: str
    external_id: str
    """The key of the library now: that of ``before`` if another library has it now, else that of the library to adopt.
    """


class Discovered(Struct, frozen=True):
    """The result of a discovery. ``added``, ``updated`` and ``gone`` are names of collections."""

    source: Source
    collections: tuple[Collection, ...]
    """All collections of the source as they are stored now; a dry-run stores nothing."""
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    """The updated collections whose name changed: the old name and the new one."""
    unsupported: str | None = None
    """Why the importer can't discover collections; None if it can."""
    remade: tuple[Remade, ...] = ()
    """The libraries that were probably created again: they have the same directories, or the same key."""
    unidentified: tuple[str, ...] = ()
    """The names, possibly blank, of libraries that the source lists without a key, or with the key of another library.
    They are left out, and known collections with these names aren't gone.
    """
    locations_hidden: tuple[str, ...] = ()
    """The names of libraries whose directories the source hides from this token. Those that are known are kept."""


def check_name(name: str, what: str = "A source") -> None:
    """Raise RequestError for a name that is blank, looks like an id, or contains invisible characters.

    ``what`` begins the message.
    """
    if not name.strip():
        raise RequestError(f"{what} needs a name.", code="bad_name", hint="Give it one with --name.")
    if not name.translate(_JOINERS).isprintable():
        raise RequestError(
            f"{what}'s name can't hold control characters, nor others that don't show: {quoted(name)}.",
            code="bad_name",
            hint="Type the name instead of pasting it.",
        )
    if name != name.strip():
        raise RequestError(
            f"{what}'s name can't begin or end with a blank: {quoted(name)}.",
            code="bad_name",
            hint=f"Write it as {quoted(name.strip())}.",
        )
    if _EXTERNAL_ID.match(name) or as_uuid(name):
        raise RequestError(
            f"{quoted(name)} is shaped like an id; as a name it would be mistaken for one.",
            code="bad_name",
            hint="Choose another name.",
        )


def check_settings(type_name: str, config: Mapping[str, Any], credentials: Mapping[str, Secret]) -> None:
    """Raise RequestError for settings that the type doesn't have, and for required ones that are missing."""
    fields = {field.name: field for field in importer_settings(type_name)}
    given = {*config, *credentials}
    if unknown := sorted(given - set(fields)):
        raise RequestError(
            f"Sources of type {quoted(type_name)} have no setting {', '.join(unknown)}.",
            code="unknown_setting",
            hint=f"They have: {', '.join(sorted(fields))}.",
        )
    if missing := sorted(name for name, field in fields.items() if field.required and name not in given):
        raise RequestError(
            f"A source of type {quoted(type_name)} needs {', '.join(missing)}.",
            code="missing_setting",
            hint="; ".join(f"{name}: {fields[name].description}" for name in missing),
        )


def check_unset(what: str, kind: str, known: AbstractSet[str], unset: Iterable[str]) -> None:
    """Raise RequestError if a setting or parameter (``kind``) that is to be removed isn't set for ``what``."""
    if unknown := sorted(set(unset) - set(known)):
        raise RequestError(
            f"{what} has no {kind} {', '.join(unknown)} that could be removed.",
            code="unknown_setting",
            hint=f"It has: {', '.join(sorted(known)) or 'none'}.",
        )


def without(names: Iterable[str], settings: Mapping[str, Value]) -> dict[str, Value]:
    """Return settings without those with the given names."""
    return {name: value for name, value in settings.items() if name not in names}


async def add_source(
    store: Store,
    type_name: str,
    name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    *,
    again: bool = False,
    dry_run: bool = False,
    transport: "Transport | None" = None,
) -> Source:
    """Add a source, if it can be reached.

    The identity of its server is stored with it, so that another server at the same address will be refused. A server
    that is a source already is refused unless ``again`` is set. Raises RequestError for that, for an invalid name or
    settings, and for the name of another source, and SourceError if the server can't be reached or refuses the
    credentials.
    """
    check_name(name)
    check_settings(type_name, config, credentials)
    async with GuardedImporter(open_importer(type_name, config, credentials, transport=transport)) as importer:
        identity = await importer.check_reachable()
    source = new_source(type_name, name, {**config, IDENTITY_SETTING: identity.identifier}, credentials)
    async with store.reading() if dry_run else store.transaction() as session:
        if not dry_run:
            await lock_sources(session)
        _require_new(source, [listing.source for listing in await list_sources(session)], again=again)
        await require_free_name(session, "source", source.name)
        if not dry_run:
            await insert_source(session, source)
    return source


def _require_new(source: Source, known: Sequence[Source], *, again: bool) -> None:
    same = [other for other in known if same_server(other, source)]
    if same and not again:
        raise RequestError(
            f"This server has been added: it is source {quoted(same[0].name)} ({same[0].external_id}).",
            code="already_added",
            hint=f"`retrovue source update {same[0].external_id}` changes it; --again adds the server once more.",
            context={"source": same[0].external_id},
        )


def same_server(source: Source, other: Source) -> bool:
    """Return whether two sources are the same server, or the same directory."""
    identifier = source.config.get(IDENTITY_SETTING)
    return source.type == other.type and identifier is not None and identifier == other.config.get(IDENTITY_SETTING)


async def discover(
    store: Store, reference: str, *, dry_run: bool = False, transport: "Transport | None" = None
) -> Discovered:
    """Store the collections that a source has now, in one transaction.

    New collections are disabled. Known ones stay enabled or disabled, and keep their path mappings. Those that the
    source doesn't list any more stay in the catalogue, but aren't ingestible. Raises SourceError, and changes nothing,
    if the source can't be read or lists no collection although it had some.
    """
    async with store.reading() as session:
        source = await find_source(session, reference)
        known = await list_collections(session, source)
    opened = open_importer(source.type, source.config, source.credentials, transport=transport)
    async with GuardedImporter(opened) as importer:
        await importer.check_reachable()
        try:
            listed = await importer.discover_collections()
        except DiscoveryUnsupported as exc:
            return Discovered(source, tuple(known), unsupported=exc.message)
    _refuse_implausible(source, listed, known)
    async with store.transaction() as session:
        if await find_source(session, str(source.id)) != source:
            raise changed_meanwhile(f"Source {quoted(source.name)}")
        changes = await record_discovery(session, source, listed, dry_run=dry_run)
        collections = await list_collections(session, source)
    return Discovered(
        source,
        tuple(collections),
        changes.added,
        changes.updated,
        changes.gone,
        changes.renamed,
        remade=tuple(_remade(known, listed)),
        unidentified=tuple(found.name for found in listed if not found.external_id),
        locations_hidden=tuple(found.name for found in listed if not found.locations_known),
    )


def _remade(known: Sequence[Collection], listed: Sequence[DiscoveredCollection]) -> Iterator[Remade]:
    """Find the collections with assets whose library was probably created again."""
    by_key = {collection.external_id: collection for collection in known}
    keys = {found.external_id for found in listed}
    # A library that has assets in the catalogue hasn't replaced another one.
    free = [found for found in listed if found.external_id not in by_key or not by_key[found.external_id].assets_count]
    for found in listed:
        before = by_key.get(found.external_id)
        if before is not None and before.assets_count and found.uuid not in (None, before.library_uuid or found.uuid):
            yield Remade(before, found.name_or(before.name), found.external_id)
    for before in known:
        if before.assets_count and before.locations and before.external_id not in keys:
            places = [
                found
                for found in free
                if found.kind == before.kind and sorted(found.locations) == sorted(before.locations)
            ]
            if len(places) == 1:
                yield Remade(before, places[0].name_or(None), places[0].external_id)


def _refuse_implausible(source: Source, listed: Sequence[DiscoveredCollection], known: Sequence[Collection]) -> None:
    if not listed and known:
        raise SourceRefused(
            f"Source {quoted(source.name)} lists no collection at all, but had {len(known)}.",
            code="suspicious_empty",
            hint="Is the token restricted, or the server still starting? Nothing was changed.",
        )
