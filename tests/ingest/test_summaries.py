"""The dry-run of a collection without assets reads summaries of pages, and tells the same as from their drafts."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from retrovue import IngestOptions, PathMapping, Secret, add_source, discover, ingest_source, update_collection
from retrovue.core.pages import AssetDraft, Page, Rejection
from retrovue.core.results import CollectionOutcome, Durations, Failed, Ingested
from retrovue.core.runs import FULL
from retrovue.importers.answers import AnswerChecks
from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.plex.parse import PlexDraftMaker
from retrovue.importers.plex.rows import PlexFormat
from retrovue.ingest.files import places_of, sample_of
from retrovue.ingest.reading import Reader
from retrovue.ingest.summarizing import Summarizer
from retrovue.simulator import ListSection, SimulatedPlex, movie
from retrovue.store.session import Store
from retrovue.store.summaries import Summary, decode_summary
from retrovue.store.titles import Titles
from tests.support.library import draft
from tests.support.plex import TOKEN, collection, plex, series

pytestmark = pytest.mark.anyio
PAGE = 10
ODD: dict[int, dict[str, Any]] = {
    11: {"originallyAvailableAt": "yesterday", "Guid": [{"id": "imdb://tt1"}, {"id": "imdb://tt2"}]},
    15: {"originallyAvailableAt": "never"},
    23: {"file": "/data/movies/Movie 2.mkv", "title": "A copy"},
    31: {"Media": []},
    33: {"title": 7},
    45: {"file": "/elsewhere/Movie 45.mkv"},
    47: {"file": "/data/movies/Disc/BDMV/STREAM/00001.m2ts"},
    56: {"file": "/data/movies/Disc/BDMV/STREAM/00002.m2ts"},
}
"""Fields of films by their numbers: warnings, a duplicate, rejections, and files that aren't mapped."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Summary]:
    """The summaries that are taken."""
    summaries: list[Summary] = []
    take = Reader._take_summary

    async def spy(self: Reader, page: Page, summary: Summary) -> None:
        summaries.append(summary)
        await take(self, page, summary)

    monkeypatch.setattr(Reader, "_take_summary", spy)
    return summaries


async def _dry(store: Store) -> list[CollectionOutcome]:
    async with ingest_source(store, "Plex", IngestOptions(dry_run=True)) as run:
        pass
    return [replace(outcome, durations=Durations()) for outcome in run.summary.outcomes]


async def _add(store: Store, url: str, local: Path, *, check_files: bool) -> None:
    await add_source(store, "plex", "Plex", {"base_url": url}, {"token": Secret(TOKEN)})
    for known in (await discover(store, "Plex")).collections:
        mapping = [PathMapping(location, str(local)) for location in known.locations]
        await update_collection(store, str(known.id), map=mapping, enabled=True, check_files=check_files)


def _told(outcome: CollectionOutcome) -> Sequence[object]:
    assert isinstance(outcome, Ingested)
    lists = outcome.listed
    return (
        outcome.counts,
        [named.title for named in lists.created],
        [(named.title, named.detail) for named in lists.duplicates],
        lists.rejected,
        lists.warnings,
    )


async def test_it_tells_what_an_ingest_does(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[Summary]
) -> None:
    films = [movie(number, **ODD.get(number, {})) for number in range(1, 61)]
    shows = ListSection("2", "TV", "show", series(1000, "A Show", year=2001), locations=["/data/tv"])
    sections = [ListSection("1", "Movies", rows=films, locations=["/data/movies"]), shows]
    async with SimulatedPlex(sections, token=TOKEN, max_page_size=PAGE).serve() as url:
        await _add(store, url, tmp_path, check_files=False)
        told = await _dry(store)
        # Three pages have drafts: one row is malformed, and two pages have a file of a disc.
        assert sorted(summary.drafts for summary in taken) == [6, 8, 9, 9, 10]
        monkeypatch.setattr(Reader, "_summarizer", lambda _: None)
        number = len(taken)
        assert await _dry(store) == told
        assert len(taken) == number
        async with ingest_source(store, "Plex") as run:
            pass
    assert [_told(outcome) for outcome in told] == [_told(outcome) for outcome in run.summary.outcomes]
    assert [run.summary.total(count) for count in ("duplicates", "rejected", "warnings")] == [1, 3, 3]


