"""The collector: takes each collection's one outcome, hands it on, and can tell the summary at any moment."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter
from uuid import UUID

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from retrovue.model import Collection, Source
from retrovue.results import LISTED, CollectionOutcome, Enriched, Failed, Ingested, IngestSummary, Skipped


class Collector:
    """The outcomes of one run.

    Every collection that is targeted is known from the start, so that none can end without an outcome: what
    has not reported counts as interrupted.
    """

    def __init__(
        self, run_id: UUID, source: Source, skipped: Iterable[Skipped], *, dry_run: bool, strict: bool
    ) -> None:
        self._run_id = run_id
        self._source = source
        self._dry_run = dry_run
        self._strict = strict
        self._started = perf_counter()
        self._unfinished: dict[UUID, Collection] = {}
        self._outcomes: list[CollectionOutcome] = []
        self._enrichments: dict[UUID, Callable[[], Enriched]] = {}
        self._ended = False
        # One slot for each outcome there can be, so that reporting never waits for a reader.
        self._send, self._receive = anyio.create_memory_object_stream[CollectionOutcome](math.inf)
        for outcome in skipped:
            self._take(outcome)

    @property
    def stream(self) -> MemoryObjectReceiveStream[CollectionOutcome]:
        """The outcomes as they come in; ends with the run."""
        return self._receive

    @property
    def unfinished(self) -> list[Collection]:
        """The collections that were targeted and have not reported."""
        return list(self._unfinished.values())

    def expect(self, collections: Iterable[Collection]) -> None:
        """Name the collections that will report."""
        self._unfinished.update((collection.id, collection) for collection in collections)

    def report(self, outcome: CollectionOutcome) -> None:
        """Take the one outcome of a collection; a second one is a bug."""
        if self._unfinished.pop(outcome.collection.id, None) is None:
            raise AssertionError(f"{outcome.collection.name!r} reported twice, or was never expected")
        self._take(outcome)

    def enriching(self, collection: Collection, result: Callable[[], Enriched]) -> None:
        """Name what a collection's enrichment comes to, which begins now; its outcome has been reported before."""
        self._enrichments[collection.id] = result

    def was_ingested(self, collection: Collection) -> bool:
        """Tell whether a collection has reported that it was ingested."""
        return any(isinstance(one, Ingested) and one.collection.id == collection.id for one in self._outcomes)

    def _take(self, outcome: CollectionOutcome) -> None:
        self._outcomes.append(outcome)
        if not self._ended:
            self._send.send_nowait(outcome)

    def end_stream(self) -> None:
        """End the stream once all outcomes are in; what is reported later is in the summary only."""
        self._ended = True
        self._send.close()

    def close(self) -> None:
        """Let go of the stream; nobody reads any more."""
        self.end_stream()
        self._receive.close()

    def summary(self) -> IngestSummary:
        """Fold what is known now; a collection still at work counts as interrupted."""
        open_ = [interrupted(collection) for collection in self._unfinished.values()]
        outcomes = (*(self._with_enrichment(outcome) for outcome in self._outcomes), *open_)
        return IngestSummary(
            run_id=self._run_id,
            source=self._source,
            outcomes=outcomes,
            dry_run=self._dry_run,
            strict=self._strict,
            interrupted=any(_was_interrupted(outcome) for outcome in outcomes),
            duration=perf_counter() - self._started,
        )

    def _with_enrichment(self, outcome: CollectionOutcome) -> CollectionOutcome:
        result = self._enrichments.get(outcome.collection.id)
        if result is None or not isinstance(outcome, Ingested):
            return outcome
        enriched = result()
        failures = (*outcome.listed.failed_enrichments, *enriched.failures)[:LISTED]
        failed = outcome.counts.failed_enrichments + enriched.failed
        return replace(
            outcome,
            counts=replace(outcome.counts, failed_enrichments=failed),
            listed=replace(outcome.listed, failed_enrichments=failures),
            enriched=enriched,
        )


def _was_interrupted(outcome: CollectionOutcome) -> bool:
    if isinstance(outcome, Ingested):
        return outcome.enriched is not None and outcome.enriched.interrupted
    return isinstance(outcome, Failed) and outcome.interrupted


def interrupted(collection: Collection) -> Failed:
    """The outcome of a collection whose ingest was stopped before it was through."""
    return Failed(
        collection,
        code="interrupted",
        message=f"The ingest of {collection.name!r} was interrupted; nothing of it was written.",
        hint="Run the command again, or with --retry-failed for just what is missing.",
        interrupted=True,
    )
