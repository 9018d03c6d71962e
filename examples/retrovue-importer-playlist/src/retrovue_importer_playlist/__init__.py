"""An importer for playlists in CSV files: a directory is a source, each playlist a collection, each line a title."""

import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, ClassVar
from urllib.parse import quote

import anyio.to_thread

from retrovue import (
    AssetDraft,
    BaseImporter,
    ChangeState,
    Collection,
    ConfigField,
    DiscoveredCollection,
    Ingestibility,
    Page,
    PartDraft,
    Rejection,
    Scope,
    SourceIdentity,
    SourceState,
)
from retrovue.errors import MalformedAnswer, ScopeNotFound, SourceUnreachable

PAGE = 500
"""Lines of a page: no more is in memory at once."""


class PlaylistImporter(BaseImporter):
    """Reads playlists with the columns ``file`` (an absolute path), ``title`` and, optionally, ``year``."""

    type_name: ClassVar[str] = "playlist"
    paths_are_local: ClassVar[bool] = True

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        """Return the settings of a source; they become options of ``retrovue source add``."""
        return (ConfigField("directory", "Directory of the playlists"),)

    @property
    def _directory(self) -> Path:
        return Path(self.config["directory"])

    async def check_reachable(self) -> SourceIdentity:
        """Return the identity of the source; raise SourceUnreachable if the directory doesn't exist."""
        if not await anyio.to_thread.run_sync(self._directory.is_dir):
            raise SourceUnreachable(f"There is no directory {self._directory}.", hint="Is it mounted?")
        return SourceIdentity(identifier=str(self._directory))

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        """List the playlists; the name of the file is the external id."""
        paths = await anyio.to_thread.run_sync(lambda: sorted(self._directory.glob("*.csv")))
        return [DiscoveredCollection(path.name, path.stem, "movie", (str(path),)) for path in paths]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        """Return whether the playlist exists, and the reason if it doesn't."""
        if await anyio.to_thread.run_sync((self._directory / collection.external_id).is_file):
            return Ingestibility(ingestible=True)
        return Ingestibility(ingestible=False, code="gone_from_source", reason="The playlist isn't there any more.")

    async def change_state(self, collection: Collection) -> ChangeState:
        """Return whether the playlist is being written: beside it lies a file of its name with ``.part``.

        Optional. What is written meanwhile may lack lines that it had, and a sync would take their titles for removed.
        """
        unfinished = self._directory / f"{collection.external_id}.part"
        return ChangeState(refreshing=await anyio.to_thread.run_sync(unfinished.exists))

    async def source_state(self) -> SourceState:
        """Return the stamps of all playlists: what changes when a file is written. A sync reads only those with others.

        Optional. The stamp has to change with every change of the playlist, and may change without one.
        """
        return await anyio.to_thread.run_sync(self._state)

    def _state(self) -> SourceState:
        found = {path.name: path.stat() for path in self._directory.glob("*.csv")}
        return SourceState(
            {
                name: ChangeState(
                    refreshing=(self._directory / f"{name}.part").exists(),
                    stamp=f"{status.st_ino}/{status.st_size}/{status.st_mtime_ns}",
                )
                for name, status in found.items()
            }
        )

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page]:
        """Yield the playlist page by page; a line that can't be used is rejected with a reason, never left out."""
        items = 0
        seen: set[str] = set()  # bounded by the playlist, which has some thousand lines
        with await anyio.to_thread.run_sync(self._open, collection) as file:
            lines = csv.DictReader(file)
            if not {"file", "title"} <= set(lines.fieldnames or ()):
                raise MalformedAnswer(f"The playlist {collection.name!r} has no columns 'file' and 'title'.")
            numbered = enumerate(lines, 2)
            while batch := await anyio.to_thread.run_sync(_take, numbered):
                page = Page([], [], 0)
                for number, line, stamp in batch:
                    if scope.is_full or (line["title"] or "").casefold() == (scope.title or "").casefold():
                        _add(page, collection, number, line, stamp, seen)
                items += page.source_items
                if page.source_items:
                    yield page
        if not scope.is_full and not items:
            raise ScopeNotFound(f"There is no title {scope.title!r} in {collection.name!r}.")

    def _open(self, collection: Collection) -> IO[str]:
        return (self._directory / collection.external_id).open(encoding="utf-8-sig", newline="")


def _take(lines: Iterator[tuple[int, dict[str, str]]]) -> list[tuple[int, dict[str, str], str | None]]:
    return [(number, line, _stamp(line["file"] or "")) for number, line in islice(lines, PAGE)]


def _stamp(path: str) -> str | None:
    """Return what tells a file from one that takes its place; None if it isn't there. Blocks.

    Optional. With it a sync notices that a file was replaced, and withdraws its approval.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return f"{int(status.st_mtime)}/{status.st_size}"


def _add(
    page: Page, collection: Collection, number: int, line: dict[str, str], stamp: str | None, seen: set[str]
) -> None:
    file, title, year = line["file"] or "", line["title"] or "", line.get("year") or ""
    # The file identifies the item. The number of the line doesn't: it changes when a line is put before it.
    uri = f"playlist:{quote(collection.external_id)}#{quote(file)}"
    page.source_items += 1
    if not file.startswith("/"):
        page.rejected.append(
            Rejection("no_file", f"line {number}: {file!r} is not an absolute path", uri, title or None)
        )
    elif not title:
        page.rejected.append(Rejection("no_title", f"line {number}: {file!r} has no title", uri))
    elif uri in seen:
        page.rejected.append(Rejection("repeated", f"line {number}: {file!r} is in the playlist already", uri, title))
    else:
        seen.add(uri)
        known_year = int(year) if year.isdecimal() and 1 <= int(year) <= 9999 else None
        parts = (PartDraft(file, stamp=stamp),)
        page.drafts.append(AssetDraft(source_uri=uri, type="movie", title=title, year=known_year, parts=parts))
