"""Sources that are listened to: what they name is synced by the rules of any sync, and their storms cost little."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from retrovue.importers.base import ChangeHint
from retrovue.importers.filesystem import watching
from retrovue.operations.documents import listening_document
from retrovue.operations.listening import get_listening
from retrovue.service.hints import MOST_KEYS, MOST_LIBRARIES, Hints, ListeningTimes
from retrovue.service.listening import Pauses
from retrovue.service.serving import serve
from retrovue.simulator import faults
from retrovue.simulator.events import PATH, deleted, processed
from retrovue.simulator.faults import Fault
from retrovue.simulator.jellyfin.socket import library_changed
from retrovue.store import listeners
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from tests.support.library import rows, until
from tests.support.syncing import JellyfinSource, PlexSource, Synced, TreeSource

pytestmark = pytest.mark.anyio

QUICK = ListeningTimes(quiet_s=0.05, most_s=5, echo_s=60, look_s=0.05, first_pause_s=0.01, longest_pause_s=0.01)
THERE = "EXISTS (SELECT FROM asset WHERE title = :title)"


@asynccontextmanager
async def served(store: Store, local: Path, times: ListeningTimes = QUICK) -> AsyncIterator[tuple[PlexSource, Synced]]:
    """Serve a Plex library of five films; it is listened to, and the sync after the connecting has found them."""
    source = PlexSource(local)
    for number in range(1, 6):
        source.add(number)
    async with source.serve(), anyio.create_task_group() as group:
        synced = await Synced.make(store, source)

        async def work() -> None:
            await serve(store, "A", times=times)

        group.start_soon(work)
        with anyio.fail_after(30):
            await source.plex.events.wait_for_listener()
            await until(store, THERE, title="Film 5")
        yield source, synced
        group.cancel_scope.cancel()


def arrive(source: PlexSource, number: int) -> str:
    """Add a film as the server finds it; returns its rating key."""
    source.add(number)
    [uri] = [film.uri for found, film in source.films().items() if found == number]
    key = uri.partition("/library/metadata/")[2].partition("?")[0]
    row = source.section.item(key)
    assert row is not None
    source.section.arrive(row)
    return key


def asked_often(source: PlexSource, path: str, times: int) -> anyio.Event:
    """Return an event that is set when the server has been asked for a path so often."""
    asked = anyio.Event()

    def note(_: object) -> None:
        if source.plex.count(path) >= times:
            asked.set()

    source.plex.on_request = note
    return asked


def hinted(**times: float) -> Hints:
    return Hints(ListeningTimes(**{"quiet_s": 0.0, "most_s": 0.0, **times}))


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.mark.rule("LE-1")
class TestWhatIsNamed:
    """LE-1: what a source names is synced as soon as it is quiet."""

    async def test_an_added_film_is_in_the_catalogue(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, _):
            key = arrive(source, 9)
            # As recorded of an addition: issue-evidence, Hellowlol/bw_plex and Tautulli.
            for fields in (
                {"state": 0, "metadataState": "created"},
                {"state": 0, "queueSize": 8},
                {"mediaState": None},
            ):
                source.plex.emit("timeline", processed("1", key, **fields))
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 9")

    async def test_hints_wait_for_quiet_or_for_the_longest_time(self) -> None:
        for times in ({"quiet_s": 0.0, "most_s": 1e9}, {"quiet_s": 1e9, "most_s": 0.0}):
            hints = hinted(**times)
            hints.add(ChangeHint("1", None))
            with anyio.fail_after(30):
                await hints.wait()
        hints = hinted(quiet_s=1e9, most_s=1e9)
        hints.add(ChangeHint("1", None))
        due = False

        async def wait() -> None:
            nonlocal due
            await hints.wait()
            due = True

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not due
            # The whole source is due at once.
            hints.all()
        assert due


@pytest.mark.rule("LE-2")
class TestStorms:
    """LE-2: however much a source tells, it costs bounded requests and memory."""

    async def test_a_storm_gives_a_bounded_number_of_requests(self, store: Store, tmp_path: Path) -> None:
        times = ListeningTimes(quiet_s=0.5, most_s=5, look_s=0.05, first_pause_s=0.01)
        async with served(store, tmp_path, times) as (source, _):
            source.plex.reset_counters()
            for number in range(10_000):
                source.plex.emit("timeline", processed(1, 1_000_000 + number))
            source.plex.emit("timeline", processed(1, arrive(source, 9)))
            with anyio.fail_after(60):
                await until(store, THERE, title="Film 9")
            assert source.plex.request_count < 60

    async def test_many_items_are_the_whole_library(self) -> None:
        hints = hinted()
        hints.add(ChangeHint("1", tuple(map(str, range(MOST_KEYS)))))
        hints.add(ChangeHint("2", tuple(map(str, range(MOST_KEYS + 1)))))
        assert hints.libraries["2"] is None
        assert len(hints.libraries["1"] or ()) == MOST_KEYS

    async def test_many_libraries_are_the_whole_source(self) -> None:
        hints = hinted()
        for number in range(MOST_LIBRARIES):
            hints.add(ChangeHint(str(number), None))
        assert not hints.everything
        hints.add(ChangeHint("x", None))
        assert (hints.everything, len(hints.libraries)) == (True, MOST_LIBRARIES)


@pytest.mark.rule("LE-3")
class TestNoProof:
    """LE-3: what a source tells proves nothing."""

    async def test_a_deletion_is_only_a_hint(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, synced):
            (still_listed,) = [film.uri for number, film in source.films().items() if number == 3]
            source.remove(2)
            source.plex.emit("timeline", deleted(1, still_listed.partition("metadata/")[2].partition("?")[0]))
            with anyio.fail_after(30):
                await until(store, "EXISTS (SELECT FROM asset WHERE title = 'Film 2' AND availability = 'missing')")
            assert {title: state for title, (state, _) in (await synced.states()).items()} == {
                "Film 1": "present", "Film 2": "missing", "Film 3": "present", "Film 4": "present", "Film 5": "present"
            }  # fmt: skip


@pytest.mark.rule("LE-4")
class TestConnecting:
    """LE-4: all is synced after each connecting, which is tried again after growing pauses."""

    async def test_after_each_connecting_all_is_synced(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, _):
            arrive(source, 9)
            source.plex.events.cut()
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 9")
            assert source.plex.count(PATH) >= 2

    def test_pauses_grow_and_begin_anew_after_a_good_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(anyio, "current_time", lambda: now)
        pauses = Pauses(ListeningTimes(first_pause_s=1, longest_pause_s=300))
        for longest in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
            pauses.began()
            assert longest / 2 <= pauses.next() <= longest
        pauses.began()
        now = 3_600.0
        assert pauses.next() <= 1


@pytest.mark.rule("LE-5")
class TestEchoes:
    """LE-5: what a sync has caused itself is ignored, and so is what is no change of a library."""

    async def test_of_a_source(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, _):
            key = arrive(source, 9)
            source.plex.emit("timeline", processed(1, key))
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 9")
                await until(store, "NOT EXISTS (SELECT FROM ingest_start LEFT JOIN ingest_outcome"
                            " USING (run_id, collection_id) WHERE ingest_outcome.run_id IS NULL)")  # fmt: skip
            runs = len(await rows(store, "SELECT DISTINCT run_id FROM ingest_start"))
            source.plex.emit("timeline", processed(1, key))
            source.plex.emit("timeline", processed(1, key, identifier="tv.plex.providers.epg.cloud:17"))
            source.plex.emit("timeline", processed(1, arrive(source, 10)))
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 10")
            # What was synced was the other film alone.
            assert len(await rows(store, "SELECT DISTINCT run_id FROM ingest_start")) == runs + 1
            assert await rows(store, "SELECT heard_items FROM listener") == [(1,)]

    async def test_of_items_for_a_while(self) -> None:
        hints = hinted()
        hints.ignore("1", {"a"}, 60)
        hints.add(ChangeHint("1", ("a",)))
        assert hints.libraries == {}
        hints.add(ChangeHint("2", ("a",)))
        hints.add(ChangeHint("1", ("a", "b")))
        assert hints.take() == {"1": {"b"}, "2": {"a"}}
        hints.add(ChangeHint("1", None))
        assert hints.take() == {"1": None}
        hints.ignore("1", {"a"}, 0)
        hints.add(ChangeHint("1", ("a",)))
        assert hints.take() == {"1": {"a"}}

    async def test_directories_have_none(self) -> None:
        hints = Hints(QUICK, echoes=False)
        hints.ignore("1", {"a"}, 60)
        hints.add(ChangeHint("1", ("a",)))
        assert hints.take() == {"1": {"a"}}


@pytest.mark.rule("LE-6")
class TestIdentity:
    """LE-6: another server than that of the source gets no token."""

    async def test_another_server_is_not_listened_to(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, _):
            source.plex.reset_counters()
            source.plex.machine_identifier = "another"
            asked = asked_often(source, "/identity", 6)
            source.plex.events.cut()
            with anyio.fail_after(30):
                await asked.wait()
            assert source.plex.count(PATH) == 0


@pytest.mark.rule("LE-7")
class TestHosts:
    """LE-7: each source is listened to on one host at a time."""

    async def test_one_host_at_a_time_has_a_source(self, store: Store, tmp_path: Path) -> None:
        source = PlexSource(tmp_path)
        async with source.serve():
            synced = await Synced.make(store, source)
            async with listeners.opened(store) as other:
                async with listeners.opened(store) as locks:
                    assert await listeners.claim(locks, synced.source)
                    assert await listeners.claim(locks, synced.source)
                    assert not await listeners.claim(other, synced.source)
                assert await listeners.claim(other, synced.source)

    async def test_without_listening(self, store: Store, tmp_path: Path) -> None:
        source = PlexSource(tmp_path)
        async with source.serve(), anyio.create_task_group() as group:
            await Synced.make(store, source)

            async def work() -> None:
                await serve(store, "A", listen=False)

            group.start_soon(work)
            here = (
                "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = :name AND datname = current_database())"
            )
            with anyio.fail_after(30):
                await until(store, here, name="retrovue-serve")
                await until(store, f"NOT {here}", name="retrovue-events")
            group.cancel_scope.cancel()
        assert source.plex.count(PATH) == 0


@pytest.mark.rule("LE-8")
class TestLater:
    """LE-8: what fails or is held by another run is synced later."""

    async def test_what_another_run_holds_is_synced_later(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, synced):
            async with open_locks(store, "another run") as locks:
                with anyio.fail_after(30):
                    while await locks.take([synced.collection]):
                        await until(store, "true")
                source.plex.reset_counters()
                tried_again = asked_often(source, "/library/sections", 3)
                source.plex.emit("timeline", processed(1, arrive(source, 9)))
                with anyio.fail_after(30):
                    await tried_again.wait()
                assert "Film 9" not in await synced.states()
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 9")

    async def test_what_fails_is_synced_again(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, _):
            source.plex.faults.add(Fault(faults.status(401), path="/library/sections*", times=2))
            source.plex.emit("timeline", processed(1, arrive(source, 9)))
            with anyio.fail_after(30):
                await until(store, THERE, title="Film 9")
                await until(store, "EXISTS (SELECT FROM ingest_outcome WHERE code = 'auth')")


class TestJellyfin:
    async def test_what_its_socket_names_is_in_the_catalogue(self, store: Store, tmp_path: Path) -> None:
        source = JellyfinSource(tmp_path)
        source.jellyfin.standing = "administrator"
        source.add(1)
        sockets = source.jellyfin.sockets
        async with source.serve(), anyio.create_task_group() as group:
            synced = await Synced.make(store, source)
            group.start_soon(partial(serve, store, "A", times=QUICK))
            with anyio.fail_after(30):
                await sockets.wait_for_listener()
                await until(store, THERE, title="Film 1")
                source.add(2)
                added = [
                    film.uri.rpartition("/items/")[2][:32] for number, film in source.films().items() if number == 2
                ]
                await sockets.emit("LibraryChanged", library_changed(added=added, libraries=[source.library.id]))
                await until(store, THERE, title="Film 2")
                # What was only changed is told without its library; what is gone is at most missing.
                source.edit(2)
                source.remove(1)
                await sockets.emit("LibraryChanged", library_changed(updated=added))
                await until(store, "EXISTS (SELECT FROM asset WHERE title LIKE 'Film 2 (%')")
                await until(store, "EXISTS (SELECT FROM asset WHERE title = 'Film 1' AND availability = 'missing')")
            read = "SELECT read FROM ingest_outcome WHERE collection_id = :id AND read = 'scoped'"
            assert len(await synced.rows(read, id=synced.collection.id)) == 1
            group.cancel_scope.cancel()


@pytest.mark.rule("LE-10")
class TestDirectories:
    """LE-10: directories are watched, and read when they are quiet."""

    async def test_what_changes_on_disk_is_in_the_catalogue(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watching, "QUIET_S", 0.05)
        monkeypatch.setattr(watching, "_TICK_S", 0.02)
        source = TreeSource(tmp_path)
        for number in range(1, 4):
            source.add(number)
        known = "EXISTS (SELECT FROM asset WHERE title = :title AND availability = :availability)"
        async with anyio.create_task_group() as group:
            synced = await Synced.make(store, source)
            group.start_soon(partial(serve, store, "A", times=QUICK))
            with anyio.fail_after(60):
                await until(store, "EXISTS (SELECT FROM listener WHERE connected_at IS NOT NULL)")
                await until(store, known, title="Film 3", availability="present")
                source.add(4)
                await until(store, known, title="Film 4", availability="present")
                below = source.top / "Film 5 (2001)"
                below.mkdir()
                (below / "Film 5 (2001).mkv").write_bytes(b"x")
                await until(store, known, title="Film 5", availability="present")
                source.remove(1)
                await until(store, known, title="Film 1", availability="missing")
            assert {title: state for title, (state, _) in (await synced.states()).items()} == {
                "Film 1": "missing", **{f"Film {number}": "present" for number in range(2, 6)}
            }  # fmt: skip
            group.cancel_scope.cancel()

    async def test_what_was_read_alone_hides_no_removal(self, store: Store, tmp_path: Path) -> None:
        source = TreeSource(tmp_path)
        source.add(1)
        source.add(2)
        synced = await Synced.make(store, source)
        await synced.sync()
        source.remove(1)
        source.move(2)
        source.add(3)
        [directory] = [path for path in source.top.iterdir() if path.is_dir()]
        outcome = await synced.sync_items(f"{directory.name}/")
        assert (outcome.read, outcome.counts.source_items, outcome.counts.relinked) == ("scoped", 1, 0)
        assert await synced.rows("SELECT title FROM asset WHERE availability <> 'present'") == []
        outcome = await synced.sync()
        assert outcome.read == "sweep"
        present = await synced.rows("SELECT title FROM asset WHERE availability = 'present' ORDER BY title")
        assert present == [("Film 2",), ("Film 3",)]


@pytest.mark.rule("LE-9")
class TestWhatIsShown:
    """LE-9: the catalogue says who listens to a source, since when, what was last heard, and why nobody does."""

    async def test_of_a_source_that_is_listened_to(self, store: Store, tmp_path: Path) -> None:
        async with served(store, tmp_path) as (source, synced):
            with anyio.fail_after(30):
                await until(store, "EXISTS (SELECT FROM listener WHERE connected_at IS NOT NULL)")
            connected = await get_listening(store, str(synced.source.id))
            source.plex.emit("timeline", processed(1, arrive(source, 9)))
            with anyio.fail_after(30):
                await until(store, "EXISTS (SELECT FROM listener WHERE heard_at IS NOT NULL)")
            heard = await get_listening(store, str(synced.source.id))
            source.plex.machine_identifier = "another"
            source.plex.events.cut()
            with anyio.fail_after(30):
                await until(store, "EXISTS (SELECT FROM listener WHERE problem_code = 'wrong_identity')")
            broken = await get_listening(store, str(synced.source.id))
        gone = await get_listening(store, str(synced.source.id))
        assert connected.offered
        for listening, active, told in ((connected, True, None), (heard, True, 1), (broken, True, 1), (gone, False, 1)):
            one = listening.listener
            assert one is not None
            assert (one.host, one.active, one.heard_items) == ("A", active, told)
            assert one.heard_library == (None if told is None else "1")
            assert (one.since is not None) == (listening in {connected, heard})
            assert (one.problem_code, one.problem is None) == (
                ("wrong_identity", False) if listening is broken else (None, True)
            )
        document = listening_document(heard)
        assert document["heard"] == {"collection": "1", "items": 1}
        assert document["problem"] is None
        assert listening_document(broken)["problem"]["code"] == "wrong_identity"

    async def test_of_a_source_that_nobody_has_listened_to(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "plex").mkdir()
        plex = PlexSource(tmp_path / "plex")
        async with plex.serve():
            listening = await get_listening(store, str((await Synced.make(store, plex)).source.id))
        assert (listening.offered, listening.listener) == (True, None)
        nothing = {"since": None, "problem": None, "heard_at": None, "heard": None}
        assert listening_document(listening) == {"offered": True, "active": False, "host": None, **nothing}


class TestHints:
    async def test_those_of_a_library_are_one(self) -> None:
        hints = hinted()
        for library, items in (("1", ("a",)), ("2", None), ("1", ("b", "a")), ("2", ("c",))):
            hints.add(ChangeHint(library, items))
        await hints.wait()
        assert hints.take() == {"1": {"a", "b"}, "2": None}
        assert hints.take() == {}

    async def test_what_names_no_library_is_the_whole_source(self) -> None:
        hints = hinted()
        for library, items in ((None, ("a",)), ("1", ("b",)), (None, None)):
            hints.add(ChangeHint(library, items))
        await hints.wait()
        assert hints.take_everything()
        assert not hints.take_everything()
        assert hints.take() == {"1": {"b"}}
