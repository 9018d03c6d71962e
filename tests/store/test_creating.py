"""Assets that are created without a plan, because their collection held nothing, and their ids."""

import datetime as dt
from typing import Any

import msgspec
import orjson
import pytest
from msgspec.structs import replace

from retrovue.core.pages import AssetDraft, Page, PartDraft
from retrovue.importers.drafts import draft_problem
from retrovue.store.comparing import source_values
from retrovue.store.drafts import MappedDraft, draft_stamp, encoded_spans, identity_hash
from retrovue.store.session import Store
from tests.support.library import Library, at, draft, execute, page, uri
from tests.support.statements import statements

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]


@pytest.fixture
async def store(shared_store: Store) -> Store:
    """Nothing here leaves more behind than rows."""
    return shared_store


class TestPlan:
    @pytest.mark.parametrize(
        ("listing", "planned", "aliases"),
        [
            ([draft("a"), draft("b", "1", "2")], None, {}),
            ([draft("a", "f"), draft("c", "f"), draft("b"), draft("d", "f")], "duplicates", {"c": "a", "d": "a"}),
            ([draft("b", "1", "2"), draft("a"), draft("c", "1", "2")], "duplicates", {"c": "b"}),
        ],
    )
    async def test_only_duplicates_are_planned(
        self, library: Library, listing: list[AssetDraft], planned: str | None, aliases: dict[str, str]
    ) -> None:
        plans: list[str] = []
        with statements(lambda statement, _: plans.append(statement) if "INSERT INTO plan" in statement else None):
            outcome = await library.ingest_one(page(*listing))
        assert [entry.title for entry in outcome.listed.created] == [
            item.title for item in listing if item.title.lower() not in aliases
        ]
        assert (outcome.counts.created, outcome.counts.duplicates) == (2, len(aliases))
        assert await library.aliases() == aliases
        assert [("duplicates" if "WITH" not in one else "all") for one in plans] == ([planned] if planned else [])

    async def test_the_first_created_are_listed_whatever_is_planned_before(self, library: Library) -> None:
        copies = [draft(f"copy{number:02}", "f") for number in range(30)]
        others = [draft(f"other{number:02}") for number in range(30)]
        outcome = await library.ingest_one(page(*copies, *others))
        titles = [entry.title for entry in outcome.listed.created]
        assert titles == ["Copy00", *(f"Other{number:02}" for number in range(19))]
        assert (outcome.counts.created, len(outcome.listed.duplicates)) == (31, 29)

    async def test_an_asset_that_appears_while_the_source_is_read(self, library: Library) -> None:
        collection = await library.collection("Movies")

        async def insert() -> None:
            source, canonical = identity_hash(uri("a")).hex(), identity_hash(at("a.mkv")).hex()
            await execute(
                library.store,
                "INSERT INTO asset (collection_uuid, source_hash, canonical_hash, type, title, source_uri,"
                f" canonical_uri, canonical_key) VALUES ('{collection.id}', '\\x{source}', '\\x{canonical}', 'movie',"
                f" 'A', '{uri('a')}', '{at('a.mkv')}', '{at('a.mkv')}')",
            )

        outcome = await library.ingest_one(page(draft("a"), draft("b")), insert)
        assert (outcome.counts.created, outcome.counts.skipped) == (1, 1)
        assert await library.assets() == {"a": at("a.mkv"), "b": at("b.mkv")}


