"""The enrichers of a collection that need no I/O, refining its pages before they are staged."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from retrovue.core.model import AssetDraft, AttachedEnricher, Source
from retrovue.enrichers.base import AssetView, Failure, MediaFile
from retrovue.enrichers.fields import FIELDS, CheckedEnrichment, apply
from retrovue.enrichers.guard import GuardedEnricher, class_of

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

_OF_DRAFTS = tuple(name for name in FIELDS if name in AssetDraft.__struct_fields__)


class Refined(msgspec.Struct):
    """What the enrichers of pages made of one draft."""

    draft: AssetDraft
    provenance: dict[str, str]
    """Field → the enricher that gave it."""
    failures: dict[UUID, Failure]
    """By the enricher's id; where it has none it succeeded."""


@dataclass(slots=True)
class PageChain:
    """What a collection's enrichers mean for its ingest."""

    refining: list[GuardedEnricher] = field(default_factory=list[GuardedEnricher])
    """In the order in which they run."""
    deferred: tuple[AttachedEnricher, ...] = ()
    """Those that run after the commit."""
    reading_files: tuple[UUID, ...] = ()
    """The ids of those, of both kinds, that are asked again about files that have moved."""

    @property
    def owing(self) -> bool:
        """Whether every new asset is owed something after the commit."""
        return bool(self.deferred)

    def __bool__(self) -> bool:
        return bool(self.refining or self.deferred)

    async def refine(self, drafts: Sequence[AssetDraft], local_paths: Sequence[tuple[str, ...]]) -> list[Refined]:
        """Refine the drafts of a page; ``local_paths`` are those of each draft's parts."""
        refined = [Refined(draft, {}, {}) for draft in drafts]
        for enricher in self.refining:
            for start in range(0, len(refined), enricher.batch_size):
                batch = refined[start : start + enricher.batch_size]
                paths = local_paths[start : start + enricher.batch_size]
                views = [_view(one.draft, where) for one, where in zip(batch, paths, strict=True)]
                answers = await enricher.enrich(views)
                for one, view, answer in zip(batch, views, answers, strict=True):
                    _take(one, view, answer, enricher)
        return refined


def _view(draft: AssetDraft, local_paths: tuple[str, ...]) -> AssetView:
    files = tuple(
        MediaFile(path, part.size_bytes, part.duration_ms) for path, part in zip(local_paths, draft.parts, strict=True)
    )
    values: dict[str, Any] = {name: getattr(draft, name) for name in _OF_DRAFTS}
    return AssetView(source_uri=draft.source_uri, files=files, type=draft.type, **values)


def _take(one: Refined, view: AssetView, answer: CheckedEnrichment | Failure | None, enricher: GuardedEnricher) -> None:
    if answer is None:
        one.failures[enricher.id] = enricher.not_tried
    elif isinstance(answer, Failure):
        one.failures[enricher.id] = answer
    else:
        changes = apply(view, answer, overwrite=enricher.overwrite)
        if foreign := sorted(changes.keys() - set(_OF_DRAFTS)):
            message = f"An enricher of pages can't give {', '.join(foreign)}."
            one.failures[enricher.id] = Failure("bad_result", message)
        elif changes:
            one.draft = replace(one.draft, **changes)
            one.provenance |= dict.fromkeys(changes, enricher.name)


@asynccontextmanager
async def open_pages(
    attached: Sequence[AttachedEnricher], source: Source, *, transport: "Transport | None" = None
) -> AsyncIterator[PageChain]:
    """Open the enrichers of pages among those that a collection has; nothing happens where there are none."""
    known = [(one, class_of(one)) for one in attached]
    refining = [one for one, kind in known if kind is not None and kind.runs_on_pages]
    reading = tuple(one.enricher.id for one, kind in known if getattr(kind, "reads_files", False) is True)
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(GuardedEnricher(one, source, transport=transport)) for one in refining
        ]
        yield PageChain(opened, tuple(one for one in attached if one not in refining), reading)
