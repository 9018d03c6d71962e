"""What a Jellyfin server tells by its socket: messages as its source builds them, nonsense, silence and breaks."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
import pytest

from retrovue.core.errors import SourceRefused, SourceUnreachable, WrongIdentity
from retrovue.core.model import Secret
from retrovue.importers.base import ChangeHint, TellsEvents
from retrovue.importers.guard import GuardedHints, GuardedImporter
from retrovue.importers.http.refusals import Refusal
from retrovue.importers.jellyfin import events
from retrovue.importers.jellyfin.events import LONGEST_MESSAGE, hints_of
from retrovue.importers.jellyfin.importer import JellyfinImporter
from retrovue.simulator import Fault, faults
from retrovue.simulator.jellyfin import SimulatedJellyfin, item_id
from retrovue.simulator.jellyfin.socket import PATH, library_changed
from tests.support.plex import IMPATIENT

pytestmark = pytest.mark.anyio

TOKEN = "0123456789abcdef0123"
MOVIES, SHOWS, ONE, TWO = (item_id(name) for name in ("library Movies", "library Shows", 1, 2))
DASHED = f"{ONE[:8]}-{ONE[8:12]}-{ONE[12:16]}-{ONE[16:20]}-{ONE[20:]}"
ANYTHING = ChangeHint(None, None)
BOTH = (ONE, TWO)


def told(**data: Any) -> list[ChangeHint]:
    return list(hints_of(orjson.dumps({"MessageType": "LibraryChanged", "Data": library_changed(**data)})))


class TestHints:
    @pytest.mark.parametrize(
        ("data", "hints"),
        [
            ({"added": [ONE], "libraries": [MOVIES]}, [ChangeHint(MOVIES, (ONE,))]),
            ({"added": [DASHED.upper()], "updated": [TWO, ONE], "libraries": [MOVIES]}, [ChangeHint(MOVIES, BOTH)]),
            ({"added": [ONE], "removed": [TWO], "libraries": [MOVIES]}, [ChangeHint(MOVIES, None)]),
            ({"removed": [TWO], "libraries": [MOVIES]}, [ChangeHint(MOVIES, None)]),
            ({"added": [ONE], "libraries": [MOVIES, SHOWS]}, [ChangeHint(MOVIES, None), ChangeHint(SHOWS, None)]),
            # LibraryChangedNotifier.cs names the libraries of what came or went, and not of what was updated.
            ({"updated": [ONE]}, [ANYTHING]),
            ({"removed": [ONE]}, [ANYTHING]),
            ({"libraries": [MOVIES]}, [ChangeHint(MOVIES, None)]),
            ({}, []),
            ({"added": ["x", None, 5, ONE + "0"]}, []),
        ],
    )  # fmt: skip
    def test_of_a_change(self, data: dict[str, Any], hints: list[ChangeHint]) -> None:
        assert told(**data) == hints

    @pytest.mark.parametrize(
        "message",
        [
            {"MessageType": "ForceKeepAlive", "Data": 60},
            {"MessageType": "KeepAlive"},
            {"MessageType": "RefreshProgress", "Data": {"ItemId": ONE, "Progress": "100"}},
            {"MessageType": "UserDataChanged", "Data": {"UserDataList": [{"ItemId": ONE}]}},
            {"MessageType": "LibraryChanged"},
            {"MessageType": "LibraryChanged", "Data": [ONE]},
            {"MessageType": "LibraryChanged", "Data": {"ItemsAdded": ONE, "CollectionFolders": 5}},
            {"MessageType": ["LibraryChanged"]},
            [], 5, None,
        ],
    )  # fmt: skip
    def test_what_is_none(self, message: object) -> None:
        assert list(hints_of(orjson.dumps(message))) == []

    @pytest.mark.parametrize("message", [b"{", b"[" * 200_000, b"\xff", b"\0"])
    def test_what_is_no_json_is_ignored(self, message: bytes) -> None:
        assert list(hints_of(message)) == []

    def test_a_message_that_was_too_long_may_have_named_anything(self) -> None:
        assert list(hints_of(b"")) == [ANYTHING]

    def test_nothing_that_is_nearly_a_message_raises(self) -> None:
        dice = random.Random(20)
        whole = library_changed(added=[ONE], updated=[TWO], libraries=[MOVIES])
        message = orjson.dumps({"MessageType": "LibraryChanged", "Data": whole})
        for _ in range(5_000):
            torn = bytearray(message)
            for _ in range(dice.randint(1, 4)):
                torn[dice.randrange(len(torn))] = dice.choice(b'{}[]",:0-\x00\xff')
            for hint in hints_of(bytes(torn)):
                assert isinstance(hint, ChangeHint)


@asynccontextmanager
async def listening(jellyfin: SimulatedJellyfin) -> AsyncIterator[GuardedHints]:
    async with jellyfin.serve() as url:
        config = {"base_url": url, "machine_identifier": "03b5e7fd4c8a4de8b4164d4d21b72608", "http": IMPATIENT}
        importer = GuardedImporter(JellyfinImporter(config, {"token": Secret(TOKEN)}))
        assert importer.tells_events()
        async with importer, importer.change_hints([]) as hints:
            yield hints


async def heard(hints: GuardedHints, number: int = 1) -> list[ChangeHint]:
    with anyio.fail_after(30):
        return [await anext(hints) for _ in range(number)]


@pytest.fixture
async def jellyfin() -> SimulatedJellyfin:
    return SimulatedJellyfin(token=TOKEN, standing="user")


@pytest.mark.rule("LE-4", "LE-6")
class TestListening:
    """LE-4, LE-6: silence ends the listening, and only the right server gets the token."""

    def test_it_is_offered(self) -> None:
        assert issubclass(JellyfinImporter, TellsEvents)

    async def test_messages_over_the_socket(self, jellyfin: SimulatedJellyfin) -> None:
        async with listening(jellyfin) as hints:
            await jellyfin.sockets.wait_for_listener()
            await jellyfin.sockets.send_text("{ nonsense")
            await jellyfin.sockets.emit("UserDataChanged", {"UserDataList": []})
            await jellyfin.sockets.emit("LibraryChanged", library_changed(added=[ONE], libraries=[MOVIES]))
            # A ping, a message in two frames with another ping between, and one of bytes.
            await jellyfin.sockets.send(b"\x89\x01p")
            await jellyfin.sockets.send(b"\x01\x02{ \x89\x01p\x80\x02 }\x82\x02{}")
            await jellyfin.sockets.emit("LibraryChanged", library_changed(updated=[ONE]))
            assert await heard(hints, 2) == [ChangeHint(MOVIES, (ONE,)), ANYTHING]
        (asked,) = [request for request in jellyfin.requests if request.path == PATH]
        assert (asked.token_from, asked.query) == ("header", {})
        # The token went only to a server that had just said who it is.
        assert jellyfin.requests[0].path == "/System/Info/Public"
        assert {request.path for request in jellyfin.requests if request.token_from is None} == {"/System/Info/Public"}

    async def test_a_long_message_is_not_kept(
        self, jellyfin: SimulatedJellyfin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "LONGEST_MESSAGE", 1_000)
        assert LONGEST_MESSAGE > 1_000
        async with listening(jellyfin) as hints:
            await jellyfin.sockets.wait_for_listener()
            await jellyfin.sockets.send_text("x" * 200_000)
            assert await heard(hints) == [ANYTHING]

    @pytest.mark.parametrize("politely", [True, False])
    async def test_the_end_of_the_connection(self, jellyfin: SimulatedJellyfin, *, politely: bool) -> None:
        async with listening(jellyfin) as hints:
            await jellyfin.sockets.wait_for_listener()
            await jellyfin.sockets.emit("LibraryChanged", library_changed(updated=[ONE]))
            assert await heard(hints) == [ANYTHING]
            await jellyfin.sockets.cut(politely=politely)
            with anyio.fail_after(30):
                if politely:
                    assert [hint async for hint in hints] == []
                else:
                    with pytest.raises(SourceUnreachable):
                        await anext(hints)

    async def test_bytes_that_are_no_frames(self, jellyfin: SimulatedJellyfin) -> None:
        async with listening(jellyfin) as hints:
            await jellyfin.sockets.wait_for_listener()
            await jellyfin.sockets.send(b"\xff" * 100)
            with anyio.fail_after(30), pytest.raises(SourceUnreachable):
                await anext(hints)

    async def test_signs_of_life(self, jellyfin: SimulatedJellyfin, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.01)
        monkeypatch.setattr(events, "SILENCE_S", 0.3)
        jellyfin.sockets.answered = 50
        async with listening(jellyfin) as hints:
            with anyio.fail_after(30), pytest.raises(SourceUnreachable, match="silent"):
                await anext(hints)
        assert jellyfin.sockets.keep_alives > 50

    async def test_an_api_key_is_told_nothing(self) -> None:
        jellyfin = SimulatedJellyfin(token=TOKEN, standing="api key")
        with pytest.raises(SourceRefused) as refused:
            async with listening(jellyfin):
                pass
        assert refused.value.code == "events_need_user"
        assert jellyfin.count(PATH) == 0

    async def test_another_server_gets_no_token(self, jellyfin: SimulatedJellyfin) -> None:
        jellyfin.server_id = "another"
        with pytest.raises(WrongIdentity):
            async with listening(jellyfin):
                pass
        assert {request.token_from for request in jellyfin.requests} == {None}

    async def test_a_server_that_has_no_socket(self, jellyfin: SimulatedJellyfin) -> None:
        jellyfin.faults.add(Fault(faults.status(404), PATH))
        with pytest.raises(Refusal):
            async with listening(jellyfin):
                pass
