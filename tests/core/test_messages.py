"""Texts for people: no Python notation in them, and a collection is named with its source."""

import ast
from collections.abc import Iterator
from uuid import UUID

import pytest
from msgspec.structs import replace

from retrovue.core.model import Collection
from retrovue.core.text import quoted
from tests.contracts.rules import ROOT

MODULES = sorted((ROOT / "retrovue").rglob("*.py"))


def faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each text that shows Python notation, or a collection without its source."""
    own = {id(node) for function in ast.walk(tree) if _is_repr(function) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if id(node) in own:
            continue
        match node:
            case ast.FormattedValue(conversion=114):
                yield node.lineno, f"{{{ast.unparse(node.value)}!r}}: use quoted()"
            case ast.FormattedValue(value=ast.Call(func=ast.Name(id="repr" | "ascii"))):
                yield node.lineno, f"{ast.unparse(node.value)}: use quoted()"
            case ast.Constant(value=str(text)) if "%r" in text or "!r}" in text:
                yield node.lineno, f"{text}: use %s or {{}} and quoted()"
            case ast.FormattedValue(value=value) if ast.unparse(value).endswith("collection.name)"):
                yield node.lineno, f"{ast.unparse(value)}: use display_name"


def _is_repr(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "__repr__"


def test_no_message_has_python_notation_or_hides_the_source_of_a_collection() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {fault}"
        for path in MODULES
        for line, fault in faults(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source", ["f'{x!r}'", "f'{repr(x)}'", "log('%r', x)", "'{!r}'.format(x)", "f'{quoted(self.collection.name)}'"]
)
def test_the_scan_finds(source: str) -> None:
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("It's", "'It's'"),
        ("E:\\Other\\", "'E:\\Other\\'"),
        ("a\nb\x1b", "'a\\nb\\x1b'"),
        (None, "'None'"),
        ("Amélie", "'Amélie'"),
    ],
)
def test_quotes_show_a_text_as_it_is(value: object, text: str) -> None:
    assert quoted(value) == text


class TestNamesOfCollections:
    def test_a_message_names_the_source_too(self, collection: Collection) -> None:
        assert collection.display_name == "'TV Shows' of source 'My Plex'"

    def test_a_command_can_be_copied(self, collection: Collection) -> None:
        assert collection.arguments == "'TV Shows' --source 'My Plex'"
        assert replace(collection, source_name=None).arguments == "'TV Shows'"  # its source isn't added yet

    def test_a_name_that_looks_like_an_option_is_given_by_id(self, collection: Collection) -> None:
        assert replace(collection, name="--help").arguments == str(collection.id)
        assert replace(collection, source_name="-x").arguments == str(collection.id)


@pytest.fixture
def collection() -> Collection:
    return Collection(UUID(int=1), UUID(int=2), "2", "TV Shows", "show", sync_enabled=True, source_name="My Plex")
