"""Every rule of the contract has tests of its own, and every marked class names a rule that exists."""

from tests.contracts.mutants import MUTANTS, mutated, node_ids, stale
from tests.contracts.rules import ROOT, all_rules, coverage_table, marked_classes

HOMES = {
    "B": "tests/contracts/test_source_ingest_contract.py",
    "D": "tests/contracts/test_source_ingest_data_contract.py",
    "CI": "tests/contracts/test_collection_ingest_contract.py",
    "SD": "tests/contracts/test_source_discover_contract.py",
    "RS": "tests/contracts/test_interruption_contract.py",
    "SY": "tests/contracts/test_sync_contract.py tests/contracts/test_sync_items_contract.py"
    " tests/contracts/test_relink_contract.py",
    "LE": "tests/service/test_listening.py tests/importers/filesystem/test_watching.py tests/web/test_hooks.py",
    "UW": "tests/contracts/test_unit_of_work_contract.py",
    "JB": "tests/contracts/test_jobs_contract.py",
    "SC": "tests/contracts/test_scheduled_runs_contract.py",
}


def test_the_documents_hold_all_rules() -> None:
    found = set(all_rules())
    assert {f"B-{number}" for number in range(1, 13)} | {f"D-{number}" for number in range(1, 16)} <= found


def test_every_rule_has_tests_in_its_file() -> None:
    homes = {(marked.rule, marked.file) for marked in marked_classes() if marked.tests}
    missing = [
        rule for rule in all_rules() if homes.isdisjoint((rule, file) for file in HOMES[rule.split("-")[0]].split())
    ]
    assert missing == []


def test_every_marked_class_names_its_rule() -> None:
    rules = all_rules()
    strays = [marked for marked in marked_classes() if marked.rule not in rules]
    silent = [marked for marked in marked_classes() if marked.rule not in marked.docstring]
    assert strays == []
    assert silent == []


def test_the_table_in_the_docs_is_up_to_date() -> None:
    table = (ROOT / "docs" / "contract" / "coverage.md").read_text(encoding="utf-8")
    assert table == coverage_table(), "run: python -m tests.contracts.rules"


class TestMutants:
    def test_every_rule_has_one(self) -> None:
        assert set(all_rules()) == {mutant.rule for mutant in MUTANTS}

    def test_every_change_can_still_be_made(self) -> None:
        assert stale() == []

    def test_every_change_is_one_and_leaves_a_program(self) -> None:
        for mutant in MUTANTS:
            assert mutant.text != mutant.instead
            compile(mutated(mutant), mutant.file, "exec")

    def test_every_rule_s_tests_can_be_named(self) -> None:
        assert len(node_ids(all_rules())) >= len(all_rules())
