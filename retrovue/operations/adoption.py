"""Adoption: a library that was deleted and created again at its source gets the assets of the old one."""

import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.errors import NothingEligible, RequestError, RetrovueError, changed_meanwhile
from retrovue.core.model import Collection, Source
from retrovue.core.results import Failed, Ingested
from retrovue.core.runs import FULL
from retrovue.core.version import own_version
from retrovue.enrichers.pages import PageEnrichers, open_pages
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.ingest.pipeline import failed, ingest_collection, preview_collection
from retrovue.store import audit
from retrovue.store.audit import Run
from retrovue.store.collections import adopt_identity, collections_by_id, find_collection, find_target
from retrovue.store.enrichers import attached_to
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from retrovue.store.statements import Session

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

LEAST_KEPT = 0.9
"""The least share of the present assets that the new library must have. With fewer it is a different library."""


class Adoption(Struct, frozen=True):
    """What an adoption did, or would do in a dry-run."""

    source: Source
    before: Collection
    """The old collection."""
    after: Collection
    """The same collection with the key, name and directories of the new one."""
    outcome: Ingested
    """What became of the items of the new library and of the assets of the old one."""

    @property
    def kept(self) -> int:
        """The number of assets that the new library has, under their old identity or a new one."""
        return self.outcome.counts.skipped

    @property
    def lost(self) -> int:
        """The number of assets that the new library doesn't have."""
        return self.outcome.counts.absent


async def adopt_collection(
    store: Store,
    old: str,
    new: str,
    *,
    source_reference: str | None = None,
    confirm: Callable[[Adoption], None] | None = None,
    dry_run: bool = False,
    transport: "Transport | None" = None,
) -> Adoption:
    """Give the assets of collection ``old`` to collection ``new``, which took its place at the source.

    ``old`` takes the key, name and directories of ``new`` and is synced; its assets are relinked as in a sync. Its
    mappings, enrichers and audit trail stay, and mappings of ``new`` are added. ``new``, which must have no assets, is
    deleted. All of that is one transaction. ``confirm`` is called first with what would happen, but not for a dry-run;
    it raises an exception to refuse.

    Raises NotFound or Ambiguous; RequestError for collections of different sources or kinds, for a ``new`` with assets,
    if the source still lists ``old``, or if fewer than 90 % of the present assets would be kept; NothingEligible if the
    collection can't be ingested; AlreadyRunning while either is being worked on; SourceError; StoreError.
    """
    async with store.reading() as session:
        source, before = await find_target(session, old, source_reference, statistics=True)
        replacement = await find_collection(session, new, source, statistics=True)
    _check_pair(before, replacement)
    after = _merged(before, replacement)
    run = Run(id=uuid.uuid4(), trigger="collection", scope=FULL, version=own_version(), mode="sync")
    async with AsyncExitStack() as stack:
        opened = open_importer(source.type, source.config, source.credentials, transport=transport)
        importer = await stack.enter_async_context(GuardedImporter(opened))
        await _check_source(importer, source, before, after)
        async with store.reading() as session:
            attached = (await attached_to(session, [before])).get(before.id, ())
        enrichers = await stack.enter_async_context(open_pages(attached, source, transport=transport))
        expected = await _expected(store, importer, source, before, after, run, enrichers)
        if dry_run:
            return expected
        if confirm is not None:
            confirm(expected)
        outcome = await _adopt(store, importer, before, replacement, after, run, enrichers)
    return replace(expected, outcome=outcome)


def _check_pair(before: Collection, replacement: Collection) -> None:
    context = {"old": str(before.id), "new": str(replacement.id)}
    if before.id == replacement.id:
        raise RequestError("A collection can't adopt itself.", code="bad_adoption", context=context)
    if before.kind != replacement.kind:
        raise RequestError(
            f"Collection {before.name} is a library of type {before.kind}, {replacement.name} one of type"
            f" {replacement.kind}.",
            code="bad_adoption",
            hint="Only a library of the same type can take its place.",
            context=context,
        )
    if replacement.assets_count:
        raise RequestError(
            f"Collection {replacement.display_name} has {replacement.assets_count:,} assets of its own.",
            code="bad_adoption",
            hint=f"If nobody needs them, `retrovue collection wipe {replacement.id}` deletes them. Then adopt it.",
            context=context,
        )


