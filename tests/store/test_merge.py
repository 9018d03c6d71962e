"""What becomes of each item of a collection: created, skipped, relocated, duplicate, rejected."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from retrovue.core.pages import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.results import Counts, Named
from retrovue.store.session import Store
from tests.support.library import AUDIT, Library, at, contents, draft, execute, outline, page

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]


@pytest.fixture
async def store(shared_store: Store) -> Store:
    """Nothing here leaves more behind than rows."""
    return shared_store


def _counts(counts: Counts) -> dict[str, int]:
    """The numbers that aren't zero, without those that follow from the listing."""
    names = ("created", "skipped", "duplicates", "rejected", "relocated", "soft_deleted")
    return {name: getattr(counts, name) for name in names if getattr(counts, name)}


@dataclass(frozen=True)
class Case:
    """A collection that holds one listing, and then reads another."""

    name: str
    before: Sequence[AssetDraft]
    after: Sequence[AssetDraft]
    counts: dict[str, int]
    assets: dict[str, str]
    aliases: dict[str, str]


CASES = [
    Case(
        "the first ingest creates everything",
        [],
        [draft("a"), draft("b")],
        {"created": 2},
        {"a": at("a.mkv"), "b": at("b.mkv")},
        {},
    ),
    Case(
        "an item that is known is skipped",
        [draft("a")],
        [draft("a"), draft("b")],
        {"created": 1, "skipped": 1},
        {"a": at("a.mkv"), "b": at("b.mkv")},
        {},
    ),
    Case(
        "an item that is no longer listed stays",
        [draft("a"), draft("b")],
        [draft("a")],
        {"skipped": 1},
        {"a": at("a.mkv"), "b": at("b.mkv")},
        {},
    ),
    Case(
        "two items in one file are one asset and one alias",
        [],
        [draft("a", "f"), draft("b", "f"), draft("c", "f")],
        {"created": 1, "duplicates": 2},
        {"a": at("f")},
        {"b": "a", "c": "a"},
    ),
    Case(
        "a new item with the file of a known one is its duplicate",
        [draft("a", "f")],
        [draft("b", "f"), draft("a", "f")],
        {"skipped": 1, "duplicates": 1},
        {"a": at("f")},
        {"b": "a"},
    ),
    Case(
        "a new item with the file of one that left the source is its duplicate",
        [draft("a", "f")],
        [draft("b", "f")],
        {"duplicates": 1},
        {"a": at("f")},
        {"b": "a"},
    ),
    Case(
        "an alias seen again is the same duplicate",
        [draft("a", "f"), draft("b", "f")],
        [draft("a", "f"), draft("b", "f")],
        {"skipped": 1, "duplicates": 1},
        {"a": at("f")},
        {"b": "a"},
    ),
    Case(
        "a duplicate that gets a file of its own is an asset, and no alias any more",
        [draft("a", "f"), draft("b", "f")],
        [draft("a", "f"), draft("b", "g")],
        {"created": 1, "skipped": 1},
        {"a": at("f"), "b": at("g")},
        {},
    ),
    Case(
        "a duplicate may come to share another file",
        [draft("a", "f"), draft("b", "f"), draft("c", "g")],
        [draft("a", "f"), draft("b", "g"), draft("c", "g")],
        {"skipped": 2, "duplicates": 1},
        {"a": at("f"), "c": at("g")},
        {"b": "c"},
    ),
    Case(
        "when the asset moves away, its duplicate that stays gets the file",
        [draft("a", "f"), draft("b", "f")],
        [draft("a", "g"), draft("b", "f")],
        {"created": 1, "skipped": 1, "relocated": 1},
        {"a": at("g"), "b": at("f")},
        {},
    ),
    Case(
        "a duplicate moves with its asset",
        [draft("a", "f"), draft("b", "f")],
        [draft("a", "g"), draft("b", "g")],
        {"skipped": 1, "relocated": 1, "duplicates": 1},
        {"a": at("g")},
        {"b": "a"},
    ),
    Case(
        "the order of parts is part of the identity",
        [draft("a", "1", "2")],
        [draft("a", "1", "2"), draft("b", "2", "1"), draft("c", "1"), draft("d", "1", "2")],
        {"created": 2, "skipped": 1, "duplicates": 1},
        {"a": at("1", "2"), "b": at("2", "1"), "c": at("1")},
        {"d": "a"},
    ),
    Case(
        "an asset follows its moved file",
        [draft("a", "f"), draft("b", "g")],
        [draft("a", "h"), draft("b", "g")],
        {"skipped": 2, "relocated": 1},
        {"a": at("h"), "b": at("g")},
        {},
    ),
    Case(
        "two assets swap their files",
        [draft("a", "f"), draft("b", "g")],
        [draft("a", "g"), draft("b", "f")],
        {"skipped": 2, "relocated": 2},
        {"a": at("g"), "b": at("f")},
        {},
    ),
    Case(
        "a chain moves up, each into the place of the next",
        [draft("a", "f"), draft("b", "g"), draft("c", "h")],
        [draft("a", "g"), draft("b", "h"), draft("c", "i")],
        {"skipped": 3, "relocated": 3},
        {"a": at("g"), "b": at("h"), "c": at("i")},
        {},
    ),
    Case(
        "a new item takes the place that another left",
        [draft("a", "f")],
        [draft("b", "f"), draft("a", "g")],
        {"created": 1, "skipped": 1, "relocated": 1},
        {"a": at("g"), "b": at("f")},
        {},
    ),
    Case(
        "a move onto a file that is taken is a duplicate, and the row stays",
        [draft("a", "f"), draft("b", "g")],
        [draft("a", "g"), draft("b", "g")],
        {"skipped": 1, "duplicates": 1},
        {"a": at("f"), "b": at("g")},
        {"a": "b"},
    ),
    Case(
        "who waits for one that can't move stays as well",
        [draft("a", "f"), draft("b", "g"), draft("c", "h")],
        [draft("a", "g"), draft("b", "h"), draft("c", "h")],
        {"skipped": 1, "duplicates": 2},
        {"a": at("f"), "b": at("g"), "c": at("h")},
        {"a": "b", "b": "c"},
    ),
    Case(
        "of two that move to one file the first gets it",
        [draft("a", "f"), draft("b", "g")],
        [draft("b", "h"), draft("a", "h")],
        {"skipped": 1, "relocated": 1, "duplicates": 1},
        {"a": at("f"), "b": at("h")},
        {"a": "b"},
    ),
    Case(
        "a new item and one that moves to the same file: the known one has it",
        [draft("a", "f")],
        [draft("b", "g"), draft("a", "g")],
        {"skipped": 1, "relocated": 1, "duplicates": 1},
        {"a": at("g")},
        {"b": "a"},
    ),
    Case(
        "an asset of several parts follows its files",
        [draft("a", "1", "2", "3"), draft("b", "f")],
        [draft("a", "new/1", "new/2", "new/3"), draft("b", "f1", "f2")],
        {"skipped": 2, "relocated": 2},
        {"a": at("new/1", "new/2", "new/3"), "b": at("f1", "f2")},
        {},
    ),
    Case(
        "parts become one file",
        [draft("a", "1", "2")],
        [draft("a", "whole")],
        {"skipped": 1, "relocated": 1},
        {"a": at("whole")},
        {},
    ),
]


