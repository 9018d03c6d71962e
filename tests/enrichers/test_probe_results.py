"""What the probe makes of odd files and odd values."""

from pathlib import Path
from typing import Any

import pytest

from retrovue.enrichers.base import AssetView, Enrichment, Failure, MediaFile
from retrovue.enrichers.probe import ProbeEnricher
from retrovue.enrichers.probe.results import describe, ffprobe_result

CASES = Path(__file__).parents[1] / "data" / "files" / "p_probe" / "Movies"


async def probe(program: str) -> dict[str, Enrichment | Failure]:
    files = sorted(CASES.iterdir())
    views = [AssetView(source_uri="s", title="T", type="movie", files=(MediaFile(str(file)),)) for file in files]
    async with ProbeEnricher({"program": program}) as enricher:
        answers = await enricher.enrich(views)
    return {file.name.partition(" ")[0]: answer for file, answer in zip(files, answers, strict=True)}


@pytest.mark.anyio
@pytest.mark.parametrize("program", ["pyav", "ffprobe"])
@pytest.mark.fault(123, 214)
async def test_files_from_the_field(program: str) -> None:
    answers = await probe(program)
    codes = {name: answer.code for name, answer in answers.items() if isinstance(answer, Failure)}
    assert codes == {
        **dict.fromkeys(("Concat", "Cut", "Html", "Playlist", "Text", "Typescript", "Zeros"), "not_media"),
        **dict.fromkeys(("Live", "Raw", "Picture"), "no_duration"),
    }
    codecs = {
        name: (answer.fields["video_codec"], answer.fields["audio_codec"])
        for name, answer in answers.items()
        if isinstance(answer, Enrichment)
    }
    assert codecs == {
        "Ac3": ("mpeg4", "ac3"), "Av1": ("av1", None), "Cutmkv": ("mpeg4", None), "H264mp3": ("h264", "mp3"),
        "Hevc": ("hevc", "aac"), "Mpeg2": ("mpeg2video", "mp2"), "Vp9": ("vp9", "opus"), "Whole": ("mpeg4", None),
    }  # fmt: skip


def result(**values: Any) -> dict[str, Any]:
    return {"duration_ms": 1000, "bitrate": 8000, "format": "matroska,webm", "streams": [], "chapters": []} | values


def described(**values: Any) -> Enrichment:
    answer = describe([result(**values)], {})
    assert isinstance(answer, Enrichment)
    return answer


@pytest.mark.fault(121, 201)
class TestOddValues:
    @pytest.mark.parametrize(
        ("stream", "kept", "warnings"),
        [
            ({"width": -1, "height": 48}, {"height": 48}, ["bad_number"]),
            ({"width": "", "channels": 10**12}, {}, ["bad_number"]),
            ({"width": 0, "height": 0}, {}, None),
            ({"title": "x" * 5000, "language": "eng"}, {"language": "eng"}, ["bad_text"]),
            ({"codec": None}, {}, None),
        ],
    )
    def test_a_stream_keeps_its_rest(
        self, stream: dict[str, Any], kept: dict[str, Any], warnings: list[str] | None
    ) -> None:
        answer = described(streams=[{"type": "video", "index": 0} | stream])
        assert answer.fields["streams"] == [{"type": "video", "index": 0} | kept]
        assert answer.data is not None
        assert answer.data.get("warnings") == warnings

    @pytest.mark.parametrize(("start", "end"), [(-5, 10), (10, 5), (0, 10**15), (0, None)])
    def test_a_chapter_that_makes_no_sense(self, start: int, end: int | None) -> None:
        good = {"title": "One", "start_ms": 0, "end_ms": 10}
        answer = described(chapters=[{"title": None, "start_ms": start, "end_ms": end}, good])
        assert answer.fields["chapters"] == [good]

    @pytest.mark.parametrize("values", [{"duration_ms": None}, {"duration_ms": 0}, {"duration_ms": 10**15}])
    @pytest.mark.fault(205)
    def test_without_a_duration_it_has_failed(self, values: dict[str, Any]) -> None:
        answer = describe([result(), result(**values)], {})
        assert isinstance(answer, Failure)
        assert answer.code == "no_duration"

    @pytest.mark.parametrize("format_", ["png_pipe", "image2", "gif"])
    @pytest.mark.fault(123, 205)
    def test_a_picture_has_failed(self, format_: str) -> None:
        answer = describe([result(format=format_)], {})
        assert isinstance(answer, Failure)
        assert (answer.code, "picture" in answer.message) == ("no_duration", True)


def test_an_answer_of_ffprobe_with_odd_values() -> None:
    stream = {"index": 0, "codec_type": "video", "width": 64, "avg_frame_rate": "N/A", "bit_rate": "N/A"}
    found = ffprobe_result(
        {"format": {"duration": "1.5", "bit_rate": "N/A"}, "streams": [stream], "chapters": [{"start_time": "N/A"}]}
    )
    assert (found["duration_ms"], found["bitrate"]) == (1500, None)
    assert found["streams"][0]["width"] == 64
    assert found["chapters"][0]["start_ms"] is None
