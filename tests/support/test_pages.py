"""How sessions are read out of pages."""

from pathlib import Path

import pytest

from tests.support.pages import commands, compare

ONE = "0199c0de-0000-7000-8000-000000000001"
OTHER = "0199c0de-0000-7000-8000-000000000002"


def test_a_session_is_its_commands_with_what_they_show(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```console\n$ one \\\n> two\nfirst\n\n$ three\n```\n\n```sh\n$ not this\n```\n", encoding="utf-8"
    )
    assert [(command.text, command.shown, command.line) for command in commands(page)] == [
        ("one \\\ntwo", ("first", ""), 4),
        ("three", (), 8),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ((), "anything\n", True),
        (("a",), "a\n", True),
        (("a",), "a\nb\n", False),
        (("a…c",), "abc\n", True),
        (("a…c",), "a\nc\n", False),
        (("a", "…"), "a\nb\nc\n", True),
        (("…", "c"), "a\nb\nc\n", True),
        (("…", "d"), "a\nb\nc\n", False),
        (("a.c",), "abc\n", False),
        ((f"{ONE} {ONE}",), f"{OTHER} {OTHER}\n", True),
        ((f"{ONE} {ONE}",), f"{ONE} {OTHER}\n", False),
        (("plex-5063d926",), "plex-00000000\n", True),
        (("plex-5063d926",), "Plex\n", False),
    ],
)
def test_what_is_shown_is_compared(shown: tuple[str, ...], printed: str, expected: bool) -> None:
    assert (compare(shown, printed, {}) is not None) == expected


def test_an_id_stands_for_the_one_that_was_printed() -> None:
    assert compare([f"Run {ONE}"], f"Run {OTHER}\n", {}) == {ONE: OTHER}
    assert compare([f"Run {ONE}"], f"Run {ONE}\n", {ONE: OTHER}) is None
