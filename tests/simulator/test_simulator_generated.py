"""A generated library is a pure function of its seed, at any size."""

import sys
import tracemalloc
from itertools import pairwise
from typing import Any

import orjson
import pytest

from retrovue.simulator import Changes, GeneratedSection, Rates, Sort, View
from retrovue.simulator.generated import Kind

NONE = Rates(
    multi_version=0, multi_part=0, shared_files=0, unmatched=0, unanalysed=0, non_ascii=0, missing_fields=False
)


def listed(section: GeneratedSection, item_type: int, sort: str = "id", *, guids: bool = True) -> list[dict[str, Any]]:
    field, _, direction = sort.partition(":")
    body, count = section.list_json(
        item_type, 0, section.total(item_type), Sort(field, descending=direction == "desc"), View(guids=guids)
    )
    rows: list[dict[str, Any]] = orjson.loads(b"[" + body + b"]")
    assert len(rows) == count
    return rows


def files(row: dict[str, Any]) -> list[str]:
    return [part["file"] for version in row["Media"] for part in version["Part"]]


@pytest.mark.parametrize(("kind", "item_type"), [("movie", 1), ("clip", 1), ("show", 4), ("artist", 10)])
def test_the_same_seed_makes_the_same_bytes(kind: Kind, item_type: int) -> None:
    order = Sort("titleSort")
    one, same = (GeneratedSection("1", "A", kind, 500, 7) for _ in range(2))
    assert one.list_json(item_type, 0, 500, order, View()) == same.list_json(item_type, 0, 500, order, View())
    other = GeneratedSection("1", "A", kind, 500, 8)
    assert one.list_json(item_type, 0, 500, order, View()) != other.list_json(item_type, 0, 500, order, View())


def test_a_row_far_into_a_million_needs_no_other_row() -> None:
    section = GeneratedSection("1", "Movies", "movie", 1_000_000)
    section.row_json(1, 0)
    tracemalloc.start()
    row = section.row_json(1, 987_654)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert orjson.loads(row)["ratingKey"] == str(10_000_001 + 987_654)
    assert peak < 64 * 1024


def test_a_million_items_take_no_more_memory_than_a_thousand() -> None:
    def size(section: GeneratedSection) -> int:
        return sum(sys.getsizeof(value) for value in vars(section).values())

    assert size(GeneratedSection("1", "M", "movie", 1_000_000)) == size(GeneratedSection("1", "M", "movie", 1000))


@pytest.mark.parametrize(("kind", "types"), [("movie", [1]), ("show", [2, 3, 4]), ("artist", [8, 9, 10])])
@pytest.mark.parametrize("count", [0, 1, 7, 229, 230, 1000])
def test_every_order_lists_every_item_once(kind: Kind, types: list[int], count: int) -> None:
    section = GeneratedSection("1", "A", kind, count)
    assert section.total(types[-1]) == count
    for item_type in types:
        keys = [row["ratingKey"] for row in listed(section, item_type)]
        assert keys == sorted(keys, key=int)
        for order in ("titleSort", "updatedAt", "addedAt:desc", "titleSort:desc"):
            assert sorted(row["ratingKey"] for row in listed(section, item_type, order)) == sorted(keys)


def test_ids_are_distinct_within_and_across_sections() -> None:
    sections = [GeneratedSection("1", "A", "movie", 3000), GeneratedSection("2", "B", "show", 3000)]
    keys = [row["ratingKey"] for section in sections for kind in (1, 2, 3, 4) for row in listed(section, kind)]
    assert len(keys) == len(set(keys)) > 6000


def test_titles_are_distinct_and_the_default_order_is_theirs() -> None:
    rows = listed(GeneratedSection("1", "A", "movie", 12_000, rates=NONE), 1, "titleSort")
    titles = [row.get("titleSort", row["title"]) for row in rows]
    assert titles == sorted(titles)
    assert len(set(titles)) == len(titles)
    assert [row["ratingKey"] for row in rows] != sorted(row["ratingKey"] for row in rows)


def test_an_order_that_needs_all_rows_is_refused() -> None:
    with pytest.raises(LookupError):
        GeneratedSection("1", "A", "movie", 10).list_json(1, 0, 10, Sort("rating"), View())


def test_the_uncommon_happens_at_its_rate_and_can_be_turned_off() -> None:
    rows = listed(GeneratedSection("1", "A", "movie", 10_000), 1)
    assert 150 < sum(len(row["Media"]) > 1 for row in rows) < 450
    assert 30 < sum(len(row["Media"][0]["Part"]) > 1 for row in rows) < 250
    assert 100 < sum(row["guid"].startswith("local://") for row in rows) < 350
    assert 20 < sum("container" not in row["Media"][0] for row in rows) < 250
    assert 300 < sum(not row["title"].isascii() for row in rows) < 1100
    plain = listed(GeneratedSection("1", "A", "movie", 10_000, rates=NONE), 1)
    assert all(len(files(row)) == 1 and row["guid"].startswith("plex://") and row["title"].isascii() for row in plain)
    assert all("Genre" in row and "studio" in row and "container" in row["Media"][0] for row in plain)


