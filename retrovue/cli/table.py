"""Plain aligned tables that fit a terminal of 80 columns and can be piped."""

from collections.abc import Sequence

from retrovue.cli.text import printable, width

COLUMNS = 80
_GAP = "  "


def table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[int] = (), foot: bool = False
) -> list[str]:
    """Lay out rows under their heads; the first column gives way, and is wrapped where it must.

    ``numbers`` are the columns to align right; with ``foot`` the last row is a total. Nothing is ever cut off.
    """
    cells = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(heads))]
    widths[0] = min(widths[0], max(COLUMNS - sum(widths[1:]) - len(_GAP) * (len(heads) - 1), len(heads[0])))
    lines: list[str] = []
    for row in cells:
        *above, last = _wrap(row[0], widths[0])
        lines += above
        fitted = [last, *row[1:]]
        parts = [_pad(cell, widths[column], right=column in numbers) for column, cell in enumerate(fitted)]
        lines.append(_GAP.join(parts).rstrip())
    rule = _GAP.join("-" * each for each in widths)
    lines.insert(1, rule)
    if foot:
        lines.insert(-1, rule)
    return lines


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(value)


def _pad(cell: str, cells: int, *, right: bool) -> str:
    space = " " * (cells - width(cell))
    return space + cell if right else cell + space


def _wrap(text: str, cells: int) -> list[str]:
    lines = [""]
    for character in text:
        if width(lines[-1]) + width(character) > cells:
            lines.append("")
        lines[-1] += character
    return lines


def words(text: str, cells: int) -> list[str]:
    """Break a text between words into lines of so many cells; a longer word has a line of its own."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width(lines[-1]) + 1 + width(word) > cells:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
