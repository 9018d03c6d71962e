"""Human output is what the snapshots hold, and fits 80 columns."""

import re
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from retrovue.cli.actions.doctor import findings_table
from retrovue.cli.output import Output
from retrovue.cli.table import room, table, words
from retrovue.cli.text import Styled, painted, width
from retrovue.operations.doctor import Finding
from tests.conftest import Databases
from tests.support.human_output import MODES, REPORTS, SNAPSHOTS, commands, reported, shown, written

NAMES = {path.stem for path in SNAPSHOTS.glob("*.txt")}
COLOUR = re.compile("␛\\[[0-9;]*m")


def snapshot(name: str) -> str:
    return (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REPORTS)
def test_reports(name: str, mode: str) -> None:
    assert written(reported(name, mode)) == snapshot(f"{name}-{mode}"), "python -m tests.support.human_output"


@pytest.mark.parametrize("mode", MODES)
def test_commands(portal: BlockingPortal, databases: Databases, tmp_path: Path, mode: str) -> None:
    printed = commands(portal, databases, tmp_path, mode)
    assert {f"{name}-{one}" for name in (*REPORTS, *printed) for one in MODES} == NAMES
    for name, text in printed.items():
        assert written(text) == snapshot(f"{name}-{mode}"), "python -m tests.support.human_output"


@pytest.mark.parametrize("mode", MODES)
def test_a_list_is_folded_for_a_terminal_only(mode: str) -> None:
    title = "A Title That Is Long, " * 5 + "And Ends"
    text = shown(mode, lambda: Output().lines(table(("Title", "Id"), [(title, "1")], columns=room())))
    assert (f"{title}  1\n" in text) == (mode == "pipe")


@pytest.mark.parametrize(("columns", "expected"), [(0, 80), (20, 60), (100, 100), (500, 160)])
def test_lines_fit_the_terminal(columns: int, expected: int) -> None:
    finding = Finding("files", "Movies of My Plex", "warning", "word " * 100, "hint " * 100)

    def write() -> None:
        lines = [*findings_table([finding]), *table(("Title", "Id"), [("Title " * 100, "1")])]
        Output().lines(lines)

    widths = [len(line) for line in shown("plain", write, columns=columns).splitlines()]
    assert expected - len("Title ") < max(widths) <= expected


@pytest.mark.parametrize("name", sorted(NAMES))
def test_only_a_terminal_gets_colours(name: str) -> None:
    if not name.endswith("-colour"):
        assert "␛" not in snapshot(name)
    elif name.startswith(("report", "ingest", "quickstart-again")):
        assert COLOUR.search(snapshot(name))


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.endswith("-colour")))
def test_colours_change_nothing_else(name: str) -> None:
    plain = snapshot(name.removesuffix("colour") + "plain")
    assert COLOUR.sub("", snapshot(name)) == plain


@pytest.mark.parametrize("name", sorted(NAMES))
def test_tables_fit_80_columns(name: str) -> None:
    lines = COLOUR.sub("", snapshot(name)).splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch("[- ]*--[- ]*", line)]
    for rule in rules:
        assert len(lines[rule]) <= 80, name
        for line in lines[rule + 1 :]:
            if not line:
                break
            assert width(line) <= 80, line


def test_the_summary_is_the_last_line() -> None:
    for name in REPORTS:
        assert snapshot(f"{name}-pipe").splitlines()[-1].startswith("Source ingest complete: ")


def test_a_dumb_terminal_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "plain", {"TERM": "dumb"})
    assert "\x1b" not in reported("report-of-one", "plain")


def test_a_style_never_lets_an_escape_through() -> None:
    assert painted(Styled("a\x1b[31mb", "good")) == "\x1b[32ma\\x1b[31mb\x1b[0m"


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("plain", 5),
        ("映画", 4),
        ("e\u0301", 1),
        ("🎬", 2),
        ("❤️", 2),
        ("❤", 1),
        ("👨‍👩‍👧‍👦", 2),
        ("👍🏽", 2),
        ("🇯🇵", 2),
        ("한글", 4),
        ("\u1112\u1161\u11ab", 2),
        ("a\u200bb", 2),
    ],
)
def test_cells(text: str, cells: int) -> None:
    assert width(text) == cells


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Run `retrovue db upgrade` once a day.", ["Run", "`retrovue db upgrade`", "once a day."]),
        ("one  two three four", ["one  two", "three four"]),
        ("It isn`t a command", ["It isn`t a", "command"]),
    ],
)
def test_a_command_is_not_broken(text: str, lines: list[str]) -> None:
    assert words(text, 12) == lines


def test_a_first_column_that_would_be_too_narrow_has_lines_of_its_own() -> None:
    rows = [("Unknown Traveller - S02E15", "4k", 33, "01a21c45-754a-75"), ("Lost", "720", 1234, "01a21c45-754a-74")]
    assert table(("Title", "Picture", "Min", "Id"), rows, numbers=(2,), columns=40) == [
        "Title",
        "  Picture    Min  Id",
        "  -------  -----  ----------------",
        "Unknown Traveller - S02E15",
        "  4k          33  01a21c45-754a-75",
        "Lost",
        "  720      1,234  01a21c45-754a-74",
    ]
    heads = table(("Name", "Dupli-\ncates", "Number of all"), [("A name that is long", 1, 2)], columns=30)
    assert heads[:3] == ["  Dupli-", "Name", "  cates   Number of all"]
