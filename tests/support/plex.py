"""What the tests of the Plex importer share: a patient-less policy, collections, and reading to the end."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from retrovue.core.model import Collection, PathMapping, Secret
from retrovue.core.pages import AssetDraft, Page, PageText, Rejection
from retrovue.core.runs import FULL, Scope
from retrovue.importers.plex.importer import PlexImporter
from retrovue.importers.plex.rows import PlexListing, decode_listing
from retrovue.simulator import GeneratedSection, ListSection, Row, Section, SimulatedPlex, episode, season, show

TOKEN = "canary-9f8e7d6c5b4a-token"
IMPATIENT: dict[str, Any] = {"base_wait_s": 0, "max_wait_s": 0}


def collection(
    key: str = "1", kind: str = "movie", name: str = "Movies", mappings: Iterable[tuple[str, str]] = ()
) -> Collection:
    return Collection(
        id=UUID(int=1),
        source_id=UUID(int=2),
        external_id=key,
        name=name,
        kind=kind,
        sync_enabled=True,
        path_mappings=tuple(PathMapping(source, local) for source, local in mappings),
    )


@dataclass
class Result:
    """An enumeration as the pipeline would keep it: what came before a restart is void."""

    drafts: list[AssetDraft] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    source_items: int = 0
    restarts: int = 0
    pages: int = 0
    outlines: int = 0

    @property
    def titles(self) -> list[str]:
        return [draft.title for draft in self.drafts]


async def read_all(importer: PlexImporter, what: Collection, scope: Scope = FULL) -> Result:
    result = Result()
    async with importer.enumerate(what, scope) as pages:
        async for page in pages:
            assert isinstance(page, Page)
            if page.restart:
                result = Result(restarts=result.restarts + 1)
            result.drafts += page.drafts
            result.rejected += page.rejected
            result.source_items += page.source_items
            result.pages += 1
    return result


@asynccontextmanager
async def plex(
    *sections: Section, config: dict[str, Any] | None = None, http: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[tuple[SimulatedPlex, PlexImporter]]:
    """A simulated server and an entered importer for it."""
    simulated = SimulatedPlex(sections, token=TOKEN, **server)
    async with simulated.serve() as url:
        settings = {"base_url": url, **IMPATIENT | (http or {})} | (config or {})
        async with PlexImporter(settings, {"token": Secret(TOKEN)}) as importer:
            yield simulated, importer


class Known:
    """A recall that knows these texts; ``tells`` whether it finds what is kept of their rows."""

    def __init__(self, texts: Sequence[PageText], *, tells: bool) -> None:
        self._rows = {text.digest: text.rows for text in texts}
        self._tells = tells

    def may_know(self, digest: bytes) -> bool:
        return digest in self._rows

    def rows_of(self, digest: bytes) -> bytes | None:
        return self._rows.get(digest) if self._tells else None


def listing(rows: Sequence[Row | Any], **container: Any) -> PlexListing:
    return decode_listing(orjson.dumps({"MediaContainer": {"size": len(rows), "Metadata": rows} | container}))


def series(key: int, title: str, seasons: int = 2, episodes: int = 3, **fields: object) -> list[Row]:
    top = show(key, title, **fields)
    rows = [top]
    for number in range(1, seasons + 1):
        below = season(key + number * 100, top, number)
        rows.append(below)
        rows += [episode(key + number * 100 + index, below, index) for index in range(1, episodes + 1)]
    return rows


def tv(*rows: Row) -> ListSection:
    return ListSection("2", "TV", "show", rows)


def place_files(section: Section, item_type: int, directory: Path) -> None:
    """Put the files of a generated section of one location, empty ones, below a directory."""
    assert isinstance(section, GeneratedSection)
    (location,) = section.locations
    for index in range(section.total(item_type)):
        row = orjson.loads(section.row_json(item_type, index))
        for path in (part["file"] for media in row.get("Media", ()) for part in media["Part"] if "file" in part):
            file = directory / path.removeprefix(f"{location.path}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
