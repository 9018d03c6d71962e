"""Tables of plain text that fit the terminal."""

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Literal

from retrovue.cli.text import Style, Styled, printable, width

COLUMNS = 80
"""The width of lines if the output isn't a terminal."""
_NARROWEST, _WIDEST = 60, 160
"""The limits of the width of lines: narrower tables and wider texts are hard to read."""
_LEAST = 16
"""How wide the first column is at least, unless its texts are shorter."""
_GAP = "  "
_BLANK = re.compile(r" (?=(?:[^`]*`[^`]*`)*[^`]*$)")
"""A blank that isn't between two backticks: an even number of them follows."""


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    foot: bool = False,
    styles: Sequence[Style | None] = (),
    columns: int | Literal["terminal"] | None = "terminal",
) -> list[str]:
    """Lay out a table in lines of at most ``columns`` cells, by wrapping the first column.

    Where that would become too narrow to be read, it has lines of its own, above the others.

    A heading may have several lines. ``numbers`` are the columns to align right. With ``foot`` the last row is a total.
    ``styles`` are the styles of the first rows. Nothing is cut off: if the other columns are too wide, the table is too
    wide. With ``columns=None`` nothing is wrapped.
    """
    above = _heads(heads)
    body = [[_cell(value, number=column in numbers) for column, value in enumerate(row)] for row in rows]
    widths = [max(width(row[column]) for row in [*above, *body]) for column in range(len(heads))]
    apart, first = False, widths[0]
    if columns == "terminal":
        columns = line_width()
    if columns is not None:
        left = columns - sum(widths[1:]) - len(_GAP) * (len(heads) - 1)
        apart = len(heads) > 1 and left < _LEAST < widths[0]
        widths[0] = min(widths[0], columns if apart else max(left, width(above[-1][0])))
    if apart:
        # On a line of its own; the other columns follow, indented.
        first, widths[0] = widths[0], 0

    def laid(row: Sequence[str], style: Style | None = None) -> list[str]:
        *begun, last = [*(_wrap(row[0], first) if row[0] else ()), ""] if apart else _wrap(row[0], widths[0])
        parts = [_pad(cell, widths[column], right=column in numbers) for column, cell in enumerate([last, *row[1:]])]
        lines = [*begun, _GAP.join(parts).rstrip()]
        return lines if style is None else [Styled(line, style) for line in lines]

    rule = _GAP.join("-" * each for each in widths)
    lines = [line for row in above for line in laid(row, "strong")]
    lines.append(rule)
    for number, row in enumerate(body):
        last = foot and number == len(body) - 1
        lines += [rule] if last else []
        lines += laid(row, "strong" if last else styles[number] if number < len(styles) else None)
    return lines


def room() -> int | None:
    """Return the width for a list: that of the terminal; None without one, so that each row is one line to search."""
    return line_width() if _on_terminal() else None


def line_width() -> int:
    """Return the width of a line in cells: that of the terminal, from 60 to 160; 80 without a terminal."""
    if not _on_terminal():
        return COLUMNS
    try:
        cells = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, io.UnsupportedOperation):
        cells = 0
    return min(max(cells, _NARROWEST), _WIDEST) if cells else COLUMNS  # Some terminals don't know their size.


def _on_terminal() -> bool:
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def _heads(heads: Sequence[str]) -> list[list[str]]:
    """Split the headings into rows of one line each; headings with fewer lines start lower."""
    split = [head.split("\n") for head in heads]
    tallest = max(len(lines) for lines in split)
    return [[([""] * (tallest - len(lines)) + lines)[row] for lines in split] for row in range(tallest)]


def _cell(value: object, *, number: bool = False) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if number and isinstance(value, int) else printable(value)


def _pad(cell: str, cells: int, *, right: bool) -> str:
    space = " " * (cells - width(cell))
    return space + cell if right else cell + space


def _wrap(text: str, cells: int) -> list[str]:
    """Break a text into lines of at most a number of cells: between words, and within longer words."""
    lines: list[str] = []
    for line in words(text, cells):
        if width(line) <= cells:
            lines.append(line)
        else:
            from rich.cells import chop_cells  # imported here because it is slow, and most titles don't need it

            lines += chop_cells(line, cells)
    return lines


def words(text: str, cells: int) -> list[str]:
    """Break a text into lines of at most a number of cells: between words, but not within a command that people copy.

    A longer word or command has its own line.
    """
    lines = [""]
    quoted = "`" in text and text.count("`") % 2 == 0
    for word in _BLANK.split(text) if quoted else text.split(" "):
        if lines[-1] and width(lines[-1]) + 1 + width(word) > cells:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
