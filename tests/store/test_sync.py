"""What a sync makes of known items, and of assets that aren't listed any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from retrovue.core.pages import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.results import Ingested, Named
from retrovue.core.runs import MaxRemovals, Scope
from retrovue.core.verdicts import ADDED_COUNTS
from retrovue.ingest.sync import sync_one
from retrovue.store import following
from retrovue.store.session import Store
from tests.support.library import DATA, KNOWN, Library, contents, draft, execute, outline, page, uri

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]

ALL = MaxRemovals(percent=100)
LOCAL = "/usr"


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


def film(item: str, **fields: Any) -> AssetDraft:
    """A film with a file of a known size and stamp."""
    size, stamp, file = fields.pop("size", 1000), fields.pop("stamp", f"{item}/1"), fields.pop("file", f"{item}.mkv")
    return draft(item, **{"parts": (PartDraft(f"{DATA}/{file}", size, None, None, stamp),), "year": 1990, **fields})


def episode(item: str, season: int | None, number: int | None, show: str = "Show", **fields: Any) -> AssetDraft:
    values = {"type": "episode", "show_title": show, "season_number": season, "episode_number": number, **fields}
    return film(item, **values)


@pytest.fixture
async def library(store: Store, scripted: None) -> Library:
    """A source of one collection; its local directory has entries, as one whose disk is mounted."""
    return await Library.make(store, "Movies", local=LOCAL)


async def sync(library: Library, *pages: Page | Outline | Sequence[Any], **options: Any) -> Ingested:
    """Sync; first as a dry-run, which has to tell the same and to write nothing."""
    whole = [each if isinstance(each, Page | Outline) else page(*each) for each in pages]
    before = await library.contents()
    told = await library.ingest_one(*whole, mode="sync", dry_run=True, **options)
    assert await library.contents() == before
    done = await library.ingest_one(*whole, mode="sync", **options)
    _same(told, done)
    return done


def _same(told: Ingested, done: Ingested) -> None:
    """A dry-run has told what a run has done."""
    assert told.counts == done.counts
    assert told.held_back == done.held_back
    assert told.listed.missing == done.listed.missing
    assert told.listed.gone == done.listed.gone
    assert told.listed.ambiguous_relinks == done.listed.ambiguous_relinks
    for name in ("created", "duplicates", "relocated", "refreshed", "replaced", "restored", "relinked"):
        assert _titles(getattr(told.listed, name)) == _titles(getattr(done.listed, name))


async def sync_each(library: Library, listings: Mapping[str, Sequence[Page]]) -> dict[str, Ingested]:
    """Sync collections in one run; first as a dry-run, which has to tell the same and to write nothing."""
    before = await library.contents()
    told = await library.ingest_each(listings, mode="sync", dry_run=True)
    assert await library.contents() == before
    done = await library.ingest_each(listings, mode="sync")
    for name in listings:
        _same(told[name], done[name])
    return done


def _titles(named: Sequence[Named]) -> list[str]:
    return [entry.title for entry in named]


def counts(outcome: Ingested) -> dict[str, int]:
    """The numbers that aren't zero, without those that follow from the listing."""
    names = ("created", "duplicates", "rejected", "relocated", "soft_deleted", *ADDED_COUNTS)
    return {name: number for name in names if (number := getattr(outcome.counts, name))}


async def feed(library: Library) -> list[tuple[str, str, dict[str, Any]]]:
    """What the feed of changes has told since it was last asked."""
    told = await library.rows("SELECT what, title, fields FROM asset_change ORDER BY position")
    await execute(library.store, "DELETE FROM asset_change")
    return [(what, title, fields) for what, title, fields in told]


async def feed_of(library: Library, collection: str) -> list[tuple[Any, ...]]:
    """What the feed of changes has told of a collection."""
    return await library.rows(
        "SELECT what, title, fields FROM asset_change JOIN collection ON id = collection_uuid WHERE name = :of"
        " ORDER BY position",
        of=collection,
    )


async def assets(
    library: Library, columns: str = "title, availability", of: str | None = None
) -> list[tuple[Any, ...]]:
    """Columns of the assets of one collection, or of all."""
    return await library.rows(
        f"SELECT {columns} FROM asset"
        " WHERE coalesce(:of = (SELECT name FROM collection WHERE id = collection_uuid), true) ORDER BY source_uri",
        of=of,
    )


