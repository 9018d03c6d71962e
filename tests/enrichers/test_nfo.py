"""Sidecars as people and programs write them: what is read of them, and what is left out."""

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest

from retrovue.enrichers.base import AssetView, Enrichment, Failure, MediaFile
from retrovue.enrichers.nfo import Directories, read
from retrovue.enrichers.sidecars import Details, parse
from retrovue.errors import EnrichmentError
from retrovue.importers.filesystem import names

CASES = Path(__file__).parents[1] / "data" / "files"


def answer(file: Path, directories: Directories | None = None) -> Enrichment | Failure:
    name = names.read_name([file.name], file.parts[:-1])
    asset = AssetView(
        source_uri="s",
        title=name.title,
        type="movie" if name.episode is None else "episode",
        files=(MediaFile(str(file)),),
        season_number=name.season,
        episode_number=name.episode,
    )
    return read(asset, directories)


def fields(file: Path, directories: Directories | None = None) -> dict[str, Any]:
    found = answer(file, directories)
    assert isinstance(found, Enrichment), found
    return dict(found.fields)


def details(text: str | bytes) -> Details:
    sidecar = parse(text if isinstance(text, bytes) else text.encode())
    return Details(sidecar.roots[0], sidecar.text)


@pytest.mark.fault(124, 210)
class TestCases:
    @pytest.mark.parametrize(
        ("film", "expected"),
        [
            ("Actor", {"title": "Actor, The", "studio": "S", "content_rating": "PG"}),
            ("Amp", {"title": "Tom & Jerry", "studio": "A&B"}),
            ("Bom", {"title": "Bom", "studio": "Häuser", "provider_ids": {"tmdb": "949"}}),
            ("Ctrl", {"title": "Ctrl", "studio": "S"}),
            ("Latin", {"title": "Latin", "studio": "Münchner Häuser", "tags": {"genre": ["Komödie"]}}),
            ("Nbsp", {"title": "A Day é", "studio": "S"}),
            ("Sixteen A", {"title": "Sixteen", "studio": "Haus Ä"}),
            ("Sixteen B", {"title": "Sixteen", "studio": "Haus Ä"}),
            ("Sixteen C", {"title": "Sixteen", "studio": "Haus Ä"}),
        ],
    )
    def test_encodings_and_characters(self, film: str, expected: dict[str, Any]) -> None:
        file = CASES / "n_enc" / "Movies" / f"{film} (1999)" / f"{film} (1999).mkv"
        assert fields(file) == expected | {"year": 1999}

    def test_an_empty_file_says_nothing(self) -> None:
        assert fields(CASES / "n_enc/Movies/Empty (1999)/Empty (1999).mkv") == {}

    def test_movie_nfo_counts_only_where_its_directory_holds_one_title(self) -> None:
        movies = CASES / "n_mixed" / "Movies"
        directories = Directories()
        assert [fields(movies / name, directories) for name in ("Alpha (2001).mkv", "Beta (2002).mkv")] == [{}, {}]
        assert fields(movies / "Own (2003)" / "Own (2003).mkv", directories)["content_rating"] == "PG"

    @pytest.mark.parametrize(
        ("episode", "title", "number"), [("S01E01-E04", "Arrival", 1), ("S01E05E06", "Five", 5), ("S01E07", "Seven", 7)]
    )
    def test_several_roots_or_a_wrapper(self, episode: str, title: str, number: int) -> None:
        found = fields(CASES / "n_multi/TV/Harbour Lights/Season 1" / f"Harbour Lights {episode}.mkv")
        assert (found["title"], found["episode_number"]) == (title, number)

    def test_a_scene_text_gives_its_address_and_vetoes_nothing(self) -> None:
        movies = CASES / "n_scene" / "Movies"
        assert fields(movies / "Only Scene (1999)/Only Scene (1999).mkv") == {"provider_ids": {"imdb": "tt0113277"}}
        assert fields(movies / "Some Film (1999)/Some Film (1999).mkv")["title"] == "Some Film, Really"

    def test_addresses_alone(self) -> None:
        found = fields(CASES / "n_url/Movies/Address (2019)/Address (2019).mkv")
        assert found == {"provider_ids": {"imdb": "tt0113277", "tmdb": "949"}}
        # The address in tvshow.nfo is the show's, not the episode's.
        assert fields(CASES / "n_url/TV/Harbour Lights/Season 1/Harbour Lights S01E01.mkv") == {
            "title": "Part 1", "season_number": 1, "episode_number": 1, "show_provider_ids": {"tvdb": "121361"},
        }  # fmt: skip


