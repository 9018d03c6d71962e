"""The collector: takes the outcome of each collection, publishes it as an event, and makes the summary of the run."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from time import perf_counter
from uuid import UUID

from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.results import (
    CollectionOutcome,
    Enriched,
    Failed,
    Ingested,
    IngestSummary,
    Skipped,
    with_enrichment,
)
from retrovue.core.runs import Mode
from retrovue.core.text import quoted
from retrovue.core.verdicts import EXCLUSIVE
from retrovue.ingest import telemetry
from retrovue.ingest.events import (
    CollectionFinished,
    CollectionStarted,
    Enriching,
    Event,
    Feed,
    Outcomes,
    Progress,
    RunFinished,
    RunStarted,
)

_log = logger(__name__)


class Collector:
    """The outcomes of one run. Call `started()`, `progress()` and `report()` for each collection, then `end()`.

    All targeted collections are known from the start, so each one has an outcome in the end: without a report it counts
    as interrupted. `summary()` is valid at any time.
    """

    def __init__(
        self,
        run_id: UUID,
        source: Source,
        expected: Iterable[Collection],
        skipped: Iterable[Skipped],
        *,
        dry_run: bool,
        strict: bool,
        mode: Mode = "ingest",
        atomic: bool = False,
        counted: bool = True,
    ) -> None:
        """``expected`` are the targeted collections, ``skipped`` the outcomes of the others.

        With ``counted`` the outcomes are added to the metrics. A run that only follows workers doesn't count them: the
        workers do.
        """
        self._counted = counted
        self._run_id = run_id
        self._mode: Mode = mode
        self._atomic = atomic
        self._source = source
        self._dry_run = dry_run
        self._strict = strict
        self._started = perf_counter()
        self._unfinished = {collection.id: collection for collection in expected}
        self._outcomes: list[CollectionOutcome] = []
        self._outcome_of: dict[UUID, CollectionOutcome] = {}
        """The same, by the ids of the collections."""
        self._enrichments: dict[UUID, Callable[[], Enriched]] = {}
        self._published = 0
        self._final: IngestSummary | None = None
        self.feed = Feed()
        """The events of the run."""
        self.feed.add(RunStarted(run_id, source, tuple(self._unfinished.values())))
        expecting = len(self._unfinished)
        _log.info("Run started: %d collections of %s", expecting, quoted(source.name), extra={"run_id": str(run_id)})
        for outcome in skipped:
            self._take(outcome)

    @property
    def unfinished(self) -> list[Collection]:
        """The targeted collections that have no outcome yet."""
        return list(self._unfinished.values())

    def started(self, collection: Collection) -> None:
        """Publish that a collection's ingest begins."""
        self.feed.add(CollectionStarted(collection))
        _log.info("Collection %s started", collection.display_name, extra=self._about(collection))

    def progress(self, progress: Progress | Enriching) -> None:
        """Publish the progress of a collection, or of its enrichment."""
        self.feed.progress(progress)

    def report(self, outcome: CollectionOutcome) -> None:
        """Take a collection's outcome. Raises AssertionError for a second outcome of the same collection."""
        if self._unfinished.pop(outcome.collection.id, None) is None:
            raise AssertionError(f"{outcome.collection.display_name} reported twice, or was never expected")
        self._take(outcome)

    def enriching(self, collection: Collection, result: Callable[[], Enriched]) -> None:
        """Add an enrichment that begins now to a collection's outcome; ``result`` returns its result so far."""
        self._enrichments[collection.id] = result

    def was_ingested(self, collection: Collection) -> bool:
        """Return whether a collection has the outcome that it was ingested."""
        return isinstance(self.outcome_of(collection), Ingested)

    def _take(self, outcome: CollectionOutcome) -> None:
        self._outcomes.append(outcome)
        self._outcome_of[outcome.collection.id] = outcome
        self.feed.add(CollectionFinished(outcome))

    def outcome_of(self, collection: Collection) -> CollectionOutcome | None:
        """Return a collection's outcome; None if it has none yet."""
        return self._outcome_of.get(collection.id)

    def publish(self) -> None:
        """Log the outcomes since the last call, and add them to the metrics.

        `report()` doesn't do this, because it is called during a commit, which a logging handler of the host program
        must not disturb.
        """
        while self._published < len(self._outcomes):
            outcome = self._outcomes[self._published]
            self._published += 1
            self._log_outcome(outcome)
            if self._counted:
                telemetry.count(outcome)

    def end(self) -> None:
        """End the feed of events if all outcomes have been reported."""
        if self._unfinished or self.feed.ended:
            return
        self.publish()
        summary = self._final = self.summary()
        self.feed.add(RunFinished(summary))
        _log.info("Run finished in %.3f s: %s", summary.duration, summary.status, extra={"run_id": str(self._run_id)})

    def _about(self, collection: Collection) -> dict[str, str]:
        return {"run_id": str(self._run_id), "collection_id": str(collection.id)}

    def _log_outcome(self, outcome: CollectionOutcome) -> None:
        name, extra = outcome.collection.display_name, self._about(outcome.collection)
        match outcome:
            case Ingested(counts=counts, durations=spent):
                numbers = ", ".join(f"{getattr(counts, count)} {count}" for count in EXCLUSIVE)
                _log.info("Collection %s finished in %.3f s: %s", name, spent.total, numbers, extra=extra)
            case Failed():
                # Without the message, which may hold any text of an importer. The audit trail has it.
                level = logging.WARNING if outcome.interrupted else logging.ERROR
                extra["code"] = outcome.code
                _log.log(level, "Collection %s failed: %s", name, outcome.code, extra=extra)
            case Skipped():
                _log.info("Collection %s skipped: %s", name, outcome.code, extra={**extra, "code": outcome.code})

    def summary(self) -> IngestSummary:
        """Make the summary so far; a collection without an outcome counts as interrupted."""
        if self._final is not None:
            return self._final
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
            mode=self._mode,
            atomic=self._atomic,
        )

    def _with_enrichment(self, outcome: CollectionOutcome) -> CollectionOutcome:
        result = self._enrichments.get(outcome.collection.id)
        if result is None or not isinstance(outcome, Ingested):
            return outcome
        return with_enrichment(outcome, result())


