"""Enrichers that misbehave, each in one way, to try out what a run makes of them.

Each gives every asset a studio, and misbehaves at one whose title is the parameter ``title``. They are made like any
enricher, or installed by an entry point such as ``hanging = "retrovue.testing.misbehaving_enrichers:Hanging"``. Once
they are let go by ``retrovue.testing.let_go``, they behave.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, cast

import anyio

from retrovue.core.model import ConfigField
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.testing.holding import LET_GO

BROKEN = "Broken"
STUDIO = "Sample"
GOOD = Enrichment(fields={"studio": STUDIO})
HUGE = 2_000_000


class MisbehavingEnricher(BaseEnricher):
    """Behaves well, but for what ``misbehave`` does where the asset is among those of a batch."""

    type_name: ClassVar[str] = "misbehaving"
    batch_size: ClassVar[int] = 10
    deadline_s: ClassVar[float] = 1.0

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        """Take the title of the asset at which it misbehaves."""
        return (ConfigField("title", f"The title at which it misbehaves; default: {BROKEN}", required=False),)

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        """Give each a studio, and misbehave."""
        if not LET_GO.is_set() and any(map(self.is_broken, assets)):
            return cast("Sequence[Enrichment | Failure]", await self.misbehave(assets))
        return [GOOD for _ in assets]

    def is_broken(self, asset: AssetView) -> bool:
        """Say whether it misbehaves at an asset."""
        return asset.title == str(self.config.get("title", BROKEN))

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Do what the subclass is named for; what it returns is the answer."""
        raise NotImplementedError


class Hanging(MisbehavingEnricher):
    """Never answers, but can be cancelled."""

    async def misbehave(self, assets: Sequence[AssetView]) -> None:  # noqa: ARG002
        """Wait for ever."""
        await anyio.sleep_forever()


class Raising(MisbehavingEnricher):
    """Raises what no enricher should."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:  # noqa: ARG002
        """Raise."""
        raise ZeroDivisionError


class Interrupting(MisbehavingEnricher):
    """Raises what means that the operator interrupts the program."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:  # noqa: ARG002
        """Raise."""
        raise KeyboardInterrupt


class WrongTypes(MisbehavingEnricher):
    """Gives a dictionary where an Enrichment belongs."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Give it."""
        return [{"studio": STUDIO} if self.is_broken(asset) else GOOD for asset in assets]


class OneTooFew(MisbehavingEnricher):
    """Gives fewer answers than there are assets."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Give them."""
        return [GOOD for _ in assets[1:]]


class EndlessAnswer(MisbehavingEnricher):
    """Gives what looks like a list, and blocks where it is looked into."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Give it."""
        return _EndlessList(assets)


class _EndlessList(list[object]):
    def __getitem__(self, place: object) -> Enrichment:  # type: ignore[override]
        LET_GO.wait()
        return Enrichment()


class SwallowingCancellation(MisbehavingEnricher):
    """Never answers, and goes on when it is cancelled."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:  # noqa: ARG002
        """Wait, whatever happens."""
        while not LET_GO.is_set():
            try:
                await asyncio.sleep(0.01)
            except BaseException:  # noqa: BLE001, S112 - that is the point
                continue
        return None


class BlockingLoop(MisbehavingEnricher):
    """Blocks the event loop that it runs in."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:  # noqa: ARG002
        """Wait without awaiting."""
        LET_GO.wait()
        return None


class Exiting(MisbehavingEnricher):
    """Means to end the process."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:  # noqa: ARG002
        """Exit."""
        raise SystemExit(0)


class ExitingInBackground(MisbehavingEnricher):
    """Means to end the process from a callback, which ends the event loop."""

    async def misbehave(self, assets: Sequence[AssetView]) -> None:  # noqa: ARG002
        """Exit, in a callback of the loop."""

        def leave() -> None:
            raise SystemExit(0)

        asyncio.get_running_loop().call_soon(leave)
        await anyio.sleep_forever()


class StrayCancellation(MisbehavingEnricher):
    """Raises a cancellation that nobody asked for, which a task group takes for a good end."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:  # noqa: ARG002
        """Raise it."""
        raise asyncio.CancelledError


class HugeAnswer(MisbehavingEnricher):
    """Gives megabytes for one asset."""

    async def misbehave(self, assets: Sequence[AssetView]) -> object:
        """Give them."""
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
"""Each of them, and the code of the failure that its asset gets."""
