"""The transcripts in the docs are what the commands print."""

from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from tests.conftest import Databases
from tests.contracts.transcripts import DOCUMENT, transcripts


@pytest.mark.long
def test_the_transcripts_in_the_docs_are_up_to_date(
    portal: BlockingPortal, databases: Databases, tmp_path: Path
) -> None:
    expected = DOCUMENT.read_text(encoding="utf-8")
    assert transcripts(portal, databases, tmp_path) == expected, "run: python -m tests.contracts.transcripts"
