"""The pages that explain the code are true: the picture is up to date, and the code they name exists."""

from pathlib import Path

import pytest

from tests.contracts.rules import ROOT
from tests.docs import architecture
from tests.support.pages import DOCS


def test_the_picture_is_up_to_date() -> None:
    assert architecture.PAGE.read_text(encoding="utf-8") == architecture.page(), "run: make picture"


@pytest.mark.parametrize("page", [architecture.PAGE, DOCS / "glossary.md"], ids=lambda page: page.name)
def test_every_name_exists(page: Path) -> None:
    assert architecture.missing_names(page.read_text(encoding="utf-8")) == []


def test_no_module_is_longer_than_one_reads_at_a_time() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "retrovue").rglob("*.py")}
    assert len(lengths) > 200
    assert {str(path): length for path, length in lengths.items() if length > 400} == {}


def test_the_root_holds_packages_and_tests_mirror_them() -> None:
    inside = {path for path in (ROOT / "retrovue").iterdir() if path.name != "__pycache__"}
    packages = {path.name for path in inside if path.is_dir()}
    modules = {path.name for path in inside if path.is_file()}
    assert modules == {"__init__.py", "__init__.pyi", "__main__.py", "errors.py", "py.typed"}
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    # What isn't of one package: the contract, faults, pages, examples and benchmarks; and what tests need.
    assert tested - {"contracts", "faults", "docs", "examples", "benchmarks", "data", "support"} == packages


def test_the_glossary_is_alphabetical() -> None:
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = [line.removeprefix("## ").lower() for line in text.splitlines() if line.startswith("## ")]
    assert words == sorted(words)


def test_a_name_that_does_not_exist_is_found() -> None:
    text = "`store.session.Store.transaction()`, `store.gone`, `core/model.py`, `asset`, `make picture`, `Gone`\n"
    assert architecture.missing_names(text) == ["Gone", "core/model.py", "store.gone"]


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": set[str]()}
    assert architecture.reduced(arrows) == {"a": {"b"}, "b": {"c"}, "c": set()}
