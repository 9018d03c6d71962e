"""The questions that RetroVue asks a source, answered by a simulated Jellyfin server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from retrovue.core.answers import ChangeState
from retrovue.core.model import Secret
from retrovue.errors import MalformedAnswer, RequestError, SourceRefused, SourceUnreachable, WrongIdentity
from retrovue.importers.base import BaseImporter, ImporterInterface, compliance_problems
from retrovue.importers.jellyfin.importer import JellyfinImporter, decode_views, decode_virtual_folders
from retrovue.importers.registry import importer_class, importer_types
from retrovue.simulator import Fault, faults
from retrovue.simulator.jellyfin import (
    JellyfinLibrary,
    SimulatedJellyfin,
    audio,
    episode,
    item_id,
    movie,
    music_video,
    part,
    series,
    video,
)
from tests.support.jellyfin import TOKEN, a_series, collection, jellyfin, movies, read_all, shows

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parents[2] / "data" / "jellyfin"
LIBRARIES = (
    JellyfinLibrary("Films ", "movies", locations=["P:\\Films", "\\\\nas\\more"]),
    JellyfinLibrary("Shows", "tvshows"),
    JellyfinLibrary("Music", "music"),
    JellyfinLibrary("Home", "homevideos"),
    JellyfinLibrary("Clips", "musicvideos"),
    JellyfinLibrary("All sorts", None),
    JellyfinLibrary("Books", "books"),
)
KINDS = ["movie", "show", "artist", "homevideos", "musicvideos", "mixed", "books"]


class TestInterface:
    def test_complies(self) -> None:
        assert issubclass(JellyfinImporter, BaseImporter)
        assert compliance_problems(JellyfinImporter) == []
        assert isinstance(JellyfinImporter({"base_url": "http://jellyfin.local"}), ImporterInterface)

    def test_is_installed(self) -> None:
        assert "jellyfin" in importer_types()
        assert importer_class("jellyfin") is JellyfinImporter

    def test_configuration(self) -> None:
        fields = {field.name: field for field in JellyfinImporter.describe_configuration()}
        assert fields["base_url"].required
        assert fields["token"].secret


class TestReachable:
    async def test_identity(self) -> None:
        async with jellyfin() as (server, importer):
            identity = await importer.check_reachable()
        assert (identity.identifier, identity.name) == (server.server_id, "Simulated Jellyfin")
        assert identity.version

    async def test_another_server_never_sees_the_token(self) -> None:
        async with jellyfin(config={"machine_identifier": "somebody-else"}) as (server, importer):
            with pytest.raises(WrongIdentity) as caught:
                await importer.check_reachable()
        assert caught.value.context == {"expected": "somebody-else", "found": server.server_id}
        assert [request.token_from for request in server.requests] == [None]

    @pytest.mark.parametrize("standing", ["api key", "user"])
    async def test_a_refused_token(self, standing: Any) -> None:
        simulated = SimulatedJellyfin([], token="another", standing=standing)
        async with simulated.serve() as url, JellyfinImporter({"base_url": url}, {"token": Secret(TOKEN)}) as importer:
            with pytest.raises(SourceRefused):
                await importer.check_reachable()

    async def test_no_jellyfin(self) -> None:
        async with jellyfin() as (server, importer):
            server.faults.add(Fault(faults.no_container({"hello": 1}), path="/System/Info/Public"))
            with pytest.raises(MalformedAnswer) as caught:
                await importer.check_reachable()
        assert caught.value.code == "not_jellyfin"
        assert "port 8096" in (caught.value.hint or "")

    async def test_a_relative(self) -> None:
        async with jellyfin(product_name="Emby Server") as (_, importer):
            with pytest.raises(MalformedAnswer, match="it calls itself 'Emby Server'"):
                await importer.check_reachable()

    @pytest.mark.fault(215)
    async def test_emby(self) -> None:
        about = {"LocalAddresses": [], "ServerName": "Den", "Version": "4.8.10.0", "Id": "0" * 32}
        async with jellyfin() as (server, importer):
            server.faults.add(Fault(faults.no_container(about), path="/System/Info/Public"))
            with pytest.raises(MalformedAnswer, match=r"it is an Emby server \(4\.8\.10\.0\)") as caught:
                await importer.check_reachable()
        assert caught.value.code == "not_jellyfin"

    async def test_a_version_that_does_not_name_its_product(self) -> None:
        async with jellyfin(product_name=None) as (server, importer):
            assert (await importer.check_reachable()).identifier == server.server_id

    async def test_recorded(self) -> None:
        recorded = (RECORDED / "bardesss+arr-mcp__jellyfin_system-info.json").read_bytes()
        async with jellyfin() as (server, importer):
            server.faults.add(Fault(faults.no_container(orjson.loads(recorded)), path="/System/Info/Public"))
            identity = await importer.check_reachable()
        assert (identity.identifier, identity.version) == ("03b5e7fd4c8a4de8b4164d4d21b72608", "10.11.11")


class TestCollections:
    @pytest.mark.parametrize("standing", ["api key", "administrator"])
    async def test_by_virtual_folders(self, standing: Any) -> None:
        async with jellyfin(*LIBRARIES, standing=standing) as (server, importer):
            found = await importer.discover_collections()
        assert [one.kind for one in found] == KINDS
        assert (found[0].external_id, found[0].name) == (LIBRARIES[0].id, "Films ")
        assert found[0].locations == ("P:\\Films", "\\\\nas\\more")
        assert server.count("/UserViews") == 0

    @pytest.mark.parametrize("old_views", [False, True])
    async def test_by_what_a_user_sees(self, *, old_views: bool) -> None:
        async with jellyfin(*LIBRARIES, standing="user", old_views=old_views) as (_, importer):
            found = await importer.discover_collections()
        assert [(one.external_id, one.name) for one in found] == [(one.id, one.name) for one in LIBRARIES]
        assert [one.kind for one in found] == KINDS
        assert {one.locations for one in found} == {()}

    async def test_an_api_key_that_may_not_see_them(self) -> None:
        async with jellyfin(*LIBRARIES) as (server, importer):
            server.faults.add(Fault(faults.status(403), path="/Library/VirtualFolders"))
            with pytest.raises(SourceRefused):
                await importer.discover_collections()

    async def test_a_server_that_fails_is_no_reason_to_ask_otherwise(self) -> None:
        async with jellyfin(*LIBRARIES, standing="administrator") as (server, importer):
            server.faults.add(Fault(faults.status(503), path="/Library/VirtualFolders"))
            with pytest.raises(SourceUnreachable):
                await importer.discover_collections()
        assert server.count("/UserViews") == 0

    async def test_a_token_that_is_withdrawn_is_no_reason_either(self) -> None:
        async with jellyfin(*LIBRARIES, standing="administrator") as (server, importer):
            server.faults.add(Fault(faults.status(401), path="/Library/VirtualFolders"))
            with pytest.raises(SourceRefused):
                await importer.discover_collections()
        assert server.count("/UserViews") == 0

    async def test_no_libraries(self) -> None:
        async with jellyfin() as (_, importer):
            assert await importer.discover_collections() == ()

    async def test_who_asks_at_the_same_time_shares_an_answer(self) -> None:
        async with jellyfin(*LIBRARIES, latency=0.001) as (server, importer):

            async def ask() -> None:
                await importer.discover_collections()

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(ask)
        assert server.count("/Library/VirtualFolders") == 1

    @pytest.mark.parametrize("body", [b"{}", b"1", b"[", b'{"Items": []}'])
    def test_malformed(self, body: bytes) -> None:
        with pytest.raises(MalformedAnswer):
            decode_virtual_folders(body)

    @pytest.mark.parametrize("entry", [1, {"Name": 3}, {"Name": "New", "ItemId": None}, {"ItemId": []}])
    def test_an_entry_that_cannot_be_read_has_no_id(self, entry: object) -> None:
        odd, fine = decode_virtual_folders(orjson.dumps([entry, {"Name": "Old", "ItemId": "0" * 32}]))
        assert (odd.external_id, fine.external_id) == ("", "0" * 32)

    async def test_a_library_without_an_id_is_not_gone(self) -> None:
        def without_id(body: bytes) -> bytes:
            folders = orjson.loads(body)
            folders[0]["ItemId"] = None
            return orjson.dumps(folders)

        async with jellyfin(*LIBRARIES) as (server, importer):
            server.faults.add(Fault(faults.transform(without_id), path="/Library/VirtualFolders"))
            answer = await importer.check_ingestible(collection(LIBRARIES[0]))
        assert answer.code == "unreadable_library"

    def test_a_library_that_has_no_id_yet(self) -> None:
        body = b'[{"Name": "New", "Locations": []}, {"Name": "Old", "ItemId": "01234567-89ab-cdef-0123-456789abcdef"}]'
        new, found = decode_virtual_folders(body)
        assert (new.name, new.external_id) == ("New", "")
        assert (found.name, found.external_id, found.kind) == ("Old", "0123456789abcdef0123456789abcdef", "mixed")

    def test_invented_views(self) -> None:
        recorded = orjson.loads((RECORDED / "arabcoders+watchstate__mediabrowser_data.json").read_bytes())
        found = decode_views(orjson.dumps(recorded["libraries"]))
        assert [(one.external_id, one.kind) for one in found] == [("lib-1", "movie"), ("lib-2", "show")]
        assert decode_views(orjson.dumps(recorded["libraries_empty"])) == ()
        with pytest.raises(MalformedAnswer):
            decode_views(b"{}")


class TestIngestible:
    async def ask(self, library: JellyfinLibrary, mappings: Sequence[tuple[str, str]] = (), **server: Any) -> Any:
        async with jellyfin(library, **server) as (_, importer):
            return await importer.check_ingestible(collection(library, mappings=mappings))

    async def test_yes(self, tmp_path: Path) -> None:
        library = JellyfinLibrary("M", locations=["/data/a", "P:\\b\\"])
        mappings = [("/data/a", str(tmp_path)), ("p:/b", str(tmp_path))]
        assert (await self.ask(library, mappings)).ingestible

    async def test_gone(self) -> None:
        async with jellyfin(movies(1)) as (_, importer):
            answer = await importer.check_ingestible(collection(JellyfinLibrary("Other")))
        assert (answer.ingestible, answer.code) == (False, "gone_from_source")

    async def test_books(self) -> None:
        assert (await self.ask(JellyfinLibrary("B", "books"))).code == "unsupported_kind"

    async def test_no_location(self) -> None:
        answer = await self.ask(JellyfinLibrary("M", locations=[]))
        assert (answer.code, "Jellyfin" in answer.reason) == ("no_location", True)

    async def test_unmapped(self, tmp_path: Path) -> None:
        library = JellyfinLibrary("Movies", locations=["/data/movies", "/data/movies2"])
        answer = await self.ask(library, [("/data/movies", str(tmp_path))])
        assert answer.code == "unmapped_location"
        assert "retrovue collection update Movies --map /data/movies2=LOCAL" in answer.reason

    async def test_missing(self, tmp_path: Path) -> None:
        answer = await self.ask(JellyfinLibrary("M", locations=["/data"]), [("/data", str(tmp_path / "none"))])
        assert answer.code == "missing_directory"

    async def test_folders_that_the_token_may_not_see(self, tmp_path: Path) -> None:
        library = JellyfinLibrary("My films")
        answer = await self.ask(library, standing="user")
        assert (answer.ingestible, answer.code) == (False, "unknown_location")
        assert "API key" in answer.reason
        assert "retrovue collection update 'My films' --map SOURCE=LOCAL" in answer.reason
        assert (await self.ask(library, [("/data", str(tmp_path))], standing="user")).ingestible
        lost = await self.ask(library, [("/data", str(tmp_path / "none"))], standing="user")
        assert lost.code == "missing_directory"


class TestDrafts:
    @pytest.mark.parametrize("standing", ["administrator", "user"])
    async def test_a_user_is_named(self, standing: Any) -> None:
        library = movies(3)
        async with jellyfin(library, standing=standing) as (server, importer):
            assert (await read_all(importer, collection(library))).source_items == 3
        assert {request.query["userid"] for request in server.requests if request.path == "/Items"} == {server.user_id}

    async def test_episodes_take_two_flat_listings(self) -> None:
        rows = a_series(1000, "Lost", Genres=["Drama"], Studios=[{"Name": "ABC"}], OfficialRating="TV-14")
        library = shows(*rows, *a_series(2000, "Dark"))
        async with jellyfin(library) as (server, importer):
            result = await read_all(importer, collection(library, "show"))
        assert result.source_items == 12
        first = result.drafts[0]
        assert (first.show_title, first.season_number, first.episode_number) == ("Lost", 1, 1)
        assert (first.tags, first.studio, first.content_rating) == ({"genre": ["Drama"]}, "ABC", "TV-14")
        assert [request.kinds for request in server.requests if request.path == "/Items"] == ["Series", "Episode"]

    @pytest.mark.parametrize(
        ("collection_type", "kind", "rows", "types"),
        [
            ("homevideos", "homevideos", [video(1), movie(2, Type="Photo")], ["clip"]),
            ("musicvideos", "musicvideos", [music_video(1)], ["clip"]),
            ("music", "artist", [audio(1), audio(2)], ["track", "track"]),
            (None, "mixed", [movie(1), series(2, "S"), episode(3, series(2, "S"), 1, 1)], ["movie", "episode"]),
        ],
    )
    async def test_kinds(self, collection_type: str | None, kind: str, rows: list[Any], types: list[str]) -> None:
        library = JellyfinLibrary("L", collection_type, rows)
        async with jellyfin(library) as (_, importer):
            result = await read_all(importer, collection(library, kind))
        assert ([draft.type for draft in result.drafts], result.rejected) == (types, [])

    async def test_parts_are_asked_for(self) -> None:
        library = movies(3)
        library.add_parts(2, part(90, movie(2), "/m/2 cd2.mkv"), part(91, movie(2), "/m/2 cd3.mkv"))
        async with jellyfin(library) as (server, importer):
            result = await read_all(importer, collection(library))
        whole = result.drafts[1]
        assert [one.source_path for one in whole.parts] == [
            "/data/movies/Movie 2.mkv",
            "/m/2 cd2.mkv",
            "/m/2 cd3.mkv",
        ]
        assert whole.runtime_ms == 3 * 5_400_000
        assert server.count("/Videos/*/AdditionalParts") == 1

    async def test_parts_that_are_not_told(self) -> None:
        library = movies(4)
        for number in (1, 2, 3):
            library.add_parts(number, part(90 + number, movie(number), f"/m/{number} cd2.mkv"))
        library.change(1, PartCount=3)
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(faults.status(404), path=f"/Videos/{item_id(2)}/AdditionalParts"))
            broken = faults.rows_changed("no path", lambda rows: [{**row, "MediaSources": []} for row in rows])
            server.faults.add(Fault(broken, path=f"/Videos/{item_id(3)}/AdditionalParts"))
            result = await read_all(importer, collection(library))
        assert [one.code for one in result.rejected] == ["parts_unknown"] * 3
        assert result.titles == ["Movie 4"]

    async def test_the_configured_identity_is_required_before_the_token_is_sent(self) -> None:
        library = movies(1)
        async with jellyfin(library, config={"machine_identifier": "m"}) as (server, importer):
            with pytest.raises(WrongIdentity):
                await read_all(importer, collection(library))
        assert [(request.path, request.token_from) for request in server.requests] == [("/System/Info/Public", None)]

    async def test_gzip(self) -> None:
        library = movies(200)
        async with jellyfin(library, http={"gzip": True}, gzip_replies=True) as (_, importer):
            assert (await read_all(importer, collection(library))).source_items == 200

    async def test_an_unsupported_kind(self) -> None:
        library = JellyfinLibrary("B", "books")
        async with jellyfin(library) as (_, importer):
            with pytest.raises(RequestError) as caught:
                await read_all(importer, collection(library, "books"))
        assert caught.value.code == "unsupported_kind"


@pytest.mark.parametrize(("standing", "told"), [("api key", True), ("administrator", True), ("user", False)])
async def test_a_scan_is_told_to_whom_the_server_tells_it(standing: str, *, told: bool) -> None:
    library = movies(1)
    async with jellyfin(library, standing=standing) as (_, importer):
        assert await importer.change_state(collection(library)) == ChangeState(refreshing=False)
        library.scanning = True
        assert await importer.change_state(collection(library)) == ChangeState(refreshing=told)
