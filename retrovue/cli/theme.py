"""The few colours of human output, and when there are none."""

import os
from typing import Literal, Self, TextIO

from retrovue.cli.text import printable

Style = Literal["strong", "good", "warning", "bad"]

_CODES: dict[Style, str] = {"strong": "1", "good": "32", "warning": "33", "bad": "31"}
"""ECMA-48 "select graphic rendition": bold, and three of the eight colours that every terminal's theme defines."""


class Styled(str):
    """A line in a style; to everything but the terminal it is just the line."""

    __slots__ = ("style",)
    style: Style | None

    def __new__(cls, text: str, style: Style | None) -> Self:
        """Give a text a style."""
        line = super().__new__(cls, text)
        line.style = style
        return line


def takes_colour(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that shows colours, and its owner wants them (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return stream is not None and not stream.closed and stream.isatty()


def painted(line: str) -> str:
    """Make a line safe for a terminal, and put its style around it."""
    text = printable(line)
    if not isinstance(line, Styled) or line.style is None or not text:
        return text
    return f"\x1b[{_CODES[line.style]}m{text}\x1b[0m"
