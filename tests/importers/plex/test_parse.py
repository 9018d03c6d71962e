import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrovue.core.bounds import LONGEST_TEXT, MOST_TAGS
from retrovue.core.model import ASSET_TYPES
from retrovue.core.pages import AssetDraft, Page, Rejection
from retrovue.errors import MalformedAnswer
from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.http.listing import BadRow
from retrovue.importers.plex.importer import decode_sections
from retrovue.importers.plex.parse import PlexDraftMaker, shows_of
from retrovue.importers.plex.rows import PlexFormat, PlexListing, decode_listing
from retrovue.simulator import Row, album, artist, clip, episode, media, movie, part, season, show, track
from tests.support.plex import listing

RECORDED = Path(__file__).parents[2] / "data" / "plex"


def recorded_container(path: Path) -> dict[str, Any] | None:
    if path.suffix != ".json":
        return None
    document = orjson.loads(path.read_bytes())
    if isinstance(document, dict) and isinstance(document.get("response"), dict):
        document = document["response"].get("body")
    container = document.get("MediaContainer") if isinstance(document, dict) else None
    return container if isinstance(container, dict) else None


LISTINGS = sorted(path.name for path in RECORDED.iterdir() if "Metadata" in (recorded_container(path) or {}))
SECTIONS = sorted(
    path.name
    for path in RECORDED.iterdir()
    if any(mark in path.name for mark in ("get-all-libraries", "sections_get_200"))
)


def page_of(*rows: Any) -> Page:
    return PlexDraftMaker("machine").page(listing(rows).rows)


def only_draft(row: Row) -> AssetDraft:
    page = page_of(row)
    assert page.rejected == []
    (draft,) = page.drafts
    return draft


def only_rejection(row: Any) -> Rejection:
    page = page_of(row)
    assert page.drafts == []
    (rejected,) = page.rejected
    return rejected


class TestRecordings:
    def test_there_are_recordings(self) -> None:
        assert len(LISTINGS) > 20
        assert len(SECTIONS) == 2

    @pytest.mark.parametrize("name", LISTINGS)
    def test_every_item_is_draft_or_rejected(self, name: str) -> None:
        container = recorded_container(RECORDED / name)
        assert container is not None
        answer = decode_listing(orjson.dumps({"MediaContainer": container}))
        page = PlexDraftMaker("machine").page(answer.rows)
        rows = container["Metadata"]
        assert len(answer.rows) == page.source_items == len(rows)
        assert not any(isinstance(listed.row, BadRow) for listed in answer.rows)
        uris = [draft.source_uri for draft in page.drafts] + [one.source_uri or "" for one in page.rejected]
        accounted = {uri.partition("?")[0] for uri in uris if uri}
        nameless = sum(1 for one in page.rejected if one.source_uri is None)
        assert len(accounted) + nameless == len(rows)
        assert all(one.code and one.reason for one in page.rejected)
        playable = [row for row in rows if row.get("type") in ASSET_TYPES and row.get("Media")]
        assert len({draft.source_uri.partition("?")[0] for draft in page.drafts}) >= len(playable) - len(page.rejected)

    @pytest.mark.parametrize("name", SECTIONS)
    def test_sections(self, name: str) -> None:
        container = recorded_container(RECORDED / name)
        assert container is not None
        found = decode_sections(orjson.dumps({"MediaContainer": container}))
        assert [one.name for one in found] == [one["title"] for one in container["Directory"]]
        assert all(one.locations for one in found)

    def test_movies_of_a_page(self) -> None:
        name = "LukeHagar+plex-api-spec__library_sectionKey_get-library-items_1.json"
        page = PlexDraftMaker("machine").page(decode_listing((RECORDED / name).read_bytes()).rows)
        assert len(page.drafts) == 5
        assert all({"imdb", "tmdb", "plex"} <= set(draft.provider_ids) for draft in page.drafts)
        assert all(draft.runtime_ms and draft.tags["genre"] for draft in page.drafts)

    def test_home_videos_are_clips(self) -> None:
        name = "LukeHagar+plex-api-spec__library_sectionKey_get-library-all_4.json"
        page = PlexDraftMaker("machine").page(decode_listing((RECORDED / name).read_bytes()).rows)
        assert {draft.type for draft in page.drafts} == {"clip"}


