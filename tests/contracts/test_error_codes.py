"""Every error code has a hint that says what to do next."""

import pkgutil
import re
from functools import cache
from importlib import import_module

import pytest

from retrovue.cli.errors import InputError, NarrowingForbidden, explain
from retrovue.core import errors, guide
from retrovue.core.errors import Problem
from retrovue.core.guide import GUIDE
from retrovue.core.guide.advice import Advice
from retrovue.errors import RetrovueError
from tests.contracts.error_codes import DOCUMENT, codes_in_use, document

in_use = cache(codes_in_use)


def kinds(kind: type[RetrovueError] = RetrovueError) -> list[type[RetrovueError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in kinds(one))]


KINDS: list[type[RetrovueError]] = list(dict.fromkeys([*kinds(), InputError, NarrowingForbidden]))


def fits(pattern: str, code: str) -> bool:
    return re.fullmatch(pattern, code) is not None


def test_enough_is_found() -> None:
    # One of each way to write a code: class, keyword, by place, either-or, put together, of a directory.
    sample = {"auth", "bad_mapping", "no_collections", "schema_newer", "missing_[a-z_]+", "missing_directory"}
    assert sample <= in_use().keys()
    assert len(in_use()) > 90


def test_a_code_is_in_one_table() -> None:
    modules = [import_module(module.name) for module in pkgutil.iter_modules(guide.__path__, f"{guide.__name__}.")]
    tables = [value for module in modules for value in vars(module).values() if isinstance(value, dict)]
    codes = [code for table in tables for code, advice in table.items() if isinstance(advice, Advice)]
    assert sorted(codes) == sorted(GUIDE)


def test_codes_in_use_have_advice() -> None:
    without = {code: places for code, places in in_use().items() if not any(fits(code, known) for known in GUIDE)}
    assert without == {}


def test_advice_is_for_codes_in_use() -> None:
    assert [code for code in GUIDE if not any(fits(used, code) for used in in_use())] == []


def test_advice_is_whole_sentences() -> None:
    short = {
        code: advice
        for code, advice in GUIDE.items()
        if not advice.meaning.endswith(".") or not advice.do.endswith(".") or len(advice.meaning) <= 10
    }
    assert short == {}
    assert [code for code, advice in GUIDE.items() if "|" in advice.meaning + advice.do] == []  # it ends a column


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
