"""The conformance kit for enrichers finds what it is for, and passes what is right."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import anyio
import anyio.lowlevel
import pytest

from retrovue.core.model import ConfigField
from retrovue.enrichers.base import AssetView, BaseEnricher, EnricherInterface, Enrichment, Failure
from retrovue.plugins import isolation
from retrovue.testing import (
    EnricherConformance,
    check_answers,
    check_enricher_cancellation,
    check_enricher_closing,
    check_enricher_compliance,
    check_same_alone,
    check_same_beside,
    check_unchanged,
    hold_again,
    let_go,
    sample_asset,
)
from retrovue.testing.misbehaving_enrichers import (
    BROKEN,
    MISBEHAVING_ENRICHERS,
    BlockingLoop,
    MisbehavingEnricher,
    SwallowingCancellation,
)

pytestmark = pytest.mark.anyio

ASSETS = [sample_asset("/media/a.mkv", title="A"), sample_asset("/media/b.mkv", title="B", year=1979)]


class Right(BaseEnricher):
    """Has a few awaits in each of its answers, fails for one asset, and knows what it has seen."""

    type_name: ClassVar[str] = "right"

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        return [ConfigField("depth", "how deep it looks", required=False)]

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        await anyio.lowlevel.checkpoint()
        return [await self.one(asset) for asset in assets]

    async def one(self, asset: AssetView) -> Enrichment | Failure:
        await anyio.lowlevel.checkpoint()
        if asset.title == "B":
            return Failure("no_file", "There is no file.")
        mark = {"size": 7}
        if asset.fingerprint == mark:
            return Enrichment(unchanged=True)
        return Enrichment(fields={"studio": "S"}, fingerprint=mark)


class TestRight(EnricherConformance):
    """One that is right passes all checks."""

    def make_enricher(self) -> EnricherInterface:
        return Right({})

    def make_assets(self) -> Sequence[AssetView]:
        return ASSETS


def made(**members: Any) -> Callable[[], Any]:
    kind: Any = type("Wrong", (Right,), members)
    return lambda: kind({})


class TestCompliance:
    @pytest.mark.parametrize(
        ("members", "problem"),
        [
            ({"batch_size": 0}, "batch_size is 0, but has to be a whole number from 1 to 10,000"),
            ({"batch_size": 10_001}, "batch_size is 10001, but has to be a whole number from 1 to 10,000"),
            ({"deadline_s": float("inf")}, "deadline_s is inf, but has to be seconds, more than 0 and at most 3,600"),
            ({"enrich": len}, "enrich is not a coroutine function"),
            ({"describe_parameters": lambda: [1]}, "gave a int where a ConfigField belongs"),
            ({"describe_parameters": lambda: [ConfigField("overwrite", "x")]}, "or a common one"),
            ({"describe_parameters": lambda: [ConfigField("a-b", "x")]}, "must be an identifier"),
            ({"describe_parameters": lambda: [ConfigField("key", "x", secret=True)]}, "none can be secret: key"),
        ],
    )
    def test_what_is_wrong_is_said(self, members: dict[str, Any], problem: str) -> None:
        with pytest.raises(AssertionError, match=problem):
            check_enricher_compliance(type("Wrong", (Right,), members))


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            ({"studio": "S"}, "of 'A': The enricher returned a dict where an Enrichment belongs"),
            (Enrichment(fields={"year": "soon"}), "of 'A': The enricher gave what the catalogue can't hold"),
            (Enrichment(fields={"state": "ready"}), "unknown field `state`"),
            (Enrichment(data={"x": "x" * 2_000_000}), "of 'A': The enricher gave 2,"),
        ],
    )
    async def test_what_is_wrong_is_said(self, answer: object, problem: str) -> None:
        async def one(_: object, __: AssetView) -> object:
            return answer

        with pytest.raises(AssertionError, match=problem):
            await check_answers(made(one=one), ASSETS)

    async def test_what_is_said_of_a_batch_may_not_depend_on_it(self) -> None:
        async def enrich(_: object, assets: Sequence[AssetView]) -> Sequence[Enrichment]:
            return [Enrichment(fields={"year": len(assets)}) for _ in assets]

        with pytest.raises(AssertionError, match="alone the answer for 'A' is another one"):
            await check_same_alone(made(enrich=enrich), ASSETS)

    async def test_batches_may_not_mix(self) -> None:
        instances: list[object] = []

        class Mixing(Right):
            running = 0

            async def __aenter__(self) -> Self:
                instances.append(self)
                self.both = anyio.Event()
                return self

            async def one(self, asset: AssetView) -> Enrichment:  # noqa: ARG002
                self.running += 1
                if self.running == 2:
                    self.both.set()
                if len(instances) > 1:  # the first one is asked for one batch alone
                    await self.both.wait()
                found = self.running
                self.running -= 1
                return Enrichment(fields={"width": found})

        with pytest.raises(AssertionError, match="beside another batch"):
            await check_same_beside(lambda: Mixing({}), ASSETS)

    async def test_what_has_not_changed_may_not_be_told_anew(self) -> None:
        async def one(_: object, asset: AssetView) -> Enrichment:
            return Enrichment(fields={"width": 1 if asset.fingerprint is None else 2}, fingerprint={"size": 1})

        with pytest.raises(AssertionError, match="with its fingerprint, the enricher says something else"):
            await check_unchanged(made(one=one), ASSETS)


class TestMisbehaviour:
    pytestmark = pytest.mark.leaves("threads")

    @pytest.fixture(autouse=True)
    def release(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(isolation, "TURN", 1)
        hold_again()
        yield
        let_go()
        for thread in threading.enumerate():
            if thread.name.startswith(("enricher ", "conformance ")):
                thread.join(20)

    @pytest.mark.parametrize("kind", MISBEHAVING_ENRICHERS)
    async def test_each_way_is_found(self, kind: type[MisbehavingEnricher]) -> None:
        with pytest.raises(AssertionError, match="enricher"):
            await check_answers(lambda: kind({}), [*ASSETS, sample_asset("/c.mkv", title=BROKEN)])

    @pytest.mark.parametrize("kind", MISBEHAVING_ENRICHERS)
    async def test_once_they_are_let_go_they_behave(self, kind: type[MisbehavingEnricher]) -> None:
        let_go()
        answers = await check_answers(lambda: kind({}), [sample_asset("/c.mkv", title=BROKEN)])
        assert [answer for answer in answers if isinstance(answer, Failure)] == []

    @pytest.mark.parametrize("kind", [BlockingLoop, SwallowingCancellation])
    @pytest.mark.parametrize("test", ["test_closing_leaves_nothing_open", "test_it_can_be_cancelled_at_every_await"])
    def test_the_kit_is_not_held_up(self, kind: type[MisbehavingEnricher], test: str) -> None:
        class Kit(EnricherConformance):
            patience_s = 0.5

            def make_enricher(self) -> EnricherInterface:
                return kind({})

            def make_assets(self) -> Sequence[AssetView]:
                return [sample_asset("/c.mkv", title=BROKEN)]

        with pytest.raises(AssertionError, match=r"blocks its event loop|swallows"):
            getattr(Kit(), test)()


class TestTasks:
    async def test_a_task_left_behind_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Leaving(Right):
            async def __aenter__(self) -> Self:
                left.append(asyncio.get_running_loop().create_task(anyio.sleep_forever()))
                return self

        left: list[Any] = []
        monkeypatch.setattr("retrovue.testing.tasks.CLEANING_UP_S", 0.01)
        with pytest.raises(AssertionError, match="after it was closed, the enricher leaves tasks behind"):
            await check_enricher_closing(lambda: Leaving({}), ASSETS)
        for task in left:
            task.cancel()

    async def test_a_swallowed_cancellation_is_found(self) -> None:
        async def one(_: object, __: AssetView) -> Enrichment:
            try:
                await anyio.lowlevel.checkpoint()
            except BaseException:  # noqa: BLE001 - that is the point
                return Enrichment()
            return Enrichment()

        with pytest.raises(AssertionError, match="cancelled at await 2, the enricher goes on"):
            await check_enricher_cancellation(made(one=one), ASSETS)
