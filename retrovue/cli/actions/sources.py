"""Sources: list types; add, show, change and delete sources; discover their collections."""

import datetime as dt
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from retrovue.cli.actions.collections import collection_table
from retrovue.cli.actions.connect import adding_source
from retrovue.cli.actions.sync_times import sync_lines
from retrovue.cli.asking import Destruction, read_secret, secret_variable
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.plugin_options import setting_fields
from retrovue.cli.table import room, table
from retrovue.cli.text import local_time
from retrovue.core.errors import ImporterNotCompliant, WrongIdentity
from retrovue.core.model import ConfigField, Secret, Source
from retrovue.importers.base import IDENTITY_SETTING
from retrovue.importers.registry import importer_settings, importer_types
from retrovue.ingest.documents import source_identity
from retrovue.operations import catalogue, curation, discovery, listening, sync_times
from retrovue.operations.catalogue import Contents
from retrovue.operations.discovery import Discovered, Remade
from retrovue.operations.documents import (
    collection_document,
    discovery_document,
    listening_document,
    source_document,
    source_listing_document,
    sync_times_document,
)
from retrovue.operations.listening import Listening


async def show_types(call: Invocation) -> int:
    """List the installed importers and their settings."""
    types = [_type_fields(name) for name in importer_types()]
    lines: list[str] = []
    for fields in types:
        lines.append(fields["type"] if fields["problem"] is None else f"{fields['type']}: {fields['problem']}")
        lines += [f"  {setting['option']:<20} {setting['description']}" for setting in fields["settings"]]
    return call.answer({"total": len(types), "types": types}, lines)


def _type_fields(name: str) -> dict[str, Any]:
    try:
        settings = importer_settings(name)
    except ImporterNotCompliant as exc:
        return {"type": name, "problem": exc.message, "settings": []}
    return {"type": name, "problem": None, "settings": [_setting_fields(setting) for setting in settings]}


def _setting_fields(setting: ConfigField) -> dict[str, Any]:
    return {
        "name": setting.name,
        "option": f"{setting.option}-file" if setting.secret else setting.option,
        "description": setting.description,
        "required": setting.required,
        "secret": setting.secret,
    }


async def add_source(
    call: Invocation,
    type_name: str,
    name: str,
    settings: Mapping[str, str | None],
    *,
    discover: bool,
    again: bool,
    keep_reference: bool,
) -> int:
    """Add a source, and discover its collections if requested."""
    discovery.check_name(name)
    fields = importer_settings(type_name)
    config = {
        field.name: value for field in fields if not field.secret and (value := settings.get(field.name)) is not None
    }
    credentials: dict[str, Secret] = {}
    for field in fields:
        if field.secret:
            given = (settings.get(field.name), settings.get(f"{field.name}_file"))
            secret = read_secret(call, field, *given, keep_reference=keep_reference)
            if secret is not None:
                credentials[field.name] = secret
    found: Discovered | None = None
    async with opened(call) as store:
        with adding_source():
            source = await discovery.add_source(
                store, type_name, name, config, credentials, again=again, dry_run=call.dry_run
            )
        if discover and not call.dry_run:
            found = await discovery.discover(store, str(source.id))
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "source": source_document(source),
                "discovered": None if found is None else discovery_document(found),
            }
        )
        return 0
    head = "Dry run: nothing was written. Would add source" if call.dry_run else "Added source"
    call.output.lines([f"{head} {source.name} ({source.external_id}, type {source.type})"])
    if found is not None:
        call.output.lines(_discovery_lines(found))
    elif not call.dry_run:
        call.output.lines([f"Find its collections with `retrovue source discover {source.external_id}`."])
    return 0


async def show_sources(call: Invocation) -> int:
    """List the sources."""
    async with opened(call, reading=True) as store:
        listings = await catalogue.list_sources(store)
    rows = [
        (
            listing.source.name,
            listing.source.external_id,
            listing.source.type,
            listing.collections_count,
            listing.enabled_count,
            listing.assets_count,
        )
        for listing in listings
    ]
    heads = ("Source", "Id", "Type", "Collections", "Enabled", "Assets")
    documents = [source_listing_document(listing) for listing in listings]
    lines = table(heads, rows, numbers=(3, 4, 5), columns=room())
    return call.answer(
        {"total": len(documents), "sources": documents},
        lines if listings else ["No sources. Add one with `retrovue source add`."],
    )