def test_some_episodes_share_a_file() -> None:
    rows = listed(GeneratedSection("1", "TV", "show", 5000, rates=Rates(shared_files=0.1)), 4)
    paths = [tuple(files(row)) for row in rows]
    pairs = [(one, other) for one, other in pairwise(rows) if files(one) == files(other)]
    assert 150 < len(pairs) < 300
    assert len(paths) - len(set(paths)) == len(pairs)
    for one, other in pairs:
        assert one["parentRatingKey"] == other["parentRatingKey"]
        assert (one["index"], one["Media"][0]["id"]) != (other["index"], other["Media"][0]["id"])
    apart = listed(GeneratedSection("1", "TV", "show", 5000, rates=NONE), 4)
    assert len({files(row)[0] for row in apart}) == 5000


def test_windows_paths_are_on_a_drive() -> None:
    rows = listed(GeneratedSection("1", "A", "movie", 50, rates=Rates(windows_paths=True)), 1)
    assert all(path.startswith("M:\\Movies\\") and "/" not in path for row in rows for path in files(row))


def test_parts_add_up_to_their_media() -> None:
    for row in listed(GeneratedSection("1", "A", "movie", 200, rates=Rates(multi_part=1, unanalysed=0)), 1):
        version = row["Media"][0]
        assert sum(part["duration"] for part in version["Part"]) == version["duration"]


def test_shows_seasons_and_episodes_fit_together() -> None:
    section = GeneratedSection("1", "TV", "show", 1234)
    shows, seasons, episodes = (listed(section, kind) for kind in (2, 3, 4))
    assert sum(row["leafCount"] for row in shows) == sum(row["leafCount"] for row in seasons) == len(episodes) == 1234
    assert sum(row["childCount"] for row in shows) == len(seasons)
    for top in shows:
        children = section.children(top["ratingKey"])
        assert len(children) == top["childCount"]
        assert len(section.leaves(top["ratingKey"])) == top["leafCount"]
        for child in children:
            below = section.children(child["ratingKey"])
            assert [row["index"] for row in below] == list(range(1, child["leafCount"] + 1))
            assert {row["grandparentTitle"] for row in below} == {top["title"]}
    last = section.item(episodes[-1]["ratingKey"])
    assert last is not None
    assert last["title"] == episodes[-1]["title"]
    assert section.item("1") is None


def test_guids_are_listed_only_for_who_asks() -> None:
    section = GeneratedSection("1", "A", "movie", 100)
    assert any("Guid" in row for row in listed(section, 1))
    assert not any("Guid" in row for row in listed(section, 1, guids=False))


def test_a_prerendered_page_is_the_page() -> None:
    section, ready = (GeneratedSection("1", "TV", "show", 450) for _ in range(2))
    assert ready.prerender() > 450 * 1000
    for item_type in (2, 3, 4):
        for start in range(0, 500, 100):
            page = ready.list_json(item_type, start, 100, Sort("id"), View())
            assert page == section.list_json(item_type, start, 100, Sort("id"), View())


def test_too_many_items_for_distinct_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="8,000,000"):
        GeneratedSection("1", "A", "movie", 8_000_001)


@pytest.mark.parametrize(("kind", "item_type"), [("movie", 1), ("show", 4)])
def test_a_library_that_has_changed_since(kind: Kind, item_type: int) -> None:
    """So many items as asked for have changed, the others are the same to the byte, and the last ones are gone."""
    first = GeneratedSection("1", "A", kind, 2000)
    later = GeneratedSection("1", "A", kind, 2000, changes=Changes(edited=0.05, replaced=0.1, removed=100))
    before = first.rows(item_type, 0, 2000, Sort("id"))
    after = later.rows(item_type, 0, 2000, Sort("id"))
    assert len(after) == later.total(item_type) == 1900
    assert [row["ratingKey"] for row in after] == [row["ratingKey"] for row in before[:1900]]
    edited = [row for old, row in zip(before, after, strict=False) if old["title"] != row["title"]]
    replaced = [row for old, row in zip(before, after, strict=False) if old["Media"] != row["Media"]]
    assert 50 < len(edited) < 150
    assert 120 < len(replaced) < 260
    for old, row in zip(before, after, strict=False):
        files = [file for version in old["Media"] for file in version["Part"]]
        changed = [file for version in row["Media"] for file in version["Part"]]
        assert [file["file"] for file in files] == [file["file"] for file in changed]
        assert row["title"] in {old["title"], f"Another {old['title']}"}
        if row in replaced:
            assert all(one["size"] + 1 == other["size"] for one, other in zip(files, changed, strict=True))
            assert all(one["key"] != other["key"] for one, other in zip(files, changed, strict=True))
    assert later.item(str(before[-1]["ratingKey"])) is None
    stamp = first.content_changed_at
    first.prerender()
    first.change(Changes(edited=0.05, replaced=0.1, removed=100))
    assert first.list_json(item_type, 0, 2000, Sort("id"), View()) == later.list_json(
        item_type, 0, 2000, Sort("id"), View()
    )
    assert first.content_changed_at > stamp
