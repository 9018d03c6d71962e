"""Every command and option that the pages name exists; commands.md, which another test holds up to date, knows them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.rules import ROOT
from tests.support.pages import DOCS, blocks, pages

HELP = dict(
    re.findall(
        r"^## (retrovue.*?)\n\n```text\n(.*?)^```",
        (DOCS / "reference/commands.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
GROUPS = {words for words, text in HELP.items() if "\nCommands:\n" in text}
WRITTEN = [page for page in pages() if not {"reference", "contract"} & set(page.relative_to(ROOT).parts)]


def named(page: Path) -> Iterator[str]:
    """Find the calls of ``retrovue`` in a page: in its fenced blocks, continued lines joined, and in its prose."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language in {"console", "sh"}:
            lines = re.sub(r"\\\n(> )?", " ", block.text).splitlines()
            for line in lines:
                yield from re.findall(r"^(?:\$ )?((?:\S*/)?retrovue [a-z].*)", line)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`((?:\S*/)?retrovue\s[a-z][^`]*)`", prose)


def problem(call: str) -> str | None:
    """Say what a call names that doesn't exist."""
    words = shlex.split(re.sub(r"[|<>;…].*", "", call), comments=True)
    command = ["retrovue"]
    for word in words[1:]:
        if " ".join(command) not in GROUPS:
            break
        command.append(word)
    name = " ".join(command)
    if name not in HELP:
        return f"{call}: there is no command {name}"
    known = HELP[name] + HELP["retrovue"]
    unknown = [
        word for word in words if word.startswith("--") and not re.search(rf"{word.partition('=')[0]}(?![\w-])", known)
    ]
    return f"{call}: {name} has no option {unknown}" if unknown else None


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    assert list(filter(None, map(problem, named(page)))) == []


@pytest.mark.parametrize(
    "call",
    [
        "retrovue sources list",
        "retrovue source ingest X --all-of-it",
        "/opt/bin/retrovue db upgrade --now",
        "retrovue x",
    ],
)
def test_what_does_not_exist_is_found(call: str) -> None:
    assert problem(call) is not None