def _merged(before: Collection, replacement: Collection) -> Collection:
    mappings = {mapping.source_prefix: mapping for mapping in (*before.path_mappings, *replacement.path_mappings)}
    return replace(
        before,
        external_id=replacement.external_id,
        name=replacement.name,
        locations=replacement.locations,
        library_uuid=replacement.library_uuid,
        path_mappings=tuple(mappings.values()),
    )


async def _check_source(importer: GuardedImporter, source: Source, before: Collection, after: Collection) -> None:
    """Raise RequestError unless the source lists ``after`` instead of ``before``, and it is ingestible."""
    await importer.check_reachable()
    listed = {collection.external_id for collection in await importer.discover_collections()}
    if before.external_id in listed:
        raise RequestError(
            f"Source {source.name} still lists collection {before.name} ({before.external_id}).",
            code="bad_adoption",
            hint="A library that exists keeps its assets. `retrovue source sync` follows what was moved out of it.",
            context={"old": str(before.id)},
        )
    answer = await importer.check_ingestible(after)
    if not answer.ingestible:
        raise NothingEligible(
            f"Collection {after.name} of source {source.name} can't be ingested: {answer.reason}",
            code=answer.code or "not_ingestible",
            context={"collection": str(before.id)},
        )


async def _expected(
    store: Store,
    importer: GuardedImporter,
    source: Source,
    before: Collection,
    after: Collection,
    run: Run,
    enrichers: PageEnrichers,
) -> Adoption:
    """Return what would happen; raises RequestError if too few assets would be kept."""
    outcome = await preview_collection(store, importer, after, run, progress=lambda _: None, enrichers=enrichers)
    if isinstance(outcome, Failed):
        raise RequestError(outcome.message, code=outcome.code, hint=outcome.hint)
    adoption = Adoption(source, before, after, outcome)
    if adoption.kept < LEAST_KEPT * (adoption.kept + adoption.lost):
        raise RequestError(
            f"Collection {after.name} ({after.external_id}) has only {adoption.kept:,} of the"
            f" {adoption.kept + adoption.lost:,} assets of {before.name} ({before.external_id}).",
            code="bad_adoption",
            hint="It must have 90 % of them. Is it the right library, and has the source scanned it to the end?",
            context={"kept": adoption.kept, "lost": adoption.lost},
        )
    return adoption


async def _adopt(
    store: Store,
    importer: GuardedImporter,
    before: Collection,
    replacement: Collection,
    after: Collection,
    run: Run,
    enrichers: PageEnrichers,
) -> Ingested:
    reported: list[Ingested | Failed] = []

    async def take_identity(session: Session) -> None:
        now = await collections_by_id(session, [before, replacement])
        known = {found.id: replace(found, assets_count=0, last_ingest_at=None) for found in (before, replacement)}
        if now != known:
            raise changed_meanwhile(f"Collection {before.name} or {replacement.name}")
        await adopt_identity(session, replacement, after)

    async with open_locks(store, run.lock_holder) as locks:
        for refusal in (await locks.take([before, replacement])).values():
            raise refusal
        await audit.start(store, run, [before])
        try:
            await ingest_collection(
                store,
                importer,
                after,
                run,
                locks=locks,
                report=reported.append,
                progress=lambda _: None,
                enrichers=enrichers,
                first=take_identity,
            )
        except RetrovueError as exc:
            await audit.fail(store, run, [failed(before, exc)])
            raise
    [outcome] = reported
    if isinstance(outcome, Failed):
        raise RequestError(outcome.message, code=outcome.code, hint=outcome.hint)
    return outcome
