"""Directories that are watched: what is named, when, and where polling has to do."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from watchfiles import Change

from retrovue.core.errors import ChangesUnknown, SourceUnreachable
from retrovue.core.model import Collection
from retrovue.core.pages import AssetDraft, Page
from retrovue.core.runs import FULL
from retrovue.importers.base import ChangeHint, ListsItems, TellsEvents
from retrovue.importers.filesystem import FilesystemImporter, watches, watching
from retrovue.importers.filesystem.mounts import remote_type
from retrovue.importers.filesystem.watches import WatchNeed, watch_need
from retrovue.importers.filesystem.watching import MOST_DIRECTORIES, MOST_S, QUIET_S, ChangedDirectories, Directories
from retrovue.testing import sample_collection

pytestmark = pytest.mark.anyio

MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:30 / /mnt rw - ext4 /dev/sdb1 rw
24 23 0:31 / /mnt/nas rw shared:1 - nfs4 nas:/ rw
25 23 0:32 / /mnt/a\\040disk rw - fuse.mergerfs a rw
26 23 0:33 / /mnt/usb rw - fuseblk /dev/sdc1 rw
27 23 0:34 / /mnt/over rw - cifs //nas/x rw
28 23 0:35 / /mnt/over rw - xfs /dev/sdd1 rw
nonsense
"""


class TestMounts:
    @pytest.mark.parametrize(
        ("path", "type_"),
        [
            ("/srv/media", None),
            ("/mnt/nas", "nfs4"),
            ("/mnt/nas/films", "nfs4"),
            ("/mnt/nasty", None),
            ("/mnt/a disk/films", "fuse.mergerfs"),
            ("/mnt/usb", None),
            ("/mnt/over", None),
            # Something below it is remote.
            ("/mnt", "nfs4"),
        ],
    )
    def test_types(self, path: str, type_: str | None) -> None:
        assert remote_type(path, MOUNTS) == type_

    def test_of_this_machine(self, tmp_path: Path) -> None:
        assert remote_type("/proc/self") is None
        assert remote_type(str(tmp_path), "") is None


class TestNeed:
    def test_directories_are_counted(self, tmp_path: Path) -> None:
        for name in ("Movies/A", "Movies/B/C", "TV"):
            (tmp_path / name).mkdir(parents=True)
        need = watch_need([str(tmp_path / "Movies"), str(tmp_path / "gone")], 30, 10)
        assert need == WatchNeed(5, True, 10, frozenset())
        assert not watch_need([str(tmp_path)], 0).counted
        assert (watch_need([], 0).limit or 1) > 0

    def test_those_on_the_network_are_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watches, "remote_type", lambda _: "cifs")
        assert watch_need([str(tmp_path)], 30, 10) == WatchNeed(0, True, 10, frozenset({"cifs"}))


class TestNames:
    @pytest.fixture
    def directories(self, tmp_path: Path) -> Directories:
        for name in ("Movies/Film", "TV/Show/Season 1", "Movies/.hidden"):
            (tmp_path / name).mkdir(parents=True)
        libraries = {".": str(tmp_path), "Movies": str(tmp_path / "Movies"), "TV": str(tmp_path / "TV")}
        return Directories(libraries, ".")

    @pytest.mark.parametrize(
        ("change", "path", "named"),
        [
            ("added", "Movies/Film/Film.mkv", {("Movies", "Film")}),
            ("modified", "Movies/Film/Film.mkv", {("Movies", "Film")}),
            ("added", "Movies/Film.mkv", {("Movies", "")}),
            ("added", "Movies/Film/Film.nfo", {("Movies", "Film")}),
            ("added", "Movies/Film", {("Movies", "Film/")}),
            ("modified", "Movies/Film", set()),
            ("modified", "TV/Show/tvshow.nfo", {("TV", "Show/")}),
            ("added", "TV/Show/Season 1/1.ISO", {("TV", "Show/Season 1")}),
            ("deleted", "Movies/Film/Film.mkv", {("Movies", None)}),
            ("deleted", "Movies/Film", {("Movies", None)}),
            ("deleted", "Movies/Film/Film.srt", set()),
            ("added", "Movies/Film/poster.jpg", set()),
            ("added", "Movies/Film/.nomedia", {("Movies", None)}),
            ("added", "Movies/.hidden/x.mkv", set()),
            ("deleted", "Movies/.hidden", set()),
            ("deleted", "Movies", {("Movies", None), (".", None)}),
            ("added", "Film.mkv", {(".", "")}),
            ("added", "Other/Film.mkv", set()),
            ("added", "Movies/\udcff.mkv", {("Movies", None)}),
        ],
    )
    def test_of_a_change(
        self, directories: Directories, tmp_path: Path, change: str, path: str, named: set[tuple[str, str | None]]
    ) -> None:
        assert directories.named([(Change[change], f"{tmp_path}/{path}")]) == named


