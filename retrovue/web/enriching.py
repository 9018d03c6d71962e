"""Enrichments that were started on the web page."""

from uuid import UUID

from anyio.abc import TaskGroup

from retrovue.ingest.enrichment import enrich_one
from retrovue.ingest.events import Enriching
from retrovue.operations.catalogue import Store
from retrovue.web.tasks import StartedTask


class StartedEnrichment(StartedTask):
    """The enrichment of a collection that was started on the page. ``problem`` may also say why it ended early."""

    progress: Enriching | None = None
    """The latest progress; None before it has begun."""


class StartedEnrichments:
    """The latest enrichment of each collection that was started on the page."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._of: dict[UUID, StartedEnrichment] = {}

    def of(self, collection_id: UUID) -> StartedEnrichment | None:
        """Return the latest enrichment of a collection that was started here; None if there is none."""
        return self._of.get(collection_id)

    async def start(self, store: Store, collection_id: UUID, *, only_failed: bool) -> StartedEnrichment:
        """Start the owed enrichments of a collection, unless they are already being worked here."""
        before = self._of.get(collection_id)
        if before is not None and not before.over:
            return before
        started = self._of[collection_id] = StartedEnrichment()

        def progress(told: Enriching) -> None:
            started.progress = told
            started.began.set()

        async def work() -> None:
            async with enrich_one(store, str(collection_id), only_failed=only_failed, progress=progress) as enrichment:
                await enrichment.run()
                started.problem = enrichment.result.problem

        await started.start(self._group, work, "enrichment")
        return started
