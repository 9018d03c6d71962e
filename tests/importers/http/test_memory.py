"""The memory that an answer takes has a bound, whatever it holds: each body here is the worst that was found of a kind.

A process of its own decodes them one after the other, and tells the highest resident size that it reached with each.
"""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest

from retrovue.core.model import Secret
from retrovue.core.runs import FULL
from retrovue.errors import MalformedAnswer
from retrovue.importers.http.ahead import Budget
from retrovue.importers.http.answers import BodyReader
from retrovue.importers.http.cleaning import MOST_REPAIRED
from retrovue.importers.http.client import HttpClient
from retrovue.importers.http.listing import LARGE_ANSWER, MANY_OBJECTS, MOST_OBJECTS
from retrovue.importers.http.reader import ListingReader
from retrovue.importers.http.settings import HttpPolicy
from retrovue.importers.jellyfin.rows import decode_listing as decode_jellyfin
from retrovue.importers.plex.importer import PLEX
from retrovue.importers.plex.library import SectionQuery
from retrovue.importers.plex.rows import decode_listing as decode_plex
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from tests.support.plex import TOKEN, collection, plex, read_all

SIZE = 6 << 20
"""Bytes of a body: enough that a cost for each byte shows beside what decoding costs anyway."""
OBJECTS = 150_000
FOR_EACH_BYTE = 6
"""Bytes of memory for each byte: the body as it came, copies of it, and texts of four bytes a character."""
FOR_EACH_OBJECT = 800
"""Bytes of memory for each object, however short it is: so that the most objects take at most 800 MB."""


def _plex(row: str, tail: str = "") -> str:
    row = '"ratingKey":"1","type":"movie",' + row
    return '{"MediaContainer":{"size":1,"totalSize":1,"Metadata":[{' + row + "}]}}" + tail