async def approve(library: Library) -> None:
    await execute(library.store, "UPDATE asset SET state = 'ready', approved_for_broadcast = true")


@dataclass(frozen=True)
class Case:
    """An asset that was made of one draft and is listed as another."""

    name: str
    before: dict[str, Any]
    after: dict[str, Any]
    verdict: str | None
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    changed: bool = True
    """Whether an ingest says that the item has changed."""


CASES = [
    Case("the same draft", {}, {}, None, changed=False),
    Case("another title", {}, {"title": "New"}, "refreshed", {"title": ["A", "New"]}),
    Case("another year", {}, {"year": 1991}, "refreshed", {"year": [1990, 1991]}),
    Case("a year that isn't told any more", {}, {"year": None}, "refreshed", {"year": [1990, None]}),
    Case("a rating that single precision spells otherwise", {"rating": 6.1}, {"rating": 6.1}, None, changed=False),
    Case("tags", {}, {"tags": {"genre": ["X"]}}, "refreshed", {"tags": [{}, {"genre": ["X"]}]}),
    Case(
        "markers",
        {},
        {"markers": [{"type": "intro", "start_ms": 0, "end_ms": 9}]},
        "refreshed",
        {"markers": [None, [{"type": "intro", "start_ms": 0, "end_ms": 9}]]},
    ),
    Case("another size", {}, {"size": 2000}, "replaced", {"size_bytes": [1000, 2000]}),
    Case("another mark of the file", {}, {"stamp": "a/2"}, "replaced", {"file_stamp": ["a/1", "a/2"]}),
    Case("another duration", {"runtime_ms": 5}, {"runtime_ms": 6}, "replaced", {"runtime_ms": [5, 6]}),
    Case("a codec that is known now", {}, {"video_codec": "h264"}, "refreshed", {"video_codec": [None, "h264"]}),
    Case("a codec that isn't told any more", {"video_codec": "h264"}, {"video_codec": None}, None),
    Case("a mark of the file that is known now", {"stamp": None}, {"stamp": "a/1"}, None),
    Case("a warning", {}, {"warnings": ("bad_year",)}, None, changed=False),
    Case(
        "title and size",
        {},
        {"title": "New", "size": 2},
        "replaced",
        {"title": ["A", "New"], "size_bytes": [1000, 2]},
    ),
    Case(
        "a file that has moved",
        {},
        {"file": "b.mkv"},
        "relocated",
        {"canonical_key": [f"{LOCAL}/a.mkv", f"{LOCAL}/b.mkv"]},
        changed=False,
    ),
    Case(
        "a file that has moved, and a title",
        {},
        {"file": "b.mkv", "title": "New"},
        "relocated",
        {"canonical_key": [f"{LOCAL}/a.mkv", f"{LOCAL}/b.mkv"], "title": ["A", "New"]},
    ),
]


async def cases(store: Store) -> Library:
    """A collection for each case, with the asset of its first draft."""
    library = await Library.make(store, *(case.name for case in CASES), local=LOCAL)
    await library.ingest_each({case.name: [page(film("a", **case.before))] for case in CASES})
    return library


