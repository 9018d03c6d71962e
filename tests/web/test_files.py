"""What the browser gets besides the pages."""

import hashlib
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from retrovue.store.session import Store
from retrovue.web.files import NAMES, address_of
from tests.web.conftest import served

pytestmark = pytest.mark.anyio
STATIC = files("retrovue.web") / "static"


def test_what_is_not_ours_is_what_its_package_holds() -> None:
    lines = [line.split() for line in (STATIC / "vendored.txt").read_text().splitlines() if not line.startswith("#")]
    for digest, name, package, _ in lines:
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest
        assert "@" in package[1:]
    ours = {"page.css", "page.js", "vendored.txt"}
    assert {Path(str(one)).name for one in STATIC.iterdir()} == ours | {name for _, name, *_ in lines}


async def test_they_are_compressed_and_kept(page: httpx.AsyncClient) -> None:
    for name in NAMES:
        packed = await page.get(address_of(name))
        assert (packed.status_code, packed.headers["Content-Encoding"]) == (200, "gzip")
        assert "immutable" in packed.headers["Cache-Control"]
        plain = await page.get(address_of(name), headers={"Accept-Encoding": "identity"})
        assert plain.content == packed.content == (STATIC / name).read_bytes()
    for name in ("vendored.txt", "..%2fapp.py", "nothing.js"):
        assert (await page.get(f"/static/{name}")).status_code == 404


async def test_a_first_page_has_at_most_100_kilobytes(shared_store: Store) -> None:
    async with served(shared_store) as page:
        total = 0
        for address in ("/", *(address_of(name) for name in NAMES)):
            async with page.stream("GET", address, headers={"Accept": "text/html"}) as answer:
                total += sum([len(chunk) async for chunk in answer.aiter_raw()])
        assert total <= 100_000
