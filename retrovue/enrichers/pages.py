"""Page enrichers: enrichers without I/O, which refine the drafts of a page before they are staged."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson
import xxhash
from msgspec import Struct, field
from msgspec.structs import replace

from retrovue.core.model import AttachedEnricher, Enricher, Source
from retrovue.core.pages import AssetDraft, spans
from retrovue.enrichers.base import AssetView, Failure, MediaFile
from retrovue.enrichers.fields import FIELDS, CheckedEnrichment, apply
from retrovue.enrichers.guard import GuardedEnricher, class_of
from retrovue.store.drafts import MappedDraft, Refinement

if TYPE_CHECKING:
    from retrovue.enrichers.sidecar_marks import SidecarMarks
    from retrovue.importers.filesystem.sidecars import Marks
    from retrovue.importers.http.client import Transport

_OF_DRAFTS = tuple(name for name in FIELDS if name in AssetDraft.__struct_fields__)


class PageMarks(NamedTuple):
    """The marks of the sidecars of a page's drafts. A mark says whether a sidecar has changed."""

    marks: "Sequence[Marks | None]"
    """For each draft, in the page's order; None for a file that can't be seen. Empty if no sidecars are compared."""

    def digest(self) -> bytes:
        """Hash the marks to 16 bytes (XXH3); empty if no sidecars are compared."""
        return xxhash.xxh3_128_digest(_encoded(self.marks)) if self.marks else b""

    def digests(self, ends: Sequence[int]) -> list[bytes]:
        """Hash the marks of each item's drafts to 8 bytes (XXH3); empty if no sidecars are compared.

        ``ends`` are the positions after the last draft of each item.
        """
        if not self.marks:
            return []
        return [xxhash.xxh3_64_digest(_encoded(self.marks[start:end])) for start, end in pairwise([0, *ends])]

    def unseen(self) -> int:
        """Return the number of files that can't be seen."""
        return self.marks.count(None)

    def put_on(self, mapped: list[MappedDraft]) -> list[MappedDraft]:
        """Return the page's drafts with these marks.

        A draft that has a mark, or whose file can't be seen, stays as it is.
        """
        if not self.marks:
            return mapped
        return [
            item if marks is None or item.draft.sidecar_stamp is not None else _marked(item, marks)
            for item, marks in zip(mapped, self.marks, strict=True)
        ]


def _encoded(marks: "Sequence[Marks | None]") -> bytes:
    return orjson.dumps([mark and tuple(mark) for mark in marks])


def _marked(item: MappedDraft, marks: "Marks") -> MappedDraft:
    stamp = marks.text(is_episode=item.draft.type == "episode")
    return replace(item, draft=replace(item.draft, sidecar_stamp=stamp))


NO_MARKS = PageMarks(())


class PageEnrichers(Struct):
    """The enrichers of a collection: page enrichers, and those that run after the commit."""

    refining: list[GuardedEnricher] = field(default_factory=list[GuardedEnricher])
    """The page enrichers, in the order in which they run."""
    deferred: tuple[AttachedEnricher, ...] = ()
    """The other enrichers, which run after the commit."""
    reading_files: tuple[UUID, ...] = ()
    """The ids of the enrichers that owe an enrichment again for an asset whose file has moved."""
    reading_sidecars: tuple[Enricher, ...] = ()
    """The enrichers that owe an enrichment again for an asset whose sidecar has changed."""
    sidecar_marks: "SidecarMarks | None" = None
    """Makes the marks of sidecars for these enrichers; None if there are none."""

    @property
    def refined_by(self) -> tuple[UUID, ...]:
        """The ids of the page enrichers."""
        return tuple(enricher.id for enricher in self.refining)

    @property
    def owing(self) -> bool:
        """Whether every new asset is owed an enrichment after the commit."""
        return bool(self.deferred)

    def __bool__(self) -> bool:
        return bool(self.refining or self.deferred)

    async def refine(self, mapped: list[MappedDraft]) -> list[MappedDraft]:
        """Return the drafts of a page, refined by the page enrichers in their order."""
        if not self.refining or not mapped:
            return mapped
        drafts = [_Draft(draft.draft, draft.local_paths, draft.draft) for draft in mapped]
        for enricher in self.refining:
            for start in range(0, len(drafts), enricher.batch_size):
                batch = drafts[start : start + enricher.batch_size]
                views = [draft.view() for draft in batch]
                for draft, view, answer in zip(batch, views, await enricher.enrich(views), strict=True):
                    draft.take(view, answer, enricher)
        return [draft.mapped() for draft in drafts]


class _Draft(Struct):
    """A draft that is being refined. Call `view()` and `take()` for each enricher, then `mapped()`."""

    draft: AssetDraft
    local_paths: tuple[str, ...]
    told: AssetDraft
    """The draft from the importer."""
    provenance: dict[str, str] = field(default_factory=dict[str, str])
    failures: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def view(self) -> AssetView:
        parts = zip(self.local_paths, self.draft.parts, strict=True)
        files = tuple(MediaFile(path, part.size_bytes, part.duration_ms) for path, part in parts)
        values: dict[str, Any] = {name: getattr(self.draft, name) for name in _OF_DRAFTS}
        values["chapters"], values["markers"] = spans(self.draft.chapters), spans(self.draft.markers)
        return AssetView(source_uri=self.draft.source_uri, files=files, type=self.draft.type, **values)

    def take(self, view: AssetView, answer: CheckedEnrichment | Failure | None, enricher: GuardedEnricher) -> None:
        if answer is None:
            answer = enricher.not_tried
        if isinstance(answer, Failure):
            self._fail(enricher, answer)
            return
        changes = apply(view, answer, overwrite=enricher.overwrite)
        if foreign := sorted(changes.keys() - set(_OF_DRAFTS)):
            self._fail(enricher, Failure("bad_result", f"An enricher of pages can't give {', '.join(foreign)}."))
        elif changes:
            self.draft = replace(self.draft, **changes)
            self.provenance |= dict.fromkeys(changes, enricher.name)

    def mapped(self) -> MappedDraft:
        refinement = Refinement(self.provenance, self.failures) if self.provenance or self.failures else None
        return MappedDraft(self.draft, self.local_paths, refinement, self.told if self.provenance else None)

    def _fail(self, enricher: GuardedEnricher, failure: Failure) -> None:
        self.failures[str(enricher.id)] = {"code": failure.code, "message": failure.message}


@asynccontextmanager
async def open_pages(
    attached: Sequence[AttachedEnricher], source: Source, *, transport: "Transport | None" = None
) -> AsyncIterator[PageEnrichers]:
    """Open the page enrichers among those attached to a collection."""
    classes = [(enricher, class_of(enricher)) for enricher in attached]
    refining = [enricher for enricher, kind in classes if kind is not None and kind.runs_on_pages]
    reading = tuple(enricher.enricher.id for enricher, kind in classes if getattr(kind, "reads_files", False) is True)
    sidecars = tuple(enricher.enricher for enricher, kind in classes if getattr(kind, "reads_sidecars", False) is True)
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(GuardedEnricher(enricher, source, transport=transport))
            for enricher in refining
        ]
        deferred = tuple(enricher for enricher in attached if enricher not in refining)
        yield PageEnrichers(opened, deferred, reading, sidecars, make_marks() if sidecars else None)


def make_marks() -> "SidecarMarks":
    """Return a `SidecarMarks` for a collection."""
    # The import loads the importer of directories, which an ingest from a media server needs only here.
    from retrovue.enrichers.sidecar_marks import SidecarMarks  # noqa: PLC0415 - slow, and rarely needed

    return SidecarMarks()
