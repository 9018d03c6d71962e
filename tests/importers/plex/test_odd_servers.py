"""Situations that people report of Plex servers: odd libraries, hidden files, parts of films, pasted addresses."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import orjson
import pytest

from retrovue.core.model import Secret
from retrovue.errors import RequestError, SourceUnreachable
from retrovue.importers.plex.details import Detail
from retrovue.importers.plex.importer import PlexImporter
from retrovue.simulator import Fault, ListSection, Row, SimulatedPlex, faults, movie
from retrovue.simulator.build import media, part
from tests.support.plex import IMPATIENT, TOKEN, collection, plex, read_all

pytestmark = pytest.mark.anyio


def sections(change: Callable[[list[dict[str, Any]]], None]) -> Fault:
    """Change the list of libraries that the server answers."""

    def changed(body: bytes) -> bytes:
        document = orjson.loads(body)
        change(document["MediaContainer"]["Directory"])
        return orjson.dumps(document)

    return Fault(faults.transform(changed), path="/library/sections")


@pytest.mark.fault(203)
class TestOddLibraries:
    """A library that can't be read costs itself alone, and isn't taken for one that is gone."""

    async def test_without_a_type(self) -> None:
        async with plex(ListSection("1", "Odd", "movie"), ListSection("2", "Movies", "movie")) as (server, importer):
            server.faults.add(sections(lambda rows: rows[0].pop("type")))
            found = await importer.discover_collections()
            assert [(library.external_id, library.kind) for library in found] == [("1", "unknown"), ("2", "movie")]
            answer = await importer.check_ingestible(collection("1"))
            assert (answer.ingestible, answer.code) == (False, "unsupported_kind")

    @pytest.mark.parametrize("key", [None, [1]])
    async def test_without_a_key(self, key: object) -> None:
        async with plex(ListSection("1", "Odd", "movie"), ListSection("2", "Movies", "movie")) as (server, importer):
            server.faults.add(sections(lambda rows: rows[0].update(key=key)))
            found = await importer.discover_collections()
            assert [(library.external_id, library.name) for library in found] == [("", "Odd"), ("2", "Movies")]
            assert (await importer.check_ingestible(collection("1", name="Odd"))).code == "unreadable_library"
            assert (await importer.check_ingestible(collection("7", name="Gone"))).code == "gone_from_source"


@pytest.mark.fault(206)
class TestHiddenFiles:
    """A user whom the server is shared with doesn't see locations and files."""

    async def test_the_reason_names_the_owner(self) -> None:
        async with plex(ListSection("1", "Movies", "movie", [movie(1)])) as (server, importer):
            server.faults.add(sections(lambda rows: rows[0].pop("Location")))
            (found,) = await importer.discover_collections()
            assert (found.locations, found.locations_known) == ((), False)
            answer = await importer.check_ingestible(collection())
        assert answer.code == "files_hidden"
        assert answer.reason is not None
        assert "owner" in answer.reason


def film(*durations: int | None, of_version: int | None = None, of_item: int | None = None) -> Row:
    parts = [
        {name: value for name, value in part(n, f"/m/{n}.mkv", duration=ms).items() if value is not None}
        for n, ms in enumerate(durations, 1)
    ]
    version = media(5) | {"Part": parts, "duration": of_version}
    return movie(1, Media=[version], duration=of_item)


@pytest.mark.fault(204)
class TestRuntimes:
    """The runtime of several files is their sum if all are known."""

    @pytest.mark.parametrize(
        ("row", "runtime_ms", "warning"),
        [
            (film(3_000_000, 2_000_000, of_version=3_000_000, of_item=3_000_000), 5_000_000, None),
            (film(26_527, None, of_version=26_527, of_item=26_527), None, "part_without_duration"),
            (film(3_000_000), 3_000_000, None),
            (film(None, of_item=7_000), 7_000, None),
            (film(None), None, "no_duration"),
        ],
    )
    async def test_of_a_film(self, row: Row, runtime_ms: int | None, warning: str | None) -> None:
        async with plex(ListSection("1", "Movies", "movie", [row])) as (_, importer):
            (draft,) = (await read_all(importer, collection())).drafts
        assert draft.runtime_ms == runtime_ms
        assert draft.warnings == (() if warning is None else (warning,))


