"""Text for a terminal: remove control characters, add a style, measure the width in cells."""

import datetime as dt
import os
import re
from typing import Literal, Self, TextIO

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of these
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls, which change the order in which text is shown
    "\u2028\u2029\ud800-\udfff]"  # line separators; lone surrogates, which can't be encoded
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def printable(text: object) -> str:
    """Replace control characters, line breaks and bidi controls by escapes."""
    return _UNSAFE.sub(_escape, str(text))


def local_time(moment: dt.datetime, timespec: Literal["seconds", "minutes"] = "seconds") -> str:
    """Return a time in this machine's time zone, with its offset from UTC."""
    return moment.astimezone().isoformat(sep=" ", timespec=timespec)


def width(text: str) -> int:
    """Return the width of a text on a terminal in cells: none for a mark, two for an ideogram or an emoji."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # imported here because it is slow, and most titles don't need it

    return cell_len(text)


Style = Literal["strong", "good", "warning", "bad"]

_CODES: dict[Style, str] = {"strong": "1", "good": "32", "warning": "33", "bad": "31"}
"""ECMA-48 "select graphic rendition": bold, and three of the eight colours that every terminal's theme defines."""


class Styled(str):
    """A line with a style, which only a terminal shows."""

    __slots__ = ("style",)
    style: Style | None

    def __new__(cls, text: str, style: Style | None) -> Self:
        """Give a text a style."""
        line = super().__new__(cls, text)
        line.style = style
        return line


def takes_colour(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal with colours and NO_COLOR isn't set (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return stream is not None and not stream.closed and stream.isatty()


def painted(line: str) -> str:
    """Make a line printable, and add the escape sequences of its style."""
    text = printable(line)
    if not isinstance(line, Styled) or line.style is None or not text:
        return text
    return f"\x1b[{_CODES[line.style]}m{text}\x1b[0m"
