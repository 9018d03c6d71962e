"""The pages of the documentation, and the sessions in them: fenced blocks of commands and of what these print."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.rules import ROOT

DOCS = ROOT / "docs"
ANYTHING = "…"
"""Stands for any text in a line; alone in a line, for any number of lines."""

_FENCE = re.compile(r"^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_EXTERNAL_ID = r"\b[a-z]+-[0-9a-f]{8}\b(?!-)"
_IDS = re.compile(rf"({_UUID})|({_EXTERNAL_ID})")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int
    """The number of its first line in the page, from 1."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a session, and the lines that it is shown to print."""

    text: str
    shown: tuple[str, ...]
    line: int


def pages() -> list[Path]:
    """Name every page of the documentation, the README first."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def sessions() -> list[Path]:
    """Name the pages whose commands are run: what a newcomer follows."""
    followed = [ROOT / "README.md", DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
    return [page for page in followed if commands(page)]


def blocks(page: Path) -> Iterator[Block]:
    """Find the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        yield Block(found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1)


def commands(page: Path) -> list[Command]:
    """Find the commands of a page's console blocks, in their order; ``> `` goes on with the command before."""
    found: list[Command] = []
    for block in blocks(page):
        if block.language != "console":
            continue
        entry: list[str] = []
        shown: list[str] = []
        began = block.line
        for number, line in enumerate([*block.text.splitlines(), "$ "], block.line):
            if line.startswith("$ "):
                if entry:
                    found.append(Command("\n".join(entry), tuple(shown), began))
                entry, shown, began = [line[2:]], [], number
            elif line.startswith("> ") and entry and not shown:
                entry.append(line[2:])
            else:
                assert entry, f"{page.name}:{number}: a session begins with a command"
                shown.append(line)
    return found


def compare(shown: Sequence[str], printed: str, known: dict[str, str]) -> dict[str, str] | None:
    """Compare what is shown with what was printed: None if they differ, else which id stands for which.

    The ids of a page are examples: each stands for the one that is printed in its place, from then on for the same.
    Nothing shown is any output.
    """
    if not shown:
        return {}
    new: dict[str, str] = {}

    def pattern(line: str) -> str:
        if line.strip() == ANYTHING:
            return r"(?:.*\n)*?"
        pieces = []
        for piece in _IDS.split(line):
            if not piece:
                continue
            if not _IDS.fullmatch(piece):
                pieces.append(re.escape(piece).replace(ANYTHING, ".*?"))
            elif piece in known:
                pieces.append(re.escape(known[piece]))
            elif piece in new:
                pieces.append(f"(?P={new[piece]})")
            else:
                new[piece] = f"id{len(new)}"
                kind = _UUID if re.fullmatch(_UUID, piece) else _EXTERNAL_ID
                pieces.append(f"(?P<{new[piece]}>{kind})")
        return "".join(pieces) + r" *\n"

    found = re.fullmatch("".join(pattern(line) for line in shown), printed)
    return None if found is None else {example: found[group] for example, group in new.items()}
