"""The importer for directories, on real trees."""

import errno
import math
import os
import socket
import tracemalloc
import wave
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import anyio
import pytest

from retrovue.core.model import Collection
from retrovue.core.pages import AssetDraft, Page
from retrovue.core.runs import FULL, Scope
from retrovue.errors import (
    CollectionGone,
    IncompleteEnumeration,
    RequestError,
    ScopeNotFound,
    SourceError,
    SourceUnreachable,
    WrongIdentity,
)
from retrovue.importers.base import ImporterInterface
from retrovue.importers.filesystem import FilesystemImporter
from retrovue.importers.filesystem.contents import RUN, SortedNames
from retrovue.importers.filesystem.importer import DIRECTORIES_AT_ONCE, PAGE
from retrovue.importers.filesystem.precedence import Precedence
from retrovue.importers.filesystem.walk import DirectoryChanged, DirectoryLoop, Title, Walk
from retrovue.testing import ImporterConformance, sample_collection

pytestmark = pytest.mark.anyio

MOVIES = sample_collection("Movies", kind="movie")
SHOWS = sample_collection("TV", kind="show")
LATIN = os.fsdecode(b"caf\xe9")
"""A name in another encoding than UTF-8."""


def make(root: Path, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(path.name))


def allow(path: Path, mode: int) -> None:
    path.chmod(mode)


def importer(root: Path, **config: Any) -> FilesystemImporter:
    return FilesystemImporter({"path": str(root), **config})


async def read(root: Path, collection: Collection = MOVIES, scope: Scope = FULL, **config: Any) -> Page:
    whole = Page([], [], 0)
    async with importer(root, **config) as own, own.enumerate(collection, scope) as pages:
        async for page in pages:
            assert isinstance(page, Page)
            whole.drafts += page.drafts
            whole.rejected += page.rejected
            whole.source_items += page.source_items
    assert whole.source_items == len(whole.drafts) + len(whole.rejected)
    return whole


async def files(root: Path, collection: Collection = MOVIES) -> list[str]:
    page = await read(root, collection)
    assert not page.rejected
    top = f"{root / collection.external_id}/"
    return ["+".join(part.source_path.removeprefix(top) for part in draft.parts) for draft in page.drafts]


