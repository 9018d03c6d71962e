"""What names tell: what is media, what belongs together, what it is called."""

import datetime as dt
from collections.abc import Callable

import pytest

from retrovue.importers.filesystem.episodes import Name
from retrovue.importers.filesystem.exclusions import (
    extra_reason,
    is_disc_file,
    is_extra,
    is_ignored,
    is_media,
    is_usual,
    is_usual_directory,
    system_reason,
)
from retrovue.importers.filesystem.names import asset_type, describe, kind_of, read_name
from retrovue.importers.filesystem.parts import File, find_stacks, stacked


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
        ("[x].mkv", Name("[x]")),
        ("[REC] (2007).mkv", Name("[REC]", year=2007)),
        ("[REC]² (2009).mkv", Name("[REC]²", year=2009)),
        ("{Proof} (2010).mkv", Name("{Proof}", year=2010)),
        ("[2010] Some Film.mkv", Name("Some Film", year=2010)),
        ("Monster [2003] [Bluray-1080p Proper].mkv", Name("Monster", year=2003)),
        ("(500) Days of Summer (2009).mkv", Name("(500) Days of Summer", year=2009)),
        ("[YTS] A Film.mkv", Name("A Film")),
        ("Heat (1995)/heat.720p.mkv", Name("Heat", year=1995)),
        ("Heat (1995) {tmdb-949}/00001.m2ts", Name("Heat", year=1995)),
        ("Heat (1995)/movie.mkv", Name("Heat", year=1995)),
        ("Heat (1995)/Making of.mkv", Name("Making of")),
        ("Nineties/300.mkv", Name("300")),
        ("[REC] 2 (2009).mkv", Name("[REC] 2", year=2009)),
        ("[REC] 3 Genesis (2012) [1080p].mkv", Name("[REC] 3 Genesis", year=2012)),
        ("[Group]_A_Film_(2001).mkv", Name("A Film", year=2001)),
        ("The.Matrix.1999.mkv", Name("The Matrix", year=1999)),
        ("2001.A.Space.Odyssey.1968.mkv", Name("2001 A Space Odyssey", year=1968)),
        ("The.Matrix.1999.German.DL.1080p.mkv", Name("The Matrix", year=1999)),
        ("Blade.Runner.2049.mkv", Name("Blade Runner 2049")),
        ("The Matrix {1999}.mkv", Name("The Matrix", year=1999)),
        ("The Matrix (1080p).mkv", Name("The Matrix")),
        ("R.I.P.D.2013.1080p.mkv", Name("R.I.P.D", year=2013)),
        ("E.T.the.Extra-Terrestrial.mkv", Name("E.T. the Extra-Terrestrial")),
        ("The.Matrix.1999.1080p.BluRay.x264-X.mkv", Name("The Matrix", year=1999)),
        ("Blade.Runner.2049.2160p.mkv", Name("Blade Runner 2049")),
        ("Charlotte's Web.mkv", Name("Charlotte's Web")),
        ("Heat (1995) [tmdbid-949].mkv", Name("Heat", year=1995)),
        ("Lost - s01e02 - Pilot, Part 2.mkv", Name("Pilot, Part 2", "Lost", 1, 2)),
        ("Lost.S01E02.mkv", Name("Lost S01E02", "Lost", 1, 2)),
        ("Lost (2004) - 1x02 - Tabula Rasa.mkv", Name("Tabula Rasa", "Lost", 1, 2, 2004)),
        ("Lost/Season 01/S01E03.mkv", Name("S01E03", "Lost", 1, 3)),
        ("Lost (2004)/Specials/S00E01 Recap.mkv", Name("Recap", "Lost", 0, 1, 2004)),
        ("Lost S01E01-E02 - Pilot.mkv", Name("Pilot", "Lost", 1, 1)),
        ("S.W.A.T.S01E01.mkv", Name("S.W.A.T. S01E01", "S.W.A.T.", 1, 1)),
        ("Lost - S01E05 (1080p BluRay).mkv", Name("Lost - S01E05", "Lost", 1, 5)),
        ("Lost [S01E05].mkv", Name("Lost", "Lost", 1, 5)),
        ("Lost (1x05) Title.mkv", Name("Title", "Lost", 1, 5)),
        ("Lost S01E01E02.mkv", Name("Lost S01E01E02", "Lost", 1, 1)),
        ("S02E01.mkv", Name("S02E01", None, 2, 1)),
        ("Some 1920x1080 clip.mkv", Name("Some 1920x1080 clip")),
        ("Caf\udce9.mkv", Name("Caf\ufffd")),
        ("a\x1b[31m.mkv", Name("a\x1b[31m")),
    ],
)
@pytest.mark.fault(127, 211)
def test_titles(path: str, name: Name) -> None:
    *directories, file = path.split("/")
    assert read_name([file], directories) == name


