"""The JSON documents of source ingest and collection ingest: the library's, and what only a command can say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retrovue.core.errors import Problem

if TYPE_CHECKING:
    from retrovue.core.model import Collection, Scope, Source
    from retrovue.core.results import IngestSummary


def source_ingest(summary: "IngestSummary", more: Sequence[Problem] = ()) -> dict[str, Any]:
    """Build the document of a source ingest that came to a summary; ``more`` went wrong besides the collections."""
    from retrovue.ingest.documents import summary_document

    document = summary_document(summary)
    document["status"] = status_of(summary, more)
    document["errors"] += [problem.document() for problem in more]
    return document


def collection_ingest(
    summary: "IngestSummary", collection: "Collection", scope: "Scope", more: Sequence[Problem] = ()
) -> dict[str, Any]:
    """Build the document of a collection ingest: that of a source ingest, with the collection and the scope."""
    from retrovue.ingest.documents import collection_identity

    document = source_ingest(summary, more)
    asked = {
        "status": document.pop("status"),
        "source": document.pop("source"),
        "collection": {**collection_identity(collection), "kind": collection.kind},
        "scope": {"title": scope.title, "season": scope.season, "episode": scope.episode},
    }
    return asked | document


def status_of(summary: "IngestSummary", more: Sequence[Problem] = ()) -> str:
    """Say how the run went, counting in what went wrong besides the collections."""
    if not more or summary.status == "error":
        return summary.status
    return "partial" if summary.ingested else "error"


def failed_source_ingest(
    asked: str | None,
    problems: Sequence[Problem],
    *,
    source: "Source | None" = None,
    dry_run: bool = False,
    strict: bool = False,
) -> dict[str, Any]:
    """Build the document of a source ingest that came to nothing; the collections it names count as skipped."""
    from retrovue.ingest.documents import TOTALS, run_document, source_identity

    unknown = {"id": None, "external_id": None, "name": asked, "type": None}
    return run_document(
        status="error",
        source=unknown if source is None else source_identity(source),
        processed=0,
        totals=dict.fromkeys(TOTALS, 0),
        results=[entry for problem in problems for entry in _skipped(problem)],
        errors=problems,
        run={"run_id": None, "dry_run": dry_run, "strict": strict},
        duration=0.0,
    )


def _skipped(problem: Problem) -> list[dict[str, Any]]:
    """Build the objects of the collections that an error names as not eligible."""
    from retrovue.ingest.documents import skipped_document

    found = problem.context.get("collections")
    return [
        {
            "id": entry.get("id"),
            "external_id": entry.get("external_id"),
            "name": entry.get("name"),
            "kind": entry.get("kind"),
            **skipped_document(entry.get("code"), entry.get("reason")),
        }
        for entry in (found if isinstance(found, list) else [])
    ]
