"""The conformance kit for enrichers: what enrichment relies on, as checks that raise AssertionError.

Each check takes a function that makes an enricher. The files or the service behind it must not change while a check
runs. The enricher runs in a thread with its own event loop, as in a run: if it hangs or blocks, its test fails.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import anyio
from msgspec.structs import replace

from retrovue.core.model import ConfigField
from retrovue.core.text import quoted
from retrovue.enrichers.base import (
    COMMON_PARAMETERS,
    AssetView,
    EnricherInterface,
    Failure,
    MediaFile,
    compliance_problems,
)
from retrovue.enrichers.fields import CheckedEnrichment
from retrovue.enrichers.guard import EnricherFault, EnricherInstance
from retrovue.testing.tasks import (
    DEADLINE_S,
    MOST_AWAITS,
    PATIENCE_S,
    check_cancelled_everywhere,
    check_leaves_nothing,
    deadline,
    expect,
    run_bounded,
)

Make = Callable[[], EnricherInterface]
Answers = list[CheckedEnrichment | Failure]


def sample_asset(*local_paths: str, title: str, type: str = "movie", **values: Any) -> AssetView:  # noqa: A002 - the field's name
    """Make an asset as the enricher gets it; ``values`` are further fields of AssetView."""
    files = tuple(MediaFile(path) for path in local_paths)
    source_uri = values.pop("source_uri", f"sample:{local_paths[0] if local_paths else title}")
    return AssetView(source_uri=source_uri, files=files, type=type, title=title, **values)


def check_enricher_compliance(enricher: type) -> None:
    """Check that the class implements EnricherInterface and describes its parameters, none of them secret."""
    problems = compliance_problems(enricher)
    assert not problems, f"{enricher.__name__} isn't an enricher: {'; '.join(problems)}"
    described: Any = enricher
    fields = list(described.describe_parameters())
    for field in fields:
        expect(ConfigField, field, "describe_parameters")
    names = [field.name for field in (*fields, *COMMON_PARAMETERS)]
    assert len(names) == len(set(names)), f"describe_parameters names a parameter twice, or a common one: {names}"
    assert all(name.isidentifier() for name in names), f"a parameter's name must be an identifier: {names}"
    secret = [field.name for field in fields if field.secret]
    assert not secret, f"parameters are shown, none can be secret: {', '.join(secret)}"


async def check_answers(make: Make, assets: Sequence[AssetView]) -> Answers:
    """Check that each asset gets an answer, in time, that the catalogue can hold; returns the answers."""
    (answers,) = await _asked(make, [assets])
    for asset, answer in zip(assets, answers, strict=True):
        if isinstance(answer, Failure):
            assert answer.code != "bad_result", f"of {quoted(asset.title)}: {answer.message}"
            assert answer.code != "result_too_large", f"of {quoted(asset.title)}: {answer.message}"
    return answers


async def check_same_alone(make: Make, assets: Sequence[AssetView]) -> None:
    """Check that an asset gets the same answer alone and in a batch, which may be given again asset by asset."""
    together = await check_answers(make, assets)
    alone = [answers[0] for answers in await _asked(make, [[asset] for asset in assets])]
    _require_same(assets, together, alone, "alone")


async def check_same_beside(make: Make, assets: Sequence[AssetView]) -> None:
    """Check that two batches at the same time get the answers that each gets by itself."""
    answers = await check_answers(make, assets)
    for again in await _asked(make, [assets, assets], at_once=True):
        _require_same(assets, answers, again, "beside another batch")


async def check_unchanged(make: Make, assets: Sequence[AssetView]) -> None:
    """Check that an asset with the fingerprint of the last time is unchanged, or gets the same answer."""
    answers = await check_answers(make, assets)
    enriched = [
        (replace(asset, fingerprint=answer.fingerprint), answer)
        for asset, answer in zip(assets, answers, strict=True)
        if isinstance(answer, CheckedEnrichment)
    ]
    (second,) = await _asked(make, [[asset for asset, _ in enriched]]) if enriched else [[]]
    for (asset, before), after in zip(enriched, second, strict=True):
        unchanged = isinstance(after, CheckedEnrichment) and (after.unchanged or after.fields == before.fields)
        assert unchanged, (
            f"asked again about {quoted(asset.title)} with its fingerprint, the enricher says something else"
        )


async def check_enricher_closing(make: Make, assets: Sequence[AssetView]) -> None:
    """Check that an enricher that is left has closed its files and sockets and ended its tasks."""

    async def run() -> None:
        with deadline("the enricher"):
            await _whole_run(make, assets)

    await check_leaves_nothing("the enricher", "after it was closed", run)


async def check_enricher_cancellation(
    make: Make, assets: Sequence[AssetView], *, most_awaits: int = MOST_AWAITS
) -> None:
    """Check that the enricher, cancelled at each await in turn, stops and leaves no task behind."""
    await check_cancelled_everywhere("the enricher", lambda: _whole_run(make, assets), most_awaits)


async def _whole_run(make: Make, assets: Sequence[AssetView]) -> None:
    async with make() as enricher:
        await enricher.enrich(assets)


async def _asked(make: Make, batches: Sequence[Sequence[AssetView]], *, at_once: bool = False) -> list[Answers]:
    """Open an enricher and give it the batches, one after the other or all at once; returns their answers."""
    answers: list[Answers] = [[] for _ in batches]
    patience = min(DEADLINE_S, float(type(make()).deadline_s))
    instance = EnricherInstance("under test", isolated=True)

    limiter = anyio.CapacityLimiter(len(batches) if at_once else 1)

    async def ask(number: int) -> None:
        async with limiter:
            answers[number] = await instance.enrich(batches[number], patience)

    try:
        await instance.open(make)
        async with anyio.create_task_group() as group:
            for number in range(len(batches)):
                group.start_soon(ask, number)
    except* EnricherFault as faults:
        raise AssertionError(_first(faults).failure.message) from faults
    finally:
        await instance.close()
    return answers


def _first(faults: BaseExceptionGroup[EnricherFault]) -> EnricherFault:
    first = faults.exceptions[0]
    return first if isinstance(first, EnricherFault) else _first(first)


def _require_same(assets: Sequence[AssetView], expected: Answers, answers: Answers, how: str) -> None:
    for asset, wanted, answer in zip(assets, expected, answers, strict=True):
        assert wanted == answer, (
            f"{how} the answer for {quoted(asset.title)} is another one: {answer} instead of {wanted}"
        )


class EnricherConformance:
    """All checks as test methods: subclass it in a test module, and implement the two ``make_…`` methods.

    Each test runs its own event loop, so that pytest needs no plug-in.
    """

    patience_s: ClassVar[float] = PATIENCE_S
    """Seconds after which a test fails, whatever still runs."""
    most_awaits: ClassVar[int] = MOST_AWAITS
    """How many awaits are cancelled in turn; the enricher is created again for each."""

    def make_enricher(self) -> EnricherInterface:
        """Make the enricher, with parameters that it accepts."""
        raise NotImplementedError

    def make_assets(self) -> Sequence[AssetView]:
        """Make assets, for example with ``sample_asset``: some that it can enrich, and some that it can't."""
        raise NotImplementedError

    def _make(self) -> EnricherInterface:
        enricher = self.make_enricher()
        check_enricher_compliance(type(enricher))
        return enricher

    def test_it_implements_the_interface(self) -> None:
        """See check_enricher_compliance."""
        self._make()

    def test_it_answers_for_every_asset(self) -> None:
        """See check_answers."""
        run_bounded(self.patience_s, check_answers, self._make, self.make_assets())

    def test_an_asset_alone_gets_the_same_answer(self) -> None:
        """See check_same_alone."""
        run_bounded(self.patience_s, check_same_alone, self._make, self.make_assets())

    def test_batches_may_be_under_way_at_the_same_time(self) -> None:
        """See check_same_beside."""
        run_bounded(self.patience_s, check_same_beside, self._make, self.make_assets())

    def test_what_has_not_changed_gives_unchanged_or_the_same(self) -> None:
        """See check_unchanged."""
        run_bounded(self.patience_s, check_unchanged, self._make, self.make_assets())

    def test_closing_leaves_nothing_open(self) -> None:
        """See check_enricher_closing."""
        run_bounded(self.patience_s, check_enricher_closing, self._make, self.make_assets())

    def test_it_can_be_cancelled_at_every_await(self) -> None:
        """See check_enricher_cancellation."""

        async def check() -> None:
            await check_enricher_cancellation(self._make, self.make_assets(), most_awaits=self.most_awaits)

        run_bounded(self.patience_s, check)
