"""The list of assets: its order, its pages and its filters."""

import base64
import datetime as dt
import json
import runpy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from retrovue import Asset, AssetFilters, AssetOrder, iter_assets, list_assets
from retrovue.errors import NotFound, RequestError
from retrovue.store import listing as listing_module
from retrovue.store.addresses import database_url as parsed
from retrovue.store.listing import Position, beginning, read_page, select
from retrovue.store.migrations import scripts_directory
from retrovue.store.session import Store
from retrovue.store.statements import Session
from tests.support.databases import Databases
from tests.support.library import Library, draft, execute, page

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]


async def _filled(url: str) -> Library:
    """Two collections; titles, shows and numbers are set by hand, some of them alike."""
    async with Store(parsed(url), connections=4) as store:
        films, shows = await Library.make(store, "Movies"), await Library.make(store, "Shows")
        await films.ingest_one(page(*(draft(f"film {number}") for number in range(12))))
        await shows.ingest_one(page(*(draft(f"episode {number}") for number in range(12))), name="Shows")
        await execute(
            store,
            "UPDATE asset SET title = 'B' || length(title) % 3, year = 1990 + length(title) WHERE title ILIKE 'film%'",
            "UPDATE asset SET type = 'episode',"
            " show_title = CASE WHEN title ~ '[0-4]$' THEN 'B1' ELSE repeat('C', 300) END,"
            " season_number = nullif(length(title) % 3, 2), episode_number = nullif(ascii(right(title, 1)) % 4, 1)"
            " WHERE title ILIKE 'episode%'",
        )
    return films


@pytest.fixture
def prepared(databases: Databases, scripted: None) -> Iterator[tuple[str, Library]]:
    url, library = databases.prepared(_filled)
    yield url, library
    databases.drop(url)


@pytest.fixture
def database_url(prepared: tuple[str, Library]) -> str:
    return prepared[0]


@pytest.fixture
def library(prepared: tuple[str, Library], store: Store) -> Library:
    return replace(prepared[1], store=store)


async def pages(library: Library, limit: int, **filters: Any) -> list[Asset]:
    found: list[Asset] = []
    after = None
    while True:
        listing = await list_assets(library.store, limit=limit, after=after, **filters)
        assert len(listing.assets) <= limit
        found += listing.assets
        after = listing.next_cursor
        if after is None:
            return found


async def rows_read(session: Session) -> int:
    """Return how many assets the transaction has read."""
    statement = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'asset'"
    return int((await session.execute(text(statement))).scalar_one())


def ids(assets: Sequence[Asset]) -> list[str]:
    return [str(asset.uuid) for asset in assets]


ORDERS = pytest.mark.parametrize("order", ["added", "name", "aired"])


