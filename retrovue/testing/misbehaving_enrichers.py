"""Enrichers that misbehave, each in one way, to see how a run survives them.

Each gives every asset a studio, and misbehaves at the asset whose title is the parameter ``title``. They are made like
any enricher, or installed by an entry point such as ``hanging = "retrovue.testing.misbehaving_enrichers:Hanging"``.
After ``retrovue.testing.let_go()`` they behave.
"""

from collections.abc import Sequence
from typing import ClassVar, cast

from retrovue.core.model import ConfigField
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.testing import misbehaving
from retrovue.testing.misbehaving import LET_GO

BROKEN = misbehaving.BROKEN
STUDIO = "Sample"
GOOD = Enrichment(fields={"studio": STUDIO})
HUGE = 2_000_000


class MisbehavingEnricher(BaseEnricher):
    """Calls ``misbehave`` for a batch with the asset in question, and behaves otherwise."""

    type_name: ClassVar[str] = "misbehaving"
    batch_size: ClassVar[int] = 10
    deadline_s: ClassVar[float] = 1.0

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Take the title of the asset at which it misbehaves."""
        return (ConfigField("title", f"The title at which it misbehaves; default: {BROKEN}", required=False),)

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Give each asset a studio, or misbehave."""
        if not LET_GO.is_set() and any(map(self.is_broken, assets)):
            return cast("Sequence[Enrichment | Failure]", await self.misbehave(assets))
        return [GOOD for _ in assets]

    def is_broken(self, asset: AssetView) -> bool:
        """Return whether it misbehaves at an asset."""
        return asset.title == str(self.config.get("title", BROKEN))

    async def misbehave(self, assets: Sequence[AssetView], /) -> object:
        """Misbehave as the subclass does; what is returned is given as the answers."""
        raise NotImplementedError


class Hanging(MisbehavingEnricher):
    """Never answers, but accepts a cancellation."""

    misbehave = misbehaving.hang


class Raising(MisbehavingEnricher):
    """Raises what no enricher should raise."""

    misbehave = misbehaving.fail


class Interrupting(MisbehavingEnricher):
    """Raises KeyboardInterrupt."""

    misbehave = misbehaving.interrupt


class WrongTypes(MisbehavingEnricher):
    """Gives a dictionary where an Enrichment belongs."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Return it among other answers."""
        return [{"studio": STUDIO} if self.is_broken(asset) else GOOD for asset in assets]


class OneTooFew(MisbehavingEnricher):
    """Gives fewer answers than there are assets."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Return one answer too few."""
        return [GOOD for _ in assets[1:]]


class EndlessAnswer(MisbehavingEnricher):
    """Gives an object that looks like a list, and blocks when an item of it is read."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Return it."""
        return _EndlessList(assets)


class _EndlessList(list[object]):
    def __getitem__(self, place: object) -> Enrichment:  # type: ignore[override]
        LET_GO.wait()
        return Enrichment()


class SwallowingCancellation(MisbehavingEnricher):
    """Never answers, and goes on when cancelled."""

    misbehave = misbehaving.swallow_cancellation


class BlockingLoop(MisbehavingEnricher):
    """Blocks its event loop."""

    misbehave = misbehaving.block


class Exiting(MisbehavingEnricher):
    """Raises SystemExit."""

    misbehave = misbehaving.leave


class ExitingInBackground(MisbehavingEnricher):
    """Raises SystemExit in a callback, which ends its event loop."""

    misbehave = misbehaving.leave_in_background


class StrayCancellation(MisbehavingEnricher):
    """Raises a cancellation that nobody asked for."""

    misbehave = misbehaving.cancel


class HugeAnswer(MisbehavingEnricher):
    """Gives megabytes for one asset."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Return them among other answers."""
        return [Enrichment(data={"x": "x" * HUGE}) if self.is_broken(asset) else GOOD for asset in assets]


MISBEHAVING_ENRICHERS: dict[type[MisbehavingEnricher], str] = {
    Hanging: "enricher_timeout",
    Raising: "enricher_failed",
    Interrupting: "enricher_failed",
    WrongTypes: "bad_result",
    OneTooFew: "bad_result",
    EndlessAnswer: "enricher_blocks",
    SwallowingCancellation: "enricher_timeout",
    BlockingLoop: "enricher_blocks",
    Exiting: "enricher_failed",
    ExitingInBackground: "enricher_failed",
    StrayCancellation: "enricher_failed",
    HugeAnswer: "result_too_large",
}
"""Each of these enrichers, and the code of the failure of its asset."""
