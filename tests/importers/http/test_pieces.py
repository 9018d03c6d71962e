"""The command reads more at once from a server; a library leaves that to its host."""

import subprocess
import sys

import httpcore
import pytest

from retrovue.importers.http.pieces import PIECE, read_large_pieces
from retrovue.simulator import GeneratedSection
from tests.support.plex import collection, plex, read_all

_PROGRAM = """
import httpcore
from retrovue.importers.plex.importer import PlexImporter
print(httpcore.AsyncHTTP11Connection.READ_NUM_BYTES)
"""


@pytest.mark.anyio
async def test_a_listing_is_read_in_large_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpcore.AsyncHTTP11Connection, "READ_NUM_BYTES", 1000)
    read_large_pieces()
    assert httpcore.AsyncHTTP11Connection.READ_NUM_BYTES == PIECE
    async with plex(GeneratedSection("1", "Films", count=700)) as (_, importer):
        page = await read_all(importer, collection())
    assert len({draft.source_uri for draft in page.drafts}) == len(page.drafts) >= 700


def test_importers_leave_the_size_as_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == 64 << 10
