"""What names tell: what is media, what belongs together, what it is called."""

import pytest

from retrovue.importers.filesystem.names import (
    File,
    Name,
    asset_type,
    is_extra,
    is_ignored,
    is_media,
    kind_of,
    read_name,
    stacked,
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("The Matrix (1999).mkv", Name("The Matrix", year=1999)),
        ("The.Matrix.mkv", Name("The Matrix")),
        ("Alien {edition-Director's Cut} [1080p].mkv", Name("Alien")),
        ("Blade_Runner_(1982)_{tmdb-78}.mp4", Name("Blade Runner", year=1982)),
        ("2001 A Space Odyssey.mkv", Name("2001 A Space Odyssey")),
        ("(1984).mkv", Name("(1984)", year=1984)),
        ("- .mkv", Name("- .mkv")),
        ("[x].mkv", Name("[x].mkv")),
        ("Lost - s01e02 - Pilot, Part 2.mkv", Name("Pilot, Part 2", "Lost", 1, 2)),
        ("Lost.S01E02.mkv", Name("Lost S01E02", "Lost", 1, 2)),
        ("Lost (2004) - 1x02 - Tabula Rasa.mkv", Name("Tabula Rasa", "Lost", 1, 2, 2004)),
        ("Lost/Season 01/S01E03.mkv", Name("S01E03", "Lost", 1, 3)),
        ("Lost (2004)/Specials/S00E01 Recap.mkv", Name("Recap", "Lost", 0, 1, 2004)),
        ("Lost S01E01-E02 - Pilot.mkv", Name("Pilot", "Lost", 1, 1)),
        ("Lost S01E01E02.mkv", Name("Lost S01E01E02", "Lost", 1, 1)),
        ("S02E01.mkv", Name("S02E01", None, 2, 1)),
        ("Some 1920x1080 clip.mkv", Name("Some 1920x1080 clip")),
        ("Caf\udce9.mkv", Name("Caf\ufffd")),
        ("a\x1b[31m.mkv", Name("a\x1b[31m")),
    ],
)
def test_titles(path: str, name: Name) -> None:
    *directories, file = path.split("/")
    assert read_name([file], directories) == name


class TestStacks:
    @pytest.mark.parametrize(
        ("directory", "files", "stacks"),
        [
            ("Movies", ["A cd1.avi", "A cd2.avi"], [["A cd1.avi", "A cd2.avi"]]),
            ("Movies", ["A.Disc.1.avi", "A.Disc.2.avi"], [["A.Disc.1.avi", "A.Disc.2.avi"]]),
            ("Movies", ["A - pt1.mkv", "A - pt2.mkv", "B.mkv"], [["A - pt1.mkv", "A - pt2.mkv"], ["B.mkv"]]),
            ("A (2008)", ["A (2008) part1.mkv", "A (2008) part2.mkv"], [["A (2008) part1.mkv", "A (2008) part2.mkv"]]),
            # Two films, as well as anybody can tell.
            ("Movies", ["Kill Part 1.mkv", "Kill Part 2.mkv"], [["Kill Part 1.mkv"], ["Kill Part 2.mkv"]]),
            ("Movies", ["A cd1.avi", "A cd3.avi"], [["A cd1.avi"], ["A cd3.avi"]]),
            ("Movies", ["A cd2.avi", "A cd3.avi"], [["A cd2.avi"], ["A cd3.avi"]]),
            ("Movies", ["A cd1.avi", "A cd2.mkv"], [["A cd1.avi"], ["A cd2.mkv"]]),
            ("Movies", ["A cd1.avi", "B cd2.avi"], [["A cd1.avi"], ["B cd2.avi"]]),
            ("Movies", ["A cd1.avi"], [["A cd1.avi"]]),
            ("Music", ["A cd1.flac", "A cd2.flac"], [["A cd1.flac"], ["A cd2.flac"]]),
        ],
    )
    def test_what_belongs_together(self, directory: str, files: list[str], stacks: list[list[str]]) -> None:
        found = stacked([File(name, 1) for name in files], directory)
        assert [[file.name for file in stack] for stack in found] == stacks

    def test_parts_play_in_the_order_of_their_numbers(self) -> None:
        files = [File(f"A cd{number}.avi", number) for number in (1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]
        [stack] = stacked(files, "Movies")
        assert [file.size for file in stack] == list(range(1, 11))

    def test_a_stack_is_called_by_what_its_parts_share(self) -> None:
        assert read_name(["A (2008) - pt1.mkv", "A (2008) - pt2.mkv"], []) == Name("A", year=2008)


def test_what_is_left_out() -> None:
    assert all(map(is_ignored, (".hidden", "@eaDir", "#recycle", "lost+found", "System Volume Information")))
    assert all(map(is_extra, ("A-trailer.mkv", "sample.mkv", "A.sample.mkv", "A-behindthescenes.mkv")))
    assert not any(map(is_extra, ("Trailer Park.mkv", "Sampler.mkv", "The Interview.mkv", "Short Cuts.mkv")))
    assert not any(map(is_media, ("Thumbs.db", "a.nfo", "a.srt", "a.iso", "a.mkv.part", "mkv")))
    assert all(map(is_media, ("a.MKV", "a.ts", "a.flac", "a.dvr-ms")))


@pytest.mark.parametrize(
    ("kind", "file", "found"),
    [
        ("mixed", "Lost S01E01.mkv", "episode"),
        ("mixed", "Heat.mkv", "movie"),
        ("movie", "Heat S01E01.mkv", "movie"),
        ("show", "Making of.mkv", "clip"),
        ("clip", "Lost S01E01.mkv", "clip"),
        ("movie", "Theme song.flac", "track"),
    ],
)
def test_types(kind: str, file: str, found: str) -> None:
    assert asset_type(kind, file, read_name([file], [])) == found


def test_kinds() -> None:
    assert [kind_of(name) for name in ("Movies", "TV Shows", "Trailers", "Stuff")] == ["movie", "show", "clip", "mixed"]
