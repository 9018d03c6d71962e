"""The results of an ingest: one outcome for each collection, and the summary of the run that is derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from retrovue.core.errors import Problem
from retrovue.core.model import Collection, Rejection, Source
from retrovue.core.verdicts import EXCLUSIVE

RunStatus = Literal["ok", "partial", "error"]

NOT_FAILED = "not_failed"
"""The code of the collections that --retry-failed leaves out."""
FAR_SMALLER = "far_smaller"
"""The warning that a collection has less than half as many items as at its last ingest; its count is how many fewer."""


@dataclass(frozen=True, slots=True)
class Named:
    """An asset or draft in one of the lists of an outcome."""

    title: str
    source_uri: str | None = None
    detail: str | None = None
    """For a duplicate the title of the asset that has the file, for a relocation the new path."""


def label(title: str, show_title: str | None, season: int | None, episode: int | None) -> str:
    """Name an asset as people read it: ``The Show S01E02 Pilot``."""
    if show_title is None and season is None and episode is None:
        return title
    numbers = ("" if season is None else f"S{season:02}") + ("" if episode is None else f"E{episode:02}")
    return " ".join(word for word in (show_title, numbers, title) if word)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of one collection's ingest; ``discovered`` is always created + skipped + duplicates + rejected."""

    source_items: int = 0
    """Distinct items of the source; they prove that all of it was read."""
    discovered: int = 0
    """Versions that the importer yielded, rejected ones included."""
    created: int = 0
    skipped: int = 0
    duplicates: int = 0
    rejected: int = 0
    relocated: int = 0
    """Part of ``skipped``."""
    soft_deleted: int = 0
    """Part of ``skipped``."""
    warnings: int = 0
    """Drafts that had a value dropped or corrected."""
    failed_enrichments: int = 0

    def __post_init__(self) -> None:
        if self.discovered != sum(getattr(self, count) for count in EXCLUSIVE):
            raise AssertionError(f"not every item is accounted for: {self}")


@dataclass(frozen=True, slots=True)
class Listed:
    """The first entries of each verdict, in the order of the source."""

    created: tuple[Named, ...] = ()
    duplicates: tuple[Named, ...] = ()
    relocated: tuple[Named, ...] = ()
    soft_deleted: tuple[Named, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    failed_enrichments: tuple[Mapping[str, str], ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict[str, int])
    """The number of drafts for each kind of warning; for `FAR_SMALLER` how many drafts fewer than last time."""


NO_COUNTS = Counts()
NOTHING_LISTED = Listed()


def failed_enrichment(asset: str, enricher: str, code: str, cause: str) -> Mapping[str, str]:
    """Make an entry of the list of failed enrichments."""
    return {"asset": asset, "enricher": enricher, "code": code, "cause": cause}


@dataclass(frozen=True, slots=True)
class Enriched:
    """What the enrichment came to that follows a collection's ingest, or is asked for by hand."""

    succeeded: int = 0
    failed: int = 0
    owed: int | None = 0
    """What is still owed, failed ones included; None if it couldn't be found out. For a dry-run what would be owed."""
    interrupted: bool = False
    problem: Problem | None = None
    """Why the enrichment, or one enricher's part of it, ended early, other than by an interruption."""
    unreachable: bool = False
    """Whether that is because the source could not be reached."""
    failures: tuple[Mapping[str, str], ...] = ()
    """The first ones."""
    duration: float = 0.0
    """Seconds of wall time."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Where a collection's time went, in seconds of wall time.

    Collections that are ingested at the same time share one event loop: each phase includes the turns of the others
    that fall into it.
    """

    total: float = 0.0
    waiting_for_source: float = 0.0
    """Waiting for an answer of the source that wasn't there yet, as the importer tells; one that doesn't tell waits
    all the time in which it is asked."""
    reading: float = 0.0
    """The importer's own work on what the source answered: decoding, proving, mapping to drafts."""
    enriching: float = 0.0
    """What enrichers did page by page; that of the others, after the commit, is `Enriched.duration`."""
    staging: float = 0.0
    """Comparing with what is known and copying to the staging table."""
    merging: float = 0.0
    """The one transaction that merges."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """The collection was ingested, or for a dry-run would have been, with these counts."""

    collection: Collection
    counts: Counts
    listed: Listed = NOTHING_LISTED
    durations: Durations = Durations()
    enriched: Enriched | None = None
    """What came after the commit; None if the collection has no enricher, or if it hasn't come to that yet."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The collection was not ingested because it may not be; nothing of it was touched."""

    collection: Collection
    code: str
    """``sync_disabled`` or the code of the ingestibility check."""
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The collection's ingest failed and was rolled back."""

    collection: Collection
    code: str
    message: str
    hint: str | None = None
    unreachable: bool = False
    interrupted: bool = False
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    traceback: str | None = None
    """For a bug, of an importer or our own; goes to the audit trail, not to the terminal."""
    durations: Durations = Durations()
    counts: Counts = NO_COUNTS
    """Zeros, unless the failure is that nothing could be used."""
    listed: Listed = NOTHING_LISTED


CollectionOutcome = Ingested | Skipped | Failed


def _order(outcome: CollectionOutcome) -> tuple[str, str, str]:
    collection = outcome.collection
    return (collection.name, collection.external_id, str(collection.id))


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """All outcomes of a run in name order, with everything else derived from them."""

    run_id: UUID
    source: Source
    outcomes: tuple[CollectionOutcome, ...]
    dry_run: bool = False
    strict: bool = False
    """Whether an enabled collection that isn't ingestible makes the run partial."""
    interrupted: bool = False
    duration: float = 0.0
    """Seconds of wall time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcomes", tuple(sorted(self.outcomes, key=_order)))

    @property
    def ingested(self) -> tuple[Ingested, ...]:
        """The collections that succeeded."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Ingested))

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The collections that failed or were interrupted."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The collections that were not targeted, each with its reason."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Skipped))

    @property
    def lost(self) -> tuple[Skipped, ...]:
        """The enabled collections that were skipped because they aren't ingestible now."""
        return tuple(
            outcome for outcome in self.skipped if outcome.collection.sync_enabled and outcome.code != NOT_FAILED
        )

    @property
    def processed(self) -> int:
        """Collections that succeeded, failed or were interrupted."""
        return len(self.ingested) + len(self.failed)

    def total(self, count: str) -> int:
        """Add up one of the counts over all collections."""
        tried: tuple[Ingested | Failed, ...] = (*self.ingested, *self.failed)
        return sum(getattr(outcome.counts, count) for outcome in tried)

    @property
    def status(self) -> RunStatus:
        """``error`` if nothing succeeded though something was tried, ``partial`` if not everything did."""
        if self.failed and not self.ingested:
            return "error"
        if self.failed or self.interrupted or (self.strict and self.lost):
            return "partial"
        return "ok"

    @property
    def all_unreachable(self) -> bool:
        """Whether every failure means that the source could not be reached."""
        return bool(self.failed) and all(outcome.unreachable for outcome in self.failed)