@pytest.mark.parametrize(
    ("path", "edition"),
    [
        ("Alien (1979) Director's Cut.mkv", "Director's Cut"),
        ("Alien (1979) {edition-Final Cut}.mkv", "Final Cut"),
        ("Alien (1979) {edition-Final Cut}/Alien (1979).mkv", "Final Cut"),
        ("Dirty.(2006).unrated.1080p.mkv", "Unrated"),
        ("Heat (1995) [1080p] extended.edition.mkv", "Extended Edition"),
        ("Blade.Runner.1982.Final.Cut.1080p.mkv", "Final Cut"),
        ("The.Final.Cut.2004.1080p.mkv", None),
        ("The Final Cut (2004).mkv", None),
        ("Unrated (2009)/Unrated (2009).mkv", None),
        ("Alien (1979).mkv", None),
    ],
)
@pytest.mark.fault(211)
def test_editions(path: str, edition: str | None) -> None:
    *directories, file = path.split("/")
    assert describe([file], directories, "movie").edition == edition


@pytest.mark.parametrize(
    ("path", "show", "year"),
    [
        ("Doctor.Who.2005.S01E01.720p.mkv", "Doctor Who", 2005),
        ("Doctor Who/Doctor.Who.2005.S01E01.mkv", "Doctor Who", 2005),
        ("Space 1999 S01E01.mkv", "Space 1999", None),
        ("1923.S01E01.mkv", "1923", None),
    ],
)
@pytest.mark.fault(211)
def test_the_year_of_a_show_in_a_scenes_name(path: str, show: str, year: int | None) -> None:
    *directories, file = path.split("/")
    name = describe([file], directories, "show").name
    assert (name.show_title, name.year) == (show, year)


SEASON = "The Show (1987) [tvdbid-76703]/Season 2"


