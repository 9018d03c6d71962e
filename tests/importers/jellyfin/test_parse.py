"""What the rows of a listing become."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrovue.core.pages import AssetDraft, Page, Rejection, spans
from retrovue.errors import MalformedAnswer
from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.http.listing import BadRow
from retrovue.importers.jellyfin.parse import JellyfinDraftMaker, series_of
from retrovue.importers.jellyfin.rows import (
    JellyfinFormat,
    JellyfinListing,
    MediaSource,
    decode_listing,
    decode_outline,
    guid_bytes,
    resolution,
)
from retrovue.simulator import Row
from retrovue.simulator.jellyfin import audio, episode, item_id, movie, part, series, source, video
from tests.support.jellyfin import listing

RECORDED = Path(__file__).parents[2] / "data" / "jellyfin"
ITEMS = RECORDED / "bardesss+arr-mcp__jellyfin_items-library.json"


def page_of(*rows: Any) -> Page:
    return JellyfinDraftMaker("server").page(listing(*rows).rows)


def with_parts(rows: JellyfinListing, parts: Mapping[bytes, Sequence[MediaSource]]) -> Page:
    make = JellyfinDraftMaker("server")
    make.parts = parts
    return make.page(rows.rows)


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
    def test_every_item_is_accounted_for(self) -> None:
        answer = decode_listing(ITEMS.read_bytes())
        assert (len(answer.rows), answer.total, answer.offset) == (20, 292, 0)
        assert not any(isinstance(listed.row, BadRow) for listed in answer.rows)
        page = JellyfinDraftMaker("server").page(answer.rows)
        # It was recorded without MediaSources: eight series, and twelve films without media.
        assert (page.drafts, page.source_items) == ([], 20)
        assert sorted(one.code for one in page.rejected) == ["no_media"] * 12 + ["not_playable"] * 8
        assert page.rejected[0].source_uri == "jellyfin://server/items/65cbd491b1ecb02fdb3d7cbaefab5353"
        assert page.rejected[0].title == "#MissingCouple"

    def test_with_media_they_are_drafts(self) -> None:
        document = orjson.loads(ITEMS.read_bytes())
        for item in document["Items"]:
            item["MediaSources"] = [source(1, f"/m/{item['Id']}.mkv", Id=item["Id"])]
        page = JellyfinDraftMaker("server").page(decode_listing(orjson.dumps(document)).rows)
        assert len(page.drafts) == 12
        assert all(draft.warnings == () for draft in page.drafts)
        first = page.drafts[0]
        assert (first.title, first.content_rating, first.rating, first.year) == ("#MissingCouple", "NR", 5, 2024)
        assert first.tags == {"genre": ["Thriller", "Crime", "Horror"]}
        assert first.provider_ids == {"imdb": "tt33794261", "tmdb": "1368213"}
        # The server stands in the Netherlands: its midnight is the evening before in UTC.
        assert first.originally_aired == dt.date(2024, 10, 8)
        hundred = page.drafts[1]
        assert (hundred.title[:7], hundred.originally_aired) == ("The 100", dt.date(2013, 12, 25))

    def test_series(self) -> None:
        found = series_of(decode_listing(ITEMS.read_bytes()).rows)
        assert found[bytes.fromhex("cf939e2aa448fbe76b4f5eb80fa0d39f")].title == "3 Body Problem"

    def test_invented(self) -> None:
        document = orjson.loads((RECORDED / "arabcoders+watchstate__mediabrowser_data.json").read_bytes())
        items = document["library_items"]["Items"] + [document["metadata_episode"]]
        page = page_of(*items)
        assert [one.code for one in page.rejected] == ["bad_id", "bad_id"]
        # They have no count: never a listing.
        with pytest.raises(MalformedAnswer):
            decode_listing(orjson.dumps(document["library_items"]))

    def test_what_the_simulator_says_is_what_was_recorded(self) -> None:
        recorded = next(row for row in orjson.loads(ITEMS.read_bytes())["Items"] if row["Type"] == "Movie")
        ours = movie(1)
        assert {name: type(ours[name]) for name in recorded.keys() & ours.keys()} == {
            name: type(recorded[name]) for name in recorded.keys() & ours.keys()
        } | {"CommunityRating": float}
        assert recorded.keys() - ours.keys() == {"ServerId", "ChannelId", "HasSubtitles", "UserData"}


class TestItems:
    def test_movie(self) -> None:
        draft = only_draft(
            movie(
                7,
                "Amélie",
                PremiereDate="2001-04-25T00:00:00.0000000Z",
                Studios=[{"Name": "UGC", "Id": "x"}, {"Name": "Victoires"}],
                OfficialRating="R",
                CommunityRating=8.3,
                CriticRating=89,
                ProviderIds={"Imdb": "tt0211915", "Tmdb": "194", "TmdbCollection": "5", "Tvdb": "", "Odd": None},
                Genres=["Comedy", "Romance"],
                Tags=["Late"],
                Chapters=[{"StartPositionTicks": 0, "Name": "One"}, {"StartPositionTicks": 10_000_000, "Name": "Two"}],
            )
        )
        own = item_id(7)
        assert draft.source_uri == f"jellyfin://server/items/{own}?media={own}"
        assert (draft.type, draft.title, draft.year) == ("movie", "Amélie", 2001)
        assert draft.originally_aired == dt.date(2001, 4, 25)
        assert (draft.studio, draft.content_rating, draft.rating) == ("UGC", "R", 8.3)
        assert draft.provider_ids == {"imdb": "tt0211915", "tmdb": "194", "tmdbcollection": "5"}
        assert draft.tags == {"genre": ["Comedy", "Romance"], "label": ["Late"], "studio": ["UGC", "Victoires"]}
        assert spans(draft.chapters) == [
            {"title": "One", "start_ms": 0, "end_ms": 1000},
            {"title": "Two", "start_ms": 1000, "end_ms": None},
        ]
        assert draft.markers is None
        assert (draft.runtime_ms, draft.bitrate_kbps, draft.video_resolution) == (5_400_000, 4192, "1080")
        assert (draft.container, draft.video_codec, draft.audio_codec) == ("mkv", "h264", "aac")
        assert (draft.width, draft.height, draft.audio_channels) == (1920, 1080, 2)
        assert (draft.parts[0].size_bytes, draft.parts[0].duration_ms) == (1_000_000_000, 5_400_000)
        assert draft.warnings == ()

    def test_every_version_is_a_draft_and_chapters_are_the_items_own(self) -> None:
        sources = [source(7, "/m/a.mkv"), source(70, "/m/a 4k.mkv")]
        page = page_of(movie(7, MediaSources=sources, Chapters=[{"StartPositionTicks": 0}]))
        assert [draft.source_uri[-32:] for draft in page.drafts] == [item_id(7), item_id(70)]
        assert [draft.chapters is None for draft in page.drafts] == [False, True]
        assert page.source_items == 1

    def test_a_listing_without_chapters_does_not_say_that_there_are_none(self) -> None:
        assert spans(only_draft(movie(1)).chapters) == []
        assert only_draft(movie(1, Chapters=None)).chapters is None

    def test_ids_with_dashes_and_capitals_are_the_same_ids(self) -> None:
        row = movie(7)
        plain = row["Id"]
        row["Id"] = f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}".upper()
        assert only_draft(row).source_uri.startswith(f"jellyfin://server/items/{plain}?")

    def test_an_id_of_a_plugin_stays_in_its_place(self) -> None:
        draft = only_draft(movie(7, MediaSources=[source(7, "/m/a.mkv", Id="a&b/c=d")]))
        assert draft.source_uri == f"jellyfin://server/items/{item_id(7)}?media=a%26b%2Fc%3Dd"

    def test_the_default_sound_counts(self) -> None:
        streams = [
            {"Type": "Audio", "Index": 1, "Codec": "ac3", "Channels": 6, "IsDefault": True},
            {"Type": "Audio", "Index": 2, "Codec": "dts", "Channels": 8},
            {"Type": "Subtitle", "Index": 3, "Codec": "subrip", "IsExternal": True},
        ]
        chosen = source(7, "/m/a.mkv", MediaStreams=streams, DefaultAudioStreamIndex=2)
        assert only_draft(movie(7, MediaSources=[chosen])).audio_codec == "dts"
        del chosen["DefaultAudioStreamIndex"]
        assert only_draft(movie(7, MediaSources=[chosen])).audio_channels == 6
        assert only_draft(movie(7, MediaSources=[source(7, "/a.mkv", MediaStreams=None)])).audio_codec is None

    def test_episode_inherits_from_its_series(self) -> None:
        top = series(1, "Lost", Genres=["Drama"], Studios=[{"Name": "ABC"}], OfficialRating="TV-14", CommunityRating=8)
        row = episode(3, top, 4, 12, "Pilot", Tags=["own"])
        (draft,) = JellyfinDraftMaker("server", series_of(listing(top).rows)).page(listing(row).rows).drafts
        assert (draft.show_title, draft.season_number, draft.episode_number) == ("Lost", 4, 12)
        assert (draft.studio, draft.content_rating, draft.rating) == ("ABC", "TV-14", 8)
        assert draft.tags == {"genre": ["Drama"], "label": ["own"]}

    def test_episode_without_its_series_stands_alone(self) -> None:
        row = episode(3, series(1, "Lost"), 1, 1, SeriesId=None)
        assert (only_draft(row).show_title, only_draft(row).tags) == ("Lost", {})

    def test_a_file_with_several_episodes_has_each_of_its_numbers(self) -> None:
        page = page_of(episode(3, series(1, "Lost"), 1, 4, IndexNumberEnd=6))
        assert [draft.episode_number for draft in page.drafts] == [4, 5, 6]
        assert len({draft.parts[0].source_path for draft in page.drafts}) == 1
        own = item_id(3)
        assert [draft.source_uri.partition("media=")[2] for draft in page.drafts] == [
            own,
            f"{own}&episode=5",
            f"{own}&episode=6",
        ]
        assert page.source_items == 1

    @pytest.mark.parametrize(("first", "last"), [(4, 3), (4, 4000), (-1, 2)])
    def test_ranges_that_cannot_be(self, first: int, last: int) -> None:
        draft = only_draft(episode(3, series(1), 1, first, IndexNumberEnd=last))
        assert draft.warnings == ("bad_number",)
        assert draft.episode_number == (first if first >= 0 else None)

    def test_track(self) -> None:
        draft = only_draft(audio(3, "Sinnerman", Album="Pastel Blues", AlbumArtist="Nina", IndexNumberEnd=9))
        assert (draft.type, draft.title) == ("track", "Sinnerman")
        assert (draft.show_title, draft.artist, draft.album) == ("Nina", "Nina", "Pastel Blues")
        assert (draft.season_number, draft.episode_number, draft.tags) == (None, None, {})
        assert (draft.audio_codec, draft.video_codec, draft.width) == ("mp3", None, None)

    @pytest.mark.fault(207)
    def test_a_track_has_artists_of_its_own(self) -> None:
        various = [{"Name": "Various Artists", "Id": item_id(9)}]
        row = audio(3, "One Way", Album="Hits", AlbumArtist="Various Artists", AlbumArtists=various)
        draft = only_draft(row | {"Artists": ["The Alphas", "Bo"], "ParentIndexNumber": 2, "IndexNumber": 7})
        assert (draft.show_title, draft.show_key) == ("Various Artists", item_id(9))
        assert (draft.artist, draft.album, draft.disc_number, draft.track_number) == ("The Alphas, Bo", "Hits", 2, 7)

    @pytest.mark.parametrize(
        "path", ["P:\\Filme\\Ölsand\u00a0“x”.mkv", "\\\\nas\\media\\a.mkv", "/data/映画/七人の侍.mkv"]
    )
    def test_paths_are_verbatim(self, path: str) -> None:
        assert only_draft(movie(1, file=path)).parts[0].source_path == path

    def test_parts_in_order(self) -> None:
        rows = listing(movie(1, PartCount=2))
        more = listing(part(2, movie(1), "/m/cd2.mkv")).rows[0].row
        assert not isinstance(more, BadRow)
        assert more.versions is not None
        page = with_parts(rows, {rows.keys[0]: more.versions})
        assert [one.source_path for one in page.drafts[0].parts] == ["/data/movies/Movie 1.mkv", "/m/cd2.mkv"]
        assert page.drafts[0].runtime_ms == 10_800_000
        more.versions[0].run_time_ticks = None
        page = with_parts(rows, {rows.keys[0]: more.versions})
        assert page.drafts[0].runtime_ms is None

    def test_parts_belong_to_the_items_own_version(self) -> None:
        rows = listing(movie(1, PartCount=2, MediaSources=[source(1, "/m/cd1.mkv"), source(9, "/m/4k.mkv")]))
        more = listing(part(2, movie(1), "/m/cd2.mkv")).rows[0].row
        assert not isinstance(more, BadRow)
        page = with_parts(rows, {rows.keys[0]: more.versions or []})
        assert [len(draft.parts) for draft in page.drafts] == [2]
        assert [one.code for one in page.rejected] == ["parts_unknown"]


class TestRejections:
    @pytest.mark.parametrize(
        ("row", "code"),
        [
            (movie(1, MediaSources=None), "no_media"),
            (movie(1, MediaSources=[]), "no_media"),
            (movie(1, MediaSources=[source(1, None)]), "no_file"),
            (movie(1, MediaSources=[source(1, "")]), "no_file"),
            (movie(1, MediaSources=[source(1, "/a.mkv", Id=None)]), "no_media_id"),
            (movie(1, MediaSources=[source(n, f"/{n}.mkv") for n in range(1, 1002)]), "too_many_versions"),
            (movie(1, MediaSources=[source(1, "http://x/a.m3u8", Protocol="Http")]), "remote"),
            (movie(1, MediaSources=[source(1, "/a.strm", IsRemote=True)]), "remote"),
            (movie(1, MediaSources=[source(1, "/a.disc", Type="Placeholder")]), "placeholder"),
            (movie(1, MediaSources=[source(1, "/m/film", VideoType="Dvd")]), "disc_folder"),
            (movie(1, MediaSources=[source(1, "/m/film", VideoType="BluRay")]), "disc_folder"),
            (movie(1, MediaSources=[source(1, "/m/film", VideoType="Iso")]), "disc_image"),
            (movie(1, IsPlaceHolder=True), "placeholder"),
            (movie(1, PartCount=2), "parts_unknown"),
            (episode(1, series(2), 1, 1, LocationType="Virtual"), "virtual"),
            (episode(1, series(2), 1, 1, LocationType="Virtual", MediaSources=None), "virtual"),
            (movie(1, LocationType="Remote"), "remote"),
            (movie(1, Id="abc"), "bad_id"),
            (movie(1, Id=""), "bad_id"),
            (movie(1, Id="²" * 32), "bad_id"),
            (movie(1, Id=None), "bad_id"),
            (movie(1, MediaSources="none"), "no_media"),
            (movie(1, MediaSources=[None]), "no_media_id"),
            (movie(1, MediaSources=[source(1, "/a.mkv") | {"Path": ["x"]}]), "no_file"),
            (movie(1, file="/m/a\0b.mkv"), "bad_path"),
            (series(1), "not_playable"),
            ("a string", "bad_types"),
        ],
    )
    def test_code(self, row: Any, code: str) -> None:
        rejected = only_rejection(row)
        assert rejected.code == code
        assert rejected.reason

    def test_a_bad_row_is_named_and_its_siblings_are_kept(self) -> None:
        page = page_of(movie(1), movie(2, "Odd", MediaSources=[[]]), movie(3))
        assert [draft.title for draft in page.drafts] == ["Movie 1", "Movie 3"]
        (rejected,) = page.rejected
        assert (rejected.source_uri, rejected.title) == (f"jellyfin://server/items/{item_id(2)}", "Odd")
        assert page.source_items == 3

    @pytest.mark.parametrize(
        ("row", "field"),
        [
            (movie(1, ProductionYear=True), "year"),
            (movie(1, RunTimeTicks=[1]), None),
            (movie(1, OfficialRating=16), "content_rating"),
            (movie(1, Genres=["Drama", 1, None]), None),
            (movie(1, Studios=[{"Name": None}, 5]), "studio"),
            (movie(1, ProviderIds={"Imdb": "tt1", "Tmdb": 5}), None),
            (movie(1, MediaSources=[source(1, "/a.mkv", Bitrate=2**40)]), "bitrate_kbps"),
            (movie(1, MediaSources=[source(1, "/a.mkv", Bitrate=-1)]), "bitrate_kbps"),
            (movie(1, MediaSources=[source(1, "/a.mkv", Size=2**63)]), None),
            (movie(1, IndexNumber=""), "episode_number"),
        ],
    )
    @pytest.mark.fault(201)
    def test_an_optional_value_costs_itself_alone(self, row: Row, field: str | None) -> None:
        page = page_of(row, movie(2))
        assert page.rejected == []
        odd, fine = page.drafts
        assert odd.title == "Movie 1"
        assert field is None or getattr(odd, field) is None
        assert "bad_value" in odd.warnings
        assert fine.warnings == ()
        if "ProviderIds" in row and len(row["ProviderIds"]) == 2:
            assert odd.provider_ids == {"imdb": "tt1"}

    def test_a_version_listed_twice_and_a_good_one_beside_a_bad_one(self) -> None:
        page = page_of(movie(1, MediaSources=[source(1, "/a.mkv"), source(1, "/a.mkv"), source(2, None)]))
        assert len(page.drafts) == 1
        assert [one.code for one in page.rejected] == ["duplicate_version", "no_file"]
        assert page.rejected[1].source_uri == f"jellyfin://server/items/{item_id(1)}?media={item_id(2)}"


class TestValues:
    @pytest.mark.parametrize("value", [-1, 0, 9_999, 54e9, 2**31 * 10_000, 2**70, 1e300])
    def test_bad_durations(self, value: float) -> None:
        # By hand, as orjson writes no integers beyond 64 bits.
        row = movie(1, MediaSources=[source(1, "/a.mkv", RunTimeTicks=987654)], RunTimeTicks=None)
        body = orjson.dumps({"Items": [row], "TotalRecordCount": 1}).replace(b"987654", str(value).encode())
        draft = JellyfinDraftMaker("m").page(decode_listing(body).rows).drafts[0]
        assert draft.runtime_ms is None
        assert "bad_duration" in draft.warnings

    def test_the_items_duration_stands_in(self) -> None:
        row = movie(1, MediaSources=[source(1, "/a.mkv", RunTimeTicks=None)], RunTimeTicks=12_340_000)
        assert only_draft(row).runtime_ms == 1234

    @pytest.mark.parametrize("year", [0, 1, -5, 99999, 2**40])
    def test_bad_years(self, year: int) -> None:
        draft = only_draft(movie(1, ProductionYear=year))
        assert (draft.year, draft.warnings) == (None, ("bad_year",))

    @pytest.mark.parametrize(
        ("text", "day"),
        [
            ("2024-10-08", (2024, 10, 8)),
            ("2024-10-08T00:00:00.0000000Z", (2024, 10, 8)),
            ("2024-10-07T22:00:00.0000000Z", (2024, 10, 8)),
            ("2024-10-07T18:30:00Z", (2024, 10, 8)),
            ("2024-10-08T05:00:00.0000000Z", (2024, 10, 8)),
            ("2024-10-07T22:13:07.0000000Z", (2024, 10, 7)),
        ],
    )
    def test_days(self, text: str, day: tuple[int, int, int]) -> None:
        draft = only_draft(movie(1, PremiereDate=text))
        assert (draft.originally_aired, draft.warnings) == (dt.date(*day), ())

    @pytest.mark.parametrize("protocol", ["", "file", "Nfs", None])
    def test_a_protocol_that_is_none_of_a_network_costs_no_item(self, protocol: str | None) -> None:
        assert only_draft(movie(1, MediaSources=[source(1, "/a.mkv", Protocol=protocol)])).parts

    @pytest.mark.parametrize("text", ["0001-01-01T00:00:00.0000000Z", "2001", "2001-13-01", "yesterday", "9999-12-31"])
    def test_bad_dates(self, text: str) -> None:
        draft = only_draft(movie(1, PremiereDate=text))
        assert (draft.originally_aired, draft.warnings) == (None, ("bad_date",))

    def test_ratings(self) -> None:
        assert only_draft(movie(1, CommunityRating=None, CriticRating=68)).rating == 6.8
        draft = only_draft(movie(1, CommunityRating=2049, CriticRating=70))
        assert (draft.rating, draft.warnings) == (7, ("bad_rating",))
        draft = only_draft(movie(1, CommunityRating=2049))
        assert (draft.rating, draft.warnings) == (None, ("bad_rating",))

    @pytest.mark.parametrize(
        ("size", "name"),
        [
            ((720, 480), "sd"),
            ((1024, 576), "576"),
            ((1280, 544), "720"),
            ((1920, 800), "1080"),
            ((3840, 2160), "4k"),
            ((7680, 4320), "8k"),
            ((9000, 9000), None),
            ((None, 1080), None),
        ],
    )
    def test_resolution(self, size: tuple[int | None, int | None], name: str | None) -> None:
        assert resolution(*size) == name

    @pytest.mark.parametrize("title", ["", "  ", None])
    def test_a_missing_title_is_the_files(self, title: str | None) -> None:
        row = movie(1, file="P:\\Films\\The Third Man.mkv")
        row["Name"] = title
        draft = only_draft(row)
        assert (draft.title, draft.warnings) == ("The Third Man", ("no_title",))

    def test_an_episode_without_a_number(self) -> None:
        row = episode(3, series(1), 1, 1)
        assert only_draft(row | {"IndexNumber": -1}).warnings == ("bad_number",)
        assert only_draft(row | {"IndexNumber": None}).episode_number is None

    def test_chapters_that_cannot_be(self) -> None:
        chapters = [{"StartPositionTicks": -1}, {"StartPositionTicks": 50_000}, {"Name": "x"}]
        draft = only_draft(movie(1, Chapters=chapters))
        assert spans(draft.chapters) == [{"title": None, "start_ms": 5, "end_ms": None}]
        assert draft.warnings == ("bad_span",)

    def test_chapters_are_json_unless_a_title_has_to_be_repaired(self) -> None:
        named = [{"StartPositionTicks": 30_000, "Name": '"É\\u0041"'}, {"StartPositionTicks": 0, "Name": None}]
        expected = [
            {"title": None, "start_ms": 0, "end_ms": 3},
            {"title": '"É\\u0041"', "start_ms": 3, "end_ms": None},
        ]
        assert only_draft(movie(1, Chapters=named)).chapters == orjson.dumps(expected)
        for name, title, warning in (("a\0b", "ab", "nul_removed"), ("\ufffd", "\ufffd", None)):
            draft = only_draft(movie(1, Chapters=[{"StartPositionTicks": 0, "Name": name}]))
            assert draft.chapters == [{"title": title, "start_ms": 0, "end_ms": None}]
            assert draft.warnings == (() if warning is None else (warning,))
        row = orjson.dumps(movie(1, Chapters=[{"StartPositionTicks": 0, "Name": "QQQ"}]))
        body = b'{"Items":[%b],"TotalRecordCount":1}' % row.replace(b"QQQ", b"\xff")
        (draft,) = JellyfinDraftMaker("server").page(decode_listing(body).rows).drafts
        assert draft.chapters == [{"title": "\ufffd", "start_ms": 0, "end_ms": None}]
        assert draft.warnings == ("text_replaced",)

    def test_nul_is_removed_from_text(self) -> None:
        page = page_of(movie(1, "Nul\0l", file="/a.mkv", Genres=["a\0b"]), movie(2, "Sibling"))
        assert [draft.title for draft in page.drafts] == ["Null", "Sibling"]
        assert page.drafts[0].tags == {"genre": ["ab"]}
        assert [draft.warnings for draft in page.drafts] == [("nul_removed",), ()]

    def test_a_title_of_nothing_but_nul_is_the_files(self) -> None:
        draft = only_draft(movie(1, "\0", file="/films/Heat.mkv"))
        assert draft.title == "Heat"
        assert draft.warnings == ("nul_removed", "no_title")

    def test_nul_is_removed_from_what_a_series_gives_to_its_episodes(self) -> None:
        top = series(1, "Fire\0fly", Studios=[{"Name": "F\0ox"}], Genres=["Sci\0fi"])
        below = episode(2, top, 1, 1, file="/a.mkv", SeriesName=None)
        (draft,) = JellyfinDraftMaker("server", series_of(listing(top).rows)).page(listing(below).rows).drafts
        assert (draft.show_title, draft.studio, draft.tags) == ("Firefly", "Fox", {"genre": ["Scifi"]})

    @pytest.mark.parametrize("escape", [b"\\ud800", b"\\uDFFF", b"\xff\xfe"])
    def test_text_that_is_none_is_replaced(self, escape: bytes) -> None:
        rows = [movie(1, "Half QQQ", file="/a.mkv"), movie(2, "P:\\ud800", file="P:\\ud800 x\\a.mkv")]
        body = orjson.dumps({"Items": rows, "TotalRecordCount": 2}).replace(b"QQQ", escape)
        page = JellyfinDraftMaker("server").page(decode_listing(body).rows)
        assert page.drafts[0].title.startswith("Half \ufffd")
        assert page.drafts[0].warnings == ("text_replaced",)
        assert page.drafts[1].parts[0].source_path == "P:\\ud800 x\\a.mkv"

    def test_of_a_key_given_twice_the_last_wins(self) -> None:
        body = orjson.dumps({"Items": [movie(1)], "TotalRecordCount": 1}).replace(
            b'"Name":"Movie 1"', b'"Name":"A","Name":"B"'
        )
        assert JellyfinDraftMaker("server").page(decode_listing(body).rows).drafts[0].title == "B"


class TestAnswers:
    @pytest.mark.parametrize(
        "neighbour", [movie(2, ProductionYear=True), movie(2, "Nul\0l"), movie(2, Id="two"), "text"]
    )
    def test_a_row_without_an_id_is_the_same_row_beside_any_other(self, neighbour: Any) -> None:
        odd = movie(1, Id="one")
        key = listing(movie(3), odd).keys[1]
        assert listing(odd, neighbour).keys[0] == listing(odd, movie(4)).keys[0] == key

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "bad_json"),
            (b"{", "bad_json"),
            (b"{}", "no_container"),
            (b"[]", "no_container"),
            (b"null", "no_container"),
            (b'{"Items": []}', "no_container"),
            (b'{"TotalRecordCount": 0}', "no_container"),
            (b'{"Items": null, "TotalRecordCount": 0}', "no_container"),
            (b'{"Items": [], "TotalRecordCount": -1}', "no_container"),
            (b'{"Items": [], "TotalRecordCount": true}', "no_container"),
            (b'{"Items": [' + b"[" * 20000, "bad_json"),
        ],
    )
    def test_that_are_no_listing(self, body: bytes, code: str) -> None:
        assert decode_outline(body) is None
        with pytest.raises(MalformedAnswer) as caught:
            decode_listing(body)
        assert caught.value.code == code

    def test_a_row_nested_too_deeply_costs_that_value(self) -> None:
        deep = orjson.loads(b"[" * 200 + b"]" * 200)
        page = page_of(movie(1, Genres=deep), movie(2))
        assert page.rejected == []
        assert [draft.warnings for draft in page.drafts] == [("bad_value",), ()]

    @pytest.mark.parametrize(
        "text",
        [
            *(None, "", "0" * 31, "0" * 33, "g" * 32, "0" * 32 + "\n", "0" * 8 + "-" + "0" * 24),
            *("00 " * 10 + "00", "0" * 30 + "\n\n", "\u0660" * 32),
        ],
    )
    def test_ids_that_are_none(self, text: str | None) -> None:
        assert guid_bytes(text) is None

    def test_looking_over_finds_the_same(self) -> None:
        rows = [movie(1), video(2), audio(3), episode(4, series(9), 1, 2, IndexNumberEnd=3), movie(5, MediaSources=[])]
        body = orjson.dumps({"Items": rows, "TotalRecordCount": 5, "StartIndex": 0})
        make, outlined = JellyfinDraftMaker("server"), decode_outline(body)
        page = make.page(decode_listing(body).rows[1:])
        assert outlined is not None
        outline = make.outline(outlined.rows[1:])
        assert outline.source_uris == [draft.source_uri for draft in page.drafts]
        assert outline.rejected == page.rejected
        assert (len(outline.ends), page.source_items) == (4, 4)


_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
_LEAF = _SCALARS | st.floats(allow_nan=False, allow_infinity=False)
_BRANCH = _LEAF | st.lists(_LEAF, max_size=2) | st.dictionaries(st.text(max_size=5), _LEAF, max_size=2)
_JSON = _BRANCH | st.lists(_BRANCH, max_size=3) | st.dictionaries(st.text(max_size=5), _BRANCH, max_size=3)
_OF_ITEM = [*movie(1), "PartCount", "IndexNumberEnd", "IsPlaceHolder"]


@settings(max_examples=300, deadline=None)
@given(
    of_item=st.dictionaries(st.sampled_from(_OF_ITEM), _JSON, max_size=3),
    of_source=st.dictionaries(st.sampled_from([*source(1, "/a.mkv")]), _JSON, max_size=3),
)
def test_whatever_a_row_says_it_is_accounted_for(of_item: Row, of_source: Row) -> None:
    row = movie(1, MediaSources=[source(1, "/a.mkv") | of_source]) | of_item
    body = orjson.dumps({"Items": [row, movie(2)], "TotalRecordCount": 2})
    page = JellyfinDraftMaker("server").page(decode_listing(body).rows)
    assert page.source_items == 2
    assert page.drafts[-1].title == "Movie 2"
    assert len(page.drafts) + len(page.rejected) >= 2


class TestRowsAreTakenWhileTheyAreDecoded:
    def test_an_item_of_several_files_needs_the_whole_answer(self) -> None:
        rows = [movie(number) for number in range(1, 4)]
        for part_count, is_taken in ((None, True), (1, True), (2, False)):
            body = orjson.dumps({"TotalRecordCount": 3, "Items": [*rows[:2], rows[2] | {"PartCount": part_count}]})
            found = PageDecoder(JellyfinFormat(), JellyfinDraftMaker("machine")).decode(body, 0)
            assert (found.page is not None, len(found.rows)) == (is_taken, 0 if is_taken else 3)