class TestItems:
    def test_movie(self) -> None:
        draft = only_draft(
            movie(
                7,
                "Amélie",
                year=2001,
                originallyAvailableAt="2001-04-25 00:00:00",
                editionTitle="Director's Cut",
                studio="UGC",
                contentRating="R",
                rating=8,
                audienceRating=8.3,
                Guid=[{"id": "imdb://tt0211915"}, {"id": "tmdb://194"}],
                Genre=[{"tag": "Comedy"}, {"tag": "Romance"}],
                Label=[{"tag": "Late"}],
                Collection=[{"tag": "Paris"}],
                Chapter=[{"tag": "One", "startTimeOffset": 0, "endTimeOffset": 1000}],
                Marker=[{"type": "credits", "startTimeOffset": 900, "endTimeOffset": 1000}],
            )
        )
        assert draft.source_uri == "plex://machine/library/metadata/7?media=7"
        assert (draft.type, draft.title, draft.year) == ("movie", "Amélie", 2001)
        assert draft.originally_aired == dt.date(2001, 4, 25)
        assert (draft.edition, draft.studio, draft.content_rating, draft.rating) == ("Director's Cut", "UGC", "R", 8.3)
        assert draft.provider_ids == {"imdb": "tt0211915", "tmdb": "194", "plex": f"{7:024x}"}
        assert draft.tags == {"genre": ["Comedy", "Romance"], "label": ["Late"], "collection": ["Paris"]}
        assert draft.chapters == [{"title": "One", "start_ms": 0, "end_ms": 1000}]
        assert draft.markers == [{"type": "credits", "start_ms": 900, "end_ms": 1000}]
        assert (draft.runtime_ms, draft.bitrate_kbps, draft.video_resolution) == (5_400_000, 4000, "1080")
        assert (draft.width, draft.height, draft.audio_channels) == (1920, 1080, 2)
        assert draft.warnings == ()

    def test_a_listing_without_chapters_does_not_say_that_there_are_none(self) -> None:
        draft = only_draft(movie(1))
        assert draft.chapters is None
        assert draft.markers is None

    def test_every_version_is_a_draft(self) -> None:
        row = movie(7, Media=[media(70, part(1, "/m/a.mkv")), media(71, part(2, "/m/a 4k.mkv"), videoResolution="4k")])
        page = page_of(row)
        assert [draft.source_uri[-2:] for draft in page.drafts] == ["70", "71"]
        assert page.source_items == 1

    def test_parts_keep_their_order(self) -> None:
        row = movie(7, Media=[media(70, part(2, "/m/cd1.avi"), part(1, "/m/cd2.avi", duration=None))])
        draft = only_draft(row)
        assert [one.source_path for one in draft.parts] == ["/m/cd1.avi", "/m/cd2.avi"]
        assert draft.parts[1].duration_ms is None

    def test_episode_inherits_from_its_show(self) -> None:
        top = show(1, "Lost", Genre=[{"tag": "Drama"}], studio="ABC", contentRating="TV-14", audienceRating=8.1)
        row = episode(3, season(2, top, 4), 12, "Pilot", Label=[{"tag": "own"}])
        page = PlexDraftMaker("machine", shows_of(listing([top]).rows)).page(listing([row]).rows)
        (draft,) = page.drafts
        assert (draft.show_title, draft.season_number, draft.episode_number) == ("Lost", 4, 12)
        assert (draft.studio, draft.content_rating, draft.rating) == ("ABC", "TV-14", 8.1)
        assert draft.tags == {"genre": ["Drama"], "label": ["own"]}

    def test_episode_of_a_hidden_season_stands_alone(self) -> None:
        row = episode(3, season(2, show(1), 1), 1)
        for name in ("parentKey", "parentRatingKey", "grandparentRatingKey"):
            row.pop(name, None)
        assert only_draft(row).tags == {}

    def test_track(self) -> None:
        of_album = album(2, artist(1, "Nina"), 2, title="Pastel Blues")
        draft = only_draft(track(3, of_album, 4, "Sinnerman", parentYear=1965))
        assert (draft.type, draft.title) == ("track", "Sinnerman")
        assert (draft.show_title, draft.show_key, draft.artist, draft.album) == ("Nina", "1", "Nina", "Pastel Blues")
        assert (draft.disc_number, draft.track_number, draft.year) == (2, 4, 1965)
        assert (draft.season_number, draft.episode_number, draft.tags) == (None, None, {})

    @pytest.mark.fault(207)
    def test_a_track_has_an_artist_of_its_own(self) -> None:
        of_album = album(2, artist(1, "Various Artists"), 1, title="Hits")
        draft = only_draft(track(3, of_album, 4, "One Way", originalTitle="The Alphas"))
        assert (draft.show_title, draft.artist) == ("Various Artists", "The Alphas")

    def test_clip(self) -> None:
        assert only_draft(clip(1)).type == "clip"

    @pytest.mark.parametrize(
        "path", ["P:\\Filme\\Ölsand\u00a0“x”.mkv", "\\\\nas\\media\\a.mkv", "/data/映画/七人の侍.mkv"]
    )
    def test_paths_are_verbatim(self, path: str) -> None:
        assert only_draft(movie(1, file=path)).parts[0].source_path == path


