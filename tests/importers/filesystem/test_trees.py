"""Trees as people keep them: discs, parts, extras, and what is left out."""

from collections import Counter
from pathlib import Path

import pytest

from retrovue.core.model import Collection
from retrovue.core.pages import Page
from retrovue.core.runs import FULL, Scope
from retrovue.importers.filesystem import FilesystemImporter
from retrovue.importers.locations import OtherSpelling, has_entries, other_spelling
from retrovue.testing import sample_collection

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parents[2] / "data" / "files"
MOVIES = sample_collection("Movies", kind="movie")
SHOWS = sample_collection("TV", kind="show")


async def read(root: Path, collection: Collection = MOVIES) -> tuple[Page, Counter[str]]:
    whole, warnings = Page([], [], 0), Counter[str]()
    async with FilesystemImporter({"path": str(root)}) as importer, importer.enumerate(collection, FULL) as pages:
        async for page in pages:
            assert isinstance(page, Page)
            whole.drafts += page.drafts
            whole.rejected += page.rejected
            whole.source_items += page.source_items
            warnings.update(page.warnings)
    return whole, warnings


def make(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"media")


def titles(page: Page) -> list[str]:
    return [draft.title for draft in page.drafts]


@pytest.mark.fault(122)
async def test_the_disc_is_one_rejection() -> None:
    page, _ = await read(CASES / "e_discs")
    assert titles(page) == ["Plain Film"]
    assert sorted((rejection.code, rejection.title) for rejection in page.rejected) == [
        ("disc_folder", "Blue Film"), ("disc_folder", "Loose Film"), ("disc_folder", "Red Film"),
        ("disc_image", "Image Film"),
    ]  # fmt: skip


@pytest.mark.fault(122)
async def test_discs_within_the_directory_of_a_title_have_its_name(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("Movies/A (2001)/DISC1/BDMV/index.bdmv", "Movies/A (2001)/DISC2/BDMV/index.bdmv"),
        *("Movies/B (2002)/AVCHD/BDMV/STREAM/00000.MTS", "Movies/C (1993)/MPEGAV/AVSEQ01.DAT"),
        "TV/D/Season 1/VIDEO_TS/VTS_01_1.VOB",
    )
    page, _ = await read(tmp_path)
    assert sorted(rejection.title or "" for rejection in page.rejected) == ["A", "A", "B", "C"]
    page, _ = await read(tmp_path, SHOWS)
    assert [(rejection.code, rejection.title) for rejection in page.rejected] == [("disc_folder", "D")]


async def test_files_beside_a_disc_are_read(tmp_path: Path) -> None:
    make(tmp_path, "Movies/A (2001)/VTS_01_1.VOB", "Movies/A (2001)/A (2001).mkv", "Movies/B/b.vob", "Movies/c.img")
    page, _ = await read(tmp_path)
    assert titles(page) == ["A", "b"]
    assert [rejection.code for rejection in page.rejected] == ["disc_image", "disc_folder"]


@pytest.mark.fault(122)
async def test_an_incomplete_set_of_parts_is_one_rejection(tmp_path: Path) -> None:
    movies = tmp_path / "Movies"
    film = movies / "Long Film (1990)"
    make(tmp_path, "Movies/Long Film (1990)/Long Film (1990) cd1.avi", "Movies/Gap (1991) cd1.avi")
    (film / "Long Film (1990) cd2.avi").touch()
    page, _ = await read(tmp_path)
    assert not page.drafts
    assert [(rejection.code, rejection.title) for rejection in page.rejected] == [
        ("incomplete_parts", "Gap"), ("incomplete_parts", "Long Film"),
    ]  # fmt: skip
    assert "'Long Film (1990) cd2.avi' can't be used" in page.rejected[1].reason


async def test_whole_sets_of_the_case() -> None:
    page, _ = await read(CASES / "i_parts")
    assert [(draft.title, draft.year, len(draft.parts)) for draft in page.drafts] == [
        ("Dirty", 2006, 2), ("Half", 2000, 2),
    ]  # fmt: skip
    assert [rejection.code for rejection in page.rejected] == ["incomplete_parts"] * 2