def _listed(element: str, most: int) -> str:
    return ",".join([element] * min(most, SIZE // (len(element) + 1)))


def _ids_of_providers() -> str:
    ids = ",".join(f'"{number:x}":"ab"' for number in range(2 * OBJECTS))
    return '{"TotalRecordCount":1,"Items":[{"Id":"' + "1" * 32 + '","ProviderIds":{' + ids + "}}]}"


WORST: Mapping[str, Callable[[], bytes]] = {
    "backslashes and half a pair": lambda: _plex('"title":"' + "\\\\" * (SIZE // 2) + '\\ud800"').encode(),
    "pairs and half a pair": lambda: _plex('"title":"' + "\\ud83d\\ude00" * (SIZE // 12) + '\\ud800"').encode(),
    "halves of pairs": lambda: _plex('"title":"' + "\\ud800" * (SIZE // 6) + '"').encode(),
    "no text": lambda: _plex('"title":"QQ"').encode().replace(b"QQ", b"\xff" * SIZE),
    "wide text and a byte": lambda: _plex('"title":"Q"').encode().replace(b"Q", "😀".encode() * (SIZE // 4) + b"\xff"),
    "nul": lambda: _plex('"title":"' + "\\u0000" * (SIZE // 6) + '"').encode(),
    "digits": lambda: _plex('"year":' + "7" * SIZE).encode(),
    "blanks": lambda: _plex('"title":"T"', " " * SIZE).encode(),
    "rows": lambda: _plex('"title":"T"},' + _listed("{}", OBJECTS) + ',{"title":"T"').encode(),
    "too many rows": lambda: _plex('"title":"T"},' + _listed("{}", MOST_OBJECTS) + ',{"title":"T"').encode(),
    "tags": lambda: _plex('"Genre":[' + _listed('{"tag":"ab"}', OBJECTS) + "]").encode(),
    "versions": lambda: _plex('"Media":[' + _listed("{}", OBJECTS) + "]").encode(),
    "lists where a text belongs": lambda: _plex('"title":[' + _listed("[]", 3 * OBJECTS) + "]").encode(),
    "ids of providers": lambda: _ids_of_providers().encode(),
}
OF_RECORDS = {"rows", "tags", "versions", "ids of providers"}
"""Those that take the memory of their records, and not that of their bytes."""


def decode_all() -> None:
    """Decode each body, and print its size and how far the memory rose, by name."""
    for name, make in WORST.items():
        body = bytearray(make())
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _memory("VmRSS")
        try:
            (decode_jellyfin if body[:4] == b'{"To' else decode_plex)(body)
        except MalformedAnswer as exc:
            result = exc.code
        else:
            result = "decoded"
        print(json.dumps([name, len(body), _memory("VmHWM") - before, result]))  # noqa: T201


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) << 10


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[int, int, str]]:
    """What decoding each body took: its size, the memory beyond it in bytes, and the result."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells the highest resident size of a part of a process")
    program = "from tests.importers.http.test_memory import decode_all; decode_all()"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    rows = map(json.loads, done.stdout.splitlines())
    return {name: (size, held, result) for name, size, held, result in rows}


@pytest.mark.fault(141)
class TestOfAnAnswer:
    @pytest.mark.parametrize("name", WORST)
    def test_is_bounded(self, measured: dict[str, tuple[int, int, str]], name: str) -> None:
        size, held, _ = measured[name]
        assert held < FOR_EACH_BYTE * size + FOR_EACH_OBJECT * OBJECTS * (name in OF_RECORDS)

    def test_what_is_too_much_is_refused(self, measured: dict[str, tuple[int, int, str]]) -> None:
        refused = {name: result for name, (_, _, result) in measured.items() if result != "decoded"}
        assert refused == {
            "halves of pairs": "bad_json",
            "no text": "bad_json",
            "too many rows": "answer_too_large",
        }
        assert SIZE // 6 > MOST_REPAIRED


@pytest.mark.fault(142)
class TestCompressed:
    def test_bytes_after_the_end_are_refused(self) -> None:
        reader = BodyReader("gzip", PLEX, cap=1 << 20, origin="http://plex.example")
        with pytest.raises(MalformedAnswer, match="after the end"):
            reader.feed(gzip.compress(b"{}") + b"more")

    def test_a_stream_without_end_that_decodes_to_nothing_is_too_large(self) -> None:
        reader = BodyReader("gzip", PLEX, cap=1 << 16, origin="http://plex.example")
        reader.feed(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
        empty_blocks = b"\x00\x00\x00\xff\xff" * 1000
        for _ in range(13):
            reader.feed(empty_blocks)
        with pytest.raises(MalformedAnswer, match="larger than"):
            reader.feed(empty_blocks)


@pytest.mark.anyio
@pytest.mark.fault(143)
@pytest.mark.parametrize("kind", ["bytes", "objects"])
async def test_of_several_large_answers_one_is_in_memory_at_a_time(kind: str) -> None:
    """The collection that has one keeps its turn until its page has been taken."""
    keys = ("1", "2", "3")
    sections = [ListSection(key, f"Films {key}", "movie", [movie(int(key))]) for key in keys]
    padding = b" " * LARGE_ANSWER if kind == "bytes" else b'"odd":[' + b"{}," * 2 * MANY_OBJECTS + b"{}],"
    in_memory: list[str] = []
    most = 0
    async with plex(*sections) as (server, importer):
        grown = faults.transform(lambda body: body.replace(b'"MediaContainer":{', b'"MediaContainer":{' + padding))
        server.faults.add(Fault(grown, path="/library/sections/*/all"))

        async def read(key: str) -> None:
            nonlocal most
            async with importer.enumerate(collection(key), FULL) as pages:
                async for page in pages:
                    in_memory.append(key)
                    most = max(most, len(in_memory))
                    await anyio.wait_all_tasks_blocked()
                    in_memory.remove(key)
                    assert page.source_items == 1

        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(read, key)
        assert most == 1
        server.faults.clear()
        assert (await read_all(importer, collection("1"))).source_items == 1


@pytest.mark.anyio
async def test_a_window_is_its_takers_alone() -> None:
    """The rows are freed as soon as they aren't needed any more, while the page that was made of them is written."""
    server = SimulatedPlex([ListSection("1", "Films", "movie", [movie(key) for key in range(1, 8)])], token=TOKEN)
    async with server.serve() as url, HttpClient(PLEX, url, Secret(TOKEN), HttpPolicy()) as client:
        query = SectionQuery(client, "1", {"type": "1"}, page_size=3)
        reader = ListingReader(query, page_size=3, budget=Budget(1 << 20))
        async for window in reader.windows():
            # One reference is this name; Python before 3.14 counts that of the argument as well.
            assert sys.getrefcount(window) <= 2
        assert window.listing.keys