@pytest.mark.fault(125, 210)
class TestSeveralSidecars:
    def test_one_that_cannot_be_used_vetoes_no_other(self, tmp_path: Path) -> None:
        (tmp_path / "A.mkv").touch()
        (tmp_path / "A.nfo").write_text("<movie><title>")
        (tmp_path / "movie.nfo").write_text("<movie><title>The A</title></movie>")
        found = answer(tmp_path / "A.mkv")
        assert isinstance(found, Enrichment)
        assert found.fields == {"title": "The A"}
        assert found.data is not None
        assert [one["code"] for one in found.data["unused"]] == ["nfo_malformed"]

    def test_a_broken_show_keeps_its_episodes(self, tmp_path: Path) -> None:
        (tmp_path / "tvshow.nfo").write_text("<tvshow><title>")
        (tmp_path / "S01E01.nfo").write_text("<episodedetails><title>One</title></episodedetails>")
        assert fields(tmp_path / "S01E01.mkv") == {"title": "One"}

    @pytest.mark.fault(208)
    def test_a_show_has_its_own_year_and_ids(self, tmp_path: Path) -> None:
        text = "<tvshow><title>Fleet</title><year>2003</year><uniqueid type='tvdb'>73545</uniqueid></tvshow>"
        (tmp_path / "tvshow.nfo").write_text(text)
        (tmp_path / "S01E01.nfo").write_text("<episodedetails><year>2004</year><tvdbid>5</tvdbid></episodedetails>")
        assert fields(tmp_path / "S01E01.mkv") == {
            "show_title": "Fleet", "show_year": 2003, "show_provider_ids": {"tvdb": "73545"}, "year": 2004,
            "provider_ids": {"tvdb": "5"},
        }  # fmt: skip

    def test_without_another_it_is_a_failure(self, tmp_path: Path) -> None:
        (tmp_path / "A.nfo").write_text("<movie><title>")
        found = answer(tmp_path / "A.mkv")
        assert isinstance(found, Failure)
        assert found.code == "nfo_malformed"

    @pytest.mark.parametrize("text", ["", "no XML", "<tvshow/>", "<artist><name>A</name></artist>", "<!DOCTYPE html>"])
    def test_what_is_about_something_else_is_no_failure(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "A.nfo").write_text(text)
        assert fields(tmp_path / "A.mkv") == {}

    def test_versions_parts_and_extras_are_one_title(self, tmp_path: Path) -> None:
        for name in ("A (2001) - 1080p.mkv", "A (2001) - 4k.mkv", "A (2001)-trailer.mkv", ".A.mkv"):
            (tmp_path / name).touch()
        (tmp_path / "movie.nfo").write_text("<movie><title>The A</title></movie>")
        assert fields(tmp_path / "A (2001) - 4k.mkv") == {"title": "The A"}
        (tmp_path / "B (2002).mkv").touch()
        assert fields(tmp_path / "A (2001) - 4k.mkv") == {}


