"""Rating keys in little memory, and guids as ids of other catalogues."""

import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrovue.importers.plex.parse import provider_ids
from retrovue.importers.plex.rows import Guid, RatingKeySet, rating_key_number
from retrovue.importers.seen import IdSet


def guids(*texts: str) -> list[Guid]:
    return [Guid(text) for text in texts]


@pytest.mark.fault(209)
class TestIds:
    @pytest.mark.parametrize(
        ("guid", "expected"),
        [
            ("plex://movie/5d776", {"plex": "5d776"}),
            ("com.plexapp.agents.imdb://tt0499549?lang=en", {"imdb": "tt0499549"}),
            ("com.plexapp.agents.themoviedb://19995?lang=de", {"tmdb": "19995"}),
            ("com.plexapp.agents.thetvdb://80379?lang=en", {"tvdb": "80379"}),
            ("com.plexapp.agents.thetvdb://80379/1/2?lang=en", {}),
            ("com.plexapp.agents.none://abc?lang=xn", {}),
            ("mbid://f1a2", {"mbid": "f1a2"}),
            ("local://12", {}),
            ("plex://", {}),
            ("", {}),
            (None, {}),
        ],
    )
    def test_guids(self, guid: str | None, expected: dict[str, str]) -> None:
        assert provider_ids(guid, [], []) == expected

    def test_the_list_wins_over_a_legacy_guid(self) -> None:
        assert provider_ids("com.plexapp.agents.xbmcnfo://tt0133093?lang=en", [], []) == {"imdb": "tt0133093"}
        assert provider_ids("com.plexapp.agents.xbmcnfotv://1/2", [], []) == {}
        warnings: list[str] = []
        assert provider_ids(None, guids("imdb://tt1", "imdb://tt2", "tmdb://5"), warnings) == {
            "imdb": "tt1",
            "tmdb": "5",
        }
        assert warnings == ["several_ids"]
        assert provider_ids(
            "com.plexapp.agents.imdb://tt1?lang=en", guids("imdb://tt2", "nonsense", "tvdb://"), []
        ) == {"imdb": "tt2"}

    @pytest.mark.fault(147)
    @settings(deadline=None)
    @given(st.lists(st.integers(0, 10**18 - 1) | st.integers(0, 2000)))
    def test_id_set_is_a_set(self, numbers: list[int]) -> None:
        ids, expected = IdSet(), set[int]()
        for number in numbers:
            assert ids.add(number) == (number not in expected)
            expected.add(number)
        assert len(ids) == len(expected)

    def test_ids_far_apart_are_a_set_too_and_take_little_memory(self) -> None:
        numbers = [number * 10**12 + number % 3 for number in range(100_000)]
        tracemalloc.start()
        try:
            ids = IdSet()
            assert all(map(ids.add, numbers))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert not any(map(ids.add, numbers))
        assert (len(ids), ids.add(1)) == (100_000, True)
        # Most of it are the empty buckets, which millions of ids share.
        assert held < 120 * len(numbers)

    @pytest.mark.parametrize("step", [1, 1 << 12, 10**12], ids=["near", "in many runs", "far apart"])
    def test_many_at_once_are_added_as_one_by_one(self, step: int) -> None:
        numbers = [number * step for number in range(70_000)]
        Random(7).shuffle(numbers)
        pages = [numbers[at : at + 1000] for at in range(0, len(numbers), 1000)]
        together, alone = IdSet(), IdSet()
        for page in pages:
            assert together.add_all(page)
            assert all(map(alone.add, page))
            assert len(together) == len(alone)
        assert not any(together.add_all([number]) for number in numbers[::97])
        new = 70_000 * step
        assert not together.add_all([new, numbers[5]])
        assert not IdSet().add_all([1, 2, 1])

    def test_rows_without_a_rating_key_are_told_apart_as_well(self) -> None:
        keys = RatingKeySet()
        assert [keys.add(key) for key in (7, "row:7", 8, 7, "row:7", "row:8")] == [True, True, True, False, False, True]
        assert len(keys) == 4
        assert keys.add_all([9, "row:9", 10])
        assert not keys.add_all([11, "row:9"])
        assert not keys.add_all([12, 10])

    @pytest.mark.parametrize("value", ["", "01", "1.0", " 1", "9" * 19, -1, 10**18, True, 1.0, None])
    def test_no_rating_keys(self, value: object) -> None:
        assert rating_key_number(value) is None