@pytest.mark.fault(205)
class TestDeleted:
    """What the server marks as deleted is rejected, in outline and in full."""

    @pytest.mark.parametrize(
        "row",
        [
            movie(1, deletedAt=1_700_000_000),
            movie(1, Media=[media(5, part(1, "/a.mkv"), deletedAt=1_700_000_000)]),
            movie(1, Media=[media(5, part(1, "/a.mkv") | {"deletedAt": 1_700_000_000})]),
            movie(1, Media=[media(5, part(1, "/a.mkv") | {"exists": False})]),
            movie(1, Media=[media(5, part(1, "/a.mkv") | {"exists": 0})]),
        ],
    )
    async def test_it_is_rejected(self, row: Row) -> None:
        async with plex(ListSection("1", "Movies", "movie", [row])) as (_, importer):
            result = await read_all(importer, collection())
        assert [rejection.code for rejection in result.rejected] == ["deleted_at_source"]


@pytest.mark.fault(201)
class TestDetails:
    """A bad value in the details of an item costs itself alone."""

    async def test_odd_values(self) -> None:
        row = movie(1)
        row["Media"][0]["Part"][0]["Stream"] = [
            {"streamType": 1, "codec": "h264", "frameRate": "variable", "index": ""},
            {"streamType": 2, "codec": "aac", "channels": 2},
        ]
        row["Marker"] = {"type": "credits", "startTimeOffset": 5, "endTimeOffset": 9}
        async with plex(ListSection("1", "Movies", "movie", [row])) as (_, importer):
            detail = (await importer.details([1]))[1]
        assert isinstance(detail, Detail)
        assert list(detail.streams.values()) == [
            [{"type": "video", "codec": "h264"}, {"type": "audio", "codec": "aac", "channels": 2}]
        ]
        assert detail.markers == [{"type": "credits", "start_ms": 5, "end_ms": 9}]
        assert detail.warnings == ["bad_value"]


@pytest.mark.fault(217)
class TestAddresses:
    """An address from a browser is understood, or its wrong part is named."""

    @pytest.mark.parametrize(
        "tail", ["/web", "/web/", "/web/index.html#!/server/0123/details?key=%2Flibrary", "/web/index.html", ""]
    )
    async def test_of_the_web_page(self, tail: str) -> None:
        async with SimulatedPlex([], token=TOKEN).serve() as url:
            for address in (url + tail, url.removeprefix("http://") + tail):
                async with PlexImporter({"base_url": address, **IMPATIENT}, {"token": Secret(TOKEN)}) as importer:
                    await importer.check_reachable()

    @pytest.mark.parametrize(
        ("url", "named"),
        [
            ("https://app.plex.tv/desktop/#!/server/1", "app.plex.tv shows servers"),
            ("http://a:32400/library?X-Plex-Token=secret", "holds a token"),
            ("http://a:32400/web/index.html?X-Plex-Token=secret#!/", "holds a token"),
            ("http://a:32400/?x=1", "query or a fragment"),
        ],
    )
    async def test_the_wrong_part_is_named(self, url: str, named: str) -> None:
        with pytest.raises(RequestError, match=named) as caught:
            PlexImporter({"base_url": url})
        assert "secret" not in str(caught.value)

    async def test_tls_to_a_plain_port(self) -> None:
        async with SimulatedPlex([]).serve() as url:
            await self._fails("not_tls", url.replace("http:", "https:"))

    async def test_plain_http_to_a_port_with_tls(self) -> None:
        async with tls_port() as port:
            await self._fails("tls_required", f"http://127.0.0.1:{port}")

    async def _fails(self, code: str, url: str) -> None:
        async with PlexImporter({"base_url": url, **IMPATIENT}) as importer:
            with pytest.raises(SourceUnreachable) as caught:
                await importer.check_reachable()
        assert caught.value.code == code


@asynccontextmanager
async def tls_port() -> AsyncIterator[int]:
    """Listen as a server of TLS does that is spoken to in plain text: it answers with an alert."""

    async def refuse(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"\x15\x03\x01\x00\x02\x02\x46")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, refuse)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()