class TestIds:
    @pytest.mark.parametrize(
        ("xml", "ids"),
        [
            ("<id>tt0113277</id>", {"imdb": "tt0113277"}),
            ("<imdb_id>tt0113277</imdb_id>", {"imdb": "tt0113277"}),
            ("<imdbid>tt0113277</imdbid><tmdb_id>949</tmdb_id>", {"imdb": "tt0113277", "tmdb": "949"}),
            ("<uniqueid>tt0113277</uniqueid>", {"imdb": "tt0113277"}),
            ("<uniqueid type='TMDB'>949-heat</uniqueid>", {"tmdb": "949"}),
            ("<uniqueid type='tvdb'>5</uniqueid><uniqueid type='nobody'>6</uniqueid>", {"tvdb": "5"}),
            ("<tvdbid>121361</tvdbid>", {"tvdb": "121361"}),
            ("<id IMDB='tt0113277' TMDB='949'>1</id>", {"imdb": "tt0113277", "tmdb": "949"}),
            ("<id>949</id>", {}),
            ("<imdb>tt0113277</imdb><tmdb>949</tmdb>", {"imdb": "tt0113277", "tmdb": "949"}),
            ("<imdbnumber>tt0113277</imdbnumber>", {"imdb": "tt0113277"}),
            ("<uniqueid type='imdb'>0113277</uniqueid>", {"imdb": "tt0113277"}),
            ("<uniqueid type='imdb'>https://www.imdb.com/title/tt0113277/</uniqueid>", {"imdb": "tt0113277"}),
            ("<actor><tmdbid>5</tmdbid></actor>", {}),
        ],
    )
    def test_spellings(self, xml: str, ids: dict[str, str]) -> None:
        found = details(f"<movie>{xml}</movie>")
        assert (found.fields.get("provider_ids", {}), found.warnings) == (ids, [])

    def test_a_bare_number_of_an_episode_is_of_tvdb(self) -> None:
        assert details("<episodedetails><id>77</id></episodedetails>").fields == {"provider_ids": {"tvdb": "77"}}

    def test_of_two_ids_of_a_provider_the_first_counts_with_a_warning(self) -> None:
        found = details("<movie><tmdbid>1</tmdbid><uniqueid type='tmdb'>2</uniqueid></movie>")
        assert (found.fields["provider_ids"], found.warnings) == ({"tmdb": "1"}, ["several_ids"])

    @pytest.mark.parametrize(
        ("address", "tag", "ids"),
        [
            ("https://www.imdb.com/title/tt0113277/?ref_=x", "movie", {"imdb": "tt0113277"}),
            ("https://m.imdb.com/de/title/tt0113277/", "movie", {"imdb": "tt0113277"}),
            ("https://www.themoviedb.org/movie/949-heat", "movie", {"tmdb": "949"}),
            ("https://www.themoviedb.org/tv/12-lost", "movie", {}),
            ("https://thetvdb.com/?tab=series&id=121361", "tvshow", {"tvdb": "121361"}),
            ("https://thetvdb.com/dereferrer/series/121361", "tvshow", {"tvdb": "121361"}),
            ("https://thetvdb.com/?tab=episode&seriesid=1&id=3", "episodedetails", {"tvdb": "3"}),
        ],
    )
    def test_addresses_behind_the_xml(self, address: str, tag: str, ids: dict[str, str]) -> None:
        found = details(f"<{tag}><title>A</title></{tag}>\n{address}\n")
        assert found.fields.get("provider_ids", {}) == ids


