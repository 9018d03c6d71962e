"""Enrichers of third parties that misbehave: what they do costs their asset, never the run; from end to end."""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, cast
from uuid import UUID

import anyio
import anyio.to_thread
import pytest

from retrovue.core.model import AttachedEnricher, Enricher, Source
from retrovue.enrichers import guard
from retrovue.enrichers.base import LARGEST_BATCH, AssetView, Enrichment, Failure, compliance_problems
from retrovue.enrichers.guard import Answer, GuardedEnricher
from retrovue.enrichers.registry import enricher_class
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.plugins import isolation
from retrovue.store.addresses import database_url as parsed
from retrovue.store.session import Store
from retrovue.store.sources import new_source
from retrovue.testing import hold_again, let_go, sample_asset
from retrovue.testing import misbehaving_enrichers as misbehaving
from retrovue.testing.misbehaving import LET_GO
from retrovue.testing.misbehaving_enrichers import (
    MISBEHAVING_ENRICHERS,
    BlockingLoop,
    Hanging,
    MisbehavingEnricher,
    Raising,
    SwallowingCancellation,
)
from tests.conftest import Packages
from tests.support.world import NAME, World

# A thread that hangs is let go by the fixture, after the test.
pytestmark = pytest.mark.leaves("threads")

BOTH = ("Movies", "TV Shows")
AT = "Brazil"
ON_PAGES = {kind: type(f"{kind.__name__}OnPages", (kind,), {"runs_on_pages": True}) for kind in MISBEHAVING_ENRICHERS}
globals().update({kind.__name__: kind for kind in ON_PAGES.values()})


@pytest.fixture(autouse=True)
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(isolation, "TURN", 1)
    hold_again()
    yield
    let_go()
    for thread in threading.enumerate():
        if thread.name.startswith("enricher "):
            thread.join(20)
            assert not thread.is_alive()


def attach(world: World, packages: Packages, kind: type[MisbehavingEnricher], title: str = AT) -> str:
    """Install an enricher, add it and attach it to both collections; returns its external id."""
    where = __name__ if kind in ON_PAGES.values() else kind.__module__
    packages.install("odd", "retrovue.enrichers", odd=f"{where}:{kind.__name__}")

    async def add() -> str:
        async with Store(parsed(world.catalogue.url), connections=1) as store:
            added = await add_enricher(store, "odd", "Odd", {"title": title})
            for name in BOTH:
                await attach_enricher(store, name, "Odd")
        return added.external_id

    return world.portal.call(add)


def of_both(document: Any) -> dict[str, Any]:
    return {one["name"]: one for one in document["collection_results"] if one["name"] in BOTH}


def states(world: World) -> dict[str, int]:
    return dict(world.catalogue.rows("SELECT state, count(*) FROM asset GROUP BY 1"))