async def test_missing_files_are_noticed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[Summary]
) -> None:
    section = ListSection("1", "Movies", rows=[movie(number) for number in range(1, 100)], locations=["/data/movies"])
    async with SimulatedPlex([section], token=TOKEN, max_page_size=PAGE).serve() as url:
        (tmp_path / "another.mkv").touch()
        await _add(store, url, tmp_path, check_files=True)
        (failed,) = await _dry(store)
        assert isinstance(failed, Failed)
        assert failed.code == "files_not_found"
        assert taken
        monkeypatch.setattr(Reader, "_summarizer", lambda _: None)
        assert await _dry(store) == [failed]


async def test_an_importer_has_no_outlines_then() -> None:
    """Their pages would be read later, by who expects drafts."""
    section = ListSection("1", "Movies", rows=[movie(number) for number in range(1, 30)])
    known = replace(collection(), assets_count=1)
    async with (
        plex(section, config={"page_size": PAGE}) as (_, importer),
        importer.enumerate_summaries(known, FULL, Summarizer(known, local=True)) as pages,
    ):
        listed = [page async for page in pages]
    assert all(isinstance(page, Page) and page.summary and not page.drafts for page in listed)
    assert sum(page.source_items for page in listed) == 29


class TestSummarizer:
    def summary(self, *chunks: list[AssetDraft]) -> tuple[Summary, list[Rejection]]:
        rejected = [Rejection("no_media", "It has none.")]
        maker = pickle.loads(pickle.dumps(Summarizer(collection(), local=True)))()
        assert all(maker.take(drafts) for drafts in chunks)
        return decode_summary(maker.encoded(rejected)), rejected

    def test_what_it_tells(self) -> None:
        drafts = [draft("a"), draft("b", "1.mkv", "2.mkv"), replace(draft("c"), warnings=("bad_date", "no_title"))]
        summary, rejected = self.summary(drafts[:2], drafts[2:])
        titles = Titles()
        titles.keep(0, summary.titles)
        assert [titles.of(number) for number in range(3)] == [item.title for item in drafts]
        assert summary.files == []
        assert (summary.drafts, len(summary.keys)) == (3, 3 * 16)
        assert (summary.warned, summary.warnings, len(rejected)) == (1, {"bad_date": 1, "no_title": 1}, 1)

    def test_a_title_with_the_character_that_separates_titles(self) -> None:
        summary, _ = self.summary([draft("a"), replace(draft("b"), title="B\0b"), draft("c")])
        titles = Titles()
        titles.keep(0, summary.titles)
        assert [titles.of(number) for number in range(3)] == ["A", "Bb", "C"]

    @pytest.mark.parametrize("odd", [draft("disc", "a.iso"), replace(draft("none"), parts=())])
    def test_a_draft_that_is_rejected(self, odd: AssetDraft) -> None:
        summary, rejected = self.summary([draft("a"), replace(odd, warnings=("no_title",))], [draft("b")])
        assert (summary.drafts, summary.warned) == (2, 1)
        assert [(rejection.code, rejection.title) for rejection in rejected[1:]] == [
            ("disc_image" if odd.parts else "bad_draft", odd.title)
        ]

    def test_a_file_of_a_disc(self) -> None:
        assert not Summarizer(collection(), local=True)().take([draft("a", "Disc/BDMV/STREAM/00001.m2ts")])

    def test_a_page_without_drafts(self) -> None:
        assert self.summary()[0].drafts == 0

    def test_the_files_that_are_looked_for(self) -> None:
        checked = replace(collection(), check_files=True)
        maker = pickle.loads(pickle.dumps(Summarizer(checked, local=False)))()
        drafts = [draft(f"film-{number}") for number in range(100)]
        assert maker.take(drafts[:50])
        assert maker.take(drafts[50:])
        paths = [item.parts[0].source_path for item in drafts]
        assert decode_summary(maker.encoded([])).files == sample_of(places_of(checked), paths)

    def test_a_page_with_very_many_drafts_has_no_summary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some of its items may have to be rejected."""
        monkeypatch.setattr("retrovue.importers.http.drafts.MOST_PAGE_DRAFTS", 2)
        monkeypatch.setattr("retrovue.importers.http.listing._ROWS_AT_ONCE", 1)
        decoder = PageDecoder(PlexFormat(), PlexDraftMaker("machine"), Summarizer(collection(), local=True))
        for films in (1, 2):
            rows = [movie(number) for number in range(films)]
            body = orjson.dumps({"MediaContainer": {"size": films, "Metadata": rows}})
            assert (decoder.decode_usual(body, 0) is None) == (films == 2)


def test_another_packages_importer_makes_none() -> None:
    checks = AnswerChecks("odd", ours=False, drafts_are_checked=True, secrets=())
    assert checks.page(Page([draft("a")], [], 1, summary=b"\x90")).summary is None