@pytest.mark.fault(126, 211)
class TestEpisodes:
    @pytest.mark.parametrize(
        ("path", "numbers", "title"),
        [
            ("Show S01E01-E02 - Arrival.mkv", (1, 1, 2), "Arrival"),
            ("Show S01E03E04.mkv", (1, 3, 4), "Show S01E03E04"),
            ("Show S01E01-03.mkv", (1, 1, 2, 3), "Show S01E01-03"),
            ("Show 1x05-06 - Tide.mkv", (1, 5, 6), "Tide"),
            ("Show - 1x07 - 1x08 - Storm.mkv", (1, 7, 8), "Storm"),
            ("Show S01E01-S01E03.mkv", (1, 1, 2, 3), "Show S01E01-S01E03"),
            ("Show s01e01+e02.mkv", (1, 1, 2), "Show s01e01+e02"),
            ("Show S01E01E02E03 - Three.mkv", (1, 1, 2, 3), "Three"),
            ("Show S01E01-E02-E03.mkv", (1, 1, 2, 3), "Show S01E01-E02-E03"),
            ("Show S01E01S01E02.mkv", (1, 1, 2), "Show S01E01S01E02"),
            ("Show S01E01,E02.mkv", (1, 1, 2), "Show S01E01,E02"),
            ("Show 1x01+02.mkv", (1, 1, 2), "Show 1x01+02"),
            ("Show 1x01x02.mkv", (1, 1, 2), "Show 1x01x02"),
            (f"{SEASON}/E01E02.mkv", (2, 1, 2), "E01E02"),
            (f"{SEASON}/Episode 1-2.mkv", (2, 1, 2), "Episode 1-2"),
            (f"{SEASON}/01 & 02.mkv", (2, 1, 2), "01 & 02"),
            # A quality, a time or another season is no further episode.
            ("Show S01E01-5.1.mkv", (1, 1), "5 1"),
            ("Show S01E01x264.mkv", (1, 1), "x264"),
            ("Show S01E01v2.mkv", (1, 1), "Show S01E01v2"),
            ("Show S01E10-720p.mkv", (1, 10), "Show S01E10"),
            ("Show S01E13-1080p WEB-DL.mkv", (1, 13), "Show S01E13"),
            ("show-s01e09-1080p.mkv", (1, 9), "show-s01e09"),
            ("Show S01E11 11-59 [HDTV-1080p].mkv", (1, 11), "11-59"),
            ("Show S01E12 1-23-45 [Bluray-1080p].mkv", (1, 12), "1-23-45"),
            ("Show S01E01 - 2x4 Lumber.mkv", (1, 1), "2x4 Lumber"),
            ("Show S01E05-E02.mkv", (1, 5), "E02"),
            ("Show S01E05-E999.mkv", (1, 5), "E999"),
            # Spellings of one number.
            ("Show S02x01.mkv", (2, 1), "Show S02x01"),
            ("Show S02xE02 - Two.mkv", (2, 2), "Two"),
            ("2x5.mkv", (2, 5), "2x5"),
            ("2009x02.mkv", (2009, 2), "2009x02"),
            ("Season 2 Episode 09.mkv", (2, 9), "Season 2 Episode 09"),
            (f"{SEASON}/Episode 04.mkv", (2, 4), "Episode 04"),
            (f"{SEASON}/Folge 4 - Vier.mkv", (2, 4), "Vier"),
            (f"{SEASON}/E07.mkv", (2, 7), "E07"),
            (f"{SEASON}/03 - Three.mkv", (2, 3), "Three"),
            (f"{SEASON}/03.mkv", (2, 3), "03"),
            ("Anime/[Group] Anime - 01 [1080p].mkv", (1, 1), "Anime - 01"),
            ("Anime/Anime - 12v2 - Title.mkv", (1, 12), "Title"),
            ("Lost/Lost.S03.720p/Lost - 04.mkv", (3, 4), "Lost - 04"),
            ("[Group]_Anime_-_05v2_(1080p)_[ABCD].mkv", (1, 5), "Anime - 05v2"),
            ("[Group] Anime S2 - 05 [1080p].mkv", (2, 5), "Anime S2 - 05"),
            ("Anime/Anime 05 [1080p].mkv", (1, 5), "Anime 05"),
            ("Earth.2of6.Deep.mkv", (1, 2), "Deep"),
            (f"{SEASON}/04. Four.mkv", (2, 4), "Four"),
            (f"{SEASON}/04 - 24 Hours.mkv", (2, 4), "24 Hours"),
            (f"{SEASON}/204.mkv", (2, 4), "204"),
            (f"{SEASON}/The Show 204.mkv", (2, 4), "The Show 204"),
            (f"{SEASON}/Capítulo 4.mkv", (2, 4), "Capítulo 4"),
            (f"{SEASON}/Disc 1/S02E04.mkv", (2, 4), "S02E04"),
            # Seasons' directories.
            ("Lost/2/04.mkv", (2, 4), "04"),
            ("Lost/2/S02E04.mkv", (2, 4), "S02E04"),
            ("24/24 - 05.mkv", (1, 5), "24 - 05"),
            ("Lost/2. Staffel/04.mkv", (2, 4), "04"),
            ("Lost/2nd Season/04.mkv", (2, 4), "04"),
            ("Lost/Säsong 2/04.mkv", (2, 4), "04"),
        ],
    )
    def test_numbers(self, path: str, numbers: tuple[int, ...], title: str) -> None:
        *directories, file = path.split("/")
        found = describe([file], directories, "show")
        assert (found.name.season, found.name.episode, *found.more_episodes) == numbers
        assert (found.name.title, found.is_episode) == (title, True)

    @pytest.mark.parametrize(
        ("file", "title", "season", "day"),
        [
            ("The Show - 2024-03-14 - A Guest.mkv", "A Guest", 2, 14),
            ("The.Show.2024.03.15.720p.HDTV.x264.mkv", "2024-03-15", 2, 15),
            ("2024-03-19.mkv", "2024-03-19", 2, 19),
            ("19.03.2024 - A Guest.mkv", "A Guest", 2, 19),
            ("03-19-2024 - A Guest.mkv", "A Guest", 2, 19),
            ("The Show (2024-03-19).mkv", "2024-03-19", 2, 19),
            ("The Show [2024-03-19] A Guest.mkv", "A Guest", 2, 19),
            ("The Show 20240319.mkv", "2024-03-19", 2, 19),
            ("The Show 2024-3-9.mkv", "2024-03-09", 2, 9),
            ("The Show - 19 Mar 2024 - A Guest.mkv", "A Guest", 2, 19),
            ("The Show - March 19th, 2024.mkv", "2024-03-19", 2, 19),
            ("The Show - 2024-03-19 - S24E103.mkv", "The Show - 2024-03-19 - S24E103", 24, 19),
            ("The Show 24x103 - 2024-03-18 Another Guest [720p].mkv", "Another Guest", 24, 18),
        ],
    )
    def test_dates(self, file: str, title: str, season: int, day: int) -> None:
        found = describe([file], SEASON.split("/"), "show")
        assert found.aired == dt.date(2024, 3, day)
        assert (found.name.title, found.name.show_title, found.name.season) == (title, "The Show", season)
        assert found.is_episode

    @pytest.mark.parametrize(
        ("kind", "path"),
        [
            ("show", "Making of.mkv"), ("show", "Show 2024-13-45.mkv"), ("show", "The Show/Part 1.mkv"),
            ("mixed", "Holidays 2024-03-01.mkv"), ("mixed", "Anime - 01.mkv"), ("mixed", "A Film 16x9.mkv"),
            ("mixed", "A Film 640x480.mkv"), ("movie", "Heat S01E01.mkv"), ("mixed", "4x4 Offroad.mkv"),
            ("mixed", "A Clip 4x3.mkv"), ("show", f"{SEASON}/104.mkv"), ("show", f"{SEASON}/01-02.mkv"),
            ("show", f"{SEASON}/Disc 1/04.mkv"), ("show", "Apollo 13/Apollo 13.mkv"), ("show", "Show 20241345.mkv"),
        ],
    )  # fmt: skip
    def test_what_is_no_episode(self, kind: str, path: str) -> None:
        *directories, file = path.split("/")
        assert not describe([file], directories, kind).is_episode

    @pytest.mark.parametrize(
        ("path", "show"),
        [
            (f"{SEASON}/show-s02e01.mkv", "The Show"),
            ("Comedy/Extras/Season 1/Extras S01E01.mkv", "Extras"),
            ("Comedy/Lost S01E01.mkv", "Lost"),
            ("Lost Season 1/S01E01.mkv", "Lost"),
            ("Lost/2024/2024-03-15.mkv", "Lost"),
            ("Lost/Season 2/Disc 1/S02E04.mkv", "Lost"),
            ("Comedy/24/24 S01E01.mkv", "24"),
        ],
    )
    def test_the_show_of_its_directory(self, path: str, show: str) -> None:
        *directories, file = path.split("/")
        assert describe([file], directories, "show").name.show_title == show

    def test_the_shows_year_and_ids(self) -> None:
        found = describe(["The Show S02E01.mkv"], SEASON.split("/"), "show")
        assert (found.name.year, found.ids, found.show_ids) == (1987, {}, {"tvdb": "76703"})
        assert found.show_directory == ("The Show (1987) [tvdbid-76703]",)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("A {tmdb-1949}", {"tmdb": "1949"}),
        ("A [tmdbid-1949]", {"tmdb": "1949"}),
        ("A [tmdbid=1949] [imdbid=tt0443706]", {"tmdb": "1949", "imdb": "tt0443706"}),
        ("A (tt0443706)", {"imdb": "tt0443706"}),
        ("A tt0443706", {"imdb": "tt0443706"}),
        ("A {tmdb-tt0443706}", {}),
        ("A (1949)", {}),
    ],
)
def test_ids(name: str, ids: dict[str, str]) -> None:
    assert describe([f"{name}.mkv"], []).ids == ids
    assert describe(["A.mkv"], [name]).ids == ids
    assert describe([f"{name}.mkv"], []).name.title == "A"


