"""The questions that RetroVue asks a source, answered by a simulated Plex server."""

import math
import threading
from pathlib import Path

import anyio
import pytest

from retrovue.core.answers import ChangeState
from retrovue.core.model import Secret
from retrovue.core.runs import FULL
from retrovue.errors import MalformedAnswer, RequestError, SourceRefused, WrongIdentity
from retrovue.importers.base import BaseImporter, ImporterInterface, TellsChanges, compliance_problems
from retrovue.importers.locations import check_locations
from retrovue.importers.plex import importer as plex_importer
from retrovue.importers.plex.importer import PlexImporter
from retrovue.simulator import (
    Fault,
    GeneratedSection,
    ListSection,
    Location,
    SimulatedPlex,
    album,
    artist,
    clip,
    faults,
    media,
    movie,
    part,
    track,
)
from tests.support.plex import TOKEN, collection, plex, read_all, series, tv

pytestmark = pytest.mark.anyio

SECTIONS = ["/library/sections"]


class TestInterface:
    def test_complies(self) -> None:
        assert issubclass(PlexImporter, BaseImporter)
        assert compliance_problems(PlexImporter) == []
        assert isinstance(PlexImporter({"base_url": "http://plex.local"}), ImporterInterface)

    def test_configuration(self) -> None:
        fields = {field.name: field for field in PlexImporter.describe_configuration()}
        assert fields["base_url"].required
        assert fields["token"].secret
        assert PlexImporter.type_name == "plex"


class TestReachable:
    async def test_identity(self) -> None:
        async with plex() as (server, importer):
            identity = await importer.check_reachable()
        assert identity.identifier == server.machine_identifier
        assert identity.version

    @pytest.mark.fault(23)
    async def test_another_server_never_sees_the_token(self) -> None:
        async with plex(config={"machine_identifier": "somebody-else"}) as (server, importer):
            with pytest.raises(WrongIdentity) as caught:
                await importer.check_reachable()
        assert caught.value.context == {"expected": "somebody-else", "found": server.machine_identifier}
        assert [request.token_from for request in server.requests] == [None]

    async def test_a_refused_token(self) -> None:
        simulated = SimulatedPlex([], token="another")
        async with simulated.serve() as url, PlexImporter({"base_url": url}, {"token": Secret(TOKEN)}) as importer:
            with pytest.raises(SourceRefused):
                await importer.check_reachable()

    @pytest.mark.fault(4)
    async def test_no_plex(self) -> None:
        async with plex() as (server, importer):
            server.faults.add(Fault(faults.no_container({"hello": 1}), path="/identity"))
            with pytest.raises(MalformedAnswer) as caught:
                await importer.check_reachable()
        assert caught.value.code == "not_plex"