class TestRejections:
    @pytest.mark.fault(27, 29, 33, 34, 37)
    @pytest.mark.parametrize(
        ("row", "code"),
        [
            (movie(1, Media=None), "no_media"),
            (movie(1, Media=[]), "no_media"),
            (movie(1, Media=[{"id": 5}]), "no_file"),
            (movie(1, Media=[media(5)]), "no_file"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), part(2, None))]), "no_file"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), id=None)]), "no_media_id"),
            (movie(1, Media=[media(n, part(n, f"/{n}.mkv")) for n in range(1, 1002)]), "too_many_versions"),
            (movie(1, Media=[media(5, *(part(n, f"/{n}.mkv") for n in range(1, 1002)))]), "too_many_parts"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), proxyType=42)]), "optimized_version"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), target="Mobile")]), "optimized_version"),
            (movie(1, file="/m/Plex Versions/Optimized for TV/a.mp4"), "optimized_version"),
            (movie(1, file="P:\\m\\Plex Versions\\a.mp4"), "optimized_version"),
            (movie(1, ratingKey="abc"), "bad_rating_key"),
            (movie(1, ratingKey="-1"), "bad_rating_key"),
            (movie(1, ratingKey="²"), "bad_rating_key"),
            (movie(1, ratingKey=None), "bad_rating_key"),
            (movie(1, Media="none"), "no_media"),
            (movie(1, Media=[None]), "no_media_id"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), id="x")]), "no_media_id"),
            (movie(1, Media=[media(5) | {"Part": [part(1, "/a.mkv"), None]}]), "no_file"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), part(2, "/b.mkv") | {"file": ["/b.mkv"]})]), "no_file"),
            (movie(1, file="/m/a\0b.mkv"), "bad_path"),
            (show(1), "not_playable"),
            ("a string", "bad_types"),
        ],
    )
    def test_code(self, row: Any, code: str) -> None:
        assert only_rejection(row).code == code

    def test_names_the_item(self) -> None:
        rejected = only_rejection(movie(8, "Empty", Media=None))
        assert (rejected.source_uri, rejected.title) == ("plex://machine/library/metadata/8", "Empty")

    @pytest.mark.fault(34)
    def test_a_bad_row_is_named_and_its_siblings_are_kept(self) -> None:
        page = page_of(movie(1), movie(2, "Odd", Media=[[]]), movie(3))
        assert [draft.title for draft in page.drafts] == ["Movie 1", "Movie 3"]
        (rejected,) = page.rejected
        assert (rejected.source_uri, rejected.title) == ("plex://machine/library/metadata/2", "Odd")
        assert page.source_items == 3

    @pytest.mark.parametrize(
        ("row", "field"),
        [
            (movie(1, year=True), "year"),
            (movie(1, year=10**4000), "year"),
            (movie(1, duration=[1]), None),
            (movie(1, contentRating=16), "content_rating"),
            (movie(1, rating="?"), "rating"),
            (movie(1, Genre=[None, {"tag": "Drama"}, {"tag": None}, {"tag": 5}]), None),
            (movie(1, Guid={"id": 5}), None),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), bitrate=-1)]), "bitrate_kbps"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), width="")]), "width"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), width=2**40)]), "width"),
            (movie(1, Media=[media(5, part(1, "/a.mkv"), container={})]), "container"),
            (movie(1, Media=[media(5, part(1, "/a.mkv", size=2**63))]), None),
            (movie(1, index=""), "episode_number"),
        ],
    )
    @pytest.mark.fault(201)
    def test_an_optional_value_costs_itself_alone(self, row: Row, field: str | None) -> None:
        text = json.dumps({"MediaContainer": {"size": 2, "Metadata": [row, movie(2)]}}).encode()
        page = PlexDraftMaker("machine").page(decode_listing(text).rows)
        assert page.rejected == []
        odd, fine = page.drafts
        assert odd.title == "Movie 1"
        assert field is None or getattr(odd, field) is None
        assert fine.warnings == ()
        assert odd.warnings

    def test_a_title_that_is_none(self) -> None:
        (draft,) = page_of(movie(1) | {"title": ["x"]}).drafts
        assert (draft.title, draft.warnings) == ("Movie 1", ("no_title", "bad_value"))

    def test_a_list_written_as_its_only_element(self) -> None:
        (draft,) = page_of(movie(1, Genre={"tag": "Drama"})).drafts
        assert draft.tags == {"genre": ["Drama"]}

    def test_a_version_listed_twice(self) -> None:
        page = page_of(movie(1, Media=[media(5, part(1, "/a.mkv")), media(5, part(1, "/a.mkv"))]))
        assert len(page.drafts) == 1
        assert page.rejected[0].code == "duplicate_version"

    def test_a_good_version_beside_a_bad_one(self) -> None:
        page = page_of(movie(1, Media=[media(5), media(6, part(1, "/a.mkv"))]))
        assert len(page.drafts) == 1
        assert page.rejected[0].source_uri == "plex://machine/library/metadata/1?media=5"