async def show_source(call: Invocation, reference: str) -> int:
    """Show one source and its collections."""
    async with opened(call, reading=True) as store:
        source = await catalogue.find_source(store, reference)
        collections = await catalogue.list_collections(store, str(source.id))
        listened = await listening.get_listening(store, str(source.id))
        times = await sync_times.get_sync_times(store, str(source.id))
    shown = source_document(source)
    lines = [f"Name: {source.name}", f"Id:   {source.external_id}, {source.id}", f"Type: {source.type}"]
    lines += [f"{key}: {value}" for key, value in shown["config"].items()]
    lines += [f"{name}: (secret{_where(**about)})" for name, about in shown["secrets"].items()]
    lines += [
        _listening_line(listened),
        *sync_lines(times),
        "",
        *collection_table(collections, {source.id: source.external_id}),
    ]
    documents = [collection_document(collection) for collection in collections]
    document = {"source": shown, "collections": documents, "listening": listening_document(listened)}
    document["sync"] = sync_times_document(times)
    return call.answer(document, lines)


def _listening_line(listened: Listening) -> str:
    listener = listened.listener
    if not listened.offered:
        return "Live events: this type of source has none; add a schedule"
    if listener is None or not listener.active:
        last = "" if listener is None else f" now; {listener.host} was the last one"
        return f"Live events: no host listens{last}; start `retrovue serve`"
    if listener.problem is not None:
        return f"Live events: {listener.host} isn't connected: {listener.problem}"
    if listener.since is None:
        return f"Live events: {listener.host} connects"
    told = "nothing heard yet"
    if listener.heard_at is not None:
        where = "the source" if listener.heard_library is None else f"collection {listener.heard_library}"
        items = (
            "all"
            if listener.heard_items is None
            else "1 item"
            if listener.heard_items == 1
            else f"{listener.heard_items:,} items"
        )
        told = f"last heard {local_time(listener.heard_at)}: {items} of {where}"
    return f"Live events: {listener.host} has listened since {local_time(listener.since)}; {told}"


def _where(kept: str, place: str | None) -> str:
    if place is not None:
        return f", read from {kept} {place} in each run"
    return ", encrypted" if kept == "encrypted" else ""


async def discover_collections(call: Invocation, reference: str) -> int:
    """Discover the collections of a source."""
    async with opened(call) as store:
        found = await discovery.discover(store, reference, dry_run=call.dry_run)
    head = ["Dry run: nothing was written. The result would be:"] if call.dry_run else []
    document = {"dry_run": call.dry_run, "source": source_identity(found.source), **discovery_document(found)}
    return call.answer(document, [*head, *_discovery_lines(found)])


def _discovery_lines(found: Discovered) -> list[str]:
    source = found.source
    if found.unsupported is not None:
        return [f"Collections of source '{source.name}' can't be discovered: {found.unsupported}"]
    if not found.collections and not found.added:
        return [f"No collections found for source '{source.name}'"]
    return [
        f"Source: {source.name} ({source.external_id}, type {source.type})",
        *(change_lines(found) or ["Nothing has changed."]),
        "",
        *collection_table(found.collections, {source.id: source.external_id}),
    ]


def change_lines(found: Discovered) -> list[str]:
    """Return lines that say which collections are new, changed, renamed or gone."""
    renamed = tuple(f"{before} is now {now}" for before, now in found.renamed)
    now = {name for _, name in found.renamed}
    changed = tuple(name for name in found.updated if name not in now)
    return [
        f"{word}: {', '.join(names)}"
        for word, names in (("Added", found.added), ("Renamed", renamed), ("Updated", changed), ("Gone", found.gone))
        if names
    ] + [
        *(line for remade in found.remade for line in _remade_lines(found.source, remade)),
        *_unidentified_lines(found.unidentified),
        *_hidden_lines(found.locations_hidden),
    ]


def _unidentified_lines(names: Sequence[str]) -> Iterator[str]:
    if names:
        shown = ", ".join(name if name.strip() else "one without a name" for name in names)
        yield f"Left out: {shown}"
        yield "  The source gives it no key, or that of another library: check it there, then discover again."