@pytest.mark.fault(128)
async def test_extras_of_a_title_are_left_out_and_genres_are_not(tmp_path: Path) -> None:
    page, warnings = await read(CASES / "g_extras")
    assert (titles(page), warnings) == (["Clips", "Tall Film", "Tin Toy", "Other"], {})
    page, warnings = await read(CASES / "g_extras", SHOWS)
    assert ([draft.show_title for draft in page.drafts], warnings) == (["Extras", "Other Show", "Extras"], {})
    make(
        tmp_path,
        *("TV/Lost/Season 1/Lost S01E01.mkv", "TV/Lost/Extras/x.mkv", "TV/Lost/Season 1/Shorts/x.mkv"),
        *("TV/Lost/Featurettes/x.mkv", "TV/Lost/Season 1/Sample/x.mkv", "TV/Lost/Season 1/Lost S01E01-trailer.mkv"),
    )
    page, warnings = await read(tmp_path, SHOWS)
    assert [draft.episode_number for draft in page.drafts] == [1]
    assert warnings == {"left_out_extra": 4, "left_out_sample": 1}


@pytest.mark.fault(128)
async def test_snapshots_and_the_like_are_left_out_and_counted(tmp_path: Path) -> None:
    page, warnings = await read(CASES / "h_snapshots")
    assert titles(page) == ["Heat"]
    assert warnings == {"left_out_snapshot": 5, "left_out_system": 1}
    make(
        tmp_path,
        "Movies/A.mkv",
        *(f"Movies/{name}/x.mkv" for name in ("@Recycle", "#recycle", ".Trash-1000", "$RECYCLE.BIN")),
        *(f"Movies/{name}/x.mkv" for name in ("_UNPACK_Film", "_FAILED_Film", "__ADMIN__", ".grab", "incomplete")),
        *("Movies/A-TdarrCacheFile-x1.mkv", "Movies/B.mkv.part", "Movies/C.mp4.!qB", "Movies/D.part.mkv"),
        *("Movies/E.temp.mp4", "Movies/F.mkv.filepart"),
        *("Movies/@eaDir/x.mkv", "Movies/Plex Versions/x.mkv", "Movies/.hidden/x.mkv", "Movies/._A.mkv"),
        *("Movies/sample-A.mkv", "Movies/A-sample.mkv", "Movies/notes.txt.part", "Movies/.DS_Store"),
        *("Movies/F/f.rar", "Movies/F/f.r00", "Movies/G/g.part01.rar", "Movies/G/g.part02.rar", "Movies/H/h.bin"),
        *("Movies/H/h.cue", "Movies/i.zip", "Movies/.j.7z"),
    )
    page, warnings = await read(tmp_path)
    assert titles(page) == ["A"]
    assert warnings == {
        "left_out_recycle_bin": 4, "left_out_unfinished": 11, "left_out_system": 2, "left_out_hidden": 2,
        "left_out_sample": 2, "left_out_packed": 4,
    }  # fmt: skip


async def test_snapshots_are_no_collections() -> None:
    collections = await FilesystemImporter({"path": str(CASES / "h_snapshots")}).discover_collections()
    assert [collection.name for collection in collections] == ["Movies"]


async def test_what_ignore_files_leave_out_is_counted(tmp_path: Path) -> None:
    make(tmp_path, "Movies/#1.mkv", "Movies/b.mkv", "Movies/x/c.mkv", "Movies/y/d.mkv", "Movies/e.mkv")
    (tmp_path / "Movies" / ".plexignore").write_text("# a remark\n\\#*\nx/\n")
    (tmp_path / "Movies" / "y" / ".nomedia").touch()
    page, warnings = await read(tmp_path)
    assert (titles(page), warnings) == (["b", "e"], {"left_out_ignored": 3})


