"""Where a source's files are here: found on real directories."""

from pathlib import Path

import pytest

from retrovue.core.model import PathMapping
from retrovue.operations import proposals
from retrovue.operations.proposals import LocationSample, by_location, propose_mappings, usual_roots

pytestmark = pytest.mark.anyio

FILMS = ("Alien (1979)/Alien.mkv", "Heat (1995)/Heat.mkv", "Ran (1985)/Ran CD1.avi", "Ran (1985)/Ran CD2.avi")


def fill(directory: Path, files: tuple[str, ...] = FILMS) -> Path:
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).touch()
    return directory


def films(location: str = "/data/movies", separator: str = "/") -> LocationSample:
    return LocationSample(location, tuple(f"{location}{separator}{file.replace('/', separator)}" for file in FILMS))


async def proposed(located: LocationSample, *roots: Path) -> str | None:
    found = await propose_mappings([located], [str(root) for root in roots])
    return found[located.location].local_path if located.location in found else None


async def test_the_same_path(tmp_path: Path) -> None:
    movies = fill(tmp_path / "movies")
    assert await proposed(films(str(movies))) == str(movies)


async def test_the_end_of_the_path_below_a_root(tmp_path: Path) -> None:
    fill(tmp_path / "media/movies")
    located = films("/volume7/share/media/movies")
    found = await propose_mappings([located], [str(tmp_path)])
    assert found == {located.location: PathMapping(located.location, str(tmp_path / "media/movies"))}


async def test_another_name_some_levels_down(tmp_path: Path) -> None:
    fill(tmp_path / "nas/video/Filme")
    assert await proposed(films(), tmp_path) == str(tmp_path / "nas/video/Filme")


async def test_not_further_down_than_is_looked(tmp_path: Path) -> None:
    fill(tmp_path / "a/b/c/d")
    assert await proposed(films(), tmp_path) is None


@pytest.mark.parametrize(("location", "separator"), [("P:\\Films", "\\"), ("\\\\nas\\media\\films", "\\")])
async def test_windows_paths(tmp_path: Path, location: str, separator: str) -> None:
    fill(tmp_path / "films")
    assert await proposed(films(location, separator), tmp_path) == str(tmp_path / "films")


async def test_an_empty_directory_of_the_same_name_is_not_it(tmp_path: Path) -> None:
    (tmp_path / "movies").mkdir()
    fill(tmp_path / "other")
    assert await proposed(films(), tmp_path) == str(tmp_path / "other")


async def test_the_one_with_most_of_them(tmp_path: Path) -> None:
    fill(tmp_path / "a-copy", FILMS[:2])
    fill(tmp_path / "b-whole")
    assert await proposed(films(), tmp_path) == str(tmp_path / "b-whole")


async def test_less_than_half_is_none(tmp_path: Path) -> None:
    fill(tmp_path / "movies", FILMS[:1])
    assert await proposed(films(), tmp_path) is None


async def test_several_locations_at_once(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    fill(tmp_path / "two", ("Solaris/Solaris.mkv",))
    located = [
        films(),
        LocationSample("/data/more", ("/data/more/Solaris/Solaris.mkv",)),
        LocationSample("/data/empty", ()),
    ]
    found = await propose_mappings(located, [str(tmp_path)])
    assert {location: mapping.local_path for location, mapping in found.items()} == {
        "/data/movies": str(tmp_path / "one"),
        "/data/more": str(tmp_path / "two"),
    }


async def test_hidden_directories_and_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = fill(tmp_path / "elsewhere/films").parent
    root = tmp_path / "root"
    fill(root / ".trash/films")
    (root / "link").symlink_to(elsewhere)
    assert await proposed(films(), root) is None


async def test_a_path_that_climbs_is_not_looked_for(tmp_path: Path) -> None:
    fill(tmp_path / "root/movies")
    located = LocationSample("/data/movies", ("/data/movies/../../secret/file.mkv",))
    assert await proposed(located, tmp_path / "root") is None


async def test_what_cannot_be_read_holds_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "movies")
    assert await proposed(films("/x/y"), tmp_path / "not-there", tmp_path) == str(tmp_path / "movies")


async def test_so_many_directories_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "_DIRECTORIES", 3)
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
    fill(tmp_path / "4/films")
    assert await proposed(films(), tmp_path) is None
    monkeypatch.setattr(proposals, "_DIRECTORIES", 30)
    assert await proposed(films(), tmp_path) == str(tmp_path / "4/films")


async def test_a_library_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "_BRANCHES", 2)
    fill(tmp_path / "library/a/films")
    for name in "bc":
        (tmp_path / "library" / name).mkdir()
    assert await proposed(films(), tmp_path) is None


async def test_when_the_time_is_over_what_was_found_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "SECONDS", 0.0)
    movies = fill(tmp_path / "movies")
    elsewhere = LocationSample("/data/more", ("/data/more/Solaris/Solaris.mkv",))
    fill(tmp_path / "deep/er", ("Solaris/Solaris.mkv",))
    found = await propose_mappings([films(str(movies)), elsewhere], [str(tmp_path)])
    assert list(found) == [str(movies)]


def test_files_belong_to_the_longest_location() -> None:
    files = ["/data/a.mkv", "/data/more/b.mkv", "/data/moreover/c.mkv", "/elsewhere/d.mkv"]
    assert by_location(["/data", "/data/more"], files) == [
        LocationSample("/data", ("/data/a.mkv", "/data/moreover/c.mkv")),
        LocationSample("/data/more", ("/data/more/b.mkv",)),
    ]


def test_usual_roots_are_directories_and_no_system_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    place = tmp_path / "my disk"
    place.mkdir()
    escaped = str(place).replace(" ", "\\040")
    mounts.write_text(f"proc /proc proc rw 0 0\n//nas/media {escaped} cifs rw 0 0\nx /gone ext4 rw 0 0\nodd\n")
    monkeypatch.setattr(proposals, "MOUNTS", str(mounts))
    monkeypatch.setattr(proposals, "_NOT_MEDIA", ("/proc",))
    roots = usual_roots()
    assert str(place) in roots
    assert not {"/proc", "/gone"} & set(roots)
    monkeypatch.setattr(proposals, "MOUNTS", str(tmp_path / "none"))
    assert str(place) not in usual_roots()