class TestValues:
    @pytest.mark.fault(28)
    @pytest.mark.parametrize("value", [-1, 0, 1.9, 5_400_000.0, 2**31, 2**70, 1e300])
    def test_bad_durations(self, value: float) -> None:
        # By hand, as orjson writes no integers beyond 64 bits.
        row = movie(1, Media=[media(5, part(1, "/a.mkv", duration=None), duration=987654)], duration=None)
        body = orjson.dumps({"MediaContainer": {"size": 1, "Metadata": [row]}}).replace(b"987654", str(value).encode())
        draft = PlexDraftMaker("m").page(decode_listing(body).rows).drafts[0]
        assert draft.runtime_ms is None
        assert "bad_duration" in draft.warnings

    @pytest.mark.fault(32)
    def test_null_for_a_list_that_is_optional_is_an_empty_one(self) -> None:
        lists = dict.fromkeys(("Genre", "Label", "Collection", "Guid", "Chapter", "Marker"))
        draft = only_draft(movie(1, guid=None) | lists)
        assert (draft.tags, draft.provider_ids, draft.chapters, draft.markers) == ({}, {}, None, None)

    def test_the_items_duration_stands_in(self) -> None:
        draft = only_draft(movie(1, Media=[media(5, part(1, "/a.mkv"), duration=None)], duration=1234))
        assert draft.runtime_ms == 1234

    @pytest.mark.fault(30)
    @pytest.mark.parametrize("year", [0, 1, -5, 99999, 2**40])
    def test_bad_years(self, year: int) -> None:
        draft = only_draft(movie(1, year=year))
        assert draft.year is None
        assert draft.warnings == ("bad_year",)

    @pytest.mark.fault(30)
    @pytest.mark.parametrize(
        "text", ["0000-00-00", "2001", "2001-13-01", "yesterday", "0001-01-01", "2024-W01-1", "20240101", "2013-10-4"]
    )
    def test_bad_dates(self, text: str) -> None:
        draft = only_draft(movie(1, originallyAvailableAt=text))
        assert draft.originally_aired is None
        assert draft.warnings == ("bad_date",)

    def test_a_rating_that_is_a_year(self) -> None:
        draft = only_draft(movie(1, rating=2049))
        assert (draft.rating, draft.warnings) == (None, ("bad_rating",))
        draft = only_draft(movie(1, audienceRating=2049, rating=7))
        assert (draft.rating, draft.warnings) == (7, ("bad_rating",))

    def test_empty_text_is_none(self) -> None:
        empty = dict.fromkeys(("container", "videoCodec", "audioCodec", "videoResolution"), "")
        draft = only_draft(movie(1, studio="", contentRating="", Media=[media(5, part(1, "/a.mkv"), **empty)]))
        fields = (draft.container, draft.video_codec, draft.audio_codec, draft.video_resolution)
        assert {*fields, draft.studio, draft.content_rating} == {None}

    def test_an_episode_without_a_number(self) -> None:
        row = episode(3, season(2, show(1), 1), 1)
        assert only_draft(row | {"index": -1}).warnings == ("bad_number",)
        del row["index"]
        assert only_draft(row).episode_number is None

    @pytest.mark.parametrize("title", ["", "  ", None])
    def test_a_missing_title_is_the_files(self, title: str | None) -> None:
        row = movie(1, file="P:\\Films\\The Third Man.mkv")
        row["title"] = title
        draft = only_draft(row)
        assert (draft.title, draft.warnings) == ("The Third Man", ("no_title",))

    def test_numbers_as_strings(self) -> None:
        draft = only_draft(movie(1, year="1999", duration="5000"))
        assert draft.year == 1999

    def test_rating_key_as_a_number(self) -> None:
        assert only_draft(movie(1) | {"ratingKey": 12}).source_uri.startswith("plex://machine/library/metadata/12?")

    def test_spans_that_cannot_be(self) -> None:
        spans = [{"startTimeOffset": -1}, {"startTimeOffset": 5, "endTimeOffset": 3}, {"tag": "x"}]
        draft = only_draft(movie(1, Chapter=spans))
        assert draft.chapters == [{"title": None, "start_ms": 5, "end_ms": None}]
        assert draft.warnings == ("bad_span",)

    @pytest.mark.fault(26)
    def test_nul_is_removed_from_text(self) -> None:
        page = page_of(movie(1, "Nul\0l", file="/a.mkv", Genre=[{"tag": "a\0b"}]), movie(2, "Sibling"))
        assert [draft.title for draft in page.drafts] == ["Null", "Sibling"]
        assert page.drafts[0].tags == {"genre": ["ab"]}
        assert [draft.warnings for draft in page.drafts] == [("nul_removed",), ()]

    @pytest.mark.fault(26)
    def test_a_title_of_nothing_but_nul_is_the_files(self) -> None:
        draft = only_draft(movie(1, "\0", file="/films/Heat.mkv"))
        assert draft.title == "Heat"
        assert draft.warnings == ("nul_removed", "no_title")

    @pytest.mark.fault(26)
    def test_nul_is_removed_from_what_a_show_gives_to_its_episodes(self) -> None:
        top = show(1, "Fire\0fly", studio="F\0ox", Genre=[{"tag": "Sci\0fi"}])
        below = episode(3, season(2, top, 1), 1, file="/a.mkv") | {"grandparentTitle": None}
        (draft,) = PlexDraftMaker("machine", shows_of(listing([top]).rows)).page(listing([below]).rows).drafts
        assert (draft.show_title, draft.studio, draft.tags) == ("Firefly", "Fox", {"genre": ["Scifi"]})

    @pytest.mark.fault(24, 25)
    @pytest.mark.parametrize("escape", [b"\\ud800", b"\\uDFFF", b"\xff\xfe"])
    def test_text_that_is_none_is_replaced(self, escape: bytes) -> None:
        rows = [movie(1, "Half QQQ", file="/a.mkv"), movie(2, "P:\\ud800", file="P:\\ud800 x\\a.mkv")]
        body = orjson.dumps({"MediaContainer": {"size": 2, "Metadata": rows}}).replace(b"QQQ", escape)
        page = PlexDraftMaker("machine").page(decode_listing(body).rows)
        assert page.drafts[0].title.startswith("Half \ufffd")
        assert page.drafts[0].warnings == ("text_replaced",)
        # A Windows path may look like an escape, and is none.
        assert (page.drafts[1].title, page.drafts[1].warnings) == ("P:\\ud800", ())

    @pytest.mark.fault(25)
    @pytest.mark.parametrize(
        ("escapes", "text"),
        [
            (r"\ud800\ud800\udc00", "\ufffd\U00010000"),
            (r"\ud800\udc00\udc00", "\U00010000\ufffd"),
            (r"\\\ud800", "\\\ufffd"),
            (r"\\\\ud800\udc00", "\\\\ud800\ufffd"),
            (r"\ud800\\udc00", "\ufffd\\udc00"),
            (r"\ud800\u0041", "\ufffdA"),
        ],
    )
    def test_what_is_half_a_pair(self, escapes: str, text: str) -> None:
        body = orjson.dumps({"MediaContainer": {"size": 1, "Metadata": [movie(1, "QQQ", file="/a.mkv")]}})
        page = PlexDraftMaker("machine").page(decode_listing(body.replace(b"QQQ", escapes.encode())).rows)
        assert page.drafts[0].title == text

    @pytest.mark.fault(145)
    @pytest.mark.parametrize("field", ["title", "studio", "contentRating", "guid"])
    def test_a_text_that_is_too_long_costs_itself_alone(self, field: str) -> None:
        row = movie(1, "Heat", file="/films/Heat.mkv") | {field: "x" * (LONGEST_TEXT + 1)}
        page = PlexDraftMaker("machine").page(listing([row, movie(2)]).rows)
        assert [draft.title for draft in page.drafts] == ["Heat", "Movie 2"]
        assert "bad_value" in page.drafts[0].warnings
        assert "xxx" not in repr(page)

    @pytest.mark.fault(145)
    def test_too_many_tags_cost_themselves_alone(self) -> None:
        row = movie(1, "Heat", file="/films/Heat.mkv") | {"Genre": [{"tag": "Crime"}] * (MOST_TAGS + 1)}
        (draft,) = PlexDraftMaker("machine").page(listing([row]).rows).drafts
        assert (draft.tags, draft.warnings) == ({}, ("bad_value",))

    @pytest.mark.fault(39)
    def test_a_path_that_is_not_text_is_rejected(self) -> None:
        body = orjson.dumps({"MediaContainer": {"size": 1, "Metadata": [movie(1, "T", file="/QQQ.mkv")]}})
        page = PlexDraftMaker("machine").page(decode_listing(body.replace(b"QQQ", b"\xff")).rows)
        assert [one.code for one in page.rejected] == ["bad_path"]

    def test_surrogate_pairs_are_one_character(self) -> None:
        body = orjson.dumps({"MediaContainer": {"size": 1, "Metadata": [movie(1, "QQQ \0", file="/a.mkv")]}})
        page = PlexDraftMaker("machine").page(decode_listing(body.replace(b"QQQ", b"\\ud83d\\ude00")).rows)
        assert page.drafts[0].title == "\U0001f600 "

    @pytest.mark.fault(35)
    def test_the_last_of_two_keys_wins(self) -> None:
        body = orjson.dumps({"MediaContainer": {"size": 1, "Metadata": [movie(1)]}})
        body = body.replace(b'"title":"Movie 1"', b'"title":"First","title":"Second"')
        assert PlexDraftMaker("m").page(decode_listing(body).rows).drafts[0].title == "Second"


