"""Links between pages lead somewhere, and every page can be found."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.rules import ROOT
from tests.support.pages import DOCS, pages

PAGES = [*pages(), ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "examples").rglob("*.md"))]
VERBATIM = DOCS / "contract" / "source-ingest.md"
"""The contract as it was given, word for word: it links to pages that were not."""


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks and code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", "", code[0]), text)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Find the relative links of a page: to which file, and to which place in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target and not target.startswith("mailto:"):
            file, _, anchor = target.partition("#")
            yield (page.parent / file).resolve() if file else page, anchor


def anchors(page: Path) -> set[str]:
    """The places of a page, as GitHub names them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != VERBATIM], ids=lambda page: str(page.relative_to(ROOT))
)
def test_no_link_is_broken(page: Path) -> None:
    broken = [
        f"{file}#{anchor}"
        for file, anchor in links(page)
        if not file.exists() or not file.is_relative_to(ROOT) or (anchor and anchor not in anchors(file))
    ]
    assert broken == []


def test_the_index_names_every_page() -> None:
    listed = {file for file, _ in links(DOCS / "README.md")}
    assert {page for page in pages() if page != DOCS / "README.md"} <= listed


def test_the_index_of_decisions_names_each_once() -> None:
    index, _, rest = (DOCS / "decisions.md").read_text(encoding="utf-8").partition("\n## ")
    heads = re.findall(r"^##+ (.+)$", f"## {rest}", re.MULTILINE)
    assert re.findall(r"\[(.+?)\]\(#", index) == heads


def test_the_first_screen_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 125
    order = ["**A broadcast scheduler needs", "```console", "```python", "make demo", "## What it promises"]
    places = [text.index(piece) for piece in order]
    assert places == sorted(places)
