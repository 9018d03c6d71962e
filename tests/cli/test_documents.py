"""The documents and reports of ingests, made from results alone."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from retrovue.cli.actions.ingest import summary_status
from retrovue.cli.errors import exit_status, explain
from retrovue.cli.ingest_report import report, summary_line, warnings
from retrovue.cli.table import table
from retrovue.cli.text import printable, width
from retrovue.core.errors import Problem
from retrovue.core.model import Collection, Source
from retrovue.core.pages import Rejection
from retrovue.core.results import (
    FAR_SMALLER,
    CollectionOutcome,
    Counts,
    Failed,
    Ingested,
    IngestSummary,
    Listed,
    Named,
    Skipped,
)
from retrovue.core.runs import Scope
from retrovue.core.text import redact
from retrovue.errors import NotFound, ScopeNotFound, SourceError, SourceRefused, SourceUnreachable
from retrovue.ingest.documents import collection_ingest_document, failed_ingest_document, summary_document

KEYS = [
    "status",
    "source",
    "collections_processed",
    "total_created_assets",
    "total_skipped_assets",
    "total_duplicates",
    "collection_results",
    "errors",
    "run_id",
    "dry_run",
    "strict",
    "total_discovered",
    "total_rejected",
    "total_relocated",
    "total_failed_enrichments",
    "total_source_items",
    "duration_seconds",
    "mode",
    "total_refreshed",
    "total_replaced",
    "total_restored",
    "total_relinked",
    "total_changed",
    "total_absent",
    "total_missing",
    "total_gone",
    "total_removals_held_back",
    "total_resumed",
    "atomic",
]
SOURCE = Source(uuid.uuid4(), "plex-5063d926", "My Plex", "plex", {})


def collection(name: str, *, enabled: bool = True) -> Collection:
    return Collection(uuid.uuid4(), SOURCE.id, name[0], name, "movie", enabled)


def ingested(name: str) -> Ingested:
    counts = Counts(source_items=5, discovered=7, created=3, skipped=2, duplicates=1, rejected=1, failed_enrichments=1)
    listed = Listed(
        created=(Named("One"), Named("Two"), Named("Three")),
        duplicates=(Named("Four", "plex://x/4", "One"),),
        rejected=(Rejection("no_media", "it has no media", "plex://x/5", "Five"),),
        failed_enrichments=({"asset": "One", "enricher": "probe", "cause": "no file"},),
    )
    return Ingested(collection(name), counts, listed)


def failed(name: str, **options: Any) -> Failed:
    return Failed(collection(name), options.pop("code", "malformed_answer"), f"{name} broke", "Fix it.", **options)


def summary(*outcomes: CollectionOutcome, **options: Any) -> IngestSummary:
    return IngestSummary(uuid.uuid4(), SOURCE, outcomes, **options)


class TestWarnings:
    def test_the_report_counts_each_kind_but_those_told_in_sentences(self) -> None:
        odd = Ingested(
            collection("A"), Counts(), Listed(warnings={"no_duration": 1200, "bad_year": 3, FAR_SMALLER: 38})
        )
        lines = report(summary(odd))
        assert lines[lines.index("A: warnings: bad_year 3, no_duration 1,200") - 1] == ""

    def test_far_fewer_items_than_the_last_time(self) -> None:
        odd = Ingested(collection("A"), Counts(), Listed(warnings={"bad_year": 3, FAR_SMALLER: 38}))
        (warning,) = warnings(odd, shown=True)
        assert warning.startswith("Collection 'A' has 38 items fewer than at its last ingest, more than half of them")
        assert list(warnings(ingested("A"), shown=False)) == []


class TestSourceIngest:
    def test_keys_are_always_there_in_their_order(self) -> None:
        assert list(summary_document(summary(ingested("A")))) == KEYS
        assert list(failed_ingest_document("X", [Problem("usage", "no")])) == KEYS

    def test_collections_are_in_name_order_with_the_same_keys(self) -> None:
        sleeping = Skipped(collection("B", enabled=False), "sync_disabled", "it is not enabled")
        document = summary_document(summary(failed("C"), sleeping, ingested("A")))
        results = document["collection_results"]
        assert [(result["name"], result["status"], result["targeted"]) for result in results] == [
            ("A", "ingested", True),
            ("B", "skipped", False),
            ("C", "failed", True),
        ]
        assert len({tuple(result) for result in results}) == 1
        assert results[1]["reason"] == "it is not enabled"
        assert results[2]["message"] == "C broke"
        assert results[2]["created"] == 0

    def test_numbers_add_up_and_their_lists_are_there(self) -> None:
        document = summary_document(summary(ingested("A"), ingested("B")))
        assert document["total_created_assets"] == 6
        assert document["total_failed_enrichments"] == 2
        result = document["collection_results"][0]
        assert result["created_titles"] == ["One", "Two", "Three"]
        assert result["duplicate_candidates"] == [{"title": "Four", "source_uri": "plex://x/4", "duplicate_of": "One"}]
        assert result["rejected_items"][0]["code"] == "no_media"

    def test_each_failed_collection_is_an_error(self) -> None:
        errors = summary_document(summary(failed("A"), failed("B", interrupted=True, code="interrupted")))["errors"]
        assert [(error["code"], error["collection"]["name"]) for error in errors] == [
            ("malformed_answer", "A"),
            ("interrupted", "B"),
        ]

    def test_what_an_importer_of_somebody_else_says_is_plain_json(self) -> None:
        context: Any = {1: uuid.UUID(int=7), "where": Path("/a"), "what": object}
        said_so = replace(failed("A"), context=SourceError("x", context=context).context)
        (error,) = summary_document(summary(said_so))["errors"]
        said = {"1": "00000000-0000-0000-0000-000000000007", "where": "/a", "what": "<class 'object'>"}
        assert json.loads(json.dumps(error))["context"] == said

    def test_the_collections_of_an_error_are_skipped_ones(self) -> None:
        named = {"id": "1", "external_id": "7", "name": "A", "code": "sync_disabled", "reason": "it is not enabled"}
        document = failed_ingest_document(
            "X", [Problem("no_enabled_collections", "no", context={"collections": [named]})]
        )
        assert document["source"] == {"id": None, "external_id": None, "name": "X", "type": None}
        [result] = document["collection_results"]
        assert (result["name"], result["status"], result["code"]) == ("A", "skipped", "sync_disabled")

    def test_a_problem_beside_the_collections_makes_it_partial(self) -> None:
        document = summary_document(summary(ingested("A")), [Problem("database_unavailable", "gone")])
        assert (document["status"], document["errors"][0]["code"]) == ("partial", "database_unavailable")

    def test_collection_ingest_names_collection_and_scope(self) -> None:
        outcome = ingested("A")
        document = collection_ingest_document(summary(outcome), outcome.collection, Scope("One", 2))
        assert list(document)[:4] == ["status", "source", "collection", "scope"]
        assert document["scope"] == {"title": "One", "season": 2, "episode": None}


class TestExitStatus:
    def test_of_a_run(self) -> None:
        lost = failed("L", code="source_unreachable", unreachable=True)
        assert summary_status(summary(ingested("A"))) == 0
        assert summary_status(summary()) == 0
        assert summary_status(summary(ingested("A"), failed("B"))) == 2
        assert summary_status(summary(failed("B"))) == 1
        assert summary_status(summary(lost)) == 3
        assert summary_status(summary(lost, failed("B"))) == 1
        assert summary_status(summary(ingested("A"), lost)) == 2
        assert summary_status(summary(ingested("A"), failed("B", code="internal"))) == 1
        assert summary_status(summary(failed("B", code="scope_not_found"))) == 2

    def test_strict_makes_a_lost_collection_partial(self) -> None:
        lost = Skipped(collection("B"), "missing_directory", "the directory is missing")
        assert summary_status(summary(ingested("A"), lost)) == 0
        assert summary_status(summary(ingested("A"), lost, strict=True)) == 2

    def test_of_an_error(self) -> None:
        assert exit_status(NotFound("no")) == 1
        assert exit_status(SourceRefused("no")) == 1
        assert exit_status(SourceUnreachable("no")) == 3
        assert exit_status(ScopeNotFound("no")) == 2
        assert exit_status(ZeroDivisionError()) == 1
        assert exit_status(ExceptionGroup("group", [ZeroDivisionError(), SourceUnreachable("no")])) == 3

    def test_a_bug_shows_no_more_than_its_type(self) -> None:
        problem = explain(ZeroDivisionError("the secret"))
        assert problem.message == "RetroVue has a bug: ZeroDivisionError"
        assert "RETROVUE_DEBUG=1" in (problem.hint or "")


class TestReport:
    def test_ends_with_label_and_summary(self) -> None:
        lines = report(summary(ingested("A"), ingested("B"), ingested("C"), failed("D")))
        assert lines[-2:] == [
            "Partial success",
            "Source ingest complete: 4 collections processed (3 success, 1 failed)",
        ]

    def test_labels(self) -> None:
        waiting = failed("B", interrupted=True, code="interrupted")
        fine = Skipped(collection("A"), "not_failed", "its latest ingest succeeded")
        assert report(summary(ingested("A")))[-2] == "Success"
        assert report(summary(ingested("A"), dry_run=True))[-2] == "Success (dry run)"
        assert report(summary(fine))[-2] == "Success: nothing to retry"
        alone = report(summary(failed("A")))
        assert alone[-2] == "Error: A broke"
        assert sum("A broke" in line for line in alone) == 1
        assert report(summary(failed("A"), failed("B")))[-2] == "Error: all 2 collections failed"
        assert report(summary(ingested("A"), waiting, interrupted=True))[-2] == "Partial success (interrupted)"
        assert "interrupted" in report(summary(waiting, interrupted=True))[-2]

    def test_interrupted_collections_are_counted_apart(self) -> None:
        line = summary_line(summary(ingested("A"), failed("B", interrupted=True), interrupted=True))
        assert line == "Source ingest interrupted: 2 collections processed (1 success, 0 failed, 1 interrupted)"

    def test_names_what_is_behind_each_number(self) -> None:
        sleeping = Skipped(collection("Z", enabled=False), "sync_disabled", "it is not enabled")
        text = "\n".join(report(summary(ingested("A"), failed("B"), sleeping)))
        assert "Source: My Plex (plex-5063d926, type plex)" in text
        assert "Enabled collections: 2 of 3" in text
        assert "A: duplicate candidates (1):\n  Four (same file as One)" in text
        assert "A: rejected (1):\n  Five: it has no media" in text
        assert "A: failed enrichments (1):\n  One: probe: no file" in text
        assert "  Z: it is not enabled" in text
        assert "Failed: B: B broke [malformed_answer]\n  Fix it." in text

    def test_a_dry_run_shows_twenty_titles(self) -> None:
        counts = Counts(source_items=25, discovered=25, created=25)
        titles = tuple(Named(f"Title {number}") for number in range(20))
        lines = report(summary(Ingested(collection("A"), counts, Listed(created=titles)), dry_run=True))
        assert "Dry run: nothing is written." in lines
        assert [line for line in lines if line.startswith("  Title ")] == [f"  Title {number}" for number in range(20)]
        assert "  ... and 5 more" in lines

    def test_tables_fit_eighty_columns_and_lose_nothing(self) -> None:
        name = "A library with a very long name indeed, 日本の映画, which somebody was proud of"
        lines = report(summary(ingested(name), failed("B", interrupted=True, code="interrupted"), interrupted=True))
        start = next(index for index, line in enumerate(lines) if line.startswith("Collection"))
        rows = lines[start : lines.index("", start)]
        assert max(width(line) for line in rows) <= 80
        column = lines[start + 1].index(" ")
        assert name.replace(" ", "") in "".join(line[:column] for line in rows[2:]).replace(" ", "")


class TestText:
    @pytest.mark.fault(70)
    def test_control_characters_are_shown_as_escapes(self) -> None:
        evil = "a\x1b]0;owned\x07b\x9b31m\r\n\tc\u202ed\u2066e\x00\x7f\u2028"
        assert printable(evil) == "a\\x1b]0;owned\\x07b\\x9b31m\\r\\n\\tc\\u202ed\\u2066e\\x00\\x7f\\u2028"

    def test_other_letters_stay(self) -> None:
        assert printable("Amélie 東京 🎬 — “x”") == "Amélie 東京 🎬 — “x”"

    def test_passwords_in_addresses_are_hidden(self) -> None:
        assert redact("at http://me:pa:ss@host:1/x.") == "at http://me:…@host:1/x."
        assert redact("http://h/?X-Plex-Token=abc&y=1") == "http://h/?X-Plex-Token=…&y=1"
        assert redact("ratio 1:2@3") == "ratio 1:2@3"

    def test_wide_letters_are_aligned(self) -> None:
        lines = table(("Name", "N"), [("東京", 1), ("abcd", 22)], numbers=(1,))
        assert lines == ["Name   N", "----  --", "東京   1", "abcd  22"]
