"""What a Plex server tells while it is listened to: frames as recorded, frames that nobody understands, and silence."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
import pytest

from retrovue.core.errors import SourceUnreachable, WrongIdentity
from retrovue.core.model import Secret
from retrovue.importers.base import ChangeHint, TellsEvents
from retrovue.importers.guard import GuardedHints, GuardedImporter
from retrovue.importers.plex import events
from retrovue.importers.plex.events import LONGEST_EVENT, EventCutter, hints_of
from retrovue.importers.plex.importer import PlexImporter
from retrovue.simulator import SimulatedPlex
from retrovue.simulator.events import PATH, deleted, processed
from tests.support.plex import IMPATIENT

pytestmark = pytest.mark.anyio

TOKEN = "0123456789abcdef0123"
LIBRARIES = "com.plexapp.plugins.library"
WHOLE = ChangeHint("2", None)
ITEM = ChangeHint("2", ("77",))


def timeline(**fields: Any) -> dict[str, Any]:
    return {"TimelineEntry": {"identifier": LIBRARIES, "sectionID": 2, "itemID": 77, "type": 1, "state": 5} | fields}


def activity(event: str = "ended", **fields: Any) -> dict[str, Any]:
    about = {"type": "library.update.section", "Context": {"librarySectionID": "2"}} | fields
    return {"ActivityNotification": {"event": event, "uuid": "e236a6e5", "Activity": about}}


def told(event: object) -> list[ChangeHint]:
    return list(hints_of(orjson.dumps(event)))


@pytest.mark.rule("LE-5")
class TestHints:
    """LE-5: guide data, parents, and what isn't understood."""

    @pytest.mark.parametrize(
        ("event", "hint"),
        [
            (timeline(), ITEM),
            (timeline(sectionID="2", itemID="77", type="4", state="5"), ITEM),
            (timeline(type=10), ITEM),
            (timeline(metadataState=None, queueSize=None), ITEM),
            # Recorded: issue-evidence, Hellowlol/bw_plex and Tautulli.
            (timeline(sectionID="2", type=-1, state=9), WHOLE),
            (timeline(state=0, metadataState="deleted"), WHOLE),
            *((timeline(type=kind), WHOLE) for kind in (2, 3, 8, 9)),
            (activity(), WHOLE),
            (activity(Context={"librarySectionID": 2}), WHOLE),
            ({"NotificationContainer": {"type": "timeline"} | timeline()}, ITEM),
        ],
    )
    def test_what_is_one(self, event: dict[str, Any], hint: ChangeHint) -> None:
        assert told(event) == [hint]

    @pytest.mark.parametrize(
        "event",
        [
            # Recorded: issue-evidence, Hellowlol/bw_plex and Tautulli.
            timeline(state=0, queueSize=8),
            timeline(metadataState="created"),
            timeline(queueSize=0),
            timeline(type=18),
            timeline(identifier="tv.plex.providers.epg.cloud:17", state=9, metadataState="deleted"),
            timeline(identifier=None),
            timeline(sectionID=-1),
            timeline(sectionID=True),
            timeline(sectionID="2" * 19),
            timeline(sectionID="٢"),
            timeline(itemID=None),
            timeline(itemID=["77"]),
            timeline(state=[5]),
            activity("updated"),
            activity(Context=None),
            activity(Context={"key": "/library/metadata/77"}),
            # Recorded: PlexTraktSync.
            activity(type="library.refresh.items", Context={"key": "/library/metadata/10123"}),
            {"ActivityNotification": {"event": "ended"}},
            {"PlaySessionStateNotification": {"key": "/library/metadata/77"}},
            {"TimelineEntry": [1, None, "x", []]},
            {"TimelineEntry": 5},
            {"NotificationContainer": 5},
            [], 5, None, "x",
        ],
    )  # fmt: skip
    def test_what_is_none(self, event: object) -> None:
        assert told(event) == []

    def test_all_entries_of_a_list(self) -> None:
        entries = [timeline(itemID=number)["TimelineEntry"] for number in (1, 2)]
        assert told({"TimelineEntry": entries}) == [ChangeHint("2", ("1",)), ChangeHint("2", ("2",))]

    @pytest.mark.parametrize(
        "data", [b"", b"{", b"[" * 200_000, b"\xff", b"null", b"\0", b'{"TimelineEntry":' * 20_000]
    )
    def test_what_is_no_json_is_ignored(self, data: bytes) -> None:
        assert list(hints_of(data)) == []

    def test_nothing_that_is_nearly_an_event_raises(self) -> None:
        dice = random.Random(20)
        frames = [bytearray(orjson.dumps(event)) for event in (timeline(), activity())]
        for _ in range(5_000):
            frame = bytearray(dice.choice(frames))
            for _ in range(dice.randint(1, 4)):
                frame[dice.randrange(len(frame))] = dice.choice(b'{}[]",:0-\x00\xff')
            for hint in hints_of(bytes(frame)):
                assert isinstance(hint, ChangeHint)


