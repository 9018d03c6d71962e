"""The EDL enricher, by RetroVue's conformance kit and by what is its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from retrovue import AssetView, EnricherInterface, Enrichment, Failure, MediaFile
from retrovue.errors import RequestError
from retrovue.testing import EnricherConformance, check_answers, sample_asset
from retrovue_enricher_edl import EdlEnricher

LIST = "# by comskip\n0 12.5 0\n1800.0 1980.0 3\n0:50:00 0:50:00 2\n5 6 1\n"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A directory with one good list, one bad one, and a file without."""
    (tmp_path / "heat.edl").write_text(LIST)
    (tmp_path / "alien.edl").write_text("soon later 3\n")
    return tmp_path


class TestConformance(EnricherConformance):
    """What every enricher owes to enrichment."""

    @pytest.fixture(autouse=True)
    def files(self, media: Path) -> None:
        """Say where the samples are."""
        self.media = media

    def make_enricher(self) -> EnricherInterface:
        """Make the enricher."""
        return EdlEnricher({})

    def make_assets(self) -> Sequence[AssetView]:
        """Name one that it can enrich, one that it can't, and one without a list."""
        return [sample_asset(str(self.media / f"{name}.mkv"), title=name) for name in ("heat", "alien", "brazil")]


def found(asset: AssetView) -> Any:
    """Ask about an asset: its fields, or the code of its failure."""
    (answer,) = anyio.run(check_answers, lambda: EdlEnricher({}), [asset])
    return answer.code if isinstance(answer, Failure) else dict(answer.fields)


def test_breaks_and_scenes(media: Path) -> None:
    """Breaks become markers, scenes chapters up to the film's end."""
    heat = sample_asset(str(media / "heat.mkv"), title="Heat", runtime_ms=10_000_000)
    assert found(heat) == {
        "markers": [
            {"type": "cut", "start_ms": 0, "end_ms": 12_500},
            {"type": "commercial", "start_ms": 1_800_000, "end_ms": 1_980_000},
        ],
        "chapters": [
            {"title": "Scene 1", "start_ms": 0, "end_ms": 3_000_000},
            {"title": "Scene 2", "start_ms": 3_000_000, "end_ms": 10_000_000},
        ],
    }


def test_without_a_list_there_are_no_breaks(media: Path) -> None:
    """It says so, which takes back the breaks of a list that is gone."""
    (answer,) = anyio.run(EdlEnricher({}).enrich, [sample_asset(str(media / "brazil.mkv"), title="Brazil")])
    assert isinstance(answer, Enrichment)
    assert answer.fields == {"markers": [], "chapters": []}


def test_parts_follow_each_other(media: Path) -> None:
    """The times of a second part count from the first one's end; without its duration nobody knows."""
    (media / "cd1.edl").write_text("1 2 3\n")
    (media / "cd2.edl").write_text("3 4 3\n")
    for duration, expected in ((60_000, [1_000, 63_000]), (None, "no_duration")):
        files = (MediaFile(str(media / "cd1.mkv"), duration_ms=duration), MediaFile(str(media / "cd2.mkv")))
        asset = AssetView(source_uri="sample:1", files=files, type="movie", title="Two parts")
        fields = found(asset)
        assert (fields if isinstance(fields, str) else [one["start_ms"] for one in fields["markers"]]) == expected


@pytest.mark.parametrize("line", ["1 2", "2 1 3", "1 2 9", "nan inf 3", "-1 2 3", "1 x 3"])
def test_a_list_that_makes_no_sense_fails_its_asset(media: Path, line: str) -> None:
    """The line is named."""
    (media / "bad.edl").write_text(f"{line}\n")
    assert found(sample_asset(str(media / "bad.mkv"), title="Bad")) == "bad_edl"


def test_a_parameter_that_makes_no_sense() -> None:
    """It is refused where it is given."""
    with pytest.raises(RequestError):
        EdlEnricher({"suffix": "edl"})
