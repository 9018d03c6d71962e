"""Every error code has a hint that says what to do next."""

import re

import pytest

from retrovue.cli.errors import InputError, NarrowingForbidden, explain
from retrovue.core import errors
from retrovue.core.errors import Problem
from retrovue.core.guide import GUIDE, catalogue, enrichers, page, requests, sources
from retrovue.errors import RetrovueError
from tests.contracts.error_codes import DOCUMENT, codes_in_use, document

IN_USE = codes_in_use()


def kinds(kind: type[RetrovueError] = RetrovueError) -> list[type[RetrovueError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in kinds(one))]


KINDS: list[type[RetrovueError]] = list(dict.fromkeys([*kinds(), InputError, NarrowingForbidden]))


def fits(pattern: str, code: str) -> bool:
    return re.fullmatch(pattern, code) is not None


def test_enough_is_found() -> None:
    # One of each way to write a code: class, keyword, by place, either-or, put together, of a directory.
    sample = {"auth", "bad_mapping", "no_collections", "schema_newer", "missing_[a-z_]+", "missing_directory"}
    assert sample <= IN_USE.keys()
    assert len(IN_USE) > 90


def test_a_code_is_in_one_table() -> None:
    tables = (requests.REQUESTS, sources.SOURCES, enrichers.ENRICHERS, catalogue.CATALOGUE, page.PAGE)
    assert sorted(code for table in tables for code in table) == sorted(GUIDE)


@pytest.mark.parametrize("code", IN_USE)
def test_a_code_in_use_has_advice(code: str) -> None:
    assert any(fits(code, known) for known in GUIDE), IN_USE[code]


@pytest.mark.parametrize("code", GUIDE)
def test_advice_is_for_a_code_in_use(code: str) -> None:
    assert any(fits(used, code) for used in IN_USE)


@pytest.mark.parametrize("code", GUIDE)
def test_advice_is_whole_sentences(code: str) -> None:
    meaning, do = GUIDE[code]
    assert meaning[-1] == do[-1] == "."
    assert len(meaning) > 10
    assert "|" not in meaning + do


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_without_a_hint_of_its_own(kind: type[RetrovueError]) -> None:
    error = RetrovueError.__new__(kind)
    RetrovueError.__init__(error, "Something.")
    assert error.hint == GUIDE[kind.default_code].do
    assert explain(error).hint == error.hint


def test_a_hint_of_its_own_wins() -> None:
    assert errors.NotFound("Gone.", hint="Look.").hint == "Look."
    assert Problem("auth", "No.", "Say please.").hint == "Say please."


def test_a_code_of_somebody_else_takes_its_kinds_advice() -> None:
    assert errors.SourceRefused("No.", code="vhs_worn_out").hint == GUIDE["auth"].do


def test_problems_that_are_no_errors() -> None:
    assert Problem("interrupted", "Interrupted.").hint == GUIDE["interrupted"].do
    assert explain(RuntimeError()).hint is not None


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "python -m tests.contracts.error_codes"