class TestCutter:
    STREAM = b': ping\n\nevent: timeline\r\ndata: {"a":\r\ndata:1}\r\n\r\nevent: x\n\ndata: 2\n\ndata: 3\n'

    @pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000])
    def test_pieces_of_any_length(self, step: int) -> None:
        cutter = EventCutter()
        found = [
            data for at in range(0, len(self.STREAM), step) for data in cutter.feed(self.STREAM[at : at + step])
        ]  # fmt: skip
        assert found == [b' {"a":\n1}', b" 2"]

    @pytest.mark.parametrize(
        "long",
        [b"data: " + b"x" * LONGEST_EVENT, b"data:\n" * LONGEST_EVENT, b"x" * 10 * LONGEST_EVENT],
        ids=["line", "lines", "name"],
    )
    def test_of_a_long_event_nothing_is_kept(self, long: bytes) -> None:
        cutter = EventCutter()
        assert list(cutter.feed(long)) == []
        assert cutter.kept <= 2 * LONGEST_EVENT
        assert list(cutter.feed(b"\n\ndata: 2\n\n")) == [b" 2"]

    def test_comments_alone_for_days(self) -> None:
        cutter = EventCutter()
        assert list(cutter.feed(b": ping\n" * LONGEST_EVENT)) == []
        assert list(cutter.feed(b"data: 2\n\n")) == [b" 2"]


@asynccontextmanager
async def listening(plex: SimulatedPlex) -> AsyncIterator[GuardedHints]:
    async with plex.serve() as url:
        config = {"base_url": url, "machine_identifier": "5ca1ab1e00000000000000000000000000000001", "http": IMPATIENT}
        importer = GuardedImporter(PlexImporter(config, {"token": Secret(TOKEN)}))
        assert importer.tells_events()
        async with importer, importer.change_hints([]) as hints:
            yield hints


@pytest.fixture
async def plex() -> SimulatedPlex:
    return SimulatedPlex(token=TOKEN)


@pytest.mark.rule("LE-4", "LE-6")
class TestListening:
    """LE-4, LE-6: silence ends the listening, and only the right server gets the token."""

    def test_it_is_offered(self) -> None:
        assert issubclass(PlexImporter, TellsEvents)

    async def test_noise_is_skipped_over_http(self, plex: SimulatedPlex) -> None:
        async with listening(plex) as hints:
            plex.events.send(b"\xff\0 garbage\n\n: a comment\ndata: {\n\nid\n")
            plex.events.send(b"data: " + b"x" * 2 * LONGEST_EVENT + b"\n\n")
            plex.emit("timeline", processed(1, 5, identifier="tv.plex.providers.epg.cloud:17", state=9))
            plex.emit("timeline", processed("2", "77"))
            plex.emit("timeline", deleted(2, 5))
            with anyio.fail_after(30):
                assert [await anext(hints), await anext(hints)] == [ITEM, WHOLE]
        (asked,) = [request for request in plex.requests if request.path == PATH]
        assert asked.query == {"filters": "timeline,activity"}
        assert asked.token_from == "header"
        # The token went only to a server that had just said who it is.
        assert [request.token_from for request in plex.requests] == [None, "header"]

    async def test_the_iterator_ends_with_the_connection(self, plex: SimulatedPlex) -> None:
        async with listening(plex) as hints:
            plex.emit("timeline", processed(2, 77))
            plex.events.cut()
            with anyio.fail_after(30):
                assert [hint async for hint in hints] == [ITEM]

    async def test_silence(self, plex: SimulatedPlex, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "SILENCE_S", 0.1)
        with anyio.fail_after(30), pytest.raises(SourceUnreachable):
            async with listening(plex) as hints:
                await anext(hints)

    async def test_another_server_gets_no_token(self, plex: SimulatedPlex) -> None:
        plex.machine_identifier = "another"
        with pytest.raises(WrongIdentity):
            async with listening(plex):
                pass
        assert plex.count(PATH) == 0
        assert {request.token_from for request in plex.requests} == {None}
