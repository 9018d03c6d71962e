"""What an operator decides about a collection: where its files are, and whether it is ingested."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retrovue.errors import RequestError, SourceError
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.registry import open_importer
from retrovue.model import Collection, Ingestibility, PathMapping, Source
from retrovue.paths import check_mapping, components
from retrovue.store.collections import find_collection, record_ingestibility, set_enabled, set_path_mappings
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from retrovue.store.sources import find_source, get_source


@dataclass(frozen=True, slots=True)
class CollectionUpdate:
    """A collection after an update."""

    collection: Collection
    ingestibility: Ingestibility | None
    """What the importer's check said about it; None if it wasn't or couldn't be asked."""
    warnings: tuple[str, ...] = ()


async def update_collection(
    store: Store,
    reference: str,
    *,
    source_reference: str | None = None,
    map: Sequence[PathMapping] = (),  # noqa: A002 - the word of the command
    unmap: Sequence[str] = (),
    enabled: bool | None = None,
    dry_run: bool = False,
) -> CollectionUpdate:
    """Change a collection's path mappings and whether it is ingested, in one transaction.

    The importer is asked, live, whether the collection could be ingested as it would then be; enabling one that
    couldn't is refused with the reason and changes nothing. Takes the collection's lock: raises AlreadyRunning
    while it is being ingested.
    """
    async with store.transaction() as session:
        within = None if source_reference is None else await find_source(session, source_reference)
        before = await find_collection(session, reference, within)
        source = await get_source(session, before.source_id)
    mappings = _mapped(before.path_mappings, map, unmap)
    after = replace(before, path_mappings=mappings, sync_enabled=before.sync_enabled if enabled is None else enabled)
    answer: Ingestibility | None = None
    warnings: tuple[str, ...] = ()
    if enabled or mappings != before.path_mappings:
        answer, warnings = await _ask(source, after, enabling=bool(enabled))
    if not dry_run:
        async with open_locks(store, f"retrovue-update-{before.id}") as locks:
            for refusal in (await locks.take([before])).values():
                raise refusal
            async with store.transaction() as session:
                if mappings != before.path_mappings:
                    await set_path_mappings(session, before, mappings)
                if enabled is not None:
                    await set_enabled(session, before, enabled=enabled)
                if answer is not None:
                    await record_ingestibility(session, before, answer)
                after = await find_collection(session, str(before.id))
    return CollectionUpdate(after, answer, warnings)


async def _ask(source: Source, after: Collection, *, enabling: bool) -> tuple[Ingestibility | None, tuple[str, ...]]:
    """Ask the importer about the collection as it would be; a no refuses the enabling, and else is a warning."""
    try:
        async with GuardedImporter(open_importer(source.type, source.config, source.credentials)) as importer:
            await importer.check_reachable()
            answer = await importer.check_ingestible(after)
    except SourceError as exc:
        if enabling:
            raise
        return None, (f"It could not be checked whether the collection can be ingested now: {exc.message}",)
    if answer.ingestible:
        return answer, ()
    if enabling:
        raise RequestError(
            f"Collection {after.name!r} can't be enabled: {answer.reason}",
            code=answer.code or "not_ingestible",
            hint="Mend what the reason says, then enable it again; nothing was changed.",
            context={"collection": str(after.id)},
        )
    return answer, (f"The collection can't be ingested yet: {answer.reason}",)


def _mapped(before: Sequence[PathMapping], add: Sequence[PathMapping], drop: Sequence[str]) -> tuple[PathMapping, ...]:
    by_prefix = {components(mapping.source_prefix): mapping for mapping in before}
    for prefix in drop:
        if by_prefix.pop(components(prefix), None) is None:
            known = ", ".join(mapping.source_prefix for mapping in before) or "none"
            raise RequestError(
                f"There is no path mapping from {prefix!r}.",
                code="no_such_mapping",
                hint=f"The collection's mappings: {known}.",
            )
    for mapping in add:
        checked = check_mapping(mapping)
        by_prefix[components(checked.source_prefix)] = checked
    return tuple(sorted(by_prefix.values(), key=lambda mapping: mapping.source_prefix))