class TestPages:
    @pytest.mark.parametrize(
        ("order", "columns"),
        [
            ("added", "uuid DESC"),
            ("name", "coalesce(show_title, title), season_number, episode_number, title, uuid"),
            ("aired", "originally_aired, coalesce(show_title, title), season_number, episode_number, title, uuid"),
        ],
    )
    async def test_the_order(self, library: Library, order: AssetOrder, columns: str) -> None:
        ordered = await library.rows(f"SELECT uuid::text FROM asset ORDER BY {columns}")
        listing = await list_assets(library.store, order=order)
        assert ids(listing.assets) == [uuid for (uuid,) in ordered]
        assert (listing.total, listing.next_cursor) == (24, None)

    @pytest.mark.parametrize(
        ("filters", "order"),
        [({}, "added"), ({"collection": "Shows"}, "added"), ({"show": "b"}, "name"), ({"season": 1}, "name")],
        ids=str,
    )
    async def test_the_order_without_one_is_that_of_the_filters(
        self, library: Library, filters: AssetFilters, order: AssetOrder
    ) -> None:
        listing = await list_assets(library.store, **filters)
        assert listing == await list_assets(library.store, order=order, **filters)
        assert ids([asset async for asset in iter_assets(library.store, **filters)]) == ids(listing.assets)

    @ORDERS
    @pytest.mark.parametrize("limit", [1, 5, 23, 24, 25])
    @pytest.mark.parametrize("few", [0, 24], ids=["forced", "planned"])
    async def test_they_concatenate_to_the_whole(
        self, library: Library, limit: int, order: AssetOrder, few: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing_module, "_FEW", few)
        monkeypatch.setattr(listing_module, "_PAGE", limit)
        selections: list[AssetFilters] = [
            {},
            {"collection": "Shows"},
            {"source": str(library.source.id), "type": "movie"},
        ]
        for filters in selections:
            whole = ids((await list_assets(library.store, order=order, **filters)).assets)
            assert len(whole) in {12, 24}
            assert ids(await pages(library, limit, order=order, **filters)) == whole
            assert ids([asset async for asset in iter_assets(library.store, order=order, **filters)]) == whole

    @ORDERS
    async def test_also_while_others_are_inserted_and_deleted(self, library: Library, order: AssetOrder) -> None:
        before = ids((await list_assets(library.store, order=order)).assets)
        found: list[str] = []
        after, number = None, 100
        while True:
            listing = await list_assets(library.store, order=order, limit=4, after=after)
            assert listing.total == len(before)
            found += ids(listing.assets)
            after = listing.next_cursor
            if after is None:
                break
            # Before, at and after the position; the asset at the position itself goes.
            await library.ingest_one(
                page(*(draft(f"{name} {number}") for name in ("A", "B1", "Z"))), retry_failed=False
            )
            await execute(library.store, f"UPDATE asset SET deleted_at = now() WHERE uuid = '{found[-1]}'")
            number += 1
        assert [uuid for uuid in found if uuid in before] == before
        assert len(found) == len(set(found))

    @ORDERS
    async def test_what_is_no_longer_selected_is_left_out_of_the_pages_to_come(
        self, library: Library, order: AssetOrder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing_module, "_PAGE", 4)
        whole = ids((await list_assets(library.store, order=order, type="movie")).assets)
        found: list[str] = []
        async for asset in iter_assets(library.store, order=order, type="movie"):
            if not found:
                await execute(library.store, f"UPDATE asset SET type = 'clip' WHERE uuid = '{whole[5]}'")
            found.append(str(asset.uuid))
        assert found == [*whole[:5], *whole[6:]]

    async def test_a_page_reads_no_more_than_its_rows(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also in a table without statistics, of which PostgreSQL expects few rows, and beside other collections."""
        monkeypatch.setattr(listing_module, "_FEW", 0)
        async with library.store.reading() as session:
            selection = await select(session, {"collection": "Movies"})
            following: Position | None = await beginning(session, selection, None)
            read = [await rows_read(session)]
            while following is not None:
                _, following = await read_page(session, selection, following, 5)
                read.append(await rows_read(session))
        # The assets of the other collection are newer: the first page begins behind them.
        assert [after - before for before, after in pairwise(read)] == [6, 6, 2]

    async def test_all_assets_are_listed_without_counting_them(self, library: Library) -> None:
        first = await list_assets(library.store, limit=5, counted=False)
        assert (first.total, len(first.assets)) == (None, 5)
        found, cursor = [*first.assets], first.next_cursor
        while cursor is not None:
            page = await list_assets(library.store, limit=5, after=cursor)
            assert page.total is None
            found, cursor = [*found, *page.assets], page.next_cursor
        assert found == [*(await list_assets(library.store, limit=100)).assets]
        assert (await list_assets(library.store, counted=False, title="film")).total is not None

    async def test_of_size_0_there_is_only_the_number(self, library: Library) -> None:
        listing = await list_assets(library.store, limit=0)
        assert (listing.total, listing.assets, listing.next_cursor) == (24, (), None)

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "é",
            "W10",
            *(
                base64.b64encode(text).decode()
                for text in (
                    b"[1]",
                    b'["added"]',
                    b'["added",-1]',
                    b'["added",1,"x"]',
                    b'["size",1]',
                    b'["name",1,["a",-1,0,"b","00000000-0000-0000-0000-000000000000"]]',
                )
            ),
        ],
    )
    async def test_a_cursor_that_no_list_gave_is_refused(self, library: Library, cursor: str) -> None:
        with pytest.raises(RequestError) as refused:
            await list_assets(library.store, after=cursor)
        assert refused.value.code == "bad_cursor"

    async def test_a_cursor_with_text_that_can_not_be_stored_is_refused(self, library: Library) -> None:
        uuid = "00000000-0000-0000-0000-000000000000"
        cursor = base64.urlsafe_b64encode(json.dumps(["name", 1, ["\0", 0, 0, "b", uuid]]).encode()).decode()
        with pytest.raises(RequestError) as refused:
            await list_assets(library.store, after=cursor)
        assert refused.value.code == "bad_cursor"

    async def test_a_cursor_holds_its_order(self, library: Library) -> None:
        first = await list_assets(library.store, order="name", limit=20)
        rest = await list_assets(library.store, order="name", limit=20, after=first.next_cursor)
        assert await list_assets(library.store, limit=20, after=first.next_cursor) == rest
        with pytest.raises(RequestError) as refused:
            await list_assets(library.store, order="added", after=first.next_cursor)
        assert refused.value.code == "bad_cursor"

    async def test_ids_of_older_servers_rise_with_time_as_well(self, library: Library) -> None:
        script = runpy.run_path(str(scripts_directory() / "versions" / "0006_newest_first.py"))
        made = "SELECT id::text, uuid_extract_version(id), clock_timestamp() - uuid_extract_timestamp(id) FROM"
        made += f" (SELECT {script['TIME_ORDERED_UUID']} AS id, pg_sleep(0.002)) AS made"
        ids_ = [(await library.rows(made))[0] for _ in range(20)]
        assert [uuid for uuid, _, _ in ids_] == sorted(uuid for uuid, _, _ in ids_)
        assert {version for _, version, _ in ids_} == {7}
        assert all(abs(age) < dt.timedelta(minutes=1) for _, _, age in ids_)


class TestShowsAndAlbums:
    @pytest.fixture
    async def namesakes(self, library: Library) -> Library:
        """Two shows and two albums whose titles are alike, in a collection of their own."""
        other = await Library.make(library.store, "Alike")
        shows = [
            draft(
                f"{year} {number}", type="episode", title="Pilot", show_title="Fleet", show_year=year,
                show_key=str(year), season_number=1, episode_number=number,
                originally_aired=dt.date(year + 10 * number, 1, 1),
            )
            for number in (1, 2) for year in (2003, 1978)
        ]  # fmt: skip
        tracks = [
            draft(
                f"{album} {disc} {number}", type="track", title=title, show_title="Various", artist=title, album="Hits",
                year=album, disc_number=disc, track_number=number,
            )
            for disc, number, title in ((2, 7, "Alphas"), (1, 10, "Betas"), (1, 9, "Gammas")) for album in (2002, 2001)
        ]  # fmt: skip
        await other.ingest_one(page(*shows, *tracks), name="Alike")
        return library

    @pytest.mark.fault(207, 208)
    async def test_they_do_not_mix_and_follow_their_numbers(self, namesakes: Library) -> None:
        episodes = await pages(namesakes, 1, collection="Alike", type="episode", order="name")
        assert [(asset.show_year, asset.episode_number) for asset in episodes] == [
            (1978, 1), (1978, 2), (2003, 1), (2003, 2),
        ]  # fmt: skip
        tracks = await pages(namesakes, 1, collection="Alike", album="hits")
        expected = [(album, *place) for album in (2001, 2002) for place in ((1, 9), (1, 10), (2, 7))]
        assert [(asset.year, asset.disc_number, asset.track_number) for asset in tracks] == expected

    @pytest.mark.fault(208)
    async def test_the_date_may_come_first(self, namesakes: Library) -> None:
        aired = await pages(namesakes, 1, collection="Alike", type="episode", order="aired")
        assert [asset.originally_aired.year for asset in aired if asset.originally_aired] == [1988, 1998, 2013, 2023]
        everything = [asset async for asset in iter_assets(namesakes.store, order="aired")]
        assert everything[:4] == aired
        assert len(everything) == 34
        with pytest.raises(RequestError) as refused:
            await list_assets(namesakes.store, order="random")  # type: ignore[arg-type]
        assert refused.value.code == "bad_order"

    @pytest.mark.parametrize(
        ("filters", "number"),
        [
            ({"show": "fleet"}, 4),
            ({"show": "Fleet (2003)"}, 2),
            ({"show": "2003"}, 2),
            ({"show": "fleet (key 1978)"}, 2),
            ({"artist": "alph"}, 2),
            ({"artist": "various"}, 6),
            ({"album": "hits"}, 6),
        ],
    )
    @pytest.mark.fault(207, 208)
    async def test_what_tells_them_apart_selects_them(
        self, namesakes: Library, filters: AssetFilters, number: int
    ) -> None:
        assert (await list_assets(namesakes.store, **filters)).total == number


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "condition"),
        [
            ({"collection": "Shows"}, "type = 'episode'"),
            ({"type": "movie"}, "type = 'movie'"),
            ({"title": "b1"}, "title = 'B1'"),
            ({"show": "cCc"}, "show_title LIKE 'C%'"),
            ({"season": 0}, "season_number = 0"),
            ({"year": 1996}, "year = 1996"),
            ({"state": "ready"}, "false"),
            ({"state": None, "year": None}, "true"),
            ({"show": "%"}, "false"),
            ({"show": "b1", "season": 1}, "show_title = 'B1' AND season_number = 1"),
        ],
        ids=str,
    )
    async def test_each_is_a_condition(self, library: Library, filters: AssetFilters, condition: str) -> None:
        expected = {uuid for (uuid,) in await library.rows(f"SELECT uuid::text FROM asset WHERE {condition}")}
        listing = await list_assets(library.store, **filters)
        assert set(ids(listing.assets)) == expected
        assert listing.total == len(expected)
        assert ids(await pages(library, 3, **filters)) == ids(listing.assets)

    async def test_paths_of_files_and_directories(self, library: Library) -> None:
        ((path,),) = await library.rows("SELECT canonical_uri FROM asset WHERE source_uri LIKE '%film 3'")
        directory, name = path.rsplit("/", 1)
        for wanted, count in ((path, 1), (directory, 24), (f"{directory}/", 24), (f"{directory}/{name[:-1]}", 0)):
            assert (await list_assets(library.store, path=wanted)).total == count, wanted

    async def test_times(self, library: Library) -> None:
        await execute(
            library.store,
            "UPDATE asset SET created_at = '2020-01-01Z', updated_at = '2020-01-02Z' WHERE type = 'movie'",
        )
        second = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
        assert (await list_assets(library.store, changed_since=second)).total == 24
        assert (await list_assets(library.store, changed_since=second + dt.timedelta(seconds=1))).total == 12
        assert (await list_assets(library.store, created_since=second)).total == 12

    @pytest.mark.parametrize(
        "filters",
        [{"year": -1}, {"season": 2**31}, {"title": "a\0"}, {"created_since": dt.datetime.fromisoformat("2020-01-01")}],
    )
    async def test_values_that_the_database_can_not_take_are_refused(
        self, library: Library, filters: AssetFilters
    ) -> None:
        with pytest.raises(RequestError) as refused:
            await list_assets(library.store, **filters)
        assert refused.value.code == "bad_filter"

    async def test_references_are_looked_up(self, library: Library) -> None:
        with pytest.raises(NotFound):
            await list_assets(library.store, source=str(library.source.id), collection="Shows")
        with pytest.raises(NotFound):
            _ = [asset async for asset in iter_assets(library.store, source="None")]