class TestMerge:
    @pytest.mark.parametrize("pages", [1, 2], ids=["one page", "a page for each item"])
    async def test_merge(self, store: Store, pages: int) -> None:
        """Each case has a collection of its own, so that one run shows them all."""

        def listing(drafts: Sequence[AssetDraft]) -> list[Page]:
            return [page(*drafts)] if pages == 1 else [page(item) for item in drafts]

        library = await Library.make(store, *(case.name for case in CASES))
        await library.ingest_each({case.name: listing(case.before) for case in CASES if case.before})
        after = {case.name: listing(case.after) for case in CASES}
        previews = await library.ingest_each(after, dry_run=True)
        outcomes = await library.ingest_each(after)
        for case in CASES:
            assert (case.name, _counts(outcomes[case.name].counts)) == (case.name, case.counts)
            assert (case.name, previews[case.name].counts) == (case.name, outcomes[case.name].counts)
            assert (case.name, await library.assets(case.name)) == (case.name, case.assets)
            assert (case.name, await library.aliases(case.name)) == (case.name, case.aliases)
            files = await library.rows(
                "SELECT source_uri, array_agg(local_path ORDER BY position), array_agg(position ORDER BY position)"
                " FROM asset_file JOIN asset ON uuid = asset_uuid JOIN collection ON id = asset.collection_uuid"
                " WHERE name = :of GROUP BY source_uri",
                of=case.name,
            )
            placed = {
                item.rpartition("/")[2]: at(*(path.removeprefix("/mnt/") for path in paths)) for item, paths, _ in files
            }
            assert (case.name, placed) == (case.name, case.assets)
            assert all(positions == list(range(1, len(positions) + 1)) for _, _, positions in files), case.name

        before = await library.contents()
        for name, again in (await library.ingest_each(after)).items():
            assert (name, again.counts.created, again.counts.relocated) == (name, 0, 0)
        assert await library.contents() == before


