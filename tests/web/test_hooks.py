"""Webhooks over real HTTP: the secret, forms and JSON, nonsense, and what becomes of what they name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from retrovue.core.errors import RequestError
from retrovue.core.model import PathMapping
from retrovue.operations.listening import list_enabled
from retrovue.service.hints import ListeningTimes
from retrovue.service.serving import HostStatus
from retrovue.service.webhooks import Webhooks, _of_files
from retrovue.store.collections import set_path_mappings
from retrovue.store.session import Store
from retrovue.web.guard import HOOK_BODY_BYTES
from retrovue.web.hooks import hook_routes
from retrovue.web.server import page_served
from retrovue.web.settings import PageSettings, webhook_secret
from tests.support.http import NO_TLS
from tests.support.library import until
from tests.support.syncing import PlexSource, Synced, TreeSource

pytestmark = pytest.mark.anyio

SECRET = "a-secret-of-webhooks-4711"
"""Not one of those that are searched for in all logs: the client of these tests logs whom it asks."""
QUICK = ListeningTimes(quiet_s=0.05, most_s=5)
THERE = "EXISTS (SELECT FROM asset WHERE title = :title)"


@asynccontextmanager
async def taking(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """Take webhooks within the block; gives a client without cookies, origin or token."""
    webhooks = Webhooks(store, QUICK)
    settings = PageSettings(port=0, token="a-token-of-the-page")
    async with anyio.create_task_group() as group:
        group.start_soon(webhooks.run)
        async with (
            page_served(store, settings, HostStatus("h"), hook_routes(webhooks, SECRET)) as url,
            httpx.AsyncClient(base_url=url, timeout=60, verify=NO_TLS) as client,
        ):
            yield client
        group.cancel_scope.cancel()


async def named(client: httpx.AsyncClient, kind: str, payload: Any) -> int:
    """Send a webhook, which has to be taken; returns how many collections it named."""
    answer = await client.post(f"/webhooks/{kind}/{SECRET}", json=payload)
    assert answer.status_code == 200, answer.text
    count: int = answer.json()["collections"]
    return count


def library_new(source: PlexSource, **metadata: Any) -> dict[str, Any]:
    """What Plex sends; the shape is that of a recorded ``media.play``, the event that of its documentation."""
    about = {"librarySectionType": "movie", "librarySectionID": 1, "ratingKey": "100", "type": "movie"} | metadata
    server = {"title": "Office", "uuid": source.plex.machine_identifier}
    return {"event": "library.new", "user": True, "owner": True, "Server": server, "Metadata": about}


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture
async def plex(store: Store, tmp_path: Path) -> AsyncIterator[PlexSource]:
    (tmp_path / "plex").mkdir()
    source = PlexSource(tmp_path / "plex")
    source.add(1)
    async with source.serve():
        await Synced.make(store, source)
        yield source


class TestPlex:
    async def test_a_form_with_a_picture(self, store: Store, plex: PlexSource) -> None:
        [film] = plex.films().values()
        key = film.uri.partition("/library/metadata/")[2].partition("?")[0]
        payload = orjson.dumps(library_new(plex, ratingKey=key))
        async with taking(store) as client:
            answer = await client.post(
                f"/webhooks/plex/{SECRET}",
                data={"payload": payload.decode()},
                files={"thumb": ("thumb.jpg", b"\xff\xd8" * 100_000, "image/jpeg")},
            )
            assert (answer.status_code, answer.json()) == (200, {"status": "ok", "collections": 1})
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 1")

    async def test_what_names_nothing(self, store: Store, plex: PlexSource) -> None:
        async with taking(store) as client:
            assert await named(client, "plex", library_new(plex, type="show")) == 1
            assert await named(client, "plex", library_new(plex, ratingKey=5)) == 1
            play = library_new(plex) | {"event": "media.play"}
            other = library_new(plex) | {"Server": {"uuid": "another"}}
            for payload in (
                play, other, {}, {"event": "library.new"}, library_new(plex, librarySectionID=99),
                library_new(plex, librarySectionID=None), library_new(plex, librarySectionID=True),
                library_new(plex) | {"Server": None}, {"event": ["library.new"]},
            ):  # fmt: skip
                assert await named(client, "plex", payload) == 0


SONARR = {"eventType": "Download", "series": {"id": 1, "title": "A"}, "episodes": []}


@pytest.mark.rule("LE-11")
class TestPaths:
    """LE-11: a path names the collections in whose directories it lies."""

    @pytest.fixture
    async def films(self, store: Store, tmp_path: Path) -> str:
        """The directory of a collection of films."""
        source = TreeSource(tmp_path)
        source.add(1)
        await Synced.make(store, source)
        return str(source.top)

    async def test_a_film_in_a_directory_is_in_the_catalogue(self, store: Store, films: str) -> None:
        async with taking(store) as client:
            movie = {"id": 1, "folderPath": f"{films}/Film 1 (2001)"}
            assert await named(client, "radarr", {"eventType": "Download", "movie": movie}) == 1
            with anyio.fail_after(30):
                await until(store, "EXISTS (SELECT FROM asset WHERE title LIKE 'Film 1%')")

    async def test_only_the_directory_is_read_where_files_were_added(self, store: Store, films: str) -> None:
        added = Path(films) / "Film 7 (2001)" / "Film 7 (2001).mkv"
        added.parent.mkdir()
        added.write_bytes(b"x")
        async with taking(store) as client:
            for folder in (films, str(added.parent)):
                payload = {"eventType": "Download", "movie": {"folderPath": folder}, "movieFile": {"path": str(added)}}
                assert await named(client, "radarr", payload) == 1
                with anyio.fail_after(30):
                    await until(store, THERE, title="Film 7")
                    await until(store, "EXISTS (SELECT FROM ingest_outcome WHERE ended_at IS NOT NULL)")
        hints = [
            *_of_files({"eventType": "Download", "movie": {"folderPath": str(added.parent)}}, await list_enabled(store))
        ]
        assert [hint.items for _, hint in hints] == [("Film 7 (2001)/",)]
        removed = {
            "eventType": "Download",
            "movie": {"folderPath": str(added.parent)},
            "deletedFiles": [{"path": "/x"}],
        }
        assert [hint.items for _, hint in _of_files(removed, await list_enabled(store))] == [None]

    async def test_which_paths_count(self, store: Store, films: str) -> None:
        here = films
        async with taking(store) as client:
            for payload, count in (
                ({"series": {"path": f"{here}/A"}}, 1),
                ({"episodeFile": {"path": f"{here}/A/1.mkv"}}, 1),
                ({"episodeFiles": [{"path": "/x"}, {"path": f"{here}/A/1.mkv"}]}, 1),
                ({"deletedFiles": [{"path": f"{here}/A/1.mkv"}]}, 1),
                ({"renamedEpisodeFiles": [{"previousPath": f"{here}/A/1.mkv", "path": "/elsewhere"}]}, 1),
                ({"series": {"path": here}}, 1),
                ({"series": {"path": f"{here}x/A"}}, 0),
                ({"series": {"path": str(Path(films).parent.parent)}}, 0),
                ({"series": {"path": "Movies/A"}}, 0),
                ({"series": {"path": ["/"]}, "episodeFile": 5, "deletedFiles": {"path": 5}}, 0),
            ):
                assert await named(client, "sonarr", SONARR | payload) == count, payload
                for event in ("Test", "Grab", "Health", "SeriesAdd"):
                    assert await named(client, "sonarr", SONARR | payload | {"eventType": event}) == 0

    @pytest.mark.usefixtures("plex")
    async def test_paths_of_the_server_and_of_windows(self, store: Store) -> None:
        [(collection,)] = [collections for _, collections in await list_enabled(store)]
        async with store.transaction() as session:
            await set_path_mappings(session, collection, [PathMapping("D:\\Films", "/mnt/films")])
        async with taking(store) as client:
            for path, count in (
                ("/data/movies/A", 1), ("d:\\Films\\A", 1), ("/mnt/films/A", 1), ("d:/Films", 1), ("D:\\Film", 0),
            ):  # fmt: skip
                assert await named(client, "radarr", {"eventType": "Rename", "movie": {"folderPath": path}}) == count


@pytest.mark.rule("LE-11")
class TestRequests:
    """LE-11: only who knows the secret is heard, and nonsense does nothing."""

    async def test_only_the_secret_opens(self, store: Store) -> None:
        async with taking(store) as client:
            for path in (
                "/webhooks/plex/wrong", f"/webhooks/plex/{SECRET}x", f"/webhooks/lidarr/{SECRET}",
                f"/webhooks/{SECRET}", f"/webhooks/plex/{SECRET}/x",
            ):  # fmt: skip
                answer = await client.post(path, json={"event": "library.new"})
                assert answer.status_code == 404
            assert (await client.get(f"/webhooks/plex/{SECRET}")).status_code == 405
            assert not client.cookies

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"[" * 200_000, b"\xff"])
    async def test_nonsense(self, store: Store, body: bytes) -> None:
        async with taking(store) as client:
            for kind in ("plex", "sonarr", "radarr"):
                answer = await client.post(f"/webhooks/{kind}/{SECRET}", content=body)
                assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "bad_webhook")
            torn = {"Content-Type": "multipart/form-data; boundary=x"}
            assert (await client.post(f"/webhooks/plex/{SECRET}", content=body, headers=torn)).status_code == 400

    async def test_the_secret_is_not_logged(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        async with taking(store) as client:
            await client.post(f"/webhooks/plex/{SECRET}", json={})
            await client.post(f"/webhooks/plex/{SECRET}", content=b"{")
        ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
        assert [record.getMessage() for record in ours if "has named 0" in record.getMessage()]
        assert [record.getMessage() for record in ours if SECRET in record.getMessage()] == []

    async def test_a_body_that_is_too_large(self, store: Store) -> None:
        async with taking(store) as client:
            answer = await client.post(f"/webhooks/plex/{SECRET}", content=b"x" * (HOOK_BODY_BYTES + 1))
            assert answer.status_code == 413


class TestSecret:
    def test_from_the_environment(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_text(f"{SECRET}\n")
        assert webhook_secret({}) is None
        assert webhook_secret({"RETROVUE_WEBHOOK_SECRET": SECRET}) == SECRET
        assert webhook_secret({"RETROVUE_WEBHOOK_SECRET": f"file:{file}"}) == SECRET

    @pytest.mark.parametrize("secret", ["short", "a/path/that/is/long/enough", "a secret with blanks in it"])
    def test_that_cannot_be_used(self, secret: str) -> None:
        with pytest.raises(RequestError) as refused:
            webhook_secret({"RETROVUE_WEBHOOK_SECRET": secret})
        assert refused.value.code == "bad_webhook_secret"