@pytest.mark.rule("LE-10")
class TestSettling:
    """LE-10: a directory is named when it is quiet, or after the longest time."""

    def test_a_directory_is_named_when_it_is_quiet(self) -> None:
        settling = ChangedDirectories()
        settling.add("1", "a", 0)
        settling.add("1", "b", QUIET_S / 2)
        assert settling.due(QUIET_S - 1) == []
        assert settling.due(QUIET_S) == [ChangeHint("1", ("a",))]
        assert settling.due(QUIET_S * 2) == [ChangeHint("1", ("b",))]
        assert settling.due(QUIET_S * 9) == []

    def test_one_that_is_written_to_all_the_time(self) -> None:
        settling, now = ChangedDirectories(), 0.0
        while not (due := settling.due(now)):
            settling.add("1", "a", now)
            now += QUIET_S / 2
        assert (due, now) == ([ChangeHint("1", ("a",))], MOST_S + QUIET_S / 2 if MOST_S % (QUIET_S / 2) else MOST_S)

    def test_all_of_a_collection_comprises_what_was_named(self) -> None:
        settling = ChangedDirectories()
        settling.add("1", "a", 0)
        settling.add("2", "a", 0)
        settling.add("1", None, 1)
        assert sorted(settling.due(1_000), key=str) == [ChangeHint("1", None), ChangeHint("2", ("a",))]

    def test_many_directories_are_all_of_it(self) -> None:
        settling = ChangedDirectories()
        for number in range(10 * MOST_DIRECTORIES):
            settling.add("1", str(number), 0)
            settling.add("2", "a", 0)
        assert sorted(settling.due(QUIET_S), key=str) == [ChangeHint("1", None), ChangeHint("2", ("a",))]


def tree(top: Path) -> None:
    for path in (
        "Loose (2000).mkv", "A (2001)/A (2001).mkv", "A (2001)/A (2001) - cd2.mkv", "A (2001)/Featurettes/x.mkv",
        "B/B (2002).mkv", "B/deep/C (2003).mkv", "Ignored/D (2004).mkv", "Show/tvshow.nfo", "Show/S1/Show S01E01.mkv",
        "Show/S1/Show S01E02.mkv",
    ):  # fmt: skip
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(b"x")
    (top / ".plexignore").write_text("Ignored\n")


class TestItems:
    @pytest.fixture
    async def importer(self, tmp_path: Path) -> AsyncIterator[FilesystemImporter]:
        tree(tmp_path / "Movies")
        async with FilesystemImporter({"path": str(tmp_path), "kind": "mixed"}) as importer:
            yield importer

    @pytest.fixture
    def collection(self) -> Collection:
        return sample_collection("Movies", kind="mixed")

    async def listed(self, importer: FilesystemImporter, collection: Collection, *keys: str) -> dict[str, AssetDraft]:
        pages = [page async for page in importer.items(collection, keys)]
        assert pages[-1].changes is not None
        assert pages[-1].changes.source_total is None
        return {draft.source_uri.partition("/Movies/")[2]: draft for page in pages for draft in page.drafts}

    async def test_they_are_as_in_a_full_reading(self, importer: FilesystemImporter, collection: Collection) -> None:
        assert isinstance(importer, ListsItems)
        everything = {
            draft.source_uri.partition("/Movies/")[2]: draft
            async for page in importer.pages(collection, FULL)
            if isinstance(page, Page)
            for draft in page.drafts
        }
        assert len(everything) == 6
        assert await self.listed(importer, collection, "/") == everything
        for keys, wanted in {
            ("",): {"Loose%20%282000%29.mkv"},
            ("B",): {"B/B%20%282002%29.mkv"},
            ("B/",): {"B/B%20%282002%29.mkv", "B/deep/C%20%282003%29.mkv"},
            ("B/deep", ""): {"B/deep/C%20%282003%29.mkv", "Loose%20%282000%29.mkv"},
            ("Show/",): {"Show/S1/Show%20S01E01.mkv", "Show/S1/Show%20S01E02.mkv"},
            ("Show/S1",): {"Show/S1/Show%20S01E01.mkv", "Show/S1/Show%20S01E02.mkv"},
            ("Ignored/",): set(),
            ("A (2001)/Featurettes",): set(),
        }.items():
            found = await self.listed(importer, collection, *keys)
            assert found == {uri: everything[uri] for uri in wanted}, keys

    @pytest.mark.parametrize("key", ["gone", "B/gone/", "../Movies", "B/../B", "a\0b", "/etc", "B//deep"])
    async def test_what_is_not_there(self, importer: FilesystemImporter, collection: Collection, key: str) -> None:
        with pytest.raises(ChangesUnknown):
            await self.listed(importer, collection, "B", key)


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[AsyncIterator[ChangeHint]]:
    async with FilesystemImporter({"path": str(path), "kind": "movie"}) as importer:
        collections = [sample_collection(name, kind="movie") for name in ("Movies", "TV")]
        async with importer.change_hints(collections) as hints:
            yield hints