async def test_ids_rise_in_the_order_of_the_listing(library: Library) -> None:
    """Also from one merge to the next, without a plan and with one."""
    titles = [f"item{number:02}" for number in range(40)]
    listed = [page(*map(draft, titles[at : at + 10])) for at in range(0, 40, 10)]
    await library.ingest_one(*listed[:2])
    await library.ingest_one(*listed)
    stored = "SELECT lower(title), cast(uuid AS text) FROM asset ORDER BY uuid"
    rows = await library.rows(stored)
    assert [title for title, _ in rows] == titles
    assert {(uuid[14], uuid[19] in "89ab", len(uuid)) for _, uuid in rows} == {("7", True, 36)}
    (spread,) = await library.rows(
        "SELECT max(made) <= clock_timestamp() + interval '1 ms', min(made) > clock_timestamp() - interval '10 min'"
        " FROM (SELECT to_timestamp(cast(cast('x' || translate(left(cast(uuid AS text), 13), '-', '') AS bit(48))"
        " AS bigint) / 1000.0) AS made FROM asset) AS made"
    )
    assert spread == (True, True)
    # Ids are shown by their unique beginnings: the first half of the digits tells them apart.
    assert len({uuid[:18] for _, uuid in rows}) == 40


SPANS: list[dict[str, Any]] = [
    {"title": "É", "start_ms": 0, "end_ms": 90_000},
    {"title": None, "start_ms": 90_000, "end_ms": None},
]
DESCRIBED: dict[str, Any] = {
    "parts": (PartDraft("/data/a.mkv", 1000, 90_000, None, "a/1"),),
    "year": 1990,
    "originally_aired": dt.date(1990, 2, 3),
    "rating": 7.5,
    "provider_ids": {"imdb": "tt1"},
    "tags": {"genre": ["Drama"]},
}


@pytest.mark.parametrize("spans", [{}, {"chapters": SPANS}, {"markers": SPANS}, {"chapters": SPANS, "markers": []}])
@pytest.mark.parametrize("sidecars", [{}, {"sidecar_stamp": ""}, {"sidecar_stamp": "a"}])
@pytest.mark.parametrize("stamp", [None, b"of the page"])
async def test_the_stamp_is_that_of_the_draft(
    library: Library, spans: dict[str, Any], sidecars: dict[str, Any], stamp: bytes | None
) -> None:
    """Whether it is made with the row or before; a sync of the same drafts then finds nothing changed."""
    first, second = (
        draft(item, **{**DESCRIBED, "parts": (PartDraft(f"/data/{item}.mkv"),), **spans, **sidecars}) for item in "ab"
    )
    listed = page(first)
    listed.stamp = stamp
    await library.ingest_one(listed)
    await library.ingest_one(listed, page(second))  # the collection holds something, so that drafts are compared
    stored = await library.rows("SELECT lower(title), stamp, chapters, markers FROM asset ORDER BY title")
    assert stored == [
        (item, draft_stamp(one), one.chapters, one.markers) for item, one in zip("ab", (first, second), strict=True)
    ]


def test_stamps_stay_as_they_are() -> None:
    """Another stamp of the same draft would let the next sync compare every asset."""
    one = draft("a", **DESCRIBED, chapters=SPANS, markers=[])
    assert draft_stamp(one).hex() == "37e419a166e7bddb929ee003259aff08"


def test_spans_in_json_are_the_same_as_objects() -> None:
    """In stamps, and to what compares drafts and keeps pages; importers of other packages can't give them."""
    objects = draft("a", **DESCRIBED, chapters=SPANS, markers=SPANS)
    packed = replace(objects, chapters=orjson.dumps(SPANS), markers=orjson.dumps(SPANS))
    assert draft_stamp(packed) == draft_stamp(objects)
    assert draft_stamp(packed, encoded_spans(packed)) == draft_stamp(objects, encoded_spans(objects))
    assert source_values(MappedDraft(packed, (at("a.mkv"),)), "").values == (
        source_values(MappedDraft(objects, (at("a.mkv"),)), "").values
    )
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(page(packed, objects)), type=Page)
    assert kept.drafts == [packed, objects]
    assert draft_problem(objects) is None
    for other in (packed, replace(objects, markers="YQ=="), replace(objects, chapters=b"[]", markers=None)):
        assert (draft_problem(other) or "").startswith("Expected `array | null`")