class TestStacks:
    @pytest.mark.parametrize(
        ("directory", "files", "stacks"),
        [
            ("Movies", ["A cd1.avi", "A cd2.avi"], [["A cd1.avi", "A cd2.avi"]]),
            ("Movies", ["A.Disc.1.avi", "A.Disc.2.avi"], [["A.Disc.1.avi", "A.Disc.2.avi"]]),
            ("Movies", ["A - pt1.mkv", "A - pt2.mkv", "B.mkv"], [["A - pt1.mkv", "A - pt2.mkv"], ["B.mkv"]]),
            ("Season 1", ["A S01E02.part1.mkv", "A S01E02.part2.mkv"], [["A S01E02.part1.mkv", "A S01E02.part2.mkv"]]),
            (
                "Season 1",
                ["A S01E02 Part 1.mkv", "A S01E03 Part 2.mkv"],
                [["A S01E02 Part 1.mkv"], ["A S01E03 Part 2.mkv"]],
            ),
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

    @pytest.mark.parametrize(
        ("directory", "files", "missing"),
        [
            ("Movies", ["A cd1.avi"], "there is no cd2"),
            ("Movies", ["A cd1.avi", "A cd3.avi"], "there is no cd2"),
            ("Movies", ["A cd2.avi", "A cd3.avi"], "there is no cd1"),
            ("Movies", ["A cd1.avi", "A cd2.mkv"], "its parts have several formats"),
            ("A (1991)", ["A (1991) - pt1.mkv", "A (1991) - pt3.mkv"], "there is no pt2"),
            ("Movies", ["A (2000) part2.mkv"], "there is no part1"),
            ("Movies", ["A cd1.avi", "!A cd2.avi"], "'A cd2.avi' can't be used"),
        ],
    )
    @pytest.mark.fault(122)
    def test_an_incomplete_set_is_one(self, directory: str, files: list[str], missing: str) -> None:
        usable = [File(name, 1) for name in files if not name.startswith("!")]
        stacks = find_stacks(usable, directory, [name[1:] for name in files if name.startswith("!")])
        assert {stack.missing for stack in stacks.values()} == {missing}
        assert set(stacks) == {name.removeprefix("!") for name in files}

    @pytest.mark.parametrize(
        "files",
        [
            ["Deathly Hallows - Part 1 (2010).mkv"], ["Deathly Hallows - Part 1.mkv"], ["The DVD 2 Guide.mkv"],
            ["Lost - S01E24 - Exodus - Pt. 2.mkv"], ["Lost S01E24 Part 2.mkv"], ["Kill Part 1.mkv", "Kill Part 3.mkv"],
        ],
    )  # fmt: skip
    def test_a_title_may_end_like_a_part(self, files: list[str]) -> None:
        assert find_stacks([File(name, 1) for name in files], "Movies") == {}

    @pytest.mark.parametrize("pattern", ["A (2000)-part-{}.mkv", "A (2006).part{}.unrated.1080p.mkv", "A cd{} [x].avi"])
    def test_more_spellings(self, pattern: str) -> None:
        [stack] = stacked([File(pattern.format(number), 1) for number in (1, 2)], "Movies")
        assert len(stack) == 2

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


class TestPlainSearches:
    """What rules names out before a pattern is tried rules out nothing that the pattern finds."""

    @pytest.mark.parametrize("spell", [str, str.upper, str.title, lambda text: text.replace("s", "\u017f")])
    @pytest.mark.parametrize(
        "stem",
        ["sample", "samples", "Sample-Film", "sample.x", "Film sample", "trailer", "theme", "Film.trailer", "sample\n"]
        + [f"Film-{word}" for word in ("scene", "clip", "interview", "behindthescenes", "deleted", "deletedscene")]
        + [f"Film-{word}" for word in ("featurette", "short", "extra", "other", "trailer", "sample")],
    )
    def test_extras(self, stem: str, spell: Callable[[str], str]) -> None:
        assert extra_reason(f"{spell(stem)}.mkv") == ("sample" if "sample" in stem.lower() else "extra")
        assert not is_usual(f"{spell(stem)}.mkv")

    @pytest.mark.parametrize("spell", [str, str.upper, str.title])
    @pytest.mark.parametrize(
        "name",
        ["_UNPACK_x.mkv", "_FAILED_x.mkv", "__ADMIN__x.mkv", "x-TdarrCacheFile-y.mkv", "tdarr-workdir.mkv"]
        + [f"x.{word}.mkv" for word in ("part", "partial", "temp", "tmp", "incomplete")],
    )
    def test_unfinished(self, name: str, spell: Callable[[str], str]) -> None:
        assert system_reason(spell(name), directory=False) == "unfinished"
        assert not is_usual(spell(name))

    @pytest.mark.parametrize("name", ["incomplete", ".incomplete", "_incomplete", "x.grab", "x.grab\n", "a.tmp.dir"])
    def test_unfinished_directories(self, name: str) -> None:
        assert system_reason(name, directory=True) == "unfinished"
        assert not is_usual_directory(name)

    @pytest.mark.parametrize("spell", [str, str.upper, str.title])
    @pytest.mark.parametrize("name", ["_UNPACK_x", "__ADMIN__x", "x-TdarrCacheFile-y", "tdarr-workdir-1", "x.part.ab"])
    def test_more_unfinished_directories(self, name: str, spell: Callable[[str], str]) -> None:
        assert system_reason(spell(name), directory=True) == "unfinished"
        assert not is_usual_directory(spell(name))

    @pytest.mark.parametrize("name", ["VIDEO_TS.VOB", "video_ts.vob", "VTS_01_1.VOB", "vts_01_1.vob"])
    def test_discs(self, name: str) -> None:
        assert is_disc_file(name)
        assert not is_usual(name)

    @pytest.mark.parametrize(
        "name",
        [".Hidden", "#recycle", "@eaDir", "Lost+Found", ".Trash-1000", "Extras", "BDMV", "\u017fhorts", "Sample"],
    )
    def test_directories_with_a_rule(self, name: str) -> None:
        assert not is_usual_directory(name)

    @pytest.mark.parametrize(
        "name", [".mkv", "mkv", ".a.mkv", "A.nfo", "A.iso", "caf\u00e9.mkv", "A.mkv\n", "A.mkv.part"]
    )
    def test_names_that_are_looked_at_more_closely(self, name: str) -> None:
        assert not is_usual(name)

    def test_usual_names(self) -> None:
        assert is_usual("Heat (1995) [1080p].mkv")
        assert is_usual_directory("Heat (1995) Vol. 2")

    @pytest.mark.parametrize("word", ["cd", "CD", "dvd", "disc", "Disk", "part", "PT", "di\u017fc"])
    def test_parts(self, word: str) -> None:
        files = [File(f"Film (1999) {word}{number}.mkv", 1) for number in (1, 2)]
        assert len(find_stacks(files, "Films")) == 2
        assert not any(is_usual(file.name) for file in files)
