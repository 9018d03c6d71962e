"""Jobs: leave runs to workers, follow them, and work as a worker."""

from functools import partial
from typing import Any

from retrovue.cli import ingest_report as reports
from retrovue.cli.actions.enrichers import EnrichmentReport, print_enrichment
from retrovue.cli.actions.hosts import begin_hosting
from retrovue.cli.actions.ingest import Report, goes_on, ingest_options
from retrovue.cli.errors import OK, explain
from retrovue.cli.invocation import Invocation, opened
from retrovue.core.errors import NothingEligible, changed_meanwhile
from retrovue.core.extras import JOB_PACKAGES, require_packages
from retrovue.core.results import Enriched
from retrovue.ingest.documents import collection_identity, failed_ingest_document, source_identity
from retrovue.operations import catalogue


async def enqueue_source(call: Invocation, reference: str, *, wait: bool, **options: Any) -> int:
    """Leave the ingest or sync of a source to workers; with ``wait`` follow it like a run in this process."""
    requesting = _requesting()
    settings = ingest_options(call, **options)
    async with opened(call) as store:
        source = await catalogue.find_source(store, reference)
        call.error_document = partial(
            failed_ingest_document, reference, source=source, strict=settings.strict, mode=settings.mode
        )
        try:
            requested = await requesting.request_run(store, str(source.id), settings)
            if not wait:
                return _print_requested(call, requested)
            _warn_without_workers(call, requested)
            return await Report(call, elsewhere=True).follow(lambda: requesting.follow_run(store, requested.id))
        except NothingEligible as exc:
            if not call.output.as_json:
                call.output.lines([*reports.heading(source), *reports.not_eligible(explain(exc))])
            raise


async def enqueue_enrichment(call: Invocation, reference: str, source: str | None, *, wait: bool) -> int:
    """Leave the owed enrichments of a collection to workers; with ``wait`` report the result."""
    requesting = _requesting()
    async with opened(call) as store:
        requested = await requesting.request_enrichment(store, reference, source)
        if not wait:
            return _print_requested(call, requested)
        _warn_without_workers(call, requested)
        call.report_interruption = partial(_print_goes_on, call, str(requested.id))
        async with requesting.follow_run(store, requested.id) as run:
            pass
        call.report_interruption = None
    outcomes = {outcome.collection.id: outcome for outcome in run.summary.ingested}
    (collection,) = requested.targeted
    outcome = outcomes.get(collection.id)
    if outcome is None:
        raise changed_meanwhile(f"Collection {collection.display_name}")
    result = outcome.enriched or Enriched()
    return print_enrichment(call, EnrichmentReport(requested.id, requested.source, collection, result))


async def work(call: Invocation, name: str | None, *, concurrency: int, sources: tuple[str, ...]) -> int:
    """Work jobs until a signal stops the process."""
    host, tell = begin_hosting(call, "worker", name)
    require_packages("to work jobs", *JOB_PACKAGES)
    from retrovue.service.jobs import JobResult  # imported here because the engine may not be installed
    from retrovue.service.worker import work_jobs

    def done(worked: JobResult) -> None:
        tell(f"{worked.collection.display_name}  {type(worked.outcome).__name__.lower()}")

    has_joined = False

    def joined() -> None:
        nonlocal has_joined
        if not has_joined:  # It is registered again after an outage.
            call.output.lines([f"{host} works jobs. SIGTERM or Ctrl-C stops it."])
        has_joined = True

    async with opened(call, connections=concurrency) as store:
        # A signal is the normal end.
        call.answered(OK)
        await work_jobs(store, host, concurrency=concurrency, sources=sources or None, on_worked=done, on_joined=joined)
    return OK


def _requesting() -> Any:
    require_packages("to enqueue runs", *JOB_PACKAGES)
    from retrovue.service import requesting  # imported here because the engine may not be installed

    return requesting


def _print_requested(call: Invocation, requested: Any) -> int:
    document = {
        "run_id": requested.id,
        "source": source_identity(requested.source),
        "collections": [collection_identity(collection) for collection in requested.targeted],
        "workers": list(requested.workers),
    }
    number = len(requested.targeted)
    lines = [
        f"Enqueued: {number} collection{'' if number == 1 else 's'} of {requested.source.name}, run {requested.id}",
        f"Workers: {', '.join(requested.workers)}" if requested.workers else _NO_WORKER,
        f"`retrovue ingest show {requested.id}` shows what has been done.",
    ]
    return call.answer(document, lines)


_NO_WORKER = "No worker is running: the run begins when one starts. Start `retrovue worker`."


def _warn_without_workers(call: Invocation, requested: Any) -> None:
    if not requested.workers:
        call.output.warn(_NO_WORKER)


def _print_goes_on(call: Invocation, run: str) -> None:
    call.fail(goes_on(run))
