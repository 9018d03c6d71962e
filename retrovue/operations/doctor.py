"""Check everything that an ingest relies on, and say how to repair what is wrong."""

import datetime as dt
import os
import shlex
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
from msgspec import Struct

from retrovue.core.errors import RequestError, RetrovueError
from retrovue.core.model import Collection, Source
from retrovue.core.text import quoted
from retrovue.importers.filesystem.watches import watch_need
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.operations.discovery import same_server
from retrovue.store.assets import sample_files
from retrovue.store.collections import list_collections
from retrovue.store.kept import KEPT_FOR, Leftover, list_kept
from retrovue.store.migrations import schema_status
from retrovue.store.secrets import has_key, key_file
from retrovue.store.server import Server, describe_server
from retrovue.store.session import Store
from retrovue.store.sources import list_sources

SAMPLE = 20
"""How many files of each collection are looked for on this machine."""
PATIENCE = 10.0
"""Seconds to wait for a file system; a dead network mount may never answer."""
CONNECTIONS_NEEDED = 7
"""The connections that an ingest uses by default: four for collections, two for the audit trail, one for locks."""
DISK_NEEDED = 1 << 30
"""Bytes that should be free on the database's disk."""

MOST_WATCHED = 0.9
"""The share of the system's watches that may be needed. Other programs of the account need some, too."""

Severity = Literal["ok", "warning", "problem"]


class Finding(Struct, frozen=True):
    """The result of one check."""

    check: str
    """``database``, ``secrets``, ``schema``, ``source``, ``collection``, ``files`` or ``events``."""
    subject: str
    """The name of the object that was checked."""
    verdict: Severity
    message: str
    hint: str | None = None
    """How to repair it."""
    unreachable: bool = False
    """Whether the problem is that the source can't be reached."""


async def examine(store: Store) -> AsyncIterator[Finding]:
    """Check the database, its schema, and each source with its collections. Yields each finding immediately."""
    async for finding in examine_database(store):
        yield finding
    for finding in await anyio.to_thread.run_sync(_examine_key_file):
        yield finding
    status = await schema_status(store)
    if not status.up_to_date:
        found = "has no schema" if status.current is None else f"is at revision {status.current}"
        yield Finding(
            "schema", "schema", "problem", f"The database {found}; this program needs {status.wanted}.",
            "Run `retrovue db upgrade`.",
        )  # fmt: skip
        return
    yield Finding("schema", "schema", "ok", f"The schema is at revision {status.current} ({status.role}).")
    async with store.reading() as session:
        sources = [listing.source for listing in await list_sources(session)]
        kept = await list_kept(session)
    for finding in map(_kept, kept):
        yield finding
    if not sources:
        yield Finding("source", "sources", "warning", "There is no source yet.", "Add one with `retrovue source add`.")
    for finding in _examine_twins(sources):
        yield finding
    for source in sources:
        async for finding in _examine_source(store, source):
            yield finding


async def examine_database(store: Store, *, upgrade: bool = False) -> AsyncIterator[Finding]:
    """Check the server, the database and the role, and if ``upgrade`` whether a schema can be made. Yields findings."""
    for finding in _examine_server(await describe_server(store), upgrade=upgrade):
        yield finding


def _examine_server(server: Server, *, upgrade: bool) -> Iterator[Finding]:
    def found(verdict: Severity, message: str, hint: str | None = None) -> Finding:
        return Finding("database", "database", verdict, message, hint)

    yield found("ok", f"PostgreSQL {server.version} answers.")
    if (unwritable := server.unwritable()) is not None:
        yield found("problem", unwritable.message, unwritable.hint)
    error = server.unsuitable()
    if error is None and unwritable is None and upgrade:
        error = server.not_upgradable()
    if error is not None:
        yield found("problem", error.message, error.hint)
    for limit in server.limits:
        if limit.free < CONNECTIONS_NEEDED:
            subject = "It" if limit.of == "server" else f"The {limit.of}"
            yield found(
                "warning",
                f"{subject} has {limit.free} of {limit.allowed} connections to spare;"
                f" an ingest uses {CONNECTIONS_NEEDED}.",
                f"{limit.hint[0].upper()}{limit.hint[1:]}, end other programs, or ingest with a lower --concurrency.",
            )
    if server.disk_free is not None and server.disk_free < DISK_NEEDED:
        yield found(
            "warning",
            f"Its disk has {server.disk_free // 2**20} MiB left.",
            "Make room on it: a server whose disk is full stops.",
        )
    if server.pooled:
        yield found("ok", "A pooler in session mode is in front of it.")


def _examine_key_file() -> list[Finding]:
    """Report a key file that can't be read, or that other accounts can read."""

    def found(verdict: Severity, message: str, hint: str | None = None) -> list[Finding]:
        return [Finding("secrets", "key file", verdict, message, hint)]

    try:
        if not has_key():
            return []
        path = key_file()
        mode = path.stat().st_mode
        if not os.access(path, os.R_OK):
            return found("problem", f"{path} can't be read.", "Give it to the account that RetroVue runs as.")
    except (OSError, RequestError) as exc:
        return found("problem", str(exc))
    if mode & 0o077:
        hint = f"Run `chmod 600 {shlex.quote(str(path))}`."
        return found("warning", f"Other accounts may read or change {path}, which opens the stored secrets.", hint)
    return found("ok", f"{path} is for this account only.")


