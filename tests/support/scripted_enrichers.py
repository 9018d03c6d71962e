"""Enrichers of a third party that do what the test says, asset by asset."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, cast

import anyio

from retrovue.core.model import ConfigField, Enricher
from retrovue.enrichers.base import AssetView, BaseEnricher, Enrichment, Failure
from retrovue.errors import EnrichmentError
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.store.session import Store

Deed = object
"""An answer as it is, an exception to raise, or something to await that gives the answer."""


@dataclass
class Deeds:
    """What a scripted enricher does."""

    by_title: dict[str, Deed] = field(default_factory=dict[str, Deed])
    default: Deed = field(default_factory=lambda: Enrichment(fields={"studio": "Scripted"}))
    batches: list[list[str]] = field(default_factory=list[list[str]])
    seen: list[AssetView] = field(default_factory=list[AssetView])
    opening: BaseException | None = None
    """What opening raises."""
    opened: int = 0
    closed: int = 0
    running: int = 0
    peak: int = 0

    def asked(self) -> list[str]:
        return [title for batch in self.batches for title in batch]


DEEDS: dict[str, Deeds] = {}
"""By the parameter ``script`` of an enricher."""


class ScriptedEnricher(BaseEnricher):
    """Runs after the commit."""

    type_name: ClassVar[str] = "scripted"
    batch_size: ClassVar[int] = 4
    deadline_s: ClassVar[float] = 0.3
    shares_loop: ClassVar[bool] = True

    @property
    def deeds(self) -> Deeds:
        return DEEDS[self.config["script"]]

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        return [ConfigField("script", "the script's name")]

    async def __aenter__(self) -> Self:
        self.deeds.opened += 1
        if self.deeds.opening is not None:
            raise self.deeds.opening
        return self

    async def __aexit__(self, *_: object) -> None:
        self.deeds.closed += 1

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        deeds = self.deeds
        deeds.batches.append([asset.title for asset in assets])
        deeds.seen += assets
        deeds.running += 1
        deeds.peak = max(deeds.peak, deeds.running)
        try:
            return [await self._do(deeds.by_title.get(asset.title, deeds.default)) for asset in assets]
        finally:
            deeds.running -= 1

    @staticmethod
    async def _do(deed: Deed) -> Enrichment | Failure:
        if isinstance(deed, BaseException):
            raise deed
        if callable(deed):
            return cast("Enrichment", await cast("Callable[[], Awaitable[object]]", deed)())
        return cast("Enrichment", deed)


class ScriptedPages(ScriptedEnricher):
    """Refines pages."""

    type_name: ClassVar[str] = "pages"
    runs_on_pages: ClassVar[bool] = True


class ReadingEnricher(ScriptedEnricher):
    """Looks into files."""

    type_name: ClassVar[str] = "reading"
    reads_files: ClassVar[bool] = True


class ForeignEnricher(ScriptedEnricher):
    """Runs after the commit, in a thread of its own."""

    type_name: ClassVar[str] = "foreign"
    deadline_s: ClassVar[float] = 1.0
    shares_loop: ClassVar[bool] = False


class ForeignPages(ForeignEnricher):
    """Refines pages, in a thread of its own."""

    type_name: ClassVar[str] = "foreign_pages"
    runs_on_pages: ClassVar[bool] = True


async def hang() -> None:
    await anyio.sleep_forever()


async def nonsense() -> str:
    return "nonsense"


MISDEEDS: Mapping[str, tuple[Deed, str]] = {
    "raises": (ValueError("secret"), "enricher_failed"),
    "raises a group": (ExceptionGroup("many", [ValueError()]), "enricher_failed"),
    "exits": (SystemExit(3), "enricher_failed"),
    "cancels itself": (asyncio.CancelledError(), "enricher_failed"),
    "explains": (EnrichmentError("There is no file.", code="no_file"), "no_file"),
    "says so": (Failure("no_file", "There is no file."), "no_file"),
    "hangs": (hang, "enricher_timeout"),
    "answers nonsense": (nonsense, "bad_result"),
    "answers None": (None, "bad_result"),
    "wrong type": (Enrichment(fields={"year": "soon"}), "bad_result"),
    "out of range": (Enrichment(fields={"year": 12345}), "bad_result"),
    "true as a number": (Enrichment(fields={"width": True}), "bad_result"),
    "unknown field": (Enrichment(fields={"state": "ready"}), "bad_result"),
    "no JSON": (Enrichment(data={"x": object()}), "bad_result"),
    "giant output": (Enrichment(data={"x": "x" * 2_000_000}), "result_too_large"),
    "fields of another type": (Enrichment(fields=cast("dict[str, Any]", ["title"])), "bad_result"),
}
"""What an enricher may do wrong, and the code of the failure that comes of it."""


async def attached(
    store: Store, deeds: Deeds, name: str = "one", *, type_name: str = "scripted", to: str = "Movies", **options: Any
) -> Enricher:
    """Add a scripted enricher and attach it to a collection."""
    priority = options.pop("priority", None)
    key = f"{name}-{id(deeds)}"
    DEEDS[key] = deeds
    enricher = await add_enricher(store, type_name, name, {"script": key, **options})
    await attach_enricher(store, to, str(enricher.id), priority=priority)
    return enricher


class WaitingEnricher(BaseEnricher):
    """Tells by a file that it has been asked, and never answers; for processes, which share no script."""

    type_name: ClassVar[str] = "waiting"

    @classmethod
    def describe_parameters(cls) -> Sequence[ConfigField]:
        return [ConfigField("file", "what it makes")]

    async def enrich(self, assets: Sequence[AssetView]) -> Sequence[Enrichment | Failure]:
        await anyio.Path(self.config["file"]).touch()
        await anyio.sleep_forever()
        return [Failure("never", f"reached for {len(assets)} assets")]
