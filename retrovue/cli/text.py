"""Making text safe to show: no control characters reach a terminal; and how wide it is there."""

import os
import re
import unicodedata
from typing import Literal, Self, TextIO

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of these
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls, which show text in another order than it is in
    "\u2028\u2029\ud800-\udfff]"  # line separators; halves of surrogate pairs, which can't be encoded
)

_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_JAMO_THAT_JOIN = frozenset(map(chr, range(0x1160, 0x1200)))
"""Vowels and finals of Hangul written in pieces: they are drawn into the syllable's first two cells."""
_WITHOUT_CELL = frozenset({"Mn", "Me", "Cf"})


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def printable(text: object) -> str:
    """Show control characters, line breaks and bidi controls as escapes; everything else stays as it is."""
    return _UNSAFE.sub(_escape, str(text))


def width(text: str) -> int:
    """Count the cells that a terminal needs for a text.

    By East Asian Width (UAX #11). Marks, joiners and variation selectors take none; what is joined to an emoji, and
    its skin tone (UTS #51), is part of it; a variation selector 16 makes a narrow character a wide emoji.
    """
    if text.isascii():
        return len(text)
    cells = 0
    before = ""
    for character in text:
        if character == _EMOJI_STYLE:
            cells += before != "" and _cells(before) == 1
        elif before != _JOINER and not (before and character in _SKIN_TONES):
            cells += _cells(character)
        before = character
    return cells


def _cells(character: str) -> int:
    if unicodedata.category(character) in _WITHOUT_CELL or character in _JAMO_THAT_JOIN:
        return 0
    return 1 + (unicodedata.east_asian_width(character) in "WF")


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