def _kept(left: Leftover) -> Finding:
    """Report the kept listings of interrupted runs."""
    subject = f"{left.collection} of {left.source}"
    since = f"{left.began_at.astimezone():%Y-%m-%d %H:%M}"
    what = f"An interrupted run has kept {left.bytes / 2**20:,.1f} MiB of its listing, read since {since}"
    if left.began_at + KEPT_FOR > dt.datetime.now(dt.UTC):
        hint = f"Run the command again, and it goes on: `retrovue source ingest {shlex.quote(left.source)}`."
        return Finding("collection", subject, "ok", f"{what}.", hint)
    hint = "The next run of its source drops it; `retrovue ingest prune` does so now."
    return Finding("collection", subject, "warning", f"{what}: it is too old to be of use.", hint)


def _examine_twins(sources: Sequence[Source]) -> Iterator[Finding]:
    """Report sources with the same name, and servers that were added twice."""
    for number, source in enumerate(sources):
        for other in sources[:number]:
            if source.name == other.name:
                message = f"{source.external_id} has the same name as {other.external_id}: a command refuses the name."
                hint = f"Rename one: `retrovue source update {source.external_id} --name NAME`."
                yield Finding("source", source.name, "warning", message, hint)
            if same_server(source, other):
                message = f"{source.external_id} is the same server as {other.external_id}: its assets are there twice."
                hint = f"Delete one of them: `retrovue source delete {source.external_id}`."
                yield Finding("source", source.name, "warning", message, hint)


async def _examine_source(store: Store, source: Source) -> AsyncIterator[Finding]:
    async with store.reading() as session:
        collections = await list_collections(session, source)
    findings: list[Finding] = []
    try:
        async with GuardedImporter(open_importer(source.type, source.config, source.credentials)) as importer:
            identity = await importer.check_reachable()
            findings.append(
                Finding(
                    "source",
                    source.name,
                    "ok",
                    f"{identity.name or source.type} {identity.version or ''} answers"
                    f"{' and accepts the token' if source.credentials else ''}.",
                )
            )
            findings += [await _examine_collection(importer, collection) for collection in collections]
            findings += await _examine_watch(
                source, [collection for collection in collections if collection.sync_enabled]
            )
    except RetrovueError as exc:
        findings.append(Finding("source", source.name, "problem", exc.message, exc.hint, exc.unreachable))
    for finding in findings:
        yield finding
    if not collections:
        hint = f"Run `retrovue source discover {source.external_id}`."
        yield Finding("source", source.name, "warning", "It has no collections yet.", hint)
    for collection in collections:
        if collection.assets_count:
            yield await _examine_files(store, collection)


async def _examine_collection(importer: GuardedImporter, collection: Collection) -> Finding:
    if not collection.sync_enabled and collection.last_ingest_at is None:
        return Finding("collection", _subject(collection), "ok", "It isn't enabled, and never was ingested.")
    answer = await importer.check_ingestible(collection)
    subject = _subject(collection)
    if not answer.ingestible:
        verdict: Severity = "problem" if collection.sync_enabled else "warning"
        reason = answer.reason or "The importer says that it can't be ingested."
        return Finding("collection", subject, verdict, reason, _mapping_hint(collection))
    if not collection.sync_enabled:
        hint = f"Enable it with `retrovue collection update {collection.id} --enable`."
        return Finding("collection", subject, "warning", "It could be ingested, but isn't enabled.", hint)
    return Finding("collection", subject, "ok", "It is enabled and can be ingested.")


async def _examine_watch(source: Source, enabled: Sequence[Collection]) -> list[Finding]:
    """Report whether the directories of a source can be watched; the system limits their number."""
    if source.type != "filesystem" or not enabled:
        return []
    paths = [path for collection in enabled for path in collection.locations]
    need = await anyio.to_thread.run_sync(watch_need, paths, PATIENCE / 2)
    number = f"{'' if need.counted else 'more than '}{need.directories:,}"
    polled = f" Those on {', '.join(sorted(need.polled))} are polled." if need.polled else ""
    if need.limit is not None and need.directories > need.limit * MOST_WATCHED:
        message = f"It has {number} directories to watch, and {need.limit:,} may be watched in all.{polled}"
        hint = f"Run `sysctl fs.inotify.max_user_watches={need.directories * 2}` as root, and add it to /etc/sysctl.d."
        return [Finding("events", source.name, "warning", message, hint)]
    allowed = "" if need.limit is None else f"; {need.limit:,} may be watched in all"
    return [Finding("events", source.name, "ok", f"It has {number} directories to watch{allowed}.{polled}")]


def _subject(collection: Collection) -> str:
    return collection.name if collection.source_name is None else f"{collection.name} of {collection.source_name}"


def _mapping_hint(collection: Collection) -> str:
    locations = " ".join(f"--map '{location}=/LOCAL/DIRECTORY'" for location in collection.locations)
    return f"`retrovue collection update {collection.id} {locations}`"


async def _examine_files(store: Store, collection: Collection) -> Finding:
    if not collection.check_files:
        return Finding("files", _subject(collection), "ok", "They aren't looked for (--no-check-files).")
    async with store.reading() as session:
        paths = await sample_files(session, collection, SAMPLE)
    try:
        with anyio.fail_after(PATIENCE):
            missing = await anyio.to_thread.run_sync(_missing, paths, abandon_on_cancel=True)
    except TimeoutError:
        return Finding(
            "files", _subject(collection), "problem", f"The file system gave no answer within {PATIENCE:g} s.",
            "Is a network mount dead?",
        )  # fmt: skip
    if missing:
        return Finding(
            "files", _subject(collection), "problem",
            f"{len(missing)} of {len(paths)} sampled files are not there, such as {quoted(missing[0])}.",
            "Is a disk not mounted, or a path mapping wrong?",
        )  # fmt: skip
    return Finding("files", _subject(collection), "ok", f"All of {len(paths)} sampled files are there.")


def _missing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not Path(path).exists()]
