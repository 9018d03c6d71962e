"""Every line of the catalogue of faults has a test, every mark names a line, and the document says so."""

from tests.faults.catalogue import DOCUMENT, NOT_YET, document, numbers, proofs


def test_the_lines_are_numbered_through() -> None:
    assert list(numbers()) == list(range(1, max(numbers()) + 1))


def test_every_line_has_a_test_or_waits_for_one() -> None:
    proven = set(proofs())
    assert sorted(set(numbers()) - proven - set(NOT_YET)) == []
    assert sorted(proven & set(NOT_YET)) == [], "these have a test now: take them off NOT_YET"


def test_every_mark_names_a_line() -> None:
    assert sorted(set(proofs()) - set(numbers())) == []


def test_the_table_in_the_docs_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m tests.faults.catalogue"
