"""The options of a run."""

import datetime as dt

from msgspec import Struct

from retrovue.core.errors import RequestError
from retrovue.core.runs import DEFAULT_MAX_REMOVALS, MaxRemovals, Mode
from retrovue.importers.guard import PATIENCE
from retrovue.ingest import enrichment
from retrovue.ingest.guards import Removal
from retrovue.store.retention import require_age

DEFAULT_CONCURRENCY = 4
"""The default number of collections at the same time: enough to keep PostgreSQL and a Plex server busy on a small
machine.
"""


class IngestOptions(Struct, frozen=True):
    """The options of a run. Raises RequestError for values out of range."""

    concurrency: int = DEFAULT_CONCURRENCY
    """Collections ingested at the same time; each holds one database connection."""
    dry_run: bool = False
    """Compute the outcomes that a run would have, and write nothing."""
    strict: bool = False
    """Make the run ``partial`` if an enabled collection isn't ingestible."""
    retry_failed: bool = False
    """Ingest only collections whose latest full ingest failed, was interrupted, or has an unknown outcome."""
    max_rps: float | None = None
    """The most requests to the source in a second; None means that only the server's answers limit the rate."""
    patience: float = PATIENCE
    """The deadline of each call to the importer, in seconds."""

    keep_details: dt.timedelta | None = dt.timedelta(days=180)
    """Days for which the audit trail keeps details, such as rejected items; None keeps them for good. Outcomes always
    stay.
    """
    keep_changes: dt.timedelta | None = None
    """Days for which the feed of changes keeps a change; None keeps them for good. A reader with an older cursor gets
    CursorExpired.
    """
    enrichment_concurrency: int = enrichment.DEFAULT_CONCURRENCY
    """Batches of assets that are enriched at the same time, over all collections, after their commits."""
    mode: Mode = "ingest"
    """``ingest`` adds new items; ``sync`` also updates known assets, and marks the assets that aren't listed."""
    max_removals: MaxRemovals | None = None
    """The most assets of a collection that a sync may mark as missing without confirmation; None:
    `DEFAULT_MAX_REMOVALS`.
    """
    confirm_removals: frozenset[str] = frozenset()
    """The tokens of removals that a person has reviewed: `core.results.HeldBack.token`."""

    atomic: bool = False
    """Merge all collections in one transaction: if one fails, none is written."""
    full: bool = False
    """Let a sync compare each item, even if the source reports no change."""
    sweep_every: dt.timedelta | None = None
    """The interval after which a sync reads all of a collection in any case; None: `Source.sweep_every_s`."""
    full_every: dt.timedelta | None = None
    """The interval after which a sync compares each item in any case; None: `Source.full_every_s`."""
    items: frozenset[str] = frozenset()
    """The source's own keys of items that may have changed, for a sync of one collection: see `sync_items`."""

    enrich: bool = True
    """Do the owed enrichments of a collection after it was committed."""

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.enrichment_concurrency < 1:
            raise RequestError("The concurrency must be at least 1.", code="bad_concurrency")
        if self.max_rps is not None and not self.max_rps > 0:
            raise RequestError("The rate of requests must be more than 0.", code="bad_rate")
        for age in (self.keep_details, self.keep_changes):
            if age is not None:
                require_age(age)
        if any(every is not None and every < dt.timedelta() for every in (self.sweep_every, self.full_every)):
            raise RequestError("The interval of a sweep or a full reading can't be negative.", code="bad_interval")
        if self.items and self.mode != "sync":
            raise RequestError("Only a sync reads single items.", code="bad_items")
        if not self.patience > 0:
            raise RequestError("The patience must be more than 0 seconds.", code="bad_patience")

    @property
    def removal(self) -> Removal:
        """What a sync may remove."""
        return Removal(self.max_removals or DEFAULT_MAX_REMOVALS, self.confirm_removals)
