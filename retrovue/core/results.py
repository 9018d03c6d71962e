"""The results of an ingest: an outcome for each collection, and the summary of the run, which is computed from them."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from retrovue.core.errors import Problem
from retrovue.core.model import Collection, Source
from retrovue.core.pages import Rejection
from retrovue.core.runs import Mode
from retrovue.core.verdicts import EXCLUSIVE, LISTED

RunStatus = Literal["ok", "partial", "error"]
Read = Literal["full", "sweep", "changes", "unchanged", "scoped"]
"""How much a run read of a collection: ``full``, each item in full; ``sweep``, all of it, where known pages are
recognised; ``changes``; ``unchanged``, nothing; or ``scoped``, what was in scope or named by its keys.
"""

NOT_FAILED = "not_failed"
"""The code of collections that --retry-failed doesn't repeat."""
CHANGED_AT_SOURCE = "changed_at_source"
"""The warning that files of known assets differ in size or modification time from the catalogue."""
SIDECARS_UNSEEN = "sidecars_unseen"
"""The warning that sidecars of files weren't compared, because this machine can't see the files, and the number of
these.
"""
FAR_SMALLER = "far_smaller"
"""The warning for a collection with less than half as many items as at its last ingest. Its count is the difference."""


class Named(Struct, frozen=True):
    """An asset or draft in a list of an outcome."""

    title: str
    source_uri: str | None = None
    detail: str | None = None
    """For a duplicate the title of the asset with the same file, for a relocation the new path, for a change the names
    of the fields, for an absence its reason.
    """


LABELLED = (
    "title", "show_title", "album", "season_number", "episode_number", "disc_number", "track_number", "edition",
)  # fmt: skip
"""The fields of an asset that its label is made from."""


_OF_FILM = (None,) * 7
"""The other fields of most films."""


def label(
    title: str,
    show_title: str | None,
    album: str | None,
    season: int | None,
    episode: int | None,
    disc: int | None,
    track: int | None,
    edition: str | None,
) -> str:
    """Return an asset's label for people, made from its LABELLED fields: ``The Show S01E02 Pilot``, ``Alien [Cut]``."""
    if (show_title, album, season, episode, disc, track, edition) == _OF_FILM:
        return title  # A dry-run makes the labels of all drafts.
    remark = None if edition is None else f"[{edition}]"
    return " ".join(word for word in (show_title, album, place(season, episode, disc, track), title, remark) if word)


def place(season: int | None, episode: int | None, disc: int | None, track: int | None) -> str:
    """Return the number of an episode as text, ``S01E02``, or of a track, ``2-07``."""
    if disc is None and track is None:
        return ("" if season is None else f"S{season:02}") + ("" if episode is None else f"E{episode:02}")
    return "-".join(text for text in (str(disc or ""), "" if track is None else f"{track:02}") if text)


class Counts(Struct, frozen=True):
    """The counts of one collection's ingest; ``discovered`` is always created + skipped + duplicates + rejected."""

    source_items: int = 0
    """Distinct items of the source. Their number proves that all of it was read."""
    discovered: int = 0
    """Versions that the importer yielded, including rejected ones."""
    created: int = 0
    skipped: int = 0
    duplicates: int = 0
    rejected: int = 0
    relocated: int = 0
    """Part of ``skipped``."""
    soft_deleted: int = 0
    """Part of ``skipped``."""
    warnings: int = 0
    """Drafts with a value that was removed or corrected."""
    failed_enrichments: int = 0
    refreshed: int = 0
    """Part of ``skipped``, like the next four."""
    replaced: int = 0
    restored: int = 0
    relinked: int = 0
    changed: int = 0
    """Known items that an ingest left unchanged although the source describes them differently now."""
    absent: int = 0
    """Assets that are present in the catalogue and weren't listed. They aren't part of ``discovered``."""
    missing: int = 0
    """Assets that became missing, part of ``absent``."""
    gone: int = 0
    """Assets that became gone: they were missing before, or the source has no grace."""
    removals_held_back: int = 0
    """Assets that would have become missing or gone if no guard had held them back."""
    resumed: int = 0
    """The part of ``source_items`` that an interrupted run had read; this run read the others."""

    def __post_init__(self) -> None:
        if self.discovered != sum(getattr(self, count) for count in EXCLUSIVE):
            raise AssertionError(f"not every item is accounted for: {self}")


