"""Every line of the catalogue of faults has a test, every mark names a line, and the document says so."""

from tests.faults.catalogue import DOCUMENT, LINES, NOT_YET, document, numbers, proofs


def test_no_line_has_the_number_of_another() -> None:
    assert len(numbers()) == sum(len(lines) for lines in LINES.values())


def test_every_line_has_a_test_or_waits_for_one() -> None:
    proven = set(proofs())
    assert sorted(set(numbers()) - proven - set(NOT_YET)) == []
    assert sorted(proven & set(NOT_YET)) == [], "these have a test now: take them off NOT_YET"


def test_every_mark_names_a_line() -> None:
    assert sorted(set(proofs()) - set(numbers())) == []


def test_the_table_in_the_docs_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m tests.faults.catalogue"