class TestCollision:
    async def test_returning_to_its_own_place_ends_the_alias(self, library: Library) -> None:
        await library.ingest_one(page(draft("a", "f"), draft("b", "g")))
        await library.ingest_one(page(draft("a", "g"), draft("b", "g")))
        assert await library.aliases() == {"a": "b"}
        outcome = await library.ingest_one(page(draft("a", "f"), draft("b", "g")))
        assert _counts(outcome.counts) == {"skipped": 2}
        assert await library.aliases() == {}
        before = await library.contents()
        await library.ingest_one(page(draft("a", "f"), draft("b", "g")))
        assert await library.contents() == before


class TestMappingChange:
    async def test_all_assets_follow(self, library: Library) -> None:
        listing = page(*(draft(f"item{number}") for number in range(20)), draft("parts", "1", "2"))
        await library.ingest_one(listing)
        await library.map("Movies", ("/data", "/elsewhere"))
        outcome = await library.ingest_one(listing)
        assert _counts(outcome.counts) == {"skipped": 21, "relocated": 21}
        assert await library.rows("SELECT count(*) FROM asset_file WHERE local_path NOT LIKE '/elsewhere/%'") == [(0,)]
        assert outcome.listed.relocated[0] == Named("Item0", "scripted://machine/item0", "/elsewhere/item0.mkv")

    async def test_nothing_but_the_place_changes(self, library: Library) -> None:
        await library.ingest_one(page(draft("a", year=1990, title="Before")))
        await execute(library.store, "UPDATE asset SET state = 'ready', approved_for_broadcast = true")
        kept = "SELECT uuid, title, year, state, approved_for_broadcast, created_at, source_uri FROM asset"
        before = await library.rows(kept)
        moved = page(draft("a", "moved.mkv", year=1991, title="After"))
        for dry_run in (True, False):
            outcome = await library.ingest_one(moved, dry_run=dry_run)
            assert [entry.title for entry in outcome.listed.relocated] == ["Before"]
        assert await library.rows(kept) == before
        assert await library.assets() == {"a": "/mnt/moved.mkv"}


class TestSoftDeleted:
    async def test_seen_again_it_is_skipped_and_stays_deleted(self, library: Library) -> None:
        await library.ingest_one(page(draft("a"), draft("b")))
        await execute(library.store, "UPDATE asset SET deleted_at = now() WHERE title = 'A'")
        before = await library.contents()
        outcome = await library.ingest_one(page(draft("a"), draft("b")))
        assert _counts(outcome.counts) == {"skipped": 2, "soft_deleted": 1}
        assert [named.title for named in outcome.listed.soft_deleted] == ["A"]
        assert await library.contents() == before

    async def test_it_does_not_follow_its_file(self, library: Library) -> None:
        await library.ingest_one(page(draft("a", "f")))
        await execute(library.store, "UPDATE asset SET deleted_at = now()")
        before = await library.contents()
        outcome = await library.ingest_one(page(draft("a", "g")))
        assert _counts(outcome.counts) == {"skipped": 1, "soft_deleted": 1}
        assert await library.contents() == before

    async def test_it_holds_its_file(self, library: Library) -> None:
        await library.ingest_one(page(draft("a", "f"), draft("b", "g")))
        await execute(library.store, "UPDATE asset SET deleted_at = now() WHERE title = 'A'")
        outcome = await library.ingest_one(page(draft("b", "f"), draft("c", "f")))
        assert _counts(outcome.counts) == {"duplicates": 2}
        assert await library.assets() == {"a": "/mnt/f", "b": "/mnt/g"}
        assert await library.aliases() == {"b": "a", "c": "a"}


