"""Sources and what they offer: add a source, and find out which collections it has."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrovue.core.errors import DiscoveryUnsupported, MalformedAnswer, RequestError, SourceRefused
from retrovue.core.model import Collection, DiscoveredCollection, Secret, Source
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import importer_settings, open_importer
from retrovue.store.collections import Discovery, list_collections, record_discovery
from retrovue.store.session import Store
from retrovue.store.sources import find_source, insert_source, new_source

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

_EXTERNAL_ID = re.compile(r"^[a-z][a-z0-9_]*-[0-9a-f]{8}$")
IDENTIFIER = "machine_identifier"
"""The configuration's key for who answered when the source was added; another server there is refused."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a discovery found and changed."""

    source: Source
    collections: tuple[Collection, ...]
    """All collections of the source as they are now stored; for a dry-run as they were before."""
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unsupported: str | None = None
    """Why the importer can't discover, where it can't."""


def check_name(name: str, what: str = "A source") -> None:
    """Refuse a name of ``what`` that couldn't be told from an id, or that can't be typed."""
    if not name.strip():
        raise RequestError(f"{what} needs a name.", code="bad_name", hint="Give it one with --name.")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise RequestError(f"{what}'s name can't hold control characters.", code="bad_name")
    try:
        uuid.UUID(name)
    except ValueError:
        looks_like_id = _EXTERNAL_ID.match(name) is not None
    else:
        looks_like_id = True
    if looks_like_id:
        raise RequestError(
            f"{name!r} is shaped like an id; as a name it would be mistaken for one.",
            code="bad_name",
            hint="Choose another name.",
        )


def check_settings(type_name: str, config: Mapping[str, Any], credentials: Mapping[str, Secret]) -> None:
    """Refuse settings that the importer doesn't have, and the lack of those it requires."""
    fields = {field.name: field for field in importer_settings(type_name)}
    given = {*config, *credentials}
    unknown = sorted(given - set(fields))
    if unknown:
        raise RequestError(
            f"Sources of type {type_name!r} have no setting {', '.join(unknown)}.",
            code="unknown_setting",
            hint=f"They have: {', '.join(sorted(fields))}.",
        )
    missing = sorted(name for name, field in fields.items() if field.required and name not in given)
    if missing:
        raise RequestError(
            f"A source of type {type_name!r} needs {', '.join(missing)}.",
            code="missing_setting",
            hint="; ".join(f"{name}: {fields[name].description}" for name in missing),
        )


async def add_source(
    store: Store,
    type_name: str,
    name: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, Secret],
    *,
    dry_run: bool = False,
    transport: "Transport | None" = None,
) -> Source:
    """Add a source after reaching it; its server's identifier is kept, so that no other one is ever taken for it.

    Raises RequestError for a bad name or settings and SourceError if the server can't be reached or refuses.
    """
    check_name(name)
    check_settings(type_name, config, credentials)
    async with GuardedImporter(open_importer(type_name, config, credentials, transport=transport)) as importer:
        identity = await importer.check_reachable()
    source = new_source(type_name, name, {**config, IDENTIFIER: identity.identifier}, credentials)
    if not dry_run:
        async with store.transaction() as session:
            await insert_source(session, source)
    return source


async def discover(
    store: Store, reference: str, *, dry_run: bool = False, transport: "Transport | None" = None
) -> Discovered:
    """Find out which collections a source has, and store them in one transaction.

    New ones are disabled, known ones keep what the operator decided, lost ones are marked and kept. Raises
    SourceError, and changes nothing, if the source can't be read.
    """
    async with store.transaction() as session:
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
        changes = await record_discovery(session, source, listed, dry_run=dry_run)
        collections = await list_collections(session, source)
    return _discovered(source, collections, changes)


def _discovered(source: Source, collections: list[Collection], changes: Discovery) -> Discovered:
    return Discovered(source, tuple(collections), changes.added, changes.updated, changes.gone)


def _refuse_implausible(source: Source, listed: Sequence[DiscoveredCollection], known: Sequence[Collection]) -> None:
    keys = [found.external_id for found in listed]
    if len(keys) != len(set(keys)):
        raise MalformedAnswer(f"Source {source.name!r} lists a collection twice.")
    if not listed and known:
        raise SourceRefused(
            f"Source {source.name!r} lists no collection at all, but had {len(known)}.",
            code="suspicious_empty",
            hint="Is the token restricted, or the server still starting? Nothing was changed.",
        )