@pytest.mark.parametrize(
    ("file", "several"),
    [
        ("Movies/A (2001) [tmdbid-1][tmdbid-2].mkv", True),
        ("Movies/A (2001) {tmdb-1}/A (2001) [tmdbid=2].mkv", True),
        ("Movies/A (2001) {tmdb-1}/A (2001) [tmdbid=1] {imdb-tt0000001}.mkv", False),
        ("TV/A {tvdb-1} [tvdbid-2]/Season 1/S01E01.mkv", True),
        ("TV/A {tvdb-1}/Season 1/S01E01 {tvdb-2}.mkv", False),
    ],
)
@pytest.mark.fault(209)
async def test_two_ids_of_one_provider_are_a_warning(tmp_path: Path, file: str, several: bool) -> None:
    make(tmp_path, file)
    page, _ = await read(tmp_path, SHOWS if file.startswith("TV") else MOVIES)
    assert [draft.warnings for draft in page.drafts] == [("several_ids",) if several else ()]


@pytest.mark.fault(126)
async def test_what_cannot_be_told_in_a_collection_of_shows_is_a_clip_with_a_warning(tmp_path: Path) -> None:
    make(tmp_path, "TV/Lost/Making of.mkv")
    page, _ = await read(tmp_path, SHOWS)
    assert [(draft.type, draft.warnings) for draft in page.drafts] == [("clip", ("no_episode_number",))]


@pytest.mark.fault(126)
async def test_a_file_of_several_episodes_has_a_draft_for_each() -> None:
    page, _ = await read(CASES / "a_multi", SHOWS)
    assert page.source_items == 10
    numbers = [(draft.parts[0].source_path.rpartition("/")[2], draft.episode_number) for draft in page.drafts]
    assert [number for name, number in numbers if "S01E01-E02" in name] == [1, 2]
    assert sorted(number or 0 for _, number in numbers) == list(range(1, 15))
    assert {draft.show_title for draft in page.drafts} == {"Harbour Lights"}
    assert len({draft.source_uri for draft in page.drafts}) == len(page.drafts)


async def test_dates() -> None:
    page, _ = await read(CASES / "c_dates", SHOWS)
    found = [(str(draft.originally_aired), draft.season_number, draft.title) for draft in page.drafts]
    assert found == [
        ("2024-03-19", 2024, "2024-03-19"), ("2024-03-14", 2024, "A Guest"), ("2024-03-18", 24, "Another Guest"),
        ("2024-03-15", 2024, "2024-03-15"),
    ]  # fmt: skip
    assert {draft.type for draft in page.drafts} == {"episode"}


@pytest.mark.fault(127)
async def test_ids_of_a_film_in_its_name_or_its_directorys(tmp_path: Path) -> None:
    make(tmp_path, "Movies/Heat (1995) [tmdbid-949]/Heat (1995) [imdbid=tt0113277].mkv")
    page, _ = await read(tmp_path)
    assert page.drafts[0].provider_ids == {"tmdb": "949", "imdb": "tt0113277"}


async def test_decomposed_letters_are_one_with_composed_ones_in_titles_and_stay_in_paths(tmp_path: Path) -> None:
    decomposed = "Ame\u0301lie (2001).mkv"
    make(tmp_path, f"Movies/{decomposed}")
    for title in ("Am\u00e9lie", "Ame\u0301lie"):
        async with (
            FilesystemImporter({"path": str(tmp_path)}) as importer,
            importer.enumerate(MOVIES, Scope(title)) as pages,
        ):
            [page] = [page async for page in pages]
        assert isinstance(page, Page)
        assert titles(page) == ["Am\u00e9lie"]
        assert page.drafts[0].parts[0].source_path.endswith(decomposed)


@pytest.mark.fault(129)
def test_what_is_missing_and_there_in_another_form_of_unicode(tmp_path: Path) -> None:
    there, asked = tmp_path / "Ame\u0301lie", tmp_path / "Am\u00e9lie"
    there.mkdir()
    assert other_spelling(str(asked)) == str(there)
    assert other_spelling(str(there)) is None
    with pytest.raises(OtherSpelling) as missing:
        has_entries(str(asked))
    assert missing.value.filename == str(there)