class TestContainers:
    @pytest.mark.parametrize("odd", [movie(1, ratingKey="one"), movie(1, ratingKey=None, title="é"), {"type": "movie"}])
    @pytest.mark.parametrize("neighbour", [movie(2, year=True), movie(2, "Nul\0l"), movie(2, ratingKey="two"), "text"])
    def test_a_row_without_a_key_is_the_same_row_beside_any_other(self, odd: Row, neighbour: Any) -> None:
        """It may be the last of one page and the first of the next."""
        key = listing([movie(3), odd]).keys[1]
        assert listing([odd, neighbour]).keys[0] == key
        assert listing([odd, movie(4)]).keys[0] == key

    @pytest.mark.fault(1, 5, 34)
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "bad_json"),
            (b'{"MediaContainer":{"Meta', "bad_json"),
            (b'{"MediaContainer":{"size":1,"x":' + b"[" * 100_000, "bad_json"),
            (b"{}", "no_container"),
            (b"[]", "no_container"),
            (b'{"MediaContainer":{}}', "no_container"),
            (b'{"MediaContainer":{"size":1,"Metadata":{"a":1}}}', "no_container"),
            (b'{"MediaContainer":{"size":-1}}', "no_container"),
        ],
    )
    def test_malformed(self, body: bytes, code: str) -> None:
        with pytest.raises(MalformedAnswer) as caught:
            decode_listing(body)
        assert caught.value.code == code

    def test_numbers_as_strings(self) -> None:
        answer = listing([movie(1)], size="1", totalSize="5", offset="2")
        assert (answer.size, answer.total, answer.offset) == (1, 5, 2)

    def test_empty(self) -> None:
        assert decode_listing(b'{"MediaContainer":{"size":0}}').rows == []

    @pytest.mark.parametrize(
        "body", [b"{}", b"[1]", b'{"MediaContainer":{}}', b'{"MediaContainer":{"Directory":5}}', b"{"]
    )
    def test_malformed_sections(self, body: bytes) -> None:
        with pytest.raises(MalformedAnswer):
            decode_sections(body)

    def test_no_sections(self) -> None:
        assert decode_sections(b'{"MediaContainer":{"size":0}}') == ()