@pytest.mark.rule("LE-10")
class TestWatching:
    """LE-10: what can't be watched is polled, and a directory that is another one ends the watch."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(watching, "QUIET_S", 0.05)
        monkeypatch.setattr(watching, "_TICK_S", 0.02)
        for name in ("Movies", "TV", "Other"):
            (tmp_path / name).mkdir()

    def test_it_is_offered(self) -> None:
        assert issubclass(FilesystemImporter, TellsEvents)

    async def test_a_file_and_its_removal(self, tmp_path: Path) -> None:
        with anyio.fail_after(30):
            async with watched(tmp_path) as hints:
                (tmp_path / "Movies" / "Film").mkdir()
                assert await anext(hints) == ChangeHint("Movies", ("Film/",))
                (tmp_path / "Other" / "x.mkv").write_bytes(b"x")
                (tmp_path / "Movies" / "Film" / "Film.mkv").write_bytes(b"x")
                assert await anext(hints) == ChangeHint("Movies", ("Film",))
                (tmp_path / "Movies" / "Film" / "Film.mkv").unlink()
                assert await anext(hints) == ChangeHint("Movies", None)

    async def test_a_name_that_is_not_utf8_leads_to_polling(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watching, "POLL_S", 0.05)
        with anyio.fail_after(30):
            async with watched(tmp_path) as hints:
                (tmp_path / "Movies" / os.fsdecode(b"\xff.mkv")).write_bytes(b"x")
                # Both are hinted at when the watch is lost, and again by polling.
                polled = [hint async for _, hint in _first(hints, 4)]
        assert polled.count(ChangeHint("Movies", None)) == 2

    async def test_network_file_systems_are_polled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watching, "POLL_S", 0.05)
        monkeypatch.setattr(watching, "remote_type", lambda path: "nfs4" if path.endswith("TV") else None)
        with anyio.fail_after(30):
            async with watched(tmp_path) as hints:
                assert [hint async for _, hint in _first(hints, 2)] == [ChangeHint("TV", None)] * 2

    async def test_too_many_directories_are_polled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError("OS file watch limit reached.")

        monkeypatch.setattr("watchfiles._rust_notify.RustNotify", refuse)
        monkeypatch.setattr(watching, "POLL_S", 0.05)
        with anyio.fail_after(30):
            async with watched(tmp_path) as hints:
                found = [hint async for _, hint in _first(hints, 2)]
        assert found == [ChangeHint("Movies", None), ChangeHint("TV", None)]

    async def test_a_directory_that_is_another_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watching, "LOOK_S", 0.05)
        with anyio.fail_after(30):
            async with watched(tmp_path) as hints:
                (tmp_path / "Movies").rename(tmp_path / "Moved")
                (tmp_path / "Movies").mkdir()
                with pytest.raises(SourceUnreachable) as lost:
                    async for _ in hints:
                        pass
        assert lost.value.code == "watched_directory_changed"

    async def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "TV").rmdir()
        with pytest.raises(SourceUnreachable):
            async with watched(tmp_path):
                pass


async def _first(hints: AsyncIterator[ChangeHint], number: int) -> AsyncIterator[tuple[int, ChangeHint]]:
    for index in range(number):
        yield index, await anext(hints)
