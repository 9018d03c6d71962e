"""Enrichers: list types; add, show, update and remove enrichers; attach and run them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import Struct

from retrovue.cli.asking import confirm
from retrovue.cli.errors import FAILED, OK, PARTIAL, UNREACHABLE, InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.progress import Progress
from retrovue.cli.table import room, table
from retrovue.core.errors import EnricherNotCompliant
from retrovue.core.model import AttachedEnricher, Collection, Enricher, Source
from retrovue.core.results import Enriched
from retrovue.enrichers.registry import enricher_class, enricher_types, parameters_of
from retrovue.ingest.documents import (
    collection_identity,
    enrichment_document,
    enrichment_interrupted,
    enrichments_failed,
    source_identity,
)
from retrovue.ingest.enrichment import EnrichmentWork, enrich_one
from retrovue.operations import attachments, catalogue
from retrovue.operations.attachments import Attachment
from retrovue.operations.catalogue import EnricherListing
from retrovue.operations.documents import attached_enricher_document, enricher_document, enricher_listing_document

_SHOWN = 5


async def show_types(call: Invocation) -> int:
    """List the installed types with their parameters."""
    types = [_type_fields(name) for name in enricher_types()]
    lines: list[str] = []
    for fields in types:
        lines.append(fields["type"] if fields["problem"] is None else f"{fields['type']}: {fields['problem']}")
        if fields["problem"] is None:
            lines.append(f"  runs {'on the pages of an ingest' if fields['runs_on_pages'] else 'after the commit'}")
        for parameter in fields["parameters"]:
            need = "" if parameter["required"] else " (optional)"
            lines.append(f"  {parameter['name']}{need}: {parameter['description']}")
    return call.answer({"total": len(types), "types": types}, lines)


def _type_fields(name: str) -> dict[str, Any]:
    try:
        known = enricher_class(name)
        fields = parameters_of(name)
    except EnricherNotCompliant as exc:
        return {"type": name, "problem": exc.message, "runs_on_pages": None, "parameters": []}
    parameters = [
        {"name": field.name, "description": field.description, "required": field.required} for field in fields
    ]
    return {"type": name, "problem": None, "runs_on_pages": known.runs_on_pages, "parameters": parameters}


def _given(parameters: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value is not None}


async def add_enricher(call: Invocation, type_name: str, name: str, parameters: Mapping[str, str | None]) -> int:
    """Add an enricher."""
    async with opened(call) as store:
        enricher = await attachments.add_enricher(
            store, type_name, name, _given(parameters), dry_run=call.dry_run
        )  # fmt: skip
    head = "Dry run: nothing was written. This would be added:" if call.dry_run else "Added enricher"
    hint = f"Attach it with `retrovue collection attach-enricher COLLECTION {enricher.external_id}`."
    lines = [f"{head} {_identity(enricher)}", *([] if call.dry_run else [hint])]
    return call.answer({"dry_run": call.dry_run, "enricher": enricher_document(enricher)}, lines)


async def show_enrichers(call: Invocation) -> int:
    """List enrichers."""
    async with opened(call, reading=True) as store:
        listings = await catalogue.list_enrichers(store)
    rows = [
        (
            listing.enricher.name,
            listing.enricher.type,
            listing.enricher.external_id,
            len(listing.collections),
            listing.succeeded,
            listing.failed,
        )
        for listing in listings
    ]
    heads = ("Enricher", "Type", "Id", "Collections", "Succeeded", "Failed")
    fields = [enricher_listing_document(listing) for listing in listings]
    lines = table(heads, rows, numbers=(3, 4, 5), columns=room())
    return call.answer(
        {"total": len(fields), "enrichers": fields},
        lines if listings else ["No enrichers. Add one with `retrovue enricher add`."],
    )


async def show_enricher(call: Invocation, reference: str) -> int:
    """Show one enricher."""
    async with opened(call, reading=True) as store:
        listing = await catalogue.get_enricher(store, reference)
    return call.answer({"enricher": enricher_listing_document(listing)}, _lines(listing))


def _lines(listing: EnricherListing) -> list[str]:
    enricher = listing.enricher
    return [
        f"Enricher {_identity(enricher)}",
        *(f"  {name}: {value}" for name, value in sorted(enricher.config.items())),
        *(f"  attached to {name} with priority {priority}" for _, name, priority in listing.collections),
        f"  assets: {listing.succeeded} succeeded, {listing.failed} failed",
    ]


async def change_enricher(
    call: Invocation, reference: str, name: str | None, unset: Sequence[str], parameters: Mapping[str, str | None]
) -> int:
    """Change an enricher's name or parameters."""
    config = _given(parameters)
    if name is None and not config and not unset:
        raise InputError("Nothing to update.", hint="Give --name, --unset or a parameter.")
    removed = tuple(parameter.removeprefix("--").replace("-", "_") for parameter in unset)
    async with opened(call) as store:
        before, after = await attachments.update_enricher(
            store, reference, name=name, config=config, unset=removed, dry_run=call.dry_run
        )
    changed = [] if before.name == after.name else ["name"]
    changed += sorted(key for key in {*before.config, *after.config} if before.config.get(key) != after.config.get(key))
    head = "Dry run: nothing was written. Would change" if call.dry_run else "Changed"
    return call.answer(
        {"dry_run": call.dry_run, "enricher": enricher_document(after), "changed": changed},
        [f"Enricher {_identity(after)}", f"{head}: {', '.join(changed)}" if changed else "Nothing has changed."],
    )


