"""Read the webhooks of media servers and download managers as hints of what to sync.

A webhook is only a hint, as an event of a source is. Plex names an item. Sonarr and Radarr name the directory of a show
or a film, and files. The collections whose directories contain these paths may have changed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args
from uuid import UUID

import anyio
import msgspec

from retrovue.core.errors import RequestError
from retrovue.core.logs import logger
from retrovue.core.model import Collection, Source
from retrovue.core.paths import comparable
from retrovue.importers.base import IDENTITY_SETTING, ChangeHint
from retrovue.importers.filesystem import exclusions
from retrovue.operations.listening import list_enabled
from retrovue.service.hinted import HintedSyncs
from retrovue.service.hints import ListeningTimes
from retrovue.store.session import Store

Kind = Literal["plex", "sonarr", "radarr"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_PATHS = 1_000
"""The most paths that are read from a webhook. Renaming a season gives some dozens."""

_PLAYED = frozenset({"movie", "episode", "track", "clip"})
"""Plex's types of items. Any other type is a parent to which items were added."""
_NOTHING_CHANGED = frozenset({
    "applicationupdate", "grab", "health", "healthrestored", "manualinteractionrequired", "movieadded", "seriesadd",
    "test",
})  # fmt: skip
"""Events of Sonarr and Radarr that come before a file exists, or don't concern files."""
_FILES = ("episodeFile", "movieFile", "episodeFiles", "movieFiles", "deletedFiles")
_RENAMED = ("renamedEpisodeFiles", "renamedMovieFiles")

_log = logger(__name__)


class Webhooks:
    """Takes webhooks and syncs what they name: one sync at a time for each source, once no more come for a while."""

    def __init__(self, store: Store, times: ListeningTimes | None = None) -> None:
        self._store, self._times = store, times or ListeningTimes()
        self._syncs: dict[UUID, HintedSyncs] = {}
        self._waiting: list[HintedSyncs] = []
        """Hints that haven't been synced yet."""
        self._added = anyio.Event()

    async def run(self) -> None:
        """Sync what was named until the task is cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                while self._waiting:
                    group.start_soon(self._waiting.pop().run)
                self._added = anyio.Event()
                await self._added.wait()

    async def hear(self, kind: Kind, body: bytes) -> int:
        """Take a webhook, given as JSON; return the number of collections that it names.

        Raises RequestError if it isn't what ``kind`` sends, and StoreError if the catalogue can't be read.
        """
        told = _decoded(body)
        enabled = await list_enabled(self._store)
        hints = [*(_of_plex(told, enabled) if kind == "plex" else _of_files(told, enabled))]
        for source, hint in hints:
            self._of(source).hints.add(hint)
        _log.info("A webhook of %s has named %d collections", kind, len(hints))
        return len(hints)

    def _of(self, source: Source) -> HintedSyncs:
        syncs = self._syncs.get(source.id)
        if syncs is None:
            syncs = self._syncs[source.id] = HintedSyncs(self._store, source, self._times)
            self._waiting.append(syncs)
            self._added.set()
        return syncs


_Enabled = Sequence[tuple[Source, tuple[Collection, ...]]]


def _of_plex(told: dict[str, Any], enabled: _Enabled) -> Iterator[tuple[Source, ChangeHint]]:
    """Yield the hints of a webhook of Plex. Only ``library.new`` reports a change."""
    metadata, server = told.get("Metadata"), told.get("Server")
    if told.get("event") != "library.new" or not isinstance(metadata, dict) or not isinstance(server, dict):
        return
    library, key, kind = metadata.get("librarySectionID"), metadata.get("ratingKey"), metadata.get("type")
    if not isinstance(library, int | str) or isinstance(library, bool):
        return
    played = kind in _PLAYED if isinstance(kind, str) else False
    items = (key,) if played and isinstance(key, str) and 0 < len(key) <= 100 else None
    for source, collections in enabled:
        if source.type != "plex" or source.config.get(IDENTITY_SETTING) != server.get("uuid"):
            continue
        if any(collection.external_id == str(library) for collection in collections):
            yield source, ChangeHint(str(library), items)


def _of_paths(paths: Iterable[str], enabled: _Enabled, *, only_added: bool) -> Iterator[tuple[Source, ChangeHint]]:
    """Yield the hints of paths: the collections with a source or local directory that contains one of them.

    With ``only_added`` nothing was removed or renamed, so that where possible only these directories are read.
    """
    wanted = [comparable(path) for path in paths]
    for source, collections in enabled:
        for collection in collections:
            below = {path[len(top) :] for top in _directories(collection) for path in wanted if path[: len(top)] == top}
            if below:
                yield source, ChangeHint(collection.external_id, _keys(source, below) if only_added else None)


def _keys(source: Source, below: Iterable[tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the keys of directories in a collection, if the source reads single directories and some are named."""
    directories = sorted(names for names in below if names and not exclusions.is_media(names[-1]))
    if source.type != "filesystem" or not directories:
        return None
    return tuple(f"{'/'.join(names)}/" for names in directories)


def _directories(collection: Collection) -> Iterator[tuple[str, ...]]:
    for location in collection.locations:
        yield comparable(location)
    for mapping in collection.path_mappings:
        yield comparable(mapping.source_prefix)
        yield comparable(mapping.local_path)


def _of_files(told: dict[str, Any], enabled: _Enabled) -> Iterator[tuple[Source, ChangeHint]]:
    """Yield the hints of a webhook of Sonarr or Radarr."""
    only_added = str(told.get("eventType")).lower() == "download" and not told.get("deletedFiles")
    yield from _of_paths(_paths(told), enabled, only_added=only_added)


def _paths(told: dict[str, Any]) -> Iterator[str]:
    """Yield the absolute paths that Sonarr or Radarr names."""
    event = told.get("eventType")
    if not isinstance(event, str):
        raise _malformed("it has no eventType")
    if event.lower() in _NOTHING_CHANGED:
        return
    series, movie = _object(told.get("series")), _object(told.get("movie"))
    found = [series.get("path"), movie.get("folderPath"), movie.get("path")]
    for name in (*_FILES, *_RENAMED):
        files = told.get(name)
        for file in files[:MOST_PATHS] if isinstance(files, list) else [files]:
            found += [_object(file).get("path"), _object(file).get("previousPath")]
    # The directory of a relative path isn't known.
    yield from (path for path in found[:MOST_PATHS] if isinstance(path, str) and comparable(path)[0])


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(body)
    except (ValueError, RecursionError) as exc:
        raise _malformed("it isn't JSON") from exc
    if not isinstance(told, dict):
        raise _malformed("it isn't a JSON object")
    return told


def _malformed(why: str) -> RequestError:
    return RequestError(f"The webhook can't be read: {why}.", code="bad_webhook")