class Listed(Struct, frozen=True):
    """The first entries of each verdict, in the order of the source."""

    created: tuple[Named, ...] = ()
    duplicates: tuple[Named, ...] = ()
    relocated: tuple[Named, ...] = ()
    soft_deleted: tuple[Named, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    failed_enrichments: tuple[Mapping[str, str], ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict[str, int])
    """The number of drafts with each kind of warning; for `FAR_SMALLER` by how many drafts the collection is smaller.
    """
    refreshed: tuple[Named, ...] = ()
    replaced: tuple[Named, ...] = ()
    restored: tuple[Named, ...] = ()
    relinked: tuple[Named, ...] = ()
    missing: tuple[Named, ...] = ()
    gone: tuple[Named, ...] = ()
    ambiguous_relinks: tuple[Named, ...] = ()
    """New items that match several lost assets, or lost assets that match several new items. They are left unchanged.
    """


class Guard(Struct, frozen=True):
    """Why the removals of a collection were held back."""

    code: str
    """``nothing_listed``, ``too_many``, ``location_unreadable``, ``source_scanning``, ``unidentified_items``,
    ``another_identity``, ``removals_changed``, …"""
    reason: str
    """The reason as a sentence."""


class HeldBack(Struct, frozen=True):
    """The removals of a collection that guards held back. None of them was written."""

    guards: tuple[Guard, ...]
    """At least one."""
    number: int
    """Assets that would have become missing or gone."""
    items: tuple[Named, ...]
    """The first `LISTED` of the assets, by name."""
    token: str | None
    """A token that confirms exactly this set of assets at the next sync; None if the removals can't be confirmed."""


class Reading(Struct, frozen=True):
    """How much of a collection was read, why, and what it took."""

    code: str
    """``stamp_equal``, ``stamp_moved``, ``count_differs``, ``sweep_due``, ``first``, …"""
    reason: str
    """The reason as the end of a sentence."""
    items: int
    """The number of source items that were read."""
    requests: int | None
    """The number of requests to the source; None if the importer doesn't measure its waiting."""
    sweep_in_s: float | None = None
    """Seconds until a sync reads all of the collection in any case; None for an ingest or a scope, or if the next sync
    does.
    """

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        seconds = self.sweep_in_s
        return {
            "code": self.code,
            "reason": self.reason,
            "items": self.items,
            "requests": self.requests,
            "sweep_in_seconds": None if seconds is None else round(seconds),
        }


NO_COUNTS = Counts()
NOTHING_LISTED = Listed()


def failed_enrichment(asset: str, enricher: str, code: str, cause: str) -> Mapping[str, str]:
    """Make an entry of the list of failed enrichments."""
    return {"asset": asset, "enricher": enricher, "code": code, "cause": cause}


class Enriched(Struct, frozen=True):
    """The result of enriching a collection, after its ingest or by ``collection enrich``."""

    succeeded: int = 0
    failed: int = 0
    owed: int | None = 0
    """Enrichments still owed, including failed ones; None if unknown. For a dry-run, those that would be owed."""
    interrupted: bool = False
    problem: Problem | None = None
    """Why the enrichment, or that by one enricher, ended early, except for an interruption."""
    unreachable: bool = False
    """Whether ``problem`` means that the source couldn't be reached."""
    failures: tuple[Mapping[str, str], ...] = ()
    """The first `LISTED` failures."""
    duration: float = 0.0
    """Seconds of wall time."""


class Durations(Struct, frozen=True):
    """The times of the phases of a collection's ingest, in seconds of wall time.

    Collections that are ingested at the same time share an event loop, so the time of a phase includes work on the
    other collections meanwhile.
    """

    total: float = 0.0
    waiting_for_source: float = 0.0
    """Waiting for answers of the source. For an importer that doesn't measure it, the time of all calls to the
    importer.
    """
    reading: float = 0.0
    """The importer's work on the answers: decoding, proving that the listing is complete, making drafts."""
    enriching: float = 0.0
    """Page enrichers. The time of other enrichers, after the commit, is in `Enriched.duration`."""
    staging: float = 0.0
    """Comparing with what the collection holds, and copying to the staging table."""
    merging: float = 0.0
    """The transaction of the merge."""


class Ingested(Struct, frozen=True):
    """The outcome of a collection that was ingested, or that a dry-run would ingest."""

    collection: Collection
    counts: Counts
    listed: Listed = NOTHING_LISTED
    durations: Durations = Durations()
    enriched: Enriched | None = None
    """The enrichment after the commit; None if the collection has no enricher, or if it hasn't begun."""
    read: Read = "full"
    """How much of the collection was read."""
    held_back: HeldBack | None = None
    """The removals that guards held back; None if there were none."""
    reading: Reading | None = None
    """Why this much was read."""


class Skipped(Struct, frozen=True):
    """The outcome of a collection that isn't eligible. Nothing of it was changed."""

    collection: Collection
    code: str
    """``sync_disabled`` or the code of the ingestibility check."""
    reason: str


class Failed(Struct, frozen=True):
    """The outcome of a collection whose ingest failed and was rolled back."""

    collection: Collection
    code: str
    message: str
    hint: str | None = None
    unreachable: bool = False
    interrupted: bool = False
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    traceback: str | None = None
    """The traceback of a bug in an importer or in RetroVue. The audit trail stores it; the terminal doesn't show it."""
    durations: Durations = Durations()
    counts: Counts = NO_COUNTS
    """Zeros, unless the ingest failed because all drafts were rejected."""
    listed: Listed = NOTHING_LISTED


CollectionOutcome = Ingested | Skipped | Failed


def with_enrichment(outcome: Ingested, enriched: Enriched) -> Ingested:
    """Return the outcome with the result of the collection's enrichment."""
    failures = (*outcome.listed.failed_enrichments, *enriched.failures)[:LISTED]
    failed = outcome.counts.failed_enrichments + enriched.failed
    return replace(
        outcome,
        counts=replace(outcome.counts, failed_enrichments=failed),
        listed=replace(outcome.listed, failed_enrichments=failures),
        enriched=enriched,
    )


def _order(outcome: CollectionOutcome) -> tuple[str, str, str]:
    collection = outcome.collection
    return (collection.name, collection.external_id, str(collection.id))


class IngestSummary(Struct, frozen=True):
    """All outcomes of a run, in the order of the collections' names, and the values computed from them."""

    run_id: UUID
    source: Source
    outcomes: tuple[CollectionOutcome, ...]
    dry_run: bool = False
    strict: bool = False
    """Whether an enabled collection that isn't ingestible makes the run ``partial``."""
    interrupted: bool = False
    duration: float = 0.0
    """Seconds of wall time."""
    mode: Mode = "ingest"
    atomic: bool = False
    """Whether all collections are merged in one transaction."""

    def __post_init__(self) -> None:
        force_setattr(self, "outcomes", tuple(sorted(self.outcomes, key=_order)))

    @property
    def ingested(self) -> tuple[Ingested, ...]:
        """The outcomes of collections that were ingested."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Ingested))

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The outcomes of collections that failed or were interrupted."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The outcomes of collections that were skipped."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Skipped))

    @property
    def lost(self) -> tuple[Skipped, ...]:
        """The outcomes of enabled collections that were skipped because they aren't ingestible."""
        return tuple(
            outcome for outcome in self.skipped if outcome.collection.sync_enabled and outcome.code != NOT_FAILED
        )

    @property
    def held_back(self) -> tuple[Ingested, ...]:
        """The outcomes of collections with removals that guards held back."""
        return tuple(outcome for outcome in self.ingested if outcome.held_back is not None)

    @property
    def processed(self) -> int:
        """The number of collections that were ingested, failed or were interrupted."""
        return len(self.ingested) + len(self.failed)

    def total(self, count: str) -> int:
        """Return the sum of a count over all collections."""
        tried: tuple[Ingested | Failed, ...] = (*self.ingested, *self.failed)
        return sum(getattr(outcome.counts, count) for outcome in tried)

    @property
    def status(self) -> RunStatus:
        """``error`` if all targeted ones failed, ``partial`` if some did or removals were held back, else ``ok``."""
        if self.failed and not self.ingested:
            return "error"
        if self.failed or self.interrupted or self.held_back or (self.strict and self.lost):
            return "partial"
        return "ok"

    @property
    def all_unreachable(self) -> bool:
        """Whether all failures mean that the source could not be reached."""
        return bool(self.failed) and all(outcome.unreachable for outcome in self.failed)
