"""Decisions about assets in bulk, and look-up by the beginning of an id."""

from uuid import UUID

import pytest

from retrovue import (
    approve_assets,
    approve_matching,
    get_asset,
    retire_assets,
    retire_matching,
    unretire_assets,
    unretire_matching,
)
from retrovue.errors import Ambiguous, NotFound, RequestError
from retrovue.operations import catalogue
from retrovue.store.changes import list_changes
from retrovue.store.references import id_range
from retrovue.store.session import Store
from tests.support.library import Library, draft, page

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture
async def films(library: Library) -> dict[str, UUID]:
    """Five films of two years."""
    await library.ingest_one(page(*[draft(name, year=1979 + (name > "c")) for name in "abcde"]))
    return dict(await library.rows("SELECT title, uuid FROM asset"))


async def states(library: Library) -> dict[str, str]:
    return dict(await library.rows("SELECT title, state FROM asset"))


class TestMatching:
    async def test_those_that_fit_and_are_new_are_approved(self, library: Library, films: dict[str, UUID]) -> None:
        await retire_assets(library.store, films["A"])
        decided = await approve_matching(library.store, year=1979)
        assert (decided.total, decided.changed, decided.states) == (3, 2, {"new": 2, "retired": 1})
        assert {change.title: (change.before, change.after) for change in decided.changes} == {
            "B": ("new", "ready"),
            "C": ("new", "ready"),
        }
        expected = {"A": "retired", "B": "ready", "C": "ready", "D": "new", "E": "new"}
        assert await states(library) == expected
        assert (await approve_matching(library.store, year=1979)).changed == 0
        rows = await library.rows("SELECT title FROM asset WHERE approved_for_broadcast ORDER BY title")
        assert [title for (title,) in rows] == ["B", "C"]

    async def test_without_filters_it_is_the_whole_catalogue(self, library: Library, films: dict[str, UUID]) -> None:
        assert (await approve_matching(library.store)).changed == len(films)
        assert (await retire_matching(library.store, collection="Movies")).changed == len(films)
        assert set((await states(library)).values()) == {"retired"}

    async def test_a_dry_run_returns_the_same_and_writes_nothing(
        self, library: Library, films: dict[str, UUID]
    ) -> None:
        await retire_assets(library.store, films["E"])
        for decide in (approve_matching, retire_matching, unretire_matching):
            before = await library.rows("SELECT uuid, xmin::text FROM asset ORDER BY uuid")
            preview = await decide(library.store, dry_run=True)
            assert await library.rows("SELECT uuid, xmin::text FROM asset ORDER BY uuid") == before
            assert await decide(library.store, expected=preview.changed) == preview

    async def test_another_number_than_was_confirmed_changes_nothing(
        self, library: Library, films: dict[str, UUID]
    ) -> None:
        with pytest.raises(RequestError) as refused:
            await approve_matching(library.store, expected=len(films) - 1)
        assert refused.value.code == "conflict"
        assert set((await states(library)).values()) == {"new"}

    async def test_enriching_ones_are_left_unless_it_is_asked_for(
        self, library: Library, films: dict[str, UUID]
    ) -> None:
        await library.rows("UPDATE asset SET state = 'enriching' WHERE title = 'A' RETURNING 1")
        assert (await approve_matching(library.store)).changed == len(films) - 1
        assert (await approve_matching(library.store, despite_enrichment=True)).changed == 1

    async def test_deleted_ones_are_left(self, library: Library, films: dict[str, UUID]) -> None:
        await library.rows("UPDATE asset SET deleted_at = now() WHERE title = 'A' RETURNING 1")
        assert (await approve_matching(library.store)).changed == len(films) - 1

    async def test_only_the_first_changes_are_listed(self, library: Library) -> None:
        await library.ingest_one(page(*[draft(f"f{number}") for number in range(150)]))
        decided = await approve_matching(library.store)
        assert (decided.changed, len(decided.changes)) == (150, 100)


class TestUnretire:
    async def test_what_was_approved_is_approved_again(self, library: Library, films: dict[str, UUID]) -> None:
        await approve_assets(library.store, films["A"], films["B"])
        await retire_matching(library.store)
        undone = await unretire_matching(library.store)
        assert undone.changed == len(films)
        assert await states(library) == {"A": "ready", "B": "ready", "C": "new", "D": "new", "E": "new"}

    async def test_not_if_its_file_was_replaced_since(self, library: Library, films: dict[str, UUID]) -> None:
        await approve_assets(library.store, films["A"])
        await retire_assets(library.store, films["A"])
        await library.rows(
            "INSERT INTO asset_change (position, asset_uuid, collection_uuid, title, what)"
            " SELECT nextval('asset_change_position'), uuid, collection_uuid, title, 'replaced' FROM asset"
            " WHERE title = 'A' RETURNING 1"
        )
        await unretire_assets(library.store, films["A"])
        assert (await states(library))["A"] == "new"

    async def test_what_is_owed_an_enrichment_is_enriching(self, library: Library, films: dict[str, UUID]) -> None:
        await retire_assets(library.store, films["A"])
        await library.rows(
            "WITH made AS (INSERT INTO enricher (id, external_id, name, type, config)"
            " VALUES (gen_random_uuid(), 'probe-00000000', 'Probe', 'probe', '{}') RETURNING id)"
            " INSERT INTO collection_enricher (collection_id, enricher_id, priority)"
            " SELECT collection.id, made.id, 1 FROM collection, made RETURNING 1"
        )
        await unretire_assets(library.store, films["A"])
        assert (await states(library))["A"] == "enriching"

    async def test_what_is_not_retired_stays(self, library: Library, films: dict[str, UUID]) -> None:
        await approve_assets(library.store, films["A"])
        (change,) = await unretire_assets(library.store, films["A"])
        assert (change.before, change.after) == ("ready", "ready")


