"""The reference in the docs is what the program is, and the schemas refuse what they must."""

import re
from typing import Any

import orjson
import pytest
from anyio.from_thread import BlockingPortal

import retrovue
from retrovue.cli.invocation import plain_error
from retrovue.core import config
from retrovue.core.errors import Problem
from retrovue.ingest.documents import failed_ingest_document
from tests.conftest import Databases
from tests.contracts.rules import ROOT
from tests.docs import reference
from tests.support import api, schemas
from tests.support.documents import PRINTED
from tests.support.meanings import MEANINGS


def test_the_reference_is_up_to_date(portal: BlockingPortal, databases: Databases) -> None:
    made = reference.files(portal, databases)
    written = {path: path.read_text(encoding="utf-8") for path in made if path.exists()}
    stale = [str(path.relative_to(ROOT)) for path in made if made[path] != written.get(path)]
    assert stale == [], "run: make reference"
    assert {*schemas.DIRECTORY.iterdir()} <= made.keys()


class TestApi:
    def test_every_public_name_has_a_topic(self) -> None:
        by_topic = [name for names in api.TOPICS.values() for name in names]
        assert sorted(by_topic) == sorted(retrovue.__all__), "tests/support/api.py: TOPICS"

    def test_what_a_public_function_returns_is_public(self) -> None:
        assert api.unlisted_types() == [], "retrovue/__init__.pyi"

    def test_context_managers_literals_and_bounds_read_as_what_they_are(self) -> None:
        text = api.page()
        assert "async with open_store(" in text
        assert ") as IngestRun\n" in text
        assert 'AssetState = "new" | "enriching" | "ready" | "retired"\n' in text
        assert "`int from 0 to 2147483647 \\| None`" in text
        assert not re.search(r" at 0x|_AsyncGeneratorContextManager|Annotated\[", text)


def test_every_meaning_is_of_something(portal: BlockingPortal, databases: Databases) -> None:
    text = reference.database(portal, databases)
    for table, meanings in MEANINGS.items():
        part = text.partition(f"\n## {table}\n")[2].partition("\n## ")[0]
        named = re.findall(r"^\| `(\w+)`", part, re.MULTILINE)
        assert sorted(named) == sorted(meanings.keys() - {""})


def test_every_variable_that_the_program_reads_is_documented() -> None:
    known = {value for name, value in vars(config).items() if name.isupper()}
    for source in sorted((ROOT / "retrovue").rglob("*.py")):
        if "simulator" not in source.parts:
            read = set(re.findall(r"(?<!_)RETROVUE_[A-Z_]+\b", source.read_text(encoding="utf-8")))
            assert read <= known, source


def test_every_command_has_a_schema() -> None:
    ours = {
        words for words in reference.subcommands() if words not in {("demo",), ("completion",), ("serve",), ("worker",)}
    }
    assert ours == {words for words in PRINTED if not words[-1].startswith("--")}


class TestSchemas:
    def error(self, **more: Any) -> str:
        return orjson.dumps(plain_error([Problem("usage", "no")]) | more).decode()

    def test_errors_fit_for_all_commands(self) -> None:
        schemas.check(["collection", "list", "--json"], self.error())
        schemas.check(["--json"], self.error())

    def test_unknown_keys_are_refused(self) -> None:
        with pytest.raises(AssertionError, match="more"):
            schemas.check(["--json"], self.error(more=1))

    def test_a_missing_key_is_refused(self) -> None:
        with pytest.raises(AssertionError, match="sources"):
            schemas.check(["source", "list", "--json"], '{"status": "ok", "total": 0}')

    def test_a_failed_source_ingest_prints_its_whole_document(self) -> None:
        arguments = ["--database-url", "postgresql://x", "source", "ingest", "X", "--json"]
        whole = failed_ingest_document("X", [Problem("usage", "no")])
        schemas.check(arguments, orjson.dumps(whole).decode())
        with pytest.raises(AssertionError, match="SourceIngest"):
            schemas.check(arguments, self.error())

    def test_an_id_has_to_be_one(self) -> None:
        whole = failed_ingest_document("X", [Problem("usage", "no")]) | {"run_id": "1"}
        with pytest.raises(AssertionError, match="uuid"):
            schemas.check(["source", "ingest", "--json"], orjson.dumps(whole).decode())

    def test_what_is_printed_for_people_is_left_alone(self) -> None:
        schemas.check(["source", "list"], "{")

    def lines(self, *events: object) -> str:
        return "".join(f"{orjson.dumps(event).decode()}\n" for event in events)

    def test_each_event_is_checked_and_the_last_is_the_commands_document(self) -> None:
        arguments = ["collection", "ingest", "X", "--jsonl"]
        collection = {"id": "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "external_id": "1", "name": "X\u2028"}
        source = {"id": collection["id"], "name": None}
        started = {"type": "collection_started", "collection": collection, "source": source}
        summary = {"type": "summary", **orjson.loads(self.error())}
        schemas.check(arguments, self.lines(started, summary) + '{"type": "cut o')
        for broken in (started | {"more": 1}, {"type": "collection_started"}, started | {"type": "starting"}):
            with pytest.raises(AssertionError, match="told what an event doesn't allow"):
                schemas.check(arguments, self.lines(broken, summary))
        with pytest.raises(AssertionError, match="SourceIngest"):
            schemas.check(["source", "ingest", "X", "--jsonl"], self.lines(summary))

    def test_log_records_are_checked_between_what_is_said(self) -> None:
        arguments = ["--log-format", "json", "source", "ingest", "X"]
        record = {"time": "2026-01-31T12:00:00.000+00:00", "level": "info", "logger": "retrovue", "message": "?"}
        schemas.check(arguments, "", self.lines(record) + "Error: {\n")
        for broken in (record | {"level": "loud"}, record | {"run_id": "1"}, record | {"more": 1}, {"time": "now"}):
            with pytest.raises(AssertionError, match="LogRecord"):
                schemas.check(arguments, "", self.lines(broken))