async def remove_enricher(call: Invocation, reference: str, *, yes: bool) -> int:
    """Remove an enricher, after confirmation."""

    def confirm_removal(listing: EnricherListing) -> None:
        confirm(call, _lines(listing), yes=yes, context={"collections": len(listing.collections)})

    async with opened(call) as store:
        listing = await attachments.remove_enricher(store, reference, confirm=confirm_removal, dry_run=call.dry_run)
    head = "Dry run: nothing was written. This would be removed:" if call.dry_run else "Removed:"
    document = {"dry_run": call.dry_run, "enricher": enricher_listing_document(listing)}
    return call.answer(document, [head, *_lines(listing)])


async def attach(
    call: Invocation, collection: str, enricher: str, source: str | None, *, priority: int | None
) -> int:  # fmt: skip
    """Attach an enricher to a collection."""
    async with opened(call) as store:
        change = await attachments.attach_enricher(
            store, collection, enricher, source_reference=source, priority=priority, dry_run=call.dry_run
        )
    return _print_attachment(call, change, "attached to", "enriching")


async def detach(call: Invocation, collection: str, enricher: str, source: str | None) -> int:
    """Detach an enricher from a collection."""
    async with opened(call) as store:
        change = await attachments.detach_enricher(
            store, collection, enricher, source_reference=source, dry_run=call.dry_run
        )
    return _print_attachment(call, change, "detached from", "new")


def _print_attachment(call: Invocation, change: Attachment, done: str, state: str) -> int:
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "source": source_identity(change.source),
                "collection": collection_identity(change.collection),
                "enricher": enricher_document(change.enricher),
                "changed": change.changed,
                "assets_changed": change.assets,
                "enrichers": [attached_enricher_document(enricher) for enricher in change.attached],
            }
        )
        return 0
    head = "Dry run: nothing was written. Would be" if call.dry_run else "Enricher"
    lines = [f"{head} {done} {change.collection.name} of {change.source.name}: {_identity(change.enricher)}"]
    if not change.changed:
        lines = [f"Nothing has changed: {_identity(change.enricher)}"]
    if change.assets:
        lines.append(f"Assets that are {state} now: {change.assets}")
    call.output.lines([*lines, *attached_lines(change.attached)])
    return 0


async def enrich(
    call: Invocation, collection: str, source: str | None, *, only_failed: bool, concurrency: int | None
) -> int:  # fmt: skip
    """Do the owed enrichments of a collection's assets; for a dry-run only count them."""
    options: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}
    async with opened(call) as store:
        with Progress(call.output, of_run=False) as progress:
            async with enrich_one(
                store,
                collection,
                source_reference=source,
                only_failed=only_failed,
                dry_run=call.dry_run,
                progress=progress.show,
                **options,
            ) as work:
                if call.dry_run:
                    await work.count()
                else:
                    call.report_interruption = partial(_print_interrupted, call, work)
                    await work.run()
        call.report_interruption = None
        return print_enrichment(call, EnrichmentReport.of(work))


def _print_interrupted(call: Invocation, work: EnrichmentWork) -> None:
    print_enrichment(call, EnrichmentReport.of(work))
    call.status = None  # the exit status of the signal


class EnrichmentReport(Struct, frozen=True):
    """An enrichment and its result."""

    run_id: UUID
    source: Source
    collection: Collection
    result: Enriched

    @classmethod
    def of(cls, work: EnrichmentWork) -> "EnrichmentReport":
        """Return the result so far of an enrichment in this process."""
        return cls(work.run_id, work.source, work.collection, work.result)


def print_enrichment(call: Invocation, work: EnrichmentReport) -> int:
    """Print the report of an enrichment; return the exit status."""
    result = work.result
    problems = [] if result.problem is None else [result.problem]
    if result.interrupted:
        problems.append(enrichment_interrupted(work.collection, result))
    if result.failed and not problems:
        problems.append(enrichments_failed(work.collection, result))
    status = _status(result)
    if call.output.as_json:
        call.output.document(
            {
                "status": "error" if status in {FAILED, UNREACHABLE} else "partial" if problems else "ok",
                "run_id": None if call.dry_run else str(work.run_id),
                "dry_run": call.dry_run,
                "source": source_identity(work.source),
                "collection": collection_identity(work.collection),
                **(enrichment_document(result) or {}),
                "failed_enrichment_items": [dict(failure) for failure in result.failures],
                "errors": [problem.document() for problem in problems],
            }
        )
    else:
        call.output.lines(_result_lines(call, work))
    for problem in problems:
        call.output.complain(problem)
    return call.answered(status)


def _status(result: Enriched) -> int:
    if result.problem is None:
        return PARTIAL if result.failed else OK
    if result.succeeded and result.problem.code != "internal":
        return PARTIAL
    return UNREACHABLE if result.unreachable else FAILED


def _result_lines(call: Invocation, work: EnrichmentReport) -> list[str]:
    result = work.result
    name = f"{work.collection.name} of {work.source.name}"
    if call.dry_run:
        return [f"Dry run: nothing is written. Owed to {name}: {result.owed}"]
    failures = [
        f"  {failure['asset']}: {failure['enricher']}: {failure['cause']}" for failure in result.failures[:_SHOWN]
    ]
    more = result.failed - len(failures)
    owed = "unknown" if result.owed is None else result.owed
    end = "interrupted" if result.interrupted else "complete"
    return [
        *([f"Failed enrichments ({result.failed}):"] if result.failed else []),
        *failures,
        *([f"  ... and {more} more"] if more > 0 and failures else []),
        f"Enrichment {end}: {name}: {result.succeeded} succeeded, {result.failed} failed, {owed} owed",
    ]


def attached_lines(attached: Sequence[AttachedEnricher]) -> list[str]:
    """Return a line for each enricher of a collection."""
    return [f"Enricher:    {enricher.priority:>3}  {_identity(enricher.enricher)}" for enricher in attached]


def _identity(enricher: Enricher) -> str:
    return f"{enricher.name} ({enricher.external_id}, type {enricher.type})"