class TestKnownItems:
    async def test_the_asset_follows(self, store: Store) -> None:
        """Each case has a collection of its own, so that one run shows them all."""
        library = await cases(store)
        await approve(library)
        after = {case.name: [page(film("a", **case.after))] for case in CASES}
        outcomes = await sync_each(library, after)
        for case in CASES:
            assert (case.name, counts(outcomes[case.name])) == (case.name, {case.verdict: 1} if case.verdict else {})
            withdrawn = case.verdict == "replaced"
            told = [
                *([] if case.verdict is None else [(case.verdict, "A", case.fields)]),
                *([("withdrawn", "A", {"state": ["ready", "new"]})] if withdrawn else []),
            ]
            assert (case.name, await feed_of(library, case.name)) == (case.name, told)
            state = ("new" if withdrawn else "ready",)
            assert (case.name, await assets(library, "state", case.name)) == (case.name, [state])
        # Whatever it was, it is known now.
        before = await contents(library.store)
        again = await sync_each(library, after)
        assert [(name, counts(outcome)) for name, outcome in again.items() if counts(outcome)] == []
        assert await contents(library.store) == before

    async def test_an_ingest_counts_and_leaves_it(self, store: Store) -> None:
        """Each case has a collection of its own, so that one run shows them all."""
        columns = "title, year, size_bytes, stamp, file_stamp, video_codec, tags, markers"
        library = await cases(store)
        before = {case.name: await assets(library, columns, case.name) for case in CASES}
        for time in range(2):
            outcomes = await library.ingest_each({case.name: [page(film("a", **case.after))] for case in CASES})
            for case in CASES:
                outcome = outcomes[case.name]
                relocated = int(case.verdict == "relocated")
                # The file has moved with the first of them.
                changed = int(case.changed and not (relocated and time == 0))
                numbers = {"changed": changed, "relocated": relocated * (time == 0)}
                told = {name: number for name, number in numbers.items() if number}
                assert (case.name, counts(outcome), outcome.counts.skipped) == (case.name, told, 1)
                assert (case.name, await assets(library, columns, case.name)) == (case.name, before[case.name])

    async def test_an_approval_may_be_kept(self, library: Library) -> None:
        await library.ingest_one(page(film("a")))
        await approve(library)
        await execute(library.store, "UPDATE collection SET keep_approval = true")
        assert counts(await sync(library, [film("a", size=2)])) == {"replaced": 1}
        assert await assets(library, "state, size_bytes") == [("ready", 2)]
        assert [what for what, _, _ in await feed(library)] == ["replaced"]

    async def test_parts_follow(self, library: Library) -> None:
        def parts(*sizes: int) -> AssetDraft:
            return film("a", parts=tuple(PartDraft(f"{DATA}/{n}", size, 1) for n, size in enumerate(sizes)))

        await library.ingest_one(page(parts(1, 2)))
        assert counts(await sync(library, [parts(2, 1)])) == {"replaced": 1}
        assert await library.rows("SELECT size_bytes FROM asset_file ORDER BY position") == [(2,), (1,)]

    async def test_what_an_enricher_gave_stays(self, library: Library) -> None:
        await library.ingest_one(page(film("a")))
        await execute(
            library.store,
            "UPDATE asset SET title = 'Theirs', video_codec = 'av1', provenance = '{\"title\": \"nfo-1\"}'",
        )
        assert counts(await sync(library, [film("a", title="New", year=1991)])) == {"refreshed": 1}
        assert await assets(library, "title, year, video_codec") == [("Theirs", 1991, "av1")]
        assert [fields for _, _, fields in await feed(library)] == [{"year": [1990, 1991]}]

    async def test_catalogues_of_before_get_stamps_and_nothing_else(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        await execute(library.store, "UPDATE asset SET stamp = NULL, file_stamp = NULL")
        await execute(library.store, "DELETE FROM known_page")
        outcome = await library.ingest_one(page(film("a"), film("b")))
        assert (outcome.counts.skipped, counts(outcome)) == (2, {})
        assert counts(await sync(library, [film("a"), film("b", title="New")])) == {"refreshed": 1}
        assert await assets(library, "stamp IS NULL, file_stamp, title") == [
            (False, "a/1", "A"),
            (False, "b/1", "New"),
        ]

    async def test_what_catalogues_of_before_stored_elsewhere_or_not_at_all_is_taken_over(
        self, library: Library
    ) -> None:
        track = film(
            "t", type="track", show_title="Band", artist="Singer", album="Album", disc_number=1, track_number=2,
            tags={"genre": ["Rock"]},
        )  # fmt: skip
        listing = [
            episode("e", 1, 2, show_key="9", show_year=2005, show_provider_ids={"tvdb": "5"}, year=None),
            episode("own", 1, 3, show_key="9", show_year=2005, year=2005),
            track,
            film("f"),
        ]
        columns = (
            "title, year, show_title, show_key, show_year, show_provider_ids, artist, album, disc_number, track_number,"
            " tags, stamp"
        )
        await library.ingest_one(page(*listing))
        now = await assets(library, columns)
        await execute(
            library.store,
            "UPDATE asset SET stamp = NULL, show_key = NULL, show_year = NULL, show_provider_ids = NULL, artist = NULL,"
            " album = NULL, disc_number = NULL, track_number = NULL",
            "UPDATE asset SET year = 2005 WHERE type = 'episode'",
            'UPDATE asset SET show_title = NULL, tags = tags || \'{"artist": ["Singer"], "album": ["Album"]}\''
            " WHERE type = 'track'",
            "DELETE FROM known_page",
        )
        assert counts(await sync(library, listing)) == {}
        assert await assets(library, columns) == now
        assert await feed(library) == []
        # With a stamp they are compared as all others are.
        other = [*listing[:2], draft("t", type="track", show_title="Another", parts=track.parts, year=1990), listing[3]]
        assert counts(await sync(library, other)) == {"refreshed": 1}

    async def test_two_episodes_that_are_in_one_file_now(self, library: Library) -> None:
        listing = [episode("a", 1, 1), episode("b", 1, 2), film("c"), film("d")]
        await library.ingest_one(page(*listing))
        await approve(library)
        together = [episode("a", 1, 1, file="ab"), episode("b", 1, 2, file="ab"), *listing[2:]]
        found = {"duplicates": 1, "relocated": 1, "absent": 1, "missing": 1}
        assert counts(await sync(library, together)) == found
        assert (await library.aliases(), await assets(library, "availability, state")) == (
            {"b": "a"},
            [("present", "ready"), ("missing", "ready"), ("present", "ready"), ("present", "ready")],
        )
        assert [what for what, _, _ in await feed(library)] == ["relocated", "missing"]
        assert counts(await sync(library, together)) == {"duplicates": 1}
        await execute(
            library.store, "UPDATE asset SET unavailable_since = now() - interval '25 h' WHERE availability = 'missing'"
        )
        assert counts(await sync(library, together)) == {"duplicates": 1, "gone": 1}
        assert counts(await sync(library, together)) == {"duplicates": 1}
        # Apart again, it comes back as it was.
        assert counts(await sync(library, listing)) == {"relocated": 1, "restored": 1}
        assert await library.aliases() == {}
        assert await assets(library, "availability, state") == [("present", "ready")] * 4
        assert counts(await sync(library, listing)) == {}

    async def test_too_many_that_lose_their_files_are_held_back(self, library: Library) -> None:
        listing = [episode(f"{number:02}", 1, number) for number in range(1, 41)]
        await library.ingest_one(page(*listing))
        together = [episode(f"{number:02}", 1, number, file="all") for number in range(1, 41)]
        outcome = await sync(library, together)
        assert counts(outcome) == {"duplicates": 39, "relocated": 1, "absent": 39, "removals_held_back": 39}
        assert await library.rows("SELECT count(*) FROM asset WHERE availability = 'present'") == [(40,)]

    async def test_soft_deleted_ones_stay_so(self, library: Library) -> None:
        await library.ingest_one(page(film("a")))
        await execute(library.store, "UPDATE asset SET deleted_at = now()")
        assert counts(await sync(library, [film("a", title="New")])) == {"soft_deleted": 1}
        assert await assets(library, "title") == [("A",)]


class TestNothingToDo:
    async def test_it_writes_outcome_rows_alone(self, library: Library) -> None:
        pages = [outline(film("a"), film("b")), outline(film("c"))]
        await library.ingest_one(*pages)
        before = await contents(library.store)
        known = await contents(library.store, *KNOWN)
        for _ in range(2):
            assert counts(await sync(library, *pages)) == {}
        assert await contents(library.store) == before
        assert await contents(library.store, *KNOWN) == known


class TestAbsences:
    async def test_missing_then_gone_then_restored(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        await approve(library)
        outcome = await sync(library, [film("a")])
        assert counts(outcome) == {"absent": 1, "missing": 1}
        assert outcome.listed.missing == (Named("B", uri("b"), "not_listed"),)
        assert await library.rows("SELECT title FROM schedulable_asset") == [("A",)]
        assert counts(await sync(library, [film("a")])) == {}
        await execute(
            library.store, "UPDATE asset SET unavailable_since = now() - interval '25 h' WHERE availability = 'missing'"
        )
        assert counts(await sync(library, [film("a")])) == {"gone": 1}
        assert counts(await sync(library, [film("a")])) == {}
        assert counts(await sync(library, [film("a"), film("b")])) == {"restored": 1}
        assert await assets(library, "state, availability, unavailable_since, unavailable_reason") == [
            ("ready", "present", None, None),
            ("ready", "present", None, None),
        ]
        assert [(what, title) for what, title, _ in await feed(library)] == [
            ("missing", "B"), ("gone", "B"), ("restored", "B"),
        ]  # fmt: skip

    async def test_what_is_restored_with_another_file_is_approved_anew(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        await approve(library)
        await sync(library, [film("a")])
        assert counts(await sync(library, [film("a"), film("b", size=3)])) == {"restored": 1}
        assert await assets(library, "state, availability") == [("ready", "present"), ("new", "present")]

    async def test_without_a_grace_it_is_gone_at_once(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        await execute(library.store, "UPDATE source SET grace_s = 0")
        assert counts(await sync(library, [film("a")])) == {"absent": 1, "gone": 1}

    async def test_an_ingest_counts_them_and_marks_nothing(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b"), film("c")))
        rejected = Rejection("no_file", "no file", uri("c"))
        listing = [page(film("a"), rejected)]
        told = await library.ingest_one(*listing, dry_run=True)
        done = await library.ingest_one(*listing)
        assert counts(told) == counts(done) == {"rejected": 1, "absent": 1}
        assert {state for _, state in await assets(library)} == {"present"}

    async def test_rejected_items_are_listed(self, library: Library) -> None:
        versions = [film("a?media=1", file="1"), film("a?media=2", file="2"), film("b?media=3", file="3")]
        await library.ingest_one(page(*versions, film("c"), film("d")))
        rejected = [Rejection("no_media", "no media", uri("a")), Rejection("no_file", "no file", uri("b?media=3"))]
        outcome = await sync(library, [film("c"), *rejected])
        assert _titles(outcome.listed.missing) == ["D"]

    async def test_a_version_that_was_removed_is_absent_though_another_is_rejected(self, library: Library) -> None:
        await library.ingest_one(page(film("a?media=1", file="1"), film("a?media=2", file="2"), film("c")))
        outcome = await sync(library, [film("c"), Rejection("no_file", "no file", uri("a?media=1"))])
        assert [named.source_uri for named in outcome.listed.missing] == [uri("a?media=2")]

    async def test_what_is_in_the_trash_is_absent(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b?media=1")))
        outcome = await sync(library, [film("a"), Rejection("deleted_at_source", "in the trash", uri("b"))])
        assert outcome.listed.missing == (Named("B?Media=1", uri("b?media=1"), "trashed"),)
        assert await assets(library, "unavailable_reason") == [(None,), ("trashed",)]

    async def test_soft_deleted_assets_are_left_alone(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        await execute(library.store, "UPDATE asset SET deleted_at = now() WHERE title = 'B'")
        assert counts(await sync(library, [film("a")])) == {}
        assert await assets(library) == [("A", "present"), ("B", "present")]


class TestGuards:
    async def test_too_many(self, library: Library) -> None:
        films = [film(f"f{number:02}") for number in range(30)]
        await library.ingest_one(page(*films))
        outcome = await sync(library, [*films[:9], film("new")])
        assert counts(outcome) == {"created": 1, "absent": 21, "removals_held_back": 21}
        held_back = outcome.held_back
        assert held_back is not None
        assert [guard.code for guard in held_back.guards] == ["too_many"]
        assert (held_back.number, held_back.items[0].title) == (21, "F09")
        assert {state for _, state in await assets(library)} == {"present"}
        # Another set isn't what was reviewed.
        token = held_back.token or ""
        other = await sync(library, [*films[:8], film("new")], confirm_removals=frozenset({token}))
        assert [guard.code for guard in other.held_back.guards] == ["too_many", "removals_changed"]  # type: ignore[union-attr]
        done = await sync(library, [*films[:9], film("new")], confirm_removals=frozenset({token}))
        assert counts(done) == {"absent": 21, "missing": 21}

    async def test_as_many_as_an_operator_allows(self, library: Library) -> None:
        films = [film(f"f{number:02}") for number in range(30)]
        await library.ingest_one(page(*films))
        assert counts(await sync(library, films[:1], max_removals=ALL)) == {"absent": 29, "missing": 29}
        assert counts(await sync(library, films[1:2], max_removals=MaxRemovals())) == {
            "absent": 1, "restored": 1, "removals_held_back": 1,
        }  # fmt: skip

    @pytest.mark.parametrize(
        "listing", [[], [Rejection("no_media", "no media", uri("z"))]], ids=["nothing", "nothing usable"]
    )
    async def test_nothing_is_listed(self, library: Library, listing: list[Rejection]) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        outcome = await sync(library, listing, max_removals=ALL)
        assert [guard.code for guard in outcome.held_back.guards] == ["nothing_listed"]  # type: ignore[union-attr]
        assert outcome.counts.removals_held_back == 2

    async def test_an_item_that_nobody_can_tell(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        outcome = await sync(library, [film("a"), Rejection("bad_item", "a row without a key")])
        assert [guard.code for guard in outcome.held_back.guards] == ["unidentified_items"]  # type: ignore[union-attr]


class TestRelinking:
    """An asset whose item is lost takes the identity of a new item that is the same."""

    async def relink(self, library: Library, before: Sequence[AssetDraft], after: Sequence[AssetDraft]) -> Ingested:
        await library.ingest_one(page(*before))
        await approve(library)
        return await sync(library, after, max_removals=ALL)

    async def test_an_alias_takes_over_when_the_item_of_its_asset_is_lost(self, library: Library) -> None:
        both = [episode("a", 1, 1, file="ab"), episode("b", 1, 2, file="ab"), episode("c", 1, 3, file="ab")]
        await library.ingest_one(page(*both))
        await approve(library)
        [uuid] = await assets(library, "uuid")
        outcome = await sync(library, both[1:], max_removals=ALL)
        assert counts(outcome) == {"duplicates": 1, "relinked": 1}
        assert await assets(library, "uuid, source_uri, episode_number, availability, state") == [
            (uuid[0], uri("b"), 2, "present", "ready")
        ]
        assert await library.aliases() == {"c": "b"}
        assert counts(await sync(library, both[1:])) == {"duplicates": 1}

    @pytest.mark.parametrize(
        ("old", "new", "rule"),
        [
            (film("a", provider_ids={"plex": "5d"}), film("b", provider_ids={"plex": "5d"}), "guid"),
            (film("a", provider_ids={"imdb": "tt1"}), film("b", provider_ids={"imdb": "tt1"}), "external_id"),
            (film("a", file="f"), film("b", file="f"), "file"),
            (episode("a", 1, 2), episode("b", 1, 2), "episode"),
            (episode("a", 0, 2, tags={"x": ["y"]}), episode("b", 0, 2), "episode"),
            (
                episode("a", 1, 2, show_provider_ids={"tvdb": "5"}),
                episode("b", 1, 2, "Renamed", show_provider_ids={"tvdb": "5", "imdb": "tt5"}),
                "episode",
            ),
            (episode("a", 1, 2, file="f"), episode("b", 1, 3, "Another", file="f"), "place"),
            (film("a", type="clip", file="f"), episode("b", 1, 3, file="f"), "place"),
        ],
    )
    async def test_each_rule(self, library: Library, old: AssetDraft, new: AssetDraft, rule: str) -> None:
        outcome = await self.relink(library, [old], [new])
        assert counts(outcome) == {"relinked": 1}
        assert [named.detail for named in outcome.listed.relinked] == [rule]
        assert await assets(library, "source_uri, availability") == [(uri("b"), "present")]
        assert await library.rows("SELECT source_uri, rule FROM asset_identity") == [(uri("a"), rule)]
        assert (await feed(library))[0][2]["source_uri"] == [uri("a"), uri("b")]
        assert counts(await sync(library, [new])) == {}

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (film("a", provider_ids={"tvdb": "1"}), film("b", provider_ids={"imdb": "1"})),
            (episode("a", 1, 2, provider_ids={"imdb": "tt1"}), episode("b", 1, 2, provider_ids={"imdb": "tt2"})),
            (
                episode("a", 1, 2, show_provider_ids={"tvdb": "5"}),
                episode("b", 1, 2, show_provider_ids={"tvdb": "6"}),
            ),
            (episode("a", 1, 2), episode("b", 1, 3)),
            (episode("a", 1, None), episode("b", 1, None)),
            (episode("a", 1, 2), episode("b", 1, 2, "Other")),
            (film("a"), film("b")),
        ],
    )
    async def test_others_are_others(self, library: Library, old: AssetDraft, new: AssetDraft) -> None:
        assert counts(await self.relink(library, [old], [new])) == {"created": 1, "absent": 1, "missing": 1}

    @pytest.mark.parametrize("stamp", ["1/1", "2/1"])
    async def test_the_same_content_keeps_the_approval(self, library: Library, stamp: str) -> None:
        """The mark of a file is made of the server's own ids, which are as new as the item's."""
        await self.relink(library, [film("a", file="f", stamp="1/1")], [film("b", file="f", stamp=stamp)])
        assert await assets(library, "state") == [("ready",)]

    async def test_other_content_takes_it(self, library: Library) -> None:
        await self.relink(library, [film("a", file="f")], [film("b", file="f", size=3)])
        assert await assets(library, "state") == [("new",)]
        assert [what for what, _, _ in await feed(library)] == ["relinked", "withdrawn"]

    @pytest.mark.parametrize("batch", [1000, 7], ids=["one batch", "several batches"])
    async def test_a_library_that_was_built_anew(
        self, library: Library, monkeypatch: pytest.MonkeyPatch, batch: int
    ) -> None:
        monkeypatch.setattr(following, "_BATCH", batch)
        old = [film(f"o{n}", file=f"{n}", provider_ids={"plex": str(n % 7)}, stamp="s") for n in range(40)]
        new = [film(f"n{n}", file=f"{n}", provider_ids={"plex": str(n % 7)}, stamp="s") for n in range(40)]
        before = await self.relink(library, old, new)
        assert counts(before) == {"relinked": 40}
        assert await library.rows("SELECT count(*) FROM schedulable_asset") == [(40,)]

    async def test_versions_are_told_apart(self, library: Library) -> None:
        def version(item: str, file: str, resolution: str) -> AssetDraft:
            return film(item, file=file, provider_ids={"plex": "5d"}, video_resolution=resolution)

        old = [version("a", "1", "1080"), version("b", "2", "4k")]
        assert counts(await self.relink(library, old, [version("c", "3", "4k"), version("d", "1", "1080")])) == {
            "relinked": 2
        }
        assert await assets(library, "source_uri, video_resolution") == [(uri("c"), "4k"), (uri("d"), "1080")]

    async def test_what_is_ambiguous_is_left_alone_and_listed(self, library: Library) -> None:
        ids = {"provider_ids": {"plex": "5d"}}
        outcome = await self.relink(library, [film("a", **ids), film("b", **ids)], [film("c", **ids)])
        assert counts(outcome) == {"created": 1, "absent": 2, "missing": 2}
        assert outcome.listed.ambiguous_relinks == (Named("A", uri("a"), "guid"), Named("B", uri("b"), "guid"))

    async def test_one_that_is_gone_comes_back_under_another_item(self, library: Library) -> None:
        ids = {"provider_ids": {"plex": "5d"}}
        await library.ingest_one(page(film("a", **ids), film("z")))
        await execute(library.store, "UPDATE source SET grace_s = 0")
        await sync(library, [film("z")])
        assert counts(await sync(library, [film("z"), film("b", **ids)])) == {"relinked": 1}
        assert await assets(library) == [("B", "present"), ("Z", "present")]

    async def test_two_episodes_in_one_file(self, library: Library) -> None:
        def listing(key: str) -> list[AssetDraft]:
            return [episode(f"{key}{n}", 1, n, file="f", provider_ids={"plex": str(n)}) for n in (1, 2)]

        await library.ingest_one(page(*listing("o")))
        assert counts(await sync(library, listing("n"), max_removals=ALL)) == {"relinked": 1, "duplicates": 1}
        assert await library.aliases() == {"o2": "n1", "n2": "n1"}

    async def test_the_second_episode_of_a_file_takes_it_along(self, library: Library) -> None:
        """The first new item of a file isn't the one that the asset was."""
        old = [episode("o2", 1, 2, file="g", provider_ids={"plex": "2"})]
        new = [episode(f"n{n}", 1, n, file="f", provider_ids={"plex": str(n)}) for n in (1, 2)]
        await library.ingest_one(page(*old))
        assert counts(await sync(library, new, max_removals=ALL)) == {"relinked": 1, "duplicates": 1}
        assert await library.assets() == {"n2": f"{LOCAL}/f"}
        assert await library.aliases() == {"n1": "n2"}


class TestScopes:
    async def test_a_part_follows_and_nothing_is_missing(self, library: Library) -> None:
        await library.ingest_one(page(film("a"), film("b")))
        library.script.listings["Movies"] = [page(film("a", title="New"))]
        async with sync_one(library.store, "Movies", Scope(title="A")) as run:
            pass
        (outcome,) = run.summary.outcomes
        assert isinstance(outcome, Ingested)
        assert (counts(outcome), outcome.read) == ({"refreshed": 1}, "scoped")
        assert await assets(library) == [("New", "present"), ("B", "present")]