def _hidden_lines(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"Directories hidden: {', '.join(names)}"
        yield "  The source shows them to its owner or an administrator only: `retrovue source update` sets a token."


def _remade_lines(source: Source, remade: Remade) -> Iterator[str]:
    before = remade.before
    if remade.external_id == before.external_id:
        yield f"Created again: {before.name} ({before.external_id}) is another library than the one of its assets"
        yield "  A sync keeps the assets that are the same, and holds back the removal of others until you confirm it."
        return
    old, new = f"{before.name} ({before.external_id})", f"{remade.name} ({remade.external_id})"
    yield f"Created again: {new} has the directories of {old}"
    words = [before.external_id, remade.external_id, "--source", source.external_id]
    yield f"  To give it the assets: retrovue collection adopt {shlex.join(words)} --dry-run"


async def change_source(
    call: Invocation,
    reference: str,
    name: str | None,
    settings: Mapping[str, str | None],
    *,
    unset: Sequence[str] = (),
    grace: dt.timedelta | None,
    sweep_every: dt.timedelta | None,
    full_every: dt.timedelta | None,
    accept_new_identity: bool,
    keep_reference: bool,
) -> int:
    """Change a source's name, settings, credentials, grace or sync intervals."""
    spans = {"grace": grace, "sweep_every": sweep_every, "full_every": full_every}
    given = any(span is not None for span in spans.values()) or any(value is not None for value in settings.values())
    if name is None and not accept_new_identity and not unset and not given and not keep_reference:
        raise InputError("Nothing to update.", hint="`retrovue source update --help` shows what can be.")
    config, credentials = _changed_settings(call, settings, keep_reference=keep_reference)
    async with opened(call) as store:
        before = await catalogue.find_source(store, reference)
        try:
            after = await curation.update_source(
                store,
                str(before.id),
                name=name,
                config=config,
                credentials=credentials,
                unset=[_setting_name(setting) for setting in unset],
                accept_new_identity=accept_new_identity,
                **spans,
                dry_run=call.dry_run,
            )
        except WrongIdentity as exc:
            hint = f"{exc.hint or ''} If it is the same server, set up again, give --accept-new-identity.".strip()
            raise WrongIdentity(exc.message, hint=hint, context=exc.context) from exc
    changed = _changes(before, after)
    warnings = [_new_identity_warning(after)] if IDENTITY_SETTING in changed else []
    for warning in warnings:
        call.output.warn(warning)
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "source": source_document(after),
                "changed": changed,
                "warnings": warnings,
            }
        )
        return 0
    head = "Changed" if not call.dry_run else "Dry run: nothing was written. Would change"
    call.output.lines(
        [
            f"Source: {after.name} ({after.external_id}, type {after.type})",
            f"{head}: {', '.join(changed)}" if changed else "Nothing has changed.",
        ]
    )
    return 0


def _changed_settings(
    call: Invocation, settings: Mapping[str, str | None], *, keep_reference: bool
) -> tuple[dict[str, str], dict[str, Secret]]:
    """Split the given options into settings and secrets. Secrets in the environment apply to new sources only."""
    config: dict[str, str] = {}
    credentials: dict[str, Secret] = {}
    for field in setting_fields(None).values():
        value, file = settings.get(field.name), settings.get(f"{field.name}_file")
        if not field.secret:
            config |= {} if value is None else {field.name: value}
        elif value is not None or file is not None or (keep_reference and secret_variable(field) in os.environ):
            secret = read_secret(call, field, value, file, keep_reference=keep_reference)
            credentials |= {} if secret is None else {field.name: secret}
    if keep_reference and not credentials:
        raise InputError(
            "--keep-reference needs a secret: the option for its file, or its variable in the environment."
        )
    return config, credentials


def _setting_name(given: str) -> str:
    """Return the name of a setting that was given by its name or its option."""
    name = given.removeprefix("--").replace("-", "_")
    option = f"--{name.replace('_', '-')}"
    return next((field.name for field in setting_fields(None).values() if field.option == option), name)


def _changes(before: Source, after: Source) -> list[str]:
    changed = [] if before.name == after.name else ["name"]
    spans = ("grace", "sweep_every", "full_every")
    changed += [span for span in spans if getattr(before, f"{span}_s") != getattr(after, f"{span}_s")]
    for old, new in ((before.config, after.config), (before.credentials, after.credentials)):
        changed += sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return changed


def _new_identity_warning(after: Source) -> str:
    return (
        "The source has another server now, which may have other libraries under the same keys:"
        f" run `retrovue source discover {after.external_id}` and check its collections before the next ingest."
    )


async def delete_source(call: Invocation, reference: str, *, yes: bool) -> int:
    """Delete a source with all that belongs to it, after confirmation."""

    def confirm(source: Source, contents: Contents) -> None:
        _destruction(source, contents).confirm(call, yes=yes)

    async with opened(call) as store:
        source, contents = await curation.delete_source(store, reference, confirm=confirm, dry_run=call.dry_run)
    return _destruction(source, contents).report(call, {"source": source_identity(source)})


def _destruction(source: Source, contents: Contents) -> Destruction:
    lines = [
        f"Source {source.name} ({source.external_id}, type {source.type}) with its settings, and",
        f"  collections:  {contents.collections}, with their path mappings and audit trail",
        f"  assets:       {contents.assets}, of which {contents.approved_assets} approved for broadcast",
    ]
    return Destruction(lines, asdict(contents))