# A small alphabet of what matters: hypothesis takes seconds to build that of all Unicode.
_text = st.text('a0é東😀\0\ufffd"\\/:?= -', max_size=8)
_leaf = st.none() | st.booleans() | st.integers() | st.floats() | _text
_branch = _leaf | st.lists(_leaf, max_size=2) | st.dictionaries(_text, _leaf, max_size=2)
_json = _branch | st.lists(_branch, max_size=3) | st.dictionaries(_text, _branch, max_size=3)
_base = movie(
    1, Genre=[{"tag": "x"}], Guid=[{"id": "imdb://1"}], Chapter=[{"tag": "c", "startTimeOffset": 1}], rating=5
)


@pytest.mark.fault(34)
@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*_base, "Marker", "Label", "index", "parentIndex", "subtype"]), _json, max_size=4)
)
def test_any_row_is_a_draft_or_rejected(changes: dict[str, Any]) -> None:
    try:
        answer = listing([movie(2), _base | changes])
    except TypeError:
        return  # orjson refuses integers beyond 64 bits and lone surrogates: nothing was sent
    page = PlexDraftMaker("machine").page(answer.rows)
    assert page.source_items == 2
    assert page.drafts[0].title == "Movie 2"
    assert len(page.drafts) + len(page.rejected) >= 2
    for draft in page.drafts:
        assert "\0" not in orjson.dumps({name: getattr(draft, name) for name in ("title", "studio", "tags")}).decode()