class TestCollections:
    async def test_all_kinds_in_the_servers_order(self) -> None:
        sections = [
            ListSection("3", "TV Series ", "show"),
            ListSection("1", "Films", "movie", locations=["P:\\Films", "\\\\nas\\more"]),
            ListSection("9", "Photos", "photo"),
        ]
        async with plex(*sections) as (_, importer):
            found = await importer.discover_collections()
        assert [(one.external_id, one.name, one.kind) for one in found] == [
            ("3", "TV Series ", "show"),
            ("1", "Films", "movie"),
            ("9", "Photos", "photo"),
        ]
        assert found[1].locations == ("P:\\Films", "\\\\nas\\more")

    async def test_no_libraries(self) -> None:
        async with plex() as (_, importer):
            assert await importer.discover_collections() == ()

    async def test_checks_one_after_the_other_share_a_recent_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with plex() as (server, importer):
            for seconds, asked in ((math.inf, ["/identity", "/library/sections", "/identity"]), (-1, SECTIONS * 2)):
                monkeypatch.setattr(plex_importer, "RECENT_S", seconds)
                server.requests.clear()
                for _ in range(2):
                    if seconds > 0:
                        await importer.check_reachable()
                    await importer.check_ingestible(collection())
                assert [request.path for request in server.requests] == asked

    async def test_who_asks_at_the_same_time_shares_an_answer(self) -> None:
        release = anyio.Event()
        async with plex(ListSection("1", "M")) as (server, importer):
            server.faults.add(Fault(faults.hang(release), path="/library/sections", times=1))
            found: list[int] = []

            async def ask() -> None:
                found.append(len(await importer.discover_collections()))

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                release.set()
            assert found == [1] * 20
            assert server.count("/library/sections") == 1
            await ask()
            assert server.count("/library/sections") == 2

    async def test_the_one_who_asks_is_cancelled(self) -> None:
        release = anyio.Event()
        async with plex(ListSection("1", "M")) as (server, importer):
            server.faults.add(Fault(faults.hang(release), path="/library/sections", times=1))
            found: list[int] = []
            first = anyio.CancelScope()

            async def ask_first() -> None:
                with first:
                    await importer.discover_collections()

            async def ask() -> None:
                found.append(len(await importer.discover_collections()))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask_first)
                await anyio.wait_all_tasks_blocked()
                for _ in range(3):
                    tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                first.cancel()
            assert found == [1, 1, 1]
            release.set()

    async def test_an_error_is_everybodys(self) -> None:
        async with plex() as (server, importer):
            server.faults.add(Fault(faults.status(401)))
            errors: list[SourceRefused] = []

            async def ask() -> None:
                try:
                    await importer.discover_collections()
                except SourceRefused as exc:
                    errors.append(exc)

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ask)
        assert len({id(error) for error in errors}) == 3
        assert {(error.message, error.code, error.hint) for error in errors} == {
            (errors[0].message, "auth", errors[0].hint)
        }


