"""The pre-flight: all checks that are possible before the first write."""

import uuid
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from retrovue.core.answers import Ingestibility
from retrovue.core.errors import NothingEligible, RetrovueError, SourceError, changed_meanwhile
from retrovue.core.guide import GUIDE
from retrovue.core.model import Collection, Source
from retrovue.core.results import Failed, Skipped
from retrovue.core.runs import Trigger
from retrovue.core.text import quoted
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.pipeline import failed
from retrovue.store.collections import collections_by_id, record_ingestibility
from retrovue.store.session import Store
from retrovue.store.sources import find_source

CHECKS_AT_ONCE = 64
"""Collections that are checked at the same time. The checks hold no database connection."""

_ABOUT_MAPPINGS = frozenset({"unmapped_location", "missing_directory", "unreadable_directory", "directory_timeout"})
"""The codes of reasons that a path mapping may remove."""


class Targets(Struct):
    """The collections of a run: those to ingest, and the outcomes of the others."""

    eligible: list[Collection] = field(default_factory=list[Collection])
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    failures: list[Failed] = field(default_factory=list[Failed])


def split_enabled(source: Source, collections: Sequence[Collection]) -> tuple[list[Collection], list[Skipped]]:
    """Split the collections into the enabled ones and outcomes for the others.

    Raises NothingEligible if none is enabled.
    """
    enabled = [collection for collection in collections if collection.sync_enabled]
    skipped = [not_enabled(collection) for collection in collections if not collection.sync_enabled]
    if not collections:
        raise _nothing(
            source, skipped, "no_collections", f"Source {quoted(source.name)} has no collections.",
            f"Find them with `retrovue source discover {source.external_id}`.",
        )  # fmt: skip
    if not enabled:
        raise _nothing(
            source, skipped, "no_enabled_collections", f"Source {quoted(source.name)} has no enabled collections.",
            "Enable one with `retrovue collection update COLLECTION --enable`.",
        )  # fmt: skip
    return enabled, skipped


def _nothing(source: Source, skipped: Sequence[Skipped], code: str, message: str, hint: str) -> NothingEligible:
    reasons = [
        {
            "id": str(outcome.collection.id),
            "external_id": outcome.collection.external_id,
            "name": outcome.collection.name,
            "kind": outcome.collection.kind,
            "code": outcome.code,
            "reason": outcome.reason,
        }
        for outcome in skipped
    ]
    return NothingEligible(
        message, code=code, hint=hint, context={"source": source.external_id, "collections": reasons}
    )


def none_ingestible(
    source: Source, trigger: Trigger, skipped: Sequence[Skipped], asked: Sequence[Collection]
) -> NothingEligible:
    """Make the error of a run without an ingestible collection.

    It gives the reason for each collection in ``asked``.
    """
    wanted = {collection.id for collection in asked}
    lost = [outcome for outcome in skipped if outcome.collection.id in wanted]
    if trigger == "collection":
        # The collection of a collection ingest need not be enabled.
        message = f"Collection {lost[0].collection.display_name} can't be ingested: {lost[0].reason}"
    else:
        names: dict[str, list[str]] = {}
        for outcome in lost:
            names.setdefault(outcome.reason, []).append(outcome.collection.name)
        reasons = "; ".join(f"{', '.join(of)}: {reason.rstrip('.')}" for reason, of in names.items())
        message = f"No enabled collection of source {quoted(source.name)} can be ingested: {reasons}."
    return _nothing(source, skipped, "no_ingestible_collections", message, _hint({outcome.code for outcome in lost}))


def _hint(codes: set[str]) -> str:
    """Return the hint for the codes of failed ingestibility checks."""
    if any(code not in GUIDE or code in _ABOUT_MAPPINGS for code in codes):
        return "Correct the path mappings with `retrovue collection update COLLECTION --map SOURCE=LOCAL`."
    return " ".join(GUIDE[code].do for code in sorted(codes))


async def pre_flight(
    store: Store,
    importer: GuardedImporter,
    enabled: Sequence[Collection],
    opened: AsyncExitStack,
    *,
    dry_run: bool,
    getting_ready: AbstractAsyncContextManager[None],
) -> Targets:
    """Open the importer, reach the source, and check for each collection whether it can be ingested now.

    Stores the results, except for a dry-run. ``opened`` closes the importer. ``getting_ready`` prepares the store
    while the source is asked.
    """
    targets = Targets()
    if not enabled:
        return targets
    try:
        await opened.enter_async_context(importer)
        async with getting_ready:
            await importer.check_reachable()
            answers = await _ask(importer, enabled)
    except SourceError as exc:
        targets.failures = [failed(collection, exc) for collection in enabled]
        return targets
    checked: list[tuple[Collection, Ingestibility]] = []
    for collection in enabled:
        answer = answers[collection.id]
        if isinstance(answer, RetrovueError):
            targets.failures.append(failed(collection, answer))
            continue
        checked.append((collection, answer))
        if answer.ingestible:
            targets.eligible.append(collection)
        else:
            targets.skipped.append(not_ingestible(collection, answer))
    if checked and not dry_run:
        async with store.transaction() as session:
            await record_ingestibility(session, checked)
    return targets


async def _ask(
    importer: GuardedImporter, enabled: Sequence[Collection]
) -> dict[uuid.UUID, Ingestibility | RetrovueError]:
    """Ask for each collection whether it can be ingested; return the answers by the ids of the collections."""
    answers: dict[uuid.UUID, Ingestibility | RetrovueError] = {}
    # The importer limits its own requests; checks at the same time can share answers.
    limiter = anyio.CapacityLimiter(CHECKS_AT_ONCE)

    async def ask(collection: Collection) -> None:
        async with limiter:
            try:
                answers[collection.id] = await importer.check_ingestible(collection)
            except RetrovueError as exc:
                answers[collection.id] = exc

    async with anyio.create_task_group() as group:
        for collection in enabled:
            group.start_soon(ask, collection)
    return answers


async def read_again(store: Store, source: Source, locked: Sequence[Collection]) -> Targets:
    """Read collections again after they were locked, because they may have changed since the pre-flight.

    Nothing changes them while they are locked. Changed mappings are checked when the collection is ingested. Raises
    RequestError if the source has changed, because its importer was opened with the old settings.
    """
    targets = Targets()
    async with store.reading() as session:
        if await find_source(session, str(source.id)) != source:
            raise changed_meanwhile(f"Source {quoted(source.name)}")
        now = await collections_by_id(session, locked)
    for collection in locked:
        current = now.get(collection.id)
        if current is None:
            targets.failures.append(failed(collection, changed_meanwhile(f"Collection {collection.display_name}")))
        elif collection.sync_enabled and not current.sync_enabled:
            targets.skipped.append(not_enabled(current))
        else:
            targets.eligible.append(
                replace(current, assets_count=collection.assets_count, last_ingest_at=collection.last_ingest_at)
            )
    return targets


def not_enabled(collection: Collection) -> Skipped:
    """Make the outcome of a collection that isn't enabled."""
    return Skipped(collection, "sync_disabled", "it is not enabled for ingest")


def not_ingestible(collection: Collection, answer: Ingestibility) -> Skipped:
    """Make the outcome of a collection that can't be ingested according to its importer."""
    return Skipped(
        collection, answer.code or "not_ingestible", answer.reason or "the importer says that it isn't ingestible"
    )
