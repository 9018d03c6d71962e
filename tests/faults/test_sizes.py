"""The campaign by size says what isn't linear, and nothing of what is."""

from pathlib import Path

import pytest

from retrovue.store.session import Store
from tests.faults.sizes import Sample, campaign, places, problem, put, targets, written


@pytest.mark.parametrize(
    ("seconds", "found"),
    [((0.2, 0.3, 1.2), None), ((0.2, 0.3, 0.4), None), ((0.2, 0.3, 9.0), "9.0 s for 9765 KiB")],
    ids=["linear", "not noticeable", "quadratic"],
)
def test_growth_of_processor_time(seconds: tuple[float, float, float], found: str | None) -> None:
    bodies = (100_000, 1_000_000, 10_000_000)
    samples = [Sample(body // 100, body, spent, 0) for body, spent in zip(bodies, seconds, strict=True)]
    said = problem(samples)
    assert (said is None) if found is None else (said is not None and found in said)


def test_memory_for_each_byte() -> None:
    assert problem([Sample(1000, 10 << 20, 0.2, 200 << 20)]) is None
    assert "4096 MiB held" in str(problem([Sample(1000, 60 << 20, 0.2, 4096 << 20)]))


def test_what_is_written() -> None:
    document = {"a": [{"b": "text"}], "c": 1}
    assert [place for place, _ in places(document)] == [(), ("a",), ("a", 0), ("a", 0, "b"), ("c",)]
    assert written(put(document, ("a", 0, "b"), "\ud800" * 2)) == b'{"a":[{"b":"\\ud800\\ud800"}],"c":1}'
    assert written(put(document, ("a", 0, "b"), "\\")) == b'{"a":[{"b":"\\\\"}],"c":1}'
    assert written([[[]]]) == b"[[[]]]"


@pytest.mark.anyio
async def test_a_part_of_the_campaign_is_carried_out(store: Store, tmp_path: Path) -> None:
    async with targets(store, tmp_path) as (plex, _):
        part = "1/all MediaContainer.Metadata list"
        report = await campaign(store, plex, sizes=(1_000, 10_000), chosen=lambda what: part in what)
    assert report.tried == 1
    assert report.slowest > 0
