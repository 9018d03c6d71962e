"""Work batches of enrichment, and combine their results in the outcome of the collection."""

from uuid import UUID, uuid5

import anyio

from retrovue.core.errors import AlreadyRunning, Problem, StoreUnavailable
from retrovue.core.model import AttachedEnricher, Collection, Source
from retrovue.core.results import Enriched, Ingested, with_enrichment
from retrovue.core.text import storable
from retrovue.core.verdicts import LISTED
from retrovue.ingest.enrichment import DEFAULT_CONCURRENCY, EnrichmentWork
from retrovue.ingest.outcomes import decoded, decoded_enriched, encoded, encoded_enriched
from retrovue.store import batches, requests
from retrovue.store.batches import Batch
from retrovue.store.enrichers import attached_to
from retrovue.store.enrichments import EnrichmentOutcome, count_owed, write_outcome
from retrovue.store.locks import Locks, lock_key
from retrovue.store.session import Store
from retrovue.store.statements import Session

_AGAIN = frozenset({"locks_lost", AlreadyRunning.default_code, StoreUnavailable.default_code})
"""Codes of problems after which a batch is worked again."""


async def work_batch(
    store: Store,
    source: Source,
    collection: Collection,
    host: str,
    locks: Locks,
    problem: Problem | None,
    *,
    busy_s: float,
) -> float | None:
    """Enrich one batch of a collection whose lock is held; return the seconds after which to look for another batch.

    Returns None if there is no batch that nobody works. ``problem`` says why the files can't be read on any host: the
    batch then ends with it, and all its enrichments stay owed.
    """
    batch = await _next(store, collection, locks)
    if batch is None:
        return None
    async with store.reading() as session:
        attached = (await attached_to(session, [collection])).get(collection.id, ())
    if problem is None:
        result = await _enrich(store, source, collection, attached, batch, locks)
        if result is None:
            return busy_s
    else:
        result = Enriched(owed=None, problem=problem)
    async with store.transaction(long=True) as session:
        if await batches.end_batch(session, batch, host, encoded_enriched(result)):
            await _fold(session, collection, attached, batch)
    return 0


async def _next(store: Store, collection: Collection, locks: Locks) -> Batch | None:
    """Lock an open batch that no other worker has locked; None if there is none."""
    async with store.reading() as session:
        found = await batches.open_batches(session, collection.id)
    for batch in found:
        if await locks.take_key(_key(batch)):
            async with store.reading() as session:
                if await batches.is_open(session, batch):
                    return batch
    return None


def _key(batch: Batch) -> int:
    return lock_key(uuid5(UUID(str(batch.collection_id)), f"{batch.run_id} {batch.number}"))


async def _enrich(
    store: Store,
    source: Source,
    collection: Collection,
    attached: tuple[AttachedEnricher, ...],
    batch: Batch,
    locks: Locks,
) -> Enriched | None:
    """Enrich a batch; None if the database was lost, so that the batch has to be worked again."""
    limiter = anyio.CapacityLimiter(DEFAULT_CONCURRENCY)
    work = EnrichmentWork(store, source, collection, attached, batch.run_id, limiter=limiter, part=batch.part)
    async with locks.held():
        await work.run()
    result = work.result
    again = result.interrupted or (result.problem is not None and result.problem.code in _AGAIN)
    return None if again else result


async def _fold(session: Session, collection: Collection, attached: tuple[AttachedEnricher, ...], batch: Batch) -> None:
    """Combine the results of all batches of a run in its outcome, which is then complete."""
    texts, succeeded, failed, spent = await batches.results_of(session, batch)
    results = [decoded_enriched(text) for text in texts]
    first = next((result for result in results if result.problem is not None), None)
    failures = tuple(failure for result in results for failure in result.failures)[:LISTED]
    owed = await count_owed(session, collection, attached)
    enriched = Enriched(
        succeeded=succeeded,
        failed=failed,
        owed=owed,
        problem=None if first is None else first.problem,
        unreachable=first is not None and first.unreachable,
        failures=failures,
        duration=spent,
    )
    for text in await batches.outcomes_of(session, batch):
        outcome = decoded(text)
        if isinstance(outcome, Ingested):
            await requests.end(session, collection.id, batch.run_id, encoded(with_enrichment(outcome, enriched)))
    if succeeded or failed or enriched.problem:
        await write_outcome(
            session,
            EnrichmentOutcome(
                run=batch.run_id,
                collection=collection.id,
                status="done" if enriched.problem is None else "failed",
                succeeded=succeeded,
                failed=failed,
                owed=owed,
                details={
                    "failures": failures,
                    "problem": None if enriched.problem is None else storable(enriched.problem.message),
                    "traceback": None,
                },
                duration=spent,
            ),
        )
    await batches.forget(session, batch)