TWICE = (
    [["a", "a", "b"]],
    [["a", "a", "a", "b"]],
    [["a", "b"], ["a"]],
    [["a"], ["b", "a"], ["a"]],
    [["a:f", "a:g", "b"]],
    [["a:f"], ["a:g", "b"]],
    [["a:f", "b:f", "b:f", "b:f"]],
    [["a:f", "b:f"], ["b:g", "b:f"]],
)
"""Pages on which an item is listed twice: its name, and its file if that isn't named as it is."""


class TestListedTwice:
    """An importer may list one item twice; one whose drafts are checked has proven that it doesn't."""

    @pytest.mark.fault(14)
    @pytest.mark.parametrize("known", [[], ["a"], ["a", "b"]], ids=["new", "one known", "known"])
    @pytest.mark.parametrize("outlined", [False, True], ids=["pages", "outlines"])
    async def test_the_first_stands(self, store: Store, known: Sequence[str], *, outlined: bool) -> None:
        """Each listing has a collection of its own, so that one run shows them all."""
        make = outline if outlined else page

        def pages() -> dict[str, list[Page | Outline]]:
            return {
                name: [make(*(draft(*item.split(":")) for item in items)) for items in listing]
                for name, listing in listings.items()
            }

        listings = {repr(listing): listing for listing in TWICE}
        library = await Library.make(store, *listings)
        if known:
            await library.ingest_each({name: [page(*(draft(item) for item in known))] for name in listings})
        previews = await library.ingest_each(pages(), dry_run=True)
        outcomes = await library.ingest_each(pages())
        for name, listing in listings.items():
            outcome, preview = outcomes[name], previews[name]
            every = [item for items in listing for item in items]
            counts = (name, outcome.counts.discovered, outcome.counts.rejected)
            assert counts == (name, len(every), len(every) - 2)
            assert {rejection.code for rejection in outcome.listed.rejected} == {"listed_twice"}, name
            assert (preview.counts, preview.listed.rejected) == (outcome.counts, outcome.listed.rejected), name

            file = next(item for item in every if item[0] == "a").partition(":")[2]
            assert (name, (await library.assets(name))["a"]) == (name, at(file or "a.mkv"))
        before = await library.contents()
        for name, again in (await library.ingest_each(pages())).items():
            rejected = outcomes[name].counts.rejected
            assert (name, again.counts.rejected) == (name, rejected)
            assert (name, again.counts.created, again.counts.relocated) == (name, 0, 0)
        assert await library.contents() == before

    async def test_what_came_before_a_restart_is_void(self, library: Library) -> None:
        outcome = await library.ingest_one(
            page(draft("a"), draft("b")), page(draft("a"), restart=True), page(draft("b"))
        )
        assert _counts(outcome.counts) == {"created": 2}

    async def test_a_page_is_not_the_double_of_its_own_outline(self, library: Library) -> None:
        await library.ingest_one(page(draft("a")))
        outcome = await library.ingest_one(outline(draft("a"), draft("b")), outline(draft("c"), draft("b")))
        assert _counts(outcome.counts) == {"created": 2, "skipped": 1, "rejected": 1}


class TestRestart:
    async def test_everything_before_it_is_void(self, library: Library) -> None:
        stale = page(
            draft("old", warnings=("bad_year",)), draft("a", "stale"), Rejection("no_media", "it has no media")
        )
        outcome = await library.ingest_one(stale, stale, page(draft("a"), restart=True), page(draft("b")))
        assert outcome.counts == Counts(source_items=2, discovered=2, created=2)
        assert outcome.listed.rejected == ()
        assert outcome.listed.warnings == {}
        assert await library.assets() == {"a": "/mnt/a.mkv", "b": "/mnt/b.mkv"}
        assert await library.rows("SELECT count(*) FROM ingest_rejection") == [(0,)]

    async def test_what_was_known_is_counted_once(self, library: Library) -> None:
        await library.ingest_one(page(draft("a"), draft("b")))
        outcome = await library.ingest_one(page(draft("a"), draft("b")), page(draft("a"), draft("b"), restart=True))
        assert outcome.counts == Counts(source_items=2, discovered=2, skipped=2)

    async def test_the_preview_restarts_too(self, library: Library) -> None:
        pages = [page(draft("old"), Rejection("x", "y")), page(draft("new"), restart=True)]
        outcome = await library.ingest_one(*pages, dry_run=True)
        assert outcome.counts == Counts(source_items=1, discovered=1, created=1)
        assert [named.title for named in outcome.listed.created] == ["New"]


