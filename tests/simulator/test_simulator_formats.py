"""XML and JSON say the same, and recorded answers can be served again."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from retrovue.simulator import GeneratedSection, SimulatedPlex, section_from_recording

pytestmark = pytest.mark.anyio
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
TOKEN = "canary-7f3a"
DATA = Path(__file__).parents[1] / "data" / "plex"


def assert_same(element: ET.Element, document: dict[str, Any]) -> None:
    plain = {key: value for key, value in document.items() if not isinstance(value, dict | list)}
    assert set(element.attrib) == set(plain)
    for key, value in plain.items():
        assert element.attrib[key] == (str(int(value)) if isinstance(value, bool) else str(value)), key
    children: list[dict[str, Any]] = []
    for value in document.values():
        children += value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    assert len(element) == len(children)
    for child, value in zip(element, children, strict=True):
        assert_same(child, value)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/identity",
        "/library/sections",
        "/library/sections/1",
        "/library/sections/1/all?includeGuids=1&includeMeta=1",
        "/library/sections/2/all?type=4&X-Plex-Container-Start=3&X-Plex-Container-Size=7",
        "/library/sections/2/all?type=2",
        "/library/metadata/20000001/children",
        "/library/metadata/10000001",
    ],
)
async def test_xml_and_json_agree(connect: Connect, path: str) -> None:
    sections = [GeneratedSection("1", "M & <N> \u201cQ\u201d", "movie", 60), GeneratedSection("2", "TV", "show", 60)]
    async with connect(SimulatedPlex(sections, token=TOKEN), json=False) as client:
        xml = await client.get(path)
        json = await client.get(path, headers={"Accept": "application/json"})
    assert xml.headers["content-type"].startswith("text/xml")
    assert json.headers["content-type"] == "application/json"
    assert_same(ET.fromstring(xml.content), json.json()["MediaContainer"])


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("LukeHagar+plex-api-spec__library_sectionKey_get-library-all_0.json", None),
        ("LukeHagar+plex-api-spec__library_sectionKey_get-library-all_2.json", None),
        ("LukeHagar+plex-api-spec__library_sectionKey_get-library-all_4.json", None),
        ("andrey-yantsen+plex-api.rs__server_media_tv_library.json", 2),
        ("andrey-yantsen+plex-api.rs__server_media_music_library.json", 2),
        ("arabcoders+watchstate__plex_data_library_show_get_200.json", None),
    ],
)
async def test_recorded_listings_are_served_again(connect: Connect, name: str, count: int | None) -> None:
    section = section_from_recording(DATA / name)
    kinds = {1: "movie", 2: "show", 4: "episode", 8: "artist"}
    async with connect(SimulatedPlex([section], token=TOKEN)) as client:
        sizes = {
            kind: (await client.get(f"/library/sections/{section.key}/all", params={"type": kind})).json()[
                "MediaContainer"
            ]["size"]
            for kind in kinds
        }
        assert (await client.get("/library/sections")).status_code == 200
    assert sum(sizes.values()) > 0
    assert count is None or sum(sizes.values()) == count