class IngestRun:
    """A run at work. Iterating over it yields each collection's outcome; the summary is valid at any time.

    Any number of tasks may iterate at the same time, also after the run has ended. Each begins with the first outcome.
    """

    def __init__(self, run_id: UUID, source: Source, collector: Collector, targeted: Sequence[Collection]) -> None:
        self.id = run_id
        self.source = source
        self.targeted = tuple(targeted)
        """The collections that this run ingests."""
        self._collector = collector

    def __aiter__(self) -> AsyncIterator[CollectionOutcome]:
        return Outcomes(self._collector.feed)

    def events(self) -> AsyncIterator[Event]:
        """Iterate over the events: RunStarted, CollectionStarted, Progress, CollectionFinished, Enriching, RunFinished.

        Begins with the first event whenever it is called, and ends with the run. A slow reader delays nothing, and
        misses only outdated progress.
        """
        return self._collector.feed.reader()

    @property
    def summary(self) -> IngestSummary:
        """The summary so far; a collection without an outcome counts as interrupted."""
        return self._collector.summary()


def _was_interrupted(outcome: CollectionOutcome) -> bool:
    if isinstance(outcome, Ingested):
        return outcome.enriched is not None and outcome.enriched.interrupted
    return isinstance(outcome, Failed) and outcome.interrupted


def interrupted(collection: Collection) -> Failed:
    """Make the outcome of a collection whose ingest was interrupted."""
    return Failed(
        collection,
        code="interrupted",
        message=f"The ingest of {collection.display_name} was interrupted; nothing of it was written.",
        hint="Run the command again, or with --retry-failed for just what is missing.",
        interrupted=True,
    )