class TestRejections:
    async def test_all_are_in_the_audit_trail_and_the_first_hundred_in_the_outcome(self, library: Library) -> None:
        rejected = [Rejection("no_media", f"reason {number}", f"x://{number}", f"T{number}") for number in range(150)]
        outcome = await library.ingest_one(page(draft("a"), *rejected[:90]), page(*rejected[90:]))
        assert _counts(outcome.counts) == {"created": 1, "rejected": 150}
        assert list(outcome.listed.rejected) == rejected[:100]
        stored = await library.rows("SELECT code, reason, source_uri, title FROM ingest_rejection ORDER BY position")
        assert [Rejection(*row) for row in stored] == rejected

    @pytest.mark.fault(25, 26)
    @pytest.mark.parametrize("nasty", ["a\0b", "half \ud800 pair", "\udcff\0"])
    async def test_foreign_text_is_repaired(self, library: Library, nasty: str) -> None:
        await library.ingest_one(page(draft("a"), Rejection("no_media", nasty, nasty, nasty)))
        ((reason, item, title),) = await library.rows("SELECT reason, source_uri, title FROM ingest_rejection")
        assert reason == item == title
        assert "\0" not in reason
        assert len(reason) == len(nasty)

    @pytest.mark.fault(36, 37, 39)
    async def test_a_draft_that_cannot_be_placed_is_rejected(self, library: Library) -> None:
        outcome = await library.ingest_one(
            page(
                draft("a"),
                draft("outside", "/other/x.mkv"),
                draft("climbs", "/data/../etc/passwd"),
                draft("nul", "/data/a\0.mkv"),
                draft("half", "/data/\udcff.mkv"),
                draft("second", "/data/1.mkv", "/other/2.mkv"),
                draft("odd", type="photo"),
            )
        )
        assert _counts(outcome.counts) == {"created": 1, "rejected": 6}
        stored = await library.rows("SELECT source_uri, code FROM ingest_rejection")
        assert {item.rpartition("/")[2]: code for item, code in stored} == {
            "outside": "unmapped_path",
            "climbs": "path_outside_root",
            "nul": "bad_path",
            "half": "bad_path",
            "second": "unmapped_path",
            "odd": "bad_draft",
        }


class TestFields:
    async def test_a_draft_arrives_whole(self, library: Library) -> None:
        given = {
            "type": "episode", "title": "Pilot — “Ωmega” 🎬", "show_title": "A Show", "season_number": 0,
            "episode_number": 2**31 - 1, "year": 9999, "originally_aired": dt.date(1969, 7, 20), "runtime_ms": 2**40,
            "edition": "Director's", "studio": "S", "content_rating": "TV-MA", "rating": 7.5, "container": "mkv",
            "video_codec": "hevc", "audio_codec": "dts", "audio_channels": 6, "video_resolution": "4k", "width": 3840,
            "height": 2160, "bitrate_kbps": 40000, "provider_ids": {"imdb": "tt1", "tvdb": "2"},
            "tags": {"genre": ["B", "A"], "label": []}, "chapters": [{"title": "One", "start_ms": 0, "end_ms": 1}],
            "markers": [],
        }  # fmt: skip
        await library.ingest_one(page(draft("a", **given)))
        ((stored,),) = await library.rows("SELECT to_jsonb(asset) FROM asset")
        expected = {**given, "originally_aired": "1969-07-20", "canonical_uri": "/mnt/a.mkv", "part_count": 1}
        assert {name: stored[name] for name in expected} == expected
        assert (stored["state"], stored["approved_for_broadcast"], stored["deleted_at"]) == ("new", False, None)

    @pytest.mark.fault(38)
    async def test_an_identity_may_be_longer_than_an_index_entry(self, library: Library) -> None:
        name = "/".join("x" * 200 for _ in range(30))
        await library.ingest_one(page(draft("a", name), draft("b", f"{name}2"), draft("c", name)))
        assert await library.aliases() == {"c": "a"}

    async def test_the_size_of_parts_adds_up_only_if_all_are_known(self, library: Library) -> None:
        known = (PartDraft("/data/1", 10), PartDraft("/data/2", 5))
        unknown = (PartDraft("/data/3", 10), PartDraft("/data/4"))
        await library.ingest_one(page(draft("known", parts=known), draft("unknown", parts=unknown)))
        assert dict(await library.rows("SELECT title, size_bytes FROM asset")) == {"Known": 15, "Unknown": None}

    @pytest.mark.fault(27)
    async def test_parts_that_claim_more_than_can_be_have_no_size_together(self, library: Library) -> None:
        parts = (PartDraft("/data/1", 2**63 - 1), PartDraft("/data/2", 1))
        await library.ingest_one(page(draft("large", parts=parts), draft("sibling")))
        assert dict(await library.rows("SELECT title, size_bytes FROM asset")) == {"Large": None, "Sibling": None}
        assert await library.rows("SELECT size_bytes FROM asset_part ORDER BY position") == [(2**63 - 1,), (1,)]


