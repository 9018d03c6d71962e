"""Sources that change between runs, as a sync sees them: a Plex library, a Jellyfin library, a directory of films."""

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio

from retrovue.core.model import Collection, PathMapping, Secret, Source
from retrovue.core.results import CollectionOutcome, Ingested, IngestSummary
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.ingest.sync import sync_items
from retrovue.operations.discovery import discover
from retrovue.simulator import Fault, ListSection, SimulatedPlex, faults, movie
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, item_id
from retrovue.simulator.jellyfin import movie as jellyfin_movie
from retrovue.store.changes import Change, list_changes
from retrovue.store.collections import list_collections, set_enabled, set_path_mappings
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.library import execute
from tests.support.library import rows as rows_of
from tests.support.plex import IMPATIENT

TOKEN = "0123456789abcdef0123"
BEFORE = 1_700_000_000
PAGE = 16
"""Items of a page: those of an incident take two."""


@dataclass(frozen=True)
class Film:
    """A film as its source tells it now."""

    uri: str
    ident: str
    """The id of the film at a provider, which it keeps whatever becomes of its item."""
    title: str
    content: str
    """What differs for another file: its size and its stamp."""
    path: str
    """Where the file is on this machine."""


class ChangingSource(ABC):
    """A source of one collection of films, known by their numbers. Each change is made as the real source makes it."""

    can: frozenset[str] = frozenset({"add", "edit", "replace", "move", "remove", "restore"})
    """The changes that the source knows."""

    def __init__(self, local: Path) -> None:
        self.local = local
        self._serial = itertools.count(1)

    def serial(self) -> int:
        """Return a number that wasn't used before, for names and keys."""
        return next(self._serial)

    @abstractmethod
    def films(self) -> dict[int, Film]:
        """All films that are listed and can be used, by number."""

    @abstractmethod
    def add(self, number: int) -> None:
        """Add a film, as a new item with a new file."""

    @abstractmethod
    def edit(self, number: int) -> None:
        """Give a film another title."""

    @abstractmethod
    def replace(self, number: int) -> None:
        """Put another file in the place of a film's."""

    @abstractmethod
    def move(self, number: int) -> None:
        """Move a film's file."""

    @abstractmethod
    def remove(self, number: int) -> None:
        """Remove a film."""

    @abstractmethod
    def restore(self, number: int) -> None:
        """Bring back a film that was removed, as it was."""

    @abstractmethod
    def new_source(self) -> Source:
        """Make the source as it is added to the catalogue."""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Answer, where there is a server."""
        yield


class PlexSource(ChangingSource):
    """A Plex library. Films have a rating key, a guid and a file of their own."""

    can = ChangingSource.can | {"trash", "upgrade", "rebuild", "scan", "fail"}

    def __init__(self, local: Path) -> None:
        super().__init__(local)
        self.section = ListSection("1", "Movies", "movie", locations=["/data/movies"])
        self.plex = SimulatedPlex([self.section], token=TOKEN)
        self._keys: dict[int, str] = {}
        self._removed: dict[int, dict[str, Any]] = {}

    def films(self) -> dict[int, Film]:
        found: dict[int, Film] = {}
        for number, key in self._keys.items():
            row = self.section.item(key)
            if row is None or row.get("deletedAt"):
                continue
            (version,) = row["Media"]
            (file,) = version["Part"]
            uri = f"plex://{self.plex.machine_identifier}/library/metadata/{key}?media={version['id']}"
            content = f"{file['size']} {'/'.join(file['key'].split('/')[3:5])}"
            path = file["file"].replace("/data/movies", str(self.local))
            found[number] = Film(uri, row["guid"], row["title"], content, path)
        return found

    def add(self, number: int) -> None:
        key = self.serial() * 100
        row = movie(key, f"Film {number}", guid=f"plex://movie/{number:024x}", file=f"/data/movies/{number}-{key}.mkv")
        self.section.add(row)
        self._keys[number] = str(key)

    def edit(self, number: int) -> None:
        self.section.edit(self._keys[number], title=f"Film {number} ({self.serial()})")

    def replace(self, number: int) -> None:
        self.section.replace_file(self._keys[number])

    def move(self, number: int) -> None:
        self.section.change_file(self._keys[number], f"/data/movies/moved {self.serial()}/{number}.mkv")

    def remove(self, number: int) -> None:
        key = self._keys[number]
        self._removed[number] = self.section.item(key) or {}
        self.section.remove(key)

    def restore(self, number: int) -> None:
        key = self._keys[number]
        if self.section.item(key) is None:
            self.section.add(self._removed.pop(number))
        else:
            self.section.restore(key)

    def in_trash(self) -> set[int]:
        """The films that are listed as deleted."""
        rows = {number: self.section.item(key) for number, key in self._keys.items()}
        return {number for number, row in rows.items() if row is not None and row.get("deletedAt")}

    def trash(self, number: int) -> None:
        """Put a film into the trash; it is listed there."""
        self.section.trash(self._keys[number])

    def upgrade(self, number: int) -> None:
        """Replace a film as Radarr does: the item is removed, and one with the same guid and a better file added."""
        if self.section.item(self._keys[number]) is not None:
            self.section.remove(self._keys[number])
        self.add(number)
        self.section.replace_file(self._keys[number])

    def rebuild(self) -> None:
        """Give all items new ids; those that were removed are forgotten."""
        renamed = self.section.rebuild(self.serial() * 100 + 10_000_000)
        self._keys = {number: renamed[key] for number, key in self._keys.items() if key in renamed}
        self._removed.clear()

    def new_source(self) -> Source:
        config = {"base_url": self._url, "machine_identifier": self.plex.machine_identifier, "http": IMPATIENT}
        return new_source("plex", "Films", config | {"page_size": PAGE}, {"token": Secret(TOKEN)})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        async with self.plex.serve() as self._url:
            yield


class JellyfinSource(ChangingSource):
    """A Jellyfin library. The id of an item is made of its path."""

    can = ChangingSource.can | {"scan", "fail"}

    def __init__(self, local: Path) -> None:
        super().__init__(local)
        self.library = JellyfinLibrary("Movies", "movies", locations=["/data/movies"])
        self.jellyfin = SimulatedJellyfin([self.library], token=TOKEN)
        self._keys: dict[int, int] = {}
        self._removed: dict[int, dict[str, Any]] = {}

    def films(self) -> dict[int, Film]:
        found: dict[int, Film] = {}
        items = {item["Id"]: item for item in self.library.items}
        for number, key in self._keys.items():
            item = items.get(item_id(key))
            if item is not None:
                (source,) = item["MediaSources"]
                uri = f"jellyfin://{self.jellyfin.server_id}/items/{item['Id']}?media={source['Id']}"
                path = source["Path"].replace("/data/movies", str(self.local))
                found[number] = Film(uri, item["ProviderIds"]["Tmdb"], item["Name"], str(source["Size"]), path)
        return found

    def _path(self, number: int, key: int) -> str:
        return f"/data/movies/{number}-{key}.mkv"

    def add(self, number: int) -> None:
        key = self._keys[number] = self.serial()
        file = self._path(number, key)
        self.library.arrive(jellyfin_movie(key, f"Film {number}", file=file, ProviderIds={"Tmdb": str(number)}))

    def edit(self, number: int) -> None:
        self.library.edit(self._keys[number], Name=f"Film {number} ({self.serial()})")

    def replace(self, number: int) -> None:
        self.library.replace_file(self._keys[number])

    def move(self, number: int) -> None:
        key = self.serial()
        self.library.move(self._keys[number], key, self._path(number, key))
        self._keys[number] = key

    def remove(self, number: int) -> None:
        self._removed[number] = next(item for item in self.library.items if item["Id"] == item_id(self._keys[number]))
        self.library.remove(self._keys[number])

    def restore(self, number: int) -> None:
        self.library.arrive(self._removed.pop(number))

    def new_source(self) -> Source:
        config = {"base_url": self._url, "machine_identifier": self.jellyfin.server_id, "http": IMPATIENT}
        return new_source("jellyfin", "Films", config | {"page_size": PAGE}, {"token": Secret(TOKEN)})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        async with self.jellyfin.serve() as self._url:
            yield


class TreeSource(ChangingSource):
    """A directory of films. An item is its path; a title is in the file's name, so that only a move changes it."""

    can = ChangingSource.can - {"edit"}

    def __init__(self, local: Path) -> None:
        super().__init__(local)
        self.top = local / "Movies"
        self.top.mkdir()
        (self.top / "keep.txt").touch()
        self._paths: dict[int, Path] = {}
        self._removed: dict[int, Path] = {}

    def films(self) -> dict[int, Film]:
        found: dict[int, Film] = {}
        for number, path in self._paths.items():
            status = path.stat()
            uri = f"file://{quote(str(path))}"
            content = f"{status.st_size} {int(status.st_mtime)}"
            found[number] = Film(uri, str(number), path.name.partition(" (")[0], content, str(path))
        return found

    def _write(self, path: Path, size: int) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (BEFORE + self.serial(), BEFORE + size))

    def add(self, number: int) -> None:
        self._paths[number] = self.top / f"Film {number} (2001) {{tmdb-{number}}}.mkv"
        self._write(self._paths[number], 10 + self.serial())

    def edit(self, number: int) -> None:
        raise NotImplementedError

    def replace(self, number: int) -> None:
        path = self._paths[number]
        self._write(path, path.stat().st_size + 1)

    def move(self, number: int) -> None:
        path = self.top / f"moved {self.serial()}" / self._paths[number].name
        path.parent.mkdir()
        self._paths[number] = self._paths[number].rename(path)

    def remove(self, number: int) -> None:
        path = self._paths.pop(number)
        self._removed[number] = path
        path.rename(path.with_suffix(".away"))

    def restore(self, number: int) -> None:
        path = self._paths[number] = self._removed.pop(number)
        path.with_suffix(".away").rename(path)

    def new_source(self) -> Source:
        return new_source("filesystem", "Films", {"path": str(self.local), "kind": "movie"}, {})