class TestDiscovery:
    async def test_a_directory_is_a_collection_and_files_beside_them_are_one(self, tmp_path: Path) -> None:
        make(tmp_path, "TV/a.mkv", "Movies/b.mkv", "Odd stuff/c.mkv", ".hidden/d.mkv", "@eaDir/e.mkv", "Trailers/f.mkv")
        found = await importer(tmp_path).discover_collections()
        assert [(one.external_id, one.kind, one.locations) for one in found] == [
            ("Movies", "movie", (f"{tmp_path}/Movies",)),
            ("Odd stuff", "mixed", (f"{tmp_path}/Odd stuff",)),
            ("TV", "show", (f"{tmp_path}/TV",)),
            ("Trailers", "clip", (f"{tmp_path}/Trailers",)),
        ]
        make(tmp_path, "loose.mkv", "cover.jpg")
        found = await importer(tmp_path, kind="clip").discover_collections()
        assert (found[0].external_id, found[0].name, found[0].kind) == (".", tmp_path.name, "clip")
        own = sample_collection(".")
        assert [draft.title for draft in (await read(tmp_path, own)).drafts] == ["loose"]

    async def test_a_link_is_none(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/a.mkv")
        (tmp_path / "Linked").symlink_to(tmp_path / "Movies")
        assert [one.name for one in await importer(tmp_path).discover_collections()] == ["Movies"]
        answer = await importer(tmp_path).check_ingestible(sample_collection("Linked"))
        assert (answer.ingestible, answer.code) == (False, "missing_directory")

    async def test_odd_names_have_keys_that_lead_back(self, tmp_path: Path) -> None:
        for name in (b"100% real", b"caf\xe9"):
            make(tmp_path, f"{os.fsdecode(name)}/a.mkv")
        found = await importer(tmp_path).discover_collections()
        assert [one.external_id for one in found] == ["100%25 real", "caf%E9"]
        for one, rejected in zip(found, (0, 1), strict=True):
            assert (await importer(tmp_path).check_ingestible(sample_collection(one.external_id))).ingestible
            assert len((await read(tmp_path, sample_collection(one.external_id))).rejected) == rejected

    @pytest.mark.parametrize("key", ["..", "%2e%2E", "a%2Fb", "", "a%00"])
    async def test_a_key_never_leads_out(self, tmp_path: Path, key: str) -> None:
        with pytest.raises(CollectionGone):
            await importer(tmp_path / "x").check_ingestible(sample_collection(key))


class TestReachability:
    async def test_there(self, tmp_path: Path) -> None:
        assert (await importer(tmp_path).check_reachable()).identifier == str(tmp_path)

    async def test_missing_or_no_directory(self, tmp_path: Path) -> None:
        make(tmp_path, "file")
        for path in (tmp_path / "nothing", tmp_path / "file"):
            with pytest.raises(SourceUnreachable) as refused:
                await importer(path).check_reachable()
            assert refused.value.unreachable
            assert refused.value.hint
            assert str(path) in refused.value.message

    async def test_not_readable(self, unprivileged_path: Path) -> None:
        allow(unprivileged_path, 0)
        with pytest.raises(SourceUnreachable, match="Permission denied"):
            await importer(unprivileged_path).check_reachable()
        allow(unprivileged_path, 0o700)

    async def test_another_directory_than_was_added(self, tmp_path: Path) -> None:
        with pytest.raises(WrongIdentity):
            await importer(tmp_path, machine_identifier="/elsewhere").check_reachable()

    @pytest.mark.parametrize("config", [{"path": "media"}, {"path": ""}, {"path": "/x", "kind": "opera"}, {}])
    def test_settings_that_cannot_be_used(self, config: dict[str, str]) -> None:
        with pytest.raises(RequestError):
            FilesystemImporter(config)

    def test_a_directory_has_one_spelling(self) -> None:
        assert {FilesystemImporter({"path": path})._path for path in ("/a/b", "//a/b/", "/a/./b", "/a/c/../b")} == {
            "/a/b"
        }

    async def test_a_root_that_is_reached_by_a_link(self, tmp_path: Path) -> None:
        make(tmp_path / "real", "Movies/a.mkv", "b.mkv")
        link = tmp_path / "link"
        link.symlink_to("real")
        assert await files(link) == ["a.mkv"]
        assert len((await read(link, sample_collection("."))).drafts) == 1


class TestWhatIsRead:
    async def test_in_the_order_of_names_directories_after_files(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/b/z.mkv", "Movies/b/a/1.mkv", "Movies/c.mkv", "Movies/a.mkv", "Movies/a/x.mkv")
        assert await files(tmp_path) == ["a.mkv", "c.mkv", "a/x.mkv", "b/z.mkv", "b/a/1.mkv"]

    async def test_a_draft(self, tmp_path: Path) -> None:
        make(tmp_path, "TV/Lost (2004)/Season 1/Lost - s01e02 - 50% & more?.mkv")
        [draft] = (await read(tmp_path, SHOWS)).drafts
        path = f"{tmp_path}/TV/Lost (2004)/Season 1/Lost - s01e02 - 50% & more?.mkv"
        assert (draft.show_title, draft.season_number, draft.episode_number) == ("Lost", 1, 2)
        assert (draft.type, draft.title, draft.container) == ("episode", "50% & more?", "mkv")
        assert [(part.source_path, part.size_bytes) for part in draft.parts] == [(path, len(Path(path).name))]
        assert draft.source_uri.startswith("file:///")
        assert draft.source_uri.isascii()
        assert unquote_to_bytes(draft.source_uri.removeprefix("file://")) == path.encode()

    async def test_real_sound(self, tmp_path: Path) -> None:
        (tmp_path / "Music").mkdir()
        with wave.open(str(tmp_path / "Music" / "Beep.wav"), "wb") as sound:
            sound.setparams((1, 2, 8000, 80, "NONE", "not compressed"))
            sound.writeframes(b"\0\0" * 80)
        [draft] = (await read(tmp_path, sample_collection("Music", kind="music"))).drafts
        assert (draft.type, draft.title, draft.parts[0].size_bytes) == ("track", "Beep", 204)

    async def test_parts_are_one_asset(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/A/A - pt2.mkv", "Movies/A/A - pt1.mkv", "Movies/B.mkv")
        assert await files(tmp_path) == ["B.mkv", "A/A - pt1.mkv+A/A - pt2.mkv"]

    async def test_what_media_servers_ignore(self, tmp_path: Path) -> None:
        make(
            tmp_path,
            "Movies/A/A.mkv",
            *(f"Movies/A/{name}" for name in ("A-trailer.mkv", "A.nfo", "Thumbs.db", ".A.mkv", "sample.mkv")),
            *(f"Movies/{name}/x.mkv" for name in ("@eaDir", "#recycle", "lost+found", ".AppleDouble", "A/@eaDir")),
            *(f"Movies/A/{name}/x.mkv" for name in ("Featurettes", "Behind The Scenes", "Trailers", "Sample")),
        )
        assert await files(tmp_path) == ["A/A.mkv"]

    async def test_extras_are_what_a_collection_of_them_is_for(self, tmp_path: Path) -> None:
        make(tmp_path, "Trailers/A-trailer.mkv", "Trailers/A/Trailers/x.mkv")
        assert await files(tmp_path, sample_collection("Trailers")) == ["A-trailer.mkv", "A/Trailers/x.mkv"]

    async def test_a_genre_may_be_called_shorts(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/Shorts/x.mkv")
        assert await files(tmp_path) == ["Shorts/x.mkv"]

    @pytest.mark.parametrize(
        ("name", "text", "left"),
        [
            (".nomedia", "", ["a.mkv"]),
            (".ignore", "", ["a.mkv"]),
            (".plexignore", "*\n", ["a.mkv"]),
            (".plexignore", "# *.mkv\n\nb*\n", ["a.mkv", "x/c.mkv"]),
            (".plexignore", "y/*.mkv\n", ["a.mkv", "x/b.mkv", "x/c.mkv"]),
            (".ignore", "y/\nc.mkv\n", ["a.mkv", "x/b.mkv"]),
            (".plexignore", "", ["a.mkv", "x/b.mkv", "x/c.mkv", "x/y/b.mkv"]),
        ],
    )
    async def test_files_that_exclude(self, tmp_path: Path, name: str, text: str, left: list[str]) -> None:
        make(tmp_path, "Movies/a.mkv", "Movies/x/b.mkv", "Movies/x/c.mkv", "Movies/x/y/b.mkv")
        (tmp_path / "Movies" / "x" / name).write_text(text)
        assert await files(tmp_path) == left


class TestRejections:
    async def test_links_are_not_followed_wherever_they_lead(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/real/a.mkv", "outside/b.mkv")
        movies = tmp_path / "Movies"
        (movies / "inside.mkv").symlink_to(movies / "real" / "a.mkv")
        (movies / "out.mkv").symlink_to(tmp_path / "outside" / "b.mkv")
        (movies / "broken.mkv").symlink_to("nothing")
        (movies / "loop").symlink_to(movies)
        (movies / "up").symlink_to(tmp_path)
        (movies / "notes.txt").symlink_to("/etc/hostname")
        page = await read(tmp_path)
        assert [draft.title for draft in page.drafts] == ["a"]
        assert [(one.code, one.title) for one in page.rejected] == [
            ("symbolic_link", title) for title in ("broken", "inside", "loop", "out", "up")
        ]

    async def test_what_is_no_file_or_empty(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/a.mkv")
        (tmp_path / "Movies" / "empty.mkv").touch()
        os.mkfifo(tmp_path / "Movies" / "pipe.mkv")
        with socket.socket(socket.AF_UNIX) as own:
            with chdir(tmp_path / "Movies"):  # The address of a socket has at most 107 bytes.
                own.bind("socket.mkv")
            page = await read(tmp_path)
        assert [one.code for one in page.rejected] == ["empty_file", "not_a_file", "not_a_file"]

    async def test_a_name_that_is_not_utf8(self, tmp_path: Path) -> None:
        make(tmp_path, f"Movies/{LATIN}.mkv", "Movies/a\x1b[2J.mkv")
        page = await read(tmp_path)
        [rejected] = page.rejected
        assert (rejected.code, rejected.title) == ("undecodable_name", "caf\ufffd")
        assert rejected.source_uri is not None
        assert rejected.source_uri.endswith("/caf%E9.mkv")
        rejected.reason.encode()
        assert [draft.title for draft in page.drafts] == ["a\x1b[2J"]


def scanning(*acts: Callable[[], object]) -> Callable[[int], Any]:
    """Scan like the system does, with something happening in the middle of the first directories."""
    waiting = list(acts)

    @contextmanager
    def scan(descriptor: int) -> Iterator[Iterable[Any]]:
        with os.scandir(descriptor) as entries:
            first = next(entries, None)
            if waiting:
                waiting.pop(0)()
            yield ([] if first is None else [first, *entries])

    return scan


def walked(walk: Walk) -> list[str]:
    found: list[str] = []
    while (more := walk.more(PAGE, DIRECTORIES_AT_ONCE)) is not None:
        found += [part.name for one in more if isinstance(one, Title) for part in one.parts]
    return found


class TestRaces:
    def test_a_directory_that_changes_is_read_again(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mkv", "b.mkv")
        walk = Walk(str(tmp_path), scan=scanning(lambda: make(tmp_path, "c.mkv")))
        assert walked(walk) == ["a.mkv", "b.mkv", "c.mkv"]

    def test_a_file_that_goes_is_no_error(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mkv", "b.mkv")

        def unlink() -> None:
            for path in tmp_path.iterdir():
                path.unlink()

        assert walked(Walk(str(tmp_path), scan=scanning(unlink))) == []

    def test_one_that_changes_twice_is_given_up(self, tmp_path: Path) -> None:
        make(tmp_path, "a.mkv")
        walk = Walk(str(tmp_path), scan=scanning(lambda: make(tmp_path, "b.mkv"), (tmp_path / "b.mkv").unlink))
        with pytest.raises(DirectoryChanged):
            walked(walk)

    def test_a_directory_that_contains_itself_is_found_out(self, tmp_path: Path) -> None:
        make(tmp_path, "a/b.mkv")
        walk = Walk(str(tmp_path))
        walk.more(1, 1)
        assert walk._ancestors is not None
        inode = (tmp_path / "a").stat()
        walk._ancestors[0].identity = (inode.st_dev, inode.st_ino)  # as a file system that isn't sound would say
        with pytest.raises(DirectoryLoop):
            walked(walk)

    async def test_a_directory_that_vanishes_has_all_read_again(self, tmp_path: Path) -> None:
        make(tmp_path, *(f"Movies/{number:04}/a.mkv" for number in range(PAGE + 10)))
        last = tmp_path / "Movies" / f"{PAGE + 9:04}"
        async with importer(tmp_path).enumerate(MOVIES, FULL) as pages:
            first = await anext(pages)
            last.rename(tmp_path / "Movies" / "moved")
            rest = [page async for page in pages]
        assert isinstance(first, Page)
        restarts = [number for number, page in enumerate(rest) if isinstance(page, Page) and page.restart]
        after = [page for page in rest[restarts[-1] :] if isinstance(page, Page)]
        titles = {draft.source_uri.split("/")[-2] for page in after for draft in page.drafts}
        assert len(restarts) == 1
        assert len(titles) == PAGE + 10
        assert "moved" in titles

    async def test_twice_is_incomplete(self, tmp_path: Path) -> None:
        names = [f"{number:04}" for number in range(PAGE + 10)]
        make(tmp_path, *(f"Movies/{name}/a.mkv" for name in names))

        async def rename_the_last() -> None:
            async with importer(tmp_path).enumerate(MOVIES, FULL) as pages:
                async for page in pages:
                    if isinstance(page, Page) and page.drafts:
                        name = names.pop()
                        (tmp_path / "Movies" / name).rename(tmp_path / "Movies" / f"0{name}")

        with pytest.raises(IncompleteEnumeration, match="changed while 'Movies' was read"):
            await rename_the_last()

    async def test_a_directory_that_becomes_a_link_is_not_followed(self, tmp_path: Path) -> None:
        make(tmp_path, *(f"Movies/{number:04}/a.mkv" for number in range(PAGE + 10)), "outside/b.mkv")
        last = tmp_path / "Movies" / f"{PAGE + 9:04}"
        found: list[AssetDraft] = []
        async with importer(tmp_path).enumerate(MOVIES, FULL) as pages:
            async for page in pages:
                assert isinstance(page, Page)
                found += page.drafts
                if last.is_dir() and not last.is_symlink():
                    (last / "a.mkv").unlink()
                    last.rmdir()
                    last.symlink_to(tmp_path / "outside")
        assert not any("outside" in draft.source_uri or draft.title == "b" for draft in found)

    async def test_one_that_cannot_be_read_is_never_taken_for_empty(self, unprivileged_path: Path) -> None:
        make(unprivileged_path, "Movies/a.mkv", "Movies/shut/b.mkv")
        (unprivileged_path / "Movies" / "shut").chmod(0)
        with pytest.raises(IncompleteEnumeration) as failed:
            await read(unprivileged_path)
        (unprivileged_path / "Movies" / "shut").chmod(0o700)
        assert failed.value.code == "unreadable_directory"
        assert "shut" in failed.value.message

    @pytest.mark.parametrize(
        ("number", "kind", "code"),
        [
            (errno.EACCES, IncompleteEnumeration, "unreadable_directory"),
            (errno.EIO, SourceUnreachable, "unreadable_directory"),
            (errno.ESTALE, SourceUnreachable, "unreadable_directory"),
            (errno.ENAMETOOLONG, IncompleteEnumeration, "unreadable_directory"),
        ],
    )
    async def test_what_the_system_says_midway(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[SourceError], code: str
    ) -> None:
        make(tmp_path, "Movies/a.mkv", "Movies/b/c.mkv")
        real = os.open

        def failing(path: str, *arguments: Any, **options: Any) -> int:
            if str(path).endswith("/b"):
                raise OSError(number, os.strerror(number), path)
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, "open", failing)
        with pytest.raises(kind) as failed:
            await read(tmp_path)
        assert (type(failed.value), failed.value.code) == (kind, code)
        assert f"{tmp_path}/Movies/b" in failed.value.message

    async def test_a_collection_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnreachable):
            await read(tmp_path)


class TestScope:
    @pytest.fixture
    def shows(self, tmp_path: Path) -> Path:
        make(
            tmp_path,
            *(f"TV/Lost (2004)/Lost (2004) - s{season:02}e0{number}.mkv" for season in (0, 1) for number in (1, 2)),
            *(f"TV/V ({year})/V ({year}) s01e01.mkv" for year in (1983, 2009)),
        )
        return tmp_path

    @pytest.mark.parametrize(
        ("scope", "found"),
        [
            (Scope("lost"), [(0, 1), (0, 2), (1, 1), (1, 2)]),
            (Scope("Lost (2004)"), [(0, 1), (0, 2), (1, 1), (1, 2)]),
            (Scope("Lost", 0), [(0, 1), (0, 2)]),
            (Scope("Lost", 1, 2), [(1, 2)]),
            (Scope("V (2009)"), [(1, 1)]),
        ],
    )
    async def test_what_is_in_it(self, shows: Path, scope: Scope, found: list[tuple[int, int]]) -> None:
        drafts = (await read(shows, SHOWS, scope)).drafts
        assert [(draft.season_number, draft.episode_number) for draft in drafts] == found

    @pytest.mark.parametrize(
        ("scope", "missing"),
        [(Scope("Los"), "title"), (Scope("Lost", 2), "season"), (Scope("Lost", 1, 3), "episode")],
    )
    async def test_what_is_not(self, shows: Path, scope: Scope, missing: str) -> None:
        with pytest.raises(ScopeNotFound) as failed:
            await read(shows, SHOWS, scope)
        assert failed.value.context["missing"] == missing
        assert failed.value.hint
        assert failed.value.hint.startswith("A title" if missing == "title" else f"The number of the {missing}")

    async def test_namesakes_need_a_year(self, shows: Path) -> None:
        with pytest.raises(RequestError) as failed:
            await read(shows, SHOWS, Scope("V"))
        assert failed.value.code == "ambiguous_title"
        assert "V (1983, key V (1983)); V (2009, key V (2009))" in failed.value.message

    @pytest.mark.parametrize(
        "typed", ["DuckTales (no year, key Old/DuckTales)", "DuckTales (key Old/DuckTales)", "Old/DuckTales"]
    )
    @pytest.mark.fault(208)
    async def test_a_show_without_a_year_is_told_by_its_directory(self, tmp_path: Path, typed: str) -> None:
        files = ("TV/Old/DuckTales/Season 1/S01E01.mkv", "TV/DuckTales (2017) [tvdbid-330134]/Season 1/S01E01.mkv")
        make(tmp_path, *files)
        with pytest.raises(RequestError, match=r"DuckTales \(no year, key Old/DuckTales\)"):
            await read(tmp_path, SHOWS, Scope("DuckTales"))
        [old] = (await read(tmp_path, SHOWS, Scope(typed))).drafts
        assert (old.show_title, old.show_key, old.show_year) == ("DuckTales", "Old/DuckTales", None)
        [new] = (await read(tmp_path, SHOWS, Scope("DuckTales (2017)"))).drafts
        assert (new.show_key, new.show_year) == ("DuckTales (2017) [tvdbid-330134]", 2017)
        assert (new.show_provider_ids, new.year) == ({"tvdb": "330134"}, None)

    @pytest.mark.fault(208)
    async def test_an_edition_or_a_path_names_a_film(self, tmp_path: Path) -> None:
        make(tmp_path, "Movies/Alien (1979).mkv", "Movies/Alien (1979) {edition-Director's Cut}.mkv")
        for typed in ("Alien [Director's Cut]", "Alien (1979) {edition-Director's Cut}.mkv"):
            [cut] = (await read(tmp_path, MOVIES, Scope(typed))).drafts
            assert (cut.title, cut.edition, cut.year) == ("Alien", "Director's Cut", 1979)
        assert len((await read(tmp_path, MOVIES, Scope("Alien"))).drafts) == 2


@pytest.mark.fault(207)
async def test_tracks_have_their_artists_and_numbers(tmp_path: Path) -> None:
    make(
        tmp_path,
        "Music/Various Artists/Hits (2001)/2-07 The Alphas - One Way.flac",
        "Music/Various Artists/Hits (2001)/1-10 The Betas - Two Ways.flac",
        "Music/Nena/Nena/CD 1/03 99 Luftballons.mp3",
    )
    drafts = (await read(tmp_path, sample_collection("Music", kind="music"))).drafts
    found = [
        (draft.show_title, draft.artist, draft.album, draft.disc_number, draft.track_number, draft.title)
        for draft in drafts
    ]
    assert found == [
        ("Nena", "Nena", "Nena", 1, 3, "99 Luftballons"),
        ("Various Artists", "The Betas", "Hits", 1, 10, "Two Ways"),
        ("Various Artists", "The Alphas", "Hits", 2, 7, "One Way"),
    ]
    assert [(draft.year, draft.show_key) for draft in drafts][1:] == [(2001, "Various Artists")] * 2


async def test_memory_does_not_grow_with_the_tree(tmp_path: Path) -> None:
    def tree(name: str, directories: int) -> None:
        for number in range(directories):
            directory = tmp_path / name / f"{number // 50:03}" / f"{number:05}"
            directory.mkdir(parents=True)
            for file in range(100):
                (directory / f"A rather long name of a film, number {file:03}.mkv").write_bytes(b"x")

    async def peak(name: str) -> tuple[int, int]:
        tracemalloc.start()
        items = largest = 0
        async with importer(tmp_path).enumerate(sample_collection(name), FULL) as pages:
            tracemalloc.reset_peak()
            async for page in pages:
                items += page.source_items
                largest = max(largest, page.source_items)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert largest <= PAGE
        return items, used

    tree("small", 10)
    tree("large", 100)
    (few, small), (many, large) = await peak("small"), await peak("large")
    assert (few, many) == (1_000, 10_000)
    assert large < small * 1.5


@pytest.mark.parametrize(("silent_s", "sizes"), [(math.inf, [PAGE, 10]), (0.0, [0, 0, PAGE, 0, 10])])
async def test_a_page_is_filled_and_empty_ones_come_meanwhile_if_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_s: float, sizes: list[int]
) -> None:
    make(tmp_path, *(f"Movies/{number:04}/a.mkv" for number in range(PAGE + 10)))
    monkeypatch.setattr("retrovue.importers.filesystem.importer.SILENT_S", silent_s)
    async with importer(tmp_path).enumerate(MOVIES, FULL) as pages:
        assert [page.source_items async for page in pages] == sizes


async def test_walks_run_one_after_the_other_while_the_processor_is_busy(tmp_path: Path) -> None:
    make(tmp_path, "Movies/a.mkv", "TV/b.mkv")
    own, order = importer(tmp_path), list[str]()
    seconds = count(step=1000)
    own._precedence = Precedence(used_s=lambda: float(next(seconds)), longest_s=60)
    async with own.enumerate(MOVIES, FULL) as first, own.enumerate(sample_collection("TV"), FULL) as second:
        await anext(first)

        async def later() -> None:
            async for _ in second:
                order.append("second")

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(later)
                await anyio.wait_all_tasks_blocked()
                order.append("first")
                assert await anext(first, None) is None
    assert order == ["first", "second"]


async def test_what_the_last_directories_leave_out_is_told_without_a_title_in_them(tmp_path: Path) -> None:
    make(tmp_path, "Movies/A/.hidden.mkv")
    async with importer(tmp_path).enumerate(MOVIES, FULL) as pages:
        [page] = [page async for page in pages]
    assert isinstance(page, Page)
    assert page.warnings == {"left_out_hidden": 1}


@pytest.mark.parametrize("kind", ["files", "directories", "links"])
def test_memory_hardly_grows_with_what_is_side_by_side(tmp_path: Path, kind: str) -> None:
    """Most of a library may lie in one directory: its names are packed."""
    count = 3 * RUN
    act: dict[str, Callable[[str], object]] = {
        "files": lambda path: Path(f"{path}.mkv").write_bytes(b"x"),
        "directories": lambda path: Path(path).mkdir(),
        "links": lambda path: Path(f"{path}.mkv").symlink_to("nothing"),
    }
    for number in range(count):
        act[kind](f"{tmp_path}/A rather long name of a film, number {number:07}")
    walk = Walk(str(tmp_path))
    tracemalloc.start()
    assert walk.more(1, 1) == []
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One run as it is, and everything packed.
    assert peak < RUN * 200 + count * 10
    assert held < count * 10
    first = walk.more(1, 2) or []
    assert len(first) == (kind != "directories")


class TestSortedNames:
    @pytest.mark.parametrize("count", [0, 1, RUN - 1, RUN, RUN + 1, 3 * RUN + 100])
    def test_they_are_sorted_as_often_as_they_are_wanted(self, count: int) -> None:
        rest = [LATIN, "a\nb", "", "\U0001f4fa", "a b", "a"]
        expected = [f"{number * 7919 % 1_000_003}{rest[number % len(rest)]}" for number in range(count)]
        names = SortedNames()
        for name in expected:
            names.add(name)
        assert list(names) == list(names) == sorted(expected)


class TestConformance(ImporterConformance):
    """What every importer owes to ingest."""

    items = 4
    item_keys = ("b", "/")

    @pytest.fixture(autouse=True)
    def tree(self, tmp_path: Path) -> None:
        self.root = tmp_path
        make(tmp_path, "Movies/a.mkv", "Movies/b/c.mkv", "Movies/b/d cd1.avi", "Movies/b/d cd2.avi")
        (tmp_path / "Movies" / "empty.mkv").touch()

    def make_importer(self) -> ImporterInterface:
        return importer(self.root)

    def make_collection(self) -> Collection:
        return MOVIES