class TestLists:
    async def test_they_name_the_first_in_the_order_of_the_source(self, library: Library) -> None:
        drafts = [draft(f"item{number:03}") for number in range(30)]
        duplicates = [draft(f"twin{number:03}", f"item{number % 30:03}.mkv") for number in range(110)]
        outcome = await library.ingest_one(page(*drafts), page(*duplicates))
        preview = await library.ingest_one(page(*drafts), page(*duplicates), dry_run=True)
        assert [named.title for named in outcome.listed.created] == [f"Item{number:03}" for number in range(20)]
        assert [named.title for named in outcome.listed.duplicates] == [f"Twin{number:03}" for number in range(100)]
        assert outcome.listed.duplicates[31].detail == "Item001"
        assert [named.title for named in preview.listed.duplicates] == [f"Twin{number:03}" for number in range(100)]

    async def test_an_episode_is_named_with_show_and_numbers(self, library: Library) -> None:
        item = draft("a", title="Pilot", show_title="The Show", season_number=1, episode_number=2, type="episode")
        preview = await library.ingest_one(page(item), dry_run=True)
        outcome = await library.ingest_one(page(item))
        assert [named.title for named in outcome.listed.created] == ["The Show S01E02 Pilot"]
        assert [named.title for named in preview.listed.created] == ["The Show S01E02 Pilot"]


class TestTwoCollections:
    async def test_identities_are_their_own(self, library: Library) -> None:
        other = await Library.make(library.store, "Movies")
        await library.ingest_one(page(draft("a")))
        outcome = await other.ingest_one(page(draft("a")))
        assert _counts(outcome.counts) == {"created": 1}
        assert await library.rows("SELECT count(*), count(DISTINCT collection_uuid) FROM asset") == [(2, 2)]

    async def test_one_connection_serves_many(self, library: Library) -> None:
        many = await Library.make(library.store, *(f"C{number:02}" for number in range(12)))
        listing = {name: [page(draft("a"), draft("b", "a.mkv"))] for name in many.script.listings}
        first = await many.ingest(listing, concurrency=1)
        second = await many.ingest(concurrency=1)
        assert (first.total("created"), first.total("duplicates")) == (12, 12)
        assert (second.total("skipped"), second.total("duplicates")) == (12, 12)


class TestAgain:
    async def test_a_second_full_run_changes_nothing_but_the_audit_trail(self, library: Library) -> None:
        listing = [
            page(draft("a"), draft("b", "a.mkv"), draft("c", "1", "2"), Rejection("no_media", "none")),
            page(*(draft(f"item{number}") for number in range(50))),
        ]
        await library.ingest_one(*listing)
        before = await library.contents()
        trail = await contents(library.store, *AUDIT)
        again = await library.ingest_one(*listing)
        assert _counts(again.counts) == {"skipped": 52, "duplicates": 1, "rejected": 1}
        assert await library.contents() == before
        assert set(trail) <= set(await contents(library.store, *AUDIT))
