"""The fuzzer finds nothing in the importer, and finds defects that are planted: a small part of ``make fuzz``."""

from pathlib import Path

import pytest

from retrovue.importers.plex.rows import PlexListing, Row, decode_listing
from retrovue.store.session import Store
from tests.faults.fuzz import Decode, Parser, Report, fuzz, originals, parsed, served
from tests.support.faults.mutations import Mutator

SEED = 20


@pytest.mark.fault(24, 25, 26, 27, 34, 35)
@pytest.mark.anyio
@pytest.mark.usefixtures("scripted")
class TestNothingIsFound:
    @pytest.mark.long
    async def test_in_what_is_decoded_parsed_and_stored(self, store: Store) -> None:
        report = await fuzz(store, SEED, 3000)
        assert report.findings == []
        assert report.pages == 3000
        # The pages reach all there is: whole ones, moved ones, and both ways of being none.
        assert set(report.outcomes) >= {"whole", "moved", "bad_json", "no_container"}
        assert report.outcomes["whole"] > 1000
        assert report.drafts >= report.stored > 2000
        assert report.rejected > 500

    async def test_in_what_is_served(self, store: Store, media: Path) -> None:
        report = await served(store, SEED, 20, media)
        assert report.findings == []
        assert report.outcomes["ingested"] > 20
        assert {"bad_json", "incomplete_enumeration"} <= set(report.outcomes)


def _takes_bools_for_numbers(body: bytes) -> PlexListing:
    listing = decode_listing(body)
    for row in (listed.row for listed in listing.rows):
        if isinstance(row, Row) and row.versions:
            row.versions[0].width = True  # as a decoder without types takes it over
    return listing


def _lets_nul_through(body: bytes) -> PlexListing:
    listing = decode_listing(body)
    for listed in listing.rows:
        listed.repaired = False
    return listing


def _breaks_on_an_odd_year(body: bytes) -> PlexListing:
    listing = decode_listing(body)
    for row in (listed.row for listed in listing.rows):
        if isinstance(row, Row) and row.year is not None and row.year > 9999:
            raise OverflowError(row.year)
    return listing


def _loses_a_row(body: bytes) -> PlexListing:
    listing = decode_listing(body)
    if len(listing.rows) == 3:
        del listing.rows[0]
    return listing


class TestTeeth:
    @pytest.mark.parametrize(
        ("defect", "problem"),
        [
            (_takes_bools_for_numbers, "got `bool`"),
            (_lets_nul_through, "NUL"),
            (_breaks_on_an_odd_year, "OverflowError"),
            (_loses_a_row, "AssertionError"),
        ],
    )
    def test_a_planted_defect_is_found(self, defect: Decode, problem: str) -> None:
        report = Report(SEED)
        parsed(Mutator(SEED, originals()), range(2000), report, Parser(defect))
        assert report.findings
        assert any(problem in finding.problem for finding in report.findings), report.findings[:3]

    @pytest.mark.anyio
    @pytest.mark.usefixtures("scripted")
    async def test_a_draft_that_postgresql_refuses_is_found(self, store: Store) -> None:
        async with store.data.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE asset ADD CHECK (title LIKE '% %')")
        report = await fuzz(store, SEED, 60)
        assert {finding.problem[:26] for finding in report.findings} == {"not stored: database_error"}


class TestSeeds:
    def test_the_same_seed_makes_the_same_pages(self) -> None:
        one, other, another = (Mutator(seed, originals()) for seed in (1, 1, 2))
        assert [one.page(number) for number in range(50)] == [other.page(number) for number in reversed(range(50))][
            ::-1
        ]
        assert one.page(7) != another.page(7)
