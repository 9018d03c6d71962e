"""What is requested is spelt as httpx spells it."""

import pytest

from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.settings import HttpPolicy
from retrovue.importers.plex.importer import PLEX
from retrovue.importers.plex.library import LEAN


@pytest.mark.parametrize("base", ["http://plex.example", "http://plex.example/", "http://plex.example/a b/é/"])
@pytest.mark.parametrize(
    "params",
    [{}, {"type": "1"}, {"title": "É & + /?=#%20", "list": "a,b", "empty": ""}, {**LEAN, "sort": "addedAt:asc"}],
)
@pytest.mark.parametrize(
    "path", ["/identity", "/library/sections/1/all", "/library/metadata/1,2", "/a%2Fb", "/é", "/a/../b"]
)
def test_what_is_requested_is_encoded_as_by_httpx(base: str, path: str, params: dict[str, str]) -> None:
    client = HttpClient(PLEX, base, None, HttpPolicy())
    url, target = client._address(path, params)
    assert (target or url.raw_path) == client._url(path, params).raw_path
    assert (target is None) == (path in {"/a%2Fb", "/é", "/a/../b"})