@pytest.mark.fault(66)
@pytest.mark.parametrize(
    ("kind", "code"), MISBEHAVING_ENRICHERS.items(), ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.parametrize("on_pages", [False, True], ids=["after the commit", "on pages"])
def test_each_way_costs_one_asset_until_the_next_run(
    world: World, packages: Packages, kind: type[MisbehavingEnricher], code: str, on_pages: bool
) -> None:
    enricher = attach(world, packages, ON_PAGES[kind] if on_pages else kind)
    first = world.document()
    assert first["status"] == "ok"
    assert (first["total_created_assets"], first["total_failed_enrichments"]) == (11, 1)
    (failure,) = of_both(first)["Movies"]["failed_enrichment_items"]
    assert (failure["asset"], failure["enricher"], failure["code"]) == (AT, enricher, code)
    assert of_both(first)["TV Shows"]["failed_enrichment_items"] == []
    assert states(world) == {"new": 10, "enriching": 1}
    assert world.catalogue.rows("SELECT studio, count(*) FROM asset GROUP BY 1 ORDER BY 2") == [
        (None, 1),
        (misbehaving.STUDIO, 10),
    ]
    assert world.catalogue.rows("SELECT title, code FROM asset_enrichment JOIN asset ON uuid = asset_uuid"
                                " WHERE status = 'failed'") == [(AT, code)]  # fmt: skip

    let_go()
    second = world.document()
    assert (second["status"], second["total_failed_enrichments"], second["total_created_assets"]) == ("ok", 0, 0)
    enrichment = of_both(second)["Movies"]["enrichment"]
    assert (enrichment["succeeded"], enrichment["owed"]) == (1, 0)
    assert states(world) == {"new": 11}


@pytest.mark.fault(66)
@pytest.mark.parametrize("kind", [BlockingLoop, SwallowingCancellation])
def test_the_command_ends_whatever_is_left_behind(
    world: World, packages: Packages, kind: type[MisbehavingEnricher]
) -> None:
    attach(world, packages, kind)
    done = world.cli.as_process("source", "ingest", NAME, "--json")
    assert done.status == 0
    assert done.document["total_failed_enrichments"] == 1
    assert done.document["total_created_assets"] == 11


class Opening(MisbehavingEnricher):
    """Misbehaves when it is opened, at no asset."""

    async def __aenter__(self) -> Self:
        if not LET_GO.is_set():
            await BlockingLoop(self.config).misbehave([])
        return self


class Making(MisbehavingEnricher):
    """Blocks already in its constructor, once it is given a source."""

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        super().__init__(config, source)
        if source is not None:
            LET_GO.wait()


class Closing(MisbehavingEnricher):
    """Misbehaves when it is closed."""

    async def __aexit__(self, *_: object) -> None:
        await SwallowingCancellation(self.config).misbehave([])


class Numbers(MisbehavingEnricher):
    """Says of itself what its class doesn't."""

    def __init__(self, config: Mapping[str, Any], source: Source | None = None) -> None:
        super().__init__(config, source)
        vars(self).update(batch_size=-1, deadline_s=float("inf"))


@pytest.mark.fault(66)
class TestOpeningAndClosing:
    @pytest.mark.parametrize("kind", [Opening, Making])
    def test_one_that_blocks_when_it_is_opened_costs_its_enrichments(
        self, world: World, packages: Packages, monkeypatch: pytest.MonkeyPatch, kind: type[MisbehavingEnricher]
    ) -> None:
        monkeypatch.setattr(guard, "OPENING_S", 0.5)
        attach(world, packages, kind)
        first = world.document()
        assert (first["status"], first["total_created_assets"], first["total_failed_enrichments"]) == ("ok", 11, 11)
        assert {one["code"] for one in of_both(first)["Movies"]["failed_enrichment_items"]} == {"enricher_blocks"}
        let_go()
        assert world.document()["total_failed_enrichments"] == 0

    def test_one_that_does_not_end_costs_nothing(
        self, world: World, packages: Packages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "CLOSING_S", 0.2)
        attach(world, packages, Closing, "none")
        assert world.document()["total_failed_enrichments"] == 0
        assert states(world) == {"new": 11}

    def test_the_numbers_are_those_of_the_class(self, world: World, packages: Packages) -> None:
        attach(world, packages, Numbers, "none")
        assert world.document()["total_failed_enrichments"] == 0
        assert states(world) == {"new": 11}


@pytest.mark.parametrize("number", [0, -1, float("inf"), float("nan"), 3601, True])
def test_a_deadline_has_bounds(number: float) -> None:
    (problem,) = compliance_problems(type("Odd", (Raising,), {"deadline_s": number}))
    assert problem == f"deadline_s is {number!r}, but has to be seconds, more than 0 and at most 3,600"


@pytest.mark.parametrize("number", [0, -1, LARGEST_BATCH + 1, 2**70, 1.5, True, "50", None])
def test_a_batch_has_to_be_of_some_size(number: object) -> None:
    (problem,) = compliance_problems(type("Odd", (Raising,), {"batch_size": number}))
    assert problem == f"batch_size is {number!r}, but has to be a whole number from 1 to 10,000"


def test_the_largest_batch_is_one() -> None:
    assert compliance_problems(type("Large", (Raising,), {"batch_size": LARGEST_BATCH})) == []


def guarded(packages: Packages, kind: type[MisbehavingEnricher]) -> GuardedEnricher:
    packages.install("odd", "retrovue.enrichers", odd=f"{kind.__module__}:{kind.__name__}")
    enricher = Enricher(UUID(int=1), "odd-1", "Odd", "odd", {})
    return GuardedEnricher(AttachedEnricher(enricher, 1), new_source("plex", "P", {}, {}))


def films(*titles: str) -> list[AssetView]:
    return [sample_asset(f"/{title}", title=title) for title in titles]


def codes(answers: list[Answer]) -> list[str | None]:
    return [None if one is None else one.code if isinstance(one, Failure) else "ok" for one in answers]


class Meddling(MisbehavingEnricher):
    """Changes what it was given instead of answering."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        for asset in assets:
            cast("dict[str, object]", asset.tags)["genre"] = object()
        return [Enrichment() for _ in assets]


class OneByOne(BlockingLoop):
    """Is given one asset at a time, of which several are under way."""

    batch_size: ClassVar[int] = 1
    beside: ClassVar[threading.Event] = threading.Event()

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        if assets[0].title == "Slow" and not self.beside.is_set():
            self.beside.set()
            await anyio.sleep_forever()  # as long as its loop is blocked it couldn't go on anyway
        return await super().enrich(assets)


class AllHanging(Hanging):
    """Hangs at every asset."""

    batch_size: ClassVar[int] = 5
    deadline_s: ClassVar[float] = 0.1
    asked: ClassVar[list[int]] = []

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        self.asked.append(len(assets))
        await anyio.sleep_forever()
        return []


@pytest.mark.parametrize("name", ["filename", "nfo", "plex-details", "probe"])
def test_ours_are_trusted_and_share_the_loop(name: str) -> None:
    assert not isolation.is_isolated(enricher_class(name), guard.OURS)


@pytest.mark.anyio
class TestBounds:
    async def test_who_is_asked_beside_one_that_blocks_is_not_blamed(self, packages: Packages) -> None:
        answers: dict[str, list[Answer]] = {}
        OneByOne.beside.clear()

        async def ask(title: str) -> None:
            answers[title] = await enricher.enrich(films(title))

        async with guarded(packages, OneByOne) as enricher, anyio.create_task_group() as group:
            group.start_soon(ask, "Slow")
            await anyio.to_thread.run_sync(OneByOne.beside.wait)
            group.start_soon(ask, misbehaving.BROKEN)
        assert {title: codes(one) for title, one in answers.items()} == {
            "Slow": ["ok"],
            misbehaving.BROKEN: ["enricher_blocks"],
        }

    async def test_what_it_does_to_its_assets_stays_with_it(self, packages: Packages) -> None:
        views = [sample_asset("/a", title=misbehaving.BROKEN, tags={"genre": ["Drama"]})]
        async with guarded(packages, Meddling) as enricher:
            assert codes(await enricher.enrich(views)) == ["ok"]
        assert views[0].tags == {"genre": ["Drama"]}

    async def test_our_loop_turns_meanwhile(self, packages: Packages) -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with anyio.create_task_group() as group:
            group.start_soon(turn)
            async with guarded(packages, BlockingLoop) as enricher:
                before = turns
                assert codes(await enricher.enrich(films(misbehaving.BROKEN))) == ["enricher_blocks"]
                assert turns > before + 10
            group.cancel_scope.cancel()

    async def test_time_lost_is_bounded_over_all_batches(
        self, packages: Packages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "MOST_SILENCE_S", 0.5)
        AllHanging.asked.clear()
        async with guarded(packages, AllHanging) as enricher:
            batches = [codes(await enricher.enrich(films(*"abcde"))) for _ in range(100)]
            assert enricher.given_up == "gave no answer for 0.5 s in all"
        silent = ["enricher_timeout"] * 3 + [None] * 2
        assert batches[0] == silent
        assert batches[2:] == [[None] * 5] * 98
        assert len(AllHanging.asked) <= 8

    async def test_threads_left_behind_are_bounded(self, packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "MOST_LEFT_BEHIND", 2)
        async with guarded(packages, BlockingLoop) as enricher:
            batches = [codes(await enricher.enrich(films(misbehaving.BROKEN, "b"))) for _ in range(5)]
            assert "threads behind" in (enricher.given_up or "")
        left = [thread for thread in threading.enumerate() if thread.name == "enricher odd-1"]
        assert batches[0] == ["enricher_blocks", "ok"]
        assert batches[-1] == [None, None]
        assert len(left) <= 2 + 2  # the shared instance and the one alone were at work when the bound was reached

    @pytest.mark.parametrize("kind", [Hanging, SwallowingCancellation, BlockingLoop])
    async def test_our_cancellation_waits_for_none_of_them(
        self, packages: Packages, monkeypatch: pytest.MonkeyPatch, kind: type[MisbehavingEnricher]
    ) -> None:
        monkeypatch.setattr(kind, "deadline_s", 3600)
        began = threading.Event()
        misbehave = kind.misbehave

        async def tell(self: MisbehavingEnricher, assets: Sequence[AssetView]) -> object:
            began.set()
            return await misbehave(self, assets)

        monkeypatch.setattr(kind, "misbehave", tell)

        async def ask() -> None:
            async with guarded(packages, kind) as enricher:
                await enricher.enrich(films(misbehaving.BROKEN))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await anyio.to_thread.run_sync(began.wait)
                group.cancel_scope.cancel()
        assert group.cancel_scope.cancelled_caught