class TestValues:
    @pytest.mark.parametrize(
        ("xml", "rating", "warnings"),
        [
            ("<rating>7,5</rating>", 7.5, []),
            ("<rating max='100'>85</rating>", 8.5, []),
            ("<ratings><rating max='5'><value>4.1</value></rating></ratings>", 8.2, []),
            (
                "<ratings><rating><value>1</value></rating><rating default='true'><value>6</value></rating></ratings>",
                6.0,
                [],
            ),
            ("<rating>0</rating>", None, []),
            ("<rating>7.5/10</rating>", 7.5, []),
            ("<rating>75 %</rating>", 7.5, []),
            ("<rating max='5'>x</rating><ratings><rating default='True'><value>6</value></rating></ratings>", 6, []),
            ("<rating>nan</rating>", None, ["bad_rating"]),
            ("<rating max='0'>5</rating>", None, ["bad_rating"]),
            ("<rating>85</rating>", None, ["bad_rating"]),
        ],
    )
    def test_ratings(self, xml: str, rating: float | None, warnings: list[str]) -> None:
        found = details(f"<movie>{xml}</movie>")
        assert (found.fields.get("rating"), found.warnings) == (rating, warnings)

    @pytest.mark.parametrize(
        ("xml", "warning"),
        [
            ("<year>19999</year>", "bad_year"),
            ("<year>MCM</year>", "bad_number"),
            ("<season>-1</season>", "bad_number"),
            ("<runtime>long</runtime>", "bad_duration"),
            ("<aired>yesterday</aired>", "bad_date"),
            ("<studio>\ufffd</studio>", "bad_text"),
            (f"<mpaa>{'R' * 5000}</mpaa>", "bad_text"),
            ("<imdbid>Heat</imdbid>", "bad_id"),
        ],
    )
    @pytest.mark.fault(121)
    def test_a_bad_value_costs_nothing_else(self, xml: str, warning: str) -> None:
        found = details(f"<episodedetails><title>One</title>{xml}</episodedetails>")
        assert (found.fields, found.warnings) == ({"title": "One"}, [warning])

    @pytest.mark.parametrize(
        ("text", "minutes"),
        [
            ("117", 117), ("117 min", 117), ("1h 57m", 117), ("2 h", 120), ("PT1H57M", 117), ("PT1H57M0S", 117),
            ("1:57:00", 117), ("1:57", 117), ("117.0", 117), ("7020 s", 117), ("1 hr 57 min", 117),
        ],
    )  # fmt: skip
    def test_runtimes(self, text: str, minutes: int) -> None:
        assert details(f"<movie><runtime>{text}</runtime></movie>").fields == {"runtime_ms": minutes * 60_000}

    @pytest.mark.parametrize(
        ("xml", "day"),
        [
            ("<premiered>1999/12/31</premiered>", "1999-12-31"), ("<premiered>31.12.1999</premiered>", "1999-12-31"),
            ("<premiered>1999-12-31T00:00:00Z</premiered>", "1999-12-31"), ("<premiered>1999</premiered>", None),
        ],
    )  # fmt: skip
    def test_days(self, xml: str, day: str | None) -> None:
        found = details(f"<movie>{xml}</movie>")
        assert (found.fields.get("originally_aired"), found.warnings) == (day and dt.date.fromisoformat(day), [])

    @pytest.mark.parametrize("year", ["1999", "(1999)", "1999-12-31"])
    def test_years(self, year: str) -> None:
        assert details(f"<movie><year>{year}</year></movie>").fields == {"year": 1999}

    def test_a_namespace_and_a_bare_bracket_hide_nothing(self) -> None:
        xml = "<movie xmlns='urn:x'><title>A</title><plot>1 < 2</plot><genre>B</genre><genre>B</genre></movie>"
        assert details(xml).fields == {"title": "A", "tags": {"genre": ["B"]}}

    def test_bytes_count_before_the_declaration(self) -> None:
        title = "<movie><title>Größe “quoted”</title></movie>"
        encodings = {
            "utf-16": "utf-8",
            "iso-8859-1": "utf-8",
            "utf-8": "utf-16",
            "UTF-8": "utf-16-le",
            "none": "cp1252",
        }
        for declared, encoding in encodings.items():
            raw = f'<?xml version="1.0" encoding="{declared}"?>{title}'.encode(encoding)
            assert details(raw).fields == {"title": "Größe “quoted”"}, (declared, encoding)

    def test_damaged_values_are_left_out(self) -> None:
        raw = "<movie><title>Größe</title><studio>ä".encode() + b"\xfc</studio></movie>"
        assert (details(raw).fields, details(raw).warnings) == ({"title": "Größe"}, ["bad_text"])

    def test_references(self) -> None:
        text = "<movie><title>A&B &hellip; &#33;&#1;&#x110000; <![CDATA[<C&D>]]><!-- E --></title></movie>"
        assert details(text).fields == {"title": "A&B … ! <C&D>"}

    def test_an_entity_that_nobody_knows(self) -> None:
        with pytest.raises(EnrichmentError):
            parse(b"<movie><title>&nobody;</title></movie>")


@pytest.mark.parametrize("piece", [b"<movie>", b"<![CDATA[", b"&", b"<movie><a>", b"thetvdb.com/tab=series"])
def test_no_sidecar_takes_long(piece: bytes) -> None:
    began = time.process_time()
    raw = piece * (1024 * 1024 // len(piece)) + b"<movie>"
    with pytest.raises(EnrichmentError):
        parse(raw + b"\xff")
    assert time.process_time() - began < 20