class TestWhoDecided:
    async def test_each_decision_is_in_the_feed_and_shown_of_the_asset(
        self, library: Library, films: dict[str, UUID]
    ) -> None:
        await approve_matching(library.store, title="A")
        await retire_assets(library.store, films["A"], films["B"])
        await unretire_assets(library.store, films["A"])
        async with library.store.reading() as session:
            feed = await list_changes(session)
        told = [(change.title, change.what) for change in feed]
        assert [told[0], *sorted(told[1:3]), told[3]] == [
            ("A", "approved"),
            ("A", "retired"),
            ("B", "retired"),
            ("A", "unretired"),
        ]
        decisions = (await get_asset(library.store, films["A"])).decisions
        assert [(one.what, one.before, one.after) for one in decisions] == [
            ("approved", "new", "ready"),
            ("retired", "ready", "retired"),
            ("unretired", "retired", "ready"),
        ]
        assert all(one.by is not None and "@" in one.by for one in decisions)
        assert [one.at for one in decisions] == sorted(one.at for one in decisions)

    async def test_what_was_not_changed_has_no_row(self, library: Library, films: dict[str, UUID]) -> None:
        for _ in range(2):
            await approve_assets(library.store, films["A"])
        with pytest.raises(NotFound):
            await approve_assets(library.store, films["B"], UUID(int=1))
        assert len(await library.rows("SELECT 1 FROM asset_change")) == 1


class TestBeginnings:
    @pytest.fixture
    async def ids(self, library: Library, films: dict[str, UUID]) -> dict[str, UUID]:
        """The films with ids of which two begin alike."""
        wanted = {
            "A": "0199c0de-0000-7000-8000-00000000000a",
            "B": "0199c0de-0000-7000-8000-0000000000b0",
            "C": "abcdef01-0000-4000-8000-000000000000",
        }
        for title, uuid in wanted.items():
            await library.rows(f"UPDATE asset SET uuid = '{uuid}' WHERE title = '{title}' RETURNING 1")
        await library.rows("DELETE FROM asset WHERE title > 'C' RETURNING 1")
        assert films
        return {title: UUID(uuid) for title, uuid in wanted.items()}

    @pytest.mark.parametrize("beginning", ["abcd", "ABCDEF01", "abcdef01-0000-4", "abcdef0100004", "abcdef01-"])
    async def test_a_unique_one_is_enough(self, library: Library, ids: dict[str, UUID], beginning: str) -> None:
        assert await catalogue.find_asset(library.store, beginning) == ids["C"]

    async def test_one_that_several_have_is_refused_with_them(self, library: Library, ids: dict[str, UUID]) -> None:
        with pytest.raises(Ambiguous) as refused:
            await catalogue.find_asset(library.store, "0199c0de")
        assert refused.value.context["candidates"] == [str(ids["A"]), str(ids["B"])]
        assert f"{ids['A']} (A)" in refused.value.message

    @pytest.mark.parametrize("beginning", ["abc", "abcdef02", "abcdef-01", "abcd*", "", "C", "abcdef01--0000"])
    async def test_anything_else_is_not_found(self, library: Library, ids: dict[str, UUID], beginning: str) -> None:
        assert ids
        with pytest.raises(NotFound) as refused:
            await catalogue.find_asset(library.store, beginning)
        assert refused.value.code == "asset_not_found"

    async def test_ids_are_shortened_to_what_is_unique(self, library: Library, ids: dict[str, UUID]) -> None:
        short = await catalogue.short_ids(library.store, list(ids.values()))
        assert {title: short[uuid] for title, uuid in ids.items()} == {
            "A": "0199c0de-0000-7000-8000-00000000000",
            "B": "0199c0de-0000-7000-8000-0000000000b",
            "C": "abcdef01",
        }
        assert await catalogue.find_asset(library.store, short[ids["B"]]) == ids["B"]

    async def test_collections_sources_and_runs(self, library: Library, films: dict[str, UUID]) -> None:
        assert films
        (collection,) = (await library.collections()).values()
        source = library.source
        ((run,),) = await library.rows("SELECT run_id FROM ingest_start")
        assert (await catalogue.find_target(library.store, str(collection.id)[:8]))[1].id == collection.id
        for beginning in (str(source.id)[:8], source.external_id[:-2]):
            assert await catalogue.find_source(library.store, beginning) == source
        assert await catalogue.find_run(library.store, str(run)[:8]) == run
        for unknown in (source.type, source.external_id[:-8], "zzzz"):
            with pytest.raises(NotFound):
                await catalogue.find_source(library.store, unknown)

    async def test_a_name_goes_before_the_beginning_of_an_id(self, library: Library) -> None:
        (collection,) = (await library.collections()).values()
        beginning = str(collection.id)[:8]
        await library.rows(
            "INSERT INTO collection (id, source_id, external_id, name, kind)"
            f" SELECT gen_random_uuid(), source_id, 'other', '{beginning}', kind FROM collection RETURNING 1"
        )
        assert (await catalogue.find_target(library.store, beginning))[1].external_id == "other"


@pytest.mark.parametrize(
    ("reference", "low", "high"),
    [
        ("abcd", "abcd0000-0000-0000-0000-000000000000", "abcdffff-ffff-ffff-ffff-ffffffffffff"),
        ("abcdef01-2", "abcdef01-2000-0000-0000-000000000000", "abcdef01-2fff-ffff-ffff-ffffffffffff"),
    ],
)
def test_the_range_of_a_beginning(reference: str, low: str, high: str) -> None:
    assert id_range(reference) == (UUID(low), UUID(high))
