"""The first hour in the docs is what the commands print."""

from pathlib import Path

from anyio.from_thread import BlockingPortal

from tests.conftest import Databases
from tests.contracts.first_hour import DOCUMENT, first_hour


def test_the_first_hour_in_the_docs_is_up_to_date(portal: BlockingPortal, databases: Databases, tmp_path: Path) -> None:
    expected = DOCUMENT.read_text(encoding="utf-8")
    assert first_hour(portal, databases, tmp_path) == expected, "run: python -m tests.contracts.first_hour"