@dataclass
class Synced:
    """A source of one collection in the catalogue, and the runs on it."""

    store: Store
    source: Source
    collection: Collection

    @classmethod
    async def make(cls, store: Store, changing: ChangingSource) -> "Synced":
        """Add the source, discover its collection, map and enable it; its local directory isn't empty."""
        await anyio.Path(changing.local / "a disk").touch()
        source = changing.new_source()
        async with store.transaction() as session:
            await insert_source(session, source)
        await discover(store, str(source.id))
        return cls(store, source, await enable(store, source, changing.local))

    @classmethod
    @asynccontextmanager
    async def ingested(cls, store: Store, changing: ChangingSource, films: int) -> AsyncIterator["Synced"]:
        """Serve so many films, and ingest them."""
        for number in range(films):
            changing.add(number)
        async with changing.serve():
            synced = await cls.make(store, changing)
            await synced.ingest()
            yield synced

    async def run(self, mode: str = "sync", **options: Any) -> CollectionOutcome:
        """Run, and return the outcome of the collection."""
        return (await self.runs(mode, **options)).outcomes[0]

    async def sync_items(self, *items: str, **options: Any) -> Ingested:
        """Sync some items, which has to succeed."""
        about = (self.store, str(self.collection.id), items, IngestOptions(**options))
        async with sync_items(*about) as run:
            pass
        (outcome,) = run.summary.outcomes
        assert isinstance(outcome, Ingested), outcome
        return outcome

    async def runs(self, mode: str = "sync", **options: Any) -> IngestSummary:
        """Run, and return the summary."""
        async with ingest_source(self.store, str(self.source.id), IngestOptions(mode=mode, **options)) as run:  # type: ignore[arg-type]
            pass
        return run.summary

    async def sync(self, **options: Any) -> Ingested:
        """Sync, which has to succeed."""
        outcome = await self.run(**options)
        assert isinstance(outcome, Ingested), outcome
        return outcome

    async def ingest(self, **options: Any) -> Ingested:
        """Ingest, which has to succeed."""
        return await self.sync(mode="ingest", **options)

    async def rows(self, statement: str, **bind: object) -> list[tuple[Any, ...]]:
        """Ask the catalogue."""
        return await rows_of(self.store, statement, **bind)

    async def approve(self, *titles: str) -> None:
        """Approve assets, all or by title."""
        condition = "" if not titles else f" AND title IN ({', '.join(repr(title) for title in titles)})"
        await execute(
            self.store,
            f"UPDATE asset SET state = 'ready', approved_for_broadcast = true WHERE state = 'new'{condition}",
        )

    async def days_pass(self) -> None:
        """Let the grace of all missing assets be over."""
        await execute(
            self.store, "UPDATE asset SET unavailable_since = unavailable_since - interval '3 days'"
            " WHERE availability = 'missing'"
        )  # fmt: skip

    async def states(self) -> dict[str, tuple[str, bool]]:
        """The availability and the approval of each asset, by title."""
        return {
            title: (availability, approved)
            for title, availability, approved in await self.rows(
                "SELECT title, availability, approved_for_broadcast FROM asset"
            )
        }

    async def schedulable(self) -> set[str]:
        """The titles that schedulers see."""
        return {title for (title,) in await self.rows("SELECT title FROM schedulable_asset")}

    async def feed(self, after: int | None = None) -> list[Change]:
        """The changes after a position."""
        async with self.store.transaction() as session:
            return await list_changes(session, after=after)