@pytest.mark.fault(1, 24)
@settings(deadline=None)
@given(st.binary(max_size=12), st.integers(0, 900), st.integers(0, 12))
def test_any_bytes_are_a_listing_or_a_typed_error(junk: bytes, at: int, cut: int) -> None:
    body = orjson.dumps({"MediaContainer": {"size": 2, "Metadata": [movie(1), _base]}})
    try:
        page = PlexDraftMaker("machine").page(decode_listing(body[:at] + junk + body[at + cut :]).rows)
    except MalformedAnswer:
        return
    assert page.source_items >= 0


class TestRowsAreTakenWhileTheyAreDecoded:
    ROWS = tuple(movie(key) for key in range(1, 121))

    def decoded(self, rows: Sequence[Any], shared: int = 0) -> PlexListing:
        body = orjson.dumps({"MediaContainer": {"size": len(rows), "Metadata": rows}})
        return PageDecoder(PlexFormat(), PlexDraftMaker("machine")).decode(body, shared)

    @pytest.mark.parametrize("shared", [0, 1])
    def test_the_page_is_that_of_the_whole_answer(self, shared: int) -> None:
        found = self.decoded(self.ROWS, shared)
        whole = listing(self.ROWS)
        assert (found.keys, found.rows) == (whole.keys, [])
        assert (found.size, found.total, found.offset) == (whole.size, whole.total, whole.offset)
        assert found.page == PlexDraftMaker("machine").page(whole.rows[shared:])

    @pytest.mark.parametrize("spoiled", [{"ratingKey": "x"}, {"type": 3}, {"title": "a\0b"}])
    def test_an_answer_with_an_unusual_row_keeps_its_rows(self, spoiled: dict[str, Any]) -> None:
        found = self.decoded([*self.ROWS[:100], self.ROWS[100] | spoiled])
        assert found.page is None
        assert len(found.rows) == len(found.keys) == 101