class TestIngestible:
    async def test_yes(self, tmp_path: Path) -> None:
        places = [str(tmp_path / "a"), str(tmp_path / "b")]
        for place in places:
            await anyio.Path(place).mkdir()
        section = ListSection("1", "M", locations=["/data/a", "P:\\b\\"])
        async with plex(section) as (_, importer):
            mapped = collection(mappings=[("/data/a", places[0]), ("p:/b", places[1])])
            assert (await importer.check_ingestible(mapped)).ingestible

    async def test_gone(self) -> None:
        async with plex(ListSection("1", "M")) as (_, importer):
            answer = await importer.check_ingestible(collection("7"))
        assert (answer.ingestible, answer.code) == (False, "gone_from_source")

    async def test_a_kind_without_anything_to_play(self) -> None:
        async with plex(ListSection("1", "M", "games")) as (_, importer):
            assert (await importer.check_ingestible(collection())).code == "unsupported_kind"

    async def test_no_location(self) -> None:
        async with plex(ListSection("1", "M", locations=list[Location]())) as (_, importer):
            assert (await importer.check_ingestible(collection())).code == "no_location"

    async def test_unmapped(self, tmp_path: Path) -> None:
        section = ListSection("1", "M", locations=["/data/movies", "/data/movies2"])
        async with plex(section) as (_, importer):
            answer = await importer.check_ingestible(collection(mappings=[("/data/movies", str(tmp_path))]))
        assert answer.code == "unmapped_location"
        assert answer.reason is not None
        assert "covers /data/movies2." in answer.reason
        assert "retrovue collection update Movies --map /data/movies2=LOCAL" in answer.reason

    async def test_missing(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        mappings = [("/data", str(tmp_path))]
        answer = await check_locations(
            collection(mappings=mappings), ("/data/none", "/data/file", "/data"), server="Plex"
        )
        assert answer.code == "missing_directory"
        assert answer.reason is not None
        assert answer.reason.count("doesn't exist") == 1
        assert f"{tmp_path}/file, which stands for /data/file, is a file" in answer.reason

    async def test_unreadable(self, unprivileged_path: Path) -> None:
        (unprivileged_path / "x").mkdir(mode=0)
        answer = await check_locations(
            collection(mappings=[("/data", str(unprivileged_path))]), ("/data/x",), server="Plex"
        )
        assert answer.code == "unreadable_directory"

    async def test_a_mount_that_answers_with_an_error(self, tmp_path: Path) -> None:
        def stale(_: str) -> bool:
            raise OSError(116, "Stale file handle")

        mapped = collection(mappings=[("/data", str(tmp_path))])
        answer = await check_locations(mapped, ("/data",), probe=stale, server="Plex")
        assert answer.code == "unreadable_directory"
        assert answer.reason is not None
        assert "Stale file handle" in answer.reason

    async def test_a_mount_that_hangs(self, tmp_path: Path) -> None:
        release = threading.Event()

        def hang(_: str) -> bool:
            return release.wait()

        mapped = collection(mappings=[("/data", str(tmp_path))])
        try:
            answer = await check_locations(mapped, ("/data",), deadline_s=0.01, probe=hang, server="Plex")
        finally:
            release.set()
        assert answer.code == "directory_timeout"


class TestDrafts:
    async def test_movies(self) -> None:
        rows = [
            movie(1, "Zwölf", file="P:\\Filme\\Zwölf.mkv", Guid=[{"id": "imdb://tt1"}]),
            movie(2, Media=[media(20, part(1, "/m/cd1.avi"), part(2, "/m/cd2.avi")), media(21, part(3, "/m/4k.mkv"))]),
            movie(3, Media=None),
        ]
        async with plex(ListSection("1", "M", "movie", rows)) as (server, importer):
            result = await read_all(importer, collection())
        prefix = f"plex://{server.machine_identifier}/library/metadata/"
        assert [draft.source_uri for draft in result.drafts] == [
            f"{prefix}1?media=1",
            f"{prefix}2?media=20",
            f"{prefix}2?media=21",
        ]
        assert result.drafts[0].provider_ids["imdb"] == "tt1"
        assert [one.source_path for one in result.drafts[1].parts] == ["/m/cd1.avi", "/m/cd2.avi"]
        assert [one.code for one in result.rejected] == ["no_media"]
        assert result.source_items == 3

    async def test_episodes_take_a_flat_listing(self) -> None:
        rows = series(1000, "Lost", Genre=[{"tag": "Drama"}], studio="ABC") + series(2000, "Dark")
        shared = rows[2]["Media"][0]["Part"][0]["file"]
        rows[3]["Media"][0]["Part"][0]["file"] = shared
        async with plex(tv(*rows)) as (server, importer):
            result = await read_all(importer, collection("2", "show"))
        assert result.source_items == 12
        assert result.drafts[0].tags == {"genre": ["Drama"]}
        assert result.drafts[0].studio == "ABC"
        assert [draft.parts[0].source_path for draft in result.drafts].count(shared) == 2
        assert [request.item_type for request in server.requests if request.path.endswith("/all")] == [2, 4]
        assert server.count("/library/metadata/*") == 0

    async def test_clips_and_tracks(self) -> None:
        videos = ListSection("1", "Home", "movie", [clip(1), clip(2)])
        singer = artist(10, "Nina")
        record = album(11, singer)
        music = ListSection("3", "Music", "artist", [singer, record, track(12, record, 1), track(13, record, 2)])
        async with plex(videos, music) as (_, importer):
            clips = await read_all(importer, collection())
            tracks = await read_all(importer, collection("3", "artist"))
        assert [draft.type for draft in clips.drafts] == ["clip", "clip"]
        assert [draft.type for draft in tracks.drafts] == ["track", "track"]
        assert [(draft.artist, draft.track_number) for draft in tracks.drafts] == [("Nina", 1), ("Nina", 2)]

    @pytest.mark.fault(203)
    async def test_the_clips_among_photos(self) -> None:
        rows = [clip(1, "Holiday"), {"ratingKey": "2", "type": "photo", "title": "Cat"}]
        async with plex(ListSection("1", "Photos", "photo", rows)) as (server, importer):
            result = await read_all(importer, collection(kind="photo"))
        assert [(draft.type, draft.title) for draft in result.drafts] == [("clip", "Holiday")]
        assert result.rejected == []
        assert [request.item_type for request in server.requests if request.path.endswith("/all")] == [12]

    async def test_generated_libraries(self) -> None:
        sections = [
            GeneratedSection("1", "M", "movie", count=300),
            GeneratedSection("2", "T", "show", count=300),
            GeneratedSection("3", "A", "artist", count=300),
            GeneratedSection("4", "C", "clip", count=300),
        ]
        async with plex(*sections, config={"page_size": 100}) as (_, importer):
            for section in sections:
                result = await read_all(importer, collection(section.key, section.type))
                assert result.source_items == 300
                uris = [draft.source_uri for draft in result.drafts] + [one.source_uri for one in result.rejected]
                assert len(set(uris)) == len(uris) >= 300

    @pytest.mark.fault(152)
    async def test_a_library_whose_name_looks_like_an_option(self) -> None:
        library = collection(name="--help")
        answer = await check_locations(library, ("/data",), server="Plex")
        assert f"`retrovue collection update {library.id} --map /data=LOCAL`" in str(answer.reason)

    @pytest.mark.fault(153)
    async def test_folders_without_end(self) -> None:
        asked: list[str] = []

        def probe(path: str) -> bool:
            asked.append(path)
            return True

        mapped = collection(mappings=[("/data", "/srv")])
        folders = tuple(f"/data/{number}" for number in range(1001))
        answer = await check_locations(mapped, folders, probe=probe, server="Plex")
        assert (answer.code, asked) == ("too_many_locations", [])
        assert (await check_locations(mapped, ("/data",) * 5000, probe=probe, server="Plex")).ingestible
        assert asked == ["/srv"]
        unmapped = await check_locations(collection(), folders[:1000], server="Plex")
        assert "and 980 more" in str(unmapped.reason)
        assert len(str(unmapped.reason)) < 2000

    async def test_the_configured_identifier_is_required_before_the_token_is_sent(self) -> None:
        async with plex(ListSection("1", "M", "movie", [movie(1)]), config={"machine_identifier": "m"}) as (
            server,
            importer,
        ):
            with pytest.raises(WrongIdentity):
                await read_all(importer, collection())
            server.machine_identifier = "m"
            result = await read_all(importer, collection())
        assert result.drafts[0].source_uri.startswith("plex://m/")
        assert [request.path for request in server.requests if request.token_from is None] == ["/identity"]

    async def test_gzip(self) -> None:
        section = GeneratedSection("1", "M", count=200)
        async with plex(section, http={"gzip": True}, gzip_replies=True) as (server, importer):
            assert (await read_all(importer, collection())).source_items == 200
            packed = server.bytes_sent
        async with plex(section, gzip_replies=True) as (server, importer):
            assert (await read_all(importer, collection())).source_items == 200
        assert server.bytes_sent > 2 * packed

    async def test_an_unsupported_kind(self) -> None:
        async with plex(ListSection("1", "P", "games")) as (_, importer):
            with pytest.raises(RequestError) as caught:
                await read_all(importer, collection(kind="games"))
        assert caught.value.code == "unsupported_kind"

    async def test_the_section_key_cannot_leave_its_place(self) -> None:
        async with plex() as (server, importer):
            with pytest.raises(Exception, match="no library"):
                await read_all(importer, collection("1/../../x?y"))
        assert all(
            request.path.startswith("/library/sections/")
            for request in server.requests
            if "identity" not in request.path
        )


async def test_pages_need_no_group() -> None:
    async with plex(tv(*series(1000, "Lost"))) as (_, importer):
        found = [page async for page in importer.pages(collection("2", "show"), FULL)]
    assert sum(page.source_items for page in found) == 6


async def test_a_scan_is_told_while_it_runs() -> None:
    library = ListSection("1", "Movies", "movie", [movie(1)], uuid="4be8d0d1")
    async with plex(library, tv()) as (_, importer):
        assert await importer.change_state(collection()) == ChangeState(refreshing=False, uuid="4be8d0d1", stamp="2")
        library.refreshing = True
        assert await importer.change_state(collection()) == ChangeState(refreshing=True, uuid="4be8d0d1", stamp="2")
        assert not (await importer.change_state(collection("2", "show"))).refreshing
        assert await importer.change_state(collection("9")) == ChangeState(refreshing=False)
    assert isinstance(importer, TellsChanges)