async def enable(store: Store, source: Source, local: Path) -> Collection:
    """Enable all collections of a source, and map their locations to a local directory; returns the first."""
    async with store.transaction() as session:
        found = await list_collections(session, source)
        for collection in found:
            if source.type != "filesystem":
                mappings = [PathMapping(location, str(local)) for location in collection.locations]
                await set_path_mappings(session, collection, mappings)
            await set_enabled(session, collection, enabled=True)
    # No server has the files of its films here.
    await execute(store, "UPDATE collection SET check_files = false")
    return found[0]


def break_listing(changing: PlexSource | JellyfinSource) -> None:
    """Let the server say of its library that it holds one item more than it lists."""
    if isinstance(changing, PlexSource):
        changing.plex.faults.add(Fault(faults.lie_about_total(1), "/library/sections/1/all"))
    else:
        changing.jellyfin.faults.add(Fault(faults.lie_about_total(1), "/Items"))


def repair_listing(changing: PlexSource | JellyfinSource) -> None:
    """Let the server be right again."""
    (changing.plex if isinstance(changing, PlexSource) else changing.jellyfin).faults.clear()


def set_scanning(changing: ChangingSource, *, scanning: bool) -> None:
    """Let the server say that it scans its library, or that it doesn't."""
    if isinstance(changing, PlexSource):
        changing.section.refreshing = scanning
    elif isinstance(changing, JellyfinSource):
        changing.library.scanning = scanning
