"""The table of verdicts: a new verdict is an entry there, and every output has it."""

import ast
import subprocess
import sys
from typing import Any

import orjson
import pytest

from retrovue.core.results import Counts, Listed
from retrovue.core.verdicts import ADDED, COUNTS, LISTS, VERDICTS
from tests.contracts.rules import ROOT

ENTRY = """
    Verdict(
        name="found_again", count="found_again", meaning="items that were made up", total="total_found_again",
        heading="Found",
        entries=Entries(
            key="found_again_items", meaning="An item that was made up.", detail="found_at", column="canonical_uri",
            label="found again", text="{title} found at {detail}",
        ),
    ),
)

COUNTS"""
PROGRAM = f"""
import logging, sys, types, uuid
import orjson
import retrovue.core

# A copy of the table with one entry more and its two attributes, before any module has read the table.
def copy(name, replacements):
    text = open(f"retrovue/core/{{name}}.py", encoding="utf-8").read()
    for old, new in replacements.items():
        text = text.replace(old, new, 1)
    module = sys.modules[f"retrovue.core.{{name}}"] = types.ModuleType(f"retrovue.core.{{name}}")
    exec(compile(text, f"{{name}}.py", "exec"), module.__dict__)
    setattr(retrovue.core, name, module)

copy("verdicts", {{"\\n)\\n\\nCOUNTS": {ENTRY!r}}})
number, entries = "    warnings: int = 0\\n", "    rejected: tuple[Rejection, ...] = ()\\n"
copy("results", {{
    number: "    found_again: int = 0\\n" + number,
    entries: "    found_again: tuple[Named, ...] = ()\\n" + entries,
}})

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from retrovue.cli.actions import audit_trail
from retrovue.cli.ingest_report import report
from retrovue.core.model import Collection, Source
from retrovue.core.results import Counts, Ingested, IngestSummary, Listed, Named
from retrovue.ingest import telemetry
from retrovue.ingest.collector import Collector
from retrovue.ingest.documents import summary_document
from retrovue.store import audit, merge
from retrovue.store.log import COUNTS as READ
from tests.support import meanings, schemas

source = Source(uuid.UUID(int=1), "plex-1", "Plex", "plex", {{}}, {{}})
collection = Collection(uuid.UUID(int=2), source.id, "1", "Movies", "movie", True)
merged = merge.merge_result({{"found_again": 2, "created": 1}}, {{"found_again": [Named("Heat", "plex://1", "/a")]}})
outcome = Ingested(collection, Counts(discovered=3, **merged.counts), merged.listed)
summary = IngestSummary(uuid.UUID(int=3), source, (outcome,))
document = summary_document(summary)
schemas.check(["source", "ingest", "--json"], orjson.dumps(document).decode())
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
telemetry.count(outcome)
messages = []
logging.getLogger("retrovue").addHandler(handler := logging.Handler())
logging.getLogger("retrovue").setLevel(logging.INFO)
handler.emit = lambda record: messages.append(record.getMessage())
collector = Collector(summary.run_id, source, [collection], [], dry_run=False, strict=False)
collector.report(outcome)
collector.end()
print(orjson.dumps({{
    "listed": [named.title for named in Listed(found_again=merged.listed.found_again).found_again],
    "document": document,
    "schemas": {{name: text for name, text in schemas.files().items()}},
    "report": [str(line) for line in report(summary)],
    "metrics": reader.get_metrics_data().to_json(),
    "log": messages,
    "list": str(merge._LIST),
    "audit": str(audit._OUTCOME),
    "read": READ,
    "heads": audit_trail._HEADS,
    "meaning": meanings.MEANINGS["ingest_outcome"]["found_again"],
}}).decode())
"""


@pytest.fixture(scope="module")
def outputs() -> Any:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


class TestMadeUp:
    """An entry more in a copy of the table, and nothing else."""

    def test_counts_and_lists(self, outputs: Any) -> None:
        assert outputs["listed"] == ["Heat"]

    def test_documents_and_their_schemas(self, outputs: Any) -> None:
        document = outputs["document"]
        (result,) = document["collection_results"]
        assert (result["found_again"], document["total_found_again"]) == (2, 2)
        assert result["found_again_items"] == [{"title": "Heat", "source_uri": "plex://1", "found_at": "/a"}]
        for name in ("source-ingest", "collection-ingest", "ingest-event"):
            schema = orjson.loads(outputs["schemas"][f"{name}.schema.json"])
            assert "found_again_items" in schema["$defs"]["CollectionResult"]["properties"] or name == "ingest-event"
            assert schema["$defs"]["FoundAgain"]["description"] == "An item that was made up."
        for name in ("ingest-log", "ingest-shown"):
            assert '"found_again"' in outputs["schemas"][f"{name}.schema.json"]

    def test_report(self, outputs: Any) -> None:
        text = "\n".join(outputs["report"])
        assert "Found" in text
        assert "Movies: found again (2):\n  Heat found at /a\n  ... and 1 more" in text
        assert "Found" in outputs["heads"]

    def test_metrics_and_log(self, outputs: Any) -> None:
        assert '"retrovue.result": "found_again"' in outputs["metrics"]
        assert any("2 found_again" in message for message in outputs["log"])

    def test_audit_trail_and_merge(self, outputs: Any) -> None:
        assert ":found_again" in outputs["audit"]
        assert "found_again" in outputs["read"]
        assert "verdict = 'found_again'" in outputs["list"]
        assert outputs["meaning"] == "items that were made up"


class TestPublicRecords:
    def test_counts_are_those_of_the_table(self) -> None:
        assert tuple(Counts.__struct_fields__) == COUNTS

    def test_lists_are_those_of_the_table(self) -> None:
        first = [verdict.count for verdict, _ in LISTS if not verdict.added]
        added = [kind.count for kind in ADDED if kind.entries is not None]
        others = ("failed_enrichments", "warnings")
        assert tuple(Listed.__struct_fields__) == (*first, *others, *added, "ambiguous_relinks")

    def test_type_checkers_know_their_attributes(self) -> None:
        """mypy reports an ignored error that isn't one."""
        assert Counts().created + Counts().soft_deleted == 0
        with pytest.raises(AttributeError):
            _ = Counts().nonsense  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            _ = Listed().nonsense  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            Listed(nonsense=())  # type: ignore[call-arg]


SQL = {"merge.py", "plan.py", "known.py", "preview.py", "following.py", "removals.py"}
"""What decides on verdicts and acts on them has to name them."""


def test_no_output_spells_verdicts_out() -> None:
    names = {verdict.count for verdict in VERDICTS} - {"created", "skipped", "rejected", "changed"}
    modules = {
        path for path in (ROOT / "retrovue").rglob("*.py") if path.parent.name != "store" or path.name not in SQL
    }
    # Commands and pages have names such as `ingest duplicates`, and the simulated servers know no verdicts.
    others = {*(ROOT / "retrovue" / "cli" / "commands").glob("*.py"), *(ROOT / "retrovue" / "simulator").rglob("*.py")}
    others |= {ROOT / "retrovue" / "web" / "app.py", ROOT / "retrovue" / "web" / "pages" / "lists.py"}
    for module in modules - others - {ROOT / "retrovue" / "core" / "verdicts.py"}:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            assert not (isinstance(name, str) and name in names), f"{module}:{node.lineno}"  # type: ignore[attr-defined]
